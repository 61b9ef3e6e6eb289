"""
What the shipped engines offer to local clients, and the values exchanged.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Any, Final

from attrs import define, frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from corotwist.interfaces import IFlowGroup
from corotwist.totem.membership import NO_RING, Guarantee, RingId

LONGEST_GROUP_NAME: Final = 128
# One totem message, with room for the headers inside the reassembly bound of
# real corosync nodes; larger messages travel in parts.
ATOMIC_MESSAGE_BYTES: Final = (1 << 20) - 1024
# The largest message of a client.
LARGEST_MESSAGE_BYTES: Final = 16 << 20
# Names of quorate groups are shorter: see L{corotwist.engines.quorate}.
LONGEST_QUORATE_NAME: Final = LONGEST_GROUP_NAME - 19
# The largest batch that is multicast as one totem message.
LARGEST_BATCH_BYTES: Final = ATOMIC_MESSAGE_BYTES


class Reason(IntEnum):
    """
    Why a process is in, or gone; corosync's C{cpg_reason_t}.
    """

    JOIN = 1
    LEAVE = 2
    NODEDOWN = 3
    NODEUP = 4
    PROCDOWN = 5


class SlowReader(StrEnum):
    """
    What happens when a member of a group reads more slowly than others send.

    @cvar PAUSE: who sends to the group waits, for a while.
    @cvar DISCONNECT: the member is cut off.
    @cvar SPILL: what it has not read waits on the disk.
    """

    PAUSE = "pause-senders"
    DISCONNECT = "disconnect"
    SPILL = "spill"


@frozen(order=True)
class Member:
    """
    A process in a group.
    """

    nodeid: int
    pid: int


@frozen
class Change:
    """
    A process that came or went.
    """

    member: Member
    reason: Reason


class Cause(StrEnum):
    """
    Why a node is in a view, or not any more.

    @cvar STARTED: it has only begun.
    @cvar MERGED: it was on another ring.
    @cvar STOPPED: it said that it stops.
    @cvar KILLED: somebody had it ended.
    @cvar LOST: nothing is heard of it any more.
    """

    STARTED = "started"
    MERGED = "merged"
    STOPPED = "stopped"
    KILLED = "killed"
    LOST = "lost"


@frozen
class NodeChange:
    """
    A node that came or went.

    @ivar reason: for people; may be empty.
    """

    nodeid: int
    cause: Cause
    reason: str = ""


@frozen(order=True)
class ViewId:
    """
    The name of a view, the same on all its members.  Of two views that may act
    the later one is larger: a token to fence the earlier one off with.

    @ivar number: 0 at the beginning of a ring, and one more for every other
        verdict on it.
    """

    ringId: RingId
    number: int

    def __str__(self) -> str:
        return f"{self.ringId}.{self.number}"


@frozen
class TransitionalView:
    """
    A ring is over.  What is still delivered of it is delivered to those who
    come along with us.

    @ivar viewId: of the view that is over.
    @ivar members: who comes along, ascending.
    @ivar left: who does not.
    """

    viewId: ViewId
    members: tuple[int, ...]
    left: tuple[NodeChange, ...]


@frozen
class View:
    """
    Who is here from this point of the order on, and may we act.

    @ivar members: nodeids, ascending.
    @ivar left: nodes of our last view that are not in this one, or that are not
        the same any more: then they are in C{joined}, too.
    @ivar joined: nodes that were not in our last view.
    @ivar rule: what decided, for people.
    @ivar goesOn: we, who came along together, are those who go on with the last
        quorate view that anybody here was in: who does not may lack what was
        delivered since, or at its end.
    """

    viewId: ViewId
    members: tuple[int, ...]
    left: tuple[NodeChange, ...]
    joined: tuple[NodeChange, ...]
    quorate: bool
    rule: str
    goesOn: bool = True


NO_VIEW: Final = View(ViewId(NO_RING, 0), (), (), (), False, "not on a ring yet")


@frozen
class GroupView:
    """
    A group from this point of the order on.

    @ivar members: ascending by nodeid, then pid.
    @ivar left: who was in the last view and is not in this one, or is not the
        same any more: then he is in C{joined}, too.
    @ivar view: the view of nodes in force.
    """

    group: bytes
    members: tuple[Member, ...]
    left: tuple[Change, ...]
    joined: tuple[Change, ...]
    view: View = NO_VIEW


@frozen
class ViewRecord:
    """
    How a view came about.

    @ivar time: nanoseconds since 1970.
    @ivar before: the view that was in force.
    @ivar cause: why the ring of that ended, or what gave another verdict.
    @ivar evidence: what C{cause} was seen from, as JSON values.
    @ivar between: the rings since, whose services never came into step, each
        with why it ended.
    @ivar explanation: the inputs of the verdict and its rule.
    """

    time: int
    before: View
    view: View
    cause: str
    evidence: Mapping[str, Any]
    between: tuple[tuple[RingId, str], ...]
    explanation: Mapping[str, Any]


# Messages of one place in the order are numbered in these bits.
SEQUENCE_BITS: Final = 20
# Processes that one message is for, and groups besides the first.
MOST_TARGETS: Final = 1024
MOST_FURTHER_GROUPS: Final = 64


class Level(IntEnum):
    """
    How far a message is when C{send} answers.

    @cvar QUEUED: accepted; it goes out through any change of the ring.
    @cvar ORDERED: it has its place in the order, and was delivered here.
    @cvar SAFE: every member of the ring has it.
    """

    QUEUED = 0
    ORDERED = 1
    SAFE = 2


@frozen
class Terms:
    """
    What a sender wants besides a guarantee.

    @ivar to: show it to these processes only; it has its place in the order of
        the group all the same.  Nobody named is everybody.
    @ivar groups: deliver it in these groups, too, at the same place.
    @ivar view: refuse it unless it is ordered in this view.
    """

    level: Level = Level.QUEUED
    to: tuple[Member, ...] = ()
    groups: tuple[bytes, ...] = ()
    view: ViewId | None = None

    @property
    def special(self) -> bool:
        """
        Is it something that has to be said to the other nodes?
        """
        return bool(self.to or self.groups) or self.view is not None


ORDINARY: Final = Terms()


@frozen
class Receipt:
    """
    Where the last message of a batch is in the order.

    @ivar sequence: the same on all members, and rising on each ring: its place
        shifted by L{SEQUENCE_BITS}, and its number there.
    @ivar viewId: the view of nodes it was ordered in; in a quorate group, a
        token to fence with.
    @ivar members: nodeids: of those who have it when it is safe, else of the
        ring on which it was ordered.
    @ivar targets: with C{to}: to whom it was shown; others are not in the group.
    """

    sequence: int
    viewId: ViewId
    members: tuple[int, ...]
    targets: tuple[Member, ...] = ()


NO_RECEIPT: Final = Receipt(0, NO_VIEW.viewId, ())


@define
class Position:
    """
    Where messages are in the order, and what they got.

    @ivar sequence: of the first; the others follow: see L{Receipt}.
    @ivar guarantee: L{Guarantee.AGREED} or L{Guarantee.SAFE}.
    """

    sequence: int
    guarantee: Guarantee


NOWHERE: Final = Position(0, Guarantee.AGREED)


class IViewSubscriber(Interface):
    """
    Whoever hears of views, in their places of the order.
    """

    def ringEnded(transition: TransitionalView) -> None:
        """
        The ring is over.
        """

    def viewInstalled(view: View) -> None:
        """
        Exactly one for each ring whose services came into step, and one for
        each other verdict on it.
        """


class IViews(Interface):
    """
    The views of this node.
    """

    current = Attribute("The view in force, or the last one: a L{View}.")
    history = Attribute("The latest views: a sequence of L{ViewRecord}s.")

    def follow(subscriber: IViewSubscriber) -> Any:
        """
        Hear of views from here on; of the one in force at once, unless its ring
        is over.

        @return: has a method C{stop}.
        """


class IRoundAware(Interface):
    """
    An engine that wants to know when all services are in step.
    """

    def viewAhead(view: View) -> None:
        """
        They are, and this is the view to come: nobody has heard of it yet.
        """

    def roundCompleted() -> None:
        """
        The services of the ring are in step, and its view is installed.
        """


class News(StrEnum):
    """
    What happened to an engine.
    """

    LOADED = "loaded"
    UNLOADED = "unloaded"
    REPLACED = "replaced"
    FAILED = "out of service"
    RESTARTED = "started again"


@frozen
class EngineNews:
    """
    Something happened to an engine of this node.

    @ivar version: the one that serves now, or served last.
    @ivar reason: for people.
    """

    name: str
    version: int
    what: News
    reason: str

    def __str__(self) -> str:
        if self.what is News.REPLACED:
            return f"Engine {self.name} is replaced: version {self.version} serves"
        return f"Engine {self.name} version {self.version} is {self.what}"


class IGroupSubscriber(Interface):
    """
    One local client of process groups: a connection, or code in this process.
    """

    pid = Attribute("The process id that others see.")

    def messagesDelivered(
        group: bytes, sender: Member, batch: bytes, count: int, position: Position
    ) -> None:
        """
        The next messages of one sender, in order.

        @param batch: as L{corotwist.engines.batch} packs them.
        @param count: how many, at least 1.
        """

    def viewChanged(view: GroupView) -> None:
        """
        The group has other members now.
        """

    def ringChanged(ringId: RingId, members: tuple[int, ...]) -> None:
        """
        The ring changed and the services are in step again.
        """

    def attach(flow: IFlowGroup, slow: SlowReader | None) -> None:
        """
        Messages of a group come from here on: count ourselves into C{flow}
        when we are behind, and out of it when we are not any more, or at the
        end.

        @param slow: what is to happen when we are; L{None} for what the node
            does by default.
        """

    def detach(flow: IFlowGroup) -> None:
        """
        No more messages of that group come.
        """

    def flowChanged(group: bytes, paused: bool) -> None:
        """
        Who sends to a group of ours waits from here on, or does not any more.
        """


class IProcessGroups(Interface):
    """
    Closed process groups, for one local client each call.
    """

    def join(
        subscriber: IGroupSubscriber,
        group: bytes,
        slow: SlowReader | None = None,
        *,
        quorate: bool = False,
        discardOwn: bool = False,
    ) -> None:
        """
        Ask to be a member; done when a view with us in C{joined} arrives.

        @param slow: what is to happen when we read too slowly; L{None} for
            what the node does by default.
        @param quorate: of the quorate group of that name: its messages are
            taken and delivered in quorate views only.
        @param discardOwn: do not show us what we send.
        @raise Exists: in it already, or asked already (also through another
            connection of the same process).
        @raise Conflict: there are members of the other kind of group with that
            name.
        @raise Busy: our leave of it is not through yet.
        @raise NameTooLong: over L{LONGEST_GROUP_NAME} bytes; of a quorate
            group, over L{LONGEST_QUORATE_NAME}.
        @raise TryAgain: too much of this client waits to be sent.  While the
            cluster synchronizes the request waits its turn, and is no error.
        """

    def leave(subscriber: IGroupSubscriber, group: bytes) -> None:
        """
        Ask to be out; messages go on until the view with us in C{left}.

        @raise NotJoined: not in it.
        @raise Busy: our join of it is not through yet.
        @raise TryAgain: as C{join}.
        """

    def send(
        subscriber: IGroupSubscriber,
        group: bytes,
        batch: bytes,
        count: int,
        guarantee: Guarantee,
        *,
        terms: Terms = ORDINARY,
    ) -> Deferred[Receipt]:
        """
        Multicast messages to a group we are in (or at least asked to join
        and have seen the view of).

        @param terms: what can be refused where the messages are ordered is
            answered there, as with L{Level.ORDERED}: special terms, and
            everything in a quorate group.
        @return: fires when all of them are as far as C{terms} say.  With
            L{Level.QUEUED} that is the send queue of the ring, and the answer is
            L{NO_RECEIPT}; it waits while there is no room, while the cluster
            synchronizes, and while a member of one of the groups is behind that
            wants to be waited for.  A message over L{ATOMIC_MESSAGE_BYTES}
            counts as in the queue when all its pieces were ordered on one ring
            (in rings with real corosync nodes: when all were queued on one
            ring).
            Fails with L{corotwist.errors.NotJoined}, C{InvalidParameter},
            C{TooBig}, C{TryAgain} (too much of this client waits), or
            C{Interrupted}: the ring changed in the middle of a message of
            several pieces, or before it was ordered in the view that was
            asked for; those before it in the batch were sent, it and those
            behind it were not.  In a quorate group with C{NotQuorate}: it was
            not ordered in a quorate view; if the ring ended when it had been,
            those who went another way may have delivered it.  With
            C{NotSupported}: there are nodes that do not understand such terms.
        """

    def members(group: bytes) -> tuple[Member, ...]:
        """
        Who is in it now; nobody when there is no such group.
        """

    def groups() -> tuple[bytes, ...]:
        """
        All groups with members, in byte order.
        """

    def closed(subscriber: IGroupSubscriber) -> None:
        """
        The client is gone: it leaves all its groups with
        L{Reason.PROCDOWN}.
        """


class IQuorum(Interface):
    """
    May we act?
    """

    def quorate() -> bool:
        """
        Is this partition the one that may act?
        """

    def counting() -> bool:
        """
        Is there somebody who counts votes, or nobody needed?  While not, this
        node takes itself for one that may not act, and others may know better.
        """

    def explanation() -> dict[str, int | bool | str]:
        """
        The inputs of the last verdict: votes, expected, quorum, rule.
        """
