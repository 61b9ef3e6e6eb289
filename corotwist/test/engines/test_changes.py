"""
Tests of replacing, loading and unloading engines on nodes that run.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.components import Given
from corotwist.config.settings import ComponentSettings
from corotwist.engines.base import Engine, SynchronizedEngine
from corotwist.engines.changes import QUIET_SECONDS
from corotwist.engines.children import Children, Program
from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.interfaces import EngineNews, Member, News, Reason, Receipt
from corotwist.engines.outgoing import WAITING_ENTRIES
from corotwist.engines.place import FAILURES_TOLERATED
from corotwist.engines.successor import PREPARATION_SECONDS
from corotwist.errors import (
    BadHandle,
    Busy,
    ComponentFailed,
    ConfigurationError,
    Exists,
    Interrupted,
    NotExist,
    NotSupported,
    PluginClash,
    Problem,
    TryAgain,
)
from corotwist.interfaces import IConnection, IReplaceable
from corotwist.plugin import discover
from corotwist.test.engines.newer import (
    FAILING,
    NEWER,
    NewerGroups,
    Slow,
    groups,
)
from corotwist.test.engines.orderednet import (
    SHIPPED,
    Listener,
    Maker,
    Node,
    OrderedNet,
    formed,
    send,
)
from corotwist.test.engines.test_children import PATH, Machine

GROUP = b"group"


def offer(node: Node, *makers: Any) -> None:
    """
    Let a node find other components, too.
    """
    (source,) = node.manager.roster.components.sources
    assert isinstance(source, Given)
    source.made = [*source.made, *makers]


@implementer(IConnection)
@define(eq=False)
class Visitor:
    """
    As much of a connection as engines are told of.
    """

    pid: int = 77
    uid: int = 0
    gid: int = 0
    private: Any = None
    usage: Any = None
    behind: bool = False
    news: list[EngineNews] = field(factory=list)

    def engineChanged(self, news: EngineNews) -> None:
        self.news.append(news)

    def shutdownAhead(self, reason: str, holding: Sequence[str]) -> None:
        """
        No node here waits with its shutdown.
        """

    def tell(self, command: Any, **arguments: Any) -> None:
        """
        Nobody sends it events.
        """


class ChangeCase(SynchronousTestCase):
    """
    Three nodes, each with a member of a group; node 1 has more versions.
    """

    def setUp(self) -> None:
        self.net = formed(1, 2, 3)
        self.node = self.net.nodes[1]
        self.offers(NEWER, FAILING)
        self.clients = {n: Listener(100 + n) for n in self.net.nodes}
        for nodeid, client in self.clients.items():
            self.net.nodes[nodeid].cpg.join(client, GROUP)
        self.net.run()

    def offers(self, *makers: Any) -> None:
        offer(self.node, *makers)

    def change(self, what: str, *arguments: Any) -> Deferred[EngineNews]:
        """
        Ask, and have the turns of the reactor that it takes.
        """
        result: Deferred[EngineNews] = getattr(self.node.manager.changes, what)(
            *arguments
        )
        self.turn()
        return result

    def turn(self, seconds: float = 0) -> None:
        for _ in range(4):
            self.net.clock.advance(0)
        self.net.clock.advance(seconds)
        self.net.clock.advance(0)

    def replaced(self, version: int) -> EngineNews:
        return self.successResultOf(self.change("replace", "cpg", version))

    def refused(self, kind: type[Exception], version: int | None = None) -> str:
        """
        Nothing changes.
        """
        before = self.node.engine("cpg")
        failure = self.failureResultOf(self.change("replace", "cpg", version), kind)
        self.assertIs(self.node.engine("cpg"), before)
        self.send(1, b"as before")
        self.net.run()
        for client in self.clients.values():
            self.assertEqual(client.messages()[-1], b"as before")
        return str(failure.value)

    def send(self, nodeid: int, *messages: bytes) -> Deferred[Receipt]:
        return send(self.net.nodes[nodeid], self.clients[nodeid], GROUP, *messages)

    def same(self, *messages: bytes) -> None:
        """
        Everybody got just these.
        """
        for client in self.clients.values():
            self.assertEqual(client.messages(), list(messages))


class ReplaceTests(ChangeCase):
    """
    Another version takes over.
    """

    def test_interfaces(self) -> None:
        """
        Every shipped engine can hand over.  (A11)
        """
        for name, engine in self.node.manager.engines.items():
            self.assertTrue(verifyObject(IReplaceable, engine), name)

    def test_upAndDown(self) -> None:
        """
        Version 2 takes over from version 1, and version 1 from version 2; the
        client stays a member and hears of nothing.  (A8, A11)
        """
        told = [list(client.events) for client in self.clients.values()]
        news = self.replaced(2)
        self.assertEqual(
            (news.name, news.version, news.what), ("cpg", 2, News.REPLACED)
        )
        self.assertEqual(str(news), "Engine cpg is replaced: version 2 serves")
        engine = self.node.engine("cpg")
        assert isinstance(engine, NewerGroups)
        self.assertEqual(engine.replaced, 1)
        self.send(1, b"two")
        self.net.run()
        self.replaced(1)
        self.assertIs(type(self.node.engine("cpg")), GroupsEngine)
        self.send(1, b"one")
        self.net.run()
        self.same(b"two", b"one")
        for client, before in zip(self.clients.values(), told, strict=True):
            self.assertEqual(client.events[: len(before)], before)
            self.assertEqual(len(client.events), len(before) + 2)

    def test_newest(self) -> None:
        """
        Without a version it is the newest there is.
        """
        self.offers(groups(9, partial(_versioned, 9)))
        self.assertEqual(self.successResultOf(self.change("replace", "cpg")).version, 9)

    def test_counts(self) -> None:
        """
        A component is referenced while its engine serves.  (A10)
        """
        components = self.node.manager.roster.components
        known = {(c.name, c.version): c for c in components.known()}
        self.assertEqual(known["cpg", 1].references, 1)
        self.assertRaises(Busy, components.unload, known["cpg", 1])
        self.replaced(2)
        self.assertEqual(known["cpg", 1].references, 0)
        self.assertEqual(known["cpg", 2].references, 1)

    def test_inFlight(self) -> None:
        """
        What is in the ring's queue comes back to the new engine, and what waits
        behind it follows in order; who waits for it is answered.  (A11)
        """
        self.node.totem.ordinary = 200
        sent = [self.send(1, b"%d" % n + b"x" * 50) for n in range(9)]
        self.successResultOf(sent[0])
        self.assertNoResult(sent[-1])
        self.replaced(2)
        self.net.run()
        for one in sent:
            self.successResultOf(one)
        self.same(*(b"%d" % n + b"x" * 50 for n in range(9)))

    def test_missed(self) -> None:
        """
        What was in the queue when the ring changed is sent again by the new
        engine, before what it was given after it.  (A11)
        """
        self.send(1, b"first")
        self.send(1, b"second")
        self.replaced(2)
        self.net.form(1, 2, 3)
        self.send(1, b"third")
        self.net.run()
        self.assertGreater(self.node.cpg.dump()["missed"], 0)
        self.same(b"first", b"second", b"third")

    def test_sentBack(self) -> None:
        """
        What came back from an older ring, and is to be sent again behind the
        rest of it, is sent by the new engine.  (A11)
        """
        self.send(1, b"first")
        self.send(1, b"second")
        self.send(2, b"another's")
        self.net.form(1, 2, 3)
        for _ in range(200):
            for nodeid in (1, 2, 3):
                self.net.visit(nodeid, most=1)
                self.net.receive(nodeid)
            if self.node.cpg.dump()["sendingAgain"]:
                break
        self.assertEqual(self.node.cpg.dump()["sendingAgain"], 1)
        self.replaced(2)
        self.assertEqual(self.node.cpg.dump()["sendingAgain"], 1)
        self.net.run()
        messages = self.clients[1].messages()
        self.assertEqual(sorted(messages), [b"another's", b"first", b"second"])
        self.assertEqual(
            [m for m in messages if m != b"another's"], [b"first", b"second"]
        )
        self.same(*messages)

    def test_large(self) -> None:
        """
        A message in pieces goes on: half sent here, half come there.  (A11)
        """
        large = b"large" * 600_000
        for compact in (True, False):
            with self.subTest(compact=compact):
                self.setUp()
                if not compact:
                    self.net.boot(3, foreign=True)
                    self.net.form(1, 2, 3)
                    self.net.run()
                    self.net.nodes[3].cpg.join(self.clients[3], GROUP)
                    self.net.run()
                self.assertIs(self.node.cpg.cluster.compact(), compact)
                sent = self.send(1, b"before", large, b"after")
                for nodeid in (1, 1, 2):
                    self.net.visit(nodeid, most=1)
                for nodeid in (1, 2, 3):
                    self.net.receive(nodeid, 2)
                self.replaced(2)
                self.net.rotate(1)
                self.replaced(1)
                self.net.run()
                self.successResultOf(sent)
                self.same(b"before", large, b"after")

    def test_largeFromElsewhere(self) -> None:
        """
        What has come of somebody's large message is not lost.  (A11)
        """
        large = b"large" * 600_000
        sent = self.send(2, large)
        self.net.visit(2, most=1)
        self.net.receive(1)
        self.assertGreater(self.node.cpg.dump()["assemblyBytes"], 0)
        self.replaced(2)
        self.net.run()
        self.successResultOf(sent)
        self.same(large)

    def test_largeInterrupted(self) -> None:
        """
        A large message whose ring changes after the replacement is interrupted
        as ever, and what follows is sent.
        """
        sent = self.send(1, b"large" * 600_000)
        self.net.visit(1, most=1)
        self.replaced(2)
        self.net.form(1, 2, 3)
        self.net.run()
        self.failureResultOf(sent, Interrupted)
        self.send(1, b"next")
        self.net.run()
        self.same(b"next")

    def test_cancelled(self) -> None:
        """
        Who loses interest after the replacement is heard.
        """
        self.node.totem.ordinary = 200
        for number in range(4):
            self.send(1, b"%d" % number + b"x" * 50)
        last = self.send(1, b"not to be sent")
        self.replaced(2)
        last.addErrback(lambda _: None)
        last.cancel()
        self.net.run()
        self.same(*(b"%d" % n + b"x" * 50 for n in range(4)))

    def test_fromADelivery(self) -> None:
        """
        Whoever asks in the middle of a delivery to several clients has it done
        after it.  (A11)
        """
        asked: list[Deferred[EngineNews]] = []

        class Asking(Listener):
            def messagesDelivered(self, *what: Any) -> None:
                super().messagesDelivered(*what)
                asked.append(test.node.manager.changes.replace("cpg", 2))

        test = self
        other = Asking(50)
        self.node.cpg.join(other, GROUP)
        self.net.run()
        self.send(2, b"now")
        self.net.rotate()
        self.assertEqual(self.node.cpg.version, 1)
        self.same(b"now")
        self.turn()
        self.assertEqual(self.successResultOf(asked[0]).version, 2)
        self.send(1, b"later").addErrback(self.fail)
        self.net.run()
        self.same(b"now", b"later")
        self.assertEqual(other.messages(), [b"now", b"later"])
        self.failureResultOf(asked[1])

    def test_closing(self) -> None:
        """
        A client that went shortly before leaves its group through the new
        engine; one that goes after it, too.  (A11)
        """
        other = Listener(200)
        self.node.cpg.join(other, GROUP)
        self.net.run()
        self.send(1, b"farewell")
        self.node.cpg.closed(self.clients[1])
        self.replaced(2)
        self.net.run()
        gone = self.clients[2].views()[-1]
        self.assertEqual(
            [(c.member, c.reason) for c in gone.left],
            [(Member(1, 101), Reason.PROCDOWN)],
        )
        self.assertEqual(self.clients[2].messages(), [b"farewell"])
        self.node.cpg.closed(other)
        self.net.run()
        self.assertEqual(len(self.clients[2].views()[-1].members), 2)
        self.assertEqual(self.node.cpg.dump()["clients"], 0)

    def test_joining(self) -> None:
        """
        A join that is under way is through with the new engine.
        """
        other = Listener(200)
        self.node.cpg.join(other, GROUP)
        self.replaced(2)
        self.assertRaises(Exists, self.node.cpg.join, other, GROUP)
        self.net.run()
        self.assertEqual(len(other.views()[0].members), 4)
        self.node.cpg.leave(other, GROUP)
        self.replaced(1)
        self.assertRaises(Busy, self.node.cpg.join, other, GROUP)
        self.net.run()
        self.assertEqual(other.views()[-1].left[0].reason, Reason.LEAVE)

    def test_paused(self) -> None:
        """
        A group that waits for a slow reader goes on waiting, and then goes on.
        """
        self.clients[2].fallBehind()
        self.net.run()
        self.send(1, b"patience")
        self.net.run()
        self.same()
        self.replaced(2)
        self.net.run()
        self.same()
        self.clients[2].catchUp()
        self.net.run()
        self.same(b"patience")

    def test_slowHere(self) -> None:
        """
        A slow reader here is counted on by the new engine.
        """
        self.clients[1].fallBehind()
        self.net.run()
        self.replaced(2)
        self.send(2, b"patience")
        self.net.run()
        self.same()
        self.clients[1].catchUp()
        self.net.run()
        self.same(b"patience")

    def test_budget(self) -> None:
        """
        What waits is counted once, however often it changes hands.
        """
        budget = self.node.manager.budget
        self.node.totem.ordinary = 60
        for _ in range(5):
            self.send(1, b"x" * 50)
        held = budget.used
        self.assertGreater(held, 0)
        for version in (2, 1, 2, 1):
            self.replaced(version)
            self.assertEqual(budget.used, held)
        self.node.totem.ordinary = 1 << 20
        self.refused(ComponentFailed, 3)
        self.assertEqual(budget.used, 0)
        self.flushLoggedErrors(RuntimeError)

    def test_full(self) -> None:
        """
        A client with as much waiting as there may be keeps all of it.
        """
        self.node.totem.ordinary = 0
        sent = [self.send(1, b"%d" % n) for n in range(WAITING_ENTRIES)]
        self.failureResultOf(self.send(1, b"too much"), TryAgain)
        self.replaced(2)
        self.failureResultOf(self.send(1, b"too much"), TryAgain)
        self.node.totem.ordinary = 1 << 20
        self.net.run()
        for one in sent:
            self.successResultOf(one)
        self.same(*(b"%d" % n for n in range(WAITING_ENTRIES)))

    def test_others(self) -> None:
        """
        Quorum and the versions of configurations are kept, too.  (A11)
        """
        self.offers(
            *(
                Maker(name, partial(_next, type(self.node.engine(name))), 2)
                for name in ("cmap", "quorum", "votequorum")
            )
        )
        before = {
            name: self.node.engine(name).dump()
            for name in ("cmap", "quorum", "votequorum")
        }
        for name in before:
            self.successResultOf(self.change("replace", name, 2))
        after = {name: self.node.engine(name).dump() for name in before}
        self.assertEqual(after, before)
        self.assertTrue(self.node.engine("quorum").quorate())
        self.net.kill(2, 3)
        self.net.form(1)
        self.net.run()
        self.assertFalse(self.node.engine("quorum").quorate())


class BelongingsTests(ChangeCase):
    """
    What an engine has outside of itself.
    """

    def setUp(self) -> None:
        super().setUp()
        machine = Machine(self.net.clock)
        self.programs = machine.programs.started
        self.node.manager.facilities.children = Children(self.net.clock, machine)
        self.ended: list[Any] = []

        test = self

        class Parent(GroupsEngine):
            version = 5

            def initialize(self, cluster: Any, settings: Any) -> None:
                super().initialize(cluster, settings)
                cluster.spawn(Program("job", (PATH,)))

            def takeOver(self, state: Any, version: int) -> None:
                super().takeOver(state, version)
                for child in self.cluster.children():
                    child.onEnd = lambda reason: test.ended.append((self, reason))

        class Heir(Parent):
            version = 6

            def initialize(self, cluster: Any, settings: Any) -> None:
                GroupsEngine.initialize(self, cluster, settings)

        class Clumsy(Heir):
            version = 7

            def initialize(self, cluster: Any, settings: Any) -> None:
                super().initialize(cluster, settings)
                cluster.spawn(Program("own", (PATH,)))

            def takeOver(self, state: Any, version: int) -> None:
                raise RuntimeError("not today")

        self.offers(groups(5, Parent), groups(6, Heir), groups(7, Clumsy))
        self.replaced(5)

    def test_children(self) -> None:
        """
        The children of an engine go on under the next version, which hears what
        becomes of them; those of a version that failed are stopped.  (A11, A76)
        """
        self.failureResultOf(self.change("replace", "cpg", 7), ComponentFailed)
        self.flushLoggedErrors(RuntimeError)
        self.turn(10)
        running = [c.program.name for c in self.node.cpg.cluster.children() if c.pid]
        self.assertEqual(running, ["job"])
        self.replaced(6)
        self.programs[0].exit(1)
        self.turn()
        self.assertEqual(self.ended, [(self.node.cpg, "exit status 1")])

    def test_timers(self) -> None:
        """
        Timers end with their engine.
        """
        before = len(self.net.clock.getDelayedCalls())
        self.node.cpg.cluster.callAfter(3_600_000_000_000, lambda: None)
        self.replaced(6)
        self.assertEqual(len(self.net.clock.getDelayedCalls()), before)


class ShippedTests(SynchronousTestCase):
    """
    Every engine of the daemon.
    """

    def test_replaceable(self) -> None:
        """
        Each can hand over and take over; but not the two that are in the
        middle of something with a machine outside.  (A11)
        """
        engines = {maker.name: maker.load() for maker in discover()}
        fixed = [n for n, e in engines.items() if not IReplaceable.providedBy(e)]
        self.assertEqual(sorted(fixed), ["fencing", "qdevice"])


class MomentTests(SynchronousTestCase):
    """
    Replacing at any moment.
    """

    @given(st.lists(st.integers(0, 11), max_size=60))
    def test_anyMoment(self, steps: list[int]) -> None:
        """
        Whenever the engine of a node is replaced between sends, tokens,
        deliveries and new rings, everybody gets the same messages in the same
        order, none is lost and none comes twice.  (A11)
        """
        net = formed(1, 2, 3)
        clients = {n: Listener(100 + n) for n in net.nodes}
        for nodeid, client in clients.items():
            offer(net.nodes[nodeid], NEWER)
            net.nodes[nodeid].cpg.join(client, GROUP)
        net.run()
        sent: dict[int, list[bytes]] = {n: [] for n in clients}
        for number, step in enumerate(steps):
            nodeid = step % 3 + 1
            node = net.nodes[nodeid]
            if step < 3:
                message = b"%d" % number * (1 + number * 7)
                sent[nodeid].append(message)
                send(node, clients[nodeid], GROUP, message).addErrback(self.fail)
            elif step < 6:
                net.visit(nodeid, most=2)
            elif step < 8:
                net.receive(nodeid, 3)
            elif step < 11:
                version = 3 - node.cpg.version
                node.manager.changes.replace("cpg", version).addErrback(_busy)
                net.clock.advance(0)
                net.clock.advance(0)
            else:
                net.form(1, 2, 3)
        net.run()
        net.clock.advance(0)
        net.run()
        first, *others = [client.messages() for client in clients.values()]
        self.assertEqual(others, [first, first])
        self.assertEqual(sorted(first), sorted(m for ms in sent.values() for m in ms))
        for messages in sent.values():
            self.assertEqual([m for m in first if m in messages], messages)


class RefusedTests(ChangeCase):
    """
    What goes wrong leaves everything as it is.
    """

    def test_noSuchVersion(self) -> None:
        """
        The error says which versions there are.
        """
        text = self.refused(NotExist, 7)
        self.assertIn("no version 7 of engine 'cpg'; there is: 1, 2, 3", text)

    def test_noSuchEngine(self) -> None:
        """
        What is not loaded is not replaced.
        """
        self.failureResultOf(self.change("replace", "cgp"), NotExist)

    def test_same(self) -> None:
        """
        The version that serves is not replaced by itself.
        """
        self.assertIn("version 1 serves already", self.refused(Exists, 1))

    def test_takeOverFails(self) -> None:
        """
        When the new engine cannot take over, the old one gets everything back;
        what was in the queue is not lost.  (A11)
        """
        self.send(1, b"under way")
        text = self.refused(ComponentFailed, 3)
        self.assertIn("RuntimeError: a mistake of a programmer", text)
        self.same(b"under way", b"as before")
        self.flushLoggedErrors(RuntimeError)

    def test_import(self) -> None:
        """
        Code that cannot be imported.
        """
        self.offers(groups(5, partial(_raise, ImportError("no module named x"))))
        text = self.refused(ComponentFailed, 5)
        self.assertIn("ImportError: no module named x", text)
        self.flushLoggedErrors(ImportError)

    def test_configure(self) -> None:
        """
        A configuration that the new version does not like.
        """

        class Choosy(GroupsEngine):
            version = 5

            def configure(self, settings: Any) -> None:
                raise ConfigurationError(Problem("f", 1, "totem.token", "too short"))

        self.offers(groups(5, Choosy))
        self.assertIn("f:1: totem.token: too short", self.refused(ComponentFailed, 5))
        self.flushLoggedErrors(ConfigurationError)

    def test_initialize(self) -> None:
        """
        One that fails to initialize itself is told to end.
        """
        ended: list[Any] = []

        class Unable(GroupsEngine):
            version = 5

            def initialize(self, cluster: Any, settings: Any) -> None:
                raise OSError(98, "address in use")

            def shutdown(self) -> bool:
                ended.append(self)
                return True

        self.offers(groups(5, Unable))
        self.assertIn("address in use", self.refused(ComponentFailed, 5))
        self.assertEqual(len(ended), 1)
        self.flushLoggedErrors(OSError)

    def test_late(self) -> None:
        """
        A new engine may take its time to initialize itself, and the old one
        serves meanwhile; but not for ever.
        """
        ready: Deferred[None] = Deferred()
        self.offers(groups(4, partial(Slow, ready)))
        replacing = self.change("replace", "cpg", 4)
        self.assertNoResult(replacing)
        self.send(1, b"meanwhile")
        self.net.run()
        self.same(b"meanwhile")
        ready.callback(None)
        self.turn()
        self.assertEqual(self.successResultOf(replacing).version, 4)
        self.offers(groups(6, partial(_versioned, 6, Deferred())))
        replacing = self.change("replace", "cpg", 6)
        self.turn(PREPARATION_SECONDS)
        text = str(self.failureResultOf(replacing, ComponentFailed).value)
        self.assertIn("not ready within 10 s", text)
        self.assertEqual(self.node.cpg.version, 4)

    def test_early(self) -> None:
        """
        What a new engine sends before it serves is refused, and so is what the
        retired one sends.
        """
        told: list[Any] = []

        class Eager(GroupsEngine):
            version = 5

            def initialize(self, cluster: Any, settings: Any) -> None:
                super().initialize(cluster, settings)
                try:
                    cluster.multicast(3, b"")
                except TryAgain as error:
                    told.append(str(error))

        self.offers(groups(5, Eager))
        old = self.node.cpg
        self.replaced(5)
        self.assertEqual(told, ["engine cpg does not serve yet"])
        error = self.assertRaises(NotSupported, old.cluster.multicast, 3, b"")
        self.assertEqual(str(error), "engine cpg is retired")
        fired: list[int] = []
        old.cluster.callAfter(0, lambda: fired.append(1))
        old.cluster.whenRoom(lambda: fired.append(2))
        old.cluster.shutdownRequested("it is over")
        self.net.run()
        self.turn()
        self.assertEqual(fired, [])
        self.assertNoResult(self.node.manager.shutdown)

    def test_notReplaceable(self) -> None:
        """
        An engine that knows nothing of it is not replaced, nor does it replace.
        (A11)
        """

        class Plain(Engine):
            name = "plain"
            serviceId = 4096

        class Second(Plain):
            version = 2

        self.offers(Maker("plain", Plain), Maker("plain", Second, 2))
        self.successResultOf(self.change("load", "plain", 1))
        failure = self.failureResultOf(self.change("replace", "plain", 2), NotSupported)
        self.assertIn("'plain' version 1 cannot hand over", str(failure.value))

        class Deaf(Engine):
            name = "cpg"
            serviceId = GroupsEngine.serviceId
            version = 5

        self.offers(Maker("cpg", Deaf, 5))
        self.assertIn("cannot take over", self.refused(NotSupported, 5))

    def test_impostor(self) -> None:
        """
        What is not what its maker says is not used.
        """

        class Elsewhere(GroupsEngine):
            version = 6
            serviceId = 4096

        self.offers(
            Maker("cpg", GroupsEngine, 5),
            Maker("cpg", Elsewhere, 6),
            Maker("cpg", object, 7),
        )
        self.assertIn("calls itself 'cpg' version 1", self.refused(ComponentFailed, 5))
        self.assertIn("service id 4096, not 2", self.refused(ComponentFailed, 6))
        self.assertIn("AttributeError", self.refused(ComponentFailed, 7))
        self.flushLoggedErrors(AttributeError)

    def test_lost(self) -> None:
        """
        An old engine that does not even take its own state back is out of
        service.
        """

        class Forgetful(GroupsEngine):
            version = 5

            def takeOver(self, state: Any, version: int) -> None:
                if version == self.version:
                    raise ValueError("what is this?")
                super().takeOver(state, version)

        self.offers(groups(5, Forgetful))
        self.replaced(5)
        self.failureResultOf(self.change("replace", "cpg", 3), ComponentFailed)
        self.assertTrue(self.node.manager.roster.place("cpg").failed)
        self.flushLoggedErrors(RuntimeError, ValueError)

    def test_cannotHandOver(self) -> None:
        """
        An old engine that cannot hand over serves on.
        """

        class Clinging(GroupsEngine):
            version = 5

            def handOver(self) -> Any:
                raise RuntimeError("in the middle of something")

        self.offers(groups(5, Clinging))
        self.replaced(5)
        self.assertIn("in the middle", self.refused(ComponentFailed, 2))
        self.flushLoggedErrors(RuntimeError)

    def test_oneAtATime(self) -> None:
        """
        While one change is on its way there is no other.
        """
        self.offers(groups(4, partial(Slow, Deferred())))
        replacing = self.change("replace", "cpg", 4)
        failure = self.failureResultOf(self.change("replace", "cpg", 2), Busy)
        self.assertEqual(str(failure.value), "the node is replacing cpg")
        self.turn(PREPARATION_SECONDS)
        self.failureResultOf(replacing, ComponentFailed)
        self.replaced(2)

    def test_synchronizing(self) -> None:
        """
        In the middle of a round nothing is replaced; when it is over, at once.
        """
        self.net.form(1, 2, 3)
        replacing = self.change("replace", "cpg", 2)
        self.assertNoResult(replacing)
        self.net.rotate()
        self.assertNoResult(replacing)
        self.net.run()
        self.turn()
        self.successResultOf(replacing)

    def test_neverInStep(self) -> None:
        """
        A cluster that does not get in step keeps nobody waiting for ever.
        """
        self.net.form(1, 2, 3)
        replacing = self.change("replace", "cpg", 2)
        self.turn(QUIET_SECONDS)
        text = str(self.failureResultOf(replacing, ComponentFailed).value)
        self.assertIn("not in step for 30 s", text)
        self.assertEqual(self.node.cpg.version, 1)

    def test_stopping(self) -> None:
        """
        A node that stops replaces nothing, and gives up what it began.
        """
        self.offers(groups(4, partial(Slow, Deferred())))
        replacing = self.change("replace", "cpg", 4)
        stopping = self.node.manager.stop()
        self.net.run()
        self.turn(1)
        self.successResultOf(stopping)
        self.failureResultOf(replacing, BadHandle)
        self.failureResultOf(self.change("replace", "cpg", 2), BadHandle)

    def test_reloaded(self) -> None:
        """
        When the configuration changes meanwhile, the new engine does not have
        it: try again.
        """
        ready: Deferred[None] = Deferred()
        self.offers(groups(4, partial(Slow, ready)))
        replacing = self.change("replace", "cpg", 4)
        self.net.form(1, 2, 3)
        ready.callback(None)
        manager = self.node.manager
        manager.reconfigured(evolve(manager.settings, configVersion=5))
        self.net.run()
        self.turn()
        self.failureResultOf(replacing, TryAgain)

    def test_callerGone(self) -> None:
        """
        Who asked may lose interest; it is done all the same.
        """
        replacing = self.node.manager.changes.replace("cpg", 2)
        replacing.addErrback(lambda _: None)
        replacing.cancel()
        self.turn()
        self.assertEqual(self.node.cpg.version, 2)


class Tally(SynchronizedEngine):
    """
    Counts messages, and writes down how it is synchronized.
    """

    name = "tally"
    serviceId = 4096

    def __init__(self) -> None:
        self.rounds: list[Any] = []
        self.heard: list[bytes] = []
        self.busy = False

    def privateData(self, connection: Any) -> Any:
        return "a tally"

    def synchronizationStarted(self, transitional: Any, *others: Any) -> None:
        self.rounds.append(transitional)

    def synchronizationCompleted(self) -> None:
        self.rounds.append("completed")

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        self.heard.append(body)

    def shutdown(self) -> bool:
        return not self.busy


class Upper(Engine):
    """
    Starts early, but needs the tally.
    """

    name = "upper"
    serviceId = 4097
    priority = 0
    requires = ("tally",)


TALLY = Maker("tally", Tally)
UPPER = Maker("upper", Upper)


class LoadTests(ChangeCase):
    """
    Loading and unloading.
    """

    def test_load(self) -> None:
        """
        A loaded engine takes part from the next round on, for which it asks;
        until then it is sent nothing and cannot know what the others know.
        (A12)
        """
        for node in self.net.nodes.values():
            offer(node, TALLY)
        loading = [
            node.manager.changes.load("tally") for node in self.net.nodes.values()
        ]
        self.turn()
        for one in loading:
            self.assertEqual(self.successResultOf(one).what, News.LOADED)
        tally = self.node.engine("tally")
        self.assertEqual(tally.cluster.members(), (1, 2, 3))
        self.assertEqual(self.node.totem.reforms, 1)
        self.assertTrue(tally.cluster.synchronizing())
        tally.cluster.multicast(0, b"too early")
        self.net.run()
        self.assertEqual(tally.heard, [])
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(tally.rounds, [(1,), "completed"])
        self.assertFalse(tally.cluster.synchronizing())
        tally.cluster.multicast(0, b"in step")
        self.net.run()
        heard = [node.engine("tally").heard for node in self.net.nodes.values()]
        self.assertEqual(heard, [[b"in step"]] * 3)

    def test_locatorFails(self) -> None:
        """
        What goes wrong when one client is told is no matter of the others, nor
        of whoever asked for the change.  (A75)
        """

        class Unlucky(Visitor):
            def engineChanged(self, news: EngineNews) -> None:
                raise RuntimeError("a locator of the new version")

        self.offers(TALLY)
        visitors = [Unlucky(), Visitor()]
        for visitor in visitors:
            self.node.manager.connectionOpened(visitor)
        news = self.successResultOf(self.change("load", "tally"))
        self.assertEqual(visitors[1].news, [news])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_number(self) -> None:
        """
        An engine whose number does not go into messages is not loaded: nobody
        could synchronize with it.
        """

        class Far(Tally):
            serviceId = 1 << 16

        class Below(Tally):
            serviceId = -1

        for wrong in (Far, Below):
            (source,) = self.node.manager.roster.components.sources
            assert isinstance(source, Given)
            source.made = [*SHIPPED, Maker("tally", wrong)]
            failure = self.failureResultOf(self.change("load", "tally"))
            self.assertIn("16 bits", str(failure.value))
        self.flushLoggedErrors(PluginClash)
        self.net.form(1, 2, 3)
        self.net.run()

    def test_loadAlone(self) -> None:
        """
        Nodes without the engine are not disturbed by it.  (A12)
        """
        self.offers(TALLY)
        self.successResultOf(self.change("load", "tally"))
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(self.node.engine("tally").rounds, [(1,), "completed"])
        self.net.form(1, 2)
        self.net.run()
        self.assertEqual(self.node.engine("tally").rounds[2:], [(1, 2), "completed"])

    def test_replacedEarly(self) -> None:
        """
        An engine that waits for its first round goes on waiting when it is
        replaced.
        """

        @implementer(IReplaceable)
        class First(Tally):
            def handOver(self) -> Any:
                return {}

            def takeOver(self, state: Any, version: int) -> None:
                """
                There is nothing yet.
                """

        class Second(First):
            version = 2

        self.offers(Maker("tally", First), Maker("tally", Second, 2))
        self.successResultOf(self.change("load", "tally", 1))
        self.successResultOf(self.change("replace", "tally", 2))
        tally = self.node.engine("tally")
        self.assertTrue(tally.cluster.synchronizing())
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertEqual(tally.rounds, [(1,), "completed"])

    def test_unload(self) -> None:
        """
        An unloaded engine is asked to stop, and gone; the others synchronize
        without it.  (A12)
        """
        self.offers(TALLY)
        visitor = Visitor()
        self.node.manager.connectionOpened(visitor)
        self.successResultOf(self.change("load", "tally"))
        self.assertEqual(visitor.private["tally"], "a tally")
        self.assertEqual(visitor.news[-1].what, News.LOADED)
        onDuty = self.node.manager.onDuty("tally")
        self.assertEqual(onDuty.rounds, [])
        self.node.engine("tally").busy = True
        unloading = self.change("unload", "tally")
        self.assertNoResult(unloading)
        self.node.engine("tally").busy = False
        self.turn(0.02)
        self.assertEqual(self.successResultOf(unloading).what, News.UNLOADED)
        self.assertNotIn("tally", self.node.manager.engines)
        self.assertNotIn("tally", visitor.private)
        error = self.assertRaises(NotSupported, getattr, onDuty, "rounds")
        self.assertIn("'tally' is not loaded", str(error))
        self.net.form(1, 2, 3)
        self.net.run()
        self.send(1, b"as before")
        self.net.run()
        self.same(b"as before")
        self.failureResultOf(self.change("unload", "tally"), NotExist)
        self.successResultOf(self.change("load", "tally"))

    def test_unloadInTheMiddle(self) -> None:
        """
        An engine that is ready to go when it hears of a change of the ring
        goes after all others have heard of it.  (A12, A63)
        """

        class Lingering(Tally):
            def shutdown(self) -> Any:
                self.gone: Deferred[None] = Deferred()
                return self.gone

            def configurationChanged(self, configuration: Any) -> None:
                if hasattr(self, "gone") and not self.gone.called:
                    self.gone.callback(None)

        self.offers(Maker("tally", Lingering), UPPER)
        self.successResultOf(self.change("load", "tally"))
        unloading = self.change("unload", "tally")
        self.assertNoResult(unloading)
        self.net.form(1, 2, 3)
        self.turn()
        self.assertEqual(self.successResultOf(unloading).what, News.UNLOADED)
        self.net.run()
        self.send(1, b"as before")
        self.net.run()
        self.same(b"as before")

    def test_twice(self) -> None:
        """
        What is loaded is not loaded again.
        """
        failure = self.failureResultOf(self.change("load", "cpg", 2), Exists)
        self.assertIn("version 1 is loaded; replace it", str(failure.value))

    def test_unwanted(self) -> None:
        """
        What the configuration has no use for is not loaded.
        """
        self.offers(Maker("tally", Tally, 1, lambda settings: False))
        failure = self.failureResultOf(self.change("load", "tally"), NotSupported)
        self.assertIn("has no use for engine 'tally'", str(failure.value))

    def test_clash(self) -> None:
        """
        Two engines with one number cannot be loaded together.
        """

        class Twin(Engine):
            name = "twin"
            serviceId = GroupsEngine.serviceId

        self.offers(Maker("twin", Twin))
        failure = self.failureResultOf(self.change("load", "twin"), ComponentFailed)
        self.assertIn("both have service id 2", str(failure.value))
        self.flushLoggedErrors(PluginClash)

    def test_dependencies(self) -> None:
        """
        What another engine requires is loaded before it, and not unloaded while
        it is there.  (A73)
        """
        self.offers(TALLY, UPPER)
        failure = self.failureResultOf(self.change("load", "upper"), ComponentFailed)
        self.assertIn("'upper' requires 'tally'", str(failure.value))
        self.flushLoggedErrors(PluginClash)
        self.successResultOf(self.change("load", "tally"))
        self.successResultOf(self.change("load", "upper"))
        failure = self.failureResultOf(self.change("unload", "tally"), Busy)
        self.assertIn("required by upper", str(failure.value))
        self.successResultOf(self.change("unload", "upper"))
        self.successResultOf(self.change("unload", "tally"))


class OrderTests(SynchronousTestCase):
    """
    In which order engines start.
    """

    def booted(self, *makers: Any) -> Node:
        net = OrderedNet(makers)
        (node,) = net.boot(1)
        return node

    def test_requires(self) -> None:
        """
        An engine starts after those that it requires, whatever its priority,
        and stops before them.  (A73)
        """
        calls: list[str] = []

        def noting(engine: type[Engine]) -> Callable[[], Engine]:
            class Noting(engine):  # type: ignore[misc,valid-type]
                def initialize(self, cluster: Any, settings: Any) -> None:
                    calls.append(f"start {self.name}")

                def shutdown(self) -> bool:
                    calls.append(f"stop {self.name}")
                    return True

            return Noting

        node = self.booted(Maker("upper", noting(Upper)), Maker("tally", noting(Tally)))
        self.successResultOf(node.manager.stop())
        self.assertEqual(
            calls, ["start tally", "start upper", "stop upper", "stop tally"]
        )

    def test_missing(self) -> None:
        """
        Without what it requires a node does not start.
        """
        net = OrderedNet([UPPER])
        error = self.assertRaises(AssertionError, net.boot, 1)
        self.assertIn("requires 'tally', which is not loaded", str(error))

    def test_circle(self) -> None:
        """
        Two that require each other cannot start.
        """

        class Circular(Tally):
            requires = ("upper",)

        net = OrderedNet([UPPER, Maker("tally", Circular)])
        error = self.assertRaises(AssertionError, net.boot, 1)
        self.assertIn("upper requires tally requires upper", str(error))

    def test_chosen(self) -> None:
        """
        The configuration may say which engines are loaded, in which versions;
        one that there is not is a problem of the configuration.  (A43)
        """
        net = OrderedNet([*SHIPPED, NEWER, TALLY])
        net.boot(1, components=ComponentSettings(engines=(("cpg", 1), ("tally", None))))
        engines = net.nodes[1].manager.engines
        self.assertEqual(set(engines), {"cpg", "tally"})
        self.assertEqual(engines["cpg"].version, 1)
        wrong = ComponentSettings(engines=(("cpg", 5), ("taly", None)))
        error = self.assertRaises(AssertionError, net.boot, 2, components=wrong)
        self.assertIn("corotwist.engines: no version 5 of engine 'cpg'", str(error))
        self.assertIn("did you mean 'tally'?", str(error))


class FailureTests(ChangeCase):
    """
    An engine that is out of service.
    """

    def fail_(self) -> None:
        """
        Make the process groups of node 1 fail.
        """
        place = self.node.manager.roster.place("cpg")
        for _ in range(FAILURES_TOLERATED):
            place.call(_raise, RuntimeError("again and again"))
        self.flushLoggedErrors(RuntimeError)
        self.assertTrue(place.failed)
        self.turn()

    def test_told(self) -> None:
        """
        Local clients are told, and what they ask of it is answered with an
        error; the node and the other engines go on.  (A75)
        """
        visitor = Visitor()
        self.node.manager.connectionOpened(visitor)
        onDuty = self.node.manager.onDuty("cpg")
        self.fail_()
        (news,) = visitor.news
        self.assertEqual((news.name, news.what), ("cpg", News.FAILED))
        self.assertEqual(news.reason, "it failed 10 times")
        error = self.assertRaises(NotSupported, getattr, onDuty, "groups")
        self.assertIn("'cpg' is out of service", str(error))
        self.net.form(1, 2, 3)
        self.net.run()
        self.assertTrue(self.node.engine("quorum").quorate())

    def test_startedAgain(self) -> None:
        """
        An operator starts it anew, in any version; it begins with a round, in
        which the others learn that its processes are gone.  (A75)
        """
        for version in (1, 2):
            with self.subTest(version=version):
                self.setUp()
                self.fail_()
                news = self.replaced(version)
                self.assertEqual((news.version, news.what), (version, News.RESTARTED))
                self.assertEqual(self.node.totem.reforms, 1)
                self.net.form(1, 2, 3)
                self.net.run()
                left = self.clients[2].views()[-1].left
                self.assertEqual([c.member for c in left], [Member(1, 101)])
                again = Listener(101)
                self.node.cpg.join(again, GROUP)
                self.net.run()
                self.assertEqual(len(again.views()[-1].members), 3)

    def test_policy(self) -> None:
        """
        As often as the configuration says it is started again by itself, later
        each time.  (A75)
        """
        manager = self.node.manager
        settings = evolve(manager.settings, components=ComponentSettings(restarts=2))
        manager.reconfigured(settings)
        for pause in (1, 2):
            self.fail_()
            self.turn(pause / 2)
            self.assertTrue(manager.roster.place("cpg").failed)
            self.turn(pause / 2)
            self.turn()
            self.assertFalse(manager.roster.place("cpg").failed)
            self.net.form(1, 2, 3)
            self.net.run()
        self.fail_()
        self.turn(100)
        self.assertTrue(manager.roster.place("cpg").failed)

    def test_unloadFailed(self) -> None:
        """
        One that failed can be unloaded, and loaded.
        """
        self.fail_()
        self.successResultOf(self.change("unload", "cpg"))
        self.successResultOf(self.change("load", "cpg", 1))


def _versioned(number: int, ready: Any = None) -> GroupsEngine:
    class Versioned(GroupsEngine):
        version = number

        def initialize(self, cluster: Any, settings: Any) -> Any:
            super().initialize(cluster, settings)
            return ready

    return Versioned()


def _next(engine: type) -> Any:
    class Next(engine):  # type: ignore[misc]
        version = 2

    return Next()


def _raise(error: Exception) -> Any:
    raise error


def _busy(failure: Any) -> None:
    failure.trap(Busy)
