"""
The judge of extended virtual synchrony: good histories pass, and each kind of
bad one is told for what it is.
"""

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from corotwist.simulator.judges.evs import RINGS_REMEMBERED, EvsJudge
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.totem.membership import Configuration, RingId
from corotwist.totem.sequence import MASK

R1, R2, R3 = RingId(4, 1), RingId(8, 1), RingId(12, 1)
R2_OF_2 = RingId(8, 2)


class EvsTests(SynchronousTestCase):
    """
    Histories written by hand.
    """

    def setUp(self) -> None:
        self.violations: list[Violation] = []
        self.judge = EvsJudge(self.violations.append)
        self.numbers: dict[Life, int] = {}

    # The words of a history.

    def boot(
        self, *nodeids: int, number: int = 1, fresh: bool | None = None
    ) -> list[Life]:
        lives = []
        for nodeid in nodeids:
            life = Life(nodeid, number, number == 1 if fresh is None else fresh)
            self.judge.booted(life)
            lives.append(life)
        return lives

    def ring(
        self,
        ringId: RingId,
        *lives: Life,
        members: Iterable[int] = (),
        came: Iterable[int] = (),
        joined: Iterable[int] | None = None,
        left: Iterable[int] = (),
    ) -> None:
        all_ = tuple(sorted(members or [life.nodeid for life in lives]))
        new = set(all_) - set(came) if joined is None else joined
        for life in lives:
            configuration = Configuration(
                ringId,
                all_,
                transitional=False,
                joined=tuple(sorted(new)),
                left=tuple(left),
            )
            self.judge.configured(life, configuration)

    def transition(
        self,
        ringId: RingId,
        *lives: Life,
        members: Iterable[int] = (),
        left: Iterable[int] = (),
    ) -> None:
        all_ = tuple(sorted(members or [life.nodeid for life in lives]))
        for life in lives:
            self.judge.configured(
                life, Configuration(ringId, all_, transitional=True, left=tuple(left))
            )

    def send(self, life: Life, ringId: RingId, *sequences: int) -> None:
        for sequence in sequences:
            number = self.numbers.get(life, 0) + 1
            self.numbers[life] = number
            payload = b"%d at %d" % (life.nodeid, sequence)
            self.judge.sent(life, ringId, sequence, number, payload)

    def deliver(
        self, lives: Iterable[Life], ringId: RingId, sender: Life, *sequences: int
    ) -> None:
        for life in lives:
            for sequence in sequences:
                payload = b"%d at %d" % (sender.nodeid, sequence)
                self.judge.delivered(life, ringId, sequence, sender.nodeid, payload)

    def assertFound(self, *promises: str) -> None:
        self.assertEqual([v.promise for v in self.violations], list(promises))

    def three(self) -> list[Life]:
        lives = self.boot(1, 2, 3)
        self.ring(R1, *lives)
        return lives

    # Good.

    def test_good(self) -> None:
        """
        Three order messages; one is lost and the two others go on, past a
        frame that only the lost one had; it comes back as another process.
        """
        a, b, c = lives = self.three()
        self.send(a, R1, 1)
        self.send(b, R1, 2)
        self.deliver(lives, R1, a, 1)
        self.deliver([b, c], R1, b, 2)
        self.send(a, R1, 3)
        self.send(c, R1, 4)
        self.judge.ended(a)
        self.transition(R2_OF_2, b, c, left=[1])
        self.deliver([b, c], R1, c, 4)
        self.ring(R2_OF_2, b, c, came=[2, 3])
        self.send(b, R2_OF_2, 1)
        self.deliver([b, c], R2_OF_2, b, 1)
        [again] = self.boot(1, number=2)
        self.transition(R3, b, c)
        self.ring(R3, b, c, members=[1, 2, 3], came=[2, 3])
        self.ring(R3, again, members=[1, 2, 3])
        self.judge.agreement([again, b, c])
        self.assertTrue(self.judge.caughtUp([again, b, c]))
        self.assertFound()

    def test_newcomer(self) -> None:
        """
        A first configuration joins everybody, or everybody else.
        """
        a, b = self.boot(1, 2)
        self.ring(R1, a, members=[1, 2], joined=[1, 2])
        self.ring(R1, b, members=[1, 2], joined=[1])
        self.assertFound()

    def test_wrap(self) -> None:
        """
        Sequences wrap round, and their order goes on.
        """
        a, b, c = self.three()
        self.send(a, R1, MASK, 0, 1)
        self.deliver([a, b, c], R1, a, MASK, 0, 1)
        self.assertFound()

    def test_split(self) -> None:
        """
        The two sides of a partition owe each other nothing.
        """
        a, b, c = self.three()
        self.send(a, R1, 1)
        self.deliver([a], R1, a, 1)
        self.transition(R2, a, left=[2, 3])
        self.transition(R2_OF_2, b, c, left=[1])
        self.ring(R2, a, came=[1])
        self.ring(R2_OF_2, b, c, came=[2, 3])
        self.assertFound()

    def test_lostDisk(self) -> None:
        """
        A node that lost its disk may use the name again of a ring of which
        nobody lives.
        """
        [a] = self.boot(1)
        self.ring(R2, a)
        self.judge.ended(a)
        a, b = self.boot(1, 2, number=2, fresh=True)
        self.ring(R1, a, b)
        self.transition(R2, a, b)
        self.ring(R2, a, b, came=[1, 2])
        self.assertFound()

    def test_bounded(self) -> None:
        """
        Old rings take no room for what was sent in them.
        """
        [a] = self.boot(1)
        self.ring(RingId(4, 1), a)
        for number in range(2, 2 * RINGS_REMEMBERED):
            old, new = RingId(4 * number - 4, 1), RingId(4 * number, 1)
            self.send(a, old, 1)
            self.deliver([a], old, a, 1)
            self.transition(new, a)
            self.ring(new, a, came=[1])
        self.assertFound()
        kept = sum(len(ring.sends) for ring in self.judge._rings.values())
        self.assertTrue(kept <= RINGS_REMEMBERED + 1, kept)
        self.assertTrue(len(self.judge._transitions) <= RINGS_REMEMBERED + 1)

    # Bad: sending and delivering.

    def test_invented(self) -> None:
        """
        P1.2: delivering what nobody sent.
        """
        a, _, _ = self.three()
        self.deliver([a], R1, a, 1)
        self.assertFound("P1.2")

    def test_sentElsewhere(self) -> None:
        """
        P1.3: sending in a ring one is not in.
        """
        a, b, _ = self.three()
        self.send(a, R2, 1)
        self.transition(R2_OF_2, b, left=[1, 3])
        self.send(b, R1, 1)
        self.assertFound("P1.3", "P1.3")

    def test_sentTwice(self) -> None:
        """
        P1.3: giving two places to one frame.
        """
        a, _, _ = self.three()
        self.judge.sent(a, R1, 1, 1, b"m")
        self.judge.sent(a, R1, 2, 1, b"m")
        self.assertFound("P1.3")

    def test_deliveredTwice(self) -> None:
        """
        P1.4: delivering a frame again.
        """
        a, _, _ = self.three()
        self.send(a, R1, 1)
        self.deliver([a], R1, a, 1, 1)
        self.assertFound("P1.4")

    def test_changed(self) -> None:
        """
        P1.5: other contents, or another sender, than was sent.
        """
        a, b, c = self.three()
        self.send(a, R1, 1)
        self.judge.delivered(b, R1, 1, a.nodeid, b"other")
        self.judge.delivered(c, R1, 1, b.nodeid, b"1 at 1")
        self.assertFound("P1.5", "P1.5")

    def test_deliveredElsewhere(self) -> None:
        """
        P2.3: delivering a frame of a ring one is not in.
        """
        a, _, _ = self.three()
        [d] = self.boot(4)
        self.send(a, R1, 1)
        self.deliver([d], R1, a, 1)
        self.assertFound("P2.3")

    def test_sharedPlace(self) -> None:
        """
        P6.4: two frames in one place, and places that go back.
        """
        a, b, _ = self.three()
        self.send(a, R1, 5)
        self.send(b, R1, 5)
        self.send(b, R1, 4)
        self.assertFound("P6.4", "P6.4")

    def test_backwards(self) -> None:
        """
        P6.1: delivering an earlier frame after a later one.
        """
        a, b, c = self.three()
        self.send(a, R1, 1, 2)
        self.judge.ended(a)
        self.transition(R2_OF_2, b, c, left=[1])
        self.send(c, R1, 9)
        self.violations.clear()
        self.judge._positions[b].gaps.append(0)
        self.judge._positions[b].next = 1
        self.deliver([b], R1, a, 1)
        self.assertFound("P6.1")

    def test_gap(self) -> None:
        """
        P6.2: delivering beyond a gap before any change of the ring.
        """
        a, b, _ = self.three()
        self.send(a, R1, 1, 2)
        self.deliver([b], R1, a, 2)
        self.assertFound("P6.2")

    def test_gapOfMember(self) -> None:
        """
        P6.3: going past a frame whose sender came along.
        """
        a, b, c = self.three()
        self.send(b, R1, 1)
        self.send(c, R1, 2)
        self.judge.ended(a)
        self.transition(R2_OF_2, b, c, left=[1])
        self.deliver([b], R1, c, 2)
        self.assertFound("P6.3")

    def test_effectWithoutCause(self) -> None:
        """
        P5.2: delivering past a gap what its sender sent after it had
        delivered the frame in the gap.
        """
        a, b, c = self.three()
        self.send(a, R1, 1)
        self.deliver([c], R1, a, 1)
        self.send(c, R1, 2)
        self.judge.ended(a)
        self.judge.ended(c)
        self.transition(R2_OF_2, b, left=[1, 3])
        self.deliver([b], R1, c, 2)
        self.assertFound("P5.2")

    def test_laterOfSameSender(self) -> None:
        """
        P5.2: delivering past a gap a frame of the sender of the gap.
        """
        a, b, c = self.three()
        self.send(a, R1, 1, 2)
        self.judge.ended(a)
        self.transition(R2_OF_2, b, c, left=[1])
        self.deliver([b], R1, a, 2)
        self.assertFound("P5.2")

    # Bad: configurations.

    def test_withoutOneself(self) -> None:
        """
        P2.0: installing a configuration one is not in.
        """
        a, b = self.boot(1, 2)
        self.ring(R1, b, members=[1, 3])
        self.ring(RingId(16, 1), a, members=[1, 2])
        self.transition(R2, a, members=[2], left=[1])
        self.assertFound("P2.0", "P2.0")

    def test_twoLists(self) -> None:
        """
        P2.1: one ring id for two lists of members.
        """
        a, b = self.boot(1, 2)
        self.ring(R1, a, members=[1, 2])
        self.ring(R1, b, members=[1, 2, 3])
        self.assertFound("P2.1")

    def test_twoTransitionalLists(self) -> None:
        """
        P2.1: one transitional configuration, two lists.
        """
        a, b, _ = self.three()
        self.transition(R2, a, members=[1, 2], left=[3])
        self.transition(R2, b, members=[1, 2, 3])
        self.assertFound("P2.1")

    def test_wrongRepresentative(self) -> None:
        """
        P2.1: a ring is named after its lowest member.
        """
        [b] = self.boot(2)
        self.ring(R1, b)
        self.assertFound("P2.1")

    def test_installedTwice(self) -> None:
        """
        P2.2: installing a configuration again.
        """
        a, b = self.boot(1, 2)
        self.ring(R1, a, b)
        self.transition(R1, a, b)
        self.ring(R1, a, came=[1, 2], members=[1, 2])
        self.assertIn("P2.2", [v.promise for v in self.violations])

    def test_noTransition(self) -> None:
        """
        P2.4: a ring after a ring, with nothing between.
        """
        a, b, c = self.three()
        self.ring(R2, a, b, c)
        self.assertFound("P2.4", "P2.4", "P2.4")

    def test_elsewhere(self) -> None:
        """
        P2.4: a transitional configuration towards another ring than the next.
        """
        a, _, _ = self.three()
        self.transition(R2, a, left=[2, 3])
        self.ring(R3, a)
        self.assertFound("P2.4")

    def test_twoTransitions(self) -> None:
        """
        P2.4: two transitional configurations in a row.
        """
        a, _, _ = self.three()
        self.transition(R2, a, left=[2, 3])
        self.transition(R3, a, left=[2, 3])
        self.assertFound("P2.4")

    def test_transitionFirst(self) -> None:
        """
        P2.4: a process begins with others from a ring it was not in; alone is
        tolerated.
        """
        a, b = self.boot(1, 2)
        self.transition(R1, a)
        self.transition(R1, b, members=[1, 2])
        self.assertFound("P2.4")

    def test_cameFromElsewhere(self) -> None:
        """
        P2.5: who comes along was in the old ring and is in the new one.
        """
        a, _, _ = self.three()
        self.transition(R2, a, members=[1, 4], left=[2, 3])
        self.ring(R2, a, came=[1, 4], joined=[])
        self.assertFound("P2.5", "P2.5")

    def test_sequenceFell(self) -> None:
        """
        P2.6: the ring sequence of a node rises, across its processes too,
        unless it lost its disk.
        """
        [a] = self.boot(1)
        self.ring(R2, a)
        self.judge.ended(a)
        [a] = self.boot(1, number=2)
        self.ring(R1, a)
        self.assertFound("P2.6")
        self.judge.ended(a)
        [a] = self.boot(1, number=3, fresh=True)
        self.ring(RingId(2, 1), a)
        self.assertFound("P2.6")

    def test_stranger(self) -> None:
        """
        P2.7: a process that started since did not come along, in whatever
        order that becomes known.
        """
        for lateFirst in (True, False):
            a, b = self.boot(1, 2)
            self.ring(R1, a, b)
            self.judge.ended(b)
            [again] = self.boot(2, number=2)
            if lateFirst:
                self.ring(R2, again, members=[1, 2])
            self.transition(R2, a, members=[1, 2])
            self.ring(R2, a, came=[1, 2], members=[1, 2])
            if not lateFirst:
                self.ring(R2, again, members=[1, 2])
            self.assertFound("P2.7")
            self.setUp()

    def test_twoLives(self) -> None:
        """
        P2.8: two processes of one node in one ring.
        """
        a, b = self.boot(1, 2)
        self.ring(R1, a, b)
        self.judge.ended(b)
        [again] = self.boot(2, number=2, fresh=True)
        self.ring(R1, again, members=[1, 2])
        self.assertFound("P2.8")

    def test_left(self) -> None:
        """
        P2.10: left is exactly who did not come along.
        """
        a, _, _ = self.three()
        self.transition(R2, a, left=[2])
        self.assertFound("P2.10")

    def test_joined(self) -> None:
        """
        P2.10: joined is exactly who was not here; a ring names nobody left.
        """
        a, b, _ = self.three()
        self.transition(R2, a, b, left=[3])
        self.ring(R2, a, members=[1, 2, 3], came=[1, 2], joined=[])
        self.ring(R2, b, members=[1, 2, 3], came=[1, 2], left=[3])
        self.assertFound("P2.10", "P2.10")

    def test_ownLost(self) -> None:
        """
        P3: a process delivers what it sent before it leaves that ring.
        """
        a, _, _ = self.three()
        self.send(a, R1, 1)
        self.transition(R2, a, left=[2, 3])
        self.ring(R2, a, came=[1])
        self.assertFound("P3")

    def test_differentBefore(self) -> None:
        """
        P4: going on together, having delivered different frames before.
        """
        a, b, c = self.three()
        self.send(c, R1, 1)
        self.deliver([a], R1, c, 1)
        self.transition(R2, a, b, left=[3])
        self.assertFound("P4")

    def test_differentAcross(self) -> None:
        """
        P4: going on together, having delivered different frames in
        transition.
        """
        a, b, c = self.three()
        self.send(c, R1, 1)
        self.transition(R2, a, b, left=[3])
        self.deliver([a], R1, c, 1)
        self.ring(R2, a, b, came=[1, 2])
        self.assertFound("P4")

    def test_behind(self) -> None:
        """
        L2: in quiet, everything sent has been delivered.
        """
        a, b, _ = self.three()
        self.send(a, R1, 1)
        self.deliver([a], R1, a, 1)
        self.assertFalse(self.judge.caughtUp([a, b]))
        self.judge.agreement([a, b])
        self.assertFound("L2")

    def test_words(self) -> None:
        """
        A violation says in words what was broken, by whom and where.
        """
        a, b, _ = self.three()
        self.send(a, R1, 1, 2)
        self.deliver([b], R1, a, 2)
        text = str(self.violations[0])
        for part in ("P6.2", "beyond a gap", "nodes 2, 1", "1.4", "sequence 2"):
            self.assertIn(part, text)
