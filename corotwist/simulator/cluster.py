"""
A whole cluster in one process, on virtual time: production code from the
socket up, a network and disks that fail as told, and judges who watch.

A test reads like a story::

    cluster = Cluster(size=5, seed=7, faults=Faults(loss=0.1))
    cluster.run(seconds=1.0)
    cluster.partition({1, 2}, {3, 4, 5})
    cluster.multicast(1, b"x")
    cluster.run(seconds=5.0)
    cluster.heal()
    cluster.settle()
    assert cluster.nodes[2].log == [b"x"]
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

from corotwist.config.settings import Address, Timing
from corotwist.interfaces import IEngineMaker
from corotwist.plugin import discover
from corotwist.simulator.attacker import Attacker
from corotwist.simulator.chance import source
from corotwist.simulator.clock import Clock
from corotwist.simulator.demands import CHANGES_OF_BAD_LINKS, Demands
from corotwist.simulator.faults import CALM, Faults
from corotwist.simulator.journeys import Journeys
from corotwist.simulator.jury import Jury
from corotwist.simulator.local import Applications
from corotwist.simulator.machine import Blueprint, Options, Wishes
from corotwist.simulator.network import Network
from corotwist.simulator.node import SimulatedNode
from corotwist.simulator.services import Configure, unchanged
from corotwist.simulator.storage import Disk
from corotwist.simulator.story.clients import Clients
from corotwist.simulator.story.messages import Messages
from corotwist.simulator.story.mischief import Mischief
from corotwist.simulator.story.nodes import Nodes
from corotwist.simulator.story.script import Script
from corotwist.simulator.trace import LAST_RECORDS, Trace
from corotwist.simulator.workshop import Workshop
from corotwist.totem.ring import Ring

# How often a condition is looked at, in virtual seconds.
LOOK: Final = 0.005

# What is overheard of another cluster, for an attacker.
FOREIGN_RATE: Final = 20.0
FOREIGN_SECONDS: Final = 0.5
FOREIGN_NODES: Final = 4


class Cluster(Nodes, Mischief, Script, Messages, Clients):
    """
    Nodes 1 to C{size}, all booted unless told otherwise.

    What a story can say is in C{corotwist.simulator.story}, by its subjects.

    @ivar replay: the command that repeats this run, for failures.
    """

    def __init__(
        self,
        size: int = 3,
        seed: int = 0,
        faults: Faults = CALM,
        *,
        timing: Timing | None = None,
        key: bytes | None = None,
        boot: bool = True,
        services: bool = False,
        permute: bool = False,
        drift: float = 0.0,
        firstSequence: int = 0,
        firstTokenSequence: int = 0,
        keepTrace: bool = False,
        replay: str = "",
        configure: Configure = unchanged,
        makers: Sequence[IEngineMaker] | None = None,
        engines: Sequence[IEngineMaker] = (),
        config: str | None = None,
        hosts: Mapping[str, Address] | None = None,
        totem: Options | None = None,
        quorum: Options | None = None,
        nodelist: Mapping[int, Options] | None = None,
    ) -> None:
        """
        @param timing: of every node, instead of what the configuration says;
            when that says nothing, the token timeout is 1 s.
        @param key: seals all datagrams; rules by kind do not see them then.
        @param services: whole nodes with service manager and engines, instead
            of a small application on the ring; see L{client}.
        @param permute: draw the order of simultaneous events.
        @param drift: how much faster or slower than the cluster's a node's
            clock may go.
        @param firstSequence: where the message sequences of rings start, to
            see them wrap.
        @param firstTokenSequence: likewise, of tokens.
        @param keepTrace: keep all records, and the ways of datagrams.
        @param configure: changes what whole nodes are told: quorum, versions.
        @param makers: the engines that whole nodes choose from, those of a
            service under test among them; by default all that are installed.
        @param engines: makers of engines besides those.
        @param config: the text of a corosync.conf, which every node reads;
            C{size} counts for nothing then.
        @param hosts: names in it that resolve.
        @param totem: without C{config}: options of its section C{totem}, as
            they are written there: C{{"transport": "udp"}}.
        @param quorum: likewise, of section C{quorum}.
        @param nodelist: likewise, of entries of the node list, by nodeid.
        """
        self.seed = seed
        self.replay = replay
        if config is None:
            wishes = Wishes(totem or {}, quorum or {}, nodelist or {})
            config = wishes.text(range(1, size + 1), key is not None)
        blueprint = Blueprint(config, key, timing, hosts or {})
        read = blueprint.anybody().totem
        self.timing = read.timing
        nodeids = tuple(sorted(entry.nodeid for entry in read.nodes))
        self.clock = Clock(source(seed, "order") if permute else None)
        self.network = Network(
            self.clock,
            source(seed, "network"),
            nodeids,
            faults,
            hosts={str(entry.addresses[0]): entry.nodeid for entry in read.nodes},
        )
        self.nodes = {
            n: SimulatedNode(n, Disk(source(seed, "disk", n), name=f"ringid_{n}"))
            for n in nodeids
        }
        self._triggers = []
        self._watch(keepTrace=keepTrace)
        if keepTrace:
            self.network.journeys = Journeys(key)
        if faults != CALM:
            self.jury.note("faults", of=faults.words)
        if makers is None:
            makers = discover() if services else ()
        self._workshop = Workshop(
            seed=seed,
            clock=self.clock,
            network=self.network,
            jury=self.jury,
            blueprint=blueprint,
            observed=self._observed,
            drift=drift,
            services=services,
            configure=configure,
            makers=[*makers, *engines],
            makeRing=partial(
                Ring,
                firstSequence=firstSequence,
                firstTokenSequence=firstTokenSequence,
            ),
        )
        self._workload = source(seed, "workload")
        self.whim = source(seed, "whim")
        self.attacker = Attacker(
            self.network,
            source(seed, "attacker"),
            self._foreignTraffic,
            sealed=read.key is not None,
        )
        self.applications = Applications(
            seed,
            self.clock,
            {n: node.paths for n, node in self.nodes.items()},
            lambda nodeid: self.settings(nodeid).ipc.path,
            self.runUntil,
        )
        if boot:
            self.boot(*nodeids)

    def _watch(self, *, keepTrace: bool) -> None:
        size = len(self.nodes)
        self.jury = Jury(
            self.clock,
            self.timing,
            size,
            f"{size} nodes, seed {self.seed}",
            self.replay,
            self._pathOf,
            self._entered,
            Trace(None if keepTrace else LAST_RECORDS),
        )
        self.network.watchers.append(self.jury.sending)
        self._demands = Demands(
            self.nodes, self.network, self.timing, self.jury, self.run, self.runUntil
        )

    # Time.

    def run(self, seconds: float) -> None:
        """
        Let virtual time go by.

        @raise PromiseBroken: when a judge saw something.
        """
        self.jury.sentence()  # What was broken since the last run.
        end = self.clock.seconds() + seconds
        self.clock.runUntil(end)
        while self.clock.stopped and not self.jury.violations:
            self.clock.runUntil(end)
        self.jury.rested()
        self.jury.sentence()

    def runUntil(self, condition: Callable[[], bool], within: float) -> bool:
        """
        Let time go by until a condition holds.

        @return: whether it did, within so many seconds.
        """
        end = self.clock.seconds() + within
        while not condition():
            if self.clock.seconds() >= end:
                return False
            self.run(LOOK)
        return True

    def seconds(self) -> float:
        """
        The time.
        """
        return self.clock.seconds()

    # Demands, and what was seen.

    def settle(
        self,
        within: float | None = None,
        *,
        stay: bool = True,
        among: Collection[int] | None = None,
    ) -> None:
        """
        Demand progress in quiet; see L{Demands.settle}.
        """
        self._demands.settle(within, stay=stay, among=among)

    def reform(self) -> None:
        """
        Demand new rings soon after a crash or a partition; see
        L{Demands.reform}.
        """
        self._demands.reform()

    def steady(self, promise: str = "L8", most: int = CHANGES_OF_BAD_LINKS) -> None:
        """
        Demand few rings in a bad network; see L{Demands.steady}.
        """
        self._demands.steady(promise, most)

    def formed(self) -> bool:
        """
        See L{Demands.formed}.
        """
        return self._demands.formed()

    def parts(self) -> list[set[int]]:
        """
        See L{Demands.parts}.
        """
        return self._demands.parts()

    @property
    def trace(self) -> Trace:
        """
        The newest records, or all with C{keepTrace}.
        """
        return self.jury.trace

    @property
    def sometimes(self) -> Counter[str]:
        """
        How often interesting things happened.
        """
        return self.jury.sometimes

    def _foreignTraffic(self) -> list[bytes]:
        """
        What nodes of another cluster say to each other, with a key of theirs
        if we have one.
        """
        ours = self._workshop.blueprint.key
        key = ours and bytes(len(ours))
        size = min(len(self.nodes) + 1, FOREIGN_NODES)
        other = Cluster(size, ~self.seed, key=key)
        heard: list[bytes] = []
        other.network.watchers.append(lambda port, targets, data: heard.extend(data))
        other.load(FOREIGN_RATE, FOREIGN_SECONDS)
        other.run(FOREIGN_SECONDS)
        return heard
