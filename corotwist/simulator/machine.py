"""
The machine that a simulated node runs on, and the configuration it reads: the
text of a corosync.conf, the same on every node, on the same path as
C{twistd corosync} takes.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Any, Final

from attrs import define, evolve, field, frozen
from zope.interface import implementer

from corotwist.config.build import Built, Environment, fromReading
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.localnode import IHost, isAddress
from corotwist.config.settings import Address, NodeEntry, NodeSettings, Timing
from corotwist.totem.frame import deriveKey

FIRST_ADDRESS: Final = int(IPv4Address("10.0.0.0"))
FILE: Final = "/etc/corosync/corosync.conf"
KEY_FILE: Final = "/etc/corosync/authkey"
STATE_DIRECTORY: Final = "/var/lib/corotwist"
SOCKET: Final = "/run/corotwist/corotwist.sock"
# What a cluster is that says nothing else: a token timeout of 1 s, however
# many nodes there are.
TOTEM: Final[Mapping[str, object]] = {
    "version": 2,
    "cluster_name": "simulated",
    "transport": "udpu",
    "token": 1000,
    "token_coefficient": 0,
}
# These are options of the subsection interface.
INTERFACE: Final = ("mcastport", "mcastaddr", "broadcast", "ttl")

Options = Mapping[str, object]


def addressOf(nodeid: int) -> IPv4Address:
    """
    The address of a node in the simulated network.
    """
    return IPv4Address(FIRST_ADDRESS + nodeid)


@frozen
class Wishes:
    """
    What the configuration of a cluster is to say, besides the ordinary.

    @ivar totem: options of C{totem} and its C{interface}.
    @ivar quorum: options of C{quorum}.
    @ivar nodes: options of entries of the node list, by nodeid.
    """

    totem: Options = field(factory=dict)
    quorum: Options = field(factory=dict)
    nodes: Mapping[int, Options] = field(factory=dict)

    def text(self, nodeids: Sequence[int], sealed: bool) -> str:
        """
        The whole file.
        """
        totem = {**TOTEM, **self.totem}
        interface = {name: totem.pop(name) for name in INTERFACE if name in totem}
        if sealed:
            totem = {"keyfile": KEY_FILE} | totem
        else:
            totem = {"crypto_cipher": "none", "crypto_hash": "none"} | totem
        if interface:
            totem["interface"] = interface
        entries = [self._entry(nodeid) for nodeid in nodeids]
        sections: list[tuple[str, Options]] = [
            ("totem", totem),
            ("nodelist", {"node": entries}),
            ("system", {"state_dir": STATE_DIRECTORY}),
            ("corotwist", {"ipc_socket": SOCKET}),
        ]
        if self.quorum:
            sections.append(("quorum", self.quorum))
        return "\n".join(line for name, body in sections for line in _lines(name, body))

    def _entry(self, nodeid: int) -> Options:
        return {
            "nodeid": nodeid,
            "name": f"node{nodeid}",
            "ring0_addr": addressOf(nodeid),
            **self.nodes.get(nodeid, {}),
        }


def _lines(name: str, value: Any, margin: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _lines(name, one, margin)
    elif isinstance(value, Mapping):
        yield f"{margin}{name} {{"
        for key, inner in value.items():
            yield from _lines(key, inner, margin + "    ")
        yield margin + "}"
    else:
        if isinstance(value, bool):
            value = "yes" if value else "no"
        yield f"{margin}{name}: {value}"


@implementer(IHost)
@frozen
class Machine:
    """
    One simulated machine.

    @ivar name: its host name.
    @ivar address: of its one interface; L{None} to have any.
    @ivar names: all names that resolve, with their addresses.
    """

    name: str
    address: Address | None
    table: Mapping[str, Address]

    def hostName(self) -> str:
        return self.name

    def addresses(self) -> Sequence[Address]:
        return () if self.address is None else (self.address,)

    def isLocal(self, address: Address) -> bool:
        return self.address in (None, address)

    def names(self, address: Address) -> Sequence[str]:
        return [name for name, its in self.table.items() if its == address]

    def resolve(self, name: str) -> Sequence[Address]:
        if isAddress(name):
            return (ip_address(name),)
        return (self.table[name],) if name in self.table else ()

    def userId(self, name: str) -> int | None:
        return {"root": 0}.get(name)

    def groupId(self, name: str) -> int | None:
        return {"root": 0}.get(name)


@define
class Blueprint:
    """
    The configuration of a whole cluster.

    @ivar text: the file, the same on every node; a node reads it when it
        starts.
    @ivar key: what is in the key file, if the text names one.
    @ivar timing: instead of what the text says of timers.
    @ivar hosts: names that resolve, with their addresses.
    """

    text: str
    key: bytes | None = field(default=None, repr=False)
    timing: Timing | None = None
    hosts: Mapping[str, Address] = field(factory=dict)

    def anybody(self) -> NodeSettings:
        """
        What a machine reads that has all addresses: the first node's.

        @raise ConfigurationError: what is wrong with the text.
        """
        return self._settings(Machine("", None, self.hosts))

    def settings(self, entry: NodeEntry) -> NodeSettings:
        """
        What the machine of one node reads.

        @raise ConfigurationError: what is wrong with the text.
        """
        return self._settings(self._machine(entry))

    def read(self, entry: NodeEntry) -> Built:
        """
        What that machine reads while its node runs.
        """
        return self._read(self._machine(entry))

    def _machine(self, entry: NodeEntry) -> Machine:
        return Machine(entry.name, entry.addresses[0], self.hosts)

    def _read(self, machine: Machine) -> Built:
        around = Environment(machine, {}, 0, self._loadKey, deriveKey)
        return fromReading(parse(self.text, FILE), around, (FILE,))

    def _settings(self, machine: Machine) -> NodeSettings:
        settings = self._read(machine).usable()
        if self.timing is None:
            return settings
        return evolve(settings, totem=evolve(settings.totem, timing=self.timing))

    def _loadKey(self, path: str, clusterName: str) -> bytes:
        if self.key is None:
            raise FileNotFoundError(2, "No such file or directory")
        return self.key
