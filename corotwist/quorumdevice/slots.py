"""
What is on a quorum disk: a sector for each node, which that node alone writes.
"""

from collections.abc import Mapping
from enum import IntEnum
from hashlib import blake2b
from struct import Struct
from typing import Final, Self

from attrs import frozen

from corotwist.errors import BadCount, ForgedFrame, TruncatedFrame, UnknownFrame
from corotwist.quorumdevice.values import Health
from corotwist.totem.membership import NO_RING, RingId

# What every disk writes as a whole, or not at all.
SECTOR_BYTES: Final = 4096
VERSION: Final = 1
# Nodes of a ring that a sector has room for.
MOST_MEMBERS: Final = 960
_MAGIC: Final = b"corotwqd"
_DIGEST_BYTES: Final = 16
_MEMBER: Final = Struct("<I")


class State(IntEnum):
    """
    What a node wants of the disk.

    @cvar IDLE: nothing.
    @cvar WANTING: the vote for its ring; it casts nothing yet.
    @cvar HOLDING: it has the vote.
    """

    IDLE = 0
    WANTING = 1
    HOLDING = 2


class OtherCluster(UnknownFrame):
    """
    The disk belongs to another cluster.
    """


@frozen
class Slot:
    """
    The sector of a node, little endian::

        offset  size  field
             0     8  C{corotwqd}
             8     2  version, 1
            10     1  state: 0 idle, 1 wanting, 2 holding
            11     1  heuristics, signed: 1 passed, 0 unknown, -1 failed
            12     4  nodeid
            16     8  start of the node
            24     8  counter: rises with each write
            32     8  claim: rises each time the vote is wanted anew
            40     4  representative of the ring
            44     8  sequence of the ring
            52    16  BLAKE2b of the name of the cluster
            68     2  number of members
            70   4 n  members, ascending
        4080      16  BLAKE2b of all before it

    @ivar claim: how often the node wanted the vote, since its start.
    """

    nodeid: int
    incarnation: int
    counter: int
    state: State = State.IDLE
    claim: int = 0
    ringId: RingId = NO_RING
    members: tuple[int, ...] = ()
    health: Health = Health.UNKNOWN

    LAYOUT = Struct("<8sHBbIQQQIQ16sH")

    def encode(self, cluster: str) -> bytes:
        """
        A whole sector.
        """
        if len(self.members) > MOST_MEMBERS:
            raise BadCount(f"{len(self.members)} members in a sector")
        fixed = self.LAYOUT.pack(
            _MAGIC,
            VERSION,
            self.state,
            self.health,
            self.nodeid,
            self.incarnation,
            self.counter,
            self.claim,
            self.ringId.representative,
            self.ringId.sequence,
            _digest(cluster.encode()),
            len(self.members),
        )
        members = b"".join(map(_MEMBER.pack, self.members))
        body = (fixed + members).ljust(SECTOR_BYTES - _DIGEST_BYTES, b"\0")
        return body + _digest(body)

    @classmethod
    def decode(cls, sector: bytes, cluster: str) -> Self | None:
        """
        @return: L{None} for a sector that nobody has written yet.
        @raise OtherCluster: it is not ours.
        @raise WireError: it is damaged.
        """
        if len(sector) != SECTOR_BYTES:
            raise TruncatedFrame(f"a sector of {len(sector)} bytes")
        if not any(sector):
            return None
        body = sector[:-_DIGEST_BYTES]
        if not body.startswith(_MAGIC):
            raise UnknownFrame("not a sector of a quorum disk")
        if _digest(body) != sector[-_DIGEST_BYTES:]:
            raise ForgedFrame("a sector whose checksum is wrong")
        return cls._fields(body, cluster)

    @classmethod
    def _fields(cls, body: bytes, cluster: str) -> Self:
        fields = cls.LAYOUT.unpack_from(body)
        _, version, state, health, nodeid, incarnation, counter, claim = fields[:8]
        representative, sequence, name, count = fields[8:]
        if version != VERSION:
            raise UnknownFrame(f"a sector of version {version}")
        if name != _digest(cluster.encode()):
            raise OtherCluster("a sector of another cluster")
        if count > MOST_MEMBERS:
            raise BadCount(f"{count} members in a sector")
        if state not in tuple(State) or health not in tuple(Health):
            raise UnknownFrame(f"a sector with state {state}, heuristics {health}")
        start = cls.LAYOUT.size
        members = Struct(f"<{count}I").unpack_from(body, start)
        return cls(
            nodeid,
            incarnation,
            counter,
            State(state),
            claim,
            RingId(sequence, representative),
            members,
            Health(health),
        )


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST_BYTES).digest()


Slots = Mapping[int, Slot]
