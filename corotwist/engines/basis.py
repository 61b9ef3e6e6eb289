"""
On whose votes it is decided: what nodes remember, so that of two partitions at
most one may act.

As long as the votes that are expected do not change, two majorities share a
node, and nothing has to be remembered.  Where they do change, for
C{last_man_standing} or C{allow_downscale}, or where half of them suffices with
a node that changes, for C{auto_tie_breaker}, it is like this:

    - A I{basis} is who votes with how much, how many votes there are in all,
      and who breaks a tie.  Any two partitions that it permits share a node.
    - Another basis is attempted by a partition that the old one permits: every
      member writes it down, says so in order, and when all have said so it is
      formed.
    - Who has written an attempt down cannot know whether the others formed it.
      So a partition needs the consent of the newest basis that any of its
      members knows to be formed, and of all later attempts.

Two partitions that act at once would share a node then, whatever either of
them remembers: L{Memory.permits} is the only thing to be right about.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from struct import Struct
from typing import Final, Self

from attrs import evolve, frozen

from corotwist.errors import BadCount, TruncatedFrame

# Nodes of one basis, and attempts that one node may not know the end of; several
# nodes together may have more, and none of them may be forgotten.
MOST_VOTERS: Final = 1024
MOST_ATTEMPTS: Final = 64
# Each change is one epoch: nobody was ever there.
MOST_EPOCHS: Final = 1 << 63
MOST_VOTES: Final = (1 << 64) - 1

DIGEST_BYTES: Final = 8

_BASIS: Final = Struct("<QQIH")
_VOTER: Final = Struct("<IQ")
_MEMORY: Final = Struct("<BB")


@frozen
class Basis:
    """
    Whose votes count, after the common header::

        offset  size  field
             0     8  epoch
             8     8  expected votes
            16     4  nodeid of the node that breaks ties, or 0
            20     2  number of voters
            22  12 n  nodeid (4) and votes (8) of each, ascending

    @ivar epoch: above those of all that its makers knew of.
    @ivar voters: by nodeid, ascending; if their votes are fewer than expected,
        the rest belongs to nodes that were never heard of.
    @ivar tie: with this one, half of the votes suffices; 0 for nobody.
    """

    epoch: int
    expected: int
    voters: tuple[tuple[int, int], ...]
    tie: int = 0

    @property
    def total(self) -> int:
        """
        All votes that there are.
        """
        return max(self.expected, sum(votes for _, votes in self.voters))

    def permits(self, present: Mapping[int, int]) -> bool:
        """
        May a partition act?

        @param present: votes by nodeid, as its members have them now.
        """
        weight, total = self.weight(present), self.total
        return 2 * weight > total or (2 * weight == total and self.tie in present)

    def weight(self, present: Mapping[int, int]) -> int:
        """
        How many votes members have on this basis.
        """
        voters = dict(self.voters)
        known = sum(votes for nodeid, votes in self.voters if nodeid in present)
        others = sum(votes for nodeid, votes in present.items() if nodeid not in voters)
        return known + min(others, self.total - sum(voters.values()))

    def likens(self, other: "Basis") -> bool:
        """
        Does it permit the same partitions?
        """
        return evolve(self, epoch=0) == evolve(other, epoch=0)

    @property
    def digest(self) -> bytes:
        """
        Names it: nodes that are configured differently may mean another one.
        """
        return blake2b(self.encode(), digest_size=DIGEST_BYTES).digest()

    def encode(self) -> bytes:
        """
        As in messages and in the file.
        """
        head = _BASIS.pack(
            self.epoch, min(self.expected, MOST_VOTES), self.tie, len(self.voters)
        )
        return head + b"".join(_VOTER.pack(*voter) for voter in self.voters)

    @classmethod
    def decode(cls, data: bytes, offset: int = 0) -> tuple[Self, int]:
        """
        @return: and where it ends.
        @raise WireError: there is none.
        """
        if len(data) < offset + _BASIS.size:
            raise TruncatedFrame("the votes that count end early")
        epoch, expected, tie, count = _BASIS.unpack_from(data, offset)
        offset += _BASIS.size
        end = offset + count * _VOTER.size
        if count > MOST_VOTERS or epoch > MOST_EPOCHS:
            raise BadCount(f"{count} nodes have votes, in epoch {epoch}")
        if len(data) < end:
            raise TruncatedFrame("the voters end early")
        voters = tuple(_VOTER.iter_unpack(data[offset:end]))
        return cls(epoch, expected, voters, tie), end


@frozen
class Memory:
    """
    What a node knows of all this: in a file, and in messages::

        offset  size  field
             0     1  number of formed bases that follow, 0 or 1
             1     1  number of attempts that follow it
             2        they

    @ivar formed: the newest that is known to be formed, if any is.
    @ivar attempts: later ones that may be formed, ascending by epoch.
    """

    formed: Basis | None = None
    attempts: tuple[Basis, ...] = ()

    @property
    def epoch(self) -> int:
        """
        The highest that was heard of.
        """
        return max((basis.epoch for basis in self._all()), default=0)

    def _all(self) -> tuple[Basis, ...]:
        return self.attempts if self.formed is None else (self.formed, *self.attempts)

    @property
    def full(self) -> bool:
        """
        Is there no room for another attempt?
        """
        return len(self.attempts) >= MOST_ATTEMPTS

    def permits(self, present: Mapping[int, int]) -> bool:
        """
        May a partition act, as far as what is remembered goes?
        """
        return all(basis.permits(present) for basis in self._all())

    def attempted(self, basis: Basis) -> "Memory":
        """
        A basis is written down.  Of several that permit the same the last one
        stands for all.
        """
        others = [other for other in self.attempts if not other.likens(basis)]
        attempts = sorted([*others, basis], key=lambda one: one.epoch)
        return evolve(self, attempts=tuple(attempts))

    def agreed(self, basis: Basis) -> "Memory":
        """
        A basis is formed: what came before it has no say any more.
        """
        later = (one for one in self.attempts if one.epoch > basis.epoch)
        return Memory(basis, tuple(later))

    @classmethod
    def merged(cls, memories: Iterable["Memory"]) -> "Memory":
        """
        What several nodes know together.
        """
        known = list(memories)
        formed = [memory.formed for memory in known if memory.formed is not None]
        newest = max(formed, key=lambda one: one.epoch, default=None)
        whole = Memory() if newest is None else Memory(newest)
        attempts = {one for memory in known for one in memory.attempts}
        for attempt in sorted(attempts, key=lambda one: (one.epoch, one.encode())):
            if newest is None or attempt.epoch > newest.epoch:
                whole = whole.attempted(attempt)
        return whole

    def encode(self) -> bytes:
        """
        As in messages and in the file.
        """
        head = _MEMORY.pack(self.formed is not None, len(self.attempts))
        return head + b"".join(basis.encode() for basis in self._all())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        @raise WireError: it is something else.
        """
        if len(data) < _MEMORY.size:
            raise TruncatedFrame("what is remembered ends early")
        formed, attempts = _MEMORY.unpack_from(data)
        if formed > 1:
            raise BadCount(f"{formed} formed, {attempts} attempts")
        offset, bases = _MEMORY.size, []
        for _ in range(formed + attempts):
            basis, offset = Basis.decode(data, offset)
            bases.append(basis)
        if formed:
            return cls(bases[0], tuple(bases[1:]))
        return cls(None, tuple(bases))


NOTHING: Final = Memory()
