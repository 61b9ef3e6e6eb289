"""
Every exception of ours, sorted by who has to act: a peer, a client, an operator.
"""

from typing import ClassVar

from attrs import frozen


class CorotwistError(Exception):
    """
    The root of everything we raise on purpose.
    """


# A peer has to act.  Counted and dropped, never seen above C{totem.transport}.


class WireError(CorotwistError):
    """
    A datagram, or a part of one, that is not what the protocol says.
    """


class TruncatedFrame(WireError):
    """
    Shorter than its fixed part, or than its own counts say.
    """


class OversizedFrame(WireError):
    """
    Bytes are left after everything that was announced.
    """


class UnknownFrame(WireError):
    """
    Magic, version or type are not ours.
    """


class BadCount(WireError):
    """
    A count or an index is negative, or beyond its named bound.
    """


class ForgedFrame(WireError):
    """
    The seal does not fit, another key made it or it was changed on its way; or
    it says that it is from somebody else than whose key or address it has.
    """


class NodeidTaken(ForgedFrame):
    """
    From another machine, but with our own nodeid.
    """


class ReplayedFrame(WireError):
    """
    An authentic datagram that was here before, or is from an earlier start.
    """


# A client has to act.  Crosses IPC by name and carries the cs_error_t number.


class ServiceError(CorotwistError):
    """
    A service refused a request; C{code} is corosync's C{cs_error_t} number.
    """

    code: ClassVar[int] = 2
    ampCode: ClassVar[bytes] = b"LIBRARY"


class TimedOut(ServiceError):
    """
    No answer within the time the caller allowed.
    """

    code = 5
    ampCode = b"TIMEOUT"


class TryAgain(ServiceError):
    """
    The engine is synchronizing, or a bounded queue is full; repeat later.
    """

    code = 6
    ampCode = b"TRY_AGAIN"


class NotQuorate(TryAgain):
    """
    Without quorum nobody may do that here.
    """

    ampCode = b"NOT_QUORATE"


class InvalidParameter(ServiceError):
    """
    An argument is outside what the call allows; the text says which.
    """

    code = 7
    ampCode = b"INVALID_PARAM"


class BadHandle(ServiceError):
    """
    The connection or the object is closed or was never open.
    """

    code = 9
    ampCode = b"BAD_HANDLE"


class Busy(ServiceError):
    """
    An earlier request of the same kind is still on its way.
    """

    code = 10
    ampCode = b"BUSY"


class Vetoed(Busy):
    """
    Somebody objects; the text says who.
    """

    ampCode = b"VETOED"


class AccessDenied(ServiceError):
    """
    The peer's user and group may not do this.
    """

    code = 11
    ampCode = b"ACCESS"


class NotExist(ServiceError):
    """
    No such thing; for a group: we are not in it.
    """

    code = 12
    ampCode = b"NOT_EXIST"


class NotJoined(NotExist):
    """
    We are not a member of that group, or not yet.
    """

    ampCode = b"NOT_JOINED"


class NameTooLong(ServiceError):
    """
    A group name longer than 128 bytes, or a key that cannot be one.
    """

    code = 13
    ampCode = b"NAME_TOO_LONG"


class Exists(ServiceError):
    """
    It is there already; for a group: this process is in it.
    """

    code = 14
    ampCode = b"EXIST"


class NoSpace(ServiceError):
    """
    A bound on how much is kept has been reached; the text says which.
    """

    code = 15
    ampCode = b"NO_SPACE"


class Interrupted(ServiceError):
    """
    The membership changed in the middle of a message of several parts.
    """

    code = 16
    ampCode = b"INTERRUPT"


class NameNotFound(ServiceError):
    """
    Nobody has that name or number.
    """

    code = 17
    ampCode = b"NAME_NOT_FOUND"


class NotSupported(ServiceError):
    """
    This node has no such service or call.
    """

    code = 19
    ampCode = b"NOT_SUPPORTED"


class ComponentFailed(ServiceError):
    """
    A component cannot be used, and what was there before goes on; the text
    says why.
    """

    ampCode = b"COMPONENT_FAILED"


class Conflict(ServiceError):
    """
    It is not what the caller expects it to be: somebody was faster.
    """

    code = 21
    ampCode = b"CONFLICT"


class OldRing(ServiceError):
    """
    What was said is about a ring that is over.
    """

    code = 22
    ampCode = b"MESSAGE_ERROR"


class TooBig(ServiceError):
    """
    A message beyond the named limit.
    """

    code = 26
    ampCode = b"TOO_BIG"


class Disconnected(ServiceError):
    """
    The node went away before it answered; the request may have been ordered.
    """

    code = 2
    ampCode = b"DISCONNECTED"


# An operator has to act.


@frozen
class Problem:
    """
    One thing wrong with a configuration, and what would be right.

    @ivar file: the path as the operator named it.
    @ivar line: counted from 1; 0 when no line is to blame (a missing key).
    @ivar key: the dotted path, C{totem.token}.
    @ivar column: in characters, counted from 1; 0 for the whole line.
    """

    file: str
    line: int
    key: str
    text: str
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        place += f":{self.column}" if self.column else ""
        return f"{place}: {self.key}: {self.text}"


class ConfigurationError(CorotwistError):
    """
    A configuration cannot be used; C{problems} lists everything at once.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class StorageRefused(CorotwistError):
    """
    The state directory does not take or give what must survive a restart.
    """


class PluginClash(CorotwistError):
    """
    Two plug-ins claim one name or one number.
    """


class Unreadable(CorotwistError):
    """
    A recording cannot be read, or not to its end; the text says which and why.
    """
