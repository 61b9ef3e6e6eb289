"""
Stories about clients, and about how nodes begin and end.  [pitfalls M]
"""

import gc
import json
from io import BytesIO
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.protocols import amp

from corotwist.config.settings import LogPart, LogSettings, NodeSettings
from corotwist.engines.executive import FUNCTIONS, SERVICES_GROUP, address, header
from corotwist.engines.interfaces import GroupView, Member, Reason
from corotwist.ipc.channel import encode
from corotwist.ipc.client import NodeClient
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.server import PAIRING_SECONDS
from corotwist.ipc.status import StatusLocator
from corotwist.ipc.wire import DISPATCH_WINDOW_BYTES
from corotwist.logs.system import LogSystem
from corotwist.logs.tracing import Switches
from corotwist.simulator import Cluster, timingFor
from corotwist.simulator.local import RawProtocol
from corotwist.test.scenarios.story import LONG, A, B, C, capture
from corotwist.test.scenarios.whole import Diary, WholeStory, reading
from corotwist.totem.wire import Join, decode

GROUP = b"group"
QUICK = timingFor(0.2)
CONNECTS = 100_000 if LONG else 500
DEAF_SECONDS = 600.0 if LONG else 60.0
# A bound that is reached sooner than the real one.
QUEUE_BYTES = 1 << 20
# Whose objects come and go with clients.
OURS = {f"corotwist.ipc.{name}" for name in ("server", "channel", "connection", "cpg")}
# From being asked to stop.
EXIT_SECONDS = 1.0


class ClientStories(WholeStory):
    """
    Applications on the machines of three nodes.
    """

    def joined(
        self, cluster: Cluster, client: NodeClient, group: bytes = GROUP, **calls: Any
    ) -> ProcessGroup:
        """
        A client in a group.
        """
        return cluster.wait(client.groups.join(group, **calls))

    def raw(self, cluster: Cluster, nodeid: int) -> tuple[RawProtocol, RawProtocol]:
        """
        The two connections of a client that says whatever a story wants.
        """
        process = cluster.process(nodeid)
        requests, dispatch = process.dial(), process.dial()
        secret = self.ask(cluster, requests, b"hello", version=b"1", role=b"request")
        self.ask(
            cluster,
            dispatch,
            b"hello",
            version=b"1",
            role=b"dispatch",
            secret=secret[b"secret"],
        )
        return requests, dispatch

    def ask(
        self, cluster: Cluster, protocol: RawProtocol, command: bytes, **fields: bytes
    ) -> Any:
        """
        One command, and its answer.
        """
        box = {b"_command": command, b"_ask": b"1"}
        box |= {name.encode(): value for name, value in fields.items()}
        protocol.received = b""
        protocol.write(b"".join(encode(box)))
        cluster.runUntil(lambda: protocol.received != b"" or protocol.closed, 2)
        (answer,) = amp.parse(BytesIO(protocol.received))
        return answer

    def test_atBoot(self) -> None:
        """
        A client that is there as soon as the node lets it in waits: it is a
        member of nothing before the services are in step.  [pitfall M1]
        """
        cluster = Cluster(3, services=True, timing=QUICK, boot=False)
        cluster.boot(A)
        manager = cluster.services(A).manager
        process = cluster.process(A)
        shown: list[bool] = []
        asked: list[tuple[str, bool]] = []

        def connected(client: NodeClient) -> Deferred[ProcessGroup]:
            client.node.status().addCallback(
                lambda status: asked.append((status.state, manager.synchronizing()))
            )
            return client.groups.join(
                GROUP,
                viewChanged=lambda view: shown.append(manager.synchronizing()),
            )

        joining = process.connect().addCallback(connected)
        group = cluster.wait(joining)
        self.assertEqual(asked, [("synchronizing", True)])
        self.assertEqual(shown, [False])
        self.assertEqual(group.members, (Member(A, process.pid),))
        cluster.boot(B, C)
        cluster.settle()

    def test_unknownRequests(self) -> None:
        """
        Requests that nobody knows are answered with an error, whatever their
        names and numbers, and functions beyond every table are counted; the
        client is still a client.  [pitfall M2]
        """
        cluster = self.whole(timing=QUICK)
        requests, dispatch = self.raw(cluster, A)
        random = Random(1)
        names = [b"cpg.", b"cpg.nothing", b"node.65535", b"x" * 255, b"hello\0"]
        names += [random.randbytes(12) for _ in range(50)]
        for name in names:
            answer = self.ask(cluster, requests, name)
            self.assertEqual(answer[b"_error_code"], b"UNHANDLED")
        totem = cluster.services(A).totem
        for service in (0, 2, 3, 5, 77, 0x7FFF):
            for function in (7, 8, 255, 256, FUNCTIONS - 1):
                body = header(service, function, random.randbytes(40))
                self.assertTrue(totem.multicast(address(SERVICES_GROUP, body)))
        cluster.run(0.5)
        answer = self.ask(cluster, requests, b"cpg.join", group=GROUP)
        self.assertNotIn(b"_error", answer)
        self.assertFalse(requests.closed or dispatch.closed)
        for nodeid in cluster.nodes:
            dump = cluster.services(nodeid).manager.dump()
            self.assertEqual(
                {name: e["failures"] for name, e in dump["engines"].items()},
                dict.fromkeys(dump["engines"], 0),
            )
            self.assertGreater(dump["counters"]["unknownService"], 0)
        cluster.settle()

    def test_comingAndGoing(self) -> None:
        """
        Thousands of clients that come, join and go leave nothing behind.
        [pitfall M3]
        """
        cluster = self.whole(1, timing=QUICK)
        services = cluster.services(A)
        before: list[Any] = []
        for number in range(CONNECTS):
            if number == CONNECTS // 2:
                before = self.kept(cluster)
            if number % 3:
                requests, _ = self.raw(cluster, A)
                self.ask(cluster, requests, b"cpg.join", group=GROUP)
            else:
                requests = cluster.process(A).dial()
                hello = {"version": b"1", "role": b"request"}
                self.ask(cluster, requests, b"hello", **hello)
            end: Any = requests.transport
            end.reactor.stop()  # The process is killed.
        *after, objects = self.kept(cluster)
        self.assertEqual(after, before[:-1])
        self.assertLess(objects, before[-1] + CONNECTS // 20)
        self.assertEqual(services.manager.engines["cpg"].groups(), ())

    def kept(self, cluster: Cluster) -> list[Any]:
        """
        How much a node holds of its clients; and how many objects of ours
        there are, when all timers have ended.
        """
        cluster.run(PAIRING_SECONDS + 1)
        door: Any = cluster.services(A).node.ipc
        gc.collect()
        return [
            len(door._channels),
            len(door._clients),
            len(door._admission._secrets),
            len(cluster.services(A).manager.engines["cpg"]._local.clients),
            sum(type(thing).__module__ in OURS for thing in gc.get_objects()),
        ]

    def test_deaf(self) -> None:
        """
        A client stops reading for long, under load: what waits for it is
        bounded, then it is cut off and gone as a process that died; nobody
        else misses anything, and the ring does not notice.  [pitfall M4]
        """
        cut = reading(slowReader="disconnect", clientBytes=QUEUE_BYTES)
        cluster = self.whole(timing=QUICK, configure=cut)
        deaf, talker = cluster.connect(A), cluster.connect(B)
        self.joined(cluster, deaf)
        heard: list[bytes] = []
        views: list[GroupView] = []
        group = self.joined(
            cluster,
            talker,
            delivered=lambda sender, payload: heard.append(payload),
            viewChanged=views.append,
        )
        rings = [node.configuration for node in cluster.nodes.values()]
        cluster.stall(deaf, DEAF_SECONDS)
        door: Any = cluster.services(A).node.ipc
        most = sent = 0
        while cluster.seconds() < DEAF_SECONDS:
            group.send(b"%06d" % sent * 1400)
            sent += 1
            cluster.run(0.25)
            waiting = [w["queuedBytes"] for w in door.statistics()["waiting"]]
            most = max([most, *waiting])
        self.assertEqual(len(heard), sent)
        self.assertGreater(most, QUEUE_BYTES // 2)
        self.assertLess(most, QUEUE_BYTES + 20_000)
        self.assertEqual(door.statistics()["cut"], 1)
        self.assertEqual(door.statistics()["waiting"], [])
        (gone,) = views[-1].left
        self.assertEqual((gone.member.nodeid, gone.reason), (A, Reason.PROCDOWN))
        self.assertEqual([n.configuration for n in cluster.nodes.values()], rings)
        cluster.settle()

    def next(self, cluster: Cluster, group: ProcessGroup) -> Any:
        """
        The next event.
        """
        return cluster.wait(Deferred.fromCoroutine(anext(group)))

    def test_callbacksOfNothing(self) -> None:
        """
        A client that asked to be told of some things only, of which one raises,
        and one that stops looking and begins again: neither hangs, though more
        comes than the node sends ahead, and nothing is lost.  [pitfall M9]
        """
        cluster = self.whole(timing=QUICK)
        some, looking, talker = (cluster.connect(n) for n in (A, A, B))
        views: list[GroupView] = []

        def failing(view: GroupView) -> None:
            views.append(view)
            raise RuntimeError("an application's own trouble")

        self.joined(cluster, some, viewChanged=failing)
        watched = self.joined(cluster, looking)
        group = self.joined(cluster, talker, delivered=lambda *message: None)
        size = 40_000
        count = 3 * DISPATCH_WINDOW_BYTES // size
        seen = [self.next(cluster, watched) for _ in range(2)]
        for number in range(count):
            group.send(b"%05d" % number * (size // 5))
            cluster.run(0.02)
        cluster.run(2)
        while len(seen) < count + 2:
            seen.append(self.next(cluster, watched))
        numbers = [e.payload[:5] for e in seen if not isinstance(e, GroupView)]
        self.assertEqual(numbers, [b"%05d" % n for n in range(count)])
        cluster.wait(group.leave())
        cluster.run(0.5)
        self.assertEqual(len(views[-1].members), 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), len(views))
        cluster.settle()


class StatisticsStories(WholeStory):
    """
    Who looks, while all changes.
    """

    def test_whileAllChanges(self) -> None:
        """
        Statistics are taken at any moment of joins, leaves, rounds and ring
        changes, and read in parts while more changes: each is one JSON text of
        one moment.  [pitfall M8]
        """
        cluster = self.whole(timing=QUICK)
        random = Random(3)
        clients = [cluster.client(n) for n in (A, A, A, B, C)]
        for number in range(400):
            for client in clients:
                client.join(b"%03d" % number * 40)
        cluster.run(0.5)
        locator = StatusLocator(cluster.services(A).manager)
        names = self.sections(locator)
        self.assertGreaterEqual(len(names), 5)
        parts = 0
        for step in range(50):
            clients[0].join(b"new %d" % step)
            clients[1].leave(b"%03d" % step * 40)
            if step == 15:
                cluster.cut(C, A)
            if step == 40:
                cluster.heal()
            for section in ("cpg", random.choice(names)):
                before = json.dumps(locator._section(section), default=str)
                text, part, more = b"", 0, True
                while more:
                    answer = locator._statistics(section, part)
                    text, more = text + answer["json"], answer["more"]
                    part += 1
                    if more:
                        cluster.run(0.01)
                self.assertEqual(json.loads(text), json.loads(before))
                parts = max(parts, part)
            cluster.run(0.01)
        self.assertGreater(parts, 1)
        cluster.heal()
        cluster.settle()

    def sections(self, locator: StatusLocator) -> list[str]:
        """
        What there are statistics of.
        """
        names: list[str] = json.loads(locator._statistics()["json"])
        return names


class EndStories(WholeStory):
    """
    Nodes that stop, because somebody wants it or because they must.
    """

    def test_olderConfiguration(self) -> None:
        """
        A node with an older configuration meets the others: it stops, only it,
        and none of its clients is left with them.  [pitfall M6]
        """

        def configure(settings: NodeSettings) -> NodeSettings:
            version = 1 if settings.totem.nodeid == B else 2
            return evolve(settings, configVersion=version)

        cluster = Cluster(3, services=True, timing=QUICK, configure=configure)
        cluster.partition({A, C}, {B})
        ended: list[int] = []

        def noted(_: object, nodeid: int) -> None:
            ended.append(nodeid)

        for nodeid in cluster.nodes:
            cluster.services(nodeid).node.ended.addCallback(noted, nodeid)
        cluster.settle()
        clients = [cluster.client(nodeid) for nodeid in cluster.nodes]
        for client in clients:
            client.join(GROUP)
        cluster.run(0.1)
        cluster.heal()
        cluster.run(2)
        self.assertEqual(ended, [B])
        self.assertTrue(cluster.nodes[B].down)
        cluster.settle()
        for client in (clients[0], clients[2]):
            self.assertEqual(
                client.views[GROUP].members, (clients[0].member, clients[2].member)
            )

    def test_stoppedInARound(self) -> None:
        """
        A node is stopped at any step of a round, twice, and with a service that
        is busy: it says once that it leaves, and is gone within a second.
        [pitfall M7]
        """
        for service in (1, 2):
            for what in ("started", "sent", "done", "heard", "completed"):
                for busy in (False, True):
                    self.stopStory(service, what, busy)

    def stopStory(self, service: int, what: str, busy: bool) -> None:
        """
        One step.
        """
        diary = Diary()
        cluster = self.whole(timing=QUICK, makers=diary.makers(2))
        clients = [cluster.client(nodeid) for nodeid in cluster.nodes]
        for client in clients:
            client.join(GROUP)
        cluster.run(0.1)
        joins = capture(cluster, "join")
        node = cluster.services(B).node
        if busy:
            node.manager.engines["witness1"].shutdown = lambda: False
        asked: list[float] = []
        ends: list[object] = []

        def stop() -> None:
            asked.append(cluster.seconds())
            cluster.stop(B)
            node.stopService().addCallback(ends.append)

        def moment(*happened: Any) -> None:
            if happened == (B, service, what) and not asked:
                asked.append(0.0)
                node.manager.clock.callLater(0, stop)

        diary.moment = moment
        cluster.kill(C)
        cluster.runUntil(lambda: len(asked) > 1, 3)
        gone = cluster.runUntil(lambda: cluster.nodes[B].down, EXIT_SECONDS)
        self.assertTrue(gone, (service, what, busy))
        self.assertEqual(len(ends), 1)
        leaves = [self.isLeave(data) for nodeid, data in joins if nodeid == B]
        self.assertEqual(leaves.count(True), 1, (service, what, busy))
        cluster.settle()
        self.assertEqual(clients[0].views[GROUP].members, (clients[0].member,))

    def isLeave(self, datagram: bytes) -> bool:
        """
        Does it say that its sender goes?
        """
        join = decode(datagram)
        return isinstance(join, Join) and join.leave


class LogStories(WholeStory):
    """
    Where lines go that nobody can write.
    """

    def test_fullDisk(self) -> None:
        """
        The disk of the log is full: each line is lost, and that is all.
        [pitfall M10]
        """
        full = LogPart(toStderr=False, file="/dev/full", debug=True)
        target = LogSystem(LogSettings(full), switches=Switches())
        self.addCleanup(target.stop)
        lines: list[object] = []

        def counting(event: Any) -> None:
            lines.append(event)
            target(event)

        observer: Any = counting
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        cluster = self.whole(timing=QUICK)
        clients = [cluster.client(nodeid) for nodeid in cluster.nodes]
        for client in clients:
            client.join(GROUP)
        cluster.kill(C)
        cluster.settle()
        clients[0].send(GROUP, b"heard")
        cluster.settle()
        self.assertGreater(len(lines), 20)
        self.assertEqual(len(clients[1].log), 1)
        self.assertTrue(target.stop())
        self.assertGreater(target.statistics()["lost"], 20)
