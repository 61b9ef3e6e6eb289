"""
Who has the state, who gets it, and what is proposed meanwhile: the course of one
L{ReplicatedEngine<corotwist.engines.transfer.ReplicatedEngine>}.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, ClassVar, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from corotwist.engines import lineage
from corotwist.engines.lineage import NOTHING, Offer, Place, Side, Standing
from corotwist.engines.proposals import Proposals
from corotwist.engines.snapshots import Incoming, Kept, Piece, Transfer
from corotwist.errors import (
    Interrupted,
    NotQuorate,
    ServiceError,
    TruncatedFrame,
    TryAgain,
    UnknownFrame,
)
from corotwist.interfaces import ICluster
from corotwist.totem.membership import NO_RING, Configuration, Guarantee, RingId

# Snapshots that one node asks for on one ring, when it cannot use what it gets.
MOST_ATTEMPTS: Final = 3
# Without a piece for so long, somebody else has to send them.
PATIENCE_NS: Final = 10_000_000_000

Handler = Callable[["Replication", int, bytes], None]

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


class Machine(Protocol):
    """
    The engine: its state, and what changes it.
    """

    cluster: ICluster

    @property
    def name(self) -> str: ...
    @property
    def guarantee(self) -> Guarantee: ...
    @property
    def allowInquorate(self) -> bool: ...
    def snapshot(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...
    def apply(self, nodeid: int, command: bytes) -> Any: ...
    def choose(self, sides: Sequence[Side]) -> Side: ...
    def sideLost(self, state: bytes) -> Iterable[bytes]: ...
    def propose(self, command: bytes) -> Deferred[Any]: ...


class Replication:
    """
    Everything about a replicated state but the state.

    @ivar proposals: those of this node.
    """

    def __init__(self, machine: Machine) -> None:
        self.proposals = Proposals()
        self._machine = machine
        self._log = Logger()
        # What this node has, and what it will have with all that it collects.
        self._own = NOTHING
        self._position = NOTHING
        self._standing = Standing.CURRENT
        self._place = Place()
        # Where all decided whose state counts; elsewhere no command is applied.
        self._agreed = NO_RING
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

    @property
    def current(self) -> bool:
        """
        Is the state here that of the cluster?
        """
        return self._standing is Standing.CURRENT

    def goOnAt(self, machine: Machine) -> None:
        """
        Another version of the engine has the state now.
        """
        self._machine = machine
        self._asked.clear()
        if not self.current:
            self._watch()
        self._later(self._goAhead)

    def _goAhead(self) -> None:
        """
        With whatever the engine before us had not sent.
        """
        self.sendWaiting()
        if self.current:
            self._serve()

    # Proposals.

    def sendWaiting(self) -> None:
        """
        As many as there is room for.
        """
        proposals = self.proposals
        while proposals.waiting and self.current:
            if self._machine.cluster.synchronizing():
                self._later(self.sendWaiting)
                return
            serial, command = proposals.next()
            body = _SERIAL.pack(serial) + command
            if not self._sent(Function.COMMAND, body, self.sendWaiting):
                return
            proposals.sent()

    def _sent(self, function: Function, body: bytes, again: Callable[[], None]) -> bool:
        """
        Multicast, or have C{again} called when there may be room.
        """
        try:
            self._machine.cluster.multicast(function, body, self._machine.guarantee)
        except TryAgain:
            self._later(again)
            return False
        return True

    def _later(self, again: Callable[[], None]) -> None:
        """
        Ask once, however many have something to send.
        """

        def call() -> None:
            self._asked.pop(again, None)
            again()

        if again not in self._asked:
            self._asked[again] = None
            self._machine.cluster.whenRoom(call)

    # From the ring.

    def configurationChanged(self, configuration: Configuration) -> None:
        """
        See C{IServiceEngine}; so on for the others.
        """
        part = min(configuration.members) if configuration.transitional else 0
        self._place = Place(self._machine.cluster.ringId(), part)
        self.rest()

    def messageDelivered(self, nodeid: int, function: int, body: bytes) -> None:
        handler = self._EXECUTIVE.get(function)
        if handler is None:
            raise UnknownFrame(f"function {function} of {self._machine.name}")
        handler(self, nodeid, body)

    def _commandDelivered(self, nodeid: int, body: bytes) -> None:
        if len(body) < _SERIAL.size:
            raise TruncatedFrame(f"a command of {len(body)} bytes")
        (serial,) = _SERIAL.unpack_from(body)
        command = body[_SERIAL.size :]
        if self._agreed != self._machine.cluster.ringId():
            # Sent by one who saw the end of a round that we did not see.
            self._unknown(nodeid, serial)
            return
        if not self.mayAct():
            self._notHere(nodeid, serial)
            return
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
            result = self._machine.apply(nodeid, command)
        except ServiceError:
            result = Failure()
        except Exception:
            if waits is not None:
                waits.errback(Failure())
            raise
        if waits is None:
            return
        if not isinstance(result, Failure) and self._doubtful():
            result = Failure(Interrupted("the ring changed; this may be undone"))
        waits.callback(result)

    def mayAct(self) -> bool:
        """
        Does this partition take commands?
        """
        return self._machine.allowInquorate or self._machine.cluster.quorate()

    def _doubtful(self) -> bool:
        """
        May what is applied now be on the side that does not count?
        """
        return not self._machine.allowInquorate and (
            self._place.part != 0 or not self._machine.cluster.quorate()
        )

    def _notHere(self, nodeid: int, serial: int) -> None:
        """
        Everybody refuses it; or nobody counts votes here any more, and the
        others may well have applied it: then their state is not ours until the
        next round tells.
        """
        if self._machine.cluster.quorumKnown():
            self._refuse(nodeid, serial)
            return
        self._unknown(nodeid, serial)
        if self.current:
            self._log.warn(
                "Service {name}: nobody counts votes on this node, and others go on",
                name=self._machine.name,
            )
            self._become(Standing.LACKING)

    def _refuse(self, nodeid: int, serial: int) -> None:
        """
        It was sent while there was quorum, and is delivered where there is none.
        """
        waits = self._mine(nodeid, serial)
        if waits is not None:
            waits.errback(NotQuorate(f"service {self._machine.name} needs quorum"))

    def _mine(self, nodeid: int, serial: int) -> Deferred[Any] | None:
        if nodeid != self._machine.cluster.nodeid:
            return None
        return self.proposals.delivered(serial)

    def _unknown(self, nodeid: int, serial: int) -> None:
        """
        The state that we wait for has it; what came of it is not known here.
        """
        waits = self._mine(nodeid, serial)
        if waits is not None:
            waits.errback(Interrupted("applied; the outcome is not known"))

    # Synchronization: who has what.

    def offer(self) -> None:
        """
        Tell the others what we have.
        """
        base, offset = NOTHING, 0
        if self._kept is not None:
            base, offset = self._kept.base, len(self._kept.state)
        elif self._incoming is not None:
            base, offset = self._incoming.base, len(self._incoming.data)
        offer = Offer(
            self._machine.cluster.ringId(),
            self._standing,
            self._own,
            self._position,
            base,
            offset,
        )
        self._machine.cluster.multicast(Function.OFFER, offer.encode())

    def _offerDelivered(self, nodeid: int, body: bytes) -> None:
        offer = Offer.decode(body)
        if offer.ringId == self._machine.cluster.ringId():
            self._offers[nodeid] = offer

    def forgetOffers(self) -> None:
        """
        Nothing was agreed.
        """
        self._offers = {}

    def decide(self) -> None:
        """
        Everybody has told; all decide alike.
        """
        offers, self._offers = self._offers, {}
        if self._machine.cluster.nodeid not in offers:
            return  # Ours was refused; the others cannot count on us either.
        self._agreed = self._machine.cluster.ringId()
        winner = self._machine.choose(lineage.sides(offers))
        self._holders = list(winner.holders)
        self._lacking = [n for n in sorted(offers) if n not in winner.holders]
        self._announced = False
        self._attempts = 0
        self._position = winner.mark
        self._goOn(lineage.resumption(offers, winner))
        if self._machine.cluster.nodeid in winner.holders:
            self._become(Standing.CURRENT)
            self._serve()
        else:
            self._lose(offers, winner)
        self.sendWaiting()

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
        nodeid, transfer = self._machine.cluster.nodeid, self._transfer
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
                name=self._machine.name,
                winners=winner.holders,
                losers=mine,
                commands=own.count,
            )
            if mine[0] == self._machine.cluster.nodeid:
                for command in self._machine.sideLost(self._machine.snapshot()):
                    self._machine.propose(command).addErrback(self._notBroughtOver)

    def _notBroughtOver(self, failure: Failure) -> None:
        self._log.failure(
            "Service {name}: a command of the side that lost was refused",
            failure=failure,
            name=self._machine.name,
        )

    def _become(self, standing: Standing) -> None:
        if standing is not self._standing:
            self._standing = standing
            self._since = self._machine.cluster.now()

    # The transfer: those who have the state.

    def _serve(self) -> None:
        """
        Announce a snapshot, if it is our turn and somebody lacks the state.
        """
        if (
            self._transfer is None
            and self._lacking
            and not self._announced
            and self._holders[:1] == [self._machine.cluster.nodeid]
            and not self._patient()
        ):
            ringId = self._machine.cluster.ringId()
            body = _RING.pack(ringId.sequence, ringId.representative)
            self._announced = self._sent(Function.BEGIN, body, self._serve)
        self._push()

    def _patient(self) -> bool:
        """
        Have what we send wait until all services are in step.
        """
        if self._machine.cluster.synchronizing():
            self._later(self._serve)
            return True
        return False

    def _beginDelivered(self, nodeid: int, body: bytes) -> None:
        ringId = _ringIn(body, _RING)
        if (
            ringId != self._machine.cluster.ringId()
            or self._transfer
            or not self._lacking
        ):
            return
        self._announced = False
        self._transfer = Transfer(
            self._position, list(self._holders), list(self._lacking)
        )
        if self.current:
            self._kept = Kept(self._position, self._machine.snapshot())
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
        if transfer.holders[0] != self._machine.cluster.nodeid or self._patient():
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
        self.rest()
        try:
            self._machine.restore(state)
        except Exception:
            self._giveUp("it cannot be restored")
            raise
        self._incoming = None
        self._own = self._position
        self._become(Standing.CURRENT)
        self._log.info(
            "Service {name} has the state: {size} bytes and {commands} commands more",
            name=self._machine.name,
            size=len(state),
            commands=len(incoming.delta),
        )
        self._applyAll(incoming.delta)
        self.sendWaiting()

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
            name=self._machine.name,
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
        ringId = self._machine.cluster.ringId()

        def complain() -> None:
            if ringId == self._machine.cluster.ringId():
                self._sent(Function.TROUBLE, body, complain)

        body = _TROUBLE.pack(ringId.sequence, ringId.representative, sender)
        complain()

    def _troubleDelivered(self, nodeid: int, body: bytes) -> None:
        ringId = _ringIn(body, _TROUBLE)
        if ringId != self._machine.cluster.ringId():
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
        self.rest()
        self._patience = self._machine.cluster.callAfter(PATIENCE_NS, self._stalled)

    def rest(self) -> None:
        """
        Watch nobody.
        """
        if self._patience is not None:
            self._machine.cluster.cancel(self._patience)
        self._patience = None

    def _stalled(self) -> None:
        self._patience = None
        transfer = self._transfer
        if self.current or self._machine.cluster.synchronizing():
            return
        holders = transfer.holders if transfer else self._holders
        if holders:
            self._log.warn(
                "Service {name}: node {sender} does not send the state",
                name=self._machine.name,
                sender=holders[0],
            )
            self._complain(holders[0])
        self._watch()

    def progress(self) -> dict[str, Any]:
        """
        For people: which state this node has, and what is on its way.
        """
        transfer = self._transfer
        seconds = 0.0
        if not self.current:
            seconds = (self._machine.cluster.now() - self._since) / 1e9
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
