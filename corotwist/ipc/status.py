"""
How a node is: for operators, tools and monitoring.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.engines.interfaces import IQuorum
from corotwist.engines.quoruminterfaces import IQuorumProvider
from corotwist.errors import NotExist, ServiceError
from corotwist.ipc.wire import ERRORS, Numbers, Unsigned, parts
from corotwist.totem.membership import RingId

Json = Any
Ask = Callable[..., Deferred[dict[str, Any]]]


class JsonText(amp.Argument):
    """
    Any JSON value.
    """

    def fromString(self, inString: bytes) -> Json:
        return json.loads(inString)

    def toString(self, inObject: Json) -> bytes:
        return json.dumps(inObject, default=str, sort_keys=True).encode()


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
        self._taken: list[tuple[bytes, bool]] = []

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
        if not part:
            text = JsonText().toString(self._section(section))
            self._taken = [(data, more) for _, more, data in parts(text)]
        if (part or 0) >= len(self._taken):
            raise NotExist(f"there is no part {part}")
        data, more = self._taken[part or 0]
        return {"json": data, "more": more}

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

    async def _statistics(self, section: str | None) -> Json:
        text, more = b"", True
        part = 0
        asked = {} if section is None else {"section": section}
        while more:
            answer = await self._ask(Statistics, part=part, **asked)
            text += answer["json"]
            more = answer["more"]
            part += 1
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ServiceError(f"the node's statistics are no JSON: {error}") from error

    def sections(self) -> Deferred[Json]:
        """
        What there are L{statistics} of.

        @return: fires with names; fails with L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._statistics(None))

    def statistics(self, section: str) -> Deferred[dict[str, Json]]:
        """
        Counters of one part of the node.

        @return: fires with numbers by name; fails with L{NotExist} when there
            is no such section, L{Disconnected}.
        """
        return Deferred.fromCoroutine(self._statistics(section))
