"""
Whose event it is: corosync's names of subsystems, from the namespace that a
C{Logger} takes of its module.
"""

from typing import Final

MAIN: Final = "MAIN"

TAGS: Final = (
    *("MAIN", "SERV", "CPG", "CMAP", "CFG", "QUORUM", "VOTEQ", "TOTEM", "KNET"),
    *("SYNC", "WD", "MON", "PLOAD", "YKD", "STATS", "APIDEF", "QB", "QDEVICE"),
)

# The longest prefix of a namespace that is here decides.
_NAMESPACES: Final = {
    "__main__": MAIN,
    "corotwist": MAIN,
    "corotwist.totem": "TOTEM",
    "corotwist.totem.knet": "KNET",
    "corotwist.engines": "SERV",
    "corotwist.engines.cfg": "CFG",
    "corotwist.engines.cmap": "CMAP",
    "corotwist.engines.confdb": "CMAP",
    "corotwist.engines.replicated": "CMAP",
    "corotwist.engines.published": "STATS",
    "corotwist.engines.cpg": "CPG",
    "corotwist.engines.groupslocal": "CPG",
    "corotwist.engines.groupssending": "CPG",
    "corotwist.engines.groupsstate": "CPG",
    "corotwist.engines.groupssync": "CPG",
    "corotwist.engines.outgoing": "CPG",
    "corotwist.engines.mon": "MON",
    "corotwist.engines.pload": "PLOAD",
    "corotwist.engines.external": "QUORUM",
    "corotwist.engines.majority": "QUORUM",
    "corotwist.engines.provider": "QUORUM",
    "corotwist.engines.quorum": "QUORUM",
    "corotwist.engines.qdevice": "QDEVICE",
    "corotwist.engines.sync": "SYNC",
    "corotwist.engines.votequorum": "VOTEQ",
    "corotwist.engines.wd": "WD",
    "corotwist.engines.ykd": "YKD",
    # Libqb does for corosync what this room does here: local clients.
    "corotwist.ipc": "QB",
    # What is said in Twisted's old way has no namespace of its own.
    "log_legacy": MAIN,
    "stderr": MAIN,
    "stdout": MAIN,
}

# A namespace is a name in somebody's source: more than this are a mistake, and
# are looked up each time.
MOST_NAMESPACES: Final = 4096
LONGEST_TAG: Final = 32


class Tags:
    """
    Looks tags up, and remembers them.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, namespace: str) -> str:
        """
        The tag of a namespace.  Code of others, a third-party engine for one,
        has its package's name.
        """
        tag = self._known.get(namespace)
        if tag is None:
            tag = tagOf(namespace)
            if len(self._known) < MOST_NAMESPACES:
                self._known[namespace] = tag
        return tag


def tagOf(namespace: str) -> str:
    """
    The tag of a namespace, from the table.
    """
    name = namespace
    while name:
        if name in _NAMESPACES:
            return _NAMESPACES[name]
        name = name.rpartition(".")[0]
    package = namespace.partition(".")[0]
    return package[:LONGEST_TAG].upper() if package.isidentifier() else MAIN
