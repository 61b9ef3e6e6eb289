"""
Every option by itself: names, values, and what this release does with it.
"""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.check import Checked, check
from corotwist.config.document import Option, Section
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.row import Row
from corotwist.config.schema import ROWS, Schema


def checked(text: str) -> Checked:
    """
    A document with this text, every line judged.
    """
    reading = parse(text, "f")
    assert not reading.problems, reading.problems
    return check(reading.document)


def told(text: str) -> list[str]:
    """
    The problems as an operator reads them.
    """
    return [str(problem) for problem in checked(text).problems]


def warned(text: str) -> list[str]:
    """
    The warnings as an operator reads them.
    """
    return [str(warning) for warning in checked(text).warnings]


class NameTests(SynchronousTestCase):
    def test_unknownOption(self) -> None:
        """
        A name that nobody knows is refused, with the one that may be meant.
        """
        self.assertEqual(
            told("totem {\ntokn: 3000\n}"),
            ["f:2:1: totem.tokn: no such option; did you mean token?"],
        )

    def test_wrongSection(self) -> None:
        """
        A name of another section is told where it belongs.
        """
        self.assertEqual(
            told("quorum {\nnetmtu: 1500\n}"),
            ["f:2:1: quorum.netmtu: no such option; it belongs into section totem"],
        )

    def test_noSection(self) -> None:
        """
        An option outside any section is none.
        """
        self.assertEqual(
            told("token: 3000"),
            ["f:1:1: token: no such option; it belongs into section totem"],
        )

    def test_unknownSection(self) -> None:
        """
        So is a section; what is in it is not looked at.
        """
        self.assertEqual(
            told("nodlist {\nnode {\nx: y\n}\n}"),
            ["f:1:1: nodlist: no such section; did you mean nodelist?"],
        )

    def test_otherKind(self) -> None:
        """
        A value where a section belongs, or a section where a value does, is
        told as that.
        """
        self.assertEqual(
            told("totem {\ninterface: 1\ntoken {\n}\n}"),
            [
                "f:2:1: totem.interface: is a section: options belong into it",
                "f:3:1: totem.token: is an option: a value belongs here",
            ],
        )

    def test_nothingSimilar(self) -> None:
        """
        A name like no other gets no advice.
        """
        self.assertEqual(
            told("totem {\nzzzzzz: 1\n}"), ["f:2:1: totem.zzzzzz: no such option"]
        )

    def test_notStrict(self) -> None:
        """
        On request unknown names are as harmless as with corosync.
        """
        text = "totem {\ntokn: 1\n}\ncorotwist {\nstrict: no\n}"
        self.assertEqual(told(text), [])
        self.assertEqual(
            warned(text), ["f:2:1: totem.tokn: no such option; did you mean token?"]
        )

    def test_sectionsMerge(self) -> None:
        """
        A section that is no list may come in several parts.
        """
        found = checked("totem {\ntoken: 40\n}\ntotem {\njoin: 60\n}")
        self.assertEqual(found.top.number("totem.token"), 40)
        self.assertEqual(found.top.number("totem.join"), 60)

    def test_listsDoNot(self) -> None:
        """
        Entries of a list stay apart, and their options are not twice there.
        """
        found = checked("nodelist {\nnode {\nnodeid: 1\n}\nnode {\nnodeid: 2\n}\n}")
        nodes = found.entries["nodelist.node"]
        self.assertEqual([n.number("nodelist.node.nodeid") for n in nodes], [1, 2])
        self.assertEqual(found.warnings, [])

    def test_twice(self) -> None:
        """
        The last of two values counts, as with corosync, and is worth a word.
        """
        text = "totem {\ntoken: 40\ntoken: 50\n}"
        self.assertEqual(checked(text).top.number("totem.token"), 50)
        self.assertEqual(
            warned(text), ["f:3:1: totem.token: given twice; the last one counts"]
        )


class ValueTests(SynchronousTestCase):
    def test_notANumber(self) -> None:
        """
        What is no number is quoted, with the range.
        """
        self.assertEqual(
            told("totem {\nmax_messages: 3o\n}"),
            [
                "f:2:15: totem.max_messages: '3o' is not a whole number, 1 to 8192",
            ],
        )

    def test_range(self) -> None:
        """
        All times are at least 30 ms, hold 14 ms.
        """
        for name, least in (
            ("token", 30),
            ("token_retransmit", 30),
            ("join", 30),
            ("consensus", 30),
            ("merge", 30),
            ("downcheck", 30),
            ("max_network_delay", 30),
            ("hold", 14),
        ):
            self.assertEqual(told(f"totem {{\n{name}: {least}\n}}"), [])
            self.assertEqual(
                told(f"totem {{\n{name}: {least - 1}\n}}"),
                [
                    (
                        f"f:2:{len(name) + 3}: totem.{name}: is {least - 1}, and"
                        f" must be {least} to 86400000 ms"
                    )
                ],
            )

    def test_choice(self) -> None:
        """
        A word that is none of the allowed ones gets the list, and the closest.
        """
        self.assertEqual(
            told("totem {\ntransport: uddpu\n}"),
            [
                (
                    "f:2:12: totem.transport: 'uddpu' is none of udpu, udp, knet; did"
                    " you mean udpu?"
                )
            ],
        )

    def test_switch(self) -> None:
        """
        Yes and no have several names, and nothing else is one of them.
        """
        for text, value in (("yes", True), ("0", False), ("on", True)):
            found = checked(f"quorum {{\ntwo_node: {text}\n}}")
            self.assertEqual(found.top.flag("quorum.two_node"), value)
        self.assertEqual(
            told("quorum {\ntwo_node: 2\n}"),
            ["f:2:11: quorum.two_node: '2' is neither yes nor no"],
        )

    def test_nodeid(self) -> None:
        """
        Node 0 is nobody, and large ones are negative to some clients.
        """
        for nodeid in (0, 1 << 31):
            self.assertEqual(
                told(f"nodelist {{\nnode {{\nnodeid: {nodeid}\n}}\n}}"),
                [
                    (
                        f"f:3:9: nodelist.node.nodeid: is {nodeid}, and must be 1 to"
                        " 2147483647"
                    )
                ],
            )

    def test_address(self) -> None:
        """
        An address is written in numbers where it has to be.
        """
        self.assertEqual(
            told("totem {\ninterface {\nmcastaddr: 239.192.1\n}\n}"),
            ["f:3:12: totem.interface.mcastaddr: '239.192.1' is not an IP address"],
        )

    def test_emptyText(self) -> None:
        """
        Text must be there.
        """
        self.assertEqual(
            told("totem {\nkeyfile:\n}"),
            ["f:2:9: totem.keyfile: is empty; a path belongs here"],
        )

    def test_decimal(self) -> None:
        """
        Limits of load may have a fraction.
        """
        text = "resources {\nsystem {\nload_15min {\nmax: %s\n}\n}\n}"
        self.assertEqual(told(text % "2.5"), [])
        self.assertEqual(
            told(text % "much"),
            ["f:4:6: resources.system.load_15min.max: 'much' is not a number"],
        )


class EffectTests(SynchronousTestCase):
    def test_noEffect(self) -> None:
        """
        What we do not act on is accepted, and said.
        """
        self.assertEqual(
            warned("totem {\nknet_pmtud_interval: 20\n}"),
            ["f:2:22: totem.knet_pmtud_interval: no effect in this release"],
        )

    def test_defaultIsSilent(self) -> None:
        """
        Asking for what would happen anyway is no news.
        """
        text = "totem {\nlink_mode: passive\nknet_pmtud_interval: 30\n}"
        self.assertEqual((told(text), warned(text)), ([], []))

    def test_unsafe(self) -> None:
        """
        What would change who may act, or what is on the wire, is refused with
        the thing to do.
        """
        for text in (
            "nodelist {\nnode {\nring1_addr: 10.1.0.1\n}\n}",
            "totem {\ninterface {\nlinknumber: 1\n}\n}",
            "totem {\nlink_mode: rr\n}",
        ):
            (problem,) = told(text)
            self.assertRegex(problem, "this release (has|does not know)")

    def test_unsafeSwitchedOff(self) -> None:
        """
        Saying no to it is fine.
        """
        text = "totem {\nlink_mode: passive\n}"
        self.assertEqual((told(text), warned(text)), ([], []))

    def test_wildcards(self) -> None:
        """
        Names with a free part are known.
        """
        text = "quorum {\ndevice {\nheuristics {\nexec_ping: /bin/ping x\n}\n}\n}"
        self.assertEqual((told(text), warned(text)), ([], []))


class SchemaTests(SynchronousTestCase):
    def test_names(self) -> None:
        """
        No option has two rows.
        """
        names = [row.name for row in ROWS]
        self.assertEqual(len(names), len(set(names)))

    def test_defaults(self) -> None:
        """
        Every default is a value that could be written.
        """
        for row in ROWS:
            if row.default is None:
                continue
            text = row.default
            if isinstance(text, bool):
                text = "yes" if text else "no"
            self.assertEqual(row.kind.parse(str(text)), row.default, row.name)

    def test_meanings(self) -> None:
        """
        Every row says what it is about, and in what range.
        """
        for row in ROWS:
            self.assertTrue(row.meaning and row.kind.describe(), row.name)

    def test_sections(self) -> None:
        """
        Every row can be reached through its section.
        """
        schema = Schema()
        for row in ROWS:
            self.assertTrue(schema.isSection(row.section), row.name)
        self.assertFalse(schema.isSection("totem.token"))
        self.assertTrue(schema.isSection("resources.process.1234"))

    @given(st.sampled_from(ROWS), st.integers(0, 30))
    def test_oneSignMissing(self, row: Row, place: int) -> None:
        """
        A long name without one of its signs is still recognised.
        """
        section, _, name = row.name.rpartition(".")
        if name.endswith("*") or len(name) < 6:
            return
        wrong = name[: place % len(name)] + name[place % len(name) + 1 :]
        schema = Schema()
        if schema.row(f"{section}.{wrong}") is None:
            self.assertNotEqual(schema.suggestion(f"{section}.{wrong}"), "")


class SensibleTests(SynchronousTestCase):
    """
    What only other formats than corosync.conf can say.
    """

    def told(self, name: str, value: str) -> list[str]:
        section = Section("totem", content=[Option(name, value)])
        found = check(Section("", content=[section]))
        return [problem.text for problem in found.problems]

    def test_zeroByte(self) -> None:
        """
        No path and no name has a zero byte in it.
        """
        self.assertEqual(self.told("keyfile", "/a\0b"), ["has a zero byte in it"])

    def test_tooLong(self) -> None:
        """
        A value is not longer than the map can have it.  (A21)
        """
        self.assertEqual(self.told("key", "x" * 16384), [])
        self.assertEqual(self.told("key", "x" * 16385), ["has more than 16384 bytes"])

    def test_manyDigits(self) -> None:
        """
        Nor is a number longer than anybody counts.
        """
        (text,) = self.told("token", "1" * 5000)
        self.assertIn("is not a whole number", text)
        self.assertLess(len(text), 200)

    def test_dots(self) -> None:
        """
        A name with a dot in it is not that of an option of a section within.
        """
        self.assertIn("no such option", self.told("interface.mcastport", "5")[0])
