"""
The logging section.
"""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import LogPart, LogSettings
from corotwist.logs.levels import ALL_TRACES
from corotwist.test.config.factories import built, conf, settings, told

# As corosync has it when nothing is said.
SILENT = LogPart(toSyslog=True)


def log(text: str) -> LogSettings:
    """
    What a section says.
    """
    return settings(conf(rest=f"logging {{\n{text}\n}}")).log


def wrong(text: str) -> list[str]:
    """
    What is to be said against it.
    """
    return told(built(conf(rest=f"logging {{\n{text}\n}}")))


class WholeTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        """
        The defaults are corosync's.
        """
        self.assertEqual(settings(conf()).log, LogSettings(SILENT))

    def test_everything(self) -> None:
        """
        Each option arrives.
        """
        found = log(
            "to_stderr: no\nto_logfile: yes\nlogfile: /log\nto_syslog: no\n"
            "to_journal: yes\nlogfile_priority: err\nsyslog_priority: crit\n"
            "stderr_priority: notice\njournal_priority: debug\nlogfile_format: json\n"
            "syslog_facility: local3\ndebug: on\ntrace: 1 sync\ntimestamp: off\n"
            "fileline: on\nfunction_name: on\nblackbox: off\nstderr_format: json"
        )
        part = LogPart(
            toStderr=False,
            toSyslog=False,
            toJournal=True,
            file="/log",
            fileFormat="json",
            stderrPriority="notice",
            filePriority="err",
            syslogPriority="crit",
            journalPriority="debug",
            facility="local3",
            debug=True,
            trace=frozenset({1, 3}),
        )
        self.assertEqual(
            found,
            LogSettings(
                part,
                timestamp="off",
                fileline=True,
                functionName=True,
                stderrFormat="json",
                recorder=False,
            ),
        )

    def test_trace(self) -> None:
        """
        C{debug: trace} is all of it.
        """
        found = log("debug: trace").rest
        self.assertEqual((found.debug, found.trace), (True, ALL_TRACES))

    def test_noFile(self) -> None:
        """
        Lines for a file need one; a file for no lines is none.
        """
        self.assertIn("needs 'logfile: PATH'", wrong("to_logfile: yes")[0])
        self.assertIsNone(log("logfile: /log").rest.file)

    def test_wrong(self) -> None:
        """
        Wrong words are told what would be right.
        """
        self.assertIn("3 sync", wrong("trace: synk")[0])
        self.assertIn("did you mean daemon?", wrong("syslog_facility: deamon")[0])


class PartTests(SynchronousTestCase):
    def part(self, text: str, around: str = "", name: str = "CPG") -> Any:
        """
        Of one subsystem.
        """
        text = f"{around}\nlogger_subsys {{\nsubsys: {name}\n{text}\n}}"
        return dict(log(text).parts)[name]

    def test_inherited(self) -> None:
        """
        What a part does not say it has from the whole, wherever that stands.
        """
        found = log(
            "logger_subsys {\nsubsys: CPG\nto_stderr: no\n}\n"
            "logfile_priority: err\nto_logfile: yes\nlogfile: /log"
        )
        self.assertEqual(
            found.parts,
            (
                (
                    "CPG",
                    LogPart(
                        toStderr=False, toSyslog=True, file="/log", filePriority="err"
                    ),
                ),
            ),
        )

    def test_file(self) -> None:
        """
        A part may have a file of its own, or none.
        """
        around = "to_logfile: yes\nlogfile: /log"
        self.assertEqual(self.part("logfile: own", around).file, "own")
        self.assertIsNone(self.part("to_logfile: no", around).file)
        self.assertEqual(self.part("to_logfile: yes\nlogfile: /x").file, "/x")
        text = "logger_subsys {\nsubsys: CPG\nto_logfile: yes\n}"
        self.assertIn("needs 'logfile: PATH'", wrong(text)[0])

    def test_debug(self) -> None:
        """
        A part may say more than the whole, or less.
        """
        self.assertTrue(self.part("debug: on").debug)
        self.assertFalse(self.part("debug: off", "debug: on").debug)
        quiet = self.part("debug: off", "debug: trace")
        self.assertEqual((quiet.debug, quiet.trace), (False, frozenset()))
        self.assertEqual(self.part("trace: 4", "trace: 1").trace, {4})
        self.assertEqual(self.part("trace: none", "trace: 1").trace, frozenset())
        self.assertEqual(self.part("to_stderr: no", "trace: 1").trace, {1})

    def test_twice(self) -> None:
        """
        A part may be named in both ways, and says both.
        """
        text = (
            "logger_subsys {\nsubsys: CPG\ndebug: on\n}\n"
            "logging_daemon {\nname: corosync\nsubsys: CPG\nto_stderr: no\n}"
        )
        ((name, part),) = log(text).parts
        self.assertEqual((name, part.debug, part.toStderr), ("CPG", True, False))

    def test_names(self) -> None:
        """
        A name that is almost one of ours is a mistake; an engine of somebody
        else has its own.  (A24)
        """

        def named(name: str) -> str:
            return f"logger_subsys {{\nsubsys: {name}\n}}"

        self.assertIn("did you mean TOTEM?", wrong(named("TOTM"))[0])
        self.assertEqual(log(named("COUNTER")).parts, (("COUNTER", SILENT),))
        self.assertEqual(log(named("cpg")).parts, (("CPG", SILENT),))
        self.assertIn("cannot be", wrong(named("a b"))[0])
        self.assertIn("missing", wrong("logger_subsys {\ndebug: on\n}")[0])

    def test_format(self) -> None:
        """
        One file has one format.
        """
        text = (
            "to_logfile: yes\nlogfile: /log\n"
            "logger_subsys {\nsubsys: CPG\nlogfile_format: json\n}"
        )
        self.assertIn("/log has another one", wrong(text)[0])

    def test_daemons(self) -> None:
        """
        What is said for corosync by name is for us; what is said for others
        is for them.
        """
        text = (
            "logging_daemon {\nname: corosync\ndebug: on\n}\n"
            "logging_daemon {\nname: corosync\nsubsys: CPG\nto_stderr: no\n}\n"
            "logging_daemon {\nname: pacemaker\nto_stderr: no\n}"
        )
        found = log(text)
        self.assertTrue(found.rest.debug and found.rest.toStderr)
        ((name, part),) = found.parts
        self.assertEqual((name, part.debug, part.toStderr), ("CPG", True, False))
