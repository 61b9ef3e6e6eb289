"""
The components of a node: everything replaceable, found by interface, name and
version.  [ARCH Live Component Replacement]

Several versions of one name are there side by side.  They come from several
sources, asked in this order; of the same name and version the first counts:

 - what is built in: engines, formats of configurations, transports, quorum
   devices, fence agents;
 - Twisted plug-ins of installed packages;
 - the files of configured directories (L{corotwist.directory}), which are
   looked at again whenever somebody asks, so that a version may be added while
   the node runs.

Who uses a component references it, and releases it afterwards; what is
referenced is not unloaded.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final, Protocol, Self

from attrs import define, field
from twisted.plugin import getCache
from twisted.python.reflect import namedAny
from zope.interface.interface import InterfaceClass

from corotwist.config.formats.registry import BUILT_IN as FORMATS
from corotwist.deviceinterfaces import IFenceAgentMaker, IQuorumDeviceMaker
from corotwist.directory import Directory
from corotwist.errors import BadHandle, Busy, NotExist, PluginClash
from corotwist.interfaces import (
    IConfigurationEngine,
    IEngineMaker,
    ITransportMaker,
)
from corotwist.plugin import AGENTS, DEVICES, TRANSPORTS

PLUGINS: Final = "twisted.plugins"
OURS: Final = f"{PLUGINS}.corotwist_plugin"

# What there is to find, and what people call it.
KINDS: Final[dict[InterfaceClass, str]] = {
    IEngineMaker: "engine",
    IConfigurationEngine: "configuration",
    ITransportMaker: "transport",
    IQuorumDeviceMaker: "quorum device",
    IFenceAgentMaker: "fence agent",
}


@define(eq=False)
class Component:
    """
    One version of something replaceable.

    @ivar kind: its interface, as people call it.
    @ivar origin: where it was found, for people.
    @ivar provider: what provides the interface.
    @ivar references: how often it was referenced and not released.
    """

    kind: str
    name: str
    version: int
    origin: str
    provider: Any
    references: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} version {self.version}"


class Source(Protocol):
    """
    Where components come from.

    @ivar problems: what could not be looked at the last time, in sentences.
    """

    @property
    def problems(self) -> Sequence[str]: ...

    def providers(self) -> Iterator[tuple[str, Any]]:
        """
        Everything there is now: where, for people, and what.
        """

    def forget(self, origin: str) -> None:
        """
        Nothing of it is used any more.
        """


@define
class Given:
    """
    Components that somebody made.
    """

    made: Sequence[Any]
    problems: Sequence[str] = ()

    def providers(self) -> Iterator[tuple[str, Any]]:
        return (("given", provider) for provider in self.made)

    def forget(self, origin: str) -> None:
        """
        They stay: we did not load them.
        """


@define
class BuiltIn:
    """
    What this package has.
    """

    problems: Sequence[str] = ()

    def providers(self) -> Iterator[tuple[str, Any]]:
        engines = vars(namedAny(OURS)).values()
        for thing in (*engines, *FORMATS, *TRANSPORTS, *DEVICES, *AGENTS):
            yield "built in", thing

    def forget(self, origin: str) -> None:
        """
        It stays.
        """


@define
class Plugins:
    """
    The plug-ins of installed packages.
    """

    problems: list[str] = field(factory=list, init=False)

    def providers(self) -> Iterator[tuple[str, Any]]:
        self.problems.clear()
        for dropin in getCache(namedAny(PLUGINS)).values():
            if dropin.moduleName != OURS:
                for plugin in dropin.plugins:
                    if any(kind in plugin.provided for kind in KINDS):
                        yield from self._loaded(plugin)

    def _loaded(self, plugin: Any) -> Iterator[tuple[str, Any]]:
        origin = f"plug-in {plugin.dropin.moduleName}"
        try:
            yield origin, plugin.load()
        except Exception as error:  # noqa: BLE001 - It is a stranger's code.
            self.problems.append(f"{origin}: {type(error).__name__}: {error}")

    def forget(self, origin: str) -> None:
        """
        They stay: other parts of the process may use their modules.
        """


_Key = tuple[str, str, int]


@define(eq=False)
class Components:
    """
    Everything that was found.

    @ivar sources: in the order in which they are asked.
    """

    sources: Sequence[Source]
    _found: dict[_Key, Component] = field(factory=dict, init=False)

    @classmethod
    def installed(cls, directories: Iterable[str] = ()) -> Self:
        """
        Those of this machine.

        @param directories: paths to look at besides.
        """
        return cls([BuiltIn(), Plugins(), *map(Directory, directories)])

    @classmethod
    def of(cls, made: "Iterable[Any] | Components") -> "Components":
        """
        Just these.

        @raise PluginClash: two have the same name and version.
        """
        return made if isinstance(made, Components) else cls([Given(list(made))])

    # Finding.

    def known(self, interface: InterfaceClass | None = None) -> tuple[Component, ...]:
        """
        All of an interface, or all, by kind, name and version.

        @raise PluginClash: one source has two of the same name and version.
        """
        self._look()
        kinds = KINDS.values() if interface is None else (KINDS[interface],)
        found = [c for c in self._found.values() if c.kind in kinds]
        return tuple(sorted(found, key=lambda c: (c.kind, c.name, c.version)))

    def find(
        self, interface: InterfaceClass, name: str, version: int | None = None
    ) -> Component:
        """
        One of them: that version, or the newest.

        @raise NotExist: there is none; the text says which there are.
        """
        known = self.known(interface)
        named = [c for c in known if c.name == name]
        if not named:
            raise NotExist(self._noSuchName(KINDS[interface], name, known))
        if version is None:
            return named[-1]
        for component in named:
            if component.version == version:
                return component
        there = ", ".join(str(c.version) for c in named)
        raise NotExist(
            f"no version {version} of {KINDS[interface]} {name!r}; there is: {there}"
            + self._problemText()
        )

    def _noSuchName(self, kind: str, name: str, known: Sequence[Component]) -> str:
        names = sorted({c.name for c in known})
        close = get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {names}"
        return f"no {kind} {name!r}: {hint}{self._problemText()}"

    def _problemText(self) -> str:
        return "".join(f"; {problem}" for problem in self.problems())

    def problems(self) -> tuple[str, ...]:
        """
        What could not be looked at, in sentences.
        """
        return tuple(p for source in self.sources for p in source.problems)

    def _look(self) -> None:
        """
        Ask every source again; what is referenced is kept though it is gone.
        """
        found: dict[_Key, Component] = {}
        for source in self.sources:
            for key, component in self._of(source).items():
                before = self._found.get(key)
                if before is not None and before.provider is component.provider:
                    component = before  # noqa: PLW2901 - With its references.
                found.setdefault(key, component)
        used = {key: c for key, c in self._found.items() if c.references}
        self._found = {**found, **used}

    def _of(self, source: Source) -> dict[_Key, Component]:
        found: dict[_Key, Component] = {}
        for origin, provider in source.providers():
            for interface, kind in KINDS.items():
                if interface.providedBy(provider):
                    key = kind, provider.name, provider.version
                    component = Component(*key, origin, provider)
                    other = found.setdefault(key, component)
                    if other.provider is not provider:
                        raise PluginClash(
                            f"two plug-ins offer version {provider.version} of "
                            f"{kind} {provider.name!r}: "
                            f"{other.provider!r} and {provider!r}"
                        )
        return found

    # Using.

    def reference(
        self, interface: InterfaceClass, name: str, version: int | None = None
    ) -> Component:
        """
        Find one, and keep it until it is released as often.

        @raise NotExist: see L{find}.
        """
        component = self.find(interface, name, version)
        component.references += 1
        return component

    def release(self, component: Component) -> None:
        """
        One who referenced it does not use it any more.

        @raise BadHandle: nobody does.
        """
        if not component.references:
            raise BadHandle(f"{component} is not referenced")
        component.references -= 1

    def unload(self, component: Component) -> None:
        """
        Forget it, with its code if that is ours to forget; it may be found and
        loaded anew.

        @raise Busy: somebody uses it.
        """
        if component.references:
            raise Busy(f"{component} is referenced {component.references} times")
        key = component.kind, component.name, component.version
        if self._found.get(key) is component:
            del self._found[key]
        others = {c.origin for c in self._found.values()}
        if component.origin not in others:
            for source in self.sources:
                source.forget(component.origin)
