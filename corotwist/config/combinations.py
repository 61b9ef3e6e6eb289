"""
Options that are right by themselves and wrong together.

Corosync ignores most of these, or says a word in its log, and counts votes in
another way than the file says.  Here each is a problem that names both options.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final

from corotwist.config.check import Checked, Group
from corotwist.config.localnode import isAddress
from corotwist.config.ringoptions import LINKS

VOTEQUORUM: Final = "corosync_votequorum"
_TWO: Final = 2
# The nodeid of knet is 16 bits wide.
_LARGEST_KNET_NODEID: Final = 65535

# Two rules of quorum that cannot both be, and what corosync makes of it.
_EXCLUSIVE: Final = (
    ("two_node", "device.model", "refuses to start"),
    ("last_man_standing", "device.model", "refuses to start"),
    ("auto_tie_breaker", "device.model", "refuses to start"),
    ("allow_downscale", "device.model", "refuses to start"),
)
# What does nothing unless votes are counted.
_COUNTING: Final = (
    *("two_node", "wait_for_all", "auto_tie_breaker", "last_man_standing"),
    *("allow_downscale", "expected_votes_tracking"),
)


def judge(checked: Checked, *, complete: bool) -> None:
    """
    Add what is wrong to C{checked}.

    @param complete: was every line understood?  If not, only what two lines
        say against each other counts; what is missing may be in the others.
    """
    for contradiction in _CONTRADICTIONS:
        contradiction(checked)
    if complete:
        for lack in _LACKS:
            lack(checked)


def _isOn(group: Group, name: str) -> bool:
    given = group.given.get(name)
    return given is not None and given.value is not False


def _given(group: Group, name: str) -> object:
    given = group.given.get(name)
    return None if given is None else given.value


# Quorum.


def _exclusiveRules(checked: Checked) -> None:
    top = checked.top
    for one, other, outcome in _EXCLUSIVE:
        if _isOn(top, f"quorum.{one}") and _isOn(top, f"quorum.{other}"):
            text = f"does not go with {other}: corosync {outcome}; remove one of them"
            checked.wrongIn(top, f"quorum.{one}", text)


def _twoNodesAndTies(checked: Checked) -> None:
    top, name = checked.top, "quorum.two_node"
    if _isOn(top, name) and _isOn(top, "quorum.auto_tie_breaker"):
        text = "does not go with auto_tie_breaker: corosync switches two_node off and"
        text = f"{text} says so in its log; remove one of them"
        checked.contradicted(top, name, text)


def _twoNodes(checked: Checked) -> None:
    top, nodes = checked.top, len(checked.entries["nodelist.node"])
    if not _isOn(top, "quorum.two_node"):
        return
    expected = _given(top, "quorum.expected_votes")
    if nodes > _TWO:
        text = f"the node list has {nodes} nodes, and corosync then ignores the rule"
        checked.contradicted(top, "quorum.two_node", f"{text}: remove it")
    elif isinstance(expected, int) and expected > _TWO:
        text = f"does not go with 'expected_votes: {expected}': remove one of them"
        checked.contradicted(top, "quorum.two_node", text)


def _tieBreaker(checked: Checked) -> None:
    """
    A tie of an odd number of votes comes about only when the number shrinks.
    """
    top, name = checked.top, "quorum.auto_tie_breaker"
    expected = _expected(checked)
    if not _isOn(top, name) or expected % 2 == 0 or _isOn(top, "quorum.wait_for_all"):
        return
    text = f"does not go with {expected} expected votes, an odd number, unless with"
    text = f"{text} 'wait_for_all: 1': corosync"
    if _isOn(top, "quorum.last_man_standing"):
        checked.wrongIn(top, name, f"{text} refuses to start")
    else:
        outcome = "switches it off and says so in its log"
        checked.contradicted(top, name, f"{text} {outcome}")


def _expected(checked: Checked) -> int:
    given = _given(checked.top, "quorum.expected_votes")
    return given if isinstance(given, int) else sum(_votes(checked))


def _votes(checked: Checked) -> list[int]:
    nodes = checked.entries["nodelist.node"]
    return [node.number("nodelist.node.quorum_votes") for node in nodes]


def _lastMan(checked: Checked) -> None:
    name = "quorum.last_man_standing"
    if _isOn(checked.top, name) and any(votes > 1 for votes in _votes(checked)):
        text = "does not go with a node of more than one vote: corosync switches it"
        checked.contradicted(checked.top, name, f"{text} off when it sees that node")


def _downscale(checked: Checked) -> None:
    top, tracking = checked.top, "quorum.expected_votes_tracking"
    if _isOn(top, "quorum.allow_downscale") and _given(top, tracking) is False:
        text = "does not go with allow_downscale, which switches it on"
        checked.contradicted(top, tracking, text)


def _deviceVotes(checked: Checked) -> None:
    top = checked.top
    votes, expected = (
        _given(top, name) for name in ("quorum.device.votes", "quorum.expected_votes")
    )
    if not isinstance(votes, int) or not isinstance(expected, int):
        return
    if votes >= expected:
        text = f"{votes} of {expected} expected votes are too many: corosync refuses"
        checked.wrongIn(top, "quorum.device.votes", f"{text} to start")


def _deviceLacksVotes(checked: Checked) -> None:
    top, name = checked.top, "quorum.device.votes"
    if not top.has("quorum.device.model") or top.has(name):
        return
    if top.has("quorum.expected_votes"):
        text = "missing: expected_votes with a device needs it"
    elif any(votes != 1 for votes in _votes(checked)):
        text = "missing: nodes whose votes are not all 1 need it with a device"
    else:
        return
    checked.wrongIn(top, name, text)


def _nobodyCounts(checked: Checked) -> None:
    top = checked.top
    if _given(top, "quorum.provider") == VOTEQUORUM:
        return
    for name in (f"quorum.{option}" for option in _COUNTING):
        if _isOn(top, name):
            text = f"no effect without 'provider: {VOTEQUORUM}': write that, too"
            checked.contradicted(top, name, text)


# The node list.


def _duplicates(checked: Checked) -> None:
    for option in ("nodeid", "name", *(f"ring{n}_addr" for n in range(LINKS))):
        name = f"nodelist.node.{option}"
        given = [(n, _given(n, name)) for n in checked.entries["nodelist.node"]]
        counts = Counter(value for _, value in given)
        for node, value in given:
            if value is not None and counts[value] > 1:
                checked.wrongIn(node, name, f"{value} is in the node list twice")


def _families(checked: Checked) -> None:
    """
    Link 0 is judged where names are resolved.
    """
    for link in range(1, LINKS):
        name = f"nodelist.node.ring{link}_addr"
        first: int | None = None
        for node in checked.entries["nodelist.node"]:
            text = _given(node, name)
            if not isinstance(text, str) or not isAddress(text):
                continue
            version = ip_address(text).version
            first = first or version
            if version != first:
                text = f"is IPv{version}, and link {link} of other nodes is IPv{first}"
                checked.wrongIn(node, name, f"{text}: a link has one family")


def _knetNodeids(checked: Checked) -> None:
    if _given(checked.top, "totem.transport") != "knet":
        return
    for node in checked.entries["nodelist.node"]:
        nodeid = _given(node, "nodelist.node.nodeid")
        if isinstance(nodeid, int) and nodeid > _LARGEST_KNET_NODEID:
            text = f"is {nodeid}, and at most {_LARGEST_KNET_NODEID} with knet"
            checked.wrongIn(node, "nodelist.node.nodeid", text)


def _linksDiffer(checked: Checked) -> None:
    nodes = checked.entries["nodelist.node"]
    links = [name for name in _linkNames() if any(n.has(name) for n in nodes)]
    for node in nodes:
        for name in links:
            if not node.has(name):
                text = "missing: other nodes have it, and every node has the same links"
                checked.wrongIn(node, name, text)
        if links and not node.has("nodelist.node.name"):
            text = "missing: with more than one link each node has a name"
            checked.wrongIn(node, "nodelist.node.name", text)


def _linkNames() -> Iterator[str]:
    """
    All but the first, without which a node is nowhere at all.
    """
    return (f"nodelist.node.ring{link}_addr" for link in range(1, LINKS))


# Links.


def _linkOf(interface: Group, position: int) -> int:
    for name in ("linknumber", "ringnumber"):
        given = _given(interface, f"totem.interface.{name}")
        if isinstance(given, int):
            return given
    return position


def _sameLink(checked: Checked) -> None:
    seen: dict[int, int] = defaultdict(int)
    for position, interface in enumerate(checked.entries["totem.interface"]):
        link = _linkOf(interface, position)
        seen[link] += 1
        if seen[link] == _TWO:
            text = f"link {link} has a section already: put both into one"
            checked.wrongIn(interface, "totem.interface.linknumber", text)
        names = [f"totem.interface.{name}" for name in ("linknumber", "ringnumber")]
        numbers = [_given(interface, name) for name in names]
        if None not in numbers and numbers[0] != numbers[1]:
            text = f"is {numbers[1]}, and linknumber {numbers[0]}: remove one of them"
            checked.wrongIn(interface, names[1], text)


def _noSuchLink(checked: Checked) -> None:
    nodes = checked.entries["nodelist.node"]
    for interface in checked.entries["totem.interface"]:
        link = _linkOf(interface, 0)
        name = f"nodelist.node.ring{link}_addr"
        if link and nodes and not any(node.has(name) for node in nodes):
            text = f"no node has a ring{link}_addr: the section has no effect"
            checked.wrongIn(interface, "totem.interface.linknumber", text)


def _multicast(checked: Checked) -> None:
    if _given(checked.top, "totem.transport") != "udp":
        return
    for interface in checked.entries["totem.interface"]:
        name = "totem.interface.mcastaddr"
        group = interface.given.get(name)
        address = None if group is None else ip_address(str(group.value))
        if address is not None and not address.is_multicast:
            checked.wrongIn(interface, name, f"{address} is not a multicast address")
        if address is not None and _isOn(interface, "totem.interface.broadcast"):
            text = "does not go with mcastaddr: remove one of them"
            checked.wrongIn(interface, "totem.interface.broadcast", text)


# The ring, and the log.


def _times(checked: Checked) -> None:
    top = checked.top
    consensus, join = (_given(top, f"totem.{name}") for name in ("consensus", "join"))
    if isinstance(consensus, int) and isinstance(join, int) and consensus < join:
        text = f"{consensus} ms is shorter than join, {join} ms"
        checked.wrongIn(top, "totem.consensus", text)
    window, most = (
        _given(top, f"totem.{name}") for name in ("window_size", "max_messages")
    )
    if isinstance(window, int) and isinstance(most, int) and most > window:
        text = f"no effect above window_size, {window}"
        checked.warnIn(top, "totem.max_messages", text)


def _cipherWithoutHash(checked: Checked) -> None:
    top, name = checked.top, "totem.crypto_hash"
    cipher = _given(top, "totem.crypto_cipher")
    if cipher not in (None, "none") and _given(top, name) == "none":
        text = f"does not go with 'crypto_cipher: {cipher}', which needs a hash"
        checked.wrongIn(top, name, text)


def _sameLogger(checked: Checked) -> None:
    for path, names in (
        ("logging.logger_subsys", ("subsys",)),
        ("logging.logging_daemon", ("name", "subsys")),
    ):
        seen = set()
        for entry in checked.entries[path]:
            about = tuple(_given(entry, f"{path}.{name}") for name in names)
            if about in seen and about[0] is not None:
                text = f"{about[0]} has a section already: put both into one"
                checked.wrongIn(entry, f"{path}.{names[0]}", text)
            seen.add(about)


def _namelessLogger(checked: Checked) -> None:
    name = "logging.logging_daemon.name"
    for entry in checked.entries["logging.logging_daemon"]:
        if not entry.has(name):
            text = "missing: write 'name: PROGRAM', or nobody is meant"
            checked.wrongIn(entry, name, text)


_CONTRADICTIONS: Final[tuple[Callable[[Checked], None], ...]] = (
    *(_exclusiveRules, _twoNodesAndTies, _twoNodes, _lastMan, _downscale, _deviceVotes),
    *(_duplicates, _families, _knetNodeids, _sameLink, _multicast),
    *(_times, _cipherWithoutHash, _sameLogger),
)
_LACKS: Final[tuple[Callable[[Checked], None], ...]] = (
    *(_tieBreaker, _deviceLacksVotes, _nobodyCounts),
    *(_linksDiffer, _noSuchLink, _namelessLogger),
)
