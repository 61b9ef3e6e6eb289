"""
What C{corotwist doctor} finds, and says.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from attrs import asdict, frozen


class Grade(StrEnum):
    """
    How bad it is.

    @cvar ADVICE: the cluster runs, and would run better.
    @cvar UNKNOWN: it could not be looked at; the remedy says how.
    @cvar WRONG: the cluster does not run, or not for long.
    """

    FINE = "ok"
    ADVICE = "advice"
    UNKNOWN = "unknown"
    WRONG = "wrong"


_WIDTH: Final = max(map(len, Grade))


@frozen
class Finding:
    """
    One thing that was looked at.

    @ivar subject: what was looked at, one word.
    @ivar remedy: what to do about it.
    """

    subject: str
    grade: Grade
    text: str
    remedy: str = ""

    def lines(self) -> list[str]:
        """
        For people.
        """
        shown = [f"{self.grade:{_WIDTH}}  {self.subject}: {self.text}"]
        if self.remedy:
            shown.append(f"{'':{_WIDTH}}  -> {self.remedy}")
        return shown

    def plain(self) -> dict[str, str]:
        """
        For programs.
        """
        return {**asdict(self), "grade": self.grade.value}


def worst(findings: Iterable[Finding]) -> Grade:
    """
    The grade of all of them together.
    """
    order = list(Grade)
    return max((f.grade for f in findings), key=order.index, default=Grade.FINE)
