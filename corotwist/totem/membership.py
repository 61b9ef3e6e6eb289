"""
Rings, their names and their members: values.
"""

from enum import IntEnum

from attrs import frozen


class Guarantee(IntEnum):
    """
    What a sender asks of delivery; corosync's C{cpg_guarantee_t} numbers.
    """

    UNORDERED = 0
    FIFO = 1
    AGREED = 2
    SAFE = 3


@frozen(order=True)
class RingId:
    """
    The name of one ring: never used twice.

    @ivar sequence: 64 bits, unsigned, and only ever rising.
    @ivar representative: the lowest nodeid of the ring.
    """

    sequence: int
    representative: int

    def __str__(self) -> str:
        return f"{self.representative}.{self.sequence:x}"


NO_RING = RingId(0, 0)


@frozen
class Configuration:
    """
    Who is here, from this point of the order on.

    A regular configuration is a ring.  A transitional one is the part of the
    old ring that goes to the new one together with us; it comes directly
    before the regular one and lets what is left of the old ring be delivered
    to exactly those who get it.  [EVS], [SRP 6]

    @ivar ringId: the new ring's id, in both.
    @ivar members: ascending.
    @ivar left: nodes of the old ring that did not come along; only ever
        filled in the transitional configuration.
    @ivar joined: nodes that were not with us in the old ring, a node that
        restarted in between included; only filled in the regular one.
    @ivar cause: why the old ring ended, a sentence for operators.
    """

    ringId: RingId
    members: tuple[int, ...]
    transitional: bool
    left: tuple[int, ...] = ()
    joined: tuple[int, ...] = ()
    cause: str = ""
