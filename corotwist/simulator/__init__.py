"""
A whole cluster in one process, on virtual time.
"""

from corotwist.simulator.cluster import Cluster
from corotwist.simulator.faults import CALM, Faults
from corotwist.simulator.judges.judge import Violation
from corotwist.simulator.jury import PromiseBroken
from corotwist.simulator.node import timingFor

__all__ = ["CALM", "Cluster", "Faults", "PromiseBroken", "Violation", "timingFor"]
