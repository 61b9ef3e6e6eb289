"""
Clients as applications have them, before the judge of groups, and under all
kinds of faults.
"""

import os
import sys
from errno import ENOSPC
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.engines.interfaces import Member
from corotwist.errors import NotJoined
from corotwist.ipc.callbacks import Callbacks
from corotwist.simulator import Cluster, Faults, PromiseBroken
from corotwist.simulator.chance import source
from corotwist.simulator.connected import ConnectedClient

GROUPS = (b"a", b"b")
SIZES = (1, 100, 2000, 70_000, 300_000)

RUN = """
import sys
from corotwist.test.simulator.test_connected import everything
for line in everything(int(sys.argv[1])).trace.lines():
    print(line)
"""


def everything(seed: int) -> Cluster:
    """
    A sealed cluster with members of groups on it and everything that can go
    wrong, all drawn from a seed.
    """
    random = source(seed, "everything")
    cluster = Cluster(
        3,
        seed,
        Faults(loss=0.01, burst=0.05, clog=0.05, replay=0.01, oversize=0.01),
        key=b"k" * 32,
        services=True,
        permute=True,
        drift=0.01,
        keepTrace=True,
    )
    cluster.attacker.listen()
    cluster.run(2)
    cluster.attack(50, 8)
    members: list[ConnectedClient] = []
    while cluster.seconds() < 10:
        cluster.run(random.expovariate(8))
        disturb(cluster, random.randrange(24), random.choice((1, 2, 3)))
        talk(cluster, random.randrange(5), random.choice((1, 2, 3)), members)
    cluster.calm()
    for nodeid, node in cluster.nodes.items():
        if node.leaving:
            cluster.kill(nodeid)
        if not node.up:
            cluster.boot(nodeid)
    cluster.run(4)
    cluster.settle(within=12)
    return cluster


def disturb(cluster: Cluster, what: int, nodeid: int) -> None:
    """
    Do something to a node, or not.
    """
    node = cluster.nodes[nodeid]
    if node.down:
        if what < 12 and not node.disk.refusing:
            cluster.boot(nodeid, fresh=what == 0)
        return
    if not node.up:
        return
    match what:
        case 0:
            cluster.kill(nodeid)
        case 1:
            cluster.stop(nodeid)
        case 2:
            cluster.pause(nodeid, 0.3)
        case 3:
            cluster.interfaceDown(nodeid)
        case 4:
            cluster.interfaceUp(nodeid)
        case 5:
            cluster.refuseSending(nodeid, ENOSPC, 0.2)
        case 6:
            cluster.exhaustFiles(nodeid)
        case 7:
            cluster.freeFiles(nodeid)
        case 8:
            cluster.crashAfter(nodeid, 7)
        case 9:
            cluster.stepClock(nodeid, 3600)
        case 10:
            cluster.swizzle(cluster.nodes)


def talk(
    cluster: Cluster, what: int, nodeid: int, members: list[ConnectedClient]
) -> None:
    """
    Let members come, talk and go.
    """
    random = cluster.whim
    if what == 0 and len(members) < 6 and cluster.nodes[nodeid].up:
        members.append(cluster.member(nodeid))
        members[-1].join(random.choice(GROUPS))
        return
    if not members:
        return
    one = random.choice(members)
    if what == 1:
        one.join(random.choice(GROUPS))
    elif what == 2 and random.random() < 0.2:
        members.remove(one)
        one.close()
    else:
        payload = bytes([random.randrange(256)]) * random.choice(SIZES)
        one.send(random.choice(GROUPS), payload).addErrback(lambda _: None)


class ConnectedTests(SynchronousTestCase):
    """
    Members of groups over UNIX sockets.
    """

    def formed(self, size: int = 2) -> Cluster:
        cluster = Cluster(size, services=True)
        cluster.settle(stay=False)
        return cluster

    def together(self, cluster: Cluster) -> list[ConnectedClient]:
        """
        A member of one group on each node.
        """
        members = [cluster.member(nodeid) for nodeid in cluster.nodes]
        for member in members:
            member.join(b"a")
        cluster.run(0.5)
        return members

    def test_messages(self) -> None:
        """
        Members see each other and what they say, as the others do that are
        clients of the engine.
        """
        cluster = self.formed()
        one, two = self.together(cluster)
        inside = cluster.client(1)
        inside.join(b"a")
        cluster.run(0.1)
        cluster.wait(one.send(b"a", b"x", b"y" * 300_000))
        cluster.wait(two.send(b"a", b"z"))
        cluster.settle()
        self.assertEqual({m[2][:1] for m in one.log}, {b"x", b"y", b"z"})
        self.assertEqual((two.log, inside.log), (one.log, one.log))
        self.assertEqual(len(one.views[b"a"].members), 3)
        self.failureResultOf(one.send(b"b", b"x"), NotJoined)
        self.assertRaises(NotJoined, one.leave, b"b")
        one.leave(b"a")
        cluster.settle()
        self.assertEqual(one.views, {})

    def test_lost(self) -> None:
        """
        A member whose node dies is another one to the judge when it is back.
        """
        cluster = self.formed()
        one, two = self.together(cluster)
        identity, life = one.identity, one.life
        cluster.kill(1)
        cluster.settle()
        self.assertFalse(one.open)
        self.assertEqual([m.nodeid for m in two.views[b"a"].members], [2])
        cluster.boot(1)
        self.assertTrue(cluster.runUntil(lambda: one.open, 8))
        self.assertTrue(one.identity > identity)
        self.assertIsNot(one.life, life)
        cluster.wait(one.send(b"a", b"again"))
        cluster.settle()
        self.assertEqual(two.log, [(b"a", Member(1, one.pid), b"again")])

    def test_closed(self) -> None:
        """
        A member that dies is gone for the others; one that never connects is
        none.
        """
        cluster = self.formed()
        one, two = self.together(cluster)
        one.close()
        cluster.settle()
        self.assertEqual([m.pid for m in two.views[b"a"].members], [two.pid])
        late = cluster.member(1)
        cluster.kill(1)
        cluster.run(1)
        self.assertFalse(late.open)

    def test_judged(self) -> None:
        """
        What a node tells its applications wrongly is seen.
        """
        cluster = self.formed()
        one, _ = self.together(cluster)
        audience = one._groups[b"a"].audience
        assert isinstance(audience, Callbacks)
        deliver = audience.batch
        assert deliver is not None, "it has its messages in batches"

        def twice(*arguments: Any) -> None:
            deliver(*arguments)
            deliver(*arguments)

        audience.batch = twice
        one.send(b"a", b"twice")
        broken = self.assertRaises(PromiseBroken, cluster.run, 1)
        self.assertEqual(broken.violation.promise, "C4")

    def test_everything(self) -> None:
        """
        With all faults at once, the judges have nothing to say.
        """
        for seed in range(3):
            cluster = everything(seed)
            self.assertTrue(cluster.attacker.counts.total() > 200)
            self.assertTrue(cluster.nodes[1].paths.counts["accepted"])

    def test_deterministic(self) -> None:
        """
        Sockets, streams, disks and attackers go the same way in every
        process, whatever its hash seed.
        """
        root = str(Path(corotwist.__file__).parent.parent)
        runs = []
        for hashSeed in ("0", "99"):
            changed = {"PYTHONHASHSEED": hashSeed, "PYTHONPATH": root}
            arguments = [sys.executable, "-c", RUN, "5"]
            runs.append(Popen(arguments, stdout=PIPE, env=os.environ | changed))
        one, other = [run.communicate()[0] for run in runs]
        self.assertEqual([run.returncode for run in runs], [0, 0])
        self.assertTrue(len(one.splitlines()) > 300)
        self.assertTrue(one == other, "two runs of one seed differ")
