"""
The schema as tables for people, in Markdown.
"""

from collections.abc import Iterable

from corotwist.config.keys import typeOf
from corotwist.config.row import Row


def acting(rows: Iterable[Row]) -> str:
    """
    One table per section, of the options that this release acts on.
    """
    return "\n\n".join(
        _section(name, found) for name, found in _bySection(rows, acts=True)
    )


def idle(rows: Iterable[Row]) -> str:
    """
    One list per section, of the options that are accepted without effect.
    """
    lines = [
        f"- `{name}`: {', '.join(f'`{_last(row)}`' for row in found)}"
        for name, found in _bySection(rows, acts=False)
    ]
    return "\n".join(lines)


def refused(rows: Iterable[Row]) -> str:
    """
    One table of the options that are refused when they ask for anything but
    the default.
    """
    lines = [
        "| Option | Accepted | Instead |",
        "|---|---|---|",
        *(
            f"| `{row.name}` | {_default(row)} | {row.refused} |"
            for row in rows
            if row.refused
        ),
    ]
    return "\n".join(lines)


def _bySection(rows: Iterable[Row], *, acts: bool) -> Iterable[tuple[str, list[Row]]]:
    sections: dict[str, list[Row]] = {}
    for row in rows:
        if row.acts is acts and not row.refused:
            sections.setdefault(row.section, []).append(row)
    return sections.items()


def _section(name: str, rows: list[Row]) -> str:
    lines = [
        f"### `{name}`",
        "",
        "| Option | Values | Key | Default | New value | Meaning |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{_last(row)}` | {row.kind.describe()} | {typeOf(row).label}"
            f" | {_default(row)} | {_change(row)} | {row.meaning} |"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def _change(row: Row) -> str:
    """
    When it takes effect, in a word or two.
    """
    return row.change.value.partition(":")[0]


def _last(row: Row) -> str:
    return row.name.rpartition(".")[2]


def _default(row: Row) -> str:
    match row.default:
        case None:
            return ""
        case bool(value):
            return "yes" if value else "no"
        case value:
            return str(value)
