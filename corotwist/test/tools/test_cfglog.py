"""
C{corotwist cfg log}.
"""

import json
import sys
from io import StringIO
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.values import Value, string
from corotwist.errors import InvalidParameter
from corotwist.test.tools.schemas import differences
from corotwist.tools.cfglog import LogOptions, log


@define
class FakeMap:
    """
    Some keys.
    """

    keys: dict[str, Value] = field(factory=dict)

    def items(self, prefix: str) -> Deferred[tuple[tuple[str, Value], ...]]:
        found = sorted(self.keys.items())
        return succeed(tuple(entry for entry in found if entry[0].startswith(prefix)))

    def set(self, name: str, value: Value) -> Deferred[int]:
        if value.content == "wrong":
            return fail(InvalidParameter("wrong"))
        self.keys[name] = value
        return succeed(0)


@define
class FakeClient:
    """
    Connected to a node.
    """

    cmap: FakeMap = field(factory=FakeMap)


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client: Any = FakeClient()
        self.output = StringIO()
        self.patch(sys, "stdout", self.output)

    def done(self, *arguments: str) -> Deferred[int]:
        """
        What becomes of a command line.
        """
        options = LogOptions()
        options.parseOptions(list(arguments))
        return Deferred.fromCoroutine(log(self.client, options))

    def test_nothing(self) -> None:
        """
        Without a change, what is said about the log is printed.
        """
        self.client.cmap.keys = {
            "logging.debug": string("on"),
            "logging.logger_subsys.CPG.trace": string("1"),
            "totem.token": string("1"),
        }
        self.assertEqual(self.successResultOf(self.done()), 0)
        self.assertEqual(
            self.output.getvalue(),
            "logging.debug = on\nlogging.logger_subsys.CPG.trace = 1\n",
        )

    def test_one(self) -> None:
        """
        One subsystem, wherever its name stands.  (A25)
        """
        self.successResultOf(self.done("cpg", "--trace", "1,sync", "--json"))
        said = {
            "logging.logger_subsys.CPG.subsys": "CPG",
            "logging.logger_subsys.CPG.trace": "1,sync",
        }
        found = json.loads(self.output.getvalue())
        self.assertEqual(differences(found), [])
        self.assertEqual(found["options"], said)
        self.successResultOf(self.done("--debug", "on", "cpg"))
        key = "logging.logger_subsys.CPG.debug"
        self.assertEqual(self.client.cmap.keys[key], string("on"))

    def test_all(self) -> None:
        """
        Or all of them.
        """
        self.successResultOf(self.done("--syslog-priority", "err"))
        self.assertEqual(
            self.client.cmap.keys, {"logging.syslog_priority": string("err")}
        )

    def test_refused(self) -> None:
        """
        What the node refuses is told.
        """
        self.failureResultOf(self.done("--trace", "wrong"), InvalidParameter)
