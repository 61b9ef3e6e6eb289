"""
Sessions that hypothesis makes, and makes small: valid messages, in any order.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines.executive import SERVICES_GROUP, SYNC_GROUP, address, whole
from corotwist.test import strategies
from corotwist.test.fuzz import parts
from corotwist.test.fuzz.hunt import Crash
from corotwist.test.fuzz.services import TAG_BIG
from corotwist.test.fuzz.targets import targets

short = settings(strategies.thorough, max_examples=40)
tags = st.integers(0, 255)
ringParts = st.tuples(tags, strategies.ringMessages.map(lambda m: m.encode()))
# As little endian; the bit that says otherwise is not set.
serviceParts = st.tuples(
    tags.map(lambda tag: tag & ~TAG_BIG),
    strategies.executiveMessages.map(
        lambda message: address(
            SYNC_GROUP if message.NAME.startswith("sync") else SERVICES_GROUP,
            whole(message),
        )
    ),
)


def boxParts() -> st.SearchStrategy[parts.Part]:
    """
    What is rightly said, to whoever.
    """
    known = targets()
    said = {
        part
        for name in ("node", "client")
        for seed in known[name].seeds()
        for _, part in parts.split(seed)
    }
    return st.tuples(tags, st.sampled_from(sorted(said)))


def sessions(part: st.SearchStrategy[parts.Part]) -> Callable[..., Any]:
    """
    Runs of such parts.
    """
    return given(st.lists(part, max_size=12).map(parts.join))


class SessionTests(SynchronousTestCase):
    """
    What valid messages do, one after the other.
    """

    def setUp(self) -> None:
        self.targets = targets()

    def tried(self, name: str, data: bytes) -> None:
        error = self.targets[name].tried(data)
        if error is not None:
            self.fail(str(Crash(self.targets[name], data, error)))

    @short
    @sessions(ringParts)
    def test_rings(self, data: bytes) -> None:
        """
        Any messages of a ring, in any state.
        """
        for name in self.targets:
            if name.startswith("ring."):
                self.tried(name, data)

    @short
    @sessions(serviceParts)
    def test_services(self, data: bytes) -> None:
        """
        Anything that services say.
        """
        self.tried("services", data)

    @short
    @sessions(boxParts())
    def test_boxes(self, data: bytes) -> None:
        """
        Any commands, from a client to its node and from a node to its client.
        """
        self.tried("node", data)
        self.tried("client", data)

    @short
    @given(st.binary(max_size=200))
    def test_bytes(self, data: bytes) -> None:
        """
        Any bytes, everywhere.
        """
        for name in self.targets:
            self.tried(name, data)
