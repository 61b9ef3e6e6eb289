"""
Applications on simulated machines: production clients and the production
server, over simulated UNIX sockets.
"""

from collections.abc import Sequence
from errno import EAGAIN, ECONNREFUSED, ENOENT
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.interfaces import IReactorUNIX
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.engines.interfaces import Member
from corotwist.errors import AccessDenied, Disconnected
from corotwist.ipc.client import NodeClient
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.server import IpcServer
from corotwist.simulator import Cluster
from corotwist.simulator.clock import Clock
from corotwist.simulator.faults import kindOf
from corotwist.simulator.reactor import Reactor
from corotwist.simulator.sockets import Port
from corotwist.simulator.streams import KERNEL_BYTES, Paths

GROUP = b"group"


def server(cluster: Cluster, nodeid: int) -> IpcServer:
    """
    The door of a node.
    """
    door = cluster.services(nodeid).node.ipc
    assert isinstance(door, IpcServer)
    return door


class ApplicationsTests(SynchronousTestCase):
    """
    Whole nodes, with applications.
    """

    def formed(self, size: int = 2, **options: Any) -> Cluster:
        cluster = Cluster(size, services=True, **options)
        cluster.settle(stay=False)
        return cluster

    def joined(
        self, cluster: Cluster, client: NodeClient, log: list[bytes]
    ) -> ProcessGroup:
        return cluster.wait(
            client.groups.join(GROUP, lambda sender, payload: log.append(payload))
        )

    def test_messages(self) -> None:
        """
        Clients over sockets and inside a node talk, as applications do.
        """
        cluster = self.formed(3)
        clients = [cluster.connect(1), cluster.connect(2), cluster.embed(3)]
        logs: list[list[bytes]] = [[], [], []]
        groups = [
            self.joined(cluster, client, log)
            for client, log in zip(clients, logs, strict=True)
        ]
        for number, group in enumerate(groups):
            cluster.wait(group.send(b"%d" % number * 1000))
        cluster.wait(groups[0].send(b"large" * 60_000))
        cluster.run(0.5)
        self.assertEqual([len(log) for log in logs], [4, 4, 4])
        self.assertEqual(logs[1:], logs[:1] * 2)
        pids = [Member(n, client.pid) for n, client in enumerate(clients, 1)]
        self.assertEqual([*groups[2].members], pids)
        self.assertEqual([client.nodeid for client in clients], [1, 2, 3])
        cluster.wait(clients[0].stopService())
        cluster.run(0.2)
        self.assertEqual([*groups[2].members], pids[1:])

    def test_refused(self) -> None:
        """
        Who may not connect is told so, and who asks where nobody is.
        """
        cluster = self.formed()
        self.assertRaises(AccessDenied, cluster.connect, 1, uid=4711)
        cluster.kill(1)
        self.assertRaises(Disconnected, cluster.connect, 1)

    def test_waiting(self) -> None:
        """
        Waiting gives what came, or raises; it does not wait for ever.
        """
        cluster = self.formed()
        fired: Deferred[int] = Deferred()
        cluster.clock.callLater(0.5, fired.callback, 7)
        self.assertEqual(cluster.wait(fired), 7)
        failed: Deferred[int] = Deferred()
        cluster.clock.callLater(0.5, failed.errback, Failure(Disconnected("x")))
        self.assertRaises(Disconnected, cluster.wait, failed)
        self.assertRaises(TimeoutError, cluster.wait, Deferred(), 0.1)

    def test_reconnects(self) -> None:
        """
        A client comes back by itself when its node does, and is a member
        again.
        """
        cluster = self.formed()
        client, log = cluster.connect(1), list[bytes]()
        group = self.joined(cluster, client, log)
        cluster.kill(1)
        cluster.run(0.5)
        self.assertFalse(client.connected)
        cluster.boot(1)
        cluster.settle()
        self.assertTrue(cluster.runUntil(lambda: group.members != (), 5))
        cluster.wait(group.send(b"again"))
        cluster.run(0.2)
        self.assertEqual(log, [b"again"])

    def test_leaves(self) -> None:
        """
        A node that stops sends its clients away before it leaves.
        """
        cluster = self.formed()
        client = cluster.connect(1)
        cluster.stop(1)
        cluster.run(0.5)
        self.assertTrue(cluster.nodes[1].down)
        self.assertFalse(client.connected)
        cluster.settle()

    def test_stall(self) -> None:
        """
        C16: a client that stops reading is cut off when too much waits for
        it, and nobody else notices.
        """
        cluster = self.formed()
        slow, quick = cluster.connect(1), cluster.connect(2)
        slowLog, quickLog = list[bytes](), list[bytes]()
        self.joined(cluster, slow, slowLog)
        group = self.joined(cluster, quick, quickLog)
        cluster.stall(slow, 100.0)
        for number in range(80):
            cluster.wait(group.send(b"%04d" % number + bytes(500_000)))
        cluster.run(0.5)
        self.assertEqual(len(quickLog), 80)
        self.assertEqual(server(cluster, 1).counters.cut, 1)
        self.assertEqual([m.nodeid for m in group.members], [2])
        cluster.settle()
        self.assertTrue(cluster.runUntil(lambda: slow.connected, 120))
        self.assertTrue(len(slowLog) < 80)

    def test_shortStall(self) -> None:
        """
        One that reads again in time has lost nothing.
        """
        cluster = self.formed()
        slow, quick = cluster.connect(1), cluster.connect(2)
        slowLog, quickLog = list[bytes](), list[bytes]()
        self.joined(cluster, slow, slowLog)
        group = self.joined(cluster, quick, quickLog)
        cluster.stall(slow, 1.0)
        for number in range(10):
            cluster.wait(group.send(b"%04d" % number + bytes(1000)))
        self.assertEqual((len(slowLog), len(quickLog)), (0, 10))
        cluster.run(1.0)
        self.assertEqual(slowLog, quickLog)

    def test_crash(self) -> None:
        """
        A client that dies in the middle of a request is gone at once, for
        everybody.
        """
        cluster = self.formed()
        client, other = cluster.connect(1), cluster.connect(2)
        group = self.joined(cluster, client, [])
        rest = self.joined(cluster, other, [])
        answer = group.send(bytes(900_000))
        cluster.run(0.0001)
        cluster.crash(client)
        cluster.run(0.2)
        self.assertNoResult(answer)
        self.assertEqual([m.nodeid for m in rest.members], [2])
        self.assertEqual(server(cluster, 1).statistics()["connected"], 0)
        cluster.settle()

    def test_garbage(self) -> None:
        """
        Whatever somebody writes who does not know the protocol, or does not
        end what it began: his connection is closed, and no other.
        """
        cluster = self.formed()
        client = cluster.connect(1)
        for data in (
            b"\xff" * 1000,
            bytes(100),
            b"GET / HTTP/1.0\r\n\r\n",
            b"\x00\x04_ask\x00\x01",
            b"\x00\x08_command\x00\x03bad\x00\x04_ask\x00\x011\x00\x00",
        ):
            raw = cluster.process(1).dial()
            raw.write(data)
            cluster.run(11.0)
            self.assertTrue(raw.closed, data)
        counters = server(cluster, 1).counters
        self.assertEqual((counters.malformed, counters.unpaired), (3, 1))
        self.assertTrue(client.connected)
        self.assertEqual(len(server(cluster, 1)._channels), 2)

    def test_halfAFrame(self) -> None:
        """
        Who dies with half a frame written is forgotten within a turn.
        """
        cluster = self.formed()
        process = cluster.process(1)
        process.dial().write(b"\x00\x04_ask\x00")
        cluster.run(0.01)
        self.assertEqual(len(server(cluster, 1)._channels), 1)
        process.kill()
        cluster.run(0.001)
        self.assertEqual(len(server(cluster, 1)._channels), 0)

    def test_storm(self) -> None:
        """
        Clients that come and go all the time leave nothing behind.
        """
        cluster = self.formed()
        paths = cluster.nodes[1].paths
        for number in range(300):
            process = cluster.process(1)
            connected = process.connect()
            cluster.run(0.002 if number % 2 else 0.0001)
            process.kill()
            connected.addErrback(lambda _: None)
        cluster.run(0.1)
        self.assertTrue(paths.counts["accepted"] >= 300)
        door = server(cluster, 1)
        self.assertEqual((len(door._channels), len(door._admission._secrets)), (0, 0))
        self.assertEqual(len(cluster.running(1).clock.ends), 0)  # type: ignore[attr-defined]
        cluster.settle()

    def test_flood(self) -> None:
        """
        Clients that send without waiting keep neither the token, by a quarter
        of its timeout, nor each other, from going on.
        """
        cluster = self.formed()
        clients = [cluster.connect(1) for _ in range(10)]
        logs: list[list[bytes]] = [[] for _ in clients]
        groups = [
            self.joined(cluster, client, log)
            for client, log in zip(clients, logs, strict=True)
        ]
        before = cluster.nodes[1].configuration
        tokens = [cluster.seconds()]

        def watch(port: Port, targets: object, datagrams: Sequence[bytes]) -> None:
            if any(kindOf(datagram) == "token" for datagram in datagrams):
                tokens.append(cluster.seconds())

        cluster.network.watchers.append(watch)
        for number, group in enumerate(groups):
            for _ in range(100):
                group.send(b"%02d" % number + bytes(2000)).addErrback(lambda _: None)
            group.send(b"%02d" % number + bytes(900_000)).addErrback(lambda _: None)
        cluster.run(3.0)
        senders = {payload[:2] for payload in logs[0]}
        self.assertEqual(len(senders), len(clients))
        self.assertEqual(logs, logs[:1] * len(logs))
        self.assertIs(cluster.nodes[1].configuration, before)
        waits = [after - at for at, after in pairwise(tokens)]
        self.assertTrue(max(waits) < cluster.timing.token / 4, max(waits))

    def test_files(self) -> None:
        """
        Without files left, new clients are turned away in order, old ones and
        the ring go on, and all is well when files are back.
        """
        cluster = self.formed()
        client, log = cluster.connect(1), list[bytes]()
        group = self.joined(cluster, client, log)
        reactor = cluster.running(1).clock
        assert isinstance(reactor, Reactor)
        for most in (len(reactor.ends), len(reactor.ends) + 1):
            reactor.mostFiles = most
            self.assertRaises(Disconnected, cluster.connect, 1)
        self.assertEqual(cluster.nodes[1].paths.counts["files"], 1)
        self.assertTrue(server(cluster, 1).counters.refused)
        cluster.wait(group.send(b"x"))
        reactor.mostFiles = 1024
        self.assertTrue(cluster.connect(1).connected)


class Talker(Protocol):
    """
    Keeps what it hears.
    """

    def __init__(self) -> None:
        self.heard = b""
        self.ended: Failure | None = None
        self.paused = 0
        self.resumed = 0

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.ended = reason

    def pauseProducing(self) -> None:
        self.paused += 1

    def resumeProducing(self) -> None:
        self.resumed += 1

    def stopProducing(self) -> None:
        pass


class Calling(ClientFactory[Talker]):
    """
    Connects, or keeps why not.
    """

    noisy = False

    def __init__(self, talker: Talker) -> None:
        self.talker = talker
        self.failures: list[int | None] = []

    def buildProtocol(self, addr: object) -> Talker:
        return self.talker

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        error = reason.value
        assert isinstance(error, ConnectError)
        self.failures.append(error.osError)


class StreamTests(SynchronousTestCase):
    """
    Two processes, one of which listens.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        paths = Paths()
        self.near = Reactor(self.clock, paths=paths)
        self.far = Reactor(self.clock, paths=paths)
        self.server, self.client = Talker(), Talker()
        self.listening = self.far.listenUNIX("/s", Factory.forProtocol(self.serverMade))

    def serverMade(self) -> Talker:
        return self.server

    def connect(self) -> None:
        factory = Calling(self.client)
        self.failures = factory.failures
        self.near.connectUNIX("/s", factory)
        self.clock.advance(0.001)

    def test_interface(self) -> None:
        """
        A reactor has what UNIX sockets need.
        """
        verifyObject(IReactorUNIX, self.near)

    def test_echo(self) -> None:
        """
        What is written is read, in order, a little later.
        """
        self.connect()
        assert self.client.transport is not None
        self.client.transport.write(b"a")
        self.client.transport.writeSequence([b"b", b"c"])
        self.assertEqual(self.server.heard, b"")
        self.clock.advance(0.001)
        self.assertEqual(self.server.heard, b"abc")

    def test_backPressure(self) -> None:
        """
        A reader that stops fills the kernel, then the writer, whose producer
        pauses until there is room again.
        """
        self.connect()
        transport: Any = self.client.transport
        transport.registerProducer(self.client, True)
        self.far.present = False
        transport.write(bytes(KERNEL_BYTES + 100_000))
        self.clock.advance(1)
        self.assertEqual(len(transport.unsent), 100_000)
        self.assertEqual((self.client.paused, self.client.resumed), (1, 0))
        self.far.present = True
        while self.far.callWaiting():
            pass
        self.clock.advance(1)
        self.assertEqual(len(self.server.heard), KERNEL_BYTES + 100_000)
        self.assertEqual((self.client.paused, self.client.resumed), (1, 1))

    def test_pausedReading(self) -> None:
        """
        A paused reader hears nothing, nor of the end.
        """
        self.connect()
        client: Any = self.client.transport
        server: Any = self.server.transport
        server.pauseProducing()
        client.write(b"last")
        client.loseConnection()
        self.clock.advance(1)
        self.assertEqual((self.server.heard, self.server.ended), (b"", None))
        server.resumeProducing()
        self.clock.advance(1)
        self.assertEqual(self.server.heard, b"last")
        self.assertIsNotNone(self.server.ended)

    def test_endings(self) -> None:
        """
        A connection ends for both, after what was written, or at once.
        """
        for abort in (False, True):
            self.setUp()
            self.connect()
            client: Any = self.client.transport
            client.write(b"x" * 300_000)
            (client.abortConnection if abort else client.loseConnection)()
            self.clock.advance(1)
            self.assertEqual(len(self.server.heard), 0 if abort else 300_000)
            self.assertIsNotNone(self.server.ended)
            self.assertIsNotNone(self.client.ended)
            self.assertEqual((self.near.ends, self.far.ends), ({}, {}))

    def test_death(self) -> None:
        """
        A process that dies says nothing more; what it wrote is read, except
        by one who notices in the attempt to write to it.
        """
        for answer in (False, True):
            self.setUp()
            self.connect()
            client: Any = self.client.transport
            server: Any = self.server.transport
            client.write(b"x" * 300_000)
            self.clock.advance(0)
            self.near.stop()
            if answer:
                server.write(b"y")
            self.clock.advance(1)
            self.assertEqual(len(self.server.heard), 0 if answer else KERNEL_BYTES)
            assert self.server.ended is not None
            self.assertEqual(bool(self.server.ended.check(ConnectionLost)), answer)
            self.assertIsNone(self.client.ended)

    def test_nobody(self) -> None:
        """
        There is no socket, or nobody behind it, or too many before it.
        """
        self.far.present = False
        for _ in range(51):
            self.connect()
        self.assertEqual(self.failures, [EAGAIN])
        self.far.stop()
        self.connect()
        self.assertEqual(self.failures, [ECONNREFUSED])
        self.setUp()
        self.successResultOf(self.listening.stopListening())
        self.connect()
        self.assertEqual(self.failures, [ENOENT])
