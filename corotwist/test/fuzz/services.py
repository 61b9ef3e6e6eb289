"""
Whatever a member of the ring sends as a message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from attrs import define
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from corotwist.engines.interfaces import (
    GroupView,
    IGroupSubscriber,
    Member,
    Position,
    SlowReader,
)
from corotwist.interfaces import IFlowGroup
from corotwist.test.engines.orderednet import Node, OrderedNet, formed
from corotwist.test.fuzz import examples, parts
from corotwist.test.fuzz.target import ROOM_BYTES, Run, Target, Wrong
from corotwist.totem.membership import Guarantee, RingId

# Senders: two members, ourselves, and a node that is in no ring.
SENDERS: Final = (2, 1, 3, 9)
TAG_SENDER, TAG_BIG, TAG_RING, TAG_TOKEN, TAG_CLIENT = 3, 4, 8, 16, 32
# Of one input.
MOST_RINGS: Final = 4


def targets() -> Iterator[Target]:
    """
    One, for all of them.
    """
    yield Target(
        "services",
        "messages of the total order, to all engines of a node",
        _begin,
        _seeds,
        session=True,
        share=0.003,
        # A few bytes may change who may act: that is a view, and its record.
        roomBytes=2 * ROOM_BYTES,
        growing=_growing,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """
    @raise Wrong: when something was logged as a failure meanwhile.
    """
    failures: list[Any] = []

    @implementer(ILogObserver)
    def observer(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)
    if failures:
        raise Wrong(f"logged: {failures[0].getTraceback()}") from failures[0].value


@implementer(IGroupSubscriber)
@define(eq=False)
class _Deaf:
    """
    A local client who does not care.
    """

    pid: int

    def messagesDelivered(
        self,
        group: bytes,
        sender: Member,
        batch: bytes,
        count: int,
        position: Position,
    ) -> None:
        pass

    def viewChanged(self, view: GroupView) -> None:
        pass

    def ringChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        pass

    def attach(self, flow: IFlowGroup, slow: SlowReader | None) -> None:
        pass

    def detach(self, flow: IFlowGroup) -> None:
        pass

    def flowChanged(self, group: bytes, paused: bool) -> None:
        pass


@define(eq=False)
class _World:
    """
    Three nodes, of whom the first is lied to.
    """

    net: OrderedNet
    client: _Deaf

    def received(self, data: bytes) -> None:
        """
        A session of messages; afterwards a ring must be in step again.
        """
        node = self.net.nodes[1]
        rings = MOST_RINGS
        with quiet():
            for tag, message in parts.split(data):
                if tag & TAG_RING and rings:
                    rings -= 1
                    self.net.form(1, 2, 3)
                if tag & TAG_TOKEN:
                    self.net.rotate()
                if tag & TAG_CLIENT:
                    self._send(node)
                order = ">" if tag & TAG_BIG else "<"
                sender = SENDERS[tag & TAG_SENDER]
                node.totem.call(node.manager.messageDelivered, sender, message, order)
            self.net.form(1, 2, 3)
            self.net.run()
        self._check(node)

    def _send(self, node: Node) -> None:
        """
        Our own client says something; it need not be taken.
        """
        sent = node.cpg.send(
            self.client, examples.GROUP, bytes(4) * 3, 3, Guarantee.AGREED
        )
        sent.addErrback(lambda _: None)

    def _check(self, node: Node) -> None:
        dump = node.manager.dump()
        failed = {n: e for n, e in dump["engines"].items() if e["failures"]}
        if failed:
            raise Wrong(f"engines raised: {failed}")
        if node.manager.synchronizing():
            raise Wrong("the services are never in step again")


def _begin() -> Run:
    net = formed(1, 2, 3)
    client = _Deaf(77)
    net.nodes[1].cpg.join(client, examples.GROUP)
    net.nodes[2].cpg.join(_Deaf(77), examples.GROUP)
    net.run()
    return _World(net, client).received


def _seeds() -> list[bytes]:
    """
    What nodes said to each other, and one of each kind.
    """
    net = formed(1, 2, 3)
    ring = net.nodes[1].totem.ring
    assert ring is not None, "it was formed"
    order = [(SENDERS.index(sender), message) for sender, message in ring.order]
    runs = [order[at : at + 12] for at in range(0, len(order), 12)]
    # The same again, while the ring that they name is new.
    runs += [[(tag | TAG_RING * (not n), m) for n, (tag, m) in enumerate(order[:24])]]
    alone = [*examples.executiveMessages(), *examples.compactMessages()]
    for example in alone:
        tag = TAG_BIG if example.name.endswith(">") else 0
        runs.append([(tag | TAG_CLIENT, example.data), (tag | TAG_RING, example.data)])
    return [parts.join(run) for run in runs]


def _growing(size: int) -> list[bytes]:
    return [
        parts.join([(0, example.data)] * (size // (len(example.data) + 3)))
        for example in examples.executiveMessages()
        if example.name.startswith(("cpg.procjoin <", "cpg.joinlist <", "cmap.mcast <"))
    ]
