"""
What must happen sometimes: a counter for each interesting situation.

Runs that never come into it say nothing about it, however many they are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Final

from attrs import define, field

from corotwist.engines.sync import Phase
from corotwist.simulator.cluster import Cluster
from corotwist.simulator.faults import kindOf
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.process import Process
from corotwist.simulator.services import Services
from corotwist.simulator.sockets import Port
from corotwist.totem.ring import Ring
from corotwist.totem.sequence import HALF
from corotwist.totem.states import In

INSTALLED: Final = "a configuration was installed"
LEFT_BEHIND: Final = "others went on without a process that ran"
ALL_HAVE: Final = "a process learned that all have something"
ALL_HAD: Final = "a process learned it of a ring that had ended"

# Counters of the ring that say something by not being 0.
_STATISTICS: Final = {
    "tokensRetransmitted": "a token was sent again",
    "framesDuplicate": "a frame came twice",
    "framesForeign": "a frame of another ring came",
    "framesRetransmitted": "a frame was sent again",
    "framesRequested": "a frame was asked for",
    "framesRecovered": "an old frame was sent again in recovery",
    "joinsStale": "a join of the past came",
    "holdsCancelled": "a held token was called",
    "mergeDetectsSent": "a ring said that it is there",
    "pauses": "a pause was noticed",
}
_NUMBERS: Final = Struct("<II")
_NUMBERS_AT: Final = 13
_MANY: Final = 3

_IN_PHASE: Final[Mapping[Phase, str]] = {
    Phase.LISTING: "a change cut a synchronization at its start",
    Phase.PROCESSING: "a change cut a synchronization at work",
    Phase.BARRIER: "a change cut a synchronization at its barrier",
}

# What the runs of a test suite must come across: with a small application on
# the ring, with whole nodes, and with both.
EVERYWHERE: Final = (
    INSTALLED,
    *_STATISTICS.values(),
    "operational to gather: the token was lost",
    "operational to gather: another ring was heard",
    "operational to gather: a processor asks for a new ring",
    "gather to gather: silent processors were given up",
    "commit to gather: the token was lost",
    "commit to gather: a member gave the new ring up",
    "recovery to gather: the token was lost",
    "recovery to gather: a member gave the new ring up",
    "recovery to operational: the old ring's messages are recovered",
    "commit to mute: the ring id could not be stored",
    "a gap in recovery",
    "a recovery failed, and another began",
    "three rings became one",
    "a part of a ring went on",
    "a ring of one",
    "a node was back before it was missed",
    "a commit token was sent again",
    "a change cut a message",
    "killed while gathering",
    "killed while committing",
    "killed while recovering",
    "restarted without its disk",
    "a minority went on",
    "others stayed broken",
    LEFT_BEHIND,
)
RINGS: Final = (
    *EVERYWHERE,
    "operational to gather: a processor left",
    "message numbers wrapped",
    "token numbers wrapped",
)
SERVICES: Final = (
    *EVERYWHERE,
    "a change cut a synchronization at its start",
    "a change cut a synchronization at its barrier",
)


@define
class _Progress:
    """
    Of one process: recoveries since it was last operational, and the members
    then.
    """

    recoveries: int = 0
    members: frozenset[int] = frozenset()


@define(eq=False)
class Sometimes:
    """
    Watches a run and counts.
    """

    cluster: Cluster
    _progress: dict[Life, _Progress] = field(factory=dict)
    _last: dict[tuple[Port, str], bytes] = field(factory=dict)

    def begin(self) -> None:
        """
        Watch from now on.
        """
        jury = self.cluster.jury
        entered = jury.entered

        def enteredToo(life: Life, state: str) -> None:
            self._entered(life, state)
            entered(life, state)

        jury.entered = enteredToo
        self.cluster.network.watchers.append(self._sending)

    def end(self) -> None:
        """
        The processes that still run have counted too.
        """
        for node in self.cluster.nodes.values():
            if node.process is not None:
                self._counted(node.process)

    @property
    def _counts(self) -> Counter[str]:
        return self.cluster.sometimes

    # What nodes do.

    def _entered(self, life: Life, state: str) -> None:
        node = self.cluster.nodes[life.nodeid]
        process = node.process or node.leaving
        if process is None or process.life is not life:
            return
        protocol = process.service.protocol
        if protocol is None:
            return
        progress = self._progress.setdefault(life, _Progress())
        if state == In.RECOVERY.value:
            self._recovering(protocol.ring, progress)
        elif state == In.OPERATIONAL.value:
            progress.recoveries = 0
            self._installed(protocol.ring, progress)
        elif state == In.GATHER.value:
            self._gathering(process)
        self._counted(process)

    def _recovering(self, ring: Ring, progress: _Progress) -> None:
        progress.recoveries += 1
        if progress.recoveries > 1:
            self._counts["a recovery failed, and another began"] += 1
        if ring.window.aru != ring.window.high:
            self._counts["a gap in recovery"] += 1
        if ring.proposed is not None:
            olds = {entry.ringId for entry in ring.proposed.entries}
            if len(olds) >= _MANY:
                self._counts["three rings became one"] += 1
        before = ring.configuration
        if before is not None and 1 < len(ring.recovering.transitional) < len(
            before.members
        ):
            self._counts["a part of a ring went on"] += 1

    def _installed(self, ring: Ring, progress: _Progress) -> None:
        self._counts[INSTALLED] += 1
        configuration = ring.configuration
        if configuration is None:
            return
        if len(configuration.members) == 1:
            self._counts["a ring of one"] += 1
        if progress.members.intersection(configuration.joined):
            self._counts["a node was back before it was missed"] += 1
        progress.members = frozenset(configuration.members)

    def _gathering(self, process: Process) -> None:
        protocol = process.service.protocol
        # Nobody else needs to know.
        if protocol is not None and protocol._assembly._open:  # noqa: SLF001
            self._counts["a change cut a message"] += 1
        application = process.application
        if isinstance(application, Services):
            what = _IN_PHASE.get(application.manager.synchronization.phase)
            if what is not None:
                self._counts[what] += 1

    def _counted(self, process: Process) -> None:
        """
        Statistics begin anew with each process, so that some is as good as
        how much.
        """
        protocol = process.service.protocol
        if protocol is None:
            return
        statistics = protocol.ring.statistics
        for name, what in _STATISTICS.items():
            if getattr(statistics, name):
                self._counts[what] += 1

    # What is on the wire.

    def _sending(
        self, port: Port, targets: Iterable[int], datagrams: Sequence[bytes]
    ) -> None:
        for datagram in datagrams:
            kind = kindOf(datagram)
            if kind == "token":
                self._tokenSent(port, datagram)
            elif kind == "commit":
                if self._last.get((port, kind)) == datagram:
                    self._counts["a commit token was sent again"] += 1
                self._last[port, kind] = datagram

    def _tokenSent(self, port: Port, datagram: bytes) -> None:
        before = self._last.get((port, "token"))
        self._last[port, "token"] = datagram
        if before is None or before[_RING] != datagram[_RING]:
            return
        here = _NUMBERS.unpack_from(datagram, _NUMBERS_AT)
        there = _NUMBERS.unpack_from(before, _NUMBERS_AT)
        if there[0] > here[0] + HALF:
            self._counts["message numbers wrapped"] += 1
        if there[1] > here[1] + HALF:
            self._counts["token numbers wrapped"] += 1


# The ring id in a token.
_RING: Final = slice(29, 41)
