"""
Which entry of the node list is this machine?
"""

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from corotwist.config.host import Machine
from corotwist.config.localnode import Candidate, IHost, find, truncations
from corotwist.test.config.factories import FakeHost


def node(text: str, name: str = "", *addresses: str) -> Candidate:
    """
    One entry.
    """
    return Candidate(name, text, tuple(map(ip_address, addresses)))


class FindTests(SynchronousTestCase):
    def test_hostName(self) -> None:
        """
        The host name decides before any address does.
        """
        nodes = [node("10.0.0.1", "two", "10.0.0.1"), node("10.0.0.2", "one")]
        self.assertEqual(find(nodes, FakeHost("one")), 1)

    def test_hostNameAsAddress(self) -> None:
        """
        C{ring0_addr} may hold the host name.
        """
        self.assertEqual(find([node("zero"), node("one")], FakeHost("one")), 1)

    def test_domainRemoved(self) -> None:
        """
        Parts of the domain are removed one by one, so that the longest name
        that is listed wins.
        """
        nodes = [node("a", "one"), node("b", "one.rack")]
        self.assertEqual(find(nodes, FakeHost("one.rack.example")), 1)
        self.assertEqual(
            list(truncations("one.rack.example")),
            ["one.rack.example", "one.rack", "one"],
        )

    def test_shortNames(self) -> None:
        """
        A listed name in another domain is still ours.
        """
        nodes = [node("a", "two.example"), node("b", "one.example")]
        self.assertEqual(find(nodes, FakeHost("one.internal")), 1)

    def test_addressHasNoShortForm(self) -> None:
        """
        A machine called 10 is not every machine in 10.0.0.0/8.
        """
        nodes = [node("10.0.0.7", "", "10.0.0.7"), node("10.0.0.1", "", "10.0.0.1")]
        self.assertEqual(find(nodes, FakeHost("10")), 1)

    def test_interfaceAddress(self) -> None:
        """
        An address of an interface is enough.
        """
        nodes = [node("10.0.0.2"), node("10.0.0.1")]
        self.assertEqual(find(nodes, FakeHost()), 1)

    def test_interfaceName(self) -> None:
        """
        So is the name of such an address, with or without its domain.
        """
        host = FakeHost(reverse={"10.0.0.1": ["one-ring.example"]})
        self.assertEqual(find([node("two-ring"), node("one-ring")], host), 1)

    def test_resolvedName(self) -> None:
        """
        In the end every name is resolved and compared with what is ours.
        """
        nodes = [node("a", "", "10.0.0.2"), node("b", "", "10.0.0.9", "10.0.0.1")]
        self.assertEqual(find(nodes, FakeHost()), 1)

    def test_elsewhere(self) -> None:
        """
        No entry is ours.
        """
        self.assertIsNone(find([node("10.9.9.9", "", "10.9.9.9")], FakeHost()))


class MachineTests(SynchronousTestCase):
    """
    The machine that runs the tests.
    """

    def test_interface(self) -> None:
        """
        It is a host.
        """
        self.assertTrue(verifyObject(IHost, Machine()))

    def test_addresses(self) -> None:
        """
        Every address of its interfaces is one that a socket can have, but for
        those that need a scope.
        """
        machine = Machine()
        for address in machine.addresses():
            if not address.is_link_local:
                self.assertTrue(machine.isLocal(address), address)

    def test_notLocal(self) -> None:
        """
        An address for documentation is not ours.
        """
        self.assertFalse(Machine().isLocal(ip_address("203.0.113.77")))

    def test_resolve(self) -> None:
        """
        Addresses stand for themselves, and what is no name for nothing.
        """
        machine = Machine()
        self.assertEqual(machine.resolve("127.0.0.9"), (ip_address("127.0.0.9"),))
        self.assertEqual(machine.resolve("no name at all"), ())

    def test_identities(self) -> None:
        """
        Users and groups have numbers.
        """
        machine = Machine()
        self.assertEqual((machine.userId("root"), machine.groupId("root")), (0, 0))
        self.assertEqual(
            (machine.userId("no such user"), machine.groupId("no such group")),
            (None, None),
        )
