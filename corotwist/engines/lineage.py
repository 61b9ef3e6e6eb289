"""
Who has which state, and whose counts, after rings have parted and met.

Nodes that went through the same configurations together have delivered the
same; so a state is known by how many commands made it and where the last of
them was ordered.  Two states with one mark are the same, whoever has them.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from struct import Struct
from typing import Final, Self

from attrs import frozen

from corotwist.errors import BadCount, OversizedFrame, TruncatedFrame
from corotwist.totem.membership import NO_RING, RingId

# Nobody gets there: who says so lies, and whoever counted on would count too far.
MOST_COMMANDS: Final = 1 << 62

_MARK: Final = Struct("<QIIQ")
_OFFER: Final = Struct("<QIB24s24s24sQ")


@frozen
class Place:
    """
    Where a command was ordered.

    @ivar ringId: of the ring, or the one that a transitional configuration ends.
    @ivar part: in a transitional configuration its lowest nodeid: other parts
        of the same old ring may deliver something else there; 0 on a ring.
    """

    ringId: RingId = NO_RING
    part: int = 0


@frozen
class Mark:
    """
    The name of a state::

        offset  size  field
             0     8  sequence of the ring of the last command
             8     4  its representative
            12     4  the part of a transitional configuration, or 0
            16     8  number of commands, from the beginning

    @ivar place: of the last command.
    """

    place: Place = Place()
    count: int = 0

    def next(self, place: Place) -> "Mark":
        """
        The state after one command more, ordered at C{place}.
        """
        return Mark(place, self.count + 1)

    def encode(self) -> bytes:
        """
        As in messages.
        """
        ring = self.place.ringId
        return _MARK.pack(
            ring.sequence, ring.representative, self.place.part, self.count
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        @param data: exactly L{MARK_BYTES}.
        @raise BadCount: of more commands than there can be.
        """
        sequence, representative, part, count = _MARK.unpack(data)
        if count > MOST_COMMANDS:
            raise BadCount(f"a state of {count} commands")
        return cls(Place(RingId(sequence, representative), part), count)


MARK_BYTES: Final = _MARK.size
# Nothing was ever applied: how everybody begins.
NOTHING: Final = Mark()


class Standing(IntEnum):
    """
    What a node has.
    """

    CURRENT = 0
    LACKING = 1


@frozen
class Offer:
    """
    What one node tells the others of itself after a change::

        offset  size  field
             0     8  ring sequence
             8     4  representative
            12     1  standing
            13    24  mark of the state it has
            37    24  mark it will have, when it gets the rest
            61    24  mark of the snapshot that it keeps, or has a part of
            85     8  how many bytes of it

    @ivar own: the state it has, whole.
    @ivar position: the same when current; otherwise that of the others, whose
        commands it has collected.
    @ivar base: the snapshot that was on its way, L{NOTHING} for none.
    @ivar offset: how much of that it has.
    """

    ringId: RingId
    standing: Standing
    own: Mark
    position: Mark
    base: Mark = NOTHING
    offset: int = 0

    def encode(self) -> bytes:
        """
        As in messages.
        """
        return _OFFER.pack(
            self.ringId.sequence,
            self.ringId.representative,
            self.standing,
            self.own.encode(),
            self.position.encode(),
            self.base.encode(),
            self.offset,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        @raise WireError: not an offer.
        """
        if len(data) < _OFFER.size:
            raise TruncatedFrame(f"an offer of {len(data)} bytes")
        if len(data) > _OFFER.size:
            raise OversizedFrame(f"an offer of {len(data)} bytes")
        sequence, representative, standing, own, position, base, offset = _OFFER.unpack(
            data
        )
        return cls(
            RingId(sequence, representative),
            Standing.LACKING if standing else Standing.CURRENT,
            Mark.decode(own),
            Mark.decode(position),
            Mark.decode(base),
            offset,
        )


Offers = Mapping[int, Offer]


@frozen
class Side:
    """
    Nodes that have the same state.

    @ivar holders: ascending.
    """

    mark: Mark
    holders: tuple[int, ...]


def sides(offers: Offers) -> list[Side]:
    """
    The states to choose from: those that are in use; when nobody has one,
    those that were given up for one that is lost; when nothing was ever
    applied anywhere, that.
    """
    return (
        _by(n for n in offers.items() if n[1].standing is Standing.CURRENT)
        or _by(offers.items())
        or [Side(NOTHING, tuple(sorted(offers)))]
    )


def _by(offers: Iterable[tuple[int, Offer]]) -> list[Side]:
    holders: dict[Mark, list[int]] = {}
    for nodeid, offer in sorted(offers):
        if offer.own != NOTHING:
            holders.setdefault(offer.own, []).append(nodeid)
    return [Side(mark, tuple(nodes)) for mark, nodes in holders.items()]


def larger(choices: Sequence[Side]) -> Side:
    """
    The side of most nodes; of equals the one with more commands, then the one
    with the lowest nodeid.
    """
    return max(
        choices,
        key=lambda side: (len(side.holders), side.mark.count, -side.holders[0]),
    )


def lowest(choices: Sequence[Side]) -> Side:
    """
    The side with the lowest nodeid.
    """
    return min(choices, key=lambda side: side.holders[0])


def longest(choices: Sequence[Side]) -> Side:
    """
    The side with most commands; of equals the one with the lowest nodeid.
    """
    return max(choices, key=lambda side: (side.mark.count, -side.holders[0]))


def latest(choices: Sequence[Side]) -> Side:
    """
    The side that applied something on the latest ring; of equals the one with
    more commands, then the one with the lowest nodeid.  Where nothing is applied
    without quorum, that is the one that had quorum last.
    """
    return max(
        choices,
        key=lambda side: (
            side.mark.place.ringId.sequence,
            side.mark.count,
            -side.holders[0],
        ),
    )


@frozen
class Resumption:
    """
    A transfer that goes on in another ring.

    @ivar holders: who keeps the snapshot.
    @ivar receivers: who has a part of it, and everything that came after.
    @ivar offset: what all of these have.
    """

    base: Mark
    holders: tuple[int, ...]
    receivers: tuple[int, ...]
    offset: int


def resumption(offers: Offers, winner: Side) -> Resumption | None:
    """
    Can somebody go on where a transfer stopped?
    """
    for keeper in winner.holders:
        base = offers[keeper].base
        receivers = [
            n for n, o in sorted(offers.items()) if _goesOn(n, o, base, winner)
        ]
        if base != NOTHING and receivers:
            keepers = tuple(n for n in winner.holders if offers[n].base == base)
            offset = min(offers[n].offset for n in receivers)
            return Resumption(base, keepers, tuple(receivers), offset)
    return None


def _goesOn(nodeid: int, offer: Offer, base: Mark, winner: Side) -> bool:
    return (
        nodeid not in winner.holders
        and offer.standing is Standing.LACKING
        and offer.base == base
        and offer.position == winner.mark
    )
