"""
The log of a real daemon.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.logs.flight import read
from corotwist.logs.recorder import dumps
from corotwist.tap import freePort
from corotwist.test.directories import shortDirectory
from corotwist.test.logs.factories import PATIENCE, waitFor

CHECKOUT = str(Path(corotwist.__file__).parents[1])

CONF = """\
totem {{
    version: 2
    token: 1000
    crypto_cipher: none
    interface {{
        mcastport: {port}
    }}
}}
nodelist {{
    node {{
        ring0_addr: 127.0.0.1
        nodeid: 1
    }}
}}
logging {{
    to_syslog: no
    to_logfile: yes
    logfile: log
    stderr_priority: debug
    debug: {debug}
}}
system {{
    state_dir: state
}}
corotwist {{
    ipc_socket: socket
}}
"""


class DaemonTests(SynchronousTestCase):
    """
    One node on loopback.
    """

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        self.log = self.directory / "log"

    def start(self, stderr: int, debug: str = "off") -> "subprocess.Popen[bytes]":
        """
        A daemon that has formed its ring.
        """
        conf = self.directory / "node.conf"
        conf.write_text(CONF.format(port=freePort(), debug=debug))
        code = "from twisted.scripts.twistd import run; run()"
        command = [sys.executable, "-c", code, "-n", "--pidfile=", "corosync"]
        process = subprocess.Popen(
            [*command, "--config", "node.conf"],
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        self.addCleanup(self.end, process)
        self.waitFor("Services synchronized")
        return process

    def environment(self) -> dict[str, str]:
        """
        With our sources.
        """
        return {**os.environ, "PYTHONPATH": CHECKOUT}

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """
        Whatever it does.
        """
        process.kill()
        process.wait(PATIENCE)

    def waitFor(self, words: str, path: Path | None = None) -> None:
        """
        Until the log has them.
        """
        file = path or self.log
        waitFor(lambda: file.exists() and words in file.read_text())

    def tool(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        """
        C{corotwist}, for this node.
        """
        return subprocess.run(
            [sys.executable, "-m", "corotwist", *arguments, "--socket", "socket"],
            cwd=self.directory,
            env=self.environment(),
            check=False,
            capture_output=True,
            timeout=PATIENCE,
        )

    def test_life(self) -> None:
        """
        A daemon whose terminal nobody reads goes on; its log file may be moved;
        SIGHUP opens it again; SIGUSR2 and the tool have the flight recorder
        written; and its last words are in the file.  (A22, A31, A64)
        [pitfall M10]
        """
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(writer, False)
        os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        process = self.start(writer, debug="trace")
        os.close(writer)
        aside = self.log.rename(self.directory / "aside")
        process.send_signal(signal.SIGHUP)
        self.waitFor("opened again")
        self.log.rename(self.directory / "aside2")
        waitFor(self.log.exists)
        process.send_signal(signal.SIGUSR2)
        self.waitFor("SIGUSR2")
        (path,) = dumps(self.directory / "state")
        dump = read(path.read_bytes().splitlines())
        self.assertIn("cpg", dump.state["services"]["engines"])
        self.assertIn("Services synchronized", str(dump.events))
        shown = self.tool("blackbox", "--json", "-p", "info")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        texts = [json.loads(line)["text"] for line in shown.stdout.splitlines()]
        self.assertTrue([text for text in texts if "SIGUSR2" in text], texts)
        self.assertEqual(len(dumps(self.directory / "state")), 2)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        self.assertLess(time.monotonic() - began, 10)
        self.assertIn("Node 1 stopped", self.log.read_text())
        self.assertIn("Server Shut Down", self.log.read_text())
        self.assertIn("Clients meet us", aside.read_text())
        self.assertNotIn("warning", aside.read_text())
        self.assertTrue((self.directory / "state" / "fault-1.txt").exists())

    def test_switched(self) -> None:
        """
        Trace levels are switched on with a tool, through the map, while the
        node runs; a wrong word is refused.  (A25, A28)
        """
        self.start(subprocess.DEVNULL)
        refused = self.tool("cfg", "log", "--trace", "12")
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"'12' is no trace level", refused.stderr)
        switched = self.tool("cfg", "log", "cpg", "--trace", "membership")
        self.assertEqual(
            switched.stdout.decode().splitlines(),
            [
                "logging.logger_subsys.CPG.subsys = CPG",
                "logging.logger_subsys.CPG.trace = membership",
            ],
        )
        self.tool("cpg", "group", "--send", "x", "--count", "1")
        self.waitFor("[CPG   ] trace2  b'group': nobody left, 1/")

    def test_nobody(self) -> None:
        """
        The tool says when there is no node to ask.
        """
        shown = self.tool("blackbox")
        self.assertEqual(shown.returncode, 1)
        self.assertIn(b"corotwist blackbox: ", shown.stderr)
        self.assertNotIn(b"Traceback", shown.stderr)
