"""
Programs that say whether their partition may act: the commands, the answers,
and the client.
"""

from os import geteuid
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.engines.quoruminterfaces import IExternalQuorum
from corotwist.errors import InvalidParameter
from corotwist.interfaces import IConnection
from corotwist.ipc.administrators import checkAdministrator
from corotwist.ipc.jsonparts import Ask, JsonText
from corotwist.ipc.wire import ERRORS, Unsigned
from corotwist.totem.membership import RingId

_MS: Final = 1000


class Say(amp.Command):
    """
    Speak for this node: may this partition act?  Both parts of a ring's name,
    or none.
    """

    commandName = b"external.say"
    arguments = [
        (b"quorate", amp.Boolean()),
        (b"milliseconds", Unsigned(32)),
        (b"reason", amp.Unicode(optional=True)),
        (b"sequence", Unsigned(64, optional=True)),
        (b"representative", Unsigned(32, optional=True)),
    ]
    errors = ERRORS


class Words(amp.Command):
    """
    The ring, and what the programs say about it.
    """

    commandName = b"external.words"
    response = [(b"json", JsonText())]
    errors = ERRORS


class ExternalQuorumLocator(amp.CommandLocator):
    """
    What a client of root or of the daemon's own user may say.
    """

    def __init__(self, provider: IExternalQuorum, connection: IConnection) -> None:
        super().__init__()
        self._provider = provider
        self._connection = connection

    @Say.responder
    def _say(
        self,
        quorate: bool,
        milliseconds: int,
        reason: str | None = None,
        sequence: int | None = None,
        representative: int | None = None,
    ) -> dict[str, Any]:
        checkAdministrator(self._connection, geteuid)
        if (sequence is None) != (representative is None):
            raise InvalidParameter("a ring has a sequence and a representative")
        ringId = None
        if sequence is not None and representative is not None:
            ringId = RingId(sequence, representative)
        self._provider.say(
            self._connection,
            quorate=quorate,
            seconds=milliseconds / _MS,
            reason=reason or "",
            ringId=ringId,
        )
        return {}

    @Words.responder
    def _words(self) -> dict[str, Any]:
        return {"json": self._provider.words()}


# In the client.


@frozen
class ExternalQuorum:
    """
    The provider C{external} of a node, for a program that decides::

        quorum = ExternalQuorum(client.ask)
        state = await quorum.words()
        await quorum.say(True, 10.0, "the witness sees us", ring)
    """

    ask: Ask

    def say(
        self,
        quorate: bool,
        seconds: float,
        reason: str = "",
        ringId: RingId | None = None,
    ) -> Deferred[None]:
        """
        Speak for the node, until C{seconds} are over, this client is gone, or a
        member is lost.

        @return: fires when it is on its way to all members.  Fails as
            L{IExternalQuorum.say} does, and with C{AccessDenied}.
        """
        about: dict[str, Any] = {}
        if ringId is not None:
            about["sequence"] = ringId.sequence
            about["representative"] = ringId.representative
        milliseconds = round(seconds * _MS)
        said = self.ask(
            Say, quorate=quorate, milliseconds=milliseconds, reason=reason, **about
        )
        return said.addCallback(lambda _: None)

    def words(self) -> Deferred[dict[str, Any]]:
        """
        @return: fires with the ring, and what is said about it.
        """
        return self.ask(Words).addCallback(lambda answer: answer["json"])
