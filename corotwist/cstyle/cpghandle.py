"""
What a handle of C{corosync/cpg.h} stands for: one connection, in one group.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen

from corotwist.cstyle.connection import ServiceConnection
from corotwist.cstyle.cpgtypes import (
    CPG_MAX_NAME_LENGTH,
    CpgAddress,
    CpgModelV1Data,
    CpgRingId,
)
from corotwist.cstyle.types import (
    CS_DISPATCH_ALL,
    CS_DISPATCH_BLOCKING,
    CS_DISPATCH_ONE_NONBLOCKING,
    Dispatch,
)
from corotwist.engines import batch as batches
from corotwist.engines.interfaces import (
    LARGEST_MESSAGE_BYTES,
    Change,
    GroupView,
    Member,
)
from corotwist.errors import (
    BadHandle,
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
    Groups,
    Join,
    Leave,
    Members,
    RingChanged,
    Send,
    View,
    decodeView,
)
from corotwist.ipc.outbox import UNDERWAY_BYTES, UNDERWAY_MESSAGES
from corotwist.ipc.wire import NOTIFICATION_COST, PART_BYTES, parts
from corotwist.totem.membership import Guarantee

Event = Callable[[], object]


@define(eq=False)
class CpgHandle:
    """
    One connection of the process, in at most one group, as in corosync.

    @ivar context: whatever the program keeps there.
    """

    connection: ServiceConnection
    data: CpgModelV1Data
    context: object = None
    _group: bytes | None = None
    _member: bool = False
    _events: deque[tuple[Event, int]] = field(factory=deque)
    _pieces: bytearray = field(factory=bytearray)
    _underwayBytes: int = 0
    _underwayMessages: int = 0
    _streams: int = 0

    # Asking.

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
        self._group, self._member = None, False

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

    def dispatch(self, flags: int) -> None:
        """
        See L{cpg_dispatch}.
        """
        try:
            how = Dispatch(flags)
        except ValueError:
            raise InvalidParameter(f"there is no dispatch flag {flags}") from None
        wait = how not in {CS_DISPATCH_ALL, CS_DISPATCH_ONE_NONBLOCKING}
        many = how in {CS_DISPATCH_ALL, CS_DISPATCH_BLOCKING}
        called = self._dispatchOne(wait=wait)
        if not called and how is CS_DISPATCH_ONE_NONBLOCKING:
            raise TryAgain("nothing is pending")
        while called and many and not self.connection.closed:
            called = self._dispatchOne(wait=wait)

    def _dispatchOne(self, *, wait: bool) -> bool:
        """
        @return: was there an event?
        """
        while not self._events:
            try:
                box = self.connection.dispatch_recv(None if wait else 0)
            except BadHandle:
                return False  # Finalized by a callback, or another thread.
            if box is None:
                return False
            self._received(box)
        call, cost = self._events.popleft()
        self.connection.more(bool(self._events))
        call()
        if not self.connection.closed:
            self.connection.consumed(cost)
        return True

    def _received(self, box: Any) -> None:
        name = box.get(b"_command")
        if name == Deliver.commandName:
            self._delivered(Deliver.parseArguments(box, None))
        elif name == View.commandName:
            self._viewed(View.parseArguments(box, None))
        elif name == RingChanged.commandName:
            self._ringChanged(RingChanged.parseArguments(box, None))
        else:
            self.connection.consumed(NOTIFICATION_COST)

    def _whole(self, data: bytes, more: bool | None) -> bytes | None:
        self._pieces += data
        if more:
            return None
        whole = bytes(self._pieces)
        self._pieces.clear()
        return whole

    def _delivered(self, box: dict[str, Any]) -> None:
        size = len(box["batch"])
        batch = self._whole(box["batch"], box.get("more"))
        if batch is None:
            self.connection.consumed(size)
            return
        sender = Member(box["nodeid"], box["pid"])
        try:
            messages = batches.unpack(batch)
        except InvalidParameter:  # Of a broken client; nobody takes it.
            self.connection.consumed(size)
            return
        ours = self.connection.welcome
        if sender == Member(ours.nodeid, ours.pid):
            self._underwayMessages = max(0, self._underwayMessages - len(messages))
            self._underwayBytes = max(0, self._underwayBytes - len(batch))
        deliver = self.data.cpg_deliver_fn
        for number, message in enumerate(messages):
            self._expect(
                deliver
                and _Call(deliver, (self, box["group"], *_pair(sender), message)),
                0 if number else size,
            )

    def _viewed(self, box: dict[str, Any]) -> None:
        data = self._whole(box["view"], box["more"])
        if data is None:
            self.connection.consumed(NOTIFICATION_COST)
            return
        view = decodeView(box["group"], data)
        ours = self.connection.welcome
        if Member(ours.nodeid, ours.pid) in {change.member for change in view.joined}:
            self._member = True
        changed = self.data.cpg_confchg_fn
        self._expect(
            changed and _Call(changed, (self, view.group, *_lists(view))),
            NOTIFICATION_COST,
        )

    def _ringChanged(self, box: dict[str, Any]) -> None:
        ringId = CpgRingId(box["representative"], box["sequence"])
        changed = self.data.cpg_totem_confchg_fn
        self._expect(
            changed and _Call(changed, (self, ringId, box["members"])),
            NOTIFICATION_COST,
        )

    def _expect(self, call: "_Call | None", cost: int) -> None:
        """
        Have somebody called later.  What nobody wants is dealt with.
        """
        if call is None:
            self.connection.consumed(cost)
        else:
            self._events.append((call, cost))


@frozen
class _Call:
    function: Callable[..., object]
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        self.function(*self.arguments)


def _pair(member: Member) -> tuple[int, int]:
    return member.nodeid, member.pid


def _lists(
    view: GroupView,
) -> tuple[list[CpgAddress], list[CpgAddress], list[CpgAddress]]:
    def changed(changes: Sequence[Change]) -> list[CpgAddress]:
        return [CpgAddress(*_pair(c.member), int(c.reason)) for c in changes]

    members = [CpgAddress(*_pair(member)) for member in view.members]
    return members, changed(view.left), changed(view.joined)
