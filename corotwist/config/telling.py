"""
How those who track changes are told of them.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from attrs import define, field

from corotwist.config.store import TreeObject
from corotwist.config.tracking import (
    AnyChange,
    Callback,
    Change,
    ChangeKind,
    Registry,
    Report,
    Track,
    Watcher,
)
from corotwist.errors import TryAgain

# A change that a tracker makes is told to others, who may make changes; this
# many times over, and so many in all, before it must come to rest.
DEEPEST_CASCADE: Final = 100
LONGEST_CASCADE: Final = 1 << 16

# What each tracker is to be told.
Batch = list[tuple[Track, list[AnyChange]]]


@define(eq=False)
class Trackers:
    """
    Those of names, and those of objects.
    """

    _named: Registry[Track] = field(factory=Registry, init=False)
    # Of objects; without any there is no need to look for them.
    _ofObjects: int = field(default=0, init=False)

    def add(
        self, name: str, callback: Callback, kinds: ChangeKind, *, prefix: bool
    ) -> Track:
        """
        One that tracks a name, or what begins so.
        """
        forget = partial(self._named.remove, name, prefix=prefix)
        track = Track(forget, name, kinds, callback)
        self._named.add(name, track, prefix=prefix)
        return track

    def addTo(
        self, owner: TreeObject, callback: Callback, kinds: ChangeKind, *, deep: bool
    ) -> Track:
        """
        One that tracks an object, with what is below or without.
        """

        def forget(watcher: Watcher) -> None:
            del owner.tracks[track]
            self._named.leave()
            self._ofObjects -= 1

        track = Track(forget, owner.path, kinds, callback)
        self._named.enter()
        self._ofObjects += 1
        owner.tracks[track] = deep
        return track

    def addressed(self, changes: Iterable[tuple[TreeObject, AnyChange]]) -> Batch:
        """
        Who is to be told what.

        @param changes: each with the object it happened in, or to.
        """
        if not self._named.watchers:
            return []
        told: dict[Track, list[AnyChange]] = {}
        for owner, change in changes:
            for track in self._seeing(owner, change):
                if track.wants(change):
                    told.setdefault(track, []).append(change)
        return list(told.items())

    def _seeing(self, owner: TreeObject, change: AnyChange) -> Iterator[Track]:
        near = 1  # That a child comes or goes concerns its parent, too.
        if isinstance(change, Change):
            near = 0
            yield from self._named.of(change.name)
        if self._ofObjects:
            for distance, above in enumerate(owner.upwards()):
                for track, deep in above.tracks.items():
                    if deep or distance <= near:
                        yield track


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
