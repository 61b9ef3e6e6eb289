"""
Random stories of process groups: joins, leaves, messages, closings, crashes,
restarts, partitions and merges at any point of the order.
"""

import os
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import groupsrequests, groupssending, groupssync
from corotwist.test.engines.groupstory import (
    GROUPS,
    Client,
    State,
    Story,
    Wanderer,
)
from corotwist.test.engines.orderednet import OrderedNet

NODES = (1, 2, 3, 4)
PIDS = (100, 101)
# Small enough that a message of a few bytes travels in pieces.
ATOMIC = 48
SEEDS = int(os.environ.get("COROTWIST_SEEDS", "25"))
EXAMPLES = int(os.environ.get("COROTWIST_EXAMPLES", "40"))

nodeids = st.sampled_from(NODES)
groups = st.sampled_from(GROUPS)
choices = st.integers(0, 1 << 16)


class Groups(RuleBasedStateMachine):
    """
    Rules are what can happen; L{Story} knows what must follow.
    """

    FOREIGN = False

    def __init__(self) -> None:
        super().__init__()
        self.story = Story(OrderedNet(count=len(NODES)))
        self.net = self.story.net

    @initialize(capacity=st.sampled_from((5000, 1 << 20)), foreign=st.booleans())
    def begin(self, capacity: int, foreign: bool) -> None:
        self.capacity = capacity
        for nodeid in NODES[:3]:
            self._boot(nodeid, foreign and nodeid == NODES[0])
        self.net.form(*NODES[:3])
        self.net.run()

    def _boot(self, nodeid: int, foreign: bool) -> None:
        self.story.boot(
            nodeid, foreign=foreign and self.FOREIGN, capacity=self.capacity
        )

    def _client(self, choice: int) -> Client | None:
        alive = [client for client in self.story.clients if client.open]
        return alive[choice % len(alive)] if alive else None

    # Nodes and rings.

    @rule(nodeid=nodeids, foreign=st.booleans())
    def boot(self, nodeid: int, foreign: bool) -> None:
        if nodeid not in self.net.nodes:
            self._boot(nodeid, foreign)

    @rule(nodeid=nodeids)
    def kill(self, nodeid: int) -> None:
        if nodeid in self.net.nodes and len(self.net.nodes) > 1:
            self.story.kill(nodeid)

    @rule(split=st.lists(st.integers(0, 1), min_size=4, max_size=4), apart=choices)
    def form(self, split: list[int], apart: int) -> None:
        """
        Two rings, or one; some nodes do not come along with their old ring.
        """
        for side in (0, 1):
            members = [n for n in self.net.nodes if split[n - 1] == side]
            if members:
                alone = [(n,) for n in members if apart >> n & 1 and apart % 3 == 0]
                self.net.form(*members, together=alone)

    @rule(nodeid=nodeids, most=st.integers(1, 4))
    def visit(self, nodeid: int, most: int) -> None:
        if nodeid in self.net.nodes and self.net.nodes[nodeid].totem.ring:
            self.net.visit(nodeid, most)

    @rule(nodeid=nodeids, count=st.integers(1, 6))
    def receive(self, nodeid: int, count: int) -> None:
        if nodeid in self.net.nodes and self.net.nodes[nodeid].totem.ring:
            self.net.receive(nodeid, count)

    @rule(most=st.integers(1, 5))
    def rotate(self, most: int) -> None:
        self.net.rotate(most)

    @rule()
    def run(self) -> None:
        self.net.run()

    # Clients.

    @rule(nodeid=nodeids, pid=st.sampled_from(PIDS))
    def connect(self, nodeid: int, pid: int) -> None:
        if nodeid in self.net.nodes and len(self.story.clients) < 12:
            self.story.connect(nodeid, pid)

    @precondition(lambda self: self.story.clients)
    @rule(choice=choices, group=groups)
    def join(self, choice: int, group: bytes) -> None:
        if client := self._client(choice):
            self.story.join(client, group)

    @precondition(lambda self: self.story.clients)
    @rule(choice=choices, group=groups)
    def leave(self, choice: int, group: bytes) -> None:
        if client := self._client(choice):
            self.story.leave(client, group)

    @precondition(lambda self: self.story.clients)
    @rule(
        choice=choices,
        sizes=st.lists(st.sampled_from((5, 20, 130)), min_size=1, max_size=5),
    )
    def send(self, choice: int, sizes: list[int]) -> None:
        if client := self._client(choice):
            inside = [g for g, state in client.states.items() if state is State.IN]
            group = inside[choice % len(inside)] if inside else GROUPS[0]
            self.story.send(client, group, sizes, ATOMIC)

    @precondition(lambda self: self.story.clients)
    @rule(choice=choices)
    def close(self, choice: int) -> None:
        if choice % 3 == 0 and (client := self._client(choice)):
            self.story.close(client)

    def teardown(self) -> None:
        """
        Heal, calm down, and settle accounts.
        """
        if self.net.nodes:
            self.net.form(*self.net.nodes)
            self.net.run()
            self.story.checkEnd()


class MixedGroups(Groups):
    """
    The same, where some nodes know nothing of the short form.
    """

    FOREIGN = True


class StoryTests(SynchronousTestCase):
    """
    Safety at every step, and everybody served in the end.
    """

    def setUp(self) -> None:
        for module in (groupsrequests, groupssending):
            self.patch(module, "ATOMIC_MESSAGE_BYTES", ATOMIC)
        self.patch(groupssending, "LARGEST_BATCH_BYTES", ATOMIC)
        self.patch(groupssending, "IN_FLIGHT_BYTES", 600)
        self.patch(groupssync, "LISTED_PROCESSES", 2)

    def _tell(self, machine: Any) -> None:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=60,
                deadline=None,
                derandomize=EXAMPLES == 40,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    def test_wanderings(self) -> None:
        """
        Long stories from fixed seeds, thick with messages and with changes
        while they are on their way.
        """
        for seed in range(SEEDS):
            self.patch(groupssending, "IN_FLIGHT_BYTES", (600, 150, 1)[seed % 3])
            wanderer = Wanderer(Story(OrderedNet(count=4)), Random(seed), ATOMIC)
            try:
                wanderer.wander(NODES[:3], 300)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error

    def test_ownKind(self) -> None:
        """
        On rings of corotwist nodes, batches travel whole, and through every
        change all clients see one order of messages and views.
        """
        self._tell(Groups)

    def test_mixedRings(self) -> None:
        """
        The same when nodes come and go that know only corosync's form.
        """
        self._tell(MixedGroups)
