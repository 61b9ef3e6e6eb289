"""
Requests to the members of a group, at one place of the order, and what each of
them answers.

Every message of such a group is one of these, all numbers little endian::

    request  u8 1, u64 number of the asker's, then what is asked
    answer   u8 2, u64 number, u32 nodeid and u32 pid of the asker, then the answer
    refusal  u8 3, u64 number, u32 nodeid and u32 pid of the asker, then why, UTF-8

A request is for whoever gets it.  Answers and refusals are sent to the asker
alone, or to everybody where nodes cannot do that; then others ignore them.  Who
asks is a member, and takes for the others those of its view when its own request
comes back to it.  A message of another kind is of a later version: ignore it.
"""

from collections.abc import Callable, Iterable
from functools import partial
from struct import Struct
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from corotwist.budget import Budget
from corotwist.engines.interfaces import GroupView, Member, ViewId
from corotwist.errors import (
    Disconnected,
    InvalidParameter,
    NotJoined,
    NotSupported,
    ServiceError,
    TimedOut,
    TryAgain,
)
from corotwist.ipc.answers import ANSWERS_BYTES, Answers, Gathering, Missing, Why
from corotwist.ipc.events import Event, Gap, Message
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.groups import ProcessGroups

REQUEST: Final = 1
ANSWER: Final = 2
REFUSAL: Final = 3
_HEADER: Final = Struct("<BQ")
_ADDRESS: Final = Struct("<II")

# Requests of one client whose answers are not complete.
MOST_REQUESTS: Final = 1024
# Requests of others that are being answered.
MOST_ANSWERING: Final = 1024
# Of a refusal, in bytes.
LONGEST_REFUSAL: Final = 1000

Answerer = Callable[[Message], bytes | Deferred[bytes]]


class Calls:
    """
    A group in which every message is a request, or an answer to one.

    @ivar group: which the application may leave, and look at.
    """

    _log = Logger()

    def __init__(
        self,
        groups: ProcessGroups,
        answer: Answerer,
        viewChanged: Callable[[GroupView], object] | None = None,
    ) -> None:
        """
        For L{join}.
        """
        self._groups = groups
        self._answer = answer
        self._viewChanged = viewChanged
        self._last = 0
        self._requests: dict[int, Gathering] = {}
        self._room = Budget("answers", ANSWERS_BYTES)
        self._answering = 0
        # The view in which nodes cannot show a message to one member only.
        self._public: ViewId | None = None
        self.group: ProcessGroup

    @classmethod
    def join(
        cls,
        groups: ProcessGroups,
        name: bytes,
        answer: Answerer,
        viewChanged: Callable[[GroupView], object] | None = None,
        **wishes: Any,
    ) -> "Deferred[Calls]":
        """
        Be a member who answers, and may ask.

        @param answer: called with each request, as a L{Message}; returns what
            to answer, or a L{Deferred} with it.  What it raises is the reason
            that the asker is told.
        @param viewChanged: called with each view of the group.
        @param wishes: as of L{ProcessGroups.join}: C{slow}, C{quorate},
            C{timeout}.
        @return: fires when we are a member.  Fails as L{ProcessGroups.join}.
        """
        calls = cls(groups, answer, viewChanged)
        joining = groups.join(name, heard=calls._heard, **wishes)
        return joining.addCallback(calls._joined)

    def _joined(self, group: ProcessGroup) -> "Calls":
        self.group = group
        return self

    def request(
        self,
        payload: bytes,
        timeout: float,
        to: Iterable[Member] | None = None,
    ) -> Deferred[Answers]:
        """
        Ask all members, or some, at one place of the order.

        @param timeout: how long to wait at most, in seconds.
        @param to: only those are asked, and get the request.
        @return: fires with L{Answers} when every member of the view at that
            place has answered, refused, or left, and at the end of the time.
            Fails as L{ProcessGroup.send}; with L{TimedOut} when the request was
            not ordered in time; with L{Disconnected} or L{NotJoined} when we
            are not in the group any more.  Members may carry it out all the
            same.  To cancel is to wait no longer; it is not taken back.
        """
        if len(self._requests) >= MOST_REQUESTS:
            return fail(TryAgain(f"{MOST_REQUESTS} requests wait for answers"))
        asked = frozenset() if to is None else frozenset(to)
        if to is not None and not asked:
            return fail(InvalidParameter("a request to nobody"))
        number = self._last = self._last + 1
        done: Deferred[Answers] = Deferred(lambda _: self._cancelled(number))
        gathering = self._requests[number] = Gathering(done, asked, self._room)
        gathering.limit = self._groups.clock.callLater(
            timeout, self._outOfTime, number, timeout
        )
        framed = _HEADER.pack(REQUEST, number) + payload
        if asked:
            # We have to see where it is.
            sent = self.group.send(framed, to=sorted({*asked, self._groups.own}))
        else:
            sent = self.group.send(framed)
        sent.addErrback(partial(self._failed, number))
        return done

    def _cancelled(self, number: int) -> None:
        gathering = self._requests.pop(number, None)
        if gathering is not None:
            gathering.forget()

    def _failed(self, number: int, failure: Failure) -> None:
        gathering = self._requests.pop(number, None)
        if gathering is not None:
            gathering.fail(failure)

    def _outOfTime(self, number: int, seconds: float) -> None:
        gathering = self._requests[number]
        if gathering.ordered:
            gathering.outOfTime(seconds)
            self._look(number)
        else:
            self._failed(number, Failure(TimedOut(f"not ordered within {seconds} s")))

    def _look(self, number: int) -> None:
        if self._requests[number].complete:
            self._requests.pop(number).finish()

    # From the group.

    def _heard(self, event: Event) -> None:
        if isinstance(event, Message):
            self._messageHeard(event)
        elif isinstance(event, GroupView):
            self._viewHeard(event)
        elif isinstance(event, Gap):
            self._lost(Disconnected(f"the answers are lost: {event.reason}"))

    def _viewHeard(self, view: GroupView) -> None:
        for number, gathering in tuple(self._requests.items()):
            gathering.membersLeft(view.left)
            self._look(number)
        if self._viewChanged is not None:
            self._viewChanged(view)
        if self._groups.own in (change.member for change in view.left):
            self._lost(NotJoined("we left the group"))

    def _lost(self, error: ServiceError) -> None:
        for number in tuple(self._requests):
            self._failed(number, Failure(error))

    def _messageHeard(self, message: Message) -> None:
        payload = message.payload
        if len(payload) < _HEADER.size:
            return
        kind, number = _HEADER.unpack_from(payload)
        if kind == REQUEST:
            self._requestHeard(message, number)
        elif kind in {ANSWER, REFUSAL} and len(payload) >= _ANSWER_SIZE:
            asker = Member(*_ADDRESS.unpack_from(payload, _HEADER.size))
            if asker == self._groups.own:
                content = payload[_ANSWER_SIZE:]
                self._answerHeard(message.sender, number, kind, content)

    def _answerHeard(
        self, sender: Member, number: int, kind: int, content: bytes
    ) -> None:
        gathering = self._requests.get(number)
        if gathering is None:
            return
        if kind == ANSWER:
            gathering.answered(sender, content)
        else:
            text = content.decode("utf-8", "replace")
            gathering.lacking(sender, Missing(Why.FAILED, text))
        self._look(number)

    # Answering.

    def _requestHeard(self, message: Message, number: int) -> None:
        own = self._groups.own
        if message.sender == own:
            gathering = self._requests.get(number)
            if gathering is not None and not gathering.ordered:
                members = self.group.members
                gathering.requestOrdered(message.sequence, message.view, members)
                self._look(number)
                if gathering.to and own not in gathering.to:
                    return
        if self._answering >= MOST_ANSWERING:
            text = f"{MOST_ANSWERING} requests are being answered already"
            self._reply(message.sender, number, REFUSAL, text.encode())
            return
        self._answering += 1
        asked = message.without(_HEADER.size)
        answering = maybeDeferred(self._answer, asked)
        answering.addCallback(_checked)
        answering.addCallbacks(
            partial(self._reply, message.sender, number, ANSWER),
            partial(self._refuse, message.sender, number),
        )
        answering.addErrback(self._answerFailed)
        answering.addBoth(self._answered)

    def _answered(self, result: object) -> None:
        self._answering -= 1

    def _refuse(self, asker: Member, number: int, failure: Failure) -> None:
        if not failure.check(ServiceError):
            self._log.failure("Answering a request of {asker}", failure, asker=asker)
        text = failure.getErrorMessage().encode("utf-8", "replace")
        self._reply(asker, number, REFUSAL, text[:LONGEST_REFUSAL])

    def _answerFailed(self, failure: Failure) -> None:
        self._log.failure("An answer", failure)

    def _reply(self, asker: Member, number: int, kind: int, content: bytes) -> None:
        if asker == self._groups.own:
            self._answerHeard(asker, number, kind, content)
            return
        framed = b"".join(
            (
                _HEADER.pack(kind, number),
                _ADDRESS.pack(asker.nodeid, asker.pid),
                content,
            )
        )
        if self._groups.view.viewId == self._public:
            sent = self.group.send(framed)
        else:
            sent = self.group.send(framed, to=[asker])
            sent.addErrback(self._notPrivate, framed)
        sent.addErrback(self._notSent)

    def _notPrivate(self, failure: Failure, framed: bytes) -> Deferred[Any]:
        failure.trap(NotSupported)
        self._public = self._groups.view.viewId
        return self.group.send(framed)

    def _notSent(self, failure: Failure) -> None:
        # Whoever asked sees us go, or waits for as long as it likes.
        failure.trap(ServiceError)
        self._log.debug("An answer was not sent: {error}", error=failure.value)


_ANSWER_SIZE: Final = _HEADER.size + _ADDRESS.size


def _checked(answer: object) -> bytes:
    """
    @raise InvalidParameter: an answer is bytes.
    """
    if not isinstance(answer, bytes):
        raise InvalidParameter(f"an answer is bytes, and not {type(answer).__name__}")
    return answer
