"""
Relays pass on what arrives, and lose what they are told to.
"""

import socket

from twisted.trial.unittest import SynchronousTestCase

from corotwist.tools.relay import Relay

PATIENCE = 5.0


class RelayTests(SynchronousTestCase):
    """
    Two nodes, each with an address at which it finds the other.
    """

    def setUp(self) -> None:
        self.nodes = {1: self.socket(), 2: self.socket()}
        targets = {node: own.getsockname() for node, own in self.nodes.items()}
        self.relay = Relay(targets, lambda: 0.5)
        self.addCleanup(self.relay.close)
        self.seen = {}
        for node, other in ((1, 2), (2, 1)):
            probe = self.socket()
            self.seen[node] = probe.getsockname()
            probe.close()
            self.relay.listen(node, other, self.seen[node])

    def socket(self) -> socket.socket:
        """
        One of a node.
        """
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.settimeout(PATIENCE)
        opened.bind(("127.0.0.1", 0))
        self.addCleanup(opened.close)
        return opened

    def sent(self, node: int, datagram: bytes) -> bool:
        """
        Send something to the other, and say whether it was passed on.
        """
        before = self.relay.passed
        self.nodes[node].sendto(datagram, self.seen[node])
        self.assertTrue(self.relay.turn(PATIENCE))
        return self.relay.passed > before

    def test_bothWays(self) -> None:
        """
        What is sent to where one finds the other comes to the other, from
        where that one finds the sender.
        """
        for node, other in ((1, 2), (2, 1)):
            self.assertTrue(self.sent(node, b"hello"))
            self.assertEqual(
                self.nodes[other].recvfrom(100), (b"hello", self.seen[other])
            )

    def test_cut(self) -> None:
        """
        Cuts are one-way.
        """
        self.relay.cuts = frozenset({(1, 2)})
        self.assertFalse(self.sent(1, b"x"))
        self.assertTrue(self.sent(2, b"x"))

    def test_parts(self) -> None:
        """
        Nobody hears who is in another part.
        """
        self.relay.parts = [frozenset({1}), frozenset({2, 3})]
        self.assertFalse(self.sent(1, b"x"))
        self.assertFalse(self.sent(2, b"x"))
        self.relay.parts = [frozenset({1, 2}), frozenset({3})]
        self.assertTrue(self.sent(1, b"x"))

    def test_loss(self) -> None:
        """
        A share gets lost.
        """
        self.relay.lost = 0.6
        self.assertFalse(self.sent(1, b"x"))
        self.relay.lost = 0.4
        self.assertTrue(self.sent(1, b"x"))

    def test_nobody(self) -> None:
        """
        What is sent to a node that is down is lost, and harms nobody.
        """
        self.nodes[2].close()
        for _ in range(3):
            self.sent(1, b"x")
        self.nodes[1].sendto(b"x", self.seen[1])
        self.assertTrue(self.relay.turn(PATIENCE))

    def test_thread(self) -> None:
        """
        On its own it does the same, until it is closed.
        """
        self.relay.start()
        self.nodes[1].sendto(b"hello", self.seen[1])
        self.assertEqual(self.nodes[2].recv(100), b"hello")
