"""
Lines that say what to do with keys: as C{corosync-cmapctl -p} reads them.
"""

from collections.abc import Iterator

from attrs import frozen

from corotwist.errors import InvalidParameter


@frozen
class Line:
    """
    C{KEY TYPE VALUE}, C{^KEY} or C{^^PREFIX}.

    @ivar label: of the type; L{None} to delete.
    @ivar prefix: delete all that begin so.
    """

    name: str
    label: str | None = None
    text: str = ""
    prefix: bool = False


def readScript(text: str) -> Iterator[Line]:
    """
    The lines of a file; empty ones and those that begin with C{#} say nothing.

    @raise InvalidParameter: a line makes no sense; those before it were given.
    """
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield _read(number, stripped)


def _read(number: int, line: str) -> Line:
    if line.startswith("^^"):
        return Line(line[2:].strip(), prefix=True)
    if line.startswith("^"):
        return Line(line[1:].strip())
    words = line.split(None, 2)
    if len(words) < 2:  # noqa: PLR2004
        raise InvalidParameter(
            f"line {number}: both type and value for key {words[0]} are required"
        )
    return Line(words[0], words[1], words[2] if len(words) > 2 else "")  # noqa: PLR2004
