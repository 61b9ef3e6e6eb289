"""
C{corotwist cfgtool} and three real daemons, until the last one is gone.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist import lastrun
from corotwist.tap import freePort
from corotwist.test.directories import shortDirectory
from corotwist.test.logs.factories import waitFor
from corotwist.test.tools.processes import PATIENCE_SECONDS

CHECKOUT = str(Path(corotwist.__file__).parents[1])
NODES = (1, 2, 3)
CONF = """\
totem {{
    version: 2
    token: 1000
    interface {{
        mcastport: {port}
    }}
}}
nodelist {{
{nodes}}}
logging {{
    to_logfile: yes
    logfile: {directory}/log{nodeid}
}}
system {{
    state_dir: {directory}
}}
corotwist {{
    node: {nodeid}
    ipc_socket: {directory}/s{nodeid}
}}
"""
NODE = "    node {{\n        ring0_addr: 127.0.0.{n}\n        nodeid: {n}\n    }}\n"
# Says no to everything, in the words of the C library.
TRACKER = """\
import sys
from corotwist.cstyle.cfg import *
from corotwist.cstyle.types import CS_DISPATCH_BLOCKING

def asked(handle, flags):
    print("asked", flags.value, flush=True)
    corosync_cfg_replyto_shutdown(handle, COROSYNC_CFG_SHUTDOWN_FLAG_NO)

error, handle = corosync_cfg_initialize(CfgCallbacks(asked), sys.argv[1])
print(corosync_cfg_trackstart(handle, 0).name, flush=True)
corosync_cfg_dispatch(handle, CS_DISPATCH_BLOCKING)
"""


class LifeTests(SynchronousTestCase):
    """
    One story.
    """

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        self.environ = {**os.environ, "PYTHONPATH": CHECKOUT}
        port = freePort()
        for nodeid in NODES:
            text = CONF.format(
                port=port,
                nodeid=nodeid,
                directory=self.directory,
                nodes="".join(NODE.format(n=n) for n in NODES),
            )
            (self.directory / f"{nodeid}.conf").write_text(text)
        self.daemons = {nodeid: self.start(nodeid) for nodeid in NODES}
        for nodeid in NODES:
            self.inStep(nodeid, NODES)

    def start(self, nodeid: int) -> "subprocess.Popen[bytes]":
        code = "from twisted.scripts.twistd import run; run()"
        arguments = ["-n", "--pidfile=", "corosync", "--config", f"{nodeid}.conf"]
        daemon: subprocess.Popen[bytes]
        daemon = self.run_(subprocess.Popen, "-c", code, *arguments)
        return daemon

    def run_(self, how: Any, *arguments: str, **others: Any) -> Any:
        """
        Run Python, to the end of the test at most.
        """
        process = how(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **others},
        )
        if isinstance(process, subprocess.Popen):
            self.addCleanup(process.wait, PATIENCE_SECONDS)
            self.addCleanup(process.kill)
        return process

    def log(self, nodeid: int) -> str:
        path = self.directory / f"log{nodeid}"
        return path.read_text() if path.exists() else ""

    def inStep(self, nodeid: int, members: tuple[int, ...], since: int = 0) -> None:
        """
        @param since: how much of its log is older; there may have been such a
            ring when the nodes came together.
        """
        waitFor(lambda: f": nodes {members}" in self.log(nodeid)[since:])

    def tool(self, nodeid: int, *arguments: str) -> tuple[int, str, str]:
        """
        Exit status, output and errors.
        """
        where = ("--socket", f"{self.directory}/s{nodeid}")
        state = ("--state-dir", str(self.directory))
        done = self.run_(
            subprocess.run,
            *("-m", "corotwist", "cfgtool", *arguments, *where, *state),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
            timeout=PATIENCE_SECONDS,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    def test_life(self) -> None:
        """
        Three nodes are seen; one is killed from another, with a reason that all
        know; one stops although a program objects, when it is forced to; and
        tools say afterwards how each ended. (F3, F4, F5, F9, F22, H2)
        """
        status, text, _ = self.tool(1, "-s", "--check")
        self.assertEqual(status, 0)
        self.assertIn("\t\tnodeid:          3:\tconnected\n", text)
        self.killed()
        self.vetoed()
        self.ended()

    def killed(self) -> None:
        before = len(self.log(2))
        told = self.tool(1, "-k", "3", "--reason", "it lies")
        self.assertEqual(told, (0, "Killing node 3\n", ""))
        self.assertEqual(self.daemons[3].wait(PATIENCE_SECONDS), 255)
        self.assertIn("This node is killed by node 1: it lies", self.log(3))
        self.inStep(2, (1, 2), before)
        self.assertIn("Node 1 has node 3 killed: it lies", self.log(2))
        status, text, _ = self.tool(2, "-sb", "--check")
        self.assertEqual(status, 3)
        self.assertIn("\tstatus\t= 3n1\n", text)

    def vetoed(self) -> None:
        (self.directory / "tracker.py").write_text(TRACKER)
        tracker = self.run_(
            subprocess.Popen,
            *("tracker.py", f"{self.directory}/s2"),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(tracker.stdout.close)
        self.assertEqual(tracker.stdout.readline(), "CS_OK\n")
        status, _, errors = self.tool(2, "-H")
        self.assertEqual(status, 1)
        who = f"process {tracker.pid} (tracker.py) says no\n"
        self.assertEqual(errors, f"Could not shutdown (error = 10)\n{who}")
        before = len(self.log(1))
        told = self.tool(2, "-H", "--force")
        self.assertEqual(told, (0, "Shutting down corosync\n", ""))
        self.assertEqual(self.daemons[2].wait(PATIENCE_SECONDS), 0)
        self.assertEqual(tracker.stdout.read(), "asked 0\nasked 1\n")
        self.inStep(1, (1,), before)

    def ended(self) -> None:
        self.daemons[1].terminate()
        self.daemons[1].wait(PATIENCE_SECONDS)
        runs = {run.nodeid: run for run in lastrun.read(str(self.directory))}
        ends = {n: (run.cause, run.status, run.reason) for n, run in runs.items()}
        self.assertEqual(ends[1], ("stopped", 0, "the process was asked to end"))
        self.assertEqual(ends[3], ("killed", 255, "killed by node 1: it lies"))
        cause, status, reason = ends[2]
        self.assertEqual((cause, status), ("stopped", 0))
        self.assertRegex(reason, r"^process \d+ of user \d+ asked for it, although ")
        _, _, errors = self.tool(3, "-s")
        self.assertIn("killed: by node 1: it lies", errors)
