"""
What who counts votes offers to local clients, to a quorum device, and to other
engines; and the values exchanged.  Numbers are corosync's.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum, IntFlag
from typing import Any, Final

from attrs import asdict, field, frozen
from twisted.internet.defer import Deferred
from zope.interface import Interface

from corotwist.engines.interfaces import IQuorum
from corotwist.totem.membership import RingId

# The name of a quorum device, in bytes of UTF-8.
LONGEST_DEVICE_NAME: Final = 254


class NodeState(IntEnum):
    """
    Whether a node's votes count; corosync's C{VOTEQUORUM_NODESTATE_}.
    """

    MEMBER = 1
    DEAD = 2
    LEAVING = 3


class VoteFlag(IntFlag):
    """
    What holds for a node; corosync's C{VOTEQUORUM_INFO_}.
    """

    TWO_NODE = 1
    QUORATE = 2
    WAIT_FOR_ALL = 4
    LAST_MAN_STANDING = 8
    AUTO_TIE_BREAKER = 16
    ALLOW_DOWNSCALE = 32
    DEVICE_REGISTERED = 64
    DEVICE_ALIVE = 128
    DEVICE_CAST_VOTE = 256
    DEVICE_MASTER_WINS = 512


@frozen
class VoteInfo:
    """
    What is known of a node and of the votes.

    @ivar votes: of the node.
    @ivar expected: what the node expects.
    @ivar highestExpected: the largest number that a member expects.
    @ivar totalVotes: of all members, and of the device if it votes for us.
    @ivar quorum: votes that are needed.
    @ivar deviceVotes: what the device has when it votes for the node.
    @ivar deviceName: nothing without one.
    """

    nodeid: int
    state: NodeState
    votes: int
    expected: int
    highestExpected: int
    totalVotes: int
    quorum: int
    flags: VoteFlag
    deviceVotes: int = 0
    deviceName: str = ""


@frozen
class NodeVotes:
    """
    A node that was heard of: a member, or one that is gone.
    """

    nodeid: int
    state: NodeState
    votes: int


@frozen
class Decision:
    """
    One verdict, and how it came about.

    @ivar number: rises by one from decision to decision of this node.
    @ivar time: nanoseconds since 1970.
    @ivar cause: what made us count, for people.
    @ivar rule: what decided, for people.
    @ivar inputs: by name: votes, expected, quorum, the options in force, and
        what the safe rule compared.
    """

    number: int
    time: int
    ringId: RingId
    members: tuple[int, ...]
    quorate: bool
    cause: str
    rule: str
    inputs: Mapping[str, Any] = field(factory=dict)

    def json(self) -> dict[str, Any]:
        """
        As JSON values.
        """
        ring = {
            "sequence": self.ringId.sequence,
            "representative": self.ringId.representative,
        }
        own = asdict(self, recurse=False)
        return {**own, "ringId": ring, "members": list(self.members)}


class IQuorumProvider(IQuorum):
    """
    A service engine that decides which partition may act, under whatever rule.

    C{quorum.provider} in the configuration names the engine, and the maker of
    it wants it on nodes where it is named (C{corotwist.plugin.providesQuorum}).
    What it answers changes at the end of a round of synchronization and with a
    delivered message, never at a moment of this node alone: so it is the same
    on all members at the same place in the order.  At each change it calls
    C{ICluster.quorumChanged}.
    """

    def follow(changed: Callable[[], object]) -> Callable[[], None]:
        """
        Call at once, and whenever there is another verdict.

        @return: ends that.
        """


class IExternalQuorum(IQuorumProvider):
    """
    Quorum as programs on the members say.
    """

    def say(
        connection: Any,
        *,
        quorate: bool,
        seconds: float,
        reason: str = "",
        ringId: RingId | None = None,
    ) -> None:
        """
        Speak for this node: one yes of a member is enough, unless another one
        says no.  The word ends with its time, with the connection, and when a
        member of the ring is lost; whoever comes changes nothing.

        @param seconds: so long the word is good, unless it is said again.
        @param reason: for people.
        @param ringId: the ring that it is about; by default that of now.
        @raise InvalidParameter: no such time.
        @raise OldRing: the ring is another one now.
        @raise TryAgain: the ring changes, or the send queue has no room.
        @raise Exists: another connection speaks for this node.
        """

    def words() -> dict[str, Any]:
        """
        The ring, and what is said about it, as JSON values.
        """


class IFencing(Interface):
    """
    Who makes sure that lost nodes are off.  All answers are the same on all
    members at the same place in the order.
    """

    def confirmed(nodeids: Iterable[int]) -> bool:
        """
        May what these nodes had be regarded as gone?  Yes when each of them
        said that it stops, or is a member, or is sure to be off; and when no
        member has an agent.  No while the services synchronize.
        """

    def waiting() -> tuple[int, ...]:
        """
        Lost nodes that are not sure to be off.
        """

    def follow(changed: Callable[[], object]) -> Callable[[], None]:
        """
        Call whenever the answers may be others.

        @return: ends that.
        """

    def confirm(nodeid: int, reason: str) -> None:
        """
        An operator says that a node is off.

        @raise NotExist: it is not lost.
        @raise TryAgain: the ring changes, or the send queue has no room.
        """

    def status() -> dict[str, Any]:
        """
        As JSON values.
        """


class IQuorumDeviceState(Interface):
    """
    The quorum device of this node, for people, and for who tells how long a
    verdict is good.
    """

    def validUntil() -> int:
        """
        Nanoseconds, on the clock of C{ICluster.now}: so long the device votes
        for us if nothing is heard of it any more; 0 when it does not.
        """

    def status() -> dict[str, Any]:
        """
        As JSON values: C{name}, C{model}, C{registered}, C{vote},
        C{voteSeconds}, C{why}, C{heuristics}, C{device}, and what all members
        say of theirs, by nodeid, as C{nodes}.
        """


class IVoteSubscriber(Interface):
    """
    Whoever follows the votes: first, at each change of the ring, who is there,
    and when its services are in step, the verdict.
    """

    def nodesChanged(ringId: RingId, members: tuple[int, ...]) -> None:
        """
        A round begins: nothing is said of quorum yet.
        """

    def quorumChanged(quorate: bool, nodes: tuple[NodeVotes, ...]) -> None:
        """
        There is a verdict: one for each round, and one for each change after
        it.
        """

    def expectedChanged(expected: int) -> None:
        """
        We expect another number of votes.
        """


class IVoteQuorum(IQuorumProvider):
    """
    Quorum by votes, as corosync's C{votequorum} has it.

    What is asked for here is checked, ordered among all that happens, and done
    by all members at its place in the order.
    """

    def info(nodeid: int = 0) -> VoteInfo:
        """
        What is known of a node.

        @param nodeid: 0 for our own.
        @raise NotExist: nobody heard of it.
        """

    def nodes() -> tuple[NodeVotes, ...]:
        """
        Everybody who was heard of, ascending; those that are gone, too.
        """

    def setExpected(expected: int) -> Deferred[None]:
        """
        Expect so many votes from now on, on all members; also after a restart,
        as far as members remain who know it.

        @return: fires when it is in force here.  Fails with
            L{InvalidParameter<corotwist.errors.InvalidParameter>}: fewer than
            the votes that are here, or so many that they were no quorum; with
            C{TryAgain}: no room, or the ring changes.
        """

    def setVotes(nodeid: int, votes: int) -> Deferred[None]:
        """
        Give a node another number of votes.

        @param nodeid: 0 for our own.
        @return: as L{setExpected}; and fails with
            L{NameNotFound<corotwist.errors.NameNotFound>}: nobody heard of the
            node.
        """

    def cancelWaiting() -> None:
        """
        Wait no more for all nodes, on any member.

        @raise TryAgain: the send queue has no room.
        """

    def subscribe(subscriber: IVoteSubscriber) -> Callable[[], None]:
        """
        Follow the votes, from the next change on.

        @return: ends that.
        """

    def history() -> tuple[Decision, ...]:
        """
        The last decisions, the newest last: a bounded number.
        """

    def deviceRegister(name: str) -> Deferred[None]:
        """
        A quorum device is here, and is to be asked for its vote.

        @return: fires when all members heard of it.  Fails with C{Exists}: one
            of another name is registered; C{AccessDenied}: the configuration has
            no device, or none that may be used; C{TryAgain}, C{NameTooLong}.
            Registering the same name again is no error, and changes nothing.
        """

    def deviceUnregister(name: str) -> Deferred[None]:
        """
        It does not vote any more.

        @return: fires when all members heard of it.  Fails with C{NotExist}:
            there is none; C{InvalidParameter}: it has another name; C{TryAgain}.
        """

    def deviceUpdate(old: str, new: str) -> Deferred[None]:
        """
        It has another name.

        @return: as L{deviceUnregister}.
        """

    def devicePoll(name: str, castVote: bool, ringId: RingId) -> None:
        """
        It is alive, and votes for this partition, or does not.  To be repeated
        within C{quorum.device.timeout}: then it counts as dead.

        @param ringId: the ring it voted for: a vote for another one is none.
        @raise NotExist: there is no device.
        @raise InvalidParameter: it has another name.
        @raise OldRing: that ring is over.
        """

    def deviceMasterWins(name: str, allow: bool) -> None:
        """
        From now on, a partition that the device votes for may act, whatever
        votes it has, or it may not.

        @raise NotExist: there is no device.
        @raise InvalidParameter: it has another name.
        """
