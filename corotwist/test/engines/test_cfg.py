"""
The cfg service: its messages are corosync's.
"""

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.cfg import OperatorEngine
from corotwist.engines.executive import (
    CFG,
    CryptoPhase,
    CryptoReconfigure,
    Executive,
    KillNode,
    Reload,
    RingReenable,
    Shutdown,
    whole,
)
from corotwist.engines.operatorinterfaces import Insistence
from corotwist.errors import Busy, Exists, UnknownFrame
from corotwist.test.engines.orderednet import SHIPPED, Maker, OrderedNet
from corotwist.test.engines.test_recorded import datagrams, recorded, sent
from corotwist.totem import wire


def ofCfg(name: str, kind: type[Executive]) -> list[Any]:
    """
    What the recorded node 1 said of one kind, on all its rings.
    """
    frames = map(wire.decode, datagrams(name))
    rings = {str(f.ringId) for f in frames if isinstance(f, wire.Regular)}
    said = [message for ring in sorted(rings) for message in recorded(name, ring, 1)]
    return [message for message in said if isinstance(message, kind)]


class MessageTests(SynchronousTestCase):
    """
    Two nodes on an order in memory.
    """

    def setUp(self) -> None:
        self.net = OrderedNet([*SHIPPED, Maker("cfg", OperatorEngine)], count=2)
        self.net.boot(1, 2, foreign=True)
        self.ring = self.net.form(1, 2)
        self.net.run()
        self.engines = [
            self.net.nodes[n].manager.engines["cfg"] for n in self.net.nodes
        ]
        self.reloads = 0
        self.killed: dict[int, str] = {}
        for nodeid, node in self.net.nodes.items():
            node.manager.onKilled = partial(self.killed.__setitem__, nodeid)

    def said(self, nodeid: int) -> list[bytes]:
        """
        What a node's cfg service said, since the beginning.
        """
        self.net.run()
        bodies = [body for _, body in sent(self.ring, nodeid)]
        return [body for body in bodies if body[2:4] == CFG.to_bytes(2, "little")]

    def test_kill(self) -> None:
        """
        A kill is the recorded message, byte for byte; only the victim ends.
        (F3)
        """
        (kill,) = ofCfg("udpu-2node-cfg-votequorum", KillNode)
        asked = self.engines[0].killNode(kill.nodeid, kill.reason.decode())
        self.assertEqual(self.said(1)[-1:], [whole(kill)])
        self.assertIsNone(self.successResultOf(asked))
        self.assertEqual(list(self.killed), [2])
        self.assertIn(kill.reason.decode(), self.killed[2])

    def test_shutdown(self) -> None:
        """
        A shutdown is the recorded message, byte for byte; only its sender
        stops. (F4)
        """
        (shutdown,) = ofCfg("udpu-3node-shutdown", Shutdown)
        asked = self.engines[0].tryShutdown(Insistence.REQUEST, "somebody")
        self.assertEqual(self.successResultOf(asked), ())
        self.assertEqual(self.said(1)[-1:], [whole(shutdown)])
        self.net.clock.advance(0)
        first, second = (node.manager.shutdown for node in self.net.nodes.values())
        end: Any = self.successResultOf(first)
        self.assertEqual(str(end), "somebody asked for it")
        self.assertNoResult(second)

    def test_tolerated(self) -> None:
        """
        What has no meaning here disturbs nobody; what corosync does not say
        is refused. (F3, F8)
        """
        engine = self.engines[0]
        for message in (
            RingReenable(2, 7),
            CryptoReconfigure(CryptoPhase.ACTIVATE),
        ):
            engine.messageDelivered(2, message.FUNCTION, message.encode(), "<")
        engine.messageDelivered(2, Shutdown.FUNCTION, b"", ">")
        self.net.clock.advance(0)
        self.assertEqual(self.killed, {})
        self.assertNoResult(self.net.nodes[1].manager.shutdown)
        self.assertRaises(UnknownFrame, engine.messageDelivered, 2, 5, b"", "<")

    def test_bigEndian(self) -> None:
        """
        Nodes of the other byte order are understood. (F3)
        """
        message = KillNode(1, b"why")
        self.engines[0].messageDelivered(2, message.FUNCTION, message.encode(">"), ">")
        self.assertEqual(self.killed, {1: "killed by node 2: why"})

    def test_reload(self) -> None:
        """
        With corosync nodes on the ring a reload is their message. (F7)
        """
        for engine in self.engines:
            engine.cluster.operations = self
        self.engines[0].reload()
        self.assertEqual(self.said(1), [whole(Reload(1, 1))])
        self.assertEqual(self.reloads, 2)

    def reload(self) -> Deferred[Any]:
        """
        For the nodes: what a reload is.
        """
        self.reloads += 1
        return Deferred()

    def test_replaced(self) -> None:
        """
        Another version of the service goes on asking whoever wants to be
        asked, but not in the middle of a shutdown. (F5, A11)
        """

        class Tracker:
            pid, name = 7, "app"

            def shutdownProposed(self, how: Insistence) -> None:
                told.append(how)

            def shutdownWithdrawn(self) -> None:
                told.append("withdrawn")

        told: list[Any] = []
        old, tracker = self.engines[0], Tracker()
        old.trackShutdown(tracker)
        new = OperatorEngine()
        new.initialize(old.cluster, self.net.nodes[1].manager.settings)
        new.takeOver(old.handOver(), 1)
        new.tryShutdown(Insistence.REQUEST, "somebody").addErrback(lambda _: None)
        self.assertEqual(told, [Insistence.REQUEST])
        self.assertRaises(Busy, new.handOver)
        self.assertRaises(Exists, new.trackShutdown, tracker)
        self.assertEqual(new.dump()["shutdown"]["open"], [7])
        new.shutdown()
        self.assertIsNone(new.dump()["shutdown"])
