"""
The commands of an engine, behind the gate of its node.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.ipc.channel import Responder

# May the command be carried out?  L{None} for now, or what fires when; raises
# when not.
Admit = Callable[[str], Deferred[None] | None]


@define(eq=False)
class Gated:
    """
    A responder locator whose commands are let through one by one.
    """

    _locator: Any
    _admit: Admit

    def locateResponder(self, name: bytes) -> Responder | None:
        """
        Who answers, when the command is let through.
        """
        responder = self._locator.locateResponder(name)
        if responder is None:
            return None
        return partial(self._respond, name.decode("utf-8", "replace"), responder)

    def _respond(self, command: str, responder: Responder, box: amp.AmpBox) -> Any:
        waits = self._admit(command)
        if waits is None:
            return responder(box)
        return waits.addCallback(lambda _: responder(box))
