"""
Daemons of the demonstration: their files, and their processes.
"""

import signal
from random import Random
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.build import load
from corotwist.test.config.factories import KEY, environment
from corotwist.test.directories import shortDirectory
from corotwist.tools import daemons
from corotwist.tools.daemons import Daemon, Plan, addressOf, freePort, killAll


@define
class FakeProcess:
    """
    A process, as the reactor gives it.
    """

    pid: int
    gone: bool = False
    signals: list[str] = field(factory=list)

    def signalProcess(self, name: str) -> None:
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(name)


class FakeReactor:
    """
    Notes what it is asked to run.
    """

    def __init__(self) -> None:
        self.spawned: list[tuple[Any, list[str]]] = []
        self.process = FakeProcess(4242)

    def spawnProcess(
        self,
        protocol: Any,
        executable: str,
        arguments: list[str],
        environ: dict[str, str],
        childFDs: dict[int, int],
    ) -> FakeProcess:
        self.spawned.append((protocol, arguments))
        return self.process


class PlanTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = shortDirectory(self)

    def test_configuration(self) -> None:
        """
        Every file can be used as it is, by the node it is for.
        """
        plan = Plan(self.directory, (1, 2, 3), 7777, tokenMs=500)
        for nodeid in plan.nodes:
            built = load(str(plan.write(nodeid)), environment())
            self.assertEqual((built.problems, built.warnings), ((), ()))
            settings = built.usable()
            totem = settings.totem
            self.assertEqual((totem.nodeid, totem.port), (nodeid, 7777))
            self.assertEqual(str(totem.bindAddress), addressOf(nodeid))
            self.assertEqual((totem.timing.token, totem.key), (0.5, KEY))
            self.assertEqual(
                totem.stateDirectory, str(self.directory / f"state{nodeid}")
            )
            self.assertEqual(settings.ipc.path, Daemon(plan, nodeid).socket)

    def test_freePort(self) -> None:
        """
        A port is free on all the addresses, or it is not taken.
        """
        port = freePort(["127.0.0.1", "127.0.0.2"], Random(1))
        with socket(AF_INET, SOCK_DGRAM) as holder:
            holder.bind(("127.0.0.2", port))
            other = freePort(["127.0.0.1", "127.0.0.2"], Random(1))
        self.assertNotEqual(port, other)

    def test_noPort(self) -> None:
        """
        There is an end to looking for one.
        """
        self.patch(daemons, "_isFree", lambda address, port: False)
        error = self.assertRaises(OSError, freePort, ["127.0.0.1"], Random(1))
        self.assertIn("no UDP port is free", str(error))

    def test_noAddress(self) -> None:
        """
        An address that is not ours is no matter of ports.
        """
        self.assertRaises(OSError, freePort, ["203.0.113.77"], Random(1))


class DaemonTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = shortDirectory(self)
        self.log = directory / "node2.log"
        self.reactor = FakeReactor()
        self.daemon = Daemon(Plan(directory, (1, 2), 7777), 2)

    def ends(self, reason: Exception) -> None:
        """
        The process is no more.
        """
        self.daemon.processEnded(Failure(reason))

    def test_start(self) -> None:
        """
        A process runs twistd on the node's own file.
        """
        self.daemon.start(self.reactor)
        self.assertEqual(self.daemon.pid, 4242)
        ((_, arguments),) = self.reactor.spawned
        self.assertEqual(arguments[-3:-1], ["corosync", "--config"])
        self.assertTrue(arguments[-1].endswith("/node2.conf"))

    def test_signals(self) -> None:
        """
        Signals go to our own process while it runs, and to nobody else.
        """
        self.daemon.send("KILL")
        self.daemon.start(self.reactor)
        self.daemon.send("TERM")
        self.reactor.process.gone = True
        self.daemon.send("KILL")
        self.ends(ProcessDone(0))
        self.daemon.send("KILL")
        self.assertEqual(self.reactor.process.signals, ["TERM"])

    def test_end(self) -> None:
        """
        Everybody who waits for the end hears of it.
        """
        self.successResultOf(self.daemon.end())
        self.daemon.start(self.reactor)
        waiting: list[Deferred[None]] = [self.daemon.end(), self.daemon.end()]
        for one in waiting:
            self.assertNoResult(one)
        self.ends(ProcessDone(0))
        for one in waiting:
            self.successResultOf(one)
        self.assertIsNone(self.daemon.pid)

    def test_status(self) -> None:
        """
        How it ended is told as a sentence; SIGTERM is an end in order.
        """
        for reason, status, orderly in (
            (ProcessDone(0), "ended with status 0", True),
            (ProcessTerminated(1), "ended with status 1", False),
            (
                ProcessTerminated(signal=signal.SIGKILL),
                "was ended by SIGKILL",
                False,
            ),
            (
                ProcessTerminated(signal=signal.SIGTERM),
                "was ended by SIGTERM",
                True,
            ),
        ):
            self.daemon.start(self.reactor)
            self.ends(reason)
            self.assertEqual(
                (self.daemon.status, self.daemon.orderly), (status, orderly)
            )

    def test_log(self) -> None:
        """
        The end of the log is what is worth showing.
        """
        self.assertEqual(self.daemon.logged(), [])
        self.assertFalse(self.daemon.saidFarewell())
        lines = [f"line {number}" for number in range(20)]
        self.log.write_text("\n".join([*lines, "Node 2 stopped"]))
        self.assertTrue(self.daemon.saidFarewell())
        shown = self.daemon.lastWords().splitlines()
        self.assertEqual(len(shown), daemons.TAIL_LINES)
        self.assertEqual(shown[-2], "    node 2| line 19")

    def test_killAll(self) -> None:
        """
        Everything that runs is killed, and waited for.
        """
        self.daemon.start(self.reactor)
        killed = killAll([self.daemon])
        self.assertEqual(self.reactor.process.signals, ["KILL"])
        self.assertNoResult(killed)
        self.ends(ProcessTerminated(signal=signal.SIGKILL))
        self.successResultOf(killed)
