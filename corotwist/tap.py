"""
C{twistd corosync}: the command line, and a node made from it.
"""

import atexit
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Any, Final

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from corotwist.config.build import Built, Environment, fromReading, load
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.host import Machine
from corotwist.config.loader import absolute, save
from corotwist.config.settings import NodeSettings
from corotwist.config.values import Value
from corotwist.ending import End, Ending
from corotwist.errors import ConfigurationError, CorotwistError
from corotwist.lastrun import RunRecord
from corotwist.logs.choice import Choice, choose
from corotwist.logs.keeper import Crashes, Keeper
from corotwist.logs.keys import LogKeys
from corotwist.node import Node, makeStorage
from corotwist.options import Options as OurOptions
from corotwist.recording import RecordedStorage, Recorder
from corotwist.tools.keygen import loadKey
from corotwist.totem.frame import deriveKey

FAILED: Final = 1
# What is on record when the process was asked to end, by whatever means.
_ASKED: Final = End(Ending.STOPPED, "the process was asked to end")
# For a node that nobody configured.
_ALONE: Final = """\
totem {{
    version: 2
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
system {{
    state_dir: {directory}
}}
corotwist {{
    ipc_socket: {directory}/corotwist.sock
    node: 1
}}
"""


def environment(node: str | None = None) -> Environment:
    """
    This machine and this process, for reading a configuration.

    @param node: which entry of the node list we are; L{None} to look for it.
    """
    return Environment(
        Machine(), dict(os.environ), os.geteuid(), loadKey, deriveKey, node
    )


def freePort() -> int:
    """
    A UDP port that nobody uses now on the first loopback address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def alone(directory: str, port: int) -> NodeSettings:
    """
    A single node on loopback.

    @param directory: for its state and its socket.
    """
    text = _ALONE.format(directory=directory, port=port)
    around = Environment(Machine(), {}, os.geteuid(), loadKey, deriveKey)
    return fromReading(parse(text, "built in"), around).usable()


class Options(OurOptions):
    """
    What C{twistd corosync} understands.
    """

    synopsis = "[options]"
    longdesc = (
        "Run one node of a cluster. Without --config: a single node on loopback"
        " with state of its own, for trying things out."
    )
    optParameters = [
        [
            "node",
            None,
            None,
            "Which entry of the node list we are: its name, nodeid or address.",
        ],
        ["record", None, None, "Write what the ring does to this file, for judges."],
        ["pidfile", "l", None, "Where our number goes, as twistd's --pidfile."],
    ]
    optFlags = [
        ["test", "t", "Read the configuration, tell what is wrong, and exit."],
        ["foreground", "f", "Stay in the foreground, as twistd's -n."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["config"] = []

    def opt_config(self, source: str) -> None:
        """
        A file, PATH or FORMAT:PATH; of several, later ones override.
        """
        try:
            self["config"].append(absolute(source))
        except ConfigurationError as error:
            raise SystemExit(f"corosync: {error}") from error

    opt_c = opt_config
    opt_v = OurOptions.opt_version

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        A wrong command line ends the process with status 1; twistd itself
        would print the same and report success.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(f"corosync: {error}. Try --help.") from error

    def postOptions(self) -> None:
        """
        Read the configuration while there is still a terminal to complain on.
        """
        self["settings"], self["warnings"] = None, ()
        if self["record"] is not None:
            self["record"] = os.path.abspath(self["record"])  # noqa: PTH100
        if self["config"]:
            self._load()
        elif self["test"]:
            raise usage.UsageError("--test needs --config")
        elif self["node"] is not None:
            raise usage.UsageError("--node needs --config")
        if self["test"]:
            raise SystemExit(0)
        self._tellTwistd()
        self._chooseLog()

    def _tellTwistd(self) -> None:
        """
        What corosync's command line says of the process is for twistd, which
        has not looked yet.
        """
        twistd = self.parent
        if twistd is None:
            return
        if self["foreground"]:
            twistd["nodaemon"] = True
        if self["pidfile"] is not None:
            twistd["pidfile"] = os.path.abspath(self["pidfile"])  # noqa: PTH100

    def _load(self) -> None:
        built = self.read()
        if built.settings is None or self["test"]:
            report(built)
        if built.settings is None:
            raise SystemExit(FAILED)
        self["settings"], self["warnings"] = built.settings, built.warnings

    def read(self) -> Built:
        """
        What the files say now.
        """
        return load(self["config"], environment(self["node"]))

    def _chooseLog(self) -> None:
        """
        A log file that cannot be opened is told while there is a terminal.
        """
        self["log"] = None
        settings, twistd = self["settings"], self.parent
        if settings is None or twistd is None or "nodaemon" not in twistd:
            return
        try:
            self["log"] = choose(settings, twistd)
        except OSError as error:
            raise SystemExit(
                f"corosync: {error.filename}: {error.strerror or error}"
            ) from error


def report(built: Built) -> None:
    """
    Everything that is to be said about a configuration, to the terminal.
    """
    for line in built.report():
        print(line, file=sys.stderr)  # noqa: T201


def makeService(options: Options) -> IService:
    """
    The node, for twistd to start and stop.
    """
    from twisted.internet import reactor  # noqa: PLC0415

    return Daemon(options, reactor)


def useRisingTime(reactor: Any) -> None:
    """
    Let the reactor's clock only rise.  Twisted's follows the time of day: an
    hour of correction would keep every timer waiting for an hour, or expire
    them all.
    """
    if not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic


def raiseFileLimit() -> None:
    """
    Open as many files as we may: each client takes two.
    """
    soft, hard = getrlimit(RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            setrlimit(RLIMIT_NOFILE, (hard, hard))


class NotStarted(CorotwistError):
    """
    Why, in a sentence: twistd shows the beginning to whoever typed the command.
    """


class Daemon(MultiService):
    """
    A node as a process: what cannot be started, or has to stop, ends it.
    """

    _log = Logger()

    def __init__(self, options: Options, reactor: Any) -> None:
        super().__init__()
        self._options = options
        self._reactor = reactor
        self._private: str | None = None
        self._recorder: Recorder | None = None
        self._node: Node | None = None
        self._stopping = False
        self._failed = ""
        self._end = _ASKED
        self._record: RunRecord | None = None
        choice: Choice | None = options["log"]
        self.keeper: Keeper | None = None
        if choice is not None:
            self.keeper = Keeper(choice.logs, reactor, observing=choice.observing)

    def setServiceParent(self, parent: Any) -> None:
        """
        An application takes its log observer along as a component.
        """
        choice: Choice | None = self._options["log"]
        ours = choice is not None and choice.observing
        if choice is not None and ours and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, choice.logs)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """
        Build the node, in the process that will run it, and start it.
        """
        useRisingTime(self._reactor)
        raiseFileLimit()
        settings = self._options["settings"] or self._alone()
        self._startLog(settings)
        for warning in self._options["warnings"]:
            self._log.warn("{warning}", warning=str(warning))
        try:
            self._startNode(settings)
        except CorotwistError as error:
            self._log.critical("The node cannot start: {error}", error=str(error))
            self._failed = str(error)
        if self._failed:
            # There is no reactor yet that could be stopped.
            self._removePrivate()
            if self._isBackground():
                # Whoever typed the command waits for word from its grandchild,
                # and gets it for an exception only.
                raise NotStarted(self._failed)
            raise SystemExit(FAILED)

    def _startLog(self, settings: NodeSettings) -> None:
        """
        We are the process that runs the node, and so the one that writes.
        """
        choice: Choice | None = self._options["log"]
        if choice is None or self.keeper is None:
            return
        if not choice.observing:
            globalLogPublisher.addObserver(choice.logs)
        self.keeper.start()
        self._reactor.addSystemEventTrigger("before", "shutdown", self._listen)

    def _listen(self) -> None:
        """
        We were asked to stop; who asks again does not want to wait for what
        holds that.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._hurry))

    def _hurry(self) -> None:
        if self._node is not None:
            self._node.manager.prepareStop("a second signal")

    def _isBackground(self) -> bool:
        twistd = self._options.parent
        return twistd is not None and "nodaemon" in twistd and not twistd["nodaemon"]

    def _startNode(self, settings: NodeSettings) -> None:
        node = self._node = self._makeNode(settings)
        if self.keeper is not None:
            self.keeper.state = node.dump
            Crashes(settings.totem.stateDirectory, settings.totem.nodeid).watch()
            LogKeys(node.database, self.keeper.dump, self.keeper.logs.statistics)
        totem = settings.totem
        self._record = RunRecord(
            totem.stateDirectory, totem.nodeid, settings.ipc.path, time.time
        )
        node.started.addCallbacks(lambda _: self._running(), self._notStarted)
        node.ended.addCallback(self._ended)
        node.onKilled = self._killed
        node.setServiceParent(self)
        super().startService()

    def _makeNode(self, settings: NodeSettings) -> Node:
        path = self._options["record"]
        parts: dict[str, Any] = {"logs": self.keeper}
        if self._options["config"]:
            parts |= {"read": self._read, "save": self._save}
        if path is None:
            return Node(settings, self._reactor, **parts)
        try:
            recorder = Recorder(path, settings.totem.nodeid, time.monotonic_ns)
        except OSError as error:
            raise NotStarted(f"{path}: {error.strerror or error}") from error
        storage = makeStorage(settings.totem, self._reactor)
        parts["storage"] = RecordedStorage(storage, recorder)
        node = Node(settings, self._reactor, **parts)
        node.totem.observer = recorder.observed
        self._recorder = recorder
        return node

    def _read(self) -> Deferred[Built]:
        """
        In a thread: names may take long to resolve, and the token would wait.
        """
        threads = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, threads, self._options.read)

    def _save(self, items: Iterable[tuple[str, Value]]) -> Deferred[str]:
        """
        In a thread: the disk may be slow.
        """
        threads = self._reactor.getThreadPool()
        sources = self._options["config"]
        return deferToThreadPool(
            self._reactor, threads, save, sources, items, Machine()
        )

    def _alone(self) -> NodeSettings:
        self._private = tempfile.mkdtemp(prefix="corotwist-")
        settings = alone(self._private, freePort())
        self._log.info(
            "No configuration: a node alone, its state in {directory}",
            directory=self._private,
        )
        return settings

    def stopService(self) -> Deferred[None]:
        """
        Leave the cluster in order.
        """
        self._stopping = True
        stopped: Deferred[None] = maybeDeferred(super().stopService)
        return stopped.addBoth(self._stopped)

    def _stopped(self, result: object) -> object:
        if self._record is not None:
            self._record.ended(self._end)
        self._removePrivate()
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None
        return result

    def _removePrivate(self) -> None:
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None

    def _running(self) -> None:
        """
        From now on, a record that does not say how we ended means a crash.
        """
        if self._record is not None and not self._stopping:
            self._record.begun()

    def _notStarted(self, failure: Failure) -> None:
        reason = failure.getErrorMessage()
        if failure.check(CorotwistError, OSError):
            self._log.critical("The node cannot start: {reason}", reason=reason)
        else:
            self._log.failure("The node cannot start", failure=failure)
        self._stopProcess(End(Ending.FAILED, reason or "for no reason"))

    def _ended(self, end: End) -> None:
        if end.how is Ending.STOPPED:
            self._log.info("The node stops: {reason}", reason=end.reason)
        else:
            self._log.critical("The node stops: {reason}", reason=end.reason)
            if self.keeper is not None:
                self.keeper.dump(end.reason).addErrback(lambda _: None)
        self._stopProcess(end)

    def _stopProcess(self, end: End) -> None:
        """
        Stop, in order, and let the exit status tell whether it was asked for.
        """
        if self._failed or self._stopping:
            return
        self._end = end
        if end.status:
            self._failed = end.reason
            if self._record is not None:
                # Should anything be in the way of an end in order.
                self._record.ended(end)
        if self._reactor.running:
            if end.status:
                # The last thing that runs: twistd itself always reports success.
                atexit.register(self._fail)
            self._reactor.callLater(0, self._reactor.stop)

    def _killed(self, reason: str) -> None:
        """
        End before anything else leaves this process.
        """
        self._end = End(Ending.KILLED, reason)
        if self._record is not None:
            self._record.ended(self._end)
        self._removePrivate()
        self._fail()

    def _fail(self) -> None:
        if self.keeper is not None:
            self.keeper.logs.stop()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self._end.status)
