"""
C{corotwist cfg}: what operators ask of running nodes.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.tap import freePort
from corotwist.test.directories import shortDirectory
from corotwist.test.tools.schemas import differences
from corotwist.tools import cfg
from corotwist.tools.cfgreload import ReloadOptions, reload, told

CHECKOUT = str(Path(corotwist.__file__).parents[1])
PATIENCE = 60.0

KEY = {
    "key": "totem.token",
    "verdict": "applied",
    "old": None,
    "new": "5000",
    "reason": "",
}
NODE = {"refused": False, "restart": False, "problems": [], "keys": [KEY], "more": 0}
REPORT = {"status": "applied", "reason": "", "restart": False, "nodes": {"1": NODE}}


@define
class FakeOperator:
    """
    A node's answer.
    """

    report: dict[str, Any]

    def reload(self, **how: bool) -> Deferred[dict[str, Any]]:
        return succeed({**self.report, "how": how})


@define
class FakeClient:
    """
    Connected to it.
    """

    cfg: FakeOperator


class ReloadTests(SynchronousTestCase):
    """
    What is printed, and with which status it ends.
    """

    def setUp(self) -> None:
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)

    def reload(self, *arguments: str, **changes: Any) -> Any:
        options = ReloadOptions()
        options.parseOptions(list(arguments))
        client: Any = FakeClient(FakeOperator({**REPORT, **changes}))
        return self.successResultOf(Deferred.fromCoroutine(reload(client, options)))

    def test_status(self) -> None:
        """
        The exit status tells the truth: everything in force, refused, or
        something waits for a restart. (H15)
        """
        self.assertEqual(self.reload(), 0)
        self.assertEqual(self.reload(status="refused", reason="node 2"), 1)
        self.assertEqual(self.reload(restart=True), 3)
        self.assertEqual(self.reload("--dry-run", status="checked"), 0)
        self.assertEqual(self.reload("-n", status="checked", restart=True), 3)

    def test_json(self) -> None:
        """
        Programs get the report as it is; wishes are passed on.
        """
        self.reload("--json", "--dry-run", "--local")
        how = {"dryRun": True, "force": False, "local": True}
        found = json.loads(self.output.getvalue())
        self.assertEqual(found.pop("how"), how)
        self.assertEqual(differences(found), [])
        self.assertEqual(found, {"schema": "corotwist/cfg-reload/1", **REPORT})

    def test_told(self) -> None:
        """
        People get a line for each value, and one about all.
        """
        restart = {**KEY, "verdict": "needs restart", "old": "a", "reason": "why"}
        node = {**NODE, "keys": [KEY, restart], "more": 3}
        nodes = {"1": node, "2": {"unknown": "of corosync"}, "3": {**NODE, "keys": []}}
        self.assertEqual(
            told({**REPORT, "restart": True, "nodes": nodes}).splitlines(),
            [
                "node 1: 5 values differ",
                "  totem.token: (none) -> 5000: applied",
                "  totem.token: a -> 5000: needs restart (why)",
                "  and 3 more",
                "node 2: of corosync",
                "node 3: nothing differs",
                "Applied; some values need a restart",
            ],
        )
        refusing = {**NODE, "refused": True, "problems": ["n.conf:3: no"], "keys": []}
        refused = {"status": "refused", "reason": "by node 2", "restart": False}
        self.assertEqual(
            told({**refused, "nodes": {"1": NODE, "2": refusing}}).splitlines(),
            [
                "node 1: 1 value differs",
                "  totem.token: (none) -> 5000: would be applied",
                "node 2: refuses",
                "  n.conf:3: no",
                "Refused; nothing was changed: by node 2",
            ],
        )

    def test_wrongUse(self) -> None:
        """
        Who asks for nothing, or for what there is not, is shown what there is.
        """
        for arguments in (
            [],
            ["relod"],
            ["reload", "--nonsense"],
            ["log", "--timeout=0"],
        ):
            self.assertEqual(cfg.run(arguments), 2)
            self.assertIn("Usage: corotwist cfg", self.errors.getvalue())
        self.assertEqual(cfg.run(["--help"]), 0)
        for name in cfg.COMMANDS:
            self.assertIn(f"  {name}", self.output.getvalue())
        self.assertEqual(cfg.run(["reload", "--help"]), 0)
        self.assertIn("--dry-run", self.output.getvalue())


class DaemonTests(SynchronousTestCase):
    """
    A real daemon, its real file and the real command.
    """

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        self.port = freePort()
        self.write()

    def write(self, *totem: str, port: int | None = None) -> None:
        """
        The file, with these lines in it.
        """
        lines = "\n".join(totem)
        (self.directory / "node.conf").write_text(
            f"totem {{\n version: 2\n interface {{\n  mcastport: {port or self.port}\n"
            f" }}\n{lines}\n}}\nnodelist {{\n node {{\n  ring0_addr: 127.0.0.1\n"
            "  nodeid: 1\n }\n}\nlogging {\n to_logfile: yes\n logfile: node.log\n}\n"
            f"system {{\n state_dir: {self.directory}\n}}\n"
            f"corotwist {{\n ipc_socket: {self.directory}/s\n}}\n"
        )

    def start(self) -> "subprocess.Popen[bytes]":
        code = "from twisted.scripts.twistd import run; run()"
        arguments = ["-n", "--pidfile=", "corosync", "--config", "node.conf"]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": CHECKOUT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.kill)
        return process

    def waitFor(self, words: str) -> None:
        """
        Until the daemon has logged so.
        """
        patience = time.monotonic() + PATIENCE
        while words not in self.logged():
            self.assertLess(time.monotonic(), patience, self.logged())
            time.sleep(0.02)

    def logged(self) -> str:
        try:
            return (self.directory / "node.log").read_text()
        except FileNotFoundError:
            return ""

    def cfg(self, *arguments: str) -> tuple[int, str]:
        """
        The command's exit status, and what it says.
        """
        socket = str(self.directory / "s")
        done = subprocess.run(
            [sys.executable, "-m", "corotwist", "cfg", *arguments, "--socket", socket],
            env={**os.environ, "PYTHONPATH": CHECKOUT},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout.decode()

    def test_life(self) -> None:
        """
        The file is edited and the daemon told: it says what is in force, what
        needs a restart, and what is wrong, with the line; a log that was moved
        away is opened anew. (A44, A31, F7, H15)
        """
        process = self.start()
        self.waitFor("Services synchronized")
        self.write(" token: 5000")
        status, text = self.cfg("reload")
        self.assertIn("  totem.token: (none) -> 5000: applied\nApplied\n", text)
        self.assertEqual(status, 0)
        self.write(" token: 5000", port=freePort())
        status, text = self.cfg("reload")
        self.assertIn("needs restart", text)
        self.assertEqual(status, 3)
        self.write(" token: 5")
        status, text = self.cfg("reload", "--local")
        self.assertRegex(text, r"node.conf:6:9: totem.token: is 5, and must be 30")
        self.assertEqual(status, 1)
        (self.directory / "node.log").rename(self.directory / "old.log")
        self.assertEqual(self.cfg("reopen"), (0, ""))
        self.waitFor("Log files are opened again")
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        places = "--state-dir", str(self.directory), "--timeout", "5"
        status, text = self.cfg("reload", *places)
        self.assertEqual(status, 1)
        self.assertIn("corotwist cfg: ", text)
        self.assertIn(f"node 1 (process {process.pid}", text)
