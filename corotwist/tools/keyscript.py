"""
Lines that say what to do with keys: as C{corosync-cmapctl -p} reads them.
"""

from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field, frozen

from corotwist.config.values import Value
from corotwist.errors import InvalidParameter, NotExist, ServiceError
from corotwist.ipc.keys import KeyMap
from corotwist.tools.keywishes import WrongUse, typed


@frozen
class Line:
    """
    C{KEY TYPE VALUE}, C{^KEY} or C{^^PREFIX}.

    @ivar number: of the line in the file, from 1 on.
    @ivar label: of the type; L{None} to delete.
    @ivar prefix: delete all that begin so.
    """

    number: int
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
        return Line(number, line[2:].strip(), prefix=True)
    if line.startswith("^"):
        return Line(number, line[1:].strip())
    words = line.split(None, 2)
    if len(words) < 2:  # noqa: PLR2004
        raise InvalidParameter(
            f"line {number}: both type and value for key {words[0]} are required"
        )
    return Line(number, words[0], words[1], words[2] if len(words) > 2 else "")  # noqa: PLR2004


class LineRefused(Exception):
    """
    A line cannot be done, and nothing was.
    """

    def __init__(self, line: Line, error: ServiceError, kept: Sequence[str]) -> None:
        """
        @param kept: keys that could not be brought back.
        """
        also = f", but not undone: {', '.join(kept)}" if kept else ", nothing was done"
        super().__init__(f"line {line.number}: {line.name}{also}")
        self.error = error


@define(eq=False)
class Script:
    """
    Lines done together.

    @ivar complaints: what is no failure: keys to delete that are not there.
    """

    _keys: KeyMap
    complaints: list[tuple[str, ServiceError]] = field(factory=list, init=False)
    _before: list[tuple[str, Value | None]] = field(factory=list, init=False)

    async def perform(self, lines: Iterable[Line]) -> None:
        """
        Do them all.

        @raise WrongUse: one makes no sense.
        @raise LineRefused: one is refused; those before it are undone.
        """
        understood = [(line, _valueOf(line)) for line in lines]
        for line, value in understood:
            try:
                await self._do(line, value)
            except ServiceError as error:
                raise LineRefused(line, error, await self._undo()) from error

    async def _do(self, line: Line, value: Value | None) -> None:
        if value is not None:
            self._before.append((line.name, await self._present(line.name)))
            await self._keys.set(line.name, value)
        elif line.prefix:
            for name, old in await self._keys.items(line.name):
                self._before.append((name, old))
                await self._keys.delete(name)
        else:
            await self._delete(line.name)

    async def _delete(self, name: str) -> None:
        old = await self._present(name)
        if old is None:
            self.complaints.append((f"Can't delete key {name}", NotExist(name)))
            return
        self._before.append((name, old))
        await self._keys.delete(name)

    async def _present(self, name: str) -> Value | None:
        try:
            return await self._keys.get(name)
        except NotExist:
            return None

    async def _undo(self) -> list[str]:
        """
        The last first.

        @return: keys with which that cannot be done.
        """
        kept = []
        for name, old in reversed(self._before):
            if await self._present(name) != old:
                try:
                    await self._restore(name, old)
                except ServiceError:
                    kept.append(name)
        return kept

    async def _restore(self, name: str, old: Value | None) -> None:
        if old is None:
            await self._keys.delete(name)
        else:
            await self._keys.set(name, old)


def _valueOf(line: Line) -> Value | None:
    if line.label is None:
        return None
    try:
        return typed(line.label, line.text)
    except WrongUse as error:
        raise WrongUse(f"line {line.number}: {error}") from error
