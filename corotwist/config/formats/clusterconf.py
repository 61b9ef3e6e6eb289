"""
Configurations in C{cluster.conf}, as Red Hat's cman read it.

What corosync has too is mapped to it: C{clusternodes} is the node list, the votes
of C{cman} are those of corosync_votequorum.  What has no counterpart, such as
fence devices and the quorum disk, is left out, with a note for each.
"""

from collections.abc import Mapping
from typing import Final

from attrs import Factory, define

from corotwist.config.combinations import VOTEQUORUM
from corotwist.config.document import (
    Option,
    Place,
    Reading,
    Section,
)
from corotwist.config.formats.xmlconf import commentRead
from corotwist.config.formats.xmltree import Attribute, Element, Remark, treeOf
from corotwist.config.ringoptions import LINKS
from corotwist.config.schema import Schema
from corotwist.errors import Problem

ROOT: Final = "cluster"
NO_COUNTERPART: Final = "has no counterpart here, and is left out"

# Attributes of the elements that say the same under another name, or in another
# section: the element's path below the root, and the options' dotted names.
SAME: Final[Mapping[str, Mapping[str, str]]] = {
    "": {"name": "totem.cluster_name", "config_version": "totem.config_version"},
    "cman": {
        "two_node": "quorum.two_node",
        "expected_votes": "quorum.expected_votes",
        "transport": "totem.transport",
        "port": "totem.interface.mcastport",
        "keyfile": "totem.keyfile",
        "broadcast": "totem.interface.broadcast",
    },
    "cman.multicast": {
        "addr": "totem.interface.mcastaddr",
        "ttl": "totem.interface.ttl",
    },
}
# Elements whose attributes have the names of our options.
ALIKE: Final = ("totem", "totem.interface", "logging", "logging.logging_daemon")
UIDGID: Final = "uidgid"
NODE: Final = {"nodeid": "nodeid", "votes": "quorum_votes"}
# Of cman, unless it says another.
TRANSPORT: Final = "udp"
# Cman demanded one expected vote of two nodes; the node list says two.
VOTES_OF_TWO: Final = "1"


def parse(content: bytes, file: str) -> Reading:
    """
    Understand a file.  XML that is wrong somewhere is not read further.
    """
    document = Section("", Place(file))
    tree = treeOf(content, file)
    if tree.root is None:
        return Reading(document, tree.problems)
    if tree.root.name != ROOT:
        text = f"the root element is <{tree.root.name}>, and has to be <{ROOT}>"
        problem = tree.root.place.problem("syntax", text)
        return Reading(document, (*tree.problems, problem))
    reader = _Reader(document)
    reader.read(tree.root)
    return Reading(document, tree.problems, notes=tuple(reader.notes))


@define
class _Reader:
    """
    From elements to the sections that mean the same.

    @ivar interface: the one that C{cman} told something of, until C{totem}
        tells the rest.
    """

    document: Section
    notes: list[Problem] = Factory(list)
    interface: Section | None = None

    def read(self, root: Element) -> None:
        """
        The whole file.
        """
        self._put("totem.version", Attribute("version", "2", root.place))
        self._put("quorum.provider", Attribute("provider", VOTEQUORUM, root.place))
        if all(item.get("transport") is None for item in root.elements()):
            transport = Attribute("transport", TRANSPORT, root.place)
            self._put("totem.transport", transport)
        self._attributesRead(root, "")
        # What cman and totem say of one interface comes together.
        content = sorted(root.content, key=_isTotem)
        for item in content:
            if isinstance(item, Remark):
                self.document.content.extend(commentRead(item))
            elif item.name == "clusternodes":
                self._nodesRead(item)
            elif item.name == "cman":
                self._cmanRead(item)
            elif item.name in {"totem", "logging"}:
                self._alikeRead(item, self._section(item.name, item.place), item.name)
            elif item.name == UIDGID:
                section = Section(UIDGID, item.place)
                self.document.content.append(section)
                self._alikeRead(item, section, UIDGID)
            else:
                self._noted(item.place, item.name)

    def _cmanRead(self, element: Element) -> None:
        twoNode = element.get("two_node") == "1"
        for attribute in element.attributes:
            votes = attribute.name == "expected_votes" and attribute.value
            if not twoNode or votes != VOTES_OF_TWO:
                self._sameRead(attribute, "cman")
        for item in element.elements():
            if item.name == "multicast":
                self._attributesRead(item, "cman.multicast")
            else:
                self._noted(item.place, f"cman.{item.name}")

    def _attributesRead(self, element: Element, path: str) -> None:
        for attribute in element.attributes:
            self._sameRead(attribute, path)

    def _sameRead(self, attribute: Attribute, path: str) -> None:
        name = SAME[path].get(attribute.name)
        if name is None:
            self._noted(attribute.place, f"{path}.{attribute.name}".lstrip("."))
        else:
            self._put(name, attribute)

    def _put(self, name: str, attribute: Attribute) -> None:
        """
        An option into its section, which is made where there is none.
        """
        path, _, last = name.rpartition(".")
        section = self._section(path, attribute.place)
        if section.name == "interface":
            self.interface = section
        section.content.append(_option(last, attribute))

    def _section(self, path: str, place: Place) -> Section:
        found = self.document
        for name in path.split("."):
            inner = next((s for s in found.sections() if s.name == name), None)
            if inner is None:
                inner = Section(name, place)
                found.content.append(inner)
            found = inner
        return found

    def _alikeRead(self, element: Element, section: Section, path: str) -> None:
        """
        An element with names like ours; those that we do not know are told.
        """
        schema = Schema()
        for attribute in element.attributes:
            if schema.row(f"{path}.{attribute.name}") is None:
                self._noted(attribute.place, f"{path}.{attribute.name}")
            else:
                section.content.append(_option(attribute.name, attribute))
        for item in element.elements():
            inner = f"{path}.{item.name}"
            if inner in ALIKE:
                self._alikeRead(item, self._entry(section, item), inner)
            else:
                self._noted(item.place, inner)

    def _entry(self, section: Section, element: Element) -> Section:
        """
        A new entry of a list, or what there is of it.
        """
        if element.name == "interface" and self.interface is not None:
            found, self.interface = self.interface, None
            return found
        made = Section(element.name, element.place)
        section.content.append(made)
        return made

    def _nodesRead(self, element: Element) -> None:
        nodelist = self._section("nodelist", element.place)
        for item in element.content:
            if isinstance(item, Remark):
                nodelist.content.extend(commentRead(item))
            elif item.name == "clusternode":
                nodelist.content.append(self._nodeRead(item))
            else:
                self._noted(item.place, f"clusternodes.{item.name}")

    def _nodeRead(self, element: Element) -> Section:
        """
        A node; its name is also its address.
        """
        node = Section("node", element.place)
        path = "clusternodes.clusternode"
        for attribute in element.attributes:
            if attribute.name == "name":
                node.content.append(_option("ring0_addr", attribute))
                node.content.append(_option("name", attribute))
            elif attribute.name in NODE:
                node.content.append(_option(NODE[attribute.name], attribute))
            else:
                self._noted(attribute.place, f"{path}.{attribute.name}")
        link = 1
        for item in element.elements():
            if item.name != "altname" or link == LINKS:
                self._noted(item.place, f"{path}.{item.name}")
                continue
            for attribute in item.attributes:
                if attribute.name == "name":
                    node.content.append(_option(f"ring{link}_addr", attribute))
                else:
                    self._noted(attribute.place, f"{path}.altname.{attribute.name}")
            link += 1
        return node

    def _noted(self, place: Place, what: str) -> None:
        self.notes.append(place.problem(what, NO_COUNTERPART))


def _isTotem(item: Element | Remark) -> bool:
    return isinstance(item, Element) and item.name == "totem"


def _option(name: str, attribute: Attribute) -> Option:
    return Option(name, attribute.value, attribute.place, attribute.column)
