"""
Tests of what process groups hand over.
"""

from typing import cast

from attrs import fields_dict
from twisted.trial.unittest import SynchronousTestCase

from corotwist.budget import Budget
from corotwist.engines.assembly import Partial
from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.groupsdelivery import GroupsDelivery
from corotwist.engines.groupslocal import LocalProcesses
from corotwist.engines.groupsreceipts import Receipts
from corotwist.engines.groupssending import GroupsSending
from corotwist.engines.groupsstate import GroupsState
from corotwist.engines.groupssync import GroupsSynchronization
from corotwist.engines.interfaces import Member, Reason, SlowReader
from corotwist.engines.outgoing import (
    ENTRY_BYTES,
    Acceptance,
    Batch,
    Client,
    Join,
    Leave,
    LocalMember,
    Membership,
)
from corotwist.errors import NotSupported
from corotwist.interfaces import ICluster
from corotwist.test.engines.orderednet import Listener
from corotwist.totem.membership import Guarantee, RingId

GROUP = b"group"

# What there is in the engine and its parts, and is not handed over because it
# follows from the rest, is empty between rounds, or belongs to the instance.
FOLLOWS = {
    GroupsEngine: {
        *("_here", "_stopping", "_local", "_sending", "_synchronization"),
        *("_between", "_unshown", "_afterwards", "_delivery"),
    },
    LocalProcesses: {"_log", "_counters", "_flowChanged", "count", "flows"},
    GroupsSending: {
        *("_local", "_counters", "_here", "_pumping", "_roomAsked", "_ahead"),
    },
    GroupsSynchronization: {"ringId", "_cameAlong", "_members", "_round", "_steps"},
    Receipts: {"members", "_cluster", "_asked", "_asksAgain"},
    GroupsDelivery: {"_local", "_counters", "_held"},
    Client: {"budget", "memberships", "waitingBytes", "inTurn"},
    LocalMember: {"subscriber", "large", "quorate", "name"},
    Batch: set[str](),
    Join: {"size"},
    Leave: {"size"},
    Partial: set[str](),
}
# What is, and where it has other names.
HANDED = {
    GroupsEngine: {"_counters"},
    LocalProcesses: {"clients", "members"},
    GroupsSending: {
        *("turns", "again", "serials", "aheadSerials", "aheadRing", "inFlight"),
        "receipts",
    },
    GroupsSynchronization: {"knownNodes"},
    Receipts: {"compact", "plain", "sent", "back", "unsafe"},
    GroupsDelivery: {"table", "assembly"},
    Client: {"subscriber", "pid", "queue", "parked"},
    LocalMember: {
        *("group", "pid", "client", "slow", "state", "ahead", "discardOwn"),
    },
    Batch: {
        *("member", "data", "remaining", "guarantee", "atomic", "accepted"),
        *("offset", "sent", "ringId", "interrupted", "serial", "terms", "final"),
    },
    Join: {"member"},
    Leave: {"member", "reason"},
    Partial: {"total", "recipients", "bound", "data"},
}


def example() -> GroupsState:
    """
    A little of everything.
    """
    state = GroupsState(
        knownNodes=(1, 2), serials=7, aheadRing=RingId(8, 1), inFlight=99
    )
    state.aheadSerials.extend((5, 7))
    for pid, membership in ((10, Membership.JOINED), (11, Membership.LEAVING)):
        client = Client(Listener(pid), pid, Budget("old", 1 << 20))
        member = LocalMember(
            GROUP, pid, client, client.subscriber, SlowReader.SPILL, membership, 1
        )
        client.memberships[GROUP] = member
        state.clients[id(client.subscriber)] = client
        state.members.setdefault(GROUP, {})[pid] = member
        state.table.add(GROUP, Member(1, pid))
    talking, leaving = state.clients.values()
    member = talking.memberships[GROUP]
    batch = Batch(
        member,
        b"data",
        1,
        Guarantee.SAFE,
        False,
        Acceptance(),
        offset=1,
        sent=2,
        ringId=RingId(8, 1),
        interrupted=True,
        serial=3,
    )
    member.large = batch
    talking.append(batch)
    talking.append(Join(member))
    leaving.append(Leave(leaving.memberships[GROUP], Reason.PROCDOWN))
    state.turns.add(leaving)
    state.turns.add(talking)
    state.again.append(Batch(member, b"x", 1, Guarantee.AGREED, True, None, serial=4))
    sender = Member(2, 20)
    state.assembly.begin((GROUP, sender), 100, (member,), bound=True)
    state.assembly.add((GROUP, sender), b"half")
    state.counters["sent"] = 5
    return state


class StateTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """
        Whatever the engine keeps is handed over, or follows from what is: one
        who adds something decides which.  (A11)
        """
        engine = GroupsEngine()
        sending = engine._sending
        sending.receipts._cluster = cast("ICluster", None)
        parts = (
            *(engine, engine._local, sending, sending.receipts),
            *(engine._delivery, engine._synchronization),
        )
        fieldsOf = {type(part): set(vars(part)) for part in parts}
        for kind, handed in HANDED.items():
            there = fieldsOf.get(kind) or set(fields_dict(kind))
            self.assertEqual(there, handed | FOLLOWS[kind], kind.__name__)

    def test_roundTrip(self) -> None:
        """
        What is unpacked is packed the same, out of new objects; those who wait
        and those who are told are the same as before.  (A11)
        """
        old = example()
        budget = Budget("new", 1 << 20)
        packed = old.packed()
        new = GroupsState.unpacked(packed, budget)
        self.assertEqual(new.packed(), packed)
        self.assertEqual(list(new.clients), list(old.clients))
        for one, other in zip(new.clients.values(), old.clients.values(), strict=True):
            self.assertIsNot(one, other)
            self.assertIs(one.subscriber, other.subscriber)
            self.assertEqual(one.waitingBytes, other.waitingBytes)
        ours, theirs = (next(iter(s.clients.values())).queue[0] for s in (old, new))
        assert isinstance(ours, Batch)
        assert isinstance(theirs, Batch)
        self.assertIs(theirs.accepted, ours.accepted)
        self.assertIs(theirs.member.large, theirs)
        self.assertEqual([c.pid for c in new.turns], [11, 10])

    def test_plain(self) -> None:
        """
        But for clients it is numbers, text, bytes, tuples and dictionaries.
        (A11)
        """
        self.assertEqual(_strange(example().packed()), {"Acceptance", "Listener"})

    def test_budget(self) -> None:
        """
        What waits is charged when it is asked for, once.
        """
        budget = Budget("new", 1 << 20)
        state = GroupsState.unpacked(example().packed(), budget)
        self.assertEqual(budget.used, 0)
        state.charge()
        self.assertEqual(budget.used, len(b"data") + 3 * ENTRY_BYTES)
        state.discharge()
        self.assertEqual(budget.used, 0)

    def test_unknownKeys(self) -> None:
        """
        What a later version adds is not minded; another format is refused.
        """
        packed = {**example().packed(), "colour": "blue"}
        budget = Budget("new", 1 << 20)
        GroupsState.unpacked(packed, budget)
        packed["format"] = 3
        error = self.assertRaises(NotSupported, GroupsState.unpacked, packed, budget)
        self.assertEqual(str(error), "process groups in format 3, not 1 or 2")


def _strange(value: object) -> set[str]:
    """
    The names of the classes in it that are not plain.
    """
    if value is None or type(value) in (int, str, bytes, bool):
        return set()
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, tuple):
        parts = list(value)
    else:
        return {type(value).__name__}
    return set().union(*map(_strange, parts))
