"""
The configuration map: keys by their dotted names, as corosync's tools see them.

It is a view of an L{ObjectTree<corotwist.config.tree.ObjectTree>}: both have the
same keys at any time.
"""

from collections.abc import Mapping
from functools import partial
from operator import itemgetter
from typing import cast

from attrs import define, field

from corotwist.config.rules import Check
from corotwist.config.special import Action, Computed, Special, Supply, Switch
from corotwist.config.tracking import (
    Callback,
    ChangeKind,
    KeyCallback,
    Track,
    Validator,
    Watcher,
)
from corotwist.config.tree import ObjectTree, Transaction, noKey
from corotwist.config.values import Value
from corotwist.errors import AccessDenied, Exists, InvalidParameter, ServiceError


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
        if not prefix:
            self._special.exact.add(name)
        elif name not in self._special.wide:
            self._special.wide += (name,)

    # Reading.

    def get(self, name: str) -> Value:
        """
        @raise NotExist: there is no such key.
        """
        for part in self._special.computed.of(name):
            value = self._computed(part).get(name)
            if value is None:
                raise noKey(name)
            return value
        return self.tree.value(name)

    def names(self, prefix: str = "") -> tuple[str, ...]:
        """
        Of the keys that begin so, in the order of their bytes: those of now,
        whatever happens while they are looked at.
        """
        if self._special.parts:
            return tuple(name for name, _ in self._read(prefix))
        return tuple(self.tree.names(prefix))

    def items(self, prefix: str = "") -> tuple[tuple[str, Value], ...]:
        """
        As L{names}, with the values.
        """
        return tuple(self._read(prefix))

    # Writing.

    def set(self, name: str, value: Value) -> None:
        """
        Give a key a value, or do what the key is there for.

        @raise AccessDenied: clients may not write it.
        """
        for switch in self._special.switches.of(name):
            switch.action(name, value)
            return
        self.checkWritable(name)
        self.tree.write(name, value)

    def delete(self, name: str) -> None:
        """
        @raise AccessDenied: clients may not write it.
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
        callback: KeyCallback,
        *,
        prefix: bool = False,
    ) -> Track:
        """
        Tell of changes of a key, or, with C{prefix} or without a name, of all
        keys that begin so.

        @param callback: called with the changes of a transaction at once.
        """
        # Who tracks names is told of keys only.
        told = cast("Callback", callback)
        return self.tree.track(name, told, kinds, prefix=prefix or not name)

    def validate(self, name: str, check: Check, *, prefix: bool = False) -> Validator:
        """
        Ask before a key changes, or one that begins so.
        """
        return self.tree.validate(name, check, prefix=prefix or not name)

    def onWrite(self, name: str, action: Action, *, prefix: bool = False) -> Switch:
        """
        Do something instead of storing when somebody, clients included, sets a
        key, or one that begins so.

        @param action: gets name and value; what it raises, the writer gets.
        """
        switches = self._special.switches
        switch = Switch(partial(switches.remove, name, prefix=prefix), name, action)
        switches.add(name, switch, prefix=prefix)
        return switch

    # Values that are computed.

    def provide(self, prefix: str, supply: Supply) -> Computed:
        """
        Compute the values of all keys that begin so when somebody reads them;
        when it is stopped, they vanish.

        @param supply: the values, by the keys' whole names.
        @raise Exists: some of them are computed already.
        """
        special = self._special
        if special.touching(prefix):
            raise Exists(f"keys that begin with {prefix} are computed already")

        def forget(watcher: Watcher) -> None:
            special.computed.remove(prefix, part, prefix=True)
            del special.parts[prefix]
            self._store(part, {})
            guard.stop()

        part = Computed(forget, prefix, supply)
        guard = self.tree.validate(prefix, part.check, prefix=True)
        special.computed.add(prefix, part, prefix=True)
        special.parts[prefix] = part
        return part

    def refresh(self) -> None:
        """
        Store what is computed, so that the tree has it too, and whoever tracks
        it is told what has changed since the last time.
        """
        for part in tuple(self._special.parts.values()):
            try:
                self._store(part, self._computed(part))
            except ServiceError as error:
                self.tree.report(part, error)

    def _store(self, part: Computed, values: Mapping[str, Value]) -> None:
        part.writing = True
        try:
            with self.tree.transaction():
                for name in self.tree.names(part.name):
                    if name not in values:
                        self.tree.erase(name)
                for name, value in values.items():
                    if not name.startswith(part.name):
                        raise InvalidParameter(f"{name} is not below {part.name}")
                    self.tree.write(name, value)
        finally:
            part.writing = False

    def _computed(self, part: Computed) -> Mapping[str, Value]:
        """
        The values of now; those of the last time, if that fails.
        """
        try:
            return part.supply()
        except Exception as error:  # noqa: BLE001 - Its fault is not the reader's.
            self.tree.report(part, error)
            return dict(self.tree.items(part.name))

    def _read(self, prefix: str) -> list[tuple[str, Value]]:
        """
        What begins so, stored and computed, in order.
        """
        found = self.tree.items(prefix)
        parts = self._special.touching(prefix)
        if parts:
            computed = tuple(part.name for part in parts)
            found = [item for item in found if not item[0].startswith(computed)]
            for part in parts:
                values = self._computed(part).items()
                found += [item for item in values if item[0].startswith(prefix)]
            found.sort(key=itemgetter(0))
        return found

    def checkWritable(self, name: str) -> None:
        """
        @raise AccessDenied: it is read-only, here.
        """
        if self.guarded and self._special.readOnly(name):
            raise AccessDenied(f"{name} is read-only")
