"""
Tests of the cfg service under its C names, against a real socket.
"""

import re
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.cstyle import cfg
from corotwist.cstyle.cfg import CfgCallbacks, CfgHandle
from corotwist.cstyle.types import (
    CS_DISPATCH_ONE,
    CS_DISPATCH_ONE_NONBLOCKING,
    CsError,
)
from corotwist.test.ipc.fakes import NODEID
from corotwist.test.ipc.realnode import RealNodeCase
from corotwist.totem.membership import LinkStatus, NodeStatus

OK = CsError.CS_OK
HEADER = Path("/usr/include/corosync/cfg.h")


class FakeOperations:
    """
    A node with a configuration to read.
    """

    def __init__(self) -> None:
        self.status = "applied"
        self.asked: list[str] = []

    def reopenLogs(self) -> None:
        self.asked.append("reopen")

    def propose(self, *, force: bool) -> Deferred[Any]:
        self.asked.append("reload")
        return succeed(self)

    @property
    def report(self) -> dict[str, Any]:
        refused = self.status == "refused"
        base = {"restart": False, "problems": [], "keys": [], "more": 0}
        return {**base, "refused": refused}

    def apply(self, proposal: Any) -> None:
        self.asked.append("apply")

    def abandon(self, proposal: Any, reason: str) -> None:
        self.asked.append("abandon")


class HeaderTests(SynchronousTestCase):
    def test_calls(self) -> None:
        """
        Every call and constant of the header is there, with its number.
        (A92, F1)
        """
        if not HEADER.exists():
            raise SkipTest("no header of corosync on this machine")
        text = HEADER.read_text()
        calls = re.findall(r"\b(corosync_cfg_[a-z_]+) ?\(\n", text)
        self.assertGreater(len(calls), 14)
        for name in calls:
            self.assertTrue(callable(getattr(cfg, name)), name)
        numbers = re.findall(r"\b((?:COROSYNC_)?CFG_[A-Z0-9_]+) (?:= )?(\d+)", text)
        self.assertEqual(len(numbers), 8)
        for name, number in numbers:
            self.assertEqual(getattr(cfg, name), int(number), name)


class CfgTests(RealNodeCase):
    timeout = 30

    def handle(self, asked: Any = None) -> CfgHandle:
        callbacks = CfgCallbacks(asked)
        error, handle = cfg.corosync_cfg_initialize(callbacks, self.path)
        self.assertEqual(error, OK)
        assert handle is not None, "no error, and no handle"
        return handle

    def test_look(self) -> Deferred[None]:
        """
        Nodes, links and addresses. (A92, F1, F2, F6)
        """
        return self.story(self._look)

    def _look(self) -> None:
        handle = self.handle()
        self.assertEqual(cfg.corosync_cfg_local_get(handle), (OK, NODEID))
        addresses = (f"127.0.0.{NODEID}",)
        told = cfg.corosync_cfg_get_node_addrs(handle, 0, 8)
        self.assertEqual(told, (OK, 1, addresses))
        self.assertEqual(cfg.corosync_cfg_get_node_addrs(handle, 0, 0), (OK, 1, ()))
        names = (f"0 127.0.0.{NODEID}",)
        told_ = cfg.corosync_cfg_ring_status_get(handle)
        self.assertEqual(told_, (OK, names, ("OK",), 1))
        link = LinkStatus(0, True, True, 1500, "127.0.0.1", addresses[0], None)
        totem: Any = self.manager.totem
        totem.statuses[NODEID] = NodeStatus(NODEID, True, (link,), None)
        error, status = cfg.corosync_cfg_node_status_get(handle, NODEID)
        self.assertEqual((error, status.nodeid), (OK, NODEID))
        self.assertTrue(status.reachable)
        (shown,) = status.link_status
        self.assertEqual((shown.dst_ipaddr, shown.mtu), (addresses[0], 1500))
        unknown = cfg.corosync_cfg_node_status_get(handle, 4711)
        self.assertEqual(unknown, (CsError.CS_ERR_FAILED_OPERATION, None))
        other = cfg.corosync_cfg_node_status_get(handle, NODEID, 2)
        self.assertEqual(other, (CsError.CS_ERR_NOT_SUPPORTED, None))
        absent = cfg.corosync_cfg_get_node_addrs(handle, 4711, 8)
        self.assertEqual(absent, (CsError.CS_ERR_NOT_EXIST, None, None))
        self.assertEqual(cfg.corosync_cfg_finalize(handle), OK)
        closed = (CsError.CS_ERR_BAD_HANDLE, None)
        self.assertEqual(cfg.corosync_cfg_local_get(handle), closed)

    def test_configuration(self) -> Deferred[None]:
        """
        The configuration is read again, logs are opened anew. (A92, F7)
        """
        return self.story(self._configuration)

    def _configuration(self) -> None:
        operations = FakeOperations()
        self.manager.engines["cfg"].cluster.operations = operations
        handle = self.handle()
        self.assertEqual(cfg.corosync_cfg_reload_config(handle), OK)
        operations.status = "refused"
        refused = cfg.corosync_cfg_reload_config(handle)
        self.assertEqual(refused, CsError.CS_ERR_INVALID_PARAM)
        self.assertEqual(cfg.corosync_cfg_reopen_log_files(handle), OK)
        reloads = ["reload", "apply", "reload", "abandon"]
        self.assertEqual(operations.asked, [*reloads, "reopen"])
        cfg.corosync_cfg_finalize(handle)

    def test_shutdown(self) -> Deferred[None]:
        """
        Who tracks shutdowns is asked by a dispatch call, and its answer counts.
        (A92, F1, F4, F5)
        """
        return self.story(self._shutdown)

    def _shutdown(self) -> None:
        answers = [cfg.COROSYNC_CFG_SHUTDOWN_FLAG_NO]
        flags: list[int] = []

        def asked(handle: CfgHandle, how: int) -> None:
            flags.append(how)
            told = cfg.corosync_cfg_replyto_shutdown(handle, answers[0])
            self.assertEqual(told, OK)

        tracker = self.handle(asked)
        self.assertEqual(cfg.corosync_cfg_trackstart(tracker, 0), OK)
        twice = cfg.corosync_cfg_trackstart(tracker, 0)
        self.assertEqual(twice, CsError.CS_ERR_EXIST)
        error, descriptor = cfg.corosync_cfg_fd_get(tracker)
        self.assertEqual(error, OK)
        self.assertGreater(descriptor, 0)
        pending = cfg.corosync_cfg_dispatch(tracker, CS_DISPATCH_ONE_NONBLOCKING)
        self.assertEqual(pending, CsError.CS_ERR_TRY_AGAIN)
        self.assertEqual(self._try(tracker, 0), CsError.CS_ERR_BUSY)
        self.assertEqual(flags, [cfg.COROSYNC_CFG_SHUTDOWN_FLAG_REQUEST])
        late = cfg.corosync_cfg_replyto_shutdown(tracker, 1)
        self.assertEqual(late, CsError.CS_ERR_ACCESS)
        wrong = cfg.corosync_cfg_try_shutdown(tracker, 3)
        self.assertEqual(wrong, CsError.CS_ERR_INVALID_PARAM)
        self.assertEqual(self._try(tracker, 1), OK)
        self.assertEqual(flags[1:], [cfg.COROSYNC_CFG_SHUTDOWN_FLAG_REGARDLESS])
        self.assertEqual(cfg.corosync_cfg_trackstop(tracker), OK)
        twice = cfg.corosync_cfg_trackstop(tracker)
        self.assertEqual(twice, CsError.CS_ERR_NOT_EXIST)
        cfg.corosync_cfg_finalize(tracker)

    def _try(self, tracker: CfgHandle, how: int) -> CsError:
        """
        One thread asks while another one answers.
        """
        asking = self.handle()
        told: list[CsError] = []
        thread = Thread(
            target=lambda: told.append(cfg.corosync_cfg_try_shutdown(asking, how))
        )
        thread.start()
        cfg.corosync_cfg_dispatch(tracker, CS_DISPATCH_ONE)
        thread.join()
        cfg.corosync_cfg_finalize(asking)
        return told[0]

    def test_kill(self) -> Deferred[None]:
        """
        A member is killed; what is none cannot be. (A92, F3)
        """
        return self.story(self._kill)

    def _kill(self) -> None:
        killed: list[str] = []
        self.manager.onKilled = killed.append
        handle = self.handle()
        absent = cfg.corosync_cfg_kill_node(handle, 4711, "why")
        self.assertEqual(absent, CsError.CS_ERR_NOT_EXIST)
        self.assertEqual(cfg.corosync_cfg_kill_node(handle, NODEID, "why"), OK)
        cfg.corosync_cfg_local_get(handle)
        self.assertEqual(killed, [f"killed by node {NODEID}: why"])
        cfg.corosync_cfg_finalize(handle)

    def test_nobody(self) -> None:
        """
        Nobody is there. (F1)
        """
        told = cfg.corosync_cfg_initialize(None, "/nowhere/at/all")
        self.assertEqual(told, (CsError.CS_ERR_LIBRARY, None))
