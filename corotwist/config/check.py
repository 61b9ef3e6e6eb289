"""
A document against the schema: typed values, and everything that is wrong.
"""

from typing import Final, cast

from attrs import Factory, define, frozen

from corotwist.config.document import Option, Place, Section
from corotwist.config.kinds import Value
from corotwist.config.row import Row
from corotwist.config.schema import REPEATED, Schema
from corotwist.config.values import LARGEST_VALUE
from corotwist.errors import Problem

_NO_EFFECT: Final = "no effect in this release"


@frozen
class Given:
    """
    A value that the file gives.
    """

    value: Value
    place: Place


@define
class Group:
    """
    The values of one entry: a node, an interface, or everything that is not
    repeated.

    @ivar place: where the entry begins.
    @ivar places: of what the file says, right or wrong, by dotted name.
    @ivar given: what of it is right.
    """

    schema: Schema
    place: Place
    places: dict[str, Place] = Factory(dict)
    given: dict[str, Given] = Factory(dict)

    def has(self, name: str) -> bool:
        """
        Does the file say anything about it?
        """
        return name in self.places

    def isWrong(self, name: str) -> bool:
        """
        Does it say something that makes no sense, and was reported?
        """
        return name in self.places and name not in self.given

    def placeOf(self, name: str) -> Place:
        """
        Where the value is, or the entry that lacks it.
        """
        return self.places.get(name, self.place)

    def value(self, name: str) -> Value | None:
        """
        What the file says, or the default.
        """
        found = self.given.get(name)
        if found is not None:
            return found.value
        row = self.schema.row(name)
        assert row is not None, f"the schema has no {name}"
        return row.default

    def number(self, name: str) -> int:
        """
        A whole number that is given or has a default.
        """
        value = self.value(name)
        assert isinstance(value, int), f"{name} has neither a value nor a default"
        return value

    def flag(self, name: str) -> bool:
        """
        Is it on?
        """
        return self.value(name) is True

    def text(self, name: str) -> str | None:
        """
        A text, if there is one.
        """
        return cast("str | None", self.value(name))


@define
class Checked:
    """
    What a document says, as far as each line makes sense by itself.

    @ivar top: all that is not in a repeated section.
    @ivar entries: by dotted section name, in the order of the file.
    @ivar strict: is a contradiction a problem?
    @ivar withoutEffect: options that another one switches off, where it is
        not; and why.
    """

    file: str
    top: Group
    entries: dict[str, list[Group]]
    strict: bool = True
    withoutEffect: dict[str, str] = Factory(dict)
    problems: list[Problem] = Factory(list)
    warnings: list[Problem] = Factory(list)
    _noted: set[Problem] = Factory(set)

    def wrong(self, place: Place, key: str, text: str) -> None:
        """
        Note a problem, once.
        """
        problem = place.problem(key, text)
        if problem not in self._noted:
            self._noted.add(problem)
            self.problems.append(problem)

    def warn(self, place: Place, key: str, text: str) -> None:
        """
        Note something that an operator should know, and go on.
        """
        self.warnings.append(place.problem(key, text))

    def wrongIn(self, group: Group, key: str, text: str) -> None:
        """
        Note a problem where an entry has the option, or lacks it.
        """
        self.wrong(group.placeOf(key), key, text)

    def contradicted(self, group: Group, key: str, text: str) -> None:
        """
        Note an option that another one would switch off in corosync: a
        problem, or where contradictions are none, it is off.
        """
        if self.strict:
            self.wrongIn(group, key, text)
        elif key not in self.withoutEffect:
            self.withoutEffect[key] = text
            self.warnIn(group, key, f"no effect: {text}")

    def warnIn(self, group: Group, key: str, text: str) -> None:
        """
        Note a warning where an entry has the option, or lacks it.
        """
        self.warn(group.placeOf(key), key, text)


def check(document: Section, *, names: bool = True) -> Checked:
    """
    Read every value; unknown names, wrong values and what this release cannot
    do safely become problems.

    @param names: are unknown names worth a word?  Not where sections do not
        close, and an option may stand in another one than it was meant for.
    """
    schema = Schema()
    top = Group(schema, document.place)
    entries: dict[str, list[Group]] = {name: [] for name in REPEATED}
    strict = _isStrict(document)
    checked = Checked(document.place.file, top, entries, strict=strict)
    _Checker(schema, checked, strict=strict, names=names).read(document, "", top)
    return checked


def _isStrict(document: Section) -> bool:
    settings = {
        option.value
        for section in document.sections()
        if section.name == "corotwist"
        for option in section.options()
        if option.name == "strict"
    }
    return not settings & {"no", "off", "0"}


def _sensible(text: str) -> str:
    """
    @raise ValueError: no format should have let it pass.
    """
    if "\0" in text:
        raise ValueError("has a zero byte in it")
    if len(text.encode(errors="replace")) > LARGEST_VALUE:
        raise ValueError(f"has more than {LARGEST_VALUE} bytes")
    return text


@define
class _Checker:
    schema: Schema
    checked: Checked
    strict: bool
    names: bool

    def read(self, section: Section, path: str, group: Group) -> None:
        for option in section.options():
            self._optionRead(option, path, group)
        for inner in section.sections():
            self._sectionRead(inner, f"{path}.{inner.name}".lstrip("."), group)

    def _sectionRead(self, section: Section, path: str, group: Group) -> None:
        if not self.schema.isSection(path) or "." in section.name:
            self._unknown(section.place, path, "section")
        elif path in REPEATED:
            entry = Group(self.schema, section.place)
            self.checked.entries[path].append(entry)
            self.read(section, path, entry)
        else:
            self.read(section, path, group)

    def _optionRead(self, option: Option, path: str, group: Group) -> None:
        name = f"{path}.{option.name}".lstrip(".")
        row = self.schema.row(name) if path and "." not in option.name else None
        if row is None:
            self._unknown(option.place, name, "option")
            return
        if row.acts and name in group.places:
            self.checked.warn(option.place, name, "given twice; the last one counts")
        group.places[name] = place = option.valuePlace
        group.given.pop(name, None)
        try:
            value = row.kind.parse(_sensible(option.value))
        except ValueError as error:
            self.checked.wrong(place, name, str(error))
        else:
            group.given[name] = Given(value, place)
            self._judge(row, name, group.given[name])

    def _judge(self, row: Row, name: str, given: Given) -> None:
        if row.acts or given.value == row.default:
            return
        if row.refused:
            self.checked.wrong(given.place, name, row.refused)
        else:
            self.checked.warn(given.place, name, _NO_EFFECT)

    def _unknown(self, place: Place, name: str, what: str) -> None:
        if not self.names:
            return
        text = f"no such {what}{self.schema.suggestion(name)}"
        if name in self.schema.sections:
            text = "is a section: options belong into it"
        elif what == "section" and self.schema.row(name) is not None:
            text = "is an option: a value belongs here"
        if self.strict:
            self.checked.wrong(place, name, text)
        else:
            self.checked.warn(place, name, text)
