"""
Inputs that are kept, a line of hex digits each, in a file for each target.

A line with a remark behind C{#} tells of a bug that was: it is kept whatever
happens.  The others reach something that no smaller one does.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from corotwist.test.fuzz.lines import Lines
from corotwist.test.fuzz.target import Target

DIRECTORY: Final = Path(__file__).with_name("corpus")
# Of one file: a few inputs, no more.
MOST_FILE_BYTES: Final = 6 << 10
# A larger input may reach more, but nobody reads it.
LONGEST: Final = 1024


def entries(name: str, directory: Path = DIRECTORY) -> list[tuple[bytes, str]]:
    """
    Inputs with their remarks.
    """
    path = directory / f"{name}.hex"
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        digits, _, remark = line.partition("#")
        if digits.strip():
            found.append((bytes.fromhex(digits), remark.strip()))
    return found


def kept(name: str, directory: Path = DIRECTORY) -> list[bytes]:
    """
    The inputs.
    """
    return [data for data, _ in entries(name, directory)]


def merge(
    target: Target, others: Iterable[bytes], directory: Path = DIRECTORY
) -> tuple[int, int]:
    """
    Take what reaches something new into the file, and what does not out.

    @return: how many inputs the file had, and has.
    """
    before = entries(target.name, directory)
    reached = Lines()
    for seed in target.seeds():
        reached.reachedBy(target, seed)
    chosen = [(data, remark) for data, remark in before if remark]
    for data, _ in chosen:
        reached.reachedBy(target, data)
    rest = {data for data, remark in before if not remark} | set(others)
    chosen += [
        (data, "")
        for data in sorted(rest, key=_simplicity)
        if len(data) <= LONGEST and reached.reachedBy(target, data)
    ]
    _write(directory / f"{target.name}.hex", chosen)
    return len(before), len(chosen)


def _simplicity(data: bytes) -> tuple[int, bytes]:
    return len(data), data


def _write(path: Path, chosen: Sequence[tuple[bytes, str]]) -> None:
    """
    As much as a file may have, remarks first.
    """
    lines: list[str] = []
    size = 0
    for data, remark in chosen:
        line = f"{data.hex()}  # {remark}\n" if remark else f"{data.hex()}\n"
        size += len(line)
        if size <= MOST_FILE_BYTES:
            lines.append(line)
    if lines:
        path.write_text("".join(lines))
    else:
        path.unlink(missing_ok=True)
