"""
L{corotwist.config.flat}, L{corotwist.config.special} and
L{corotwist.config.database}.
"""

from collections.abc import Callable, Mapping
from random import Random

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config import database as room
from corotwist.config.database import Database
from corotwist.config.flat import FlatMap
from corotwist.config.schema import ROWS
from corotwist.config.tracking import ALL, Change, ChangeKind
from corotwist.config.tree import ObjectTree
from corotwist.config.values import Value, ValueType, i32, string, u8, u16, u32, u64
from corotwist.errors import (
    AccessDenied,
    Exists,
    InvalidParameter,
    NameTooLong,
    NotExist,
    NotSupported,
)

ADD, MODIFY, DELETE = ChangeKind.ADD, ChangeKind.MODIFY, ChangeKind.DELETE


class FlatMapTests(SynchronousTestCase):
    """
    L{FlatMap}.
    """

    def setUp(self) -> None:
        self.map = FlatMap(ObjectTree())

    def test_set(self) -> None:
        """
        A key is set, read, given another value and type, and deleted.  (E2, E3, E4)
        """
        self.map.set("totem.token", u32(1000))
        self.assertEqual(self.map.get("totem.token"), u32(1000))
        self.map.set("totem.token", string("1000"))
        self.assertEqual(self.map.get("totem.token"), string("1000"))
        self.map.delete("totem.token")
        for call in (self.map.get, self.map.delete):
            error = self.assertRaises(NotExist, call, "totem.token")
            self.assertEqual(str(error), "there is no key totem.token")

    def test_noKeys(self) -> None:
        """
        What cannot be a key is none: setting it is refused, others find
        nothing.  (A21)
        """
        for name in ("ab", "", "a b c", "x" * 256):
            self.assertRaises(NameTooLong, self.map.set, name, u8(1))
            self.assertRaises(NotExist, self.map.get, name)
            self.assertRaises(NotExist, self.map.delete, name)

    def test_bothViews(self) -> None:
        """
        What is done to an object is seen in the map, and the other way
        round.  (A13)
        """
        tree = self.map.tree
        node = tree.create(tree.create(tree.root, "nodelist"), "node")
        tree.keySet(node, "nodeid", u32(1))
        self.assertEqual(self.map.items(), (("nodelist.node.nodeid", u32(1)),))
        self.map.set("nodelist.node.nodeid", u32(2))
        self.assertEqual(tree.keyGet(node, "nodeid"), u32(2))
        tree.destroy(node)
        self.assertEqual(self.map.names(), ())

    def test_counting(self) -> None:
        """
        Whole numbers count up and down and begin again at the other end; each
        step is told.  (E5)
        """
        told: list[Change] = []
        self.map.set("a.key", u8(254))
        self.map.track("a.key", ALL, told.extend)
        self.assertEqual(self.map.increment("a.key"), u8(255))
        self.assertEqual(self.map.increment("a.key"), u8(0))
        self.assertEqual(self.map.decrement("a.key"), u8(255))
        self.assertEqual(self.map.adjust("a.key", -5), u8(250))
        self.assertEqual(
            [change.new for change in told], [u8(255), u8(0), u8(255), u8(250)]
        )

    def test_notCounted(self) -> None:
        """
        What is no whole number, or no key, does not count.  (E5)
        """
        self.map.set("a.key", string("1"))
        self.assertRaises(InvalidParameter, self.map.increment, "a.key")
        self.assertRaises(NotExist, self.map.decrement, "b.key")
        self.assertEqual(self.map.names(), ("a.key",))

    def test_iteration(self) -> None:
        """
        Keys that begin so, in the order of their bytes; what happens while one
        looks at them does not change what one sees.  (E6)
        """
        for name in ("a.b_c", "a.b.c", "a.bAc", "a.b-c", "a.b0c", "a.c", "a.b/c"):
            self.map.set(name, u8(1))
        seen = []
        for name in self.map.names("a.b"):
            seen.append(name)
            self.map.delete(name)
            self.map.set("a.b" + name, u8(1))
        self.assertEqual(seen, ["a.b-c", "a.b.c", "a.b/c", "a.b0c", "a.bAc", "a.b_c"])

    def test_values(self) -> None:
        """
        Items are a snapshot as well.  (E6)
        """
        self.map.set("a.key", u8(1))
        items = self.map.items("a.")
        self.map.set("a.key", u8(2))
        self.assertEqual(items, (("a.key", u8(1)),))
        self.assertEqual(self.map.items("b."), ())

    def test_tracking(self) -> None:
        """
        A key, all keys of a beginning, and all keys at all are tracked, each by
        the kinds asked for, until it is enough.  (E7)
        """
        told: list[str] = []

        def tell(what: str) -> Callable[..., None]:
            return lambda changes: told.extend(f"{what} {c.name}" for c in changes)

        tracks = [
            self.map.track("a.key", ALL, tell("one")),
            self.map.track("a.", ADD, tell("some"), prefix=True),
            self.map.track("", ALL, tell("all")),
        ]
        self.map.set("a.key", u8(1))
        self.map.set("a.key", u8(2))
        self.map.set("b.key", u8(2))
        self.assertEqual(
            told,
            [
                *("one a.key", "all a.key", "some a.key"),
                *("one a.key", "all a.key", "all b.key"),
            ],
        )
        for track in tracks:
            track.stop()
        self.map.delete("a.key")
        self.assertEqual(len(told), 6)

    def test_validating(self) -> None:
        """
        The map's validators are the tree's.  (A17)
        """

        def refuse(change: Change) -> None:
            raise InvalidParameter(f"{change.name} is fine as it is")

        self.map.validate("a.", refuse, prefix=True)
        for call in (
            lambda: self.map.set("a.key", u8(1)),
            lambda: self.map.tree.write("a.key", u8(1)),
        ):
            error = self.assertRaises(InvalidParameter, call)
            self.assertEqual(str(error), "a.key is fine as it is")

    def test_transaction(self) -> None:
        """
        All or nothing.  (A19)
        """
        with self.assertRaises(NotExist), self.map.transaction():
            self.map.set("a.key", u8(1))
            self.map.increment("b.key")
        self.assertEqual(self.map.names(), ())


class ClientTests(SynchronousTestCase):
    """
    L{FlatMap.forClients}.
    """

    def setUp(self) -> None:
        self.map = FlatMap(ObjectTree())
        self.clients = self.map.forClients()

    def test_readOnly(self) -> None:
        """
        Clients read what is protected, also what is protected later, and cannot
        set, delete or count it; the node can.  (E8)
        """
        self.map.protect("nodelist.", prefix=True)
        self.map.protect("totem.version")
        for name in ("nodelist.node.0.nodeid", "totem.version"):
            self.map.set(name, u32(1))
            self.assertEqual(self.clients.get(name), u32(1))
            for call in (
                lambda name=name: self.clients.set(name, u32(2)),
                lambda name=name: self.clients.delete(name),
                lambda name=name: self.clients.increment(name),
                lambda name=name: self.clients.decrement(name),
            ):
                error = self.assertRaises(AccessDenied, call)
                self.assertEqual(str(error), f"{name} is read-only")
            self.assertEqual(self.map.increment(name), u32(2))

    def test_others(self) -> None:
        """
        Clients write other keys, new ones too, and everybody sees it.  (E8)
        """
        self.map.protect("totem.version")
        told: list[str] = []
        self.map.track("", ALL, lambda changes: told.extend(c.name for c in changes))
        for name in ("totem.versions", "my.own.key"):
            self.clients.set(name, u8(1))
            self.assertEqual(self.map.get(name), u8(1))
            self.clients.delete(name)
        self.assertEqual(told, ["totem.versions"] * 2 + ["my.own.key"] * 2)


class SwitchTests(SynchronousTestCase):
    """
    L{FlatMap.onWrite}.
    """

    def setUp(self) -> None:
        self.map = FlatMap(ObjectTree())
        self.done: list[tuple[str, Value]] = []

    def act(self, name: str, value: Value) -> None:
        self.done.append((name, value))

    def test_act(self) -> None:
        """
        Writing does something and stores nothing, until it is over.  (E9)
        """
        switch = self.map.onWrite("stats.clear.all", self.act)
        self.map.set("stats.clear.all", u8(1))
        self.assertEqual(self.done, [("stats.clear.all", u8(1))])
        self.assertEqual(self.map.names(), ())
        switch.stop()
        self.map.set("stats.clear.all", u8(1))
        self.assertEqual(self.map.names(), ("stats.clear.all",))

    def test_closest(self) -> None:
        """
        Of one for a key and one for what it begins with, that for the key acts.
        """

        def refuse(name: str, value: Value) -> None:
            raise NotSupported(name)

        self.map.onWrite("stats.clear.", refuse, prefix=True)
        self.map.onWrite("stats.clear.all", self.act)
        self.map.set("stats.clear.all", u8(1))
        self.assertEqual(len(self.done), 1)
        self.assertRaises(NotSupported, self.map.set, "stats.clear.none", u8(1))


class ComputedTests(SynchronousTestCase):
    """
    L{FlatMap.provide}.
    """

    def setUp(self) -> None:
        self.failed: list[str] = []
        self.map = FlatMap(
            ObjectTree(report=lambda watcher, error: self.failed.append(str(error)))
        )
        self.figures: dict[str, Value] = {"stats.srp.rx": u64(1)}
        self.part = self.map.provide("stats.srp.", self.supply)
        self.told: list[Change] = []
        self.map.track("stats.", ALL, self.told.extend, prefix=True)

    def supply(self) -> Mapping[str, Value]:
        return self.figures

    def test_read(self) -> None:
        """
        Values are those of the moment in which they are read, with stored ones
        around them, in order.
        """
        self.map.set("stats.a", u8(1))
        self.map.set("stats.z", u8(1))
        self.assertEqual(self.map.get("stats.srp.rx"), u64(1))
        self.figures = {"stats.srp.tx": u64(3), "stats.srp.rx": u64(2)}
        self.assertEqual(self.map.get("stats.srp.rx"), u64(2))
        names = ("stats.a", "stats.srp.rx", "stats.srp.tx", "stats.z")
        self.assertEqual(self.map.names(), names)
        self.assertEqual(self.map.items("stats.srp.r"), (("stats.srp.rx", u64(2)),))
        self.assertRaises(NotExist, self.map.get, "stats.srp.other")

    def test_refresh(self) -> None:
        """
        Trackers are told of what appeared, changed and vanished since the last
        time, all kinds of it, at once; and the tree has it.  (A18, E7)
        """
        self.map.refresh()
        self.figures = {"stats.srp.rx": u64(2), "stats.srp.tx": u64(1)}
        self.map.refresh()
        self.map.refresh()
        self.figures = {"stats.srp.tx": u64(1)}
        self.map.refresh()
        self.assertEqual(
            self.told,
            [
                Change(ADD, "stats.srp.rx", None, u64(1)),
                Change(MODIFY, "stats.srp.rx", u64(1), u64(2)),
                Change(ADD, "stats.srp.tx", None, u64(1)),
                Change(DELETE, "stats.srp.rx", u64(2), None),
            ],
        )
        tree = self.map.tree
        self.assertEqual(tree.keys(tree.at("stats.srp")), ("tx",))

    def test_nobodyElseWrites(self) -> None:
        """
        What is computed is not set, neither through the map nor the tree.  (A17)
        """
        self.map.refresh()
        for call in (
            lambda: self.map.set("stats.srp.rx", u64(9)),
            lambda: self.map.delete("stats.srp.rx"),
            lambda: self.map.tree.write("stats.srp.new", u64(9)),
        ):
            error = self.assertRaises(AccessDenied, call)
            self.assertIn("is computed", str(error))

    def test_stop(self) -> None:
        """
        When its engine goes its keys vanish, which is told; another may come.
        """
        self.map.refresh()
        self.part.stop()
        self.assertEqual(self.map.names(), ())
        self.assertEqual(self.told[-1], Change(DELETE, "stats.srp.rx", u64(1), None))
        self.map.set("stats.srp.rx", u8(1))
        self.map.delete("stats.srp.rx")
        self.map.provide("stats.srp.", lambda: {"stats.srp.rx": u64(7)})
        self.assertEqual(self.map.items(), (("stats.srp.rx", u64(7)),))

    def test_overlap(self) -> None:
        """
        Nobody else computes the same keys, or some of them.
        """
        for prefix in ("stats.srp.", "stats.", "stats.srp.r", ""):
            self.assertRaises(Exists, self.map.provide, prefix, self.supply)
        self.map.provide("stats.ipcs.", lambda: {"stats.ipcs.active": u64(1)})
        self.assertEqual(self.map.names(), ("stats.ipcs.active", "stats.srp.rx"))

    def test_failing(self) -> None:
        """
        When computing fails the values of the last time are there, and whoever
        looks after the tree is told.
        """
        self.map.refresh()

        def fail() -> Mapping[str, Value]:
            raise ZeroDivisionError("no figures")

        self.patch(self.part, "supply", fail)
        self.assertEqual(self.map.get("stats.srp.rx"), u64(1))
        self.assertEqual(self.map.items(), (("stats.srp.rx", u64(1)),))
        self.map.refresh()
        self.assertEqual(self.failed, ["no figures"] * 3)
        self.assertEqual(len(self.told), 1)

    def test_foreign(self) -> None:
        """
        Keys that are not its own are not stored, and nothing of that round is.
        """
        self.map.refresh()
        self.figures = {"stats.srp.rx": u64(2), "totem.token": u64(1)}
        self.map.refresh()
        self.assertEqual(self.failed, ["totem.token is not below stats.srp."])
        self.assertEqual(self.map.tree.items(), [("stats.srp.rx", u64(1))])


class DatabaseTests(SynchronousTestCase):
    """
    L{Database}.
    """

    def setUp(self) -> None:
        self.database = Database(Random(1))
        self.clients = self.database.map.forClients()

    def test_of(self) -> None:
        """
        A database begins with the keys of the configuration, also those that
        clients cannot write.
        """
        items = [("totem.version", u32(2)), ("nodelist.node.0.nodeid", u32(1))]
        database = Database.of(items, Random(1))
        self.assertEqual(database.map.items(), tuple(sorted(items)))
        self.assertEqual(database.map.forClients().get("totem.version"), u32(2))

    def test_readOnly(self) -> None:
        """
        Clients cannot write corosync's read-only keys, nor our own options, and
        can write others.  (E8)
        """
        for name in (
            "internal_configuration.service.0.name",
            "runtime.services.cpg.service_id",
            "runtime.config.totem.token",
            "runtime.totem.pg.mrp",
            "uidgid.config.uid.0",
            "system.state_dir",
            "nodelist.node.0.nodeid",
            "nodelist.local_node_pos",
            "corotwist.plugin_dir",
            *room.READ_ONLY,
        ):
            error = self.assertRaises(AccessDenied, self.clients.set, name, u8(1))
            self.assertEqual(str(error), f"{name} is read-only")
        for name in ("uidgid.uid.7", "my.key", "runtime.members.1.x"):
            self.clients.set(name, u8(1))
        self.clients.set("totem.token", u32(1))

    def test_votes(self) -> None:
        """
        Where votes are counted, clients do not change the rules.  (E8)
        """
        self.clients.set("quorum.wait_for_all", u8(1))
        self.database.protectVotes()
        for name in room.READ_ONLY_VOTES:
            self.assertRaises(AccessDenied, self.clients.set, name, u8(1))
        self.clients.set("quorum.expected_votes", u32(1))

    def test_statistics(self) -> None:
        """
        Clients write nothing in the statistics but what clears counters, and
        only where there are any.  (E9)
        """
        statistics = self.database.statistics
        cleared: list[str] = []
        statistics.onWrite("stats.clear.ipc", lambda name, value: cleared.append(name))
        statistics.set("stats.a", u8(1))
        clients = statistics.forClients()
        clients.set("stats.clear.ipc", u8(1))
        self.assertEqual(cleared, ["stats.clear.ipc"])
        self.assertRaises(NotSupported, clients.set, "stats.clear.mine", u8(1))
        for call in (
            lambda: clients.set("stats.a", u8(2)),
            lambda: clients.set("other.key", u8(2)),
            lambda: clients.delete("stats.a"),
            lambda: clients.increment("stats.a"),
            lambda: clients.delete("stats.clear.ipc"),
        ):
            self.assertRaises(AccessDenied, call)
        self.assertEqual(statistics.items(), (("stats.a", u8(1)),))
        self.assertEqual(self.database.map.names(), ())

    def test_types(self) -> None:
        """
        Keys of the configuration file keep their types; the error says which.  (E2)
        """
        for name, kind, right in (
            ("totem.token", "u32", u32(1)),
            ("totem.config_version", "u64", u64(1)),
            ("totem.knet_compression_level", "i32", i32(1)),
            ("totem.interface.1.mcastport", "u16", u16(1)),
            ("quorum.two_node", "u8", u8(1)),
            ("nodelist.node.3.name", "str", string("a")),
        ):
            wrong = Value(ValueType.INT64, 1)
            error = self.assertRaises(
                InvalidParameter, self.database.map.set, name, wrong
            )
            self.assertEqual(str(error), f"{name} is a {kind}, and no i64")
            self.database.map.set(name, right)

    def test_untyped(self) -> None:
        """
        Keys that no file has change their types as in corosync; those of users
        and groups are no names.  (E2)
        """
        self.clients.set("my.key", u8(1))
        self.clients.set("my.key", string("x"))
        self.clients.set("uidgid.uid.0", u8(1))
        self.assertIn("uidgid.uid", {row.name for row in ROWS})

    def test_repeated(self) -> None:
        """
        Objects that the schema repeats have an index from the first on.  (A13)
        """
        tree = self.database.tree
        totem = tree.create(tree.root, "totem")
        self.assertEqual(tree.path(totem), "totem")
        interface = tree.create(totem, "interface")
        self.assertEqual(tree.path(interface), "totem.interface.0")

    def test_reported(self) -> None:
        """
        A tracker that fails is logged with its name.  (A18)
        """
        self.database.map.track("a.key", ALL, lambda changes: 1 // 0)
        with capturedLogs() as events:
            self.database.map.set("a.key", u8(1))
        [event] = [e for e in events if "log_failure" in e]
        self.assertEqual(formatEvent(event), "What watches a.key failed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_sameHandles(self) -> None:
        """
        With the same chance the handles are the same.
        """
        trees = [Database(Random(seed)).tree for seed in (7, 7, 8)]
        handles = [tree.create(tree.root, "totem") for tree in trees]
        self.assertEqual(handles[0], handles[1])
        self.assertNotEqual(handles[0], handles[2])
