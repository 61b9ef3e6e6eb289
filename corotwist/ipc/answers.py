"""
What the members of a group answered to one request.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from corotwist.budget import Budget
from corotwist.engines.interfaces import Change, Member, ViewId
from corotwist.errors import TryAgain

# Kept of the answers to all requests of a client that are not complete.
ANSWERS_BYTES: Final = 64 << 20


class Why(StrEnum):
    """
    Why there is no answer of a member.

    @cvar LEFT: it is not in the group any more; or was not, when the request
        was ordered.
    @cvar TIMED_OUT: it did not answer in time.
    @cvar FAILED: it tried, and could not.
    @cvar TOO_MUCH: there is no room here for what it answered.
    """

    LEFT = "left"
    TIMED_OUT = "timed out"
    FAILED = "failed"
    TOO_MUCH = "too much"


@frozen
class Missing:
    """
    There is no answer of a member.

    @ivar text: more, for people.
    """

    why: Why
    text: str = ""


@frozen
class Answers:
    """
    What came of a request.

    @ivar sequence: where it was in the order: see
        L{Message<corotwist.ipc.events.Message>}.
    @ivar view: of nodes, that it was ordered in.
    @ivar members: who was to answer, ascending.
    @ivar answers: of those who did.
    @ivar missing: all the others.
    """

    sequence: int
    view: ViewId
    members: tuple[Member, ...]
    answers: Mapping[Member, bytes]
    missing: Mapping[Member, Missing]

    @property
    def complete(self) -> bool:
        """
        Did everybody answer?
        """
        return not self.missing


@define(eq=False)
class Gathering:
    """
    One request and its answers so far.

    @ivar done: fires with L{Answers}.
    @ivar to: who is asked; nobody named is everybody.
    @ivar limit: ends it; set by who asked.
    @ivar ordered: did it get its place?
    """

    done: Deferred[Answers]
    to: frozenset[Member]
    _room: Budget
    limit: IDelayedCall | None = None
    ordered: bool = field(default=False, init=False)
    _sequence: int = field(default=0, init=False)
    _view: ViewId | None = field(default=None, init=False)
    _expected: set[Member] = field(factory=set, init=False)
    _answers: dict[Member, bytes] = field(factory=dict, init=False)
    _missing: dict[Member, Missing] = field(factory=dict, init=False)

    def requestOrdered(
        self, sequence: int, view: ViewId, members: Iterable[Member]
    ) -> None:
        """
        It has its place.

        @param members: of the group, there.
        """
        self.ordered = True
        self._sequence, self._view = sequence, view
        present = set(members)
        self._expected = present & self.to if self.to else present
        for absent in self.to - present:
            self._missing[absent] = Missing(Why.LEFT, "not a member")

    def answered(self, member: Member, answer: bytes) -> None:
        """
        A member answered.
        """
        if member not in self._expected:
            return
        try:
            self._room.take(len(answer))
        except TryAgain as error:
            self.lacking(member, Missing(Why.TOO_MUCH, str(error)))
            return
        self._expected.remove(member)
        self._answers[member] = answer

    def lacking(self, member: Member, missing: Missing) -> None:
        """
        A member will not answer.
        """
        if member in self._expected:
            self._expected.remove(member)
            self._missing[member] = missing

    def membersLeft(self, changes: Iterable[Change]) -> None:
        """
        Members are not in the group any more.
        """
        for change in changes:
            reason = Missing(Why.LEFT, change.reason.name)
            self.lacking(change.member, reason)

    def outOfTime(self, seconds: float) -> None:
        """
        Who did not answer by now is not waited for.
        """
        for member in sorted(self._expected):
            self.lacking(member, Missing(Why.TIMED_OUT, f"no answer for {seconds} s"))

    @property
    def complete(self) -> bool:
        """
        Is nobody waited for?
        """
        return self.ordered and not self._expected

    def finish(self) -> None:
        """
        Show what there is.
        """
        self.forget()
        assert self._view is not None, "it was ordered somewhere"
        answers, missing = self._answers, self._missing
        members = tuple(sorted({*answers, *missing}))
        self.done.callback(
            Answers(self._sequence, self._view, members, answers, missing)
        )

    def fail(self, failure: Failure) -> None:
        """
        There will be no answers.
        """
        self.forget()
        self.done.errback(failure)

    def forget(self) -> None:
        """
        Keep nothing.
        """
        self._room.give(sum(map(len, self._answers.values())))
        limit, self.limit = self.limit, None
        if limit is not None and limit.active():
            limit.cancel()
