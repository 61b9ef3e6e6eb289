"""
Keys and values of the configuration map, as clients send them.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from corotwist.config.flat import FlatMap
from corotwist.config.tracking import ALL, Change
from corotwist.config.tree import ObjectTree
from corotwist.config.values import Value, ValueType, string, u8, u32
from corotwist.errors import ServiceError
from corotwist.test.fuzz import parts
from corotwist.test.fuzz.target import Run, Target, Wrong

# What a part does besides setting a key; the types are below it.
DELETE, COUNT, TOGETHER = 13, 14, 15
_OPERATIONS: Final = 16
_NAMES: Final = (
    *("totem.token", "nodelist.node.0.ring0_addr", "nodelist.node.10.nodeid"),
    *("totem.interface.0.member.1", "a.1.2.3", "a..", "...", "0.0.0", "a.01.b"),
    *("x" * 255, "a." * 127, "uidgid.uid.0"),
)
_WORDS: Final = (b".", b"0.", b".0", b"..", b"node", b"\0", b"-", b":", b"/", b"\xff")


def targets() -> Iterator[Target]:
    """
    One.
    """
    yield Target(
        "keys",
        "keys and raw values that clients set, delete and count in the map",
        _begin,
        _seeds,
        session=True,
        words=_WORDS,
        share=0.0007,
        # A key of three letters is an entry in a dictionary, an object for what
        # stands before its dot, a change that is told, and a copy of it.
        swell=200,
        growing=_growing,
    )


def _begin() -> Run:
    """
    A map, beside a dictionary, and a copy that is kept by what a tracker is told.
    """
    keymap = FlatMap(ObjectTree())
    model: dict[str, Value] = {}
    copy: dict[str, Value] = {}

    def told(changes: Sequence[Change]) -> None:
        for change in changes:
            if copy.get(change.name) != change.old:
                raise Wrong(f"{change.name} was not {change.old}")
            if change.new is None:
                del copy[change.name]
            else:
                copy[change.name] = change.new

    keymap.track("", ALL, told)

    def run(data: bytes) -> None:
        for tag, body in parts.split(data):
            name, _, raw = body.partition(b"\0")
            before = model.copy() if tag & TOGETHER == TOGETHER else None
            try:
                with keymap.transaction():
                    _act(keymap, model, tag, name.decode("latin-1"), raw)
            except ServiceError:
                if before is not None:
                    model.clear()
                    model.update(before)
        _judge(keymap, model, copy)

    return run


def _act(
    keymap: FlatMap, model: dict[str, Value], tag: int, name: str, raw: bytes
) -> None:
    match tag % _OPERATIONS:
        case 0 | 13:
            keymap.delete(name)
            del model[name]
        case 14:
            model[name] = keymap.adjust(name, int.from_bytes(raw[:4], "little"))
        case 15:
            # Two keys at once: the second one may be wrong.
            _act(keymap, model, ValueType.STRING, name, raw)
            _act(keymap, model, ValueType.UINT8, f"{name}.{len(raw)}", raw)
        case kind:
            value = Value.fromRaw(ValueType(kind), raw)
            keymap.set(name, value)
            model[name] = value


def _judge(keymap: FlatMap, model: dict[str, Value], copy: dict[str, Value]) -> None:
    if dict(keymap.items()) != model or copy != model:
        raise Wrong("the map is not what was written")
    if list(keymap.names()) != sorted(model):
        raise Wrong("the keys are not in order")
    tree, waiting, found = keymap.tree, [keymap.tree.root], 0
    while waiting:
        here = waiting.pop()
        found += len(tree.keys(here))
        waiting += tree.children(here)
        for key in tree.keys(here):
            if tree.keyGet(here, key) != model[tree.keyName(here, key)]:
                raise Wrong("the tree is not what was written")
    if found != len(model):
        raise Wrong("the tree has other keys than the map")


def _seeds() -> list[bytes]:
    values = (u8(255), u32(1), string("x"))
    setting = [
        (value.kind, name.encode() + b"\0" + value.raw())
        for name in _NAMES
        for value in values
    ]
    deleting = [(DELETE, name.encode()) for name in _NAMES]
    counting = [(COUNT, name.encode() + b"\0\1\0\0\0") for name in _NAMES]
    together = [(TOGETHER, b"a.b.c\0x"), (TOGETHER, b"a.b.d\0no")]
    return [
        parts.join(setting),
        parts.join([*setting, *deleting]),
        parts.join([*setting[:4], *counting, *together, *deleting]),
    ]


def _growing(size: int) -> list[bytes]:
    count = size // 16
    flat = [(ValueType.UINT8, b"key%05d\0\1" % n) for n in range(count)]
    deep = [(ValueType.UINT8, b"a.%d.%d.x\0\1" % (n, n)) for n in range(count)]
    return [parts.join(flat), parts.join(deep), parts.join(flat[:1] * count)]
