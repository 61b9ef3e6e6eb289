"""
Errors in what nodes are told of each other.
"""

from typing import Any, Final

from corotwist.test.mutants.mutant import Mutant, mutant


def _views(name: str, before: str, after: str, **others: Any) -> Mutant:
    module = others.pop("module", "engines.views")
    return mutant(name, module, before, after, services=True, **others)


VIEWING: Final = (
    _views(
        "takes who came with the last ring for who came all the way",
        "tuple(n for n in self._cameAlong if n in came)",
        "came",
    ),
    _views(
        "does not say that a ring is over",
        '        self._tell(list(self._followings), "ringEnded", transition)\n',
        "        del transition\n",
    ),
    _views(
        "keeps a verdict as long as the ring",
        "        if quorate == before.quorate:\n",
        "        if True:\n",
    ),
    _views(
        "counts places through all rings",
        "            self.position = 0\n",
        "            pass\n",
    ),
    _views(
        "goes on on every side",
        "            self._standings.goesOn(self._side()),\n",
        "            True,\n",
    ),
    _views(
        "shows what a ring left on every side",
        "(goesOn=view.quorate and view.goesOn)",
        "(goesOn=view.quorate)",
        module="engines.cpg",
    ),
    _views(
        "goes on when one other may not",
        "        return all(other.side <= side",
        "        return any(other.side <= side",
        module="engines.standing",
    ),
    _views(
        "takes every node that is gone for lost",
        "            self._departing.get(n) or NodeChange(n, Cause.LOST)\n",
        "            NodeChange(n, Cause.LOST)\n",
    ),
    _views(
        "remembers the farewells of who stays",
        "        self._departing.clear()\n",
        "        pass\n",
    ),
    _views(
        "has always only begun",
        "            self._metOthers = True\n",
        "            pass\n",
    ),
    _views(
        "says farewell to some",
        "multicast(message, Guarantee.SAFE)",
        "multicast(message, Guarantee.AGREED)",
        module="engines.parting",
    ),
    _views(
        "shows groups of a ring before its view",
        "        if self._between:\n            self._unshown.left(group, left)\n",
        "        if False:\n            self._unshown.left(group, left)\n",
        module="engines.cpg",
    ),
    _views(
        "shows who came and went while nobody looked",
        "            if joined.pop(change.member, None) is None:\n",
        "            joined.pop(change.member, None)\n            if True:\n",
        module="engines.groupssync",
    ),
)
