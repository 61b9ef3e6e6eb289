"""
Lost nodes, for local clients: which there are, and that one of them is off.
"""

from os import geteuid
from typing import Any

from attrs import frozen
from twisted.protocols import amp

from corotwist.engines.quoruminterfaces import IFencing
from corotwist.interfaces import IConnection
from corotwist.ipc.administrators import checkAdministrator
from corotwist.ipc.jsonparts import Ask, Taken, wholeJson
from corotwist.ipc.wire import ERRORS, Unsigned


class FenceStatus(amp.Command):
    """
    A part of what is known of lost nodes, in JSON; the first is part 0.
    """

    commandName = b"fencing.status"
    arguments = [(b"part", Unsigned(32, optional=True))]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class Confirm(amp.Command):
    """
    An operator says that a lost node is off.
    """

    commandName = b"fencing.confirm"
    arguments = [(b"nodeid", Unsigned(32)), (b"reason", amp.Unicode())]
    errors = ERRORS


class FencingLocator(amp.CommandLocator):
    """
    Everybody may look; only who administers the node confirms.
    """

    def __init__(self, fencing: IFencing, connection: IConnection) -> None:
        super().__init__()
        self._fencing = fencing
        self._connection = connection
        self._shown = Taken()

    @FenceStatus.responder
    def _status(self, part: int | None = None) -> dict[str, Any]:
        return self._shown.part(part, self._fencing.status)

    @Confirm.responder
    def _confirm(self, nodeid: int, reason: str) -> dict[str, Any]:
        checkAdministrator(self._connection, geteuid)
        self._fencing.confirm(nodeid, reason)
        return {}


# In the client.


@frozen
class NodeFencing:
    """
    The lost nodes of a cluster, for a client of a node.

    @ivar ask: C{NodeClient.ask}.
    """

    ask: Ask

    async def status(self) -> dict[str, Any]:
        """
        What is known.

        @raise NotSupported: the node has no fence agent.
        """
        status: dict[str, Any] = await wholeJson(self.ask, FenceStatus)
        return status

    async def confirm(self, nodeid: int, reason: str) -> None:
        """
        Say that a lost node is off.

        @raise NotExist: it is not lost.
        """
        await self.ask(Confirm, nodeid=nodeid, reason=reason)
