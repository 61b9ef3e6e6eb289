"""
The names of quorate groups.

What kind a group is shows in its name on the wire, so that nobody has to agree
on it: two partitions can have a group of each kind under one name, and when they
merge these are two groups as before.
"""

from typing import Final

from corotwist.engines.interfaces import LONGEST_GROUP_NAME, LONGEST_QUORATE_NAME

# No ordinary group has a name that begins so.
MARK: Final = b"\0corotwist:quorate\0"

assert len(MARK) == LONGEST_GROUP_NAME - LONGEST_QUORATE_NAME, "both say one thing"


def wireName(group: bytes) -> bytes:
    """
    What a quorate group is called on the wire.
    """
    return MARK + group


def isQuorate(name: bytes) -> bool:
    """
    Is it the name of a quorate group, on the wire?
    """
    return name.startswith(MARK)


def shown(name: bytes) -> bytes:
    """
    What its members call it.
    """
    return name.removeprefix(MARK)
