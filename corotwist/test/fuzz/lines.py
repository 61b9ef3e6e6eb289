"""
Which lines of the package an input reaches.
"""

import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

import corotwist
from corotwist.test.fuzz.target import Target, attempted

_PACKAGE: Final = str(Path(corotwist.__file__).parent)
_TESTS: Final = str(Path(corotwist.__file__).parent / "test")
_LINE_BITS: Final = 20


class Lines:
    """
    The lines that were reached so far, tests not counted.
    """

    def __init__(self) -> None:
        self.reached: set[int] = set()
        self._ours: dict[str, bool] = {}
        self._new = False

    def reachedBy(self, target: Target, data: bytes) -> bool:
        """
        Try an input.

        @return: did it reach a line that none did before?
        """
        run = target.begin()
        self._new = False
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            attempted(run, target.refusals, data)
        finally:
            sys.settrace(before)
        return self._new

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        ours = self._ours.get(name)
        if ours is None:
            ours = name.startswith(_PACKAGE) and not name.startswith(_TESTS)
            self._ours[name] = ours
        return self._lineReached if ours else None

    def _lineReached(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            place = hash(frame.f_code.co_filename) << _LINE_BITS ^ frame.f_lineno
            if place not in self.reached:
                self.reached.add(place)
                self._new = True
        return self._lineReached
