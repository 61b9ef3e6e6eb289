"""
Our engines say what the nodes of recorded corosync rings said: the same
messages in the same order, byte for byte where corosync writes every byte.
"""

import gzip
import json
from collections.abc import Iterator
from importlib.resources import files

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.executive import (
    SERVICES_GROUP,
    Executive,
    JoinList,
    Mcast,
    addressed,
    decode,
    whole,
)
from corotwist.test.engines.orderednet import OURS, Listener, OrderedNet, Ring, send
from corotwist.totem import wire
from corotwist.totem.fragments import Assembly

Said = tuple[bytes, bytes]


def datagrams(name: str) -> Iterator[bytes]:
    """
    What was sent on a recorded ring.
    """
    path = files("corotwist.test") / "vectors" / f"{name}.jsonl.gz"
    with path.open("rb") as packed, gzip.open(packed) as lines:
        for line in lines:
            yield bytes.fromhex(json.loads(line)["hex"])


def recorded(name: str, ring: str, nodeid: int) -> list[Executive]:
    """
    The messages of one node on one ring, in order.
    """
    seen: set[int] = set()
    assembly = Assembly()
    said = []
    for data in datagrams(name):
        frame = wire.decode(data)
        if (
            not isinstance(frame, wire.Regular)
            or frame.encapsulated
            or frame.origin != nodeid
            or str(frame.ringId) != ring
            or frame.sequence in seen
        ):
            continue
        seen.add(frame.sequence)
        for message in assembly.frameDelivered(nodeid, frame.payload, "<"):
            groups, body = addressed(message, "<")
            said.append(decode(groups[0], body, "<"))
    return said


def sent(ring: Ring, nodeid: int) -> list[tuple[bytes, bytes]]:
    """
    Group and body of what a node of ours ordered, our own group's left out.
    """
    messages = []
    for sender, message in ring.order:
        if sender == nodeid and not message.startswith(OURS):
            groups, body = addressed(message, "<")
            messages.append((groups[0], body))
    return messages


class RecordedTests(SynchronousTestCase):
    """
    One recording each.
    """

    def check(self, name: str, ring: Ring, nodeid: int, start: int = 0) -> None:
        """
        A node of ours said what the recorded one did.

        @param start: leave out so many messages of ours.
        """
        expected = recorded(name, str(ring.ringId), nodeid)
        self.assertGreater(len(expected), 3, "nothing recorded")
        ours = sent(ring, nodeid)[start:]
        said = [decode(group, body, "<") for group, body in ours]
        self.assertEqual(said, expected)
        self.assertEqual([body for _, body in ours], [whole(m) for m in expected])

    def form(self, net: OrderedNet, sequence: int, *members: int) -> Ring:
        """
        A ring with the recorded number.
        """
        net._sequence = sequence - 4
        ring = net.form(*members)
        net.run()
        return ring

    def test_alone(self) -> None:
        """
        A lone node's first words, and its first round.
        """
        net = OrderedNet(count=1)
        net.boot(1)
        ring = self.form(net, 5, 1)
        self.check("udpu-1node-form", ring, 1)

    def test_second(self) -> None:
        """
        A second node joins the first one.
        """
        net = OrderedNet(count=2)
        net.boot(1)
        self.check("udpu-2node-form", self.form(net, 5, 1), 1)
        net.boot(2)
        net._sequence = 5
        ring = net.form(1, 2)
        # As it happened, node 2 was heard first.
        net.visit(2)
        net.receive(1, 2)
        net.run()
        for nodeid in (1, 2):
            self.check("udpu-2node-form", ring, nodeid)

    def test_killed(self) -> None:
        """
        One of three nodes with a process each is gone.
        """
        name = "udpu-3node-kill-reform"
        net = OrderedNet()
        net.boot(1, 2, 3)
        self.form(net, 9, 1, 2, 3)
        self._join(net, name, "1.11", 1, 3)
        net.kill(2)
        net._sequence = 13
        ring = net.form(1, 3)
        for nodeid in (1, 3):
            self.assertIn(
                JoinList, [type(message) for message in recorded(name, "1.11", nodeid)]
            )
        net.run()
        for nodeid in (1, 3):
            self.check(name, ring, nodeid)

    def _join(self, net: OrderedNet, name: str, ring: str, *nodeids: int) -> None:
        """
        Processes with the recorded numbers.
        """
        for nodeid in nodeids:
            for message in recorded(name, ring, nodeid):
                if isinstance(message, JoinList):
                    for pid, group in message.entries:
                        net.nodes[nodeid].cpg.join(Listener(pid), group)
        net.run()

    def test_partitionAndMerge(self) -> None:
        """
        Two rings form, and one again.
        """
        name = "udpu-3node-partition-merge"
        net = OrderedNet()
        net.boot(1, 2, 3)
        self.form(net, 9, 1, 2, 3)
        self._join(net, name, "1.11", 1, 2, 3)
        first = self.form(net, 13, 1)
        second = self.form(net, 13, 2, 3)
        self.check(name, first, 1)
        for nodeid in (2, 3):
            self.check(name, second, nodeid)
        merged = self.form(net, 17, 1, 2, 3)
        self.check(name, merged, 1)

    def test_processes(self) -> None:
        """
        A process joins, sends ten and five thousand bytes, and leaves; one
        on the other node joins and is killed.
        """
        name = "udpu-2node-cpg"
        said = {nodeid: recorded(name, "1.9", nodeid) for nodeid in (1, 2)}
        net = OrderedNet(count=2)
        net.boot(1)
        net.boot(2, foreign=True)
        ring = self.form(net, 9, 1, 2)
        before = {nodeid: len(sent(ring, nodeid)) for nodeid in (1, 2)}
        self._play(net, 1, said[1])
        self._play(net, 2, said[2])
        for nodeid in (1, 2):
            ours = sent(ring, nodeid)[before[nodeid] :]
            expected = [
                whole(evolve(message, connection=0))
                if isinstance(message, Mcast)
                else whole(message)
                for message in said[nodeid]
            ]
            self.assertEqual([body for _, body in ours], expected)
            self.assertEqual({group for group, _ in ours}, {SERVICES_GROUP})

    def _play(self, net: OrderedNet, nodeid: int, said: list[Executive]) -> None:
        """
        Do what the recorded process did: joined, sent, left or was killed.
        """
        node = net.nodes[nodeid]
        joined = said[0]
        group, client = joined.group, Listener(joined.pid)  # type: ignore[attr-defined]
        node.cpg.join(client, group)
        net.run()
        for message in said[1:-1]:
            assert isinstance(message, Mcast)
            send(node, client, group, message.payload)
        if said[-1].reason == 5:  # type: ignore[attr-defined]
            node.cpg.closed(client)
        else:
            node.cpg.leave(client, group)
        net.run()
