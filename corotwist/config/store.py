"""
What the object database keeps, and how a change is undone.

The values are in one dictionary, by their whole dotted names; an object knows
which of them are its keys.  What looks at objects and what looks at names looks
at the same, and cannot disagree.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from operator import itemgetter
from typing import Final

from attrs import define, field

from corotwist.config.order import SortedNames
from corotwist.config.tracking import (
    AnyChange,
    Change,
    ChangeKind,
    ObjectChange,
    Track,
    Validator,
)
from corotwist.config.values import Value, ValueType
from corotwist.errors import NoSpace

MOST_KEYS: Final = 1 << 18
# Of all names and values together, each with what Python needs for it.
MOST_BYTES: Final = 128 << 20
OVERHEAD_BYTES: Final = 200
# Of one transaction: enough to destroy everything, and make it anew.
MOST_STEPS: Final = 1 << 20


@define(eq=False)
class TreeObject:
    """
    One object.

    @ivar index: among those of its name; L{None} for the first of a name that is
        not repeated.
    @ivar prefix: what the names of its keys begin with: C{nodelist.node.0.}
    @ivar made: by somebody who wants it; others go with their last key.
    @ivar alive: not destroyed.
    @ivar keys: the last components of their names.
    @ivar children: by name, then by index.
    @ivar allowedKeys: the only ones it may have, and their types, if told.
    @ivar allowedObjects: names of the only objects it may have in it, if told.
    @ivar tracks: those of the object; true for those of all below it as well.
    """

    name: str
    index: int | None
    parent: "TreeObject | None"
    prefix: str
    made: bool
    handle: int = 0
    alive: bool = True
    keys: set[str] = field(factory=set)
    children: "dict[str, Siblings]" = field(factory=dict)
    allowedKeys: Mapping[str, ValueType | None] | None = None
    allowedObjects: Collection[str] | None = None
    tracks: dict[Track, bool] = field(factory=dict)
    validators: dict[Validator, None] = field(factory=dict)

    def upwards(self) -> Iterator["TreeObject"]:
        """
        It, what it is in, what that is in, up to the root.
        """
        here: TreeObject | None = self
        while here is not None:
            yield here
            here = here.parent

    def below(self) -> "list[TreeObject]":
        """
        What is in it, by name and index.
        """
        siblings = sorted(self.children.items(), key=itemgetter(0))
        return [child for _, these in siblings for child in these.inOrder()]

    @property
    def idle(self) -> bool:
        """
        Was it there for something that is gone?
        """
        return not (self.made or self.keys or self.children)

    @property
    def path(self) -> str:
        """
        The dotted name; empty for the root.
        """
        return self.prefix[:-1]


@define(eq=False)
class Siblings:
    """
    The objects of one name in one object.

    @ivar free: no index below it is.
    """

    objects: dict[int | None, TreeObject] = field(factory=dict)
    free: int = 0

    def add(self, child: TreeObject) -> None:
        """
        One more.
        """
        self.objects[child.index] = child

    def remove(self, child: TreeObject) -> None:
        """
        One less.
        """
        del self.objects[child.index]
        if child.index is not None:
            self.free = min(self.free, child.index)

    def nextIndex(self) -> int:
        """
        The smallest that is free.
        """
        while self.free in self.objects:
            self.free += 1
        return self.free

    def inOrder(self) -> list[TreeObject]:
        """
        The one without an index first.
        """
        return sorted(self.objects.values(), key=_byIndex)


def _byIndex(child: TreeObject) -> int:
    return -1 if child.index is None else child.index


# A key of an object and what it was; or, without a name, an object that came
# or went.
Step = tuple[TreeObject, str | None, Value | None]


@define(eq=False)
class Store:
    """
    Objects, keys, values, and the steps of the transaction under way.

    @ivar values: by name.
    @ivar objects: by prefix.
    """

    root: TreeObject
    values: dict[str, Value] = field(factory=dict, init=False)
    objects: dict[str, TreeObject] = field(factory=dict, init=False)
    order: SortedNames = field(factory=SortedNames, init=False)
    steps: list[Step] = field(factory=list, init=False)
    # Objects from which a key, or an object, was taken.
    _emptied: list[TreeObject] = field(factory=list, init=False)
    _bytes: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.objects[""] = self.root

    def write(self, owner: TreeObject, name: str, value: Value | None) -> None:
        """
        Give a key a value, or, with L{None}, take it away.

        @raise NoSpace: too many keys, bytes, or steps.
        """
        self.checkSteps()
        old = self.values.get(name)
        growth = _size(name, value) - _size(name, old)
        if value is None:
            self._emptied.append(owner)
        elif old is None and len(self.values) >= MOST_KEYS:
            raise NoSpace(f"there are {MOST_KEYS} keys already")
        elif growth > 0 and self._bytes + growth > MOST_BYTES:
            raise NoSpace(f"names and values take {MOST_BYTES} bytes already")
        self.steps.append((owner, name, old))
        self._write(owner, name, old, value)
        self._bytes += growth

    def checkSteps(self) -> None:
        """
        @raise NoSpace: the transaction has had too many.
        """
        if len(self.steps) >= MOST_STEPS:
            raise NoSpace(f"a transaction has {MOST_STEPS} steps")

    def attach(self, child: TreeObject) -> None:
        """
        Put an object where it says that it is.
        """
        self.steps.append((child, None, None))
        self._attach(child)

    def detach(self, child: TreeObject) -> None:
        """
        Take an object out, that has nothing in it any more.
        """
        self.steps.append((child, None, None))
        self._detach(child)
        if child.parent is not None:
            self._emptied.append(child.parent)

    def undo(self, mark: int) -> list[TreeObject]:
        """
        Go back to where there were so many steps.

        @return: objects that are no more.
        """
        gone = []
        while len(self.steps) > mark:
            owner, name, old = self.steps.pop()
            if name is not None:
                new = self.values.get(name)
                self._write(owner, name, new, old)
                self._bytes += _size(name, old) - _size(name, new)
            elif owner.alive:
                self._detach(owner)
                gone.append(owner)
            else:
                self._attach(owner)
        if not self.steps:
            self._emptied.clear()
        return gone

    def prune(self) -> None:
        """
        Take out what was there for keys only, and has none any more.
        """
        while self._emptied:
            here = self._emptied.pop()
            if here.alive and here.idle:
                self.detach(here)

    def settle(self) -> tuple[Iterator[tuple[TreeObject, AnyChange]], list[TreeObject]]:
        """
        Keep all steps.

        @return: what is different now, each with the object concerned, in the
            order in which it was first touched, to be read before anything else
            changes; and objects that are no more.
        """
        steps, self.steps = self.steps, []
        turned = Counter([owner for owner, name, _ in steps if name is None])
        gone = [owner for owner in turned if not owner.alive]
        return self._differences(steps, turned), gone

    def _write(
        self, owner: TreeObject, name: str, old: Value | None, value: Value | None
    ) -> None:
        if value is None:
            del self.values[name]
        else:
            self.values[name] = value
        if old is None:
            owner.keys.add(name[len(owner.prefix) :])
            self.order.add(name)
        elif value is None:
            owner.keys.remove(name[len(owner.prefix) :])
            self.order.remove(name)

    def _attach(self, child: TreeObject) -> None:
        assert child.parent is not None, "the root is always there"
        child.alive = True
        child.parent.children.setdefault(child.name, Siblings()).add(child)
        self.objects[child.prefix] = child

    def _detach(self, child: TreeObject) -> None:
        assert child.parent is not None, "the root is always there"
        child.alive = False
        siblings = child.parent.children[child.name]
        siblings.remove(child)
        if not siblings.objects:
            del child.parent.children[child.name]
        del self.objects[child.prefix]

    def _differences(
        self, steps: list[Step], turned: Mapping[TreeObject, int]
    ) -> Iterator[tuple[TreeObject, AnyChange]]:
        first: dict[str | TreeObject, Step] = {}
        for step in steps:
            first.setdefault(step[1] or step[0], step)
        for owner, name, old in first.values():
            if name is not None:
                new = self.values.get(name)
                if new != old:
                    yield owner, Change.between(name, old, new)
            elif turned[owner] % 2:
                kind = ChangeKind.ADD if owner.alive else ChangeKind.DELETE
                yield owner, ObjectChange(kind, owner.path, owner.handle)


def _size(name: str, value: Value | None) -> int:
    """
    What a key takes, about.
    """
    if value is None:
        return 0
    content = value.content
    length = len(content) if isinstance(content, str | bytes) else 0
    return OVERHEAD_BYTES + len(name) + length
