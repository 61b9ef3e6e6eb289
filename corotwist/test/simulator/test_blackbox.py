"""
The judge of clients' logs: quiet about a good run, and each promise, broken
once by hand, told by its name.
"""

from collections.abc import Callable, Iterable
from typing import Final

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.interfaces import Change, Member, Reason
from corotwist.simulator.judges.blackbox import (
    Accepted,
    BlackBoxJudge,
    Entry,
    Heard,
    History,
    Leaving,
    RingSeen,
    Sending,
    Viewed,
)
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.totem.membership import RingId

A, B, C = Member(1, 11), Member(2, 22), Member(3, 33)
OLD, NEW, LAST = RingId(4, 1), RingId(8, 1), RingId(12, 1)
SIZE: Final = 100

Change_ = Callable[[list[Entry]], object]


def ring(ringId: RingId, *members: int) -> RingSeen:
    """
    The node is in step on a ring.
    """
    return RingSeen(ringId, members)


def view(
    members: Iterable[Member],
    left: Iterable[Member] = (),
    joined: Iterable[Member] = (),
    why: Reason = Reason.JOIN,
) -> Viewed:
    """
    A change for one reason.
    """
    return Viewed(
        frozenset(members),
        tuple(Change(member, why) for member in left),
        tuple(Change(member, why) for member in joined),
    )


def message(sender: Member, number: int) -> Heard:
    """
    As it was sent.
    """
    return Heard(sender, number, SIZE)


def good() -> dict[Member, list[Entry]]:
    """
    Two clients on one ring; a third joins, its node is cut off and comes back,
    and it leaves.
    """
    shared: list[Entry] = [
        message(A, 0),
        message(B, 0),
        view((A, B, C), joined=(C,)),
        message(C, 0),
        message(A, 1),
        view((A, B), left=(C,), why=Reason.NODEDOWN),
        ring(NEW, 1, 2),
        message(B, 1),
        view((A, B, C), joined=(C,), why=Reason.NODEUP),
        ring(LAST, 1, 2, 3),
        message(C, 2),
        message(A, 2),
        view((A, B), left=(C,), why=Reason.LEAVE),
        message(B, 2),
    ]
    sends: list[Entry] = [Sending(0, 2, SIZE), Accepted(2), Sending(2, 1, SIZE)]
    return {
        A: [
            view((A,), joined=(A,)),
            view((A, B), joined=(B,)),
            ring(OLD, 1, 2, 3),
            *sends,
            *shared,
            Accepted(1),
        ],
        B: [
            view((A, B), joined=(B,)),
            ring(OLD, 1, 2, 3),
            *sends,
            *shared,
            Accepted(1),
        ],
        C: [
            view((A, B, C), joined=(C,)),
            Sending(0, 3, SIZE),
            message(C, 0),
            message(A, 1),
            view((C,), left=(A, B), why=Reason.NODEDOWN),
            ring(RingId(8, 3), 3),
            message(C, 1),
            view((A, B, C), joined=(A, B), why=Reason.NODEUP),
            ring(LAST, 1, 2, 3),
            Accepted(3),
            message(C, 2),
            Leaving(),
            message(A, 2),
            view((A, B), left=(C,), why=Reason.LEAVE),
        ],
    }


def verdict(
    logs: dict[Member, list[Entry]],
    quiet: bool = True,
    foreign: frozenset[int] = frozenset(),
) -> list[Violation]:
    """
    What the judge says.
    """
    found: list[Violation] = []
    histories = [
        History(member, Life(member.nodeid), entries, alive=member != C)
        for member, entries in logs.items()
    ]
    BlackBoxJudge(found.append, foreign).judge(histories, quiet=quiet)
    return found


class GoodTests(SynchronousTestCase):
    def test_good(self) -> None:
        """
        Nothing is held against a run that keeps all promises.
        """
        self.assertEqual(verdict(good()), [])

    def test_cutShort(self) -> None:
        """
        Nor against clients that were killed somewhere on the way.
        """
        length = len(good()[A])
        for killed in (A, B):
            for end in range(length):
                logs = good()
                del logs[killed][end:]
                found = verdict(logs, quiet=False)
                self.assertEqual([f for f in found if f.promise != "C4"], [])

    def test_lastWords(self) -> None:
        """
        What only a killed client got, nobody has to have got.
        """
        logs = good()
        logs[B][-2:] = [message(A, 3)]
        logs[A] = [*logs[A][:-4], Sending(3, 1, SIZE)]
        self.assertEqual(verdict(logs, quiet=False), [])


class BrokenPromiseTests(SynchronousTestCase):
    """
    The good run, with one thing wrong.
    """

    def broken(self, promise: str, who: Member, change: Change_) -> Violation:
        """
        Change one log, and find the promise among those told.
        """
        logs = good()
        change(logs[who])
        found = [v for v in verdict(logs) if v.promise == promise]
        self.assertTrue(found, verdict(logs))
        return found[0]

    def swap(self, *entries: Entry) -> Change_:
        """
        Two records change places.
        """

        def change(log: list[Entry]) -> None:
            one, other = map(log.index, entries)
            log[one], log[other] = log[other], log[one]

        return change

    def drop(self, entry: Entry) -> Change_:
        """
        A record is lost.
        """
        return lambda log: log.remove(entry)

    def put(self, entry: Entry, before: Entry) -> Change_:
        """
        A record too many.
        """
        return lambda log: log.insert(log.index(before), entry)

    def replace(self, old: Entry, new: Entry) -> Change_:
        """
        Another record.
        """
        return lambda log: log.__setitem__(log.index(old), new)

    def test_firstView(self) -> None:
        """
        C1: a client's first view is of its own join.
        """
        self.broken("C1", B, lambda log: log.pop(0))

    def test_arithmetic(self) -> None:
        """
        C1: a view is the one before, without who left, with who joined.
        """
        right = view((A, B), left=(C,), why=Reason.LEAVE)
        self.broken("C1", A, self.replace(right, evolve(right, members=frozenset({A}))))

    def test_together(self) -> None:
        """
        C2: who goes on together saw the same; the verdict names both, the
        place, and what either saw.
        """
        told = self.broken("C2", B, self.swap(message(A, 0), message(B, 0)))
        self.assertEqual(told.details["clients"], ["2/22", "1/11"])
        self.assertEqual(told.details["entry"], 5)
        self.assertEqual(told.details["here"], message(B, 0))
        self.assertEqual(told.details["there"], message(A, 0))

    def test_togetherShort(self) -> None:
        """
        C2: one saw more than the other, whoever was read first.
        """
        for who in (A, B):
            told = self.broken("C2", who, self.drop(message(B, 2)))
            self.assertIn("nothing", told.details.values())

    def test_togetherAfterJoin(self) -> None:
        """
        C2, C7: from its own join on a client sees what the others see.
        """
        shared: list[Entry] = [
            view((A, B), joined=(B,)),
            message(A, 0),
            message(A, 1),
        ]
        logs: dict[Member, list[Entry]] = {
            A: [view((A,), joined=(A,)), ring(OLD, 1, 2), Sending(0, 2, SIZE), *shared],
            B: shared[:1] + shared[2:],
        }
        told = verdict(logs)
        self.assertEqual([violation.promise for violation in told], ["C2"])
        self.assertEqual(told[0].details["there"], message(A, 0))

    def test_symmetry(self) -> None:
        """
        C2: who went on with me thinks that I went on with it.
        """
        down = view((A, B), left=(C,), why=Reason.NODEDOWN)
        up = view((A, B, C), joined=(C,), why=Reason.NODEUP)

        def change(log: list[Entry]) -> None:
            place = log.index(down)
            log[place] = view((B,), left=(A, C), why=Reason.NODEDOWN)
            log.insert(place + 1, view((A, B), joined=(A,), why=Reason.NODEUP))

        told = self.broken("C2", B, change)
        self.assertIn("thinks another went on with it", told.text)
        self.assertIn(up, good()[B])

    def test_senderInView(self) -> None:
        """
        C3: messages come from members.
        """
        self.broken("C3", A, self.put(message(C, 0), before=message(B, 0)))

    def test_twice(self) -> None:
        """
        C4: no message comes twice.
        """
        self.broken("C4", A, self.put(message(A, 0), before=message(A, 1)))

    def test_invented(self) -> None:
        """
        C4: what comes was sent, with that size.
        """
        self.broken("C4", A, self.replace(message(B, 2), message(B, 7)))
        self.broken("C4", A, self.replace(message(B, 2), Heard(B, 2, SIZE + 1)))

    def test_damaged(self) -> None:
        """
        C4: what comes is what was sent, byte for byte.
        """
        damaged = evolve(message(B, 2), intact=False)
        self.broken("C4", A, self.replace(message(B, 2), damaged))

    def test_miscounted(self) -> None:
        """
        C4: a client that counts its own messages wrongly proves nothing.
        """
        self.broken("C4", A, self.replace(Sending(2, 1, SIZE), Sending(3, 1, SIZE)))

    def test_missed(self) -> None:
        """
        C5: nothing of a sender is missing while it is there.
        """
        self.broken("C5", A, self.drop(message(B, 1)))

    def test_notReturned(self) -> None:
        """
        C6: what was accepted comes back.
        """
        self.broken("C6", B, self.drop(message(B, 2)))
        self.broken("C6", C, self.replace(Accepted(3), Accepted(4)))

    def test_beforeJoin(self) -> None:
        """
        C7: nothing comes before the own join.
        """
        self.broken("C7", C, lambda log: log.insert(0, message(A, 0)))

    def test_afterLeave(self) -> None:
        """
        C8: nothing comes after the own leave.
        """
        self.broken("C8", C, lambda log: log.append(message(B, 2)))

    def test_notAsked(self) -> None:
        """
        C8: nobody leaves who did not ask.
        """
        self.broken("C8", C, self.drop(Leaving()))

    def test_notEnded(self) -> None:
        """
        C8: who lives has not ended.
        """
        gone = view((A,), left=(B,), why=Reason.PROCDOWN)
        self.broken("C8", A, lambda log: log.append(gone))

    def test_stages(self) -> None:
        """
        C9: who is lost with his node and who is gained is one view.
        """
        lost = view((A, B), left=(C,), why=Reason.NODEDOWN)
        self.broken("C9", A, self.swap(lost, ring(NEW, 1, 2)))

    def test_messageInChange(self) -> None:
        """
        C9: no message comes between the views of a change of the ring.
        """
        self.broken("C9", A, self.swap(ring(NEW, 1, 2), message(B, 1)))

    def test_finalView(self) -> None:
        """
        C11: in quiet, the view is who is there.
        """
        told = self.broken(
            "C11", A, self.drop(view((A, B), left=(C,), why=Reason.LEAVE))
        )
        self.assertEqual(told.details["ghosts"], [C])

    def test_stranger(self) -> None:
        """
        C11: nobody is seen who never was.
        """
        ghost = Member(9, 9)
        self.broken(
            "C11", A, lambda log: log.append(view((A, B, ghost), joined=(ghost,)))
        )

    def test_takenOut(self) -> None:
        """
        C12: a node does not take its own client out.
        """
        out = view((B,), left=(A,), why=Reason.NODEDOWN)
        self.broken("C12", A, lambda log: log.append(out))

    def test_twoRings(self) -> None:
        """
        P1.2: a message belongs to one ring.
        """
        self.broken("P1.2", A, self.swap(message(A, 1), message(B, 1)))

    def test_notOnRing(self) -> None:
        """
        P2.0: a node is on its own ring.
        """
        self.broken("P2.0", A, self.replace(ring(NEW, 1, 2), ring(NEW, 2)))

    def test_oneName(self) -> None:
        """
        P2.1: one ring id has one list of members.
        """
        self.broken("P2.1", A, self.replace(ring(NEW, 1, 2), ring(NEW, 1)))

    def test_rising(self) -> None:
        """
        P2.6: ring sequences rise.
        """
        back = ring(RingId(3, 1), 1, 2)
        self.broken("P2.6", A, self.replace(ring(NEW, 1, 2), back))

    def test_oneOrder(self) -> None:
        """
        P6.1: also who did not go on together got messages in one order.
        """
        mixed = self.swap(message(A, 0), message(B, 0))

        def change(log: list[Entry]) -> None:
            mixed(log)
            del log[log.index(message(A, 1)) :]

        told = self.broken("P6.1", B, change)
        self.assertEqual(told.details["among"], ["1/11:0", "2/22:0"])


class ForeignTests(SynchronousTestCase):
    """
    What is known of real corosync nodes is held against them alone.
    """

    def logs(self) -> dict[Member, list[Entry]]:
        """
        The good run, with a large message first on the last ring.
        """
        logs = good()
        for entries in logs.values():
            if Sending(0, 3, SIZE) in entries:
                place = entries.index(Sending(0, 3, SIZE))
                entries[place : place + 1] = [
                    Sending(0, 2, SIZE),
                    Sending(2, 1, 5000),
                ]
            entries[entries.index(message(C, 2))] = Heard(C, 2, 5000)
        return logs

    def test_torn(self) -> None:
        """
        A foreign sender's message that a ring cut may be missing at those who
        came new; one of ours may not.
        """
        logs = self.logs()
        self.assertEqual(verdict(logs), [])
        logs[A].remove(Heard(C, 2, 5000))
        self.assertIn("C2", [told.promise for told in verdict(logs)])
        self.assertEqual(verdict(logs, foreign=frozenset({3})), [])

    def test_notTorn(self) -> None:
        """
        A later one, or one of another's, is missed as ever.
        """
        for lost in (message(A, 1), message(A, 2)):
            logs = self.logs()
            logs[A].remove(lost)
            found = verdict(logs, foreign=frozenset({3}))
            self.assertIn("C2", [told.promise for told in found])

    def test_discarded(self) -> None:
        """
        A foreign client that lacks the first messages of a foreign sender on a
        ring is blamed alone, and the rest is compared as ever.
        """
        everybody = view((A, B, C), joined=(C,))
        rest: list[Entry] = [message(C, 2), message(A, 0), message(A, 1)]
        whole: list[Entry] = [ring(OLD, 1, 2, 3), message(C, 0), message(C, 1), *rest]
        both = view((A, B), joined=(B,))
        for lost, blamed in (([], [{2}]), ([message(A, 0)], [{2}, {1, 2}])):
            left = [entry for entry in rest if entry not in lost]
            logs: dict[Member, list[Entry]] = {
                A: [view((A,), joined=(A,)), both, everybody, *whole],
                B: [both, everybody, whole[0], *left],
                C: [everybody, Sending(0, 3, SIZE), *whole],
            }
            logs[A].insert(0, Sending(0, 2, SIZE))
            found = verdict(logs, foreign=frozenset({2, 3}))
            lives = [
                {life.nodeid for life in told.lives}
                for told in found
                if told.promise == "C2"
            ]
            self.assertEqual([who for who in lives if who != {2, 3}], blamed)

    def test_views(self) -> None:
        """
        Where a foreign client sees other views than ours, it is blamed alone;
        where it gets other messages, so is ours.
        """
        logs = good()
        lost = view((A, B), left=(C,), why=Reason.NODEDOWN)
        gone = view((A, B), left=(C,), why=Reason.PROCDOWN)
        logs[B][logs[B].index(lost)] = gone
        found = [x for x in verdict(logs, foreign=frozenset({2})) if x.promise == "C2"]
        self.assertEqual([[life.nodeid for life in x.lives] for x in found], [[2]])
        logs = good()
        logs[B].remove(message(A, 1))
        found = [x for x in verdict(logs, foreign=frozenset({2})) if x.promise == "C2"]
        self.assertEqual([{life.nodeid for life in x.lives} for x in found], [{1, 2}])
