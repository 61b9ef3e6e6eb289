"""
Stories about nodes that operators end, and ask about.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from corotwist.config.values import u32
from corotwist.engines.operatorinterfaces import Insistence, Objection
from corotwist.engines.shutdown import (
    DELIVERY_NS,
    MOST_TRACKERS,
    TIMEOUT_KEY,
    TIMEOUT_MS,
)
from corotwist.engines.tosend import MOST_WAITING
from corotwist.errors import (
    AccessDenied,
    Busy,
    Exists,
    InvalidParameter,
    NoSpace,
    NotExist,
    TryAgain,
    Vetoed,
)
from corotwist.ipc.client import NodeClient
from corotwist.simulator import Cluster
from corotwist.test.scenarios.story import A, B, C
from corotwist.test.scenarios.whole import WholeStory

TIMEOUT = TIMEOUT_MS / 1000
# Messages that take much longer to be ordered than an operator to stop a node.
LOAD = 3000


class OperatorStory(WholeStory):
    """
    Three whole nodes, and those who want something of them.
    """

    def setUp(self) -> None:
        self.trio: Cluster = self.whole()
        self.first = self.trio.services(A).node
        self.asked: list[Insistence] = []

    def operator(self, nodeid: int = A) -> Any:
        return self.trio.connect(nodeid).cfg

    def refused(self, asked: Deferred[Any], kind: type[Exception]) -> str:
        """
        The sentence with which something was refused.
        """
        return str(self.assertRaises(kind, self.trio.wait, asked))

    def tracker(self, *answers: Any, nodeid: int = A, name: str = "app") -> NodeClient:
        """
        A client that wants to be asked, and has these answers, one after the
        other.
        """
        client = self.trio.connect(nodeid)
        left = list(answers)

        def asked(how: Insistence) -> Any:
            self.asked.append(how)
            return left.pop(0)

        self.trio.wait(client.cfg.trackShutdown(asked, name))
        return client

    def gone(self, nodeid: int = A) -> None:
        """
        A node stops, and the others know.
        """
        others = [n for n in self.trio.nodes if n != nodeid]
        self.assertTrue(self.trio.runUntil(lambda: self.down(nodeid), 5.0))
        self.trio.settle(among=others)

    def down(self, nodeid: int) -> bool:
        return self.trio.nodes[nodeid].down


class KillStories(OperatorStory):
    """
    Nodes that have to end at once.
    """

    def test_another(self) -> None:
        """
        A node is killed from another one: it ends without a farewell, and
        everybody else knows who wanted that, and why. (F3)
        """
        victim = self.trio.services(C).node
        self.trio.wait(self.operator().killNode(C, "it lies"))
        self.assertTrue(self.trio.runUntil(lambda: self.down(C), 0.1))
        end: Any = self.successResultOf(victim.ended)
        self.assertEqual(str(end), "killed by node 1: it lies")
        self.assertEqual(end.status, 255)
        self.trio.settle(among=[A, B])
        for nodeid in (A, B):
            (left,) = self.trio.services(nodeid).manager.views.current.left
            self.assertEqual(left.nodeid, C)
            self.assertEqual(left.cause, "killed")
            self.assertEqual(left.reason, "killed by node 1: it lies")

    def test_ourselves(self) -> None:
        """
        A node can have itself killed. (F3)
        """
        self.operator(B).killNode(B).addErrback(lambda _: None)
        self.gone(B)

    def test_unknown(self) -> None:
        """
        Only members can be killed, for a reason that fits; nothing is sent
        otherwise. (F3)
        """
        operator = self.operator()
        self.refused(operator.killNode(77), NotExist)
        self.refused(operator.killNode(C, "x" * 256), InvalidParameter)
        self.refused(operator.killNode(C, "a\0b"), InvalidParameter)
        self.trio.run(2.0)
        self.assertEqual(self.trio.live, [A, B, C])

    def test_waits(self) -> None:
        """
        While the cluster synchronizes, requests wait their turn; there is a
        bound to how many.
        """
        engine = self.trio.engine(A, "cfg")
        self.trio.kill(B)
        self.trio.runUntil(engine.cluster.synchronizing, 5.0)
        asked = [engine.killNode(A, "") for _ in range(MOST_WAITING)]
        for one in asked:
            one.addErrback(lambda _: None)
        self.failureResultOf(engine.killNode(A, ""), TryAgain)
        self.assertRaises(Busy, engine.handOver)
        self.assertTrue(self.trio.runUntil(lambda: self.down(A), 5.0))


class ShutdownStories(OperatorStory):
    """
    Nodes that stop when nobody objects, or all the same.
    """

    def shutdown(self, how: Insistence = Insistence.REQUEST) -> Any:
        return self.operator().tryShutdown(how)

    def end(self) -> tuple[str, int, str]:
        """
        How node A ended.
        """
        ended: Any = self.successResultOf(self.first.ended)
        return ended.how, ended.status, ended.reason

    def test_nobodyAsked(self) -> None:
        """
        Without anybody who wants to be asked a node stops at once, in order,
        and nobody takes that for a failure. (F4, H19)
        """
        self.assertEqual(self.trio.wait(self.shutdown(), 0.5), ())
        self.gone()
        how, status, reason = self.end()
        self.assertEqual((how, status), ("stopped", 0))
        self.assertRegex(reason, "^process [0-9]+ of user 0 asked for it$")

    def test_agreed(self) -> None:
        """
        Who wants to be asked is, and when all agree the node stops. (F4, F5)
        """
        later: Deferred[bool] = Deferred()
        self.tracker(True)
        self.tracker(later)
        asked = self.shutdown()
        self.trio.run(1.0)
        self.assertEqual(self.asked, [Insistence.REQUEST] * 2)
        self.assertNoResult(asked)
        later.callback(True)
        self.assertEqual(self.trio.wait(asked), ())
        self.gone()

    def test_objection(self) -> None:
        """
        One objection is enough; who asked hears whose it is, and the node goes
        on. (F4, F5)
        """
        self.tracker(True, True)
        objecting = self.tracker(False, True, name="resources")
        told = self.refused(self.shutdown(), Vetoed)
        self.assertEqual(told, f"process {objecting.pid} (resources) says no")
        self.assertEqual(Vetoed.code, Busy.code)
        self.trio.run(1.0)
        self.assertEqual(self.trio.live, [A, B, C])
        self.trio.wait(self.shutdown())
        self.gone()

    def test_failingTracker(self) -> None:
        """
        A program that fails when it is asked objects.
        """
        self.tracker()
        self.refused(self.shutdown(), Vetoed)
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)

    def test_silence(self) -> None:
        """
        Who does not answer within five seconds objects, and is told that the
        question is over; C{cfg.shutdown_timeout} says otherwise. (F4)
        """
        silent = self.tracker(Deferred(), Deferred())
        asked = self.shutdown()
        self.trio.run(TIMEOUT - 0.1)
        self.assertNoResult(asked)
        told = self.refused(asked, Vetoed)
        self.assertEqual(told, f"process {silent.pid} (app) did not answer")
        keys = self.trio.connect(A).cmap
        self.trio.wait(keys.set(TIMEOUT_KEY, u32(1000)))
        asked = self.shutdown()
        self.trio.run(0.9)
        self.assertNoResult(asked)
        self.refused(asked, Vetoed)

    def test_lateAnswer(self) -> None:
        """
        An answer to a question that is over is refused.
        """
        late: Deferred[bool] = Deferred()
        client = self.tracker(late)
        self.refused(self.shutdown(), Vetoed)
        late.callback(True)
        self.trio.run(0.1)
        self.assertEqual(self.trio.live, [A, B, C])
        engine = self.trio.engine(A, "cfg")
        (tracker,) = engine._shutdown.trackers
        self.assertEqual(tracker.pid, client.pid)
        self.assertRaises(AccessDenied, engine.replyToShutdown, tracker, yes=True)

    def test_regardless(self) -> None:
        """
        Regardless of objections the node stops, and they are told. (F4)
        """
        pid = self.tracker(False).pid
        objections = self.trio.wait(self.shutdown(Insistence.REGARDLESS))
        self.assertEqual(objections, (Objection(pid, "app", "says no"),))
        self.assertEqual(self.asked, [Insistence.REGARDLESS])
        self.gone()
        self.assertIn("although process", self.end()[2])

    def test_immediate(self) -> None:
        """
        At once means that nobody is asked, whoever is being asked already.
        (F4)
        """
        self.tracker(Deferred())
        before = self.shutdown()
        self.trio.run(1.0)
        self.trio.wait(self.shutdown(Insistence.IMMEDIATE), 0.5)
        self.failureResultOf(before, Exists)
        self.assertEqual(self.asked, [Insistence.REQUEST])
        self.gone()

    def test_second(self) -> None:
        """
        While answers are missing nobody else asks; when it is certain, the
        answer is the same for everybody. (F4)
        """
        answer: Deferred[bool] = Deferred()
        self.tracker(answer)
        first = self.shutdown()
        self.trio.run(0.1)
        self.refused(self.shutdown(), Exists)
        engine = self.trio.engine(A, "cfg")
        self.assertRaises(Busy, engine.handOver)
        answer.callback(True)
        self.trio.wait(first)
        self.assertEqual(self.successResultOf(engine.tryShutdown(0, "another")), ())
        self.gone()

    def test_trackerGone(self) -> None:
        """
        Who is gone, or does not mind any more, does not object. (F5)
        """
        leaving, minding = self.tracker(Deferred()), self.tracker(Deferred())
        asked = self.shutdown()
        self.trio.run(0.1)
        self.trio.wait(minding.cfg.untrackShutdown())
        self.assertNoResult(asked)
        leaving.stopService()
        self.trio.wait(asked, 1.0)
        self.gone()

    def test_twice(self) -> None:
        """
        One connection is asked once; who is not asked has nothing to take back.
        (F5)
        """
        client = self.tracker(True)
        self.refused(client.cfg.trackShutdown(lambda how: True), Exists)
        self.trio.wait(client.cfg.untrackShutdown())
        self.refused(client.cfg.untrackShutdown(), NotExist)

    def test_bounded(self) -> None:
        """
        There is a bound to how many are asked.
        """
        engine = self.trio.engine(A, "cfg")
        trackers = [object() for _ in range(MOST_TRACKERS)]
        for tracker in trackers:
            engine.trackShutdown(tracker)
        self.assertRaises(NoSpace, engine.trackShutdown, object())
        self.assertRaises(Exists, engine.trackShutdown, trackers[0])
        engine.untrackShutdown(trackers[0])
        self.assertRaises(NotExist, engine.untrackShutdown, trackers[0])

    def test_again(self) -> None:
        """
        A client that loses its node is asked by the next one, too. (F5)
        """
        self.tracker(False)
        self.trio.kill(A)
        self.trio.run(0.1)
        self.trio.boot(A)
        self.trio.settle(stay=False)
        self.trio.run(2.0)
        self.refused(self.shutdown(), Vetoed)

    def test_ways(self) -> None:
        """
        There are three ways to ask.
        """
        self.refused(self.shutdown(3), InvalidParameter)  # type: ignore[arg-type]

    def test_held(self) -> None:
        """
        What holds a shutdown holds this one, too; one at once it does not
        hold. (F4, H19)
        """
        engine = self.trio.engine(A, "cfg")
        engine.cluster.holdShutdown("a job")
        self.trio.wait(self.shutdown())
        self.trio.run(2.0)
        self.assertTrue(self.first.ended.called)
        self.assertFalse(self.down(A))
        engine.tryShutdown(Insistence.IMMEDIATE, "somebody")
        self.gone()

    def test_alone(self) -> None:
        """
        A node that does not hear what it says stops all the same.
        """
        engine = self.trio.engine(A, "cfg")
        engine._shutdown.shutdownDelivered = lambda nodeid: None
        self.trio.wait(self.shutdown())
        self.trio.run(DELIVERY_NS / 1e9 - 0.1)
        self.assertFalse(self.first.ended.called)
        self.gone()


class LoadStories(OperatorStory):
    """
    Nodes that stop while applications send as fast as they can.
    """

    def test_nothingLost(self) -> None:
        """
        What a node accepted before it stopped, everybody delivers; what it
        did not is told to whoever sent it. (H19)
        """
        self.load(self.agree)

    def test_nothingLostBySignal(self) -> None:
        """
        Likewise when the process is told to stop. (H19)
        """
        self.load(lambda: self.trio.stop(A))

    def agree(self) -> None:
        asked = self.trio.engine(A, "cfg").tryShutdown(Insistence.REQUEST, "a test")
        self.assertEqual(self.successResultOf(asked), ())

    def load(self, end: Callable[[], None]) -> None:
        """
        Node A ends while a client of it sends.
        """
        heard: set[int] = set()
        listener = self.trio.connect(C).groups
        self.trio.wait(listener.join(b"load", lambda _, data: heard.add(_number(data))))
        sender = self.trio.wait(self.trio.connect(A).groups.join(b"load"))
        accepted: set[int] = set()
        refused: set[int] = set()
        for number in range(LOAD):
            sent = sender.send(number.to_bytes(4, "big") + b"." * 1000)
            sent.addCallbacks(
                partial(_noted, accepted, number), partial(_noted, refused, number)
            )
        self.trio.run(0.005)
        end()
        self.gone()
        self.trio.run(1.0)
        self.assertEqual(accepted | refused, {*range(LOAD)})
        self.assertTrue(accepted and refused, "it stopped in the middle")
        self.assertEqual(accepted - heard, set())


def _noted(where: set[int], number: int, result: object) -> None:
    where.add(number)


def _number(payload: bytes) -> int:
    return int.from_bytes(payload[:4], "big")


class StatusStories(OperatorStory):
    """
    What a node knows of the others.
    """

    def test_nodes(self) -> None:
        """
        A member is reachable; one that is gone is not. (F2)
        """
        operator = self.operator()
        here = self.trio.wait(operator.nodeStatus(C))
        self.assertTrue(here.reachable)
        (link,) = here.links
        self.assertTrue(link.enabled and link.connected)
        self.assertFalse(link.dynconnected or here.remote or here.external)
        self.trio.kill(C)
        self.trio.settle(among=[A, B])
        gone = self.trio.wait(operator.nodeStatus(C))
        self.assertFalse(gone.reachable or gone.links[0].connected)
        self.assertTrue(gone.links[0].enabled)
        self.refused(operator.nodeStatus(77), NotExist)

    def test_addresses(self) -> None:
        """
        Addresses of nodes, and which node this is. (F6)
        """
        operator = self.operator(B)
        self.assertEqual(self.trio.wait(operator.localGet()), B)
        ours = self.trio.wait(operator.nodeAddresses())
        self.assertEqual(ours, self.trio.wait(operator.nodeAddresses(B)))
        theirs = self.trio.wait(operator.nodeAddresses(C))
        link = self.trio.wait(operator.nodeStatus(C)).links[0]
        self.assertEqual((link.source, link.destination), (ours[0], theirs[0]))
        (status,) = self.trio.wait(operator.ringStatus())
        self.assertEqual((status.name, status.status), (f"0 {ours[0]}", "OK"))
        self.refused(operator.nodeAddresses(77), NotExist)
