"""
How long nobody can be on a ring without us.
"""

from math import inf

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.factories import TIMING, Harness, formed, makeRing, of
from corotwist.totem.effects import ConfigurationChanged
from corotwist.totem.lease import CLOCKS_DIFFER, Lease
from corotwist.totem.states import In
from corotwist.totem.wire import Regular, decode

LASTS = TIMING.consensus * (1 - CLOCKS_DIFFER)


class LeaseTests(SynchronousTestCase):
    """
    The value.
    """

    def test_firstVisit(self) -> None:
        """
        A ring that has just become operational gives none; the first visit
        after that does, from the visit before. (C22)
        """
        lease = Lease()
        lease.begin(5.0, TIMING.consensus)
        self.assertEqual(lease.ends, -inf)
        lease.renew(5.5, progress=True)
        self.assertEqual(lease.ends, 5.0 + LASTS)
        lease.renew(6.5, progress=True)
        self.assertEqual(lease.ends, 5.5 + LASTS)

    def test_heldBack(self) -> None:
        """
        While somebody holds the ring back, who may exclude itself soon, nothing
        is renewed; afterwards it is. (C22)
        """
        lease = Lease()
        lease.begin(5.0, TIMING.consensus)
        for now, progress in ((5.5, True), (6.0, False), (6.5, False)):
            lease.renew(now, progress=progress)
        self.assertEqual(lease.ends, 5.0 + LASTS)
        lease.renew(7.0, progress=True)
        self.assertEqual(lease.ends, 6.5 + LASTS)

    def test_reloaded(self) -> None:
        """
        While the consensus time is changed the shorter one counts, until there
        is another ring. (C22)
        """
        lease = Lease()
        lease.begin(5.0, 2.0)
        lease.renew(5.5, progress=True)
        lease.shorten(1.0)
        lease.shorten(4.0)
        self.assertEqual(lease.ends, 5.0 + 1.0 * (1 - CLOCKS_DIFFER))
        lease.begin(6.0, 4.0)
        lease.renew(6.5, progress=True)
        self.assertEqual(lease.ends, 6.0 + 4.0 * (1 - CLOCKS_DIFFER))


class RingTests(SynchronousTestCase):
    """
    That of a processor on a ring.
    """

    def installed(self, harness: Harness, nodeid: int) -> list[float]:
        """
        When a processor installs a configuration without node 1.
        """
        times: list[float] = []
        perform = harness.perform

        def watched(at: int, effects: list) -> None:  # type: ignore[type-arg]
            times.extend(
                harness.now
                for change in of(ConfigurationChanged, effects)
                if at == nodeid and 1 not in change.configuration.members
            )
            perform(at, effects)

        self.patch(Harness, "perform", lambda _, at, effects: watched(at, effects))
        return times

    def test_renewed(self) -> None:
        """
        On a ring that is well, idle or not, there always is one. (C22)
        """
        harness = formed(3)
        for _ in range(50):
            harness.run(0.05)
            for ring in harness.rings.values():
                self.assertGreater(ring.leaseEnds(), harness.now)

    def test_none(self) -> None:
        """
        Who is on no ring has none. (C22)
        """
        ring = makeRing(1)
        self.assertEqual(ring.leaseEnds(), -inf)
        harness = formed(2)
        ring = harness.rings[1]
        ring.reform(harness.now)
        self.assertIs(ring.state, In.GATHER)
        self.assertEqual(ring.leaseEnds(), -inf)

    def test_cutOff(self) -> None:
        """
        A node that is cut off has no lease any more when the others are on a
        ring without it. (C22)
        """
        harness = formed(3)
        times = self.installed(harness, 3)
        ends = harness.rings[1].leaseEnds()
        harness.lost = lambda a, b, frame: 1 in {a, b}
        harness.run(0.01)
        ends = max(ends, harness.rings[1].leaseEnds())
        harness.run(5.0)
        self.assertGreater(times[0], ends)
        self.assertGreater(ends, harness.now - 5.0)

    def test_doesNotReceive(self) -> None:
        """
        Who cannot receive leaves the ring only when the leases of the others
        have ended, and its own. (C22)
        """
        harness = formed(3, evolve(TIMING, failReceive=20))
        harness.lost = lambda a, b, frame: b == 3 and isinstance(decode(frame), Regular)
        times = self.installed(harness, 3)
        harness.multicast(1, b"deaf?")
        ends = -inf
        while not times:
            ends = max(ends, harness.rings[1].leaseEnds())
            harness.run(0.01)
        self.assertGreater(times[0], ends)
