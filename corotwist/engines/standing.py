"""
Where the members of a ring come from, so that all of them know which of them go
on with the last quorate view.

Several parts of one quorate view may meet again before any of them is in another
view.  What is left of its ring is not the same in all parts, and only one of them
may deliver it.
"""

from struct import Struct
from typing import Final, Self

from attrs import define, field, frozen

from corotwist.engines.compact import HEADER_BYTES, Header, Kind, header
from corotwist.engines.interfaces import ViewId
from corotwist.errors import TruncatedFrame
from corotwist.totem.membership import RingId

_FIELDS: Final = Struct("<BQIIII")
_FRESH: Final = 1
_DIRECT: Final = 2


@frozen(order=True)
class Side:
    """
    A part of a view that came along together: of two the larger one goes on.

    @ivar viewId: the last quorate view that it was in.
    @ivar direct: it was in no other view since.
    @ivar size: how many it is.
    @ivar farFromLowest: its lowest nodeid, negative: the lowest of all decides
        between sides of one size.
    """

    viewId: ViewId
    direct: bool
    size: int
    farFromLowest: int

    @classmethod
    def of(cls, viewId: ViewId, members: tuple[int, ...], *, direct: bool) -> Self:
        """
        These nodes, of that view.
        """
        return cls(viewId, direct, len(members), -min(members, default=0))


@frozen
class Standing:
    """
    Where the sender comes from, after the common header::

        offset  size  field
             0     1  bits: 1 this process was in no view with another node yet;
                      2 it was in no view since its last quorate one
             1     8  its last quorate view: ring id, sequence
             9     4    representative
            13     4    number
            17     4  how many came along with it since its last view, itself
                      included
            21     4  the lowest nodeid of these
    """

    ringId: RingId
    side: Side
    fresh: bool

    def encode(self) -> bytes:
        """
        The whole body.
        """
        viewId = self.side.viewId
        bits = _FRESH * self.fresh + _DIRECT * self.side.direct
        return header(Kind.STANDING, 0, self.ringId) + _FIELDS.pack(
            bits,
            viewId.ringId.sequence,
            viewId.ringId.representative,
            viewId.number,
            self.side.size,
            -self.side.farFromLowest,
        )

    @classmethod
    def decode(cls, common: Header, body: bytes) -> Self:
        """
        Parse what follows the common header; bytes behind are a later
        version's.

        @raise TruncatedFrame: when a part is missing.
        """
        if len(body) < HEADER_BYTES + _FIELDS.size:
            raise TruncatedFrame("a standing without all its fields")
        bits, sequence, representative, number, size, lowest = _FIELDS.unpack_from(
            body, HEADER_BYTES
        )
        viewId = ViewId(RingId(sequence, representative), number)
        side = Side(viewId, bool(bits & _DIRECT), size, -lowest)
        return cls(common.ringId, side, bool(bits & _FRESH))


@define
class Standings:
    """
    Of the members of one ring, as they said.
    """

    _heard: dict[int, Standing] = field(factory=dict)

    def forget(self) -> None:
        """
        Another ring: everybody has to say it again.
        """
        self._heard.clear()

    def heard(self, nodeid: int, standing: Standing) -> None:
        """
        A member said where it comes from.
        """
        self._heard[nodeid] = standing

    def isFresh(self, nodeid: int) -> bool:
        """
        Has it only begun?
        """
        standing = self._heard.get(nodeid)
        return standing is not None and standing.fresh

    def goesOn(self, side: Side) -> bool:
        """
        Is no side of this ring before this one?
        """
        return all(other.side <= side for other in self._heard.values())
