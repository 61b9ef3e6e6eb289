"""
The log in the map of a node: what corosync's tools write to have the flight
recorder dumped, and the counters.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from corotwist.config.database import Database
from corotwist.config.tracking import Change, ChangeKind, ObjectChange
from corotwist.config.values import Value, string, u64

PREFIX: Final = "runtime.blackbox."
# Written to by whoever wants a dump; with us each has the events and the state.
TRIGGERS: Final = (f"{PREFIX}dump_flight_data", f"{PREFIX}dump_state")
# Where the latest dump is, or why there is none.
FILE: Final = f"{PREFIX}file"
ERROR: Final = f"{PREFIX}error"
STATISTICS: Final = "stats.log."
IDLE: Final = "no"

Dump = Callable[[str], Deferred[str]]


class LogKeys:
    """
    Follows the keys of one node.
    """

    def __init__(
        self,
        database: Database,
        dump: Dump,
        statistics: Callable[[], Mapping[str, int]],
    ) -> None:
        self._map = database.map
        self._dump = dump
        self._statistics = statistics
        for name in TRIGGERS:
            self._map.set(name, string(IDLE))
        wanted = ChangeKind.ADD | ChangeKind.MODIFY
        self._track = self._map.track(PREFIX, wanted, self._changed, prefix=True)
        database.statistics.provide(STATISTICS, self._counters)

    def stop(self) -> None:
        """
        Follow them no longer.
        """
        self._track.stop()

    def _changed(self, changes: Sequence[Change | ObjectChange]) -> None:
        for change in changes:
            if isinstance(change, Change) and change.name in TRIGGERS:
                self._triggered(change)

    def _triggered(self, change: Change) -> None:
        if change.new != string(IDLE):
            dumped = self._dump(change.name)
            dumped.addCallbacks(self._written, self._failed)
            dumped.addBoth(self._done, change.name)

    def _written(self, path: str) -> None:
        with self._map.transaction():
            self._map.set(FILE, string(path))
            self._map.set(ERROR, string(""))

    def _failed(self, failure: Failure) -> None:
        self._map.set(ERROR, string(failure.getErrorMessage()))

    def _done(self, result: object, name: str) -> None:
        self._map.set(name, string(IDLE))

    def _counters(self) -> Mapping[str, Value]:
        return {
            f"{STATISTICS}{name}": u64(count)
            for name, count in self._statistics().items()
        }
