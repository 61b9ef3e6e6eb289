"""
Tests of replicated state: who has it, who gets it, and every way to be
interrupted meanwhile.
"""

from struct import pack
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import lineage, proposals, replication, snapshots
from corotwist.engines.lineage import (
    NOTHING,
    Mark,
    Offer,
    Place,
    Side,
    Standing,
    larger,
    latest,
    longest,
    lowest,
    resumption,
    sides,
)
from corotwist.engines.replication import Function
from corotwist.engines.snapshots import Piece
from corotwist.engines.transfer import ReplicatedEngine
from corotwist.errors import (
    BadHandle,
    Interrupted,
    InvalidParameter,
    NotQuorate,
    TooBig,
    TryAgain,
    WireError,
)
from corotwist.test.engines.orderednet import Maker, OrderedNet
from corotwist.totem.membership import NO_RING, RingId


class Ledger(ReplicatedEngine):
    """
    A list of commands: its state tells in what order they came.
    """

    name = "ledger"
    serviceId = 5000

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[bytes] = []
        self.rescued: list[bytes] = []
        self.restores = 0

    def snapshot(self) -> bytes:
        return b"\n".join(self.entries)

    def restore(self, state: bytes) -> None:
        self.entries = state.split(b"\n") if state else []
        self.restores += 1

    def apply(self, nodeid: int, command: bytes) -> int:
        if command == b"refuse":
            raise InvalidParameter("not this one")
        self.entries.append(command)
        return len(self.entries)

    def sideLost(self, state: bytes) -> list[bytes]:
        return self.rescued


class LedgerNet(OrderedNet):
    """
    Nodes with a ledger each.
    """

    def __init__(self) -> None:
        super().__init__([Maker("ledger", Ledger)])

    def ledger(self, nodeid: int) -> Ledger:
        engine = self.nodes[nodeid].engine("ledger")
        assert isinstance(engine, Ledger)
        return engine

    def entries(self) -> list[list[bytes]]:
        return [self.ledger(n).entries for n in sorted(self.nodes)]

    def together(self, *nodeids: int) -> None:
        """
        Form a ring, and go on until nothing is left to do.
        """
        self.form(*nodeids)
        self.run()


def ledgers(*nodeids: int) -> LedgerNet:
    net = LedgerNet()
    net.boot(*nodeids)
    net.together(*nodeids)
    return net


class CommandTests(SynchronousTestCase):
    """
    Commands, in a ring that stays.
    """

    def test_everywhere(self) -> None:
        """
        A command is applied on every node, and its proposer gets the result.
        """
        net = ledgers(1, 2, 3)
        results = [net.ledger(n).propose(b"from %d" % n) for n in (1, 2, 3)]
        net.run()
        self.assertEqual([self.successResultOf(r) for r in results], [1, 2, 3])
        self.assertEqual(net.entries(), [[b"from 1", b"from 2", b"from 3"]] * 3)

    def test_refused(self) -> None:
        """
        A command that cannot be applied fails for its proposer, and changes
        nothing anywhere.
        """
        net = ledgers(1, 2)
        refused = net.ledger(1).propose(b"refuse")
        net.run()
        self.failureResultOf(refused, InvalidParameter)
        self.assertEqual(net.entries(), [[], []])
        self.assertEqual(
            net.nodes[1].manager.dump()["engines"]["ledger"]["failures"], 0
        )

    def test_quorum(self) -> None:
        """
        An engine that needs quorum takes no commands without. (A72)
        """
        net = ledgers(1)
        self.patch(net.nodes[1].manager.facilities, "quorate", lambda: False)
        self.patch(Ledger, "allowInquorate", False)
        self.failureResultOf(net.ledger(1).propose(b"one"), NotQuorate)
        self.patch(Ledger, "allowInquorate", True)
        net.ledger(1).propose(b"two")
        net.run()
        self.assertEqual(net.entries(), [[b"two"]])

    def test_waitsForRoom(self) -> None:
        """
        What the send queue has no room for waits, in its order.
        """
        net = ledgers(1)
        net.nodes[1].totem.ordinary = 60
        for number in range(5):
            net.ledger(1).propose(b"%d" % number)
        self.assertLess(len(net.nodes[1].totem.queue), 5)
        net.run()
        self.assertEqual(net.entries(), [[b"0", b"1", b"2", b"3", b"4"]])

    def test_waitsForServices(self) -> None:
        """
        While the services synchronize a command waits.
        """
        net = ledgers(1)
        net.form(1)
        applied = net.ledger(1).propose(b"one")
        self.assertFalse(net.nodes[1].totem.queue)
        net.run()
        self.assertEqual(self.successResultOf(applied), 1)

    def test_bounds(self) -> None:
        """
        Commands that are too large, or too many, are refused at once; those
        that were taken are applied.
        """
        self.patch(proposals, "MOST_PROPOSALS", 2)
        net = ledgers(1)
        ledger = net.ledger(1)
        large = bytes(proposals.LARGEST_COMMAND_BYTES + 1)
        self.failureResultOf(ledger.propose(large), TooBig)
        taken = [ledger.propose(b"one"), ledger.propose(b"two")]
        self.failureResultOf(ledger.propose(b"three"), TryAgain)
        net.run()
        self.assertEqual([self.successResultOf(t) for t in taken], [1, 2])
        ledger.propose(large[:-1])
        net.run()
        self.assertEqual(len(ledger.entries), 3)

    def test_cancelled(self) -> None:
        """
        A command that waits is not sent when its proposer lost interest.
        """
        net = ledgers(1)
        net.form(1)
        applied = net.ledger(1).propose(b"one")
        applied.addErrback(lambda _: None)
        applied.cancel()
        net.run()
        self.assertEqual(net.entries(), [[]])

    def test_stopped(self) -> None:
        """
        When the engine stops, nobody waits for a result any more.
        """
        net = ledgers(1)
        applied = net.ledger(1).propose(b"one")
        self.successResultOf(net.nodes[1].manager.stop())
        self.failureResultOf(applied, BadHandle)

    def test_ownTrouble(self) -> None:
        """
        What an engine raises that is no answer is its own trouble: logged, and
        the proposer hears of it.
        """
        net = ledgers(1)
        self.patch(Ledger, "apply", lambda *_: 1 / 0)
        applied = net.ledger(1).propose(b"one")
        net.run()
        self.failureResultOf(applied, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_malformed(self) -> None:
        """
        Messages that a node should not have sent are refused.
        """
        net = ledgers(1)
        ledger = net.ledger(1)
        base = NOTHING.encode()
        for function, body in [
            (99, b""),
            (Function.COMMAND, b"short"),
            (Function.OFFER, b"short"),
            (Function.OFFER, bytes(1000)),
            (Function.BEGIN, b""),
            (Function.TROUBLE, b"\0"),
            (Function.PIECE, b"short"),
            (Function.PIECE, base + pack("<QQI", 5, 3, 0) + b"abc"),
            (Function.PIECE, base + pack("<QQI", 1 << 40, 0, 0)),
        ]:
            with self.assertRaises(WireError):
                ledger.messageDelivered(1, function, body, "<")

    def test_absurdCount(self) -> None:
        """
        A node that claims more commands than there can be does not win, and
        nobody counts on from there.
        """
        net = ledgers(1, 2)
        absurd = mark(lineage.MOST_COMMANDS + 1)
        liar = net.nodes[2].engine("ledger")
        liar._replication._own = liar._replication._position = absurd
        net.form(1, 2)
        net.run()
        applied = net.ledger(1).propose(b"one")
        net.run()
        self.assertEqual(self.successResultOf(applied), 1)
        net.together(1)
        self.assertEqual(net.nodes[1].manager.roster.places[5000].failures, 0)

    def test_mostCommands(self) -> None:
        """
        The highest count that is believed can be counted on from.
        """
        highest = mark(lineage.MOST_COMMANDS)
        self.assertEqual(Mark.decode(highest.encode()), highest)
        highest.next(highest.place).encode()


class TransferTests(SynchronousTestCase):
    """
    Nodes that come and lack the state.
    """

    def setUp(self) -> None:
        self.patch(snapshots, "PIECE_BYTES", 16)

    def _filled(self, *nodeids: int, commands: int = 20) -> LedgerNet:
        net = ledgers(*nodeids)
        for number in range(commands):
            net.ledger(nodeids[0]).propose(b"entry %d" % number)
        net.run()
        return net

    def test_newcomer(self) -> None:
        """
        Who joins gets the whole state, in pieces through the order; those who
        have it restore nothing. (A83)
        """
        net = self._filled(1, 2)
        net.boot(3)
        ring = net.form(1, 2, 3)
        net.run()
        first, *others = net.entries()
        self.assertEqual(len(first), 20)
        self.assertEqual(others, [first, first])
        self.assertEqual([net.ledger(n).restores for n in (1, 2, 3)], [0, 0, 1])
        pieces = [m for _, m in ring.order if b"try" in m]
        self.assertGreater(len(pieces), 10)

    def test_othersGoOn(self) -> None:
        """
        While a newcomer gets the state the others apply commands, and it
        applies them afterwards; results are the same. (A83)
        """
        net = self._filled(1, 2)
        net.boot(3)
        net.form(1, 2, 3)
        results: list[Deferred[Any]] = []
        while not net.ledger(3).restores:
            results.append(net.ledger(2).propose(b"meanwhile"))
            net.rotate(1)
        net.run()
        first, *others = net.entries()
        self.assertEqual(others, [first, first])
        self.assertEqual(first.count(b"meanwhile"), len(results))
        self.assertIn(21, [self.successResultOf(r) for r in results])

    def test_bounded(self) -> None:
        """
        Of a large state only a few pieces are in the send queue at a time.
        (A83)
        """
        net = self._filled(1)
        net.boot(2)
        net.form(1, 2)
        most = 0
        while not net.ledger(2).restores:
            net.rotate(1)
            most = max(most, len(net.nodes[1].totem.queue))
        self.assertTrue(0 < most <= snapshots.PIECES_AHEAD)

    def test_progress(self) -> None:
        """
        How far a transfer is can be seen on every node. (A84)
        """
        net = self._filled(1)
        net.boot(2)
        net.form(1, 2)
        seen = []
        while not net.ledger(2).restores:
            net.clock.advance(0.5)
            net.rotate(1)
            seen.append(net.ledger(2).dump()["transfer"])
        steps = [s["bytesDone"] for s in seen if s["bytesTotal"]]
        self.assertEqual(steps, sorted(steps))
        self.assertGreater(len({*steps}), 3)
        self.assertEqual(seen[3]["lacking"], [2])
        self.assertGreater(seen[-2]["seconds"], seen[3]["seconds"])
        self.assertEqual(seen[-2]["sender"], 1)
        self.assertTrue(seen[-1]["current"])
        self.assertEqual(seen[-1]["lacking"], [])

    def test_anotherHolderGoesOn(self) -> None:
        """
        When the sender dies in the middle the next holder sends the rest, and
        only the rest. (A83)
        """
        net = self._filled(1, 2)
        net.boot(3)
        net.form(1, 2, 3)
        while net.ledger(3).progress()["bytesDone"] < 100:
            net.rotate(1)
        have = net.ledger(3).progress()["bytesDone"]
        net.kill(1)
        ring = net.form(2, 3)
        net.run()
        self.assertEqual(net.entries(), [net.ledger(2).entries] * 2)
        self.assertEqual(len(net.ledger(3).entries), 20)
        sent = [m for sender, m in ring.order if sender == 2 and b"try" in m]
        total = len(net.ledger(2).snapshot())
        self.assertLess(len(sent), (total - have) / 16 + 2)

    def test_piecesMissed(self) -> None:
        """
        A newcomer that missed pieces while the ring changed twice in a row gets
        them again from the one that had sent them. (A83)
        """
        net = self._filled(1)
        net.boot(2)
        net.form(1, 2)
        while net.ledger(2).progress()["bytesDone"] < 50:
            net.rotate(1)
        net.visit(1)
        net.receive(1, 99)
        net.form(1, 2, together=[(1,), (2,)])
        net.run()
        self.assertEqual(net.ledger(2).entries, net.ledger(1).entries)
        self.assertTrue(net.ledger(2).current)

    def test_otherPieces(self) -> None:
        """
        A piece that begins in what is here already brings only the rest.
        (A83)
        """
        incoming = snapshots.Incoming(NOTHING)
        incoming.add(Piece(NOTHING, 9, 0, 0, b"abcd"))
        incoming.add(Piece(NOTHING, 9, 2, 0, b"cdef"))
        incoming.add(Piece(NOTHING, 9, 7, 0, b"hi"))
        self.assertEqual(bytes(incoming.data), b"abcdef")

    def test_lastHolderDies(self) -> None:
        """
        When nobody is left who has the state, those who were to get it go on
        with what they had. (A83)
        """
        net = self._filled(1)
        net.boot(2)
        net.together(2)
        net.ledger(2).propose(b"own")
        net.run()
        net.boot(3)
        net.form(1, 2, 3)
        while net.ledger(2).progress()["bytesDone"] < 50:
            net.rotate(1)
        self.assertFalse(net.ledger(2).current)
        net.kill(1)
        net.together(2, 3)
        self.assertEqual(net.entries(), [[b"own"], [b"own"]])
        self.assertTrue(net.ledger(2).current)

    def test_empty(self) -> None:
        """
        A state of no bytes is transferred as well.
        """
        net = ledgers(1)
        net.ledger(1).propose(b"")
        net.run()
        net.ledger(1).entries.clear()
        net.boot(2)
        net.together(1, 2)
        self.assertEqual(net.ledger(2).restores, 1)
        self.assertTrue(net.ledger(2).current)

    def test_proposalsWait(self) -> None:
        """
        A node that lacks the state proposes as soon as it has it.
        """
        net = self._filled(1)
        net.boot(2)
        net.form(1, 2)
        for _ in range(8):
            net.rotate(1)
        self.assertFalse(net.ledger(2).current)
        applied = net.ledger(2).propose(b"late")
        net.run()
        self.assertEqual(self.successResultOf(applied), 21)

    def test_tooMuchMeanwhile(self) -> None:
        """
        When more commands come during a transfer than may be kept, it begins
        again. (A83)
        """
        self.patch(snapshots, "LARGEST_DELTA_BYTES", 1000)
        net = self._filled(1)
        net.boot(2)
        net.form(1, 2)
        while net.ledger(2)._replication._attempts == 0:
            net.ledger(1).propose(b"meanwhile")
            net.rotate(1)
        net.run()
        self.assertEqual(net.entries(), [net.ledger(1).entries] * 2)

    def test_damaged(self) -> None:
        """
        A snapshot that is not what was sent, or that cannot be restored, is
        asked for again; not for ever. (A83)
        """
        net = self._filled(1)
        restore = Ledger.restore
        outcomes = [1, 0]

        def failing(ledger: Ledger, state: bytes) -> None:
            if outcomes.pop():
                restore(ledger, state)
            else:
                raise ValueError("no")

        self.patch(Ledger, "restore", failing)
        net.boot(2)
        net.together(1, 2)
        self.assertEqual(net.entries(), [net.ledger(1).entries] * 2)
        outcomes += [0] * 10
        net.boot(3)
        net.together(1, 2, 3)
        self.assertEqual(len(outcomes), 10 - replication.MOST_ATTEMPTS)
        self.assertFalse(net.ledger(3).current)
        self.flushLoggedErrors(ValueError)

    def test_silentSender(self) -> None:
        """
        When the node whose turn it is does not send, another one does.
        (A83)
        """
        net = self._filled(1, 2)
        self.patch(net.ledger(1)._replication, "_serve", lambda: None)
        self.patch(net.ledger(1)._replication, "_push", lambda: None)
        net.boot(3)
        net.together(1, 2, 3)
        self.assertFalse(net.ledger(3).current)
        net.clock.advance(replication.PATIENCE_NS / 1e9)
        net.run()
        self.assertEqual(net.ledger(3).entries, net.ledger(2).entries)

    def test_twoNewcomers(self) -> None:
        """
        Who comes while another one gets the state gets it after that.
        """
        net = self._filled(1)
        net.boot(2)
        net.form(1, 2)
        while net.ledger(2).progress()["bytesDone"] < 50:
            net.rotate(1)
        net.boot(3)
        net.together(1, 2, 3)
        first, *others = net.entries()
        self.assertEqual(others, [first, first])
        self.assertEqual(len(first), 20)


class ReplacementTests(SynchronousTestCase):
    """
    Another version of the engine, at any moment.
    """

    def test_replacedAtAnyMoment(self) -> None:
        """
        Sender and newcomer are replaced in the middle of a transfer: it goes
        on, and nothing that was proposed is lost. (A7, A83)
        """
        self.patch(snapshots, "PIECE_BYTES", 16)
        for replaced in (1, 2):
            for visits in range(0, 24, 3):
                self._replaced(replaced, visits)

    def _replaced(self, replaced: int, visits: int) -> None:
        net = ledgers(1)
        for number in range(8):
            net.ledger(1).propose(b"entry %d" % number)
        net.run()
        net.boot(2)
        net.form(1, 2)
        while net.nodes[replaced].manager.synchronizing():
            net.rotate()
        for visit in range(visits):
            net.visit(1 + visit % 2, 1)
            net.receive(1)
            net.receive(2)
        applied = [net.ledger(n).propose(b"of %d" % n) for n in (1, 2)]
        manager = net.nodes[replaced].manager
        newer = Maker("ledger", Ledger2, 2)
        (source,) = manager.roster.components.sources
        source.made = [*source.made, newer]  # type: ignore[attr-defined]
        change = manager.changes.replace("ledger")
        net.clock.pump([0] * 5)
        self.successResultOf(change)
        self.assertIsInstance(net.ledger(replaced), Ledger2)
        net.run()
        case = f"node {replaced} after {visits} visits"
        self.assertEqual(net.entries(), [net.ledger(1).entries] * 2, case)
        self.assertEqual(len(net.ledger(1).entries), 10, case)
        self.assertEqual(sorted(map(self.successResultOf, applied)), [9, 10], case)


class Ledger2(Ledger):
    """
    The next version.
    """

    version = 2


class MergeTests(SynchronousTestCase):
    """
    Sides of a partition that meet.
    """

    def _parted(self, *larger: bytes) -> LedgerNet:
        net = ledgers(1, 2, 3)
        net.ledger(1).propose(b"before")
        net.run()
        net.form(1)
        net.form(2, 3)
        net.run()
        net.ledger(1).propose(b"one")
        for command in larger:
            net.ledger(2).propose(command)
        net.run()
        return net

    def test_largerSide(self) -> None:
        """
        The state of most nodes counts; the others get it. (A83)
        """
        net = self._parted(b"two", b"three")
        net.together(1, 2, 3)
        self.assertEqual(net.entries(), [[b"before", b"two", b"three"]] * 3)
        self.assertEqual(net.ledger(2).restores, 0)

    def test_onlyOneSideActed(self) -> None:
        """
        The larger side counts by its number, also when it applied nothing.
        """
        net = self._parted()
        net.together(1, 2, 3)
        self.assertEqual(net.entries(), [[b"before"]] * 3)

    def test_nothingHappened(self) -> None:
        """
        When nobody applied anything while apart, there is nothing to transfer.
        """
        net = ledgers(1, 2, 3)
        net.ledger(1).propose(b"before")
        net.run()
        net.form(1)
        net.form(2, 3)
        net.run()
        net.together(1, 2, 3)
        self.assertEqual([net.ledger(n).restores for n in (1, 2, 3)], [0, 0, 0])

    def test_partedInTheMiddle(self) -> None:
        """
        Sides that part and meet in one step may have applied different
        commands of their last ring, as many on each: that is noticed. (A83)
        """
        net = ledgers(1, 2, 3)
        for nodeid in (1, 3):
            net.ledger(nodeid).propose(b"of %d" % nodeid)
            net.visit(nodeid)
        net.form(1, 2, 3, together=[(1, 2), (3,)])
        self.assertEqual(net.ledger(1).entries, [b"of 1"])
        self.assertEqual(net.ledger(3).entries, [b"of 3"])
        net.run()
        self.assertEqual(net.entries(), [[b"of 1"]] * 3)

    def test_ownPolicy(self) -> None:
        """
        An engine chooses by a rule of its own. (A83)
        """
        self.patch(Ledger, "choose", lambda self, sides: lowest(sides))
        net = self._parted(b"two", b"three")
        net.together(1, 2, 3)
        self.assertEqual(net.entries(), [[b"before", b"one"]] * 3)

    def test_broughtOver(self) -> None:
        """
        The side that lost may bring something over, as commands. (A83)
        """
        net = self._parted(b"two")
        net.ledger(1).rescued = [b"rescued"]
        net.together(1, 2, 3)
        self.assertEqual(net.entries(), [[b"before", b"two", b"rescued"]] * 3)

    def test_outcomeUnknown(self) -> None:
        """
        A command that was applied by the others while this node lacks the
        state has no outcome here, and its proposer is told so.
        """
        net = self._parted(b"two")
        stuck = net.ledger(1).propose(b"stuck")
        net.together(1, 2, 3)
        self.failureResultOf(stuck, Interrupted)
        self.assertEqual(net.entries(), [[b"before", b"two", b"stuck"]] * 3)


class QuorumTests(SynchronousTestCase):
    """
    An engine that needs quorum: two of three nodes have it.
    """

    def setUp(self) -> None:
        self.patch(Ledger, "allowInquorate", False)
        self.net = ledgers(1, 2, 3)
        self.quorum(1, 2, 3)

    def quorum(self, *nodeids: int, quorate: bool = True) -> None:
        for nodeid in nodeids:
            facilities = self.net.nodes[nodeid].manager.facilities
            self.patch(facilities, "quorate", lambda: quorate)

    def test_refusedOnDelivery(self) -> None:
        """
        What was in the queue when quorum was lost is not applied, and does not
        make a state count. (A72, A83)
        """
        late = self.net.ledger(1).propose(b"late")
        self.quorum(1, quorate=False)
        self.net.form(1)
        self.net.form(2, 3)
        self.net.run()
        self.failureResultOf(late, NotQuorate)
        self.assertEqual(self.net.ledger(1).progress()["commands"], 0)
        self.assertEqual(self.net.ledger(1).entries, [])

    def test_nobodyCounts(self) -> None:
        """
        A node on which nobody counts votes any more does not know what the
        others apply: its state is not that of the cluster until it gets it, and
        it says so. (A72, A83)
        """
        unknown = self.net.ledger(1).propose(b"here")
        self.quorum(1, quorate=False)
        facilities = self.net.nodes[1].manager.facilities
        self.patch(facilities, "quorumKnown", lambda: False)
        there = self.net.ledger(2).propose(b"there")
        self.net.run()
        self.failureResultOf(unknown, Interrupted)
        self.successResultOf(there)
        self.assertFalse(self.net.ledger(1).current)
        self.patch(facilities, "quorumKnown", lambda: True)
        self.quorum(1)
        self.net.together(1, 2, 3)
        self.assertTrue(self.net.ledger(1).current)
        self.assertEqual(self.net.entries(), [self.net.entries()[1]] * 3)

    def test_waitsForVerdict(self) -> None:
        """
        While the services synchronize nobody knows whether there will be
        quorum: the command waits, and is judged afterwards. (A72)
        """
        self.quorum(1, quorate=False)
        self.net.form(1, 2, 3)
        good, bad = (self.net.ledger(1).propose(c) for c in (b"good", b"bad"))
        self.quorum(1)
        self.net.run()
        self.assertEqual([*map(self.successResultOf, (good, bad))], [1, 2])

    def test_ringEnds(self) -> None:
        """
        Who proposed what was applied when the ring ended is told that it may be
        undone: the side with quorum goes on without it. (A83)
        """
        doubtful = [self.net.ledger(1).propose(b"%d" % n) for n in range(3)]
        refused = self.net.ledger(1).propose(b"refuse")
        self.net.visit(1)
        self.net.form(1)
        self.net.form(2, 3)
        for applied in doubtful:
            self.failureResultOf(applied, Interrupted)
        self.failureResultOf(refused, InvalidParameter)
        self.assertEqual(self.net.ledger(1).entries, [b"0", b"1", b"2"])
        self.quorum(1, quorate=False)
        self.net.run()
        good = self.net.ledger(3).propose(b"good")
        self.net.run()
        self.successResultOf(good)
        self.quorum(1)
        self.net.together(1, 2, 3)
        self.assertEqual(self.net.entries(), [[b"good"]] * 3)

    def test_fewHolders(self) -> None:
        """
        What was written with quorum counts, however few have it by now. (A83)
        """
        self.net.ledger(1).propose(b"old")
        self.net.run()
        self.quorum(2, 3, quorate=False)
        self.net.form(1)
        self.net.form(2, 3)
        self.net.run()
        self.net.ledger(1).propose(b"new")
        self.net.run()
        self.net.together(1, 2, 3)
        self.assertEqual(self.net.entries(), [[b"old", b"new"]] * 3)


class InterruptedTests(SynchronousTestCase):
    """
    Changes of the ring anywhere.
    """

    CHANGES: ClassVar = [
        ("the sender dies", (2, 3)),
        ("the other holder dies", (1, 3)),
        ("the newcomer is alone", (3,)),
    ]

    def setUp(self) -> None:
        self.patch(snapshots, "PIECE_BYTES", 32)

    def test_changeAtEveryMessage(self) -> None:
        """
        Wherever in the transfer the ring changes, and whoever stays: everybody
        has the same state afterwards, with every command that was acknowledged,
        once. (A80, A83)
        """
        for what, rest in self.CHANGES:
            for visits in range(60):
                self._interrupted(what, rest, visits)

    def _interrupted(self, what: str, rest: tuple[int, ...], visits: int) -> None:
        net = ledgers(1, 2)
        for number in range(8):
            net.ledger(1).propose(b"entry %d" % number)
        net.run()
        net.boot(3)
        net.form(1, 2, 3)
        acknowledged: list[bytes] = []
        for visit in range(visits):
            self._propose(net, 1 + visit % 2, b"visit %d" % visit, acknowledged)
            net.visit(1 + visit % 3, 1)
            for nodeid in (1, 2, 3):
                net.receive(nodeid, 1)
        gone = [n for n in (1, 2) if n not in rest]
        if len(gone) == 1:
            net.kill(*gone)
        else:
            net.form(*gone)
        net.form(*rest)
        net.run()
        if len(gone) == 2:
            net.together(1, 2, 3)
        first, *others = net.entries()
        case = f"{what} after {visits} visits"
        self.assertEqual(others, [first] * len(others), case)
        self.assertEqual(len({*first}), len(first), case)
        self.assertLessEqual({*acknowledged}, {*first}, case)
        for nodeid in net.nodes:
            self.assertTrue(net.ledger(nodeid).current, case)

    def _propose(
        self, net: LedgerNet, nodeid: int, command: bytes, acknowledged: list[bytes]
    ) -> None:
        applied = net.ledger(nodeid).propose(command)
        applied.addCallback(lambda _: acknowledged.append(command))
        applied.addErrback(lambda _: None)

    def test_halfDecided(self) -> None:
        """
        A command of one who saw a round end changes nothing on those who did
        not: they have different states still. (A80, A83)
        """
        net = LedgerNet()
        net.boot(1, 2, 3)
        for nodeid in (1, 2, 3):
            net.together(nodeid)
            net.ledger(nodeid).propose(b"of %d" % nodeid)
        net.run()
        net.form(1, 2, 3)
        while net.nodes[1].manager.synchronizing():
            for nodeid in (1, 2, 3):
                net.visit(nodeid, 1)
            net.receive(1, 99)
            if net.nodes[1].manager.synchronizing():
                net.receive(2, 99)
                net.receive(3, 99)
        late = net.ledger(1).propose(b"late")
        net.visit(1)
        net.end(2, 3)
        net.form(2, 3)
        net.run()
        self.successResultOf(late)
        self.assertEqual(net.ledger(1).entries, [b"of 1", b"late"])
        self.assertEqual(net.entries()[1:], [[b"of 2"]] * 2)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("visit"), st.integers(1, 4), st.integers(1, 3)),
                st.tuples(st.just("receive"), st.integers(1, 4), st.integers(1, 9)),
                st.tuples(st.just("propose"), st.integers(1, 4), st.integers(1, 3)),
                st.tuples(st.just("restart"), st.integers(1, 4), st.just(0)),
                st.tuples(st.just("form"), st.integers(1, 15), st.integers(0, 15)),
            ),
            max_size=60,
        )
    )
    def test_anything(self, story: list[tuple[str, int, int]]) -> None:
        """
        Whatever happened, nodes that are together at last agree, all are
        current, and no command was applied twice. (A83)
        """
        net = LedgerNet()
        net.boot(1, 2, 3, 4)
        net.together(1, 2, 3, 4)
        for number, (deed, which, much) in enumerate(story):
            self._happens(net, deed, which, much, number)
        net.together(1, 2, 3, 4)
        first, *others = net.entries()
        self.assertEqual(others, [first] * 3)
        self.assertEqual(len({*first}), len(first))
        self.assertEqual([net.ledger(n).current for n in (1, 2, 3, 4)], [True] * 4)

    def _happens(
        self, net: LedgerNet, deed: str, which: int, much: int, number: int
    ) -> None:
        if deed == "visit" and net.nodes[which].totem.ring is not None:
            net.visit(which, much)
        elif deed == "receive" and net.nodes[which].totem.ring is not None:
            net.receive(which, much)
        elif deed == "propose":
            self._propose(net, which, b"number %d of %d" % (number, which), [])
        elif deed == "restart":
            net.kill(which)
            net.boot(which)
        elif deed == "form":
            one = [n for n in (1, 2, 3, 4) if which >> n - 1 & 1]
            other = [n for n in (1, 2, 3, 4) if n not in one and much >> n - 1 & 1]
            for members in (one, other):
                if members:
                    net.form(*members)


def mark(count: int, sequence: int = 4) -> Mark:
    return Mark(Place(RingId(sequence, 1)), count)


def offer(own: Mark, standing: Standing = Standing.CURRENT, **others: Any) -> Offer:
    return Offer(NO_RING, standing, own, others.pop("position", own), **others)


class LineageTests(SynchronousTestCase):
    """
    Whose state counts.
    """

    def test_offers(self) -> None:
        """
        An offer is what was encoded.
        """
        one = Offer(RingId(1 << 40, 3), Standing.LACKING, mark(1), mark(2), mark(3), 77)
        self.assertEqual(Offer.decode(one.encode()), one)

    def test_pieces(self) -> None:
        """
        A piece is what was encoded.
        """
        piece = Piece(mark(3), 10, 4, 12345, b"abc")
        self.assertEqual(Piece.decode(piece.encode()), piece)

    def test_newcomersDoNotCount(self) -> None:
        """
        However many nodes have nothing, one that has something counts.
        """
        offers = {1: offer(NOTHING), 2: offer(NOTHING), 3: offer(mark(1))}
        self.assertEqual(sides(offers), [Side(mark(1), (3,))])

    def test_nobodyHasAnything(self) -> None:
        """
        Where nothing was ever applied all have the same.
        """
        offers = {2: offer(NOTHING), 1: offer(NOTHING)}
        self.assertEqual(sides(offers), [Side(NOTHING, (1, 2))])

    def test_givenUp(self) -> None:
        """
        A state that was given up counts only when no other is left.
        """
        lost = offer(mark(5), Standing.LACKING)
        self.assertEqual(sides({1: lost, 2: offer(NOTHING)}), [Side(mark(5), (1,))])
        self.assertEqual(sides({1: lost, 2: offer(mark(2))}), [Side(mark(2), (2,))])

    def test_policies(self) -> None:
        """
        By number of nodes, by commands, by the lowest nodeid. (A83)
        """
        one = Side(mark(3), (1,))
        two = Side(mark(9, 8), (2,))
        three = Side(mark(1, 12), (3, 4))
        self.assertIs(larger([one, two, three]), three)
        self.assertIs(larger([one, two]), two)
        self.assertIs(larger([two, Side(mark(9, 16), (1,)), one]).holders[0], 1)
        self.assertIs(longest([one, two, three]), two)
        self.assertIs(latest([one, two, three]), three)
        self.assertIs(latest([one, Side(mark(4), (3,))]).mark.count, 4)
        self.assertIs(lowest([two, one, three]), one)

    def test_resumption(self) -> None:
        """
        A transfer goes on for those who have collected everything since, from
        those who keep that snapshot, at what all of them have.
        """
        keeps = offer(mark(9), base=mark(5), offset=100)
        lacks = Standing.LACKING
        receiver = offer(NOTHING, lacks, position=mark(9), base=mark(5), offset=64)
        behind = offer(NOTHING, lacks, position=mark(9), base=mark(5), offset=32)
        missed = offer(NOTHING, lacks, position=mark(8), base=mark(5), offset=32)
        other = offer(NOTHING, lacks, position=mark(9), base=mark(4), offset=32)
        has = offer(mark(9))
        offers = {1: has, 2: keeps, 3: receiver, 4: behind, 5: missed, 6: other}
        found = resumption(offers, Side(mark(9), (1, 2)))
        assert found is not None
        self.assertEqual((found.base, found.holders), (mark(5), (2,)))
        self.assertEqual((found.receivers, found.offset), ((3, 4), 32))
        del offers[3], offers[4]
        self.assertIsNone(resumption(offers, Side(mark(9), (1, 2))))
