"""
What the docstrings of tests name: rows of tables in C{docs/}.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import corotwist

TESTS: Final = Path(corotwist.__file__).parent / "test"
DOCS: Final = TESTS.parents[1] / "docs"

_SEPARATOR: Final = re.compile(r",\s+")


def docstrings(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """
    Every test method, as C{module.name}, with its docstring.
    """
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("test_"):
                yield f"{path.stem}.{node.name}", ast.get_docstring(node) or ""


def named(key: re.Pattern[str], docstring: str) -> Iterator[str]:
    """
    What a docstring names.

    @param key: its group 1 is a list of names with commas.
    """
    for names in key.findall(docstring):
        yield from _SEPARATOR.split(names)


def proved(key: re.Pattern[str], paths: Iterable[Path]) -> dict[str, list[str]]:
    """
    What tests name, and which tests those are.
    """
    found: dict[str, list[str]] = {}
    for test, docstring in docstrings(paths):
        for name in named(key, docstring):
            found.setdefault(name, []).append(test)
    return found
