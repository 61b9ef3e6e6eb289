"""
What the headers of corosync have, we have.
"""

import re
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.cstyle import cpg, quorum, types, votequorum

HEADERS = Path("/usr/include/corosync")


class HeaderTests(SynchronousTestCase):
    """
    Where the headers are installed.
    """

    def compare(self, module: ModuleType, calls: int, numbers: int) -> None:
        """
        A header, and the module named like it.

        @param calls: how many there are.
        @param numbers: constants likewise.
        """
        name = module.__name__.rpartition(".")[2]
        header = HEADERS / f"{name}.h"
        if not header.exists():
            raise SkipTest("no headers of corosync on this machine")
        text = header.read_text()
        called = re.findall(rf"^cs_error_t ({name}_\w+) ?\(", text, re.MULTILINE)
        self.assertEqual(len(called), calls)
        for call in called:
            self.assertTrue(callable(getattr(module, call)), call)
        prefix = name.upper()
        given = re.findall(rf"\b({prefix}_[A-Z0-9_]+)\s+=?\s*(0x\d+|\d+)\b", text)
        self.assertEqual(len(given), numbers)
        for constant, number in given:
            self.assertEqual(getattr(module, constant), int(number, 0), constant)

    def test_cpg(self) -> None:
        """
        Process groups (A92).
        """
        self.compare(cpg, 20, 13)
        self.assertEqual([*map(int, types.Dispatch)], [1, 2, 3, 4])

    def test_quorum(self) -> None:
        """
        Quorum (A92, C19).
        """
        self.compare(quorum, 10, 4)

    def test_votequorum(self) -> None:
        """
        Votes, and quorum devices (A92, C20).
        """
        self.compare(votequorum, 16, 17)

    def test_tracking(self) -> None:
        """
        What all headers share (A93).
        """
        header = HEADERS / "corotypes.h"
        if not header.exists():
            raise SkipTest("no headers of corosync on this machine")
        found = re.findall(r"define (CS_TRACK_\w+) (0x\d+)", header.read_text())
        self.assertEqual(len(found), 3)
        for name, number in found:
            self.assertEqual(getattr(types, name), int(number, 0), name)
