"""
Tests of the quorum disk: its sectors, a node's part in it, the device.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.deviceinterfaces import IQuorumDevice
from corotwist.errors import BadCount, ConfigurationError, WireError
from corotwist.quorumdevice.arbitration import Terms
from corotwist.quorumdevice.claims import NOTHING, Claims
from corotwist.quorumdevice.disk import DiskDevice
from corotwist.quorumdevice.parties import Rule
from corotwist.quorumdevice.sectors import DiskRefused, Sectors
from corotwist.quorumdevice.slots import (
    MOST_MEMBERS,
    SECTOR_BYTES,
    OtherCluster,
    Slot,
    State,
)
from corotwist.quorumdevice.values import DeviceAnswer, DeviceContext, Health
from corotwist.totem.membership import RingId

RING, LATER = RingId(4, 1), RingId(8, 1)
CAST, GRACE = 10.0, 6.0
SLOTS = st.builds(
    Slot,
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from(State),
    st.integers(0, (1 << 64) - 1),
    st.builds(RingId, st.integers(0, (1 << 64) - 1), st.integers(0, 0xFFFFFFFF)),
    st.lists(st.integers(0, 0xFFFFFFFF), max_size=8).map(tuple),
    st.sampled_from(Health),
)


class SlotTests(SynchronousTestCase):
    """
    What is in a sector.
    """

    @given(SLOTS)
    def test_decode(self, slot: Slot) -> None:
        """
        What was written is read.
        """
        sector = slot.encode("c")
        self.assertEqual(len(sector), SECTOR_BYTES)
        self.assertEqual(Slot.decode(sector, "c"), slot)

    @given(SLOTS, st.integers(0, SECTOR_BYTES - 1), st.integers(1, 255))
    def test_damaged(self, slot: Slot, where: int, change: int) -> None:
        """
        A sector of which any byte is another one is refused.  (C14)
        """
        sector = bytearray(slot.encode("c"))
        sector[where] ^= change
        self.assertRaises(WireError, Slot.decode, bytes(sector), "c")

    @given(st.binary(max_size=100))
    def test_anyBytes(self, data: bytes) -> None:
        """
        Whatever is on a disk is a sector, nothing yet, or damaged.
        """
        self.assertRaises(WireError, Slot.decode, data, "c")
        whole = data.ljust(SECTOR_BYTES, b"\0")
        if any(whole):
            self.assertRaises(WireError, Slot.decode, whole, "c")
        else:
            self.assertIs(Slot.decode(whole, "c"), None)

    def test_otherCluster(self) -> None:
        """
        The sector of another cluster is no damage, but not ours.
        """
        sector = Slot(1, 1, 1).encode("theirs")
        self.assertRaises(OtherCluster, Slot.decode, sector, "ours")

    def test_tooManyMembers(self) -> None:
        """
        A sector has room for so many members.
        """
        members = tuple(range(MOST_MEMBERS))
        slot = Slot(1, 1, 1, members=members)
        self.assertEqual(Slot.decode(slot.encode("c"), "c"), slot)
        more = Slot(1, 1, 1, members=(*members, 9))
        self.assertRaises(BadCount, more.encode, "c")


class SectorsTests(SynchronousTestCase):
    """
    A file with sectors.
    """

    def setUp(self) -> None:
        self.path = str(Path(self.mktemp()).absolute())

    def opened(self, cluster: str = "c") -> Sectors:
        sectors = Sectors(self.path, cluster)
        sectors.open([1, 2, 3])
        self.addCleanup(sectors.close)
        return sectors

    def test_readByOthers(self) -> None:
        """
        What one node wrote another one reads; who has not written is not there.
        """
        one, two = self.opened(), self.opened()
        slot = Slot(1, 7, 1, members=(1, 2))
        one.write(slot)
        self.assertEqual(two.read([1, 2, 3]), {1: slot})
        self.assertEqual(two.damaged, {})

    def test_damaged(self) -> None:
        """
        A damaged sector is told, and the others are read; its owner writes it
        anew.  (C14)
        """
        sectors = self.opened()
        sectors.write(Slot(2, 7, 1))
        with Path(self.path).open("r+b") as disk:
            disk.seek(SECTOR_BYTES)
            disk.write(b"rubbish")
        self.assertEqual(list(sectors.read([1, 2])), [2])
        self.assertEqual(list(sectors.damaged), [1])
        sectors.write(Slot(1, 7, 1))
        self.assertEqual(list(sectors.read([1, 2])), [1, 2])

    def test_otherCluster(self) -> None:
        """
        Nothing is written over what another cluster wrote.  (C14)
        """
        self.opened("theirs").write(Slot(1, 7, 1))
        error = self.assertRaises(DiskRefused, self.opened().write, Slot(1, 7, 1))
        self.assertIn("another cluster", str(error))

    def test_twoWithOneSector(self) -> None:
        """
        A second process with our nodeid is seen: the earlier start writes no
        more.
        """
        sectors = self.opened()
        sectors.write(Slot(1, 8, 1))
        error = self.assertRaises(DiskRefused, sectors.write, Slot(1, 7, 2))
        self.assertIn("another start of node 1", str(error))
        sectors.write(Slot(1, 9, 1))

    def test_noDisk(self) -> None:
        """
        What cannot be opened says why; so does a device without room.
        """
        sectors = Sectors("/nowhere/disk", "c")
        self.assertRaises(DiskRefused, sectors.open, [1])
        error = self.assertRaises(DiskRefused, Sectors("/dev/null", "c").open, [1])
        self.assertIn("special file", str(error))

    def test_closed(self) -> None:
        """
        A closed disk is an error, not a crash.
        """
        sectors = self.opened()
        sectors.close()
        self.assertRaises(OSError, sectors.write, Slot(1, 7, 1))
        sectors.reopened([1])
        self.assertEqual(sectors.read([1]), {})


class ClaimsTests(SynchronousTestCase):
    """
    What a node makes of the sectors, and of the time.
    """

    def setUp(self) -> None:
        terms = Terms((1, 2), Rule("lms"), CAST, GRACE)
        self.claims = Claims(1, 7, terms, 0.0)
        self.claims.wish(RING, (1,), Health.UNKNOWN, 0.0)

    def around(self, began: float, *others: Slot, wrote: float = 0.0) -> Slot:
        """
        Write and read, at once unless the write took longer.
        """
        slot = self.claims.sector()
        wrote = wrote or began
        slots = {other.nodeid: other for other in others}
        self.claims.exchanged(slot, slots, began, wrote, wrote)
        return slot

    def held(self) -> None:
        """
        We have the vote, from second 20 on.
        """
        for now in (18.0, 19.0, 20.0):
            self.around(now)
        self.assertIs(self.claims.state, State.HOLDING)

    def test_alone(self) -> None:
        """
        A node that sees nobody writes that it wants the vote, and has it when
        it still sees nobody; for a time from the beginning of that write.
        """
        self.around(10.0)
        self.assertIs(self.claims.state, State.WANTING)
        self.assertEqual(self.claims.castUntil, NOTHING)
        self.around(11.0, wrote=12.0)
        self.assertEqual(self.claims.castUntil, 11.0 + CAST)

    def test_notBlind(self) -> None:
        """
        Right after its start a node does not know who had the vote a moment
        before.
        """
        self.around(GRACE - 0.1)
        self.assertIs(self.claims.state, State.IDLE)
        self.around(GRACE)
        self.assertIs(self.claims.state, State.WANTING)

    def test_inTheWay(self) -> None:
        """
        Whoever wants the vote or has it is in the way while he may cast it, and
        not longer.
        """
        other = Slot(2, 5, 1, State.HOLDING, 1, LATER, (2,))
        self.around(10.0, other)
        held = self.claims.terms.heldSeconds
        self.around(10.0 + held - 0.1, other)
        self.assertNotEqual(self.claims.state, State.HOLDING)
        for more in (0.1, 0.2, 0.3):
            self.around(10.0 + held + more, other)
        self.assertIs(self.claims.state, State.HOLDING)

    def test_slowWrite(self) -> None:
        """
        A write that was through too late renews nothing: others may have
        counted on our end.  (C14)
        """
        self.held()
        slot = self.claims.sector()
        end = self.claims.castUntil + GRACE
        self.claims.exchanged(slot, {}, end - 1.0, end, end)
        self.assertIs(self.claims.state, State.WANTING)
        self.assertEqual(self.claims.castUntil, NOTHING)

    def test_timelyWrite(self) -> None:
        """
        One that was through just in time renews the vote, from its beginning.
        """
        self.held()
        end = self.claims.castUntil + GRACE
        slot = self.claims.sector()
        self.claims.exchanged(slot, {}, end - 1.0, end - 0.1, end - 0.1)
        self.assertEqual(self.claims.castUntil, end - 1.0 + CAST)

    def test_pausedWhileWanting(self) -> None:
        """
        A node that was paused between writing and reading finds its time over.
        (C14)
        """
        self.around(10.0)
        slot = self.claims.sector()
        later = 11.0 + CAST + GRACE
        self.claims.exchanged(slot, {}, 11.0, 11.0, later)
        self.assertEqual(self.claims.castUntil, NOTHING)

    def test_otherRing(self) -> None:
        """
        The vote is for one ring; and what was written for another one gives
        nothing to this.
        """
        self.held()
        slot = self.claims.sector()
        self.claims.wish(LATER, (1,), Health.UNKNOWN, 21.0)
        self.assertEqual(self.claims.castUntil, NOTHING)
        self.claims.exchanged(slot, {}, 20.5, 20.5, 21.0)
        self.assertEqual(self.claims.castUntil, NOTHING)

    def test_missedClaim(self) -> None:
        """
        A claim that we never saw, but that was made in between, counts a while.
        """
        self.around(10.0, Slot(2, 5, 1, State.IDLE, 1, LATER, (2,)))
        self.around(11.0, Slot(2, 5, 9, State.IDLE, 2, LATER, (2,)))
        self.around(12.0, Slot(2, 5, 10, State.IDLE, 2, LATER, (2,)))
        self.assertEqual(self.claims.castUntil, NOTHING)
        status = self.claims.status(12.0)
        self.assertEqual(status["inTheWay"], [2])
        self.assertEqual(self.claims.status(11.0 + GRACE)["inTheWay"], [])

    def test_unreadable(self) -> None:
        """
        A node whose sector is damaged may have the vote, as long as that is so
        and a while longer.
        """
        for now in (10.0, 20.0, 30.0):
            self.claims.unreadable([1, 2], now)
            self.around(now)
        self.assertEqual(self.claims.status(30.0)["inTheWay"], [2])
        self.assertEqual(self.claims.castUntil, NOTHING)
        for now in (50.0, 51.0):
            self.around(now)
        self.assertIs(self.claims.state, State.HOLDING)

    def test_sameRing(self) -> None:
        """
        Members of one ring have the vote together.
        """
        self.claims.wish(LATER, (1, 2), Health.UNKNOWN, 0.0)
        mate = Slot(2, 5, 1, State.HOLDING, 1, LATER, (1, 2))
        for now in (20.0, 21.0):
            self.around(now, mate)
        self.assertIs(self.claims.state, State.HOLDING)


class MemorySectors:
    """
    A disk in memory.

    @ivar pending: works that wait, when it is slow.
    """

    def __init__(self, slots: dict[int, Slot]) -> None:
        self.slots = slots
        self.direct = True
        self.damaged: dict[int, str] = {}
        self.closed = 0
        self.error: Exception | None = None

    def open(self, nodeids: Any) -> None:
        self.reopened(nodeids)

    def reopened(self, nodeids: Any) -> None:
        if self.error is not None:
            raise self.error

    def write(self, slot: Slot) -> None:
        self.slots[slot.nodeid] = slot

    def read(self, nodeids: Any) -> dict[int, Slot]:
        return {n: self.slots[n] for n in nodeids if n in self.slots}

    def close(self) -> None:
        self.closed += 1


def context(nodeid: int = 1, **options: str) -> DeviceContext:
    given = {"path": "/nowhere/disk", **options}
    return DeviceContext(nodeid, 7, (1, 2), "c", CAST, GRACE, given)


class DeviceTests(SynchronousTestCase):
    """
    The device, with a disk in memory and a clock.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.slots: dict[int, Slot] = {}
        self.stuck: list[tuple[Deferred[Any], Callable[[], Any]]] | None = None
        self.answers: list[DeviceAnswer] = []
        self.sectors = MemorySectors(self.slots)
        self.device = self.made(1, self.sectors)

    def made(self, nodeid: int, sectors: Any, **options: str) -> DiskDevice:
        return DiskDevice(
            self.clock,
            context(nodeid, **options),
            inThread=self.inThread,
            sectors=sectors,
        )

    def inThread(self, work: Callable[..., Any], *given: Any) -> Deferred[Any]:
        if self.stuck is not None:
            waits: Deferred[Any] = Deferred()
            self.stuck.append((waits, lambda: work(*given)))
            return waits
        try:
            return succeed(work(*given))
        except Exception:  # noqa: BLE001
            return fail()

    def votes(self) -> list[bool]:
        return [answer.vote for answer in self.answers]

    def begin(self) -> None:
        self.device.start(self.answers.append)
        self.device.ask(RING, (1, 2), Health.UNKNOWN)

    def run_(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds * 10))

    def test_interface(self) -> None:
        """
        It is a quorum device.
        """
        verifyObject(IQuorumDevice, self.device)

    def test_vote(self) -> None:
        """
        It gets the vote and keeps it: each answer is good for a while.  (C14)
        """
        self.begin()
        self.run_(20.0)
        last = self.answers[-1]
        self.assertTrue(last.vote)
        self.assertGreater(last.until, self.clock.seconds() + CAST - 2.0)
        self.assertEqual(self.device.status()["state"], "holding")

    def test_slowDisk(self) -> None:
        """
        While the disk does not answer nothing is said, and nothing else is
        asked of it: the vote ends with its time.  (C14)
        """
        self.begin()
        self.run_(20.0)
        told = len(self.answers)
        self.stuck = []
        self.run_(30.0)
        self.assertEqual((len(self.stuck), len(self.answers)), (1, told))
        self.assertLess(self.answers[-1].until, self.clock.seconds())
        ((waits, work),) = self.stuck
        self.stuck = None
        waits.callback(work())
        self.assertFalse(self.answers[-1].until > self.clock.seconds())

    def test_broken(self) -> None:
        """
        A disk that fails takes the vote away when its time is over, and gives
        it back when it works again.  (C14)
        """
        self.begin()
        self.run_(20.0)
        self.sectors.error = OSError(5, "Input/output error")
        self.run_(5.0)
        self.assertTrue(self.answers[-1].vote)
        self.run_(10.0)
        self.assertFalse(self.answers[-1].vote)
        self.assertIn("Input/output error", self.device.status()["trouble"])
        self.sectors.error = None
        self.run_(30.0)
        self.assertTrue(self.answers[-1].vote)

    def test_stopped(self) -> None:
        """
        Who stops gives the vote back: another one gets it soon.
        """
        self.begin()
        self.run_(20.0)
        self.successResultOf(self.device.stop())
        self.assertIs(self.slots[1].state, State.IDLE)
        self.assertEqual(self.sectors.closed, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.device.stop())

    def test_halves(self) -> None:
        """
        Two nodes that do not see each other: exactly one has the vote, the
        other one hears that it has not.  (C14)
        """
        theirs: list[DeviceAnswer] = []
        other = self.made(2, MemorySectors(self.slots))
        self.begin()
        other.start(theirs.append)
        self.device.ask(RingId(8, 1), (1,), Health.UNKNOWN)
        other.ask(RingId(8, 2), (2,), Health.UNKNOWN)
        self.run_(30.0)
        self.assertTrue(self.answers[-1].vote)
        self.assertFalse(theirs[-1].vote)
        self.assertFalse(any(answer.vote for answer in theirs))

    def test_listed(self) -> None:
        """
        A node that is new in the list is in the way from then on.
        """
        self.slots[3] = Slot(3, 5, 1, State.HOLDING, 1, RingId(8, 3), (3,))
        self.device.listed((1, 2, 3, 5000))
        self.begin()
        self.run_(15.0)
        self.assertEqual(self.device.status()["inTheWay"], [3])
        self.assertFalse(any(self.votes()))

    def test_wrongOptions(self) -> None:
        """
        What cannot be is told with the name of the option.
        """
        for option, text in (
            ("path", "disk"),
            ("interval", "0"),
            ("interval", "9999"),
            ("algorithm", "best"),
            ("tie_breaker", "me"),
        ):
            error = self.assertRaises(
                ConfigurationError, self.made, 1, self.sectors, **{option: text}
            )
            self.assertIn("quorum.device.disk.", str(error))

    def test_realFile(self) -> None:
        """
        Two devices on one file: one gets the vote.  (C14)
        """
        path = str(Path(self.mktemp()).absolute())
        theirs: list[DeviceAnswer] = []
        devices = [
            DiskDevice(self.clock, context(n, path=path), inThread=self.inThread)
            for n in (1, 2)
        ]
        for device, answers in zip(devices, (self.answers, theirs), strict=True):
            device.start(answers.append)
        devices[0].ask(RingId(8, 1), (1,), Health.UNKNOWN)
        devices[1].ask(RingId(8, 2), (2,), Health.UNKNOWN)
        self.run_(20.0)
        self.assertEqual((self.answers[-1].vote, theirs[-1].vote), (True, False))
        for device in devices:
            self.successResultOf(device.stop())
