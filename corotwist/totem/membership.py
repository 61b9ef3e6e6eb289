"""
Rings, their names and their members, and how far away those are: values.
"""

from enum import IntEnum

from attrs import field, frozen


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
class Evidence:
    """
    What is known of the end of a ring, as one of its members saw it.

    @ivar noticedBy: who was the first to say that something is wrong: we
        ourselves (we lost the token, say), or whose message made us gather; 0
        when there was no ring.
    @ivar accused: whom that message calls failed.
    @ivar missing: who did not come along, and why, as far as we know.
    """

    noticedBy: int = 0
    accused: tuple[int, ...] = ()
    missing: tuple[tuple[int, str], ...] = ()


NO_EVIDENCE = Evidence()


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
    @ivar evidence: who said so; each member may have seen it differently.
    """

    ringId: RingId
    members: tuple[int, ...]
    transitional: bool
    left: tuple[int, ...] = ()
    joined: tuple[int, ...] = ()
    cause: str = ""
    evidence: Evidence = field(default=NO_EVIDENCE, eq=False)


@frozen
class LinkStatus:
    """
    The path between us and another node, of which there can be several.

    @ivar number: which of them.
    @ivar enabled: is it in use at all?
    @ivar connected: the node is a member of our ring, or something came from
        it lately.
    @ivar mtu: bytes of an IP packet that it carries whole.
    @ivar source: our own address.
    @ivar destination: the address of the other node.
    @ivar lastHeard: how many seconds ago something came from there; L{None}
        for never.
    """

    number: int
    enabled: bool
    connected: bool
    mtu: int
    source: str
    destination: str
    lastHeard: float | None


@frozen
class NodeStatus:
    """
    What is known of a node below the ring.

    @ivar reachable: is one of its links connected?
    @ivar lastHeard: as for links: the latest.
    """

    nodeid: int
    reachable: bool
    links: tuple[LinkStatus, ...]
    lastHeard: float | None
