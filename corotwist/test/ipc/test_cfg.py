"""
What operators ask of nodes: L{corotwist.ipc.cfg}.
"""

import json
from collections.abc import Callable
from typing import Any, cast

from attrs import Factory, define
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from corotwist.engines.cfg import OperatorEngine
from corotwist.engines.operatorinterfaces import (
    Insistence,
    IOperator,
    IShutdownTracker,
    LinkStatus,
    NodeStatus,
    Objection,
    RingStatus,
)
from corotwist.errors import AccessDenied, Exists, InvalidParameter, NotExist
from corotwist.ipc.cfg import OperatorLocator
from corotwist.ipc.cfgcommands import (
    Dump,
    ReopenLogs,
    ReplyToShutdown,
    Report,
    TryShutdown,
)
from corotwist.ipc.operator import Operator
from corotwist.ipc.wire import ERRORS, PART_BYTES

OURS = 77
LINK = LinkStatus(True, True, False, 1500, "10.0.0.1", "10.0.0.2")


@implementer(IOperator)
@define
class FakeOperator:
    """
    A node that does as it is told.
    """

    report: dict[str, Any] = Factory(lambda: {"status": "applied"})
    asked: list[Any] = Factory(list)
    trackers: list[Any] = Factory(list)

    def reload(self, **how: bool) -> Deferred[dict[str, Any]]:
        self.asked.append(how)
        return succeed(self.report)

    def killNode(self, nodeid: int, reason: str) -> Deferred[None]:
        self.asked.append((nodeid, reason))
        return succeed(None)

    def tryShutdown(self, how: Insistence, who: str) -> Deferred[tuple[Objection, ...]]:
        self.asked.append((how, who))
        return succeed((Objection(5, "app", "says no"),))

    def trackShutdown(self, tracker: IShutdownTracker) -> None:
        self.trackers.append(tracker)

    def untrackShutdown(self, tracker: IShutdownTracker) -> None:
        self.trackers.remove(tracker)

    def replyToShutdown(self, tracker: IShutdownTracker, *, yes: bool) -> None:
        self.asked.append((tracker, yes))

    def nodeStatus(self, nodeid: int) -> NodeStatus:
        return NodeStatus(nodeid, True, False, False, 0, 1, 1, (LINK,))

    def ringStatus(self) -> tuple[RingStatus, ...]:
        return (RingStatus("0 10.0.0.1", "OK"),)

    def nodeAddresses(self, nodeid: int) -> tuple[str, ...]:
        return (f"10.0.0.{nodeid}",)

    def localNodeid(self) -> int:
        return 1

    def reopenLogs(self) -> None:
        self.asked.append("reopen")

    def dumpLogs(self, reason: str) -> Deferred[str]:
        self.asked.append(reason)
        return succeed("/path")


def _understood(failure: Failure) -> None:
    """
    An error, as the client gets it.
    """
    error: Any = failure.value
    kinds = {code: kind for kind, code in ERRORS.items()}
    raise kinds[error.errorCode](error.description)


@define
class FakeClient:
    """
    Who asks.
    """

    uid: int
    pid: int = 100
    told: list[Any] = Factory(list)
    endings: list[Any] = Factory(list)

    def tell(self, command: type[amp.Command], **arguments: Any) -> None:
        # As it crosses the wire.
        box = command.makeArguments(arguments, None)  # type: ignore[no-untyped-call]
        self.told.append((command, command.parseArguments(box, None)))  # type: ignore[no-untyped-call]

    def atEnd(self, callback: Callable[[], object]) -> None:
        self.endings.append(callback)


class OperatorTests(SynchronousTestCase):
    """
    The client's side and the node's, with nothing between them but boxes.
    """

    def setUp(self) -> None:
        self.operator = FakeOperator()
        self.client = FakeClient(0)
        self.locator = OperatorLocator(self.operator, self.client, lambda: OURS)
        self.remote = Operator(self.ask)

    def ask(self, command: type[amp.Command], **values: Any) -> Deferred[Any]:
        """
        A command there, and its answer back, as they cross the wire.
        """
        box = command.makeArguments(values, None)  # type: ignore[no-untyped-call]
        for part in box.values():
            self.assertLess(len(part), 1 << 16)
        respond = self.locator.locateResponder(command.commandName)
        arguments = amp.AmpBox({amp.ASK: b"1", **box})
        answer = maybeDeferred(respond, arguments)
        return answer.addCallbacks(
            lambda answer: command.parseResponse(answer, None), _understood
        )

    def test_reload(self) -> None:
        """
        Wishes go there, the report comes back. (F7)
        """
        report = self.successResultOf(self.remote.reload(dryRun=True, local=True))
        self.assertEqual(report, {"status": "applied"})
        (how,) = self.operator.asked
        self.assertEqual(how, {"dryRun": True, "force": False, "local": True})

    def test_longReport(self) -> None:
        """
        A report that does not fit into one value comes in parts.
        """
        self.operator.report = {"text": "x" * (3 * PART_BYTES)}
        report = self.successResultOf(self.remote.reload())
        self.assertEqual(report, self.operator.report)
        self.failureResultOf(self.ask(Report, part=9), NotExist)

    def test_noReport(self) -> None:
        """
        Who has not reloaded gets no report.
        """
        self.failureResultOf(self.ask(Report, part=0), NotExist)

    def test_logs(self) -> None:
        """
        Logs are opened anew, the flight recorder is written. (F7, A31)
        """
        self.successResultOf(self.remote.reopenLogs())
        self.assertEqual(self.successResultOf(self.remote.dump("why")), "/path")
        self.successResultOf(self.ask(Dump))
        self.assertEqual(self.operator.asked, ["reopen", "why", "asked for"])

    def test_who(self) -> None:
        """
        Root and the daemon's own user may; others may not, whoever may be a
        client. (I12)
        """
        self.client.uid = OURS
        self.successResultOf(self.remote.reload())
        self.client.uid = 1000
        for asked in (
            self.remote.reload(),
            self.ask(ReopenLogs),
            self.remote.dump("why"),
            self.remote.killNode(2),
            self.remote.tryShutdown(),
        ):
            self.failureResultOf(asked, AccessDenied)
        self.assertEqual(len(self.operator.asked), 1)

    def test_look(self) -> None:
        """
        How nodes are, every client may ask. (F2, F6)
        """
        self.client.uid = 1000
        status = self.successResultOf(self.remote.nodeStatus(2))
        self.assertEqual(status, self.operator.nodeStatus(2))
        links = self.successResultOf(self.remote.ringStatus())
        self.assertEqual(links, self.operator.ringStatus())
        addresses = self.successResultOf(self.remote.nodeAddresses(2))
        self.assertEqual(addresses, ("10.0.0.2",))
        self.assertEqual(self.successResultOf(self.remote.localGet()), 1)

    def test_kill(self) -> None:
        """
        Whom to kill, and why, goes there and is on record. (F3, I14)
        """
        events = self.record()
        self.successResultOf(self.remote.killNode(2, "it lies"))
        (told,) = [formatEvent(e) for e in events if e.get("what")]
        self.assertEqual(self.operator.asked, [(2, "it lies")])
        self.assertEqual(told, "Process 100 of user 0 asks to kill node 2: it lies")

    def test_shutdown(self) -> None:
        """
        How to stop, and who wants it, goes there and is on record; who objected
        comes back. (F4, I14)
        """
        events = self.record()
        asked = self.remote.tryShutdown(Insistence.REGARDLESS)
        (told,) = [formatEvent(e) for e in events if e.get("what")]
        self.assertEqual(
            told, "Process 100 of user 0 asks to stop this node (regardless)"
        )
        objections = self.successResultOf(asked)
        self.assertEqual(objections, (Objection(5, "app", "says no"),))
        wish = (Insistence.REGARDLESS, "process 100 of user 0")
        self.assertEqual(self.operator.asked, [wish])
        self.failureResultOf(self.ask(TryShutdown, how=3), InvalidParameter)

    def test_asked(self) -> None:
        """
        A client is asked and answers, until it does not mind or is gone.
        (F1, F5)
        """
        heard: list[Insistence] = []
        answers = [True, False]

        def asked(how: Insistence) -> bool:
            heard.append(how)
            return answers.pop(0)

        self.failureResultOf(self.remote.untrackShutdown(), NotExist)
        self.failureResultOf(self.ask(ReplyToShutdown, yes=True), NotExist)
        self.successResultOf(self.remote.trackShutdown(asked, "n" * 99))
        self.failureResultOf(self.remote.trackShutdown(asked), Exists)
        (tracker,) = self.operator.trackers
        self.assertEqual((tracker.pid, tracker.name), (100, "n" * 64))
        for _ in range(2):
            tracker.shutdownProposed(Insistence.REGARDLESS)
            self.notify()
        tracker.shutdownWithdrawn()
        self.notify()
        self.assertEqual(heard, [Insistence.REGARDLESS] * 2)
        self.assertEqual(self.operator.asked, [(tracker, True), (tracker, False)])
        (gone,) = self.client.endings
        gone()
        self.assertEqual(self.operator.trackers, [])
        gone()

    def notify(self) -> None:
        """
        Have the client's side hear what it was told.
        """
        command, arguments = self.client.told.pop(0)
        self.remote.responders()[command](**arguments)

    def record(self) -> list[Any]:
        """
        What is logged from here on.
        """
        events: list[Any] = []
        observer = cast("ILogObserver", events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return events

    def test_onRecord(self) -> None:
        """
        Who asked for what is in the log. (I14)
        """
        events = self.record()
        self.successResultOf(self.remote.reload())
        (told,) = [formatEvent(e) for e in events if e.get("what")]
        self.assertEqual(told, "Process 100 of user 0 asks to reload the configuration")

    def test_interfaces(self) -> None:
        """
        The engine is what the fake is.
        """
        verifyClass(IOperator, OperatorEngine)
        verifyClass(IOperator, FakeOperator)

    def test_json(self) -> None:
        """
        On the wire it is JSON.
        """
        respond = self.locator.locateResponder(b"cfg.reload")
        box = self.successResultOf(respond(amp.AmpBox({amp.ASK: b"1"})))
        self.assertEqual(json.loads(box[b"json"]), self.operator.report)
