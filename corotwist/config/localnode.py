"""
Which entry of the node list is this machine?

Corosync's order of search: the host name as the system gives it; the name with
domain parts removed one by one; short names compared; addresses of the
interfaces, and their names; every configured name resolved.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from attrs import frozen
from zope.interface import Interface

from corotwist.config.settings import Address


class IHost(Interface):
    """
    What a configuration has to know of the machine it is read on.
    """

    def hostName() -> str:
        """
        The name that the system has for itself.
        """

    def addresses() -> Sequence[Address]:
        """
        The addresses of all interfaces.
        """

    def isLocal(address: Address) -> bool:
        """
        Could a socket be bound to it?  All of 127.0.0.0/8 can.
        """

    def names(address: Address) -> Sequence[str]:
        """
        The names of an address, by reverse resolution; it may take seconds.
        """

    def resolve(name: str) -> Sequence[Address]:
        """
        The addresses of a name, in order of preference; none when there is no
        such name.  It may take seconds.
        """

    def userId(name: str) -> int | None:
        """
        The number of a user, if there is one of that name.
        """

    def groupId(name: str) -> int | None:
        """
        The number of a group, if there is one of that name.
        """


@frozen
class Candidate:
    """
    An entry of the node list, as far as the search goes.

    @ivar text: C{ring0_addr} as written.
    @ivar addresses: C{text}, or what it resolves to.
    """

    name: str
    text: str
    addresses: tuple[Address, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """
        The names it can be known by; corosync takes an address for one.
        """
        return (self.name, self.text) if self.name else (self.text,)


def find(candidates: Sequence[Candidate], host: IHost) -> int | None:
    """
    The place of our own entry in C{candidates}.
    """
    hostName = host.hostName()
    for name in truncations(hostName):
        found = _labelled(candidates, name)
        if found is not None:
            return found
    found = _labelledShort(candidates, hostName)
    if found is None:
        found = _atInterface(candidates, host)
    if found is None:
        found = _bindable(candidates, host)
    return found


def truncations(name: str) -> Iterator[str]:
    """
    The name, then with its last domain part removed, and so on.
    """
    while name:
        yield name
        name = name.rpartition(".")[0]


def _labelled(candidates: Sequence[Candidate], name: str) -> int | None:
    return next(
        (at for at, one in enumerate(candidates) if name in one.labels),
        None,
    )


def _labelledShort(candidates: Sequence[Candidate], name: str) -> int | None:
    """
    Node 1 says C{one.a.example}, the file C{one.b.example}.  Addresses have
    no short form.
    """
    short = name.partition(".")[0]
    return next(
        (
            at
            for at, one in enumerate(candidates)
            for label in one.labels
            if not isAddress(label) and label.partition(".")[0] == short
        ),
        None,
    )


def _atInterface(candidates: Sequence[Candidate], host: IHost) -> int | None:
    local = [a for a in host.addresses() if not a.is_loopback]
    for address in local:
        found = _labelled(candidates, str(address))
        if found is not None:
            return found
    for address in local:
        for full in host.names(address):
            for name in truncations(full):
                found = _labelled(candidates, name)
                if found is not None:
                    return found
    return None


def _bindable(candidates: Sequence[Candidate], host: IHost) -> int | None:
    return next(
        (
            at
            for at, one in enumerate(candidates)
            if any(map(host.isLocal, one.addresses))
        ),
        None,
    )


def isAddress(text: str) -> bool:
    """
    Is it an IP address in numbers?
    """
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
