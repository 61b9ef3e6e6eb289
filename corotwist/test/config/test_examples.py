"""
The examples can be used, and the documentation says what the schema says.
"""

from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import corotwist
from corotwist.config import reference
from corotwist.config.build import Built, load
from corotwist.config.schema import ROWS
from corotwist.test.config.factories import KEY, FakeHost, environment, told, warned

CHECKOUT = Path(corotwist.__file__).parents[1]


class ExampleTests(SynchronousTestCase):
    """
    Each file is read on one of the machines that it is for.
    """

    def setUp(self) -> None:
        self.directory = CHECKOUT / "conf"
        if not self.directory.is_dir():
            raise SkipTest("not a checkout: there is no conf directory")

    def load(self, name: str) -> Built:
        """
        An example, on machine two of its node list.
        """
        host = FakeHost("two", local=["127.0.0.1", "192.0.2.2"])
        return load(str(self.directory / name), environment(host))

    def test_everyFile(self) -> None:
        """
        There is nothing to say against any of them, and no file is unknown
        to these tests.
        """
        found = {path.name for path in self.directory.iterdir()}
        for name in found:
            outcome = self.load(name)
            self.assertEqual((told(outcome), warned(outcome)), ([], []), name)
        self.assertEqual(
            found,
            {
                "one-node.conf",
                "three-nodes.conf",
                "three-nodes.toml",
                "encrypted-three-nodes.conf",
                "mixed-ring.conf",
                "two-nodes.conf",
                "multicast.conf",
                "arbiter.conf",
                "quorum-disk.conf",
            },
        )

    def test_oneNode(self) -> None:
        """
        A node alone, without a key, on loopback.
        """
        totem = self.load("one-node.conf").usable().totem
        self.assertEqual((totem.nodeid, len(totem.nodes), totem.key), (1, 1, None))

    def test_threeNodes(self) -> None:
        """
        Three nodes in the open, each of which finds itself.
        """
        settings = self.load("three-nodes.conf").usable()
        totem = settings.totem
        self.assertEqual((totem.nodeid, len(totem.nodes), totem.key), (2, 3, None))
        self.assertEqual(totem.timing.token, 1.25)
        self.assertEqual(settings.quorum.expectedVotes, 3)
        self.assertEqual(settings.ipc.gids, {1000})

    def test_otherFormat(self) -> None:
        """
        The same in TOML.
        """
        one, other = (
            self.load(f"three-nodes.{suffix}").usable() for suffix in ("conf", "toml")
        )
        self.assertEqual(one.keys, other.keys)
        self.assertEqual(one.totem, other.totem)

    def test_encrypted(self) -> None:
        """
        Three nodes with a key.
        """
        settings = self.load("encrypted-three-nodes.conf").usable()
        self.assertEqual(settings.totem.key, KEY)
        self.assertEqual(settings.log.rest.file, "/var/log/corotwist.log")

    def test_mixed(self) -> None:
        """
        Corosync's plain wire, and its own times.
        """
        totem = self.load("mixed-ring.conf").usable().totem
        self.assertEqual((totem.key, totem.timing.token), (None, 3.65))
        self.assertEqual((totem.transport, totem.netmtu), ("udpu", 1500))

    def test_twoNodes(self) -> None:
        """
        The rule of two nodes.
        """
        quorum = self.load("two-nodes.conf").usable().quorum
        self.assertTrue(quorum.twoNode)
        self.assertTrue(quorum.waitForAll)

    def test_multicast(self) -> None:
        """
        A group of its own.
        """
        totem = self.load("multicast.conf").usable().totem
        self.assertEqual(totem.transport, "udp")
        self.assertEqual(str(totem.multicastAddress), "239.192.7.5")


class DocumentationTests(SynchronousTestCase):
    """
    C{docs/configuration.md} holds what L{reference} makes of the schema.
    """

    def setUp(self) -> None:
        path = CHECKOUT / "docs" / "configuration.md"
        if not path.exists():
            raise SkipTest("not a checkout: there is no documentation")
        self.text = path.read_text()

    def test_tables(self) -> None:
        """
        What acts, what is refused, and what has no effect.
        """
        for part in (reference.acting, reference.refused, reference.idle):
            made = part(ROWS)
            self.assertIn(made, self.text, f"\nbring it up to date:\n\n{made}\n")

    def test_everyOption(self) -> None:
        """
        Each option is in one of the three.
        """
        for row in ROWS:
            one = (row,)
            name = row.name.rpartition(".")[2]
            shown = [
                part(one) for part in (reference.acting, reference.idle) if part(one)
            ]
            if row.refused:
                self.assertEqual(shown, [], row.name)
                self.assertIn(row.name, reference.refused(one))
            else:
                (text,) = shown
                self.assertIn(f"`{name}`", text)

    def test_nothingElse(self) -> None:
        """
        And in no more than one.
        """
        rows = [row for row in ROWS if row.refused]
        self.assertEqual((reference.acting(rows), reference.idle(rows)), ("", ""))
