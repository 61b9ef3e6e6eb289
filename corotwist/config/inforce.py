"""
The settings that follow from the keys of a running node: by what is in the
database, whoever wrote it there, and not by what is in the files.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, field, frozen
from zope.interface import implementer

from corotwist.config.build import Built, Environment, fromReading
from corotwist.config.document import Reading
from corotwist.config.keypaths import (
    GROUPS,
    USERS,
    Keys,
    documentOf,
    inOrder,
    isOfFiles,
    pathOf,
)
from corotwist.config.localnode import IHost
from corotwist.config.schema import Schema
from corotwist.config.settings import Address, NodeSettings, QuorumSettings


@implementer(IHost)
@frozen
class _Settled:
    """
    A machine of which everything is known that a running node has asked.

    @ivar table: what the addresses of the node list were found to be.
    """

    table: Mapping[str, tuple[Address, ...]] = field(factory=dict)

    def hostName(self) -> str:
        return ""

    def addresses(self) -> Sequence[Address]:
        return ()

    def isLocal(self, address: Address) -> bool:
        return False

    def names(self, address: Address) -> Sequence[str]:
        return ()

    def resolve(self, name: str) -> Sequence[Address]:
        return self.table.get(name, ())

    def userId(self, name: str) -> int | None:
        return None

    def groupId(self, name: str) -> int | None:
        return None


def builtFrom(keys: Keys, running: NodeSettings) -> Built:
    """
    What a node would be that was started with these keys, where C{running}
    runs: who we are, what names resolve to, and the secret key stay.
    """
    known = Schema()
    said = [
        (key, value)
        for key, value in sorted(keys.items(), key=inOrder)
        if isOfFiles(key) and known.row(pathOf(key).row) is not None
    ]
    texts = [value.text() for key, value in said if key.endswith(".ring0_addr")]
    nodes = running.totem.nodes
    table = {text: node.addresses for text, node in zip(texts, nodes, strict=False)}
    secret = running.totem.key or b""
    around = Environment(
        _Settled(table),
        {},
        0,
        lambda path, cluster: secret,
        lambda key, cluster: secret,
        str(running.totem.nodeid),
    )
    return fromReading(Reading(documentOf(said, _file(running))), around)


def _file(running: NodeSettings) -> str:
    """
    The first file, without the name of its format: its path is absolute.
    """
    source = next(iter(running.sources), "")
    return source[max(0, source.find("/")) :]


def inForce(
    keys: Keys, running: NodeSettings, built: NodeSettings, changed: Iterable[str]
) -> NodeSettings:
    """
    What can change while a node runs, as in C{built}; all else as it is.

    @param keys: all that are in the database, those of clients too.
    @param changed: those that did: what no key of it is about stays, and may
        have been given to the node in another way.
    """
    parts = {key.partition(".")[0] for key in changed}
    totem, quorum, ipc = running.totem, running.quorum, running.ipc
    if "totem" in parts:
        totem = evolve(totem, timing=built.totem.timing)
    if parts & {"quorum", "nodelist"}:
        quorum = _counted(quorum, built.quorum)
    if "uidgid" in parts:
        ipc = evolve(ipc, uids=_numbered(keys, USERS), gids=_numbered(keys, GROUPS))
    return evolve(
        running,
        totem=totem,
        ipc=ipc,
        quorum=quorum,
        log=built.log if "logging" in parts else running.log,
        configVersion=built.configVersion
        if "totem" in parts
        else running.configVersion,
        keys=tuple((key, value) for key, value in keys.items() if _settles(key)),
    )


def _counted(running: QuorumSettings, built: QuorumSettings) -> QuorumSettings:
    """
    Numbers of votes, and the rule of two nodes with what it brings along.
    """
    device = running.device
    if device is not None and built.device is not None:
        device = evolve(device, votes=built.device.votes)
    sameRule = built.twoNode == running.twoNode
    return evolve(
        running,
        expectedVotes=built.expectedVotes,
        votes=built.votes,
        twoNode=built.twoNode,
        waitForAll=running.waitForAll if sameRule else built.waitForAll,
        barrier=built.barrier,
        voters=built.voters,
        device=device,
        notes=built.notes,
    )


def _settles(key: str) -> bool:
    """
    Do settings follow from it?  Those who clients let in are in no file.
    """
    return isOfFiles(key) or key.startswith((*USERS, *GROUPS))


def _numbered(keys: Keys, prefixes: tuple[str, ...]) -> frozenset[int]:
    """
    The users or groups that are let in: by the file, or by a client.
    """
    return frozenset(
        int(number)
        for key, value in keys.items()
        for number in (key.rpartition(".")[2],)
        if key.startswith(prefixes) and number.isdecimal() and value.content == 1
    )
