"""
A configuration as keys of corosync's map, and back.
"""

import re
from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.document import Section
from corotwist.config.export import RUN_TIME, documentOf, updated
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.formats.corosynctext import write
from corotwist.config.keys import keysOf, typeOf
from corotwist.config.schema import ROWS, Schema
from corotwist.config.values import Value, string, u8, u16, u32, u64
from corotwist.test.config.documents import VALID
from corotwist.test.config.factories import FakeHost, conf
from corotwist.test.config.factories import settings as built

HOST = FakeHost()
EXAMPLES = settings(max_examples=25, deadline=None)


def keys(text: str) -> dict[str, Value]:
    """
    What the map has for a file with this text.
    """
    reading = parse(text, "f")
    assert not reading.problems, reading.problems
    return dict(keysOf(reading.document, HOST))


class KeysTests(SynchronousTestCase):
    def test_types(self) -> None:
        """
        Numbers that corosync has as numbers have its types; all else is text.
        (A39)
        """
        text = """
totem {
  version: 2
  token: 1000
  config_version: 7
  knet_compression_level: -1
  cluster_name: 12
  block_unlisted_ips: yes
  interface {
    mcastport: 5405
    ttl: 1
    knet_ping_interval: 750
  }
}
quorum {
  two_node: yes
  expected_votes: 2
  device {
    timeout: 1
    votes: 1
    net {
      port: 5403
    }
  }
}
resources {
  system {
    load_15min {
      poll_period: 1
      max: 2.5
    }
  }
}
"""
        found = {name: value.kind.label for name, value in keys(text).items()}
        self.assertEqual(
            found,
            {
                "totem.version": "u32",
                "totem.token": "u32",
                "totem.config_version": "u64",
                "totem.knet_compression_level": "i32",
                "totem.cluster_name": "str",
                "totem.block_unlisted_ips": "str",
                "totem.interface.0.mcastport": "u16",
                "totem.interface.0.ttl": "u8",
                "totem.interface.0.knet_ping_interval": "u32",
                "quorum.two_node": "u8",
                "quorum.expected_votes": "u32",
                "quorum.device.timeout": "u32",
                "quorum.device.votes": "u32",
                "quorum.device.net.port": "str",
                "resources.system.load_15min.poll_period": "u64",
                "resources.system.load_15min.max": "str",
            },
        )
        self.assertEqual(keys(text)["quorum.two_node"], u8(1))

    def test_lists(self) -> None:
        """
        Entries of lists have a position, a link or a name in their keys.
        """
        text = """
nodelist {
  node {
    name: a
  }
  node {
    name: b
  }
}
totem {
  interface {
    linknumber: 1
    mcastport: 2
  }
  interface {
    member {
      memberaddr: 10.0.0.1
    }
    member {
      memberaddr: 10.0.0.2
    }
  }
}
nodelist {
  node {
    name: c
  }
}
"""
        self.assertEqual(
            keys(text),
            {
                "nodelist.node.0.name": string("a"),
                "nodelist.node.1.name": string("b"),
                "nodelist.node.2.name": string("c"),
                "totem.interface.1.mcastport": u16(2),
                "totem.interface.1.member.0": string("10.0.0.1"),
                "totem.interface.1.member.1": string("10.0.0.2"),
            },
        )

    def test_logging(self) -> None:
        """
        Settings of a subsystem have its name in their keys; corosync's own are
        not those of some program.
        """
        text = """
logging {
  debug: off
  logger_subsys {
    subsys: CPG
    debug: on
  }
  logging_daemon {
    name: pacemaker
    subsys: CRM
    debug: on
  }
  logging_daemon {
    name: corosync
    subsys: QB
    debug: trace
  }
}
"""
        self.assertEqual(
            {name: value.content for name, value in keys(text).items()},
            {
                "logging.debug": "off",
                "logging.logger_subsys.CPG.subsys": "CPG",
                "logging.logger_subsys.CPG.debug": "on",
                "logging.logging_daemon.pacemaker.CRM.name": "pacemaker",
                "logging.logging_daemon.pacemaker.CRM.subsys": "CRM",
                "logging.logging_daemon.pacemaker.CRM.debug": "on",
                "logging.logger_subsys.QB.subsys": "QB",
                "logging.logger_subsys.QB.debug": "trace",
            },
        )

    def test_clients(self) -> None:
        """
        Users and groups are there by number; without a machine to ask, those
        that are given by name are not.
        """
        text = "uidgid {\nuid: hacluster\ngid: 5\n}\n"
        self.assertEqual(
            keys(text), {"uidgid.config.uid.111": u8(1), "uidgid.config.gid.5": u8(1)}
        )
        document = parse(text, "f").document
        self.assertEqual(keysOf(document), (("uidgid.config.gid.5", u8(1)),))

    def test_nonsense(self) -> None:
        """
        What is no value of its type has no key, and no value no type.
        """
        self.assertEqual(keys("totem {\ntoken: soon\n}\n"), {})
        self.assertEqual(keys("x {\ny: 1\ny: 2\n}\n"), {"x.y": string("2")})
        long = parse(b"", "f").document
        self.assertEqual(keysOf(long), ())

    def test_everyRow(self) -> None:
        """
        The default of every option is a value of the type that it has.
        """
        for row in ROWS:
            if row.default is not None and typeOf(row).bits:
                assert isinstance(row.default, int)
                Value(typeOf(row), int(row.default))
        self.assertEqual(typeOf(Schema().row("totem.config_version")), u64(0).kind)

    def test_settings(self) -> None:
        """
        A node's settings carry the keys of its file, with what corosync adds:
        nodeids that derive from addresses, and which entry is ours.
        """
        found = dict(built(conf().replace("nodeid: 2", "")).keys)
        self.assertEqual(found["nodelist.node.1.nodeid"], u32(0x0A000002))
        self.assertEqual(found["nodelist.node.2.nodeid"], u32(3))
        self.assertEqual(found["nodelist.local_node_pos"], u32(0))
        self.assertEqual(found["totem.version"], u32(2))


def _unnumbered(items: Iterable[tuple[str, Value]]) -> Counter[tuple[str, Value]]:
    """
    Keys without positions: an entry that says nothing has no keys, and the
    next takes its place.
    """
    return Counter((re.sub(r"\.\d+", "", name), value) for name, value in items)


class ExportTests(SynchronousTestCase):
    @given(VALID)
    @EXAMPLES
    def test_there(self, document: Section) -> None:
        """
        A document made of keys has these keys.  (E13)
        """
        items = [
            (name, value)
            for name, value in keysOf(document, HOST)
            if not name.startswith(RUN_TIME)
        ]
        found = keysOf(documentOf(items), HOST)
        self.assertEqual(_unnumbered(found), _unnumbered(items))
        self.assertEqual(dict(keysOf(documentOf(found), HOST)), dict(found))

    def test_fromScratch(self) -> None:
        """
        A running node's keys make a file that another could be started with;
        what only a running node has is left out.  (E13)
        """
        text = conf("interface {\nmcastport: 5405\n}", quorum="two_node: 0")
        items = [
            *keysOf(parse(text, "f").document),
            ("runtime.members.1.status", string("joined")),
            ("internal_configuration.service.0.ver", u32(0)),
            ("stats.srp.mtt_rx_token", u32(1)),
            ("nodelist.local_node_pos", u32(0)),
            ("my.own", string("x")),
            ("uidgid.uid.7", u8(1)),
            ("uidgid.uid.8", u8(0)),
        ]
        written = write(documentOf(items)).text
        self.assertEqual(keys(written), {**keys(text), "uidgid.config.uid.7": u8(1)})

    def test_commentsSurvive(self) -> None:
        """
        The file that a node was started with is brought up to date line by
        line; all else stays as somebody wrote it.  (E13, A40)
        """
        text = (
            "# ours\ntotem {\n\tversion:   2\n\t# slow\n\ttoken:   1000\n"
            "\tthreads: 1\n}\n\nuidgid {\n  uid: hacluster\n}\n"
            "uidgid {\n  uid: 5\n}\n"
        )
        document = parse(text, "f").document
        items = {
            **dict(keysOf(document, HOST)),
            "totem.token": u32(2000),
            "totem.join": u32(60),
            "quorum.expected_votes": u32(3),
        }
        del items["totem.threads"], items["uidgid.config.uid.5"]
        found = write(updated(document, items.items(), HOST), text.encode()).text
        self.assertEqual(
            found,
            "# ours\ntotem {\n\tversion:   2\n\t# slow\n\ttoken:   2000\n"
            "\tjoin: 60\n}\n\nuidgid {\n  uid: hacluster\n}\n\n"
            "quorum {\n    expected_votes: 3\n}\n",
        )

    def test_nothingChanged(self) -> None:
        """
        Keys that say what the file says leave it as it is, sign by sign.
        """
        text = "totem{\r\n version :2\r\n\r\n }\r\n# end"
        document = parse(text, "f").document
        same = updated(document, keysOf(document))
        self.assertEqual(write(same, text.encode()).text, text + "\r\n")

    def test_nodes(self) -> None:
        """
        Nodes come and go; entries that lost everything go, too.
        """
        document = parse(conf(nodes=2), "f").document
        items = {
            name: value
            for name, value in keysOf(document)
            if not name.startswith("nodelist.node.1.")
        }
        items["nodelist.node.10.nodeid"] = u32(10)
        items["nodelist.node.9.nodeid"] = u32(9)
        (nodelist,) = (
            section
            for section in updated(document, items.items()).sections()
            if section.name == "nodelist"
        )
        nodeids = [node.value("nodeid") for node in nodelist.sections()]
        self.assertEqual(nodeids, ["1", "9", "10"])

    def test_linksAndLoggers(self) -> None:
        """
        What tells entries apart is written with them.
        """
        items = [
            ("totem.interface.1.mcastport", u16(5407)),
            ("totem.interface.1.member.0", string("10.0.0.1")),
            ("logging.logger_subsys.CPG.debug", string("on")),
            ("logging.logging_daemon.x.Y.debug", string("on")),
        ]
        text = write(documentOf(items)).text
        found = keys(text)
        self.assertEqual(found, {**found, **dict(items)})
        self.assertIn("linknumber: 1", text)
        self.assertIn("subsys: CPG", text)

    @given(VALID, st.data())
    @EXAMPLES
    def test_anyChange(self, document: Section, data: st.DataObject) -> None:
        """
        From any file to any keys that another file has.
        """
        other = data.draw(VALID)
        items = dict(keysOf(documentOf(keysOf(other, HOST)), HOST))
        found = dict(keysOf(updated(document, items.items(), HOST), HOST))
        positions = ("nodelist.node.", "totem.interface.")
        for name, value in items.items():
            if not name.startswith(positions):
                self.assertEqual(found.get(name), value, name)
