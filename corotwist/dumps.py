"""
The state of a node in a file, for people and their tools.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# Nobody else's business: it names clients and what they do.
MODE: Final = 0o600


def dumpPath(directory: str, nodeid: int) -> Path:
    """
    Where the state of a node is written; there is one file, the latest.
    """
    return Path(directory) / f"state_{nodeid}.json"


def writeDump(directory: str, nodeid: int, state: Mapping[str, Any]) -> str:
    """
    Write the state, whole or not at all.

    @return: the path of the file.
    @raise OSError: it cannot be written.
    """
    path = dumpPath(directory, nodeid)
    fresh = path.with_suffix(".new")
    text = json.dumps(state, default=str, indent=1, sort_keys=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    fresh.replace(path)
    return str(path)
