"""
The databases of a node: its configuration and what happens to it, and its
statistics.
"""

from collections.abc import Iterable
from random import Random
from typing import Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from corotwist.config.flat import FlatMap
from corotwist.config.keys import typeOf
from corotwist.config.schema import REPEATED, ROWS
from corotwist.config.store import TreeObject
from corotwist.config.tracking import Watcher
from corotwist.config.tree import MOST_OBJECTS, ObjectTree
from corotwist.config.values import Value
from corotwist.errors import NotSupported
from corotwist.handles import HandleDatabase

# What clients cannot write, as in corosync: beginnings, and whole names.
READ_ONLY_PREFIXES: Final = (
    *("internal_configuration.", "runtime.services.", "runtime.config."),
    *("runtime.totem.", "uidgid.config.", "system.", "nodelist."),
    # Ours: with plugin_dir, whoever writes it into the file runs code as the daemon.
    "corotwist.",
)
READ_ONLY: Final = (
    *("totem.crypto_cipher", "totem.crypto_hash", "totem.crypto_model"),
    *("totem.keyfile", "totem.key", "totem.secauth", "totem.ip_version"),
    *("totem.rrp_mode", "totem.transport", "totem.cluster_name", "totem.netmtu"),
    *("totem.threads", "totem.version", "totem.nodeid", "totem.clear_node_high_bit"),
    *("config.reload_in_progress", "config.totemconfig_reload_in_progress"),
)
# Besides, where votes are counted.
READ_ONLY_VOTES: Final = (
    *("quorum.allow_downscale", "quorum.wait_for_all", "quorum.last_man_standing"),
    *("quorum.last_man_standing_window", "quorum.expected_votes_tracking"),
    *("quorum.auto_tie_breaker", "quorum.auto_tie_breaker_node"),
)
# Users and groups have a key each, and the file has their names.
UNLIKE_THE_FILE: Final = "uidgid."
CLEARING: Final = "stats.clear."


def _clear(name: str, value: Value) -> None:
    """
    For counters that nobody counts.
    """
    raise NotSupported(f"there is nothing that {name} clears")


class Database:
    """
    What a node knows of itself.  Keys that the configuration file may have keep
    their types.

    @ivar tree: configuration and run-time values, as objects.
    @ivar map: the same, as corosync's C{icmap}.
    @ivar statistics: corosync's C{stats}, a tree of its own.
    """

    _log = Logger()

    def __init__(self, random: Random | None = None) -> None:
        self.tree = self._tree(random)
        self.map = FlatMap(self.tree)
        self.statistics = FlatMap(self._tree(random))
        for row in ROWS:
            if not row.name.startswith(UNLIKE_THE_FILE):
                self.tree.keepType(row.name, typeOf(row))
        for prefix in READ_ONLY_PREFIXES:
            self.map.protect(prefix, prefix=True)
        for name in READ_ONLY:
            self.map.protect(name)
        self.statistics.protect("", prefix=True)
        self.statistics.onWrite(CLEARING, _clear, prefix=True)

    @classmethod
    def of(
        cls, items: Iterable[tuple[str, Value]], random: Random | None = None
    ) -> "Database":
        """
        With these keys in its map.
        """
        database = cls(random)
        with database.tree.transaction():
            for name, value in items:
                database.map.set(name, value)
        return database

    def protectVotes(self) -> None:
        """
        Votes are counted here: clients do not change the rules of it.
        """
        for name in READ_ONLY_VOTES:
            self.map.protect(name)

    def _tree(self, random: Random | None) -> ObjectTree:
        handles: HandleDatabase[TreeObject] = HandleDatabase(most=MOST_OBJECTS)
        if random is not None:
            handles = HandleDatabase(random=random, most=MOST_OBJECTS)
        return ObjectTree(handles, REPEATED, self._failed)

    def _failed(self, watcher: Watcher, error: Exception) -> None:
        self._log.failure(
            "What watches {name} failed", failure=Failure(error), name=watcher.name
        )
