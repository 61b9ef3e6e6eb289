"""
The place of one engine at its node: who it is, how it has behaved, and a wall
around it.
"""

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from corotwist.errors import TryAgain, WireError
from corotwist.interfaces import ISynchronized
from corotwist.totem.membership import RingId

# Exceptions of one engine before it is taken out of service.
FAILURES_TOLERATED: Final = 10


class Place:
    """
    An engine's place at the node: who it is, and how it has behaved.

    As a participant of synchronization it does nothing for an engine that has
    failed, so that the others go on.

    @ivar failures: exceptions so far.
    @ivar failed: out of service.
    """

    def __init__(self, engine: Any, log: Logger) -> None:
        self.engine = engine
        self.name: str = engine.name
        self.serviceId: int = engine.serviceId
        self.synchronized = ISynchronized.providedBy(engine)
        self.failures = 0
        self.failed = False
        self.malformed = 0
        self.prepare: Callable[[], bool] | None = None
        self._log = log

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """
        Call into the engine.

        @return: what it returned; L{None} when it failed.
        """
        if self.failed:
            return None
        try:
            return function(*arguments)
        except WireError as error:
            self.malformed += 1
            self._log.warn(
                "Service {name}: message refused: {error}", name=self.name, error=error
            )
        except Exception:  # noqa: BLE001 - Whatever it is, it stays here.
            self._blame()
        return None

    def _blame(self) -> None:
        self.failures += 1
        self.failed = self.failures >= FAILURES_TOLERATED
        self._log.failure(
            "Service {name} raised (number {failures} of {tolerated})",
            name=self.name,
            failures=self.failures,
            tolerated=FAILURES_TOLERATED,
        )
        if self.failed:
            self._retire()

    def _retire(self) -> None:
        """
        Out of service, and its clients are told if it still can.
        """
        self._log.critical("Service {name} is out of service", name=self.name)
        try:
            self.engine.shutdown()
        except Exception:  # noqa: BLE001 - It is out of service already.
            self._log.failure("Service {name} does not even stop", name=self.name)

    # In a round of synchronization.

    def started(
        self, transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        self.call(self.engine.synchronizationStarted, transitional, members, ringId)

    def process(self) -> bool:
        """
        Is everything sent?  A failure counts as done.
        """
        if self.prepare is not None and not self.prepare():
            return False
        return self.call(self._process) is not False

    def _process(self) -> bool:
        try:
            return bool(self.engine.synchronize())
        except TryAgain:
            return False

    def completed(self) -> None:
        self.call(self.engine.synchronizationCompleted)

    def aborted(self) -> None:
        self.call(self.engine.synchronizationAborted)

    def status(self) -> dict[str, Any]:
        """
        For people.
        """
        return {
            "serviceId": self.serviceId,
            "version": self.engine.version,
            "failed": self.failed,
            "failures": self.failures,
            "malformed": self.malformed,
        }
