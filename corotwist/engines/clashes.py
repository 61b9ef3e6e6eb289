"""
Do all nodes mean the same by the number of a service?
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final, Self

from attrs import define, field, frozen
from twisted.logger import Logger

from corotwist.engines.compact import HEADER_BYTES, Header, Kind, header
from corotwist.errors import BadCount, TruncatedFrame
from corotwist.totem.membership import RingId

# Of one node; more than it can have synchronize.
MOST_NAMES: Final = 256
# Shown to people; there is one for each pair of names and node at most.
MOST_CLASHES: Final = 64

_NAME: Final = Struct("<HB")


@frozen
class ServiceNames:
    """
    The services of a node, after the common header, one behind the other up to
    the end::

        offset  size  field
             0     2  service id
             2     1  length of the name
             3        the name, UTF-8
    """

    ringId: RingId
    names: tuple[tuple[int, str], ...]

    def encode(self) -> bytes:
        """
        The whole body.
        """
        parts = [header(Kind.NAMES, 0, self.ringId)]
        for service, name in self.names[:MOST_NAMES]:
            encoded = name.encode()[:255]
            parts += (_NAME.pack(service, len(encoded)), encoded)
        return b"".join(parts)

    @classmethod
    def decode(cls, common: Header, body: bytes) -> Self:
        """
        Parse what follows the common header.

        @raise WireError: it is not that.
        """
        names: list[tuple[int, str]] = []
        offset = HEADER_BYTES
        while offset < len(body):
            if len(names) == MOST_NAMES:
                raise BadCount(f"more than {MOST_NAMES} services")
            end = offset + _NAME.size
            if end > len(body):
                raise TruncatedFrame("a service without its name")
            service, length = _NAME.unpack_from(body, offset)
            offset = end + length
            if offset > len(body):
                raise TruncatedFrame("a service with a part of its name")
            names.append((service, body[end:offset].decode("utf-8", "replace")))
        return cls(common.ringId, tuple(names))


@define(eq=False)
class Clashes:
    """
    What nodes of this ring have under numbers or names that mean something
    else here.
    """

    _log: Logger = field(factory=Logger)
    _found: dict[str, None] = field(factory=dict)

    def forget(self) -> None:
        """
        The ring is another one.
        """
        self._found.clear()

    def heard(
        self,
        nodeid: int,
        theirs: Iterable[tuple[int, str]],
        ours: Iterable[tuple[int, str]],
    ) -> None:
        """
        A node tells its services.
        """
        byNumber = dict(ours)
        byName = {name: number for number, name in byNumber.items()}
        for number, name in theirs:
            own = byNumber.get(number)
            if own is not None and own != name:
                self._clash(
                    f"service {number} is {own} here and {name} on node {nodeid}"
                )
            elif byName.get(name, number) != number:
                self._clash(
                    f"{name} is service {byName[name]} here and {number} on node "
                    f"{nodeid}"
                )

    def _clash(self, sentence: str) -> None:
        if sentence in self._found or len(self._found) >= MOST_CLASHES:
            return
        self._found[sentence] = None
        self._log.critical(
            "Messages of these services will be misunderstood: {clash}", clash=sentence
        )

    def status(self) -> list[str]:
        """
        For people.
        """
        return list(self._found)
