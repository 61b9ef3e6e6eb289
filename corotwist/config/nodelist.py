"""
The node list: who there is, at which addresses, and which of them we are.
"""

from collections import Counter
from ipaddress import IPv4Address
from typing import Final, cast

from corotwist.config.check import Checked, Group
from corotwist.config.localnode import Candidate, IHost, find
from corotwist.config.ringoptions import LARGEST_NODEID
from corotwist.config.settings import Address, NodeEntry

# More nodes than that have not been on one ring.
MOST_NODES: Final = 384
_HIGH_BIT: Final = 1 << 31
_FAMILIES: Final = {
    "ipv4": (4,),
    "ipv6": (6,),
    "ipv6-4": (6, 4),
    "ipv4-6": (4, 6),
}


class NodeList:
    """
    The entries, with their names resolved; notes problems in C{checked}.

    @ivar entries: in the order of the file.
    @ivar own: which of them we are; L{None} when that is not to be found out.
    """

    def __init__(self, checked: Checked, host: IHost, wanted: str | None) -> None:
        """
        @param wanted: which entry we are, stronger than the file.
        """
        self.checked = checked
        self.host = host
        self.wanted = wanted
        self._top = checked.top
        self._nodes = checked.entries["nodelist.node"]
        candidates = [self._candidate(node) for node in self._nodes]
        self.entries = self._entries(candidates)
        self.own = self._ownEntry(candidates, self.entries)

    def _candidate(self, node: Group) -> Candidate:
        text = node.text("nodelist.node.ring0_addr") or ""
        name = node.text("nodelist.node.name") or ""
        if not text:
            if not node.has("nodelist.node.ring0_addr"):
                text = "missing: write 'ring0_addr: ADDRESS'"
                self.checked.wrongIn(node, "nodelist.node.ring0_addr", text)
            return Candidate(name, "", ())
        addresses = self._resolved(node, text)
        return Candidate(name, text, addresses)

    def _resolved(self, node: Group, text: str) -> tuple[Address, ...]:
        """
        The addresses of the family that is liked best.
        """
        preference = self._top.value("totem.ip_version")
        if preference is None:
            isMulticast = self._top.value("totem.transport") == "udp"
            preference = "ipv4" if isMulticast else "ipv6-4"
        found = self.host.resolve(text)
        for version in _FAMILIES[str(preference)]:
            suitable = tuple(a for a in found if a.version == version)
            if suitable:
                return suitable
        if not found:
            text = f"{text!r} is neither an address nor a name that resolves"
        else:
            text = f"{found[0]} is not of the family 'ip_version: {preference}'"
        self.checked.wrongIn(node, "nodelist.node.ring0_addr", text)
        return ()

    def _entries(self, candidates: list[Candidate]) -> list[NodeEntry]:
        if not candidates:
            self.checked.wrongIn(
                self._top,
                "nodelist",
                "missing: list every node, nodelist { node { ring0_addr: …, nodeid:"
                " … } }",
            )
        if len(candidates) > MOST_NODES:
            self.checked.wrongIn(
                self._nodes[-1], "nodelist", f"more than {MOST_NODES} nodes"
            )
        entries = [
            NodeEntry(
                self._nodeid(group, candidate),
                candidate.name,
                candidate.addresses[:1],
                group.number("nodelist.node.quorum_votes"),
            )
            for group, candidate in zip(self._nodes, candidates, strict=True)
        ]
        self._repeated("nodeid", [entry.nodeid or None for entry in entries])
        self._repeated("name", [entry.name or None for entry in entries])
        self._repeated("ring0_addr", [(*e.addresses, None)[0] for e in entries])
        self._families(entries)
        self._reachable(entries)
        return entries

    def _nodeid(self, node: Group, candidate: Candidate) -> int:
        """
        As given, or as corosync derives it; 0 when there is none.
        """
        given = node.value("nodelist.node.nodeid")
        if given is not None:
            return cast("int", given)
        address = (*candidate.addresses, None)[0]
        if address is None or node.isWrong("nodelist.node.nodeid"):
            return 0
        if not isinstance(address, IPv4Address):
            self.checked.wrongIn(
                node,
                "nodelist.node.nodeid",
                "missing, and derives from IPv4 addresses only: write 'nodeid: NUMBER'",
            )
            return 0
        return self._nodeidOf(node, address)

    def _nodeidOf(self, node: Group, address: IPv4Address) -> int:
        nodeid = int(address)
        if self._top.flag("totem.clear_node_high_bit"):
            return nodeid & ~_HIGH_BIT
        if nodeid > LARGEST_NODEID:
            self.checked.warnIn(
                node,
                "nodelist.node.nodeid",
                f"derives from {address} as {nodeid}, which some clients take for"
                " negative: write 'nodeid: NUMBER', or 'clear_node_high_bit: yes'",
            )
        return nodeid

    def _repeated(self, option: str, values: list[object]) -> None:
        counts = Counter(values)
        for node, value in zip(self._nodes, values, strict=True):
            if value is not None and counts[value] > 1:
                name = f"nodelist.node.{option}"
                self.checked.wrongIn(node, name, f"{value} is in the node list twice")

    def _families(self, entries: list[NodeEntry]) -> None:
        versions = {a.version for entry in entries for a in entry.addresses}
        if len(versions) > 1:
            self.checked.wrongIn(
                self._nodes[0],
                "nodelist.node.ring0_addr",
                "some nodes have IPv4, some IPv6 addresses: use one family, or choose"
                " with totem.ip_version",
            )

    def _reachable(self, entries: list[NodeEntry]) -> None:
        """
        On Debian a host's own name is 127.0.1.1: node 1 would listen there,
        and node 2 would ask at the real address.
        """
        loopback = [any(a.is_loopback for a in entry.addresses) for entry in entries]
        if all(loopback):
            return
        for node, entry, isLoopback in zip(self._nodes, entries, loopback, strict=True):
            if isLoopback:
                self.checked.wrongIn(
                    node,
                    "nodelist.node.ring0_addr",
                    f"stands for {entry.addresses[0]} here, where other machines do"
                    " not reach it: write the address itself",
                )

    def _ownEntry(
        self, candidates: list[Candidate], entries: list[NodeEntry]
    ) -> NodeEntry | None:
        wanted = self.wanted or self._top.text("corotwist.node")
        if wanted is not None:
            return self._wantedEntry(wanted, candidates, entries)
        if not all(candidate.addresses for candidate in candidates) or not entries:
            return None
        at = find(candidates, self.host)
        if at is not None:
            return entries[at]
        self.checked.wrongIn(
            self._top,
            "nodelist",
            f"none of the nodes is this machine ({self.host.hostName()}):"
            " give its entry one of its addresses or its host name as name, or say"
            " which it is with corotwist { node: NAME }",
        )
        return None

    def _wantedEntry(
        self, wanted: str, candidates: list[Candidate], entries: list[NodeEntry]
    ) -> NodeEntry | None:
        for candidate, entry in zip(candidates, entries, strict=True):
            if wanted in (*candidate.labels, str(entry.nodeid)):
                return entry if entry.addresses else None
        self.checked.wrongIn(
            self._top, "corotwist.node", f"there is no node {wanted!r} in the node list"
        )
        return None
