"""
C{corotwist sim --ring N}: rings of 2, 4, 8 … N nodes.
"""

import json
from collections.abc import Iterator
from typing import Final

from attrs import asdict

from corotwist.simulator.swarm.growth import Growth, grow
from corotwist.tools.asking import envelope

SMALLEST: Final = 2
HEAD: Final = (
    "| nodes | forms in | token round | forms again in"
    " | datagrams a node | KiB a node | most of it | time of a core |\n"
    "|---|---|---|---|---|---|---|---|"
)


def sizes(largest: int) -> Iterator[int]:
    """
    Powers of two up to the largest, and that one.
    """
    size = SMALLEST
    while size < largest:
        yield size
        size *= 2
    yield largest


def row(growth: Growth) -> str:
    """
    Of a table.
    """
    return (
        f"| {growth.size} | {growth.forming * 1000:.0f} ms"
        f" | {growth.rotation * 1000:.1f} ms"
        f" | {growth.formingAgain:.2f} s"
        f" | {growth.datagrams:.0f} | {growth.amount / 1024:.0f}"
        f" | {growth.kind}, {growth.share:.0%} | {growth.busy:.1f} s |"
    )


def run(largest: int, *, asJson: bool = False) -> int:
    """
    Print the table, a row as soon as it is known.
    """
    if not asJson:
        print(HEAD)
    for size in sizes(largest):
        growth = grow(size)
        print(
            json.dumps(envelope("sim-ring", **asdict(growth)))
            if asJson
            else row(growth),
            flush=True,
        )
    return 0
