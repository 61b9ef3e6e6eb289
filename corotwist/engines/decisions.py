"""
The last verdicts of a node, and how each came about.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from corotwist.engines.quoruminterfaces import Decision
from corotwist.totem.membership import RingId

MOST_DECISIONS: Final = 64


@define(eq=False)
class Decisions:
    """
    A bounded number of them.

    @ivar timeOfDay: nanoseconds since 1970.
    """

    timeOfDay: Callable[[], int]
    _kept: deque[Decision] = field(factory=lambda: deque(maxlen=MOST_DECISIONS))
    _number: int = 0

    def add(
        self,
        ringId: RingId,
        members: tuple[int, ...],
        cause: str,
        rule: str,
        inputs: Mapping[str, Any],
        *,
        quorate: bool,
    ) -> None:
        """
        One more.
        """
        self._number += 1
        decision = Decision(
            *(self._number, self.timeOfDay(), ringId, members),
            *(quorate, cause, rule, inputs),
        )
        self._kept.append(decision)

    def all(self) -> tuple[Decision, ...]:
        """
        The newest last.
        """
        return tuple(self._kept)

    def handOver(self) -> list[Decision]:
        """
        For another version.
        """
        return list(self._kept)

    def takeOver(self, kept: list[Decision]) -> None:
        """
        Go on.
        """
        self._kept.extend(kept)
        self._number = kept[-1].number if kept else 0
