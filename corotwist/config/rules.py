"""
What may be written: types that are kept, keys that are known, and whoever wants to
be asked.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial

from attrs import define, field

from corotwist.config.names import checkKey, split, unindexed
from corotwist.config.store import TreeObject
from corotwist.config.tracking import Change, Registry, Report, Validator, Watcher
from corotwist.config.values import ValueType
from corotwist.errors import InvalidParameter, ServiceError

Check = Callable[[Change], object]


@define(eq=False)
class Rules:
    """
    Asked before each change; an exception is the refusal.
    """

    report: Report
    _types: dict[str, ValueType] = field(factory=dict, init=False)
    _validators: Registry[Validator] = field(factory=Registry, init=False)

    def keepType(self, name: str, kind: ValueType) -> None:
        """
        Refuse values of another type for a name, whatever numbers are in it.
        """
        self._types[name] = kind

    def validate(self, name: str, check: Check, *, prefix: bool) -> Validator:
        """
        Ask C{check} before a key changes, or keys that begin so.
        """
        forget = partial(self._validators.remove, name, prefix=prefix)
        validator = Validator(forget, name, check)
        self._validators.add(name, validator, prefix=prefix)
        return validator

    def validateObject(self, owner: TreeObject, check: Check) -> Validator:
        """
        Ask C{check} before a key of an object changes, or of one in it.
        """

        def forget(watcher: Watcher) -> None:
            del owner.validators[validator]
            self._validators.leave()

        validator = Validator(forget, owner.path, check)
        self._validators.enter()
        owner.validators[validator] = None
        return validator

    def checkObject(self, parent: TreeObject, name: str) -> None:
        """
        May there be an object of that name in another one?
        """
        allowed = parent.allowedObjects
        if allowed is not None and name not in allowed:
            meant = _meant(name, allowed)
            raise InvalidParameter(f"{parent.path} has no objects named {name}{meant}")

    def checkChange(self, owner: TreeObject, change: Change) -> None:
        """
        May a key of an object change so?
        """
        if change.old is None:
            checkKey(change.name)
        if change.new is not None:
            self._checkType(owner, change)
        if not self._validators.watchers:
            return
        for validator in tuple(self._validators.of(change.name)):
            self._ask(validator, change)
        for above in owner.upwards():
            for validator in tuple(above.validators):
                self._ask(validator, change)

    def _checkType(self, owner: TreeObject, change: Change) -> None:
        assert change.new is not None
        kind = change.new.kind
        if change.old is not None and change.old.kind is kind:
            return
        kept = self._types.get(unindexed(change.name))
        if owner.allowedKeys is not None:
            key = split(change.name)[1]
            if key not in owner.allowedKeys:
                meant = _meant(key, owner.allowedKeys)
                raise InvalidParameter(f"{owner.path} has no key {key}{meant}")
            kept = owner.allowedKeys[key] or kept
        if kept is not None and kept is not kind:
            raise InvalidParameter(
                f"{change.name} is a {kept.label}, and no {kind.label}"
            )

    def _ask(self, validator: Validator, change: Change) -> None:
        try:
            validator.check(change)
        except ServiceError:
            raise
        except Exception as error:
            self.report(validator, error)
            raise InvalidParameter(
                f"{change.name}: what checks it failed: {error}"
            ) from error


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""
