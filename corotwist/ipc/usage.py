"""
How one client uses the services of its node: for C{stats.ipcs.}
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.ipc.channel import Responder

# A client that asks for services that there are not fills no memory with them.
MOST_SERVICES: Final = 256


@define(eq=False)
class Used:
    """
    What a client asked one service.

    @ivar refused: of the answers, those that were errors.
    """

    requests: int = 0
    responses: int = 0
    refused: int = 0


@define(eq=False)
class Usage:
    """
    What a client asked, and what it was told.

    @ivar processName: the client's program; empty when it cannot be known.
    @ivar services: by name, those of whom it has asked something.
    @ivar dispatched: events on their way to it.
    """

    waiting: Callable[[], Mapping[str, Any]]
    processName: str = ""
    services: dict[str, Used] = field(factory=dict, init=False)
    dispatched: int = field(default=0, init=False)

    def clear(self) -> None:
        """
        Begin to count again.
        """
        self.dispatched = 0
        for name in self.services:
            self.services[name] = Used()

    def counting(self, name: bytes, responder: Responder) -> Responder:
        """
        A responder that counts.

        @param name: of the command: the service's, a dot, and more.
        """
        service = name.partition(b".")[0].decode("ascii", "replace")

        def respond(box: amp.AmpBox) -> Any:
            used = self._used(service)
            used.requests += 1
            answer = responder(box)
            if isinstance(answer, Deferred):
                return answer.addBoth(self._answered, used)
            used.responses += 1
            return answer

        return respond

    def _used(self, service: str) -> Used:
        used = self.services.get(service)
        if used is None:
            used = Used()
            if len(self.services) < MOST_SERVICES:
                self.services[service] = used
        return used

    def _answered(self, answer: Any, used: Used) -> Any:
        used.responses += 1
        used.refused += isinstance(answer, Failure)
        return answer
