"""
Names of keys, as corosync allows them, and what they say about the object a key
belongs to.

In C{nodelist.node.0.ring0_addr} the last component is the key; the others are
objects, and a number after an object's name is its index among those of that
name.  Read from the left, a name says exactly one place, and a place has exactly
one name.
"""

import re
from collections.abc import Iterator
from typing import Final

from corotwist.errors import InvalidParameter, NameTooLong

KEY_MIN: Final = 3
KEY_MAX: Final = 255
ALPHABET: Final = "letters, digits and . _ - / :"
_KEY: Final = re.compile(rf"[A-Za-z0-9._\-/:]{{{KEY_MIN},{KEY_MAX}}}")
_COMPONENT: Final = re.compile(r"[A-Za-z0-9_\-/:]*")
# Ten digits hold every nodeid and every pid.
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_INDICES: Final = re.compile(r"\.(?:0|[1-9][0-9]{0,9})(?=\.|$)")
# After every letter that a name may have.
AFTER_ALL: Final = "\x7f"


def checkKey(name: str) -> None:
    """
    @raise NameTooLong: no key may have that name; corosync's error, whatever is
        wrong with it.
    """
    if not _KEY.fullmatch(name):
        raise NameTooLong(f"{name[:40]!r} is no key: {KEY_MIN} to {KEY_MAX} {ALPHABET}")


def checkPrefix(prefix: str) -> None:
    """
    @raise NameTooLong: an object so deep has no room for a key.
    """
    if len(prefix) >= KEY_MAX:
        raise NameTooLong(f"{prefix[:40]!r}… leaves no room for keys")


def checkComponent(name: str) -> None:
    """
    @raise InvalidParameter: it cannot be the name of an object, or the last part
        of a key's.
    """
    if not _COMPONENT.fullmatch(name):
        raise InvalidParameter(f"{name[:40]!r} is no name: {ALPHABET}, without the .")


def isIndex(component: str) -> bool:
    """
    Would it be read as an index, after a name?
    """
    return _INDEX.fullmatch(component) is not None


def split(name: str) -> tuple[str, str]:
    """
    What stands before all keys of the object, the last dot included, and the key.
    """
    dot = name.rfind(".") + 1
    return name[:dot], name[dot:]


def objects(prefix: str) -> Iterator[tuple[str, int | None, str]]:
    """
    The objects on the way to the one whose keys begin with C{prefix}: name,
    index, and the prefix of each.
    """
    components = prefix.split(".")
    here, end = "", len(components) - 1
    at = 0
    while at < end:
        name, index = components[at], None
        here += f"{name}."
        at += 1
        if at < end and isIndex(components[at]):
            index = int(components[at])
            here += f"{index}."
            at += 1
        yield name, index, here


def unindexed(name: str) -> str:
    """
    The name without its numbers, as a schema has it.
    """
    return _INDICES.sub("", name)
