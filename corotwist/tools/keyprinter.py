"""
Keys and their changes on a terminal, as corosync-cmapctl shows them, or as JSON.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

from attrs import define, field

from corotwist.config.tracking import Change, ChangeKind
from corotwist.config.values import Value, ValueType
from corotwist.errors import ServiceError
from corotwist.tools.asking import envelope

# Of the schema of what is printed with --json.
NAME: Final = "cmapctl"

# cs_error_t by number.
_ERRORS: Final[Mapping[int, str]] = {
    2: "CS_ERR_LIBRARY",
    5: "CS_ERR_TIMEOUT",
    6: "CS_ERR_TRY_AGAIN",
    7: "CS_ERR_INVALID_PARAM",
    9: "CS_ERR_BAD_HANDLE",
    10: "CS_ERR_BUSY",
    11: "CS_ERR_ACCESS",
    12: "CS_ERR_NOT_EXIST",
    13: "CS_ERR_NAME_TOO_LONG",
    14: "CS_ERR_EXIST",
    15: "CS_ERR_NO_SPACE",
    16: "CS_ERR_INTERRUPT",
    17: "CS_ERR_NAME_NOT_FOUND",
    19: "CS_ERR_NOT_SUPPORTED",
    21: "CS_ERR_FAILED_OPERATION",
    22: "CS_ERR_MESSAGE_ERROR",
    26: "CS_ERR_TOO_BIG",
}
_WORDS: Final = {
    ChangeKind.ADD: "create",
    ChangeKind.MODIFY: "modify",
    ChangeKind.DELETE: "delete",
}
_BACKSLASH: Final = ord("\\")
_PRINTABLE: Final = range(0x20, 0x7F)


def errorName(error: ServiceError) -> str:
    """
    What corosync calls an error.
    """
    return _ERRORS.get(error.code, "CS_ERR_LIBRARY")


def shownBytes(content: bytes) -> str:
    """
    Bytes as corosync-cmapctl means to show them: printable ones as they are,
    others in two hexadecimal digits.
    """
    return "".join(
        "\\\\"
        if byte == _BACKSLASH
        else chr(byte)
        if byte in _PRINTABLE
        else f"\\x{byte:02X}"
        for byte in content
    )


def shown(value: Value) -> str:
    """
    A value that is no bytes, as C's printf shows it.
    """
    if value.kind in (ValueType.FLOAT, ValueType.DOUBLE):
        return f"{float(value.content):f}"
    return value.text()


def asJson(value: Value | None) -> Any:
    """
    Type and content.
    """
    if value is None:
        return None
    content = value.content
    plain = value.text() if isinstance(content, bytes) else content
    return {"type": value.kind.label, "value": plain}


@define(eq=False)
class Printer:
    """
    Prints.

    @ivar binary: show bytes, too.
    @ivar quiet: show nothing but values.
    """

    json: bool = False
    binary: bool = False
    quiet: bool = False
    mapName: str = "icmap"
    output: TextIO = field(factory=lambda: sys.stdout)
    _listed: list[Any] = field(factory=list, init=False)
    _abandoned: bool = field(default=False, init=False)

    @classmethod
    def of(cls, wishes: Any) -> "Printer":
        """
        As was typed.
        """
        return cls(wishes.json, wishes.binary, wishes.quiet, wishes.mapName)

    @contextmanager
    def together(self) -> Iterator[None]:
        """
        What is printed in this block is one document, if it is JSON.
        """
        yield
        if self.json and not self._abandoned:
            content = {"map": self.mapName, "keys": self._listed}
            self._line(json.dumps(envelope(NAME, **content)))

    def abandon(self) -> None:
        """
        What was to be a document is none: something else is told instead.
        """
        self._abandoned = True

    def key(self, name: str, value: Value) -> None:
        """
        A key.
        """
        if self.json:
            self._listed.append({"key": name, **asJson(value)})
        else:
            self._line(self._key(name, value))

    def _key(self, name: str, value: Value) -> str:
        if isinstance(value.content, bytes):
            content = shownBytes(value.content) if value.content else "*empty*"
            text = content if self.quiet else f"{name} (bin) = {content}"
            return text if self.binary else f"{name} (bin)"
        if self.quiet:
            return shown(value)
        return f"{name} ({value.kind.label}) = {shown(value)}"

    # Following.

    def tracking(self) -> None:
        """
        From here on, changes.
        """
        if not self.json:
            self._line('Type "q" to finish')

    def changes(self, changes: Sequence[Change]) -> None:
        """
        What was changed together.
        """
        for change in changes:
            if self.json:
                self._line(json.dumps(envelope(NAME, **_changed(change))))
                continue
            value = change.old if change.new is None else change.new
            assert value is not None, "there was something before, or is now"
            self._line(f"{_WORDS[change.kind]}> {self._key(change.name, value)}")

    def gap(self, reason: str) -> None:
        """
        The node was gone, and is back.
        """
        if self.json:
            self._line(json.dumps(envelope(NAME, event="gap", reason=reason)))
        else:
            self._line(f"gap> {reason}")

    def _line(self, line: str) -> None:
        self.output.write(line + "\n")
        self.output.flush()


def _changed(change: Change) -> dict[str, Any]:
    return {
        "event": _WORDS[change.kind],
        "key": change.name,
        "old": asJson(change.old),
        "new": asJson(change.new),
    }
