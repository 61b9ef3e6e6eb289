"""
The service: what every node does with the commands of all.
"""

import json
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final

from twisted.internet.defer import Deferred, fail

from corotwist.engines.transfer import ReplicatedEngine
from corotwist.errors import (
    ConfigurationError,
    InvalidParameter,
    NameTooLong,
    NotExist,
    Problem,
    TooBig,
    TruncatedFrame,
    TryAgain,
)

SERVICE_ID: Final = 4097
LONGEST_NAME: Final = 128
MOST_COUNTERS: Final = 10_000

# Of a command: what to add; the rest is the name.
_AMOUNT: Final = Struct("<q")
_LOWEST: Final = -(1 << 63)
_HIGHEST: Final = (1 << 63) - 1

Watcher = Callable[[str, int], object]


class CounterEngine(ReplicatedEngine):
    """
    Numbers by name.  Whoever joins the cluster gets them from the others.
    """

    name = "counter"
    serviceId = SERVICE_ID

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, int] = {}
        self._watchers: list[Watcher] = []
        self._most = MOST_COUNTERS

    def configure(self, settings: Any) -> None:
        """
        C{service { name: counter  most: 100 }}; the same on every node.
        """
        service = settings.service(self.name)
        text = service.get("most", str(MOST_COUNTERS))
        if not text.isdecimal() or not 0 < int(text) <= MOST_COUNTERS:
            wrong = f"{text!r} is no number from 1 to {MOST_COUNTERS}"
            file, line = service.place
            raise ConfigurationError(Problem(file, line, "service.most", wrong))
        self._most = int(text)

    # For local clients: ask; what happens, happens when it comes back.

    def add(self, name: str, amount: int) -> Deferred[int]:
        """
        Add to a counter, which is 0 before.

        @return: fires with its new value, in the order of all additions on all
            nodes.  Fails with C{NameTooLong}, C{InvalidParameter} and C{TooBig}
            (too many counters, or too high a value), and as C{propose} does.
        """
        encoded = name.encode()
        if not 0 < len(encoded) <= LONGEST_NAME:
            return fail(NameTooLong(f"a name has 1 to {LONGEST_NAME} bytes"))
        if not _LOWEST <= amount <= _HIGHEST:
            return fail(InvalidParameter("an amount has 64 bits"))
        return self.propose(_AMOUNT.pack(amount) + encoded)

    def value(self, name: str) -> int:
        """
        A counter as this node has it now.

        @raise NotExist: nobody ever added to it.
        @raise TryAgain: this node is about to get the counters from the others.
        """
        if not self.current:
            raise TryAgain("the counters are on their way to this node")
        try:
            return self._values[name]
        except KeyError:
            raise NotExist(f"no counter {name!r}") from None

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """
        Be told of every change.

        @return: call it to hear no more.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    # On every node, in the same order.

    def apply(self, nodeid: int, command: bytes) -> int:
        if len(command) <= _AMOUNT.size:
            raise TruncatedFrame("a command without a name")
        (amount,) = _AMOUNT.unpack_from(command)
        name = command[_AMOUNT.size :].decode()
        value = self._values.get(name, 0) + amount
        if name not in self._values and len(self._values) >= self._most:
            raise TooBig(f"{self._most} counters already")
        if not _LOWEST <= value <= _HIGHEST:
            raise TooBig("the value would not have 64 bits")
        self._values[name] = value
        self._tell(name, value)
        return value

    def snapshot(self) -> bytes:
        return json.dumps(self._values, sort_keys=True).encode()

    def restore(self, state: bytes) -> None:
        before, self._values = self._values, json.loads(state)
        for name, value in sorted(self._values.items()):
            if before.get(name) != value:
                self._tell(name, value)

    def _tell(self, name: str, value: int) -> None:
        for watcher in list(self._watchers):
            watcher(name, value)

    # For another version of this engine, and for people.

    def handOver(self) -> dict[str, Any]:
        return {**super().handOver(), "watchers": self._watchers}

    def takeOver(self, state: Any, version: int) -> None:
        super().takeOver(state, version)
        self._watchers = state["watchers"]

    def dump(self) -> Mapping[str, Any]:
        return {**super().dump(), "counters": dict(sorted(self._values.items()))}
