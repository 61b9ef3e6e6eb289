"""
States on their way between nodes, as the ordered messages that bring them.
"""

from collections.abc import Iterator
from typing import Final

from corotwist.engines.clashes import ServiceNames
from corotwist.engines.compact import Header
from corotwist.engines.connections import Source
from corotwist.engines.lineage import NOTHING, Mark, Offer, Place, Standing
from corotwist.engines.replication import Function
from corotwist.engines.snapshots import Piece
from corotwist.errors import WireError
from corotwist.test.fuzz.target import Target, Wrong
from corotwist.totem.membership import RingId

_RING: Final = RingId(28, 2)
_MARK: Final = Mark(Place(_RING, 3), 1 << 40)
# The first byte of an input says which message it is.
_NAMES: Final = 8
_SOURCE: Final = 9


def targets() -> Iterator[Target]:
    """
    One.
    """
    yield Target(
        "states",
        "offers and pieces of replicated states, sources, names of services",
        lambda: _parse,
        _seeds,
        (WireError,),
    )


def _parse(data: bytes) -> None:
    """
    What is understood is what would be written.
    """
    kind, body = data[:1], data[1:]
    if kind == bytes([Function.OFFER]):
        _same(Offer.decode(body).encode(), body, free=slice(12, 13))
    elif kind == bytes([Function.PIECE]):
        _same(Piece.decode(body).encode(), body)
    elif kind == bytes([_SOURCE]):
        source = Source.decode(body)
        _same(Source.decode(source.encode()).encode(), source.encode())
    elif kind == bytes([_NAMES]):
        header = Header.decode(body)
        names = ServiceNames.decode(header, body)
        if ServiceNames.decode(header, names.encode()).ringId != names.ringId:
            raise Wrong(f"{names} is another one when it comes back")


def _same(ours: bytes, theirs: bytes, free: slice = slice(0, 0)) -> None:
    """
    @param free: where anything is understood.
    """
    if ours[: free.start] + ours[free.stop :] != (
        theirs[: free.start] + theirs[free.stop :]
    ):
        raise Wrong(f"{theirs.hex()} became {ours.hex()}")


def _seeds() -> list[bytes]:
    offer = Offer(_RING, Standing.LACKING, NOTHING, _MARK, _MARK, 1 << 20)
    piece = Piece(_MARK, 1 << 20, 1 << 15, 77, b"a part")
    names = ServiceNames(_RING, ((2, "cpg"), (4097, "counter"), (5000, "")))
    return [
        bytes([Function.OFFER]) + offer.encode(),
        bytes([Function.PIECE]) + piece.encode(),
        bytes([_SOURCE]) + Source(2, 1 << 63).encode(),
        bytes([_NAMES]) + names.encode(),
    ]
