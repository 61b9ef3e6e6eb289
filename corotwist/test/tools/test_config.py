"""
C{corotwist config}: what it prints, what it writes, and how it ends.
"""

import json
import os
import stat
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from corotwist.test.tools.schemas import differences
from corotwist.tools import config
from corotwist.tools.main import COMMANDS

GOOD = """\
# mine
totem {
  version: 2
  token: 1000\t
  transport: udpu
}
nodelist {
  node {
    ring0_addr: 127.0.0.1
    nodeid: 1
  }
}
"""


SYNTAX = "'x' is neither 'name {', nor 'key: value', nor }"


class ToolTestCase(SynchronousTestCase):
    """
    A directory with a configuration in it.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)
        self.file = self.write("node.conf", GOOD)

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def run_(self, *arguments: str) -> tuple[int, str, str]:
        """
        The exit status, and what is printed where.
        """
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = config.run(arguments)
        return status, out.getvalue(), err.getvalue()


class ReadTests(ToolTestCase):
    def test_check(self) -> None:
        """
        A file that a node would take is told so, with status 0; of another one
        everything is told, with status 1.  (A42)
        """
        self.assertEqual(
            self.run_("check", self.file), (0, "", "The configuration can be used.\n")
        )
        bad = self.write("bad.conf", GOOD.replace("token: 1000", "tokn: 1\n  x"))
        status, out, err = self.run_("check", bad)
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(
            err.splitlines(),
            [
                f"{bad}:4:3: totem.tokn: no such option; did you mean token?",
                f"{bad}:5:3: syntax: {SYNTAX}",
            ],
        )

    def test_checkJson(self) -> None:
        """
        The same for programs.
        """
        bad = self.write("bad.conf", GOOD.replace("token: 1000", "token: 1"))
        status, out, err = self.run_("check", "--json", bad)
        self.assertEqual((status, err), (1, ""))
        told = json.loads(out)
        self.assertEqual(differences(told), [])
        self.assertEqual((told["usable"], told["warnings"]), (False, []))
        self.assertEqual(
            told["problems"],
            [
                {
                    "file": bad,
                    "line": 4,
                    "column": 10,
                    "key": "totem.token",
                    "text": "is 1, and must be 30 to 86400000 ms",
                }
            ],
        )

    def test_checkSeveral(self) -> None:
        """
        Several files are one configuration.  (A41)
        """
        part = self.write("b.toml", "[totem]\njoin = 20\n")
        status, _, err = self.run_("check", self.file, part)
        self.assertEqual(status, 1)
        self.assertIn(f"{part}:2:8: totem.join: is 20", err)

    def test_show(self) -> None:
        """
        The keys that a node has for a file, as corosync-cmapctl prints them.
        (A20)
        """
        status, out, _ = self.run_("show", self.file)
        self.assertEqual(status, 0)
        self.assertIn("totem.token (u32) = 1000\n", out)
        status, out, _ = self.run_("show", "--json", self.file)
        found = json.loads(out)
        self.assertEqual(differences(found), [])
        token = {"key": "totem.token", "type": "u32", "value": 1000}
        self.assertIn(token, found["keys"])

    def test_get(self) -> None:
        """
        One key; its absence is an error.  (A20, E11)
        """
        found = self.run_("get", "-c", self.file, "nodelist.node.0.nodeid")
        self.assertEqual(found, (0, "nodelist.node.0.nodeid (u32) = 1\n", ""))
        status, out, err = self.run_("get", "-c", self.file, "totem.join")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("totem.join: there is no such key", err)

    def test_unreadable(self) -> None:
        """
        A file that is not there, or is not understood, is told; nothing is made
        of the part that was understood.
        """
        status, out, err = self.run_("show", str(self.directory / "other"))
        self.assertEqual((status, out), (1, ""))
        self.assertIn("cannot be read", err)
        bad = self.write("bad.json", '{"totem": {"version": 2}')
        status, out, err = self.run_("convert", bad, "toml:-")
        self.assertEqual((status, out), (1, ""))
        self.assertIn(f"{bad}:1:", err)

    def test_formats(self) -> None:
        """
        The formats that there are, with their versions.  (A39)
        """
        status, out, _ = self.run_("formats", "--json")
        self.assertEqual(status, 0)
        self.assertEqual(differences(json.loads(out)), [])
        names = [one["name"] for one in json.loads(out)["formats"]]
        self.assertEqual(names, ["cluster", "corosync", "json", "toml", "xml"])
        self.assertEqual(self.run_("formats")[1].count("\n"), len(names))

    def test_wrongUse(self) -> None:
        """
        A command line that says nothing sensible ends with status 2.
        """
        for arguments in (
            (),
            ("paint",),
            ("get",),
            ("set", "totem.token", "5"),
            ("convert", self.file),
            ("check", self.file, "--jsno"),
        ):
            status, out, err = self.run_(*arguments)
            self.assertEqual((status, out), (2, ""), arguments)
            self.assertIn("corotwist config", err)
        self.assertEqual(self.run_("--help")[0], 0)

    def test_command(self) -> None:
        """
        It is one of the tools.
        """
        self.assertIn("config", COMMANDS)


class WriteTests(ToolTestCase):
    def text(self) -> str:
        return Path(self.file).read_text()

    def test_set(self) -> None:
        """
        A value changes on its line, and nothing else does.  (A20, A40, E11)
        """
        changed = self.run_("set", "-c", self.file, "totem.token", "u32", "2000")
        self.assertEqual(changed, (0, "", ""))
        self.assertEqual(self.text(), GOOD.replace("1000\t", "2000"))
        self.run_("set", "-c", self.file, "quorum.two_node", "u8", "0")
        self.assertTrue(self.text().endswith("quorum {\n    two_node: 0\n}\n"))

    def test_setRefused(self) -> None:
        """
        What no file may say is refused, with the reason, and the file stays as
        it is.  (A16, A17)
        """
        for key, kind, value, reason in (
            ("totem.tokn", "u32", "1", "did you mean token?"),
            ("totem.token", "str", "x", "is u32, not str"),
            ("totem.token", "u32", "20", "must be 30 to 86400000 ms"),
            ("totem.token", "u32", "x", "is no u32"),
            ("totem.token", "u33", "1", "is no type"),
            ("totem.interface.0.mcastprot", "u16", "1", "did you mean mcastport?"),
        ):
            status, _, err = self.run_("set", "-c", self.file, key, kind, value)
            self.assertEqual(status, 1)
            self.assertIn(reason, err)
        self.assertEqual(self.text(), GOOD)

    def test_delete(self) -> None:
        """
        An option goes, its section stays.  (A20)
        """
        self.assertEqual(self.run_("delete", "-c", self.file, "totem.token")[0], 0)
        self.assertEqual(self.text(), GOOD.replace("  token: 1000\t\n", ""))
        self.assertEqual(self.run_("delete", "-c", self.file, "totem.token")[0], 1)

    def test_convert(self) -> None:
        """
        A file in another format says the same; what the format has no place for
        is told.  (A39, A40)
        """
        other = str(self.directory / "node.json")
        status, _, err = self.run_("convert", self.file, other)
        self.assertEqual(status, 0)
        self.assertIn("comments: 1 left out: JSON has none", err)
        shown = [self.run_("show", file)[1] for file in (self.file, other)]
        self.assertEqual(shown[0], shown[1])
        status, out, err = self.run_("convert", other, "toml:-")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("[totem]\nversion = 2\n", out)

    def test_convertXml(self) -> None:
        """
        corosync.xml becomes a corosync.conf, as with corosync-xmlproc, and back:
        it says the same.  (F16)
        """
        there = str(self.directory / "corosync.xml")
        again = str(self.directory / "again.conf")
        self.assertEqual(self.run_("convert", self.file, there)[0], 0)
        self.assertIn("<corosync>", Path(there).read_text())
        self.assertEqual(self.run_("convert", there, again)[0], 0)
        shown = [self.run_("show", file)[1] for file in (self.file, there, again)]
        self.assertEqual(shown[1:], shown[:1] * 2)
        self.assertIn("totem {", Path(again).read_text())

    def test_convertNothingElse(self) -> None:
        """
        Users and groups in files beside it stay there.
        """
        (self.directory / "uidgid.d").mkdir()
        self.write("uidgid.d/a", "uidgid {\n  uid: 5\n}\n")
        self.assertIn("uidgid.config.uid.5", self.run_("show", self.file)[1])
        self.assertNotIn("uidgid", self.run_("convert", self.file, "json:-")[1])

    def test_modeIsKept(self) -> None:
        """
        A file keeps its mode; a new one is for its owner only, as it may hold a
        key.
        """
        path = Path(self.file)
        path.chmod(0o640)
        self.run_("set", "-c", self.file, "totem.token", "u32", "2000")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
        new = self.directory / "new.toml"
        self.run_("convert", self.file, str(new))
        self.assertEqual(stat.S_IMODE(new.stat().st_mode), 0o600)

    def test_linkStays(self) -> None:
        """
        Where a link is named, what it leads to is written.
        """
        link = self.directory / "link.conf"
        link.symlink_to("node.conf")
        self.run_("set", "-c", str(link), "totem.token", "u32", "2000")
        self.assertTrue(link.is_symlink())
        self.assertIn("2000", self.text())

    def test_nothingIsLost(self) -> None:
        """
        A disk that is full leaves the file as it was, and no other beside it.
        """

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        status, _, err = self.run_("set", "-c", self.file, "totem.token", "u32", "99")
        self.assertEqual(status, 1)
        self.assertIn("cannot be written: No space left", err)
        self.assertEqual(self.text(), GOOD)
        self.assertEqual([p.name for p in self.directory.iterdir()], ["node.conf"])
