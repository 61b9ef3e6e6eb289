"""
What operators ask of nodes: L{corotwist.ipc.cfg}.
"""

import json
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
from corotwist.engines.operatorinterfaces import IOperator
from corotwist.errors import AccessDenied, NotExist
from corotwist.ipc.cfg import OperatorLocator
from corotwist.ipc.cfgcommands import Dump, ReopenLogs, Report
from corotwist.ipc.operator import Operator
from corotwist.ipc.wire import ERRORS, PART_BYTES

OURS = 77


@implementer(IOperator)
@define
class FakeOperator:
    """
    A node that does as it is told.
    """

    report: dict[str, Any] = Factory(lambda: {"status": "applied"})
    asked: list[Any] = Factory(list)

    def reload(self, **how: bool) -> Deferred[dict[str, Any]]:
        self.asked.append(how)
        return succeed(self.report)

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
        ):
            self.failureResultOf(asked, AccessDenied)
        self.assertEqual(len(self.operator.asked), 1)

    def test_onRecord(self) -> None:
        """
        Who asked for what is in the log. (I14)
        """
        events: list[Any] = []
        observer = cast("ILogObserver", events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
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
