"""
Tests of what clients are told of views.
"""

import json
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.interfaces import (
    NO_VIEW,
    Cause,
    NodeChange,
    TransitionalView,
    View,
    ViewId,
    ViewRecord,
)
from corotwist.errors import Disconnected, InvalidParameter, NotExist, ServiceError
from corotwist.ipc.client import NodeClient
from corotwist.ipc.connection import Credentials
from corotwist.ipc.jsonparts import Taken, wholeJson
from corotwist.ipc.remote import connectLocal
from corotwist.ipc.views import (
    LARGEST_VIEW_BYTES,
    Arriving,
    History,
    NodeView,
    NodeViews,
    Unfollow,
    installedBoxes,
    recordJson,
    recordOf,
    transitionBoxes,
)
from corotwist.test.engines.orderednet import formed
from corotwist.totem.membership import RingId

NODEIDS = st.integers(1, (1 << 32) - 1)
RINGS = st.builds(RingId, st.integers(0, (1 << 64) - 1), NODEIDS)
IDS = st.builds(ViewId, RINGS, st.integers(0, 1 << 31))
CHANGES = st.lists(
    st.builds(NodeChange, NODEIDS, st.sampled_from(Cause), st.text(max_size=9)),
    max_size=3,
).map(tuple)
MEMBERS = st.lists(NODEIDS, max_size=3).map(tuple)
TRANSITIONS = st.builds(TransitionalView, IDS, MEMBERS, CHANGES)
VIEWS = st.builds(
    View, IDS, MEMBERS, CHANGES, CHANGES, st.booleans(), st.text(), st.booleans()
)
JSON = st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=3)
RECORDS = st.builds(
    ViewRecord,
    st.integers(0),
    VIEWS,
    VIEWS,
    st.text(),
    JSON,
    st.lists(st.tuples(RINGS, st.text()), max_size=2).map(tuple),
    JSON,
)


class WireTests(SynchronousTestCase):
    """
    Boxes and JSON.
    """

    def arrived(self, boxes: Any) -> list[NodeView | None]:
        arriving = Arriving()
        return [arriving.received(box) for box in boxes]

    @given(TRANSITIONS, VIEWS)
    def test_roundTrip(self, transition: TransitionalView, view: View) -> None:
        """
        Transitions and views come through as they are.
        """
        self.assertEqual(self.arrived(transitionBoxes(transition)), [transition])
        self.assertEqual(self.arrived(installedBoxes(view)), [view])

    @given(RECORDS)
    def test_records(self, record: ViewRecord) -> None:
        """
        Records, too.
        """
        self.assertEqual(recordOf(recordJson(record)), record)

    def test_parts(self) -> None:
        """
        A view that is too long for one box comes in several.
        """
        joined = tuple(NodeChange(n, Cause.STARTED, "x" * 200) for n in range(1, 400))
        view = View(ViewId(RingId(4, 1), 0), (), (), joined, True, "")
        *some, last = self.arrived(installedBoxes(view))
        self.assertEqual(some, [None] * len(some))
        self.assertGreater(len(some), 0)
        self.assertEqual(last, view)

    def test_wrong(self) -> None:
        """
        What is no view is refused, and does not spoil the next one.
        """
        (box,) = installedBoxes(NO_VIEW)
        arriving = Arriving()
        for text in (b"", b"{", b"[]", b"{}", b"[" * 100_000, b'{"id": 1}'):
            self.assertRaises(
                InvalidParameter, arriving.received, {**box, b"json": text}
            )
        endless = {**box, b"json": b" " * (LARGEST_VIEW_BYTES // 4), b"more": b"True"}
        for _ in range(4):
            self.assertIsNone(arriving.received(endless))
        self.assertRaises(InvalidParameter, arriving.received, endless)
        self.assertEqual(arriving.received(box), NO_VIEW)

    def test_longAnswers(self) -> None:
        """
        A long answer is taken once, at its first part; there is nothing behind
        its last.
        """
        taken = Taken()
        values = iter(["x" * 100_000, "never"])
        first = taken.part(None, values.__next__)
        second = taken.part(1, values.__next__)
        self.assertEqual((first["more"], second["more"]), (True, False))
        self.assertEqual(len(first["json"] + second["json"]), 100_002)
        self.assertRaises(NotExist, taken.part, 2, values.__next__)

    def test_noJson(self) -> None:
        """
        A node that answers something else is in error.
        """

        async def ask(command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
            return {"json": b"nonsense", "more": False}

        asked = Deferred.fromCoroutine(wholeJson(ask, History))  # type: ignore[arg-type]
        self.failureResultOf(asked, ServiceError)


class ClientTests(SynchronousTestCase):
    """
    Clients of a node.
    """

    def setUp(self) -> None:
        self.net = formed(1, 2, 3)
        self.node = self.net.nodes[1]
        self.told: list[Any] = []
        self.client = self.connected()

    def connected(self) -> NodeClient:
        who = Credentials(4242, 0, 0)
        connect = partial(connectLocal, self.net.clock, self.node.manager, who)
        client = NodeClient(self.net.clock, connect, lambda failures: 1.0)
        client.views.follow(self.told.append)
        client.startService()
        self.turn()
        return client

    def turn(self) -> None:
        for _ in range(4):
            self.net.clock.advance(0)
            self.net.run()

    def result(self, asked: Deferred[Any]) -> Any:
        self.turn()
        return self.successResultOf(asked)

    @property
    def inForce(self) -> View:
        return self.node.manager.views.current

    def test_follow(self) -> None:
        """
        A client knows the view as soon as it is connected, and is told of each
        change in its order.  (X3)
        """
        self.assertEqual(self.told, [self.inForce])
        self.assertEqual(self.client.views.current, self.inForce)
        self.told.clear()
        self.net.kill(3)
        self.net.form(1, 2)
        self.turn()
        transition, view = self.told
        self.assertEqual(transition.members, (1, 2))
        self.assertEqual(view, self.inForce)
        self.assertEqual(self.client.views.current, view)

    def test_late(self) -> None:
        """
        Who follows later is told of the view that is known; who stops is told
        no more; who fails does not touch the others.
        """
        late: list[Any] = []
        self.client.views.follow(self.fail)
        following = self.client.views.follow(late.append)
        self.assertEqual(late, [self.inForce])
        following.stop()
        self.net.form(1)
        self.turn()
        self.assertEqual(len(late), 1)
        self.assertEqual(len(self.told), 3)
        self.assertEqual(len(self.flushLoggedErrors(self.failureException)), 3)

    def test_now(self) -> None:
        """
        The view can be asked for.
        """
        self.assertEqual(self.result(self.client.views.now()), self.inForce)

    def test_history(self) -> None:
        """
        How views came about, as the node keeps it.
        """
        self.net.form(1)
        self.turn()
        records = self.result(self.client.views.history())
        history = [recordJson(one) for one in self.node.manager.views.history]
        there = json.loads(json.dumps(history))
        self.assertEqual([recordJson(record) for record in records], there)
        self.assertEqual(records[-1].before.members, (1, 2, 3))

    def test_reconnection(self) -> None:
        """
        While there is no node nobody may act; a client that is connected again
        follows again.
        """
        (connection,) = self.node.manager.comings.clients()
        connection.overflowed("too slow")
        self.net.clock.advance(0)
        self.net.clock.advance(0)
        self.assertFalse(self.client.connected)
        self.assertFalse(self.client.views.current.quorate)
        self.assertEqual(self.client.views.current.members, ())
        self.net.form(1, 2)
        self.net.run()
        self.net.clock.advance(1.0)
        self.turn()
        self.assertEqual(self.client.views.current, self.inForce)
        self.assertEqual(self.told[-1], self.inForce)

    def test_unfollow(self) -> None:
        """
        A client may have enough; asking twice is no error.
        """
        self.result(self.client.views.connected())
        self.assertEqual(self.told, [self.inForce])
        self.result(self.client.ask(Unfollow))
        self.result(self.client.ask(Unfollow))
        self.net.form(1)
        self.turn()
        self.assertEqual(len(self.told), 1)

    def test_gone(self) -> None:
        """
        Nobody is told for a client that is gone.
        """
        views = self.node.manager.views
        self.assertEqual(len(views._followings), 1)
        self.client.stopService()
        self.turn()
        self.assertEqual(len(views._followings), 0)

    def test_olderNode(self) -> None:
        """
        A node that tells no views is no error.
        """
        views = NodeViews(lambda command: fail(Disconnected("gone")))
        self.successResultOf(views.connected())
        self.assertFalse(views.current.quorate)
