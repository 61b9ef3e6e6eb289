"""
How a node is: for operators, tools and monitoring.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.engines.interfaces import IQuorum
from corotwist.engines.quoruminterfaces import IQuorumProvider
from corotwist.errors import NotExist
from corotwist.ipc.jsonparts import Ask, Json, JsonText, Taken, wholeJson
from corotwist.ipc.wire import ERRORS, Numbers, Unsigned
from corotwist.totem.membership import RingId


class Status(amp.Command):
    """
    The ring, its members, and the quorum's verdict.
    """

    commandName = b"node.status"
    response = [
        (b"nodeid", Unsigned(32)),
        (b"sequence", Unsigned(64)),
        (b"representative", Unsigned(32)),
        (b"members", Numbers()),
        (b"state", amp.Unicode()),
        (b"quorate", amp.Boolean()),
        (b"explanation", JsonText()),
    ]
    errors = ERRORS


class Statistics(amp.Command):
    """
    Counters of one part of the node as JSON; without a section, the names of
    the sections.  Part 0 takes the counters; further parts are the rest of
    the same text.
    """

    commandName = b"node.statistics"
    arguments = [
        (b"section", amp.Unicode(optional=True)),
        (b"part", Unsigned(32, optional=True)),
    ]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


SYNCHRONIZING: Final = "synchronizing"
RUNNING: Final = "running"


class StatusLocator(amp.CommandLocator):
    """
    Answers one client.
    """

    def __init__(
        self, manager: Any, ipc: Callable[[], Mapping[str, Json]] = dict
    ) -> None:
        """
        @param ipc: the statistics of whoever listens.
        """
        super().__init__()
        self._manager = manager
        self._ipc = ipc
        self._taken = Taken()

    @Status.responder
    def _status(self) -> dict[str, Json]:
        manager = self._manager
        configuration = manager.configuration
        quorum = self._quorum()
        return {
            "nodeid": manager.totem.nodeid,
            "sequence": configuration.ringId.sequence,
            "representative": configuration.ringId.representative,
            "members": configuration.members,
            "state": SYNCHRONIZING if manager.synchronizing() else RUNNING,
            "quorate": quorum.quorate() if quorum else True,
            "explanation": quorum.explanation() if quorum else {},
        }

    def _quorum(self) -> Any:
        """
        Who asks the provider, or the provider itself.
        """
        engines = self._manager.engines.values()
        judges = [e for e in engines if IQuorum.providedBy(e)]
        return min(judges, key=IQuorumProvider.providedBy, default=None)

    @Statistics.responder
    def _statistics(
        self, section: str | None = None, part: int | None = None
    ) -> dict[str, Any]:
        return self._taken.part(part, partial(self._section, section))

    def _section(self, name: str | None) -> Json:
        manager = self._manager
        sections: dict[str, Callable[[], Json]] = {"ipc": self._ipc}
        if hasattr(manager.totem, "statistics"):  # Not part of ITotem.
            sections["totem"] = manager.totem.statistics
        sections |= {n: engine.dump for n, engine in manager.engines.items()}
        sections["services"] = manager.dump
        if name is None:
            return sorted(sections)
        if name not in sections:
            raise NotExist(f"no section {name!r}; there are {sorted(sections)}")
        return sections[name]()


@frozen
class NodeStatus:
    """
    A node's answer.

    @ivar state: L{SYNCHRONIZING} or L{RUNNING}.
    @ivar explanation: the inputs of the quorum's verdict.
    """

    nodeid: int
    ringId: RingId
    members: tuple[int, ...]
    state: str
    quorate: bool
    explanation: dict[str, Json]


@frozen
class NodeInquiry:
    """
    What a client may ask about its node.
    """

    _ask: Ask

    async def _status(self) -> NodeStatus:
        answer = await self._ask(Status)
        ringId = RingId(answer.pop("sequence"), answer.pop("representative"))
        return NodeStatus(ringId=ringId, **answer)

    def status(self) -> Deferred[NodeStatus]:
        """
        How the node is now.

        @return: fires with the node's answer; fails with L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._status())

    def sections(self) -> Deferred[Json]:
        """
        What there are L{statistics} of.

        @return: fires with names; fails with L{Disconnected}.
        """
        return Deferred.fromCoroutine(wholeJson(self._ask, Statistics))

    def statistics(self, section: str) -> Deferred[dict[str, Json]]:
        """
        Counters of one part of the node.

        @return: fires with numbers by name; fails with L{NotExist} when there
            is no such section, L{Disconnected}.
        """
        asked = wholeJson(self._ask, Statistics, section=section)
        return Deferred.fromCoroutine(asked)
