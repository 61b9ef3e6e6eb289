"""
Who may speak from which address.
"""

import gzip
import json
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import ForgedFrame, NodeidTaken, WireError
from corotwist.test.totem.test_vectors import VECTORS
from corotwist.totem.frame import claimedSender
from corotwist.totem.membership import RingId
from corotwist.totem.origin import DISTRUST, Origins
from corotwist.totem.wire import HoldCancel

ME, PEER, THIRD, FOURTH = 1, 2, 3, 4
HOSTS = {f"10.0.0.{nodeid}": nodeid for nodeid in (ME, PEER, THIRD, FOURTH)}
STRANGER = "10.0.0.99"
RING = RingId(1, 4)


def control(nodeid: int) -> bytes:
    """
    A datagram that names its sender.
    """
    return HoldCancel(nodeid, RING).encode()


def frame(nodeid: int) -> bytes:
    """
    Data of that originator.
    """
    return b"\x70\xc0\x03\x01\x02" + nodeid.to_bytes(4, "little") + bytes(40)


def recorded() -> Iterator[tuple[str, bytes]]:
    """
    Everything in the recordings that went over UDP, with where it came from;
    the last number of an address is the nodeid there.
    """
    for path in sorted(VECTORS.glob("udp*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                record = json.loads(line)
                yield record["src"], bytes.fromhex(record["hex"])


class OriginTests(SynchronousTestCase):
    """
    Node 1 of four.
    """

    def setUp(self) -> None:
        self.origins = Origins(ME, HOSTS, complete=False)
        self.errors: list[WireError] = []

    def admitted(self, host: str, *heard: bytes, now: float = 0.0) -> list[bytes]:
        return list(self.origins.admitted(heard, host, now, self.errors.append))

    def kinds(self) -> list[type[WireError]]:
        return [type(error) for error in self.errors]

    def test_ordinary(self) -> None:
        """
        Everybody speaks from his own address, and sends others' data again.
        """
        heard = [frame(PEER), frame(THIRD), frame(ME), control(PEER), b"", b"noise"]
        self.assertEqual(self.admitted("10.0.0.2", *heard), heard)
        self.assertEqual(self.admitted("10.0.0.1", control(ME)), [control(ME)])
        self.assertEqual(self.errors, [])

    def test_recorded(self) -> None:
        """
        So does every node of every recorded ring of corosync.
        """
        named = 0
        for host, datagram in recorded():
            hosts = {host: int(host.rpartition(".")[2])}
            origins = Origins(99, hosts, complete=True)
            found = origins.admitted([datagram], host, 0.0, self.errors.append)
            self.assertEqual([*found], [datagram])
            named += claimedSender(datagram) is not None
        self.assertEqual(self.errors, [])
        self.assertTrue(named > 1000, named)

    def test_anotherName(self) -> None:
        """
        What one says in another's name is dropped, and who reads why knows
        what to look for.
        """
        self.assertEqual(self.admitted("10.0.0.4", control(PEER), frame(PEER)), [])
        self.assertEqual(self.kinds(), [ForgedFrame, ForgedFrame])
        for part in ("10.0.0.4", "address of node 4", "it is node 2"):
            self.assertIn(part, str(self.errors[0]))

    def test_ourName(self) -> None:
        """
        In our name it is an error of its own, from wherever it comes.
        """
        for host in ("10.0.0.4", STRANGER):
            self.errors.clear()
            self.assertEqual(self.admitted(host, control(ME)), [])
            self.assertEqual(self.kinds(), [NodeidTaken])
            self.assertIn(f"another machine, {host}, uses our", str(self.errors[0]))

    def test_distrusted(self) -> None:
        """
        What data such an address sends is not heard for a while, or until it
        speaks in its own name; other addresses are not touched.
        """
        for own, moment in ((False, DISTRUST), (True, 1.0)):
            self.admitted("10.0.0.4", control(PEER))
            before = DISTRUST - 0.001
            self.assertEqual(self.admitted("10.0.0.4", frame(PEER), now=before), [])
            self.assertEqual(
                self.admitted("10.0.0.2", frame(PEER), control(PEER), now=before),
                [frame(PEER), control(PEER)],
            )
            if own:
                self.admitted("10.0.0.4", control(FOURTH), now=moment)
            heard = self.admitted("10.0.0.4", frame(PEER), now=moment)
            self.assertEqual(heard, [frame(PEER)])
            self.assertEqual(self.origins._distrusted, {})

    def test_strangers(self) -> None:
        """
        From an address that is nobody's everything is heard, unless there is
        no other address from which our nodes speak.
        """
        self.assertEqual(self.admitted(STRANGER, control(PEER)), [control(PEER)])
        self.origins = Origins(ME, HOSTS, complete=True)
        self.assertEqual(self.admitted(STRANGER, control(77)), [control(77)])
        self.assertEqual(self.admitted(STRANGER, control(PEER), frame(PEER)), [])
        self.assertEqual(self.kinds(), [ForgedFrame, ForgedFrame])

    def test_bounded(self) -> None:
        """
        However many addresses lie, not more is kept than there are nodes.
        """
        self.origins = Origins(ME, HOSTS, complete=True)
        for number in range(1000):
            self.admitted(f"10.1.{number >> 8}.{number & 255}", control(PEER))
            self.admitted(f"10.0.0.{2 + number % 3}", control(ME))
        self.assertTrue(len(self.origins._distrusted) <= len(HOSTS))
