"""
The JSON that tools print, compared with what docs/tools.md says of it.

A section C{#### corotwist/NAME/1} there has a table with a row for each key: its
dotted path, with C{[]} after a list, its types, and what it means.
"""

import re
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SkipTest

import corotwist

PAGE: Final = Path(corotwist.__file__).parents[1] / "docs" / "tools.md"
_SECTION: Final = re.compile(
    r"^#### `(corotwist/\S+)`\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL
)
_ROW: Final = re.compile(r"^\| `([^`]+)` \| ([^|]+) \|", re.MULTILINE)
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "number": (int, float),
    "flag": (bool,),
    "object": (dict,),
    "list": (list,),
    "null": (type(None),),
}
OPTIONAL: Final = "optional"


# A document with one of these has nothing else.
_ALONE: Final = ("changed",)


def documented() -> dict[str, dict[str, list[str]]]:
    """
    Of each schema the types of each path.
    """
    if not PAGE.exists():
        raise SkipTest(f"{PAGE} is not here")
    return {
        name: {
            path: re.split(r"\W+", types.strip()) for path, types in _ROW.findall(text)
        }
        for name, text in _SECTION.findall(PAGE.read_text())
    }


def differences(document: dict[str, Any]) -> list[str]:
    """
    Where a document is not as its schema says, in sentences.
    """
    schema = documented().get(document.get("schema", ""))
    if schema is None:
        return [f"no schema {document.get('schema')!r}"]
    told: list[str] = []
    if any(key in document for key in _ALONE):
        schema = {
            path: types for path, types in schema.items() if path.startswith(_ALONE)
        }
    rest = {key: value for key, value in document.items() if key != "schema"}
    _compare(rest, "", schema, told)
    return told


def _compare(
    found: dict[str, Any],
    prefix: str,
    schema: dict[str, list[str]],
    told: list[str],
) -> None:
    for path, types in schema.items():
        parent, _, key = path.rpartition(".")
        needed = OPTIONAL not in types and not key.endswith("[]")
        if parent == prefix and needed and key not in found:
            told.append(f"{path} is not there")
    for key, value in found.items():
        path = f"{prefix}.{key}".lstrip(".")
        if path not in schema:
            told.append(f"{path} is not documented")
        elif not _fits(value, schema[path]):
            told.append(f"{path} is {value!r}, not {schema[path]}")
        elif isinstance(value, dict) and "any" not in schema[path]:
            _compare(value, path, schema, told)
        elif isinstance(value, list):
            for one in value:
                _compareItem(one, f"{path}[]", schema, told)


def _compareItem(
    one: Any,
    path: str,
    schema: dict[str, list[str]],
    told: list[str],
) -> None:
    if isinstance(one, dict):
        _compare(one, path, schema, told)
    elif path not in schema or not _fits(one, schema[path]):
        told.append(f"{path} is {one!r}")


def _fits(value: Any, types: list[str]) -> bool:
    if "any" in types:
        return True
    kinds = [kind for name in types for kind in _TYPES.get(name, ())]
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, tuple(kinds))
