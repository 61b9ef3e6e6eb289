"""
The options of fencing, one row each.
"""

from typing import Final

from corotwist.config.kinds import Text, Whole
from corotwist.config.row import Row

_DAY: Final = 86_400_000

FENCING: Final = (
    Row(
        "fencing.agent",
        Text("name"),
        None,
        "who makes sure that a lost node is off: `command`, or an agent of another"
        " package; without one a lost node counts as gone; the same on every node",
    ),
    Row(
        "fencing.command",
        Text("command"),
        None,
        "of agent `command`: a program with its whole path, and arguments with `%n`"
        " for the nodeid; status 0: the node is off",
    ),
    Row("fencing.timeout", Whole(100, _DAY, "ms"), 30000, "for one attempt"),
    Row("fencing.attempts", Whole(1, 1000), 10, "then it is left to the operator"),
    Row(
        "fencing.delay",
        Whole(0, _DAY, "ms"),
        0,
        "before the first attempt: with two nodes, another one on each",
    ),
    Row(
        "fencing.options.*",
        Text(),
        None,
        "whatever an agent of another package understands",
    ),
)
