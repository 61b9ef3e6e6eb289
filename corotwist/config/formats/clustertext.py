"""
Writing C{cluster.conf}, as far as cman has a word for what a document says; for
the rest there are notes.
"""

from collections.abc import Mapping
from typing import Final

from attrs import Factory, define

from corotwist.config.combinations import VOTEQUORUM
from corotwist.config.document import NOWHERE, Comment, Option, Section, Written
from corotwist.config.formats.clusterconf import (
    ALIKE,
    NO_COUNTERPART,
    NODE,
    ROOT,
    SAME,
    TRANSPORT,
    UIDGID,
    VOTES_OF_TWO,
)
from corotwist.config.formats.nested import comments
from corotwist.config.formats.xmlconf import Writer
from corotwist.config.formats.xmltree import Attribute, Element, Remark
from corotwist.config.kinds import YES
from corotwist.config.ringoptions import LINKS
from corotwist.errors import ConfigurationError, Problem

_HEAD: Final = '<?xml version="1.0"?>'
# What cman takes for granted.
_GRANTED: Final = {
    "totem.version": "2",
    "totem.transport": TRANSPORT,
    "quorum.provider": VOTEQUORUM,
}
# Of this release.
_DEFAULT_TRANSPORT: Final = "udpu"
# A subsystem of corosync is, to cman, one of the program of that name.
_SUBSYSTEM: Final = "logging.logger_subsys"
_DAEMON: Final = "corosync"
_PLACES: Final[Mapping[str, tuple[str, str]]] = {
    option: (element, attribute)
    for element, names in SAME.items()
    for attribute, option in names.items()
}


def write(document: Section, original: bytes = b"") -> Written:
    """
    The text of a file.

    @raise ConfigurationError: it has values that XML cannot have.
    """
    builder = _Builder(_interfaces(document) > 1)
    builder.sectionRead(document, "", builder.root)
    builder.finish()
    writer = Writer()
    writer.written(builder.root, "")
    if writer.problems:
        raise ConfigurationError(*writer.problems)
    lost = comments(document) - builder.kept
    if lost:
        problem = document.place.problem("comments", f"{lost} left out")
        builder.notes.append(problem)
    return Written("\n".join([_HEAD, *writer.lines]) + "\n", tuple(builder.notes))


def _interfaces(document: Section) -> int:
    return sum(
        section.name == "interface"
        for totem in document.sections()
        if totem.name == "totem"
        for section in totem.sections()
    )


@define
class _Builder:
    """
    From sections to the elements that mean the same.

    @ivar manyLinks: cman itself knows one interface only.
    @ivar kept: comments that have found a place.
    """

    manyLinks: bool
    root: Element = Factory(lambda: Element(ROOT, NOWHERE))
    notes: list[Problem] = Factory(list)
    kept: int = 0
    transport: Option | None = None

    def sectionRead(self, section: Section, path: str, home: Element | None) -> None:
        """
        @param home: the element that has options of the same names, if any.
        """
        for item in section.content:
            if isinstance(item, Comment):
                self._commentRead(item, path)
                continue
            name = f"{path}.{item.name}".lstrip(".")
            if isinstance(item, Option):
                self._optionRead(item, name, home if path else None)
            elif name == "nodelist.node":
                self._nodeRead(item)
            else:
                self._innerRead(item, name)

    def _innerRead(self, section: Section, path: str) -> None:
        parent, _, last = path.rpartition(".")
        if path in ("totem", "logging"):
            self.sectionRead(section, path, self._element(path))
        elif path == _SUBSYSTEM:
            daemon = Element("logging_daemon", section.place)
            daemon.attributes.append(Attribute("name", _DAEMON, section.place))
            self.sectionRead(section, path, daemon)
            self._element("logging").content.append(daemon)
        elif path in ALIKE or path == UIDGID:
            element = Element(last, section.place)
            self.sectionRead(section, path, element)
            if element.attributes:
                home = self._element(parent) if parent else self.root
                home.content.append(element)
        else:
            self.sectionRead(section, path, None)

    def _commentRead(self, comment: Comment, path: str) -> None:
        """
        Those of the file, and of the node list, have a place.
        """
        homes = {"": "", "nodelist": "clusternodes"}
        if comment.text and path in homes:
            remark = Remark(comment.text.lstrip("# "), comment.place)
            self._element(homes[path]).content.append(remark)
            self.kept += 1

    def _optionRead(self, option: Option, name: str, home: Element | None) -> None:
        isLink = name.startswith("totem.interface.") and self.manyLinks
        if name == "totem.transport":
            self.transport = option
        elif _GRANTED.get(name) == option.value:
            pass
        elif name in _PLACES and not isLink:
            element, attribute = _PLACES[name]
            _set(self._element(element), attribute, option)
        elif home is not None:
            _set(home, option.name, option)
        else:
            self._noted(option, name)

    def _nodeRead(self, section: Section) -> None:
        """
        A node is called as its address is.
        """
        node = Element("clusternode", section.place)
        address = section.value("ring0_addr") or section.value("name") or ""
        node.attributes.append(Attribute("name", address, section.place))
        names = {option: attribute for attribute, option in NODE.items()}
        links = {}
        for option in section.options():
            if option.name in names:
                _set(node, names[option.name], option)
            elif option.name.startswith("ring") and option.name.endswith("_addr"):
                links[option.name] = option
            elif option.name != "name" or option.value != address:
                self._noted(option, f"nodelist.node.{option.name}")
        links.pop("ring0_addr", None)
        for name in [f"ring{link}_addr" for link in range(1, LINKS)]:
            if name not in links:
                break  # The first alternative name is that of link 1, and so on.
            altname = Element("altname", section.place)
            _set(altname, "name", links.pop(name))
            node.content.append(altname)
        for option in links.values():
            self._noted(option, f"nodelist.node.{option.name}")
        for inner in section.sections():
            self.sectionRead(inner, f"nodelist.node.{inner.name}", None)
        self._element("clusternodes").content.append(node)

    def finish(self) -> None:
        """
        What cman takes for granted otherwise: its transport, and that its rule
        of two nodes goes with one expected vote.
        """
        transport = self.transport or Option("transport", _DEFAULT_TRANSPORT)
        if transport.value != TRANSPORT:
            _set(self._element("cman"), "transport", transport)
        cman = next((e for e in self.root.elements() if e.name == "cman"), None)
        if cman is None or cman.get("two_node") is None:
            return  # Nothing was said of two nodes.
        isOn = cman.get("two_node") in YES
        _set(cman, "two_node", Option("two_node", "1" if isOn else "0"))
        if isOn:
            votes = cman.get("expected_votes")
            if votes not in (None, VOTES_OF_TWO):
                text = f"is {votes}, and {VOTES_OF_TWO} with cman's two_node"
                place = next(a.place for a in cman.attributes if a.value == votes)
                self.notes.append(place.problem("quorum.expected_votes", text))
            _set(cman, "expected_votes", Option("expected_votes", VOTES_OF_TWO))

    def _element(self, path: str) -> Element:
        """
        The one element of that path, which is made where there is none.
        """
        found = self.root
        for name in path.split(".") if path else ():
            inner = next((e for e in found.elements() if e.name == name), None)
            if inner is None:
                inner = Element(name, NOWHERE)
                found.content.append(inner)
            found = inner
        return found

    def _noted(self, option: Option, name: str) -> None:
        self.notes.append(option.place.problem(name, NO_COUNTERPART))


def _set(element: Element, name: str, option: Option) -> None:
    """
    The last one of an option counts.
    """
    element.attributes[:] = [a for a in element.attributes if a.name != name]
    attribute = Attribute(name, option.value, option.place, option.column)
    element.attributes.append(attribute)
