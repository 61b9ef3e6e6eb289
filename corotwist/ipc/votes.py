"""
Quorum by votes, as a client has it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from corotwist.engines.interfaces import News
from corotwist.engines.quoruminterfaces import NodeVotes, VoteInfo
from corotwist.errors import Disconnected, Exists, NotExist, ServiceError
from corotwist.ipc import votequorum as commands
from corotwist.ipc.jsonparts import Ask, wholeJson
from corotwist.ipc.votequorum import (
    TRACK_CHANGES,
    TRACK_CHANGES_ONLY,
    TRACK_CURRENT,
    unpackInfo,
    unpackNodes,
)
from corotwist.totem.membership import RingId

Heard = Callable[..., object]


@define(eq=False)
class VoteFollower:
    """
    Who is told of the votes; each callback may be left out.

    @ivar nodesChanged: called with a ring id and its members, before anything
        is said of quorum on that ring.
    @ivar quorumChanged: called with the verdict and with all nodes that were
        heard of, as L{NodeVotes}.
    @ivar expectedChanged: called with a number of votes.
    @ivar interrupted: called with a reason: the node was gone, and what is told
        next is how it is now.
    """

    nodesChanged: Callable[[RingId, tuple[int, ...]], object] | None = None
    quorumChanged: Callable[[bool, tuple[NodeVotes, ...]], object] | None = None
    expectedChanged: Callable[[int], object] | None = None
    interrupted: Callable[[str], object] | None = None
    wishes: int = field(default=0, init=False)
    gap: str | None = field(default=None, init=False)


class VoteQuorum:
    """
    What a client may ask of who counts votes.  Where nobody does, everything
    fails with L{NotSupported}.
    """

    _log = Logger()

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._follower: VoteFollower | None = None

    # Asking.

    def info(self, nodeid: int = 0) -> Deferred[VoteInfo]:
        """
        What is known of a node and of the votes.

        @param nodeid: 0 for the node that we are connected to.
        @return: fires with it; fails with L{NotExist}.
        """
        asked = self._ask(commands.Info, nodeid=nodeid)
        return asked.addCallback(lambda answer: unpackInfo(**answer))

    def nodes(self) -> Deferred[tuple[NodeVotes, ...]]:
        """
        Everybody who was heard of, those that are gone included.

        @return: fires with them, ascending.
        """
        asked = self._ask(commands.Nodes)
        return asked.addCallback(lambda answer: unpackNodes(answer["nodes"]))

    def history(self) -> Deferred[list[dict[str, Any]]]:
        """
        The last decisions of the node, the newest last: C{number}, C{time} in
        nanoseconds since 1970, C{ringId}, C{members}, C{quorate}, C{cause},
        C{rule} and C{inputs}.

        @return: fires with them.
        """
        return Deferred.fromCoroutine(wholeJson(self._ask, commands.History))

    # Changing.

    def setExpected(self, expected: int) -> Deferred[None]:
        """
        Have all members expect so many votes.

        @return: fires when they do.  Fails with L{InvalidParameter} when there
            are more votes here than that, or too few for a quorum then;
            L{AccessDenied}, L{TryAgain}.
        """
        return self._do(commands.SetExpected, expected=expected)

    def setVotes(self, votes: int, nodeid: int = 0) -> Deferred[None]:
        """
        Give a node so many votes.

        @param nodeid: 0 for the node that we are connected to.
        @return: fires when all members know.  Fails with L{NameNotFound} when
            nobody heard of it; L{InvalidParameter}, L{AccessDenied},
            L{TryAgain}.
        """
        return self._do(commands.SetVotes, nodeid=nodeid, votes=votes)

    def cancelWaiting(self) -> Deferred[None]:
        """
        Have all members wait no more for all nodes.

        @return: fires when the node has told them.  Fails with L{AccessDenied},
            L{TryAgain}.
        """
        return self._do(commands.CancelWaiting)

    def _do(self, command: type[amp.Command], **arguments: Any) -> Deferred[None]:
        return self._ask(command, **arguments).addCallback(_nothing)

    # For a quorum device.

    def deviceRegister(self, name: str) -> Deferred[None]:
        """
        Be the quorum device of the node.  After a gap the node may not know us
        any more: then L{devicePoll} fails with L{NotExist}.

        @return: fires when all members know.  Fails with L{Exists} when another
            one is registered, L{AccessDenied} also when no device is configured,
            L{NameTooLong}, L{TryAgain}.
        """
        return self._do(commands.DeviceRegister, name=name)

    def deviceUnregister(self, name: str) -> Deferred[None]:
        """
        Be it no more.

        @return: fires when all members know.  Fails with L{NotExist} when there
            is none, L{InvalidParameter} when it has another name,
            L{AccessDenied}, L{TryAgain}.
        """
        return self._do(commands.DeviceUnregister, name=name)

    def deviceUpdate(self, old: str, new: str) -> Deferred[None]:
        """
        Have another name.

        @return: as L{deviceUnregister}.
        """
        return self._do(commands.DeviceUpdate, old=old, new=new)

    def devicePoll(self, name: str, castVote: bool, ringId: RingId) -> Deferred[None]:
        """
        Be alive, and vote for this partition, or not.

        @return: fires when the node knows.  Fails with L{OldRing} when it is
            on another ring now; otherwise as L{deviceUnregister}.
        """
        return self._do(
            commands.DevicePoll,
            name=name,
            castVote=castVote,
            sequence=ringId.sequence,
            representative=ringId.representative,
        )

    def deviceMasterWins(self, name: str, allow: bool) -> Deferred[None]:
        """
        Have our vote alone suffice, or not.

        @return: fires when the node knows; fails as L{deviceUnregister}.
        """
        return self._do(commands.DeviceMasterWins, name=name, allow=allow)

    # Tracking.

    def track(
        self, follower: VoteFollower, *, current: bool = True, changes: bool = True
    ) -> Deferred[None]:
        """
        Be told of the votes, also after the node was gone.

        @param current: how it is now, at once.
        @param changes: what happens from now on, until L{untrack}.
        @return: fires when the node knows.  Fails with L{Exists} when the votes
            are tracked already, L{NotSupported}, L{Disconnected}.
        """
        if self._tracking():
            return fail(Exists("the votes are tracked already"))
        follower.wishes = _wishes(current=current, changes=changes)
        self._follower = follower
        asked = self._do(commands.Track, wishes=follower.wishes)
        return asked.addCallbacks(
            self._tracked,
            self._notTracked,
            callbackArgs=(follower,),
            errbackArgs=(follower,),
        )

    def _tracking(self) -> bool:
        return self._follower is not None and self._follower.wishes != 0

    def _tracked(self, _: None, follower: VoteFollower) -> None:
        if follower.wishes == TRACK_CURRENT:
            follower.wishes = 0  # It will have been told all that it wanted.

    def _notTracked(self, failure: Failure, follower: VoteFollower) -> Failure:
        if self._follower is follower:
            self._follower = None
        return failure

    def untrack(self) -> Deferred[None]:
        """
        Be told no more: nothing comes from now on.

        @return: fires when the node knows.  Fails with L{NotExist} when the
            votes are not tracked.
        """
        if not self._tracking():
            return fail(NotExist("the votes are not tracked"))
        self._follower = None
        return self._do(commands.Untrack).addErrback(_trap, Disconnected, NotExist)

    # From the client.

    def responders(self) -> Mapping[type[amp.Command], Heard]:
        """
        Who takes which notification.
        """
        return {
            commands.NodesChanged: self._nodesChanged,
            commands.QuorumChanged: self._quorumChanged,
            commands.ExpectedChanged: self._expectedChanged,
        }

    def connected(self) -> None:
        """
        The node is there, perhaps again.
        """
        follower = self._follower
        if follower is not None and follower.gap is not None:
            gap, follower.gap = follower.gap, None
            self._tell(follower.interrupted, gap)
            self._again(follower)

    def connectionLost(self, reason: str) -> None:
        """
        Changes will be missed.
        """
        if self._follower is not None and self._follower.wishes:
            self._follower.gap = reason

    def stopped(self) -> None:
        """
        The client is stopped for good.
        """
        self._follower = None

    def engineChanged(self, what: str) -> None:
        """
        Something happened to who counts votes: one that was started knows
        nobody.
        """
        follower = self._follower
        if what in (News.RESTARTED, News.LOADED) and follower is not None:
            self._tell(follower.interrupted, f"the engine was {what}")
            forgotten = self._do(commands.Untrack)
            forgotten.addErrback(_trap, ServiceError)
            forgotten.addCallback(lambda _: self._again(follower))

    def _again(self, follower: VoteFollower) -> None:
        if self._follower is follower and follower.wishes:
            asked = self._do(commands.Track, wishes=follower.wishes)
            asked.addErrback(self._refused)

    def _refused(self, failure: Failure) -> None:
        if not failure.check(Disconnected):  # Then it is asked for again.
            self._log.failure("The votes cannot be tracked any more", failure)

    def _nodesChanged(
        self, sequence: int, representative: int, members: tuple[int, ...]
    ) -> None:
        if self._follower is not None:
            ringId = RingId(sequence, representative)
            self._tell(self._follower.nodesChanged, ringId, members)

    def _quorumChanged(self, quorate: bool, nodes: tuple[int, ...]) -> None:
        if self._follower is not None:
            self._tell(self._follower.quorumChanged, quorate, unpackNodes(nodes))

    def _expectedChanged(self, expected: int) -> None:
        if self._follower is not None:
            self._tell(self._follower.expectedChanged, expected)

    def _tell(self, callback: Heard | None, *news: Any) -> None:
        if callback is None:
            return
        try:
            callback(*news)
        except Exception:  # noqa: BLE001
            self._log.failure("An application failed at a change of the votes")


def _wishes(*, current: bool, changes: bool) -> int:
    if changes:
        return TRACK_CHANGES if current else TRACK_CHANGES_ONLY
    return TRACK_CURRENT


def _nothing(_: object) -> None:
    return None


def _trap(failure: Failure, *kinds: type[Exception]) -> None:
    failure.trap(*kinds)
