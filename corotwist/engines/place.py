"""
The place of one engine at its node: who it is, how it has behaved, and a wall
around it.
"""

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from twisted.logger import Logger

from corotwist.engines.context import Cluster
from corotwist.engines.executive import FUNCTIONS_COUNTED
from corotwist.engines.sending import Sending
from corotwist.errors import NotSupported, TryAgain, WireError
from corotwist.interfaces import IConverting, ISynchronized
from corotwist.totem.membership import RingId

# Exceptions of one engine before it is taken out of service.
FAILURES_TOLERATED: Final = 10


class Duty(Enum):
    """
    What an engine is there for at the moment.

    @cvar PREPARING: it initializes itself while another does the work, or
        nobody: what it is called with counts, but it cannot send.
    @cvar SERVING: it does its work.
    @cvar FAILED: it raised too often, and is left alone.
    @cvar RETIRED: another one has its work, or nobody any more.
    """

    PREPARING = "preparing"
    SERVING = "serving"
    FAILED = "out of service"
    RETIRED = "retired"


_OVER: Final = (Duty.FAILED, Duty.RETIRED)


class Place:
    """
    An engine's place at the node: who it is, and how it has behaved.

    As a participant of synchronization it does nothing for an engine that has
    failed, so that the others go on.

    @ivar duty: what the engine is there for.
    @ivar waiting: it was loaded while the node runs, and takes part from the
        next round of synchronization on; before that it is sent nothing.
    @ivar failures: exceptions so far.
    @ivar sent: messages by function.
    @ivar received: likewise, our own included.
    @ivar onFailed: called with this place, when the engine has failed.
    @ivar onMemoryError: called with the engine's name and a method's, when it
        ran out of memory there.
    """

    def __init__(self, engine: Any, log: Logger, *, duty: Duty = Duty.SERVING) -> None:
        self.engine = engine
        self.name: str = engine.name
        self.serviceId: int = engine.serviceId
        self.requires: tuple[str, ...] = tuple(getattr(engine, "requires", ()))
        self.synchronized = ISynchronized.providedBy(engine)
        self.converting = IConverting.providedBy(engine)
        self.duty = duty
        self.waiting = False
        self.cluster: Cluster | None = None
        self.failures = 0
        self.malformed = 0
        self.sent: Counter[int] = Counter()
        self.received: Counter[int] = Counter()
        self.prepare: Callable[[], bool] | None = None
        self.onFailed: Callable[[Place], None] | None = None
        self.onMemoryError: Callable[[str, str], None] | None = None
        self._sending = Sending()
        self._log = log

    @property
    def failed(self) -> bool:
        """
        Is it out of service?
        """
        return self.duty is Duty.FAILED

    @property
    def over(self) -> bool:
        """
        Is it never called again?
        """
        return self.duty in _OVER

    @property
    def state(self) -> str:
        """
        In words, for people.
        """
        return "waiting for a round" if self.waiting else self.duty.value

    def counted(self, function: int) -> int:
        """
        Under which number messages of a function are counted: the last one is
        for all that nobody has, and anybody may send.
        """
        return min(function, FUNCTIONS_COUNTED)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """
        Call into the engine.

        @return: what it returned; L{None} when it failed.
        """
        if self.duty in _OVER:
            return None
        try:
            return function(*arguments)
        except MemoryError:
            if self.onMemoryError is not None:
                self.onMemoryError(self.name, getattr(function, "__name__", "a call"))
            self._blame()
        except WireError as error:
            self.malformed += 1
            self._log.warn(
                "Service {name}: message refused: {error}", name=self.name, error=error
            )
        except Exception:  # noqa: BLE001 - Whatever it is, it stays here.
            self._blame()
        return None

    def deliver(self, nodeid: int, function: int, body: bytes, byteOrder: str) -> None:
        """
        A message for it, in little endian if it converts those of others.
        """
        self.call(self._deliver, nodeid, function, body, byteOrder)

    def _deliver(self, nodeid: int, function: int, body: bytes, byteOrder: str) -> None:
        engine = self.engine
        if byteOrder != "<" and self.converting:
            body, byteOrder = engine.littleEndian(function, body), "<"
        engine.messageDelivered(nodeid, function, body, byteOrder)

    def _blame(self) -> None:
        self.failures += 1
        self._log.failure(
            "Service {name} raised (number {failures} of {tolerated})",
            name=self.name,
            failures=self.failures,
            tolerated=FAILURES_TOLERATED,
        )
        if self.failures >= FAILURES_TOLERATED:
            self.fail()

    def fail(self) -> None:
        """
        Out of service, and its clients are told if it still can.
        """
        self.duty = Duty.FAILED
        self._log.critical("Service {name} is out of service", name=self.name)
        self._abandon()
        self._close()
        if self.onFailed is not None:
            self.onFailed(self)

    def _close(self) -> None:
        if self.cluster is not None:
            self.cluster.close()

    def _abandon(self) -> None:
        """
        Let an engine that does not serve give back what it took, if it can.
        """
        try:
            self.engine.shutdown()
        except Exception:  # noqa: BLE001 - It does nothing for us anyway.
            self._log.failure("Service {name} does not even stop", name=self.name)

    def serve(self) -> None:
        """
        From now on it does the work.
        """
        self.duty = Duty.SERVING

    def retire(self) -> None:
        """
        It is not called again, and what it still sends is refused.
        """
        self.duty = Duty.RETIRED
        self._close()

    def discard(self) -> None:
        """
        It will never serve.
        """
        self.duty = Duty.RETIRED
        self._abandon()
        self._close()

    # For its context.

    def checkSending(self) -> None:
        """
        May it send?

        @raise TryAgain: not yet.
        @raise NotSupported: never again.
        """
        if self.duty is Duty.SERVING:
            return
        if self.duty is Duty.PREPARING:
            raise TryAgain(f"engine {self.name} does not serve yet")
        raise NotSupported(f"engine {self.name} is {self.duty.value}")

    # In a round of synchronization.

    def started(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self.waiting = False
        self.call(self.engine.synchronizationStarted, transitional, members, ringId)

    def process(self) -> bool:
        """
        Is everything sent?  A failure counts as done.
        """
        if self.prepare is not None and not self.prepare():
            return False
        return self.call(self._sending.goOn, self.engine.synchronize) is not False

    def completed(self) -> None:
        self.call(self._sending.stop)
        self.call(self.engine.synchronizationCompleted)

    def aborted(self) -> None:
        self.call(self._sending.stop)
        self.call(self.engine.synchronizationAborted)

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        return {
            "serviceId": self.serviceId,
            "version": self.engine.version,
            "failed": self.failed,
            "waiting": self.waiting,
            "failures": self.failures,
            "malformed": self.malformed,
        }
