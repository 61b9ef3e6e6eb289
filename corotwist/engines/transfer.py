"""
A state that is the same on every node, made by commands in one order; who joins
gets it from those who have it.

After each change of the ring every node says which state it has
(L{lineage<corotwist.engines.lineage>}), and all decide alike which one counts.
Who has another one gets that one, while the others go on: the lowest of those
who have it announces a snapshot; where the announcement is in the order,
everybody who is current makes one, and everybody who is not begins to collect
commands.  The snapshot follows in pieces; after the last one the collected
commands are applied.  When the ring changes in between, the next holder goes on
where the pieces stopped.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from corotwist.engines import lineage
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.lineage import Side
from corotwist.engines.replication import Replication
from corotwist.errors import BadHandle, NotQuorate, ServiceError
from corotwist.interfaces import IReplaceable
from corotwist.totem.membership import Configuration, Guarantee, RingId


@implementer(IReplaceable)
class ReplicatedEngine(SynchronizedEngine):
    """
    To derive from: a subclass has C{snapshot}, C{restore} and C{apply}, and
    gets its commands through L{propose}.

    All three must follow from the state and the arguments alone, and equal
    states must have equal snapshots, byte for byte: sort what has no order.

    @cvar guarantee: of commands.
    @cvar allowInquorate: if false, nothing is applied without quorum: at most
        one side of a partition has anything new.
    """

    guarantee: ClassVar[Guarantee] = Guarantee.AGREED

    def __init__(self) -> None:
        self._replication = Replication(self)

    # For subclasses to implement.

    def snapshot(self) -> bytes:
        """
        The whole state.
        """
        raise NotImplementedError

    def restore(self, state: bytes) -> None:
        """
        Have this state instead of ours; C{state} is what C{snapshot} made on
        another node.
        """
        raise NotImplementedError

    def apply(self, nodeid: int, command: bytes) -> Any:
        """
        Change the state.

        @param nodeid: who proposed it.
        @return: what the proposer is told.
        @raise ServiceError: the command changes nothing, and its proposer is
            told why.
        """
        raise NotImplementedError

    def choose(self, sides: Sequence[Side]) -> Side:
        """
        Whose state counts, when sides of a partition meet that both applied
        something; by default that of most nodes, and of an engine that needs
        quorum the latest.  Asked on every node, with the same sides.
        """
        choose = lineage.larger if self.allowInquorate else lineage.latest
        return choose(sides)

    def sideLost(self, state: bytes) -> Iterable[bytes]:
        """
        Two sides of a partition met, both had applied something, and the other
        one's state counts (L{choose} says whose).  Asked at the lowest node of
        the losing side.

        @param state: the snapshot of what we had.
        @return: commands that bring over what must not be lost; they are
            proposed as soon as this node has the other state.
        """
        return ()

    # For subclasses to use.

    @property
    def current(self) -> bool:
        """
        Is the state here that of the cluster, as far as it was delivered?
        """
        return self._replication.current

    def propose(self, command: bytes) -> Deferred[Any]:
        """
        Have a command applied everywhere, at one place in the order.  It waits
        while there is no room, while the cluster synchronizes and while this
        node gets the state.  Without C{allowInquorate}, have C{guarantee} be
        safe: then what was answered without an error is on every member.

        @return: fires with what C{apply} returned here, or fails with what it
            raised; with C{TooBig} or L{TryAgain} when it was not taken; with
            L{NotQuorate} when this engine needs quorum and has none; with
            L{Interrupted} when it was applied and this node cannot know the
            outcome, since it got a whole state with it, or when the engine needs
            quorum and the ring changed at that moment: it may be undone; and
            with L{BadHandle} when the engine stops.
        """
        try:
            if not (self.cluster.synchronizing() or self._replication.mayAct()):
                raise NotQuorate(f"service {self.name} needs quorum")
            applied = self._replication.proposals.add(command)
        except ServiceError:
            return fail()
        self._replication.sendWaiting()
        return applied

    def progress(self) -> dict[str, Any]:
        """
        For people: which state this node has, and what is on its way.
        """
        return self._replication.progress()

    def dump(self) -> Mapping[str, Any]:
        return {"transfer": self.progress()}

    # For the node.

    def shutdown(self) -> Any:
        self._replication.rest()
        self._replication.proposals.fail(BadHandle("the service stops"))
        return super().shutdown()

    def handOver(self) -> dict[str, Any]:
        self._replication.rest()
        return {
            "format": 1,
            "state": self.snapshot(),
            "replication": self._replication,
        }

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        replication: Replication = state["replication"]
        self.restore(state["state"])
        self._replication = replication
        replication.goOnAt(self)

    def configurationChanged(self, configuration: Configuration) -> None:
        self._replication.configurationChanged(configuration)

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        self._replication.messageDelivered(nodeid, function, body)

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._replication.forgetOffers()

    def synchronize(self) -> bool:
        self._replication.offer()
        return True

    def synchronizationCompleted(self) -> None:
        self._replication.decide()

    def synchronizationAborted(self) -> None:
        self._replication.forgetOffers()
