"""
How messages of a client leave it, and what is answered.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.engines import batch as batches
from corotwist.engines.interfaces import ORDINARY, Member, Receipt, Terms
from corotwist.errors import (
    Disconnected,
    InvalidParameter,
    NotSupported,
    ServiceError,
)
from corotwist.ipc.cpg import Send
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.outbox import Batch, Outbox
from corotwist.ipc.remote import Remote
from corotwist.ipc.wire import Numbers, ViewIdentity, parts, unsigned
from corotwist.totem.membership import Guarantee


class Posting:
    """
    The way out of one client: one outbox, and the node that takes from it.
    """

    def __init__(
        self, clock: IReactorTime, answered: Callable[[ProcessGroup], None]
    ) -> None:
        """
        @param answered: called with a group when a batch for it was answered.
        """
        self._clock = clock
        self._answered = answered
        self._outbox: Outbox[ProcessGroup] = Outbox()
        self._remote: Remote | None = None
        self._own = Member(0, 0)
        self._flushing = False
        self._streams = 0

    # From groups.

    def send(
        self,
        group: ProcessGroup,
        guarantee: Guarantee,
        payload: bytes,
        terms: Terms = ORDINARY,
    ) -> Deferred[Any]:
        """
        Append a message.

        @return: see L{ProcessGroup.send}.
        """
        try:
            done = self._outbox.add(group, guarantee, payload, terms)
        except ServiceError as error:
            return fail(error)
        if not self._flushing:
            self._flushSoon()
        return done

    def sendAll(
        self,
        group: ProcessGroup,
        guarantee: Guarantee,
        payloads: list[bytes],
        terms: Terms = ORDINARY,
    ) -> Deferred[Any]:
        """
        Append messages.

        @return: see L{ProcessGroup.sendAll}.
        """
        try:
            dones = self._outbox.addAll(group, guarantee, payloads, terms)
        except ServiceError as error:
            return fail(error)
        if not self._flushing:
            self._flushSoon()
        if len(dones) == 1:
            return dones[0]
        gathered = gatherResults(dones, consumeErrors=True)
        return gathered.addCallbacks(_last, _firstError)

    def holds(self, group: ProcessGroup) -> bool:
        """
        Is there anything of it that did not leave yet?
        """
        return self._outbox.holds(group)

    def forget(self, group: ProcessGroup) -> None:
        """
        Nothing of it comes back any more.
        """
        self._outbox.forget(group)

    def returned(self, group: ProcessGroup, size: int, count: int) -> None:
        """
        Messages of ours came back.
        """
        self._outbox.returned(group, size, count)
        if not self._flushing and self._outbox.heldBytes:
            self._flushSoon()

    # From the client.

    def connected(self, remote: Remote, own: Member) -> None:
        """
        The node is there.

        @param own: how it sees us.
        """
        self._remote = remote
        self._own = own

    def connectionLost(self, reason: str) -> None:
        """
        It is gone, and what did not leave is not sent.
        """
        self._remote = None
        lost = Failure(Disconnected(f"not sent: {reason}"))
        for batch in self._outbox.clear():
            _fail(batch, lost)

    # Sending.

    def _flushSoon(self) -> None:
        self._flushing = True
        self._clock.callLater(0, self._flushNow)

    def _flushNow(self) -> None:
        self._flushing = False
        self.flush()

    def flush(self) -> None:
        """
        Send what may be sent.
        """
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
        if batch.promises:
            box |= _said(batch.terms)
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
        failed = isinstance(answer, Failure)
        if failed or not self._comesBack(batch):
            self._outbox.returned(group, batch.size, len(batch.payloads))
        if failed:
            _fail(batch, answer)
        else:
            _fulfil(batch, answer)
        self._answered(group)
        if not self._flushing:
            self._flushSoon()

    def _comesBack(self, batch: Batch[ProcessGroup]) -> bool:
        if batch.terms is ORDINARY:
            return not batch.owner.wishes.discardOwn
        to = batch.terms.to
        return not batch.owner.wishes.discardOwn and (not to or self._own in to)


def _said(terms: Terms) -> dict[bytes, bytes]:
    """
    Terms as arguments of L{Send}.
    """
    said = {b"level": b"%d" % terms.level}
    if terms.to:
        numbers = [n for member in terms.to for n in (member.nodeid, member.pid)]
        said[b"to"] = Numbers().toString(tuple(numbers))
    if terms.groups:
        said[b"groups"] = batches.pack(terms.groups)
    if terms.view is not None:
        said[b"view"] = ViewIdentity().toString(terms.view)
    return said


def _fail(batch: Batch[ProcessGroup], failure: Failure) -> None:
    for done in batch.waiting:
        done.errback(failure)


def _fulfil(batch: Batch[ProcessGroup], answer: Mapping[bytes, bytes] | None) -> None:
    if not batch.promises:
        for done in batch.waiting:
            done.callback(None)
        return
    try:
        receipt = _receipt(answer or {})
    except (KeyError, InvalidParameter):
        # A node that does not know what was asked for has sent it all the same.
        text = "sent, but the node cannot say how far it is"
        _fail(batch, Failure(NotSupported(text)))
        return
    for done in batch.waiting:
        done.callback(receipt)


def _receipt(answer: Mapping[bytes, bytes]) -> Receipt:
    targets = Numbers().fromString(answer.get(b"targets", b""))
    return Receipt(
        unsigned(answer[b"sequence"], 64),
        ViewIdentity().fromString(answer[b"view"]),
        Numbers().fromString(answer[b"members"]),
        tuple(map(Member, targets[::2], targets[1::2])),
    )


def _last(answers: Sequence[Receipt | None]) -> Receipt | None:
    """
    Of several batches, what the last one got.
    """
    return answers[-1] if answers else None


def _firstError(failure: Failure) -> Failure:
    """
    What a C{FirstError} is about.
    """
    first = failure.value
    assert isinstance(first, FirstError)
    return first.subFailure
