"""
How a node ends, and how a process tells it.
"""

from enum import StrEnum
from typing import Final

from attrs import frozen


class Ending(StrEnum):
    """
    What kind of end it is.

    @cvar STOPPED: in order, because somebody wanted it.
    @cvar FAILED: in order as far as possible, for an error of the node itself.
    @cvar KILLED: at once, without a farewell, because an operator said so
        somewhere in the cluster.
    """

    STOPPED = "stopped"
    FAILED = "failed"
    KILLED = "killed"


# With which the process ends; corosync's number for a node that was killed.
STATUS: Final = {Ending.STOPPED: 0, Ending.FAILED: 1, Ending.KILLED: 255}


@frozen
class End:
    """
    Why a node ends.

    @ivar reason: for people.
    @ivar hasty: nothing may hold it up.
    """

    how: Ending
    reason: str
    hasty: bool = False

    @property
    def status(self) -> int:
        """
        The exit status of the process.
        """
        return STATUS[self.how]

    def __str__(self) -> str:
        return self.reason
