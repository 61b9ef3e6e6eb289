"""
Several files as one, and files that are written.
"""

import os
import re
from pathlib import Path

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config import loader
from corotwist.config.build import load
from corotwist.config.document import Option, Section
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.formats.corosynctext import write
from corotwist.config.keys import keysOf
from corotwist.config.merge import merged
from corotwist.errors import ConfigurationError
from corotwist.test.config.factories import conf, environment

LINES = (
    *("a {", "  b{", "\tnode  {\t", "}", "  }", " } ", "", "  ", "# c", "   # d  "),
    *("a: 1", "a:1", "  a :  1 ", "\ta:\tb c\t", "b:", "b: {", "c: # d"),
)


class MergeTests(SynchronousTestCase):
    def together(self, *texts: str) -> dict[str, object]:
        """
        What several files mean as one.
        """
        documents = [
            parse(text, f"file{number}").document for number, text in enumerate(texts)
        ]
        return {name: value.content for name, value in keysOf(merged(documents))}

    def test_later(self) -> None:
        """
        What a later file says overrides what an earlier one said; all else is
        added.  (A41)
        """
        found = self.together(
            "totem {\ntoken: 1000\njoin: 60\n}\n",
            "totem {\ntoken: 2000\n}\nquorum {\ntwo_node: 1\n}\n",
            "totem {\nmerge: 300\n}\n",
        )
        self.assertEqual(
            found,
            {
                "totem.token": 2000,
                "totem.join": 60,
                "totem.merge": 300,
                "quorum.two_node": 1,
            },
        )

    def test_nodes(self) -> None:
        """
        An entry about the same node changes it, by nodeid, else by name, else
        by address; others are added.  (A41)
        """
        found = self.together(
            "nodelist {\nnode {\nnodeid: 1\nring0_addr: a\n}\n"
            "node {\nname: two\nring0_addr: b\n}\nnode {\nring0_addr: c\n}\n}\n",
            "nodelist {\nnode {\nnodeid: 1\nring0_addr: x\n}\n"
            "node {\nname: two\nquorum_votes: 2\n}\n"
            "node {\nring0_addr: c\nnodeid: 3\n}\nnode {\nnodeid: 4\n}\n}\n",
        )
        self.assertEqual(
            found,
            {
                "nodelist.node.0.nodeid": 1,
                "nodelist.node.0.ring0_addr": "x",
                "nodelist.node.1.name": "two",
                "nodelist.node.1.ring0_addr": "b",
                "nodelist.node.1.quorum_votes": 2,
                "nodelist.node.2.ring0_addr": "c",
                "nodelist.node.2.nodeid": 3,
                "nodelist.node.3.nodeid": 4,
            },
        )

    def test_otherLists(self) -> None:
        """
        Links and subsystems come together likewise; users are always added.
        """
        found = self.together(
            "totem {\ninterface {\nlinknumber: 1\nmcastport: 5\n}\n}\n"
            "logging {\nlogger_subsys {\nsubsys: CPG\ndebug: on\n}\n}\n"
            "uidgid {\nuid: 1\n}\n",
            "totem {\ninterface {\nlinknumber: 1\nttl: 2\n}\n}\n"
            "logging {\nlogger_subsys {\nsubsys: CPG\ndebug: off\n}\n}\n"
            "uidgid {\nuid: 2\n}\n",
        )
        self.assertEqual(
            found,
            {
                "totem.interface.1.mcastport": 5,
                "totem.interface.1.ttl": 2,
                "logging.logger_subsys.CPG.subsys": "CPG",
                "logging.logger_subsys.CPG.debug": "off",
                "uidgid.config.uid.1": 1,
                "uidgid.config.uid.2": 1,
            },
        )


class FileTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)

    def file(self, name: str, text: str) -> str:
        """
        The path of a file with this text.
        """
        path = self.directory / name
        path.write_text(text)
        return str(path)


class ReadTests(FileTestCase):
    def test_severalFormats(self) -> None:
        """
        Files of several formats make one configuration, and each problem names
        the file it is in.  (A39, A41)
        """
        base = self.file("base.conf", conf())
        more = self.file("more.toml", "[totem]\ntoken = 2000\n")
        outcome = load([base, more], environment())
        settings = outcome.usable()
        self.assertEqual(settings.totem.timing.token, 2.65)
        self.assertEqual(settings.sources, (base, more))
        self.assertEqual(outcome.warnings, ())
        bad = self.file("bad.json", '{"totem": {"token": 2}}')
        outcome = load([base, more, bad], environment())
        self.assertEqual(
            [str(problem) for problem in outcome.problems],
            [f"{bad}:1:21: totem.token: is 2, and must be 30 to 86400000 ms"],
        )

    def test_syntaxInOne(self) -> None:
        """
        A file that cannot be read does not hide what is wrong with another.
        """
        base = self.file("base.conf", conf("tokn: 1"))
        bad = self.file("bad.json", "{")
        outcome = load([base, bad], environment())
        self.assertEqual(
            {(problem.file, problem.key) for problem in outcome.problems},
            {(base, "totem.tokn"), (bad, "syntax")},
        )

    def test_extraFilesOnce(self) -> None:
        """
        Users and groups of a directory are read once, however many files are
        beside it.
        """
        (self.directory / "uidgid.d").mkdir()
        self.file("uidgid.d/a", "uidgid {\nuid: 1\n}\n")
        files = [self.file(name, "totem {\n}\n") for name in ("a.conf", "b.conf")]
        found = loader.read(*files).document
        self.assertEqual([s.name for s in found.sections()], ["totem", "uidgid"])

    def test_tooLarge(self) -> None:
        """
        A file that no configuration is as large as is not read.
        """
        path = self.directory / "large.conf"
        with path.open("wb") as file:
            file.truncate(loader.LARGEST_FILE_BYTES + 1)
        (problem,) = loader.read(str(path)).problems
        self.assertIn(f"more than {loader.LARGEST_FILE_BYTES} bytes", problem.text)

    def test_absolute(self) -> None:
        """
        A daemon changes its directory; a format by name stays one.
        """
        here = os.getcwd()  # noqa: PTH109
        self.assertEqual(loader.absolute("a.conf"), f"{here}/a.conf")
        self.assertEqual(loader.absolute("json:a.conf"), f"json:{here}/a.conf")
        self.assertRaises(ConfigurationError, loader.absolute, "yaml:a")


class WriteTests(FileTestCase):
    def test_layout(self) -> None:
        """
        Lines that did not change stay as somebody wrote them; new ones stand
        where their neighbours do.  (A40)
        """
        text = "# a\ntotem{\n\ttoken :  5 \n\n\t# b\n\tx:y\n\t}\n#c\n"
        path = self.file("a.conf", text)
        document = loader.readOne(path).document
        loader.write(path, document)
        self.assertEqual(Path(path).read_text(), text)
        (totem,) = document.sections()
        totem.content[0] = evolve(next(totem.options()), value="6")
        totem.content.append(Option("join", "7"))
        document.content.append(Section("quorum", content=[Option("two_node", "1")]))
        loader.write(path, document)
        self.assertEqual(
            Path(path).read_text(),
            "# a\ntotem{\n\ttoken :  6\n\n\t# b\n\tx:y\n\tjoin: 7\n\t}\n#c\n\n"
            "quorum {\n    two_node: 1\n}\n",
        )

    @given(
        st.lists(st.sampled_from(LINES), max_size=30), st.sampled_from(("\n", "\r\n"))
    )
    @settings(max_examples=60, deadline=None)
    def test_untouched(self, lines: list[str], ending: str) -> None:
        """
        Any file that is understood, and not changed, is written as it was,
        sign by sign; it ends with a line's end then.  (A40)
        """
        depth = 0
        kept = []
        for line in lines:
            opens = line.rstrip().endswith("{") and ":" not in line
            depth += opens - (line.strip() == "}")
            if depth < 0:
                depth = 0
            else:
                kept.append(line)
        text = ending.join([*kept, *["}"] * depth])
        document = parse(text, "f").document
        self.assertEqual(parse(text, "f").problems, ())
        found = write(document, text.encode()).text
        found, text = (re.sub(r"\r?\n\Z", "", one) for one in (found, text))
        self.assertEqual(found, text)

    def test_unwritable(self) -> None:
        """
        What corosync.conf has no way to write is refused, all of it at once.
        """
        values = ("a\nb", " a", "x" * 510, "a\u00a0b", "\ud800")
        content = [Option(f"o{n}", value) for n, value in enumerate(values)]
        document = Section("", content=[*content, Section("a b")])
        error = self.assertRaises(ConfigurationError, write, document)
        self.assertEqual(
            [problem.key for problem in error.problems],
            ["o0", "o1", "o2", "o3", "o4", "a b"],
        )

    def test_longestLine(self) -> None:
        """
        A value that just fits is written without blanks, and can be read.
        """
        option = Option("a", "x" * 509)
        text = write(Section("", content=[Section("s", content=[option])])).text
        reading = parse(text, "f")
        self.assertEqual(reading.problems, ())
        (section,) = reading.document.sections()
        self.assertEqual(section.value("a"), "x" * 509)
