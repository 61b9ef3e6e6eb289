"""
What clients have under way at a service.
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


@define(eq=False)
class AllHoldings:
    """
    Those of all clients of one service; handed over when its engine is.
    """

    _all: dict[Holdings, None] = field(factory=dict, init=False)

    def opened(self) -> Holdings:
        """
        A client connected.
        """
        holdings = Holdings()
        self._all[holdings] = None
        return holdings

    def closed(self, holdings: Holdings) -> None:
        """
        It is gone.
        """
        self._all.pop(holdings, None)
        holdings.release()

    def release(self) -> None:
        """
        The service is gone.
        """
        for holdings in self._all:
            holdings.release()
        self._all.clear()

    def handOver(self) -> "AllHoldings":
        """
        Give everything to another one.
        """
        given = AllHoldings()
        given._all, self._all = self._all, {}
        return given
