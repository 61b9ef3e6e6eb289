"""
Tests of an engine's children, and of a shutdown that is held, in a real daemon.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.tap import freePort
from corotwist.test.directories import shortDirectory
from corotwist.test.logs.factories import PATIENCE, waitFor
from corotwist.test.logs.test_process import CONF

CHECKOUT = str(Path(corotwist.__file__).parents[1])
ENGINE = """\
from corotwist.engines.base import Engine
from corotwist.engines.children import Program


class JobsEngine(Engine):
    name = "jobs"
    serviceId = 5555

    def initialize(self, cluster, settings):
        super().initialize(cluster, settings)
        script = "exec sleep 1000"
        cluster.spawn(
            Program("job", ("/bin/sh", "-c", script), {"PATH": "/usr/bin:/bin"})
        )
        cluster.holdShutdown("a job runs here")
"""
PLUGIN = """\
from corotwist.plugin import EngineMaker

jobs = EngineMaker("jobs", 1, "jobsengine.JobsEngine")
"""


class DaemonTests(SynchronousTestCase):
    """
    One node on loopback, with an engine of somebody else.
    """

    def setUp(self) -> None:
        self.directory = shortDirectory(self)
        self.log = self.directory / "log"
        plugins = self.directory / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "jobs_plugin.py").write_text(PLUGIN)
        (self.directory / "jobsengine.py").write_text(ENGINE)
        conf = CONF.format(port=freePort(), debug="off")
        (self.directory / "node.conf").write_text(conf)
        code = "from twisted.scripts.twistd import run; run()"
        command = [sys.executable, "-c", code, "-n", "--pidfile=", "corosync"]
        path = os.pathsep.join((CHECKOUT, str(self.directory)))
        self.process = subprocess.Popen(
            [*command, "--config", "node.conf"],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(self._end)
        self._waitFor("Services synchronized")

    def _end(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def _waitFor(self, words: str, count: int = 1) -> None:
        waitFor(
            lambda: self.log.exists() and self.log.read_text().count(words) >= count
        )

    def _children(self) -> list[int]:
        """
        The processes that the log says were started, in their order.
        """
        lines = self.log.read_text().splitlines()
        started = [line for line in lines if "jobs: job started, process" in line]
        return [int(line.rpartition(" ")[2]) for line in started]

    def test_heldShutdown(self) -> None:
        """
        A child that is killed runs again; SIGTERM waits for what holds the
        shutdown, a second one does not; and no child is left behind.
        (A63, A73, A76)
        """
        self._waitFor("job started")
        os.kill(self._children()[0], signal.SIGKILL)
        self._waitFor("job started", 2)
        self.assertIn("jobs: job ended: signal 9", self.log.read_text())
        self.process.send_signal(signal.SIGTERM)
        self._waitFor("waits for jobs: a job runs here")
        self.assertIsNone(self.process.poll())
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.assertIn("Node 1 stopped", self.log.read_text())
        for child in self._children():
            self.assertRaises(ProcessLookupError, os.kill, child, 0)
