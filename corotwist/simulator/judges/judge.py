"""
What the judges of a run have in common: processes, and verdicts about them.
"""

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen


@define(eq=False)
class Life:
    """
    One process, from its boot to its end: what all promises are about.  A
    node that restarts has another one.

    @ivar number: which process of this node; the first is 1.
    @ivar fresh: it started without a stored ring sequence.
    @ivar alive: it was neither killed nor stopped.
    """

    nodeid: int
    number: int = 1
    fresh: bool = True
    alive: bool = True

    def __str__(self) -> str:
        return f"{self.nodeid}" if self.number == 1 else f"{self.nodeid}#{self.number}"


@frozen
class Violation:
    """
    A promise that was not kept.

    @ivar promise: its name in docs/testing.md.
    @ivar text: what happened, in words.
    @ivar lives: the processes involved.
    @ivar details: messages, rings and numbers, for people.
    """

    promise: str
    text: str
    lives: tuple[Life, ...]
    details: dict[str, Any] = field(factory=dict)

    def __str__(self) -> str:
        nodes = ", ".join(map(str, self.lives))
        details = ", ".join(f"{k} {v}" for k, v in self.details.items())
        return f"{self.promise}: {self.text} (nodes {nodes}; {details})"


Report = Callable[[Violation], None]


@define(eq=False)
class Judge:
    """
    Watches a run and reports what must not be.
    """

    report: Report

    def blame(self, promise: str, text: str, *lives: Life, **details: Any) -> None:
        """
        Report a violation.
        """
        self.report(Violation(promise, text, lives, details))


@define
class Summary:
    """
    A sequence in two words: what two processes compare of what they delivered.
    """

    count: int = 0
    mixed: int = 0

    def add(self, *parts: int) -> None:
        """
        One more.
        """
        self.count += 1
        self.mixed = hash((self.mixed, *parts))

    def frozen(self) -> tuple[int, int]:
        """
        The words.
        """
        return self.count, self.mixed
