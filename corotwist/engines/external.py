"""
A provider of quorum that asks somebody outside: a program on a member says
whether its partition may act.

What a program says is multicast and counts when it is delivered.  It counts for
the ring that it was said for, and on, as long as nobody is lost; and it ends
when the time it was given for is over: its node says so in the order.
"""

from collections.abc import Mapping
from enum import IntEnum
from struct import Struct
from typing import Any, Final, Self

from attrs import define, frozen
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines.provider import Judgement, QuorumProvider
from corotwist.engines.quoruminterfaces import IExternalQuorum
from corotwist.errors import (
    Exists,
    InvalidParameter,
    OldRing,
    TruncatedFrame,
    TryAgain,
    UnknownFrame,
)
from corotwist.interfaces import ICluster, IConnection
from corotwist.totem.membership import NO_RING, RingId

# A number of our own that real corosync nodes have room for.
EXTERNAL_SERVICE: Final = 35
SAID: Final = 0
# Of the reason that a program gives, in UTF-8.
LONGEST_REASON_BYTES: Final = 255
# A word is good for so long at most.
LONGEST_SECONDS: Final = 3600.0
_NS: Final = 1_000_000_000


class Says(IntEnum):
    """
    What a program says.
    """

    NOTHING = 0
    YES = 1
    NO = 2


@frozen
class Word:
    """
    What the program of a node says, about which ring::

        offset  size  field
             0     1  0 nothing any more, 1 yes, 2 no
             1     4  representative of the ring
             5     8  sequence of the ring
            13        reason in UTF-8, at most 255 bytes
    """

    LAYOUT = Struct("<BIQ")

    says: Says
    ringId: RingId
    reason: str = ""

    def encode(self) -> bytes:
        ringId = self.ringId
        fixed = self.LAYOUT.pack(self.says, ringId.representative, ringId.sequence)
        return fixed + self.reason.encode()[:LONGEST_REASON_BYTES]

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        @raise WireError: it is none.
        """
        if len(data) < cls.LAYOUT.size:
            raise TruncatedFrame("what a program says about quorum")
        says, representative, sequence = cls.LAYOUT.unpack_from(data)
        if says not in tuple(Says):
            raise UnknownFrame(f"a program says {says} about quorum")
        reason = data[cls.LAYOUT.size :][:LONGEST_REASON_BYTES]
        ringId = RingId(sequence, representative)
        return cls(Says(says), ringId, reason.decode("utf-8", "replace"))


def listen(words: Mapping[int, Word]) -> Judgement:
    """
    One yes is enough, unless somebody says no.
    """
    said = [(n, w) for n, w in sorted(words.items()) if w.says is not Says.NOTHING]
    against = [(n, w) for n, w in said if w.says is Says.NO]
    inputs = {"yes": len(said) - len(against), "no": len(against)}
    if not said:
        return Judgement(False, "no program says yes", inputs)
    nodeid, word = (against or said)[0]
    what = "no" if against else "yes"
    reason = f": {word.reason}" if word.reason else ""
    rule = f"the program at node {nodeid} says {what}{reason}"
    return Judgement(not against, rule, inputs)


@define
class _Speaker:
    """
    Who speaks for this node.

    @ivar timer: when its word ends.
    """

    connection: IConnection
    timer: Any = None


@implementer(IExternalQuorum)
class ExternalQuorumEngine(QuorumProvider):
    """
    The words of the members' programs.
    """

    name = "external"
    serviceId = EXTERNAL_SERVICE
    _ownLog = Logger()

    def __init__(self) -> None:
        super().__init__()
        self._words: dict[int, Word] = {}
        self._heard: dict[int, Word] = {}
        self._round = False
        self._ring: tuple[int, ...] = ()
        self._ringId = NO_RING
        self._standing: Word | None = None
        self._speaker: _Speaker | None = None
        self._silenced = False

    # From local clients.

    def say(
        self,
        connection: IConnection,
        *,
        quorate: bool,
        seconds: float,
        reason: str = "",
        ringId: RingId | None = None,
    ) -> None:
        if not 0 < seconds <= LONGEST_SECONDS:
            most = f"{LONGEST_SECONDS:g}"
            raise InvalidParameter(f"a word is good for at most {most} seconds")
        if self._speaker is not None and self._speaker.connection is not connection:
            raise Exists("another program speaks for this node")
        if self.cluster.synchronizing():
            raise TryAgain("the ring changes")
        if ringId not in (None, self.cluster.ringId()):
            raise OldRing(f"the ring is {self.cluster.ringId()} now, not {ringId}")
        says = Says.YES if quorate else Says.NO
        self._send(Word(says, self.cluster.ringId(), reason))
        self._silenced = False
        self._speaks(connection, seconds)

    def _send(self, word: Word) -> None:
        self.cluster.multicast(SAID, word.encode())

    def _speaks(self, connection: IConnection, seconds: float) -> None:
        if self._speaker is not None:
            self.cluster.cancel(self._speaker.timer)
        timer = self.cluster.callAfter(int(seconds * _NS), self._silence)
        self._speaker = _Speaker(connection, timer)

    def connectionClosed(self, connection: IConnection) -> None:
        """
        Its word goes with it.
        """
        if self._speaker is not None and self._speaker.connection is connection:
            self._silence()

    def _silence(self) -> None:
        """
        The word is good no longer: say so, as soon as there is room.
        """
        if self._speaker is not None:
            self.cluster.cancel(self._speaker.timer)
        self._speaker = None
        self._silenced = True
        self._tellSilence()

    def _tellSilence(self) -> None:
        if not self._silenced:
            return  # Somebody spoke again.
        try:
            if not self.cluster.synchronizing():
                self._send(Word(Says.NOTHING, self.cluster.ringId()))
                self._silenced = False
                return
        except TryAgain:
            self._ownLog.debug("No room yet to say that nobody speaks")
        self.cluster.whenRoom(self._tellSilence)

    # From the ring.

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if function != SAID or nodeid not in self.cluster.members():
            return
        word = Word.decode(body)
        if word.ringId != self.cluster.ringId():
            return  # Said of a ring that is over.
        if self._round:
            self._heard[nodeid] = word
        else:
            self._words[nodeid] = word
            self.judged(listen(self._words))

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        """
        Our word stands if everybody that it was said of came along.
        """
        self._round, self._heard = True, {}
        own = self._words.get(self.cluster.nodeid)
        stands = own is not None and {*self._ring} <= {*transitional}
        self._standing = own if stands and self._speaker is not None else None
        self._ringId = ringId

    def synchronize(self) -> bool:
        if self._standing is not None:
            word = self._standing
            self._send(Word(word.says, self._ringId, word.reason))
        return True

    def synchronizationCompleted(self) -> None:
        self._round = False
        self._ring = self.cluster.members()
        self._words = self._heard
        self.judged(listen(self._words))

    # For people, and programs.

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        if settings.quorum.provider == self.name and len(settings.totem.nodes) > 1:
            self._ownLog.info("Programs say whether this partition may act")

    def words(self) -> dict[str, Any]:
        ringId = self.cluster.ringId()
        return {
            "sequence": ringId.sequence,
            "representative": ringId.representative,
            "members": list(self.cluster.members()),
            "synchronizing": self.cluster.synchronizing(),
            "words": {
                str(nodeid): {"says": word.says.name.lower(), "reason": word.reason}
                for nodeid, word in sorted(self._words.items())
            },
        }

    def dump(self) -> Mapping[str, Any]:
        return {**super().dump(), **self.words()}

    # Another version.

    def handOver(self) -> dict[str, Any]:
        """
        Besides what every provider has::

            words    by nodeid: what was said, as on the wire
            ring     the members that it was said of
            speaker  the connection that speaks for us, or nothing, and
            until    when its word ends, on the clock of the node

        @raise TryAgain: the others do not know yet that nobody speaks.
        """
        if self._silenced:
            raise TryAgain("nobody speaks any more, and the others do not know yet")
        speaker = self._speaker
        return {
            **super().handOver(),
            "words": {n: word.encode() for n, word in self._words.items()},
            "ring": self._ring,
            "speaker": None if speaker is None else speaker.connection,
            "until": 0 if speaker is None else self.cluster.expiresAt(speaker.timer),
        }

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        super().takeOver(state, version)
        self._words = {n: Word.decode(text) for n, text in state["words"].items()}
        self._ring = tuple(state["ring"])
        if state["speaker"] is not None:
            left = max(state["until"] - self.cluster.now(), 1)
            self._speaks(state["speaker"], left / _NS)
