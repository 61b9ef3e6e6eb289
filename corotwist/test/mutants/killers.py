"""
How each error was last found, for the test suite to find it again quickly.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import asdict

from corotwist.test.mutants.hunt import Find

FILE: Final = Path(__file__).with_name("killers.json")


def load() -> dict[str, Find]:
    """
    By the names of the errors.
    """
    return {name: Find(**find) for name, find in json.loads(FILE.read_text()).items()}


def save(finds: Mapping[str, Find]) -> None:
    """
    Keep what is known of the others.
    """
    known = load() if FILE.exists() else {}
    known |= finds
    text = {name: asdict(find) for name, find in sorted(known.items())}
    FILE.write_text(json.dumps(text, indent=0) + "\n")
