"""
Which node may speak from which address.

Two machines with one nodeid are two senders that nobody can tell apart: the
ring of the others never comes to rest.  But each has an address of its own,
and the node list says whose that is.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

from corotwist.errors import ForgedFrame, NodeidTaken, WireError
from corotwist.totem.frame import TYPE_AT, claimedSender
from corotwist.totem.wire import Regular

# Data frames from an address that spoke in the name of another node are not
# heard for so many seconds, or until it speaks in its own: who sends them does
# not stand in them, and those of a foreign ring would end ours.
DISTRUST: Final = 10.0

_DATA: Final = bytes([Regular.TYPE])
_TYPE: Final = slice(TYPE_AT, TYPE_AT + 1)


class Origins:
    """
    Compares who a datagram says it is from with where it came from.

    An address of the node list speaks for its node only.  Whoever else names
    us is another machine, and somebody has to hear of it.

    @param nodeid: our own.
    @param hosts: the nodes by their addresses, as sockets spell them; an
        address that is missing here is nobody's.
    @param complete: no node speaks from any other address.
    """

    def __init__(
        self, nodeid: int, hosts: Mapping[str, int], *, complete: bool
    ) -> None:
        self._nodeid = nodeid
        self._hosts = dict(hosts)
        self._exclusive: Collection[int] = frozenset(hosts.values() if complete else ())
        # By the node of the address; all that is nobody's goes together.
        self._distrusted: dict[int | None, float] = {}

    def admitted(
        self,
        datagrams: Sequence[bytes],
        host: str,
        now: float,
        dropped: Callable[[WireError], None],
    ) -> Sequence[bytes]:
        """
        Those of C{datagrams}, plain ones, that C{host} may send.

        Data frames do not name who sends them: whoever has one sends it
        again, byte by byte.  Mostly there is nothing else.

        @param dropped: called with what is wrong with each of the others.
        """
        if not self._distrusted:
            for datagram in datagrams:
                if datagram[_TYPE] != _DATA:
                    break
            else:
                return datagrams
        accepted = []
        for datagram in datagrams:
            try:
                self._check(datagram, host, now)
            except WireError as error:
                dropped(error)
            else:
                accepted.append(datagram)
        return accepted

    def sealCheck(self, host: str, now: float) -> Callable[[int], None]:
        """
        What a sealed datagram from C{host} has to pass, given who sealed it.
        """
        return partial(self.checkNode, host, now)

    def checkNode(self, host: str, now: float, claimed: int) -> None:
        """
        May C{host} speak for that node?

        @raise NodeidTaken: nobody else may speak for us.
        @raise ForgedFrame: the address, or the nodeid, is another's.
        """
        owner = self._hosts.get(host)
        if claimed == owner:
            self._distrusted.pop(owner, None)
            return
        if claimed == self._nodeid:
            self._distrusted[owner] = now + DISTRUST
            raise NodeidTaken(
                f"another machine, {host}, uses our nodeid {claimed}:"
                " check the nodelist there, and ours"
            )
        if owner is not None:
            self._distrusted[owner] = now + DISTRUST
            raise ForgedFrame(
                f"{host} is the address of node {owner}, but says that it is"
                f" node {claimed}: check the nodelist there, and ours"
            )
        if claimed in self._exclusive:
            self._distrusted[owner] = now + DISTRUST
            raise ForgedFrame(
                f"{host}, which is not in the node list, says that it is node {claimed}"
            )

    def _check(self, datagram: bytes, host: str, now: float) -> None:
        claimed = claimedSender(datagram)
        if claimed is not None:
            self.checkNode(host, now, claimed)
            return
        owner = self._hosts.get(host)
        until = self._distrusted.get(owner)
        if until is None:
            return
        if now < until:
            raise ForgedFrame(f"{host} spoke in the name of another node")
        del self._distrusted[owner]
