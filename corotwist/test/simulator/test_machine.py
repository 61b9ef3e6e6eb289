"""
Simulated nodes read a configuration as daemons do.
"""

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config.localnode import IHost
from corotwist.errors import ConfigurationError
from corotwist.simulator import Cluster, timingFor
from corotwist.simulator.machine import Machine, addressOf
from corotwist.test.engines.orderednet import Maker
from corotwist.test.test_node import FakeEngine

TEXT = """
totem {
    version: 2
    transport: udpu
    crypto_cipher: none
    crypto_hash: none
    cluster_name: written
    token: 500
    token_coefficient: 100
}
nodelist {
    node {
        ring0_addr: alpha
        nodeid: 7
    }
    node {
        ring0_addr: 10.9.0.2
        name: beta
        nodeid: 3
        quorum_votes: 2
    }
    node {
        ring0_addr: 10.9.0.3
        nodeid: 9
    }
}
quorum {
    provider: corosync_votequorum
    wait_for_all: yes
}
"""


class ConfigurationTests(SynchronousTestCase):
    """
    What nodes understand of what they are given.
    """

    def test_machine(self) -> None:
        """
        A simulated machine is one to the configuration.
        """
        one = ip_address("10.0.0.1")
        machine = Machine("a", one, {"b": one})
        verifyObject(IHost, machine)
        self.assertEqual((machine.hostName(), *machine.addresses()), ("a", one))
        self.assertEqual([machine.isLocal(addressOf(n)) for n in (1, 2)], [True, False])
        self.assertEqual([*machine.resolve("b"), *machine.names(one)], [one, "b"])
        self.assertEqual([*machine.resolve("c")], [])
        self.assertEqual((machine.userId("root"), machine.groupId("x")), (0, None))

    def test_text(self) -> None:
        """
        A whole file decides who there is and how; each node finds itself in it.
        """
        hosts = {"alpha": ip_address("10.9.0.1")}
        cluster = Cluster(config=TEXT, hosts=hosts, services=True)
        self.assertEqual([*cluster.nodes], [3, 7, 9])
        self.assertAlmostEqual(cluster.timing.token, 0.6)
        cluster.settle()
        self.assertEqual(cluster.nodes[7].members, (3, 7, 9))
        own = {n: cluster.settings(n) for n in cluster.nodes}
        self.assertEqual([own[n].totem.nodeid for n in own], [3, 7, 9])
        self.assertEqual(own[7].totem.clusterName, "written")
        self.assertEqual([own[n].quorum.votes for n in own], [2, 1, 1])
        self.assertEqual(own[9].quorum.expectedVotes, 4)
        self.assertTrue(own[9].quorum.waitForAll)

    def test_options(self) -> None:
        """
        Without a file, options are said one by one; the rest is ordinary.
        """
        cluster = Cluster(
            2,
            totem={"token": 400, "ttl": 3, "transport": "udp"},
            quorum={"provider": "corosync_votequorum", "two_node": True},
            nodelist={2: {"quorum_votes": 3}},
        )
        self.assertEqual(cluster.timing.token, 0.4)
        settings = cluster.settings(2)
        self.assertEqual((settings.totem.transport, settings.totem.ttl), ("udp", 3))
        self.assertEqual((settings.quorum.votes, settings.quorum.twoNode), (3, True))
        self.assertEqual(settings.quorum.expectedVotes, 4)
        cluster.settle()

    def test_families(self) -> None:
        """
        Nodes may have IPv6 addresses.
        """
        text = TEXT.replace("10.9.0.", "fd00::").replace("alpha", "fd00::1")
        cluster = Cluster(config=text)
        cluster.settle()
        cluster.multicast(3, b"m")
        cluster.settle()
        self.assertEqual(cluster.nodes[9].log, [b"m"])

    def test_engines(self) -> None:
        """
        Whole nodes run engines of others besides those that are installed.
        """
        made: list[FakeEngine] = []

        def make() -> FakeEngine:
            made.append(FakeEngine([]))
            return made[-1]

        cluster = Cluster(2, services=True, engines=[Maker("fake", make)])
        cluster.settle()
        self.assertEqual(len(made), 2)
        self.assertIn("fake", cluster.services(1).manager.engines)
        self.assertEqual(made[0].configurations[-1].members, (1, 2))
        made[1].cluster.multicast(0, b"hello")
        cluster.run(0.1)
        self.assertEqual([len(engine.messages) for engine in made], [1, 1])

    def test_timing(self) -> None:
        """
        Timers given as such are used as they are.
        """
        timing = timingFor(0.31)
        cluster = Cluster(2, timing=timing, boot=False)
        self.assertEqual(cluster.settings(1).totem.timing, timing)

    def test_key(self) -> None:
        """
        A key is in the file that the text names.
        """
        cluster = Cluster(2, key=b"k" * 32)
        self.assertEqual(cluster.settings(2).totem.key, b"k" * 32)
        cluster.settle()

    def test_refused(self) -> None:
        """
        What a daemon refuses to be is no cluster.
        """
        refusal = self.assertRaises(ConfigurationError, Cluster, totem={"tokn": 1})
        self.assertIn("tokn", str(refusal))
        text = TEXT.replace("crypto_cipher: none", "keyfile: nowhere")
        refusal = self.assertRaises(ConfigurationError, Cluster, config=text)
        self.assertIn("nowhere", str(refusal))
