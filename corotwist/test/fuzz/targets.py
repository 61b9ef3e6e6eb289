"""
Everything that takes bytes or text from outside.
"""

from corotwist.test.fuzz import (
    bytetargets,
    clients,
    formats,
    keys,
    rings,
    services,
    states,
    texts,
)
from corotwist.test.fuzz.target import Target


def targets() -> dict[str, Target]:
    """
    All of them, by name; worlds and seeds are made when they are asked for.
    """
    rooms = (bytetargets, rings, services, clients, texts, formats, keys, states)
    return {target.name: target for room in rooms for target in room.targets()}
