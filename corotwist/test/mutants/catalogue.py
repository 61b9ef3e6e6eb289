"""
All of them, and where to look for those that drawn runs do not find.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from corotwist.test.mutants.gating import GATING
from corotwist.test.mutants.membership import MEMBERSHIP
from corotwist.test.mutants.mutant import Mutant
from corotwist.test.mutants.ordering import FLOW, ORDERING, PACKING, RECOVERY
from corotwist.test.mutants.pausing import PAUSING
from corotwist.test.mutants.replacing import REPLACING
from corotwist.test.mutants.services import GROUPS, QUORUM, SYNCHRONIZATION
from corotwist.test.mutants.telling import TELLING
from corotwist.test.mutants.viewing import VIEWING


@frozen
class Room:
    """
    Errors of one kind.

    @ivar tests: the stories about it, below C{corotwist.test}.
    """

    mutants: Sequence[Mutant]
    tests: Sequence[str]

    @property
    def stories(self) -> tuple[str, ...]:
        """
        Their whole names.
        """
        return tuple(f"corotwist.test.{test}" for test in self.tests)


ROOMS: Final[Mapping[str, Room]] = {
    "order": Room(
        ORDERING,
        (
            "scenarios.test_safe",
            "scenarios.test_ordering",
            "scenarios.test_networks",
            "totem.test_ring",
        ),
    ),
    "flow control": Room(FLOW, ("scenarios.test_ordering", "totem.test_flow")),
    "stability and leases": Room(TELLING, ("totem.test_stability", "totem.test_lease")),
    "recovery": Room(
        RECOVERY,
        ("scenarios.test_recovery", "scenarios.test_commit", "totem.test_ring"),
    ),
    "packing": Room(
        PACKING,
        ("scenarios.test_packing", "totem.test_fragments", "totem.test_transport"),
    ),
    "membership": Room(
        MEMBERSHIP,
        (
            "scenarios.test_solitude",
            "scenarios.test_gather",
            "scenarios.test_commit",
            "scenarios.test_identity",
            "scenarios.test_time",
            "totem.test_ring",
        ),
    ),
    "synchronization": Room(
        SYNCHRONIZATION, ("scenarios.test_synchronization", "engines.test_sync")
    ),
    "process groups": Room(
        GROUPS,
        ("scenarios.test_groups", "scenarios.test_synchronization", "engines.test_cpg"),
    ),
    "quorate groups": Room(
        GATING, ("engines.test_quorategroups", "engines.test_receipts")
    ),
    "views": Room(
        VIEWING,
        (
            "engines.test_views",
            "engines.test_parting",
            "engines.test_standing",
            "engines.test_groupssync",
            "engines.test_cpg",
        ),
    ),
    "slow readers": Room(PAUSING, ("scenarios.test_flow", "engines.test_flow")),
    "replacing": Room(REPLACING, ("scenarios.test_replacing", "engines.test_changes")),
    "quorum": Room(
        QUORUM,
        (
            *("scenarios.test_quorum", "engines.test_votequorum", "engines.test_votes"),
            *("engines.test_voteoptions", "engines.test_basis"),
        ),
    ),
}
MUTANTS: Final[Mapping[str, Mutant]] = {
    mutant.name: mutant for room in ROOMS.values() for mutant in room.mutants
}
STORIES: Final[Mapping[str, Sequence[str]]] = {
    mutant.name: room.stories for room in ROOMS.values() for mutant in room.mutants
}
