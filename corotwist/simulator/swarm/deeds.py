"""
What a plan can have done to a cluster.

Each method is a verb of L{corotwist.simulator.swarm.plan.Deed}.  A deed whose
time has passed, or whose node is not there, is no deed: nothing happens.
"""

import errno
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import define, field

from corotwist.errors import CorotwistError
from corotwist.simulator.cluster import Cluster
from corotwist.simulator.faults import Faults
from corotwist.simulator.swarm.plan import Deed, When, faultsFromJson
from corotwist.totem.effects import (
    ConfigurationChanged,
    Deliver,
    Multicast,
    StoreRingId,
    Unicast,
)
from corotwist.totem.states import In

# What a process is told, and does not suffer: it hears of it when its present
# work is done.
_NEXT_TURN: Final = frozenset({"stop"})
# What a node finds on its disk when it boots.
WHOLE: Final = "whole"
LOST: Final = "lost"
EMPTY: Final = "empty"
HALF: Final = "half"
DISKS: Final = (WHOLE, LOST, EMPTY, HALF)

EFFECTS: Final[Mapping[str, type | None]] = {
    "any": None,
    "multicast": Multicast,
    "unicast": Unicast,
    "deliver": Deliver,
    "store": StoreRingId,
    "configuration": ConfigurationChanged,
}
_KILLED: Final[Mapping[In, str]] = {
    In.GATHER: "killed while gathering",
    In.COMMIT: "killed while committing",
    In.RECOVERY: "killed while recovering",
}


@define(eq=False)
class Deeds:
    """
    Does what was planned.

    @ivar faults: of the network, when nothing worse happens.
    @ivar over: the faults have ended.
    @ivar done: how often each deed was done.
    @ivar skipped: how often there was nothing to do.
    """

    cluster: Cluster
    faults: Faults
    over: bool = False
    done: Counter[str] = field(factory=Counter)
    skipped: Counter[str] = field(factory=Counter)

    def arm(self, deeds: Sequence[Deed]) -> None:
        """
        Do them when their moments come.
        """
        for deed in deeds:
            self._at(deed.when.at, self._reached, deed)

    def _at(self, time: float, act: Callable[..., None], *arguments: Any) -> None:
        now = self.cluster.seconds()
        self.cluster.clock.place(max(time, now), self._unlessOver, act, *arguments)

    def _unlessOver(self, act: Callable[..., None], *arguments: Any) -> None:
        if not self.over:
            act(*arguments)

    def _reached(self, deed: Deed) -> None:
        when = deed.when
        event = partial(self._event, deed)
        who = when.nodeid or None
        if when.state:
            self.cluster.whenState(In(when.state), event, who, when.skip)
        elif when.kind:
            self.cluster.whenSent(event, when.kind, source=who, skip=when.skip)
        else:
            self._do(deed)

    def _event(self, deed: Deed) -> None:
        if deed.when.later or deed.verb in _NEXT_TURN:
            self._at(self.cluster.seconds() + deed.when.later, self._do, deed)
        else:
            self._do(deed)

    def _do(self, deed: Deed) -> None:
        act: Callable[..., bool] = getattr(self, deed.verb)
        try:
            happened = act(**deed.arguments)
        except CorotwistError:
            # A node that refuses to start on such a disk.
            happened = False
        (self.done if happened else self.skipped)[deed.verb] += 1

    # Links.

    def partition(self, sides: Sequence[Sequence[int]]) -> bool:
        """
        Cut the network into sides.
        """
        self.cluster.partition(*sides)
        return len(self.cluster.nodes) > 1

    def bridge(self, nodeid: int, sides: Sequence[Sequence[int]]) -> bool:
        """
        The same, but one node hears all and is heard by all.
        """
        self.cluster.partition(*sides)
        for other in self._others(nodeid):
            self.cluster.link(nodeid, other).cut = False
            self.cluster.link(other, nodeid).cut = False
        return len(self.cluster.nodes) > 1

    def heal(self) -> bool:
        """
        All links whole.
        """
        self.cluster.heal()
        return True

    def cut(self, source: int, target: int) -> bool:
        """
        One direction of one link.
        """
        if not self._arePair(source, target):
            return False
        self.cluster.cut(source, target)
        return True

    def mend(self, source: int, target: int) -> bool:
        """
        One direction is whole again.
        """
        if not self._arePair(source, target) or not self._link(source, target).cut:
            return False
        self._link(source, target).cut = False
        return True

    def swizzle(self, out: Sequence[int], back: Sequence[int], pace: float) -> bool:
        """
        Nodes lose their links one after the other, and get them back in
        another order.
        """
        now = self.cluster.seconds()
        for i, nodeid in enumerate(out):
            self._at(now + i * pace, self._isolate, nodeid, True)
        for i, nodeid in enumerate(n for n in back if n in out):
            self._at(now + (len(out) + i) * pace, self._isolate, nodeid, False)
        return True

    def _isolate(self, nodeid: int, cut: bool) -> None:
        for other in self._others(nodeid):
            self._link(nodeid, other).cut = cut
            self._link(other, nodeid).cut = cut

    def badLink(self, source: int, target: int, faults: Mapping[str, Any]) -> bool:
        """
        One direction loses or delays much.
        """
        if not self._arePair(source, target):
            return False
        self._link(source, target).faults = faultsFromJson(faults)
        return True

    def blackHole(self, nodeid: int, largest: int) -> bool:
        """
        One node gets small datagrams only, from everybody.
        """
        for other in self._others(nodeid):
            self._link(other, nodeid).faults = Faults(largest=largest)
        return bool(self._others(nodeid))

    def clog(self, source: int, target: int, seconds: float) -> bool:
        """
        One direction lets nothing out for a while, then all at once.
        """
        if not self._arePair(source, target):
            return False
        self.cluster.clog(source, target, seconds)
        return True

    def burst(self, loss: float, seconds: float) -> bool:
        """
        The whole network is bad for a moment.
        """
        self.cluster.faults = Faults(loss=loss)
        self._at(self.cluster.seconds() + seconds, self._burstEnds)
        return True

    def _burstEnds(self) -> None:
        self.cluster.faults = self.faults

    def _arePair(self, source: int, target: int) -> bool:
        nodes = self.cluster.nodes
        return source != target and source in nodes and target in nodes

    def _link(self, source: int, target: int) -> Any:
        return self.cluster.link(source, target)

    def _others(self, nodeid: int) -> list[int]:
        return [n for n in self.cluster.nodes if n != nodeid]

    # Nodes.

    def kill(self, nodeid: int) -> bool:
        """
        One process, at once.
        """
        node = self.cluster.nodes.get(nodeid)
        if node is None or node.down:
            return False
        what = _KILLED.get(node.state)
        if what is not None:
            self.cluster.sometimes[what] += 1
        self.cluster.kill(nodeid)
        return True

    def boot(self, nodeid: int, disk: str = WHOLE) -> bool:
        """
        A node that is down, with its disk as it was, or without, or with half
        of what was on it.
        """
        node = self.cluster.nodes.get(nodeid)
        if node is None or not node.down:
            return False
        contents = node.disk.contents
        if disk == HALF and contents is not None:
            node.disk.contents = contents[: len(contents) // 2]
        elif disk == EMPTY:
            node.disk.contents = b""
        self.cluster.boot(nodeid, fresh=disk == LOST)
        if disk != WHOLE:
            self.cluster.sometimes["restarted without its disk"] += 1
        return True

    def restart(self, nodeid: int, later: float) -> bool:
        """
        Faster than others may notice.
        """
        if not self.kill(nodeid):
            return False
        back = Deed("boot", When(self.cluster.seconds() + later), {"nodeid": nodeid})
        self.arm([back])
        return True

    def stop(self, nodeid: int) -> bool:
        """
        One process leaves.
        """
        if not self._isUp(nodeid):
            return False
        self.cluster.stop(nodeid)
        return True

    def pause(self, nodeid: int, seconds: float) -> bool:
        """
        One process is not scheduled, for less or more than a token time.
        """
        if not self._isUp(nodeid):
            return False
        self.cluster.pause(nodeid, seconds)
        return True

    def slow(self, nodeid: int, seconds: float) -> bool:
        """
        One process takes its time.
        """
        if not self._isUp(nodeid):
            return False
        self.cluster.slow(nodeid, seconds)
        return True

    def disk(self, nodeid: int, error: str) -> bool:
        """
        One disk refuses what is written to it, or takes it again.
        """
        failure = getattr(errno, error) if error else None
        node = self.cluster.nodes.get(nodeid)
        if node is None or node.disk.failure == failure:
            return False
        node.disk.failure = failure
        return True

    def slowDisk(self, nodeid: int, seconds: float) -> bool:
        """
        One disk takes its time.
        """
        node = self.cluster.nodes.get(nodeid)
        if node is None or node.disk.syncSeconds == seconds:
            return False
        node.disk.syncSeconds = seconds
        return True

    def crashAfter(self, nodeid: int, effects: int, kind: str) -> bool:
        """
        One process, between two of the things that its ring wants done.
        """
        if not self._isUp(nodeid):
            return False
        self.cluster.crashAfter(nodeid, effects, EFFECTS[kind])
        return True

    # Machines.

    def interface(self, nodeid: int, down: bool) -> bool:
        """
        The network interface of one is gone, or back.
        """
        if not self._isUp(nodeid):
            return False
        if down:
            self.cluster.interfaceDown(nodeid)
        else:
            self.cluster.interfaceUp(nodeid)
        return True

    def refuse(self, nodeid: int, error: str, share: float) -> bool:
        """
        Some of what one process sends is refused by its kernel.
        """
        if not self._isUp(nodeid):
            return False
        self.cluster.refuseSending(nodeid, getattr(errno, error) if error else 0, share)
        return True

    def stepClock(self, nodeid: int, seconds: float) -> bool:
        """
        Somebody sets the time of day of one machine.
        """
        if nodeid not in self.cluster.nodes:
            return False
        self.cluster.stepClock(nodeid, seconds)
        return True

    def files(self, nodeid: int, exhausted: bool) -> bool:
        """
        One process can open no more files, or can again.
        """
        if not self._isUp(nodeid):
            return False
        if exhausted:
            self.cluster.exhaustFiles(nodeid)
        else:
            self.cluster.freeFiles(nodeid)
        return True

    def attack(self, rate: float, seconds: float, kinds: Sequence[str]) -> bool:
        """
        Somebody without a key sends what he likes.
        """
        self.cluster.attack(rate, seconds, kinds)
        return True

    def _isUp(self, nodeid: int) -> bool:
        return nodeid in self.cluster.nodes and self.cluster.nodes[nodeid].up
