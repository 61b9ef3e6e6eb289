"""
The process groups of one client.
"""

from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    FirstError,
    fail,
    gatherResults,
)
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.engines import batch as batches
from corotwist.engines.interfaces import (
    LONGEST_GROUP_NAME,
    GroupView,
    Member,
    SlowReader,
)
from corotwist.errors import (
    Busy,
    Disconnected,
    Exists,
    NameTooLong,
    NotExist,
    ServiceError,
    TimedOut,
    TryAgain,
)
from corotwist.ipc.callbacks import Callbacks
from corotwist.ipc.cpg import (
    Deliver,
    Flow,
    Groups,
    Join,
    Leave,
    Members,
    RingChanged,
    Send,
    View,
    decodeView,
)
from corotwist.ipc.events import Delivery, Gap, Ledger
from corotwist.ipc.group import ProcessGroup, Standing
from corotwist.ipc.iteration import Events
from corotwist.ipc.outbox import Batch, Outbox
from corotwist.ipc.remote import Remote, ask
from corotwist.ipc.wire import NOTIFICATION_COST, Partials, parts
from corotwist.totem.membership import Guarantee, RingId

# Between asking again whether we may join or leave now.
RETRY_SECONDS: Final = 0.1
# Senders whose names we keep; all are forgotten when there are more.
KNOWN_SENDERS: Final = 4096


@frozen
class Ring:
    """
    The ring that the node is on.
    """

    ringId: RingId
    members: tuple[int, ...]


class ProcessGroups:
    """
    The groups of one client.

    @ivar ring: as last notified; L{None} before that.
    @ivar ringChanged: called with each new one, when set.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.ring: Ring | None = None
        self.ringChanged: Callable[[Ring], object] | None = None
        self._clock = clock
        self._remote: Remote | None = None
        self._ledger: Ledger | None = None
        self._own = Member(0, 0)
        self._groups: dict[bytes, ProcessGroup] = {}
        self._outbox: Outbox[ProcessGroup] = Outbox()
        self._flushing = False
        self._streams = 0
        self._partials = Partials()
        self._senders: dict[tuple[bytes, bytes], Member] = {}
        self._retries: dict[ProcessGroup, IDelayedCall] = {}

    # For the application.

    def join(
        self,
        name: bytes,
        delivered: Callable[[Member, bytes], object] | None = None,
        viewChanged: Callable[[GroupView], object] | None = None,
        interrupted: Callable[[Gap], object] | None = None,
        *,
        batchDelivered: Callable[[Member, list[bytes]], object] | None = None,
        slow: SlowReader | None = None,
        timeout: float | None = None,
    ) -> Deferred[ProcessGroup]:
        """
        Be a member of a group, again and again when the connection to the
        node is lost and found, until we leave.

        Without any callback, events wait for L{ProcessGroup} to be iterated
        over.  With one or more, events go to the callback for their kind, and
        those without a callback go nowhere; a callback that raises is logged.

        @param delivered: called with sender and payload of each message.
        @param viewChanged: called with each view, the first before the
            L{Deferred} fires.
        @param interrupted: called with each L{Gap}.
        @param batchDelivered: called with a sender and the messages of it that
            came together, at least one, in order: for less than a call each.
        @param slow: what is to happen when we read more slowly than others
            send; by default what is configured for the node.
        @param timeout: how long to wait at most, in seconds.
        @return: fires with the group at the first view with us in it; waits
            for the node to be connected and in step.  Fails with
            L{TimedOut} when that is not so in time, and we are out; with
            L{NameTooLong}, with L{Exists} when this process joined it already,
            L{Disconnected} when the client is stopped.  To cancel is to leave.
        """
        if len(name) > LONGEST_GROUP_NAME:
            text = f"a group's name has at most {LONGEST_GROUP_NAME} bytes"
            return fail(NameTooLong(text))
        if name in self._groups:
            return fail(Exists(f"this client joined {name!r} already"))
        called = Callbacks(delivered, batchDelivered, viewChanged, interrupted)
        if called.wanted():
            group = ProcessGroup(name, self, called, slow=slow)
        else:
            events = Events()
            group = ProcessGroup(name, self, events, iterated=events, slow=slow)
        self._groups[name] = group
        joining: Deferred[ProcessGroup] = Deferred(lambda _: self._withdraw(group))
        group.joining = joining
        self._askToJoin(group)
        if timeout is not None:
            joining.addTimeout(timeout, self._clock, _timedOut)
        return joining

    def members(self, name: bytes) -> Deferred[tuple[Member, ...]]:
        """
        Who is in a group, which need not be one of ours.

        @return: fires with the members, ascending; nobody when there is no
            such group.  Fails with L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._listMembers(name))

    async def _listMembers(self, name: bytes) -> tuple[Member, ...]:
        found: list[Member] = []
        more = True
        after: tuple[int, ...] = ()
        while more:
            answer = await self._ask(Members, group=name, after=after)
            numbers = answer["members"]
            found += map(Member, numbers[::2], numbers[1::2])
            after = numbers[-2:]
            more = answer["more"] and bool(numbers)
        return tuple(found)

    def groups(self) -> Deferred[tuple[bytes, ...]]:
        """
        Which groups have members, anywhere in the cluster.

        @return: fires with their names in byte order.  Fails with
            L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._listGroups())

    async def _listGroups(self) -> tuple[bytes, ...]:
        found: list[bytes] = []
        more = True
        while more:
            after = {"after": found[-1]} if found else {}
            answer = await self._ask(Groups, **after)
            names = batches.unpack(answer["groups"])
            found += names
            more = answer["more"] and bool(names)
        return tuple(found)

    def _ask(
        self, command: type[amp.Command], **arguments: Any
    ) -> Deferred[dict[str, Any]]:
        if self._remote is None:
            return fail(Disconnected("not connected to the node"))
        return ask(self._remote, command, **arguments)

    # From a group.

    def send(
        self, group: ProcessGroup, guarantee: Guarantee, payload: bytes
    ) -> Deferred[None]:
        """
        For L{ProcessGroup.send}.
        """
        try:
            done = self._outbox.add(group, guarantee, payload)
        except ServiceError as error:
            return fail(error)
        if not self._flushing:
            self._flushSoon()
        return done

    def sendAll(
        self, group: ProcessGroup, guarantee: Guarantee, payloads: list[bytes]
    ) -> Deferred[None]:
        """
        For L{ProcessGroup.sendAll}.
        """
        try:
            dones = self._outbox.addAll(group, guarantee, payloads)
        except ServiceError as error:
            return fail(error)
        if not self._flushing:
            self._flushSoon()
        if len(dones) == 1:
            return dones[0]
        gathered = gatherResults(dones, consumeErrors=True)
        return gathered.addCallbacks(_nothing, _firstError)

    def leave(self, group: ProcessGroup) -> Deferred[None]:
        """
        For L{ProcessGroup.leave}.
        """
        left: Deferred[None] = Deferred()
        group.leaving.append(left)
        self._withdraw(group)
        return left

    # Sending.

    def _flushSoon(self) -> None:
        self._flushing = True
        self._clock.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        while self._remote is not None:
            batch = self._outbox.take()
            if batch is None:
                return
            batch.owner.unanswered += 1
            answer = self._sendBatch(self._remote, batch)
            answer.addBoth(self._batchAnswered, batch)

    def _sendBatch(
        self, remote: Remote, batch: Batch[ProcessGroup]
    ) -> Deferred[amp.AmpBox]:
        """
        One L{Send}, or as many as the packed batch has parts.
        """
        box = {
            b"group": batch.owner.name,
            b"count": b"%d" % len(batch.payloads),
            b"guarantee": b"%d" % batch.guarantee,
        }
        packed = batches.pack(batch.payloads)
        if len(packed) <= remote.partBytes:
            return remote.askBox(Send.commandName, {**box, b"batch": packed})
        self._streams += 1
        box[b"stream"] = b"%d" % self._streams
        for number, more, data in parts(packed, remote.partBytes):
            box |= {b"part": b"%d" % number, b"batch": data}
            if more:
                remote.tellBox({amp.COMMAND: Send.commandName, **box, b"more": b"True"})
        return remote.askBox(Send.commandName, box)

    def _batchAnswered(self, answer: Any, batch: Batch[ProcessGroup]) -> None:
        self._outbox.done(batch)
        group = batch.owner
        group.unanswered -= 1
        if isinstance(answer, Failure):
            self._outbox.returned(group, batch.size, len(batch.payloads))
        _settle(batch, answer)
        if group.standing is Standing.LEAVING:
            self._askToLeave(group)
        if not self._flushing:
            self._flushSoon()

    # Joining and leaving.

    def _askToJoin(self, group: ProcessGroup) -> None:
        if self._remote is not None and group.standing is Standing.WAITING:
            group.standing = Standing.ASKED
            wish = {} if group.slow is None else {"slow": group.slow.encode()}
            asked = ask(self._remote, Join, group=group.name, **wish)
            asked.addErrback(self._joinRefused, group)

    def _joinRefused(self, failure: Failure, group: ProcessGroup) -> None:
        if group.standing is not Standing.ASKED:
            return
        again: tuple[type[Exception], ...] = (TryAgain, Busy)
        if group.everJoined:
            # The node may still be busy with the end of our last connection.
            again = (TryAgain, Busy, Exists)
        if failure.check(Disconnected):
            return
        group.standing = Standing.WAITING
        if failure.check(*again):
            self._retry(group, self._askToJoin)
        else:
            self._end(group, failure)

    def _withdraw(self, group: ProcessGroup) -> None:
        group.joining = None
        if group.standing is Standing.WAITING:
            self._end(group, None)
        elif group.standing is not Standing.LEAVING:
            group.leavingBegan()
            self._flush()
            self._askToLeave(group)

    def _askToLeave(self, group: ProcessGroup) -> None:
        if (
            self._remote is not None
            and group.standing is Standing.LEAVING
            and not group.unanswered
            and not self._outbox.holds(group)
        ):
            asked = ask(self._remote, Leave, group=group.name)
            asked.addErrback(self._leaveRefused, group)

    def _leaveRefused(self, failure: Failure, group: ProcessGroup) -> None:
        if failure.check(Disconnected) or group.standing is not Standing.LEAVING:
            return
        if failure.check(TryAgain, Busy):
            self._retry(group, self._askToLeave)
        else:
            if not failure.check(NotExist):
                self._log.failure("Leaving {group!r}", failure, group=group.name)
            self._end(group, None)

    def _retry(
        self, group: ProcessGroup, request: Callable[[ProcessGroup], None]
    ) -> None:
        self._forgetRetry(group)
        self._retries[group] = self._clock.callLater(
            RETRY_SECONDS, self._retryNow, group, request
        )

    def _retryNow(
        self, group: ProcessGroup, request: Callable[[ProcessGroup], None]
    ) -> None:
        del self._retries[group]
        request(group)

    def _forgetRetry(self, group: ProcessGroup) -> None:
        retry = self._retries.pop(group, None)
        if retry is not None:
            retry.cancel()

    def _end(self, group: ProcessGroup, failure: Failure | None) -> None:
        """
        The group is not ours any more.
        """
        self._groups.pop(group.name, None)
        self._outbox.forget(group)
        self._forgetRetry(group)
        group.ended()
        joining, group.joining = group.joining, None
        if joining is not None and failure is not None:
            joining.errback(failure)
        leaving, group.leaving = group.leaving, []
        for left in leaving:
            left.callback(None)

    # From the node.

    def connected(self, remote: Remote) -> None:
        """
        The node is there, perhaps again.
        """
        self._remote = remote
        self._ledger = Ledger(remote)
        self._own = Member(remote.welcome.nodeid, remote.welcome.pid)
        self._partials.clear()
        for group in list(self._groups.values()):
            self._askToJoin(group)

    def connectionLost(self, reason: str) -> None:
        """
        It is gone, for now.
        """
        self._remote = self._ledger = None
        lost = Failure(Disconnected(f"not sent: {reason}"))
        for batch in self._outbox.clear():
            _settle(batch, lost)
        for group in list(self._groups.values()):
            self._forgetRetry(group)
            self._outbox.forget(group)
            if group.standing is Standing.LEAVING:
                self._end(group, None)
            else:
                member = group.standing is Standing.MEMBER
                group.standing = Standing.WAITING
                if member:
                    group.connectionLost()
                    group.audience.interrupted(Gap(group.name, reason))

    def stopped(self) -> None:
        """
        The client is stopped for good.
        """
        failure = Failure(Disconnected("the client was stopped"))
        for group in list(self._groups.values()):
            self._end(group, failure)

    def responders(self) -> dict[bytes, Callable[[amp.AmpBox], None]]:
        """
        Who takes which notification.
        """
        return {
            Deliver.commandName: self._deliverReceived,
            View.commandName: self._viewReceived,
            Flow.commandName: self._flowReceived,
            RingChanged.commandName: self._ringReceived,
        }

    def _deliverReceived(self, box: amp.AmpBox) -> None:
        ledger = self._ledger
        if ledger is None:
            return
        batch: bytes | None = box[b"batch"]
        cost = len(box[b"batch"])
        if b"part" in box:
            batch = self._whole(Deliver.commandName, box, box[b"batch"])
            if batch is None:
                ledger.partReceived(cost)
                return
        group = self._groups.get(box[b"group"])
        if group is None or batch is None:
            ledger.released(cost)
        else:
            key = (box[b"nodeid"], box[b"pid"])
            sender = self._senders.get(key) or self._newSender(key)
            delivery = Delivery(group.name, sender, batch, cost)
            group.audience.delivered(delivery, ledger)
            if sender == self._own:
                self._outbox.returned(group, len(batch), int(box[b"count"]))
                if not self._flushing and self._outbox.heldBytes:
                    self._flushSoon()

    def _whole(self, stream: bytes, box: amp.AmpBox, data: bytes) -> bytes | None:
        more = box[b"more"] == b"True"
        return self._partials.partReceived(stream, int(box[b"part"]), data, more=more)

    def _newSender(self, key: tuple[bytes, bytes]) -> Member:
        if len(self._senders) >= KNOWN_SENDERS:
            self._senders.clear()
        sender = self._senders[key] = Member(int(key[0]), int(key[1]))
        return sender

    def _viewReceived(self, box: amp.AmpBox) -> None:
        ledger = self._ledger
        if ledger is None:
            return
        whole = self._whole(View.commandName, box, box[b"view"])
        group = self._groups.get(box[b"group"])
        if whole is None or group is None:
            ledger.released(NOTIFICATION_COST)
        else:
            self._viewChanged(group, decodeView(group.name, whole), ledger)

    def _viewChanged(
        self, group: ProcessGroup, view: GroupView, ledger: Ledger
    ) -> None:
        own = self._own
        entered = group.standing is Standing.ASKED and own in view.members
        if entered:
            group.standing = Standing.MEMBER
            group.everJoined = True
        group.viewReceived(view, ledger)
        joining = group.joining
        if entered and joining is not None:
            group.joining = None
            joining.callback(group)
        if own in (change.member for change in view.left):
            self._end(group, None)

    def _flowReceived(self, box: amp.AmpBox) -> None:
        group = self._groups.get(box[b"group"])
        if group is not None:
            group.flowReceived(box[b"paused"] == b"True")
        if self._ledger is not None:
            self._ledger.released(NOTIFICATION_COST)

    def _ringReceived(self, box: amp.AmpBox) -> None:
        values = RingChanged.parseArguments(box, None)
        ringId = RingId(values["sequence"], values["representative"])
        self.ring = Ring(ringId, values["members"])
        if self.ringChanged is not None:
            try:
                self.ringChanged(self.ring)
            except Exception:  # noqa: BLE001
                self._log.failure("An application failed at a ring")
        if self._ledger is not None:
            self._ledger.released(NOTIFICATION_COST)


def _settle(batch: Batch[ProcessGroup], answer: Any) -> None:
    """
    Tell everybody whose message is in a batch.
    """
    if isinstance(answer, Failure):
        for done in batch.waiting:
            done.errback(answer)
    else:
        for done in batch.waiting:
            done.callback(None)


def _timedOut(result: object, timeout: float) -> object:
    if isinstance(result, Failure) and result.check(CancelledError):
        raise TimedOut(f"not a member within {timeout} s")
    return result


def _nothing(_: object) -> None:
    return None


def _firstError(failure: Failure) -> Failure:
    """
    What a C{FirstError} is about.
    """
    first = failure.value
    assert isinstance(first, FirstError)
    return first.subFailure
