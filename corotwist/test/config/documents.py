"""
Documents for properties: all that a configuration may say, and what nobody would.
"""

from typing import Final

from hypothesis import strategies as st

from corotwist.config.document import Comment, Option, Section
from corotwist.config.kinds import Choice, Decimal, Kind, Numeric, Switch, Whole
from corotwist.config.row import Row
from corotwist.config.schema import REPEATED, ROWS

# Every format has names like these; XML none that begin with a digit.
NAMES: Final = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,10}", fullmatch=True)
# Text that has to be quoted somewhere, and is one line of corosync.conf.
ODD: Final = st.sampled_from(
    (
        *("", "a b", "a  b", '"', "''", "a'b\"c", "\\", "\\n", "#", "a # b", "{", "}"),
        *(
            "a{b",
            "[x]",
            "<a>",
            "&amp;",
            "&#10;",
            "]]>",
            "--",
            "key: value",
            "= 1",
            "1 = 2",
        ),
        *(
            "1",
            "007",
            "1.50",
            "1e3",
            "-0",
            "true",
            "yes",
            "null",
            "nan",
            "é",
            "漢字",
            "\x7f",
        ),
        *("18446744073709551615", "1979-05-27", "🙂", "%s", "${x}", "a\tb", "x" * 400),
    )
)
LINES: Final = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Zs", "Zl", "Zp")),
    max_size=30,
)
COMMENTS: Final = st.builds(Comment, st.sampled_from(("# said", "#", "", "# a -- b")))


def right(kind: Kind) -> st.SearchStrategy[str]:
    """
    Values of that kind, as people write them.
    """
    match kind:
        case Whole(low, high):
            return st.integers(low, high).map(str)
        case Choice(words):
            return st.sampled_from(words)
        case Switch():
            return st.sampled_from(("yes", "no", "on", "off", "1", "0"))
        case Decimal():
            return st.decimals(0, 100, places=2).map(str)
        case Numeric():
            return st.ip_addresses().map(str)
    return st.sampled_from(("text", "/a/path", "10.0.0.1", "a name", "x: y {"))


def _options(rows: list[Row]) -> st.SearchStrategy[list[Option]]:
    one = st.sampled_from(rows).flatmap(
        lambda row: right(row.kind).map(
            lambda text: Option(row.name.rpartition(".")[2].replace("*", "x"), text)
        )
    )
    return st.lists(one, max_size=4, unique_by=lambda option: option.name)


def _known(path: str) -> st.SearchStrategy[Section]:
    """
    A section of the schema with options and sections that it may have.
    """
    rows = [row for row in ROWS if row.section == path]
    inner = sorted(
        {
            row.section
            for row in ROWS
            if row.section.rpartition(".")[0] == path and row.section
        }
    )
    content = _options(rows) if rows else st.just([])
    parts: list[st.SearchStrategy[list[Section]]] = [
        st.lists(_known(name), max_size=3 if name in REPEATED else 1) for name in inner
    ]
    name = path.rpartition(".")[2]
    return st.tuples(content, st.lists(COMMENTS, max_size=2), *parts).map(
        lambda drawn: Section(
            name, content=[*drawn[1], *drawn[0], *(s for p in drawn[2:] for s in p)]
        )
    )


_TOPS: Final = sorted({row.section.partition(".")[0] for row in ROWS})
# Right line by line, if not together.
VALID: Final = st.lists(
    st.sampled_from(_TOPS).flatmap(_known), max_size=4, unique_by=lambda s: s.name
).map(lambda sections: Section("", content=list(sections)))


def _odd(depth: int) -> st.SearchStrategy[list[Section | Option | Comment]]:
    option = st.builds(Option, NAMES, st.one_of(ODD, LINES))
    items: st.SearchStrategy[Section | Option | Comment] = st.one_of(option, COMMENTS)
    if depth:
        section = st.builds(
            lambda name, content: Section(name, content=content), NAMES, _odd(depth - 1)
        )
        items = st.one_of(items, section)
    return st.lists(items, max_size=4)


# Any names and values that corosync.conf has a way to write.
ODD_DOCUMENTS: Final = _odd(3).map(lambda content: Section("", content=content))
