"""
The configuration map of a node, as a client has it.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.config.tracking import ALL, Change, ChangeKind
from corotwist.config.values import Value
from corotwist.engines import entries as packed
from corotwist.engines.entries import Entry
from corotwist.engines.keyspace import ICMAP, STATS, Condition
from corotwist.errors import Disconnected, NoSpace, ServiceError
from corotwist.ipc.cmap import (
    Adjust,
    Changed,
    Delete,
    Get,
    Iterate,
    Next,
    Set,
    Track,
    Untrack,
    packCondition,
)
from corotwist.ipc.jsonparts import Ask
from corotwist.ipc.underway import PREFIX, TRACKERS

Told = Callable[[Sequence[Any]], object]
Interrupted = Callable[[str], object]

_ANY: Final = object()


@define(eq=False)
class Tracker:
    """
    Somebody who is told of changes, until it is stopped.

    @ivar command: asks for it, with the number of the tracker and C{asked}.
    """

    number: int
    command: type[amp.Command]
    asked: dict[str, Any]
    told: Told
    interrupted: Interrupted | None
    _trackers: "Trackers" = field(repr=False)
    granted: Deferred["Tracker"] | None = None
    gap: str | None = None
    parts: list[bytes] = field(factory=list)

    def stop(self) -> Deferred[None]:
        """
        Be told no more: nothing comes from now on.

        @return: fires when the node knows it.
        """
        return self._trackers.stop(self)


class Trackers:
    """
    The trackers of one service of a client; asked for again when the node was
    gone.
    """

    _log = Logger()

    def __init__(
        self,
        ask: Ask,
        untrack: type[amp.Command],
        unpack: Callable[[bytes], Sequence[Any]],
    ) -> None:
        """
        @param untrack: ends one, by its number.
        @param unpack: what was told, from bytes.
        """
        self._ask = ask
        self._untrack = untrack
        self._unpack = unpack
        self._numbers = 0
        self._trackers: dict[int, Tracker] = {}
        self._connected = False

    # For the application.

    def start(
        self,
        command: type[amp.Command],
        asked: dict[str, Any],
        told: Told,
        interrupted: Interrupted | None,
    ) -> Deferred[Tracker]:
        """
        Be told of what C{command} asks for.
        """
        if len(self._trackers) >= TRACKERS:
            return fail(NoSpace(f"this client has {TRACKERS} trackers already"))
        self._numbers += 1
        granted: Deferred[Tracker] = Deferred(lambda _: self._forget(tracker))
        tracker = Tracker(
            self._numbers, command, asked, told, interrupted, self, granted
        )
        self._trackers[tracker.number] = tracker
        if self._connected:
            self._askFor(tracker)
        return granted

    def stop(self, tracker: Tracker) -> Deferred[None]:
        """
        For L{Tracker.stop}.
        """
        self._forget(tracker)
        if not self._connected:
            return fail(Disconnected("not connected")).addErrback(_gone)
        ended = self._ask(self._untrack, tracker=tracker.number)
        return ended.addCallbacks(_nothing, _gone)

    def _forget(self, tracker: Tracker) -> None:
        tracker.granted = None
        self._trackers.pop(tracker.number, None)

    # From the client.

    def connected(self) -> None:
        """
        The node is there, perhaps again.
        """
        self._connected = True
        for tracker in list(self._trackers.values()):
            self._askFor(tracker)

    def connectionLost(self, reason: str) -> None:
        """
        Changes will be missed.
        """
        self._connected = False
        for tracker in self._trackers.values():
            tracker.parts.clear()
            if tracker.granted is None:
                tracker.gap = reason

    def stopped(self) -> None:
        """
        The client is stopped for good.
        """
        trackers, self._trackers = self._trackers, {}
        for tracker in trackers.values():
            if tracker.granted is not None:
                granted, tracker.granted = tracker.granted, None
                granted.errback(Disconnected("the client was stopped"))

    def _askFor(self, tracker: Tracker) -> None:
        asked = self._ask(tracker.command, tracker=tracker.number, **tracker.asked)
        asked.addCallbacks(
            self._granted,
            self._refused,
            callbackArgs=(tracker,),
            errbackArgs=(tracker,),
        )

    def _granted(self, _: object, tracker: Tracker) -> None:
        granted, tracker.granted = tracker.granted, None
        gap, tracker.gap = tracker.gap, None
        if granted is not None:
            granted.callback(tracker)
        elif gap is not None and tracker.interrupted is not None:
            self._call(tracker.interrupted, gap)

    def _refused(self, failure: Failure, tracker: Tracker) -> None:
        if failure.check(Disconnected):
            return  # It is asked for again.
        granted = tracker.granted
        self._forget(tracker)
        if granted is not None:
            granted.errback(failure)
        else:
            self._log.failure("A tracker cannot go on", failure)

    def changed(self, tracker: int, changes: bytes, more: bool) -> None:
        """
        From the node.
        """
        found = self._trackers.get(tracker)
        if found is None:
            return
        found.parts.append(changes)
        if not more:
            whole = b"".join(found.parts)
            found.parts.clear()
            self._call(found.told, self._unpack(whole))

    def _call(self, callback: Callable[[Any], object], argument: Any) -> None:
        try:
            callback(argument)
        except Exception:  # noqa: BLE001
            self._log.failure("An application failed at a change of keys")


def _nothing(_: object) -> None:
    return None


def _gone(failure: Failure) -> None:
    failure.trap(ServiceError)


class KeyMap:
    """
    Typed keys of a node by their dotted names.

    Keys below C{cluster.} are the same on all nodes; writing one is answered
    when it is ordered.
    """

    def __init__(self, name: str, ask: Ask, trackers: Trackers) -> None:
        self.name = name
        self._ask = ask
        self._trackers = trackers
        self._iterations = iter(range(1, 1 << 32))

    def get(self, name: str) -> Deferred[Value]:
        """
        Read a key.

        @return: fires with its value; fails with L{NotExist}.
        """
        return self.read(name).addCallback(lambda found: found[0])

    def read(self, name: str) -> Deferred[tuple[Value, int]]:
        """
        Read a key and, below C{cluster.}, the version of its value: what
        L{set} takes to find out whether somebody else was faster.

        @return: fires with both; fails with L{NotExist}.
        """
        found = self._ask(Get, map=self.name, name=name)
        return found.addCallback(lambda answer: (_value(answer), answer["version"]))

    def set(
        self,
        name: str,
        value: Value,
        *,
        expected: Any = _ANY,
        version: int | None = None,
    ) -> Deferred[int]:
        """
        Write a key.

        @param expected: only if it has this L{Value} now, or with L{None} if it
            is not there.
        @param version: only if this is its version, 0 for "not there".
        @return: fires with the new version, 0 where there are none.  Fails with
            C{Conflict} when it is not as expected, C{AccessDenied},
            C{InvalidParameter}, C{NameTooLong}, C{NotSupported}; below
            C{cluster.} also with C{NotQuorate}, C{NoSpace}, C{TryAgain}, and
            C{Interrupted}, when it may have been written or not.
        """
        written = self._ask(
            Set,
            map=self.name,
            name=name,
            type=int(value.kind),
            value=value.raw(),
            **_conditions(expected, version),
        )
        return written.addCallback(lambda answer: answer["version"])

    def delete(
        self, name: str, *, expected: Any = _ANY, version: int | None = None
    ) -> Deferred[None]:
        """
        Delete a key; C{expected} and C{version} as L{set}.

        @return: fails with L{NotExist}, and as L{set}.
        """
        conditions = _conditions(expected, version)
        deleted = self._ask(Delete, map=self.name, name=name, **conditions)
        return deleted.addCallback(_nothing)

    def increment(self, name: str) -> Deferred[Value]:
        """
        Add 1 to a whole number; as L{adjust}.
        """
        return self.adjust(name, 1)

    def decrement(self, name: str) -> Deferred[Value]:
        """
        Subtract 1 from a whole number; as L{adjust}.
        """
        return self.adjust(name, -1)

    def adjust(self, name: str, step: int) -> Deferred[Value]:
        """
        Add to a whole number, which begins again at the other end of its type.

        @return: fires with the new value; fails with L{NotExist}, with
            C{InvalidParameter} for what is no whole number, and as L{set}.
        """
        adjusted = self._ask(Adjust, map=self.name, name=name, step=step)
        return adjusted.addCallback(_value)

    async def iterate(self, prefix: str = "") -> AsyncIterator[Entry]:
        """
        The keys that begin so and their values, in byte order, all as they were
        at one moment.
        """
        number = next(self._iterations)
        answer = await self._ask(
            Iterate, map=self.name, prefix=prefix, iteration=number
        )
        while True:
            for entry in packed.entries(answer["entries"]):
                yield entry
            if not answer["more"]:
                return
            answer = await self._ask(Next, iteration=number)

    def items(self, prefix: str = "") -> Deferred[tuple[Entry, ...]]:
        """
        As L{iterate}, all at once.
        """
        return Deferred.fromCoroutine(self._items(prefix))

    async def _items(self, prefix: str) -> tuple[Entry, ...]:
        return tuple([entry async for entry in self.iterate(prefix)])

    def track(
        self,
        name: str,
        changed: Callable[[Sequence[Change]], object],
        kinds: ChangeKind = ALL,
        *,
        prefix: bool = False,
        interrupted: Interrupted | None = None,
    ) -> Deferred[Tracker]:
        """
        Be told of changes, also when the node was gone and is back.

        @param changed: called with the changes of each transaction.
        @param prefix: of all keys that begin with C{name}.
        @param interrupted: called with the reason when the node was gone and
            the tracker works again: read what it is now, for changes may have
            been missed.
        @return: fires when the tracker works; waits for the node.
        """
        asked = {
            "map": self.name,
            "name": name,
            "kinds": int(kinds) | PREFIX * prefix,
        }
        return self._trackers.start(Track, asked, changed, interrupted)


class ConfigurationMap(KeyMap):
    """
    The map C{icmap} of a node, which is its configuration and state.

    @ivar statistics: the map C{stats}.
    """

    def __init__(self, ask: Ask) -> None:
        trackers = Trackers(ask, Untrack, packed.changes)
        super().__init__(ICMAP, ask, trackers)
        self.statistics = KeyMap(STATS, ask, trackers)
        # Numbers are the connection's, not the map's.
        self.statistics._iterations = self._iterations  # noqa: SLF001
        self.connected = trackers.connected
        self.connectionLost = trackers.connectionLost
        self.stopped = trackers.stopped

    def responders(self) -> dict[type[amp.Command], Callable[..., object]]:
        """
        Who takes which notification.
        """
        return {Changed: self._trackers.changed}


def _value(answer: dict[str, Any]) -> Value:
    return packed.typedValue(answer["type"], answer["value"])


def _conditions(expected: Any, version: int | None) -> dict[str, Any]:
    checked = expected is not _ANY
    value = expected if checked else None
    return packCondition(Condition(checked, value, version))
