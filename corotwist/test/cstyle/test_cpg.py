"""
Tests of process groups under their C names, against a real socket.

The calls wait, so they are made in a thread.
"""

import os
import select
from collections.abc import Sequence
from threading import Thread
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from corotwist.cstyle.cpg import (
    CPG_ITERATION_ALL,
    CPG_ITERATION_NAME_ONLY,
    CPG_ITERATION_ONE_GROUP,
    CPG_MEMBERS_MAX,
    CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
    CPG_TYPE_AGREED,
    CPG_TYPE_SAFE,
    CpgAddress,
    CpgCallbacks,
    CpgHandle,
    CpgModelV1Data,
    cpg_context_get,
    cpg_context_set,
    cpg_dispatch,
    cpg_fd_get,
    cpg_finalize,
    cpg_flow_control_state_get,
    cpg_initialize,
    cpg_iteration_finalize,
    cpg_iteration_initialize,
    cpg_iteration_next,
    cpg_join,
    cpg_leave,
    cpg_local_get,
    cpg_max_atomic_msgsize_get,
    cpg_mcast_joined,
    cpg_membership_get,
    cpg_model_initialize,
    cpg_zcb_alloc,
    cpg_zcb_free,
    cpg_zcb_mcast_joined,
)
from corotwist.cstyle.types import (
    CS_DISPATCH_ALL,
    CS_DISPATCH_BLOCKING,
    CS_DISPATCH_ONE,
    CS_DISPATCH_ONE_NONBLOCKING,
    CsError,
)
from corotwist.engines.interfaces import Change, GroupView, Member, Reason
from corotwist.test.ipc.fakes import NODEID
from corotwist.test.ipc.realnode import RealNodeCase

OK = CsError.CS_OK
SECONDS = 30
EVENT_SECONDS = 10


class Program:
    """
    What a C program has for callbacks, and the handle.

    @ivar told: every callback, by its name and what it got.
    """

    def __init__(self, path: str, flags: int = 0) -> None:
        self.told: list[tuple[Any, ...]] = []
        data = CpgModelV1Data(self.deliver, self.confchg, self.ring, flags)
        error, handle = cpg_model_initialize(1, data, self, path)
        assert error == OK, error
        assert handle is not None, "no error, and no handle"
        self.handle = handle

    def deliver(
        self, handle: CpgHandle, group: bytes, nodeid: int, pid: int, message: bytes
    ) -> None:
        assert handle is self.handle
        self.told.append(("deliver", group, nodeid, pid, message))

    def confchg(
        self,
        handle: CpgHandle,
        group: bytes,
        *lists: Sequence[CpgAddress],
    ) -> None:
        self.told.append(
            ("confchg", group, *[[(a.pid, a.reason) for a in one] for one in lists])
        )

    def ring(self, handle: CpgHandle, ringId: Any, members: Sequence[int]) -> None:
        self.told.append(("ring", ringId.nodeid, tuple(members)))

    def until(self, what: str, count: int = 1) -> list[tuple[Any, ...]]:
        """
        Dispatch until so many callbacks of a kind came.
        """
        while sum(told[0] == what for told in self.told) < count:
            error = cpg_dispatch(self.handle, CS_DISPATCH_ONE)
            assert error == OK, error
        return [told for told in self.told if told[0] == what]


class CpgTests(RealNodeCase):
    timeout = SECONDS

    def test_program(self) -> Deferred[None]:
        """
        A program ported line by line joins, sends, gets its messages and
        changes in order from dispatch, and leaves: what it sends may be nothing,
        or more than fits one piece (A91, A92, D7, D8, D9, D10, D11, D15, D18, D19).
        """
        return self.story(self._program)

    def _program(self) -> None:
        program = Program(self.path)
        handle, me = program.handle, (os.getpid(), 1)
        self.assertEqual(cpg_local_get(handle), (OK, NODEID))
        self.assertEqual(cpg_context_get(handle), (OK, program))
        self.assertEqual(cpg_join(handle, b"demo"), OK)
        views = program.until("confchg")
        self.assertEqual(views[0][1:], (b"demo", [(me[0], 0)], [], [me]))
        self.assertEqual(cpg_mcast_joined(handle, CPG_TYPE_AGREED, [b"a", b"b"]), OK)
        self.assertEqual(cpg_mcast_joined(handle, CPG_TYPE_SAFE, [b""]), OK)
        error, buffer = cpg_zcb_alloc(handle, 2 << 20)
        self.assertEqual(error, OK)
        buffer[:5] = b"large"
        self.assertEqual(program.until("deliver", 2)[1][4], b"")
        self.assertEqual(
            cpg_zcb_mcast_joined(handle, CPG_TYPE_AGREED, buffer, len(buffer)), OK
        )
        third = program.until("deliver", 3)[2]
        self.assertEqual(third[1:4], (b"demo", NODEID, me[0]))
        self.assertEqual(third[4], bytes(buffer))
        self.assertEqual(cpg_zcb_free(handle, buffer), OK)
        error, members = cpg_membership_get(handle, b"demo")
        self.assertEqual([(m.nodeid, m.pid) for m in members], [(NODEID, me[0])])
        self.assertEqual(cpg_leave(handle, b"demo"), OK)
        self.assertEqual(program.until("confchg", 2)[1][2:], ([], [(me[0], 2)], []))
        self.assertEqual(cpg_finalize(handle), OK)

    def test_flowControl(self) -> Deferred[None]:
        """
        A program is told that its group is paused, in the order of all else;
        it need not wait then, but tries again (D12, A51).
        """
        return self.story(self._paused)

    def _paused(self) -> None:
        program = Program(self.path)
        handle = program.handle
        self.assertEqual(cpg_join(handle, b"demo"), OK)
        program.until("confchg")
        self.assertEqual(cpg_flow_control_state_get(handle), (OK, 0))
        (client,) = self.server._clients
        for paused in (True, False):
            blockingCallFromThread(
                reactor,  # type: ignore[arg-type]
                client.connection.flowChanged,
                b"demo",
                paused,
            )
            while cpg_flow_control_state_get(handle) != (OK, int(paused)):
                self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ALL), OK)
            expected = 6 if paused else OK
            self.assertEqual(cpg_mcast_joined(handle, 2, [b"x"]), expected)
        self.assertEqual(cpg_finalize(handle), OK)
        self.assertEqual(cpg_flow_control_state_get(handle), (9, None))

    def test_initialize(self) -> Deferred[None]:
        """
        A handle is made with callbacks alone, or with a model, flags and a
        context; model 1 is the only one.  A context is kept as it is.  (D1, D2,
        D5)
        """
        return self.story(self._initialize)

    def _initialize(self) -> None:
        error, handle = cpg_initialize(CpgCallbacks(), self.path)
        self.assertEqual(error, OK)
        assert handle is not None, "no handle"
        self.assertEqual(cpg_context_get(handle), (OK, None))
        context = object()
        self.assertEqual(cpg_context_set(handle, context), OK)
        self.assertEqual(cpg_context_get(handle), (OK, context))
        self.assertEqual(cpg_finalize(handle), OK)
        data = CpgModelV1Data(flags=CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF)
        error, handle = cpg_model_initialize(1, data, context, self.path)
        assert handle is not None, "no handle"
        self.assertEqual(cpg_context_get(handle), (OK, context))
        self.assertEqual(cpg_finalize(handle), OK)
        for model, flags in ((0, 0), (2, 0), (1, 2), (1, 3)):
            data = CpgModelV1Data(flags=flags)
            made = cpg_model_initialize(model, data, context, self.path)
            self.assertEqual(made, (7, None))
        self.assertEqual(cpg_initialize(CpgCallbacks(), self.path + "x"), (2, None))

    def test_sizes(self) -> Deferred[None]:
        """
        The longest message in one piece has 1047552 bytes; that, and a byte
        more, arrives as it was sent, in the pieces of an iovec or a buffer
        (D13, D15, D19).
        """
        return self.story(self._sizes)

    def _sizes(self) -> None:
        program = Program(self.path)
        handle = program.handle
        error, most = cpg_max_atomic_msgsize_get(handle)
        self.assertEqual((error, most), (OK, 1047552))
        self.assertEqual(cpg_join(handle, b"demo"), OK)
        program.until("confchg")
        for number, size in enumerate((most, most + 1), 1):
            iovec = [b"x" * (size - 3), b"", b"end"]
            self.assertEqual(cpg_mcast_joined(handle, CPG_TYPE_AGREED, iovec), OK)
            told = program.until("deliver", number)[-1]
            self.assertEqual(told[4], b"".join(iovec))
        _, buffer = cpg_zcb_alloc(handle, 10)
        for length in (-1, 11):
            sent = cpg_zcb_mcast_joined(handle, CPG_TYPE_AGREED, buffer, length)
            self.assertEqual(sent, 7)
        self.assertEqual(cpg_zcb_free(handle, buffer), OK)
        cpg_finalize(handle)

    def test_dispatch(self) -> Deferred[None]:
        """
        One at a time, waiting or not, all that are pending, or all until the
        handle is finalized; nothing pending is C{CS_ERR_TRY_AGAIN} for one
        without waiting, and no error for all (D6).
        """
        return self.story(self._dispatch)

    def _dispatch(self) -> None:
        program = Program(self.path)
        handle = program.handle
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ONE_NONBLOCKING), 6)
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ALL), OK)
        self.assertEqual(cpg_join(handle, b"demo"), OK)
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ONE), OK)
        self.assertEqual([told[0] for told in program.told], ["confchg"])
        for number in range(4):
            self.assertEqual(cpg_mcast_joined(handle, 2, [b"%d" % number]), OK)
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ONE), OK)
        self.assertEqual(len(program.told), 2)
        self.wait(handle)
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ONE_NONBLOCKING), OK)
        self.assertEqual(len(program.told), 3)
        while len(program.told) < 5:
            self.wait(handle)
            self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ALL), OK)
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ONE_NONBLOCKING), 6)
        for flags in (0, 5):
            self.assertEqual(cpg_dispatch(handle, flags), 7)
        cpg_finalize(handle)
        seen: list[bytes] = []

        def deliver(
            handle: CpgHandle, group: bytes, nodeid: int, pid: int, message: bytes
        ) -> None:
            seen.append(message)
            if len(seen) == 3:
                cpg_finalize(handle)

        def confchg(handle: CpgHandle, *_: object) -> None:
            for number in range(5):
                cpg_mcast_joined(handle, 2, [b"%d" % number])

        _, other = cpg_initialize(CpgCallbacks(deliver, confchg), self.path)
        assert other is not None, "no handle"
        self.assertEqual(cpg_join(other, b"other"), OK)
        self.assertEqual(cpg_dispatch(other, CS_DISPATCH_BLOCKING), OK)
        self.assertEqual(seen, [b"0", b"1", b"2"])
        self.assertEqual(cpg_dispatch(other, CS_DISPATCH_BLOCKING), 9)

    def wait(self, handle: CpgHandle) -> None:
        """
        Until there is something to dispatch.
        """
        _, descriptor = cpg_fd_get(handle)
        ready, _, _ = select.select([descriptor], [], [], EVENT_SECONDS)
        self.assertEqual(ready, [descriptor])

    def test_oneGroup(self) -> Deferred[None]:
        """
        A handle is in one group at a time, as with corosync; after it has left
        it may join another.  Several handles may be in several (D7, D8).
        """
        return self.story(self._oneGroup)

    def _oneGroup(self) -> None:
        first, second = Program(self.path), Program(self.path)
        self.assertEqual(cpg_join(first.handle, b"one"), OK)
        for group in (b"one", b"two"):
            self.assertEqual(cpg_join(first.handle, group), 14)
        self.assertEqual(cpg_join(second.handle, b"two"), OK)
        first.until("confchg")
        self.assertEqual(cpg_leave(first.handle, b"two"), 12)
        self.assertEqual(cpg_leave(first.handle, b"one"), OK)
        self.assertEqual(cpg_leave(first.handle, b"one"), 12)
        first.until("confchg", 2)
        self.assertEqual(cpg_join(first.handle, b"three"), OK)
        self.assertEqual(first.until("confchg", 3)[2][1], b"three")
        for program in (first, second):
            cpg_finalize(program.handle)

    def test_initialRing(self) -> Deferred[None]:
        """
        Who asks for it is told the ring once, directly behind the first change
        of its group; others only when the ring changes, and all of them then.
        [pitfall I18] (D2, D25)
        """
        return self.story(self._initialRing)

    def _initialRing(self) -> None:
        asking = Program(self.path, CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF)
        plain = Program(self.path)
        for program, name in ((asking, b"one"), (plain, b"two")):
            self.assertEqual(cpg_join(program.handle, name), OK)
            program.until("confchg")
        kinds = [told[0] for told in asking.told]
        asking.until("ring")
        self.assertEqual([told[0] for told in asking.told], ["confchg", "ring"])
        self.assertEqual(kinds, ["confchg"])
        self.assertEqual(asking.told[1], ("ring", NODEID, (NODEID,)))
        self.assertEqual([told[0] for told in plain.told], ["confchg"])
        blockingCallFromThread(reactor, self.manager.totem.reform)  # type: ignore[arg-type]
        plain.until("ring")
        asking.until("ring", 2)
        for program, rings in ((asking, 2), (plain, 1)):
            self.assertEqual(cpg_leave(program.handle, program.told[0][1]), OK)
            program.until("confchg", 2)
            self.assertEqual(sum(told[0] == "ring" for told in program.told), rings)
            cpg_finalize(program.handle)

    def test_leftAndJoined(self) -> Deferred[None]:
        """
        Of a view in which some left and others came a program is told twice, as
        by corosync: who left first, with those who stay; then who came.
        """
        return self.story(self._leftAndJoined)

    def _leftAndJoined(self) -> None:
        program = Program(self.path)
        self.assertEqual(cpg_join(program.handle, b"demo"), OK)
        program.until("confchg")
        me = Member(NODEID, os.getpid())
        view = GroupView(
            b"demo",
            (Member(1, 11), Member(2, 22), me),
            (
                Change(Member(2, 22), Reason.NODEDOWN),
                Change(Member(3, 33), Reason.NODEDOWN),
            ),
            (Change(Member(2, 22), Reason.NODEUP),),
        )
        self.show(view)
        told = program.until("confchg", 3)[1:]
        stay = [(11, 0), (me.pid, 0)]
        self.assertEqual(told[0][2:], (stay, [(22, 3), (33, 3)], []))
        everybody = [(11, 0), (22, 0), (me.pid, 0)]
        self.assertEqual(told[1][2:], (everybody, [], [(22, 4)]))
        cpg_finalize(program.handle)

    def show(self, view: GroupView) -> None:
        """
        Show the only client a view of its group.
        """
        (client,) = self.server._clients
        blockingCallFromThread(
            reactor,  # type: ignore[arg-type]
            client.connection.viewChanged,
            view,
        )

    def test_manyMembers(self) -> Deferred[None]:
        """
        Programs in C have arrays of 128 members; so long are the lists here,
        and an iteration goes on.  (D20)
        """
        return self.story(self._manyMembers)

    def _manyMembers(self) -> None:
        self.assertEqual(CPG_MEMBERS_MAX, 128)
        program = Program(self.path)
        self.assertEqual(cpg_join(program.handle, b"demo"), OK)
        program.until("confchg")
        members = tuple(Member(1, pid) for pid in range(1, 200))
        changes = tuple(Change(member, Reason.JOIN) for member in members)
        self.show(GroupView(b"demo", members, (), changes))
        lists = program.until("confchg", 2)[1][2:]
        self.assertEqual([*map(len, lists)], [128, 0, 128])
        self.assertEqual(lists[0][-1], (128, 0))
        engine = self.manager.engines["cpg"]
        self.patch(engine, "members", lambda group: members)
        self.patch(engine, "groups", lambda: (b"demo",))
        error, found = cpg_membership_get(program.handle, b"demo")
        self.assertEqual((error, len(found)), (OK, 128))
        kind = CPG_ITERATION_ALL
        _, where = cpg_iteration_initialize(program.handle, kind)
        for member in members:
            _, description = cpg_iteration_next(where)
            assert description is not None, "there are more"
            self.assertEqual(description.pid, member.pid)
        self.assertEqual(cpg_iteration_next(where)[0], CsError.CS_ERR_NO_SECTIONS)
        cpg_finalize(program.handle)

    def test_errors(self) -> Deferred[None]:
        """
        Wrong calls have corosync's numbers, and the handle goes on, until it is
        finalized (A92, A93, D3, D7, D8, D9, D16).
        """
        return self.story(self._errors)

    def _errors(self) -> None:
        program = Program(self.path)
        handle = program.handle
        self.assertEqual(cpg_mcast_joined(handle, 2, [b"x"]), 12)
        self.assertEqual(cpg_leave(handle, b"demo"), 12)
        self.assertEqual(cpg_join(handle, b"x" * 129), 13)
        self.assertEqual(cpg_join(handle, b"demo"), OK)
        self.assertEqual(cpg_join(handle, b"other"), 14)
        self.assertIn(cpg_mcast_joined(handle, 2, [b"x"]), [6])
        program.until("confchg")
        self.assertEqual(cpg_mcast_joined(handle, 4, [b"x"]), 7)
        self.assertEqual(cpg_mcast_joined(handle, 2, [bytes((16 << 20) + 1)]), 26)
        self.assertEqual(cpg_dispatch(handle, 9), 7)
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ALL), OK)
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ONE_NONBLOCKING), 6)
        self.assertEqual(cpg_mcast_joined(handle, 2, [b"fine"]), OK)
        self.assertEqual(program.until("deliver")[0][4], b"fine")
        self.assertEqual(cpg_leave(handle, b"demo"), OK)
        self.assertEqual(cpg_leave(handle, b"demo"), 12)
        self.assertEqual(cpg_zcb_alloc(handle, -1), (7, None))
        self.assertEqual(cpg_finalize(handle), OK)
        self.assertEqual(cpg_finalize(handle), 9)
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ALL), 9)
        self.assertEqual(cpg_mcast_joined(handle, 2, [b"x"]), 9)
        self.assertEqual(cpg_local_get(handle), (9, None))
        self.assertEqual(cpg_fd_get(handle), (9, None))
        self.assertEqual(cpg_membership_get(handle, b"demo"), (9, None))
        self.assertEqual(cpg_initialize(CpgCallbacks(), self.path + "x"), (2, None))
        data = CpgModelV1Data(flags=2)
        self.assertEqual(cpg_model_initialize(1, data, None, self.path), (7, None))
        self.assertEqual(cpg_model_initialize(2, data, None, self.path), (7, None))

    def test_descriptor(self) -> Deferred[None]:
        """
        The descriptor can be read from as long as there is something to
        dispatch, also what was read from the socket already, and not longer
        (A91, D4).
        """
        return self.story(self._descriptor)

    def _descriptor(self) -> None:
        program = Program(self.path)
        handle = program.handle
        _, descriptor = cpg_fd_get(handle)
        self.assertEqual(cpg_join(handle, b"demo"), OK)
        program.until("confchg")
        for number in range(20):
            self.assertEqual(cpg_mcast_joined(handle, 2, [b"%d" % number]), OK)
        while sum(told[0] == "deliver" for told in program.told) < 20:
            ready, _, _ = select.select([descriptor], [], [], EVENT_SECONDS)
            self.assertEqual(ready, [descriptor])
            self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ONE), OK)
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_ALL), OK)
        self.assertEqual(select.select([descriptor], [], [], 0)[0], [])
        payloads = [told[4] for told in program.told if told[0] == "deliver"]
        self.assertEqual(payloads, [b"%d" % number for number in range(20)])
        cpg_finalize(handle)

    def test_flood(self) -> Deferred[None]:
        """
        Who sends without dispatching is told to try again, and loses nothing
        (A91).
        """
        return self.story(self._flood)

    def _flood(self) -> None:
        program = Program(self.path)
        handle = program.handle
        cpg_join(handle, b"demo")
        program.until("confchg")
        sent = told = 0
        while sent < 100:
            error = cpg_mcast_joined(handle, 2, [b"%d" % sent, bytes(50_000)])
            if error == CsError.CS_ERR_TRY_AGAIN:
                told += 1
                cpg_dispatch(handle, CS_DISPATCH_ONE)
            else:
                self.assertEqual(error, OK)
                sent += 1
        self.assertGreater(told, 0)
        payloads = [m[4].rstrip(b"\0") for m in program.until("deliver", sent)]
        self.assertEqual(payloads, [b"%d" % number for number in range(sent)])
        cpg_finalize(handle)

    def test_finalizeEndsDispatch(self) -> Deferred[None]:
        """
        A dispatch that waits ends when another thread finalizes the handle,
        or a callback does (A92).
        """
        return self.story(self._finalize)

    def _finalize(self) -> None:
        program = Program(self.path)
        ends: list[int] = []
        thread = Thread(
            target=lambda: ends.append(
                cpg_dispatch(program.handle, CS_DISPATCH_BLOCKING)
            )
        )
        thread.start()
        self.assertEqual(cpg_finalize(program.handle), OK)
        thread.join(EVENT_SECONDS)
        self.assertIn(ends, [[OK], [CsError.CS_ERR_BAD_HANDLE]])
        callbacks = CpgCallbacks(None, lambda handle, *_: cpg_finalize(handle))
        _, handle = cpg_initialize(callbacks, self.path)
        assert handle is not None, "no handle"
        cpg_join(handle, b"demo")
        self.assertEqual(cpg_dispatch(handle, CS_DISPATCH_BLOCKING), OK)

    def test_iteration(self) -> Deferred[None]:
        """
        Groups are looked at by name, one, or all; behind the last there is
        C{CS_ERR_NO_SECTIONS} (A92, D14).
        """
        return self.story(self._iteration)

    def _iteration(self) -> None:
        programs = [Program(self.path) for _ in range(2)]
        for program, name in zip(programs, (b"one", b"two"), strict=True):
            self.assertEqual(cpg_join(program.handle, name), OK)
            program.until("confchg")
        handle = programs[0].handle

        def seen(kind: int, group: bytes | None = None) -> list[tuple[bytes, int]]:
            error, where = cpg_iteration_initialize(handle, kind, group)
            self.assertEqual(error, OK)
            found = []
            error, description = cpg_iteration_next(where)
            while description is not None:
                found.append((description.group, description.pid))
                error, description = cpg_iteration_next(where)
            self.assertEqual(error, CsError.CS_ERR_NO_SECTIONS)
            self.assertEqual(cpg_iteration_finalize(where), OK)
            self.assertEqual(cpg_iteration_next(where), (9, None))
            return found

        pid = os.getpid()
        self.assertEqual(seen(CPG_ITERATION_NAME_ONLY), [(b"one", 0), (b"two", 0)])
        self.assertEqual(seen(CPG_ITERATION_ONE_GROUP, b"two"), [(b"two", pid)])
        self.assertEqual(seen(CPG_ITERATION_ALL), [(b"one", pid), (b"two", pid)])
        self.assertEqual(cpg_iteration_initialize(handle, 4), (7, None))
        for program in programs:
            cpg_finalize(program.handle)
