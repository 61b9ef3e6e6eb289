"""
Handles: 64-bit numbers that stand for objects which somebody else may hold, forge
or keep too long.

A handle is a slot in its lower half and a check word in its upper half.  A slot
gets another check word each time it is used, never one that it had before, so the
handle of something that is gone is refused and never means what came after it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random, SystemRandom
from threading import Lock
from typing import Final, Generic, TypeVar

from attrs import define, field

from corotwist.errors import BadHandle, NoSpace

# At the same time, in one database.
MOST_HANDLES: Final = 1 << 20
# How often a slot is used; its check words are used up then, and it stays empty.
MOST_USES: Final = (1 << 32) - 2
_BITS: Final = 32
_MASK: Final = (1 << _BITS) - 1
# Others take these for "no handle" and "not checked".
_RESERVED_WORDS: Final = (0, _MASK)

Item = TypeVar("Item")


@define(eq=False)
class CheckWords:
    """
    The check words of the slots: a secret permutation of the numbers of 32 bits,
    another one for each slot.

    A permutation gives nothing twice, so it takes no memory of what was given.
    """

    _start: int
    _step: int
    _first: int
    _second: int

    @classmethod
    def drawn(cls, random: Random) -> "CheckWords":
        """
        From so much chance that nobody guesses a word who has not seen many.
        """
        start = random.getrandbits(_BITS)
        # Odd factors, or multiplying is not reversible.
        return cls(start, *(random.getrandbits(_BITS) | 1 for _ in range(3)))

    def word(self, slot: int, use: int) -> int:
        """
        @param use: how often the slot was used before.
        """
        word = (use + self._start + slot * self._step) & _MASK
        word = (word ^ word >> 16) * self._first & _MASK
        word = (word ^ word >> 15) * self._second & _MASK
        return word ^ word >> 16


@define(eq=False)
class _Entry(Generic[Item]):
    """
    What a slot in use holds.

    @ivar word: the upper half of its handle.
    @ivar count: references.
    @ivar active: not destroyed.
    """

    item: Item
    word: int
    count: int = 1
    active: bool = True


@define(eq=False)
class HandleDatabase(Generic[Item]):
    """
    Objects by handle, with reference counts; any thread may call.

    An object begins with one reference, which L{destroy} gives up; L{get} takes
    one more and L{put} gives it back.  At zero the destructor is called, once.
    What is destroyed can no longer be had, even while it is referenced.

    @ivar destructor: called by whoever gives up the last reference, when the
        handle is already dead; it may use the database.
    @ivar random: where check words come from.
    @ivar most: objects at the same time.
    """

    destructor: Callable[[Item], object] | None = None
    random: Random = field(factory=SystemRandom)
    most: int = MOST_HANDLES
    _words: CheckWords = field(init=False)
    _entries: list[_Entry[Item] | None] = field(factory=list, init=False)
    # For each slot, how often it was used; and the slots that may be used again.
    _uses: list[int] = field(factory=list, init=False)
    _free: list[int] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._words = CheckWords.drawn(self.random)

    def __len__(self) -> int:
        """
        Objects that are there, those included that are destroyed and referenced.
        """
        return self._count

    def create(self, item: Item) -> int:
        """
        @return: a new handle, with one reference.
        @raise NoSpace: there are too many.
        """
        with self._lock:
            if self._count >= self.most:
                raise NoSpace(f"there are {self.most} handles already")
            slot = self._emptySlot()
            word = self._nextWord(slot)
            self._entries[slot] = _Entry(item, word)
            self._count += 1
        return word << _BITS | slot

    def get(self, handle: int) -> Item:
        """
        Take one more reference.

        @raise BadHandle: it is destroyed, stale or forged.
        """
        with self._lock:
            entry = self._living(handle)
            entry.count += 1
            return entry.item

    def put(self, handle: int) -> None:
        """
        Give back a reference.

        @raise BadHandle: it is stale or forged.
        """
        with self._lock:
            entry = self._entry(handle)
            gone = self._dropped(handle, entry)
        if gone:
            self._destruct(entry)

    def destroy(self, handle: int) -> None:
        """
        Give up the reference of whoever created it; nobody gets it any more.

        @raise BadHandle: it is destroyed already, stale or forged.
        """
        with self._lock:
            entry = self._living(handle)
            entry.active = False
            gone = self._dropped(handle, entry)
        if gone:
            self._destruct(entry)

    def look(self, handle: int) -> Item:
        """
        As L{get}, without a reference: for whoever knows that the object stays
        as long as it is used.
        """
        with self._lock:
            return self._living(handle).item

    def references(self, handle: int) -> int:
        """
        How many there are.

        @raise BadHandle: it is stale or forged.
        """
        with self._lock:
            return self._entry(handle).count

    @contextmanager
    def referenced(self, handle: int) -> Iterator[Item]:
        """
        The object, referenced while the block runs.
        """
        item = self.get(handle)
        try:
            yield item
        finally:
            self.put(handle)

    def cursor(self) -> "Cursor[Item]":
        """
        To visit what is there, one call at a time.
        """
        return Cursor(self)

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        """
        Handles and objects, each referenced while it is visited.  What is
        created meanwhile may be visited or not.
        """
        cursor = self.cursor()
        while (found := cursor.next()) is not None:
            try:
                yield found
            finally:
                self.put(found[0])

    def following(self, slot: int, end: int) -> tuple[int, int, Item] | None:
        """
        For cursors: the first slot from C{slot} to before C{end} whose object can
        be had, its handle and the object with one more reference.
        """
        with self._lock:
            for here in range(slot, min(end, len(self._entries))):
                entry = self._entries[here]
                if entry is not None and entry.active:
                    entry.count += 1
                    return here, entry.word << _BITS | here, entry.item
        return None

    def slots(self) -> int:
        """
        How many have ever been used.
        """
        return len(self._entries)

    def _emptySlot(self) -> int:
        if self._free:
            return self._free.pop()
        self._entries.append(None)
        self._uses.append(0)
        return len(self._entries) - 1

    def _nextWord(self, slot: int) -> int:
        while True:
            word = self._words.word(slot, self._uses[slot])
            self._uses[slot] += 1
            if word not in _RESERVED_WORDS:
                return word

    def _entry(self, handle: int) -> _Entry[Item]:
        slot = handle & _MASK
        if slot < len(self._entries):
            entry = self._entries[slot]
            if entry is not None and entry.word == handle >> _BITS:
                return entry
        raise BadHandle(f"{handle:#x} is no handle, or no longer")

    def _living(self, handle: int) -> _Entry[Item]:
        entry = self._entry(handle)
        if not entry.active:
            raise BadHandle(f"{handle:#x} is destroyed")
        return entry

    def _dropped(self, handle: int, entry: _Entry[Item]) -> bool:
        """
        @return: was it the last reference?
        """
        entry.count -= 1
        if entry.count:
            return False
        slot = handle & _MASK
        self._entries[slot] = None
        self._count -= 1
        if self._uses[slot] < MOST_USES:
            self._free.append(slot)
        return True

    def _destruct(self, entry: _Entry[Item]) -> None:
        if self.destructor is not None:
            self.destructor(entry.item)


@define(eq=False)
class Cursor(Generic[Item]):
    """
    A place in a database, as programs in C have it.
    """

    _database: HandleDatabase[Item]
    _slot: int = field(default=0, init=False)
    _end: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """
        Begin again, with what is there now.
        """
        self._slot, self._end = 0, self._database.slots()

    def next(self) -> tuple[int, Item] | None:
        """
        The next handle and its object, with one more reference, which the caller
        gives back with L{HandleDatabase.put}; L{None} at the end.
        """
        found = self._database.following(self._slot, self._end)
        if found is None:
            self._slot = self._end
            return None
        slot, handle, item = found
        self._slot = slot + 1
        return handle, item
