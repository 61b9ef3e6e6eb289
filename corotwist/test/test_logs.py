"""
Where log lines go.
"""

from io import StringIO
from pathlib import Path

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import LogSettings
from corotwist.logs import observer


class ObserverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.terminal = StringIO()

    def log(self, settings: LogSettings, terminal: bool = True) -> None:
        """
        One line of each kind.
        """
        observing = observer(settings, self.terminal if terminal else None)
        for level in (LogLevel.debug, LogLevel.info, LogLevel.critical):
            observing(
                {
                    "log_level": level,
                    "log_format": level.name,
                    "log_time": 0.0,
                    "log_namespace": "test",
                }
            )

    def test_terminal(self) -> None:
        """
        Lines go to the terminal, without those for developers.
        """
        self.log(LogSettings())
        lines = self.terminal.getvalue().splitlines()
        self.assertEqual([line.split()[-1] for line in lines], ["info", "critical"])

    def test_debug(self) -> None:
        """
        Developers get theirs on request.
        """
        self.log(LogSettings(debug=True))
        self.assertIn("#debug", self.terminal.getvalue())

    def test_file(self) -> None:
        """
        A log file gets the same, behind what is in it.
        """
        path = Path(self.mktemp())
        path.write_text("before\n")
        self.log(LogSettings(file=str(path)))
        self.assertEqual(path.read_text(), "before\n" + self.terminal.getvalue())

    def test_nowhere(self) -> None:
        """
        Both targets may be off, and a daemon has no terminal.
        """
        self.log(LogSettings(toStderr=False))
        self.log(LogSettings(), terminal=False)
        self.assertEqual(self.terminal.getvalue(), "")

    def test_fileRefused(self) -> None:
        """
        A file that cannot be opened is told to whoever asked.
        """
        self.assertRaises(
            IsADirectoryError, observer, LogSettings(file="/"), self.terminal
        )
