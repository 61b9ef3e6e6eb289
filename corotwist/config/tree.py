"""
The object database: named objects in a tree, with keys and typed values.

Objects are known to others by handles.  What is written is checked, all changes
of a transaction are made or none, and whoever tracks them hears of them once it
is over.
"""

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final

from attrs import define, field

from corotwist.config import names
from corotwist.config.rules import Check, Rules
from corotwist.config.store import Store, TreeObject
from corotwist.config.telling import Deliveries, Trackers
from corotwist.config.tracking import (
    ALL,
    Callback,
    Change,
    ChangeKind,
    Report,
    Track,
    Validator,
    Watcher,
)
from corotwist.config.values import Value, ValueType
from corotwist.errors import BadHandle, Busy, InvalidParameter, NotExist
from corotwist.handles import HandleDatabase

MOST_OBJECTS: Final = 1 << 17


class Transaction:
    """
    While its block runs changes are made and can be read, and nobody is told;
    when it ends with an exception, also one of a validator, none were made.  A
    transaction in another one is a part of it.  The block must not wait.
    """

    __slots__ = ("_mark", "_tree")

    def __init__(self, tree: "ObjectTree") -> None:
        self._tree = tree
        self._mark = 0

    def __enter__(self) -> None:
        self._mark = self._tree.begun()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tree.ended(None if kind is None else self._mark)


def noKey(name: str) -> NotExist:
    """
    The error for a key that is not there.
    """
    return NotExist(f"there is no key {name[: names.KEY_MAX]}")


def _ignored(watcher: Watcher, error: Exception) -> None:
    """
    Nobody wants to know.
    """


@define(eq=False)
class ObjectTree:
    """
    The tree, by handles; and the same by dotted names, for
    L{corotwist.config.flat.FlatMap}.

    @ivar repeated: dotted names, without indices, of objects of which already the
        first gets an index: C{nodelist.node}.
    @ivar report: hears of trackers, and of validators, that fail.
    """

    handles: HandleDatabase[TreeObject] = field(
        factory=lambda: HandleDatabase(most=MOST_OBJECTS)
    )
    repeated: Container[str] = frozenset()
    report: Report = _ignored
    root: int = field(init=False)
    _store: Store = field(init=False)
    _rules: Rules = field(init=False)
    _trackers: Trackers = field(factory=Trackers, init=False)
    _deliveries: Deliveries = field(init=False)
    # How many transactions are in each other; and is a validator at work?
    _depth: int = field(default=0, init=False)
    _validating: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        root = TreeObject("", None, None, "", made=True)
        root.handle = self.root = self.handles.create(root)
        self._store = Store(root)
        self._rules = Rules(self.report)
        self._deliveries = Deliveries(self.report)

    # Objects.

    def create(self, parent: int, name: str) -> int:
        """
        Make an object, with the smallest free index where there are others of
        its name already, or will be.

        @return: its handle.
        @raise InvalidParameter: it cannot, or may not, have that name there.
        """
        above = self._object(parent)
        names.checkComponent(name)
        if names.isIndex(name) and above.index is None and above.parent is not None:
            raise InvalidParameter(f"{name} would be an index of {above.path}")
        index = self._indexOf(above, name)
        prefix = f"{above.prefix}{name}." + ("" if index is None else f"{index}.")
        names.checkPrefix(prefix)
        with self.transaction():
            return self._made(above, name, index, prefix, wanted=True).handle

    def destroy(self, handle: int) -> None:
        """
        End an object, with everything in it, if no validator minds.
        """
        top = self._object(handle)
        if top.parent is None:
            raise InvalidParameter("the root stays")
        with self.transaction():
            for here in reversed(list(_within(top))):
                for key in sorted(here.keys):
                    self._change(here, here.prefix + key, None)
                self._store.detach(here)

    def find(self, parent: int, name: str) -> tuple[int, ...]:
        """
        Handles of the objects of that name in another one, by index.
        """
        siblings = self._object(parent).children.get(name)
        return () if siblings is None else _handles(siblings.inOrder())

    def children(self, handle: int) -> tuple[int, ...]:
        """
        Handles of all objects in another one, by name and index.
        """
        return _handles(self._object(handle).below())

    def parent(self, handle: int) -> int:
        """
        The handle of the object it is in.

        @raise NotExist: for the root.
        """
        above = self._object(handle).parent
        if above is None:
            raise NotExist("the root is in nothing")
        return above.handle

    def name(self, handle: int) -> str:
        """
        Its own name, without the index.
        """
        return self._object(handle).name

    def index(self, handle: int) -> int | None:
        """
        Its place among those of its name.
        """
        return self._object(handle).index

    def path(self, handle: int) -> str:
        """
        Its dotted name: C{nodelist.node.0}.
        """
        return self._object(handle).path

    def at(self, path: str) -> int:
        """
        The handle of the object of a dotted name; the root's is empty.

        @raise NotExist: there is none.
        """
        found = self._store.objects.get(f"{path}." if path else "")
        if found is None:
            raise NotExist(f"there is no object {path}")
        return found.handle

    # Keys of objects.

    def keys(self, handle: int) -> tuple[str, ...]:
        """
        The object's own, in order.
        """
        return tuple(sorted(self._object(handle).keys))

    def keyGet(self, handle: int, key: str) -> Value:
        """
        @raise NotExist: the object has no such key.
        """
        return self.value(self.keyName(handle, key))

    def keySet(self, handle: int, key: str, value: Value) -> None:
        """
        Give the object the key, or the key another value.
        """
        self.write(self.keyName(handle, key), value)

    def keyDelete(self, handle: int, key: str) -> None:
        """
        @raise NotExist: the object has no such key.
        """
        self.erase(self.keyName(handle, key))

    def keyName(self, handle: int, key: str) -> str:
        """
        The whole dotted name.
        """
        owner = self._object(handle)
        names.checkComponent(key)
        return owner.prefix + key

    # Keys by their whole names.

    def value(self, name: str) -> Value:
        """
        @raise NotExist: there is no such key.
        """
        try:
            return self._store.values[name]
        except KeyError:
            raise noKey(name) from None

    def write(self, name: str, value: Value) -> None:
        """
        Give a key a value; objects on the way to it are made.  The value that it
        has already is no change.
        """
        if self._store.values.get(name) == value:
            return
        with self.transaction():
            self._change(self._owner(name), name, value)

    def erase(self, name: str) -> None:
        """
        @raise NotExist: there is no such key.
        """
        self.value(name)
        with self.transaction():
            self._change(self._owner(name), name, None)

    def names(self, prefix: str = "") -> list[str]:
        """
        Of the keys that begin so, in the order of their bytes.
        """
        return self._store.order.startingWith(prefix)

    def items(self, prefix: str = "") -> list[tuple[str, Value]]:
        """
        As L{names}, with the values.
        """
        values = self._store.values
        return [(name, values[name]) for name in self.names(prefix)]

    # Rules.

    def keepType(self, name: str, kind: ValueType) -> None:
        """
        Refuse values of another type.

        @param name: of the key without indices, C{nodelist.node.nodeid}: it is
            meant whatever they are.
        """
        self._rules.keepType(name, kind)

    def validKeys(
        self, handle: int, keys: Mapping[str, ValueType | None] | None
    ) -> None:
        """
        The only keys the object may get from now on, each with the type that it
        must have, or L{None}; or L{None} for any.
        """
        self._object(handle).allowedKeys = keys

    def validObjects(self, handle: int, objects: Collection[str] | None) -> None:
        """
        The names of the only objects that may be made in the object; or L{None}
        for any.
        """
        self._object(handle).allowedObjects = objects

    def validate(
        self, target: int | str, check: Check, *, prefix: bool = False
    ) -> Validator:
        """
        Ask before a key changes.

        @param target: the name of the key; or the handle of an object, for all
            keys in it and below, as long as it lives.
        @param check: raises what the writer is to get; it may read the tree, in
            which the change is not made yet, and may not change it.
        @param prefix: names begin with the target.
        """
        if isinstance(target, int):
            return self._rules.validateObject(self._object(target), check)
        return self._rules.validate(target, check, prefix=prefix)

    # Who wants to know.

    def track(
        self,
        target: int | str,
        callback: Callback,
        kinds: ChangeKind = ALL,
        *,
        prefix: bool = False,
    ) -> Track:
        """
        Tell of changes once they are made, those of a transaction together.

        @param target: the name of a key, or the handle of an object.
        @param prefix: all names that begin with the target; or what is in the
            object, however deep.
        @param callback: called with L{Change}s, for an object also with
            L{ObjectChange<corotwist.config.tracking.ObjectChange>}s.
        """
        if isinstance(target, int):
            owner = self._object(target)
            return self._trackers.addTo(owner, callback, kinds, deep=prefix)
        return self._trackers.add(target, callback, kinds, prefix=prefix)

    # Transactions.

    def transaction(self) -> Transaction:
        """
        For C{with}: all the changes in its block, or none.
        """
        return Transaction(self)

    def begun(self) -> int:
        """
        For L{Transaction}.

        @return: where it begins.
        """
        if self._validating:
            raise Busy("a validator does not change anything")
        if not self._depth:
            self._deliveries.checkCascade()
        self._depth += 1
        return len(self._store.steps)

    def ended(self, mark: int | None) -> None:
        """
        For L{Transaction}.

        @param mark: go back there; or L{None}.
        """
        self._depth -= 1
        if mark is not None:
            for gone in self._store.undo(mark):
                self._bury(gone)
        if not self._depth and self._store.steps:
            self._settle()

    def _settle(self) -> None:
        self._store.prune()
        changes, gone = self._store.settle()
        batch = self._trackers.addressed(changes)
        for owner in gone:
            self._bury(owner)
        self._deliveries.add(batch)

    def _bury(self, gone: TreeObject) -> None:
        for watcher in (*gone.tracks, *gone.validators):
            watcher.release()
        self.handles.destroy(gone.handle)

    # Steps.

    def _object(self, handle: int) -> TreeObject:
        """
        @raise BadHandle: it is of no object, or of one that is gone, though a
            transaction may bring it back.
        """
        found = self.handles.look(handle)
        if not found.alive:
            raise BadHandle(f"{handle:#x} is destroyed")
        return found

    def _owner(self, name: str) -> TreeObject:
        """
        The object a key belongs to; it is made, if need be.
        """
        prefix, _ = names.split(name)
        here = self._store.objects.get(prefix)
        if here is None:
            names.checkKey(name)
            here = self._store.root
            for own, index, way in names.objects(prefix):
                below = self._store.objects.get(way)
                here = below or self._made(here, own, index, way, wanted=False)
        return here

    def _made(
        self,
        parent: TreeObject,
        name: str,
        index: int | None,
        prefix: str,
        *,
        wanted: bool,
    ) -> TreeObject:
        self._rules.checkObject(parent, name)
        self._store.checkSteps()
        child = TreeObject(name, index, parent, prefix, made=wanted)
        child.handle = self.handles.create(child)
        self._store.attach(child)
        return child

    def _indexOf(self, parent: TreeObject, name: str) -> int | None:
        siblings = parent.children.get(name)
        if siblings is None:
            return 0 if names.unindexed(parent.prefix + name) in self.repeated else None
        return siblings.nextIndex()

    def _change(self, owner: TreeObject, name: str, value: Value | None) -> None:
        change = Change.between(name, self._store.values.get(name), value)
        self._validating = True
        try:
            self._rules.checkChange(owner, change)
        finally:
            self._validating = False
        self._store.write(owner, name, value)


def _within(top: TreeObject) -> Iterator[TreeObject]:
    """
    An object and all below it, each after what it is in.
    """
    waiting = [top]
    while waiting:
        here = waiting.pop()
        yield here
        waiting += here.below()


def _handles(objects: Iterable[TreeObject]) -> tuple[int, ...]:
    return tuple(each.handle for each in objects)
