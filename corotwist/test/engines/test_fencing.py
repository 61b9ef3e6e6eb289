"""
Tests of fencing: lost nodes, who has them switched off, and what follows.
"""

import json
from functools import partial
from typing import Any

from attrs import asdict
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config.settings import FencingSettings, QuorumSettings
from corotwist.deviceinterfaces import IFenceAgent
from corotwist.engines.fencing import Case, FencingEngine
from corotwist.engines.interfaces import IRoundAware
from corotwist.engines.quoruminterfaces import IFencing
from corotwist.errors import ConfigurationError, NotExist, TryAgain, WireError
from corotwist.fenceagents import TestAgent
from corotwist.plugin import FenceAgentMaker
from corotwist.test.engines.orderednet import (
    SHIPPED,
    Maker,
    OrderedNet,
    nodeSettings,
)

WINDOW = 10.0


class FencingCase(SynchronousTestCase):
    """
    Five nodes, each with an agent that a test talks to.
    """

    standing = False

    def setUp(self) -> None:
        self.agents: list[TestAgent] = []
        makers = (
            *SHIPPED,
            Maker("fencing", FencingEngine),
            FenceAgentMaker("test", 1, partial(self.made)),
        )
        self.net = OrderedNet(makers, 5)
        votes = QuorumSettings(
            "corosync_votequorum",
            5,
            lastManStanding=self.standing,
            voters=tuple((n, 1) for n in range(1, 6)),
        )
        fencing = FencingSettings("test", timeout=5.0, attempts=3)
        self.net.boot(1, 2, 3, 4, 5, quorum=votes, fencing=fencing)
        self.form(1, 2, 3, 4, 5)

    def made(self, reactor: Any, options: Any) -> TestAgent:
        agent = TestAgent(reactor, options)
        self.agents.append(agent)
        return agent

    def form(self, *members: int) -> None:
        self.net.form(*members)
        self.turn()

    def lose(self, *nodeids: int) -> None:
        """
        They vanish; the others go on.
        """
        self.net.kill(*nodeids)
        self.form(*self.net.nodes)

    def turn(self, seconds: float = 0.0) -> None:
        self.net.clock.advance(seconds)
        for _ in range(10):
            self.net.rotate()
            self.net.clock.advance(0)
        self.net.run()

    def answer(self, text: str) -> None:
        for agent in self.agents:
            agent.answer = text

    def asked(self) -> list[list[int]]:
        return [agent.asked for agent in self.agents]

    def engine(self, nodeid: int) -> Any:
        return self.net.nodes[nodeid].engine("fencing")

    def confirmed(self, nodeid: int) -> list[bool]:
        """
        What all members say of a lost node.
        """
        engines = [self.engine(n) for n in self.net.nodes]
        return [engine.confirmed([nodeid]) for engine in engines]


class FencingTests(FencingCase):
    """
    From the loss to the confirmation.
    """

    def test_interfaces(self) -> None:
        """
        The engine answers for lost nodes, and the agent is one.
        """
        verifyObject(IFencing, self.engine(1))
        verifyObject(IRoundAware, self.engine(1))
        verifyObject(IFenceAgent, self.agents[0])

    def test_lost(self) -> None:
        """
        The lowest member has a lost node switched off, and all members agree
        that it is.  (A108)
        """
        self.lose(5)
        self.assertEqual(self.asked(), [[5], [], [], [], []])
        self.assertEqual(self.confirmed(5), [True] * 4)

    def test_notConfirmed(self) -> None:
        """
        Until the agent is sure, nobody regards the node as gone.  (A108)
        """
        self.answer("silent")
        self.lose(5)
        self.assertEqual(self.confirmed(5), [False] * 4)
        self.assertEqual(self.engine(3).waiting(), (5,))
        self.assertTrue(self.engine(1).confirmed([2, 3]))

    def test_duringARound(self) -> None:
        """
        While the services synchronize nothing is sure.
        """
        self.net.form(1, 2, 3, 4)
        self.assertFalse(self.engine(1).confirmed([5]))

    def test_stoppedInOrder(self) -> None:
        """
        A node that said that it stops is no case: nobody asks about it.
        (A108)
        """
        manager = self.net.nodes[5].manager
        manager.parting.say("tidied up")
        self.turn()
        self.lose(5)
        self.assertEqual(self.asked(), [[]] * 5)
        self.assertEqual(self.confirmed(5), [True] * 4)

    def test_attempts(self) -> None:
        """
        An agent that fails is asked again, at growing intervals and not for
        ever; each time all members hear why.  (A108)
        """
        self.answer("unknown")
        self.lose(5)
        self.assertEqual(len(self.agents[0].asked), 1)
        self.turn(1.0)
        self.assertEqual(len(self.agents[0].asked), 2)
        self.turn(1.0)
        self.assertEqual(len(self.agents[0].asked), 2)
        self.turn(1.0)
        self.turn(600.0)
        self.assertEqual(len(self.agents[0].asked), 3)
        case = self.engine(4).status()["cases"]["5"]
        self.assertEqual(case["text"], "attempt 3 failed: a test does not say so")

    def test_silent(self) -> None:
        """
        An agent that does not answer in time has failed.  (A108)
        """
        self.answer("silent")
        self.lose(5)
        self.turn(5.0)
        case = self.engine(2).status()["cases"]["5"]
        self.assertEqual(case["text"], "attempt 1 failed: no answer within 5 s")

    def test_operator(self) -> None:
        """
        An operator may say it instead, at any member.  (A108)
        """
        self.answer("unknown")
        self.lose(5)
        self.assertRaises(NotExist, self.engine(3).confirm, 2, "it is here")
        self.engine(3).confirm(5, "I pulled the plug")
        self.turn()
        self.assertEqual(self.confirmed(5), [True] * 4)
        self.assertIn("pulled the plug", self.engine(1).status()["cases"]["5"]["text"])
        self.net.form(1, 2, 3, 4)
        self.assertRaises(TryAgain, self.engine(3).confirm, 5, "again")

    def test_minority(self) -> None:
        """
        Who may not act has nobody switched off.  (A108)
        """
        self.net.form(1, 2)
        self.form(3, 4, 5)
        self.assertEqual(self.asked(), [[], [], [1, 2], [], []])
        self.assertEqual(self.engine(1).waiting(), (3, 4, 5))

    def test_back(self) -> None:
        """
        A node that is back is no case any more.
        """
        self.answer("unknown")
        self.form(1, 2, 3, 4)
        self.form(1, 2, 3, 4, 5)
        self.assertEqual(self.engine(1).waiting(), ())
        count = len(self.agents[0].asked)
        self.turn(600.0)
        self.assertEqual(len(self.agents[0].asked), count)

    def test_electedIsLost(self) -> None:
        """
        When the member that asks is lost the next one goes on; who comes knows
        what is open.  (A108)
        """
        self.answer("silent")
        self.net.form(1, 2, 3, 4)
        self.form(5)
        self.turn()
        self.net.kill(1)
        self.net.form(2, 3, 4)
        self.turn()
        self.assertEqual(self.agents[1].asked, [1, 5])
        self.answer("off")
        self.turn(5.0)
        self.turn(5.0)
        self.assertEqual(self.confirmed(1), [True] * 3 + [False])

    def test_followers(self) -> None:
        """
        Who waits for it hears of it.
        """
        heard: list[bool] = []
        engine = self.engine(2)
        stop = engine.follow(lambda: heard.append(engine.confirmed([5])))
        self.lose(5)
        self.assertEqual(heard, [False, True])
        stop()
        self.form(1, 2, 3, 4)
        self.assertEqual(len(heard), 2)

    def test_wrongAgent(self) -> None:
        """
        An agent that nobody has stops the node from starting.
        """
        settings = nodeSettings(fencing=FencingSettings("tset"))
        error = self.assertRaises(
            ConfigurationError,
            FencingEngine().initialize,
            self.engine(1).cluster,
            settings,
        )
        self.assertIn("did you mean 'test'?", str(error))

    def test_withoutAgent(self) -> None:
        """
        Where nobody has an agent lost nodes count as gone.
        """
        net = OrderedNet((*SHIPPED, Maker("fencing", FencingEngine)), 2)
        net.boot(1, 2, quorum=QuorumSettings())
        net.form(1, 2)
        net.run()
        net.kill(2)
        net.form(1)
        net.run()
        self.assertTrue(net.nodes[1].engine("fencing").confirmed([2]))

    @given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
    def test_anything(self, said: Any) -> None:
        """
        Whatever a node says is refused as its fault, if it is no case.
        """
        engine = FencingEngine()
        engine.cluster = self.engine(1).cluster
        for body in (json.dumps(said).encode(), b"[" * 4000, b"\xff"):
            self.assertRaises(WireError, engine.messageDelivered, 1, 1, body, "<")

    @given(st.integers(1, 9), st.tuples(st.integers(), st.integers()), st.booleans())
    def test_case(self, nodeid: int, ring: Any, off: bool) -> None:
        """
        What was said is understood.
        """
        case = Case(nodeid, ring, off)
        said = json.loads(json.dumps(asdict(case)))
        self.assertEqual(Case.of(said), case)


class LastManTests(FencingCase):
    """
    With last_man_standing votes count as gone when their node is off.
    """

    standing = True

    def expected(self) -> list[int]:
        engines = [self.net.nodes[n].engine("quorum") for n in self.net.nodes]
        return [engine.explanation()["expected"] for engine in engines]

    def test_waits(self) -> None:
        """
        Nobody expects fewer votes before the lost node is off.  (A108)
        """
        self.answer("unknown")
        self.lose(5)
        self.turn(WINDOW)
        self.turn(WINDOW)
        self.assertEqual(self.expected(), [5] * 4)
        self.engine(2).confirm(5, "it is off")
        self.turn()
        self.turn(WINDOW)
        self.turn()
        self.assertEqual(self.expected(), [4] * 4)

    def test_explained(self) -> None:
        """
        The verdict names the nodes that are not sure to be off.  (A108)
        """
        self.answer("unknown")
        self.lose(5)
        quorum = self.net.nodes[3].engine("quorum")
        self.assertEqual(quorum.explanation()["notConfirmedOff"], "5")
        self.engine(2).confirm(5, "it is off")
        self.turn()
        self.assertNotIn("notConfirmedOff", quorum.explanation())
