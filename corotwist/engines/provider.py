"""
What providers of quorum have in common: a verdict, and who is told of it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from attrs import asdict, field, frozen
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.quoruminterfaces import IQuorumProvider
from corotwist.interfaces import IReplaceable


@frozen
class Judgement:
    """
    May we act?

    @ivar rule: what decided, for people.
    @ivar inputs: what it was decided from, for people.
    """

    quorate: bool
    rule: str
    inputs: Mapping[str, int | bool | str] = field(factory=dict)


NOBODY: Final = Judgement(False, "not on a ring yet")


@implementer(IQuorumProvider, IReplaceable)
class QuorumProvider(SynchronizedEngine):
    """
    A provider to derive from: a subclass calls L{judged} when it is through
    with a round, and when a message changed what it knows.
    """

    priority = 2

    def __init__(self) -> None:
        self._log = Logger()
        self._judgement = NOBODY
        self._followers: list[Callable[[], object]] = []

    def shutdown(self) -> bool:
        """
        Whoever asks when nobody judges any more may not act.
        """
        self._judgement = NOBODY
        return True

    def dump(self) -> Mapping[str, Any]:
        return self.explanation()

    # For everybody on this node.

    def counting(self) -> bool:
        return self._judgement is not NOBODY

    def quorate(self) -> bool:
        return self._judgement.quorate

    def explanation(self) -> dict[str, int | bool | str]:
        judgement = self._judgement
        return {
            "quorate": judgement.quorate,
            "rule": judgement.rule,
            **judgement.inputs,
        }

    def follow(self, changed: Callable[[], object]) -> Callable[[], None]:
        self._followers.append(changed)
        changed()
        return partial(self._unfollow, changed)

    def _unfollow(self, changed: Callable[[], object]) -> None:
        if changed in self._followers:
            self._followers.remove(changed)

    # For the subclass.

    def judged(self, judgement: Judgement) -> None:
        """
        This holds from here on.
        """
        before, self._judgement = self._judgement, judgement
        if before == judgement:
            return
        self._log.info(
            "This partition is {word}: {rule}",
            word="quorate" if judgement.quorate else "NOT quorate",
            rule=judgement.rule,
        )
        for changed in list(self._followers):
            changed()
        self.cluster.quorumChanged()

    # Another version.

    def handOver(self) -> dict[str, Any]:
        """
        What was decided::

            format     1
            judgement  by the names of its fields
            followers  who is told of a verdict: the list they take themselves
                       off
        """
        return {
            "format": 1,
            "judgement": asdict(self._judgement) if self.counting() else None,
            "followers": self._followers,
        }

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        judgement = state["judgement"]
        self._judgement = NOBODY if judgement is None else Judgement(**judgement)
        self._followers = state["followers"]
