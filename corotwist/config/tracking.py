"""
Who wants to know of which change, and how it is told.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from enum import IntFlag
from typing import Final, Generic, TypeVar

from attrs import define, field, frozen

from corotwist.config.names import KEY_MAX
from corotwist.config.values import Value
from corotwist.errors import NameTooLong, NoSpace, TryAgain

# Of one tree: trackers and validators together.
MOST_WATCHERS: Final = 1 << 16
# A change that a tracker makes is told to others, who may make changes; this
# many times over, and so many in all, before it must come to rest.
DEEPEST_CASCADE: Final = 100
LONGEST_CASCADE: Final = 1 << 16


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


@define(eq=False)
class Watcher:
    """
    Somebody who sees changes, until it is stopped.
    """

    _forget: Callable[["Watcher"], object] | None = field(repr=False)
    stopped: bool = field(default=False, init=False)

    def stop(self) -> None:
        """
        See nothing more from now on; a second time does nothing.
        """
        self.stopped = True
        self.release()

    def release(self) -> None:
        """
        See nothing that happens from now on; what did is still told.
        """
        forget, self._forget = self._forget, None
        if forget is not None:
            forget(self)


@define(eq=False)
class Track(Watcher):
    """
    Somebody who is told of changes when they are made.

    @ivar name: what it watches, for messages.
    """

    name: str
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

    name: str
    check: Callable[[Change], object]


W = TypeVar("W", bound=Watcher)


@define(eq=False)
class Registry(Generic[W]):
    """
    Watchers of names, to be found by a name, however many there are: a look for
    the name, and one for each length that a beginning in use has.
    """

    _exact: dict[str, dict[W, None]] = field(factory=dict, init=False)
    _wide: dict[str, dict[W, None]] = field(factory=dict, init=False)
    _lengths: list[int] = field(factory=list, init=False)
    # How many beginnings have each length.
    _counts: Counter[int] = field(factory=Counter, init=False)
    # Watchers of objects included, which are found otherwise.
    _watchers: int = field(default=0, init=False)

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
        Those that see this key.
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
        if self._watchers >= MOST_WATCHERS:
            raise NoSpace(f"there are {MOST_WATCHERS} watchers already")
        self._watchers += 1

    def leave(self) -> None:
        """
        Count one less.
        """
        self._watchers -= 1

    def _count(self, length: int, step: int) -> None:
        self._counts[length] += step
        if not self._counts[length]:
            del self._counts[length]
        if len(self._counts) != len(self._lengths):
            self._lengths = sorted(self._counts)


Batch = list[tuple[Track, list[AnyChange]]]


Report = Callable[[Watcher, Exception], object]


@define(eq=False)
class Deliveries:
    """
    Notifications, one after the other: what a tracker changes is told after all
    have been told what it was told.

    @ivar report: hears of trackers that raised.
    """

    report: Report
    _waiting: deque[tuple[int, Batch]] = field(factory=deque, init=False)
    # Of the notification under way: caused by how many others; 0 when none is.
    _depth: int = field(default=0, init=False)
    _told: int = field(default=0, init=False)

    def checkCascade(self) -> None:
        """
        @raise TryAgain: changes cause changes cause changes, and will not end.
        """
        if self._depth >= DEEPEST_CASCADE or self._told >= LONGEST_CASCADE:
            raise TryAgain("trackers make changes that cause changes without an end")

    def add(self, batch: Batch) -> None:
        """
        Tell this, now or when it is its turn.
        """
        if batch:
            self._waiting.append((self._depth + 1, batch))
            self._told += 1
            if not self._depth:
                self._run()

    def _run(self) -> None:
        try:
            while self._waiting:
                self._depth, batch = self._waiting.popleft()
                for track, changes in batch:
                    self._tell(track, changes)
        finally:
            self._depth = self._told = 0

    def _tell(self, track: Track, changes: list[AnyChange]) -> None:
        if track.stopped:
            return
        try:
            track.callback(tuple(changes))
        except Exception as error:  # noqa: BLE001 - Its fault is not ours.
            self.report(track, error)
