"""
Load on one group, through one node, and what came of it: C{python -m
corotwist.tools.load --socket PATH --members 3 --senders 3}.

Every process joins one group and waits until it has all members.  Senders
multicast for a while and finish with an end message; all stop when every
sender has.  Messages carry the monotonic clock of their machine, so that
delays are right between nodes on one machine, and C{cpgload}'s layout::

    offset  size  field
         0     4  magic
         4     4  type: 1 data, 2 end
         8     8  the sender's count of messages
        16     8  nanoseconds when it was sent
        24     4  bytes of the message
        28     4  0

so that clients of real corosync nodes can take part.
"""

import json
import sys
import time
from resource import RUSAGE_SELF, getrusage
from struct import Struct
from typing import Any, Final

from attrs import Factory, define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from corotwist.engines.interfaces import GroupView, Member
from corotwist.errors import CorotwistError, TimedOut
from corotwist.ipc.client import NodeClient, connect
from corotwist.ipc.group import ProcessGroup
from corotwist.options import Options

HEADER: Final = Struct("<IIQqII")
MAGIC: Final = 0x43504C44
DATA: Final = 1
END: Final = 2
SMALLEST: Final = 64
# What a sender hands to the client library at once, and how much of that may
# be unanswered: enough to keep a ring busy, and short enough that what is
# measured is the ring and not this program's own queue.
BURST_BYTES: Final = 60_000
BURSTS: Final = 2
MOST_PER_BURST: Final = 1024
# How many delays are kept; of more, every so-manieth.
MOST_DELAYS: Final = 200_000
SAMPLE: Final = 16


def main() -> None:
    """
    The process.
    """
    options = LoadOptions()
    try:
        options.parseOptions(sys.argv[1:])
    except UsageError as error:
        raise SystemExit(f"load: {error}") from None
    react(_run, (options,))


class LoadOptions(Options):
    """
    What to do.
    """

    optParameters = [
        ["socket", "s", None, "the node's UNIX socket"],
        ["group", "g", "cpgload", "the group"],
        ["role", "r", "send", "send, recv or ping"],
        ["size", None, 64, "bytes of a message", int],
        ["seconds", None, 3.0, "how long to send", float],
        ["members", None, 1, "wait until the group has so many", int],
        ["senders", None, 1, "stop when so many have ended", int],
        ["limit", None, 60.0, "give up after so many seconds", float],
    ]

    def postOptions(self) -> None:
        """
        Check what belongs together.
        """
        if self["socket"] is None:
            raise UsageError("--socket PATH names the node")
        if self["role"] not in {"send", "recv", "ping"}:
            raise UsageError("--role is send, recv or ping")
        self["size"] = max(SMALLEST, self["size"])


def _run(reactor: Any, options: LoadOptions) -> Deferred[None]:
    done: Deferred[None] = Deferred.fromCoroutine(_load(reactor, options))
    done.addTimeout(options["limit"] + options["seconds"], reactor, _timedOut)
    return done.addErrback(_told)


def _timedOut(result: object, timeout: float) -> Deferred[None]:
    return fail(TimedOut(f"not done within {timeout} seconds"))


def _told(failure: Failure) -> None:
    error = failure.check(CorotwistError)
    if error is None:
        failure.raiseException()
    raise SystemExit(f"load: {failure.value!r}")


async def _load(reactor: Any, options: LoadOptions) -> None:
    client = await connect(reactor, options["socket"])
    load = Load(reactor, client, options)
    report = await load.run()
    await client.stopService()
    print(json.dumps(report))


@define(eq=False)
class Load:
    """
    One process.
    """

    _reactor: Any
    _client: NodeClient
    _options: LoadOptions
    _group: ProcessGroup = field(init=False)
    _sent: int = 0
    _delivered: int = 0
    _bytes: int = 0
    _own: int = 0
    _ended: int = 0
    _outOfOrder: int = 0
    _first: int = 0
    _last: int = 0
    _expected: dict[Member, int] = Factory(dict)
    _delays: list[int] = Factory(list)
    _complete: "Deferred[None]" = Factory(Deferred)
    _finished: "Deferred[None]" = Factory(Deferred)
    _pong: "Deferred[None] | None" = None
    _us: Member = field(init=False)

    async def run(self) -> dict[str, Any]:
        """
        From joining to the report.
        """
        options = self._options
        self._us = Member(self._client.nodeid, self._client.pid)
        self._group = await self._client.groups.join(
            options["group"].encode(),
            viewChanged=self._viewChanged,
            batchDelivered=self._batchDelivered,
        )
        self._viewChanged(None)
        await self._complete
        used = _processorTime()
        started = time.monotonic()
        if options["role"] == "send":
            await self._flood(started + options["seconds"])
        elif options["role"] == "ping":
            await self._ping(started + options["seconds"])
        if options["role"] != "recv":
            await self._group.send(self._message(END, SMALLEST))
        sending = time.monotonic() - started
        await self._finished
        return self._report(sending, _processorTime() - used)

    def _viewChanged(self, view: GroupView | None) -> None:
        if not hasattr(self, "_group"):
            return
        if len(self._group.members) >= self._options["members"]:
            self._fire(self._complete)

    def _fire(self, waiting: "Deferred[None]") -> None:
        if not waiting.called:
            waiting.callback(None)

    def _message(self, kind: int, size: int) -> bytes:
        now, number = time.monotonic_ns(), self._sent
        self._sent += 1
        return HEADER.pack(MAGIC, kind, number, now, size, 0).ljust(size, b".")

    async def _flood(self, end: float) -> None:
        size = self._options["size"]
        count = max(1, min(MOST_PER_BURST, BURST_BYTES // size))
        filler = b"." * (size - HEADER.size)
        pack = HEADER.pack
        waiting: list[Deferred[None]] = []
        while time.monotonic() < end:
            now, first = time.monotonic_ns(), self._sent
            self._sent += count
            burst = [
                pack(MAGIC, DATA, number, now, size, 0) + filler
                for number in range(first, first + count)
            ]
            waiting.append(self._group.sendAll(burst))
            if len(waiting) >= BURSTS:
                await waiting.pop(0)
            # A turn for the reactor, even when nothing made us wait.
            await deferLater(self._reactor, 0)
        for one in waiting:
            await one

    async def _ping(self, end: float) -> None:
        size = self._options["size"]
        while time.monotonic() < end:
            self._pong = Deferred()
            pong = self._pong
            await self._group.send(self._message(DATA, size))
            await pong

    def _batchDelivered(self, sender: Member, payloads: list[bytes]) -> None:
        expected = self._expected.get(sender, 0)
        unpack, pinging = HEADER.unpack_from, self._pong is not None
        for payload in payloads:
            _, kind, number, sent, _, _ = unpack(payload)
            if number != expected:
                self._outOfOrder += 1
            expected = number + 1
            if kind == END:
                self._end()
            elif not number % SAMPLE or pinging:
                self._sample(sender, sent)
        self._expected[sender] = expected
        self._delivered += len(payloads)
        self._bytes += sum(map(len, payloads))

    def _end(self) -> None:
        self._ended += 1
        self._delivered -= 1
        self._bytes -= SMALLEST
        if self._ended >= self._options["senders"]:
            self._fire(self._finished)

    def _sample(self, sender: Member, sent: int) -> None:
        now = time.monotonic_ns()
        self._last = now
        if not self._first:
            self._first = now
        if len(self._delays) < MOST_DELAYS:
            self._delays.append(now - sent)
        if sender == self._us and self._pong is not None:
            pong, self._pong = self._pong, None
            pong.callback(None)

    def _report(self, sending: float, used: float) -> dict[str, Any]:
        span = (self._last - self._first) / 1e9
        delays = sorted(self._delays)

        def quantile(share: float) -> float:
            return delays[int(share * (len(delays) - 1))] / 1000 if delays else 0.0

        return {
            "role": self._options["role"],
            "node": self._us.nodeid,
            "size": self._options["size"],
            "sent": self._sent,
            "delivered": self._delivered,
            "bytes": self._bytes,
            "span_s": round(span, 4),
            "send_s": round(sending, 4),
            "delivered_per_s": round(self._delivered / span, 1) if span else 0.0,
            "MBps": round(self._bytes / span / 1e6, 3) if span else 0.0,
            "lat_us": {
                "n": len(delays),
                "p50": quantile(0.5),
                "p90": quantile(0.9),
                "p99": quantile(0.99),
                "max": quantile(1.0),
            },
            "client_cpu_s": round(used, 3),
            "seq_errors": self._outOfOrder,
            "ends": self._ended,
        }


def _processorTime() -> float:
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
