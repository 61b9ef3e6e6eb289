"""
A state that is the same on every node, made by commands in one order; who joins
gets it from those who have it.

After each change of the ring every node says which state it has
(L{lineage<corotwist.engines.lineage>}), and all decide alike which one counts.
Who has another one gets that one, while the others go on: the lowest of those
who have it announces a snapshot; where the announcement is in the order,
everybody who is current makes one, and everybody who is not begins to collect
commands.  The snapshot follows in pieces; after the last one the collected
commands are applied.  When the ring changes in between, the next holder goes on
where the pieces stopped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.engines import lineage
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.lineage import NOTHING, Offer, Place, Side, Standing
from corotwist.engines.proposals import Proposals
from corotwist.engines.snapshots import Incoming, Kept, Piece, Transfer
from corotwist.errors import (
    BadHandle,
    Interrupted,
    NotQuorate,
    ServiceError,
    TruncatedFrame,
    TryAgain,
    UnknownFrame,
)
from corotwist.interfaces import ICluster, IReplaceable
from corotwist.totem.membership import Configuration, Guarantee, RingId

# Snapshots that one node asks for on one ring, when it cannot use what it gets.
MOST_ATTEMPTS: Final = 3
# Without a piece for so long, somebody else has to send them.
PATIENCE_NS: Final = 10_000_000_000

Handler = Callable[["ReplicatedEngine", int, bytes], None]

# Where an engine is in all this, for the one that goes on instead.
_COURSE: Final = (
    *("_own", "_position", "_standing", "_place", "_kept", "_incoming", "_offers"),
    *("_holders", "_lacking", "_transfer", "_announced", "_attempts", "_since"),
    "_proposals",
)
_SERIAL: Final = Struct("<Q")
_RING: Final = Struct("<QI")
_TROUBLE: Final = Struct("<QII")


class Function(IntEnum):
    """
    The messages: a node's offer, a command, "here begins a snapshot", a piece
    of it, and "I cannot use it" or "nobody sends it".
    """

    OFFER = 0
    COMMAND = 1
    BEGIN = 2
    PIECE = 3
    TROUBLE = 4


@implementer(IReplaceable)
class ReplicatedEngine(SynchronizedEngine):
    """
    To derive from: a subclass has C{snapshot}, C{restore} and C{apply}, and
    gets its commands through L{propose}.

    All three must follow from the state and the arguments alone, and equal
    states must have equal snapshots, byte for byte: sort what has no order.

    @cvar guarantee: of commands.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.AGREED

    def __init__(self) -> None:
        self._log = Logger()
        # What this node has, and what it will have with all that it collects.
        self._own = NOTHING
        self._position = NOTHING
        self._standing = Standing.CURRENT
        self._place = Place()
        self._kept: Kept | None = None
        self._incoming: Incoming | None = None
        # What all nodes know.
        self._offers: dict[int, Offer] = {}
        self._holders: list[int] = []
        self._lacking: list[int] = []
        self._transfer: Transfer | None = None
        self._announced = False
        self._attempts = 0
        self._patience: Any = None
        self._since = 0
        self._asked: dict[Callable[[], None], None] = {}
        self._proposals = Proposals()

    # For subclasses to implement.

    def snapshot(self) -> bytes:
        """
        The whole state.
        """
        raise NotImplementedError

    def restore(self, state: bytes) -> None:
        """
        Have this state instead of ours; C{state} is what C{snapshot} made on
        another node.
        """
        raise NotImplementedError

    def apply(self, nodeid: int, command: bytes) -> Any:
        """
        Change the state.

        @param nodeid: who proposed it.
        @return: what the proposer is told.
        @raise ServiceError: the command changes nothing, and its proposer is
            told why.
        """
        raise NotImplementedError

    def choose(self, sides: Sequence[Side]) -> Side:
        """
        Whose state counts, when sides of a partition meet that both applied
        something; by default that of most nodes.  Asked on every node, with
        the same sides.
        """
        return lineage.larger(sides)

    def sideLost(self, state: bytes) -> Iterable[bytes]:
        """
        Two sides of a partition met, both had applied something, and the other
        one's state counts (L{choose} says whose).  Asked at the lowest node of
        the losing side.

        @param state: the snapshot of what we had.
        @return: commands that bring over what must not be lost; they are
            proposed as soon as this node has the other state.
        """
        return ()

    # For subclasses to use.

    @property
    def current(self) -> bool:
        """
        Is the state here that of the cluster, as far as it was delivered?
        """
        return self._standing is Standing.CURRENT

    def propose(self, command: bytes) -> Deferred[Any]:
        """
        Have a command applied everywhere, at one place in the order.  It waits
        while there is no room, while the cluster synchronizes and while this
        node gets the state.

        @return: fires with what C{apply} returned here, or fails with what it
            raised; with C{TooBig} or L{TryAgain} when it was not taken; with
            L{NotQuorate} when this engine needs quorum and has none; with
            L{Interrupted} when it was applied and this node cannot know the
            outcome, since it got a whole state with it; and with L{BadHandle}
            when the engine stops.
        """
        try:
            if not self.allowInquorate and not self.cluster.quorate():
                raise NotQuorate(f"service {self.name} needs quorum")
            applied = self._proposals.add(command)
        except ServiceError:
            return fail()
        self._sendWaiting()
        return applied

    def progress(self) -> dict[str, Any]:
        """
        For people: which state this node has, and what is on its way.
        """
        transfer = self._transfer
        seconds = 0.0
        if not self.current:
            seconds = (self.cluster.now() - self._since) / 1e9
        return {
            "current": self.current,
            "commands": self._position.count,
            "lacking": list(self._lacking),
            "sender": transfer.holders[0] if transfer and transfer.holders else 0,
            "bytesDone": transfer.offset if transfer else 0,
            "bytesTotal": (transfer.total or 0) if transfer else 0,
            "collected": len(self._incoming.delta) if self._incoming else 0,
            "seconds": seconds,
        }

    def dump(self) -> Mapping[str, Any]:
        return {"transfer": self.progress()}

    # Proposals.

    def _sendWaiting(self) -> None:
        """
        As many as there is room for.
        """
        proposals = self._proposals
        while proposals.waiting and self.current:
            if self.cluster.synchronizing():
                self._later(self._sendWaiting)
                return
            serial, command = proposals.next()
            body = _SERIAL.pack(serial) + command
            if not self._sent(Function.COMMAND, body, self._sendWaiting):
                return
            proposals.sent()

    def _sent(self, function: Function, body: bytes, again: Callable[[], None]) -> bool:
        """
        Multicast, or have C{again} called when there may be room.
        """
        try:
            self.cluster.multicast(function, body, self.guarantee)
        except TryAgain:
            self._later(again)
            return False
        return True

    def _later(self, again: Callable[[], None]) -> None:
        """
        Ask once, however many have something to send.
        """

        def call() -> None:
            del self._asked[again]
            again()

        if again not in self._asked:
            self._asked[again] = None
            self.cluster.whenRoom(call)

    # Beginning and end.

    def initialize(self, cluster: ICluster, settings: Any) -> Any:
        self._since = cluster.now()
        return super().initialize(cluster, settings)

    def shutdown(self) -> bool:
        self._rest()
        self._proposals.fail(BadHandle("the service stops"))
        return super().shutdown()

    # Another version of this engine goes on.

    def handOver(self) -> dict[str, Any]:
        self._rest()
        course = {name: getattr(self, name) for name in _COURSE}
        return {"format": 1, "state": self.snapshot(), "course": course}

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        course = {name: state["course"][name] for name in _COURSE}
        self.restore(state["state"])
        for name, value in course.items():
            setattr(self, name, value)
        if not self.current:
            self._watch()
        self._later(self._goAhead)

    def _goAhead(self) -> None:
        """
        With whatever the engine before us had not sent.
        """
        self._sendWaiting()
        if self.current:
            self._serve()

    # From the ring.

    def configurationChanged(self, configuration: Configuration) -> None:
        part = min(configuration.members) if configuration.transitional else 0
        self._place = Place(configuration.ringId, part)
        self._rest()

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        handler = self._EXECUTIVE.get(function)
        if handler is None:
            raise UnknownFrame(f"function {function} of {self.name}")
        handler(self, nodeid, body)

    def _commandDelivered(self, nodeid: int, body: bytes) -> None:
        if len(body) < _SERIAL.size:
            raise TruncatedFrame(f"a command of {len(body)} bytes")
        (serial,) = _SERIAL.unpack_from(body)
        command = body[_SERIAL.size :]
        self._position = self._position.next(self._place)
        if self.current:
            self._own = self._position
            self._apply(nodeid, serial, command)
        elif self._incoming is None:
            self._unknown(nodeid, serial)
        elif not self._incoming.collect(nodeid, serial, command):
            self._giveUp("too many commands came meanwhile")

    def _apply(self, nodeid: int, serial: int, command: bytes) -> None:
        waits = self._mine(nodeid, serial)
        try:
            result = self.apply(nodeid, command)
        except ServiceError:
            result = Failure()
        except Exception:
            if waits is not None:
                waits.errback(Failure())
            raise
        if waits is not None:
            waits.callback(result)

    def _mine(self, nodeid: int, serial: int) -> Deferred[Any] | None:
        if nodeid != self.cluster.nodeid:
            return None
        return self._proposals.delivered(serial)

    def _unknown(self, nodeid: int, serial: int) -> None:
        """
        The state that we wait for has it; what came of it is not known here.
        """
        waits = self._mine(nodeid, serial)
        if waits is not None:
            waits.errback(Interrupted("applied; the outcome is not known"))

    # Synchronization: who has what.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._offers = {}

    def synchronize(self) -> bool:
        base, offset = NOTHING, 0
        if self._kept is not None:
            base, offset = self._kept.base, len(self._kept.state)
        elif self._incoming is not None:
            base, offset = self._incoming.base, len(self._incoming.data)
        offer = Offer(
            self.cluster.ringId(),
            self._standing,
            self._own,
            self._position,
            base,
            offset,
        )
        self.cluster.multicast(Function.OFFER, offer.encode())
        return True

    def _offerDelivered(self, nodeid: int, body: bytes) -> None:
        offer = Offer.decode(body)
        if offer.ringId == self.cluster.ringId():
            self._offers[nodeid] = offer

    def synchronizationAborted(self) -> None:
        self._offers = {}

    def synchronizationCompleted(self) -> None:
        offers, self._offers = self._offers, {}
        if self.cluster.nodeid not in offers:
            return  # Ours was refused; the others cannot count on us either.
        winner = self.choose(lineage.sides(offers))
        self._holders = list(winner.holders)
        self._lacking = [n for n in sorted(offers) if n not in winner.holders]
        self._announced = False
        self._attempts = 0
        self._position = winner.mark
        self._goOn(lineage.resumption(offers, winner))
        if self.cluster.nodeid in winner.holders:
            self._become(Standing.CURRENT)
            self._serve()
        else:
            self._lose(offers, winner)
        self._sendWaiting()

    def _goOn(self, resumption: lineage.Resumption | None) -> None:
        """
        With the transfer that the change interrupted, if that is possible.
        """
        self._transfer = None
        if resumption is not None:
            self._transfer = Transfer(
                resumption.base,
                list(resumption.holders),
                list(resumption.receivers),
                resumption.offset,
            )
        nodeid, transfer = self.cluster.nodeid, self._transfer
        if transfer is None or nodeid not in transfer.holders:
            self._kept = None
        elif self._kept is not None:
            self._kept.seek(transfer.offset)
        if transfer is None or nodeid not in transfer.receivers:
            self._dropIncoming()

    def _lose(self, offers: Mapping[int, Offer], winner: Side) -> None:
        """
        The state that counts is another one than ours.
        """
        own, wasCurrent = self._own, self.current
        self._become(Standing.LACKING)
        self._watch()
        mine = [n for n, offer in sorted(offers.items()) if offer.own == own]
        if wasCurrent and own != NOTHING:
            self._log.warn(
                "Service {name}: the state of nodes {winners} counts, not that of "
                "nodes {losers} with {commands} commands",
                name=self.name,
                winners=winner.holders,
                losers=mine,
                commands=own.count,
            )
            if mine[0] == self.cluster.nodeid:
                for command in self.sideLost(self.snapshot()):
                    self.propose(command).addErrback(self._notBroughtOver)

    def _notBroughtOver(self, failure: Failure) -> None:
        self._log.failure(
            "Service {name}: a command of the side that lost was refused",
            failure=failure,
            name=self.name,
        )

    def _become(self, standing: Standing) -> None:
        if standing is not self._standing:
            self._standing = standing
            self._since = self.cluster.now()

    # The transfer: those who have the state.

    def _serve(self) -> None:
        """
        Announce a snapshot, if it is our turn and somebody lacks the state.
        """
        if (
            self._transfer is None
            and self._lacking
            and not self._announced
            and self._holders[:1] == [self.cluster.nodeid]
            and not self._patient()
        ):
            ringId = self.cluster.ringId()
            body = _RING.pack(ringId.sequence, ringId.representative)
            self._announced = self._sent(Function.BEGIN, body, self._serve)
        self._push()

    def _patient(self) -> bool:
        """
        Have what we send wait until all services are in step.
        """
        if self.cluster.synchronizing():
            self._later(self._serve)
            return True
        return False

    def _beginDelivered(self, nodeid: int, body: bytes) -> None:
        ringId = _ringIn(body, _RING)
        if ringId != self.cluster.ringId() or self._transfer or not self._lacking:
            return
        self._announced = False
        self._transfer = Transfer(
            self._position, list(self._holders), list(self._lacking)
        )
        if self.current:
            self._kept = Kept(self._position, self.snapshot())
            self._push()
        else:
            self._dropIncoming()
            self._incoming = Incoming(self._position)

    def _push(self) -> None:
        """
        Send pieces, as long as not too many are on their way.
        """
        transfer, kept = self._transfer, self._kept
        if transfer is None or kept is None or not transfer.holders:
            return
        if transfer.holders[0] != self.cluster.nodeid or self._patient():
            return
        if kept.sent < transfer.offset:
            kept.seek(transfer.offset)
        while (piece := kept.next(transfer.offset)) is not None:
            if not self._sent(Function.PIECE, piece.encode(), self._push):
                return
            kept.sentOne(piece)

    def _pieceDelivered(self, nodeid: int, body: bytes) -> None:
        piece, transfer = Piece.decode(body), self._transfer
        if transfer is None or piece.base != transfer.base:
            return
        if self._incoming is not None:
            self._incoming.add(piece)
        if not self.current:
            self._watch()
        if transfer.pieceDelivered(piece):
            self._finished(transfer, piece)
        self._push()

    def _finished(self, transfer: Transfer, piece: Piece) -> None:
        """
        Everybody who was in it has all of it.
        """
        self._transfer = self._kept = None
        self._lacking = [n for n in self._lacking if n not in transfer.receivers]
        self._holders = sorted({*self._holders, *transfer.receivers})
        if self._incoming is not None:
            self._restore(self._incoming, piece)
        self._serve()

    # The transfer: those who lack it.

    def _restore(self, incoming: Incoming, piece: Piece) -> None:
        state = incoming.whole(piece)
        if state is None:
            self._giveUp("it is not what was sent")
            return
        self._rest()
        try:
            self.restore(state)
        except Exception:
            self._giveUp("it cannot be restored")
            raise
        self._incoming = None
        self._own = self._position
        self._become(Standing.CURRENT)
        self._log.info(
            "Service {name} has the state: {size} bytes and {commands} commands more",
            name=self.name,
            size=len(state),
            commands=len(incoming.delta),
        )
        self._applyAll(incoming.delta)
        self._sendWaiting()

    def _applyAll(self, commands: Iterable[tuple[int, int, bytes]]) -> None:
        """
        One that fails does not keep the others from being applied.
        """
        failure: Exception | None = None
        for nodeid, serial, command in commands:
            try:
                self._apply(nodeid, serial, command)
            except Exception as error:  # noqa: BLE001 - Raised below.
                failure = error
        if failure is not None:
            raise failure

    def _dropIncoming(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            for nodeid, serial, _ in incoming.delta:
                self._unknown(nodeid, serial)

    def _giveUp(self, why: str) -> None:
        """
        Ask for another snapshot.
        """
        self._dropIncoming()
        self._attempts += 1
        self._log.warn(
            "Service {name}: getting the state failed ({attempt} of {most}): {why}",
            name=self.name,
            attempt=self._attempts,
            most=MOST_ATTEMPTS,
            why=why,
        )
        if self._attempts < MOST_ATTEMPTS:
            self._complain(0)

    def _complain(self, sender: int) -> None:
        """
        @param sender: who does not send; 0 when we cannot use what was sent.
        """
        ringId = self.cluster.ringId()

        def complain() -> None:
            if ringId == self.cluster.ringId():
                self._sent(Function.TROUBLE, body, complain)

        body = _TROUBLE.pack(ringId.sequence, ringId.representative, sender)
        complain()

    def _troubleDelivered(self, nodeid: int, body: bytes) -> None:
        ringId = _ringIn(body, _TROUBLE)
        if ringId != self.cluster.ringId():
            return
        sender = _TROUBLE.unpack(body)[2]
        for nodes in [
            self._holders,
            *([self._transfer.holders] if self._transfer else []),
        ]:
            if sender in nodes and len(nodes) > 1:
                nodes.remove(sender)
        if not sender:
            self._exclude(nodeid)
        self._serve()

    def _exclude(self, nodeid: int) -> None:
        """
        A node needs another snapshot.
        """
        self._lacking = sorted({*self._lacking, nodeid})
        self._holders = [n for n in self._holders if n != nodeid]
        if self._transfer is not None and nodeid in self._transfer.receivers:
            self._transfer.receivers.remove(nodeid)
            if not self._transfer.receivers:
                self._transfer = self._kept = None

    # Nobody waits in silence.

    def _watch(self) -> None:
        self._rest()
        self._patience = self.cluster.callAfter(PATIENCE_NS, self._stalled)

    def _rest(self) -> None:
        if self._patience is not None:
            self.cluster.cancel(self._patience)
        self._patience = None

    def _stalled(self) -> None:
        self._patience = None
        transfer = self._transfer
        if self.current or self.cluster.synchronizing():
            return
        holders = transfer.holders if transfer else self._holders
        if holders:
            self._log.warn(
                "Service {name}: node {sender} does not send the state",
                name=self.name,
                sender=holders[0],
            )
            self._complain(holders[0])
        self._watch()

    _EXECUTIVE: ClassVar[Mapping[int, Handler]] = {
        Function.OFFER: _offerDelivered,
        Function.COMMAND: _commandDelivered,
        Function.BEGIN: _beginDelivered,
        Function.PIECE: _pieceDelivered,
        Function.TROUBLE: _troubleDelivered,
    }


def _ringIn(body: bytes, layout: Struct) -> RingId:
    if len(body) != layout.size:
        raise TruncatedFrame(f"{len(body)} bytes, not {layout.size}")
    sequence, representative = layout.unpack(body)[:2]
    return RingId(sequence, representative)
