"""
What a local client may ask of process groups, and in which words it goes out.
"""

from collections.abc import Mapping
from typing import Final

from attrs import evolve

from corotwist.engines import batch as batches
from corotwist.engines.compact import Feature
from corotwist.engines.groupslocal import LocalProcesses
from corotwist.engines.interfaces import (
    ATOMIC_MESSAGE_BYTES,
    LARGEST_MESSAGE_BYTES,
    LONGEST_GROUP_NAME,
    LONGEST_QUORATE_NAME,
    MOST_FURTHER_GROUPS,
    MOST_TARGETS,
    IGroupSubscriber,
    Level,
    Terms,
)
from corotwist.engines.outgoing import Batch, LocalMember, Membership
from corotwist.engines.quorate import isQuorate, wireName
from corotwist.errors import (
    Interrupted,
    InvalidParameter,
    NameTooLong,
    NotJoined,
    NotQuorate,
    NotSupported,
    TooBig,
)
from corotwist.interfaces import ICluster
from corotwist.totem.membership import Guarantee

# Once for each batch: enums are slow to look up.
_JOINED: Final = Membership.JOINED
_GUARANTEES: Final[Mapping[int, Guarantee]] = {one: one for one in Guarantee}


def nameToJoin(group: bytes, *, gated: bool) -> bytes:
    """
    What a group is called on the wire.

    @raise NameTooLong: it does not fit.
    @raise InvalidParameter: it looks like one of the other kind.
    """
    longest = LONGEST_QUORATE_NAME if gated else LONGEST_GROUP_NAME
    if len(group) > longest:
        raise NameTooLong(f"{len(group)} bytes, at most {longest}")
    if isQuorate(group):
        raise InvalidParameter("names that begin so are for quorate groups")
    return wireName(group) if gated else group


def otherKind(name: bytes, group: bytes) -> bytes:
    """
    What the group of the other kind is called on the wire.
    """
    return group if isQuorate(name) else wireName(group)


def membershipToSend(
    local: LocalProcesses, subscriber: IGroupSubscriber, group: bytes
) -> LocalMember:
    """
    The membership that a client may send through.

    @raise NotJoined: there is none.
    """
    member = local.membership(subscriber, group)
    if member is None or member.state is not _JOINED:
        raise NotJoined(f"not in {group!r}, or not yet, or not any more")
    return member


def checkedBatch(
    member: LocalMember, batch: bytes, count: int, guarantee: Guarantee, terms: Terms
) -> Batch:
    """
    Messages, ready to be queued.

    @param terms: with groups as they are called on the wire.
    @raise InvalidParameter: they are not what they are said to be, or there is
        no such guarantee.
    @raise TooBig: one of them is.
    """
    largest = batches.check(batch, count)
    if largest > LARGEST_MESSAGE_BYTES:
        raise TooBig(f"{largest} bytes, at most {LARGEST_MESSAGE_BYTES}")
    asked = _GUARANTEES.get(guarantee)
    if asked is None:
        raise InvalidParameter(f"there is no guarantee {guarantee}")
    if member.quorate:
        asked = Guarantee.SAFE
    atomic = largest <= ATOMIC_MESSAGE_BYTES
    return Batch(member, batch, count, asked, atomic, None, terms=terms)


def checkedTerms(
    local: LocalProcesses,
    subscriber: IGroupSubscriber,
    member: LocalMember,
    terms: Terms,
) -> Terms:
    """
    What a client wants, in the words of the wire.  What may be refused in its
    place of the order is answered there.

    @raise InvalidParameter: nobody can do that.
    @raise NotJoined: of a further group.
    """
    _checkPossible(member, terms)
    further = [membershipToSend(local, subscriber, group) for group in terms.groups]
    if any(one.quorate is not member.quorate for one in further):
        raise InvalidParameter("quorate groups and others at once")
    level = terms.level
    if terms.special or member.quorate:
        level = max(level, Level.ORDERED)
    return evolve(terms, level=level, groups=tuple(one.group for one in further))


def _checkPossible(member: LocalMember, terms: Terms) -> None:
    try:
        Level(terms.level)
    except ValueError:
        raise InvalidParameter(f"there is no level {terms.level}") from None
    if len(terms.to) > MOST_TARGETS:
        raise InvalidParameter(f"{len(terms.to)} processes, at most {MOST_TARGETS}")
    if len(terms.groups) > MOST_FURTHER_GROUPS:
        most = MOST_FURTHER_GROUPS
        raise InvalidParameter(f"{len(terms.groups)} further groups, at most {most}")
    if terms.to and terms.groups:
        raise InvalidParameter("for some processes of one group, or for several groups")
    if len({member.name, *terms.groups}) <= len(terms.groups):
        raise InvalidParameter("a group is named twice")


# When its turn has come.


def checkNow(cluster: ICluster, batch: Batch) -> None:
    """
    May a batch with terms go out?

    @raise NotSupported: not everybody would understand.
    @raise Interrupted: the view that was asked for is over.
    @raise NotQuorate: so is the time to act.
    """
    terms = batch.terms
    if terms.special and not cluster.everybody(Feature.TERMS):
        raise NotSupported("a node of this ring knows no such terms")
    view = cluster.view()
    if terms.view is not None and terms.view != view.viewId:
        raise Interrupted(f"it is view {view.viewId} now")
    if batch.member.quorate and not view.quorate:
        raise NotQuorate(f"view {view.viewId} is not quorate")


def partRefused(batch: Batch) -> bool:
    """
    Was a part of it ordered where nobody delivers it?  Then nothing follows.
    """
    awaited = batch.awaited
    return awaited is not None and awaited.answered and not awaited.cancelled
