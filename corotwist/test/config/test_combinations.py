"""
Options that do not go together, and what is said of files that are partly read.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.formats.corosyncconf import parse
from corotwist.test.config.factories import (
    FILE,
    FakeHost,
    built,
    conf,
    environment,
    warned,
)

PROVIDER = "provider: corosync_votequorum\n"


def texts(text: str, key: str) -> list[str]:
    """
    What is said of one option.
    """
    return [problem.text for problem in built(text).problems if problem.key == key]


def keys(text: str) -> list[str]:
    """
    What there are problems of, in the order of the file.
    """
    return [problem.key for problem in built(text).problems]


class QuorumTests(SynchronousTestCase):
    """
    The table of corosync's vote counting: what it refuses, switches off or
    ignores.
    """

    def says(self, name: str, text: str, quorum: str, nodes: int = 2) -> None:
        """
        Among the problems of a file there is this one.
        """
        found = texts(conf(nodes=nodes, quorum=PROVIDER + quorum), f"quorum.{name}")
        self.assertTrue(any(text in one for one in found), found)

    def test_exclusive(self) -> None:
        """
        Rules that exclude each other are named, both of them.
        """
        device = "device {\nmodel: net\n}"
        for one, other, quorum in (
            ("two_node", "device.model", f"two_node: 1\n{device}"),
            ("two_node", "auto_tie_breaker", "two_node: 1\nauto_tie_breaker: 1"),
            ("last_man_standing", "device.model", f"last_man_standing: 1\n{device}"),
            ("auto_tie_breaker", "device.model", f"auto_tie_breaker: 1\n{device}"),
            ("allow_downscale", "device.model", f"allow_downscale: 1\n{device}"),
        ):
            self.says(one, f"does not go with {other}: corosync", quorum)

    def test_switchedOff(self) -> None:
        """
        A rule that is switched off excludes nothing.
        """
        text = conf(nodes=2, quorum=f"{PROVIDER}two_node: 1\nauto_tie_breaker: 0")
        self.assertEqual(keys(text), [])

    def test_twoNodes(self) -> None:
        """
        The rule of two nodes is for two: neither three entries nor three
        expected votes.
        """
        self.says("two_node", "the node list has 3 nodes", "two_node: 1", 3)
        self.says("two_node", "'expected_votes: 3'", "two_node: 1\nexpected_votes: 3")
        text = conf(nodes=2, quorum=f"{PROVIDER}two_node: 1\nexpected_votes: 2")
        self.assertEqual(keys(text), [])

    def test_tieBreaker(self) -> None:
        """
        An odd number of votes has no ties, unless nodes are waited for.
        """
        rule = "auto_tie_breaker: 1"
        self.says("auto_tie_breaker", "3 expected votes, an odd number", rule, 3)
        both = f"{rule}\nlast_man_standing: 1"
        self.says("auto_tie_breaker", "corosync refuses to start", both, 3)
        for quorum, nodes in ((rule, 4), (f"{rule}\nwait_for_all: 1", 3)):
            found = texts(conf(nodes=nodes, quorum=PROVIDER + quorum), "quorum." + rule)
            self.assertEqual([one for one in found if "odd" in one], [])

    def test_lastMan(self) -> None:
        """
        Nodes of several votes and the last man standing do not go together.
        """
        text = conf(node="quorum_votes: 2", quorum=f"{PROVIDER}last_man_standing: 1")
        found = texts(text, "quorum.last_man_standing")
        self.assertTrue(any("more than one vote" in one for one in found))

    def test_downscale(self) -> None:
        """
        Downscaling needs the tracking of expected votes.
        """
        self.says(
            "expected_votes_tracking",
            "allow_downscale, which switches it on",
            "allow_downscale: 1\nexpected_votes_tracking: 0",
        )

    def test_deviceVotes(self) -> None:
        """
        A device has votes where they cannot be calculated, and not too many.
        """
        device = "device {\nmodel: net\n%s\n}\n"
        self.says(
            "device.votes",
            "expected_votes with a device needs it",
            device % "" + "expected_votes: 3",
        )
        self.says(
            "device.votes",
            "3 of 3 expected votes are too many",
            device % "votes: 3" + "expected_votes: 3",
        )
        text = conf(node="quorum_votes: 2", quorum=PROVIDER + device % "")
        self.assertIn("not all 1", texts(text, "quorum.device.votes")[0])
        text = conf(quorum=PROVIDER + device % "")
        self.assertEqual(texts(text, "quorum.device.votes"), [])

    def test_nobodyCounts(self) -> None:
        """
        Rules of counting without anybody who counts do nothing, which corosync
        tells nobody.
        """
        (text,) = texts(conf(nodes=2, quorum="two_node: 1"), "quorum.two_node")
        self.assertIn("no effect without 'provider: corosync_votequorum'", text)
        self.assertEqual(keys(conf(quorum="wait_for_all: 0")), [])

    def test_device(self) -> None:
        """
        Who has a device for ties is not warned of them.
        """
        text = conf(nodes=4, quorum=f"{PROVIDER}device {{\nmodel: net\n}}")
        self.assertEqual([w for w in warned(built(text)) if "halves" in w], [])


class NodeListTests(SynchronousTestCase):
    def test_linksDiffer(self) -> None:
        """
        All nodes have the same links, and names when there are several.
        """
        text = conf(nodes=2, node="name: a\nring1_addr: 10.1.0.1")
        found = {
            (problem.line, problem.key): problem.text
            for problem in built(text).problems
            if "missing" in problem.text
        }
        self.assertEqual(
            set(found),
            {(14, "nodelist.node.ring1_addr"), (14, "nodelist.node.name")},
        )

    def test_duplicates(self) -> None:
        """
        No nodeid, name or address is there twice, on any link.
        """
        text = conf(nodes=2, node="ring3_addr: 10.1.0.1")
        text = text.replace("nodeid: 2", "nodeid: 2\nring3_addr: 10.1.0.1")
        found = texts(text, "nodelist.node.ring3_addr")
        twice = [one for one in found if "10.1.0.1 is in the node list twice" in one]
        self.assertEqual(len(twice), 2)

    def test_families(self) -> None:
        """
        A link is of one family.
        """
        text = conf(nodes=2, node="ring1_addr: 10.1.0.1")
        text = text.replace("nodeid: 2", "nodeid: 2\nring1_addr: fd00::1")
        found = texts(text, "nodelist.node.ring1_addr")
        self.assertIn(
            "is IPv6, and link 1 of other nodes is IPv4: a link has one family", found
        )

    def test_knetNodeid(self) -> None:
        """
        Knet has nodeids of 16 bits.
        """
        text = conf().replace("udpu", "knet").replace("nodeid: 2", "nodeid: 65536")
        self.assertIn("65535 with knet", texts(text, "nodelist.node.nodeid")[0])


class LinkTests(SynchronousTestCase):
    def test_sameLink(self) -> None:
        """
        A link has one section, and one number.
        """
        one = "interface {\nlinknumber: 0\n}\n"
        (text,) = texts(conf(one + one), "totem.interface.linknumber")
        self.assertIn("link 0 has a section already", text)
        both = "interface {\nlinknumber: 0\nringnumber: 1\n}"
        found = texts(conf(both), "totem.interface.ringnumber")
        self.assertIn("is 1, and linknumber 0: remove one of them", found)

    def test_noSuchLink(self) -> None:
        """
        A section about a link that no node has is about nothing.
        """
        found = texts(
            conf("interface {\nlinknumber: 3\n}"), "totem.interface.linknumber"
        )
        self.assertIn("no node has a ring3_addr: the section has no effect", found)

    def test_multicast(self) -> None:
        """
        A multicast address is one, and not together with broadcast.
        """
        text = conf("interface {\nmcastaddr: 10.0.0.9\nbroadcast: yes\n}")
        outcome = built(text.replace("udpu", "udp"))
        self.assertEqual(
            [(problem.key, problem.text) for problem in outcome.problems],
            [
                (
                    "totem.interface.mcastaddr",
                    "10.0.0.9 is not a multicast address",
                ),
                (
                    "totem.interface.broadcast",
                    "does not go with mcastaddr: remove one of them",
                ),
            ],
        )


class RingTests(SynchronousTestCase):
    def test_cipherWithoutHash(self) -> None:
        """
        A cipher needs a hash.
        """
        text = conf("crypto_hash: none", cipher="crypto_cipher: aes256")
        (found,) = texts(text, "totem.crypto_hash")
        self.assertIn("does not go with 'crypto_cipher: aes256'", found)

    def test_window(self) -> None:
        """
        More messages than the window has do not fit; worth a word.
        """
        outcome = built(conf("window_size: 20\nmax_messages: 30"))
        (warning,) = outcome.warnings
        self.assertIn("no effect above window_size, 20", warning.text)
        self.assertEqual(built(conf("window_size: 10")).warnings, ())

    def test_shortToken(self) -> None:
        """
        A token time in which a round of all nodes just fits is worth a word.
        """
        times = "token: 200\ntoken_coefficient: 0\n"
        self.assertEqual(warned(built(conf(times, nodes=20))), [])
        (warning,) = warned(built(conf(times, nodes=21)))
        self.assertIn("200 ms are short for 21 nodes", warning)


class LogTests(SynchronousTestCase):
    def test_nameless(self) -> None:
        """
        Settings for a part say for which.
        """
        text = conf(
            rest="logging {\nlogger_subsys {\ndebug: on\n}\nlogging_daemon {\n"
            "subsys: X\n}\n}"
        )
        self.assertEqual(
            keys(text),
            ["logging.logger_subsys.subsys", "logging.logging_daemon.name"],
        )

    def test_twice(self) -> None:
        """
        They are all in one section.
        """
        one = "logger_subsys {\nsubsys: CPG\n}\n"
        found = texts(conf(rest=f"logging {{\n{one}{one}}}"), LOGGER)
        self.assertEqual(found, ["CPG has a section already: put both into one"])


LOGGER = "logging.logger_subsys.subsys"


RIGHT = conf(
    "token: 5000\nconsensus: 9000\njoin: 100\ninterface {\nmcastport: 5405\n}",
    nodes=2,
    node="name: one\nquorum_votes: 1",
    quorum=f"{PROVIDER}two_node: 1\nwait_for_all: 1\nexpected_votes: 2",
    rest="logging {\nto_logfile: yes\nlogfile: /x\nlogger_subsys {\nsubsys: CPG\n"
    "debug: on\n}\n}\nuidgid {\nuid: 5\n}\nsystem {\nstate_dir: /x\n}\n"
    "corotwist {\nnode: 1\n}",
)


class PartlyReadTests(SynchronousTestCase):
    """
    What is said beside syntax errors, and what is not.
    """

    def test_contradictions(self) -> None:
        """
        Lines that were understood and do not go together are told, although
        another line is not understood.  (A16)
        """
        text = conf("what is this\nconsensus: 50\njoin: 60", quorum="two_node: 1")
        text = text.replace("nodeid: 2", "nodeid: 1")
        self.assertEqual(
            keys(text),
            [
                "syntax",
                "totem.consensus",
                "nodelist.node.nodeid",
                "nodelist.node.nodeid",
                "quorum.two_node",
            ],
        )

    def test_nothingIsMissing(self) -> None:
        """
        What may be in the line that is not understood is not called missing,
        and no value is made up for it.
        """
        text = conf("join: 5000", nodes=2, quorum=f"{PROVIDER}auto_tie_breaker: 0")
        for line in ("version: 2", "ring0_addr: 10.0.0.2", "crypto_cipher: none"):
            self.assertEqual(
                keys(text.replace(line, line.replace(":", ""))), ["syntax"]
            )

    def test_noFollowUps(self) -> None:
        """
        Whatever line of a right file is lost, spoilt or opens or closes a
        section too many: all that is told is what is wrong with lines.
        """
        lines = RIGHT.split("\n")
        self.assertEqual(keys(RIGHT), [])
        tried = 0
        for at, line in enumerate(lines):
            for new in ("what is this", "} x", line + " {", "}", "x {", None):
                damaged = [
                    *lines[:at],
                    *([] if new is None else [new]),
                    *lines[at + 1 :],
                ]
                text = "\n".join(damaged)
                syntax = parse(text, FILE).problems
                if syntax:
                    tried += 1
                    told = set(built(text).problems)
                    self.assertEqual(told - {*syntax}, set(), (line, new))
        self.assertGreater(tried, 200)

    def test_unclosed(self) -> None:
        """
        A brace that is missing does not hide values; what only seems to stand
        in the wrong section is not told.
        """
        text = conf("token: 5", nodes=2).replace("}\nnodelist", "nodelist", 1)
        text = text.replace("nodeid: 2", "nodeid: 0")
        self.assertEqual(keys(text), ["totem", "totem.token", "nodelist.node.nodeid"])

    def test_unclosedEntry(self) -> None:
        """
        So it is within a list.
        """
        text = conf(nodes=2).replace("\n\n  }\n  node", "\n  node", 1)
        text = text.replace("nodeid: 2", "nodeid: 1")
        found = keys(text)
        self.assertEqual(found.count("nodelist.node.nodeid"), 2)
        self.assertNotIn("nodelist.node.node", found)

    def test_closedTwice(self) -> None:
        """
        A brace too many moves options out of their section; they are not called
        unknown.
        """
        text = "totem {\nversion: 2\n}\ntoken: 5\n}\nquorum {\nvotes: x\n}\n"
        self.assertEqual(keys(text), ["syntax", "quorum.votes"])

    def test_host(self) -> None:
        """
        Nothing is resolved for a file that cannot be used anyway.
        """
        asked: list[str] = []

        class Host(FakeHost):
            def resolve(self, name: str) -> list[object]:  # type: ignore[override]
                asked.append(name)
                return []

        built("totem {\nx\n}\n" + conf(), environment(Host()))
        self.assertEqual(asked, [])
