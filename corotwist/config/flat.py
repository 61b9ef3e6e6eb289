"""
The configuration map: keys by their dotted names, as corosync's tools see them.

It is a view of an L{ObjectTree<corotwist.config.tree.ObjectTree>}: both have the
same keys at any time.
"""

from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field

from corotwist.config.names import checkKey
from corotwist.config.rules import Check
from corotwist.config.tracking import (
    Callback,
    Change,
    ChangeKind,
    Track,
    Validator,
)
from corotwist.config.tree import ObjectTree, Transaction
from corotwist.config.values import Value
from corotwist.errors import AccessDenied, NoSpace, NotExist

Supply = Callable[[], Mapping[str, Value]]
Action = Callable[[Value], object]

# Of one map.
MOST_SUPPLIES: Final = 1 << 12


@define(eq=False)
class Supplied:
    """
    A part of the map that is computed.

    @ivar writing: is what was computed being stored?
    """

    prefix: str
    supply: Supply
    guard: Validator | None = None
    writing: bool = False

    def check(self, change: Change) -> None:
        """
        Nobody else writes here.
        """
        if not self.writing:
            raise AccessDenied(f"{change.name} is computed")


@define(eq=False)
class Special:
    """
    Names that are not simply stored; those of a map, however it is looked at.

    @ivar exact: read-only for clients.
    @ivar wide: beginnings of such names.
    @ivar actions: what is done when somebody writes.
    """

    exact: set[str] = field(factory=set)
    wide: tuple[str, ...] = ()
    actions: dict[str, Action] = field(factory=dict)
    supplies: dict[str, Supplied] = field(factory=dict)

    def readOnly(self, name: str) -> bool:
        """
        May only the node itself write it?
        """
        return name in self.exact or name.startswith(self.wide)


@define(eq=False)
class FlatMap:
    """
    Keys in one level.

    @ivar guarded: for clients, who may not write everything.
    """

    tree: ObjectTree
    guarded: bool = False
    _special: Special = field(factory=Special)

    def forClients(self) -> "FlatMap":
        """
        The same map, where what is protected raises L{AccessDenied}.
        """
        return FlatMap(self.tree, guarded=True, special=self._special)

    def protect(self, name: str, *, prefix: bool = False) -> None:
        """
        Let clients only read a key, or all that begin so.
        """
        if prefix:
            self._special.wide += (name,)
        else:
            self._special.exact.add(name)

    # Reading.

    def get(self, name: str) -> Value:
        """
        @raise NotExist: there is no such key.
        """
        for part in self._special.supplies.values():
            if name.startswith(part.prefix):
                try:
                    return self._computed(part)[name]
                except KeyError:
                    raise NotExist(f"there is no key {name[:255]}") from None
        return self.tree.value(name)

    def names(self, prefix: str = "") -> tuple[str, ...]:
        """
        Of the keys that begin so, in the order of their bytes: those of now,
        whatever happens while they are looked at.
        """
        computed = self._allComputed(prefix)
        if computed is None:
            return tuple(self.tree.names(prefix))
        return tuple(sorted(computed))

    def items(self, prefix: str = "") -> tuple[tuple[str, Value], ...]:
        """
        As L{names}, with the values.
        """
        computed = self._allComputed(prefix)
        if computed is None:
            return tuple(self.tree.items(prefix))
        return tuple(sorted(computed.items()))

    # Writing.

    def set(self, name: str, value: Value) -> None:
        """
        Give a key a value, or do what the key is there for.

        @raise AccessDenied: clients may not write it.
        """
        action = self._special.actions.get(name)
        if action is not None:
            action(value)
            return
        self.checkWritable(name)
        self.tree.write(name, value)

    def delete(self, name: str) -> None:
        """
        @raise NotExist: there is no such key.
        """
        self.checkWritable(name)
        self.tree.erase(name)

    def increment(self, name: str) -> Value:
        """
        Count up, from the largest to the smallest number of the type.

        @return: the new value.
        @raise InvalidParameter: it is no whole number.
        """
        return self.adjust(name, 1)

    def decrement(self, name: str) -> Value:
        """
        Count down, from the smallest to the largest number of the type.
        """
        return self.adjust(name, -1)

    def adjust(self, name: str, step: int) -> Value:
        """
        Add to a whole number, and begin again beyond the end of its type.

        @return: the new value.
        """
        self.checkWritable(name)
        value = self.tree.value(name).adjusted(step)
        self.tree.write(name, value)
        return value

    def transaction(self) -> Transaction:
        """
        For C{with}: all the changes in its block, or none.
        """
        return self.tree.transaction()

    # Who wants to know, or to be asked.

    def track(
        self,
        name: str,
        kinds: ChangeKind,
        callback: Callback,
        *,
        prefix: bool = False,
    ) -> Track:
        """
        Tell of changes of a key, or, with C{prefix} or without a name, of all
        keys that begin so.

        @param callback: called with the L{Change}s of a transaction at once.
        """
        return self.tree.track(name, callback, kinds, prefix=prefix or not name)

    def validate(self, name: str, check: Check, *, prefix: bool = False) -> Validator:
        """
        Ask before a key changes, or one that begins so.
        """
        return self.tree.validate(name, check, prefix=prefix or not name)

    def onWrite(self, name: str, action: Action) -> None:
        """
        A key that is written to have something done, by clients as well: nothing
        is stored.
        """
        checkKey(name)
        self._special.actions[name] = action

    # Values that are computed.

    def provide(self, prefix: str, supply: Supply) -> None:
        """
        Compute the values of all keys that begin so when somebody reads them.

        @param supply: the values by their whole names.
        """
        supplies = self._special.supplies
        if len(supplies) >= MOST_SUPPLIES:
            raise NoSpace(f"{MOST_SUPPLIES} parts are computed already")
        part = Supplied(prefix, supply)
        self.tree.validate(prefix, part.check, prefix=True)
        supplies[prefix] = part

    def refresh(self) -> None:
        """
        Store what is computed, so that the tree has it, and whoever tracks it is
        told what has changed since the last time.
        """
        for part in tuple(self._special.supplies.values()):
            self._refresh(part)

    def _refresh(self, part: Supplied) -> None:
        computed = self._computed(part)
        part.writing = True
        try:
            with self.tree.transaction():
                for name in self.tree.names(part.prefix):
                    if name not in computed:
                        self.tree.erase(name)
                for name, value in computed.items():
                    self.tree.write(name, value)
        finally:
            part.writing = False

    def _computed(self, part: Supplied) -> Mapping[str, Value]:
        return part.supply()

    def _allComputed(self, prefix: str) -> dict[str, Value] | None:
        """
        Everything that begins so, when some of it is computed.
        """
        parts = [
            part
            for part in self._special.supplies.values()
            if part.prefix.startswith(prefix) or prefix.startswith(part.prefix)
        ]
        if not parts:
            return None
        found = dict(self.tree.items(prefix))
        for part in parts:
            for name in self.tree.names(part.prefix):
                found.pop(name, None)
            computed = self._computed(part)
            found |= {n: v for n, v in computed.items() if n.startswith(prefix)}
        return found

    def checkWritable(self, name: str) -> None:
        """
        @raise AccessDenied: it is read-only, here.
        """
        if self.guarded and self._special.readOnly(name):
            raise AccessDenied(f"{name} is read-only")
