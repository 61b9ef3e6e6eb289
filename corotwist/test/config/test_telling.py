"""
Transactions of L{corotwist.config.tree}, and L{corotwist.config.telling}: who is
told what, and when.
"""

from collections.abc import Sequence

from corotwist.config import store, telling, tracking
from corotwist.config.tracking import (
    ALL,
    AnyChange,
    Change,
    ChangeKind,
    ObjectChange,
    Track,
)
from corotwist.config.values import string, u8, u32
from corotwist.errors import (
    AccessDenied,
    BadHandle,
    NameTooLong,
    NoSpace,
    TryAgain,
)
from corotwist.test.config.test_tree import TreeTestCase

ADD, MODIFY, DELETE = ChangeKind.ADD, ChangeKind.MODIFY, ChangeKind.DELETE


class TellingTestCase(TreeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[Sequence[AnyChange]] = []

    def track(self, target: int | str, *, prefix: bool = False) -> Track:
        return self.tree.track(target, self.told.append, prefix=prefix)

    def names(self) -> list[str]:
        """
        Of all that was told, in order.
        """
        return [change.name for changes in self.told for change in changes]


class TransactionTests(TellingTestCase):
    """
    All or nothing, and one notification.
    """

    def test_together(self) -> None:
        """
        The changes of a transaction are told at its end, together, each from
        what was before it to what is after it.  (A19)
        """
        self.tree.write("totem.token", u32(1))
        self.tree.write("totem.gone", u32(1))
        self.track("totem.", prefix=True)
        with self.tree.transaction():
            self.tree.write("totem.token", u32(2))
            self.tree.write("totem.new", u8(1))
            self.tree.erase("totem.gone")
            self.tree.write("totem.token", u32(3))
            self.assertEqual(self.told, [])
            self.assertEqual(self.tree.value("totem.token"), u32(3))
        self.assertEqual(
            self.told,
            [
                (
                    Change(MODIFY, "totem.token", u32(1), u32(3)),
                    Change(ADD, "totem.new", None, u8(1)),
                    Change(DELETE, "totem.gone", u32(1), None),
                )
            ],
        )

    def test_nothingAfterAll(self) -> None:
        """
        What is undone within a transaction was no change: keys and objects.  (A19)
        """
        self.tree.write("totem.token", u32(1))
        self.track("", prefix=True)
        self.track(self.root, prefix=True)
        with self.tree.transaction():
            self.tree.write("totem.token", u32(2))
            self.tree.write("totem.token", u32(1))
            self.tree.write("a.b.c", u8(1))
            self.tree.erase("a.b.c")
            self.tree.destroy(self.tree.create(self.root, "object"))
        self.assertEqual(self.told, [])

    def test_allOrNothing(self) -> None:
        """
        When a transaction ends with an exception nothing has changed, handles
        included, and nobody is told.  (A19)
        """
        self.tree.write("totem.a.token", u32(1))
        self.tree.write("totem.b.token", u32(1))
        before = self.everything()
        gone, kept = self.tree.at("totem.a"), self.tree.at("totem.b")
        self.track("", prefix=True)
        self.track(self.root, prefix=True)
        with self.assertRaises(ZeroDivisionError), self.tree.transaction():
            self.tree.write("totem.b.token", u32(2))
            self.tree.destroy(gone)
            self.assertRaises(BadHandle, self.tree.path, gone)
            self.tree.write("new.object.key", u8(1))
            made = self.tree.create(self.root, "made")
            raise ZeroDivisionError
        self.assertEqual(self.everything(), before)
        self.assertEqual(self.told, [])
        self.assertEqual(self.tree.path(gone), "totem.a")
        self.assertEqual(self.tree.keyGet(gone, "token"), u32(1))
        self.assertEqual(self.tree.path(kept), "totem.b")
        self.assertRaises(BadHandle, self.tree.path, made)
        self.assertEqual(len(self.tree.handles), 4)

    def test_vetoInTheMiddle(self) -> None:
        """
        A veto in the middle of a transaction undoes what was before it.  (A17, A19)
        """

        def refuse(change: Change) -> None:
            raise AccessDenied("no")

        self.tree.write("totem.first", u32(1))
        self.track("", prefix=True)
        self.tree.validate("totem.second", refuse)
        with self.assertRaises(AccessDenied), self.tree.transaction():
            self.tree.write("totem.first", u32(2))
            self.tree.write("totem.second", u32(2))
            self.fail("it goes on")
        self.assertEqual(self.tree.items(), [("totem.first", u32(1))])
        self.assertEqual(self.told, [])

    def test_endless(self) -> None:
        """
        A transaction that goes on and on ends, and nothing was changed.
        """
        self.patch(store, "MOST_STEPS", 10)
        self.tree.write("a.key", u32(0))
        with self.assertRaises(NoSpace), self.tree.transaction():
            for number in range(1, 12):
                self.tree.write("a.key", u32(number))
        with self.assertRaises(NoSpace), self.tree.transaction():
            for number in range(11):
                self.tree.create(self.root, f"o{number}")
        self.assertEqual(self.everything(), (["", "a"], [("a.key", u32(0))]))
        self.assertEqual(len(self.tree.handles), 2)

    def test_inEachOther(self) -> None:
        """
        A transaction in another one is undone alone, and told with it.  (A19)
        """
        self.track("", prefix=True)
        with self.tree.transaction():
            self.tree.write("outer.key", u8(1))
            with self.assertRaises(ZeroDivisionError), self.tree.transaction():
                self.tree.write("outer.key", u8(2))
                self.tree.write("inner.key", u8(2))
                raise ZeroDivisionError
            with self.tree.transaction():
                self.tree.write("third.key", u8(3))
            self.assertEqual(self.told, [])
        self.assertEqual(
            self.told,
            [
                (
                    Change(ADD, "outer.key", None, u8(1)),
                    Change(ADD, "third.key", None, u8(3)),
                )
            ],
        )

    def test_movedWithin(self) -> None:
        """
        An object that lost its last key and got another one in the same
        transaction is the same object.
        """
        self.tree.write("nodelist.node.0.old", u8(1))
        node = self.tree.at("nodelist.node.0")
        with self.tree.transaction():
            self.tree.erase("nodelist.node.0.old")
            self.tree.write("nodelist.node.0.new", u8(1))
        self.assertEqual(self.tree.keys(node), ("new",))

    def test_emptiedAndUndone(self) -> None:
        """
        What was emptied in a transaction that failed is not taken out later.
        """
        self.tree.write("a.b.c", u8(1))
        handle = self.tree.at("a.b")
        with self.assertRaises(ZeroDivisionError), self.tree.transaction():
            self.tree.erase("a.b.c")
            raise ZeroDivisionError
        self.tree.write("other.key", u8(1))
        self.assertEqual(self.tree.keys(handle), ("c",))


class TrackTests(TellingTestCase):
    """
    Who is told what.
    """

    def test_kinds(self) -> None:
        """
        A key's tracker is told of adding, modifying and deleting, with the old
        and the new value, and of what it asked for only.  (A18, E7)
        """
        kept: list[Sequence[AnyChange]] = []
        self.track("totem.token")
        self.tree.track("totem.token", kept.append, DELETE | MODIFY)
        self.tree.write("totem.token", u32(1))
        self.tree.write("totem.token", string("2"))
        self.tree.write("totem.tokens", u8(1))
        self.tree.erase("totem.token")
        added = Change(ADD, "totem.token", None, u32(1))
        modified = Change(MODIFY, "totem.token", u32(1), string("2"))
        deleted = Change(DELETE, "totem.token", string("2"), None)
        self.assertEqual(self.told, [(added,), (modified,), (deleted,)])
        self.assertEqual(kept, [(modified,), (deleted,)])

    def test_unchanged(self) -> None:
        """
        Writing what is there is not told.  (A18)
        """
        self.tree.write("totem.token", u32(1))
        self.track("totem.token")
        self.tree.write("totem.token", u32(1))
        self.assertEqual(self.told, [])

    def test_prefix(self) -> None:
        """
        A tracker of a beginning is told of all keys that begin so, wherever the
        beginning ends.  (A18, E7)
        """
        self.track("nodelist.no", prefix=True)
        for name in ("nodelist.node.0.name", "nodelist.nothing", "nodelist.local"):
            self.tree.write(name, u8(1))
        self.assertEqual(self.names(), ["nodelist.node.0.name", "nodelist.nothing"])

    def test_twoTrackers(self) -> None:
        """
        Each tracker that fits is told, once.  (E7)
        """
        self.track("totem.token")
        self.track("totem.", prefix=True)
        self.track("", prefix=True)
        self.tree.write("totem.token", u32(1))
        self.assertEqual(self.names(), ["totem.token"] * 3)

    def test_sameBeginning(self) -> None:
        """
        Of two trackers of one beginning one may stop; the other is told all the
        same.
        """
        first = self.track("totem.", prefix=True)
        second = self.track("totem.", prefix=True)
        first.stop()
        self.tree.write("totem.token", u32(1))
        second.stop()
        self.tree.write("totem.token", u32(2))
        self.assertEqual(self.told, [(Change(ADD, "totem.token", None, u32(1)),)])

    def test_object(self) -> None:
        """
        An object's tracker is told of its keys, its children and its end, and
        not of what is further down, unless it asks.  (A18)
        """
        deep: list[AnyChange] = []
        totem = self.make("totem")
        self.track(totem)
        self.tree.track(totem, deep.extend, prefix=True)
        self.tree.write("totem.token", u32(1))
        interface = self.tree.create(totem, "interface")
        self.tree.keySet(interface, "ttl", u8(1))
        self.tree.create(interface, "member")
        self.tree.write("quorum.votes", u8(1))
        self.tree.destroy(totem)
        near = [
            "totem.token",
            "totem.interface",
            "totem.token",
            "totem.interface",
            "totem",
        ]
        self.assertEqual(sorted(self.names()), sorted(near))
        self.assertEqual(
            sorted(change.name for change in deep),
            sorted([*near, *["totem.interface.ttl", "totem.interface.member"] * 2]),
        )
        self.assertEqual(deep[1], ObjectChange(ADD, "totem.interface", interface))
        self.assertEqual(deep[-1], ObjectChange(DELETE, "totem", totem))

    def test_siblingIsNoChild(self) -> None:
        """
        The keys of an object with an index are not those of its sibling without
        one, whatever their names look like.  (A13, A18)
        """
        first = self.tree.create(self.root, "service")
        self.tree.create(self.root, "service")
        self.track(first, prefix=True)
        self.tree.write("service.0.name", u8(1))
        self.assertEqual(self.told, [])
        self.tree.write("service.name", u8(1))
        self.assertEqual(self.names(), ["service.name"])

    def test_endsWithItsObject(self) -> None:
        """
        A tracker of an object is not one of whatever has that path later.  (A18)
        """
        totem = self.make("totem")
        track = self.track(totem, prefix=True)
        self.tree.destroy(totem)
        self.make("totem")
        self.tree.write("totem.token", u32(1))
        self.assertEqual(self.told, [(ObjectChange(DELETE, "totem", totem),)])
        track.stop()

    def test_implicitObjects(self) -> None:
        """
        Objects that come and go with their keys are told as others are.  (A18)
        """
        self.track(self.root)
        self.tree.write("a.b.c", u8(1))
        handle = self.tree.at("a")
        self.tree.erase("a.b.c")
        self.assertEqual(
            self.told,
            [(ObjectChange(ADD, "a", handle),), (ObjectChange(DELETE, "a", handle),)],
        )

    def test_bound(self) -> None:
        """
        There are so many trackers, of names and of objects, and not more; those
        that are stopped, or whose object is gone, make room.
        """
        self.patch(tracking, "MOST_WATCHERS", 3)
        first = self.track("a.key")
        self.track("a.", prefix=True)
        totem = self.make("totem")
        self.track(totem)
        for target in ("b.key", self.root):
            self.assertRaises(NoSpace, self.track, target)
        first.stop()
        first.stop()
        first = self.track("b.key")
        self.assertRaises(NoSpace, self.track, "c.key")
        self.tree.destroy(totem)
        self.track("c.key")
        self.assertRaises(NoSpace, self.track, "d.key")

    def test_tooLong(self) -> None:
        """
        What no key begins with cannot be tracked.
        """
        self.assertRaises(NameTooLong, self.track, "x" * 256, prefix=True)

    def test_looks(self) -> None:
        """
        Ten thousand trackers of other names cost a change nothing: they are not
        looked at.  (A18)
        """
        looked = []

        def wants(track: Track, change: AnyChange) -> bool:
            looked.append(track.name)
            return True

        for number in range(5000):
            self.track(f"other.{number}.key")
            self.track(f"other.{number}.", prefix=True)
        self.track("totem.token")
        self.track("totem.", prefix=True)
        self.patch(Track, "wants", wants)
        self.tree.write("totem.token", u32(1))
        self.assertEqual(looked, ["totem.token", "totem."])


class CallbackTests(TellingTestCase):
    """
    What trackers may do when they are told.
    """

    def test_raises(self) -> None:
        """
        A tracker that raises harms nobody: the change stands, the others are
        told, and so is whoever looks after the tree.  (A18)
        """
        self.tree.track("totem.token", lambda changes: 1 // 0)
        self.track("totem.token")
        self.tree.write("totem.token", u32(1))
        self.tree.write("totem.token", u32(2))
        self.assertEqual(self.names(), ["totem.token"] * 2)
        self.assertEqual(self.tree.value("totem.token"), u32(2))
        self.assertEqual([name for name, _ in self.failed], ["totem.token"] * 2)

    def test_stops(self) -> None:
        """
        A tracker that is stopped while others are told is told nothing.
        """
        tracks: list[Track] = []
        self.tree.track("totem.token", lambda changes: tracks[0].stop())
        tracks.append(self.track("totem.token"))
        self.tree.write("totem.token", u32(1))
        self.assertEqual(self.told, [])

    def test_stopsItself(self) -> None:
        """
        A tracker may stop itself.
        """
        track = self.tree.track("totem.token", lambda changes: track.stop())
        self.track("totem.token")
        self.tree.write("totem.token", u32(1))
        self.assertEqual(self.names(), ["totem.token"])

    def test_added(self) -> None:
        """
        A tracker that is added while others are told hears of later changes only.
        """
        adding = self.tree.track(
            "totem.token", lambda changes: self.track("totem.token")
        )
        self.tree.write("totem.token", u32(1))
        self.assertEqual(self.told, [])
        adding.stop()
        self.tree.write("totem.token", u32(2))
        self.assertEqual(self.told, [(Change(MODIFY, "totem.token", u32(1), u32(2)),)])

    def test_changes(self) -> None:
        """
        What trackers change is made at once and told afterwards, in order: all
        have heard of the cause first.  (A18)
        """

        def answer(changes: Sequence[AnyChange]) -> None:
            self.tree.write("answer.one", u8(1))
            self.tree.write("answer.two", u8(1))
            self.assertEqual(self.tree.value("answer.two"), u8(1))
            self.assertEqual(self.told, [])

        self.tree.track("totem.token", answer)
        self.track("", prefix=True)
        self.tree.write("totem.token", u32(1))
        self.assertEqual(self.names(), ["totem.token", "answer.one", "answer.two"])

    def test_endless(self) -> None:
        """
        Two trackers that answer each other come to an end, and the tree works
        as before.
        """
        refused: list[TryAgain] = []

        def count(name: str) -> None:
            def counted(changes: Sequence[AnyChange]) -> None:
                try:
                    self.tree.write(name, self.tree.value(name).adjusted(1))
                except TryAgain as error:
                    refused.append(error)

            self.tree.write(name, u32(0))
            self.tree.track("b.key" if name == "a.key" else "a.key", counted)

        count("a.key")
        count("b.key")
        self.tree.write("a.key", u32(1000))
        self.assertEqual(len(refused), 1)
        self.assertEqual(self.tree.value("b.key"), u32(telling.DEEPEST_CASCADE // 2))
        self.tree.write("c.key", u32(1))

    def test_explosion(self) -> None:
        """
        Answers of which each causes two more come to an end as well.
        """
        self.patch(telling, "LONGEST_CASCADE", 50)

        def answer(changes: Sequence[AnyChange]) -> None:
            for _ in range(2):
                self.tree.write("a.key", self.tree.value("a.key").adjusted(1))

        self.tree.write("a.key", u32(0))
        self.tree.track("a.key", answer)
        self.tree.write("a.key", u32(1))
        self.assertEqual(self.tree.value("a.key"), u32(50))
        self.assertEqual({type(error) for _, error in self.failed}, {TryAgain})
        self.tree.write("b.key", u32(1))

    def test_transactionInACallback(self) -> None:
        """
        A tracker's transaction is told as one, and if it fails, not at all.  (A19)
        """

        def answer(changes: Sequence[AnyChange]) -> None:
            with self.tree.transaction():
                self.tree.write("answer.one", u8(1))
                self.tree.write("answer.two", u8(1))
            with self.tree.transaction():
                self.tree.write("answer.three", u8(1))
                raise ZeroDivisionError

        self.tree.track("totem.token", answer)
        self.track("answer.", prefix=True)
        self.tree.write("totem.token", u32(1))
        [changes] = self.told
        self.assertEqual(
            [change.name for change in changes], ["answer.one", "answer.two"]
        )
        self.assertEqual(len(self.failed), 1)

    def test_allKinds(self) -> None:
        """
        Unless something else is said, all kinds are told.
        """
        self.assertEqual(self.track("totem.token").kinds, ALL)
