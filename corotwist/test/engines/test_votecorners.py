"""
Votes at awkward moments: in the middle of a round, when an engine fails or
stops, when nothing can be agreed on.
"""

from corotwist.engines.executive import Reconfigure, Reconfigured
from corotwist.errors import BadHandle, TryAgain
from corotwist.test.engines.test_voteoptions import VotingCase


class CornerTests(VotingCase):
    """
    Three nodes that expect fewer when one leaves.
    """

    def setUp(self) -> None:
        self.boot(3, allowDownscale=True, tracking=True, barrier=1)
        self.form(1, 2, 3)

    def step(self, nodeid: int) -> None:
        """
        A node sends one message, and hears all there is.
        """
        self.net.visit(nodeid, 1)
        self.net.receive(nodeid, 99)

    def breakDown(self, nodeid: int) -> None:
        """
        Who counts votes goes out of service.
        """
        places = self.net.nodes[nodeid].manager.roster.places.values()
        next(place for place in places if place.name == "votequorum").fail()

    def test_failed(self) -> None:
        """
        An engine that is out of service cannot say farewell to the others, and
        its node may not act any more.
        """
        engine = self.engine(1)
        self.assertTrue(engine.quorate())
        self.breakDown(1)
        self.assertFalse(engine.quorate())
        self.assertFalse(engine.counting())

    def test_leaveInARound(self) -> None:
        """
        VQ1: a node leaves for good in the middle of a round.  Whose votes count
        is agreed on when the round is over: what its members remember in it is
        what they tell each other.  (C10)
        """
        before = [self.engine(n).count.agreement.memory for n in (1, 2, 3)]
        self.net.form(1, 2, 3)
        left = self.engine(3).shutdown()
        heard = 0
        while self.net.nodes[1].manager.synchronizing():
            for nodeid in (3, 1, 2):
                self.step(nodeid)
            for nodeid in (1, 2, 3):
                if self.net.nodes[nodeid].manager.synchronizing():
                    memory = self.engine(nodeid).count.agreement.memory
                    self.assertEqual(memory, before[nodeid - 1])
                    heard += bool(self.engine(nodeid)._changes)
        self.assertGreater(heard, 0)
        self.net.run()
        self.wait(0)
        self.successResultOf(left)
        self.assertEqual(self.numbers(1), (2, 2, 2, True))
        formed = self.engine(1).count.agreement.memory.formed
        self.assertEqual(formed.voters, ((1, 1), (2, 1)))

    def test_ringEnds(self) -> None:
        """
        When the ring changes a leave is not waited for any more; but the node
        stops behind the beginning of the round, and not in it.  (C10)
        """
        left = self.engine(3).shutdown()
        self.net.form(1, 2, 3)
        self.assertNoResult(left)
        self.wait(0)
        self.successResultOf(left)

    def test_nothingToAgreeOn(self) -> None:
        """
        Who leaves a partition that may not act any more leaves at once: nothing
        changes by it.  (C10)
        """
        message = Reconfigure(3, 9, Reconfigured.EXPECTED_VOTES)
        self.engine(3).cluster.multicast(message.FUNCTION, message.encode())
        left = self.engine(3).shutdown()
        self.net.run()
        self.wait(0)
        self.successResultOf(left)
        self.assertEqual(self.numbers(1), (3, 9, 5, False))

    def test_askedInARound(self) -> None:
        """
        In a round the members tell each other how many votes they expect:
        another number would be forgotten at its end, so a client is told to
        try again.  (C4)
        """
        self.net.form(1, 2, 3)
        self.failureResultOf(self.engine(1).setExpected(4), TryAgain)
        self.net.run()
        done = self.engine(1).setExpected(4)
        self.net.run()
        self.successResultOf(done)
        self.assertEqual(self.numbers(2), (3, 4, 3, True))

    def test_forcedInARound(self) -> None:
        """
        VQ1: other expected votes from elsewhere, delivered in a round of members
        of which one only could act, change on none of them whose votes count.
        (C4)
        """
        self.net.form(3)
        self.form(1, 2)
        self.net.form(1, 2, 3)
        before = [self.engine(n).count.agreement.memory for n in (1, 2, 3)]
        message = Reconfigure(2, 3, Reconfigured.EXPECTED_VOTES)
        self.engine(2).cluster.multicast(message.FUNCTION, message.encode())
        heard = 0
        while self.net.nodes[3].manager.synchronizing():
            for nodeid in (2, 3, 1):
                self.step(nodeid)
            memory = self.engine(3).count.agreement.memory
            if self.net.nodes[3].manager.synchronizing():
                self.assertEqual(memory, before[2])
                heard += bool(self.engine(3).overrides)
        self.assertGreater(heard, 0)
        self.net.run()
        memories = [self.engine(n).count.agreement.memory for n in (1, 2, 3)]
        self.assertEqual(len(set(memories)), 1)

    def test_stopped(self) -> None:
        """
        What a client waits for is answered when nobody counts any more.  (C4)
        """
        engine = self.engine(1)
        done = engine.setVotes(2, 1)
        self.breakDown(1)
        self.failureResultOf(done, BadHandle)
        self.net.run()
