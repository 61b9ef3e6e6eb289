"""
Tests of the tools for keys and objects: what they print, and their statuses.
"""

import json
import subprocess
import sys
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.config.values import Value, ValueType, binary, dbl, string, u8, u32
from corotwist.engines.keyspace import STATS
from corotwist.errors import AccessDenied, InvalidParameter, NotExist
from corotwist.test.ipc.test_cmap import CmapTestCase
from corotwist.test.tools.schemas import differences
from corotwist.tools import cmapctl, confdb
from corotwist.tools.cmapctl import Work
from corotwist.tools.keyprinter import Printer, errorName, shownBytes
from corotwist.tools.keyscript import Line, readScript
from corotwist.tools.keywishes import WrongUse, parse, typed


class ToolTestCase(CmapTestCase):
    """
    A node of one, and what a tool prints about it.
    """

    def work(self, *argv: str) -> Work:
        """
        What a command line asks for.
        """
        wishes = parse(argv)
        printer = Printer.of(wishes)
        printer.output = self.output = StringIO()
        self.errors = StringIO()
        self.patch(sys, "stderr", self.errors)
        self.patch(sys, "stdout", self.output)
        return Work(self.client, wishes, printer)

    def run_(self, *argv: str) -> tuple[int, str]:
        """
        @return: exit status and standard output.
        """
        work = self.work(*argv)
        status = self.got(Deferred.fromCoroutine(work.perform()))
        return status, self.output.getvalue()


class ShowTests(ToolTestCase):
    """
    Printing keys.
    """

    def setUp(self) -> None:
        super().setUp()
        for name, value in (
            ("my.text", string("a b")),
            ("my.number", u32(7)),
            ("my.real", dbl(1.5)),
            ("my.bytes", binary(b"a\\\x00\xff")),
        ):
            self.got(self.map.set(name, value))

    def test_lines(self) -> None:
        """
        Keys are printed as the original does, in byte order (E6).
        """
        status, text = self.run_("my.")
        self.assertEqual(status, 0)
        self.assertEqual(
            text,
            "my.bytes (bin)\n"
            "my.number (u32) = 7\n"
            "my.real (dbl) = 1.500000\n"
            "my.text (str) = a b\n",
        )

    def test_binary(self) -> None:
        """
        Bytes are shown when asked for, each in two digits, those above 0x7f,
        too. (F11)
        """
        status, text = self.run_("-b", "-g", "my.bytes")
        self.assertEqual((status, text), (0, "my.bytes (bin) = a\\\\\\x00\\xFF\n"))
        self.assertEqual(shownBytes(b"\x7f"), "\\x7F")

    def test_quiet(self) -> None:
        """
        Nothing but the value.
        """
        self.assertEqual(self.run_("-q", "-g", "my.number"), (0, "7\n"))

    def test_missing(self) -> None:
        """
        A key that is not there, or a beginning of none, is status 1 (E3).
        """
        self.assertEqual(self.run_("-g", "no.such"), (1, ""))
        self.assertIn(
            "Can't get key no.such. Error CS_ERR_NOT_EXIST", self.errors.getvalue()
        )
        self.assertEqual(self.run_("no.such"), (1, ""))
        status, text = self.run_("--json", "-g", "no.such")
        self.assertEqual((status, json.loads(text)["code"]), (1, 12))

    def test_json(self) -> None:
        """
        The same for programs.
        """
        status, text = self.run_("--json", "my.n")
        self.assertEqual(status, 0)
        self.assertEqual(differences(json.loads(text)), [])
        self.assertEqual(
            json.loads(text),
            {
                "schema": "corotwist/cmapctl/1",
                "map": "icmap",
                "keys": [{"key": "my.number", "type": "u32", "value": 7}],
            },
        )

    def test_statistics(self) -> None:
        """
        The other map.
        """
        status, text = self.run_("-m", "stats", "stats.pg.")
        self.assertEqual(status, 0)
        self.assertIn("stats.pg.msg_reserved (u32) = 0\n", text)


class WriteTests(ToolTestCase):
    """
    Changing keys.
    """

    def test_set(self) -> None:
        """
        All types are written, numbers below zero as well (E2).
        """
        for label, text, content in (
            *(("i8", "-5", -5), ("u64", "18446744073709551615", (1 << 64) - 1)),
            *(("flt", "1.5", 1.5), ("str", "x", "x")),
        ):
            self.assertEqual(self.run_("-s", "my.key", label, text), (0, ""))
            value = self.got(self.map.get("my.key"))
            self.assertEqual((value.kind.label, value.content), (label, content))

    def test_binary(self) -> None:
        """
        Bytes come from a file, or from standard input.
        """
        path = self.mktemp()
        Path(path).write_bytes(b"\0\1")
        self.run_("-s", "my.key", "bin", path)
        self.assertEqual(self.got(self.map.get("my.key")), binary(b"\0\1"))
        self.patch(sys, "stdin", TextIOWrapper(BytesIO(b"\2")))
        self.run_("-s", "my.key", "bin", "-")
        self.assertEqual(self.got(self.map.get("my.key")), binary(b"\2"))

    def test_refused(self) -> None:
        """
        What the node refuses is status 1, under corosync's name.
        """
        status, _ = self.run_("-s", "nodelist.node.0.nodeid", "u32", "3")
        self.assertEqual(status, 1)
        self.assertIn("Error CS_ERR_ACCESS", self.errors.getvalue())
        status, _ = self.run_("-s", "x", "u32", "3")
        self.assertIn("Error CS_ERR_NAME_TOO_LONG", self.errors.getvalue())
        self.assertEqual(status, 1)

    def test_expect(self) -> None:
        """
        Compare and set.
        """
        first = ("-s", "my.lock", "str", "me", "--expect", "absent")
        self.assertEqual(self.run_(*first)[0], 0)
        self.assertEqual(self.run_(*first)[0], 1)
        self.assertEqual(self.run_("-d", "my.lock", "--expect", "str=you")[0], 1)
        self.assertEqual(self.run_("-d", "my.lock", "--expect", "str=me")[0], 0)

    def test_delete(self) -> None:
        """
        One key, or all that begin so (E4).
        """
        for name in ("my.one", "my.two", "my.three"):
            self.got(self.map.set(name, u8(1)))
        self.assertEqual(self.run_("-d", "my.one"), (0, ""))
        self.assertEqual(self.run_("-d", "my.one")[0], 1)
        self.assertEqual(self.run_("-D", "my.t"), (0, ""))
        self.assertEqual(self.got(self.map.items("my.")), ())

    def test_script(self) -> None:
        """
        Lines of a file, as the original reads them; text may have blanks.
        """
        for name in ("old.one", "old.two", "gone"):
            self.got(self.map.set(name, u8(1)))
        path = self.mktemp()
        Path(path).write_text(
            "# comment\n\n my.text str a b c\nmy.number u32 5\n^gone\n^^old.\n"
        )
        self.assertEqual(self.run_("-p", path), (0, ""))
        self.assertEqual(self.got(self.map.get("my.text")), string("a b c"))
        self.assertEqual(self.got(self.map.items("old.")), ())
        self.failed(self.map.get("gone"), NotExist)
        self.assertEqual(
            list(readScript("^^x.\n\n^y")), [Line(1, "x.", prefix=True), Line(3, "y")]
        )

    def test_scriptWrong(self) -> None:
        """
        A line that makes no sense is told with its number, and nothing of the
        file is done. (F11)
        """
        path = Path(self.mktemp())
        for text, complaint in (
            ("my.a u8 1\nmy.b u8 300\n", "line 2: "),
            ("my.a u8 1\n\nmy.b u99 3\n", "line 3: "),
            ("my.a\n", "line 1: both type and value"),
        ):
            path.write_text(text)
            done = Deferred.fromCoroutine(self.work("-p", str(path)).perform())
            self.settle()
            error = self.failureResultOf(done, WrongUse, InvalidParameter).value
            self.assertTrue(str(error).startswith(complaint), error)
        self.assertEqual(self.got(self.map.items("my.")), ())

    def test_scriptRefused(self) -> None:
        """
        When the node refuses a line, those before it are undone. (F11)
        """
        self.got(self.map.set("old.a", u8(1)))
        self.got(self.map.set("old.b", u8(2)))
        path = Path(self.mktemp())
        path.write_text(
            "new.c u8 3\nold.a u8 9\n^^old.\nold.a str x\n^new.c\n"
            "nodelist.node.0.nodeid u32 7\n"
        )
        self.assertEqual(self.run_("-p", str(path)), (1, ""))
        complaint = "line 6: nodelist.node.0.nodeid, nothing was done. Error CS_ERR_"
        self.assertTrue(self.errors.getvalue().startswith(complaint))
        items = dict(self.got(self.map.items("old.")))
        self.assertEqual(items, {"old.a": u8(1), "old.b": u8(2)})
        self.assertEqual(self.got(self.map.items("new.")), ())

    def test_scriptMissing(self) -> None:
        """
        A key to delete that is not there is told, and is no failure. (F11)
        """
        path = Path(self.mktemp())
        path.write_text("^no.such\nmy.a u8 1\n")
        self.assertEqual(self.run_("-p", str(path)), (0, ""))
        self.assertIn("Can't delete key no.such", self.errors.getvalue())
        self.assertEqual(self.got(self.map.get("my.a")), u8(1))

    def test_clear(self) -> None:
        """
        Statistics begin anew.
        """
        self.assertEqual(self.run_("-C", "totem")[0], 0)
        self.assertEqual(self.run_("-C", "knet")[0], 1)


class FollowTests(ToolTestCase):
    """
    Following keys.
    """

    def test_lines(self) -> None:
        """
        Each change is a line with its kind, until somebody types q; the end of
        the input, as under a supervisor, is not the end (E7, F11).
        """
        wishes = parse(("-T", "my."))
        printer = Printer.of(wishes)
        printer.output = StringIO()
        work = Work(self.client, wishes, printer)
        keyboards: list[Any] = []

        class Keyboard:
            def __init__(self, protocol: Any) -> None:
                keyboards.append(protocol)

            def loseConnection(self) -> None:
                keyboards.append("closed")

        self.patch(cmapctl, "readKeyboard", Keyboard)
        done = Deferred.fromCoroutine(work.perform())
        self.settle()
        self.got(self.map.set("my.key", u8(1)))
        self.got(self.map.set("my.key", u8(2)))
        self.got(self.map.delete("my.key"))
        keyboards[0].makeConnection(StringTransport())
        keyboards[0].connectionLost()
        self.assertNoResult(done)
        keyboards[0].dataReceived(b"q\n")
        self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual(keyboards[1:], ["closed"])
        self.assertEqual(
            printer.output.getvalue(),
            'Type "q" to finish\n'
            "create> my.key (u8) = 1\n"
            "modify> my.key (u8) = 2\n"
            "delete> my.key (u8) = 2\n",
        )

    def test_json(self) -> None:
        """
        For programs each change is a document of its own (F11, F21).
        """
        printer = Printer.of(parse(("--json", "-T", "my.")))
        printer.output = StringIO()
        self.got(self.map.track("my.", printer.changes, prefix=True))
        for value in (u8(1), u8(2)):
            self.got(self.map.set("my.key", value))
        self.got(self.map.delete("my.key"))
        printer.gap("it stops")
        lines = printer.output.getvalue().splitlines()
        told = [json.loads(line) for line in lines]
        self.assertEqual([differences(one) for one in told], [[], [], [], []])
        events = [one["event"] for one in told]
        self.assertEqual(events, ["create", "modify", "delete", "gap"])


class ExportTests(ToolTestCase):
    """
    The running state as a file.
    """

    def test_export(self) -> None:
        """
        What is in force can be written as a configuration, and to a file of any
        format (E13).
        """
        keys = self.manager.database.map
        keys.set("totem.version", u32(2))
        keys.set("totem.token", u32(5000))
        keys.set("nodelist.node.0.ring0_addr", string("10.0.0.1"))
        status, text = self.run_("--export", "-")
        self.assertEqual(status, 0)
        self.assertIn("token: 5000", text)
        self.assertIn("ring0_addr: 10.0.0.1", text)
        self.assertNotIn("runtime", text)
        status, text = self.run_("--export", "json:-")
        self.assertEqual((status, json.loads(text)["totem"]["token"]), (0, 5000))
        path = self.mktemp() + ".json"
        self.assertEqual(self.run_("--export", path)[0], 0)
        self.assertEqual(json.loads(Path(path).read_text())["totem"]["token"], 5000)


class CommandLineTests(ToolTestCase):
    """
    What may be typed.
    """

    def test_wrong(self) -> None:
        """
        What makes no sense is refused before anything is done.
        """
        for argv in (
            *(("-s", "a.b", "u8"), ("-g",), ("-m", "other"), ("-C", "x"), ("-z",)),
            *(("-d", "a.b", "--expect", "x"), ("--timeout", "0"), ("--timeout", "x")),
        ):
            self.assertRaises(WrongUse, parse, argv)
        self.assertEqual(parse(("-m", "stats")).mapName, STATS)

    def test_types(self) -> None:
        """
        A value has to be of its type.
        """
        for label, text in (("u8", "256"), ("u8", "x"), ("x8", "1")):
            self.assertRaises(WrongUse, typed, label, text)
        self.assertEqual(typed("u8", "7"), Value(ValueType.UINT8, 7))

    def test_errors(self) -> None:
        """
        Errors have corosync's names.
        """
        self.assertEqual(errorName(AccessDenied()), "CS_ERR_ACCESS")


class TreeTests(CmapTestCase):
    """
    Printing and changing objects.
    """

    def run_(self, *argv: str) -> tuple[int, str]:
        work = confdb.Work(self.client, confdb.parse(argv), StringIO())
        status = self.got(Deferred.fromCoroutine(work.perform()))
        return status, work.output.getvalue()  # type: ignore[attr-defined]

    def test_objects(self) -> None:
        """
        Objects are made, found, shown with their keys, and destroyed (E10).
        """
        self.assertEqual(self.run_("create", "/", "mine"), (0, "mine\n"))
        self.assertEqual(self.run_("create", "mine", "part"), (0, "mine.part\n"))
        self.assertEqual(self.run_("create", "mine", "part"), (0, "mine.part.0\n"))
        self.assertEqual(self.run_("set", "mine.part.0", "key", "u8", "5"), (0, ""))
        self.assertEqual(
            self.run_("find", "mine", "part"), (0, "mine.part\nmine.part.0\n")
        )
        self.assertEqual(self.run_("get", "mine.part.0", "key"), (0, "5\n"))
        _, text = self.run_("print", "mine")
        self.assertEqual(
            text,
            "mine {\n    part {\n    }\n    part [0] {\n        key (u8) = 5\n"
            "    }\n}\n",
        )
        self.assertEqual(self.run_("delete", "mine.part.0", "key"), (0, ""))
        self.assertEqual(self.run_("destroy", "mine"), (0, ""))
        self.failed(self.client.confdb.at("mine"), NotExist)

    def test_json(self) -> None:
        """
        The same for programs, as documented. (F21)
        """
        schema = "corotwist/confdb/1"
        self.got(self.map.set("mine.key", u8(5)))
        _, text = self.run_("--json", "print", "mine")
        self.assertEqual(differences(json.loads(text)), [])
        found = json.loads(text)["object"]
        self.assertEqual(found["keys"], {"key": {"type": "u8", "value": 5}})
        for argv, shown in (
            (("create", "mine", "part"), {"object": "mine.part"}),
            (("find", "mine", "part"), {"objects": ["mine.part"]}),
            (("get", "mine", "key"), {"key": "key", "type": "u8", "value": 5}),
        ):
            status, text = self.run_("--json", *argv)
            self.assertEqual(differences(json.loads(text)), [])
            self.assertEqual(
                (status, json.loads(text)), (0, {"schema": schema, **shown})
            )

    def test_wrong(self) -> None:
        """
        What makes no sense is refused.
        """
        for argv in (("other",), ("get", "x"), ("--what",), ("--timeout", "-1")):
            self.assertRaises(WrongUse, confdb.parse, argv)


class ProcessTests(SynchronousTestCase):
    """
    The tools as programs, on a file.
    """

    def tool(self, *argv: str) -> tuple[int, str, str]:
        """
        @return: exit status, standard output, standard error.
        """
        done = subprocess.run(
            [sys.executable, "-m", "corotwist", *argv],
            cwd=Path(corotwist.__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def test_file(self) -> None:
        """
        Without a node a file is read and written, and what would make it wrong
        is refused (A20, E11).
        """
        path = Path(self.mktemp()).absolute()
        path.write_text("# Ours.\ntotem {\n    version: 2\n    token: 1000\n}\n")
        file = ("--file", str(path))
        done = self.tool("cmapctl", *file, "-s", "totem.token", "u32", "2000")
        self.assertEqual(done, (0, "", ""))
        self.assertIn("# Ours.\n", path.read_text())
        status, text, _ = self.tool("confdb", *file, "print", "totem")
        expected = "totem {\n    token (u32) = 2000\n    version (u32) = 2\n}\n"
        self.assertEqual((status, text), (0, expected))
        status, _, complaint = self.tool(
            "cmapctl", *file, "-s", "totem.tokn", "u8", "1"
        )
        self.assertEqual(status, 1)
        self.assertIn("did you mean token", complaint)

    def test_nobody(self) -> None:
        """
        Where no node is, that is said, with what the state directory has, and
        the status is 1.
        """
        places = "--socket", "/nowhere/sock", "--state-dir", "/nowhere/state"
        for tool in ("cmapctl", "confdb"):
            status, _, complaint = self.tool(tool, *places, "--timeout", "5")
            self.assertEqual(status, 1)
            self.assertIn("no node at /nowhere/sock", complaint)
            self.assertIn("is on record in /nowhere/state", complaint)
