"""
One AMP connection, as lean as the format allows: reading, answering, refusing.

Twisted's own L{amp.AMP} takes a dozen calls per value and closes a connection
when a responder is surprised; here a box is read in one loop, and whatever a
peer says wrongly is answered if it asked and counted in any case.
"""

from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.errors import Disconnected, InvalidParameter, NotSupported, ServiceError
from corotwist.ipc.wire import ERRORS

# In one box: the largest of ours has nine fields and one part.
BOX_FIELDS: Final = 32
BOX_BYTES: Final = 128 << 10
LONGEST_KEY: Final = 255
LONGEST_DESCRIPTION: Final = 1000

_LENGTH: Final = Struct(">H")
_END: Final = b"\0\0"

Box = Mapping[bytes, bytes]
Responder = Callable[[amp.AmpBox], Any]


def encode(box: Box) -> list[bytes]:
    """
    A box as pieces to write one after the other.
    """
    length = _LENGTH.pack
    pieces: list[bytes] = []
    for key, value in box.items():
        pieces += (length(len(key)), key, length(len(value)), value)
    pieces.append(_END)
    return pieces


@define(eq=False)
class BoxReader:
    """
    Bytes of a stream to boxes, never holding more than one box.
    """

    _waiting: list[bytes] = field(factory=list, init=False)
    _size: int = field(default=0, init=False)
    _wanted: int = field(default=0, init=False)

    def feed(self, data: bytes) -> list[amp.AmpBox]:
        """
        Take what was read next.

        @return: the boxes that are complete now.
        @raise amp.MalformedAmpBox: when this cannot become a box that we take.
        """
        if self._waiting:
            self._waiting.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return []
            data = b"".join(self._waiting)
            self._waiting.clear()
        boxes: list[amp.AmpBox] = []
        start, self._wanted = _readBoxes(data, boxes)
        if start < len(data):
            self._waiting.append(data[start:] if start else data)
            self._size = len(data) - start
        return boxes


def _readBoxes(data: bytes, boxes: list[amp.AmpBox]) -> tuple[int, int]:
    """
    @return: where the first incomplete box begins, and how many bytes it is
        known to need before looking again is worth while.
    """
    start = offset = 0
    end = len(data)
    box = amp.AmpBox()
    while end - offset >= 2:  # noqa: PLR2004
        keySize = data[offset] << 8 | data[offset + 1]
        if keySize == 0:
            if not box:
                raise amp.MalformedAmpBox("an empty box")
            boxes.append(box)
            box = amp.AmpBox()
            start = offset = offset + 2
            continue
        valueAt = offset + keySize + 4
        if keySize > LONGEST_KEY or len(box) == BOX_FIELDS:
            raise amp.MalformedAmpBox("a key too long, or a field too many")
        if valueAt > end:
            return start, valueAt - start
        after = valueAt + (data[valueAt - 2] << 8 | data[valueAt - 1])
        if after - start > BOX_BYTES:
            raise amp.MalformedAmpBox(f"a box over {BOX_BYTES} bytes")
        if after > end:
            return start, after - start
        key = data[offset + 2 : valueAt - 2]
        if key in box:
            raise amp.MalformedAmpBox(f"the field {key!r} twice")
        box[key] = data[valueAt:after]
        offset = after
    return start, offset - start + 2


class Channel(Protocol):
    """
    An AMP connection.  Commands, argument types and locators are Twisted's.

    @ivar closeAfterAnswer: set by a responder whose answer is the last.
    @ivar ended: we closed it; what still comes in is not looked at.
    """

    log = Logger()
    # Of a UNIX socket: three interfaces at once, which no annotation can say.
    transport: Any = None
    closeAfterAnswer = False
    ended = False

    def __init__(self) -> None:
        self._reader = BoxReader()
        self._responders: dict[bytes, Responder] = {}
        self._asked: dict[bytes, Deferred[amp.AmpBox]] = {}
        self._lastTag = 0

    # Reading.

    def dataReceived(self, data: bytes) -> None:
        if self.ended:
            return
        try:
            self.boxesReceived(self._reader.feed(data))
        except amp.AmpError as error:
            self.malformedReceived(str(error))

    def boxesReceived(self, boxes: Iterable[amp.AmpBox]) -> None:
        """
        What one reading brought.
        """
        for box in boxes:
            self.boxReceived(box)
            if self.ended:
                return

    def boxReceived(self, box: amp.AmpBox) -> None:
        """
        One command, answer or error.
        """
        name = box.get(amp.COMMAND)
        if name is not None:
            self._commandReceived(name, box)
            return
        tag = box.get(amp.ANSWER, box.get(amp.ERROR, b""))
        answer = self._asked.pop(tag, None)
        if answer is None:
            raise amp.MalformedAmpBox(f"an answer to nothing: {tag[:20]!r}")
        if amp.ANSWER in box:
            answer.callback(box)
        else:
            answer.errback(_remoteError(box))

    def malformedReceived(self, reason: str) -> None:
        """
        The peer does not speak AMP as we know it: the end of this connection.
        """
        self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.transport = None
        self._responders.clear()
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            answer.errback(Disconnected("the connection closed before the answer"))

    def close(self) -> None:
        """
        Close when everything written is sent.
        """
        self.ended = True
        if self.transport is not None:
            self.transport.loseConnection()

    def abort(self) -> None:
        """
        Close now, whatever is still unsent.
        """
        self.ended = True
        if self.transport is not None:
            self.transport.abortConnection()

    # Answering.

    def locate(self, name: bytes) -> Responder | None:
        """
        Who answers a command; not asked again for a name that was found.
        """
        return None

    def unknownReceived(self, name: bytes) -> None:
        """
        A command came that nobody answers.
        """

    def forgetResponders(self) -> None:
        """
        From now on L{locate} may give other answers.
        """
        self._responders.clear()

    def _commandReceived(self, name: bytes, box: amp.AmpBox) -> None:
        tag = box.get(amp.ASK)
        responder = self._responders.get(name) or self.locate(name)
        if responder is None:
            self.unknownReceived(name)
            self._sendError(tag, amp.UNHANDLED_ERROR_CODE, f"no command {name!r}")
            return
        self._responders[name] = responder
        result = respond(responder, box)
        if isinstance(result, Deferred):
            result.addCallbacks(
                self._sendAnswer, self._refuse, callbackArgs=(tag,), errbackArgs=(tag,)
            ).addErrback(self._responderFailed)
        else:
            self._sendAnswer(result, tag)

    def _sendAnswer(self, box: Box | None, tag: bytes | None) -> None:
        if tag is not None:
            self.sendBox({amp.ANSWER: tag, **box} if box else {amp.ANSWER: tag})
        self._closeIfLast()

    def commandFailed(self, failure: Failure) -> None:
        """
        A command failed whose sender wanted no answer.
        """

    def _refuse(self, failure: Failure, tag: bytes | None) -> None:
        error = failure.value
        if tag is None:
            self.commandFailed(failure)
        match error:
            case ServiceError():
                self._sendError(tag, error.ampCode, str(error))
            case amp.RemoteAmpError():
                self._sendError(tag, error.errorCode, str(error.description))
            case _:
                self._responderFailed(failure)
                self._sendError(tag, ServiceError.ampCode, "internal error")

    def _responderFailed(self, failure: Failure) -> None:
        self.log.failure("A responder failed", failure)

    def _sendError(self, tag: bytes | None, code: bytes, text: str) -> None:
        if tag is not None:
            description = text.encode("utf-8", "replace")[:LONGEST_DESCRIPTION]
            self.sendBox(
                {
                    amp.ERROR: tag,
                    amp.ERROR_CODE: code,
                    amp.ERROR_DESCRIPTION: description,
                }
            )
        self._closeIfLast()

    def _closeIfLast(self) -> None:
        if self.closeAfterAnswer:
            self.close()

    # Sending.

    def sendBox(self, box: Box) -> None:
        """
        Write a box; nothing happens after the connection closed.
        """
        if self.transport is not None:
            self.transport.writeSequence(encode(box))

    def tell(self, command: type[amp.Command], **arguments: Any) -> None:
        """
        Send a command that wants no answer.
        """
        box = command.makeArguments(arguments, self)
        self.sendBox({amp.COMMAND: command.commandName, **box})

    def askBox(self, name: bytes, box: Box) -> Deferred[amp.AmpBox]:
        """
        Send a command whose arguments are values of AMP already.

        @return: fires with the values of the answer.  Fails with the
            L{ServiceError} that was answered, or L{Disconnected}.
        """
        if self.transport is None:
            return fail(Disconnected("not connected"))
        self._lastTag += 1
        tag = b"%x" % self._lastTag
        answer: Deferred[amp.AmpBox] = Deferred()
        self._asked[tag] = answer
        self.sendBox({amp.COMMAND: name, amp.ASK: tag, **box})
        return answer


def respond(responder: Responder, box: amp.AmpBox) -> Any:
    """
    Call a responder.

    @return: the answer, or a L{Deferred} with it or what is wrong.
    """
    try:
        return responder(box)
    except KeyError as error:
        # Responders fail through their Deferreds; what is raised at once comes
        # from taking the arguments apart.
        return fail(InvalidParameter(f"the argument {error} is missing"))
    except (ValueError, TypeError) as error:
        return fail(InvalidParameter(f"an argument: {error}"))
    except Exception:  # noqa: BLE001
        return fail()


_KINDS: Final[Mapping[bytes, type[Exception]]] = {
    **{code: kind for kind, code in ERRORS.items()},
    amp.UNHANDLED_ERROR_CODE: NotSupported,
}


def _remoteError(box: Box) -> Exception:
    text = box.get(amp.ERROR_DESCRIPTION, b"").decode("utf-8", "replace")
    return errorFor(box.get(amp.ERROR_CODE, b""), text)


def errorFor(code: bytes, text: str) -> Exception:
    """
    The exception that a code stands for.
    """
    return _KINDS.get(code, ServiceError)(text)


def firstResponder(locators: Iterable[Any], name: bytes) -> Responder | None:
    """
    Ask several L{amp.IResponderLocator}s in turn.
    """
    for locator in locators:
        responder: Responder | None = locator.locateResponder(name)
        if responder is not None:
            return responder
    return None
