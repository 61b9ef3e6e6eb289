"""
Files: read to one document, whatever their formats, and written back.
"""

import os
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from corotwist.config.document import Comment, Place, Reading, Section, Written
from corotwist.config.export import updated
from corotwist.config.formats import registry
from corotwist.config.keys import keysOf
from corotwist.config.localnode import IHost
from corotwist.config.merge import merged
from corotwist.config.values import Value
from corotwist.errors import ConfigurationError, Problem
from corotwist.interfaces import IConfigurationEngine

# The largest cluster needs a tenth of it.
LARGEST_FILE_BYTES: Final = 4 << 20
# Beside a file of corosync.conf's syntax; every file in it may hold uidgid
# sections.
EXTRA_DIRECTORY: Final = "uidgid.d"
_EXTRA_SECTION: Final = "uidgid"
# Of a new file: a configuration may hold a key.
_MODE: Final = 0o600


def absolute(source: str) -> str:
    """
    The same file, wherever the process goes.

    @param source: C{PATH}, or C{FORMAT:PATH}.
    @raise ConfigurationError: there is no such format.
    """
    engine, path = registry.choose(source, registry.discover())
    whole = os.path.abspath(path)  # noqa: PTH100 - links stay as they are.
    return whole if path == source else f"{engine.name}:{whole}"


def read(*sources: str, beside: bool = True) -> Reading:
    """
    Read files, and the C{uidgid.d} directories beside them; what later ones
    say overrides what earlier ones said.

    @param sources: C{PATH}, or C{FORMAT:PATH}.
    @param beside: those directories, too?
    """
    try:
        engines = registry.discover()
    except ConfigurationError as error:
        return Reading(Section("", Place(sources[0])), error.problems)
    mains = [readOne(source, engines) for source in sources]
    paths = [Path(main.document.place.file) for main in mains]
    extras = [
        _readExtra(f"{registry.DEFAULT}:{extra}", engines)
        for directory in dict.fromkeys(path.parent for path in paths if beside)
        for extra in _extraFiles(directory / EXTRA_DIRECTORY)
    ]
    readings = [*mains, *extras]
    return Reading(
        merged([reading.document for reading in readings]),
        tuple(problem for reading in readings for problem in reading.problems),
        all(reading.balanced for reading in readings),
        tuple(note for reading in readings for note in reading.notes),
    )


def _extraFiles(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return [file for file in sorted(directory.iterdir()) if file.is_file()]


def _readExtra(source: str, engines: Mapping[str, IConfigurationEngine]) -> Reading:
    """
    A file that may hold nothing but users and groups.
    """
    reading = readOne(source, engines)
    document, problems = reading.document, list(reading.problems)
    for item in tuple(document.content):
        if isinstance(item, Comment):
            continue
        if item.name != _EXTRA_SECTION or not isinstance(item, Section):
            text = f"files in {EXTRA_DIRECTORY} hold only uidgid sections"
            problems.append(item.place.problem(item.name, text))
            document.content.remove(item)
    return Reading(document, tuple(problems), reading.balanced, reading.notes)


def readOne(
    source: str, engines: Mapping[str, IConfigurationEngine] | None = None
) -> Reading:
    """
    Read one file and nothing beside it, as it has to be to be written back.
    """
    try:
        engine, path = registry.choose(source, engines or registry.discover())
        content = contentOf(path)
    except ConfigurationError as error:
        file = error.problems[0].file
        return Reading(Section("", Place(file)), error.problems)
    try:
        return cast("Reading", engine.read(content, path))
    except Exception as error:  # noqa: BLE001 - Somebody else's code, perhaps.
        text = f"format {engine.name} failed: {type(error).__name__}: {error}"
        place = Place(path)
        return Reading(Section("", place), (place.problem("file", text),))


def contentOf(path: str) -> bytes:
    """
    What is in a file.

    @raise ConfigurationError: it cannot be read, or is too large.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        text = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise ConfigurationError(Problem(path, 0, "file", text)) from error
    if len(content) > LARGEST_FILE_BYTES:
        text = f"has more than {LARGEST_FILE_BYTES} bytes"
        raise ConfigurationError(Problem(path, 0, "file", text))
    return content


def write(target: str, document: Section) -> Written:
    """
    Write a document to a file, of which there is always the old or the new
    version, whole.  What did not change stays as it is where the document was
    read from that file.

    @param target: C{PATH}, or C{FORMAT:PATH}.
    @raise ConfigurationError: the format has no way to write it, or the file
        cannot be written; then it is as before.
    """
    engine, path = registry.choose(target, registry.discover())
    isSame = document.place.file == path and Path(path).exists()
    written = cast(
        "Written", engine.write(document, contentOf(path) if isSame else b"")
    )
    try:
        _replace(os.path.realpath(path), written.text.encode())
    except OSError as error:
        text = f"cannot be written: {error.strerror or error}"
        raise ConfigurationError(Problem(path, 0, "file", text)) from error
    return written


def save(
    sources: Sequence[str],
    items: Iterable[tuple[str, Value]],
    host: IHost | None = None,
) -> str:
    """
    Write the keys of a node to the file that it was started from.

    @param host: knows the numbers of users and groups.
    @return: the path.
    @raise ConfigurationError: there are several files, the file is not to be
        understood any more, or it cannot be written.
    """
    if len(sources) != 1:
        text = "several files make this configuration; export it instead"
        raise ConfigurationError(Problem(", ".join(sources), 0, "file", text))
    (source,) = sources
    reading = readOne(source)
    if reading.problems:
        raise ConfigurationError(*reading.problems)
    beside = dict(keysOf(read(source).document, host))
    for name, _ in keysOf(reading.document, host):
        beside.pop(name, None)
    kept = [(name, value) for name, value in items if name not in beside]
    write(source, updated(reading.document, kept, host))
    return reading.document.place.file


def _replace(path: str, content: bytes) -> None:
    """
    A new file in place of the old one, with its owner and mode.
    """
    directory, name = os.path.split(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            _likeBefore(path, descriptor)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        os.unlink(temporary)  # noqa: PTH108
        raise


def _likeBefore(path: str, descriptor: int) -> None:
    try:
        before = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        os.fchmod(descriptor, _MODE)
        return
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
