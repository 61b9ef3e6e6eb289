"""
Changes, and who sees them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import IntFlag
from typing import Final, Generic, TypeVar

from attrs import define, field, frozen

from corotwist.config.names import KEY_MAX
from corotwist.config.values import Value
from corotwist.errors import NameTooLong, NoSpace

# In one registry.
MOST_WATCHERS: Final = 1 << 16


class ChangeKind(IntFlag):
    """
    What happened to a key or to an object; the numbers are corosync's.
    """

    DELETE = 1
    MODIFY = 2
    ADD = 4


ALL: Final = ChangeKind.DELETE | ChangeKind.MODIFY | ChangeKind.ADD


@frozen
class Change:
    """
    A key is not what it was.

    @ivar name: the whole dotted name.
    @ivar old: L{None} when there was none.
    @ivar new: L{None} when there is none any more.
    """

    kind: ChangeKind
    name: str
    old: Value | None
    new: Value | None

    @classmethod
    def between(cls, name: str, old: Value | None, new: Value | None) -> "Change":
        """
        From the one value to the other.
        """
        if old is None:
            return cls(ChangeKind.ADD, name, None, new)
        return cls(
            ChangeKind.DELETE if new is None else ChangeKind.MODIFY, name, old, new
        )


@frozen
class ObjectChange:
    """
    An object is new, or gone.

    @ivar name: dotted, with indices: C{nodelist.node.0}.
    @ivar handle: it is dead already when the object is gone.
    """

    kind: ChangeKind
    name: str
    handle: int


AnyChange = Change | ObjectChange
Callback = Callable[[Sequence[AnyChange]], object]
KeyCallback = Callable[[Sequence[Change]], object]


Report = Callable[["Watcher", Exception], object]


@define(eq=False)
class Watcher:
    """
    Somebody who has to do with some keys, until it is stopped.

    @ivar name: of the keys, for messages.
    """

    _forget: Callable[["Watcher"], object] | None = field(repr=False)
    name: str
    stopped: bool = field(default=False, init=False)

    def stop(self) -> None:
        """
        No more from now on; a second time does nothing.
        """
        self.stopped = True
        self.release()

    def release(self) -> None:
        """
        As L{stop}, but what has happened already is still told.
        """
        forget, self._forget = self._forget, None
        if forget is not None:
            forget(self)


@define(eq=False)
class Track(Watcher):
    """
    Somebody who is told of changes when they are made.
    """

    kinds: ChangeKind
    callback: Callback

    def wants(self, change: AnyChange) -> bool:
        """
        Is it of the right kind?
        """
        # As plain numbers: enum's own operator takes ten times as long.
        return int.__and__(self.kinds, change.kind) != 0


@define(eq=False)
class Validator(Watcher):
    """
    Somebody who may refuse changes before they are made.

    @ivar check: raises what the writer is to get.
    """

    check: Callable[[Change], object]


W = TypeVar("W", bound=Watcher)


@define(eq=False)
class Registry(Generic[W]):
    """
    Watchers of names, to be found by a name, however many there are: a look for
    the name, and one for each length that a beginning in use has.

    @ivar watchers: how many there are, those included that are found otherwise.
    """

    _exact: dict[str, dict[W, None]] = field(factory=dict, init=False)
    _wide: dict[str, dict[W, None]] = field(factory=dict, init=False)
    _lengths: list[int] = field(factory=list, init=False)
    # How many beginnings have each length.
    _counts: Counter[int] = field(factory=Counter, init=False)
    watchers: int = field(default=0, init=False)

    def add(self, name: str, watcher: W, *, prefix: bool) -> None:
        """
        From now on it is found by the name, or what begins with it.

        @raise NameTooLong: no key has such a name.
        @raise NoSpace: there are too many.
        """
        if len(name) > KEY_MAX:
            raise NameTooLong(f"{name[:40]!r}… is longer than any key")
        self.enter()
        kept = self._wide if prefix else self._exact
        if prefix and name not in kept:
            self._count(len(name), 1)
        kept.setdefault(name, {})[watcher] = None

    def remove(self, name: str, watcher: W, *, prefix: bool) -> None:
        """
        It is found no more.
        """
        self.leave()
        kept = self._wide if prefix else self._exact
        del kept[name][watcher]
        if not kept[name]:
            del kept[name]
            if prefix:
                self._count(len(name), -1)

    def of(self, name: str) -> Iterator[W]:
        """
        Those that see this key; those of the name itself first.
        """
        yield from self._exact.get(name, ())
        for length in self._lengths:
            if length > len(name):
                break
            yield from self._wide.get(name[:length], ())

    def enter(self) -> None:
        """
        Count one more.

        @raise NoSpace: there are too many.
        """
        if self.watchers >= MOST_WATCHERS:
            raise NoSpace(f"there are {MOST_WATCHERS} watchers already")
        self.watchers += 1

    def leave(self) -> None:
        """
        Count one less.
        """
        self.watchers -= 1

    def _count(self, length: int, step: int) -> None:
        self._counts[length] += step
        if not self._counts[length]:
            del self._counts[length]
        if len(self._counts) != len(self._lengths):
            self._lengths = sorted(self._counts)
