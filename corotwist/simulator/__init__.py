"""
A whole cluster in one process, on virtual time.
"""

from corotwist.simulator.checkers import Violation
from corotwist.simulator.cluster import Cluster, PromiseBroken, timingFor
from corotwist.simulator.faults import CALM, Faults

__all__ = ["CALM", "Cluster", "Faults", "PromiseBroken", "Violation", "timingFor"]
