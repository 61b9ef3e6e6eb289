"""
What the ring asks its shell to do, in order.
"""

from collections.abc import Sequence

from attrs import define, frozen

from corotwist.errors import WireError
from corotwist.totem.membership import Configuration, RingId


@define
class Multicast:
    """
    Send frames to every other processor, in this order.

    Our own copy is the ring's business: it has seen what it sends.

    @ivar quiet: there is nobody to send to: we keep to ourselves, see
        L{corotwist.totem.solitude}.  What it means for the order, it means.
    """

    frames: Sequence[bytes]
    quiet: bool = False


@define
class Unicast:
    """
    Send one frame (a token) to one processor, which may be ourselves.
    """

    nodeid: int
    frame: bytes


@define
class Deliver:
    """
    The next packed frame in the total order.

    @ivar nodeid: the processor that originated it.
    @ivar payload: packed chunks, as C{fragments} makes them.
    @ivar sequence: its place on the ring C{ringId}.
    @ivar byteOrder: C{"<"} or C{">"}, the originator's.
    @ivar safe: was it to be safe?  As it stands in the frame: 0 for no.
    """

    nodeid: int
    payload: bytes
    ringId: RingId
    sequence: int
    byteOrder: str
    safe: int = 0


@frozen
class Stable:
    """
    All members are operational on the ring C{ringId}, and have its frames up
    to C{sequence}; only told while somebody wants to know.
    """

    ringId: RingId
    sequence: int


@define
class ConfigurationChanged:
    """
    A transitional or regular configuration, at its place in the order.
    """

    configuration: Configuration


@frozen
class StoreRingId:
    """
    Make the ring sequence durable, then report C{ringIdStored}, or
    C{ringIdRefused} when the disk does not take it.

    No message that carries a ring id leaves before it is stored.  [I5]
    """

    sequence: int


@frozen
class StateChanged:
    """
    The processor entered another membership state; for people and statistics.
    """

    before: str
    after: str
    cause: str


@frozen
class TokenPassed:
    """
    We handled the token and let it go; queues have as much room as they get.
    """


@define
class Dropped:
    """
    A frame that nobody should have sent.
    """

    error: WireError


@frozen
class Warned:
    """
    Something an operator should read; the ring goes on.
    """

    text: str


Effect = (
    Multicast
    | Unicast
    | Deliver
    | Stable
    | ConfigurationChanged
    | StoreRingId
    | StateChanged
    | TokenPassed
    | Dropped
    | Warned
)
