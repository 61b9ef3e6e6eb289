"""
Tests of the configuration map through clients: in the process of a node, and as
the node's answers over a socket.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.tracking import Change, ChangeKind
from corotwist.config.values import Value, binary, string, u8, u32, u64
from corotwist.engines.manager import ServiceManager
from corotwist.engines.mapkeys import REFRESH_NS
from corotwist.errors import (
    AccessDenied,
    Conflict,
    InvalidParameter,
    NameTooLong,
    NoSpace,
    NotExist,
    NotSupported,
)
from corotwist.ipc.client import NodeClient, embed
from corotwist.ipc.cmap import Adjust, Iterate, Set, Track
from corotwist.ipc.underway import ITERATIONS, TRACKERS
from corotwist.plugin import discover
from corotwist.test.engines.orderednet import nodeSettings
from corotwist.test.ipc.fakes import NODEID, LoneTotem


class CmapTestCase(SynchronousTestCase):
    """
    A node of one, and a client in its process.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        totem = LoneTotem(self.clock)
        self.manager = ServiceManager(
            self.clock, totem, nodeSettings(NODEID, 1), discover()
        )
        totem.listener = self.manager
        self.successResultOf(self.manager.start())
        totem.start()
        self.settle()
        self.client = self.connect()
        self.map = self.client.cmap

    def connect(self) -> NodeClient:
        """
        One more client.
        """
        client = self.successResultOf(embed(self.clock, self.manager))
        self.addCleanup(client.stopService)
        return client

    def settle(self) -> None:
        """
        Until nothing happens any more but with time.
        """
        for _ in range(50):
            self.clock.advance(0)

    def got(self, deferred: "Deferred[Any]") -> Any:
        """
        What comes of it.
        """
        self.settle()
        return self.successResultOf(deferred)

    def failed(self, deferred: "Deferred[Any]", *kinds: type[Exception]) -> None:
        """
        It is refused.
        """
        self.settle()
        self.failureResultOf(deferred, *kinds)

    def follow(self, name: str, **wishes: Any) -> list[Change]:
        """
        Changes as they come.
        """
        seen: list[Change] = []
        self.got(self.map.track(name, seen.extend, **wishes))
        return seen


class KeyTests(CmapTestCase):
    """
    Reading and writing.
    """

    def test_allTypes(self) -> None:
        """
        A value comes back as it was written, whatever its type (E2, E3).
        """
        for value in (
            *(u8(255), u32(7), u64(1 << 63), string("ä"), string(""), binary(b"\0\1")),
            *(binary(bytes(16384)), Value.parse(u8(1).kind, "9")),
        ):
            self.got(self.map.set("my.key", value))
            self.assertEqual(self.got(self.map.get("my.key")), value)

    def test_delete(self) -> None:
        """
        A deleted key is gone, and cannot be deleted again (E4).
        """
        self.got(self.map.set("my.key", u8(1)))
        self.got(self.map.delete("my.key"))
        self.failed(self.map.get("my.key"), NotExist)
        self.failed(self.map.delete("my.key"), NotExist)

    def test_adjust(self) -> None:
        """
        Counting wraps in the width of the type; what is no whole number is not
        counted (E5).
        """
        self.got(self.map.set("my.key", u8(255)))
        self.assertEqual(self.got(self.map.increment("my.key")), u8(0))
        self.assertEqual(self.got(self.map.decrement("my.key")), u8(255))
        self.assertEqual(self.got(self.map.adjust("my.key", -5)), u8(250))
        self.got(self.map.set("my.text", string("5")))
        self.failed(self.map.increment("my.text"), InvalidParameter)
        self.failed(self.map.increment("no.such"), NotExist)

    def test_names(self) -> None:
        """
        Names are corosync's: length and letters (A21).
        """
        for name in ("ab", "x" * 256, "a b", "a,b"):
            self.failed(self.map.set(name, u8(1)), NameTooLong)
        self.got(self.map.set("abc", u8(1)))
        self.got(self.map.set("x" * 255, u8(1)))

    def test_tooLarge(self) -> None:
        """
        A value beyond the limit is refused by the node, too (A21).
        """
        arguments = {"map": "icmap", "name": "my.key", "type": 12}
        asked = self.client.ask(Set, value=bytes(16385), **arguments)
        self.failed(asked, InvalidParameter)

    def test_readOnly(self) -> None:
        """
        What belongs to the node is not written by clients (E8).
        """
        self.failed(self.map.set("nodelist.node.0.nodeid", u32(3)), AccessDenied)
        self.failed(self.map.delete("runtime.config.totem.token"), AccessDenied)
        self.failed(self.map.increment("runtime.config.totem.token"), AccessDenied)

    def test_withoutEffect(self) -> None:
        """
        A key that would set something off which there is not is refused, with
        the reason (E2).
        """
        asked = self.map.set("pload.start", string("pload_enable"))
        self.settle()
        failure = self.failureResultOf(asked, NotSupported)
        self.assertIn("load test", str(failure.value))

    def test_compareAndSet(self) -> None:
        """
        A write may say what it expects (E2, E12).
        """
        self.got(self.map.set("my.key", u8(1), expected=None))
        self.failed(self.map.set("my.key", u8(2), expected=None), Conflict)
        self.failed(self.map.set("my.key", u8(2), expected=u8(9)), Conflict)
        self.failed(self.map.delete("my.key", expected=u8(9)), Conflict)
        self.got(self.map.set("my.key", u8(2), expected=u8(1)))
        self.assertEqual(self.got(self.map.get("my.key")), u8(2))

    def test_twoMaps(self) -> None:
        """
        There are two maps, and no third one (E1).
        """
        self.failed(self.map.statistics.get("totem.version"), NotExist)
        arguments = {"map": "other", "name": "abc", "step": 1}
        self.failed(self.client.ask(Adjust, **arguments), NotExist)

    def test_replicated(self) -> None:
        """
        Keys of all nodes are written through the same calls, and have versions
        (E12).
        """
        first = self.got(self.map.set("cluster.one", u8(1)))
        value, version = self.got(self.map.read("cluster.one"))
        self.assertEqual((value, version), (u8(1), first))
        self.got(self.map.set("cluster.one", u8(2), version=version))
        self.failed(self.map.set("cluster.one", u8(3), version=version), Conflict)
        self.assertEqual(self.got(self.map.increment("cluster.one")), u8(3))
        self.got(self.map.delete("cluster.one"))
        self.assertEqual(self.got(self.map.items("cluster.")), ())


class IterationTests(CmapTestCase):
    """
    Many keys.
    """

    def test_byPrefix(self) -> None:
        """
        Those that begin so, in byte order (E6).
        """
        for name in ("my.a", "my.B", "my.0", "my._", "mine"):
            self.got(self.map.set(name, string(name)))
        found = self.got(self.map.items("my."))
        self.assertEqual([n for n, _ in found], ["my.0", "my.B", "my._", "my.a"])

    def test_snapshot(self) -> None:
        """
        What is written while somebody iterates is not seen by it (E6).
        """
        for number in range(20):
            self.got(self.map.set(f"my.{number:02}", binary(bytes(16000))))
        iteration = self.map.iterate("my.")
        first = self.got(Deferred.fromCoroutine(_following(iteration)))
        self.got(self.map.delete("my.19"))
        self.got(self.map.set("my.05", u8(5)))
        rest = self.got(Deferred.fromCoroutine(_all(iteration)))
        found = dict([first, *rest])
        self.assertEqual(len(found), 20)
        self.assertEqual({*found.values()}, {binary(bytes(16000))})

    def test_bounded(self) -> None:
        """
        A client iterates so many times at once; its end frees what it held
        (E6).
        """
        for number in range(8):
            self.got(self.map.set(f"my.{number}", binary(bytes(16000))))
        for number in range(ITERATIONS + 1):
            asked = self.client.ask(
                Iterate, map="icmap", prefix="my.", iteration=number
            )
            self.settle()
            if number < ITERATIONS:
                self.successResultOf(asked)
            else:
                self.failureResultOf(asked, NoSpace)


class TrackingTests(CmapTestCase):
    """
    Changes as they happen.
    """

    def test_oneKey(self) -> None:
        """
        Old and new value of each change of that key and no other (E7).
        """
        seen = self.follow("my.key")
        for value in (u8(1), u8(1), u32(1)):
            self.got(self.map.set("my.key", value))
        self.got(self.map.set("my.key2", u8(1)))
        self.got(self.map.delete("my.key"))
        self.assertEqual(
            seen,
            [
                Change(ChangeKind.ADD, "my.key", None, u8(1)),
                Change(ChangeKind.MODIFY, "my.key", u8(1), u32(1)),
                Change(ChangeKind.DELETE, "my.key", u32(1), None),
            ],
        )

    def test_prefixAndKinds(self) -> None:
        """
        Of all keys that begin so, and only changes of that kind (E7).
        """
        seen = self.follow("my.", kinds=ChangeKind.ADD, prefix=True)
        self.got(self.map.set("my.one", u8(1)))
        self.got(self.map.set("my.one", u8(2)))
        self.got(self.map.set("other", u8(2)))
        self.got(self.map.set("my.two", u8(2)))
        self.assertEqual([change.name for change in seen], ["my.one", "my.two"])

    def test_whatOthersWrite(self) -> None:
        """
        It does not matter who writes: another client, or the node (E7).
        """
        seen = self.follow("", prefix=True)
        other = self.connect()
        self.got(other.cmap.set("my.one", u8(1)))
        self.manager.database.map.set("runtime.x", u8(2))
        self.settle()
        self.assertEqual([change.name for change in seen], ["my.one", "runtime.x"])

    def test_together(self) -> None:
        """
        What was changed in one transaction comes as one, however large (E7).
        """
        batches: list[int] = []
        self.got(self.map.track("my.", lambda c: batches.append(len(c)), prefix=True))
        keys = self.manager.database.map
        with keys.transaction():
            for number in range(40):
                keys.set(f"my.{number}", binary(bytes(16384)))
        self.settle()
        self.assertEqual(batches, [40])

    def test_stopped(self) -> None:
        """
        A tracker that is stopped sees nothing more.
        """
        seen: list[Any] = []
        tracker = self.got(self.map.track("my.key", seen.extend))
        self.got(tracker.stop())
        self.got(self.map.set("my.key", u8(1)))
        self.assertEqual(seen, [])

    def test_bounded(self) -> None:
        """
        A client has so many trackers, and no more.
        """
        for number in range(TRACKERS):
            self.client.ask(Track, map="icmap", name="x", kinds=4, tracker=number)
        asked = self.client.ask(Track, map="icmap", name="x", kinds=4, tracker=9999)
        self.failed(asked, NoSpace)

    def test_endOfTheClient(self) -> None:
        """
        With the client, its trackers are gone.
        """
        other = self.connect()
        self.got(other.cmap.track("my.key", lambda changes: None))
        self.assertEqual(self._followed(), 1)
        other.stopService()
        self.settle()
        self.assertEqual(self._followed(), 0)

    def _followed(self) -> int:
        count: int = self.manager.engines["cmap"].dump()["followed"]["icmap"]
        return count

    def test_afterAGap(self) -> None:
        """
        When the node was gone, the tracker works again and says that changes
        may be missing (E7).
        """
        gaps: list[str] = []
        seen = self.follow("my.key", interrupted=gaps.append)
        self.client._remote._end("for the test")
        self.manager.database.map.set("my.key", u8(1))
        self.clock.pump([1.0] * 5)
        self.assertEqual((gaps, seen), (["for the test"], []))
        self.manager.database.map.set("my.key", u8(2))
        self.settle()
        self.assertEqual([change.new for change in seen], [u8(2)])

    def test_statistics(self) -> None:
        """
        Figures are followed like any key; they are looked at once in a while,
        and only as long as somebody wants to know (A18, E7).
        """
        asked: list[int] = []

        def supply() -> dict[str, Value]:
            asked.append(1)
            return {"stats.test.count": u64(len(asked))}

        self.manager.database.statistics.provide("stats.test.", supply)
        seen: list[Change] = []
        statistics = self.map.statistics
        tracker = self.got(statistics.track("stats.test.", seen.extend, prefix=True))
        before = len(asked)
        self.clock.pump([REFRESH_NS / 1e9] * 3)
        self.settle()
        self.assertEqual(len(asked), before + 3)
        self.assertEqual([change.kind for change in seen], [ChangeKind.MODIFY] * 3)
        self.assertEqual(seen[-1].old, u64(before + 2))
        self.got(tracker.stop())
        self.clock.pump([REFRESH_NS / 1e9] * 3)
        self.assertLessEqual(len(asked), before + 4)
        self.assertEqual(len(seen), 3)


async def _following(iteration: Any) -> Any:
    return await anext(iteration)


async def _all(iteration: Any) -> list[Any]:
    return [entry async for entry in iteration]
