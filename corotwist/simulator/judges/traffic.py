"""
The judge of what is on the wire: joins, tokens, and names of rings.

It reads plain datagrams; sealed ones tell it nothing.
"""

from collections import deque
from collections.abc import Callable
from math import ceil
from struct import Struct
from typing import Final

from attrs import define, field

from corotwist.config.settings import Timing
from corotwist.simulator.faults import kindOf
from corotwist.simulator.judges.judge import Judge, Life

# Where the ring id is in each kind of datagram that means a ring in use.
RING_ID_AT: Final = {"token": 29, "data": 25, "merge": 17, "commit": 17, "cancel": 13}
RING_ID_BYTES: Final = 12
RING_ID: Final = Struct("<IQ")
TOKEN_SEQUENCE: Final = slice(17, 21)
# Tokens of a ring that are remembered to tell a copy from a second token.
TOKENS_REMEMBERED: Final = 512
RINGS_REMEMBERED: Final = 64
# A node may send so many joins in the time of one consensus; [EVS L5].
JOIN_FACTOR: Final = 4


@define(eq=False)
class Sender:
    """
    What one process has sent.

    @ivar namedBefore: the highest ring sequence that earlier processes of this
        node gave to a ring, while its disk lasts.
    """

    durable: Callable[[], int | None]
    joins: deque[float] = field(factory=deque)
    checked: bytes = b""
    namedBefore: int = -1


@define(eq=False)
class TrafficJudge(Judge):
    """
    I1: one token per ring.  I5: names are durable before they are used.
    P2.6: and not given again by a later process.  L5: no storm of joins.

    @ivar size: how many nodes there are.
    @ivar mostJoins: the most that any process sent within one consensus time.
    """

    timing: Timing
    size: int
    mostJoins: int = 0
    _senders: dict[Life, Sender] = field(factory=dict)
    _named: dict[int, int] = field(factory=dict)
    _tokens: dict[bytes, dict[bytes, bytes]] = field(factory=dict)

    def booted(self, life: Life, durable: Callable[[], int | None]) -> None:
        """
        A process started.

        @param durable: tells the ring sequence on its disk.
        """
        sender = self._senders[life] = Sender(durable)
        if life.fresh:
            self._forgetRingsOf(life.nodeid)
            self._named.pop(life.nodeid, None)
        sender.namedBefore = self._named.get(life.nodeid, -1)

    def ended(self, life: Life) -> None:
        """
        It sends no more.
        """
        self._senders.pop(life, None)

    def sent(self, life: Life, datagram: bytes, now: float) -> None:
        """
        A datagram is about to leave.
        """
        sender = self._senders.get(life)
        if sender is None:
            return
        kind = kindOf(datagram)
        if kind == "join":
            self._joinSent(life, sender, now)
            return
        at = RING_ID_AT.get(kind)
        if at is None:
            return
        ring = datagram[at : at + RING_ID_BYTES]
        if ring != sender.checked:
            sender.checked = ring
            self._nameUsed(life, sender, ring, kind)
        if kind == "token":
            self._tokenSent(life, ring, datagram)

    def _forgetRingsOf(self, nodeid: int) -> None:
        """
        A node that lost its disk may use a name again of which nobody lives.
        """
        for ring in [r for r in self._tokens if RING_ID.unpack(r)[0] == nodeid]:
            del self._tokens[ring]

    @property
    def joinBound(self) -> int:
        """
        How many joins within one consensus time are a storm.
        """
        return JOIN_FACTOR * (
            ceil(self.timing.consensus / self.timing.join) + self.size
        )

    def _joinSent(self, life: Life, sender: Sender, now: float) -> None:
        joins = sender.joins
        joins.append(now)
        while joins[0] <= now - self.timing.consensus:
            joins.popleft()
        self.mostJoins = max(self.mostJoins, len(joins))
        if len(joins) > self.joinBound:
            self.blame(
                "L5",
                "a storm of joins",
                life,
                joins=len(joins),
                seconds=self.timing.consensus,
            )
            joins.clear()

    def _nameUsed(self, life: Life, sender: Sender, ring: bytes, kind: str) -> None:
        representative, sequence = RING_ID.unpack(ring)
        if representative == life.nodeid:
            named = self._named.get(life.nodeid, -1)
            self._named[life.nodeid] = max(named, sequence)
            if sequence <= sender.namedBefore:
                self.blame(
                    "P2.6",
                    "gave a ring a name that an earlier process of it gave",
                    life,
                    kind=kind,
                    sequence=sequence,
                    before=sender.namedBefore,
                )
        durable = sender.durable()
        if durable is None or sequence > durable:
            self.blame(
                "I5",
                "used a ring id before it was on disk",
                life,
                kind=kind,
                sequence=sequence,
                durable=durable,
            )

    def _tokenSent(self, life: Life, ring: bytes, datagram: bytes) -> None:
        number = datagram[TOKEN_SEQUENCE]
        tokens = self._tokens.get(ring)
        if tokens is None:
            tokens = self._tokens[ring] = {}
            if len(self._tokens) > RINGS_REMEMBERED:
                del self._tokens[next(iter(self._tokens))]
        known = tokens.setdefault(number, datagram)
        if known != datagram:
            self.blame(
                "I1",
                "two tokens in one ring",
                life,
                ring="{0[0]}.{0[1]:x}".format(RING_ID.unpack(ring)),
                token=int.from_bytes(number, "little"),
            )
        if len(tokens) > TOKENS_REMEMBERED:
            del tokens[next(iter(tokens))]
