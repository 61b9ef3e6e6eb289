"""
The configuration map for local clients: the commands, the answers, the
notifications.
"""

from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.config.values import Value
from corotwist.engines.entries import (
    Reader,
    packEntry,
    typedValue,
)
from corotwist.engines.keyspace import ANYWAY, Condition, IConfigurationMap
from corotwist.errors import InvalidParameter
from corotwist.ipc.administrators import checkAdministrator
from corotwist.ipc.underway import UnderWay
from corotwist.ipc.wire import ERRORS, Unsigned

_DIGITS: Final = 20
_ADMISSION: Final = "uidgid."
_FILE: Final = ".logfile"


class Signed(amp.Argument):
    """
    A whole number of 64 bits in decimal digits, with a minus sign or without.
    """

    def fromString(self, inString: bytes) -> int:
        digits = inString.removeprefix(b"-")
        if digits.isdigit() and len(digits) <= _DIGITS:
            number = int(inString)
            if -1 << 63 <= number < 1 << 63:
                return number
        raise InvalidParameter(f"{inString[:24]!r} is no number of 64 bits")

    def toString(self, inObject: int) -> bytes:
        return b"%d" % inObject


class Name(amp.Argument):
    """
    The name of a key, or of a map.
    """

    def fromString(self, inString: bytes) -> str:
        return inString.decode(errors="surrogateescape")

    def toString(self, inObject: str) -> bytes:
        return inObject.encode(errors="surrogateescape")


_KEY: Final[list[tuple[bytes, amp.Argument]]] = [(b"map", Name()), (b"name", Name())]
_VALUE: Final[list[tuple[bytes, amp.Argument]]] = [
    (b"type", Unsigned(8)),
    (b"value", amp.String()),
]
_CONDITION: Final[list[tuple[bytes, amp.Argument]]] = [
    (b"expected", amp.String(optional=True)),
    (b"version", Unsigned(64, optional=True)),
]


# From the client.


class Get(amp.Command):
    """
    Read a key.
    """

    commandName = b"cmap.get"
    arguments = _KEY
    response = [*_VALUE, (b"version", Unsigned(64))]
    errors = ERRORS


class Set(amp.Command):
    """
    Write a key, if it is as expected.
    """

    commandName = b"cmap.set"
    arguments = [*_KEY, *_VALUE, *_CONDITION]
    response = [(b"version", Unsigned(64))]
    errors = ERRORS


class Delete(amp.Command):
    """
    Delete a key, if it is as expected.
    """

    commandName = b"cmap.delete"
    arguments = [*_KEY, *_CONDITION]
    errors = ERRORS


class Adjust(amp.Command):
    """
    Add to a whole number.
    """

    commandName = b"cmap.adjust"
    arguments = [*_KEY, (b"step", Signed())]
    response = _VALUE
    errors = ERRORS


class Iterate(amp.Command):
    """
    Begin to read the keys that begin so, as they are now.
    """

    commandName = b"cmap.iterate"
    arguments = [
        (b"map", Name()),
        (b"prefix", Name()),
        (b"iteration", Unsigned(32)),
    ]
    response = [(b"entries", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class Next(amp.Command):
    """
    Go on reading.
    """

    commandName = b"cmap.next"
    arguments = [(b"iteration", Unsigned(32))]
    response = [(b"entries", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class End(amp.Command):
    """
    Read no more.
    """

    commandName = b"cmap.end"
    arguments = [(b"iteration", Unsigned(32))]
    errors = ERRORS


class Track(amp.Command):
    """
    Be told of changes.
    """

    commandName = b"cmap.track"
    arguments = [*_KEY, (b"kinds", Unsigned(8)), (b"tracker", Unsigned(32))]
    errors = ERRORS


class Untrack(amp.Command):
    """
    Be told no more.
    """

    commandName = b"cmap.untrack"
    arguments = [(b"tracker", Unsigned(32))]
    errors = ERRORS


# To the client.


class Changed(amp.Command):
    """
    Changes that belong together, or, with C{more}, a part of them.
    """

    commandName = b"cmap.changed"
    arguments = [
        (b"tracker", Unsigned(32)),
        (b"changes", amp.String()),
        (b"more", amp.Boolean()),
    ]
    requiresAnswer = False


Answer = dict[str, Any]


def packCondition(condition: Condition) -> Answer:
    """
    A condition as arguments.
    """
    found: Answer = {}
    if condition.checked:
        found["expected"] = packEntry("", condition.value)[1:]
    if condition.version is not None:
        found["version"] = condition.version
    return found


def _condition(expected: bytes | None = None, version: int | None = None) -> Condition:
    if expected is None and version is None:
        return ANYWAY
    value = None if expected is None else Reader(expected).value()
    return Condition(expected is not None, value, version)


class ConfigurationMapLocator(amp.CommandLocator):
    """
    What one client may ask of the configuration map.
    """

    def __init__(self, keys: IConfigurationMap, connection: Any) -> None:
        super().__init__()
        self._keys = keys
        self._connection = connection
        self._underWay = UnderWay(connection, "cmap", Changed)

    def _checkMay(self, name: str) -> None:
        """
        Who may be a client, and which files the daemon writes, is for those to
        say who administer it.
        """
        if name.startswith(_ADMISSION) or name.endswith(_FILE):
            checkAdministrator(self._connection)

    # Keys.

    @Get.responder
    def _get(self, map: str, name: str) -> Answer:  # noqa: A002
        value, version = self._keys.get(map, name)
        return {**_valued(value), "version": version}

    @Set.responder
    def _set(
        self,
        map: str,  # noqa: A002
        name: str,
        *,
        type: int,  # noqa: A002
        value: bytes,
        **condition: Any,
    ) -> Deferred[Answer]:
        wanted = _condition(**condition)
        self._checkMay(name)
        written = self._keys.set(map, name, typedValue(type, value), wanted)
        return written.addCallback(lambda number: {"version": number})

    @Delete.responder
    def _delete(
        self,
        map: str,  # noqa: A002
        name: str,
        **condition: Any,
    ) -> Deferred[Answer]:
        wanted = _condition(**condition)
        self._checkMay(name)
        return self._keys.set(map, name, None, wanted).addCallback(_nothing)

    @Adjust.responder
    def _adjust(self, map: str, name: str, step: int) -> Deferred[Answer]:  # noqa: A002
        return self._keys.adjust(map, name, step).addCallback(_valued)

    # Iterating.

    @Iterate.responder
    def _iterate(self, map: str, prefix: str, iteration: int) -> Answer:  # noqa: A002
        entries = (packEntry(*entry) for entry in self._keys.items(map, prefix))
        return _list(self._underWay.begin(iteration, entries))

    @Next.responder
    def _next(self, iteration: int) -> Answer:
        return _list(self._underWay.next(iteration))

    @End.responder
    def _end(self, iteration: int) -> Answer:
        self._underWay.end(iteration)
        return {}

    # Tracking.

    @Track.responder
    def _track(self, map: str, name: str, kinds: int, tracker: int) -> Answer:  # noqa: A002
        self._underWay.follow(tracker, kinds, partial(self._keys.track, map), name)
        return {}

    @Untrack.responder
    def _untrack(self, tracker: int) -> Answer:
        self._underWay.unfollow(tracker)
        return {}


def _list(found: tuple[bytes, bool]) -> Answer:
    entries, more = found
    return {"entries": entries, "more": more}


def _valued(value: Value) -> Answer:
    return {"type": int(value.kind), "value": value.raw()}


def _nothing(_: object) -> Answer:
    return {}
