"""
Making sure that a lost node is off, before anybody regards its votes or what it
held as gone.

Of each node that was lost, and did not say that it stops, there is a case, the
same on all members.  In a partition that may act, its lowest member with an
agent asks that agent to make sure, again and again at growing intervals; what
comes of it is multicast, and counts at its place in the order.  An operator may
say it instead.  A node that is back is no case any more.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Self

from attrs import asdict, define, evolve, frozen
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.config.settings import FencingSettings, NodeSettings
from corotwist.deviceinterfaces import IFenceAgent, IFenceAgentMaker
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.interfaces import Cause, IRoundAware, View
from corotwist.engines.quoruminterfaces import IFencing
from corotwist.errors import (
    BadCount,
    ConfigurationError,
    NotExist,
    Problem,
    TruncatedFrame,
    TryAgain,
    UnknownFrame,
)
from corotwist.interfaces import (
    ICluster,
)
from corotwist.totem.membership import NO_RING, RingId

# A number of our own that real corosync nodes have room for.
FENCING_SERVICE: Final = 37
KNOWN, OUTCOME = range(2)
MOST_CASES: Final = 1024
LONGEST_TEXT: Final = 400
# Between two attempts, at first; then twice as long each time.
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
_NS: Final = 1_000_000_000


@frozen
class Case:
    """
    A node that was lost.

    @ivar ring: the ring that was formed without it: sequence and
        representative.
    @ivar off: is it sure that it is off?
    @ivar attempts: that came to nothing.
    @ivar text: what was said last, for people.
    """

    nodeid: int
    ring: tuple[int, int]
    off: bool = False
    attempts: int = 0
    text: str = "nobody was asked yet"

    @classmethod
    def of(cls, said: Any) -> Self:
        """
        From what another node sent.

        @raise WireError: it is none.
        """
        try:
            nodeid, (sequence, representative) = int(said["nodeid"]), said["ring"]
            ring = int(sequence), int(representative)
            text = str(said["text"])[:LONGEST_TEXT]
            return cls(nodeid, ring, bool(said["off"]), int(said["attempts"]), text)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UnknownFrame(f"not a case of a lost node: {error}") from error


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise TruncatedFrame("what a node says about fencing is no JSON") from error


@define
class _Heard:
    """
    What the members say in a round.
    """

    cases: dict[int, Case]
    armed: set[int]


@implementer(IFencing, IRoundAware)
class FencingEngine(SynchronizedEngine):
    """
    Cases are told in each round, so that whoever comes knows them too; of two
    opinions about a node the one about its later loss counts, and of the same
    loss that it is off.
    """

    name = "fencing"
    serviceId = FENCING_SERVICE
    priority = 2

    def __init__(self) -> None:
        self._log = Logger()
        self._settings = FencingSettings()
        self._agent: IFenceAgent | None = None
        self._cases: dict[int, Case] = {}
        self._armed: set[int] = set()
        self._heard: _Heard | None = None
        self._view: View | None = None
        self._ring = (NO_RING.sequence, NO_RING.representative)
        self._asking: dict[int, Deferred[Any]] = {}
        self._timers: dict[int, Any] = {}
        self._unsent: list[Case] = []
        self._followers: list[Callable[[], object]] = []

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self._settings = fencing = settings.fencing
        if not fencing.agent:
            return
        try:
            self._agent = cluster.make(
                IFenceAgentMaker, fencing.agent, dict(fencing.options)
            )
        except NotExist as error:
            file = ", ".join(settings.sources) or "configuration"
            problem = Problem(file, 0, "fencing.agent", str(error))
            raise ConfigurationError(problem) from error

    def shutdown(self) -> bool:
        self._desist()
        return True

    # For everybody on this node.

    def confirmed(self, nodeids: Iterable[int]) -> bool:
        if not self._armed:
            return self._agent is None or self._view is not None
        if self.cluster.synchronizing():
            return False
        cases = (self._cases.get(nodeid) for nodeid in nodeids)
        return all(case is None or case.off for case in cases)

    def waiting(self) -> tuple[int, ...]:
        if not self._armed:
            return ()
        return tuple(n for n, case in sorted(self._cases.items()) if not case.off)

    def follow(self, changed: Callable[[], object]) -> Callable[[], None]:
        self._followers.append(changed)
        return partial(self._unfollow, changed)

    def _unfollow(self, changed: Callable[[], object]) -> None:
        if changed in self._followers:
            self._followers.remove(changed)

    def confirm(self, nodeid: int, reason: str) -> None:
        case = self._cases.get(nodeid)
        if case is None:
            raise NotExist(f"node {nodeid} is not lost, or is back")
        if self.cluster.synchronizing():
            raise TryAgain("the ring changes")
        text = f"an operator says that it is off: {reason}"[:LONGEST_TEXT]
        self._multicast(OUTCOME, evolve(case, off=True, text=text))

    # In the order: cases.

    def viewAhead(self, view: View) -> None:
        """
        Whoever is lost is a case before anybody hears of the view.
        """
        for change in view.left:
            if change.cause is Cause.LOST and len(self._cases) < MOST_CASES:
                self._cases[change.nodeid] = Case(change.nodeid, self._ring)
        for nodeid in view.members:
            self._cases.pop(nodeid, None)

    def roundCompleted(self) -> None:
        self._view = self.cluster.view()
        self._work()
        self._tell()

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if nodeid not in self.cluster.members():
            return
        said = _decode(body)
        if function == KNOWN and self._heard is not None:
            self._knownDelivered(nodeid, said)
        elif function == OUTCOME:
            self._outcomeDelivered(Case.of(said))

    def _outcomeDelivered(self, case: Case) -> None:
        known = self._cases.get(case.nodeid)
        if known is None or known.ring != case.ring or known.off:
            return  # It is back, or was lost once more, or all is said.
        self._cases[case.nodeid] = case
        outcome = "is off" if case.off else "may be on"
        self._log.info(
            "Lost node {nodeid} {outcome}: {text}",
            nodeid=case.nodeid,
            outcome=outcome,
            text=case.text,
        )
        if case.off:
            self._desist(case.nodeid)
            self._tell()
        self._work()

    def _tell(self) -> None:
        for changed in list(self._followers):
            changed()

    # Synchronization.

    def synchronizationStarted(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self._ring = ringId.sequence, ringId.representative
        self._heard = _Heard({}, set())
        self._desist()
        self._unsent = []

    def synchronize(self) -> bool:
        cases = [asdict(case) for case in self._cases.values()]
        said = {"armed": self._agent is not None, "cases": cases}
        self.cluster.multicast(KNOWN, json.dumps(said, sort_keys=True).encode())
        return True

    def _knownDelivered(self, nodeid: int, said: Any) -> None:
        assert self._heard is not None
        if not isinstance(said, dict) or not isinstance(said.get("cases"), list):
            raise UnknownFrame("not what a node knows about fencing")
        if len(said["cases"]) > MOST_CASES:
            raise BadCount(f"{len(said['cases'])} lost nodes")
        if said.get("armed"):
            self._heard.armed.add(nodeid)
        for case in map(Case.of, said["cases"]):
            known = self._heard.cases.get(case.nodeid)
            if known is None or _weight(known) < _weight(case):
                self._heard.cases[case.nodeid] = case

    def synchronizationCompleted(self) -> None:
        heard, self._heard = self._heard, None
        if heard is not None:
            self._cases, self._armed = heard.cases, heard.armed

    def synchronizationAborted(self) -> None:
        self._heard = None

    # Work: what the elected member does.

    def _elected(self) -> bool:
        """
        Do we ask our agent?
        """
        view = self._view
        if view is None or self._agent is None or not self._armed:
            return False
        return self.cluster.quorate() and min(self._armed) == self.cluster.nodeid

    def _work(self) -> None:
        for nodeid in self.waiting():
            busy = nodeid in self._asking or nodeid in self._timers
            case = self._cases[nodeid]
            if not busy and case.attempts < self._settings.attempts:
                self._later(nodeid, self._pause(case))

    def _pause(self, case: Case) -> float:
        if not case.attempts:
            return self._settings.delay
        doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(case.attempts - 1, 16)
        return min(doubled, LONGEST_PAUSE_SECONDS)

    def _later(self, nodeid: int, seconds: float) -> None:
        self._timers[nodeid] = self.cluster.callAfter(
            int(seconds * _NS), partial(self._ask, nodeid)
        )

    def _ask(self, nodeid: int) -> None:
        self._timers.pop(nodeid, None)
        case, agent = self._cases.get(nodeid), self._agent
        if case is None or case.off or agent is None or not self._elected():
            return
        self._log.warn("Lost node {nodeid}: have it switched off", nodeid=nodeid)
        reason = f"it was lost when ring {case.ring[1]}.{case.ring[0]:x} formed"
        asked = maybeDeferred(agent.fence, nodeid, reason)
        self._asking[nodeid] = asked
        limit = self.cluster.callAfter(int(self._settings.timeout * _NS), asked.cancel)
        asked.addBoth(self._answered, case, limit)

    def _answered(self, result: Any, case: Case, limit: Any) -> None:
        self.cluster.cancel(limit)
        self._asking.pop(case.nodeid, None)
        known = self._cases.get(case.nodeid)
        if known is None or known.ring != case.ring or known.off:
            return
        if isinstance(result, Failure):
            text = f"attempt {known.attempts + 1} failed: {self._why(result)}"
            outcome = evolve(known, attempts=known.attempts + 1)
        else:
            text, outcome = str(result), evolve(known, off=True)
        self._unsent.append(evolve(outcome, text=text[:LONGEST_TEXT]))
        self._send()

    def _why(self, failure: Failure) -> str:
        if failure.check(CancelledError):
            return f"no answer within {self._settings.timeout:g} s"
        return failure.getErrorMessage() or type(failure.value).__name__

    def _send(self) -> None:
        """
        As soon as there is room, and no round runs.
        """
        try:
            while self._unsent and not self.cluster.synchronizing():
                self._multicast(OUTCOME, self._unsent[0])
                self._unsent.pop(0)
        except TryAgain:
            self._log.debug("No room yet to say what came of fencing")
        if self._unsent:
            self.cluster.whenRoom(self._send)

    def _multicast(self, function: int, case: Case) -> None:
        text = json.dumps(asdict(case), sort_keys=True)
        self.cluster.multicast(function, text.encode())

    def _desist(self, nodeid: int | None = None) -> None:
        """
        Ask no more: about this node, or any.
        """
        for asked in [self._asking.pop(n, None) for n in _these(self._asking, nodeid)]:
            if asked is not None:
                asked.cancel()
        for timer in [self._timers.pop(n, None) for n in _these(self._timers, nodeid)]:
            self.cluster.cancel(timer)

    # For people.

    def status(self) -> dict[str, Any]:
        agent = None if self._agent is None else dict(self._agent.status())
        return {
            "agent": self._settings.agent or "",
            "agentStatus": agent,
            "armed": sorted(self._armed),
            "elected": self._elected(),
            "cases": {
                str(nodeid): {**asdict(case), "asking": nodeid in self._asking}
                for nodeid, case in sorted(self._cases.items())
            },
        }

    def dump(self) -> Mapping[str, Any]:
        return self.status()


def _weight(case: Case) -> tuple[tuple[int, int], bool, int, str]:
    return case.ring, case.off, case.attempts, case.text


def _these(known: Mapping[int, Any], nodeid: int | None) -> list[int]:
    return [n for n in known if nodeid in (None, n)]
