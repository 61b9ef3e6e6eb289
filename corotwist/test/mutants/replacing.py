"""
Errors in replacing engines.
"""

from typing import Any, Final

from corotwist.test.mutants.mutant import Edit, Mutant, mutant


def _handover(name: str, module: str, before: str, after: str, **others: Any) -> Mutant:
    return mutant(name, module, before, after, services=True, **others)


REPLACING: Final = (
    _handover(
        "forgets what waits when engines are replaced",
        "engines.groupsstate",
        '        for entry in one["queue"]:\n'
        "            client.restore(_entry(entry, members))\n",
        "        pass\n",
    ),
    _handover(
        "forgets what was sent back when engines are replaced",
        "engines.groupsstate",
        '        again=deque(_batch(entry, members) for entry in plain["again"]),\n',
        "",
    ),
    _handover(
        "forgets what is in the ring's queue when engines are replaced",
        "engines.groupsstate",
        '        aheadSerials=deque(plain["aheadSerials"]),\n',
        "",
    ),
    _handover(
        "forgets whose turn it is when engines are replaced",
        "engines.groupsstate",
        '    for at in plain["turns"]:\n        state.turns.add(clients[at])\n',
        "",
    ),
    _handover(
        "forgets messages in pieces when engines are replaced",
        "engines.groupsstate",
        '    for one in plain["assembly"]:\n'
        "        _resume(state.assembly, one, members)\n",
        "",
    ),
    _handover(
        "forgets the clients of a replaced engine",
        "engines.groupsstate",
        '        if one["open"]:\n',
        "        if False:\n",
    ),
    _handover(
        "sends batches anew from their beginning when engines are replaced",
        "engines.groupsstate",
        '                "offset": entry.offset,\n',
        '                "offset": 0,\n',
    ),
    _handover(
        "lets the old engine keep its work",
        "engines.cpg",
        "        self._adopt(GroupsState(counters=self._counters))\n",
        "",
        harmless="it is never called again, and what it sends is refused",
    ),
    _handover(
        "does not give the work back when a new engine fails",
        "engines.changes",
        "            self._giveBack(old, state)\n",
        "            pass\n",
    ),
    _handover(
        "replaces engines in the middle of a round",
        "engines.changes",
        "            if not self._home.synchronizing():\n                return\n",
        "            return\n",
    ),
    Mutant(
        "lets two engines do the same work",
        (
            Edit(
                "corotwist.engines.changes",
                "        old.retire()\n        new.place.serve()\n",
                "        new.place.serve()\n",
            ),
            Edit(
                "corotwist.engines.cpg",
                "        self._adopt(GroupsState(counters=self._counters))\n",
                "",
            ),
        ),
        services=True,
    ),
)
