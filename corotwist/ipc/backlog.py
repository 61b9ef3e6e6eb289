"""
What waits for a client that reads too slowly, and what is done about it.
"""

from collections.abc import Callable
from typing import ClassVar, Final, Self

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from corotwist.budget import Budget
from corotwist.config.settings import IpcSettings
from corotwist.engines.interfaces import SlowReader
from corotwist.interfaces import IFlowGroup
from corotwist.ipc.dispatch import DispatchQueue
from corotwist.ipc.spill import Spill, Store
from corotwist.ipc.wire import DISPATCH_QUEUE_BYTES, DISPATCH_QUEUE_MESSAGES

# A client is behind when this part of its queue is full, and has caught up when
# that part is left.  What lies between the first and the whole is for messages
# that were on their way when their senders were paused.
HIGH_SHARE: Final = 4
LOW_SHARE: Final = 8
# A pause that is longer is told to the operator.
NOTICE_SECONDS: Final = 1.0

MakeStore = Callable[[], Store]


@frozen
class Limits:
    """
    What may wait for one client.

    @ivar slow: what happens when it reads too slowly and has no other wish.
    @ivar pauseSeconds: how long senders wait for it at most.
    @ivar spillBytes: in its file.
    """

    bytes: int = DISPATCH_QUEUE_BYTES
    messages: int = DISPATCH_QUEUE_MESSAGES
    slow: SlowReader = SlowReader.PAUSE
    pauseSeconds: float = 10.0
    spillBytes: int = 256 << 20

    @classmethod
    def of(cls, settings: IpcSettings) -> Self:
        """
        As configured.
        """
        return cls(
            settings.clientBytes,
            DISPATCH_QUEUE_MESSAGES,
            SlowReader(settings.slowReader),
            settings.pauseSeconds,
            settings.spillBytes,
        )


@define(eq=False)
class Backlog:
    """
    The queue of one client, the flow-control groups that it slows, and the file
    behind the queue.

    A client with one group that spills spills whatever comes, for all of it is
    in one order; then nobody waits for it.

    @ivar cut: called, at most once, with the reason when the client must go.
    @ivar arrived: called when something came back from the file.
    @ivar intake: where events go in: the queue, or the file behind it.
    @ivar spill: that file, if there is one.
    @ivar behind: is it too slow?
    @ivar pauses: how often it began to be.
    @ivar markBytes: look closer when more waits; C{markMessages} likewise.
    """

    _log: ClassVar[Logger] = Logger()

    queue: DispatchQueue
    cut: Callable[[str], None]
    arrived: Callable[[], None]
    _clock: IReactorTime
    _limits: Limits
    _budget: Budget
    _makeStore: MakeStore | None = None
    intake: DispatchQueue | Spill = field(init=False)
    behind: bool = field(default=False, init=False)
    pauses: int = field(default=0, init=False)
    markBytes: int = field(init=False)
    markMessages: int = field(init=False)
    _flows: dict[IFlowGroup, SlowReader] = field(factory=dict, init=False)
    _slowed: dict[IFlowGroup, None] = field(factory=dict, init=False)
    _patience: IDelayedCall | None = field(default=None, init=False)
    _deadline: float = field(default=0.0, init=False)
    spill: Spill | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.intake = self.queue
        self._settle()

    # The groups.

    def attach(self, flow: IFlowGroup, slow: SlowReader | None) -> None:
        """
        What is sent to a group comes here from now on.
        """
        self._flows[flow] = slow or self._limits.slow
        self._settle()
        self.grown()

    def detach(self, flow: IFlowGroup) -> None:
        """
        It does not any more.
        """
        self._flows.pop(flow, None)
        self._settle()

    def _spills(self) -> bool:
        return self._makeStore is not None and SlowReader.SPILL in self._flows.values()

    def _settle(self) -> None:
        """
        Slow those who are to be slowed, and nobody else.
        """
        spills = self._spills()
        wanted = [f for f, wish in self._flows.items() if wish is SlowReader.PAUSE]
        if spills:
            wanted = []
        if self.behind and not wanted and self.spill is None:
            self.behind = False
        share = HIGH_SHARE if (wanted or spills) and not self.behind else 1
        self.markBytes = self._limits.bytes // share
        self.markMessages = self._limits.messages // share
        self._slow(wanted if self.behind else [])

    def _slow(self, wanted: list[IFlowGroup]) -> None:
        if wanted and self._patience is None:
            self._deadline = self._clock.seconds() + self._limits.pauseSeconds
            seconds = min(NOTICE_SECONDS, self._limits.pauseSeconds)
            self._patience = self._clock.callLater(seconds, self._noticed)
        elif not wanted and self._patience is not None:
            patience, self._patience = self._patience, None
            patience.cancel()
        before, self._slowed = self._slowed, dict.fromkeys(wanted)
        for flow in wanted:
            if flow not in before:
                flow.increment()
        for flow in before:
            if flow not in self._slowed:
                flow.decrement()

    def _noticed(self) -> None:
        self._log.warn(
            "Senders wait for {who}: {messages} messages, {size} bytes wait for it",
            who=self._budget.name,
            messages=self.queue.heldMessages,
            size=self.queue.heldBytes,
        )
        rest = max(0.0, self._deadline - self._clock.seconds())
        self._patience = self._clock.callLater(rest, self._patienceEnded)

    def _patienceEnded(self) -> None:
        self._patience = None
        self.cut(f"too slow: senders waited for it for {self._limits.pauseSeconds} s")

    # The queue.

    def grown(self) -> None:
        """
        More waits than before.
        """
        limits, queue = self._limits, self.queue
        if queue.heldBytes > limits.bytes or queue.heldMessages > limits.messages:
            self.cut(
                f"too slow: {queue.heldMessages} messages, {queue.heldBytes} bytes"
                " were waiting"
            )
        elif not self.behind and (
            queue.heldBytes > self.markBytes or queue.heldMessages > self.markMessages
        ):
            self._fallBehind()

    def shrunk(self) -> None:
        """
        The client was sent something.
        """
        limits, queue = self._limits, self.queue
        if (
            self.behind
            and queue.heldBytes <= limits.bytes // LOW_SHARE
            and queue.heldMessages <= limits.messages // LOW_SHARE
        ):
            if self.spill is None:
                self.behind = False
                self._settle()
            else:
                self.spill.refill()

    def _fallBehind(self) -> None:
        self.behind = True
        self.pauses += 1
        if self._spills():
            self._beginSpill()
        self._settle()

    # The file.

    def _beginSpill(self) -> None:
        assert self._makeStore is not None, "there is somewhere to spill"
        try:
            store = self._makeStore()
        except OSError as error:
            self.cut(f"too slow, and there is no file for it: {error}")
            return
        self.intake = self.spill = Spill(
            store,
            self.queue,
            self._budget,
            self._limits.spillBytes,
            self._refilled,
            self.cut,
        )

    def _refilled(self) -> None:
        """
        Something is in the queue again; perhaps that was all of it.
        """
        if self.spill is not None and self.spill.empty:
            self._endSpill()
            self.behind = False
            self._settle()
        self.arrived()

    def _endSpill(self) -> None:
        if self.spill is not None:
            self.spill.close()
        self.spill = None
        self.intake = self.queue

    def spilledBytes(self) -> int:
        """
        What waits in the file.
        """
        return 0 if self.spill is None else self.spill.heldBytes

    def clear(self) -> None:
        """
        Nobody will read any of it: nobody has to wait for it either.
        """
        self.queue.clear()
        self._endSpill()
        self._flows.clear()
        self._settle()
