"""
May this node stop?  Clients that want to be asked are, and the node stops when
nobody objects, or regardless, or at once.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from corotwist.engines.operatorinterfaces import (
    Insistence,
    IShutdownTracker,
    Objection,
)
from corotwist.errors import AccessDenied, Exists, NoSpace, NotExist, TryAgain, Vetoed
from corotwist.interfaces import ICluster

# Clients of one node that want to be asked.
MOST_TRACKERS: Final = 1024
# For them to answer; C{cfg.shutdown_timeout} says otherwise, in milliseconds.
TIMEOUT_KEY: Final = "cfg.shutdown_timeout"
TIMEOUT_MS: Final = 5000
MOST_MS: Final = 0xFFFFFFFF
# For the word that we stop to come back to us; then we stop without.
DELIVERY_NS: Final = 5_000_000_000

SAID_NO: Final = "says no"
SILENT: Final = "did not answer"

_MS: Final = 1_000_000


@define(eq=False)
class Dialogue:
    """
    A shutdown that was asked for, and what became of it so far.

    @ivar who: asked, for people.
    @ivar open: who has not answered.
    @ivar agreed: are the others being told?
    @ivar stopping: has this node begun to stop?
    @ivar answer: for whoever asked.
    """

    how: Insistence
    who: str
    answer: Deferred[tuple[Objection, ...]] = field(factory=Deferred)
    open: dict[IShutdownTracker, None] = field(factory=dict)
    objections: list[Objection] = field(factory=list)
    agreed: bool = False
    stopping: bool = False
    timer: Any = None


class ShutdownTalks:
    """
    One at a time.  Who does not answer objects; who is gone does not.

    @ivar cluster: set when the engine is initialized.
    """

    cluster: ICluster

    def __init__(self, announce: Callable[[], object]) -> None:
        """
        @param announce: tells all nodes, this one too, that it stops.
        """
        self._log = Logger()
        self._announce = announce
        self._dialogue: Dialogue | None = None
        self.trackers: dict[IShutdownTracker, None] = {}

    @property
    def busy(self) -> bool:
        """
        Is a shutdown being talked about, or agreed?
        """
        return self._dialogue is not None

    def status(self) -> Mapping[str, Any]:
        """
        For people.
        """
        running = self._dialogue
        return {
            "trackers": [tracker.pid for tracker in self.trackers],
            "shutdown": running
            and {
                "who": running.who,
                "agreed": running.agreed,
                "open": [tracker.pid for tracker in running.open],
                "objections": list(map(str, running.objections)),
            },
        }

    def stop(self) -> None:
        """
        The engine stops, and with it whatever was talked about.
        """
        dialogue = self._dialogue
        if dialogue is not None and not dialogue.agreed:
            self._over(dialogue)
            dialogue.answer.errback(TryAgain("the node stops already"))

    # Who wants to be asked.

    def track(self, tracker: IShutdownTracker) -> None:
        """
        From now on, the tracker is asked.

        @raise Exists: it is already.
        @raise NoSpace: so are too many others.
        """
        if tracker in self.trackers:
            raise Exists("this client is asked already")
        if len(self.trackers) >= MOST_TRACKERS:
            raise NoSpace(f"{MOST_TRACKERS} clients are asked already")
        self.trackers[tracker] = None

    def untrack(self, tracker: IShutdownTracker) -> None:
        """
        It does not mind any more, whatever is being talked about.

        @raise NotExist: it was never asked.
        """
        if tracker not in self.trackers:
            raise NotExist("this client is not asked about shutdowns")
        del self.trackers[tracker]
        dialogue = self._dialogue
        if dialogue is not None and tracker in dialogue.open:
            del dialogue.open[tracker]
            self._answered(dialogue)

    def reply(self, tracker: IShutdownTracker, *, yes: bool) -> None:
        """
        What a tracker says to the question.

        @raise AccessDenied: it was not asked, or has answered.
        """
        dialogue = self._dialogue
        if dialogue is None or tracker not in dialogue.open:
            raise AccessDenied("nobody waits for this answer")
        del dialogue.open[tracker]
        if not yes:
            dialogue.objections.append(_objection(tracker, SAID_NO))
        self._answered(dialogue)

    # Who wants the node to stop.

    def propose(self, how: Insistence, who: str) -> Deferred[tuple[Objection, ...]]:
        """
        See L{corotwist.engines.operatorinterfaces.IOperator.tryShutdown}.
        """
        running = self._dialogue
        if running is not None and running.agreed:
            return self._again(running, how)
        if running is not None and how is not Insistence.IMMEDIATE:
            return fail(Exists(f"others are asked already, for {running.who}"))
        if running is not None:
            self._withdraw(running)
        dialogue = self._dialogue = Dialogue(how, who)
        asked = how is not Insistence.IMMEDIATE
        dialogue.open = dict(self.trackers) if asked else {}
        if dialogue.open:
            timeout = self._timeoutMs() * _MS
            dialogue.timer = self.cluster.callAfter(
                timeout, lambda: self._timedOut(dialogue)
            )
            for tracker in tuple(dialogue.open):
                tracker.shutdownProposed(how)
        else:
            self._agree(dialogue)
        return dialogue.answer

    def _again(
        self, running: Dialogue, how: Insistence
    ) -> Deferred[tuple[Objection, ...]]:
        """
        It is certain already; that it be at once can still be wished.
        """
        if how is Insistence.IMMEDIATE:
            running.how = how
            if running.stopping:
                self._stopNode(running)
        return succeed(tuple(running.objections))

    def _timeoutMs(self) -> int:
        for name, value in self.cluster.database.map.items(TIMEOUT_KEY):
            text = str(value.content)
            if name == TIMEOUT_KEY and text.isdecimal():
                return min(int(text), MOST_MS)
        return TIMEOUT_MS

    def _answered(self, dialogue: Dialogue) -> None:
        if not dialogue.open:
            self._decide(dialogue)

    def _timedOut(self, dialogue: Dialogue) -> None:
        """
        Silence is a no.
        """
        silent = tuple(dialogue.open)
        dialogue.open.clear()
        for tracker in silent:
            dialogue.objections.append(_objection(tracker, SILENT))
            tracker.shutdownWithdrawn()
        self._decide(dialogue)

    def _withdraw(self, dialogue: Dialogue) -> None:
        """
        Somebody does not want to wait for answers.
        """
        for tracker in dialogue.open:
            tracker.shutdownWithdrawn()
        self._over(dialogue)
        dialogue.answer.errback(Exists("an immediate shutdown was asked for"))

    def _decide(self, dialogue: Dialogue) -> None:
        if dialogue.objections and dialogue.how is not Insistence.REGARDLESS:
            self._over(dialogue)
            told = "; ".join(map(str, dialogue.objections))
            self._log.info(
                "No shutdown, as {who} asked for: {told}", who=dialogue.who, told=told
            )
            dialogue.answer.errback(Vetoed(told))
        else:
            self.cluster.cancel(dialogue.timer)
            self._agree(dialogue)

    def _over(self, dialogue: Dialogue) -> None:
        self._dialogue = None
        self.cluster.cancel(dialogue.timer)

    # What was agreed.

    def _agree(self, dialogue: Dialogue) -> None:
        """
        Tell the others, and stop when we hear it ourselves.
        """
        dialogue.agreed = True
        dialogue.timer = self.cluster.callAfter(
            DELIVERY_NS, lambda: self._stopNode(dialogue)
        )
        self._announce()
        dialogue.answer.callback(tuple(dialogue.objections))

    def shutdownDelivered(self, nodeid: int) -> None:
        """
        A node is going to stop; when it leaves the ring it will have left.
        """
        self._log.info("Node {nodeid} is going to stop", nodeid=nodeid)
        dialogue = self._dialogue
        if nodeid != self.cluster.nodeid or dialogue is None:
            return
        if dialogue.agreed and not dialogue.stopping:
            self._stopNode(dialogue)

    def _stopNode(self, dialogue: Dialogue) -> None:
        self.cluster.cancel(dialogue.timer)
        dialogue.stopping = True
        told = "; ".join(map(str, dialogue.objections))
        reason = f"{dialogue.who} asked for it" + (f", although {told}" * bool(told))
        hasty = dialogue.how is Insistence.IMMEDIATE
        self.cluster.stopRequested(reason, hasty=hasty)


def _objection(tracker: IShutdownTracker, why: str) -> Objection:
    return Objection(tracker.pid, tracker.name, why)
