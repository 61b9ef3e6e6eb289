"""
The quorum device of a node, for local clients: what it says, and why.
"""

from typing import Any

from twisted.protocols import amp

from corotwist.engines.quoruminterfaces import IQuorumDeviceState
from corotwist.interfaces import IConnection
from corotwist.ipc.jsonparts import Ask, Taken, wholeJson
from corotwist.ipc.wire import ERRORS, Unsigned


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
        self._shown = Taken()

    @DeviceStatus.responder
    def _status(self, part: int | None = None) -> dict[str, Any]:
        return self._shown.part(part, self._device.status)


# In the client.


async def deviceStatus(ask: Ask) -> dict[str, Any]:
    """
    The state of the quorum device of a node, as
    L{IQuorumDeviceState<corotwist.engines.quoruminterfaces.IQuorumDeviceState>}
    has it.

    @param ask: C{NodeClient.ask}.
    @raise NotSupported: the node has none.
    """
    status: dict[str, Any] = await wholeJson(ask, DeviceStatus)
    return status
