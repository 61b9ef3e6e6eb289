"""
Tests of the object database through clients in the process of a node.
"""

from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from corotwist.config.tracking import Change, ChangeKind, ObjectChange
from corotwist.config.values import binary, string, u8, u32
from corotwist.errors import (
    AccessDenied,
    BadHandle,
    ConfigurationError,
    Conflict,
    Exists,
    InvalidParameter,
    NoSpace,
    NotExist,
    NotSupported,
    Problem,
    TooBig,
)
from corotwist.ipc.client import NodeClient
from corotwist.ipc.confdb import Search, Track
from corotwist.ipc.connection import Credentials
from corotwist.ipc.remote import connectLocal
from corotwist.ipc.underway import ITERATIONS
from corotwist.test.ipc.test_cmap import CmapTestCase


class ConfdbTestCase(CmapTestCase):
    """
    A node of one, its root object, and an object in that.
    """

    def setUp(self) -> None:
        super().setUp()
        self.confdb = self.client.confdb
        self.root = self.got(self.confdb.root())
        self.mine = self.got(self.confdb.create(self.root, "mine"))


class ObjectTests(ConfdbTestCase):
    """
    Objects and their keys.
    """

    def test_create(self) -> None:
        """
        An object has a name, a parent, and siblings of the same name (E10).
        """
        first = self.got(self.confdb.create(self.mine, "part"))
        second = self.got(self.confdb.create(self.mine, "part"))
        other = self.got(self.confdb.create(self.mine, "other"))
        self.assertEqual(self.got(self.confdb.name(first)), "part")
        self.assertEqual(self.got(self.confdb.parent(second)), self.mine)
        self.assertEqual(self.got(self.confdb.find(self.mine, "part")), (first, second))
        found = self.got(self.confdb.children(self.mine))
        self.assertEqual(found, (other, first, second))

    def test_root(self) -> None:
        """
        The root is in nothing, and stays.
        """
        self.assertIsNone(self.got(self.confdb.parent(self.root)))
        self.failed(self.confdb.destroy(self.root), InvalidParameter)

    def test_byPath(self) -> None:
        """
        The dotted name is the way to an object, and the same as in the map
        (A13).
        """
        self.got(self.map.set("mine.part.7.key", u8(1)))
        found = self.got(self.confdb.at("mine.part.7"))
        self.assertEqual((found.name, found.index), ("part", 7))
        self.assertEqual(self.got(self.confdb.getKey(found.handle, "key")), u8(1))
        self.failed(self.confdb.at("mine.part.8"), NotExist)

    def test_destroy(self) -> None:
        """
        With an object everything in it is gone, and its handle is refused
        (E10).
        """
        part = self.got(self.confdb.create(self.mine, "part"))
        self.got(self.confdb.createKey(part, "key", u8(1)))
        self.got(self.confdb.destroy(self.mine))
        self.failed(self.confdb.look(part), BadHandle)
        self.failed(self.map.get("mine.part.key"), NotExist)

    def test_keys(self) -> None:
        """
        Keys are created, read, replaced, counted, listed and deleted
        (A86, E10).
        """
        confdb, mine = self.confdb, self.mine
        self.got(confdb.createKey(mine, "count", u8(254)))
        self.failed(confdb.createKey(mine, "count", u8(1)), Exists)
        self.assertEqual(self.got(confdb.increment(mine, "count")), u8(255))
        self.assertEqual(self.got(confdb.increment(mine, "count")), u8(0))
        self.assertEqual(self.got(confdb.decrement(mine, "count")), u8(255))
        self.failed(confdb.replaceKey(mine, "name", string("x")), NotExist)
        self.got(confdb.createKey(mine, "name", string("x")))
        self.got(confdb.replaceKey(mine, "name", string("y"), string("x")))
        self.failed(confdb.replaceKey(mine, "name", u8(1), string("x")), Conflict)
        found = self.got(confdb.keys(mine))
        self.assertEqual(found, (("count", u8(255)), ("name", string("y"))))
        self.assertEqual(self.got(self.map.get("mine.name")), string("y"))
        self.got(confdb.deleteKey(mine, "count"))
        self.failed(confdb.getKey(mine, "count"), NotExist)

    def test_readOnly(self) -> None:
        """
        What clients cannot write in the map they cannot write in the tree, nor
        end the objects that it is in (E8, E10).
        """
        totem = self.got(self.confdb.at("runtime.config.totem")).handle
        self.failed(self.confdb.replaceKey(totem, "token", u32(1)), AccessDenied)
        self.failed(self.confdb.destroy(totem), AccessDenied)
        self.got(self.map.set("cluster.key", u8(1)))
        cluster = self.got(self.confdb.at("cluster")).handle
        self.failed(self.confdb.replaceKey(cluster, "key", u8(2)), AccessDenied)

    def test_noFile(self) -> None:
        """
        A node without a file has nothing to write to.
        """
        self.failed(self.confdb.write(), NotSupported)


class ListTests(ConfdbTestCase):
    """
    Many objects.
    """

    def test_many(self) -> None:
        """
        More than fit into one answer, as they were at one moment (E10).
        """
        tree = self.manager.database.tree
        made = [tree.create(self.mine, "part") for _ in range(9000)]
        self.assertEqual(self.got(self.confdb.find(self.mine, "part")), tuple(made))
        for number in range(10):
            tree.keySet(self.mine, f"key{number}", binary(bytes(16000)))
        self.assertEqual(len(self.got(self.confdb.keys(self.mine))), 10)
        connection = self.client._remote._connection
        self.assertEqual(connection.private["confdb"].iterations, {})

    def test_bounded(self) -> None:
        """
        A client has so many searches under way, and no more; its end frees
        them (E10).
        """
        tree = self.manager.database.tree
        for _ in range(9000):
            tree.create(self.mine, "part")
        arguments = {"object": self.mine, "name": "part"}
        for number in range(ITERATIONS):
            asked = self.client.ask(Search, search=number, **arguments)
            self.assertTrue(self.got(asked)["more"])
        asked = self.client.ask(Search, search=ITERATIONS, **arguments)
        self.failed(asked, NoSpace)


class TransactionTests(ConfdbTestCase):
    """
    Several things as one.
    """

    def test_together(self) -> None:
        """
        An object and its keys appear together, and trackers hear of it once
        (A19, E10).
        """
        batches: list[Any] = []
        self.got(self.confdb.track(self.mine, batches.append, prefix=True))
        work = self.confdb.transaction()
        part = work.create(self.mine, "part")
        inner = work.create(part, "inner")
        work.createKey(inner, "key", u8(1))
        work.adjustKey(inner, "key", 2)
        handle, _, nothing, value = self.got(work.commit())
        self.assertEqual((nothing, value), (None, u8(3)))
        self.assertEqual(self.got(self.confdb.look(handle)).path, "mine.part")
        (changes,) = batches
        keys = [change for change in changes if isinstance(change, Change)]
        self.assertEqual([change.name for change in keys], ["mine.part.inner.key"])
        objects = [change for change in changes if isinstance(change, ObjectChange)]
        self.assertEqual(objects[0].kind, ChangeKind.ADD)
        self.assertEqual(objects[0].handle, handle)

    def test_allOrNothing(self) -> None:
        """
        When one thing cannot be done, nothing is (A19, E10).
        """
        work = self.confdb.transaction()
        part = work.create(self.mine, "part")
        work.createKey(part, "key", u8(1))
        work.deleteKey(self.mine, "missing")
        self.failed(work.commit(), NotExist)
        self.assertEqual(self.got(self.confdb.children(self.mine)), ())

    def test_wrongReference(self) -> None:
        """
        Only what was made before can be meant.
        """
        work = self.confdb.transaction()
        part = work.create(self.mine, "part")
        other = self.confdb.transaction()
        other.createKey(part, "key", u8(1))
        self.failed(other.commit(), InvalidParameter)

    def test_tooLarge(self) -> None:
        """
        What does not fit into one command is refused, and changes nothing.
        """
        work = self.confdb.transaction()
        for number in range(8):
            work.createKey(self.mine, f"key{number}", binary(bytes(16000)))
        self.failed(work.commit(), TooBig)
        self.assertEqual(self.got(self.confdb.keys(self.mine)), ())


class TrackingTests(ConfdbTestCase):
    """
    Changes as they happen.
    """

    def test_byObject(self) -> None:
        """
        The keys of an object, and objects in it that come and go, whoever
        changes them (A18, E10).
        """
        seen: list[Any] = []
        self.got(self.confdb.track(self.mine, seen.extend))
        self.got(self.map.set("mine.key", u8(1)))
        part = self.got(self.confdb.create(self.mine, "part"))
        self.got(self.confdb.destroy(part))
        names = [(change.kind, change.name) for change in seen]
        self.assertEqual(
            names,
            [
                (ChangeKind.ADD, "mine.key"),
                (ChangeKind.ADD, "mine.part"),
                (ChangeKind.DELETE, "mine.part"),
            ],
        )

    def test_byName(self) -> None:
        """
        One key, or all that begin so (A18, E10).
        """
        one: list[Any] = []
        many: list[Any] = []
        self.got(self.confdb.track("mine.key", one.extend))
        self.got(self.confdb.track("mine.k", many.extend, prefix=True))
        self.got(self.confdb.createKey(self.mine, "key", u8(1)))
        self.got(self.confdb.createKey(self.mine, "key2", u8(1)))
        self.assertEqual([change.name for change in one], ["mine.key"])
        self.assertEqual([change.name for change in many], ["mine.key", "mine.key2"])

    def test_stopped(self) -> None:
        """
        A tracker that is stopped, or whose client is gone, sees nothing more.
        """
        seen: list[Any] = []
        tracker = self.got(self.confdb.track("mine.key", seen.extend))
        self.got(tracker.stop())
        self.got(self.confdb.createKey(self.mine, "key", u8(1)))
        self.assertEqual(seen, [])

    def test_targets(self) -> None:
        """
        An object or a name, not both, nor neither.
        """
        for wrong in ({}, {"object": self.mine, "name": "x"}):
            asked = self.client.ask(Track, kinds=4, tracker=1, **wrong)
            self.failed(asked, InvalidParameter)


@define
class FakeOperations:
    """
    A node with a file that is written, or cannot be.
    """

    problem: ConfigurationError | None = None
    changes: list[Any] = field(factory=list)

    def follows(self, name: str) -> bool:
        return name.startswith("totem.")

    def changed(self, changes: Any) -> None:
        self.changes.append(dict(changes))
        if u32(0) in changes.values():
            raise InvalidParameter("too small")

    def save(self) -> Deferred[str]:
        if self.problem is not None:
            return fail(self.problem)
        return succeed("/etc/x.conf")


class FileTests(ConfdbTestCase):
    """
    Keys that matter to somebody else.
    """

    def setUp(self) -> None:
        super().setUp()
        self.operations = FakeOperations()
        for name in ("confdb", "cmap"):
            self.manager.engines[name].cluster.operations = self.operations

    def test_write(self) -> None:
        """
        The node is asked to write its file; what is wrong with that is told
        (E10).
        """
        self.assertEqual(self.got(self.confdb.write()), "/etc/x.conf")
        self.operations.problem = ConfigurationError(Problem("x", 1, "y", "no"))
        self.failed(self.confdb.write(), InvalidParameter)

    def test_strangers(self) -> None:
        """
        Only who administers the node has its file written, changes objects,
        and says who may be a client and which files are written; others write
        other keys (A53).
        """
        other = Credentials(5, 12345, 12345)
        made = NodeClient(
            self.clock, partial(connectLocal, self.clock, self.manager, other)
        )
        made.startService()
        self.addCleanup(made.stopService)
        self.settle()
        self.failed(made.confdb.write(), AccessDenied)
        root = self.got(made.confdb.root())
        self.failed(made.confdb.create(root, "mine"), AccessDenied)
        for key in ("uidgid.uid.12345", "logging.logfile"):
            self.failed(made.cmap.set(key, u8(1)), AccessDenied)
            self.failed(made.cmap.delete(key), AccessDenied)
        self.got(made.cmap.set("test.key", u8(1)))

    def test_followed(self) -> None:
        """
        Keys that change what the node does are checked by it, all of a
        transaction at once; when it refuses, nothing of the transaction is done
        (A17, E10).
        """
        totem = self.got(self.confdb.create(self.root, "totem"))
        work = self.confdb.transaction()
        work.createKey(totem, "token", u32(5))
        work.createKey(totem, "join", u32(6))
        self.got(work.commit())
        expected = {"totem.token": u32(5), "totem.join": u32(6)}
        self.assertEqual(self.operations.changes, [expected])
        work = self.confdb.transaction()
        work.createKey(self.mine, "key", u8(1))
        work.createKey(totem, "hold", u32(0))
        self.failed(work.commit(), InvalidParameter)
        self.failed(self.map.get("mine.key"), NotExist)
        self.failed(self.map.set("totem.token", u32(0)), InvalidParameter)
