"""
Flow-control groups: whoever receives something together.  While one of them
is behind, those who send to them wait, on every node.  [ARCH Figure 9]

Each node counts its own receivers that are behind.  What it says to the others
is only whether its count is zero, in the total order, and on each ring once
more in full while the services synchronize.  So a node that is lost holds
nobody up, and one that comes hears of everything before it sends.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from attrs import define, field
from zope.interface import implementer

from corotwist.engines import compact
from corotwist.engines.compact import FlowStates
from corotwist.engines.executive import address
from corotwist.errors import NameTooLong
from corotwist.interfaces import IFlowGroup, ITotem
from corotwist.totem.membership import Configuration, Guarantee

Key = tuple[int, bytes]

LONGEST_NAME: Final = 255
# Groups that one other node may hold up; what it says beyond is not heard.
MOST_HELD: Final = 4096
# In one message: it is a small one whatever the length of the names.
STATES_PER_MESSAGE: Final = 64


class Guard(Protocol):
    """
    The place of an engine.
    """

    @property
    def over(self) -> bool: ...
    def call(self, function: Callable[..., Any], *arguments: Any) -> Any: ...


class Home(Protocol):
    """
    The service manager.
    """

    totem: ITotem
    configuration: Configuration


@implementer(IFlowGroup)
@define(eq=False)
class FlowGroup:
    """
    One group at this node.

    @ivar count: receivers here that are behind.
    @ivar paused: as the engine was told last.
    @ivar told: the engine, and while another version of it gets ready to take
        over, both.
    """

    key: Key
    _control: "FlowControl"
    count: int = 0
    paused: bool = False
    told: dict[Guard, Callable[[bool], None]] = field(factory=dict)

    def tell(self) -> None:
        """
        It is paused, or not any more.
        """
        for guard, changed in list(self.told.items()):
            guard.call(changed, self.paused)

    def increment(self) -> None:
        self.count += 1
        if self.count == 1:
            self._control.counted(self)

    def decrement(self) -> None:
        assert self.count > 0, "who counts down has counted up"
        self.count -= 1
        if self.count == 0:
            self._control.counted(self)

    def destroy(self) -> None:
        self._control.destroyed(self)


class FlowControl:
    """
    The flow-control groups of all engines of a node.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._groups: dict[Key, FlowGroup] = {}
        # What the other nodes of this ring hold, whether we have it or not.
        self._elsewhere: dict[Key, dict[int, None]] = {}
        self._heldBy: dict[int, int] = {}
        # What they know of us on this ring, and what they do not know yet.
        self._said: dict[Key, None] = {}
        self._unsaid: dict[Key, None] = {}
        self._announced = False
        self._settled = False
        self._counters = dict.fromkeys(("pauses", "said", "heard", "beyond"), 0)

    # For engines.

    def create(
        self,
        service: int,
        name: bytes,
        changed: Callable[[bool], None],
        guard: Guard,
    ) -> FlowGroup:
        """
        See L{ICluster.flowCreate<corotwist.interfaces.ICluster>}.

        @param guard: the place of the engine that makes it.
        """
        if len(name) > LONGEST_NAME:
            raise NameTooLong(f"{len(name)} bytes, at most {LONGEST_NAME}")
        key = (service, name)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = FlowGroup(key, self)
            group.paused = self._settled and key in self._elsewhere
        # Another engine may take over, with who is behind.
        group.told = {g: told for g, told in group.told.items() if not g.over}
        group.told[guard] = changed
        return group

    def discarded(self, guard: Guard) -> None:
        """
        An engine will not serve; what it made and no other has is gone.
        """
        for group in list(self._groups.values()):
            if group.told.pop(guard, None) is not None and not group.told:
                self.destroyed(group)

    def forget(self, service: int) -> None:
        """
        An engine is not there any more, nor are its groups.
        """
        for group in [g for key, g in self._groups.items() if key[0] == service]:
            self.destroyed(group)

    # From the groups.

    def counted(self, group: FlowGroup) -> None:
        """
        Its count came to zero, or from there.
        """
        self._unsaid[group.key] = None
        self.say()
        self._judge(group)

    def destroyed(self, group: FlowGroup) -> None:
        """
        It has no receivers here any more.
        """
        if self._groups.get(group.key) is group:
            del self._groups[group.key]
            group.count = 0
            self._unsaid[group.key] = None
            self.say()

    def _judge(self, group: FlowGroup) -> None:
        """
        Tell the engine when it is to go on, or to wait.
        """
        paused = group.count > 0 or group.key in self._elsewhere
        if self._settled and paused is not group.paused:
            group.paused = paused
            self._counters["pauses"] += paused
            group.tell()

    # To the other nodes.

    def announce(self) -> bool:
        """
        Say everything that is held here, once on each ring.

        @return: C{False} to be called again: no room.
        """
        if not self._announced:
            for key, group in self._groups.items():
                if group.count:
                    self._unsaid[key] = None
            self._announced = True
            self.say()
        return not self._unsaid

    def say(self) -> None:
        """
        Say what the others do not know yet, as far as there is room.
        """
        if not self._unsaid or not self._announced:
            return  # What is not announced will all be said.
        news = [key for key in self._unsaid if self._held(key) != (key in self._said)]
        self._unsaid = dict.fromkeys(news)
        for service, names in _messages(news):
            states = tuple((name, self._held((service, name))) for name in names)
            ringId = self._home.configuration.ringId
            body = FlowStates(service, ringId, states).encode()
            if not self._home.totem.multicast(
                address(compact.GROUP, body), Guarantee.AGREED
            ):
                return  # The next token brings us back.
            self._counters["said"] += len(states)
            self._saidNow(service, states)

    def _saidNow(self, service: int, states: Iterable[tuple[bytes, bool]]) -> None:
        for name, held in states:
            key = (service, name)
            del self._unsaid[key]
            if held:
                self._said[key] = None
            else:
                self._said.pop(key, None)

    def _held(self, key: Key) -> bool:
        group = self._groups.get(key)
        return group is not None and group.count > 0

    # From the order.

    def configurationChanged(self, configuration: Configuration) -> None:
        """
        On another ring everybody says it again.
        """
        self._settled = False
        if not configuration.transitional:
            self._elsewhere.clear()
            self._heldBy.clear()
            self._said.clear()
            self._unsaid.clear()
            self._announced = False

    def statesDelivered(self, nodeid: int, message: FlowStates) -> None:
        """
        How it is at a node; what we said ourselves we knew before.
        """
        if (
            nodeid == self._home.totem.nodeid
            or message.ringId != self._home.configuration.ringId
        ):
            return
        for name, held in message.states:
            self._counters["heard"] += 1
            key = (message.service, name)
            if held:
                self._heldElsewhere(nodeid, key)
            else:
                self._freedElsewhere(nodeid, key)
            group = self._groups.get(key)
            if group is not None:
                self._judge(group)

    def _heldElsewhere(self, nodeid: int, key: Key) -> None:
        holders = self._elsewhere.get(key, {})
        if nodeid in holders:
            return
        if self._heldBy.get(nodeid, 0) >= MOST_HELD:
            self._counters["beyond"] += 1
            return
        self._heldBy[nodeid] = self._heldBy.get(nodeid, 0) + 1
        holders[nodeid] = None
        self._elsewhere[key] = holders

    def _freedElsewhere(self, nodeid: int, key: Key) -> None:
        holders = self._elsewhere.get(key, {})
        if nodeid in holders:
            del holders[nodeid]
            self._heldBy[nodeid] -= 1
            if not holders:
                del self._elsewhere[key]

    def roundCompleted(self) -> None:
        """
        Everybody has said what he holds.
        """
        self._settled = True
        for group in list(self._groups.values()):
            self._judge(group)

    # For people.

    def dump(self) -> dict[str, Any]:
        """
        Who is held up by whom, as JSON values.
        """
        here = {key: group.count for key, group in self._groups.items() if group.count}
        return {
            "groups": len(self._groups),
            "heldHere": {_text(key): count for key, count in here.items()},
            "heldElsewhere": {
                _text(key): [*holders] for key, holders in self._elsewhere.items()
            },
            **self._counters,
        }


def _messages(keys: Iterable[Key]) -> Iterator[tuple[int, tuple[bytes, ...]]]:
    """
    Names by service, no more at once than go into one message.
    """
    byService: dict[int, list[bytes]] = {}
    for service, name in keys:
        byService.setdefault(service, []).append(name)
    for service, names in byService.items():
        for start in range(0, len(names), STATES_PER_MESSAGE):
            yield service, tuple(names[start : start + STATES_PER_MESSAGE])


def _text(key: Key) -> str:
    service, name = key
    return f"{service}:{name.decode('latin-1')}"
