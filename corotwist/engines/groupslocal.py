"""
The local processes in process groups: who they are, and what they are told.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from twisted.logger import Logger

from corotwist.engines.groupsstate import GroupsState, Locals
from corotwist.engines.interfaces import (
    GroupView,
    IGroupSubscriber,
    Member,
    Position,
    Reason,
    SlowReader,
)
from corotwist.engines.outgoing import (
    Client,
    Entry,
    Join,
    Leave,
    LocalMember,
    Membership,
)
from corotwist.engines.quorate import wireName
from corotwist.errors import Busy, Exists, TryAgain
from corotwist.interfaces import ICluster, IFlowGroup
from corotwist.totem.membership import RingId

# Groups of one client.
MOST_GROUPS: Final = 4096


class LocalProcesses:
    """
    Which clients are in which groups.  Each group with local members is a
    flow-control group.

    @ivar clients: by the identity of their subscribers.
    @ivar members: by group and pid.
    @ivar count: so many members there are in all groups together.
    @ivar flows: the flow-control groups, by group.
    """

    def __init__(
        self, counters: dict[str, int], flowChanged: Callable[[bytes, bool], None]
    ) -> None:
        """
        @param counters: the engine's.
        @param flowChanged: is told of a group that is paused or goes on.
        """
        self._log = Logger()
        self._counters = counters
        self._flowChanged = flowChanged
        self.clients: dict[int, Client] = {}
        self.members: Locals = {}
        self.count = 0
        self.flows: dict[bytes, IFlowGroup] = {}

    def begin(self, cluster: ICluster) -> None:
        """
        The engine is initialized.
        """
        self._cluster = cluster

    def adopt(self, state: GroupsState) -> None:
        """
        Go on from what another version had.
        """
        self.clients = state.clients
        self.members = state.members
        self.count = sum(map(len, state.members.values()))
        self.flows = {group: self._flowOf(group) for group in state.members}

    def _flowOf(self, group: bytes) -> IFlowGroup:
        return self._cluster.flowCreate(group, partial(self._flowChanged, group))

    def dump(self) -> Mapping[str, Any]:
        """
        For people.
        """
        return {
            "clients": len(self.clients),
            "parked": sum(client.parked for client in self.clients.values()),
            "paused": [
                group.decode("latin-1")
                for group, flow in sorted(self.flows.items())
                if flow.paused
            ],
        }

    # Coming and going.

    def membership(
        self, subscriber: IGroupSubscriber, group: bytes
    ) -> LocalMember | None:
        """
        Its own, in whatever state.

        @param group: as the client calls it: it is in one kind of them only.
        """
        client = self.clients.get(id(subscriber))
        if client is None:
            return None
        ordinary = client.memberships.get(group)
        return ordinary or client.memberships.get(wireName(group))

    def checkAbsent(self, group: bytes, pid: int) -> None:
        """
        @raise Busy: the process is on its way out of the group.
        @raise Exists: it is inside, or on its way there.
        """
        there = self.members.get(group, {}).get(pid)
        if there is None:
            return
        if there.state is Membership.LEAVING or there.subscriber is None:
            raise Busy("the process is still on its way out of the group")
        raise Exists("the process is in the group, or on its way in")

    def entering(
        self,
        subscriber: IGroupSubscriber,
        group: bytes,
        slow: SlowReader | None,
        *,
        discardOwn: bool,
    ) -> LocalMember:
        """
        A process is to join a group that it is not in.

        @raise TryAgain: it is in too many, or too much waits.
        """
        client = self.clients.get(id(subscriber)) or Client(
            subscriber, subscriber.pid, self._cluster.budget
        )
        if len(client.memberships) >= MOST_GROUPS:
            raise TryAgain(f"in {MOST_GROUPS} groups already")
        client.admit(0)
        member = LocalMember(
            group, client.pid, client, subscriber, slow, discardOwn=discardOwn
        )
        if group not in self.flows:
            self.flows[group] = self._flowOf(group)
        self.clients[id(subscriber)] = client
        client.memberships[group] = member
        self.members.setdefault(group, {})[client.pid] = member
        self.count += 1
        return member

    def entered(self, member: LocalMember) -> None:
        """
        It gets what is sent to its group, and may be too slow.
        """
        flow = self.flows[member.group]
        if member.subscriber is not None and flow.paused:
            self.tell(member.subscriber.flowChanged, member.name, True)
        if member.subscriber is not None:
            self.tell(member.subscriber.attach, flow, member.slow)

    def forget(self, member: LocalMember) -> None:
        """
        The process is out, for everybody.
        """
        group = member.group
        member.client.memberships.pop(group, None)
        here = self.members.get(group, {})
        if here.get(member.pid) is member:
            del here[member.pid]
            self.count -= 1
            if member.inside and member.subscriber is not None:
                self.tell(member.subscriber.detach, self.flows[group])
            if not here:
                del self.members[group]
                self.flows.pop(group).destroy()

    # What they are told.

    def recipients(self, group: bytes) -> tuple[LocalMember, ...]:
        """
        The members of a group that have had their first view.
        """
        members = self.members.get(group)
        if members is None:
            return ()
        return tuple([m for m in members.values() if m.inside])

    def deliver(
        self,
        recipients: Iterable[LocalMember],
        sender: Member,
        batch: bytes,
        count: int,
        position: Position,
    ) -> None:
        """
        Messages of a group, in their place of the order.
        """
        for member in recipients:
            subscriber = member.subscriber
            if subscriber is None:
                continue  # Gone since, perhaps through the one before.
            if member.discardOwn and self._isOf(sender, member):
                continue
            self._counters["delivered"] += 1
            try:
                subscriber.messagesDelivered(
                    member.name, sender, batch, count, position
                )
            except Exception:  # noqa: BLE001 - Whatever it is, it is the client's.
                self._raised()

    def _isOf(self, sender: Member, member: LocalMember) -> bool:
        return sender.nodeid == self._cluster.nodeid and sender.pid == member.pid

    def show(self, recipients: Iterable[LocalMember], view: GroupView) -> None:
        """
        Who is in a group, after a change.
        """
        for member in recipients:
            if member.subscriber is not None:
                self.tell(member.subscriber.viewChanged, view)

    def showFlow(self, group: bytes, *, paused: bool) -> None:
        """
        Who sends to a group is to wait, or to go on.
        """
        for member in list(self.members.get(group, {}).values()):
            if member.inside and member.subscriber is not None:
                self.tell(member.subscriber.flowChanged, member.name, paused)

    def showRing(self, ringId: RingId, members: tuple[int, ...]) -> None:
        """
        Everybody knows who is in the groups of a new ring.
        """
        for client in list(self.clients.values()):
            self.tell(client.subscriber.ringChanged, ringId, members)

    def tell(self, callback: Callable[..., None], *arguments: object) -> None:
        """
        A client that raises does not touch the others.
        """
        try:
            callback(*arguments)
        except Exception:  # noqa: BLE001 - Whatever it is, it is the client's.
            self._raised()

    def _raised(self) -> None:
        self._counters["raised"] += 1
        self._log.failure("A subscriber of process groups raised")


def departures(client: Client) -> list[Entry]:
    """
    What is left to say for a client that is gone: a leave for every group that
    anybody has heard of it in.
    """
    # One pass over the queue, which may be long, as the memberships may be many.
    unheard = {e.member for e in client.queue if isinstance(e, Join)}
    leaves: list[Entry] = [e for e in client.queue if isinstance(e, Leave)]
    for member in client.memberships.values():
        member.subscriber = None
        member.large = None
        # Of a join that did not go yet nobody has heard; and a departure has
        # one reason: that of the leave, if there was one.
        if member not in unheard and member.state is not Membership.LEAVING:
            member.state = Membership.LEAVING
            leaves.append(Leave(member, Reason.PROCDOWN))
    return leaves
