"""
In which order engines start; they stop the other way.
"""

from collections.abc import Iterable, Sequence

from corotwist.engines.place import Place
from corotwist.errors import PluginClash


def startOrder(places: Iterable[Place]) -> list[Place]:
    """
    By ascending priority, then service id; but whoever requires others starts
    after them.

    @raise PluginClash: some require each other, or what is not there.
    """
    inTurn = sorted(places, key=lambda p: (p.engine.priority, p.serviceId))
    byName = {place.name: place for place in inTurn}
    ordered: dict[str, Place] = {}

    def visit(place: Place, path: tuple[str, ...]) -> None:
        if place.name in path:
            circle = " requires ".join((*path, place.name))
            raise PluginClash(f"no engine can start first: {circle}")
        for name in place.requires:
            if name not in byName:
                raise PluginClash(
                    f"engine {place.name!r} requires {name!r}, which is not loaded"
                )
            visit(byName[name], (*path, place.name))
        ordered.setdefault(place.name, place)

    for place in inTurn:
        visit(place, ())
    return list(ordered.values())


def dependents(name: str, places: Iterable[Place]) -> Sequence[str]:
    """
    The names of those that require one.
    """
    return [place.name for place in places if name in place.requires]
