"""
What a story can do to links, machines and processes, besides cutting and
killing.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from corotwist.simulator.attacker import KINDS
from corotwist.simulator.faults import CALM, CLOG_SECONDS
from corotwist.simulator.process import Fuse
from corotwist.simulator.sockets import Refusal
from corotwist.simulator.story.links import Links

# What one node of a swizzle waits for the next, in seconds.
SWIZZLE_STEP: Final = 0.1


class Mischief(Links):
    """
    A part of L{Cluster<corotwist.simulator.cluster.Cluster>}.
    """

    # Links.

    def clog(self, source: int, target: int, seconds: float | None = None) -> None:
        """
        Stop one direction for a while; all that is sent on it arrives then.
        """
        if seconds is None:
            seconds = self.whim.uniform(*CLOG_SECONDS)
        link = self.network.link(source, target)
        until = self.clock.seconds() + seconds
        link.cloggedUntil = max(link.cloggedUntil, until)
        self.jury.note("clog", source=source, target=target, seconds=seconds)

    def bridge(self, nodeid: int, one: Iterable[int], other: Iterable[int]) -> None:
        """
        Cut all links between two sides but those of one node, which sees
        both.
        """
        one, other = [*one], [*other]
        for a in one:
            for b in other:
                if nodeid not in (a, b):
                    self.network.link(a, b).cut = self.network.link(b, a).cut = True
        self.jury.note("bridge", over=nodeid, sides=[sorted(one), sorted(other)])

    def swizzle(self, nodeids: Iterable[int], step: float = SWIZZLE_STEP) -> None:
        """
        Stop all links of these nodes, one node after the other, and let them
        go on in another order.
        """
        stopping = [*nodeids]
        going = self.whim.sample(stopping, len(stopping))
        for place, nodeid in enumerate(stopping):
            lasts = step * (len(stopping) - place + going.index(nodeid))
            self.clock.callLater(step * place, self._isolate, nodeid, lasts)

    def _isolate(self, nodeid: int, seconds: float) -> None:
        for other in self.network.others(nodeid):
            self.clog(nodeid, other, seconds)
            self.clog(other, nodeid, seconds)

    # Machines.

    def interfaceDown(self, nodeid: int) -> None:
        """
        The network interface of a running process is gone.
        """
        process = self.running(nodeid)
        process.port.down = True
        self.jury.record(process.life, "interface", down=True)

    def interfaceUp(self, nodeid: int) -> None:
        """
        It is back.
        """
        process = self.running(nodeid)
        process.port.down = False
        self.jury.record(process.life, "interface", down=False)

    def refuseSending(self, nodeid: int, number: int, share: float = 1.0) -> None:
        """
        Let attempts of a running process to send fail.

        @param number: of the error, C{errno.ENOBUFS} for example; 0 for none.
        @param share: probability for each attempt.
        """
        process = self.running(nodeid)
        process.port.refusal = Refusal(number, share) if number else None
        self.jury.record(process.life, "refuse", error=number, share=share)

    def stepClock(self, nodeid: int, seconds: float) -> None:
        """
        Set the time of day of a machine forward, or back.
        """
        self.nodes[nodeid].stepSeconds += seconds
        self.jury.note("clock", of=nodeid, seconds=seconds)

    def exhaustFiles(self, nodeid: int) -> None:
        """
        A running process can open nothing more: no file, no connection.
        """
        process = self.running(nodeid)
        process.clock.mostFiles = len(process.clock.ends)
        process.storage.exhausted = True
        self.jury.record(process.life, "files", left=0)

    def freeFiles(self, nodeid: int, files: int = 1024) -> None:
        """
        It can again.
        """
        process = self.running(nodeid)
        process.clock.mostFiles = files
        process.storage.exhausted = False
        self.jury.record(process.life, "files", left=files)

    def repair(self, nodeid: int) -> None:
        """
        End all of this for a running process.
        """
        process = self.running(nodeid)
        process.fuse = None
        if process.port.down:
            self.interfaceUp(nodeid)
        if process.port.refusal is not None:
            self.refuseSending(nodeid, 0)
        if process.storage.exhausted:
            self.freeFiles(nodeid)

    # Processes.

    def crashAfter(
        self, nodeid: int, effects: int = 0, kind: type | None = None
    ) -> None:
        """
        End a running process between two effects of its ring, when so many
        more are performed.

        @param kind: only effects of this kind count: C{Multicast}, or
            C{StoreRingId}.
        """
        self.running(nodeid).fuse = Fuse(effects, kind)

    # Strangers.

    def attack(self, rate: float, seconds: float, kinds: Sequence[str] = KINDS) -> None:
        """
        Have somebody without a key send datagrams to the nodes: noise, what
        nodes said earlier, changed or as it was, and what another cluster
        says.

        @param rate: how many in a second.
        """
        self.attacker.attack(rate, seconds, kinds)
        self.jury.note("attack", rate=rate, seconds=seconds, kinds=[*kinds])

    # The end of it.

    def calm(self) -> None:
        """
        End every fault of networks and disks, slowness, and pauses.
        """
        self.heal()
        self.faults = CALM
        self.attacker.stop()
        self.network.rules.clear()
        for link in self.network.links():
            link.faults = None
            link.cloggedUntil = 0.0
        for node in self.nodes.values():
            node.disk.refusing = node.disk.unusable = False
            if node.process is not None:
                node.process.slowness = 0.0
                self.repair(node.nodeid)
                node.process.resume()
