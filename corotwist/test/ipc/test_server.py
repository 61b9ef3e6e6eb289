"""
Letting clients in, and seeing them out.
"""

from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config.settings import IpcSettings
from corotwist.engines.batch import pack
from corotwist.engines.interfaces import Member
from corotwist.interfaces import IReconfigurable
from corotwist.ipc import admission, path, server
from corotwist.ipc.channel import encode
from corotwist.ipc.connection import Credentials
from corotwist.ipc.server import (
    FILES_KEPT,
    PAIRING_SECONDS,
    UNPAIRED_CHANNELS,
    IpcServer,
)
from corotwist.ipc.serverchannel import CLOSING_SECONDS, COMMANDS_PER_TURN
from corotwist.ipc.wire import DISPATCH_QUEUE_BYTES, DISPATCH_WINDOW_BYTES
from corotwist.test.engines.orderednet import nodeSettings
from corotwist.test.ipc.fakes import NODEID, FakeManager
from corotwist.test.ipc.pipes import End, FakeReactor, endCredentials

Fields = dict[str, bytes]


class RawClient(Protocol):
    """
    One connection of a client that says whatever a test wants.
    """

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = True

    def say(self, **fields: bytes) -> None:
        box = {key.encode(): value for key, value in fields.items()}
        assert self.transport is not None
        self.transport.write(b"".join(encode(box)))

    def boxes(self) -> list[Fields]:
        """
        What came since the last look.
        """
        found = amp.parse(BytesIO(self.heard))
        self.heard = b""
        return [{k.decode(): v for k, v in box.items()} for box in found]


class ServerTestCase(SynchronousTestCase):
    """
    A server on sockets in memory.
    """

    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.manager = FakeManager(self.reactor)
        self.credentials = endCredentials
        self.path = str(Path(self.mktemp()) / "s")
        Path(self.path).parent.mkdir(parents=True)
        self.server = IpcServer(
            self.reactor,
            IpcSettings(self.path, **self.settings),
            self.manager,
            secret=map(b"secret-%d".__mod__, count()).__next__,
            credentials=lambda end: self.credentials(end),  # noqa: PLW0108
        )
        # The fake socket is no file.
        self.patch(path, "admit", lambda *arguments: None)
        self.server.startService()

    def connect(self, pid: int = 100) -> tuple[RawClient, End]:
        self.reactor.nextPid = pid
        factory = Factory.forProtocol(RawClient)
        _, end = self.reactor.join(self.reactor.listening[self.path], factory)
        return end.protocol, end

    def ask(self, client: RawClient, command: str, **fields: bytes) -> Fields:
        client.say(_command=command.encode(), _ask=b"1", **fields)
        self.reactor.settle()
        (answer,) = client.boxes()
        return answer

    def hello(self, client: RawClient, role: bytes, **fields: bytes) -> Fields:
        return self.ask(client, "hello", version=b"1", role=role, **fields)

    def pair(self, pid: int = 100) -> tuple[RawClient, RawClient]:
        requests, _ = self.connect(pid)
        secret = self.hello(requests, b"request")["secret"]
        dispatch, _ = self.connect(pid)
        self.hello(dispatch, b"dispatch", secret=secret)
        return requests, dispatch

    def assertRefused(self, client: RawClient, answer: Fields, code: bytes) -> None:
        self.assertEqual(answer["_error_code"], code)
        self.assertTrue(client.lost)


class HelloTests(ServerTestCase):
    """
    How the two connections of a client find each other.
    """

    def test_pairs(self) -> None:
        """
        The first connection gets a secret, and the second gives it back; then
        the node has a client.  (A45)
        """
        requests, _ = self.connect(pid=55)
        answer = self.hello(requests, b"request")
        self.assertEqual(answer["nodeid"], b"%d" % NODEID)
        self.assertEqual(answer["pid"], b"55")
        self.assertEqual(answer["version"], b"1")
        self.assertEqual(self.manager.connections, [])
        dispatch, _ = self.connect(pid=55)
        other = self.hello(dispatch, b"dispatch", secret=answer["secret"])
        self.assertNotIn("secret", other)
        (connection,) = self.manager.connections
        self.assertEqual(connection.pid, 55)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_secretsAreLong(self) -> None:
        """
        Real secrets have 16 bytes of chance, and differ.
        """
        secrets = {admission.randomSecret() for _ in range(10)}
        self.assertEqual([len(secret) for secret in secrets], [16] * 10)

    def test_secretOnce(self) -> None:
        """
        A secret works once.
        """
        requests, _ = self.connect()
        secret = self.hello(requests, b"request")["secret"]
        self.hello(self.connect()[0], b"dispatch", secret=secret)
        again, _ = self.connect()
        answer = self.hello(again, b"dispatch", secret=secret)
        self.assertRefused(again, answer, b"ACCESS")
        self.assertEqual(len(self.manager.connections), 1)

    def test_wrongSecret(self) -> None:
        """
        A wrong secret, an empty one and none are refused.
        """
        self.hello(self.connect()[0], b"request")
        wrongs: list[Fields] = [{"secret": b"secret-1"}, {"secret": b""}, {}]
        for wrong in wrongs:
            client, _ = self.connect()
            self.assertRefused(
                client, self.hello(client, b"dispatch", **wrong), b"ACCESS"
            )

    def test_anotherProcess(self) -> None:
        """
        A secret in the hands of another process lets nobody in, and is spent.
        """
        requests, _ = self.connect(pid=1)
        secret = self.hello(requests, b"request")["secret"]
        thief, _ = self.connect(pid=2)
        answer = self.hello(thief, b"dispatch", secret=secret)
        self.assertRefused(thief, answer, b"ACCESS")
        self.assertTrue(requests.lost)
        self.assertEqual(self.manager.connections, [])

    def test_secretDiesWithItsConnection(self) -> None:
        """
        When the first connection is gone, its secret is worth nothing.
        """
        requests, end = self.connect()
        secret = self.hello(requests, b"request")["secret"]
        end.loseConnection()
        self.reactor.settle()
        late, _ = self.connect()
        self.assertRefused(
            late, self.hello(late, b"dispatch", secret=secret), b"ACCESS"
        )

    def test_patience(self) -> None:
        """
        Whoever is not paired in time is sent away, whether it said hello or
        nothing at all; who is paired stays.
        """
        silent, _ = self.connect()
        waiting, _ = self.connect()
        self.hello(waiting, b"request")
        requests, dispatch = self.pair()
        self.reactor.pass_(PAIRING_SECONDS - 0.1)
        self.assertEqual((silent.lost, waiting.lost), (False, False))
        self.reactor.pass_(0.2)
        self.assertEqual((silent.lost, waiting.lost), (True, True))
        self.assertEqual((requests.lost, dispatch.lost), (False, False))
        self.assertEqual(self.server.counters.unpaired, 2)

    def test_unpairedBounded(self) -> None:
        """
        The number of connections that are not paired is bounded; those in it
        can still be paired.
        """
        requests, _ = self.connect()
        secret = self.hello(requests, b"request")["secret"]
        dispatch, _ = self.connect()
        crowd = [self.connect()[0] for _ in range(UNPAIRED_CHANNELS)]
        self.reactor.settle()
        self.assertEqual([c.lost for c in crowd].count(True), 2)
        self.assertEqual(self.server.counters.refused, 2)
        self.hello(dispatch, b"dispatch", secret=secret)
        self.assertEqual(len(self.manager.connections), 1)

    def test_clientsBounded(self) -> None:
        """
        So is the number of clients; a new one is told to come again later.
        """
        self.patch(admission, "CLIENTS", 2)
        self.pair(1)
        first, _ = self.pair(2)
        third, _ = self.connect(3)
        answer = self.hello(third, b"request")
        self.assertRefused(third, answer, b"TRY_AGAIN")
        assert first.transport is not None
        first.transport.loseConnection()
        self.reactor.settle()
        self.pair(3)

    def test_helloFirst(self) -> None:
        """
        Before hello nothing else is done, and between the two hellos neither.
        """
        early, _ = self.connect()
        answer = self.ask(early, "cpg.join", group=b"g")
        self.assertRefused(early, answer, b"BAD_HANDLE")
        half, _ = self.connect()
        self.hello(half, b"request")
        self.assertRefused(half, self.ask(half, "node.status"), b"BAD_HANDLE")
        self.assertEqual(self.manager.groups.asked, [])

    def test_helloTwice(self) -> None:
        """
        A connection says hello once.
        """
        twice, _ = self.connect()
        self.hello(twice, b"request")
        self.assertRefused(twice, self.hello(twice, b"request"), b"BAD_HANDLE")
        requests, _ = self.pair()
        answer = self.hello(requests, b"request")
        self.assertEqual(answer["_error_code"], b"UNHANDLED")

    def test_otherVersion(self) -> None:
        """
        A version that we do not speak is refused by number.
        """
        client, _ = self.connect()
        answer = self.ask(client, "hello", version=b"2", role=b"request")
        self.assertRefused(client, answer, b"NOT_SUPPORTED")
        self.assertIn(b"version 1", answer["_error_description"])

    def test_strangeHello(self) -> None:
        """
        Wrong or missing arguments of hello end the connection.
        """
        wrongs: list[Fields] = [
            {"version": b"1", "role": b"spy"},
            {"version": b"-1", "role": b"request"},
            {"version": b"1"},
            {},
        ]
        for wrong in wrongs:
            client, _ = self.connect()
            self.assertRefused(
                client, self.ask(client, "hello", **wrong), b"INVALID_PARAM"
            )


class AccessTests(ServerTestCase):
    """
    Who may be a client.
    """

    settings = {"uids": frozenset({1000}), "gids": frozenset({50})}

    def admitted(self, uid: int, gid: int, groups: set[int]) -> bool:
        who = Credentials(100, uid, gid, frozenset(groups))
        self.credentials = lambda end: who
        client, _ = self.connect()
        answer = self.hello(client, b"request")
        if "secret" in answer:
            return True
        self.assertRefused(client, answer, b"ACCESS")
        return False

    def test_who(self) -> None:
        """
        Root, ourselves, the users listed and members of the groups listed are
        let in; nobody else is.  (A53)
        """
        self.patch(admission, "geteuid", lambda: 77)
        self.assertTrue(self.admitted(0, 99, set()))
        self.assertTrue(self.admitted(77, 99, set()))
        self.assertTrue(self.admitted(1000, 99, set()))
        self.assertTrue(self.admitted(1001, 50, set()))
        self.assertTrue(self.admitted(1001, 99, {98, 50}))
        self.assertFalse(self.admitted(1001, 1000, {0, 77}))
        self.assertEqual(self.server.counters.refused, 1)

    def test_changed(self) -> None:
        """
        Others may be let in while it listens; those who are connected stay.
        (A53, H15)
        """
        given: list[Any] = []
        self.patch(path, "admit", lambda *arguments: given.append(arguments))
        self.assertTrue(self.admitted(1000, 99, set()))
        changed = IpcSettings(self.path, uids=frozenset({2000}))
        settings = evolve(nodeSettings(), ipc=changed)
        verifyObject(IReconfigurable, self.server)
        self.server.reconfigurationProposed(settings)
        self.server.reconfigured(settings)
        self.server.reconfigured(settings)
        self.assertEqual(given, [(self.path, frozenset({2000}), frozenset())])
        self.assertTrue(self.admitted(2000, 99, set()))
        self.assertFalse(self.admitted(1000, 99, set()))

    def test_permits(self) -> None:
        """
        A service can be for some of those who are let in; the others are told
        so, and have all other services.  (A53)
        """
        self.server._permits = lambda who, service: (who.uid, service) != (1000, "cpg")
        for uid, code in ((1000, b"ACCESS"), (0, None)):
            who = Credentials(100 + uid, uid, 99, frozenset())
            self.credentials = lambda end, who=who: who  # type: ignore[misc]
            requests, _ = self.pair(100 + uid)
            answer = self.ask(requests, "cpg.groups")
            self.assertEqual(answer.get("_error_code"), code)
            self.assertNotIn("_error", self.ask(requests, "node.status"))

    def test_dispatchToo(self) -> None:
        """
        Both connections are looked at.
        """
        requests, _ = self.connect()
        secret = self.hello(requests, b"request")["secret"]
        self.credentials = lambda end: Credentials(100, 1001, 99, frozenset({99}))
        dispatch, _ = self.connect()
        answer = self.hello(dispatch, b"dispatch", secret=secret)
        self.assertRefused(dispatch, answer, b"ACCESS")
        self.assertEqual(self.manager.connections, [])


class ClientTests(ServerTestCase):
    """
    A client that is in.
    """

    def setUp(self) -> None:
        super().setUp()
        self.requests, self.dispatch = self.pair()
        (_, self.requestEnd), (_, self.dispatchEnd) = self.reactor.ends

    def join(self) -> None:
        self.ask(self.requests, "cpg.join", group=b"g")
        self.dispatch.boxes()

    def test_request(self) -> None:
        """
        Requests reach the engine, and events come on the other connection.
        """
        self.assertEqual(
            self.ask(self.requests, "cpg.join", group=b"g"), {"_answer": b"1"}
        )
        (view,) = self.dispatch.boxes()
        self.assertEqual(view["_command"], b"cpg.view")
        batch = pack([b"hello"])
        self.ask(self.requests, "cpg.send", group=b"g", count=b"1", batch=batch)
        (message,) = self.dispatch.boxes()
        self.assertEqual(message["batch"], batch)
        self.assertEqual(message["pid"], b"100")

    def test_status(self) -> None:
        """
        So do questions about the node.
        """
        answer = self.ask(self.requests, "node.status")
        self.assertEqual(answer["nodeid"], b"%d" % NODEID)
        self.assertEqual(answer["quorate"], b"False")

    def test_unknownCommand(self) -> None:
        """
        An unknown command is answered, counted, and changes nothing else.
        """
        answer = self.ask(self.requests, "cpg.explode")
        self.assertEqual(answer["_error_code"], b"UNHANDLED")
        self.assertEqual(self.server.counters.unknown, 1)
        self.assertFalse(self.requests.lost)
        # A request on the connection for dispatch is unknown, too.
        answer = self.ask(self.dispatch, "cpg.join", group=b"g")
        self.assertEqual(answer["_error_code"], b"UNHANDLED")
        self.assertEqual(self.manager.groups.asked, [])

    def test_malformed(self) -> None:
        """
        Garbage ends the client, with all that belongs to it, and is counted;
        other clients stay.  (A54)
        """
        others = self.pair(pid=5)
        self.join()
        self.dispatchEnd.write(b"\xff" * 100)
        self.reactor.settle()
        self.assertEqual((self.requests.lost, self.dispatch.lost), (True, True))
        self.assertEqual(self.manager.groups.groups(), ())
        self.assertEqual(self.server.counters.malformed, 1)
        self.assertEqual([c.lost for c in others], [False, False])
        self.assertEqual(len(self.manager.connections), 1)

    def test_wrongCredit(self) -> None:
        """
        A credit that is no number changes nothing.
        """
        for wrong in (b"-1", b"", b"99999999999"):
            answer = self.ask(self.dispatch, "credit", bytes=wrong)
            self.assertEqual(answer["_error_code"], b"INVALID_PARAM")
        self.assertFalse(self.dispatch.lost)

    def test_eitherEndEndsBoth(self) -> None:
        """
        When one connection is lost, the other is closed and the process is out
        of its groups, at once.
        """
        self.endsBoth(self.requestEnd)
        self.requests, self.dispatch = self.pair()
        _, self.dispatchEnd = self.reactor.ends[-1]
        self.endsBoth(self.dispatchEnd)

    def endsBoth(self, end: End) -> None:
        self.join()
        self.assertEqual(len(self.manager.connections), 1)
        end.loseConnection()
        self.reactor.settle()
        self.assertEqual((self.requests.lost, self.dispatch.lost), (True, True))
        self.assertEqual(self.manager.connections, [])
        self.assertEqual(self.manager.groups.groups(), ())

    def flood(self, size: int) -> None:
        (connection,) = self.manager.connections
        for _ in range(size >> 20):
            connection.messagesDelivered(b"g", Member(1, 1), pack([bytes(1 << 20)]), 1)
        self.reactor.settle()

    def test_requestsDespiteFullDispatch(self) -> None:
        """
        While the client does not read its events, its requests are answered.  (A45)
        """
        self.dispatchEnd.stalled = True
        self.flood(DISPATCH_QUEUE_BYTES // 2)
        self.assertIn("state", self.ask(self.requests, "node.status"))
        (waiting,) = self.server.statistics()["waiting"]
        self.assertGreater(waiting["queuedBytes"], DISPATCH_QUEUE_BYTES // 4)

    def test_bufferBounded(self) -> None:
        """
        What the client does not read is not piled up in the transport: it
        takes one buffer and one part, and goes on when the client reads.  (A52)
        """
        self.dispatchEnd.stalled = True
        self.flood(4 << 20)
        serverEnd = self.dispatchEnd.peer
        self.assertLess(sum(map(len, serverEnd.unsent)), 128 << 10)
        self.dispatchEnd.stalled = False
        self.reactor.settle()
        heard = len(self.dispatch.heard)
        self.assertGreater(heard, DISPATCH_WINDOW_BYTES)
        self.dispatch.say(_command=b"credit", bytes=b"%d" % DISPATCH_WINDOW_BYTES)
        self.reactor.settle()
        self.assertGreater(
            len(self.dispatch.heard), heard + DISPATCH_WINDOW_BYTES - 65536
        )

    def test_tooSlow(self) -> None:
        """
        A client that lets too much wait is cut off: it is told why where it
        listens, it is out of its groups, it is counted, and whoever else is a
        member does not notice but for the view.  (A52)
        """
        _, witness = self.pair(pid=5)
        self.join()
        self.dispatchEnd.stalled = True
        connection = self.manager.connections[0]
        for _ in range(2 * DISPATCH_QUEUE_BYTES >> 20):
            connection.messagesDelivered(b"g", Member(1, 1), pack([bytes(1 << 20)]), 1)
        self.reactor.settle()
        (closing,) = self.requests.boxes()
        self.assertEqual(closing["_command"], b"closing")
        self.assertIn(b"too slow", closing["reason"])
        self.assertEqual((self.requests.lost, self.dispatch.lost), (True, True))
        self.assertEqual(self.manager.groups.groups(), ())
        self.assertEqual(self.server.counters.cut, 1)
        self.assertFalse(witness.lost)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_shed(self) -> None:
        """
        When all clients together let too much wait, the one that lets most is
        sent away, with the reason; the others stay.  (A109)
        """
        self.manager.budget.limit = 4 << 20
        requests = {pid: self.pair(pid)[0] for pid in (1, 2, 3)}
        small, large, last = self.manager.connections[-3:]
        for connection, size in ((small, 1), (large, 2), (last, 1)):
            for _ in range(size):
                batch = pack([bytes(3 << 19)])
                connection.messagesDelivered(b"g", Member(1, 1), batch, 1)
        self.reactor.settle()
        self.reactor.pass_(CLOSING_SECONDS + 1)
        self.assertEqual([r.lost for r in requests.values()], [False, True, False])
        (closing,) = requests[2].boxes()
        self.assertIn(b"that may wait for all clients", closing["reason"])
        self.assertEqual((self.server.counters.shed, self.server.counters.cut), (1, 1))
        self.assertLess(self.manager.budget.used, 4 << 20)

    def test_deafClient(self) -> None:
        """
        A client that does not even read why it is cut off is gone soon.
        """
        self.dispatchEnd.stalled = self.requestEnd.stalled = True
        self.flood(2 * DISPATCH_QUEUE_BYTES)
        self.assertFalse(self.requests.lost)
        self.assertEqual(self.manager.connections, [])
        self.reactor.pass_(CLOSING_SECONDS + 0.1)
        self.assertTrue(self.requests.lost)

    def test_unreadAnswers(self) -> None:
        """
        Who does not read answers is not read from, so answers do not pile up;
        when it reads again it gets them all.
        """
        self.requestEnd.stalled = True
        name = b"x" * 60_000
        for _ in range(10):
            self.requests.say(_command=name, _ask=b"1")
            self.reactor.settle()
        for _ in range(1000):
            self.requests.say(_command=b"node.status", _ask=b"1")
            self.reactor.settle()
        serverEnd = self.requestEnd.peer
        self.assertLess(sum(map(len, serverEnd.unsent)), 128 << 10)
        self.requestEnd.stalled = False
        self.reactor.settle()
        self.assertEqual(len(self.requests.boxes()), 1010)

    def test_stop(self) -> None:
        """
        Stopping tells the clients why, closes everything, leaves nothing
        behind, and is over when all is closed.
        """
        silent, _ = self.connect()
        self.join()
        stopped = self.server.stopService()
        self.assertNoResult(stopped)
        self.reactor.settle()
        self.successResultOf(stopped)
        (closing,) = self.requests.boxes()
        self.assertEqual(closing["reason"], b"the node stops")
        self.assertEqual(
            [c.lost for c in (self.requests, self.dispatch, silent)], [True] * 3
        )
        self.assertEqual(self.manager.connections, [])
        self.assertEqual(self.reactor.listening, {})
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopIdle(self) -> None:
        """
        Without clients, stopping is over at once.
        """
        self.requestEnd.loseConnection()
        self.reactor.settle()
        self.successResultOf(self.server.stopService())

    def test_storm(self) -> None:
        """
        A thousand clients that come and go leave nothing behind.
        """
        self.requestEnd.loseConnection()
        self.reactor.settle()
        for _ in range(1000):
            self.pair()
            for pair in self.reactor.ends:
                pair[1].loseConnection()
            self.reactor.settle()
            self.reactor.ends.clear()
        self.assertEqual(self.manager.connections, [])
        self.assertEqual(self.server.statistics()["connected"], 0)
        self.assertEqual(
            (self.server._channels, self.server._admission._secrets), ({}, {})
        )
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class TurnTests(ServerTestCase):
    """
    A client that asks faster than it reads, or than it is its turn.
    """

    def test_turns(self) -> None:
        """
        What one reading brings is answered in turns, and all of it.  (D39)
        """
        self.pair()
        channel = next(iter(self.server._clients)).requests
        answered: list[Any] = []
        self.patch(channel, "sendBox", answered.append)
        box = encode({b"_command": b"node.status", b"_ask": b"1"})
        channel.dataReceived(b"".join(box) * (3 * COMMANDS_PER_TURN))
        self.assertEqual(len(answered), COMMANDS_PER_TURN)
        self.reactor.settle()
        self.assertEqual(len(answered), 3 * COMMANDS_PER_TURN)

    def test_congested(self) -> None:
        """
        While the answers are not read no more are made; then they are.
        """
        requests, _ = self.pair()
        channel = next(iter(self.server._clients)).requests
        channel.pauseProducing()
        box = encode({b"_command": b"node.status", b"_ask": b"1"})
        channel.dataReceived(b"".join(box) * 5)
        self.reactor.settle()
        self.assertEqual(requests.boxes(), [])
        channel.resumeProducing()
        self.reactor.settle()
        self.assertEqual(len(requests.boxes()), 5)

    def test_goneMeanwhile(self) -> None:
        """
        A client that goes between two turns leaves nothing behind.
        """
        self.pair()
        channel = next(iter(self.server._clients)).requests
        box = encode({b"_command": b"node.status", b"_ask": b"1"})
        channel.dataReceived(b"".join(box) * (2 * COMMANDS_PER_TURN))
        channel.connectionLost()
        self.reactor.settle()
        self.assertEqual(self.server._clients, {})
        self.assertEqual(len(channel._boxes), 0)

    def test_oneConnection(self) -> None:
        """
        A connection is not paired with itself.
        """
        requests, _ = self.connect()
        secret = self.hello(requests, b"request")["secret"]
        answer = self.hello(requests, b"dispatch", secret=secret)
        self.assertRefused(requests, answer, b"ACCESS")

    def test_fewFiles(self) -> None:
        """
        Some of the files that the process may open stay for the ring.
        """
        self.patch(server, "getrlimit", lambda which: (FILES_KEPT + 3, 4096))
        self.pair()
        third, _ = self.connect()
        fourth, _ = self.connect()
        self.reactor.settle()
        self.assertEqual((third.lost, fourth.lost), (False, True))
        self.assertEqual(self.server.counters.refused, 1)
