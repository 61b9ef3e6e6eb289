"""
What nodes and an arbiter say to each other: AMP, over TLS.  A node comes once
for each connection, then asks, one question after the other; who only wants to
see asks for the state.
"""

from typing import Final

from twisted.protocols import amp

from corotwist.ipc.wire import ERRORS, Numbers, Unsigned
from corotwist.quorumdevice.arbitration import Terms, Vote, Wish
from corotwist.quorumdevice.parties import Rule
from corotwist.quorumdevice.values import Health
from corotwist.totem.membership import RingId

VERSION: Final = 1
# That of corosync's own arbiter, which says other things there.
DEFAULT_PORT: Final = 5403
_MS: Final = 1000


class Come(amp.Command):
    """
    A node is here; these are the terms that its cluster agrees on.

    The answer says how long the arbiter gives the vote to nobody who does not
    have it, since it has only begun.
    """

    commandName = b"arbiter.come"
    arguments = [
        (b"version", Unsigned(16)),
        (b"cluster", amp.Unicode()),
        (b"nodeid", Unsigned(32)),
        (b"incarnation", Unsigned(64)),
        (b"nodes", Numbers()),
        (b"algorithm", amp.Unicode()),
        (b"tieBreaker", amp.Unicode()),
        (b"cast", Unsigned(32)),
        (b"grace", Unsigned(32)),
    ]
    response = [(b"version", Unsigned(16)), (b"quiet", Unsigned(32))]
    errors = ERRORS


class Ask(amp.Command):
    """
    May this ring have the vote, or keep it?
    """

    commandName = b"arbiter.ask"
    arguments = [
        (b"sequence", Unsigned(64)),
        (b"representative", Unsigned(32)),
        (b"members", Numbers()),
        (b"casting", amp.Boolean()),
        (b"heuristics", amp.Integer()),
    ]
    response = [(b"vote", amp.Unicode())]
    errors = ERRORS


class Show(amp.Command):
    """
    A part of the state of the arbiter, in JSON; the first is part 0.
    """

    commandName = b"arbiter.show"
    arguments = [(b"part", Unsigned(32, optional=True))]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


def packTerms(terms: Terms) -> dict[str, object]:
    """
    As arguments of L{Come}.
    """
    return {
        "nodes": terms.nodes,
        "algorithm": terms.rule.name,
        "tieBreaker": terms.rule.tieBreaker,
        "cast": round(terms.castSeconds * _MS),
        "grace": round(terms.graceSeconds * _MS),
    }


def terms(
    nodes: tuple[int, ...], algorithm: str, tieBreaker: str, cast: int, grace: int
) -> Terms:
    """
    From the arguments of L{Come}.

    @raise InvalidParameter: they make no sense.
    """
    return Terms(
        tuple(sorted({*nodes})), Rule(algorithm, tieBreaker), cast / _MS, grace / _MS
    )


def packWish(wish: Wish) -> dict[str, object]:
    """
    As arguments of L{Ask}.
    """
    return {
        "sequence": wish.ringId.sequence,
        "representative": wish.ringId.representative,
        "members": wish.members,
        "casting": wish.casting,
        "heuristics": int(wish.health),
    }


def wish(
    sequence: int,
    representative: int,
    members: tuple[int, ...],
    casting: bool,
    heuristics: int,
) -> Wish:
    """
    From the arguments of L{Ask}; heuristics that we do not know say nothing.
    """
    known = heuristics in tuple(Health)
    health = Health(heuristics) if known else Health.UNKNOWN
    ringId = RingId(sequence, representative)
    return Wish(ringId, tuple(sorted({*members})), casting, health)


def packVote(vote: Vote) -> str:
    """
    As the response to L{Ask}.
    """
    return vote.value
