"""
What one client has under way at one service.
"""

from typing import Any

from attrs import define, field

from corotwist.engines.keyspace import Stoppable


@define(eq=False)
class Holdings:
    """
    Trackers and iterations, by the client's own numbers.

    They belong to the connection, and stay when the engine is replaced.
    """

    trackers: dict[int, Stoppable] = field(factory=dict)
    iterations: dict[int, Any] = field(factory=dict)

    def release(self) -> None:
        """
        The client is gone.
        """
        for tracker in self.trackers.values():
            tracker.stop()
        self.trackers.clear()
        self.iterations.clear()
