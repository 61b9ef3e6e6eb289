"""
Whether hunts find what they look for.
"""

from itertools import islice
from pathlib import Path
from struct import pack
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import TruncatedFrame, WireError
from corotwist.test.fuzz import corpus, examples, parts
from corotwist.test.fuzz.hunt import Crash, hunt, inputs, smallest
from corotwist.test.fuzz.lines import Lines
from corotwist.test.fuzz.measure import memory, seconds
from corotwist.test.fuzz.mutate import WIDTHS, edges
from corotwist.test.fuzz.target import Run, Target
from corotwist.test.fuzz.targets import targets
from corotwist.totem import wire

SEED: Final = b"good" + bytes(20)


def _fragile(data: bytes) -> None:
    """
    A count is believed.
    """
    if len(data) < 8:
        raise TruncatedFrame("too short")
    if data[:4] == b"good" and data[4:6] == b"\xff\xff":
        raise IndexError("a count was believed")


def _forgetful() -> Run:
    """
    The third of its kind is too many.
    """
    seen: list[bytes] = []

    def received(data: bytes) -> None:
        for _, part in parts.split(data):
            if part.startswith(b"more"):
                seen.append(part)
                assert len(seen) < 3, "too many"

    return received


def fragile() -> Target:
    return Target("wire", "a test", lambda: _fragile, lambda: [SEED], (WireError,))


def forgetful() -> Target:
    seeds = [parts.join([(1, b"more of it"), (2, b"less")])]
    return Target("wire", "a test", _forgetful, lambda: seeds, session=True)


class HuntTests(SynchronousTestCase):
    """
    Targets with known bugs.
    """

    def test_finds(self) -> None:
        """
        A bug is found, made small, and told with all that it takes to see it
        again; what a target may raise is no bug.
        """
        crash = hunt(fragile(), 100_000, "1")
        assert crash is not None
        self.assertEqual(crash.data, b"good\xff\xff\0\0")
        text = str(crash)
        self.assertIn("IndexError: a count was believed", text)
        self.assertIn(f"target wire, seed '1', case {crash.case}: a test", text)
        self.assertIn(
            "again: echo 676f6f64ffff0000 | python -m corotwist.test.fuzz wire"
            " --replay -",
            text,
        )

    def test_sameAgain(self) -> None:
        """
        The same seed finds the same, at the same place; another seed elsewhere.
        """
        first, second, other = (hunt(fragile(), 100_000, seed) for seed in "112")
        assert first is not None
        assert second is not None
        assert other is not None
        self.assertEqual(first.case, second.case)
        self.assertNotEqual(first.case, other.case)

    def test_findsSequences(self) -> None:
        """
        What takes several parts is found, and only those are left.
        """
        crash = hunt(forgetful(), 10_000, "1")
        assert crash is not None
        run = parts.split(crash.data)
        self.assertEqual([part for _, part in run], [b"more"] * 3)

    def test_otherHarm(self) -> None:
        """
        What is made small stays the same bug, not another one.
        """

        def two(data: bytes) -> None:
            if len(data) > 3:
                raise IndexError
            raise KeyError

        target = Target("wire", "a test", lambda: two, lambda: [SEED])
        crash = smallest(Crash(target, SEED, self.raised(target, SEED)))
        self.assertEqual(crash.data, bytes(4))

    def raised(self, target: Target, data: bytes) -> Exception:
        error = target.tried(data)
        assert error is not None
        return error

    def test_nothing(self) -> None:
        """
        Without a bug nothing is found.
        """
        target = Target("wire", "a test", lambda: len, lambda: [SEED])  # type: ignore[arg-type,return-value]
        self.assertIsNone(hunt(target, 1000, "1"))


class MutatorTests(SynchronousTestCase):
    """
    Damage.
    """

    def test_varied(self) -> None:
        """
        Few inputs come twice, and all lengths from nothing on.
        """
        found = list(islice(inputs(fragile(), [SEED], "1"), 5000))
        self.assertGreater(len(set(found)), 2500)
        sizes = set(map(len, found))
        self.assertLessEqual(set(range(len(SEED))), sizes)
        self.assertTrue(any(size > len(SEED) + 10 for size in sizes))

    def test_reaches(self) -> None:
        """
        What targets are for is reached by damage of seeds: messages of the ring
        are taken though changed, and refused for every reason there is.
        """
        target = targets()["wire"]
        taken, reasons = set(), set()
        for data in islice(inputs(target, target.seeds(), "1"), 5000):
            try:
                taken.add(type(wire.decode(data)))
            except WireError as error:
                reasons.add(type(error).__name__)
        self.assertEqual(len(taken), 6)
        wanted = {"BadCount", "OversizedFrame", "TruncatedFrame", "UnknownFrame"}
        self.assertEqual(reasons, wanted)

    def test_edges(self) -> None:
        """
        What has hurt somebody is tried in every width that holds it.
        """
        self.assertEqual([max(edges(w)) for w in WIDTHS], [256**w - 1 for w in WIDTHS])
        for value in (0, 30, 31, 384, 385, 16383, 16385, 65535):
            self.assertIn(value, edges(2))
        self.assertIn(2**32 - 4, edges(4))
        self.assertIn(2**63, edges(8))

    def test_parts(self) -> None:
        """
        Any bytes are a run of parts, and parts come back as they were.
        """
        run = [(0, b""), (255, b"x" * 300)]
        self.assertEqual(parts.split(parts.join(run)), run)
        self.assertEqual(parts.split(b"\1\5\0ab"), [(1, b"ab")])
        self.assertEqual(parts.split(b"\1\5"), [])


class ExampleTests(SynchronousTestCase):
    """
    Messages and their fields.
    """

    def test_fields(self) -> None:
        """
        Every number of a message is known, with its place and its order.
        """
        for example in examples.ringMessages():
            if example.name == "Token >":
                break
        first, sequence = example.fields[0], example.fields[6]
        self.assertEqual((first.offset, first.width, first.order), (0, 2, ">"))
        self.assertEqual((sequence.offset, sequence.width), (13, 4))
        at = sequence.offset
        self.assertEqual(example.data[at : at + 4], pack(">I", 10))
        self.assertEqual(example.fields[-1].offset + 4, len(example.data))

    def test_substituted(self) -> None:
        """
        One field at a time changes, and nothing else.
        """
        (example,) = [e for e in examples.ringMessages() if e.name == "HoldCancel <"]
        tried = [data for _, data in example.substituted()]
        self.assertEqual({len(data) for data in tried}, {len(example.data)})
        for data in tried:
            differ = [
                n
                for n, (a, b) in enumerate(zip(data, example.data, strict=True))
                if a != b
            ]
            self.assertTrue(
                any(
                    set(differ) <= set(range(f.offset, f.offset + f.width))
                    for f in example.fields
                )
            )


class CorpusTests(SynchronousTestCase):
    """
    Inputs that are kept.
    """

    def test_merge(self) -> None:
        """
        Kept is what reaches something that nothing smaller does, and what has a
        remark.
        """
        directory = Path(self.mktemp())
        directory.mkdir()
        target = targets()["batch"]
        file = directory / "batch.hex"
        file.write_text("00  # a bug that was\n00\n")
        seeds = target.seeds()
        new = [b"\1\0\0\0", b"\1\0\0\0\0\0", b"\0"]
        self.assertEqual(corpus.merge(target, [*seeds, *new], directory), (2, 2))
        self.assertEqual(
            corpus.entries("batch", directory),
            [(b"\0", "a bug that was"), (b"\1\0\0\0", "")],
        )
        self.assertEqual(corpus.kept("batch", directory), [b"\0", b"\1\0\0\0"])
        self.assertEqual(corpus.kept("nothing", directory), [])

    def test_lines(self) -> None:
        """
        An input that goes the way of another reaches nothing new.
        """
        target = targets()["batch"]
        reached = Lines()
        self.assertTrue(reached.reachedBy(target, bytes(4)))
        self.assertFalse(reached.reachedBy(target, bytes(4)))
        self.assertTrue(reached.reachedBy(target, b"\1"))


class MeasureTests(SynchronousTestCase):
    """
    Costs are seen.
    """

    def target(self, run: Run) -> Target:
        return Target("wire", "a test", lambda: run, lambda: [SEED])

    def test_square(self) -> None:
        """
        What takes the square of the size is far beyond what is allowed.
        """

        def square(data: bytes) -> None:
            for _ in data:
                data.count(1)

        target = self.target(square)
        small, large = (seconds(target, bytes(size), 3) for size in (4000, 32000))
        self.assertGreater(large / small, 30)

    def test_swell(self) -> None:
        """
        So is what takes more memory than it should.
        """

        def taking(times: int) -> Run:
            def run(data: bytes) -> None:
                bytes(times * len(data))

            return run

        wasteful, modest = self.target(taking(9)), self.target(taking(1))
        self.assertGreater(memory(wasteful, bytes(1 << 16)).swell, 4)
        self.assertLess(memory(modest, bytes(1 << 16)).swell, 4)
