"""
Every number of every message, with each value that has hurt somebody.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import WireError
from corotwist.test.fuzz import examples, parts
from corotwist.test.fuzz.bytetargets import KEY, seal
from corotwist.test.fuzz.examples import Example
from corotwist.test.fuzz.hunt import Crash, smallest
from corotwist.test.fuzz.services import TAG_BIG
from corotwist.test.fuzz.target import Target
from corotwist.test.fuzz.targets import targets
from corotwist.totem import wire
from corotwist.totem.frame import Opener

# Messages of one world; whoever is lied to stays the same for so long.
RUN: Final = 24


def inRuns(messages: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """
    Sessions, each of a few messages with their tags.
    """
    following = iter(messages)
    while run := list(islice(following, RUN)):
        yield parts.join(run)


class MatrixTests(SynchronousTestCase):
    """
    The whole of it: each field, each value, both byte orders.
    """

    def setUp(self) -> None:
        self.targets = targets()

    def tried(self, target: Target, data: bytes, where: str = "") -> None:
        error = target.tried(data)
        if error is not None:
            self.fail(f"{where}: {smallest(Crash(target, data, error))}")

    def tryAll(self, name: str, kinds: Iterable[Example], start: int = 0) -> None:
        target = self.targets[name]
        for example in kinds:
            for where, data in example.substituted():
                self.tried(target, data[start:], where)

    def test_wire(self) -> None:
        """
        Messages of the ring, and the tool that shows them.
        """
        self.tryAll("wire", examples.ringMessages())
        self.tryAll("decode", examples.ringMessages())

    def test_sealed(self) -> None:
        """
        Messages of the ring that a member sealed.
        """
        target = self.targets["sealed"]
        for example in examples.ringMessages():
            for where, data in example.substituted():
                self.tried(target, b"\0" + data, where)

    def test_rings(self) -> None:
        """
        Messages of the ring, to a ring that is in the middle of something; what
        comes before a message is what others were like.
        """
        for state in ("operational", "gather", "commit", "recovery"):
            target = self.targets[f"ring.{state}"]
            for example in examples.ringMessages():
                alone = ((1, data) for _, data in example.substituted())
                for data in inRuns(alone):
                    self.tried(target, data, f"{example.name}, {state}")

    def test_executive(self) -> None:
        """
        What services say, and the tool that shows it.
        """
        self.tryAll("executive", examples.executiveMessages())

    def test_compact(self) -> None:
        """
        What corotwist nodes say in short.
        """
        start = len(examples.compactAddress())
        self.tryAll("compact", examples.compactMessages(), start)

    def test_services(self) -> None:
        """
        All of that to the engines of a node.
        """
        target = self.targets["services"]
        kinds = (*examples.executiveMessages(), *examples.compactMessages())
        for example in kinds:
            tag = TAG_BIG if example.name.endswith(">") else 0
            for data in inRuns((tag, data) for _, data in example.substituted()):
                self.tried(target, data, example.name)

    def test_knet(self) -> None:
        """
        Packets of kronosnet.
        """
        self.tryAll("knet", examples.knetPackets())

    def test_sealedBits(self) -> None:
        """
        There is no bit of a sealed datagram that can be changed unnoticed, and
        no length but its own.
        """
        datagram = seal(b"a message of the ring")
        opener = Opener([KEY], 1, [1, 2, 3])
        for bit in range(8 * len(datagram)):
            changed = bytearray(datagram)
            changed[bit // 8] ^= 1 << bit % 8
            with self.assertRaises(WireError, msg=f"bit {bit}"):
                opener.open(bytes(changed), 0.0)
        for size in range(len(datagram)):
            with self.assertRaises(WireError):
                opener.open(datagram[:size], 0.0)
        with self.assertRaises(WireError):
            opener.open(datagram + b"\0", 0.0)
        self.assertEqual(opener.open(datagram, 0.0), (2, b"a message of the ring"))

    def test_counts(self) -> None:
        """
        Where a message says how much is in it, it is refused for every other
        number.
        """
        places = {"Token": (53,), "Join": (17, 21), "CommitToken": (37,)}
        tried = 0
        for example in examples.ringMessages():
            name, _, order = example.name.partition(" ")
            for place in places.get(name, ()) if len(order) == 1 else ():
                for where, data in example.substituted():
                    if where.endswith(f" at {place}") and data != example.data:
                        tried += 1
                        with self.assertRaises(WireError, msg=where):
                            wire.decode(data)
        self.assertGreater(tried, 100)

    def test_lengths(self) -> None:
        """
        Messages that say how long they are are refused one byte short of it, or
        beyond it.
        """
        for example in examples.ringMessages():
            if not example.name.startswith("Regular"):
                for size in range(len(example.data)):
                    with self.assertRaises(WireError):
                        wire.decode(example.data[:size])
                with self.assertRaises(WireError):
                    wire.decode(example.data + b"\0")
