"""
Messages about reloads: L{corotwist.engines.reloadwire}.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.reloadwire import (
    LARGEST_REPORT_BYTES,
    Kind,
    ReloadMessage,
    Wish,
)
from corotwist.errors import BadCount, TruncatedFrame

numbers = st.integers(0, 2**32 - 1)
messages = st.builds(
    ReloadMessage,
    st.sampled_from(Kind),
    st.tuples(numbers, numbers),
    st.integers(0, 255),
    st.binary(max_size=30),
)


class WireTests(SynchronousTestCase):
    """
    The layout of docs/protocol-compact.md.
    """

    def test_bytes(self) -> None:
        """
        A message, byte by byte.
        """
        message = ReloadMessage.end((0x01020304, 7), "no")
        self.assertEqual(
            message.encode().hex(" "), "03 04 03 02 01 07 00 00 00 00 6e 6f"
        )

    @given(messages)
    def test_readAgain(self, message: ReloadMessage) -> None:
        """
        What was written is read, and nothing shorter is.
        """
        data = message.encode()
        self.assertEqual(ReloadMessage.decode(data), message)
        for end in range(len(data) - len(message.text)):
            self.assertRaises(TruncatedFrame, ReloadMessage.decode, data[:end])

    def test_refused(self) -> None:
        """
        Neither unknown kinds nor texts without an end are taken, nor reports
        that are none.
        """
        for wrong in (
            bytes(10),
            b"\4" + bytes(9),
            b"\2" + bytes(10 + LARGEST_REPORT_BYTES),
        ):
            self.assertRaises(BadCount, ReloadMessage.decode, wrong)
        for text in (b"", b"[1]", b"{", b"[" * 100_000, b"\xff"):
            message = ReloadMessage(Kind.REPORT, (1, 1), 0, text)
            self.assertRaises(BadCount, message.told)

    def test_wishes(self) -> None:
        """
        Wishes of a later version are not fulfilled.
        """
        message = ReloadMessage(Kind.PROPOSAL, (1, 1), 0xFF)
        self.assertEqual(message.wish, Wish.DRY_RUN | Wish.FORCE)
        proposal = ReloadMessage.proposal((1, 1), Wish.FORCE)
        self.assertEqual(proposal.wish, Wish.FORCE)

    def test_report(self) -> None:
        """
        A report is read as it was written, and a refusal is seen without.
        """
        for refused in (False, True):
            report = {"refused": refused, "keys": ["ä"]}
            message = ReloadMessage.report((1, 2), report)
            self.assertEqual(message.told(), report)
            self.assertEqual(message.refused, refused)
