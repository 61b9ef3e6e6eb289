"""
How service engines are found: makers that name an engine without importing it.

A package adds an engine by shipping C{twisted/plugins/its_plugin.py} with one
L{EngineMaker} in it; nothing here or in the daemon has to change.  So does a
file in a directory of components, where the maker names the classes themselves.
"""

from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

from corotwist.deviceinterfaces import IFenceAgentMaker, IQuorumDeviceMaker
from corotwist.interfaces import (
    IEngineMaker,
    ITransportMaker,
)


def always(settings: Any) -> bool:
    """
    The engine belongs to every node.
    """
    return True


def providesQuorum(name: str) -> Callable[[Any], bool]:
    """
    The engine belongs to nodes whose configuration names it as the provider of
    quorum.
    """

    def named(settings: Any) -> bool:
        return bool(settings.quorum.provider == name)

    return named


@implementer(IPlugin, IEngineMaker)
@frozen
class EngineMaker:
    """
    An engine by its classes, or their dotted names.

    @ivar engine: the engine's class, constructed without arguments.
    @ivar responder: its AMP responder locator, called with the engine and the
        connection; L{None} when clients cannot talk to it.
    @ivar condition: told the C{NodeSettings}: does this node run the engine?
    """

    name: str
    version: int
    engine: str | Callable[[], Any]
    responder: str | Callable[..., Any] | None = None
    condition: Callable[[Any], bool] = always

    def wanted(self, settings: Any) -> bool:
        return self.condition(settings)

    def load(self) -> Any:
        return _named(self.engine)()

    def responders(self) -> Any:
        return _named(self.responder)


@implementer(IPlugin, ITransportMaker)
@frozen
class TransportMaker:
    """
    A transport by its class, or the dotted name of it.
    """

    name: str
    version: int
    transport: str | Callable[..., Any]

    def load(self) -> Any:
        return _named(self.transport)


@implementer(IPlugin, IQuorumDeviceMaker)
@frozen
class QuorumDeviceMaker:
    """
    A quorum device by its class, or the dotted name of it.
    """

    name: str
    version: int
    device: str | Callable[..., Any]

    def load(self) -> Any:
        return _named(self.device)


@implementer(IPlugin, IFenceAgentMaker)
@frozen
class FenceAgentMaker:
    """
    A fence agent by its class, or the dotted name of it.
    """

    name: str
    version: int
    agent: str | Callable[..., Any]

    def load(self) -> Any:
        return _named(self.agent)


DEVICES: Final = (
    QuorumDeviceMaker("disk", 1, "corotwist.quorumdevice.disk.DiskDevice"),
    QuorumDeviceMaker("net", 1, "corotwist.quorumdevice.net.NetDevice"),
)
AGENTS: Final = (
    FenceAgentMaker("command", 1, "corotwist.fenceagents.CommandAgent"),
    FenceAgentMaker("test", 1, "corotwist.fenceagents.TestAgent"),
)
TRANSPORTS: Final = (
    TransportMaker("udp", 1, "corotwist.totem.udp.UdpTransport"),
    TransportMaker("udpu", 1, "corotwist.totem.udpu.UdpuTransport"),
)


def _named(thing: Any) -> Any:
    return namedAny(thing) if isinstance(thing, str) else thing


def discover() -> list[IEngineMaker]:
    """
    Every maker that Twisted's plug-in system finds, in the order of names.
    """
    return sorted(getPlugins(IEngineMaker), key=lambda maker: maker.name)
