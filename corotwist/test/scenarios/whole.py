"""
Stories on whole nodes: what they are told, and an engine that watches the
rounds of synchronization.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from typing import Any

from attrs import define, evolve, field, frozen

from corotwist.config.settings import NodeSettings, QuorumSettings
from corotwist.engines.base import SynchronizedEngine
from corotwist.interfaces import ICluster, IEngineMaker
from corotwist.simulator import Cluster
from corotwist.test.engines.orderednet import SHIPPED, Maker
from corotwist.test.scenarios.story import Story
from corotwist.totem.membership import RingId

PROVIDER = "corosync_votequorum"
# Real services have smaller numbers; these come after them in each round.
FIRST_WITNESS = 70
_RING = Struct("<QI")

Moment = Callable[[int, int, str], None]


class WholeStory(Story):
    """
    Told on nodes with services.
    """

    def whole(self, size: int = 3, **options: Any) -> Cluster:
        """
        Whole nodes in one ring, in step.
        """
        return self.formed(size, services=True, **options)


def voting(
    expected: int, votes: Mapping[int, int] | None = None, **options: Any
) -> Callable[[NodeSettings], NodeSettings]:
    """
    What nodes that count votes are told.

    @param votes: by nodeid, where a node has not one.
    """

    def configure(settings: NodeSettings) -> NodeSettings:
        own = (votes or {}).get(settings.totem.nodeid, 1)
        quorum = QuorumSettings(PROVIDER, expected, votes=own, **options)
        return evolve(settings, quorum=quorum)

    return configure


def reading(**options: Any) -> Callable[[NodeSettings], NodeSettings]:
    """
    What nodes are told of clients that read too slowly: fields of
    L{IpcSettings<corotwist.config.settings.IpcSettings>}.
    """

    def configure(settings: NodeSettings) -> NodeSettings:
        return evolve(settings, ipc=evolve(settings.ipc, **options))

    return configure


@frozen
class Entry:
    """
    One thing that happened to one service of one process.

    @ivar what: C{started}, C{sent}, C{done}, C{completed}, C{aborted} or
        C{heard}.
    @ivar ringId: of the round; of what was heard, the one it names.
    """

    process: tuple[int, int]
    serviceId: int
    what: str
    ringId: RingId
    members: tuple[int, ...] = ()


def _nothing(nodeid: int, serviceId: int, what: str) -> None:
    """
    Happens at most moments.
    """


@define(eq=False)
class Diary:
    """
    Everything that the witnesses of a run were called with, in order.

    @ivar moment: called with node, service and what just happened.
    @ivar messages: how many each witness has to send in a round.
    @ivar boots: by node and witness; they number the processes of a node.
    @ivar services: the witnesses of each process.
    """

    entries: list[Entry] = field(factory=list)
    moment: Moment = _nothing
    messages: int = 3
    boots: Counter[tuple[int, int]] = field(factory=Counter)
    services: dict[tuple[int, int], set[int]] = field(factory=dict)

    def makers(
        self, count: int = 3, lacking: Iterable[tuple[int, int]] = ()
    ) -> list[IEngineMaker]:
        """
        The shipped engines, and witnesses.

        @param lacking: nodes, and the number of the witness they do not have.
        """
        without = set(lacking)

        def maker(number: int) -> Maker:
            return Maker(
                f"witness{number}",
                lambda: Witness(number, self),
                wish=lambda s: (s.totem.nodeid, number) not in without,
            )

        return [*SHIPPED, *map(maker, range(1, count + 1))]

    def of(self, nodeid: int, *kinds: str) -> list[Entry]:
        """
        What happened at a node.
        """
        return [e for e in self.entries if e.process[0] == nodeid and e.what in kinds]

    def judge(self, alive: Iterable[int]) -> None:
        """
        Hold the promises of synchronization against all that happened.

        @param alive: nodes whose last process has no round to end any more.
        """
        judging = _Judging(self.services)
        for entry in self.entries:
            judging.happened(entry)
        last = {entry.process[0]: entry.process for entry in self.entries}
        for nodeid in alive:
            running = judging.running.get(last[nodeid], {})
            assert not running, f"S6: {running} of node {nodeid} never ended"


@define(eq=False)
class _Judging:
    """
    S1, S3 and S6, over all processes.

    @ivar services: that each process has.
    @ivar running: by process, the started services and their rings.
    @ivar done: by ring and service, the nodes that have sent everything.
    @ivar has: by ring, node and the services it started.
    """

    services: dict[tuple[int, int], set[int]]
    running: dict[tuple[int, int], dict[int, RingId]] = field(factory=dict)
    begun: set[tuple[tuple[int, int], int, RingId]] = field(factory=set)
    rings: dict[tuple[int, int], RingId] = field(factory=dict)
    done: dict[tuple[RingId, int], set[int]] = field(factory=dict)
    has: dict[tuple[RingId, int], set[int]] = field(factory=dict)

    def happened(self, entry: Entry) -> None:
        """
        The next thing.
        """
        running = self.running.setdefault(entry.process, {})
        key = entry.ringId, entry.serviceId
        nodeid = entry.process[0]
        if entry.what == "started":
            assert entry.serviceId not in running, f"S6: {entry} in a round already"
            running[entry.serviceId] = self.rings[entry.process] = entry.ringId
            self.has.setdefault(key, set()).add(nodeid)
            self.begun.add((entry.process, entry.serviceId, entry.ringId))
        elif entry.what == "heard":
            self._heard(entry, running)
        else:
            assert running.get(entry.serviceId) == entry.ringId, f"S6: {entry} outside"
            earlier = [s for s in running if s < entry.serviceId]
            assert entry.what == "aborted" or not earlier, f"S3: {entry}, {earlier}"
            for service in self.services[entry.process]:
                begun = (entry.process, service, entry.ringId) in self.begun
                assert begun, f"S1: {entry} before {service} was started"
        if entry.what == "done":
            self.done.setdefault(key, set()).add(nodeid)
        elif entry.what in ("completed", "aborted"):
            del running[entry.serviceId]
        if entry.what == "completed":
            late = self.has[key] - self.done.get(key, set())
            assert not late, f"S3: {entry} without {late}"

    def _heard(self, entry: Entry, running: dict[int, RingId]) -> None:
        ringId = self.rings.get(entry.process)
        known = ringId is not None and entry.ringId.sequence <= ringId.sequence
        assert known, f"S1: {entry} before the start of its round"


class Witness(SynchronizedEngine):
    """
    Has a few messages to send in each round, one at a time, and writes down
    what it is called with.
    """

    def __init__(self, number: int, diary: Diary) -> None:
        self.name = f"witness{number}"  # type: ignore[misc]
        self.serviceId = FIRST_WITNESS + number  # type: ignore[misc]
        self._number = number
        self._diary = diary
        self._ringId = RingId(0, 0)
        self._sent = 0
        self._trouble = False

    def initialize(self, cluster: ICluster, settings: Any) -> None:
        super().initialize(cluster, settings)
        boots = self._diary.boots
        boots[cluster.nodeid, self._number] += 1
        self._process = cluster.nodeid, boots[cluster.nodeid, self._number]
        self._diary.services.setdefault(self._process, set()).add(self._number)

    def fail(self) -> None:
        """
        Raise at every message from now on.
        """
        self._trouble = True

    def _note(self, what: str, ringId: RingId, members: tuple[int, ...] = ()) -> None:
        entry = Entry(self._process, self._number, what, ringId, members)
        self._diary.entries.append(entry)
        self._diary.moment(self._process[0], self._number, what)

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._ringId = ringId
        self._sent = 0
        self._note("started", ringId, members)

    def synchronize(self) -> bool:
        if self._sent < self._diary.messages:
            body = _RING.pack(self._ringId.sequence, self._ringId.representative)
            self.cluster.multicast(1, body)
            self._sent += 1
            self._note("sent", self._ringId)
            return False
        self._note("done", self._ringId)
        return True

    def synchronizationCompleted(self) -> None:
        self._note("completed", self._ringId)

    def synchronizationAborted(self) -> None:
        self._note("aborted", self._ringId)

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if self._trouble:
            raise RuntimeError("a service in trouble")
        self._note("heard", RingId(*_RING.unpack(body)))
