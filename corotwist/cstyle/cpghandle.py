"""
What a handle of C{corosync/cpg.h} stands for: one connection, in one group.
"""

from collections.abc import Iterator, Sequence

from attrs import define, evolve, field
from twisted.protocols import amp

from corotwist.cstyle.cpgtypes import (
    CPG_MAX_NAME_LENGTH,
    CPG_MEMBERS_MAX,
    CpgAddress,
    CpgModelV1Data,
    CpgRingId,
)
from corotwist.cstyle.dispatching import ServiceHandle
from corotwist.engines import batch as batches
from corotwist.engines.interfaces import (
    LARGEST_MESSAGE_BYTES,
    Change,
    GroupView,
    Member,
    View,
)
from corotwist.errors import (
    Exists,
    InvalidParameter,
    NameTooLong,
    NotExist,
    NotJoined,
    TooBig,
    TryAgain,
)
from corotwist.ipc.cpg import (
    Deliver,
    Flow,
    Groups,
    Join,
    Leave,
    Members,
    RingChanged,
    Send,
    decodeView,
)
from corotwist.ipc.cpg import View as GroupViewed
from corotwist.ipc.outbox import UNDERWAY_BYTES, UNDERWAY_MESSAGES
from corotwist.ipc.views import (
    Arriving,
    Follow,
    Installed,
    NodeView,
    Transition,
    Unfollow,
)
from corotwist.ipc.wire import NOTIFICATION_COST, PART_BYTES, parts
from corotwist.totem.membership import Guarantee


@define(eq=False)
class CpgHandle(ServiceHandle):
    """
    One connection of the process, in at most one group, as in corosync.

    @ivar paused: does who sends to the group have to wait?
    """

    data: CpgModelV1Data = field(kw_only=True)
    paused: bool = field(default=False, init=False)
    _group: bytes | None = field(default=None, init=False)
    _member: bool = field(default=False, init=False)
    _underwayBytes: int = field(default=0, init=False)
    _underwayMessages: int = field(default=0, init=False)
    _streams: int = field(default=0, init=False)
    _arriving: Arriving = field(factory=Arriving, init=False)
    # While it is to be told behind the first change of configuration.
    _ringWanted: bool = field(default=False, init=False)
    _ring: tuple[CpgRingId, Sequence[int]] | None = field(default=None, init=False)

    # Asking.

    def expectInitialRing(self) -> None:
        """
        See L{CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF}.
        """
        self._ringWanted = True
        self.connection.send_recv(Follow)

    def join(self, group: bytes) -> None:
        """
        See L{cpg_join}.
        """
        self.connection.checkOpen()
        if self._group is not None:
            raise Exists("a handle is in one group")
        if len(group) > CPG_MAX_NAME_LENGTH:
            raise NameTooLong(f"{len(group)} bytes, at most {CPG_MAX_NAME_LENGTH}")
        self.connection.send_recv(Join, group=group)
        self._group = group

    def leave(self, group: bytes) -> None:
        """
        See L{cpg_leave}.
        """
        self.connection.checkOpen()
        if self._group != group:
            raise NotExist(f"not in {group!r}")
        self.connection.send_recv(Leave, group=group)
        self._group, self._member, self.paused = None, False, False

    def multicast(self, guarantee: int, message: bytes) -> None:
        """
        See L{cpg_mcast_joined}.
        """
        self.connection.checkOpen()
        if guarantee not in {*Guarantee}:
            raise InvalidParameter(f"there is no guarantee {guarantee}")
        if self._group is None:
            raise NotJoined("join a group first")
        if not self._member:
            raise TryAgain("the join is not through: dispatch, and try again")
        if len(message) > LARGEST_MESSAGE_BYTES:
            raise TooBig(f"{len(message)} bytes, at most {LARGEST_MESSAGE_BYTES}")
        if self.paused:
            raise TryAgain("a member of the group is behind: dispatch, and try again")
        batch = batches.pack([message])
        if self._underwayMessages and (
            self._underwayMessages >= UNDERWAY_MESSAGES
            or self._underwayBytes + len(batch) > UNDERWAY_BYTES
        ):
            raise TryAgain("too much of ours has not come back: dispatch")
        self._send(self._group, guarantee, batch)
        self._underwayMessages += 1
        self._underwayBytes += len(batch)

    def _send(self, group: bytes, guarantee: int, batch: bytes) -> None:
        fields = {"group": group, "count": 1, "guarantee": guarantee}
        if len(batch) <= PART_BYTES:
            self.connection.send_recv(Send, batch=batch, **fields)
            return
        self._streams += 1
        for number, more, data in parts(batch):
            piece = {"batch": data, "stream": self._streams, "part": number}
            if more:
                self.connection.send(Send, **fields, **piece, more=True)
            else:
                self.connection.send_recv(Send, **fields, **piece, more=False)

    def members(self, group: bytes) -> Iterator[CpgAddress]:
        """
        Everybody in a group, in ascending order.
        """
        after: tuple[int, ...] = ()
        more = True
        while more:
            asked = {"after": after} if after else {}
            answer = self.connection.send_recv(Members, group=group, **asked)
            numbers = answer["members"]
            for nodeid, pid in zip(numbers[::2], numbers[1::2], strict=True):
                yield CpgAddress(nodeid, pid)
            more, after = answer["more"] and bool(numbers), numbers[-2:]

    def groups(self) -> Iterator[bytes]:
        """
        All groups with members, in byte order.
        """
        after: bytes | None = None
        more = True
        while more:
            asked = {} if after is None else {"after": after}
            answer = self.connection.send_recv(Groups, **asked)
            names = batches.unpack(answer["groups"])
            yield from names
            more = answer["more"] and bool(names)
            after = names[-1] if names else None

    # Events.

    def received(self, name: bytes, box: amp.AmpBox) -> None:
        if name == Deliver.commandName:
            self._delivered(**Deliver.parseArguments(box, None))
        elif name == GroupViewed.commandName:
            self._viewed(**GroupViewed.parseArguments(box, None))
        elif name == RingChanged.commandName:
            self._ringChanged(**RingChanged.parseArguments(box, None))
        elif name == Flow.commandName:
            self._flowChanged(**Flow.parseArguments(box, None))
        elif name in {Installed.commandName, Transition.commandName}:
            self._nodesViewed(self._arriving.received(box))
        else:
            super().received(name, box)

    def _delivered(
        self,
        group: bytes,
        nodeid: int,
        pid: int,
        *,
        batch: bytes,
        more: bool | None = None,
        **others: object,
    ) -> None:
        size = len(batch)
        whole = self.whole(batch, more, size)
        if whole is None:
            return
        try:
            messages = batches.unpack(whole)
        except InvalidParameter:  # Of a broken client; nobody takes it.
            self.connection.consumed(size)
            return
        ours = self.connection.welcome
        if (nodeid, pid) == (ours.nodeid, ours.pid):
            self._underwayMessages = max(0, self._underwayMessages - len(messages))
            self._underwayBytes = max(0, self._underwayBytes - len(whole))
        deliver = self.data.cpg_deliver_fn
        for number, message in enumerate(messages):
            cost = 0 if number else size
            self.expect(deliver, self, group, nodeid, pid, message, cost=cost)

    def _viewed(
        self, group: bytes, view: bytes, *, more: bool, **others: object
    ) -> None:
        whole = self.whole(view, more)
        if whole is None:
            return
        found = decodeView(group, whole)
        ours = self.connection.welcome
        if Member(ours.nodeid, ours.pid) in {change.member for change in found.joined}:
            self._member = True
        *first, last = _steps(found)
        for step in first:
            self._expectConfchg(step, 0)
        self._expectConfchg(last, NOTIFICATION_COST)
        if self._ringWanted and self._ring is not None:
            self._ringWanted = False
            self.expect(self.data.cpg_totem_confchg_fn, self, *self._ring, cost=0)
            self.connection.send(Unfollow)

    def _expectConfchg(self, view: GroupView, cost: int) -> None:
        confchg = self.data.cpg_confchg_fn
        self.expect(confchg, self, view.group, *_lists(view), cost=cost)

    def _flowChanged(self, group: bytes, *, paused: bool) -> None:
        if group == self._group:
            self.paused = paused
        self.connection.consumed(NOTIFICATION_COST)

    def _nodesViewed(self, view: NodeView | None) -> None:
        if isinstance(view, View):
            ringId = view.viewId.ringId
            ring = CpgRingId(ringId.representative, ringId.sequence)
            self._ring = ring, view.members
        self.connection.consumed(NOTIFICATION_COST)

    def _ringChanged(
        self, sequence: int, representative: int, members: tuple[int, ...]
    ) -> None:
        ringId = CpgRingId(representative, sequence)
        self.expect(self.data.cpg_totem_confchg_fn, self, ringId, members)


def _steps(view: GroupView) -> tuple[GroupView, ...]:
    """
    One change after the other, as corosync shows them: who left, then who came.
    """
    if not (view.left and view.joined):
        return (view,)
    came = {change.member for change in view.joined}
    rest = tuple(member for member in view.members if member not in came)
    return evolve(view, members=rest, joined=()), evolve(view, left=())


def _lists(
    view: GroupView,
) -> tuple[list[CpgAddress], list[CpgAddress], list[CpgAddress]]:
    """
    As long as the arrays of programs in C.
    """

    def changed(changes: Sequence[Change]) -> list[CpgAddress]:
        return [
            CpgAddress(change.member.nodeid, change.member.pid, int(change.reason))
            for change in changes[:CPG_MEMBERS_MAX]
        ]

    members = [CpgAddress(m.nodeid, m.pid) for m in view.members[:CPG_MEMBERS_MAX]]
    return members, changed(view.left), changed(view.joined)
