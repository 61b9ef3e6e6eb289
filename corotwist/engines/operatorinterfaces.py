"""
What the cfg service offers to local clients, and the values exchanged.
"""

from enum import IntEnum
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface


class Insistence(IntEnum):
    """
    How much somebody wants the node to stop; corosync's numbers.

    @cvar REQUEST: if nobody objects.
    @cvar REGARDLESS: whoever wants to be asked is asked, and may object.
    @cvar IMMEDIATE: nobody is asked, and nothing holds it up.
    """

    REQUEST = 0
    REGARDLESS = 1
    IMMEDIATE = 2


@frozen
class Objection:
    """
    A local process against a shutdown.

    @ivar name: of the program; may be empty.
    @ivar why: for people.
    """

    pid: int
    name: str
    why: str

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"process {self.pid}{name} {self.why}"


class IShutdownTracker(Interface):
    """
    A local client that wants to be asked before the node stops.
    """

    pid = Attribute("The client's process id.")
    name = Attribute("The name of its program, for people; may be empty.")

    def shutdownProposed(how: Insistence) -> None:
        """
        Somebody wants the node to stop: answer with
        L{IOperator.replyToShutdown}.
        """

    def shutdownWithdrawn() -> None:
        """
        Nobody waits for the answer any more.
        """


@frozen
class LinkStatus:
    """
    One link to a node, as it is seen from here.

    @ivar enabled: is it configured?
    @ivar connected: is something heard there?
    @ivar dynconnected: is it an address that was not configured?
    @ivar mtu: bytes of the largest datagram.
    @ivar source: our address.
    @ivar destination: the other node's.
    """

    enabled: bool
    connected: bool
    dynconnected: bool
    mtu: int
    source: str
    destination: str


@frozen
class NodeStatus:
    """
    A node, as it is seen from here; corosync's version 1.

    @ivar remote: is it one that does not take part in the ring?  There are
        none.
    @ivar external: is it managed by something else?  There are none.
    @ivar wireMin: the oldest version of the wire that it understands; 0 when
        that is not told.
    @ivar wireMax: the newest.
    @ivar wireVersion: the one in use.
    @ivar links: those that are configured, by number.
    """

    nodeid: int
    reachable: bool
    remote: bool
    external: bool
    wireMin: int
    wireMax: int
    wireVersion: int
    links: tuple[LinkStatus, ...]


@frozen
class RingStatus:
    """
    One link of this node.

    @ivar name: its number and our address.
    @ivar status: what is to be said about it.
    """

    name: str
    status: str


class IOperator(Interface):
    """
    What operators ask of nodes: the cfg service.
    """

    def reload(
        *, dryRun: bool = False, force: bool = False, local: bool = False
    ) -> Deferred[dict[str, Any]]:
        """
        Read the configuration again, on every member of the ring.  Either all
        of them apply what can be applied while they run, or none.

        @param dryRun: only tell what would be.
        @param force: take an older C{config_version}, too.
        @param local: on this node only.
        @return: fires with a report of JSON values: C{status}, one of
            C{'applied'}, C{'checked'} and C{'refused'}; C{reason}; C{restart},
            whether something needs one; C{nodes}, a report of each by nodeid.
            Fails with L{Busy} while another reload is on its way and with
            L{TryAgain} when the membership changes; nothing changed then.
        """

    def reopenLogs() -> None:
        """
        Open the log files of this node anew.
        """

    def dumpLogs(reason: str) -> Deferred[str]:
        """
        Write the flight recorder of this node to a file.

        @return: fires with its path.
        """

    def killNode(nodeid: int, reason: str) -> Deferred[None]:
        """
        Have a member of the ring, maybe this node, end at once: without a
        farewell, and with exit status 255.

        @param reason: at most 255 bytes; every node has it in its log.
        @return: fires when that is on its way.  Fails with L{NotExist} when
            there is no such member, L{InvalidParameter}, L{TryAgain}.
        """

    def tryShutdown(how: Insistence, who: str) -> Deferred[tuple[Objection, ...]]:
        """
        Stop this node.

        @param who: asks for it, for people.
        @return: fires as soon as it is certain, with those who objected in
            vain.  Fails with L{Vetoed} when somebody objects, which silence is
            too; with L{Exists} when another one has asked already; with
            L{TryAgain} when the node stops anyway.
        """

    def trackShutdown(tracker: IShutdownTracker) -> None:
        """
        Ask this one, too, before the node stops.

        @raise Exists: it is asked already.
        @raise NoSpace: too many others are.
        """

    def untrackShutdown(tracker: IShutdownTracker) -> None:
        """
        It is gone, or does not mind: an answer that it owes is a yes.

        @raise NotExist: it was not asked.
        """

    def replyToShutdown(tracker: IShutdownTracker, *, yes: bool) -> None:
        """
        What it says.

        @raise AccessDenied: nobody waits for its answer.
        """

    def nodeStatus(nodeid: int) -> NodeStatus:
        """
        How a node is.

        @param nodeid: 0 for this one.
        @raise NotExist: it is not configured, and not here.
        """

    def ringStatus() -> tuple[RingStatus, ...]:
        """
        The links of this node.
        """

    def nodeAddresses(nodeid: int) -> tuple[str, ...]:
        """
        Those that are configured for a node, by link.

        @param nodeid: 0 for this one.
        @raise NotExist: it is not configured.
        """

    def localNodeid() -> int:
        """
        Our own.
        """
