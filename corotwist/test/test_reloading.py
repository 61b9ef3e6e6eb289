"""
L{corotwist.reloading}.
"""

from collections.abc import Callable
from typing import Any

from attrs import Factory, define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from corotwist.config.build import Built, fromReading
from corotwist.config.database import Database
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.settings import NodeSettings
from corotwist.config.values import i32, string, u8, u32
from corotwist.errors import (
    AccessDenied,
    Busy,
    ConfigurationError,
    InvalidParameter,
    NotExist,
    NotSupported,
    Problem,
)
from corotwist.interfaces import IOperations, IReconfigurable
from corotwist.reloading import (
    OUTCOMES_SHOWN,
    PROBLEMS_SHOWN,
    READING_SECONDS,
    Proposal,
    Reloader,
)
from corotwist.test.config.factories import FILE, conf, environment

LENIENT = "corotwist {\n  strict: no\n}\n"


def read(text: str) -> Built:
    """
    A file.
    """
    return fromReading(parse(text, FILE), environment(), (FILE,))


@implementer(IReconfigurable)
@define(eq=False)
class Part:
    """
    A part of a node.

    @ivar objection: what it raises when it is asked.
    """

    objection: Exception | None = None
    failure: Exception | None = None
    asked: list[NodeSettings] = Factory(list)
    told: list[NodeSettings] = Factory(list)

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        self.asked.append(settings)
        if self.objection is not None:
            raise self.objection

    def reconfigured(self, settings: NodeSettings) -> None:
        self.told.append(settings)
        if self.failure is not None:
            raise self.failure


class FakeLogs:
    """
    Where log lines go.
    """

    def __init__(self) -> None:
        self.opened = 0

    def reopen(self) -> None:
        self.opened += 1

    def dump(self, reason: str) -> Deferred[str]:
        return succeed(f"/dumped because {reason}")


class ReloaderTests(SynchronousTestCase):
    """
    A node of two parts, and its file.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.text = conf()
        self.parts = [Part(), Part()]
        self.logs = FakeLogs()
        settings = read(self.text).usable()
        self.database = Database.of(settings.keys)
        self.reloader = self.make(settings, lambda: read(self.text))

    def make(self, settings: NodeSettings, files: Callable[[], Any] | None) -> Reloader:
        return Reloader(
            self.clock,
            settings,
            self.database,
            lambda: self.parts,
            read=files,
            logs=self.logs,
        )

    def reload(self, **how: bool) -> Any:
        return self.successResultOf(self.reloader.reload(**how))

    def key(self, name: str) -> Any:
        return self.database.map.get(name)

    def test_interfaces(self) -> None:
        """
        It is what operators may ask of a node.
        """
        verifyClass(IOperations, Reloader)
        verifyObject(IOperations, self.reloader)
        verifyObject(IReconfigurable, self.parts[0])

    def test_applied(self) -> None:
        """
        Everybody is asked, then everybody is told; the settings and the keys
        of the database are what the file says. (A44)
        """
        self.text = conf("  token: 5000\n")
        report = self.reload()
        self.assertFalse(report["refused"])
        self.assertEqual([key["key"] for key in report["keys"]], ["totem.token"])
        for part in self.parts:
            self.assertEqual(part.asked, part.told)
            self.assertEqual(part.told, [self.reloader.settings])
        self.assertEqual(self.reloader.settings.totem.timing.token, 5.65)
        self.assertEqual(self.key("totem.token"), u32(5000))
        self.assertEqual(self.key("config.reload_status"), i32(1))
        self.assertEqual(self.key("config.reload_error_message"), string(""))
        self.assertEqual(self.key("config.reload_in_progress"), u8(0))
        self.assertEqual(self.key("config.totemconfig_reload_in_progress"), u8(0))

    def test_sameAsAStart(self) -> None:
        """
        Besides what tells of the reload, the database holds what it would
        after a start with the same file. (A44)
        """
        self.text = conf("  token: 5000\n  join: 60\n", rest="uidgid {\n  uid: 5\n}\n")
        self.reload()
        fresh = Database.of(read(self.text).usable().keys)
        kept = [i for i in self.database.map.items() if not i[0].startswith("config.")]
        self.assertEqual(kept, list(fresh.map.items()))

    def test_objections(self) -> None:
        """
        What the parts have against it is told all at once, and nothing has
        changed, anywhere; the error is in the map. (A44)
        """
        problem = Problem("node.conf", 3, "logging.logfile", "cannot be opened")
        self.parts[0].objection = ConfigurationError(problem)
        self.parts[1].objection = ZeroDivisionError("oops")
        before = self.reloader.settings
        self.text = conf("  token: 5000\n")
        report = self.reload()
        self.assertTrue(report["refused"])
        self.assertIn("node.conf:3: logging.logfile: cannot be", report["problems"][0])
        self.assertIn("ZeroDivisionError", report["problems"][1])
        self.assertEqual(self.reloader.settings, before)
        self.assertEqual([part.told for part in self.parts], [[], []])
        self.assertRaises(NotExist, self.key, "totem.token")
        self.assertEqual(self.key("config.reload_status"), i32(7))
        self.assertIn(
            "logging.logfile", self.key("config.reload_error_message").content
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_validator(self) -> None:
        """
        Who watches over a key of the database is asked too, before anybody is
        told anything. (A15)
        """

        def check(change: Any) -> None:
            raise AccessDenied("the token stays as it is")

        self.database.map.validate("totem.token", check)
        self.text = conf("  join: 60\n  token: 5000\n")
        report = self.reload()
        self.assertIn("the token stays as it is", report["problems"][0])
        self.assertEqual([part.told for part in self.parts], [[], []])
        self.assertRaises(NotExist, self.key, "totem.join")

    def test_partFails(self) -> None:
        """
        A part that agreed and then fails does not keep the others from
        following.
        """
        self.parts[0].failure = ZeroDivisionError()
        self.text = conf("  token: 5000\n")
        self.reload()
        self.assertEqual(self.parts[1].told, [self.reloader.settings])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_dryRun(self) -> None:
        """
        A dry run asks everybody and tells nobody, and leaves no trace. (H20)
        """
        self.text = conf("  token: 5000\n")
        before = self.database.map.items()
        report = self.reload(dryRun=True)
        self.assertEqual(len(report["keys"]), 1)
        self.assertEqual([len(part.asked) for part in self.parts], [1, 1])
        self.assertEqual([part.told for part in self.parts], [[], []])
        self.assertEqual(self.database.map.items(), before)
        self.text = conf("  token: soon\n")
        self.assertTrue(self.reload(dryRun=True)["refused"])
        self.assertEqual(self.database.map.items(), before)

    def test_oneAtATime(self) -> None:
        """
        While the files are read, and until it is decided what comes of it,
        nobody else changes anything.
        """
        waiting: Deferred[Built] = Deferred()
        self.reloader = self.make(self.reloader.settings, lambda: waiting)
        proposed = self.reloader.propose()
        for _ in range(2):
            self.failureResultOf(self.reloader.reload(), Busy)
            self.assertRaises(Busy, self.reloader.changed, {"totem.join": u32(60)})
            if not waiting.called:
                waiting.callback(read(conf("  token: 5000\n")))
        proposal = self.successResultOf(proposed)
        self.reloader.abandon(proposal, "never mind")
        self.assertEqual(self.key("config.reload_error_message"), string("never mind"))
        self.reloader.changed({"totem.join": u32(60)})
        self.assertEqual(self.key("totem.join"), u32(60))

    def test_neverRead(self) -> None:
        """
        Reading that does not come to an end is given up.
        """
        self.reloader = self.make(self.reloader.settings, Deferred)
        asked = self.reloader.reload()
        self.clock.advance(READING_SECONDS)
        report = self.successResultOf(asked)
        self.assertIn("not read", report["problems"][0])
        self.flushLoggedErrors()

    def test_readingFails(self) -> None:
        """
        So is reading that fails in a way that nobody expected.
        """

        def files() -> Built:
            raise MemoryError("too long")

        self.reloader = self.make(self.reloader.settings, files)
        report = self.reload()
        self.assertIn("MemoryError", report["problems"][0])
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)

    def test_planningFails(self) -> None:
        """
        Nor is the node busy for ever with what it cannot make a plan of.
        """
        self.reloader = self.make(self.reloader.settings, lambda: None)
        self.failureResultOf(self.reloader.reload(), AttributeError)
        self.reloader.changed({"totem.join": u32(60)})
        self.assertEqual(self.key("totem.join"), u32(60))

    def test_noFile(self) -> None:
        """
        A node without a file has nothing to read again.
        """
        self.reloader = self.make(self.reloader.settings, None)
        self.failureResultOf(self.reloader.reload(), NotSupported)

    def test_manyKeys(self) -> None:
        """
        A report has its limit, and says how much is missing.
        """
        self.text = conf(rest=LENIENT)
        self.reload()
        many = "".join(f"  mine{n}: 1\n" for n in range(OUTCOMES_SHOWN + 5))
        self.text = conf(many, rest=LENIENT)
        report = self.reload()
        self.assertEqual((len(report["keys"]), report["more"]), (OUTCOMES_SHOWN, 5))

    def test_manyProblems(self) -> None:
        """
        So have problems.
        """
        self.text = conf("".join(f"  wrong{n}: 1\n" for n in range(PROBLEMS_SHOWN + 5)))
        report = self.reload()
        self.assertEqual(len(report["problems"]), PROBLEMS_SHOWN + 1)
        self.assertEqual(report["problems"][-1], "and 5 more")

    def test_follows(self) -> None:
        """
        Keys of options are written through it; orders to engines, and keys
        that mean nothing to us, are not.
        """
        for name in ("totem.token", "quorum.two_node", "uidgid.uid.5", "logging.debug"):
            self.assertTrue(self.reloader.follows(name))
        for name in ("quorum.cancel_wait_for_all", "mine.totem.token", "cluster.x"):
            self.assertFalse(self.reloader.follows(name))

    def test_written(self) -> None:
        """
        A key that is written counts at once; deleted, the default does again;
        what is wrong is refused with the reason, and nothing changed. (A28)
        """
        self.reloader.changed({"totem.token": u32(5000)})
        self.assertEqual(self.parts[0].told[-1].totem.timing.token, 5.65)
        self.reloader.changed({"totem.token": None})
        self.assertEqual(self.parts[0].told[-1].totem.timing.token, 3.65)
        self.assertRaises(NotExist, self.key, "totem.token")
        error = self.assertRaises(
            InvalidParameter,
            self.reloader.changed,
            {"totem.join": u32(60), "totem.token": u32(5)},
        )
        self.assertIn("totem.token: is 5", str(error))
        self.assertRaises(NotExist, self.key, "totem.join")
        self.assertEqual(len(self.parts[0].told), 2)

    def test_logs(self) -> None:
        """
        Log files are opened anew, and the flight recorder is written, by whom
        it concerns; without a log of ours there is nothing to write.
        """
        self.reloader.reopenLogs()
        self.assertEqual(self.logs.opened, 1)
        path = self.successResultOf(self.reloader.dumpLogs("x"))
        self.assertEqual(path, "/dumped because x")
        bare = Reloader(self.clock, self.reloader.settings, self.database, list)
        bare.reopenLogs()
        self.failureResultOf(bare.dumpLogs("x"), NotSupported)

    def test_proposal(self) -> None:
        """
        Only the proposal that was made last can be applied.
        """
        proposal: Proposal = self.successResultOf(self.reloader.propose())
        self.reloader.apply(proposal)
        self.assertRaises(AssertionError, self.reloader.apply, proposal)
