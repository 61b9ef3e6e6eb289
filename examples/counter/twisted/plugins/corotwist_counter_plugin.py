"""
Names the engine; nothing is imported before a node wants it.
"""

from corotwist.plugin import EngineMaker

counter = EngineMaker(
    "counter",
    1,
    "corotwist_counter.engine.CounterEngine",
    "corotwist_counter.ipc.CounterLocator",
)
