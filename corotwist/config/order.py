"""
Names in order, many of them, that come and go.
"""

from bisect import bisect_left, insort
from typing import Final

from attrs import define, field

from corotwist.config.names import AFTER_ALL

# Up to so many changes are cheaper one by one than sorting everything again.
FEW: Final = 64


@define(eq=False)
class SortedNames:
    """
    A set of names, to be had in order by their beginning.

    Changes wait until somebody asks: a thousand names that are added in a row
    are sorted once.
    """

    _sorted: list[str] = field(factory=list, init=False)
    # Names that are to be put in (true) or taken out (false).
    _waiting: dict[str, bool] = field(factory=dict, init=False)

    def add(self, name: str) -> None:
        """
        A name that is not in it.
        """
        if self._waiting.pop(name, True):
            self._waiting[name] = True

    def remove(self, name: str) -> None:
        """
        A name that is in it.
        """
        if not self._waiting.pop(name, False):
            self._waiting[name] = False

    def startingWith(self, prefix: str) -> list[str]:
        """
        Those that begin so, in the order of their bytes.
        """
        self._settle()
        if not prefix:
            return self._sorted.copy()
        low = bisect_left(self._sorted, prefix)
        high = bisect_left(self._sorted, prefix + AFTER_ALL, low)
        return self._sorted[low:high]

    def _settle(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        if len(waiting) > FEW:
            kept = [name for name in self._sorted if name not in waiting]
            self._sorted = kept + [name for name, stays in waiting.items() if stays]
            # Two runs, of which the first is in order: little more than a merge.
            self._sorted.sort()
            return
        for name, stays in waiting.items():
            if stays:
                insort(self._sorted, name)
            else:
                del self._sorted[bisect_left(self._sorted, name)]
