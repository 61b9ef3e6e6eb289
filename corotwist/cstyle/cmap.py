"""
The configuration map under the names of C{corosync/cmap.h}.

Keys are text, values what Python has for their types; where the C call fills in
pointers, the call here returns a tuple that begins with the number.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, Final

from attrs import define, field, frozen
from twisted.protocols import amp

from corotwist.config.names import KEY_MAX, KEY_MIN
from corotwist.config.tracking import Change, ChangeKind
from corotwist.config.values import Content, Value, ValueType
from corotwist.cstyle.connection import service_connect
from corotwist.cstyle.dispatching import ServiceHandle, finalize
from corotwist.cstyle.types import CsError, results, status
from corotwist.engines import entries as packed
from corotwist.engines.keyspace import ICMAP, STATS
from corotwist.errors import BadHandle, InvalidParameter, ServiceError
from corotwist.ipc import cmap as commands
from corotwist.ipc.underway import PREFIX
from corotwist.ipc.wire import NOTIFICATION_COST

CMAP_KEYNAME_MAXLEN: Final = KEY_MAX
CMAP_KEYNAME_MINLEN: Final = KEY_MIN
CMAP_TRACK_DELETE: Final = ChangeKind.DELETE
CMAP_TRACK_MODIFY: Final = ChangeKind.MODIFY
CMAP_TRACK_ADD: Final = ChangeKind.ADD
CMAP_TRACK_PREFIX: Final = PREFIX
CMAP_VALUETYPE_INT8: Final = ValueType.INT8
CMAP_VALUETYPE_UINT8: Final = ValueType.UINT8
CMAP_VALUETYPE_INT16: Final = ValueType.INT16
CMAP_VALUETYPE_UINT16: Final = ValueType.UINT16
CMAP_VALUETYPE_INT32: Final = ValueType.INT32
CMAP_VALUETYPE_UINT32: Final = ValueType.UINT32
CMAP_VALUETYPE_INT64: Final = ValueType.INT64
CMAP_VALUETYPE_UINT64: Final = ValueType.UINT64
CMAP_VALUETYPE_FLOAT: Final = ValueType.FLOAT
CMAP_VALUETYPE_DOUBLE: Final = ValueType.DOUBLE
CMAP_VALUETYPE_STRING: Final = ValueType.STRING
CMAP_VALUETYPE_BINARY: Final = ValueType.BINARY


class CmapMap(IntEnum):
    """
    C{cmap_map_t}.
    """

    CMAP_MAP_ICMAP = 0
    CMAP_MAP_STATS = 1


CMAP_MAP_DEFAULT: Final = CmapMap.CMAP_MAP_ICMAP
CMAP_MAP_ICMAP: Final = CmapMap.CMAP_MAP_ICMAP
CMAP_MAP_STATS: Final = CmapMap.CMAP_MAP_STATS

_NAMES: Final = {CMAP_MAP_ICMAP: ICMAP, CMAP_MAP_STATS: STATS}


@frozen
class CmapNotifyValue:
    """
    C{struct cmap_notify_value}; type 0 and no data where there is no value.
    """

    type: int = 0
    data: Content = b""


CmapNotifyFn = Callable[
    ["CmapHandle", int, int, str, CmapNotifyValue, CmapNotifyValue, object], object
]


@frozen
class _Tracker:
    notify: CmapNotifyFn
    userData: object


@define(eq=False)
class CmapHandle(ServiceHandle):
    """
    One connection of the process, to one of the two maps.
    """

    map: str = field(kw_only=True)
    _numbers: int = field(default=0, init=False)
    _trackers: dict[int, _Tracker] = field(factory=dict, init=False)
    _iterations: dict[int, Iterator[packed.Entry]] = field(factory=dict, init=False)

    def ask(self, command: type[amp.Command], **arguments: Any) -> Any:
        """
        Ask the node about this map.
        """
        return self.connection.send_recv(command, map=self.map, **arguments)

    def _newNumber(self) -> int:
        self._numbers += 1
        return self._numbers

    # Iterating.

    def iterate(self, prefix: str) -> int:
        """
        See L{cmap_iter_init}.
        """
        number = self._newNumber()
        self._iterations[number] = iter([*self._entries(prefix, number)])
        return number

    def _entries(self, prefix: str, number: int) -> Iterator[packed.Entry]:
        answer = self.ask(commands.Iterate, prefix=prefix, iteration=number)
        yield from packed.entries(answer["entries"])
        while answer["more"]:
            answer = self.connection.send_recv(commands.Next, iteration=number)
            yield from packed.entries(answer["entries"])

    def iteration(self, number: int) -> Iterator[packed.Entry]:
        """
        One that is under way.
        """
        self.connection.checkOpen()
        if number not in self._iterations:
            raise BadHandle(f"no iteration {number}")
        return self._iterations[number]

    def endIteration(self, number: int) -> None:
        """
        See L{cmap_iter_finalize}.
        """
        self.iteration(number)
        del self._iterations[number]

    # Tracking.

    def track(
        self, name: str, kinds: int, notify: CmapNotifyFn, userData: object
    ) -> int:
        """
        See L{cmap_track_add}.
        """
        number = self._newNumber()
        # Changes may come before the answer.
        self._trackers[number] = _Tracker(notify, userData)
        try:
            self.ask(commands.Track, name=name, kinds=kinds, tracker=number)
        except ServiceError:
            del self._trackers[number]
            raise
        return number

    def untrack(self, number: int) -> None:
        """
        See L{cmap_track_delete}.
        """
        self.connection.checkOpen()
        if self._trackers.pop(number, None) is None:
            raise BadHandle(f"no tracker {number}")
        self.connection.send_recv(commands.Untrack, tracker=number)

    def received(self, name: bytes, box: amp.AmpBox) -> None:
        if name == commands.Changed.commandName:
            self._changed(**commands.Changed.parseArguments(box, None))
        else:
            super().received(name, box)

    def _changed(self, tracker: int, changes: bytes, *, more: bool) -> None:
        found = [c for c in packed.changes(changes) if isinstance(c, Change)]
        known = self._trackers.get(tracker)
        if known is None:
            self.expect(None)
            return
        for place, change in enumerate(found):
            arguments = (*_told(change), known.userData)
            # The notification is dealt with when the last of them is.
            cost = NOTIFICATION_COST if place == len(found) - 1 else 0
            self.expect(known.notify, self, tracker, *arguments, cost=cost)


def _told(change: Change) -> tuple[int, str, CmapNotifyValue, CmapNotifyValue]:
    def notified(value: Value | None) -> CmapNotifyValue:
        if value is None:
            return CmapNotifyValue()
        return CmapNotifyValue(int(value.kind), value.content)

    return int(change.kind), change.name, notified(change.new), notified(change.old)


# The calls.


def cmap_initialize(path: str | None = None) -> tuple[CsError, CmapHandle | None]:
    """
    Connect to the node of this machine, for the map of its configuration.

    @param path: of its socket: see L{service_connect}.
    """
    return cmap_initialize_map(CMAP_MAP_DEFAULT, path)


def cmap_initialize_map(
    map: int,  # noqa: A002 - Its name in C.
    path: str | None = None,
) -> tuple[CsError, CmapHandle | None]:
    """
    Connect, for one of the two maps.
    """
    if map not in {*CmapMap}:
        return CsError.CS_ERR_INVALID_PARAM, None
    try:
        connection = service_connect(path)
    except ServiceError as error:
        return CsError(error.code), None
    return CsError.CS_OK, CmapHandle(connection, map=_NAMES[CmapMap(map)])


@status
def cmap_finalize(handle: CmapHandle) -> None:
    """
    Close.
    """
    finalize(handle)


@results(1)
def cmap_fd_get(handle: CmapHandle) -> tuple[int]:
    """
    A descriptor to poll for something to dispatch.
    """
    return (handle.connection.fd_get(),)


@status
def cmap_dispatch(handle: CmapHandle, dispatch_types: int) -> None:
    """
    Have trackers told: see L{ServiceHandle.dispatch}.
    """
    handle.dispatch(dispatch_types)


@results(1)
def cmap_context_get(handle: CmapHandle) -> tuple[object]:
    """
    What was kept at the handle.
    """
    return (handle.context,)


@status
def cmap_context_set(handle: CmapHandle, context: object) -> None:
    """
    Keep something at the handle.
    """
    handle.context = context


@status
def cmap_set(
    handle: CmapHandle,
    key_name: str,
    value: Content,
    type: int,  # noqa: A002
) -> None:
    """
    Write a key.
    """
    try:
        kind = ValueType(type)
    except ValueError:
        raise InvalidParameter(f"{type} is no type of a value") from None
    raw = Value(kind, value).raw()
    handle.ask(commands.Set, name=key_name, type=int(kind), value=raw)


@results(2)
def cmap_get(handle: CmapHandle, key_name: str) -> tuple[Content, int]:
    """
    Read a key: its value, and its type.
    """
    found = _read(handle, key_name)
    return found.content, int(found.kind)


def _read(handle: CmapHandle, name: str) -> Value:
    answer = handle.ask(commands.Get, name=name)
    return packed.typedValue(answer["type"], answer["value"])


@status
def cmap_delete(handle: CmapHandle, key_name: str) -> None:
    """
    Delete a key.
    """
    handle.ask(commands.Delete, name=key_name)


@status
def cmap_inc(handle: CmapHandle, key_name: str) -> None:
    """
    Add one to a whole number.
    """
    handle.ask(commands.Adjust, name=key_name, step=1)


@status
def cmap_dec(handle: CmapHandle, key_name: str) -> None:
    """
    Take one from a whole number.
    """
    handle.ask(commands.Adjust, name=key_name, step=-1)


def _setter(kind: ValueType) -> Callable[[CmapHandle, str, Content], CsError]:
    """
    C{cmap_set_…} of a type.
    """

    def call(handle: CmapHandle, key_name: str, value: Content) -> CsError:
        return cmap_set(handle, key_name, value, kind)

    call.__doc__ = f"Write a key of type C{{{kind.label}}}."
    return call


def _getter(kind: ValueType) -> Callable[[CmapHandle, str], tuple[Any, ...]]:
    """
    C{cmap_get_…} of a type; a key of another type is an invalid parameter.
    """

    @results(1)
    def call(handle: CmapHandle, key_name: str) -> tuple[Content]:
        found = _read(handle, key_name)
        if found.kind is not kind:
            raise InvalidParameter(f"{key_name} is {found.kind.label}")
        return (found.content,)

    call.__doc__ = f"Read a key of type C{{{kind.label}}}."
    return call


cmap_set_int8 = _setter(ValueType.INT8)
cmap_set_uint8 = _setter(ValueType.UINT8)
cmap_set_int16 = _setter(ValueType.INT16)
cmap_set_uint16 = _setter(ValueType.UINT16)
cmap_set_int32 = _setter(ValueType.INT32)
cmap_set_uint32 = _setter(ValueType.UINT32)
cmap_set_int64 = _setter(ValueType.INT64)
cmap_set_uint64 = _setter(ValueType.UINT64)
cmap_set_float = _setter(ValueType.FLOAT)
cmap_set_double = _setter(ValueType.DOUBLE)
cmap_set_string = _setter(ValueType.STRING)
cmap_get_int8 = _getter(ValueType.INT8)
cmap_get_uint8 = _getter(ValueType.UINT8)
cmap_get_int16 = _getter(ValueType.INT16)
cmap_get_uint16 = _getter(ValueType.UINT16)
cmap_get_int32 = _getter(ValueType.INT32)
cmap_get_uint32 = _getter(ValueType.UINT32)
cmap_get_int64 = _getter(ValueType.INT64)
cmap_get_uint64 = _getter(ValueType.UINT64)
cmap_get_float = _getter(ValueType.FLOAT)
cmap_get_double = _getter(ValueType.DOUBLE)
cmap_get_string = _getter(ValueType.STRING)


@results(1)
def cmap_iter_init(handle: CmapHandle, prefix: str | None = None) -> tuple[int]:
    """
    Begin to look at the keys that begin so, as they are now.
    """
    return (handle.iterate(prefix or ""),)


def cmap_iter_next(
    handle: CmapHandle, iter_handle: int
) -> tuple[CsError, str | None, int | None]:
    """
    The next key, and the type of its value; C{CS_ERR_NO_SECTIONS} behind the
    last.
    """
    try:
        name, value = next(handle.iteration(iter_handle))
    except StopIteration:
        return CsError.CS_ERR_NO_SECTIONS, None, None
    except ServiceError as error:
        return CsError(error.code), None, None
    return CsError.CS_OK, name, int(value.kind)


@status
def cmap_iter_finalize(handle: CmapHandle, iter_handle: int) -> None:
    """
    Forget an iteration.
    """
    handle.endIteration(iter_handle)


@results(1)
def cmap_track_add(
    handle: CmapHandle,
    key_name: str | None,
    track_type: int,
    notify_fn: CmapNotifyFn,
    user_data: object = None,
) -> tuple[int]:
    """
    Be told, by dispatch, of keys that are added, modified and deleted; of all
    that begin so with C{CMAP_TRACK_PREFIX}.
    """
    return (handle.track(key_name or "", track_type, notify_fn, user_data),)


@status
def cmap_track_delete(handle: CmapHandle, track_handle: int) -> None:
    """
    Be told no more.
    """
    handle.untrack(track_handle)
