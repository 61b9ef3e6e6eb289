"""
Options of votequorum, one by one, and what clients and devices ask of it.
"""

from functools import partial
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from corotwist.config.settings import DeviceSettings, QuorumSettings
from corotwist.config.values import Value, u8, u32
from corotwist.engines.manager import ServiceManager
from corotwist.engines.quoruminterfaces import (
    IVoteQuorum,
    IVoteSubscriber,
    NodeState,
    NodeVotes,
    VoteFlag,
)
from corotwist.errors import (
    AccessDenied,
    Exists,
    InvalidParameter,
    NameNotFound,
    NameTooLong,
    NotExist,
    OldRing,
    StorageRefused,
    TryAgain,
)
from corotwist.interfaces import INotes
from corotwist.test.engines import orderednet
from corotwist.test.engines.orderednet import OrderedNet
from corotwist.totem.membership import RingId

PROVIDER = "corosync_votequorum"
WINDOW = 10.0


@implementer(INotes)
@define
class Notes:
    """
    A disk.
    """

    kept: dict[str, bytes] = field(factory=dict)
    broken: bool = False

    def loadNote(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def storeNote(self, name: str, data: bytes) -> Deferred[None]:
        if self.broken:
            return fail(StorageRefused("full"))
        self.kept[name] = data
        return succeed(None)


@implementer(IVoteSubscriber)
@define
class Subscriber:
    """
    Writes down what it is told.
    """

    told: list[Any] = field(factory=list)

    def nodesChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        self.told.append(("nodes", ringId, members))

    def quorumChanged(self, quorate: bool, nodes: tuple[NodeVotes, ...]) -> None:
        self.told.append(("quorum", quorate, [node.nodeid for node in nodes]))

    def expectedChanged(self, expected: int) -> None:
        self.told.append(("expected", expected))


class VotingCase(SynchronousTestCase):
    """
    Nodes of one vote each, with disks.
    """

    def boot(self, size: int, **options: Any) -> None:
        self.net = OrderedNet()
        self.disks = {n: Notes() for n in range(1, size + 1)}
        self.options = {"expectedVotes": size, **options}
        self.size = size
        for nodeid in range(1, size + 1):
            self.start(nodeid)

    def start(self, nodeid: int, **options: Any) -> None:
        voters = tuple((n, 1) for n in range(1, self.size + 1))
        quorum = QuorumSettings(
            PROVIDER, **{"voters": voters, **self.options, **options}
        )
        make = partial(ServiceManager, notes=self.disks[nodeid])
        self.patch(orderednet, "ServiceManager", make)
        self.net.boot(nodeid, quorum=quorum)

    def restart(self, *nodeids: int) -> None:
        for nodeid in nodeids:
            self.net.kill(nodeid)
            self.start(nodeid)

    def form(self, *members: int) -> None:
        self.net.form(*members)
        self.net.run()

    def wait(self, seconds: float = WINDOW) -> None:
        self.net.clock.advance(seconds)
        self.net.run()

    def engine(self, nodeid: int) -> Any:
        return self.net.nodes[nodeid].engine("votequorum")

    def quorate(self, *nodeids: int) -> list[bool]:
        return [self.engine(n).quorate() for n in nodeids]

    def numbers(self, nodeid: int) -> tuple[int, int, int, bool]:
        found = self.engine(nodeid).explanation()
        return tuple(found[k] for k in ("votes", "expected", "quorum", "quorate"))  # type: ignore[return-value]


class TieTests(VotingCase):
    """
    auto_tie_breaker.
    """

    def test_deciders(self) -> None:
        """
        Of two halves the one with the chosen node may act: the lowest, the
        highest, or the first of a list that is there; and after a quorate ring
        without it, the next one.  (C8)
        """
        for options, first, second in (
            ({"tieBreaker": "lowest"}, (1, 4), (2, 4)),
            ({"tieBreaker": "highest"}, (1, 4), (1, 3)),
            ({"tieBreaker": "list", "tieBreakerNodes": (3, 1)}, (3, 4), (1, 2)),
        ):
            self.boot(4, **options)
            self.form(1, 2, 3, 4)
            rest = [n for n in (1, 2, 3, 4) if n not in first]
            self.net.form(*first)
            self.form(*rest)
            self.assertEqual(self.quorate(*first, *rest), [True] * 2 + [False] * 2)
            self.form(1, 2, 3, 4)
            decider = next(n for n in first if n not in second)
            three = [n for n in (1, 2, 3, 4) if n != decider]
            self.net.form(decider)
            self.form(*three)
            self.net.form(*second)
            self.form(*(n for n in three if n not in second))
            self.assertEqual(self.quorate(*second), [True] * 2, options)

    def reload(self, *nodeids: int, **options: Any) -> None:
        """
        The configuration says something else, and these nodes read it.
        """
        self.options |= options
        for nodeid in nodeids:
            manager = self.net.nodes[nodeid].manager
            quorum = evolve(manager.settings.quorum, **options)
            manager.reconfigured(evolve(manager.settings, quorum=quorum))
        self.net.run()

    def test_nodesAdded(self) -> None:
        """
        Two nodes become four by a reload; then they part in halves, one of
        which has only nodes of the beginning, or one of each: exactly one half
        may act.  [pitfall J2]  (C8)
        """
        for half, acts in (((1, 2), True), ((1, 3), True), ((2, 3), False)):
            self.boot(2, tieBreaker="lowest")
            self.form(1, 2)
            for n in (3, 4):
                self.disks[n] = Notes()
            voters = tuple((n, 1) for n in (1, 2, 3, 4))
            self.reload(1, 2, voters=voters, expectedVotes=4)
            self.start(3)
            self.start(4)
            self.form(1, 2, 3, 4)
            rest = [n for n in (1, 2, 3, 4) if n not in half]
            self.net.form(*half)
            self.form(*rest)
            self.assertEqual(self.quorate(*half), [acts] * 2)
            self.assertEqual(self.quorate(*rest), [not acts] * 2)

    def test_becomeTwo(self) -> None:
        """
        Three nodes become two by a reload, with two_node: each goes on alone,
        and neither acts after a restart before they have met.  [pitfall J4]
        (C5)
        """
        self.boot(3)
        self.form(1, 2, 3)
        self.net.kill(3)
        self.form(1, 2)
        two = {"twoNode": True, "waitForAll": True, "expectedVotes": 2}
        self.reload(1, 2, voters=((1, 1), (2, 1)), **two)
        self.assertEqual(self.quorate(1, 2), [True, True])
        self.net.form(1)
        self.form(2)
        self.assertEqual(self.quorate(1, 2), [True, True])
        self.restart(1, 2)
        self.net.form(1)
        self.form(2)
        self.assertEqual(self.quorate(1, 2), [False, False])
        self.form(1, 2)
        self.assertEqual(self.quorate(1, 2), [True, True])

    def test_waitsLater(self) -> None:
        """
        Waiting for all that is switched on while they run has nobody wait now:
        all say the same.  [pitfall J3]  (C6)
        """
        self.boot(3)
        self.form(1, 2, 3)
        self.form(1, 2)
        self.reload(1, 2, waitForAll=True)
        self.assertEqual(self.quorate(1, 2), [True, True])
        self.net.form(1)
        self.form(2)
        self.form(1, 2)
        self.assertEqual(self.quorate(1, 2), [False, False])
        self.engine(2).cancelWaiting()
        self.net.run()
        self.assertEqual(self.quorate(1, 2), [True, True])

    def test_remembered(self) -> None:
        """
        VQ1: node 1 decided, and was away when nodes 2 to 4 went on without it.
        Back with node 4 it has half of the votes, and is no quorum, also after a
        restart of both: node 4 wrote down that 2 decides now.  (C8)
        """
        self.boot(4, tieBreaker="lowest")
        self.form(1, 2, 3, 4)
        self.net.form(1)
        self.form(2, 3, 4)
        self.restart(4)
        self.net.form(2, 3)
        self.form(1, 4)
        self.assertEqual(self.quorate(1, 2, 3, 4), [False, True, True, False])
        rule = self.engine(1).explanation()["rule"]
        self.assertIn("without the node that breaks ties", rule)

    def test_diskFails(self) -> None:
        """
        When one cannot write down who decides now, nobody goes by that alone,
        nor by what was before: the others may know more.
        """
        self.boot(4, tieBreaker="lowest")
        self.form(1, 2, 3, 4)
        self.disks[3].broken = True
        self.net.form(1)
        self.form(2, 3, 4)
        self.assertEqual(self.quorate(2, 3, 4), [True] * 3)
        self.net.form(1, 4)
        self.form(2, 3)
        self.assertEqual(self.quorate(1, 2, 3, 4), [False] * 4)
        self.form(1, 2, 3, 4)
        self.assertEqual(self.quorate(1, 2, 3, 4), [True] * 4)

    def test_damaged(self) -> None:
        """
        A file that is damaged is no reason not to start, and a loud one.
        """
        self.boot(2, tieBreaker="lowest")
        self.disks[1].kept["votes_1"] = b"\xff"
        self.restart(1)
        self.form(1, 2)
        self.assertEqual(self.quorate(1, 2), [True, True])


class LastManTests(VotingCase):
    """
    last_man_standing.
    """

    def test_shrinks(self) -> None:
        """
        VQ6: the window after a loss has to pass without another one; then all
        survivors expect fewer, at the same message.  [pitfall J7]  (C7)
        """
        self.boot(5, lastManStanding=True, lastManStandingWindow=WINDOW)
        self.form(1, 2, 3, 4, 5)
        self.form(1, 2, 3, 4)
        self.wait(WINDOW - 0.1)
        self.assertEqual(self.numbers(1), (4, 5, 3, True))
        self.form(1, 2, 3)
        self.wait(WINDOW - 0.1)
        self.assertEqual(self.numbers(1), (3, 5, 3, True))
        self.net.clock.advance(0.1)
        self.assertIsNone(self.engine(1).count.agreement.attempt)
        self.net.run()
        for nodeid in (1, 2, 3):
            self.assertEqual(self.numbers(nodeid), (3, 3, 2, True))
        self.form(2, 3)
        self.assertEqual(self.quorate(2, 3), [True, True])
        cause = [d.cause for d in self.engine(1).history()][-1]
        self.assertIn("window of last_man_standing", cause)

    def test_comeBack(self) -> None:
        """
        VQ1: eight nodes become five, three, two, and one; then the other seven
        come back together, and wait for it.  [pitfall J8]  (C7)
        """
        self.boot(8, lastManStanding=True, tieBreaker="lowest", waitForAll=True)
        self.form(*range(1, 9))
        for left in ((1, 2, 3, 4, 5), (1, 2, 3), (1, 2), (1,)):
            self.form(*left)
            self.wait()
            self.assertEqual(self.numbers(1)[1::2], (len(left), True))
        others = tuple(range(2, 9))
        self.restart(*others)
        self.form(*others)
        self.assertEqual(self.quorate(1, *others), [True] + [False] * 7)
        self.form(*range(1, 9))
        self.assertEqual(self.numbers(8), (8, 8, 5, True))

    def test_severalVotes(self) -> None:
        """
        A node of two votes switches it off.  (C7)
        """
        self.boot(3, lastManStanding=True, expectedVotes=4)
        self.net.kill(1)
        self.start(1, votes=2)
        self.form(1, 2, 3)
        self.form(1, 2)
        self.wait()
        self.assertEqual(self.numbers(1), (3, 4, 3, True))


class DownscaleTests(VotingCase):
    """
    allow_downscale and expected_votes_tracking.
    """

    def leave(self, nodeid: int) -> None:
        node = self.net.nodes[nodeid]
        stopped = node.manager.stop()
        self.net.run()
        self.net.clock.advance(1)
        self.net.run()
        self.successResultOf(stopped)
        self.net.kill(nodeid)

    def test_leaves(self) -> None:
        """
        VQ7: each clean leave from a quorate ring lowers what is expected, and
        with it the quorum, but not below the configured number; a crash does
        not.  (C10)
        """
        self.boot(5, allowDownscale=True, tracking=True, barrier=3)
        self.form(1, 2, 3, 4, 5)
        for left, expected in ((4, 4), (3, 3), (2, 3)):
            self.leave(left + 1)
            self.assertEqual(self.numbers(1)[1], expected)
            self.form(*range(1, left + 1))
            self.assertEqual(
                self.numbers(1), (left, expected, 2 + (expected > 3), True)
            )
        self.form(1)
        self.assertEqual(self.numbers(1), (1, 3, 2, False))

    def test_leftBehind(self) -> None:
        """
        VQ1: who has left, and those that were lost before, are no quorum
        without those that went on.  (C10)
        """
        self.boot(5, allowDownscale=True, tracking=True)
        self.form(1, 2, 3, 4, 5)
        self.net.form(4, 5)
        self.form(1, 2, 3)
        self.leave(3)
        self.assertEqual(self.numbers(1), (2, 4, 3, False))
        self.form(1, 2)
        self.start(3)
        self.form(3, 4, 5)
        self.assertEqual(sum([any(self.quorate(1, 2)), any(self.quorate(3, 4, 5))]), 0)

    def test_restarted(self) -> None:
        """
        VQ7: two of five have left, and the rest crashes: after a restart as
        many are expected as ever were, and those who went on may act together.
        [pitfall J9]  (C9, C10)
        """
        self.boot(5, allowDownscale=True, tracking=True, barrier=3)
        self.form(1, 2, 3, 4, 5)
        self.leave(5)
        self.form(1, 2, 3, 4)
        self.leave(4)
        self.form(1, 2, 3)
        self.assertEqual(self.numbers(1), (3, 3, 2, True))
        self.restart(1, 2, 3)
        self.form(1, 2)
        self.assertEqual(self.numbers(1), (2, 5, 3, False))
        self.form(1, 2, 3)
        self.assertEqual(self.numbers(1), (3, 5, 3, True))

    def test_tracking(self) -> None:
        """
        What was expected once is expected after a restart.  (C9)
        """
        self.boot(3, expectedVotes=1, tracking=True, voters=())
        self.form(1, 2, 3)
        self.assertEqual(self.disks[1].kept["ev_tracking"], b"\x03\0\0\0")
        self.restart(1)
        self.form(1)
        self.assertEqual(self.numbers(1), (1, 3, 2, False))


class ClientTests(VotingCase):
    """
    What local clients ask.
    """

    def setUp(self) -> None:
        self.boot(3)
        self.form(1, 2, 3)

    def test_interface(self) -> None:
        """
        The engine is what its interface says.
        """
        verifyObject(IVoteQuorum, self.engine(1))

    def test_info(self) -> None:
        """
        Everything that corosync tells of a node, in its numbers.  (C1, C20)
        """
        info = self.engine(1).info()
        self.assertEqual((info.nodeid, info.state, info.votes), (1, 1, 1))
        self.assertEqual(
            (info.expected, info.highestExpected, info.totalVotes, info.quorum),
            (3, 3, 3, 2),
        )
        self.assertEqual(info.flags, VoteFlag.QUORATE)
        self.form(1, 2)
        self.assertEqual(self.engine(1).info(3).state, NodeState.DEAD)
        self.assertRaises(NotExist, self.engine(1).info, 9)
        self.assertEqual([n.nodeid for n in self.engine(1).nodes()], [1, 2, 3])

    def test_expected(self) -> None:
        """
        VQ8: other expected votes hold on all members or on none: not fewer than
        are there, and not so many that a quorum is lost.  (C4)
        """
        engine = self.engine(1)
        for wrong in (0, 2, 6, 1 << 32):
            self.failureResultOf(engine.setExpected(wrong), InvalidParameter)
        done = engine.setExpected(5)
        self.assertNoResult(done)
        self.net.run()
        self.successResultOf(done)
        for nodeid in (1, 2, 3):
            self.assertEqual(self.numbers(nodeid), (3, 5, 3, True))
            override = self.engine(nodeid).explanation()["override"]
            self.assertEqual(override, "expected_votes: 5")

    def test_votes(self) -> None:
        """
        Another node's votes, checked as corosync checks them.  (C4)
        """
        engine = self.engine(1)
        self.failureResultOf(engine.setVotes(9, 1), NameNotFound)
        self.failureResultOf(engine.setVotes(2, -1), InvalidParameter)
        done = engine.setVotes(2, 4)
        self.net.run()
        self.successResultOf(done)
        self.assertEqual(self.numbers(3), (6, 6, 4, True))
        self.assertEqual(self.engine(3).info(2).votes, 4)

    def test_noRoom(self) -> None:
        """
        Without room the client is told to try again.
        """
        engine = self.engine(1)
        self.net.nodes[1].totem.capacity = 0
        self.failureResultOf(engine.setExpected(4), TryAgain)

    def test_subscribers(self) -> None:
        """
        VQ9: who follows hears of the nodes when a round begins, and of one
        verdict behind it; then of each change; and nothing when it has enough.
        (C19)
        """
        subscriber = Subscriber()
        stop = self.engine(1).subscribe(subscriber)
        self.form(1)
        ringId = self.engine(1).cluster.ringId()
        self.assertEqual(
            subscriber.told,
            [("nodes", ringId, (1,)), ("quorum", False, [1, 2, 3])],
        )
        subscriber.told.clear()
        self.engine(1).setVotes(1, 3)
        self.net.run()
        self.assertEqual(
            subscriber.told, [("quorum", True, [1, 2, 3]), ("expected", 3)][:1]
        )
        stop()
        stop()
        subscriber.told.clear()
        self.form(1, 2)
        self.assertEqual(subscriber.told, [])

    def test_history(self) -> None:
        """
        Each verdict is kept with its cause, its rule and what it was made of;
        a bounded number of them, the newest last.  (C24)
        """
        for _ in range(40):
            self.form(1, 2)
            self.form(1, 2, 3)
        history = self.engine(1).history()
        self.assertEqual(len(history), 64)
        last = history[-1]
        self.assertEqual((last.members, last.quorate), ((1, 2, 3), True))
        self.assertIn("another ring", last.cause)
        self.assertEqual(last.json()["inputs"]["members"], {"1": 1, "2": 1, "3": 1})
        numbers = [decision.number for decision in history]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_lease(self) -> None:
        """
        While it may act, a node says until when that is certain without hearing
        from the others.  (C22)
        """
        engine = self.net.nodes[1].engine("quorum")
        self.patch(engine.cluster, "leaseEnds", lambda: 12_345)
        self.assertEqual(engine.explanation()["validUntil"], 12_345)
        self.form(1)
        self.assertEqual(engine.explanation()["validUntil"], 0)

    def test_keys(self) -> None:
        """
        Corosync's keys in the map: those that are always there, and those of
        the options that are on.  (C8, C9)
        """
        prefix = "runtime.votequorum."

        def shown() -> dict[str, Value]:
            keys: Any = self.net.nodes[1].manager.database.map
            return {n.removeprefix(prefix): v for n, v in keys.items(prefix)}

        self.assertEqual(
            shown(),
            {
                "this_node_id": u32(1),
                "highest_node_id": u32(3),
                "lowest_node_id": u32(1),
                "ev_barrier": u32(3),
            },
        )
        device = DeviceSettings("net")
        self.boot(2, tieBreaker="highest", tracking=True, device=device)
        self.form(1, 2)
        found = shown()
        self.assertEqual(found["atb_type"], u32(2))
        self.assertEqual(found["ev_tracking_barrier"], u32(2))
        self.assertEqual(found["qdevice_can_operate"], u8(1))
        self.assertEqual(found["qdevice_master_wins"], u8(0))

    def test_notes(self) -> None:
        """
        What the file says without effect is in the status.  (C11, C12)
        """
        self.boot(1, notes=("quorum.leaving_timeout: no effect",))
        self.assertEqual(
            self.engine(1).explanation()["notes"], "quorum.leaving_timeout: no effect"
        )

    def test_handedOver(self) -> None:
        """
        Another version goes on with all of it.
        """
        self.boot(4, tieBreaker="lowest")
        self.form(1, 2, 3, 4)
        engine = self.engine(1)
        state = engine.handOver()
        other = type(engine)()
        other.initialize(engine.cluster, self.net.nodes[1].manager.settings)
        other.takeOver(state, 1)
        self.assertEqual(other.dump(), engine.dump())
        self.assertEqual(other.history(), engine.history())


class DeviceTests(VotingCase):
    """
    A quorum device of one vote, at four nodes.
    """

    def setUp(self) -> None:
        self.boot(4, expectedVotes=5, device=DeviceSettings("net", 10.0, 30.0, 1))
        self.form(1, 2, 3, 4)

    def register(self, *nodeids: int) -> None:
        for nodeid in nodeids:
            done = self.engine(nodeid).deviceRegister("Qdevice")
            self.net.run()
            self.successResultOf(done)

    def rotate(self, nodeid: int) -> None:
        """
        The round waits for the device.
        """
        for _ in range(20):
            self.net.rotate(nodeid)

    def poll(self, nodeid: int, *, cast: bool = True) -> None:
        engine = self.engine(nodeid)
        engine.devicePoll("Qdevice", cast, engine.cluster.ringId())

    def test_votes(self) -> None:
        """
        The half that the device votes for may act; the other half, which does
        not hear it, may not, and does not count its vote.  [pitfall J10]  (C13)
        """
        self.register(1, 2, 3, 4)
        for nodeid in (1, 2, 3, 4):
            self.poll(nodeid)
        self.net.run()
        self.assertEqual(self.numbers(3), (5, 5, 3, True))
        info = self.engine(1).info()
        self.assertEqual((info.deviceVotes, info.deviceName), (1, "Qdevice"))
        self.assertTrue(info.flags & VoteFlag.DEVICE_CAST_VOTE)
        for members in ((1, 2), (3, 4)):
            self.net.form(*members)
            self.rotate(members[0])
        for nodeid in (1, 2):
            self.poll(nodeid)
        for nodeid in (3, 4):
            self.poll(nodeid, cast=False)
        self.net.run()
        self.assertEqual(self.quorate(1, 2, 3, 4), [True, True, False, False])
        self.assertEqual(self.numbers(3)[0], 2)

    def test_oldRing(self) -> None:
        """
        A vote for a ring that is over is refused, and counts for nothing; the round
        waits for another one, and not for ever.  [pitfall J11] (C13, C16)
        """
        self.register(1)
        self.poll(1)
        self.net.run()
        old = self.engine(1).cluster.ringId()
        self.net.form(1, 2)
        self.rotate(1)
        poll = self.engine(1).devicePoll
        self.assertRaises(OldRing, poll, "Qdevice", True, old)
        self.assertTrue(self.net.nodes[1].manager.synchronizing())
        self.assertFalse(self.engine(2).info(1).flags & VoteFlag.DEVICE_CAST_VOTE)
        self.net.clock.advance(30.0)
        self.rotate(1)
        self.assertFalse(self.net.nodes[1].manager.synchronizing())
        self.assertEqual(self.numbers(1), (2, 5, 3, False))

    def test_silent(self) -> None:
        """
        A device that is not heard for its timeout does not vote any more.
        (C16)
        """
        self.register(1)
        self.poll(1)
        self.wait(9.9)
        self.poll(1)
        self.wait(9.9)
        self.assertEqual(self.numbers(2)[0], 5)
        self.wait(0.2)
        self.assertEqual(self.numbers(2)[0], 4)
        self.assertFalse(self.engine(2).info(1).flags & VoteFlag.DEVICE_ALIVE)

    def test_masterWins(self) -> None:
        """
        Its vote alone is enough where the others could be no majority
        without it; else it is not.  (C13)
        """
        self.boot(4, expectedVotes=7, device=DeviceSettings("net", 10.0, 30.0, 3))
        self.form(1, 2, 3, 4)
        self.register(1)
        self.engine(1).deviceMasterWins("Qdevice", True)
        self.form(1)
        self.poll(1)
        self.net.run()
        self.assertEqual(self.numbers(1)[0::3], (4, True))
        self.boot(4, expectedVotes=5, device=DeviceSettings("net", 10.0, 30.0, 1))
        self.form(1, 2, 3, 4)
        self.register(1)
        self.engine(1).deviceMasterWins("Qdevice", True)
        self.net.form(2, 3, 4)
        self.form(1)
        self.poll(1)
        self.net.run()
        self.assertEqual(self.quorate(1, 2), [False, True])

    def test_errors(self) -> None:
        """
        Each call fails as corosync's does.  (C13)
        """
        engine = self.engine(1)
        ringId = engine.cluster.ringId()
        self.failureResultOf(engine.deviceUnregister("Qdevice"), NotExist)
        self.failureResultOf(engine.deviceUpdate("Qdevice", "Other"), NotExist)
        self.assertRaises(NotExist, engine.devicePoll, "Qdevice", True, ringId)
        self.assertRaises(NotExist, engine.deviceMasterWins, "Qdevice", True)
        self.failureResultOf(engine.deviceRegister("x" * 255), NameTooLong)
        self.failureResultOf(engine.deviceRegister(""), InvalidParameter)
        self.register(1)
        self.register(1)
        self.failureResultOf(engine.deviceRegister("Other"), Exists)
        self.failureResultOf(engine.deviceUnregister("Other"), InvalidParameter)
        self.assertRaises(InvalidParameter, engine.devicePoll, "Other", True, ringId)
        done = engine.deviceUpdate("Qdevice", "Other")
        self.net.run()
        self.successResultOf(done)
        self.assertEqual(self.engine(2).info(1).deviceName, "Other")
        done = engine.deviceUnregister("Other")
        self.net.run()
        self.successResultOf(done)
        self.assertEqual(engine.info().deviceName, "")
        self.boot(2)
        self.failureResultOf(self.engine(1).deviceRegister("Qdevice"), AccessDenied)
