"""
Rings of unmodified corosync nodes and ours.

The short form tells a story for each layout of a ring and each kind of fault, and
lets a few faults happen at random.  C{COROTWIST_SOAK_MINUTES=10} lets them happen
for so long, from the seed C{COROTWIST_SOAK_SEED} or one that a failure names.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from threading import Event
from time import monotonic, time_ns
from typing import Final

from attrs import frozen
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.test.interop.peers import (
    VIEW_SECONDS,
    Disturbed,
    Peer,
    agree,
    barrier,
    exchange,
    together,
)
from corotwist.tools.lab import Lab, LabFailed, environment, missing, until

GROUP: Final = "laboratory"
# From the smallest message to one that real clients cut into parts: small ones
# share a frame, 1400 fills one, the others need several.
SIZES: Final = (1, 15, 100, 1400, 5000, 70_000, 1 << 20, 1)
# What is on its way while something fails: so many messages of such a size, some
# of them in hundreds of frames.
BURST: Final = ((300, 200), (200_000, 5), (300, 20))
LOG_LINES: Final = 25
SOAK_MINUTES: Final = os.environ.get("COROTWIST_SOAK_MINUTES")
SOAK_SEED: Final = os.environ.get("COROTWIST_SOAK_SEED")
SHORT_SOAK: Final = 0.1, 1  # Minutes and seed.
LOSSY_SECONDS: Final = 3.0
AFTERSHOCKS: Final = 5  # Changes that a random fault may have later.
# What our node says when a round of synchronization is over.
IN_STEP: Final = "Services synchronized"
# Version 2 of the process groups, and an engine that nobody else has.
COMPONENTS: Final = """
from corotwist.engines.base import SynchronizedEngine
from corotwist.plugin import EngineMaker
from corotwist.test.engines.newer import NEWER

class Extra(SynchronizedEngine):
    name = "extra"
    serviceId = 4096

extra = EngineMaker("extra", 1, Extra)
"""
LAB_SECONDS: Final = 120.0  # Of a long form, before there is another layout.


class RingCase(SynchronousTestCase):
    """
    Makes laboratories, and shows what the daemons said when a story fails.
    """

    def setUp(self) -> None:
        if problems := missing():
            raise SkipTest(f"no rings with real corosync: {', '.join(problems)}")

    def tell(
        self,
        size: int,
        ours: Sequence[int],
        transport: str,
        story: Callable[[Lab, dict[int, Peer]], None],
        family: int = 4,
        *,
        options: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """
        Form a ring with a client on each node, and tell a story about it.
        """
        lab = Lab.build(size, ours, transport, family=family, options=options)
        peers: dict[int, Peer] = {}
        try:
            lab.startAll()
            for nodeid in lab.nodeids:
                peers[nodeid] = Peer.start(lab, nodeid, GROUP)
            together(list(peers.values()))
            story(lab, peers)
        except LabFailed as error:
            raise self.failureException(f"{error}\n{said(lab)}") from error
        finally:
            for peer in peers.values():
                peer.close()
            lab.down()


def said(lab: Lab) -> str:
    """
    The last lines of every daemon.
    """
    tails = []
    for nodeid in lab.nodeids:
        kind = "corotwist" if nodeid in lab.ours else "corosync"
        lines = lab.log(nodeid).splitlines()[-LOG_LINES:]
        tails.append("\n".join([f"--- node {nodeid}, {kind}:", *lines]))
    return "\n".join(tails)


def quorate(lab: Lab, nodeid: int, answer: str = "Yes") -> None:
    """
    Wait until a real node's own tool gives this answer.
    """
    until(
        lambda: lab.quorum(nodeid).get("Quorate") == answer,
        VIEW_SECONDS,
        f"node {nodeid} quorate: {answer}; it says {lab.quorum(nodeid)}",
    )


def burst(peers: Sequence[Peer]) -> None:
    """
    Have everybody send, and do not wait.
    """
    for peer in peers:
        for size, count in BURST:
            peer.send(size, count)


def apart(peers: Sequence[Peer]) -> None:
    """
    Wait until these are the group, and have lived through the same.
    """
    together(peers)
    barrier(peers)
    livedTogether(peers)


def livedTogether(peers: Sequence[Peer]) -> None:
    """
    Check that everything since they were last settled was the same to all.
    """
    agree(peers, [peer.history(peer.origin) for peer in peers])


def calm(peers: Sequence[Peer]) -> None:
    """
    Wait until they are together and nothing changes any more: who slept only
    learns what became of him.
    """
    for _ in range(AFTERSHOCKS):
        together(peers)
        try:
            exchange(peers, SIZES)
        except Disturbed:
            continue
        return
    raise LabFailed(f"the group changed {AFTERSHOCKS} times without a reason")


def settle(peers: Sequence[Peer]) -> None:
    """
    From here on, who stays together sees the same: before, some of them had
    not joined, or been elsewhere.
    """
    barrier(peers)
    for peer in peers:
        peer.origin = len(peer.events)


class FormationTests(RingCase):
    """
    Rings of each layout come to be, are quorate, and keep one order.
    """

    def formed(
        self, size: int, ours: Sequence[int], transport: str, family: int = 4
    ) -> None:
        """
        The story of an undisturbed ring.
        """

        def story(lab: Lab, peers: dict[int, Peer]) -> None:
            for nodeid in lab.real:
                quorate(lab, nodeid)
                self.assertEqual(lab.quorum(nodeid)["Nodes"], str(size))
                self.assertEqual(lab.quorum(nodeid)["Total votes"], str(size))
            order = exchange(list(peers.values()), SIZES)
            self.assertEqual(len(order), size * len(SIZES))

        self.tell(size, ours, transport, story, family)

    def test_pairUnicast(self) -> None:
        """
        A real representative and ours, over udpu.
        """
        self.formed(2, [2], "udpu")

    def test_pairUnicastOursFirst(self) -> None:
        """
        Ours as representative of a real node, over udpu.
        """
        self.formed(2, [1], "udpu")

    def test_pairMulticast(self) -> None:
        """
        A real representative and ours, over udp multicast.
        """
        self.formed(2, [2], "udp")

    def test_pairMulticastOursFirst(self) -> None:
        """
        Ours as representative of a real node, over udp multicast.
        """
        self.formed(2, [1], "udp")

    def test_threeUnicast(self) -> None:
        """
        Ours between two real nodes, over udpu.
        """
        self.formed(3, [2], "udpu")

    def test_threeUnicastOursAround(self) -> None:
        """
        A real node between two of ours, one the representative, over udpu.
        """
        self.formed(3, [1, 3], "udpu")

    def test_threeMulticast(self) -> None:
        """
        Ours between two real nodes, over udp multicast.
        """
        self.formed(3, [2], "udp")

    def test_threeMulticastOursFirst(self) -> None:
        """
        Ours as representative of two real nodes, over udp multicast.
        """
        self.formed(3, [1], "udp")

    def test_threeUnicastIpv6(self) -> None:
        """
        Ours between two real nodes, over udpu and IPv6.
        """
        self.formed(3, [2], "udpu", family=6)

    def test_pairMulticastIpv6(self) -> None:
        """
        Ours as representative of a real node, over IPv6 multicast to the group
        that follows from the cluster's name.
        """
        self.formed(2, [1], "udp", family=6)


class FaultTests(RingCase):
    """
    Nodes of either kind end, come back, and are cut off, under load.
    """

    def lost(self, ours: int, victim: int, transport: str, number: int) -> None:
        """
        The story of a ring of three that loses a node and gets it back.
        """

        def story(lab: Lab, peers: dict[int, Peer]) -> None:
            settle(list(peers.values()))
            burst(list(peers.values()))
            lab.kill(victim, number)
            peers.pop(victim).close()
            apart(list(peers.values()))
            if number == signal.SIGTERM:
                self.leaveHeard(lab, peers)
            lab.start(victim)
            peers[victim] = Peer.start(lab, victim, GROUP)
            together(list(peers.values()))
            exchange(list(peers.values()), SIZES)
            quorate(lab, lab.real[0])

        self.tell(3, [ours], transport, story)

    def leaveHeard(self, lab: Lab, survivors: Iterable[int]) -> None:
        """
        Nobody had to wait for the token to be lost.  (Real nodes may miss the
        leave itself, when another's join that says the same overtakes it.)
        """
        for nodeid in set(survivors) & set(lab.real):
            self.assertNotIn("A processor failed", lab.log(nodeid))

    def test_oursKilled(self) -> None:
        """
        Ours in the middle is killed; the real nodes go on, and it comes back.
        """
        self.lost(ours=2, victim=2, transport="udpu", number=signal.SIGKILL)

    def test_oursKilledAsRepresentative(self) -> None:
        """
        Ours is killed as the representative, over multicast, and comes back.
        """
        self.lost(ours=1, victim=1, transport="udp", number=signal.SIGKILL)

    def test_oursEnds(self) -> None:
        """
        SIGTERM is a leave that the real nodes understand.
        """
        self.lost(ours=2, victim=2, transport="udpu", number=signal.SIGTERM)

    def test_realKilled(self) -> None:
        """
        A real representative is killed; ours takes its place, and gives it
        back.
        """
        self.lost(ours=2, victim=1, transport="udpu", number=signal.SIGKILL)

    def test_realEnds(self) -> None:
        """
        A real node leaves in order while ours is the representative.
        """
        self.lost(ours=1, victim=2, transport="udp", number=signal.SIGTERM)

    def paused(self, ours: int, victim: int, transport: str) -> None:
        """
        The story of a ring of three of which one daemon sleeps until it is
        missed, and then hears everything that was said meanwhile.
        """

        def story(lab: Lab, peers: dict[int, Peer]) -> None:
            others = [peers[nodeid] for nodeid in peers if nodeid != victim]
            settle(list(peers.values()))
            burst(others)
            lab.kill(victim, signal.SIGSTOP)
            apart(others)
            lab.kill(victim, signal.SIGCONT)
            calm(list(peers.values()))
            livedTogether(others)

        self.tell(3, [ours], transport, story)

    def test_oursPaused(self) -> None:
        """
        Ours sleeps for longer than the token timeout.
        """
        self.paused(ours=2, victim=2, transport="udpu")

    def test_realPaused(self) -> None:
        """
        A real representative sleeps, and finds that ours has taken over.
        """
        self.paused(ours=2, victim=1, transport="udp")

    def cut(self, ours: int, away: int, transport: str) -> None:
        """
        The story of a ring of three of which one node is cut off.
        """

        def story(lab: Lab, peers: dict[int, Peer]) -> None:
            others = [peers[nodeid] for nodeid in peers if nodeid != away]
            settle(list(peers.values()))
            burst(list(peers.values()))
            lab.partition([away], [peer.nodeid for peer in others])
            apart(others)
            together([peers[away]])
            for nodeid in lab.real:
                quorate(lab, nodeid, "No" if nodeid == away else "Yes")
            lab.heal()
            together(list(peers.values()))
            exchange(list(peers.values()), SIZES)
            livedTogether(others)
            for nodeid in lab.real:
                quorate(lab, nodeid)

        self.tell(3, [ours], transport, story)

    def test_oursCutOff(self) -> None:
        """
        Ours is cut off from two real nodes, and merges again.
        """
        self.cut(ours=2, away=2, transport="udpu")

    def test_realCutOff(self) -> None:
        """
        A real representative is cut off from ours and another real node.
        """
        self.cut(ours=2, away=1, transport="udpu")

    def test_realCutOffMulticast(self) -> None:
        """
        A real node is cut off from our representative, over multicast.
        """
        self.cut(ours=1, away=3, transport="udp")


class ComponentTests(RingCase):
    """
    Engines of our node are replaced and loaded, in a ring with real nodes.
    """

    def test_replacedAndLoaded(self) -> None:
        """
        Under load the process groups of our node go to version 2 and back, and
        nobody notices.  A synchronized engine that only we have is loaded: the
        ring is formed anew of the same nodes, and everybody is still there.
        (A11, A12)
        """

        def story(lab: Lab, peers: dict[int, Peer]) -> None:
            everybody = list(peers.values())
            plugins = lab.place(2) / "etc" / "plugins"
            plugins.mkdir(0o755)
            (plugins / "components.py").write_text(COMPONENTS)
            settle(everybody)
            for version in ("2", "1"):
                burst(everybody)
                said = self.cfg(lab, "replace", "cpg", version)
                self.assertEqual(
                    said, f"Engine cpg is replaced: version {version} serves\n"
                )
                burst(everybody)
                apart(everybody)
            rings = lab.log(2).count(IN_STEP)
            self.cfg(lab, "load", "extra")
            until(lambda: lab.log(2).count(IN_STEP) > rings, VIEW_SECONDS, "a new ring")
            burst(everybody)
            apart(everybody)
            quorate(lab, 1)
            self.assertEqual(lab.quorum(1)["Nodes"], "3")
            for peer in everybody:
                self.assertEqual(peer.views(peer.origin), [])

        options = {"corotwist": {"plugin_dir": "/etc/corosync/plugins"}}
        self.tell(3, [2], "udpu", story, options=options)

    def cfg(self, lab: Lab, *arguments: str) -> str:
        """
        What our node's own tool says.
        """
        path = f"PYTHONPATH={environment()['PYTHONPATH']}"
        command = (sys.executable, "-m", "corotwist", "cfg", *arguments)
        return lab.run(2, "env", path, *command)


class SoakTests(RingCase):
    """
    The long form.
    """

    def test_randomFaults(self) -> None:
        """
        Whatever fails, in whatever order: who stays together sees the same,
        and everybody comes together again.
        """
        minutes, seed = SHORT_SOAK
        if SOAK_MINUTES:
            minutes, seed = float(SOAK_MINUTES), int(SOAK_SEED or time_ns())
        random = Random(seed)
        end = monotonic() + minutes * 60
        while monotonic() < end:
            transport = random.choice(("udpu", "udp"))
            ours = random.choice(([1], [2], [3], [1, 2], [2, 3], [1, 3]))
            soak = Soak(random, min(end, monotonic() + LAB_SECONDS))
            try:
                self.tell(3, ours, transport, soak)
            except self.failureException as error:
                raise self.failureException(f"seed {seed}: {error}") from error


@frozen
class Soak:
    """
    One laboratory's share of the long form: faults until it is time to stop.
    """

    random: Random
    end: float

    def __call__(self, lab: Lab, peers: dict[int, Peer]) -> None:
        """
        The story.
        """
        stories = (self.lose, self.cut, self.pause, self.disturb)
        while monotonic() < self.end:
            settle(list(peers.values()))
            burst(list(peers.values()))
            self.random.choice(stories)(lab, peers)
            calm(list(peers.values()))
            for nodeid in lab.real:
                quorate(lab, nodeid)

    def lose(self, lab: Lab, peers: dict[int, Peer]) -> None:
        """
        A node ends, in order or not, and comes back.
        """
        victim = self.random.choice(list(lab.nodeids))
        lab.kill(victim, self.random.choice((signal.SIGKILL, signal.SIGTERM)))
        peers.pop(victim).close()
        if self.random.random() < 0.5:  # Otherwise it is back before it is missed.
            apart(list(peers.values()))
        lab.start(victim)
        peers[victim] = Peer.start(lab, victim, GROUP)

    def cut(self, lab: Lab, peers: dict[int, Peer]) -> None:
        """
        A node is cut off, and comes back.
        """
        away = self.random.choice(list(lab.nodeids))
        others = [peers[nodeid] for nodeid in lab.nodeids if nodeid != away]
        lab.partition([away], [peer.nodeid for peer in others])
        apart(others)
        lab.heal()

    def pause(self, lab: Lab, peers: dict[int, Peer]) -> None:
        """
        A daemon sleeps, for long or not so long, and wakes up.
        """
        victim = self.random.choice(list(lab.nodeids))
        lab.kill(victim, signal.SIGSTOP)
        try:
            others = [peers[nodeid] for nodeid in lab.nodeids if nodeid != victim]
            if self.random.random() < 0.5:
                apart(others)
        finally:
            lab.kill(victim, signal.SIGCONT)

    def disturb(self, lab: Lab, peers: dict[int, Peer]) -> None:
        """
        Some packets get lost for a while.
        """
        lab.loss(self.random.choice((1, 5)))
        Event().wait(self.random.uniform(0.1, LOSSY_SECONDS))
        lab.loss(0)
