"""
How the members of a ring agree on another basis: each writes it down, says so,
and when all have, it is formed.  What a basis is, L{corotwist.engines.basis}
says.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from corotwist.engines.basis import NOTHING, Basis, Memory
from corotwist.errors import StorageRefused, WireError

# The file it is kept in, in the node's state directory, with the nodeid behind.
NOTE: Final = "votes_"

Store = Callable[[str, bytes], Deferred[None]]


@define
class Attempt:
    """
    A basis that is on its way.

    @ivar members: who has to write it down.
    @ivar accepted: who has.
    @ivar formed: called when all have.
    """

    basis: Basis
    members: tuple[int, ...]
    formed: Callable[[Basis], None]
    accepted: set[int] = field(factory=set)


@define(eq=False)
class Agreement:
    """
    One node's part in it.

    @ivar store: writes a note that survives everything; L{None} where nothing
        does.
    @ivar accept: tells the others that a basis is written down.
    @ivar note: the name of the file.
    @ivar memory: what we know; on a ring of ours, all members know the same
        when a round has ended.
    @ivar mixed: members that take no part: they are real corosync nodes.
    """

    accept: Callable[[Basis], None]
    store: Store | None = None
    note: str = NOTE
    memory: Memory = NOTHING
    mixed: tuple[int, ...] = ()
    attempt: Attempt | None = None
    _heard: dict[int, Memory] = field(factory=dict)
    _log: Logger = field(factory=Logger, init=False)

    def restore(self, note: bytes | None) -> None:
        """
        At start: what was written down before.
        """
        if not note:
            return
        try:
            self.memory = Memory.decode(note)
        except WireError as error:
            self._log.critical(
                "What this node knew of votes is damaged and lost ({error}): do not"
                " start another node that lost it, too, before this one has joined",
                error=error,
            )

    # A round.

    def begun(self) -> None:
        """
        Another ring: what was under way remains an attempt.
        """
        self.attempt = None
        self._heard = {}

    def heard(self, nodeid: int, memory: Memory) -> None:
        """
        What a member remembers.
        """
        self._heard[nodeid] = memory

    def ended(self, members: tuple[int, ...]) -> None:
        """
        All have said it.
        """
        self.mixed = tuple(n for n in members if n not in self._heard)
        if self._heard:
            self.memory = Memory.merged(self._heard.values())

    def known(self) -> Memory:
        """
        In the middle of a round: what we know, and what others said so far.
        """
        return Memory.merged([self.memory, *self._heard.values()])

    # Another basis.

    def propose(
        self, basis: Basis, members: tuple[int, ...], formed: Callable[[Basis], None]
    ) -> bool:
        """
        At this place of the order all members begin to write it down.

        @return: can it be tried?
        """
        if self.memory.full:
            self._log.error(
                "{count} changes of the votes that count are open: no more until"
                " the nodes are back that took part in them",
                count=len(self.memory.attempts),
            )
            return False
        self.attempt = attempt = Attempt(basis, members, formed)
        self.memory = self.memory.attempted(basis)
        if self.store is None:
            self._stored(None, attempt)
        else:
            stored = self.store(self.note, self.memory.encode())
            stored.addCallbacks(self._stored, self._failed, (attempt,))
            stored.addErrback(self._trouble)
        return True

    def _stored(self, _: None, attempt: Attempt) -> None:
        if self.attempt is attempt:
            self.accept(attempt.basis)

    def _failed(self, failure: Failure) -> None:
        """
        Nobody will form it, and the old one goes on.
        """
        failure.trap(StorageRefused)
        self._log.error(
            "This node cannot write down whose votes count, so that stays as it is:"
            " {reason}",
            reason=failure.getErrorMessage(),
        )

    def _trouble(self, failure: Failure) -> None:
        self._log.failure("Votes were not written down", failure)

    def accepted(self, nodeid: int, epoch: int, digest: bytes) -> None:
        """
        A member wrote it down.
        """
        attempt = self.attempt
        if attempt is None or attempt.basis.epoch != epoch:
            return
        if attempt.basis.digest != digest:
            self._log.warn(
                "Node {nodeid} is configured to count votes differently: what counts"
                " stays as it is",
                nodeid=nodeid,
            )
            return
        attempt.accepted.add(nodeid)
        if attempt.accepted.issuperset(attempt.members):
            self.attempt = None
            self._agree(attempt.basis)
            attempt.formed(attempt.basis)

    def force(self, basis: Basis) -> None:
        """
        An operator says so, and knows that nobody else acts.
        """
        self.attempt = None
        self._agree(basis)

    def _agree(self, basis: Basis) -> None:
        """
        It would hold without being written down, too: that it was attempted
        is.
        """
        self.memory = self.memory.agreed(basis)
        if self.store is not None:
            stored = self.store(self.note, self.memory.encode())
            stored.addErrback(self._failed).addErrback(self._trouble)

    # For people, and for another version.

    def dump(self) -> dict[str, Any]:
        """
        As JSON values.
        """
        formed = self.memory.formed
        return {
            "formed": None if formed is None else shown(formed),
            "attempts": [shown(basis) for basis in self.memory.attempts],
            "mixed": list(self.mixed),
        }

    def handOver(self) -> dict[str, Any]:
        """
        What is known, as bytes, and whom it does not bind.
        """
        return {"memory": self.memory.encode(), "mixed": list(self.mixed)}

    def takeOver(self, state: Mapping[str, Any]) -> None:
        """
        Go on.
        """
        self.memory = Memory.decode(state["memory"])
        self.mixed = tuple(state["mixed"])


def shown(basis: Basis) -> dict[str, Any]:
    """
    A basis, as JSON values.
    """
    return {
        "epoch": basis.epoch,
        "expected": basis.expected,
        "voters": {str(nodeid): votes for nodeid, votes in basis.voters},
        "tie": basis.tie,
    }
