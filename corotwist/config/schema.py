"""
Every option of corosync.conf, one row each, and our own.

A row that does not act in this release still belongs here: the file of a
running corosync cluster is taken as it is, a mistyped name is told from a name
that is merely of no use to us, and what cannot be left out safely is refused
with the thing to do about it.
"""

from difflib import get_close_matches
from typing import Final

from corotwist.config.fencingoptions import FENCING
from corotwist.config.nodeoptions import NODE
from corotwist.config.ringoptions import RING
from corotwist.config.row import Row

ROWS: Final = (*RING, *FENCING, *NODE)

# Sections of which each occurrence is an entry of its own.
REPEATED: Final = frozenset(
    (
        "totem.interface",
        "totem.interface.member",
        "nodelist.node",
        "logging.logger_subsys",
        "logging.logging_daemon",
        "uidgid",
        "nozzle",
        "service",
    )
)


class Schema:
    """
    The rows, to be asked.
    """

    def __init__(self, rows: tuple[Row, ...] = ROWS) -> None:
        self._byName = {row.name: row for row in rows if not row.name.endswith("*")}
        self._prefixes = [
            (row.name[:-1], row) for row in rows if row.name.endswith("*")
        ]
        self.sections = frozenset(
            ".".join(parts[:depth])
            for row in rows
            for parts in (row.name.split("."),)
            for depth in range(1, len(parts))
        )

    def row(self, name: str) -> Row | None:
        """
        The row of a dotted name.
        """
        exact = self._byName.get(name)
        if exact is not None:
            return exact
        return next(
            (row for prefix, row in self._prefixes if name.startswith(prefix)), None
        )

    def isSection(self, name: str) -> bool:
        """
        May there be a section of this dotted name?
        """
        return name in self.sections or any(
            name.startswith(prefix)
            for prefix, _ in self._prefixes
            if prefix.endswith(".")
        )

    def suggestion(self, name: str) -> str:
        """
        What may have been meant by a name that we do not know: a clause to
        put behind a sentence, or nothing.
        """
        section, _, last = name.rpartition(".")
        elsewhere = [
            row.section
            for row in self._byName.values()
            if row.name.endswith(f".{last}")
        ]
        siblings = [
            known.rpartition(".")[2]
            for known in (*self._byName, *self.sections)
            if known.rpartition(".")[0] == section
        ]
        if elsewhere and elsewhere[0] != section:
            return f"; it belongs into section {elsewhere[0]}"
        close = get_close_matches(last, siblings, 1)
        if close:
            return f"; did you mean {close[0]}?"
        anywhere = {known.rpartition(".")[2]: known for known in self._byName}
        close = get_close_matches(last, list(anywhere), 1)
        return f"; did you mean {anywhere[close[0]]}?" if close else ""
