"""
The membership states, what leads from one to another, and what can happen.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from corotwist.totem.ring import Ring
    from corotwist.totem.wire import (
        CommitToken,
        HoldCancel,
        Join,
        MergeDetect,
        Regular,
        Token,
    )


class In(Enum):
    """
    Where a processor is.  [SRP 5]
    """

    IDLE = "idle"
    OPERATIONAL = "operational"
    GATHER = "gather"
    COMMIT = "commit"
    RECOVERY = "recovery"
    MUTE = "mute"
    STOPPED = "stopped"


class Because(Enum):
    """
    Why a processor changes its state: sentences for operators.
    """

    STARTED = "this processor started"
    TOKEN_LOST = "the token was lost"
    HEARTBEAT_LOST = "nothing was heard for several heartbeats"
    JOIN_HEARD = "a processor asks for a new ring"
    LEAVE_HEARD = "a processor left"
    FOREIGN_RING = "another ring was heard"
    FAILED_TO_RECEIVE = "this processor fails to receive"
    ASKED = "a service of this processor asks for a new round"
    SETS_GREW = "more processors were heard of"
    NO_CONSENSUS = "silent processors were given up"
    ROUND_FAILED = "all agreed but no ring was proposed"
    AGREED = "all agreed, and this processor proposes the ring"
    RING_PROPOSED = "a ring was proposed"
    RING_COMMITTED = "all committed to the ring"
    MEMBER_GAVE_UP = "a member gave the new ring up"
    STORAGE_REFUSED = "the ring id could not be stored"
    STORAGE_WORKS = "ring ids can be stored again"
    RECOVERED = "the old ring's messages are recovered"
    STOPPED = "this processor stops"


TRANSITIONS: Final = {
    (In.IDLE, Because.STARTED): In.GATHER,
    (In.OPERATIONAL, Because.TOKEN_LOST): In.GATHER,
    (In.OPERATIONAL, Because.HEARTBEAT_LOST): In.GATHER,
    (In.OPERATIONAL, Because.JOIN_HEARD): In.GATHER,
    (In.OPERATIONAL, Because.LEAVE_HEARD): In.GATHER,
    (In.OPERATIONAL, Because.FOREIGN_RING): In.GATHER,
    (In.OPERATIONAL, Because.FAILED_TO_RECEIVE): In.GATHER,
    (In.OPERATIONAL, Because.ASKED): In.GATHER,
    (In.GATHER, Because.SETS_GREW): In.GATHER,
    (In.GATHER, Because.LEAVE_HEARD): In.GATHER,
    (In.GATHER, Because.FOREIGN_RING): In.GATHER,
    (In.GATHER, Because.NO_CONSENSUS): In.GATHER,
    (In.GATHER, Because.ROUND_FAILED): In.GATHER,
    (In.GATHER, Because.AGREED): In.COMMIT,
    (In.GATHER, Because.RING_PROPOSED): In.COMMIT,
    (In.COMMIT, Because.TOKEN_LOST): In.GATHER,
    (In.COMMIT, Because.MEMBER_GAVE_UP): In.GATHER,
    (In.COMMIT, Because.SETS_GREW): In.GATHER,
    (In.COMMIT, Because.STORAGE_REFUSED): In.MUTE,
    (In.MUTE, Because.STORAGE_WORKS): In.GATHER,
    (In.COMMIT, Because.RING_COMMITTED): In.RECOVERY,
    (In.RECOVERY, Because.TOKEN_LOST): In.GATHER,
    (In.RECOVERY, Because.MEMBER_GAVE_UP): In.GATHER,
    (In.RECOVERY, Because.FAILED_TO_RECEIVE): In.GATHER,
    (In.RECOVERY, Because.RECOVERED): In.OPERATIONAL,
} | {(state, Because.STOPPED): In.STOPPED for state in In if state is not In.STOPPED}


class State:
    """
    Everything that can happen to a processor.  What a state does not override
    is ignored there, and its docstring says why.
    """

    def entered(self, ring: Ring) -> None:
        """
        We are here now; no deadline of the state before is left.
        """

    def tokenReceived(self, ring: Ring, token: Token) -> None:
        """
        The token of some ring came.
        """

    def regularReceived(self, ring: Ring, frame: Regular) -> None:
        """
        A frame of some ring came.
        """

    def mergeDetectReceived(self, ring: Ring, message: MergeDetect) -> None:
        """
        The representative of some ring says that it is there.
        """

    def joinReceived(self, ring: Ring, join: Join) -> None:
        """
        A processor gathers, or leaves.
        """

    def commitTokenReceived(self, ring: Ring, token: CommitToken) -> None:
        """
        A proposed ring came by.
        """

    def holdCancelReceived(self, ring: Ring, message: HoldCancel) -> None:
        """
        Somebody has work for an idle ring.
        """

    def timeoutExpired(self, ring: Ring, name: str) -> None:
        """
        A deadline that this state set has passed.
        """

    def ringIdStored(self, ring: Ring) -> None:
        """
        The ring sequence is durable.
        """

    def ringIdRefused(self, ring: Ring) -> None:
        """
        The disk did not take the ring sequence.
        """


class Idle(State):
    """
    Before the start: nothing is known, nothing is heard.
    """


class Stopped(State):
    """
    We have left; whatever comes is for a processor that is gone.
    """
