"""
The object database of a node, as a client has it: objects by their handles, and
their keys.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.protocols import amp

from corotwist.config.tracking import ALL, ChangeKind
from corotwist.config.values import Value
from corotwist.engines.entries import Entry, changes, entries, typedValue
from corotwist.engines.operations import (
    MOST_OPERATIONS,
    Deed,
    Operation,
    handles,
    results,
)
from corotwist.errors import InvalidParameter, NoSpace, TooBig
from corotwist.ipc.confdb import (
    Changed,
    Get,
    Keys,
    Look,
    Next,
    Perform,
    Search,
    Track,
    Untrack,
    Write,
)
from corotwist.ipc.jsonparts import Ask
from corotwist.ipc.keys import Interrupted, Told, Tracker, Trackers
from corotwist.ipc.underway import PREFIX
from corotwist.ipc.wire import PART_BYTES

_STALE: Final = "the transaction was committed already"


@frozen
class Found:
    """
    An object.

    @ivar parent: the handle of the one that it is in; L{None} for the root.
    @ivar index: among those of its name, where these are counted.
    @ivar path: dotted, with indices; empty for the root.
    """

    handle: int
    parent: int | None
    name: str
    index: int | None
    path: str


@frozen
class Made:
    """
    The object that a transaction will have made.
    """

    number: int


@define(eq=False)
class Transaction:
    """
    Things to do together, or not at all.
    """

    _database: "ObjectDatabase"
    _operations: list[Operation] = field(factory=list)
    _committed: bool = False

    def create(self, parent: int | Made, name: str) -> Made:
        """
        Make an object in another one.

        @return: stands for it in this transaction.
        """
        self._add(Deed.CREATE, parent, name)
        return Made(len(self._operations) - 1)

    def destroy(self, target: int | Made) -> None:
        """
        End an object, with everything in it.
        """
        self._add(Deed.DESTROY, target)

    def createKey(self, target: int | Made, key: str, value: Value) -> None:
        """
        Give the object a key that it does not have.
        """
        self._add(Deed.KEY_CREATE, target, key, value)

    def replaceKey(
        self, target: int | Made, key: str, value: Value, expected: Value | None = None
    ) -> None:
        """
        Give a key of the object another value.

        @param expected: only if it has this one now.
        """
        self._add(Deed.KEY_REPLACE, target, key, value, expected)

    def deleteKey(
        self, target: int | Made, key: str, expected: Value | None = None
    ) -> None:
        """
        Take a key from the object.
        """
        self._add(Deed.KEY_DELETE, target, key, None, expected)

    def adjustKey(self, target: int | Made, key: str, step: int) -> None:
        """
        Add to a whole number.
        """
        self._add(Deed.KEY_ADJUST, target, key, step=step)

    def _add(
        self,
        deed: Deed,
        target: int | Made,
        name: str = "",
        value: Value | None = None,
        expected: Value | None = None,
        *,
        step: int = 0,
    ) -> None:
        if self._committed:
            raise InvalidParameter(_STALE)
        if len(self._operations) == MOST_OPERATIONS:
            raise NoSpace(f"{MOST_OPERATIONS} operations make a full transaction")
        made = isinstance(target, Made)
        number = target.number if isinstance(target, Made) else target
        self._operations.append(
            Operation(deed, number, name, value, expected, step, made)
        )

    def commit(self) -> Deferred[Sequence[int | Value | None]]:
        """
        Do it.

        @return: fires with what each operation brought: a handle for
            C{create}, a value for C{adjustKey}, otherwise L{None}.  Fails with
            what is wrong with the first that cannot be done, and nothing is
            done; with L{TooBig} when it is more than one command can hold.
        """
        if self._committed:
            return fail(InvalidParameter(_STALE))
        self._committed = True
        return self._database.perform(self._operations)


class ObjectDatabase:
    """
    The tree of objects of a node.

    A handle that is not good any more, because the object is gone, is refused
    with C{BadHandle}; it never means another object.
    """

    def __init__(self, ask: Ask, reload: Callable[..., Deferred[Any]]) -> None:
        """
        @param reload: has the node read its configuration again.
        """
        self._ask = ask
        self.reload = reload
        self._trackers = Trackers(ask, Untrack, changes)
        self._searches = iter(range(1, 1 << 32))
        self.connected = self._trackers.connected
        self.connectionLost = self._trackers.connectionLost
        self.stopped = self._trackers.stopped

    # Objects.

    def root(self) -> Deferred[int]:
        """
        The handle of the object that all others are in.
        """
        return self.at("").addCallback(lambda found: found.handle)

    def at(self, path: str) -> Deferred[Found]:
        """
        An object by its dotted name, C{nodelist.node.0}.

        @return: fails with L{NotExist}.
        """
        return self._ask(Look, path=path).addCallback(_found)

    def look(self, handle: int) -> Deferred[Found]:
        """
        An object by its handle.
        """
        return self._ask(Look, object=handle).addCallback(_found)

    def parent(self, handle: int) -> Deferred[int | None]:
        """
        The handle of the object that it is in; L{None} for the root.
        """
        return self.look(handle).addCallback(lambda found: found.parent)

    def name(self, handle: int) -> Deferred[str]:
        """
        Its own name.
        """
        return self.look(handle).addCallback(lambda found: found.name)

    def find(self, parent: int, name: str) -> Deferred[Sequence[int]]:
        """
        The objects of that name in another one, by index.
        """
        return self._list(Search, handles, object=parent, name=name)

    def children(self, parent: int) -> Deferred[Sequence[int]]:
        """
        All objects in another one, by name and index.
        """
        return self._list(Search, handles, object=parent)

    def create(self, parent: int, name: str) -> Deferred[int]:
        """
        Make an object in another one.

        @return: fires with its handle.
        """
        return self._one(Operation(Deed.CREATE, parent, name))

    def destroy(self, handle: int) -> Deferred[None]:
        """
        End an object, with everything in it.
        """
        return self._one(Operation(Deed.DESTROY, handle))

    # Keys.

    def keys(self, handle: int) -> Deferred[Sequence[Entry]]:
        """
        The keys of an object and their values, as they are at one moment.
        """
        return self._list(Keys, _entries, object=handle)

    def getKey(self, handle: int, key: str) -> Deferred[Value]:
        """
        Read a key of an object.

        @return: fails with L{NotExist}.
        """
        found = self._ask(Get, object=handle, name=key)
        return found.addCallback(lambda one: typedValue(one["type"], one["value"]))

    def createKey(self, handle: int, key: str, value: Value) -> Deferred[None]:
        """
        Give an object a key.

        @return: fails with C{Exists}, C{AccessDenied}, and C{InvalidParameter},
            which says what would be right.
        """
        return self._one(Operation(Deed.KEY_CREATE, handle, key, value))

    def replaceKey(
        self, handle: int, key: str, value: Value, expected: Value | None = None
    ) -> Deferred[None]:
        """
        Give a key another value.

        @param expected: only if it has this one now; otherwise C{Conflict}.
        @return: fails with L{NotExist}, and as L{createKey}.
        """
        return self._one(Operation(Deed.KEY_REPLACE, handle, key, value, expected))

    def deleteKey(
        self, handle: int, key: str, expected: Value | None = None
    ) -> Deferred[None]:
        """
        Take a key from an object; as L{replaceKey}.
        """
        return self._one(Operation(Deed.KEY_DELETE, handle, key, None, expected))

    def increment(self, handle: int, key: str) -> Deferred[Value]:
        """
        Add 1 to a whole number.

        @return: fires with the new value.
        """
        return self._one(Operation(Deed.KEY_ADJUST, handle, key, step=1))

    def decrement(self, handle: int, key: str) -> Deferred[Value]:
        """
        Subtract 1 from a whole number.

        @return: fires with the new value.
        """
        return self._one(Operation(Deed.KEY_ADJUST, handle, key, step=-1))

    # All at once.

    def transaction(self) -> Transaction:
        """
        Collect things to do together.
        """
        return Transaction(self)

    def perform(self, operations: Sequence[Operation]) -> Deferred[Sequence[Any]]:
        """
        For L{Transaction.commit}.
        """
        packed = b"".join(operation.encode() for operation in operations)
        if len(packed) > PART_BYTES:
            return fail(TooBig(f"{len(packed)} bytes; a transaction has {PART_BYTES}"))
        done = self._ask(Perform, operations=packed)
        return done.addCallback(lambda answer: results(answer["results"]))

    def _one(self, operation: Operation) -> Deferred[Any]:
        return self.perform([operation]).addCallback(lambda found: found[0])

    # Files.

    def write(self) -> Deferred[str]:
        """
        Have the configuration written to its file; comments stay.

        @return: fires with the path.  Fails with C{NotSupported} when there is
            no file.
        """
        return self._ask(Write).addCallback(lambda answer: answer["path"])

    # Changes.

    def track(
        self,
        target: int | str,
        changed: Told,
        kinds: ChangeKind = ALL,
        *,
        prefix: bool = False,
        interrupted: Interrupted | None = None,
    ) -> Deferred[Tracker]:
        """
        Be told of changes.

        @param target: an object, for its keys and objects in it that come and
            go; or the name of a key.
        @param changed: called with the changes of each transaction: L{Change}s
            and C{ObjectChange}s.
        @param prefix: of everything in the object, however deep; or of all keys
            that begin with the name.
        @param interrupted: called with the reason when the node was gone and
            the tracker works again.  A tracker of an object of a node that was
            started again is at its end: its handle is not good any more.
        """
        asked: dict[str, Any] = {"kinds": int(kinds) | PREFIX * prefix}
        asked["name" if isinstance(target, str) else "object"] = target
        return self._trackers.start(Track, asked, changed, interrupted)

    def responders(self) -> dict[type[amp.Command], Callable[..., object]]:
        """
        Who takes which notification.
        """
        return {Changed: self._trackers.changed}

    # Lists.

    def _list(
        self,
        command: type[amp.Command],
        unpack: Callable[[bytes], Sequence[Any]],
        **arguments: Any,
    ) -> Deferred[Sequence[Any]]:
        return Deferred.fromCoroutine(self._listed(command, unpack, arguments))

    async def _listed(
        self,
        command: type[amp.Command],
        unpack: Callable[[bytes], Sequence[Any]],
        arguments: dict[str, Any],
    ) -> Sequence[Any]:
        number = next(self._searches)
        answer = await self._ask(command, search=number, **arguments)
        found = [*unpack(answer["found"])]
        while answer["more"]:
            answer = await self._ask(Next, search=number)
            found += unpack(answer["found"])
        return tuple(found)


def _found(answer: dict[str, Any]) -> Found:
    return Found(
        answer["object"],
        answer.get("parent"),
        answer["name"],
        answer.get("index"),
        answer["path"],
    )


def _entries(data: bytes) -> Sequence[Entry]:
    return tuple(entries(data))
