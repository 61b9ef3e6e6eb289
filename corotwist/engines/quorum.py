"""
May this partition act?  Asked here, answered by the provider of quorum.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from zope.interface import implementer

from corotwist.config.settings import NodeSettings
from corotwist.engines.base import SynchronizedEngine
from corotwist.engines.executive import QUORUM
from corotwist.engines.interfaces import IQuorum
from corotwist.engines.quoruminterfaces import (
    IFencing,
    IQuorumDeviceState,
    IQuorumProvider,
)
from corotwist.errors import ConfigurationError, NotExist, Problem
from corotwist.interfaces import ICluster, IReplaceable

# Providers that the configuration names in corosync's words.
_ENGINES: Final = {"corosync_votequorum": "votequorum", "corosync_quorum_ykd": "ykd"}
_SHIPPED: Final = ("corosync_votequorum", "majority", "external")


@implementer(IQuorum, IReplaceable)
class QuorumEngine(SynchronizedEngine):
    """
    Has nothing to say to other nodes, but takes its place when they
    synchronize.  Without a provider every partition is quorate.
    """

    name = "quorum"
    serviceId = QUORUM

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> None:
        super().initialize(cluster, settings)
        self._provider = settings.quorum.provider or ""
        if not settings.components.engines:
            self._checkProvider(settings.sources)

    def _checkProvider(self, sources: tuple[str, ...]) -> None:
        """
        A name that nobody answers to is a mistake, unless the operator chose
        the engines.
        """
        if not self._provider or self._judge() is not None:
            return
        name, file = self._provider, ", ".join(sources) or "configuration"
        close = get_close_matches(name, _SHIPPED, 1)
        there = ", ".join(_SHIPPED)
        hint = f"did you mean {close[0]!r}?" if close else f"we have {there}"
        text = f"no installed engine is a quorum provider {name!r}: {hint}"
        raise ConfigurationError(Problem(file, 0, "quorum.provider", text))

    def dump(self) -> Mapping[str, Any]:
        return {"provider": self._provider, **self.explanation()}

    # Another version.

    def handOver(self) -> dict[str, Any]:
        """
        All that we know is in the configuration, or asked for.
        """
        return {"format": 1}

    def takeOver(self, state: Mapping[str, Any], version: int) -> None:
        """
        There is nothing to take over.
        """

    # For everybody on this node.

    def quorate(self) -> bool:
        judge = self._judge()
        return not self._provider if judge is None else judge.quorate()

    def counting(self) -> bool:
        judge = self._judge()
        return not self._provider if judge is None else judge.counting()

    def explanation(self) -> dict[str, int | bool | str]:
        judge = self._judge()
        if judge is None and self._provider:
            return {"quorate": False, "rule": "the quorum provider is not there"}
        if judge is None:
            return {"quorate": True, "rule": "no quorum provider is configured"}
        ends = self._validUntil() if judge.quorate() else 0
        return {**judge.explanation(), "validUntil": ends, **self._notOff()}

    def _validUntil(self) -> int:
        """
        So long the verdict is good, whatever is not heard any more: as long as
        no member can be on a ring without us, and our quorum device votes for
        us if it ever did; 0 when that is not known.
        """
        ends = self.cluster.leaseEnds()
        try:
            device = IQuorumDeviceState(self.cluster.engine("qdevice")).validUntil()
        except NotExist:
            device = 0
        return max(0, min(ends, device) if device else ends)

    def _notOff(self) -> dict[str, str]:
        """
        Lost nodes of which it is not sure that they are off.
        """
        try:
            waiting = IFencing(self.cluster.engine("fencing")).waiting()
        except NotExist:
            return {}
        return {"notConfirmedOff": ", ".join(map(str, waiting))} if waiting else {}

    def follow(self, changed: Callable[[], object]) -> Callable[[], None]:
        """
        Call at once, and whenever there is another verdict.

        @return: ends that.
        """
        judge = self._judge()
        if judge is not None:
            return judge.follow(changed)
        changed()
        return _nothing

    def _judge(self) -> IQuorumProvider | None:
        """
        The engine that the configuration names, if it is there.
        """
        try:
            engine = self.cluster.engine(_ENGINES.get(self._provider, self._provider))
        except NotExist:
            return None
        return engine if IQuorumProvider.providedBy(engine) else None


def _nothing() -> None:
    """
    There is nothing to end: no verdict changes without a provider.
    """
