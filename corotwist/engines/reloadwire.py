"""
What nodes say to each other when a cluster reloads its configuration, in the
short form: C{docs/protocol-compact.md}.  After the common header::

    offset  size  field
         0     1  kind: 1 proposal, 2 report, 3 end
         1     4  nodeid of whoever asks
         5     4  its number of the reload
         9     1  proposal: 1 dry run, 2 force; report: 1 refused; end: 0
        10        report: JSON; end: why, in UTF-8
"""

import json
from enum import IntEnum, IntFlag
from struct import Struct
from typing import Any, Final, Self

from attrs import frozen

from corotwist.errors import BadCount, TruncatedFrame

# Of what follows the fixed part.  It is a summary: see C{Proposal.report}.
LARGEST_REPORT_BYTES: Final = 256 << 10

_LAYOUT: Final = Struct("<BIIB")


class Kind(IntEnum):
    """
    What a message is.
    """

    PROPOSAL = 1
    REPORT = 2
    END = 3


class Wish(IntFlag):
    """
    How to reload.

    @cvar DRY_RUN: only tell what would be.
    @cvar FORCE: take an older configuration, too.
    """

    NOTHING = 0
    DRY_RUN = 1
    FORCE = 2


_REFUSED: Final = 1

Id = tuple[int, int]


@frozen
class ReloadMessage:
    """
    Any of them.

    @ivar reload: which one it is about: who asked, and a number.
    @ivar flags: of a proposal a L{Wish}; of a report whether it is a refusal.
    """

    kind: Kind
    reload: Id
    flags: int = 0
    text: bytes = b""

    def encode(self) -> bytes:
        """
        What follows the common header.
        """
        return _LAYOUT.pack(self.kind, *self.reload, self.flags) + self.text

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """
        Parse what follows the common header.

        @raise TruncatedFrame: when a part is missing.
        @raise BadCount: for an unknown kind, or too long a text.
        """
        if len(body) < _LAYOUT.size:
            raise TruncatedFrame(f"{len(body)} bytes about a reload")
        kind, nodeid, number, flags = _LAYOUT.unpack_from(body)
        text = body[_LAYOUT.size :]
        if kind not in tuple(Kind) or len(text) > LARGEST_REPORT_BYTES:
            raise BadCount(f"reload: kind {kind}, {len(text)} bytes")
        return cls(Kind(kind), (nodeid, number), flags, text)

    @classmethod
    def proposal(cls, reload: Id, wish: Wish) -> Self:
        """
        Everybody read, and say what you would do.
        """
        return cls(Kind.PROPOSAL, reload, wish)

    @classmethod
    def report(cls, reload: Id, report: Any) -> Self:
        """
        What we would do.
        """
        text = json.dumps(report, sort_keys=True).encode()
        return cls(Kind.REPORT, reload, _REFUSED if report["refused"] else 0, text)

    @classmethod
    def end(cls, reload: Id, why: str) -> Self:
        """
        Whoever asked does not wait any longer.
        """
        return cls(Kind.END, reload, 0, why.encode())

    @property
    def refused(self) -> bool:
        """
        Of a report.
        """
        return bool(self.flags & _REFUSED)

    @property
    def wish(self) -> Wish:
        """
        Of a proposal; what we do not know is not done.
        """
        return Wish(self.flags) & (Wish.DRY_RUN | Wish.FORCE)

    def told(self) -> dict[str, Any]:
        """
        The report, as its sender wrote it.

        @raise BadCount: it is no report.
        """
        try:
            report = json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise BadCount(f"a report that is no JSON: {error}") from error
        if not isinstance(report, dict):
            raise BadCount("a report that is no object")
        return report
