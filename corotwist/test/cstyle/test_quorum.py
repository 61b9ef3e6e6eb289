"""
Tests of quorum and votes under their C names, against a real socket.

The calls wait, so they are made in a thread.
"""

import select
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread
from zope.interface import implementer

from corotwist.cstyle import quorum, votequorum
from corotwist.cstyle.quorum import (
    QUORUM_SET,
    QuorumCallbacks,
    QuorumModelV1Data,
    QuorumRingId,
)
from corotwist.cstyle.types import (
    CS_DISPATCH_ALL,
    CS_DISPATCH_ONE,
    CS_DISPATCH_ONE_NONBLOCKING,
    CS_TRACK_CHANGES,
    CS_TRACK_CHANGES_ONLY,
    CS_TRACK_CURRENT,
    CsError,
)
from corotwist.cstyle.votequorum import (
    VOTEQUORUM_NODESTATE_MEMBER,
    VotequorumCallbacks,
    VotequorumNode,
    VotequorumRingId,
)
from corotwist.engines.interfaces import (
    IViewSubscriber,
    TransitionalView,
    View,
    ViewId,
)
from corotwist.test.ipc.fakes import NODEID
from corotwist.test.ipc.realnode import RealNodeCase

OK = CsError.CS_OK
SECONDS = 30
EVENT_SECONDS = 10


class Told:
    """
    What callbacks got, by their names.
    """

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def callback(self, name: str) -> Callable[..., object]:
        """
        One that notes what it got.
        """

        def call(handle: Any, *told: Any) -> None:
            self.events.append((name, *told))

        return call

    def take(self) -> list[tuple[Any, ...]]:
        """
        What came since the last time.
        """
        events, self.events = self.events, []
        return events


@implementer(IViewSubscriber)
@define(eq=False)
class Awaiting:
    """
    Waits for a view behind another one.
    """

    before: ViewId
    done: Deferred[None]

    def ringEnded(self, transition: TransitionalView) -> None:
        """
        The view follows.
        """

    def viewInstalled(self, view: View) -> None:
        if view.viewId > self.before and not self.done.called:
            self.done.callback(None)


class NodeCase(RealNodeCase):
    """
    A node that is alone, and expects seven votes.
    """

    timeout = SECONDS

    def ring(self) -> tuple[int, int]:
        """
        The ring of the node: representative and sequence.
        """
        ringId = self.manager.configuration.ringId
        return ringId.representative, ringId.sequence

    def reform(self) -> None:
        """
        Have a new ring formed, and wait for it.
        """
        before = self.manager.views.current

        def formed() -> Deferred[None]:
            done: Deferred[None] = Deferred()
            self.manager.views.follow(Awaiting(before.viewId, done))
            self.manager.totem.reform()
            return done

        blockingCallFromThread(reactor, formed)  # type: ignore[arg-type]


class QuorumTests(NodeCase):
    """
    C{quorum.h}.
    """

    def test_program(self) -> Deferred[None]:
        """
        A program of model 1 is told how it is, then each ring, first its nodes,
        and another verdict on the same ring (C19).
        """
        return self.story(self._program)

    def _program(self) -> None:
        told = Told()
        data = QuorumModelV1Data(told.callback("quorum"), told.callback("nodes"))
        context = object()
        made = quorum.quorum_model_initialize(1, data, context, self.path)
        error, handle, kind = made
        self.assertEqual((error, kind), (OK, QUORUM_SET))
        assert handle is not None, "no handle"
        self.assertEqual(quorum.quorum_context_get(handle), (OK, context))
        self.assertEqual(quorum.quorum_getquorate(handle), (OK, False))
        ring = QuorumRingId(*self.ring())
        now = [
            ("nodes", ring, (NODEID,), (), ()),
            ("quorum", False, ring, (NODEID,)),
        ]
        self.assertEqual(quorum.quorum_trackstart(handle, CS_TRACK_CHANGES), OK)
        _, descriptor = quorum.quorum_fd_get(handle)
        ready, _, _ = select.select([descriptor], [], [], EVENT_SECONDS)
        self.assertEqual(ready, [descriptor])
        self.assertEqual(quorum.quorum_dispatch(handle, CS_DISPATCH_ALL), OK)
        self.assertEqual(told.take(), now)
        self.assertEqual(quorum.quorum_trackstart(handle, CS_TRACK_CURRENT), 14)
        self.assertEqual(quorum.quorum_dispatch(handle, CS_DISPATCH_ALL), OK)
        self.assertEqual(told.take(), now)
        self.reform()
        self.until(handle, told, 2)
        ring = QuorumRingId(*self.ring())
        changed = [
            ("nodes", ring, (NODEID,), (), ()),
            ("quorum", False, ring, (NODEID,)),
        ]
        self.assertEqual(told.take(), changed)
        _, votes = votequorum.votequorum_initialize(None, self.path)
        assert votes is not None, "no handle"
        self.assertEqual(votequorum.votequorum_setexpected(votes, 1), OK)
        self.until(handle, told, 1)
        self.assertEqual(told.take(), [("quorum", True, ring, (NODEID,))])
        self.assertEqual(quorum.quorum_getquorate(handle), (OK, True))
        self.assertEqual(quorum.quorum_trackstop(handle), OK)
        self.assertEqual(quorum.quorum_trackstop(handle), OK)
        self.reform()
        self.assertEqual(quorum.quorum_dispatch(handle, CS_DISPATCH_ALL), OK)
        self.assertEqual(told.take(), [])
        self.assertEqual(quorum.quorum_finalize(handle), OK)
        self.assertEqual(quorum.quorum_getquorate(handle), (9, None))
        self.assertEqual(quorum.quorum_finalize(handle), 9)
        votequorum.votequorum_finalize(votes)

    def until(self, handle: Any, told: Told, count: int) -> None:
        """
        Dispatch until so much was told.
        """
        while len(told.events) < count:
            self.assertEqual(quorum.quorum_dispatch(handle, CS_DISPATCH_ONE), OK)

    def test_oldModel(self) -> Deferred[None]:
        """
        A program of model 0 is told the verdict, the number of the ring, and who
        is there (C19).
        """
        return self.story(self._oldModel)

    def _oldModel(self) -> None:
        told = Told()
        callbacks = QuorumCallbacks(told.callback("quorum"))
        error, handle, kind = quorum.quorum_initialize(callbacks, self.path)
        self.assertEqual((error, kind), (OK, QUORUM_SET))
        assert handle is not None, "no handle"
        only = CS_TRACK_CHANGES_ONLY
        self.assertEqual(quorum.quorum_trackstart(handle, only), OK)
        nothing = quorum.quorum_dispatch(handle, CS_DISPATCH_ONE_NONBLOCKING)
        self.assertEqual(nothing, 6)
        self.reform()
        self.until(handle, told, 1)
        _, sequence = self.ring()
        self.assertEqual(told.take(), [("quorum", False, sequence, (NODEID,))])
        for flags in (0, 8):
            self.assertEqual(quorum.quorum_trackstart(handle, flags), 7)
        quorum.quorum_finalize(handle)
        for model in (1, 2):
            data = quorum.QuorumModelV0Data()
            made = quorum.quorum_model_initialize(model, data, None, self.path)
            self.assertEqual(made, (7, None, None))
        made = quorum.quorum_initialize(None, self.path + "x")
        self.assertEqual(made, (2, None, None))


class VotequorumTests(NodeCase):
    """
    C{votequorum.h}.
    """

    def test_program(self) -> Deferred[None]:
        """
        A program reads and sets votes, and is told of nodes, verdict and
        expected votes, each with its own context (C19, C20).
        """
        return self.story(self._program)

    def _program(self) -> None:
        told = Told()
        callbacks = VotequorumCallbacks(
            told.callback("quorum"), told.callback("expected"), told.callback("nodes")
        )
        error, handle = votequorum.votequorum_initialize(callbacks, self.path)
        self.assertEqual(error, OK)
        assert handle is not None, "no handle"
        self.assertEqual(votequorum.votequorum_context_set(handle, "mine"), OK)
        self.assertEqual(votequorum.votequorum_context_get(handle), (OK, "mine"))
        error, info = votequorum.votequorum_getinfo(handle, 0)
        self.assertEqual(error, OK)
        self.assertEqual(
            (info.node_id, info.node_state, info.node_votes, info.total_votes),
            (NODEID, VOTEQUORUM_NODESTATE_MEMBER, 1, 1),
        )
        self.assertEqual((info.node_expected_votes, info.quorum), (7, 4))
        self.assertFalse(info.flags & votequorum.VOTEQUORUM_INFO_QUORATE)
        self.assertEqual((info.qdevice_votes, info.qdevice_name), (0, ""))
        track = votequorum.votequorum_trackstart
        self.assertEqual(track(handle, 2**40, CS_TRACK_CHANGES), OK)
        self.until(handle, told, 2)
        ring = VotequorumRingId(*self.ring())
        nodes = (VotequorumNode(NODEID, VOTEQUORUM_NODESTATE_MEMBER),)
        self.assertEqual(
            told.take(),
            [("nodes", 2**40, ring, (NODEID,)), ("quorum", 2**40, False, nodes)],
        )
        self.assertEqual(track(handle, 2**40, CS_TRACK_CHANGES_ONLY), 14)
        self.assertEqual(votequorum.votequorum_setexpected(handle, 1), OK)
        self.until(handle, told, 2)
        events = told.take()
        self.assertIn(("expected", 2**40, 1), events)
        self.assertIn(("quorum", 2**40, True, nodes), events)
        self.assertEqual(votequorum.votequorum_setvotes(handle, 0, 2), OK)
        _, info = votequorum.votequorum_getinfo(handle, NODEID)
        self.assertEqual((info.node_votes, info.total_votes), (2, 2))
        self.assertTrue(info.flags & votequorum.VOTEQUORUM_INFO_QUORATE)
        self.assertEqual(votequorum.votequorum_trackstop(handle), OK)
        self.assertEqual(votequorum.votequorum_finalize(handle), OK)
        self.assertEqual(votequorum.votequorum_finalize(handle), 9)

    def until(self, handle: Any, told: Told, count: int) -> None:
        """
        Dispatch until so much was told.
        """
        while len(told.events) < count:
            done = votequorum.votequorum_dispatch(handle, CS_DISPATCH_ONE)
            self.assertEqual(done, OK)

    def test_errors(self) -> Deferred[None]:
        """
        Wrong calls have corosync's numbers (A93).
        """
        return self.story(self._errors)

    def _errors(self) -> None:
        _, handle = votequorum.votequorum_initialize(None, self.path)
        assert handle is not None, "no handle"
        self.assertEqual(votequorum.votequorum_getinfo(handle, 99), (12, None))
        self.assertEqual(votequorum.votequorum_setvotes(handle, 99, 1), 17)
        self.assertEqual(votequorum.votequorum_setexpected(handle, 0), 7)
        self.assertEqual(votequorum.votequorum_trackstop(handle), 12)
        self.assertEqual(votequorum.votequorum_trackstart(handle, 0, 0), 7)
        self.assertEqual(votequorum.votequorum_qdevice_register(handle, "arbiter"), 11)
        self.assertEqual(votequorum.votequorum_qdevice_register(handle, "x" * 255), 13)
        self.assertEqual(
            votequorum.votequorum_qdevice_unregister(handle, "arbiter"), 12
        )
        self.assertEqual(votequorum.votequorum_qdevice_update(handle, "a", "b"), 12)
        self.assertEqual(votequorum.votequorum_qdevice_master_wins(handle, "a", 1), 12)
        ring = VotequorumRingId(*self.ring())
        poll = votequorum.votequorum_qdevice_poll(handle, "a", 1, ring)
        self.assertEqual(poll, 12)
        self.assertEqual(votequorum.votequorum_dispatch(handle, 9), 7)
        self.assertEqual(votequorum.votequorum_finalize(handle), OK)
        self.assertEqual(votequorum.votequorum_getinfo(handle, 0), (9, None))
        self.assertEqual(votequorum.votequorum_fd_get(handle), (9, None))
        nobody = votequorum.votequorum_initialize(None, self.path + "x")
        self.assertEqual(nobody, (2, None))
