"""
What waits for a client that reads too slowly, and what is done about it.
"""

from collections.abc import Callable
from typing import Final, Self

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from corotwist.config.settings import IpcSettings
from corotwist.engines.interfaces import SlowReader
from corotwist.interfaces import IFlowGroup
from corotwist.ipc.cpg import DispatchQueue
from corotwist.ipc.wire import DISPATCH_QUEUE_BYTES, DISPATCH_QUEUE_MESSAGES

# A client is behind when this part of its queue is full, and has caught up when
# that part is left.  What lies between the first and the whole is for messages
# that were on their way when their senders were paused.
HIGH_SHARE: Final = 4
LOW_SHARE: Final = 8


@frozen
class Limits:
    """
    What may wait for one client.

    @ivar slow: what happens when it reads too slowly and has no other wish.
    @ivar pauseSeconds: how long senders wait for it at most.
    """

    bytes: int = DISPATCH_QUEUE_BYTES
    messages: int = DISPATCH_QUEUE_MESSAGES
    slow: SlowReader = SlowReader.PAUSE
    pauseSeconds: float = 10.0

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
        )


@define(eq=False)
class Backlog:
    """
    The queue of one client, and the flow-control groups that it slows.

    @ivar cut: called, at most once, with the reason when the client must go.
    @ivar behind: does it slow anybody?
    @ivar pauses: how often it began to.
    @ivar markBytes: look closer when more waits; C{markMessages} likewise.
    """

    queue: DispatchQueue
    cut: Callable[[str], None]
    _clock: IReactorTime
    _limits: Limits
    behind: bool = field(default=False, init=False)
    pauses: int = field(default=0, init=False)
    markBytes: int = field(init=False)
    markMessages: int = field(init=False)
    _flows: dict[IFlowGroup, SlowReader] = field(factory=dict, init=False)
    _patience: IDelayedCall | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._setMarks()

    # The groups.

    def attach(self, flow: IFlowGroup, slow: SlowReader | None) -> None:
        """
        What is sent to a group comes here from now on.
        """
        wish = self._flows[flow] = slow or self._limits.slow
        if self.behind and wish is SlowReader.PAUSE:
            flow.increment()
        self._setMarks()
        self.grown()

    def detach(self, flow: IFlowGroup) -> None:
        """
        It does not any more.
        """
        wish = self._flows.pop(flow, None)
        if self.behind and wish is SlowReader.PAUSE:
            flow.decrement()
        if self.behind and not self._slowing():
            self._caughtUp()
        self._setMarks()

    def _slowing(self) -> list[IFlowGroup]:
        return [f for f, wish in self._flows.items() if wish is SlowReader.PAUSE]

    def _setMarks(self) -> None:
        waits = not self.behind and bool(self._slowing())
        share = HIGH_SHARE if waits else 1
        self.markBytes = self._limits.bytes // share
        self.markMessages = self._limits.messages // share

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
        elif (
            queue.heldBytes > self.markBytes or queue.heldMessages > self.markMessages
        ) and not self.behind:
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
            self._caughtUp()

    def _fallBehind(self) -> None:
        self.behind = True
        self.pauses += 1
        self._setMarks()
        seconds = self._limits.pauseSeconds
        self._patience = self._clock.callLater(seconds, self._patienceEnded)
        for flow in self._slowing():
            flow.increment()

    def _caughtUp(self) -> None:
        self.behind = False
        self._setMarks()
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.cancel()
        for flow in self._slowing():
            flow.decrement()

    def _patienceEnded(self) -> None:
        self._patience = None
        self.cut(f"too slow: senders waited for it for {self._limits.pauseSeconds} s")

    def clear(self) -> None:
        """
        Nobody will read any of it: nobody has to wait for it either.
        """
        self.queue.clear()
        if self.behind:
            self._caughtUp()
        self._flows.clear()
        self._setMarks()
