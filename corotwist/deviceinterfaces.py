"""
The seams to what stands outside of a cluster and decides for it: quorum devices
and fence agents.
"""

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from corotwist.totem.membership import RingId


class IQuorumDevice(Interface):
    """
    Who has a vote besides the nodes, and gives it to one partition at most.
    """

    def start(told: Callable[[Any], object]) -> Any:
        """
        Begin.

        @param told: called with a C{corotwist.quorumdevice.values.DeviceAnswer}
            whenever there is one, for the ring that was asked about last.
        @return: L{None}, or a Deferred that fires when it has begun.
        """

    def listed(nodes: tuple[int, ...]) -> None:
        """
        The node list is another one; a vote that was given stays good.
        """

    def ask(ringId: RingId, members: tuple[int, ...], health: Any) -> None:
        """
        This is our ring: may it have the vote?  Also asked when the heuristics
        say something else: C{health} is a
        C{corotwist.quorumdevice.values.Health}.
        """

    def stop() -> Deferred[None]:
        """
        Give the vote back, and end.
        """

    def status() -> Mapping[str, Any]:
        """
        As JSON values, for people; C{summary} is a sentence.
        """


class IQuorumDeviceMaker(Interface):
    """
    The component that makes quorum devices of one model.
    """

    name = Attribute("As C{quorum.device.model} has it.")
    version = Attribute("Of the implementation, an C{int}; the highest wins.")

    def load() -> Callable[[Any, Any], IQuorumDevice]:
        """
        Import what makes the L{IQuorumDevice}, from the reactor and a
        C{corotwist.quorumdevice.values.DeviceContext}; it raises
        C{ConfigurationError} for options that cannot be used.
        """


class IFenceAgent(Interface):
    """
    Who can make sure that a node is off.
    """

    def fence(nodeid: int, reason: str) -> Deferred[str]:
        """
        Have the node switched off, or see that it is off.

        @return: fires when that is sure, with words for people.  Fails when it
            is not known.
        """

    def status() -> Mapping[str, Any]:
        """
        As JSON values, for people.
        """


class IFenceAgentMaker(Interface):
    """
    The component that makes fence agents of one kind.
    """

    name = Attribute("As C{fencing.agent} has it.")
    version = Attribute("Of the implementation, an C{int}; the highest wins.")

    def load() -> Callable[[Any, Mapping[str, str]], IFenceAgent]:
        """
        Import what makes the L{IFenceAgent}, from the reactor and the other
        options of section C{fencing}; it raises C{ConfigurationError} for those
        that cannot be used.
        """
