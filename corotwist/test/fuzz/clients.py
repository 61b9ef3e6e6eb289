"""
Whatever a local client says to its node, and a node to its client.
"""

from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.config.settings import IpcSettings
from corotwist.engines.batch import pack
from corotwist.engines.manager import ServiceManager
from corotwist.ipc import cpg, status, wire
from corotwist.ipc.channel import BoxReader, encode
from corotwist.ipc.client import connect
from corotwist.ipc.server import IpcServer
from corotwist.ipc.serverchannel import ServerChannel
from corotwist.ipc.wire import DISPATCH_QUEUE_BYTES
from corotwist.plugin import EngineMaker
from corotwist.test.engines.orderednet import nodeSettings
from corotwist.test.fuzz import parts
from corotwist.test.fuzz.boxes import boxField
from corotwist.test.fuzz.mutate import BYTES
from corotwist.test.fuzz.services import quiet
from corotwist.test.fuzz.target import Target, Wrong
from corotwist.test.ipc.fakes import LoneTotem
from corotwist.test.ipc.pipes import End, FakeReactor, endCredentials

PATH: Final = "/nowhere/socket"
# On which connection: ours for requests, ours for dispatch, a stranger's.
TAG_CONNECTION, TAG_TIME, TAG_BREAK = 3, 4, 8
MOST_STRANGERS: Final = 8
# The tag of the first answer that a client waits for: after hello and two joins.
FIRST_ASKED: Final = 4
GROUP: Final = b"g"
_MAKERS: Final = (
    EngineMaker("cmap", 1, "corotwist.engines.cmap.ConfigurationMapEngine"),
    EngineMaker(
        "cpg",
        1,
        "corotwist.engines.cpg.GroupsEngine",
        "corotwist.ipc.cpg.GroupsLocator",
    ),
    EngineMaker("quorum", 1, "corotwist.engines.quorum.QuorumEngine"),
    EngineMaker("votequorum", 1, "corotwist.engines.votequorum.VoteQuorumEngine"),
)
# What is not a box ends a connection, and nothing more is heard there.
_BOXES: Final = (*BYTES[:2], *[boxField] * 60)
_WORDS: Final = (
    *(GROUP, b"h", b"request", b"dispatch", b"True", b"cpg", b"services", b"ipc"),
    *(b"node.status", b"cpg.send", b"cpg.join", b"cpg.leave", b"credit", b"hello"),
    *(pack([b"one", b""]), pack([b""])),
)


def targets() -> Iterator[Target]:
    """
    Both ends.
    """
    yield Target(
        "node",
        "what local clients say to a node, paired or not",
        lambda: _NodeWorld().received,
        _requestSeeds,
        session=True,
        damages=_BOXES,
        words=_WORDS,
        share=0.004,
        # The smallest box makes an answer: an error with its text.
        swell=24,
        growing=_growingRequests,
    )
    yield Target(
        "client",
        "what a node says to its client",
        lambda: _ClientWorld().received,
        _eventSeeds,
        session=True,
        damages=_BOXES,
        words=_WORDS,
        share=0.004,
        # The same box makes a notification.
        swell=16,
        growing=_growingEvents,
    )


class _Client(Protocol):
    """
    One connection, raw; nobody listens to the answers.
    """

    def __init__(self) -> None:
        self.lost = False
        self.boxes: list[amp.AmpBox] = []
        self._reader = BoxReader()

    def dataReceived(self, data: bytes) -> None:
        self.boxes += self._reader.feed(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = True

    def said(self, data: bytes) -> None:
        """
        Write, if anybody is there.
        """
        if not self.lost:
            assert self.transport is not None, "it is connected"
            self.transport.write(data)

    def answers(self) -> list[amp.AmpBox]:
        """
        What came since the last look.
        """
        found, self.boxes = self.boxes, []
        return found


class _Node:
    """
    A whole node of one: its engines, and a server on sockets in memory.
    """

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        totem = LoneTotem(self.reactor, nodeid=1)
        self.manager = ServiceManager(self.reactor, totem, nodeSettings(1, 1), _MAKERS)
        totem.listener = self.manager
        self.manager.start()
        totem.start()
        self.server = IpcServer(
            self.reactor,
            IpcSettings(PATH),
            self.manager,
            secret=map(b"secret-%d".__mod__, count()).__next__,
            credentials=endCredentials,
        )
        factory = Factory.forProtocol(partial(ServerChannel, self.server))
        self.reactor.listening[PATH] = factory
        self.reactor.settle()

    def connected(self, pid: int) -> tuple[_Client, End]:
        """
        A connection that has said nothing.
        """
        self.reactor.nextPid = pid
        factory = Factory.forProtocol(_Client)
        _, end = self.reactor.join(self.reactor.listening[PATH], factory)
        return end.protocol, end

    def asked(self, client: _Client, **fields: bytes) -> amp.AmpBox:
        """
        The one answer to a command.
        """
        named = {name.encode(): value for name, value in fields.items()}
        client.said(b"".join(encode({amp.ASK: b"7", **named})))
        self.reactor.settle()
        (answer,) = [box for box in client.answers() if amp.COMMAND not in box]
        return answer

    def paired(self, pid: int) -> list[_Client]:
        """
        A client's two connections, a member of the group.
        """
        requests, dispatch = (self.connected(pid)[0] for _ in range(2))
        hello = {"_command": b"hello", "version": b"1"}
        secret = self.asked(requests, role=b"request", **hello)[b"secret"]
        self.asked(dispatch, role=b"dispatch", secret=secret, **hello)
        self.asked(requests, _command=b"cpg.join", group=GROUP)
        return [requests, dispatch]

    def rest(self) -> None:
        """
        Ends of connections that are closed need not be looked after.
        """
        self.reactor.ends[:] = [
            pair for pair in self.reactor.ends if not all(end.closed for end in pair)
        ]


class _NodeWorld:
    """
    A node with two clients, of whom one behaves.
    """

    def __init__(self) -> None:
        self._node = _Node()
        self._neighbour = self._node.paired(5)
        self._ours = self._node.paired(6)

    def received(self, data: bytes) -> None:
        """
        What the other one says, and strangers; the neighbour is served all the
        same.
        """
        node = self._node
        strangers = MOST_STRANGERS
        with quiet():
            for tag, said in parts.split(data):
                which = tag & TAG_CONNECTION
                if which > 1 and strangers:
                    strangers -= 1
                    stranger, end = node.connected(7)
                    stranger.said(said)
                    if tag & TAG_BREAK:
                        end.abortConnection()
                elif which <= 1:
                    self._ours[which].said(said)
                    if tag & TAG_BREAK:
                        self._ours[which].transport.abortConnection()  # type: ignore[union-attr]
                if tag & TAG_TIME:
                    node.reactor.advance(1)
                node.reactor.settle()
            self._check()

    def _check(self) -> None:
        node = self._node
        answer = node.asked(self._neighbour[0], _command=b"node.status")
        if answer.get(b"state") != b"running":
            raise Wrong(f"the neighbour was answered {answer}")
        if self._ours[0].lost != self._ours[1].lost:
            raise Wrong("one of two connections goes on alone")
        for client in node.server.statistics()["waiting"]:
            if client["queuedBytes"] > DISPATCH_QUEUE_BYTES:
                raise Wrong(f"too much waits: {client}")
        for protocol in (*self._neighbour, *self._ours):
            assert protocol.transport is not None, "it was connected"
            protocol.transport.loseConnection()
        node.reactor.settle()
        node.reactor.advance(60)
        node.reactor.settle()
        if node.server.statistics()["connected"]:
            raise Wrong("clients are gone, and still there")
        groups = node.manager.engines["cpg"].groups()
        if groups:
            raise Wrong(f"everybody is gone, and there are groups {groups}")


@define(eq=False)
class _ClientWorld:
    """
    A client who is in a group, of a node that begins to say anything.
    """

    node: _Node = field(factory=_Node)
    _client: Any = None

    def __attrs_post_init__(self) -> None:
        reactor = self.node.reactor
        found: list[Any] = []
        connect(reactor, PATH).addCallbacks(found.append, found.append)
        reactor.settle()
        self._client = found[0]
        groups = self._client.groups
        groups.join(GROUP, lambda *_: None, lambda _: None).addBoth(found.append)
        # Nobody looks at what comes to this one.
        groups.join(b"h").addBoth(found.append)
        reactor.settle()
        for server, _ in reactor.ends:
            server.stalled = True  # From now on others speak for it.

    def received(self, data: bytes) -> None:
        """
        On either connection; a client who asks afterwards gets an answer, or
        hears that there is none.
        """
        reactor = self.node.reactor
        # What the client asks may be answered by what it is told: a status, say.
        node = self._client.node
        asked = [node.status(), node.statistics("cpg")]
        asked.append(self._client.groups.members(GROUP))
        asked.append(self._client.groups.groups())
        ends = [client for _, client in reactor.ends[-2:]]
        with quiet():
            for tag, said in parts.split(data):
                end = ends[tag & 1]
                if not end.closed and not end.closing:
                    end.protocol.dataReceived(said)
                if tag & TAG_TIME:
                    reactor.settle()
            reactor.settle()
            reactor.pass_(1)
            self._check(asked)
            self._client.stopService()
            reactor.pass_(12, 1.0)

    def _check(self, asked: list[Deferred[Any]]) -> None:
        answered: list[Any] = []
        for waits in asked:
            waits.addBoth(answered.append)
        foreign = [
            answer
            for answer in answered
            if isinstance(answer, Failure) and not answer.check(*_REFUSED)
        ]
        if foreign:
            raise Wrong(f"a client was told {foreign[0]}")


_REFUSED: Final = (*wire.ERRORS, amp.RemoteAmpError)


def _box(command: type[amp.Command], **arguments: Any) -> bytes:
    box = command.makeArguments(arguments, None)
    return b"".join(encode({amp.COMMAND: command.commandName, amp.ASK: b"1", **box}))


def _requestSeeds() -> list[bytes]:
    """
    Every command, rightly used.
    """
    batch = pack([b"one", b""])
    requests = [
        _box(cpg.Send, group=GROUP, count=2, batch=batch),
        _box(cpg.Send, group=GROUP, count=2, batch=batch, guarantee=3),
        _box(cpg.Members, group=GROUP),
        _box(cpg.Members, group=GROUP, after=(1, 5)),
        _box(cpg.Groups),
        _box(cpg.Groups, after=b"a"),
        _box(status.Status),
        _box(status.Statistics),
        _box(status.Statistics, section="cpg"),
        _box(status.Statistics, section="services", part=0),
        _box(cpg.Join, group=b"h"),
        _box(cpg.Leave, group=GROUP),
    ]
    inParts = [
        _box(
            cpg.Send,
            group=GROUP,
            count=2,
            batch=batch[:5],
            stream=1,
            part=0,
            more=True,
        ),
        _box(cpg.Send, group=GROUP, count=2, batch=batch[5:], stream=1, part=1),
    ]
    hello = [
        _box(wire.Hello, version=1, role=b"request"),
        _box(wire.Hello, version=1, role=b"dispatch", secret=b"secret-0"),
        _box(wire.Hello, version=2, role=b"request"),
    ]
    return [
        parts.join([(0, box) for box in requests]),
        parts.join([(0, b"".join(requests)), (0, b"".join(inParts))]),
        parts.join([(0, inParts[0]), (0, inParts[1]), (1, _box(wire.Credit, bytes=9))]),
        parts.join([(2, box) for box in hello]),
        parts.join([(0, requests[0]), (TAG_BREAK, requests[0]), (2, hello[0])]),
        *(parts.join([(0, box)]) for box in requests),
    ]


def _growingRequests(size: int) -> list[bytes]:
    send = _box(cpg.Send, group=GROUP, count=1, batch=pack([b"x"]))
    small = b"".join(encode({amp.COMMAND: b"x"}))
    large = _box(cpg.Send, group=GROUP, count=1, batch=pack([bytes(min(size, 60000))]))
    many = min(size, 60000)
    return [
        parts.join([(0, send * (many // len(send)))]),
        parts.join([(0, small * (many // len(small)))]),
        parts.join([(0, large)]),
    ]


def _eventSeeds() -> list[bytes]:
    """
    Every notification and answer, rightly used.
    """
    batch = pack([b"one", b""])
    view = b"".join(n.to_bytes(4, "little") for n in (1, 0, 1, 1, 100, 1, 100, 1))
    events = [
        _box(cpg.Deliver, group=GROUP, nodeid=1, pid=100, count=2, batch=batch),
        _box(cpg.Deliver, group=b"h", nodeid=1, pid=100, count=2, batch=batch),
        _box(cpg.View, group=GROUP, view=view, part=0, more=False),
        _box(cpg.RingChanged, sequence=8, representative=1, members=(1, 2)),
        _box(wire.Closing, reason="enough"),
    ]
    inParts = [
        _box(
            cpg.Deliver,
            group=GROUP,
            nodeid=1,
            pid=5,
            count=2,
            batch=piece,
            part=n,
            more=not n,
        )
        for n, piece in enumerate((batch[:6], batch[6:]))
    ]
    answers = [
        {
            b"nodeid": b"1",
            b"sequence": b"4",
            b"representative": b"1",
            b"members": b"\1\0\0\0",
            b"state": b"running",
            b"quorate": b"True",
            b"explanation": b"{}",
        },
        {b"json": b"{}", b"more": b"False"},
        {b"members": b"\1\0\0\0\5\0\0\0", b"more": b"False"},
        {b"groups": pack([GROUP]), b"more": b"False"},
    ]
    answered = [
        b"".join(encode({amp.ANSWER: b"%x" % tag, **answer}))
        for tag, answer in enumerate(answers, FIRST_ASKED)
    ]
    refusal = {
        amp.ERROR: b"%x" % FIRST_ASKED,
        amp.ERROR_CODE: b"BUSY",
        amp.ERROR_DESCRIPTION: b"no",
    }
    return [
        parts.join([(1, event) for event in events]),
        parts.join([(1, event) for event in inParts]),
        parts.join([(0, answer) for answer in answered]),
        parts.join([(0, b"".join(encode(refusal))), (0, events[-1])]),
        *(parts.join([(1, event)]) for event in events),
        *(parts.join([(0, answer)]) for answer in answered),
    ]


def _growingEvents(size: int) -> list[bytes]:
    many = min(size, 60000)
    small = _box(
        cpg.Deliver, group=GROUP, nodeid=1, pid=100, count=1, batch=pack([b""])
    )
    numbers = many // 4
    ring = _box(
        cpg.RingChanged, sequence=8, representative=1, members=tuple(range(numbers))
    )
    batch = pack([b""] * (many // 4))
    large = _box(
        cpg.Deliver, group=GROUP, nodeid=1, pid=100, count=many // 4, batch=batch
    )
    return [
        parts.join([(1, small * (many // len(small)))]),
        parts.join([(1, ring)]),
        parts.join([(1, large)]),
    ]
