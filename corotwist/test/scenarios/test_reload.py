"""
Stories about configurations that change while a cluster runs.
"""

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from corotwist.config.tracking import ChangeKind
from corotwist.config.values import u8, u32
from corotwist.engines.reloads import MOST_ASKED, REPORTING_NS, Reloads
from corotwist.errors import (
    AccessDenied,
    Busy,
    Disconnected,
    InvalidParameter,
    NotExist,
    TryAgain,
)
from corotwist.reloading import READING_SECONDS
from corotwist.simulator import Cluster
from corotwist.simulator.machine import Wishes
from corotwist.test.scenarios.story import A, B, C
from corotwist.test.scenarios.whole import WholeStory

QUORUM = {"provider": "corosync_votequorum"}
# Two fifths of a millisecond apart: longer than a reload takes.
MOMENTS = 10


class ReloadStories(WholeStory):
    """
    Three whole nodes, and their files.
    """

    def setUp(self) -> None:
        self.trio = self.whole(quorum=QUORUM)

    def text(self, **totem: Any) -> str:
        """
        The file of all three, with other options.
        """
        return Wishes(totem, QUORUM).text((A, B, C), sealed=False)

    def reload(self, nodeid: int = A, **how: bool) -> Deferred[dict[str, Any]]:
        """
        Ask a node, as an operator does.
        """
        asked: Deferred[dict[str, Any]] = self.trio.connect(nodeid).cfg.reload(**how)
        return asked

    def tokens(self) -> list[float]:
        """
        The token timeouts in force.
        """
        return [self.timing(nodeid).token for nodeid in self.trio.nodes]

    def timing(self, nodeid: int) -> Any:
        protocol = self.trio.services(nodeid).totem.protocol
        assert protocol is not None, "it runs"
        return protocol.ring.timing

    def key(self, nodeid: int, name: str) -> Any:
        return self.trio.services(nodeid).node.database.map.get(name).content

    def test_everywhere(self) -> None:
        """
        One node is asked, and all three have other timers, without a change
        of the membership; each key is told.  (A44, H16)
        """
        self.trio.edit(self.text(token=2000, config_version=2))
        ring = self.trio.nodes[A].configuration
        report = self.trio.wait(self.reload())
        self.assertEqual(report["status"], "applied")
        self.assertFalse(report["restart"])
        told = [
            (key["key"], key["old"], key["new"], key["verdict"])
            for key in report["nodes"]["3"]["keys"]
        ]
        self.assertEqual(
            told,
            [
                ("totem.config_version", None, "2", "applied"),
                ("totem.token", "1000", "2000", "applied"),
            ],
        )
        self.trio.run(0.1)
        self.assertEqual(self.tokens(), [2.0] * 3)
        for nodeid in self.trio.nodes:
            self.assertEqual(self.key(nodeid, "totem.token"), 2000)
            self.assertEqual(self.key(nodeid, "config.reload_status"), 1)
            self.assertEqual(self.key(nodeid, "config.reload_in_progress"), 0)
        self.trio.run(5.0)
        self.assertEqual(self.trio.nodes[A].configuration, ring)

    def slow(self, nodeid: int, seconds: float) -> None:
        """
        Have a node take so long to read its file.
        """
        node = self.trio.services(nodeid).node
        read, clock = node.reloader._read, node.manager.clock
        node.reloader._read = lambda: deferLater(clock, seconds, read)  # type: ignore[arg-type]

    def most(self) -> list[int]:
        """
        The frames per visit of the token, in force on each node.
        """
        return [self.timing(nodeid).maxMessages for nodeid in self.trio.nodes]

    def test_oneRefuses(self) -> None:
        """
        What one node cannot apply nobody applies; who refused it, and why, is
        told to whoever asked, and on every node.  (A44, H16)
        """
        self.trio.edit(self.text(max_messages=5))
        self.trio.edit(self.text(max_messages=0, tokn=1), B)
        report = self.trio.wait(self.reload())
        self.assertEqual(report["status"], "refused")
        self.assertEqual(report["reason"], "refused by node 2")
        problems = report["nodes"]["2"]["problems"]
        self.assertIn("totem.max_messages", problems[0])
        self.assertIn("did you mean token?", problems[1])
        self.trio.run(0.1)
        self.assertEqual(self.most(), [17] * 3)
        for nodeid in self.trio.nodes:
            self.assertEqual(self.key(nodeid, "config.reload_status"), 7)
            self.assertRaises(NotExist, self.key, nodeid, "totem.max_messages")
        self.assertIn("tokn", self.key(B, "config.reload_error_message"))
        self.assertEqual(
            self.key(A, "config.reload_error_message"), "refused by node 2"
        )

    def test_dryRun(self) -> None:
        """
        A dry run tells what would be on every node, and changes nothing; nor
        does it touch the status of the last reload.  (H20)
        """
        self.trio.edit(self.text(max_messages=5, cluster_name="other"))
        report = self.trio.wait(self.reload(dryRun=True))
        self.assertEqual((report["status"], report["restart"]), ("checked", True))
        self.assertEqual(len(report["nodes"]["3"]["keys"]), 2)
        self.trio.run(0.1)
        self.assertEqual(self.most(), [17] * 3)
        self.assertRaises(NotExist, self.key, A, "config.reload_status")

    def test_local(self) -> None:
        """
        A node alone can be told to reload.
        """
        self.trio.edit(self.text(max_messages=5))
        report = self.trio.wait(self.reload(B, local=True))
        self.assertEqual(list(report["nodes"]), ["2"])
        self.assertEqual(self.most(), [17, 5, 17])
        again = self.trio.wait(self.reload(B, local=True))
        self.assertEqual(again["nodes"]["2"]["keys"], [])

    def test_waitsForRestart(self) -> None:
        """
        What needs a restart is in force after one, and not before; the next
        reload tells it again.  (H15)
        """
        self.trio.edit(self.text(cluster_name="other"))
        for _ in range(2):
            report = self.trio.wait(self.reload())
            self.assertEqual((report["status"], report["restart"]), ("applied", True))
            (key,) = report["nodes"]["1"]["keys"]
            self.assertEqual(key["verdict"], "needs restart")
            self.assertEqual(self.key(A, "totem.cluster_name"), "simulated")
        self.trio.stop(A)
        self.trio.run(1.0)
        self.trio.boot(A)
        self.assertEqual(self.key(A, "totem.cluster_name"), "other")

    def test_older(self) -> None:
        """
        A configuration that is older than the one in force is refused, unless
        that is meant.
        """
        self.trio.edit(self.text(config_version=9))
        self.trio.wait(self.reload())
        self.trio.edit(self.text(config_version=8))
        report = self.trio.wait(self.reload())
        self.assertEqual(report["reason"], "refused by nodes 1, 2, 3")
        self.assertEqual(self.key(C, "totem.config_version"), 9)
        report = self.trio.wait(self.reload(force=True))
        self.assertEqual(report["status"], "applied")
        self.assertEqual(self.key(C, "totem.config_version"), 8)

    def test_partitionMeanwhile(self) -> None:
        """
        Node 2 still reads when the cluster parts: nobody applies anything, and
        whoever asked is told to try again.  Messages that are on their way go
        on, and after they have met again the reload goes through.  (H16)
        """
        clients = [self.trio.client(nodeid) for nodeid in self.trio.nodes]
        for client in clients:
            client.join(b"group")
        self.trio.run(0.2)
        self.trio.edit(self.text(max_messages=5))
        self.slow(B, 1.0)
        asked = self.reload()
        failed = self.failing(asked)
        for number in range(40):
            clients[number % 3].send(b"group", b"%d" % number)
            self.trio.run(0.02)
            if number == 20:
                self.trio.partition({A, B}, {C})
        self.trio.settle()
        self.assertEqual(failed, [TryAgain])
        self.assertEqual(self.most(), [17] * 3)
        self.trio.heal()
        self.trio.settle()
        again = self.reload(C)
        for number in range(60):
            clients[number % 3].send(b"group", b"%d" % number)
            self.trio.run(0.02)
        self.assertEqual(self.successResultOf(again)["status"], "applied")
        self.assertEqual(self.most(), [5] * 3)
        self.trio.settle()

    def failing(self, asked: Deferred[Any]) -> list[type[Exception]]:
        """
        As what it will have failed.
        """
        kinds: list[type[Exception]] = []

        def failed(failure: Any) -> None:
            kinds.append(failure.type)

        asked.addErrback(failed)
        return kinds

    def test_deathMeanwhile(self) -> None:
        """
        A member that dies before it has reported is a change of the membership:
        nobody applies anything; whoever is left may ask again.
        """
        self.trio.edit(self.text(max_messages=5))
        self.slow(B, 1.0)
        failed = self.failing(self.reload())
        self.trio.run(0.2)
        self.trio.kill(B)
        self.trio.settle()
        self.assertEqual(failed, [TryAgain])
        self.assertEqual([self.timing(n).maxMessages for n in (A, C)], [17, 17])
        report = self.trio.wait(self.reload())
        self.assertEqual(sorted(report["nodes"]), ["1", "3"])
        self.assertEqual([self.timing(n).maxMessages for n in (A, C)], [5, 5])

    def test_askerDies(self) -> None:
        """
        Who asked may die once all have what they need: the last report decides,
        and it needs nobody else.
        """
        self.trio.edit(self.text(max_messages=5))
        self.slow(A, 0.5)
        failed = self.failing(self.reload(A))
        reports: list[int] = []
        for nodeid in (B, C):
            engine = self.trio.engine(nodeid, "cfg")._reloads
            decide = engine._decide

            def decided(
                running: Any, nodeid: int = nodeid, decide: Any = decide
            ) -> None:
                reports.append(nodeid)
                if self.trio.nodes[A].up:
                    self.trio.kill(A)
                decide(running)

            engine._decide = decided
        self.trio.run(1.0)
        self.trio.settle()
        self.assertEqual(sorted(reports), [B, C])
        self.assertEqual([self.timing(n).maxMessages for n in (B, C)], [5, 5])
        self.assertEqual(failed, [Disconnected])

    def test_slowReader(self) -> None:
        """
        A node that does not come to an end with reading refuses, in time.
        """
        self.trio.edit(self.text(max_messages=5))
        self.slow(B, 1000.0)
        report = self.trio.wait(self.reload(), within=READING_SECONDS + 1)
        self.assertEqual(report["reason"], "refused by node 2")
        self.assertIn("not read", report["nodes"]["2"]["problems"][0])
        self.assertEqual(self.most(), [17] * 3)
        self.flushLoggedErrors()

    def test_silentMember(self) -> None:
        """
        A member that does not know what is asked of it does not report: the
        reload ends on every node at the same place in the order.
        """
        self.trio.edit(self.text(max_messages=5))
        engine = self.trio.engine(C, "cfg")._reloads
        engine._proposalDelivered = lambda nodeid, message: None
        within = REPORTING_NS / 1e9 + 1
        report = self.trio.wait(self.reload(), within=within)
        self.assertEqual(report["status"], "refused")
        self.assertEqual(report["reason"], "nodes 3 do not report")
        self.trio.run(0.1)
        self.assertEqual(self.most(), [17] * 3)
        del engine._proposalDelivered
        self.assertEqual(self.trio.wait(self.reload())["status"], "applied")

    def test_askerUnloaded(self) -> None:
        """
        Nor does anybody wait for ever for a service that was unloaded on the
        node where the reload was asked for, without a change of the ring.
        """
        self.trio.edit(self.text(max_messages=5))
        self.slow(A, READING_SECONDS - 1)
        failed = self.failing(self.reload(A))
        self.trio.run(0.2)
        self.trio.wait(self.trio.connect(A).components.unload("cfg"))
        self.assertEqual(failed, [TryAgain])
        self.trio.run(2 * REPORTING_NS / 1e9)
        self.trio.wait(self.trio.connect(A).components.load("cfg"))
        report = self.trio.wait(self.reload(B), within=READING_SECONDS)
        self.assertEqual(report["status"], "applied")
        self.assertEqual(self.most(), [5] * 3)

    def test_liar(self) -> None:
        """
        Whether a node refuses is said once: who asked is told what was done.
        """
        self.trio.edit(self.text(max_messages=5))
        engine = self.trio.engine(C, "cfg")._reloads
        for refuses, status in ((False, "applied"), (True, "refused")):
            engine._report = self._lying(engine, refuses)
            report = self.trio.wait(self.reload())
            self.assertEqual(report["status"], status)
            self.trio.run(0.1)
            self.assertEqual(self.most(), [5] * 3)
            self.trio.edit(self.text(max_messages=6))

    def _lying(self, engine: Any, flags: int) -> Any:
        def report(running: Any, message: Any) -> None:
            told = {**message.told(), "refused": not flags}
            lie = evolve(message, flags=flags, text=json.dumps(told).encode())
            Reloads._report(engine, running, lie)

        return report

    def test_twoAtOnce(self) -> None:
        """
        Of two that ask at once one is told that the other is busy.
        """
        self.trio.edit(self.text(max_messages=5))
        self.slow(B, 0.3)
        failed = self.failing(self.reload(C))
        first = self.reload(A)
        other = self.failing(first)
        self.trio.run(1.0)
        self.assertEqual(failed + other, [Busy])
        self.assertEqual(self.most(), [5] * 3)

    def test_whileInRounds(self) -> None:
        """
        Who asks in the middle of a round of synchronization waits until it is
        over; so do others, up to a limit.  [pitfall H5]
        """
        self.trio.edit(self.text(max_messages=5))
        engine = self.trio.engine(A, "cfg")
        self.trio.partition({A, B}, {C})
        self.trio.settle()
        self.trio.heal()
        self.trio.runUntil(engine.cluster.synchronizing, 5.0)
        asked = [engine.reload() for _ in range(MOST_ASKED)]
        self.failureResultOf(engine.reload(), TryAgain)
        self.assertEqual([d.called for d in asked], [False] * MOST_ASKED)
        failed = [kind for d in asked[1:] for kind in (self.failing(d),)]
        self.trio.settle()
        self.assertEqual(self.successResultOf(asked[0])["status"], "applied")
        self.assertEqual(failed, [[Busy]] * (MOST_ASKED - 1))
        self.assertEqual(self.most(), [5] * 3)

    def test_stopped(self) -> None:
        """
        A node that stops tells whoever waits for the end of a reload.
        """
        self.slow(B, 5.0)
        engine = self.trio.engine(A, "cfg")
        failed = self.failing(engine.reload())
        self.trio.run(0.2)
        self.assertRaises(Busy, engine.handOver)
        self.trio.stop(A)
        self.trio.run(0.2)
        self.assertEqual(failed, [TryAgain])

    def test_failsTwice(self) -> None:
        """
        A file that cannot be used is refused as often as one likes, votes in
        it too, and a right one is applied after that.  [pitfall M5]
        """
        before = self.explained()
        client = self.trio.connect(A).cfg
        wrong = Wishes({"max_messages": 0}, {**QUORUM, "expected_votes": 9})
        self.trio.edit(wrong.text((A, B, C), sealed=False))
        for _ in range(3):
            report = self.trio.wait(client.reload())
            self.assertEqual(report["status"], "refused")
        self.trio.run(0.2)
        self.assertEqual(self.explained(), before)
        right = Wishes({}, {**QUORUM, "expected_votes": 5})
        self.trio.edit(right.text((A, B, C), sealed=False))
        self.assertEqual(self.trio.wait(client.reload())["status"], "applied")
        self.trio.run(0.2)
        after = self.explained()
        self.assertEqual((before["expected"], after["expected"]), (3, 5))

    def explained(self) -> dict[str, Any]:
        """
        What the verdict rests upon, but for how long it can be relied on.
        """
        explanation = dict(self.trio.engine(A, "quorum").explanation())
        explanation.pop("validUntil", None)
        return explanation

    def test_nodesRemoved(self) -> None:
        """
        The middle node is taken out of everybody's node list: all of them say
        that this needs a restart, nobody is renumbered, and they stay
        together.  [pitfall K7]
        """
        two = Wishes({}, QUORUM).text((A, C), sealed=False)
        client = self.trio.connect(A).cfg
        self.trio.edit(two, A, C)
        ring = self.trio.nodes[A].configuration
        report = self.trio.wait(client.reload())
        self.assertEqual((report["status"], report["restart"]), ("applied", True))
        keys = {key["verdict"] for key in report["nodes"]["3"]["keys"]}
        self.assertEqual(keys, {"needs restart"})
        self.assertEqual(self.key(A, "nodelist.node.1.nodeid"), B)
        self.trio.run(5.0)
        self.assertEqual(self.trio.nodes[A].configuration, ring)
        explained = self.trio.engine(A, "quorum").explanation()
        self.assertEqual((explained["expected"], explained["votes"]), (3, 3))

    def test_waitingForAll(self) -> None:
        """
        A cluster that runs does not begin to wait for all: that needs a
        restart, and all layers go on saying that they may act.  [pitfall J3]
        """
        waiting = Wishes({}, {**QUORUM, "wait_for_all": 1})
        client = self.trio.connect(A).cfg
        self.trio.edit(waiting.text((A, B, C), sealed=False))
        report = self.trio.wait(client.reload())
        self.assertTrue(report["restart"])
        self.trio.partition({A, B}, {C})
        self.trio.settle()
        for name in ("quorum", "votequorum"):
            explained = self.trio.engine(A, name).explanation()
            self.assertTrue(explained["quorate"])
            self.assertFalse(explained["waitingForAll"])

    def test_notAnybody(self) -> None:
        """
        Only root and the daemon's own user administer a node.  (I12)
        """
        settings = self.trio.services(A).node.manager.settings
        self.assertEqual(settings.ipc.uids, frozenset())
        operations = self.trio.services(A).node.reloader
        operations.changed({"uidgid.uid.1000": u8(1)})
        client = self.trio.connect(A, uid=1000)
        for asked in (client.cfg.reload(), client.cfg.reopenLogs(), client.cfg.dump()):
            self.assertRaises(AccessDenied, self.trio.wait, asked)

    def test_clientWrites(self) -> None:
        """
        Who writes the key of an option on one node changes it there: at once,
        or not at all. What is refused is not in the map either.  (A28)
        """
        keys = self.trio.connect(B).cmap
        self.trio.wait(keys.set("totem.max_messages", u32(9)))
        self.assertEqual(self.most(), [17, 9, 17])
        for wrong in (0, 10_000):
            asked = keys.set("totem.max_messages", u32(wrong))
            self.assertRaises(InvalidParameter, self.trio.wait, asked)
        self.assertEqual(self.key(B, "totem.max_messages"), 9)
        self.assertEqual(self.key(B, "runtime.config.totem.max_messages"), 9)
        self.trio.wait(keys.set("quorum.expected_votes", u32(5)))
        self.trio.run(0.2)
        explained = self.trio.engine(C, "quorum").explanation()
        self.assertEqual((explained["expected"], explained["quorum"]), (5, 3))
        report = self.trio.wait(self.reload(B))
        told = [(k["key"], k["old"], k["new"]) for k in report["nodes"]["2"]["keys"]]
        self.assertEqual(
            told,
            [
                ("quorum.expected_votes", "5", None),
                ("totem.max_messages", "9", None),
            ],
        )
        self.assertEqual(self.most(), [17] * 3)

    def test_notMeanwhile(self) -> None:
        """
        While a reload is on its way nobody writes options; a watcher of the
        map sees when it is.
        """
        self.trio.edit(self.text(max_messages=5))
        self.slow(B, 0.5)
        self.reload()
        self.trio.run(0.2)
        asked = self.trio.connect(A).cmap.set("totem.max_messages", u32(9))
        self.assertRaises(Busy, self.trio.wait, asked)
        seen: list[Any] = []
        keys = self.trio.services(A).node.database.map
        keys.track(
            "config.reload_in_progress",
            ChangeKind.ADD | ChangeKind.MODIFY,
            lambda changes: seen.extend(change.new for change in changes),
        )
        self.trio.run(1.0)
        self.assertEqual(seen, [u8(1), u8(0)])
        self.assertEqual(self.most(), [5] * 3)

    def test_amongCorosyncNodes(self) -> None:
        """
        With a real node in the ring it is corosync's message, and everybody
        for himself: node 2 refuses alone, and what the others do nobody knows.
        (F7)
        """
        for nodeid in self.trio.nodes:
            self.trio.services(nodeid).manager.compactAllowed = bool  # type: ignore[method-assign]
        other = self.trio.connect(B).cfg
        self.trio.edit(self.text(max_messages=5))
        self.trio.edit(self.text(max_messages=0), B)
        dry = self.trio.wait(self.reload(dryRun=True))
        self.assertEqual((dry["status"], list(dry["nodes"])), ("checked", ["1"]))
        self.assertEqual(self.most(), [17] * 3)
        report = self.trio.wait(self.reload())
        self.assertEqual(report["status"], "applied")
        self.assertIn("does not report", report["nodes"]["2"]["unknown"])
        self.trio.run(0.1)
        self.assertEqual(self.most(), [5, 17, 5])
        self.assertEqual(self.key(B, "config.reload_status"), 7)
        report = self.trio.wait(other.reload())
        self.assertEqual(report["reason"], "refused by node 2")


class MomentStories(WholeStory):
    """
    Whatever the moment.
    """

    def test_parting(self) -> None:
        """
        The cluster parts at one moment of the reload or another: those who
        stay together do the same, and a reload after they have met again
        leaves them all alike.  (H16)
        """
        outcomes = set()
        text = Wishes({"max_messages": 5}, QUORUM).text((A, B, C), sealed=False)
        for step in range(MOMENTS):
            cluster = self.whole(quorum=QUORUM, seed=step)
            cluster.edit(text)
            operator = cluster.connect(A).cfg
            operator.reload().addErrback(lambda failure: failure.trap(TryAgain))
            cluster.run(0.0004 * step)
            cluster.partition({A, B}, {C})
            cluster.settle()
            most = self.most(cluster)
            self.assertEqual(most[0], most[1], f"parted at moment {step}")
            outcomes.add(tuple(most))
            cluster.heal()
            cluster.settle()
            self.assertEqual(cluster.wait(operator.reload())["status"], "applied")
            cluster.run(0.1)
            self.assertEqual(self.most(cluster), [5] * 3)
        self.assertGreaterEqual(outcomes, {(17, 17, 17), (5, 5, 5)})

    def most(self, cluster: Cluster) -> list[int]:
        """
        The frames per visit of the token, in force on each node.
        """
        protocols = [
            cluster.services(nodeid).totem.protocol for nodeid in cluster.nodes
        ]
        return [p.ring.timing.maxMessages for p in protocols if p is not None]
