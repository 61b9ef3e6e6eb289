"""
L{corotwist.config.tree}: objects, keys, rules.
"""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config import store
from corotwist.config.tracking import Change, ChangeKind, Watcher
from corotwist.config.tree import ObjectTree
from corotwist.config.values import Value, ValueType, string, u8, u32
from corotwist.errors import (
    AccessDenied,
    BadHandle,
    Busy,
    InvalidParameter,
    NameTooLong,
    NoSpace,
    NotExist,
)
from corotwist.handles import HandleDatabase


class TreeTestCase(SynchronousTestCase):
    """
    A tree in which nodes are repeated, and what fails in it.
    """

    def setUp(self) -> None:
        self.failed: list[tuple[str, Exception]] = []
        self.tree = ObjectTree(
            HandleDatabase(random=Random(1), most=100), {"nodelist.node"}, self.fails
        )
        self.root = self.tree.root

    def fails(self, watcher: Watcher, error: Exception) -> None:
        self.failed.append((watcher.name, error))

    def make(self, path: str) -> int:
        """
        An object, and those on the way to it that are missing.
        """
        here = self.root
        for name in path.split("."):
            found = self.tree.find(here, name)
            here = found[0] if found else self.tree.create(here, name)
        return here

    def everything(self) -> tuple[list[str], list[tuple[str, Value]]]:
        """
        Paths of all objects, and all keys.
        """
        paths, waiting = [], [self.root]
        while waiting:
            here = waiting.pop()
            paths.append(self.tree.path(here))
            waiting += self.tree.children(here)
        return sorted(paths), self.tree.items()


class ObjectTests(TreeTestCase):
    def test_create(self) -> None:
        """
        An object has a handle, a name, a parent and a path.  (A13, A15)
        """
        totem = self.tree.create(self.root, "totem")
        interface = self.tree.create(totem, "interface")
        self.assertEqual(self.tree.name(interface), "interface")
        self.assertEqual(self.tree.parent(interface), totem)
        self.assertEqual(self.tree.parent(totem), self.root)
        self.assertEqual(self.tree.path(interface), "totem.interface")
        self.assertEqual(self.tree.at("totem.interface"), interface)
        self.assertEqual(self.tree.at(""), self.root)

    def test_siblings(self) -> None:
        """
        Several objects share a name; each has the smallest index that is free,
        but for the first of a name that is not repeated.  (A13)
        """
        nodelist = self.make("nodelist")
        nodes = [self.tree.create(nodelist, "node") for _ in range(3)]
        self.assertEqual([self.tree.index(node) for node in nodes], [0, 1, 2])
        services = [self.tree.create(self.root, "service") for _ in range(3)]
        self.assertEqual([self.tree.index(each) for each in services], [None, 0, 1])
        self.tree.destroy(nodes[1])
        again = self.tree.create(nodelist, "node")
        self.assertEqual(self.tree.path(again), "nodelist.node.1")
        self.assertEqual(
            self.tree.path(self.tree.create(nodelist, "node")), "nodelist.node.3"
        )

    def test_find(self) -> None:
        """
        Those of a name are found by index, whatever order they came in.  (A15)
        """
        for name in ("nodelist.node.2.id", "nodelist.node.10.id", "nodelist.node.id"):
            self.tree.write(name, u8(1))
        nodelist = self.tree.at("nodelist")
        found = self.tree.find(nodelist, "node")
        self.assertEqual([self.tree.index(node) for node in found], [None, 2, 10])
        self.assertEqual(self.tree.find(nodelist, "nothing"), ())

    def test_children(self) -> None:
        """
        All objects in another, by name and index.  (A15)
        """
        for name in ("zeta", "alpha", "nodelist", "alpha"):
            self.tree.create(self.root, name)
        paths = [self.tree.path(child) for child in self.tree.children(self.root)]
        self.assertEqual(paths, ["alpha", "alpha.0", "nodelist", "zeta"])

    def test_destroy(self) -> None:
        """
        An object goes with everything in it, and its handles are dead.  (A15)
        """
        interface = self.make("totem.interface")
        self.tree.keySet(interface, "ttl", u8(1))
        self.tree.write("totem.version", string("2"))
        self.tree.write("other.key", u8(1))
        totem = self.tree.at("totem")
        self.tree.destroy(totem)
        self.assertEqual(self.everything(), (["", "other"], [("other.key", u8(1))]))
        for handle in (totem, interface):
            for call in (self.tree.path, self.tree.keys, self.tree.destroy):
                self.assertRaises(BadHandle, call, handle)
        self.assertEqual(len(self.tree.handles), 2)

    def test_staleHandle(self) -> None:
        """
        The handle of an object that is gone is not that of another with the same
        path.  (A6)
        """
        old = self.make("totem")
        self.tree.destroy(old)
        new = self.make("totem")
        self.assertNotEqual(old, new)
        self.assertRaises(BadHandle, self.tree.keySet, old, "token", u32(1))
        self.assertEqual(self.tree.items(), [])

    def test_root(self) -> None:
        """
        The root is in nothing, and stays.
        """
        self.assertRaises(NotExist, self.tree.parent, self.root)
        self.assertRaises(InvalidParameter, self.tree.destroy, self.root)
        self.assertRaises(NotExist, self.tree.at, "totem")

    def test_ambiguous(self) -> None:
        """
        An object whose name would be read as the index of what it is in is
        refused; where it is read as a name, it may be.  (A13)
        """
        members = self.make("members")
        error = self.assertRaises(InvalidParameter, self.tree.create, members, "1")
        self.assertEqual(str(error), "1 would be an index of members")
        indexed = self.tree.create(self.root, "members")
        self.assertEqual(self.tree.path(self.tree.create(indexed, "1")), "members.0.1")
        self.assertEqual(self.tree.path(self.tree.create(self.root, "7")), "7")
        self.assertEqual(self.tree.path(self.tree.create(members, "01")), "members.01")

    def test_wrongNames(self) -> None:
        """
        Names of objects are one component, and leave room for keys.  (A21)
        """
        for wrong in ("a.b", "a b", "ä"):
            self.assertRaises(InvalidParameter, self.tree.create, self.root, wrong)
        deep = self.tree.create(self.root, "x" * 252)
        self.tree.keySet(deep, "yz", u8(1))
        self.assertRaises(NameTooLong, self.tree.keySet, deep, "xyz", u8(1))
        self.assertRaises(NameTooLong, self.tree.create, deep, "y")
        self.assertRaises(NameTooLong, self.tree.create, self.root, "x" * 255)
        self.assertEqual(len(self.everything()[0]), 2)

    def test_mostObjects(self) -> None:
        """
        There are as many objects as there are handles; one key too many makes
        none of those on its way.
        """
        for number in range(97):
            self.tree.create(self.root, f"o{number}")
        before = self.everything()
        self.assertRaises(NoSpace, self.tree.write, "x.y.z.key", u8(1))
        self.assertEqual(self.everything(), before)
        self.tree.write("x.y.key", u8(1))
        self.assertRaises(NoSpace, self.tree.create, self.root, "more")


class KeyTests(TreeTestCase):
    def test_keys(self) -> None:
        """
        An object has each key once, with a value of a type; they are listed in
        order.  (A14, A15)
        """
        totem = self.make("totem")
        self.tree.keySet(totem, "version", string("2"))
        self.tree.keySet(totem, "token", u32(1000))
        self.tree.keySet(totem, "token", u32(3000))
        self.assertEqual(self.tree.keys(totem), ("token", "version"))
        self.assertEqual(self.tree.keyGet(totem, "token"), u32(3000))
        self.tree.keyDelete(totem, "token")
        self.assertEqual(self.tree.keys(totem), ("version",))
        for call in (self.tree.keyGet, self.tree.keyDelete):
            error = self.assertRaises(NotExist, call, totem, "token")
            self.assertEqual(str(error), "there is no key totem.token")

    def test_sameStore(self) -> None:
        """
        What is written by its whole name is in the object, and the other way
        round.  (A13)
        """
        self.tree.write("nodelist.node.0.nodeid", u32(7))
        node = self.tree.at("nodelist.node.0")
        self.assertEqual(self.tree.name(node), "node")
        self.assertEqual(self.tree.index(node), 0)
        self.assertEqual(self.tree.keyGet(node, "nodeid"), u32(7))
        self.tree.keySet(node, "name", string("a"))
        self.assertEqual(self.tree.value("nodelist.node.0.name"), string("a"))
        self.assertEqual(self.tree.names("nodelist.node.0.n"), self.tree.names())

    def test_sisterKeys(self) -> None:
        """
        A key may be called as an object beside it, or as its index.
        """
        for name in ("a.b", "a.b.c", "a.b.0", "a.b.0.c"):
            self.tree.write(name, string(name))
        self.assertEqual(
            self.tree.items(),
            [(name, string(name)) for name in ("a.b", "a.b.0", "a.b.0.c", "a.b.c")],
        )
        self.assertEqual(self.everything()[0], ["", "a", "a.b", "a.b.0"])
        self.assertEqual(self.tree.keys(self.tree.at("a.b")), ("0", "c"))
        self.assertEqual(self.tree.keys(self.tree.at("a.b.0")), ("c",))

    def test_goneWithTheLastKey(self) -> None:
        """
        Objects that were made for a key go with the last one, with or without an
        index; what was created stays.
        """
        self.tree.write("nodelist.node.0.name", u8(1))
        self.tree.erase("nodelist.node.0.name")
        self.assertEqual(self.everything()[0], [""])
        self.make("kept")
        self.tree.write("kept.a.b.c", u8(1))
        self.tree.write("kept.a.d", u8(1))
        handles = len(self.tree.handles)
        self.tree.erase("kept.a.b.c")
        self.assertEqual(self.everything()[0], ["", "kept", "kept.a"])
        self.tree.erase("kept.a.d")
        self.assertEqual(self.everything()[0], ["", "kept"])
        self.assertEqual(len(self.tree.handles), handles - 2)

    def test_wrongKeys(self) -> None:
        """
        Keys are one component of a name that is allowed; what is wrong makes
        nothing.  (A21)
        """
        self.assertRaises(InvalidParameter, self.tree.keySet, self.root, "a.b", u8(1))
        self.assertRaises(NameTooLong, self.tree.keySet, self.root, "ab", u8(1))
        for wrong in ("ab", "x." * 128, "a b.c", "ä.bc"):
            self.assertRaises(NameTooLong, self.tree.write, wrong, u8(1))
        self.assertEqual(self.everything(), ([""], []))

    def test_mostKeys(self) -> None:
        """
        There are so many keys, and so many bytes, and not more; existing keys can
        be changed as far as there is room.
        """
        self.patch(store, "MOST_KEYS", 2)
        self.tree.write("key0", u8(1))
        self.tree.write("key1", string("x"))
        self.assertRaises(NoSpace, self.tree.write, "a.key2", u8(1))
        self.patch(store, "MOST_BYTES", 2 * store.OVERHEAD_BYTES + 8 + 10)
        self.tree.write("key1", string("x" * 10))
        self.assertRaises(NoSpace, self.tree.write, "key1", string("x" * 11))
        self.assertEqual(self.tree.value("key1"), string("x" * 10))
        self.tree.write("key1", string("x" * 5))
        self.tree.erase("key1")
        self.tree.write("key3", string("x" * 10))
        self.assertEqual(self.everything()[0], [""])


class RuleTests(TreeTestCase):
    """
    What may be written.
    """

    def refuse(self, change: Change) -> None:
        self.asked.append(change)
        raise AccessDenied("not today")

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Change] = []

    def test_validKeys(self) -> None:
        """
        With a list of valid keys an object takes no others, and a type that the
        list gives is kept.  (A16)
        """
        totem = self.make("totem")
        self.tree.validKeys(totem, {"token": ValueType.UINT32, "version": None})
        error = self.assertRaises(
            InvalidParameter, self.tree.write, "totem.tokn", u32(1)
        )
        self.assertEqual(str(error), "totem has no key tokn; did you mean token?")
        error = self.assertRaises(
            InvalidParameter, self.tree.keySet, totem, "zzz", u32(1)
        )
        self.assertEqual(str(error), "totem has no key zzz")
        error = self.assertRaises(
            InvalidParameter, self.tree.write, "totem.token", string("1")
        )
        self.assertEqual(str(error), "totem.token is a u32, and no str")
        self.assertEqual(self.tree.items(), [])
        self.tree.write("totem.token", u32(1))
        self.tree.write("totem.version", string("2"))
        self.tree.validKeys(totem, None)
        self.tree.write("totem.zzz", u32(1))

    def test_validObjects(self) -> None:
        """
        With a list of valid objects no others are made, not on the way to a key
        either.  (A16)
        """
        totem = self.make("totem")
        self.tree.validObjects(totem, {"interface"})
        for call in (
            lambda: self.tree.create(totem, "interfaces"),
            lambda: self.tree.write("totem.interfaces.0.ttl", u8(1)),
        ):
            error = self.assertRaises(InvalidParameter, call)
            self.assertEqual(
                str(error),
                "totem has no objects named interfaces; did you mean interface?",
            )
        self.tree.write("totem.interface.0.ttl", u8(1))
        self.tree.validObjects(totem, None)
        self.tree.create(totem, "interfaces")

    def test_keptType(self) -> None:
        """
        Keys that have a type keep it, new or not, in each object of the name;
        others change it.  (E2)
        """
        self.tree.keepType("nodelist.node.nodeid", ValueType.UINT32)
        for _ in range(2):
            error = self.assertRaises(
                InvalidParameter, self.tree.write, "nodelist.node.3.nodeid", u8(1)
            )
            self.assertEqual(str(error), "nodelist.node.3.nodeid is a u32, and no u8")
            self.tree.write("nodelist.node.3.nodeid", u32(1))
        self.tree.write("nodelist.node.3.name", u8(1))
        self.tree.write("nodelist.node.3.name", string("a"))
        self.assertEqual(self.tree.value("nodelist.node.3.name"), string("a"))

    def test_veto(self) -> None:
        """
        A validator is asked before a key is added, changed and deleted, sees the
        old value in place, and what it raises the writer gets; nothing
        changes.  (A17)
        """
        self.tree.write("totem.token", u32(1))
        validator = self.tree.validate("totem.token", self.refuse)
        for call in (
            lambda: self.tree.write("totem.token", u32(2)),
            lambda: self.tree.erase("totem.token"),
        ):
            error = self.assertRaises(AccessDenied, call)
            self.assertEqual(str(error), "not today")
            self.assertEqual(self.tree.value("totem.token"), u32(1))
        self.assertEqual(
            self.asked,
            [
                Change(ChangeKind.MODIFY, "totem.token", u32(1), u32(2)),
                Change(ChangeKind.DELETE, "totem.token", u32(1), None),
            ],
        )
        self.tree.write("totem.tokens", u32(2))
        validator.stop()
        validator.stop()
        self.tree.write("totem.token", u32(2))

    def test_vetoByBeginning(self) -> None:
        """
        A validator of what names begin with is asked for each of them, new ones
        too.  (A17)
        """
        self.tree.validate("totem.tok", self.refuse, prefix=True)
        self.assertRaises(AccessDenied, self.tree.write, "totem.token", u32(2))
        self.tree.write("totem.to", u32(2))
        self.assertEqual(self.tree.names(), ["totem.to"])
        self.assertEqual(self.everything()[0], ["", "totem"])

    def test_vetoOfAnObject(self) -> None:
        """
        A validator of an object is asked for its keys and those below; it ends
        with the object.  (A17)
        """
        totem = self.make("totem")
        self.tree.validate(totem, self.refuse)
        for name in ("totem.token", "totem.interface.0.ttl"):
            self.assertRaises(AccessDenied, self.tree.write, name, u32(2))
        self.tree.write("quorum.votes", u32(1))
        self.tree.destroy(totem)
        self.tree.write("totem.token", u32(2))

    def test_vetoOfDestroying(self) -> None:
        """
        An object with a key that may not go does not go, nor anything else of
        it.  (A17, A19)
        """
        for name in ("totem.a.key", "totem.b.key", "totem.c.key"):
            self.tree.write(name, u8(1))
        before = self.everything()
        totem = self.tree.at("totem")
        self.tree.validate("totem.b.key", self.refuse)
        self.assertRaises(AccessDenied, self.tree.destroy, totem)
        self.assertEqual(self.everything(), before)
        self.assertEqual(self.tree.path(totem), "totem")

    def test_failingValidator(self) -> None:
        """
        A validator that fails refuses, and whoever looks after the tree is
        told.  (A17)
        """
        self.tree.validate("totem.token", lambda change: 1 // 0)
        error = self.assertRaises(
            InvalidParameter, self.tree.write, "totem.token", u32(1)
        )
        self.assertIn("what checks it failed", str(error))
        [(name, cause)] = self.failed
        self.assertEqual(name, "totem.token")
        self.assertIsInstance(cause, ZeroDivisionError)
        self.assertEqual(self.everything(), ([""], []))

    def test_validatorWrites(self) -> None:
        """
        A validator changes nothing.
        """
        caught = []

        def write(change: Change) -> None:
            try:
                self.tree.write("another.key", u8(1))
            except Busy as error:
                caught.append(str(error))

        self.tree.validate("totem.token", write)
        self.tree.write("totem.token", u32(1))
        self.assertEqual(caught, ["a validator does not change anything"])
        self.assertEqual(self.tree.names(), ["totem.token"])
        self.tree.write("another.key", u8(1))

    def test_noChange(self) -> None:
        """
        Writing what is there already is no change, and nobody is asked.
        """
        self.tree.write("totem.token", u32(1))
        self.tree.validate("totem.token", self.refuse)
        self.tree.write("totem.token", u32(1))
        self.assertEqual(self.asked, [])
