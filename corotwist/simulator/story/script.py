"""
What a story does to single datagrams, and at single moments.
"""

from collections.abc import Callable
from typing import Any

from attrs import define

from corotwist.simulator.faults import KINDS, Rule
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.story.stage import Stage
from corotwist.totem.states import In

Trigger = Callable[[], object]


@define(eq=False)
class StateTrigger:
    """
    What is to happen when a node is about to enter a state.

    @ivar nodeid: which node; L{None} for any.
    @ivar skip: so many entries are let pass first.
    """

    nodeid: int | None
    state: str
    skip: int
    action: Trigger


class Script(Stage):
    """
    A part of L{Cluster<corotwist.simulator.cluster.Cluster>}.
    """

    _triggers: list[StateTrigger]

    def drop(
        self,
        kind: str | None = None,
        source: int | None = None,
        target: int | None = None,
        count: float = 1,
        **others: Any,
    ) -> Rule:
        """
        Lose the next datagrams that match; L{Rule} tells what can be asked.
        """
        return self._rule(lambda data: [], kind, source, target, count, **others)

    def duplicate(
        self,
        kind: str | None = None,
        source: int | None = None,
        target: int | None = None,
        count: float = 1,
        after: float = 0.0,
        **others: Any,
    ) -> Rule:
        """
        Let the next datagrams that match arrive twice.
        """
        return self._rule(
            lambda data: [(0.0, data), (after, data)],
            kind,
            source,
            target,
            count,
            **others,
        )

    def delay(
        self,
        kind: str | None = None,
        source: int | None = None,
        target: int | None = None,
        count: float = 1,
        by: float = 0.0,
        **others: Any,
    ) -> Rule:
        """
        Let the next datagrams that match arrive later.
        """
        return self._rule(
            lambda data: [(by, data)], kind, source, target, count, **others
        )

    def inject(self, source: int, target: int, datagram: bytes) -> None:
        """
        Let a datagram arrive now that the node it names never sent.
        """
        self.network.inject(source, target, datagram)

    def whenSent(
        self,
        action: Trigger,
        kind: str | None = None,
        source: int | None = None,
        target: int | None = None,
        **others: Any,
    ) -> Rule:
        """
        Do something as soon as a datagram that matches was sent; it arrives.
        """

        def fate(data: bytes) -> list[tuple[float, bytes]]:
            action()
            return [(0.0, data)]

        return self._rule(fate, kind, source, target, 1, **others)

    def _rule(
        self,
        fate: Callable[[bytes], list[tuple[float, bytes]]],
        kind: str | None,
        source: int | None,
        target: int | None,
        count: float,
        **others: Any,
    ) -> Rule:
        assert kind is None or kind in KINDS, f"no kind of datagram: {kind}"
        rule = Rule(fate, kind, source, target, count, **others)
        self.network.rules.append(rule)
        return rule

    def whenState(
        self, state: In, action: Trigger, nodeid: int | None = None, skip: int = 0
    ) -> None:
        """
        Do something, once, when a node is about to tell that it entered a
        state.
        """
        self._triggers.append(StateTrigger(nodeid, state.value, skip, action))

    def forget(self) -> None:
        """
        Nothing scripted happens any more.
        """
        self.network.rules.clear()
        self._triggers.clear()

    def _entered(self, life: Life, state: str) -> None:
        for trigger in [*self._triggers]:
            if trigger.state != state or trigger.nodeid not in (None, life.nodeid):
                continue
            if trigger not in self._triggers:
                continue  # What another one did made it happen already.
            if trigger.skip:
                trigger.skip -= 1
            else:
                self._triggers.remove(trigger)
                trigger.action()
