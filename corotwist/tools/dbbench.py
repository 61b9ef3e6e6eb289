"""
What the configuration database and handles cost: C{corotwist bench --database}.
"""

from collections.abc import Callable, Iterator
from random import Random
from time import process_time
from typing import Final

from corotwist.config.database import Database
from corotwist.config.flat import FlatMap
from corotwist.config.tracking import ALL
from corotwist.config.values import Value, u32
from corotwist.handles import HandleDatabase
from corotwist.tools.corebench import Cost

KEYS: Final = 100_000
TRACKERS: Final = 10_000
ROUNDS: Final = 3
_LOOKUP_ROUNDS: Final = 15
HANDLES: Final = (10, 1_000, 100_000, 1_000_000)
LOOKUPS: Final = 20_000
# So many of them are asked for again and again: what is measured is the way to
# an object, not to memory that no cache holds.
_ASKED: Final = 500
# Keys of an object.
_WIDTH: Final = 10


def measure(keys: int = KEYS) -> Iterator[Cost]:
    """
    The table, line by line; each the best of several rounds.
    """
    for what, case in _CASES.items():
        yield Cost(f"{what}, {keys} keys", min(case(keys) for _ in range(ROUNDS)))
    for count in HANDLES:
        yield Cost(f"look a handle up, among {count}", lookup(count))


def lookup(count: int) -> float:
    """
    What it takes to find an object by its handle, among so many.

    @return: microseconds.
    """
    database: HandleDatabase[int] = HandleDatabase(random=_random())
    handles = [database.create(number) for number in range(count)]
    some = _random().sample(handles, min(count, _ASKED))
    asked = some * (LOOKUPS // len(some))
    look = database.look

    def act() -> None:
        for handle in asked:
            look(handle)

    act()
    return min(_timed(act, len(asked)) for _ in range(_LOOKUP_ROUNDS))


def _random() -> Random:
    return Random(1)  # noqa: S311 - Always the same.


def _timed(act: Callable[[], object], times: int) -> float:
    """
    @return: microseconds of processor time for each.
    """
    started = process_time()
    act()
    return (process_time() - started) / times * 1e6


def _items(keys: int, first: int = 0) -> list[tuple[str, Value]]:
    return [
        (f"bench.object.{n // _WIDTH}.key{n % _WIDTH}", u32(first + n))
        for n in range(keys)
    ]


def _filled(keys: int) -> FlatMap:
    """
    A map with so many keys, in shuffled order, that was read once.
    """
    database = Database(_random())
    items = _items(keys)
    _random().shuffle(items)
    with database.map.transaction():
        for name, value in items:
            database.map.set(name, value)
    database.map.names()
    return database.map


def _set(keymap: FlatMap, items: list[tuple[str, Value]]) -> None:
    for name, value in items:
        keymap.set(name, value)


def _together(keymap: FlatMap, items: list[tuple[str, Value]]) -> None:
    with keymap.transaction():
        _set(keymap, items)


def _adding(keys: int) -> float:
    keymap, items = Database(_random()).map, _items(keys)
    return _timed(lambda: _set(keymap, items), keys)


def _addingTogether(keys: int) -> float:
    keymap, items = Database(_random()).map, _items(keys)
    return _timed(lambda: _together(keymap, items), keys)


def _changing(keys: int) -> float:
    keymap, items = _filled(keys), _items(keys, 1)
    return _timed(lambda: _set(keymap, items), keys)


def _unchanged(keys: int) -> float:
    keymap, items = _filled(keys), _items(keys)
    return _timed(lambda: _set(keymap, items), keys)


def _getting(keys: int) -> float:
    keymap, names = _filled(keys), [name for name, _ in _items(keys)]
    return _timed(lambda: [keymap.get(name) for name in names], keys)


def _counting(keys: int) -> float:
    keymap, names = _filled(keys), [name for name, _ in _items(keys)]
    return _timed(lambda: [keymap.increment(name) for name in names], keys)


def _deleting(keys: int) -> float:
    keymap, names = _filled(keys), [name for name, _ in _items(keys)]

    def act() -> None:
        for name in names:
            keymap.delete(name)

    return _timed(act, keys)


def _iterating(keys: int) -> float:
    keymap = _filled(keys)
    return _timed(keymap.items, keys)


def _iteratingPart(keys: int) -> float:
    """
    For each part of ten keys; after each change of a name.
    """
    keymap, parts = _filled(keys), 1000

    def act() -> None:
        for number in range(parts):
            keymap.set(f"bench.object.{number}.new", u32(1))
            keymap.items(f"bench.object.{number}.")

    return _timed(act, parts)


def _telling(keys: int) -> float:
    """
    Each change told to somebody who tracks everything.
    """
    keymap, items = _filled(keys), _items(keys, 1)
    told = [0]

    def count(changes: object) -> None:
        told[0] += 1

    keymap.track("", ALL, count)
    spent = _timed(lambda: _set(keymap, items), keys)
    assert told[0] == keys, "everybody is told"
    return spent


def _tellingOne(keys: int) -> float:
    """
    Among many who track other keys.
    """
    keymap, items = _filled(keys), _items(keys, 1)
    told = [0]

    def count(changes: object) -> None:
        told[0] += 1

    for number in range(TRACKERS // 2):
        keymap.track(f"bench.object.{number}.key1", ALL, count)
        keymap.track(f"bench.object.{number}.key2", ALL, count, prefix=True)
    spent = _timed(lambda: _set(keymap, items), keys)
    assert told[0] == min(TRACKERS, 2 * -(-keys // _WIDTH)), "and nobody else"
    return spent


_CASES: Final[dict[str, Callable[[int], float]]] = {
    "set a new key": _adding,
    "set a new key, all in one transaction": _addingTogether,
    "change a key": _changing,
    "set a key to what it is": _unchanged,
    "get a key": _getting,
    "count a key up": _counting,
    "delete a key": _deleting,
    "iterate, for each key": _iterating,
    "add a key and iterate 11 of an object": _iteratingPart,
    "change a key that one tracks, with all others": _telling,
    f"change a key, {TRACKERS} trackers of one key each": _tellingOne,
}
