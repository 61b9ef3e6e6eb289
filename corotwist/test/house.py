"""
The rules of the house, as functions over the source: who may import whom, what the
pure rooms leave alone, and that no module keeps state.

A rule that is broken is reported as a sentence: C{totem.gather imports
totem.recovery}.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

import corotwist

PACKAGE: Final = Path(corotwist.__file__).parent
VALUES: Final = (
    *("errors", "interfaces", "config.settings", "totem.membership"),
    *("logs.tracing", "ending", "quorumdevice.values", "deviceinterfaces"),
)
# The keys of a node: what they are, and what is told of them.
KEYS: Final = ("config.values", "config.tracking", "config.names")
SHELL: Final = ("transport", "sockets", "udp", "udpu", "service", "storage")
STATES: Final = ("operational", "gather", "commit", "recovery")

# Rooms and what of ours each may import.  The longest name that fits counts; a
# room may always import itself.
ROOMS: Final[Mapping[str, tuple[str, ...]]] = {
    "": (),
    "errors": (),
    "ending": (),
    "budget": ("errors",),
    "interfaces": ("totem.membership",),
    "deviceinterfaces": ("totem.membership",),
    "handles": ("errors",),
    "logs": ("errors", "config.settings", ""),  # Where our sources are.
    "logs.keeper": ("logs", "errors", "interfaces", "config.settings"),
    "logs.keys": ("logs", "config"),
    "plugin": ("interfaces", "deviceinterfaces"),
    "options": ("",),
    "lastrun": ("ending",),
    "directory": ("errors",),
    "components": (
        *("interfaces", "deviceinterfaces", "errors", "plugin", "directory"),
        "config.formats",
    ),
    "config": ("errors", "interfaces", "plugin", "handles", "logs.levels", "logs.tags"),
    "config.settings": (),
    "totem": ("errors", "config.settings"),
    **{f"totem.{name}": ("totem", *VALUES) for name in SHELL},
    "engines": (*VALUES, *KEYS, "budget"),
    "engines.manager": (
        *(*VALUES, "budget", "components", "config.database", "engines", "plugin"),
    ),
    "engines.roster": (*VALUES, "engines", "components"),
    "engines.changes": (*VALUES, "engines", "components"),
    "engines.successor": (*VALUES, "engines", "components"),
    "engines.connections": (*VALUES, "handles"),
    "engines.confdb": (*VALUES, *KEYS, "config.tree", "engines"),
    "ipc": (
        *(*VALUES, *KEYS, "budget", "engines.interfaces", "engines.batch"),
        *("engines.entries", "engines.keyspace", "engines.operations"),
        *("engines.quoruminterfaces", "engines.operatorinterfaces"),
    ),
    "node": (
        *(*VALUES, "plugin", "components", "logs", "totem", "engines", "ipc"),
        *("config.database", "reloading", "lastrun"),
    ),
    "quorumdevice": (*VALUES, "ipc.wire", "ipc.jsonparts"),
    "quorumdevice.values": ("totem.membership",),
    "fenceagents": VALUES,
    "reloading": (*VALUES, "config"),
    "offline": (*VALUES, "budget", "config", "engines", "ipc"),
    "recording": (*VALUES, "totem"),
    # It reads configurations as a daemon does, and its clients are those that
    # applications have; the sockets of both are simulated.
    "simulator": (*VALUES, "plugin", "config", "totem", "engines", "ipc", "node"),
    "cstyle": (*VALUES, "config", "engines.interfaces", "engines", "ipc"),
    "tools": (
        *(*VALUES, "", "plugin", "config", "totem", "engines", "ipc", "node"),
        *("simulator", "logs", "handles", "offline", "options", "lastrun"),
        "quorumdevice",
    ),
    "tap": (
        *(*VALUES, "", "plugin", "logs", "config", "node", "recording"),
        *("options", "lastrun", "tools.keygen", "totem.frame"),  # To read a key file.
    ),
    "__main__": ("tools.main",),
}

# Rooms whose behaviour follows from what they are told.
PURE: Final = ("totem", "engines", "config", "quorumdevice")
# In the decorators or bases of an engine's class.
_ENGINES: Final = tuple(
    f"id='{name}'"
    for name in (
        *("IServiceEngine", "Engine", "SynchronizedEngine", "ReplicatedEngine"),
        "QuorumProvider",
    )
)
# Modules with engines to derive from.
_BASES: Final = ("engines.base", "engines.provider", "engines.transfer")
IMPURE: Final = {
    *("twisted.internet", "time", "datetime", "random", "os", "socket"),
    *("threading", "select", "subprocess", "asyncio"),
}
# Values and types only: no reactor behind them, and no chance of their own.
HARMLESS: Final = {
    *("twisted.internet.defer", "twisted.internet.interfaces", "random.Random"),
    "twisted.internet.error",
}
# These read files: it is what they are for.
READERS: Final = ("config.host", "config.loader")
# These are connected, or wait for a disk.
CONNECTED: Final = tuple(
    f"quorumdevice.{name}" for name in ("arbiter", "disk", "net", "sectors", "tls")
)

CONTAINERS: Final = {
    *("list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter"),
    *("OrderedDict", "count", "WeakKeyDictionary", "WeakValueDictionary", "WeakSet"),
}
CHANGES: Final = {
    *("append", "extend", "insert", "add", "update", "setdefault", "pop"),
    *("popitem", "remove", "discard", "clear", "appendleft", "popleft"),
}


@frozen
class Module:
    """
    One source file.

    @ivar name: as seen from the package: C{totem.gather}; the root is C{""}.
    @ivar imports: everything it imports, as dotted names; C{from a import b}
        is C{a.b}.
    """

    name: str
    tree: ast.Module
    imports: tuple[str, ...]


def parse(name: str, source: str) -> Module:
    """
    Source to what the rules look at.
    """
    tree = ast.parse(source)
    return Module(name, tree, tuple(_imports(tree)))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def sources(package: Path) -> dict[str, Module]:
    """
    Every module of the package but its tests, by name.
    """
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] != "test":
            name = ".".join(parts).removesuffix("__init__").rstrip(".")
            found[name] = parse(name, path.read_text())
    return found


def _within(name: str, rooms: Iterable[str]) -> str | None:
    """
    The longest of C{rooms} that C{name} is, or is in.
    """
    parents = [name]
    while "." in name.strip("."):
        name = name.rpartition(".")[0]
        parents.append(name)
    return next((parent for parent in parents if parent in {*rooms}), None)


def _ours(module: Module, names: Iterable[str]) -> Iterator[str]:
    """
    The modules of ours that a module imports, as seen from the package.
    """
    for dotted in module.imports:
        if dotted.startswith("."):
            yield dotted
        elif dotted.split(".")[0] == "corotwist":
            yield _within(dotted.removeprefix("corotwist").lstrip("."), names) or ""


def room(name: str) -> str:
    """
    The first part of a module's name.
    """
    return name.partition(".")[0]


def arrows(modules: Mapping[str, Module]) -> Iterator[str]:
    """
    Imports that go against the arrows between rooms.
    """
    for module in modules.values():
        own = _within(module.name, ROOMS)
        if own is None:
            yield f"{module.name} is in no room"
            continue
        for target in _ours(module, {*modules, "test"}):
            if not _mayImport(own, target):
                yield f"{module.name or 'corotwist'} imports {target or 'corotwist'}"


def _mayImport(room: str, target: str) -> bool:
    if room == "totem" and _within(target, _shell()):
        return False
    return _within(target, [room, *ROOMS[room]]) is not None


def _shell() -> list[str]:
    return [f"totem.{name}" for name in SHELL]


def purity(modules: Mapping[str, Module]) -> Iterator[str]:
    """
    Clocks, chance, sockets and reactors in rooms that have none.
    """
    for module in modules.values():
        outside = _within(module.name, [*_shell(), *READERS, *CONNECTED]) is not None
        if outside or room(module.name) not in PURE:
            continue
        for dotted in module.imports:
            if _within(dotted, IMPURE) and not _within(dotted, HARMLESS):
                yield f"{module.name} imports {dotted}"


def siblings(modules: Mapping[str, Module]) -> Iterator[str]:
    """
    States that know each other, and engines that anything in their room knows.
    """
    states = {f"totem.{name}" for name in STATES}
    engines = {name for name, module in modules.items() if _isEngine(module)}
    for module in modules.values():
        for target in _ours(module, modules):
            state = module.name in states and target in states
            engine = room(module.name) == "engines" and target in engines
            if module.name != target and (state or engine):
                yield f"{module.name} imports {target}"


def _isEngine(module: Module) -> bool:
    """
    Is an C{IServiceEngine} implemented here, or derived from those of the
    modules that are there to derive from?
    """
    return module.name not in _BASES and any(
        isinstance(node, ast.ClassDef)
        and any(mark in ast.dump(d) for d in _origins(node) for mark in _ENGINES)
        for node in module.tree.body
    )


def _origins(node: ast.ClassDef) -> list[ast.expr]:
    """
    What a class is, by decorators and bases.
    """
    return [*node.decorator_list, *node.bases]


def reactors(modules: Mapping[str, Module]) -> Iterator[str]:
    """
    Reactors that were not handed over: C{tap} alone imports the global one.
    """
    for module in modules.values():
        if module.name != "tap" and "twisted.internet.reactor" in module.imports:
            yield f"{module.name} imports twisted.internet.reactor"


def kept(modules: Mapping[str, Module]) -> Iterator[str]:
    """
    State of a module: two nodes in one process would share it.

    A container at module level is a constant (C{Final}, or written in capitals)
    and no function changes it; nothing is declared C{global}.
    """
    for module in modules.values():
        containers = set()
        for name, value, final in _assignments(module.tree):
            if _isContainer(value):
                containers.add(name)
                if not (final or name.isupper() or name.startswith("__")):
                    yield f"{module.name} keeps {name}"
        for name in _changed(module.tree):
            if name in containers:
                yield f"{module.name} changes {name}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Global):
                yield f"{module.name} declares {', '.join(node.names)} global"


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None, bool]]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value, False
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.value, "Final" in ast.dump(node.annotation)


def _isContainer(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        called = value.func
        name = called.attr if isinstance(called, ast.Attribute) else None
        return (name or getattr(called, "id", "")) in CONTAINERS
    literals = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    return isinstance(value, literals)


def _changed(tree: ast.Module) -> Iterator[str]:
    """
    Names whose items are assigned or deleted, or that are called to change.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            changing = not isinstance(node.ctx, ast.Load)
        elif isinstance(node, ast.Attribute):
            changing = node.attr in CHANGES
        else:
            continue
        if changing and isinstance(node.value, ast.Name):
            yield node.value.id


def openings(modules: Mapping[str, Module], packages: Iterable[str]) -> Iterator[str]:
    """
    C{__init__} modules with more than their docstring.  The root one has the
    version; the simulator is public, and may name its parts.
    """
    for name in packages:
        body = modules[name].tree.body
        if name == "simulator":
            body = [node for node in body if not isinstance(node, ast.ImportFrom)]
        extra = [ast.unparse(node).partition(" = ")[0] for node in body[1:]]
        allowed = {"": ["__version__"], "simulator": ["__all__"]}.get(name, [])
        for statement in extra:
            if statement not in allowed:
                yield f"{name or 'corotwist'}.__init__ has {statement}"
        if ast.get_docstring(modules[name].tree) is None:
            yield f"{name or 'corotwist'}.__init__ has no docstring"
