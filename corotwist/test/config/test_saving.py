"""
Tests of keys written back to files.
"""

from twisted.trial.unittest import SynchronousTestCase

from corotwist.config import corosyncconf, corosynctext
from corotwist.config.keys import keysOf
from corotwist.config.saving import exported, revised
from corotwist.config.values import Value, string, u8, u32, u64

FILE = """\
# Ours.
totem {
    version: 2
    # As the network is.
    token:   1000
    cluster_name: one
}

nodelist {
    node {
        nodeid: 1
        ring0_addr: 10.0.0.1
    }
    node {
        nodeid:  2
        ring0_addr: 10.0.0.2
    }
}
"""


class SavingTests(SynchronousTestCase):
    """
    A file of corosync.conf's syntax.
    """

    def setUp(self) -> None:
        reading = corosyncconf.parse(FILE.encode(), "/etc/x.conf")
        self.document = reading.document
        self.keys = dict(keysOf(self.document))

    def write(self, **changes: Value | None) -> str:
        """
        The file, with keys changed; a double underscore stands for a dot.
        """
        keys = {**self.keys}
        for name, value in changes.items():
            dotted = name.replace("__", ".")
            if value is None:
                del keys[dotted]
            else:
                keys[dotted] = value
        document = revised(self.document, keys.items())
        return corosynctext.write(document, FILE.encode()).text

    def test_unchanged(self) -> None:
        """
        The same keys are the same file, sign by sign (E13).
        """
        self.assertEqual(self.write(), FILE)

    def test_changed(self) -> None:
        """
        One value changes one line; comments and blanks stay (E10, E13).
        """
        text = self.write(totem__token=u32(5000))
        self.assertEqual(text, FILE.replace("token:   1000", "token:   5000"))

    def test_added(self) -> None:
        """
        A new key stands in the section where it belongs, a new section at the
        end.
        """
        text = self.write(
            totem__config_version=u64(7),
            nodelist__node__1__quorum_votes=u32(2),
            quorum__two_node=u8(1),
        )
        expected = FILE.replace(
            "    cluster_name: one\n",
            ("    cluster_name: one\n    config_version: 7\n"),
        ).replace(
            "        ring0_addr: 10.0.0.2\n",
            ("        ring0_addr: 10.0.0.2\n        quorum_votes: 2\n"),
        )
        self.assertEqual(text, expected + "\nquorum {\n    two_node: 1\n}\n")

    def test_deleted(self) -> None:
        """
        A key that is gone takes its line with it, and the last one its section.
        """
        text = self.write(
            totem__cluster_name=None,
            nodelist__node__1__nodeid=None,
            nodelist__node__1__ring0_addr=None,
        )
        self.assertNotIn("cluster_name", text)
        self.assertEqual(text.count("node {"), 1)
        self.assertIn("# As the network is.", text)

    def test_newNode(self) -> None:
        """
        An entry more is a section more.
        """
        name = "nodelist__node__2__"
        text = self.write(
            **{f"{name}nodeid": u32(3), f"{name}ring0_addr": string("10.0.0.3")}
        )
        again = dict(keysOf(corosyncconf.parse(text.encode(), "x").document))
        self.assertEqual(again["nodelist.node.2.ring0_addr"], string("10.0.0.3"))
        self.assertEqual(again["nodelist.node.1.nodeid"], u32(2))

    def test_exported(self) -> None:
        """
        The state of a node is a file that says the same, without what only a
        running node has (E13).
        """
        items = [
            *self.keys.items(),
            ("runtime.members.1.status", string("joined")),
            ("uidgid.uid.33", u8(1)),
            *((f"nodelist.node.{n}.nodeid", u32(n + 1)) for n in range(2, 12)),
        ]
        text = corosynctext.write(exported(items)).text
        again = dict(keysOf(corosyncconf.parse(text.encode(), "x").document))
        self.assertEqual(again.pop("uidgid.config.uid.33"), u8(1))
        self.assertEqual(again.pop("nodelist.node.11.nodeid"), u32(12))
        self.assertEqual({**again, **self.keys}, again)
        self.assertNotIn("runtime", text)
