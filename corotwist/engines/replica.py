"""
Keys that every node has alike: the state, what changes it, and both as bytes.

Pure: the same operations in the same order make the same state everywhere.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from struct import Struct
from typing import Final, Self

from attrs import define, field, frozen

from corotwist.config.names import checkKey
from corotwist.config.values import Value
from corotwist.engines.entries import Reader, packName, packValue
from corotwist.engines.keyspace import ANYWAY, REPLICATED, Condition
from corotwist.errors import InvalidParameter, NoSpace, NotExist

# What all nodes together keep, in all nodes alike.
MOST_KEYS: Final = 4096
MOST_BYTES: Final = 4 << 20
# Of a state on its way: as much as can be kept, with versions and lengths.
MOST_STATE_BYTES: Final = MOST_BYTES + MOST_KEYS * 16 + 1024

_HEAD: Final = Struct("<BQ")
_VERSION: Final = Struct("<Q")
_STEP: Final = Struct("<q")

_CHECKED: Final = 1
_VERSIONED: Final = 2


class Deed(IntEnum):
    """
    What an operation does to its key.
    """

    SET = 1
    DELETE = 2
    ADJUST = 3


@frozen
class Operation:
    """
    One write of one key::

        u8 deed, u64 what the version must be
        u8 conditions: 1 compare the value, 2 compare the version
        name, new value, value to compare, i64 step
    """

    deed: Deed
    name: str
    value: Value | None = None
    step: int = 0
    condition: Condition = ANYWAY

    def encode(self) -> bytes:
        """
        To bytes.
        """
        condition = self.condition
        flags = _CHECKED * condition.checked
        flags |= _VERSIONED * (condition.version is not None)
        return b"".join(
            (
                _HEAD.pack(self.deed, condition.version or 0),
                bytes((flags,)),
                packName(self.name),
                packValue(self.value),
                packValue(condition.value),
                _STEP.pack(self.step),
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        From bytes.

        @raise InvalidParameter: they are something else.
        """
        reader = Reader(data)
        deed, version = _HEAD.unpack(reader.take(_HEAD.size))
        (flags,) = reader.take(1)
        name, value, compared = reader.name(), reader.value(), reader.value()
        step = reader.number(_STEP)
        if not reader.ended():
            raise InvalidParameter("bytes after an operation")
        try:
            kind = Deed(deed)
        except ValueError:
            raise InvalidParameter(f"{deed} is no deed") from None
        condition = Condition(
            checked=bool(flags & _CHECKED),
            value=compared,
            version=version if flags & _VERSIONED else None,
        )
        return cls(kind, name, value, step, condition)


@frozen
class Held:
    """
    A key's value, and the number of the write that gave it.
    """

    value: Value
    version: int


@define(eq=False)
class Replica:
    """
    The keys, as one node has them.

    @ivar revision: how many writes there have been.
    @ivar size: bytes of all names and values.
    """

    revision: int = 0
    keys: dict[str, Held] = field(factory=dict)
    size: int = field(default=0, init=False)

    def apply(self, operation: Operation) -> Value | None:
        """
        Do it.

        @return: the key's value afterwards.
        @raise ServiceError: why not; then all is as before.
        """
        name = operation.name
        held = self.keys.get(name)
        before = None if held is None else held.value
        operation.condition.check(name, before, 0 if held is None else held.version)
        after = _after(operation, before)
        self._put(name, after)
        self.revision += 1
        return after

    def _put(self, name: str, value: Value | None) -> None:
        held = self.keys.get(name)
        size = self.size - (0 if held is None else _size(name, held.value))
        if value is None:
            del self.keys[name]
        else:
            size += _size(name, value)
            if size > MOST_BYTES or (held is None and len(self.keys) >= MOST_KEYS):
                raise NoSpace(
                    f"{REPLICATED} has room for {MOST_KEYS} keys and {MOST_BYTES} bytes"
                )
            self.keys[name] = Held(value, self.revision + 1)
        self.size = size

    def version(self, name: str) -> int:
        """
        Of the key's last write; 0 when it is absent.
        """
        held = self.keys.get(name)
        return 0 if held is None else held.version

    def values(self) -> Mapping[str, Value]:
        """
        The keys without their versions.
        """
        return {name: held.value for name, held in sorted(self.keys.items())}

    def encode(self) -> bytes:
        """
        To bytes::

            u64 revision
            per key: name, u64 version, value
        """
        pieces = [_VERSION.pack(self.revision)]
        for name, held in sorted(self.keys.items()):
            pieces += (packName(name), _VERSION.pack(held.version))
            pieces.append(packValue(held.value))
        return b"".join(pieces)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        From bytes.

        @raise ServiceError: they are something else.
        """
        if len(data) > MOST_STATE_BYTES:
            raise NoSpace(f"over {MOST_STATE_BYTES} bytes of replicated keys")
        reader = Reader(data)
        replica = cls(reader.number(_VERSION))
        while not reader.ended():
            name, version = reader.name(), reader.number(_VERSION)
            _checkName(name)
            value = reader.value()
            if value is None:
                raise InvalidParameter(f"{name!r} has no value")
            replica.keys[name] = Held(value, version)
            replica.size += _size(name, value)
        return replica


def _size(name: str, value: Value) -> int:
    return len(name) + len(value.raw())


def _after(operation: Operation, before: Value | None) -> Value | None:
    """
    What a key will be.
    """
    if operation.deed is Deed.SET:
        if operation.value is None:
            raise InvalidParameter("nothing to set")
        _checkName(operation.name)
        return operation.value
    if before is None:
        raise NotExist(f"no key {operation.name}")
    if operation.deed is Deed.DELETE:
        return None
    return before.adjusted(operation.step)


def _checkName(name: str) -> None:
    if not name.startswith(REPLICATED) or name == REPLICATED:
        raise InvalidParameter(f"{name!r} is no key that all nodes have")
    checkKey(name)


def difference(
    before: Mapping[str, Value], after: Mapping[str, Value]
) -> Iterable[tuple[str, Value | None]]:
    """
    What to write to come from one to the other, in order.
    """
    for name in sorted({*before, *after}):
        value = after.get(name)
        if value != before.get(name):
            yield name, value
