"""
Keys that are more than a stored value, or not everybody's to write.
"""

from collections.abc import Callable, Mapping

from attrs import define, field

from corotwist.config.tracking import Change, Registry, Watcher
from corotwist.config.values import Value
from corotwist.errors import AccessDenied

Supply = Callable[[], Mapping[str, Value]]
Action = Callable[[str, Value], object]


@define(eq=False)
class Computed(Watcher):
    """
    Keys whose values are computed when they are read; C{name} is what they begin
    with.

    @ivar writing: is what was computed being stored?
    """

    supply: Supply
    writing: bool = field(default=False, init=False)

    def check(self, change: Change) -> None:
        """
        Nobody else writes these.
        """
        if not self.writing:
            raise AccessDenied(f"{change.name} is computed")


@define(eq=False)
class Switch(Watcher):
    """
    Keys that are written to have something done.
    """

    action: Action


@define(eq=False)
class Special:
    """
    Keys of a map that are not simply stored, or not by everybody.

    @ivar exact: read-only for clients.
    @ivar wide: beginnings of such names.
    @ivar parts: what is computed, by what the names begin with.
    """

    exact: set[str] = field(factory=set)
    wide: tuple[str, ...] = ()
    switches: Registry[Switch] = field(factory=Registry)
    computed: Registry[Computed] = field(factory=Registry)
    parts: dict[str, Computed] = field(factory=dict)

    def readOnly(self, name: str) -> bool:
        """
        May only the node itself write it?
        """
        return name in self.exact or name.startswith(self.wide)

    def touching(self, prefix: str) -> list[Computed]:
        """
        The parts that have keys which begin so.
        """
        return [
            part
            for name, part in self.parts.items()
            if name.startswith(prefix) or prefix.startswith(name)
        ]
