"""
Quorum by votes: every node brings some, and a partition with the majority of
the expected votes may act.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import asdict
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines.agreement import NOTE, Agreement
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.counting import NO_VERDICT, Count
from corotwist.engines.decisions import Decisions
from corotwist.engines.executive import (
    VOTEQUORUM,
    Executive,
    NodeFlag,
    Reconfigure,
    Reconfigured,
)
from corotwist.engines.keyspace import IVoting
from corotwist.engines.quorumdevice import LocalDevice
from corotwist.engines.quoruminterfaces import (
    Decision,
    IVoteQuorum,
    IVoteSubscriber,
)
from corotwist.engines.tracking import Tracking
from corotwist.engines.voteclients import Request
from corotwist.engines.votemessages import (
    NewRules,
    Remembered,
)
from corotwist.engines.votes import Verdict
from corotwist.engines.votesdelivered import Delivered
from corotwist.errors import ServiceError, TryAgain
from corotwist.interfaces import ICluster, IReconfigurable, IReplaceable
from corotwist.totem.membership import RingId


@implementer(IVoteQuorum, IVoting, IReconfigurable, IReplaceable)
class VoteQuorumEngine(Delivered, SynchronizedEngine):
    """
    Counts the votes of this ring, as every member of it does.

    What is said is counted at once, so that what we say next is up to date;
    a verdict holds, for whoever asks, from the end of the synchronization on.
    Until then nobody loses anything by it: a sum of those who spoke so far
    depends on the order in which they are heard, and a member that lost its
    quorum by it would wait for all again where another does not.

    Everything that makes for another verdict is a message: so all members
    come to it at the same place in the order.
    """

    name = "votequorum"
    serviceId = VOTEQUORUM
    priority = 2

    def __init__(self) -> None:
        self._log = Logger()
        self.published = NO_VERDICT
        self.requests: deque[Request] = deque()
        self.subscribers: list[IVoteSubscriber] = []
        self.deviceNames: dict[int, str] = {}
        self.overrides: dict[str, int] = {}
        self._takenIn = self._synchronizing = self._seenMembers = False
        self._steps: list[Callable[[], None]] = []
        self._untold: list[Callable[[], None]] = []
        self._pending: NodeSettings | None = None
        self._followers: list[Callable[[], object]] = []
        self._changes = deque()
        self._leaving: list[Deferred[None]] = []
        self._window: Any = None
        self._ending = False
        self._notes: tuple[str, ...] = ()

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        quorum = settings.quorum
        notes, note = cluster.notes, f"{NOTE}{cluster.nodeid}"
        store = None if notes is None else notes.storeNote
        agreement = Agreement(self._accept, store, note)
        agreement.restore(None if notes is None else notes.loadNote(note))
        self.count = Count(cluster.nodeid, quorum, agreement)
        self._tracking = Tracking.of(self.count.rules.tracking, notes)
        self.count.own.expected = self._tracking.atLeast(quorum.expectedVotes)
        self.decisions = Decisions(cluster.timeOfDay)
        self.device = LocalDevice(cluster, quorum.device, self._deviceChanged)
        self._notes = quorum.notes
        for note in quorum.notes:
            self._log.warn("Quorum: {note}", note=note)
        self._judge("started")
        try:
            self._multicast(self._ownInfo())
        except TryAgain:
            self._log.debug("No room for our votes yet; synchronization sends them")

    def shutdown(self) -> Any:
        """
        Whoever asks when nobody counts any more may not act.  With
        allow_downscale the others hear first that we leave for good.
        """
        if self._announcesLeave():
            ending: Deferred[None] = Deferred()
            self._leaving.append(ending)
            return ending.addCallback(self._ended)
        self._ended(None)
        return True

    def _announcesLeave(self) -> bool:
        count = self.count
        alone = len(self.cluster.members()) <= 1
        if not count.rules.allowDownscale or alone or not self.published.quorate:
            return False
        count.own.flags |= NodeFlag.LEAVING
        try:
            self._multicast(self._ownInfo())
        except ServiceError:
            return False  # No room; or this engine is out of service.
        return True

    def _ended(self, _: None) -> None:
        self.published = NO_VERDICT
        self.abandonRequests()
        self.device.stop()
        self._closeWindow()

    def dump(self) -> Mapping[str, Any]:
        return {
            **self.explanation(),
            "nodes": self.count.voters.dump(),
            "basis": self.count.agreement.dump(),
            "overrides": dict(self.overrides),
            "notes": list(self._notes),
        }

    # Other settings.

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        """
        Whatever is expected, nobody acts with fewer votes than are there.
        """

    def reconfigured(self, settings: NodeSettings) -> None:
        """
        Tell the others what has changed of ours; it counts when it is
        delivered.
        """
        before, now = self.count.settings, settings.quorum
        if before == now:
            return
        self._pending = settings
        nodeid = self.cluster.nodeid
        said: list[Executive] = []
        if now.votes != before.votes:
            said.append(Reconfigure(nodeid, now.votes, Reconfigured.NODE_VOTES))
        if now.expectedVotes != before.expectedVotes:
            expected = Reconfigured.EXPECTED_VOTES
            said.append(Reconfigure(nodeid, now.expectedVotes, expected))
        self._untold = [
            partial(self._say, NewRules()),
            partial(self._sayNext, now.votes, now.expectedVotes),
            *(partial(self._multicast, message) for message in said),
        ]
        self._tell()

    # Another version.

    def handOver(self) -> dict[str, Any]:
        """
        What was heard and decided::

            format       2
            voters       by nodeid: votes, expected, flags, standing, flags as
                         heard, votes of its device; our own among them
            waiting      for all nodes
            takenIn      one who may act was heard in this round
            verdict      of now, and
            published    of the last round, by the names of their fields
            seenMembers  we were on a ring
            followers    who is told of a verdict: the list they take
                         themselves off
            subscribers  likewise
            agreement    what is remembered of whose votes count
            device       the quorum device of this node
            deviceNames  by nodeid
            requests     of clients, on their way
            overrides    what operators changed
            decisions    the last ones
            quorateMembers  who could act last

        @raise TryAgain: the others do not know yet what changed of ours.
        """
        if self._untold or self._pending is not None:
            raise TryAgain("votes changed, and the others do not know yet")
        if self.count.agreement.attempt is not None or self._changes:
            raise TryAgain("the nodes agree on whose votes count")
        count = self.count
        self._closeWindow()
        self.device.stop()
        return {
            "format": 2,
            "voters": count.handOver(),
            "waiting": count.waiting,
            "takenIn": self._takenIn,
            "verdict": asdict(count.verdict),
            "published": asdict(self.published),
            "seenMembers": self._seenMembers,
            "followers": self._followers,
            "subscribers": self.subscribers,
            "agreement": count.agreement.handOver(),
            "device": self.device.handOver(),
            "deviceNames": self.deviceNames,
            "requests": self.requests,
            "overrides": self.overrides,
            "decisions": self.decisions.handOver(),
            "quorateMembers": count.quorateMembers,
        }

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        verdict, published = Verdict(**state["verdict"]), Verdict(**state["published"])
        count = self.count
        count.takeOver(state["voters"])
        count.verdict, self.published = verdict, published
        count.waiting = state["waiting"]
        self._takenIn = state["takenIn"]
        self._seenMembers = state["seenMembers"]
        self._followers = state["followers"]
        if state["format"] == 1:
            return  # That version knew no more.
        self.subscribers = state["subscribers"]
        count.agreement.takeOver(state["agreement"])
        self.device.takeOver(state["device"])
        self.deviceNames = state["deviceNames"]
        self.requests = state["requests"]
        self.overrides = state["overrides"]
        self.decisions.takeOver(state["decisions"])
        count.quorateMembers = state["quorateMembers"]
        self._openWindow()

    # For everybody on this node.

    def counting(self) -> bool:
        return self.published is not NO_VERDICT

    def quorate(self) -> bool:
        return self.published.quorate

    def explanation(self) -> dict[str, int | bool | str]:
        verdict = self.published
        overrides = ", ".join(f"{k}: {v}" for k, v in sorted(self.overrides.items()))
        return {
            "quorate": verdict.quorate,
            "votes": verdict.total,
            "expected": verdict.expected,
            "quorum": verdict.quorum,
            "waitingForAll": verdict.waiting,
            "rule": verdict.rule,
            "override": overrides,
            "tracked": self._tracked(),
            "masterWins": self._masterWins(),
            "notes": "; ".join(self._notes),
        }

    def _tracked(self) -> int:
        return self._tracking.highest if self.counting() else 0

    def _masterWins(self) -> bool:
        return self.counting() and bool(
            self.device.flags & NodeFlag.QDEVICE_MASTER_WINS
        )

    def history(self) -> tuple[Decision, ...]:
        return self.decisions.all()

    def follow(self, changed: Callable[[], object]) -> Callable[[], None]:
        self._followers.append(changed)
        changed()
        return partial(self._unfollow, changed)

    def _unfollow(self, changed: Callable[[], object]) -> None:
        if changed in self._followers:
            self._followers.remove(changed)

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._synchronizing = True
        self._takenIn = False
        self.count.said = {}
        if self._seenMembers and len(members) > 1:
            self._flag(NodeFlag.FIRST, on=False)
        self.count.voters.gone(members)
        self.count.agreement.begun()
        self._changes.clear()
        self._closeWindow()
        self._leave()
        self.device.ringChanged(ringId)
        names = self.deviceNames
        self.deviceNames = {n: name for n, name in names.items() if n in members}
        self._steps = [self._sayOwn, self._sayDevice]
        if self.device.name:
            self._steps.append(self._sayRegistration)
        memory = Remembered(self.count.agreement.memory)
        self._steps.append(partial(self._say, memory))
        for subscriber in list(self.subscribers):
            subscriber.nodesChanged(ringId, members)

    def synchronize(self) -> bool:
        """
        A quorum device that was alive says first whether it votes for this
        ring.
        """
        while self._steps:
            try:
                self._steps[0]()
            except TryAgain:
                return False
            self._steps.pop(0)
        return not self.device.awaited

    def synchronizationCompleted(self) -> None:
        self._synchronizing = False
        self._seenMembers = True
        members = self.cluster.members()
        before = self.count.agreement.mixed
        self.count.agreement.ended(members)
        if self.count.agreement.mixed != before:
            self._warnMixed()
        if len(members) > 1:
            self._flag(NodeFlag.FIRST, on=False)
        if self._takenIn:
            self.count.waiting = False
        self._ending = True
        expected = self.count.agreed()
        self._judge(
            f"another ring, {self.cluster.ringId()}",
            allowDecrease=expected is not None,
            exactly=expected,
        )
        self._ending = False
        for subscriber in list(self.subscribers):
            subscriber.quorumChanged(self.published.quorate, self.nodes())
        self._openWindow()

    def _warnMixed(self) -> None:
        """
        What is safe among our nodes is not where others count as well.
        """
        mixed, rules = self.count.agreement.mixed, self.count.rules
        if not mixed or not rules.dynamic:
            return
        names = {
            "last_man_standing": rules.lastManStanding,
            "auto_tie_breaker": bool(rules.tie),
            "allow_downscale": rules.allowDownscale,
        }
        self._log.warn(
            "Nodes {nodes} remember nothing of who could act before, as real corosync"
            " nodes do not: with {options} and repeated partitions, two parts may act"
            " at once while they are here; we count as they do",
            nodes=", ".join(map(str, mixed)),
            options=", ".join(name for name, on in names.items() if on),
        )

    def synchronizationAborted(self) -> None:
        """
        Another round follows; nothing is published in between.
        """
        self._steps = []
