"""
Errors in quorate groups, and in what a sender asks for and hears.
"""

from typing import Any, Final

from corotwist.test.mutants.mutant import Mutant, mutant


def _gating(name: str, module: str, before: str, after: str, **others: Any) -> Mutant:
    return mutant(name, module, before, after, services=True, **others)


GATING: Final = (
    _gating(
        "delivers in a quorate group what was ordered without quorum",
        "engines.groupsdelivery",
        "        if not view.quorate or self._cluster.guarantee()",
        "        if self._cluster.guarantee()",
    ),
    _gating(
        "delivers agreed messages in quorate groups",
        "engines.groupsdelivery",
        "not view.quorate or self._cluster.guarantee() is not Guarantee.SAFE",
        "not view.quorate",
    ),
    _gating(
        "does not wait for the next verdict",
        "engines.groupsdelivery",
        "        return self._held\n",
        "        return None\n",
    ),
    _gating(
        "shows without quorum what a quorate ring left",
        "engines.groupsreceipts",
        "            if quorate or not isMessage:\n",
        "            if True:\n",
    ),
    _gating(
        "drops who came and went with what a ring left",
        "engines.groupsreceipts",
        "            if quorate or not isMessage:\n",
        "            if quorate:\n",
    ),
    _gating(
        "shows a ring's last comings before its last messages",
        "engines.groupsdelivery",
        "        if quorate and self._held is not None:\n",
        "        if False:\n",
    ),
    _gating(
        "takes messages that were for another view",
        "engines.groupsdelivery",
        "        if terms is not None and terms.view not in {None, view.viewId}:\n",
        "        if False:\n",
    ),
    _gating(
        "sends as agreed what is to be safe",
        "engines.groupssending",
        "            self._cluster.multicastCompact(body, entry.guarantee)\n",
        "            self._cluster.multicastCompact(body)\n",
    ),
    _gating(
        "sends again as agreed what is to be safe",
        "engines.groupssending",
        "            self._cluster.guarantee(),\n            atomic=True,\n",
        "            Guarantee.AGREED,\n            atomic=True,\n",
    ),
    _gating(
        "asks nodes for what they do not know",
        "engines.groupsrequests",
        "    if terms.special and not cluster.everybody(Feature.TERMS):\n",
        "    if False:\n",
    ),
    _gating(
        "waits for the slow readers of the first group only",
        "engines.groupssending",
        "any(group in flows and flows[group].paused for group in further)",
        "False",
    ),
    _gating(
        "leaves a group before its message for several",
        "engines.groupssending",
        "            further.ahead += 1\n",
        "            further.ahead += 0\n",
    ),
    _gating(
        "shows to everybody what is for some",
        "engines.groupsdelivery",
        "return tuple([member for member in recipients if member.pid in pids])\n",
        "return recipients\n",
    ),
    _gating(
        "tells a sender the place of his first message",
        "engines.groupsreceipts",
        "            sequence = (cluster.position() << SEQUENCE_BITS) + count - 1\n",
        "            sequence = cluster.position() << SEQUENCE_BITS\n",
    ),
    _gating(
        "says that everybody has what only has its place",
        "engines.groupsreceipts",
        "            elif expected.level is Level.SAFE:\n",
        "            elif False:\n",
    ),
    _gating(
        "shows members what they do not want of themselves",
        "engines.groupslocal",
        "            if member.discardOwn and self._isOf(sender, member):\n",
        "            if False:\n",
    ),
)
