"""
The judge of flow control: the token counts what was sent in its last
rotation, exactly, and never more than a window.  [pitfall A9]

It sees what processors ask their shells to send, and so what they believe to
have sent, whatever becomes of it.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from attrs import define, field

from corotwist.simulator.faults import KIND_AT, KINDS
from corotwist.simulator.judges.judge import Judge, Life

_DATA: Final = KINDS.index("data")
_TOKEN: Final = KINDS.index("token")
_RING_IN_DATA: Final = slice(25, 37)
_RING_IN_TOKEN: Final = slice(29, 41)
_TOKEN_SEQUENCE: Final = slice(17, 21)
_FLOW_COUNT: Final = Struct("<I")
_FLOW_COUNT_AT: Final = 45
_MASK: Final = (1 << 32) - 1
RINGS_REMEMBERED: Final = 64


@define(eq=False)
class Account:
    """
    One ring's.

    @ivar total: frames of the last rotation.
    @ivar visits: of each processor, the frames of its last visit.
    @ivar since: of each, those since it sent the token.
    @ivar tokens: the last token of each.
    """

    total: int = 0
    visits: dict[Life, int] = field(factory=dict)
    since: dict[Life, int] = field(factory=dict)
    tokens: dict[Life, bytes] = field(factory=dict)


@define(eq=False)
class FlowJudge(Judge):
    """
    I9.

    @ivar windowSize: frames in one rotation, at most.
    """

    windowSize: int
    _rings: dict[bytes, Account] = field(factory=dict)

    def multicast(self, life: Life, frames: Sequence[bytes]) -> None:
        """
        A processor sends frames.
        """
        if frames[0][KIND_AT] == _DATA:
            # All frames of one visit are of one ring.
            account = self._account(frames[0][_RING_IN_DATA])
            account.since[life] = account.since.get(life, 0) + len(frames)

    def unicast(self, life: Life, frame: bytes) -> None:
        """
        A processor sends the token, or a copy of the one it sent last.
        """
        if frame[KIND_AT] != _TOKEN:
            return
        account = self._account(frame[_RING_IN_TOKEN])
        number = frame[_TOKEN_SEQUENCE]
        if account.tokens.get(life) == number:
            return
        account.tokens[life] = number
        sent = account.since.pop(life, 0)
        account.total += sent - account.visits.get(life, 0)
        account.visits[life] = sent
        said = _FLOW_COUNT.unpack_from(frame, _FLOW_COUNT_AT)[0]
        if said != account.total & _MASK:
            self.blame(
                "I9",
                "the token does not count what was sent",
                life,
                said=said,
                sent=account.total,
            )
        elif said > self.windowSize:
            self.blame(
                "I9",
                "more than a window was sent in one rotation",
                life,
                sent=said,
                window=self.windowSize,
            )

    def _account(self, ring: bytes) -> Account:
        account = self._rings.get(ring)
        if account is None:
            account = self._rings[ring] = Account()
            if len(self._rings) > RINGS_REMEMBERED:
                del self._rings[next(iter(self._rings))]
        return account
