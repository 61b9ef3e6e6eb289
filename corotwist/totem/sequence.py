"""
Numbers of 32 bits that wrap: message and token sequences.
"""

from typing import Final

MODULUS: Final = 1 << 32
HALF: Final = 1 << 31
MASK: Final = MODULUS - 1


def distance(start: int, end: int) -> int:
    """
    How far C{end} is ahead of C{start}; negative when it is behind.
    """
    return ((end - start + HALF) & MASK) - HALF


def after(a: int, b: int) -> bool:
    """
    Is C{a} later than C{b}?
    """
    return 0 < ((a - b) & MASK) < HALF


def advance(sequence: int, by: int = 1) -> int:
    """
    The number C{by} places on.
    """
    return (sequence + by) & MASK


def earlier(a: int, b: int) -> int:
    """
    Whichever of the two comes first.
    """
    return b if after(a, b) else a
