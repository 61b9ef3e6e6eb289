"""
A sender's terms on the wire, behind the group's name of a compact message::

    offset  size  field
         0     1  bits: 1 a view is named; there are no others yet
         1     1  number of further groups
         2     2  number of processes it is for; 0 for everybody
         4        the view, if it is named: ring sequence, 8 bytes,
                  representative, 4, number, 4
                  for each further group the length of its name, 1 byte,
                  and its name
                  for each process its nodeid and its pid, 4 bytes each

Every number is little endian.
"""

from struct import Struct
from typing import Final

from corotwist.engines.interfaces import (
    LONGEST_GROUP_NAME,
    MOST_FURTHER_GROUPS,
    MOST_TARGETS,
    Member,
    Terms,
    ViewId,
)
from corotwist.errors import BadCount, TruncatedFrame
from corotwist.totem.membership import RingId

_COUNTS: Final = Struct("<BBH")
_IN_VIEW: Final = 1
_VIEW: Final = Struct("<QII")
_TARGET: Final = Struct("<II")


def encodeTerms(terms: Terms) -> bytes:
    """
    What the other nodes have to know.
    """
    view, groups = terms.view, terms.groups
    bits = 0 if view is None else _IN_VIEW
    pieces = [_COUNTS.pack(bits, len(groups), len(terms.to))]
    if view is not None:
        ringId = view.ringId
        pieces.append(_VIEW.pack(ringId.sequence, ringId.representative, view.number))
    for name in groups:
        pieces += (bytes((len(name),)), name)
    pieces += [_TARGET.pack(member.nodeid, member.pid) for member in terms.to]
    return b"".join(pieces)


def decodeTerms(body: bytes, offset: int) -> tuple[Terms, int]:
    """
    @return: the terms at C{offset}, and where they end.
    @raise TruncatedFrame: when a part is missing.
    @raise BadCount: for too much of something, and for what a later version may
        mean.
    """
    bits, groups, targets = _unpack(_COUNTS, body, offset)
    offset += _COUNTS.size
    # Nobody who does not know what else is asked may do half of it.
    if bits > _IN_VIEW or groups > MOST_FURTHER_GROUPS or targets > MOST_TARGETS:
        raise BadCount(f"terms: bits {bits}, {groups} groups, {targets} processes")
    view = None
    if bits & _IN_VIEW:
        sequence, representative, number = _unpack(_VIEW, body, offset)
        view = ViewId(RingId(sequence, representative), number)
        offset += _VIEW.size
    names = []
    for _ in range(groups):
        name = _nameAt(body, offset)
        names.append(name)
        offset += 1 + len(name)
    if len(set(names)) < groups:
        raise BadCount("terms: a group twice")
    end = offset + targets * _TARGET.size
    if len(body) < end:
        raise TruncatedFrame("terms end inside the processes they are for")
    members = tuple(Member(*pair) for pair in _TARGET.iter_unpack(body[offset:end]))
    return Terms(to=members, groups=tuple(names), view=view), end


def _nameAt(body: bytes, offset: int) -> bytes:
    length = body[offset] if offset < len(body) else 0
    end = offset + 1 + length
    if len(body) < end:
        raise TruncatedFrame("terms end inside a group's name")
    if length > LONGEST_GROUP_NAME:
        raise BadCount(f"terms: a name of {length} bytes")
    return body[offset + 1 : end]


def _unpack(struct: Struct, body: bytes, offset: int) -> tuple[int, ...]:
    if len(body) < offset + struct.size:
        raise TruncatedFrame("a compact message ends inside its terms")
    return struct.unpack_from(body, offset)
