"""
The object tree and its flat map beside a dictionary: whatever is done through
either, both show what the dictionary has, and trackers are told just that.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.flat import FlatMap
from corotwist.config.names import split
from corotwist.config.tracking import ALL, Change, Track
from corotwist.config.tree import ObjectTree
from corotwist.config.values import Value, ValueType, string, u8
from corotwist.errors import AccessDenied, BadHandle, InvalidParameter, NotExist
from corotwist.handles import HandleDatabase
from corotwist.test.strategies import thorough

# Few, so that they meet; the numbers are indices, names and keys.
COMPONENTS = ("a", "0", "1")
NAMES = ("k.a", "k.a.b", "k.a.0", "k.a.0.b", "k.a.1.b", "k.a.0.1.b", "k.0.a")
VALUES = (u8(0), u8(255), string("x"), string("y"))
FORBIDDEN = string("no")

names = st.sampled_from(NAMES)
maybe = st.none() | st.sampled_from(VALUES)
prefixes = st.sampled_from(sorted({name[:n] for name in NAMES for n in range(8)}))


@define(eq=False)
class Watch:
    """
    A tracker, and what a copy of its part of the map looks like that is kept by
    what it is told.
    """

    prefix: str
    copy: dict[str, Value]
    track: Track = field(init=False)

    def told(self, changes: Sequence[Change]) -> None:
        """
        Each change must fit what is known.
        """
        assert changes, "told of nothing"
        for change in changes:
            assert self.copy.get(change.name) == change.old, change
            assert change.old != change.new, change
            if change.new is None:
                del self.copy[change.name]
            else:
                self.copy[change.name] = change.new


class Undone(Exception):
    """
    A transaction that we want to fail.
    """


class Model(RuleBasedStateMachine):
    """
    C{model} is what the map should be.
    """

    @initialize(seed=st.integers(0, 3))
    def begin(self, seed: int) -> None:
        self.tree = ObjectTree(HandleDatabase(random=Random(seed)), {"k.a"})
        self.map = FlatMap(self.tree)
        self.tree.validate("", self.check, prefix=True)
        self.model: dict[str, Value] = {}
        # Objects that somebody created, by handle, and their paths.
        self.made: dict[int, str] = {}
        self.gone: set[int] = set()
        self.watches: list[Watch] = []
        self.open: list[tuple[Any, dict[str, Value], dict[int, str]]] = []
        self.track("")

    @staticmethod
    def check(change: Change) -> None:
        if change.new == FORBIDDEN:
            raise AccessDenied("forbidden")

    # Through the map.

    @rule(name=names, value=st.sampled_from(VALUES))
    def set(self, name: str, value: Value) -> None:
        self.map.set(name, value)
        self.model[name] = value

    @rule(name=names)
    def forbidden(self, name: str) -> None:
        with raises(AccessDenied):
            self.map.set(name, FORBIDDEN)

    @rule(changes=st.lists(st.tuples(names, maybe), min_size=3, max_size=9))
    def several(self, changes: list[tuple[str, Value | None]]) -> None:
        for name, value in changes:
            if value is not None:
                self.set(name, value)
            elif name in self.model:
                self.delete(name)

    @rule(
        changes=st.lists(st.tuples(names, maybe), min_size=2, max_size=9),
        fails=st.booleans(),
    )
    def together(self, changes: list[tuple[str, Value | None]], fails: bool) -> None:
        self.enter()
        self.several(changes)
        self.leave(fails)

    @rule(name=names)
    def delete(self, name: str) -> None:
        if name in self.model:
            self.map.delete(name)
            del self.model[name]
        else:
            with raises(NotExist):
                self.map.delete(name)

    @rule(name=names, step=st.integers(-300, 300))
    def adjust(self, name: str, step: int) -> None:
        old = self.model.get(name)
        if old is None or old.kind is not ValueType.UINT8:
            with raises(NotExist if old is None else InvalidParameter):
                self.map.adjust(name, step)
        else:
            assert isinstance(old.content, int)
            self.model[name] = u8((old.content + step) % 256)
            assert self.map.adjust(name, step) == self.model[name]

    # Through the tree.

    @rule(name=names, value=st.sampled_from(VALUES))
    def keySet(self, name: str, value: Value) -> None:
        prefix, key = split(name)
        try:
            owner = self.tree.at(prefix[:-1])
        except NotExist:
            assert not any(split(each)[0] == prefix for each in self.model)
        else:
            self.tree.keySet(owner, key, value)
            self.model[name] = value

    @rule(name=names, own=st.sampled_from(COMPONENTS))
    def create(self, name: str, own: str) -> None:
        try:
            parent = self.tree.at(split(name)[0][:-1])
        except NotExist:
            return
        try:
            made = self.tree.create(parent, own)
        except InvalidParameter:
            assert own.isdigit()
            return
        assert made not in self.made
        assert made not in self.gone
        self.made[made] = self.tree.path(made)

    @rule(data=st.data())
    def destroy(self, data: st.DataObject) -> None:
        objects = [handle for handle in self.handles() if handle != self.tree.root]
        if not objects:
            return
        handle = data.draw(st.sampled_from(objects))
        below = set(self.below(handle))
        lost = [
            self.tree.keyName(each, key)
            for each in below
            for key in self.tree.keys(each)
        ]
        self.tree.destroy(handle)
        for name in lost:
            del self.model[name]
        for each in below:
            self.made.pop(each, None)
        if not self.open:
            self.gone |= below

    # Transactions.

    @precondition(lambda self: len(self.open) < 3)
    @rule()
    def enter(self) -> None:
        transaction = self.tree.transaction()
        transaction.__enter__()
        self.open.append((transaction, self.model.copy(), self.made.copy()))

    @precondition(lambda self: self.open)
    @rule(fails=st.booleans())
    def leave(self, fails: bool) -> None:
        transaction, model, made = self.open.pop()
        if fails:
            self.model, self.made = model, made
            transaction.__exit__(Undone, Undone(), None)
        else:
            transaction.__exit__(None, None, None)

    # Trackers.

    @precondition(lambda self: len(self.watches) < 4 and not self.open)
    @rule(prefix=prefixes)
    def track(self, prefix: str) -> None:
        watch = Watch(prefix, self.part(prefix))
        watch.track = self.map.track(prefix, ALL, watch.told, prefix=True)
        self.watches.append(watch)

    @precondition(lambda self: self.watches)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        watch = data.draw(st.sampled_from(self.watches))
        self.watches.remove(watch)
        watch.track.stop()

    # What must be true.

    @invariant()
    def flat(self) -> None:
        """
        The map is the dictionary, in order, as a whole and in parts.
        """
        assert self.map.items() == tuple(sorted(self.model.items(), key=_name))
        for prefix in ("k.a", "k.a.0.", "k.0"):
            assert dict(self.map.items(prefix)) == self.part(prefix)

    @invariant()
    def objects(self) -> None:
        """
        The keys of all objects are the dictionary; objects are where they say,
        and there is none but those that have keys, or were made, or are on the
        way to such.
        """
        found: dict[str, Value] = {}
        needed = {self.tree.root, *self.made}
        for handle in self.handles():
            path = self.tree.path(handle)
            assert self.tree.at(path) == handle
            for key in self.tree.keys(handle):
                found[f"{path}.{key}" if path else key] = self.tree.keyGet(handle, key)
            if self.tree.keys(handle) or handle in self.made:
                needed |= set(self.above(handle))
            assert handle not in self.gone
        assert found == self.model
        assert {h: self.tree.path(h) for h in self.made} == self.made
        if not self.open:
            assert needed == set(self.handles())
            assert len(self.tree.handles) == len(needed)

    @invariant()
    def told(self) -> None:
        """
        Whoever tracks changes knows what the map was when the last transaction
        began, and what it is when none is open.
        """
        now = self.open[0][1] if self.open else self.model
        for watch in self.watches:
            assert watch.copy == {
                name: value
                for name, value in now.items()
                if name.startswith(watch.prefix)
            }

    @invariant()
    def stale(self) -> None:
        """
        Handles of what is gone stay dead.
        """
        for handle in self.gone:
            with raises(BadHandle):
                self.tree.path(handle)

    def part(self, prefix: str) -> dict[str, Value]:
        return {n: v for n, v in self.model.items() if n.startswith(prefix)}

    def handles(self) -> list[int]:
        return list(self.below(self.tree.root))

    def below(self, handle: int) -> Iterator[int]:
        yield handle
        for child in self.tree.children(handle):
            yield from self.below(child)

    def above(self, handle: int) -> Iterator[int]:
        while handle != self.tree.root:
            yield handle
            handle = self.tree.parent(handle)


def _name(item: tuple[str, Value]) -> str:
    return item[0]


@contextmanager
def raises(kind: type[Exception]) -> Iterator[None]:
    """
    The block must raise.
    """
    try:
        yield
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


class ModelTests(SynchronousTestCase):
    def test_model(self) -> None:
        """
        Both views agree with a dictionary, and with each other, after every step;
        transactions are all or nothing; trackers that apply what they are told
        have what is there.  (A13, A15, A18, A19)
        """
        run_state_machine_as_test(
            Model, settings=settings(thorough, max_examples=150, stateful_step_count=40)
        )
