"""
Tests of the numbers that all libraries share.
"""

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.cstyle.types import CS_OK, CsError, Dispatch, results, status
from corotwist.errors import NotExist, ServiceError, TryAgain
from corotwist.ipc.wire import ERRORS

HEADER = Path("/usr/include/corosync/corotypes.h")


class NumbersTests(SynchronousTestCase):
    def test_header(self) -> None:
        """
        Errors and dispatch flags have the numbers of corosync's header (A93).
        """
        if not HEADER.exists():
            raise SkipTest("no header of corosync on this machine")
        text = HEADER.read_text()
        theirs = dict(re.findall(r"^\s+(CS_[A-Z_]+) = (\d+)", text, re.MULTILINE))
        ours = {e.name: str(e.value) for kind in (CsError, Dispatch) for e in kind}
        self.assertEqual(ours, theirs)

    def test_exceptions(self) -> None:
        """
        Every error that crosses to clients carries the number of the C error
        of its name (A93).
        """
        for kind, code in ERRORS.items():
            assert issubclass(kind, ServiceError)
            name = f"CS_ERR_{code.decode()}"
            if name in CsError.__members__:
                self.assertEqual(CsError[name], kind.code, name)
            else:
                self.assertIn(kind.code, [*CsError], name)

    def test_status(self) -> None:
        """
        What a call raises is the number that it returns; others go through.
        """

        @status
        def call(handle: object, error: Exception | None) -> None:
            if error is not None:
                raise error

        self.assertEqual(call(None, None), CS_OK)
        self.assertEqual(call(None, TryAgain("later")), 6)
        self.assertRaises(ZeroDivisionError, call, None, ZeroDivisionError())

    def test_results(self) -> None:
        """
        A call with results has nothing in their places when it fails.
        """

        @results(2)
        def call(handle: object, *, fails: bool) -> tuple[int, int]:
            if fails:
                raise NotExist("nothing")
            return 1, 2

        self.assertEqual(call(None, fails=False), (1, 1, 2))
        self.assertEqual(call(None, fails=True), (12, None, None))
