"""
cluster.conf of cman: what it means here, and what is told to be left out.
"""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.build import fromReading, load
from corotwist.config.document import Option, Reading, Section
from corotwist.config.formats import corosyncconf
from corotwist.config.formats.clusterconf import parse
from corotwist.config.formats.clustertext import write
from corotwist.config.keys import keysOf
from corotwist.test.config.documents import LINES
from corotwist.test.config.factories import conf, environment

TEXT = """\
<?xml version="1.0"?>
<cluster name="hall" config_version="12">
  <cman two_node="1" expected_votes="1" port="5500" cluster_id="7">
    <multicast addr="239.1.1.1"/>
  </cman>
  <totem token="10000" vsftype="none"><interface ringnumber="0" ttl="2"/></totem>
  <clusternodes>
    <!-- the first -->
    <clusternode name="10.0.0.1" nodeid="1" votes="1">
      <fence><method name="m"/></fence>
      <altname name="10.1.0.1" port="1"/>
    </clusternode>
    <clusternode name="10.0.0.2" nodeid="2"><altname name="10.1.0.2"/></clusternode>
  </clusternodes>
  <logging debug="on">
    <logging_daemon name="corosync" subsys="CPG" debug="on"/>
  </logging>
  <fencedevices/><rm/><quorumd label="disk"/>
  <uidgid uid="5"/>
</cluster>
"""
EXAMPLES = settings(max_examples=25, deadline=None)


def keys(document: Section) -> dict[str, object]:
    """
    What a document means.
    """
    return {name: value.content for name, value in keysOf(document)}


class ReadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reading = parse(TEXT.encode(), "f")

    def test_meaning(self) -> None:
        """
        Nodes, votes, addresses and times are what corosync has for them.  (A39)
        """
        self.assertEqual(self.reading.problems, ())
        self.assertEqual(
            keys(self.reading.document),
            {
                "totem.version": 2,
                "totem.cluster_name": "hall",
                "totem.config_version": 12,
                "totem.transport": "udp",
                "totem.token": 10000,
                "totem.interface.0.mcastport": 5500,
                "totem.interface.0.mcastaddr": "239.1.1.1",
                "totem.interface.0.ttl": 2,
                "quorum.provider": "corosync_votequorum",
                "quorum.two_node": 1,
                "nodelist.node.0.ring0_addr": "10.0.0.1",
                "nodelist.node.0.name": "10.0.0.1",
                "nodelist.node.0.nodeid": 1,
                "nodelist.node.0.quorum_votes": 1,
                "nodelist.node.0.ring1_addr": "10.1.0.1",
                "nodelist.node.1.ring0_addr": "10.0.0.2",
                "nodelist.node.1.name": "10.0.0.2",
                "nodelist.node.1.nodeid": 2,
                "nodelist.node.1.ring1_addr": "10.1.0.2",
                "logging.debug": "on",
                "logging.logger_subsys.CPG.subsys": "CPG",
                "logging.logger_subsys.CPG.debug": "on",
                "uidgid.config.uid.5": 1,
            },
        )

    def test_notes(self) -> None:
        """
        What has no counterpart is told, each with its place.
        """
        self.assertEqual(
            [(note.line, note.key) for note in self.reading.notes],
            [
                (3, "cman.cluster_id"),
                (10, "clusternodes.clusternode.fence"),
                (11, "clusternodes.clusternode.altname.port"),
                (18, "fencedevices"),
                (18, "rm"),
                (18, "quorumd"),
                (6, "totem.vsftype"),
            ],
        )
        self.assertEqual(
            str(self.reading.notes[1]),
            "f:10:7: clusternodes.clusternode.fence: has no counterpart here, and is"
            " left out",
        )

    def test_warnings(self) -> None:
        """
        A node that is started with it warns of all that.
        """
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT)
        outcome = load(f"cluster:{path}", environment())
        warned = {warning.key for warning in outcome.warnings}
        self.assertLessEqual({"quorumd", "rm", "fencedevices"}, warned)

    def test_oneVoteOfTwo(self) -> None:
        """
        Cman's one expected vote of two nodes is its word for the rule; any
        other number is meant.
        """
        for votes, expected in (("1", None), ("3", 3)):
            text = TEXT.replace('expected_votes="1"', f'expected_votes="{votes}"')
            found = keys(parse(text.encode(), "f").document)
            self.assertEqual(found.get("quorum.expected_votes"), expected)

    def test_usable(self) -> None:
        """
        A node can be started with such a file.  (A39)
        """
        text = TEXT.replace('<altname name="10.1.0.1" port="1"/>', "")
        text = text.replace('<altname name="10.1.0.2"/>', "")
        text = text.replace('<totem token="10000"', '<totem crypto_cipher="none"')
        document = parse(text.encode(), "f").document
        outcome = fromReading(Reading(document), environment())
        quorum = outcome.usable().quorum
        self.assertEqual((quorum.twoNode, quorum.expectedVotes), (True, 2))

    def test_problems(self) -> None:
        """
        Other XML is told for what it is.
        """
        (problem,) = parse(b"<corosync/>", "f").problems
        self.assertIn("the root element is <corosync>", str(problem))
        self.assertEqual(len(parse(b"<cluster>", "f").problems), 1)


class WriteTests(SynchronousTestCase):
    def test_again(self) -> None:
        """
        Written and read, it means the same.  (A40)
        """
        document = parse(TEXT.encode(), "f").document
        written = write(document)
        self.assertEqual(written.notes, ())
        again = parse(written.text.encode(), "g")
        self.assertEqual(keys(again.document), keys(document))
        self.assertIn('two_node="1" expected_votes="1"', written.text)
        self.assertIn("<!-- the first -->", written.text)

    def test_leftOut(self) -> None:
        """
        What cman has no word for is told, and nothing else is lost.
        """
        text = conf(
            "token: 5000\n# slow\ninterface {\nlinknumber: 0\nmcastport: 5500\n}",
            quorum="wait_for_all: 1\ntwo_node: 1\nexpected_votes: 2",
            node="name: one",
            rest="system {\nsched_rr: no\n}\nlogging {\nlogger_subsys {\nsubsys: CPG\n"
            "debug: on\n}\n}",
        )
        document = corosyncconf.parse(text, "f").document
        written = write(document)
        self.assertEqual(
            {note.key for note in written.notes},
            {
                "quorum.wait_for_all",
                "quorum.expected_votes",
                "nodelist.node.name",
                "system.sched_rr",
                "comments",
            },
        )
        again = keys(parse(written.text.encode(), "g").document)
        lost = {"quorum.wait_for_all", "quorum.expected_votes", "system.sched_rr"}
        for name, value in keys(document).items():
            if name not in lost and name != "nodelist.node.0.name":
                self.assertEqual(again.get(name), value, name)

    @given(
        st.lists(st.tuples(LINES.filter(bool), st.integers(1, 9)), max_size=3),
        st.dictionaries(
            st.sampled_from(("token", "join", "consensus")), st.integers(30, 9999)
        ),
    )
    @EXAMPLES
    def test_lossless(
        self, nodes: list[tuple[str, int]], times: dict[str, int]
    ) -> None:
        """
        Whatever has a counterpart survives, however it has to be quoted.
        """
        entries = [
            Section(
                "node",
                content=[
                    Option("ring0_addr", name),
                    Option("name", name),
                    Option("nodeid", str(nodeid)),
                ],
            )
            for name, nodeid in nodes
        ]
        totem = [Option(name, str(value)) for name, value in times.items()]
        document = Section(
            "",
            content=[
                Section(
                    "totem",
                    content=[
                        Option("version", "2"),
                        Option("transport", "udpu"),
                        *totem,
                    ],
                ),
                Section("quorum", content=[Option("provider", "corosync_votequorum")]),
                Section("nodelist", content=list(entries)),
            ],
        )
        written = write(document)
        self.assertEqual(written.notes, ())
        again = parse(written.text.encode(), "g")
        self.assertEqual(keys(again.document), keys(document))
