"""
The figures of a node under corosync's names: computed when somebody reads them.

C{internal_configuration.service.} and C{runtime.services.} are in the
configuration map, everything below C{stats.} in the map of statistics.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from attrs import define, field

from corotwist.config.values import Value, i32, string, u16, u32, u64
from corotwist.engines.executive import (
    FUNCTIONS_COUNTED,
    SERVICE_MESSAGES,
    SHORT_FORM,
    Mcast,
)
from corotwist.engines.place import Place
from corotwist.errors import NotSupported
from corotwist.interfaces import IConnection, ITotem

ENGINES: Final = "internal_configuration.service."
SERVICES: Final = "runtime.services."
RING: Final = "stats.srp."
QUEUE: Final = "stats.pg."
CLIENTS: Final = "stats.ipcs."
CLEAR: Final = "stats.clear."
FORCE_GATHER: Final = "runtime.force_gather"

_U64: Final = 0xFFFFFFFFFFFFFFFF

# corosync's name of a counter of the ring, and ours that make it up.  No token
# is lost while gathering: there is none.
_RING_COUNTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "orf_token_rx": ("tokens", "tokensDropped"),
    "orf_token_tx": ("tokens", "tokensRetransmitted"),
    "memb_merge_detect_tx": ("mergeDetectsSent",),
    "memb_merge_detect_rx": ("mergeDetectsReceived",),
    "memb_join_tx": ("joinsSent",),
    "memb_join_rx": ("joinsReceived",),
    "memb_commit_token_tx": ("commitTokensSent",),
    "memb_commit_token_rx": ("commitTokensReceived",),
    "mcast_tx": ("framesSent",),
    "mcast_retx": ("framesRetransmitted",),
    "mcast_rx": ("framesReceived",),
    "token_hold_cancel_tx": ("holdsCancelled",),
    "token_hold_cancel_rx": ("holdCancelsReceived",),
    "operational_entered": ("operationalEntered",),
    "gather_entered": ("gathersEntered",),
    "commit_entered": ("commitsEntered",),
    "recovery_entered": ("recoveriesEntered",),
    "operational_token_lost": ("tokensLostOperational",),
    "gather_token_lost": (),
    "commit_token_lost": ("tokensLostCommit",),
    "recovery_token_lost": ("tokensLostRecovery",),
    "consensus_timeouts": ("consensusTimeouts",),
    "rx_msg_dropped": ("framesDropped",),
}


class Home(Protocol):
    """
    The service manager.
    """

    totem: ITotem
    database: Any
    roster: Any
    settings: Any


@define(eq=False)
class Figures:
    """
    The figures of one node.
    """

    _home: Home
    # The number that stands for a connection, where corosync has its address.
    _numbers: dict[IConnection, int] = field(factory=dict, init=False)
    _opened: int = field(default=0, init=False)
    # What the counters were when somebody cleared them.
    _ringBefore: Mapping[str, int] = field(factory=dict, init=False)
    _closedBefore: int = field(default=0, init=False)

    def provide(self) -> None:
        """
        Be there for whoever reads the maps.
        """
        database = self._home.database
        database.map.provide(ENGINES, lambda: dict(self._engines()))
        database.map.provide(SERVICES, lambda: dict(self._services()))
        database.map.onWrite(FORCE_GATHER, self._gather)
        database.tree.write(FORCE_GATHER, string("no"))
        statistics = database.statistics
        statistics.provide(RING, lambda: dict(self._ring()))
        statistics.provide(QUEUE, lambda: dict(self._queue()))
        statistics.provide(CLIENTS, lambda: dict(self._ipc()))
        for name in ("totem", "ipc", "all", "knet", "schedmiss"):
            statistics.onWrite(CLEAR + name, getattr(self, f"_clear_{name}"))

    def connectionOpened(self, connection: IConnection) -> None:
        """
        A client.
        """
        self._opened += 1
        self._numbers[connection] = self._opened

    def connectionClosed(self, connection: IConnection) -> None:
        """
        A client no more.
        """
        self._numbers.pop(connection, None)

    # Services.

    def _places(self) -> Iterable[Place]:
        places: Mapping[int, Place] = self._home.roster.places
        return places.values()

    def _engines(self) -> Iterator[tuple[str, Value]]:
        for place in self._places():
            prefix = f"{ENGINES}{place.serviceId}."
            yield f"{prefix}name", string(f"corosync_{place.name}")
            yield f"{prefix}ver", u32(place.engine.version)

    def _services(self) -> Iterator[tuple[str, Value]]:
        for place in self._places():
            prefix = f"{SERVICES}{place.name}."
            yield f"{prefix}service_id", u16(place.serviceId)
            sent, received = (
                _asMcast(place, place.sent),
                _asMcast(place, place.received),
            )
            for function in sorted({*sent, *received, *_known(place.serviceId)}):
                yield f"{prefix}{function}.tx", _u64(sent[function])
                yield f"{prefix}{function}.rx", _u64(received[function])

    # The ring.

    def _counters(self) -> Mapping[str, int]:
        # Not a part of ITotem.
        found: Mapping[str, int] = getattr(self._home.totem, "statistics", dict)()
        return found

    def _ring(self) -> Iterator[tuple[str, Value]]:
        now, before = self._counters(), self._ringBefore
        for name, counters in _RING_COUNTERS.items():
            total = sum(now.get(c, 0) - before.get(c, 0) for c in counters)
            yield RING + name, _u64(total)

    def _queue(self) -> Iterator[tuple[str, Value]]:
        frames = self._home.totem.room() // self._home.settings.totem.netmtu
        yield f"{QUEUE}msg_queue_avail", u32(frames)
        yield f"{QUEUE}msg_reserved", u32(0)

    def _gather(self, name: str, value: Value) -> None:
        self._home.totem.reform()

    # Clients.

    def _ipc(self) -> Iterator[tuple[str, Value]]:
        closed = self._opened - len(self._numbers) - self._closedBefore
        yield f"{CLIENTS}global.active", _u64(len(self._numbers))
        yield f"{CLIENTS}global.closed", _u64(closed)
        for connection, number in self._numbers.items():
            for place in self._places():
                used = connection.usage.services.get(place.name)
                if used is not None:
                    prefix = f"{CLIENTS}service{place.serviceId}.{connection.pid}"
                    yield from _client(f"{prefix}.{number:#x}.", connection.usage, used)

    # Clearing.

    def _clear_totem(self, name: str, value: Value) -> None:
        self._ringBefore = dict(self._counters())

    def _clear_ipc(self, name: str, value: Value) -> None:
        self._closedBefore = self._opened - len(self._numbers)
        for connection in self._numbers:
            connection.usage.clear()

    def _clear_all(self, name: str, value: Value) -> None:
        self._clear_totem(name, value)
        self._clear_ipc(name, value)

    def _clear_knet(self, name: str, value: Value) -> None:
        raise NotSupported("this node has no knet links")

    def _clear_schedmiss(self, name: str, value: Value) -> None:
        raise NotSupported("this node keeps no list of late schedules")


def _client(prefix: str, usage: Any, used: Any) -> Iterator[tuple[str, Value]]:
    """
    One connection, as far as it uses one service: requests are counted for the
    service, events for the connection.
    """
    waiting = usage.waiting()
    paused = bool(waiting["behind"])
    for name, count in (
        ("requests", used.requests),
        ("responses", used.responses),
        ("invalid_request", used.refused),
        ("dispatched", usage.dispatched),
        ("flow_control_count", waiting["pauses"]),
    ):
        yield prefix + name, _u64(count)
    yield f"{prefix}queued", u32(waiting["queuedMessages"])
    yield f"{prefix}queueing", i32(int(waiting["queuedMessages"] > 0))
    yield f"{prefix}sent", u32(usage.dispatched & 0xFFFFFFFF)
    yield f"{prefix}flow_control", u32(int(paused))
    yield f"{prefix}procname", string(usage.processName)


def _asMcast(place: Place, counts: Counter[int]) -> Counter[int]:
    """
    Messages by function; what process groups send in the short form is what
    corosync sends with its function for that.
    """
    shown = Counter({f: n for f, n in counts.items() if f < FUNCTIONS_COUNTED})
    if place.serviceId == Mcast.SERVICE:
        shown[Mcast.FUNCTION] += counts[SHORT_FORM]
    return shown


def _known(serviceId: int) -> Iterator[int]:
    """
    The functions that corosync's engine of that number has.
    """
    return (function for service, function in SERVICE_MESSAGES if service == serviceId)


def _u64(number: int) -> Value:
    return u64(number & _U64)
