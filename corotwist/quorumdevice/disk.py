"""
A quorum device on storage that all nodes share: the quorum disk.  Nodes write
that they are alive, and which ring they are on, and one partition gets the vote
even when the nodes do not see each other in any other way.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.deviceinterfaces import IQuorumDevice
from corotwist.errors import ConfigurationError, InvalidParameter, Problem
from corotwist.quorumdevice.arbitration import Terms
from corotwist.quorumdevice.claims import Claims
from corotwist.quorumdevice.parties import LOWEST, Rule
from corotwist.quorumdevice.sectors import LARGEST_NODEID, DiskRefused, Sectors
from corotwist.quorumdevice.slots import Slot, State
from corotwist.quorumdevice.values import DeviceAnswer, DeviceContext, Health
from corotwist.totem.membership import NO_RING, RingId

DEFAULT_INTERVAL_MS: Final = 1000
# Of the time that a vote is good for: there is room for more than one try.
MOST_INTERVALS: Final = 1 / 3
# When a change is likely to be seen: when we want the vote, or just asked.
QUICK_SECONDS: Final = 0.1
_MS: Final = 1000

InThread = Callable[..., Deferred[Any]]


@frozen
class DiskOptions:
    """
    What C{quorum.device.disk} says.
    """

    path: str
    interval: float
    rule: Rule

    @classmethod
    def of(cls, context: DeviceContext) -> "DiskOptions":
        """
        @raise ConfigurationError: it cannot be used.
        """
        given = context.options
        path = given.get("path", "")
        if not path.startswith("/"):
            raise _wrong("path", f"{path!r} is no whole path of a file or a device")
        if max(context.nodes) > LARGEST_NODEID:
            text = f"nodeids are at most {LARGEST_NODEID} with a quorum disk"
            raise _wrong("path", f"{text}, and there is {max(context.nodes)}")
        try:
            rule = Rule(
                given.get("algorithm", "ffsplit"), given.get("tie_breaker", LOWEST)
            )
        except InvalidParameter as error:
            raise _wrong("algorithm", str(error)) from error
        text = given.get("interval", "") or str(DEFAULT_INTERVAL_MS)
        interval = int(text) / _MS if text.isdecimal() else 0.0
        if not 0 < interval <= context.castSeconds * MOST_INTERVALS:
            most = int(context.castSeconds * MOST_INTERVALS * _MS)
            raise _wrong("interval", f"{text!r} is no number of ms from 1 to {most}")
        return cls(path, interval, rule)


class Threads:
    """
    Work that waits for the disk, and when it was through.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __call__(self, work: Callable[..., Any], *given: Any) -> Deferred[Any]:
        """
        In a thread of the reactor's pool.
        """
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, work, *given)


@implementer(IQuorumDevice)
class DiskDevice:
    """
    Writes and reads, one time around after the other, and never two at once.

    @ivar claims: who has the vote.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        context: DeviceContext,
        *,
        inThread: InThread | None = None,
        sectors: Any = None,
    ) -> None:
        self.options = DiskOptions.of(context)
        self._reactor = reactor
        self._context = context
        self._inThread = inThread or Threads(reactor)
        self._sectors = sectors or Sectors(self.options.path, context.cluster)
        terms = Terms(
            context.nodes,
            self.options.rule,
            context.castSeconds,
            context.graceSeconds,
        )
        self.claims = Claims(
            context.nodeid, context.incarnation, terms, reactor.seconds()
        )
        self._members: tuple[int, ...] = ()
        self._told: Callable[[Any], object] | None = None
        self._next: Any = None
        self._busy: Deferred[Any] | None = None
        self._stopping: list[Deferred[None]] = []
        self._trouble = ""
        self._rounds = self._errors = 0

    # From the node.

    def start(self, told: Callable[[Any], object]) -> None:
        self._told = told
        self._do(self._open).addErrback(self._failed).addBoth(self._after)

    def listed(self, nodes: tuple[int, ...]) -> None:
        if max(nodes) > LARGEST_NODEID:
            self._log.error(
                "Node {nodeid} has no sector on the quorum disk", nodeid=max(nodes)
            )
            nodes = tuple(n for n in nodes if n <= LARGEST_NODEID)
        self._context = evolve(self._context, nodes=nodes)
        self.claims.terms = evolve(self.claims.terms, nodes=nodes)

    def ask(self, ringId: RingId, members: tuple[int, ...], health: Health) -> None:
        self._members = members
        self.claims.wish(ringId, members, health, self._reactor.seconds())
        self._soon(0.0)

    def stop(self) -> Deferred[None]:
        """
        The vote is free when our sector says so; a disk that does not answer is
        not waited for.
        """
        told, self._told = self._told, None
        self._cancel()
        if told is None:
            return succeed(None)
        self.claims.wish(NO_RING, (), Health.UNKNOWN, self._reactor.seconds())
        if self._busy is not None:
            return succeed(None)
        written = self._do(self._farewell, self.claims.sector())
        return written.addErrback(self._failed).addBoth(lambda _: None)

    # One time around.

    def _do(self, work: Callable[..., Any], *given: Any) -> Deferred[Any]:
        self._busy = self._inThread(work, *given)
        return self._busy.addBoth(self._through)

    def _through(self, result: Any) -> Any:
        self._busy = None
        return result

    def _soon(self, delay: float) -> None:
        self._cancel()
        if self._told is not None and self._busy is None:
            self._next = self._reactor.callLater(delay, self._around)

    def _cancel(self) -> None:
        call, self._next = self._next, None
        if call is not None:
            call.cancel()

    def _around(self) -> None:
        self._next = None
        slot, began = self.claims.sector(), self._reactor.seconds()
        asked = partial(self._exchanged, slot, began, self.claims.ringId)
        self._do(self._exchange, slot).addCallback(asked).addErrback(
            self._failed
        ).addBoth(self._after)

    def _after(self, _: object) -> None:
        """
        Quickly, while something is about to happen; regularly otherwise.
        """
        if self._told is None:
            self._sectors.close()
            return
        quick = self.claims.state is State.WANTING
        least = min(QUICK_SECONDS, self.options.interval)
        self._soon(least if quick else self.options.interval)

    def _exchanged(
        self,
        slot: Slot,
        began: float,
        ringId: RingId,
        result: tuple[float, Mapping[int, Slot]],
    ) -> None:
        wrote, slots = result
        self._rounds += 1
        if self._trouble:
            self._log.info("The quorum disk {path} answers", path=self.options.path)
            self._trouble = ""
        now = self._reactor.seconds()
        self.claims.unreadable(self._sectors.damaged, now)
        self.claims.exchanged(slot, slots, began, wrote, now)
        if ringId == self.claims.ringId != NO_RING and self._told is not None:
            self._tell()

    def _tell(self) -> None:
        now, until = self._reactor.seconds(), self.claims.castUntil
        if until > now:
            why = f"the disk {self.options.path} is ours"
            self._answer(until, why)
        elif self.claims.state is State.IDLE and self.claims.decided(now):
            why = f"the disk {self.options.path} is for others, or free for none"
            self._answer(0.0, why)

    def _answer(self, until: float, why: str) -> None:
        if self._told is not None:
            self._told(DeviceAnswer(self.claims.ringId, until > 0, until, why))

    def _failed(self, failure: Failure) -> None:
        """
        What was good stays good for its time, and not longer.
        """
        self._errors += 1
        self.claims.failed()
        text = failure.getErrorMessage()
        if not failure.check(OSError, DiskRefused):
            self._log.failure("Trouble with the quorum disk", failure)
        elif text != self._trouble:
            self._log.error("The quorum disk cannot be used: {why}", why=text)
        self._trouble = text
        if self.claims.castUntil <= self._reactor.seconds():
            self._answer(0.0, f"the disk cannot be used: {text}")

    # In a thread.

    def _open(self) -> None:
        self._sectors.open(self._context.nodes)

    def _exchange(self, slot: Slot) -> tuple[float, dict[int, Slot]]:
        self._sectors.reopened(self._context.nodes)
        self._sectors.write(slot)
        wrote = self._reactor.seconds()
        nodeids = sorted({*self._context.nodes, *slot.members})
        return wrote, self._sectors.read(nodeids)

    def _farewell(self, slot: Slot) -> None:
        try:
            self._sectors.write(slot)
        finally:
            self._sectors.close()

    # For people.

    def status(self) -> dict[str, Any]:
        now = self._reactor.seconds()
        summary = self._trouble or f"{self.options.path}, {self.claims.state.name}"
        return {
            "summary": summary,
            "path": self.options.path,
            "algorithm": self.options.rule.name,
            "tieBreaker": self.options.rule.tieBreaker,
            "direct": self._sectors.direct,
            "rounds": self._rounds,
            "errors": self._errors,
            "trouble": self._trouble,
            "waiting": self._busy is not None,
            "damaged": {str(n): why for n, why in self._sectors.damaged.items()},
            **self.claims.status(now),
        }


def _wrong(option: str, text: str) -> ConfigurationError:
    key = f"quorum.device.disk.{option}"
    return ConfigurationError(Problem("configuration", 0, key, text))
