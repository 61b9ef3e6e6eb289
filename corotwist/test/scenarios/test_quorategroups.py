"""
Stories about quorate groups: however the network parts, what their members see
is one history, written by the nodes that may act.
"""

from collections.abc import Iterable
from itertools import count
from random import Random
from typing import Any

from attrs import define, field
from twisted.python.failure import Failure

from corotwist.engines.batch import pack, unpack
from corotwist.engines.interfaces import (
    Member,
    Position,
    Receipt,
    ViewId,
)
from corotwist.errors import NotQuorate
from corotwist.simulator import Cluster, Faults, timingFor
from corotwist.simulator.judges.groups import FIRST_APPLICATION
from corotwist.test.engines.orderednet import Listener
from corotwist.test.scenarios.story import LONG, A, B, C, D, E, Story
from corotwist.test.scenarios.whole import voting
from corotwist.totem.membership import Guarantee

GROUP = b"accounts"
SIZE = 5
QUICK = timingFor(0.2)
# Drawn stories.
SEEDS = 200 if LONG else 6

Place = tuple[ViewId, int]


@define(eq=False, slots=False)
class Teller(Listener):
    """
    A member of the group, on one process of a node.

    @ivar cluster: its node is C{nodeid} of this one.
    @ivar history: what it was shown, with the view in force and the place.
    @ivar accepted: what it sent, and where it was told that it is.
    @ivar refused: what it sent that was ordered in no quorate view, or was not
        ordered.
    """

    cluster: Cluster = field(kw_only=True)
    nodeid: int = field(kw_only=True)
    history: list[tuple[Place, bytes]] = field(factory=list)
    accepted: dict[bytes, Receipt] = field(factory=dict)
    refused: dict[bytes, BaseException | None] = field(factory=dict)
    acting: list[bool] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.manager = self.cluster.services(self.nodeid).manager
        self.groups = self.cluster.services(self.nodeid).groups

    def messagesDelivered(
        self, group: bytes, sender: Member, data: bytes, count: int, position: Position
    ) -> None:
        view = self.manager.views.current
        self.acting.append(view.quorate)
        (text,) = unpack(data)
        self.history.append(((view.viewId, position.sequence), text))

    def say(self, text: bytes) -> None:
        """
        Send something, and remember what is answered.
        """
        sent = self.groups.send(self, GROUP, pack([text]), 1, Guarantee.AGREED)
        sent.addCallbacks(
            self._accepted, self._refused, callbackArgs=(text,), errbackArgs=(text,)
        )

    def _accepted(self, receipt: Receipt, text: bytes) -> None:
        self.accepted[text] = receipt

    def _refused(self, failure: Failure, text: bytes) -> None:
        self.refused[text] = failure.value


class QuorateStories(Story):
    """
    Five nodes with a vote and a member each; three may act.
    """

    def open(self, **options: Any) -> tuple[Cluster, dict[int, Teller]]:
        cluster = self.formed(
            SIZE, services=True, timing=QUICK, configure=voting(SIZE), **options
        )
        self.everybody: list[Teller] = []
        self.numbers = count()
        tellers = {nodeid: self.teller(cluster, nodeid) for nodeid in cluster.nodes}
        cluster.run(0.5)
        return cluster, tellers

    def teller(self, cluster: Cluster, nodeid: int) -> Teller:
        """
        Somebody on a node.
        """
        pid = FIRST_APPLICATION + nodeid
        teller = Teller(pid, cluster=cluster, nodeid=nodeid)
        teller.groups.join(teller, GROUP, quorate=True)
        self.everybody.append(teller)
        return teller

    def oneHistory(self, *complete: Teller) -> None:
        """
        Whoever was shown anything was shown it in a quorate view; all histories
        are parts of one, in which each message has one place; what was answered
        with a place is there, and what was refused to those who never lost
        their quorum is not.

        @param complete: who was in every quorate view, and so has seen all.
        """
        places: dict[Place, bytes] = {}
        for teller in self.everybody:
            self.assertTrue(all(teller.acting), teller.nodeid)
            told = [place for place, _ in teller.history]
            self.assertEqual(told, sorted(set(told)), teller.nodeid)
            for place, text in teller.history:
                self.assertEqual(places.setdefault(place, text), text)
        self.assertEqual(len(set(places.values())), len(places))
        for teller in self.everybody:
            for text, receipt in teller.accepted.items():
                place = receipt.viewId, receipt.sequence
                self.assertEqual(places.get(place), text)
        for teller in complete:
            self.assertEqual(teller.history, sorted(places.items()))

    def chatter(
        self, cluster: Cluster, tellers: Iterable[Teller], rounds: int, gap: float
    ) -> None:
        """
        All talk, over each other.
        """
        for _ in range(rounds):
            for teller in tellers:
                teller.say(b"%d.%d" % (teller.nodeid, next(self.numbers)))
            cluster.run(gap)

    def test_parted(self) -> None:
        """
        Two nodes on one side and three on the other, in the middle of talk: the
        two are refused what they say, and see nothing, until they are back; the
        three go on.  (X4, C23)
        """
        for minority in ({A, B}, {D, E}, {A, E}):
            cluster, tellers = self.open()
            majority = set(tellers) - minority
            self.chatter(cluster, tellers.values(), 3, 0.002)
            cluster.partition(minority, majority)
            self.chatter(cluster, tellers.values(), 200, 0.005)
            cluster.settle()
            for teller in tellers.values():
                teller.say(b"%d is here" % teller.nodeid)
            cluster.run(0.5)
            for nodeid in minority:
                last = tellers[nodeid].refused[b"%d is here" % nodeid]
                self.assertIsInstance(last, NotQuorate)
            cluster.heal()
            cluster.settle()
            tellers[A].say(b"all are here")
            cluster.run(0.5)
            for teller in tellers.values():
                self.assertEqual(teller.history[-1][1], b"all are here")
            self.oneHistory(*(tellers[n] for n in majority))
            heard = {text for _, text in tellers[min(majority)].history}
            for nodeid in majority:
                self.assertIn(b"%d is here" % nodeid, heard)
                self.assertEqual(set(tellers[nodeid].refused) & heard, set())

    def test_alone(self) -> None:
        """
        One node cut off, whoever it is, and taken back; then another.  (X4, C23)
        """
        cluster, tellers = self.open()
        for alone in (A, C):
            others = set(tellers) - {alone}
            self.chatter(cluster, tellers.values(), 2, 0.001)
            cluster.partition({alone}, others)
            self.chatter(cluster, tellers.values(), 150, 0.005)
            cluster.settle()
            cluster.heal()
            cluster.settle()
        self.chatter(cluster, tellers.values(), 2, 0.2)
        self.oneHistory(tellers[B], tellers[D], tellers[E])

    def test_nobody(self) -> None:
        """
        Parted so that nobody may act, nobody sees anything, and it goes on where
        three meet.  (X4, C23)
        """
        cluster, tellers = self.open()
        self.chatter(cluster, tellers.values(), 3, 0.002)
        cluster.partition({A, B}, {C, D}, {E})
        cluster.settle()
        before = {n: len(t.history) for n, t in tellers.items()}
        self.chatter(cluster, tellers.values(), 50, 0.005)
        self.assertEqual(before, {n: len(t.history) for n, t in tellers.items()})
        cluster.partition({A, B}, {C, D, E})
        cluster.settle()
        self.chatter(cluster, tellers.values(), 5, 0.1)
        self.assertGreater(len(tellers[E].history), before[E])
        self.assertEqual(len(tellers[A].history), before[A])
        self.oneHistory()

    def test_crash(self) -> None:
        """
        A node that dies while it talks has said what everybody heard, or
        nothing; with it the other two of a side lose their quorum.  (X4, C23)
        """
        cluster, tellers = self.open()
        cluster.partition({A, B}, {C, D, E})
        cluster.settle()
        self.chatter(cluster, tellers.values(), 3, 0.001)
        cluster.kill(E)
        self.chatter(cluster, [tellers[C], tellers[D]], 150, 0.005)
        cluster.settle()
        tellers[C].say(b"never")
        cluster.run(0.2)
        self.assertIsInstance(tellers[C].refused[b"never"], NotQuorate)
        self.assertEqual(tellers[C].history, tellers[D].history)
        cluster.heal()
        cluster.boot(E)
        cluster.settle()
        tellers[E] = self.teller(cluster, E)
        cluster.run(0.5)
        tellers[E].say(b"again")
        cluster.run(0.5)
        for nodeid in (A, B, C, D, E):
            self.assertEqual(tellers[nodeid].history[-1][1], b"again")
        self.oneHistory()

    def test_drawn(self) -> None:
        """
        Lossy links, partitions and deaths as they fall: one history, always.
        (X4, C23)
        """
        for seed in range(SEEDS):
            with self.subTest(seed=seed):
                self.drawn(seed)

    def drawn(self, seed: int) -> None:
        """
        One of them.
        """
        whim = Random(seed)
        cluster, tellers = self.open(seed=seed)
        cluster.faults = Faults(loss=whim.choice((0.0, 0.02, 0.1)))
        for _ in range(8):
            rounds, gap = whim.randrange(1, 40), whim.uniform(0, 0.02)
            self.chatter(cluster, tellers.values(), rounds, gap)
            self.befall(cluster, tellers, whim)
        cluster.calm()
        cluster.heal()
        for nodeid in tellers:
            if cluster.nodes[nodeid].down:
                self.revive(cluster, tellers, nodeid)
        cluster.settle()
        for teller in tellers.values():
            teller.say(b"%d is here" % teller.nodeid)
        cluster.run(0.5)
        self.oneHistory()
        for teller in tellers.values():
            self.assertIn(b"%d is here" % teller.nodeid, teller.accepted)

    def befall(
        self, cluster: Cluster, tellers: dict[int, Teller], whim: Random
    ) -> None:
        """
        Something happens to the network, or to a node.
        """
        what = whim.random()
        nodes = list(tellers)
        if what < 0.5:
            whim.shuffle(nodes)
            cut = whim.randrange(1, SIZE)
            cluster.partition(nodes[:cut], nodes[cut:])
        elif what < 0.8:
            cluster.heal()
        else:
            nodeid = whim.choice(nodes)
            if cluster.nodes[nodeid].down:
                self.revive(cluster, tellers, nodeid)
            else:
                cluster.kill(nodeid)

    def revive(self, cluster: Cluster, tellers: dict[int, Teller], nodeid: int) -> None:
        """
        A node that died starts again, with another member.
        """
        cluster.boot(nodeid)
        tellers[nodeid] = self.teller(cluster, nodeid)
