"""
The quorum device of a node, for local clients: what it says, and why.
"""

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.engines.quoruminterfaces import IQuorumDeviceState
from corotwist.errors import InvalidParameter
from corotwist.interfaces import IConnection
from corotwist.ipc.wire import ERRORS, Unsigned, parts

Ask = Callable[..., Deferred[dict[str, Any]]]


class DeviceStatus(amp.Command):
    """
    A part of the state of the device, in JSON; the first is part 0.
    """

    commandName = b"qdevice.status"
    arguments = [(b"part", Unsigned(32, optional=True))]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class QuorumDeviceLocator(amp.CommandLocator):
    """
    What clients may ask.
    """

    def __init__(self, device: IQuorumDeviceState, connection: IConnection) -> None:
        super().__init__()
        self._device = device
        self._shown = b"{}"

    @DeviceStatus.responder
    def _status(self, part: int | None = None) -> dict[str, Any]:
        if not part:
            self._shown = json.dumps(self._device.status(), sort_keys=True).encode()
        for number, more, text in parts(self._shown):
            if number == (part or 0):
                return {"json": text, "more": more}
        raise InvalidParameter(f"there is no part {part}")


# In the client.


async def deviceStatus(ask: Ask) -> dict[str, Any]:
    """
    The state of the quorum device of a node, as
    L{IQuorumDeviceState<corotwist.engines.quoruminterfaces.IQuorumDeviceState>}
    has it.

    @param ask: C{NodeClient.ask}.
    @raise NotSupported: the node has none.
    """
    text, more, part = b"", True, 0
    while more:
        answer = await ask(DeviceStatus, part=part)
        text += answer["json"]
        more = answer["more"]
        part += 1
    status: dict[str, Any] = json.loads(text)
    return status
