"""
Stories about readers that stall, on whole nodes with applications over their
sockets.  [pitfalls M]
"""

from collections import Counter
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from corotwist.config.settings import NodeSettings
from corotwist.engines.interfaces import GroupView, Member, Reason, SlowReader
from corotwist.errors import ServiceError
from corotwist.ipc.client import NodeClient
from corotwist.ipc.events import Gap
from corotwist.ipc.group import ProcessGroup
from corotwist.simulator import Cluster, timingFor
from corotwist.simulator.connected import ConnectedClient
from corotwist.test.scenarios.story import LONG, A, B, C
from corotwist.test.scenarios.whole import WholeStory, reading

QUICK = timingFor(0.2)
RED, GREEN = b"red", b"green"
QUEUE_BYTES = 400_000
PATIENCE_SECONDS = 5.0
PAYLOAD = 4000


@define(eq=False)
class Person:
    """
    An application: what it sent to one group, and what it was told.

    @ivar sent: by number, whether it was accepted.
    """

    name: str
    client: NodeClient
    group: Any = None
    sent: dict[bytes, Deferred[None]] = field(factory=dict)
    heard: list[bytes] = field(factory=list)
    views: list[GroupView] = field(factory=list)
    gaps: list[Gap] = field(factory=list)
    pauses: list[bool] = field(factory=list)

    def joined(self, group: ProcessGroup) -> None:
        self.group = group
        group.flowChanged = self.pauses.append

    def say(self, count: int = 1) -> None:
        for _ in range(count):
            message = f"{self.name}.{len(self.sent)}.".encode()
            sent = self.group.send(message.ljust(PAYLOAD, b"x"))
            self.sent[message] = sent

    def unanswered(self) -> int:
        return sum(not sent.called for sent in self.sent.values())

    def delivered(self, sender: Member, payload: bytes) -> None:
        self.heard.append(payload.rstrip(b"x"))


class FlowStories(WholeStory):
    """
    Members of one group on three nodes; the one on A stalls.
    """

    def meet(self, **options: Any) -> tuple[Cluster, Person, Person, Person]:
        told = {"clientBytes": QUEUE_BYTES, "pauseSeconds": PATIENCE_SECONDS}
        configure = reading(**(told | options))
        cluster = self.whole(timing=QUICK, configure=configure)
        one, two, three = [self.person(cluster, n, RED) for n in (A, B, C)]
        return cluster, one, two, three

    def person(
        self,
        cluster: Cluster,
        nodeid: int,
        group: bytes,
        slow: SlowReader | None = None,
    ) -> Person:
        person = Person(f"{nodeid}{group.decode()}", cluster.connect(nodeid))
        joining = person.client.groups.join(
            group,
            person.delivered,
            person.views.append,
            person.gaps.append,
            slow=slow,
        )
        joining.addCallback(person.joined)
        cluster.wait(joining)
        return person

    def flood(
        self, cluster: Cluster, seconds: float, *senders: Person, step: float = 0.02
    ) -> int:
        """
        They send as long as they are let.

        @return: the most that waited for the stalled one at its node.
        """
        door: Any = None
        if cluster.nodes[A].up:
            door = cluster.services(A).node.ipc
        end = cluster.seconds() + seconds
        most = 0
        while cluster.seconds() < end:
            for sender in senders:
                if sender.unanswered() < 8:
                    sender.say(4)
            cluster.run(step)
            if door is not None:
                waiting = [w["queuedBytes"] for w in door.statistics()["waiting"]]
                most = max([most, *waiting])
        return most

    def pausedOn(self, cluster: Cluster) -> list[int]:
        up = [n for n, node in cluster.nodes.items() if node.up]
        return [n for n in up if cluster.engine(n, "cpg").dump()["paused"]]

    def assertAccounted(self, *people: Person) -> None:
        """
        Everything that was sent was accepted; all have it, once, in one order,
        and of each in the order in which he sent.
        """
        expected = [m for person in people for m in person.sent]
        first = people[0].heard
        self.assertEqual(sorted(first), sorted(expected))
        for person in people:
            self.assertEqual(person.heard, first)
            self.assertEqual(person.unanswered(), 0)
            prefix = f"{person.name}.".encode()
            mine = [m for m in first if m.startswith(prefix)]
            self.assertEqual(mine, list(person.sent))

    def test_stall(self) -> None:
        """
        A reader stalls, under load from two other nodes: all senders of its
        group wait, and are told so, while another group goes on as before.
        When it reads again they go on; no message is lost, doubled or out of
        order, and nobody left the group.  (A50, A51, A52, D12)
        """
        cluster, one, two, three = self.meet()
        green = [self.person(cluster, n, GREEN) for n in (A, B)]
        rings = [node.configuration for node in cluster.nodes.values()]
        cluster.stall(one.client, 3)
        most = self.flood(cluster, 2, two, three, *green)
        self.assertEqual(self.pausedOn(cluster), [A, B, C])
        self.assertLess(most, QUEUE_BYTES)
        before = len(two.sent), len(three.sent), len(green[1].heard)
        self.flood(cluster, 0.9, two, three, *green)
        self.assertEqual((len(two.sent), len(three.sent)), before[:2])
        self.assertGreater(len(green[1].heard), before[2] + 40)
        self.assertEqual((two.group.flowControlState, two.pauses), (True, [True]))
        self.assertFalse(green[1].group.flowControlState)
        self.flood(cluster, 2, two, three)
        self.assertGreater(len(two.sent), before[0] + 40)
        cluster.run(3)
        self.assertAccounted(one, two, three)
        self.assertAccounted(*green)
        for person in (one, two, three):
            self.assertEqual(person.pauses[:2], [True, False])
            self.assertFalse(person.group.flowControlState)
            self.assertEqual((person.gaps, len(person.group.members)), ([], 3))
        self.assertEqual([n.configuration for n in cluster.nodes.values()], rings)
        cluster.settle()

    def test_stuck(self) -> None:
        """
        A reader that never reads again is cut off after a while, and hears
        why; the senders go on with what waited.  (A51, A52)
        """
        cluster, one, two, three = self.meet()
        cluster.stall(one.client, 2 * PATIENCE_SECONDS)
        self.flood(cluster, PATIENCE_SECONDS - 0.5, two, three)
        self.assertEqual(self.pausedOn(cluster), [A, B, C])
        sent = len(two.sent)
        self.flood(cluster, 2, two, three)
        self.assertEqual(self.pausedOn(cluster), [])
        self.assertGreater(len(two.sent), sent + 40)
        (gone,) = two.views[-1].left
        self.assertEqual((gone.member.nodeid, gone.reason), (A, Reason.PROCDOWN))
        cluster.run(PATIENCE_SECONDS + 5)
        (gap,) = one.gaps
        self.assertIn("senders waited for it", gap.reason)
        self.assertEqual(len(one.group.members), 3)
        self.assertAccounted(two, three)
        cluster.settle()

    def test_dies(self) -> None:
        """
        A stalled reader that dies lets senders go on at once, though others
        on its node stay in the group.  (A51)
        """
        cluster, one, two, three = self.meet()
        four = self.person(cluster, A, RED)
        cluster.stall(one.client, 60)
        self.flood(cluster, 1, two, three)
        self.assertEqual(self.pausedOn(cluster), [A, B, C])
        cluster.crash(one.client)
        self.flood(cluster, 0.5, two, three)
        self.assertEqual(self.pausedOn(cluster), [])
        cluster.run(1)
        self.assertAccounted(two, three, four)
        cluster.settle()

    def test_nodeDies(self) -> None:
        """
        So does one whose node dies.  (A51)
        """
        cluster, one, two, three = self.meet()
        cluster.stall(one.client, 60)
        self.flood(cluster, 1, two, three)
        cluster.kill(A)
        self.flood(cluster, 2, two, three, step=0.05)
        cluster.run(1)
        self.assertEqual(self.pausedOn(cluster), [])
        self.assertAccounted(two, three)
        self.assertEqual(two.pauses, [True, False])
        cluster.settle()

    def test_partition(self) -> None:
        """
        Those who are parted from a stalled reader go on; when they meet again
        they wait for it again, and go on when it reads.  (A51)
        """
        cluster, one, two, three = self.meet(pauseSeconds=60.0)
        cluster.stall(one.client, 7)
        self.flood(cluster, 1, two, three)
        self.assertEqual(self.pausedOn(cluster), [A, B, C])
        cluster.partition({A}, {B, C})
        self.flood(cluster, 2, two, three)
        self.assertEqual(self.pausedOn(cluster), [A])
        cluster.heal()
        self.flood(cluster, 2, two, three)
        self.assertEqual(self.pausedOn(cluster), [A, B, C])
        cluster.run(4)
        self.flood(cluster, 1, two, three)
        cluster.run(3)
        self.assertEqual(self.pausedOn(cluster), [])
        self.assertEqual(two.unanswered() + three.unanswered(), 0)
        self.assertEqual(two.heard, three.heard)
        self.assertEqual((one.gaps, len(one.group.members)), ([], 3))
        cluster.settle()

    def test_disconnect(self) -> None:
        """
        A reader that wants no one to wait is cut off at the bound, and the
        senders notice nothing.  (A52)
        """
        cluster, _, two, three = self.meet()
        one = self.person(cluster, A, GREEN, SlowReader.DISCONNECT)
        green = self.person(cluster, B, GREEN)
        cluster.stall(one.client, 10)
        most = self.flood(cluster, 3, green, two)
        self.assertEqual(self.pausedOn(cluster), [])
        self.assertEqual(green.pauses, [])
        self.assertGreater(most, QUEUE_BYTES // 2)
        self.assertLessEqual(most, QUEUE_BYTES)
        (gone,) = green.views[-1].left
        self.assertEqual(
            (gone.member.pid, gone.reason), (one.client.pid, Reason.PROCDOWN)
        )
        cluster.run(10)
        (gap,) = one.gaps
        self.assertIn("too slow", gap.reason)
        self.assertEqual((two.gaps, three.gaps), ([], []))
        cluster.settle()

    def test_spill(self) -> None:
        """
        What a reader that spills does not read waits in a file: nobody else
        notices, and when it reads again it gets everything.  (A52)
        """
        cluster, _, two, _ = self.meet()
        one = self.person(cluster, A, GREEN, SlowReader.SPILL)
        green = self.person(cluster, B, GREEN)
        cluster.stall(one.client, 3)
        most = self.flood(cluster, 3, green, two)
        door: Any = cluster.services(A).node.ipc
        spilled = max(w["spilledBytes"] for w in door.statistics()["waiting"])
        self.assertGreater(spilled, QUEUE_BYTES)
        self.assertLess(most, QUEUE_BYTES // 2)
        self.assertEqual((self.pausedOn(cluster), green.pauses), ([], []))
        self.flood(cluster, 1, green)
        cluster.run(2)
        self.assertAccounted(one, green)
        self.assertEqual((one.gaps, len(one.group.members)), ([], 2))
        waiting = door.statistics()["waiting"]
        self.assertEqual([w["spilledBytes"] for w in waiting], [0] * len(waiting))
        cluster.settle()

    def test_both(self) -> None:
        """
        Two readers stall at different times on different nodes: senders wait
        for the later one.
        """
        cluster, one, two, three = self.meet()
        cluster.stall(one.client, 2)
        self.flood(cluster, 1, two, three)
        cluster.stall(two.client, 3)
        cluster.run(1.5)
        self.flood(cluster, 1, three)
        self.assertGreater(three.unanswered(), 0)
        cluster.run(4)
        self.assertEqual(self.pausedOn(cluster), [])
        self.assertAccounted(one, two, three)
        cluster.settle()


class DrawnStories(WholeStory):
    """
    Applications that stall, while everything else goes wrong, before the judge
    of process groups.
    """

    def drawn(self, seed: int) -> dict[str, int]:
        """
        @return: what happened how often, for one who wonders.
        """
        random = Random(seed)

        def configure(settings: NodeSettings) -> NodeSettings:
            slow = random.choice([*SlowReader, SlowReader.PAUSE])
            told = reading(slowReader=slow.value, clientBytes=200_000, pauseSeconds=2.0)
            return told(settings)

        cluster = self.whole(timing=QUICK, configure=configure, seed=seed)
        members: list[ConnectedClient] = []
        for _ in range(120):
            self.act(cluster, random, members)
            cluster.run(random.uniform(0, 0.1))
        cluster.heal()
        for nodeid, node in cluster.nodes.items():
            if not node.up:
                cluster.boot(nodeid)
        cluster.run(8)
        cluster.settle(within=12)
        met = Counter[str]()
        for nodeid in cluster.nodes:
            services = cluster.services(nodeid)
            flow = services.manager.flow.dump()
            self.assertEqual((flow["heldHere"], flow["heldElsewhere"]), ({}, {}))
            self.assertEqual(cluster.engine(nodeid, "cpg").dump()["parked"], 0)
            met.update({name: flow[name] for name in ("pauses", "heard")})
            door: Any = services.node.ipc
            met["cut"] += door.counters.cut
        return met

    def act(
        self, cluster: Cluster, random: Random, members: list[ConnectedClient]
    ) -> None:
        """
        Somebody does something.
        """
        what = random.random()
        nodeid = random.choice((A, B, C))
        one = random.choice(members) if members else None
        if what < 0.1 or one is None:
            if cluster.nodes[nodeid].up and len(members) < 6:
                members.append(cluster.member(nodeid))
                members[-1].join(random.choice((RED, GREEN)))
        elif what < 0.13:
            members.remove(one)
            one.close()
        elif what < 0.25 and one.node is not None:
            one.stall(random.choice((0.3, 1.0, 4.0)))
        elif what < 0.27:
            cluster.partition({nodeid}, {A, B, C} - {nodeid})
        elif what < 0.31:
            cluster.heal()
        elif what < 0.33 and cluster.nodes[nodeid].up:
            cluster.kill(nodeid)
        elif what < 0.36 and not cluster.nodes[nodeid].up:
            cluster.boot(nodeid)
        else:
            size = random.choice((100, 10_000, 40_000))
            for group in (RED, GREEN):
                sent = one.send(group, *[bytes(size)] * 5)
                sent.addErrback(lambda failure: failure.trap(ServiceError))

    def test_drawn(self) -> None:
        """
        Whoever stalls, dies, or is parted from the others: the judge finds
        nothing lost, doubled or out of order, and in the end nobody waits for
        anybody.  (A51, A52)
        """
        met = Counter[str]()
        for seed in range(30 if LONG else 3):
            met.update(self.drawn(seed))
        self.assertEqual({*+met}, {"pauses", "cut", "heard"})
