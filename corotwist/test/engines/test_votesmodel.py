"""
Who may act, against a naive model: of every partition of small clusters, and
of stories of larger ones.
"""

import os
from itertools import product
from random import Random
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import QuorumSettings
from corotwist.test.engines.orderednet import OrderedNet
from corotwist.test.engines.votesmodel import (
    Model,
    Options,
    Part,
    everyOptions,
    partitions,
    violations,
    walk,
)

SEED: Final = int(os.environ.get("COROTWIST_SEED", "1"))
SEEDS: Final = int(os.environ.get("COROTWIST_SEEDS", "25"))
LENGTH: Final = 3
WINDOW: Final = 10.0


def drawn(random: Random, size: int) -> dict[int, int]:
    """
    Votes of that many nodes, often one for each.
    """
    alike = random.random() < 0.5
    return {n: 1 if alike else random.randint(0, 3) for n in range(1, size + 1)}


class ModelTests(SynchronousTestCase):
    """
    The rules themselves.
    """

    def test_everySmallCluster(self) -> None:
        """
        VQ1: in no sequence of three partitions of up to three nodes, of up to
        three votes each, with any combination of options, two parts may act at
        once.  (C7, C8)
        """
        for size in (2, 3):
            for votes in product(range(4), repeat=size):
                for options in everyOptions(safe=True):
                    model = Model(dict(enumerate(votes, 1)), options)
                    self.assertEqual(violations(model, LENGTH), [], model)

    def test_fourNodes(self) -> None:
        """
        VQ1: nor of four nodes, of one vote each; more seeds have other votes,
        too.  (C7, C8)
        """
        random = Random(SEED)
        others = [drawn(random, 4) for _ in range(SEEDS // 50)]
        for votes in (dict.fromkeys(range(1, 5), 1), *others):
            for options in everyOptions(safe=True):
                model = Model(votes, options)
                self.assertEqual(violations(model, LENGTH), [], model)

    def test_stories(self) -> None:
        """
        VQ1: nor in long stories of up to six nodes, whose rings end before
        everybody has written down, or heard, what was agreed on, and that
        crash.  (C7, C8)
        """
        for number in range(20 * SEEDS):
            random = Random(f"{SEED}/{number}")
            model = Model(
                drawn(random, random.randint(2, 6)),
                random.choice(everyOptions(safe=True)),
            )
            self.assertEqual(walk(model, random, 12), (), f"{SEED}/{number}: {model}")

    def test_plain(self) -> None:
        """
        By corosync's own rules two parts may act: by a tie breaker after two
        partitions, by last_man_standing after three; so these tests can fail.
        """
        whole = dict.fromkeys((1, 2, 3, 4), 1)
        tie = Model(whole, Options(tie="lowest", safe=False))
        self.assertIn(((1,), (2, 3, 4)), [path[0] for path in violations(tie, 2)])
        parts = ((1, 2), (3, 4, 5))
        for safe, acting in ((False, 2), (True, 1)):
            five = dict.fromkeys(range(1, 6), 1)
            last = Model(five, Options(lastMan=True, safe=safe))
            world = last.meet(last.start(), [(1, 2, 3, 4, 5)])
            world = last.meet(world, [(1, 2, 3), (4, 5)], shrink=True)
            world = last.meet(world, parts)
            self.assertEqual(len(last.acting(world, parts)), acting)
        waits = Model(whole, Options(wait=True, lastMan=True, tie="lowest", safe=False))
        self.assertTrue(violations(waits, 3))

    def test_nothingElse(self) -> None:
        """
        Without those options what is remembered decides nothing: the verdicts
        are those of corosync's rules.  (C2, C3)
        """
        ways = [tuple(map(tuple, way)) for way in partitions((1, 2, 3))]
        for votes in product(range(3), repeat=3):
            for wait in (False, True):
                known = dict(enumerate(votes, 1))
                safe = Model(known, Options(wait=wait))
                plain = Model(known, Options(wait=wait, safe=False))
                for path in product(ways, repeat=2):
                    one, other = safe.start(), plain.start()
                    for parts in path:
                        one, other = safe.meet(one, parts), plain.meet(other, parts)
                        verdicts = [s.quorate for s in one]
                        self.assertEqual(verdicts, [s.quorate for s in other])


class Notes:
    """
    A disk that writes at once.
    """

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def loadNote(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def storeNote(self, name: str, data: bytes) -> Deferred[None]:
        self.kept[name] = data
        return succeed(None)


class EngineTests(SynchronousTestCase):
    """
    The engine does what the model does.
    """

    def settings(self, model: Model, nodeid: int) -> QuorumSettings:
        options = model.options
        return QuorumSettings(
            "corosync_votequorum",
            model.expected,
            model.votes[nodeid],
            waitForAll=options.wait,
            tieBreaker=options.tie,
            lastManStanding=options.lastMan,
            lastManStandingWindow=WINDOW,
            voters=tuple(model.votes.items()),
        )

    def assertAlike(self, model: Model, path: tuple[tuple[Part, ...], ...]) -> None:
        """
        Both come to the same, at each step and on each node.
        """
        net = OrderedNet()
        for nodeid in model.votes:
            net.boot(nodeid, quorum=self.settings(model, nodeid))
        world = model.start()
        for parts in path:
            world = model.meet(world, parts, shrink=True)
            for part in parts:
                net.form(*part)
            net.run()
            net.clock.advance(WINDOW)
            net.run()
            for nodeid, state in enumerate(world, 1):
                engine = net.nodes[nodeid].engine("votequorum")
                found = engine.explanation()
                self.assertEqual(
                    (found["quorate"], found["expected"]),
                    (state.quorate, state.expected),
                    f"node {nodeid} of {model} in {path} at {parts}:"
                    f" {engine.history()[-1].json()}",
                )

    def test_asModelled(self) -> None:
        """
        VQ2: clusters of two to five nodes come to the verdicts of the model,
        on all their members, after each of three partitions.  (C2, C6, C7, C8)
        """
        for number in range(2 * SEEDS):
            random = Random(f"{SEED}/{number}")
            size = random.randint(2, 5)
            model = Model(drawn(random, size), random.choice(everyOptions(safe=True)))
            path = []
            for _ in range(LENGTH):
                side = [random.randrange(2) for _ in range(size)]
                both = [
                    tuple(n for n, s in enumerate(side, 1) if s == which)
                    for which in (0, 1)
                ]
                path.append(tuple(part for part in both if part))
            self.assertAlike(model, tuple(path))
