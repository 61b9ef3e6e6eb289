"""
Tests of keys written back to the file that they are from.
"""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config import loader
from corotwist.config.keys import keysOf
from corotwist.config.values import u32
from corotwist.errors import ConfigurationError
from corotwist.test.config.factories import FakeHost

FILE = """\
# Ours.
totem {
    version: 2
    # As the network is.
    token:   1000
}
uidgid {
    uid: hacluster
}
"""


class SaveTests(SynchronousTestCase):
    """
    A file in a directory, with users beside it.
    """

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        extras = directory / "uidgid.d"
        extras.mkdir(parents=True)
        (extras / "more").write_text("uidgid {\n    gid: 33\n}\n")
        self.file = directory / "node.conf"
        self.file.write_text(FILE)
        reading = loader.read(str(self.file))
        self.keys = dict(keysOf(reading.document, FakeHost()))

    def save(self) -> str:
        return loader.save([str(self.file)], self.keys.items(), FakeHost())

    def test_unchanged(self) -> None:
        """
        What the file says, or a file beside it, is not said again (E10).
        """
        self.assertIn("uidgid.config.gid.33", self.keys)
        self.assertEqual(self.save(), str(self.file))
        self.assertEqual(self.file.read_text(), FILE)

    def test_changed(self) -> None:
        """
        One value changes one line; comments and blanks stay (E10).
        """
        self.keys["totem.token"] = u32(5000)
        self.save()
        self.assertEqual(self.file.read_text(), FILE.replace("1000", "5000"))

    def test_broken(self) -> None:
        """
        A file that is not to be understood any more is left alone.
        """
        self.file.write_text("totem {\n")
        with self.assertRaises(ConfigurationError):
            self.save()
        self.assertEqual(self.file.read_text(), "totem {\n")

    def test_several(self) -> None:
        """
        Of several files nobody knows which one to write.
        """
        name = str(self.file)
        with self.assertRaises(ConfigurationError) as caught:
            loader.save([name, name], self.keys.items())
        self.assertIn("export", str(caught.exception))
