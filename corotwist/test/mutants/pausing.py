"""
Errors in flow control between readers and senders.
"""

from typing import Any, Final

from corotwist.test.mutants.mutant import Mutant, mutant


def _pausing(name: str, module: str, before: str, after: str, **others: Any) -> Mutant:
    return mutant(name, module, before, after, services=True, **others)


PAUSING: Final = (
    _pausing(
        "lets senders wait for ever",
        "engines.cpg",
        "        if not paused:\n",
        "        if False:\n",
    ),
    _pausing(
        "lets nobody wait for a slow reader",
        "engines.groupssending",
        "        if not isinstance(entry, Batch) or entry.begun or entry.cancelled:\n",
        "        if True:\n",
    ),
    _pausing(
        "waits for the slow readers of its own node only",
        "engines.flow",
        "        paused = group.count > 0 or group.key in self._elsewhere\n",
        "        paused = group.count > 0\n",
    ),
    _pausing(
        "waits for a slow reader that is dead",
        "ipc.backlog",
        "        self._flows.clear()\n        self._settle()\n",
        "        self._flows.clear()\n",
    ),
    _pausing(
        "waits for a reader that is stuck",
        "ipc.backlog",
        "        self._patience = None\n        self.cut(",
        "        self._patience = None\n        str(",
    ),
    _pausing(
        "waits for the readers of a lost node",
        "engines.flow",
        "            self._elsewhere.clear()\n",
        "",
    ),
    _pausing(
        "does not say again on a new ring whom it holds up",
        "engines.flow",
        "                if group.count:\n"
        "                    self._unsaid[key] = None\n",
        "                pass\n",
    ),
    _pausing(
        "lets a leave wait for others' messages",
        "engines.outgoing",
        "elif isinstance(entry, Join) or entry.member.group not in speaking:\n"
        "                return entry\n",
        "else:\n                return None\n",
    ),
)
