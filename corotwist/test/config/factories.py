"""
Hosts and configuration files in a wanted state.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from attrs import Factory, define
from zope.interface import implementer

from corotwist.config.build import Built, Environment, fromReading
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.localnode import IHost, isAddress
from corotwist.config.settings import Address, NodeSettings
from corotwist.errors import ConfigurationError, Problem

FILE = "node.conf"
KEY = b"k" * 32


@implementer(IHost)
@define
class FakeHost:
    """
    A machine that is what a test says.

    @ivar table: names to addresses.
    @ivar local: addresses of its interfaces.
    @ivar reverse: addresses to names.
    """

    name: str = "machine"
    local: Sequence[str] = ("127.0.0.1", "10.0.0.1")
    table: Mapping[str, Sequence[str]] = Factory(dict)
    reverse: Mapping[str, Sequence[str]] = Factory(dict)

    def hostName(self) -> str:
        return self.name

    def addresses(self) -> Sequence[Address]:
        return [ip_address(text) for text in self.local]

    def isLocal(self, address: Address) -> bool:
        return address.is_loopback or str(address) in self.local

    def names(self, address: Address) -> Sequence[str]:
        return self.reverse.get(str(address), ())

    def resolve(self, name: str) -> Sequence[Address]:
        texts = [name] if isAddress(name) else self.table.get(name, ())
        return [ip_address(text) for text in texts]

    def userId(self, name: str) -> int | None:
        return {"root": 0, "hacluster": 111}.get(name)

    def groupId(self, name: str) -> int | None:
        return {"root": 0, "haclient": 112}.get(name)


def loadKey(path: str, clusterName: str) -> bytes:
    """
    A key file that is called C{bad} is refused, C{absent} is not there.
    """
    if path.endswith("bad"):
        raise ConfigurationError(
            Problem(path, 0, "totem.keyfile", f"{path}: too short")
        )
    if path.endswith("absent"):
        raise FileNotFoundError(2, "No such file or directory")
    return KEY


def deriveKey(material: bytes, clusterName: str) -> bytes:
    """
    A key from inline material.
    """
    return (material + clusterName.encode())[-32:]


def environment(
    host: FakeHost | None = None,
    environ: Mapping[str, str] | None = None,
    uid: int = 0,
    node: str | None = None,
) -> Environment:
    """
    Everything outside the file.
    """
    return Environment(host or FakeHost(), environ or {}, uid, loadKey, deriveKey, node)


def built(text: str, around: Environment | None = None, file: str = FILE) -> Built:
    """
    A file with this text, judged.
    """
    return fromReading(parse(text, file), around or environment())


def settings(text: str, around: Environment | None = None) -> NodeSettings:
    """
    A file with this text that has to be right.
    """
    return built(text, around).usable()


def told(outcome: Built) -> list[str]:
    """
    The problems as an operator reads them.
    """
    return [str(problem) for problem in outcome.problems]


def warned(outcome: Built) -> list[str]:
    """
    The warnings as an operator reads them.
    """
    return [str(warning) for warning in outcome.warnings]


def conf(
    totem: str = "",
    nodes: int = 3,
    *,
    quorum: str = "",
    rest: str = "",
    node: str = "",
    cipher: str = "crypto_cipher: none",
) -> str:
    """
    A right file, with lines put in.

    @param node: lines for the first node.
    """
    entries = "".join(
        f"  node {{\n    ring0_addr: 10.0.0.{n}\n    nodeid: {n}\n"
        f"{node if n == 1 else ''}\n  }}\n"
        for n in range(1, nodes + 1)
    )
    return (
        f"totem {{\n  version: 2\n  transport: udpu\n  {cipher}\n{totem}\n}}\n"
        f"nodelist {{\n{entries}}}\nquorum {{\n{quorum}\n}}\n{rest}\n"
    )
