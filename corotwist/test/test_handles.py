"""
L{corotwist.handles}.
"""

from collections import Counter
from collections.abc import Callable
from random import Random
from sys import getswitchinterval, setswitchinterval
from threading import Barrier, Thread

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist import handles
from corotwist.errors import BadHandle, NoSpace
from corotwist.handles import CheckWords, HandleDatabase
from corotwist.test.strategies import thorough

WORD = st.integers(0, (1 << 32) - 1)


class HandleDatabaseTests(SynchronousTestCase):
    """
    L{HandleDatabase}.
    """

    def setUp(self) -> None:
        self.gone: list[str] = []
        self.database: HandleDatabase[str] = HandleDatabase(
            self.gone.append, Random(1), most=4
        )

    def assertBad(self, handle: int) -> None:
        for call in (
            self.database.get,
            self.database.look,
            self.database.put,
            self.database.destroy,
            self.database.references,
        ):
            self.assertRaises(BadHandle, call, handle)

    def test_shape(self) -> None:
        """
        A handle is 64 bits: the slot in the lower half, and in the upper a check
        word that is neither 0 nor all ones.  (A1)
        """
        first, second = self.database.create("a"), self.database.create("b")
        self.assertEqual((first & 0xFFFFFFFF, second & 0xFFFFFFFF), (0, 1))
        for handle in (first, second):
            self.assertTrue(0 < handle >> 32 < 0xFFFFFFFF)

    def test_counts(self) -> None:
        """
        One reference when created; each get adds one, each put takes one; the
        destructor is called when destroy or a put takes the last.  (A2, A3)
        """
        handle = self.database.create("a")
        self.assertEqual(self.database.references(handle), 1)
        self.assertEqual(self.database.get(handle), "a")
        self.assertEqual(self.database.references(handle), 2)
        self.database.put(handle)
        self.assertEqual(self.gone, [])
        self.database.destroy(handle)
        self.assertEqual(self.gone, ["a"])
        self.assertBad(handle)

    def test_destroyedButReferenced(self) -> None:
        """
        What is destroyed while it is referenced stays until the last put, and
        nobody gets it any more.  (A2)
        """
        handle = self.database.create("a")
        self.database.get(handle)
        self.database.destroy(handle)
        self.assertEqual(self.gone, [])
        self.assertEqual(self.database.references(handle), 1)
        for call in (self.database.get, self.database.look, self.database.destroy):
            self.assertRaises(BadHandle, call, handle)
        self.database.put(handle)
        self.assertEqual(self.gone, ["a"])
        self.assertBad(handle)

    def test_putOfTheCreator(self) -> None:
        """
        A put that takes the last reference ends what nobody has destroyed, as in
        corosync.  (A2)
        """
        handle = self.database.create("a")
        self.database.put(handle)
        self.assertEqual(self.gone, ["a"])
        self.assertBad(handle)

    def test_referenced(self) -> None:
        """
        In a block an object is referenced, whatever happens in it.  (A2)
        """
        handle = self.database.create("a")
        with self.assertRaises(ZeroDivisionError), self.database.referenced(handle):
            self.assertEqual(self.database.references(handle), 2)
            raise ZeroDivisionError
        self.assertEqual(self.database.references(handle), 1)

    def test_destructorOnce(self) -> None:
        """
        The destructor finds its handle dead, may use the database, and is not
        called again, even when it raises.  (A3)
        """

        def destruct(item: str) -> None:
            self.assertBad(handle)
            self.gone.append(item)
            self.database.create("another")
            raise ZeroDivisionError

        self.database.destructor = destruct
        handle = self.database.create("a")
        self.assertRaises(ZeroDivisionError, self.database.destroy, handle)
        self.assertBad(handle)
        self.assertEqual(self.gone, ["a"])
        self.assertEqual([item for _, item in self.database], ["another"])

    def test_bound(self) -> None:
        """
        There are no more than there may be, those included that are destroyed
        and referenced; what goes makes room.
        """
        made = [self.database.create(name) for name in "abcd"]
        self.database.get(made[0])
        self.database.destroy(made[0])
        self.assertEqual(len(self.database), 4)
        self.assertRaises(NoSpace, self.database.create, "e")
        self.database.put(made[0])
        self.database.create("e")
        self.assertEqual(len(self.database), 4)

    def test_forged(self) -> None:
        """
        Handles that were never given are refused: no such slot, another check
        word, negative, more than 64 bits.  (A6)
        """
        handle = self.database.create("a")
        for forged in (0, -1, handle + 1, handle ^ (1 << 32), handle | 1 << 64):
            self.assertBad(forged)
        self.assertEqual(self.database.get(handle), "a")

    def test_staleNeverAliases(self) -> None:
        """
        A million objects come and go in one slot: no handle is given twice, and
        an old one is refused whatever is in the slot now.  (A6)
        """
        create, destroy = self.database.create, self.database.destroy
        self.database.destructor = None
        given = set()
        for _ in range(1_000_000):
            handle = create("a")
            given.add(handle)
            destroy(handle)
        self.assertEqual(len(given), 1_000_000)
        now = create("b")
        self.assertEqual(now & 0xFFFFFFFF, 0)
        for stale in (min(given), max(given), handle):
            self.assertBad(stale)
        self.assertEqual(self.database.get(now), "b")

    def test_usedUp(self) -> None:
        """
        A slot that was used as often as there are check words is left empty, so
        that none comes again.  (A6)
        """
        self.patch(handles, "MOST_USES", 3)
        slots = []
        for _ in range(7):
            handle = self.database.create("a")
            slots.append(handle & 0xFFFFFFFF)
            self.database.destroy(handle)
        self.assertEqual(slots, [0, 0, 0, 1, 1, 1, 2])

    def test_anotherStart(self) -> None:
        """
        Another database, as after a restart, has other check words.  (A6)
        """
        other: HandleDatabase[str] = HandleDatabase(random=Random(2))
        self.assertRaises(BadHandle, other.get, self.database.create("a"))
        other.create("b")
        self.assertRaises(BadHandle, other.get, self.database.create("c"))

    def test_reserved(self) -> None:
        """
        The check words that others take for none are passed over.
        """
        words = iter([0, 0xFFFFFFFF, 7])
        self.patch(CheckWords, "word", lambda *whatever: next(words))
        self.assertEqual(self.database.create("a"), 7 << 32)

    @thorough
    @given(WORD, st.integers(0, 1 << 20), WORD, WORD)
    def test_permutation(self, seed: int, slot: int, a: int, b: int) -> None:
        """
        Two uses of a slot have two check words.  (A6)
        """
        words = CheckWords.drawn(Random(seed))
        self.assertEqual(words.word(slot, a) == words.word(slot, b), a == b)
        self.assertTrue(0 <= words.word(slot, a) < 1 << 32)


class CursorTests(SynchronousTestCase):
    """
    Visiting everything.
    """

    def setUp(self) -> None:
        self.database: HandleDatabase[str] = HandleDatabase(random=Random(1))
        self.made = [self.database.create(name) for name in "abcd"]

    def test_cursor(self) -> None:
        """
        A cursor gives each object with a reference of its own, and begins again
        when it is reset.  (A4)
        """
        cursor = self.database.cursor()
        for _ in range(2):
            for handle, name in zip(self.made, "abcd", strict=True):
                self.assertEqual(cursor.next(), (handle, name))
                self.assertEqual(self.database.references(handle), 2)
                self.database.put(handle)
            self.assertIsNone(cursor.next())
            self.assertIsNone(cursor.next())
            cursor.reset()

    def test_iterator(self) -> None:
        """
        A Python iterator references what is visited as long as it is.  (A4)
        """
        for handle, _ in self.database:
            counts = [self.database.references(each) for each in self.made]
            self.assertEqual(sum(counts), 5)
            self.assertEqual(self.database.references(handle), 2)
        self.assertEqual({self.database.references(each) for each in self.made}, {1})

    def test_abandoned(self) -> None:
        """
        An iteration that is given up references nothing any more.  (A4)
        """
        iterator = iter(self.database)
        next(iterator)
        del iterator
        self.assertEqual({self.database.references(each) for each in self.made}, {1})

    def test_deletion(self) -> None:
        """
        Whatever is destroyed meanwhile, also what is being visited: it stays as
        long as it is visited, and what is gone is not visited.  (A4)
        """
        gone: list[str] = []
        self.database.destructor = gone.append
        visited = []
        for handle, name in self.database:
            visited.append(name)
            if name == "a":
                self.database.destroy(handle)
                self.database.destroy(self.made[2])
                self.assertEqual(gone, ["c"])
        self.assertEqual(visited, ["a", "b", "d"])
        self.assertEqual(gone, ["c", "a"])

    def test_growing(self) -> None:
        """
        Who creates while it iterates comes to an end.  (A4)
        """
        for _, name in self.database:
            self.database.create(name)
        self.assertEqual(len(self.database), 8)


class ThreadTests(SynchronousTestCase):
    """
    Eight threads and one database.
    """

    THREADS = 8
    ROUNDS = 2000

    def setUp(self) -> None:
        # So that they get into each other's way often.
        self.addCleanup(setswitchinterval, getswitchinterval())
        setswitchinterval(1e-5)

    def inThreads(self, work: Callable[[int], None]) -> None:
        failures: list[BaseException] = []
        ready = Barrier(self.THREADS)

        def run(number: int) -> None:
            try:
                ready.wait()
                work(number)
            except BaseException as error:  # noqa: BLE001 - Told by the test.
                failures.append(error)

        threads = [Thread(target=run, args=(n,)) for n in range(self.THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_everything(self) -> None:
        """
        Each thread creates, gets, puts, iterates and destroys; each object is
        destructed once, and none is left.  (A5)
        """
        gone: Counter[tuple[int, int]] = Counter()
        database: HandleDatabase[tuple[int, int]]
        database = HandleDatabase(lambda item: gone.update([item]))

        def work(number: int) -> None:
            for turn in range(self.ROUNDS):
                handle = database.create((number, turn))
                if database.get(handle) != (number, turn):
                    raise AssertionError("another object")
                if turn % 100 == 0:
                    for _, item in database:
                        assert len(item) == 2
                database.destroy(handle)
                database.put(handle)

        self.inThreads(work)
        self.assertEqual(len(database), 0)
        everything = {(n, t) for n in range(self.THREADS) for t in range(self.ROUNDS)}
        self.assertEqual(gone, dict.fromkeys(everything, 1))

    def test_lastReference(self) -> None:
        """
        When all threads give up what they share, one of them destructs it.  (A3, A5)
        """
        gone: list[int] = []
        database: HandleDatabase[int] = HandleDatabase(gone.append)
        shared = [database.create(n) for n in range(self.ROUNDS)]
        for handle in shared:
            for _ in range(self.THREADS - 1):
                database.get(handle)

        def work(number: int) -> None:
            for handle in shared:
                if number:
                    database.put(handle)
                else:
                    database.destroy(handle)

        self.inThreads(work)
        self.assertEqual(sorted(gone), list(range(self.ROUNDS)))
        self.assertEqual(len(database), 0)
