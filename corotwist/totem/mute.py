"""
Mute: the disk does not take a ring id, so there is no ring with us in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from corotwist.totem.effects import StoreRingId
from corotwist.totem.states import Because, State

if TYPE_CHECKING:
    from corotwist.totem.ring import Ring

RETRY: Final = "storageRetry"


class Mute(State):
    """
    Saying nothing, so that the others go on without us, and trying the disk
    now and then.  What they say is of rings that we cannot be in.
    """

    def entered(self, ring: Ring) -> None:
        ring.proposed = None
        ring.arm(RETRY, ring.timing.consensus)

    def timeoutExpired(self, ring: Ring, name: str) -> None:
        ring.storesPending += 1
        ring.emit(StoreRingId(ring.highestSequence))

    def ringIdStored(self, ring: Ring) -> None:
        ring.become(Because.STORAGE_WORKS)

    def ringIdRefused(self, ring: Ring) -> None:
        ring.arm(RETRY, ring.timing.consensus)
