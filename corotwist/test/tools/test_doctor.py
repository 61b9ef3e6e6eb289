"""
What the doctor finds: on this machine, at the node, and between machines.
"""

import io
import json
import os
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.settings import NodeEntry, Timing, TotemSettings
from corotwist.config.values import string
from corotwist.errors import Problem
from corotwist.ipc.status import NodeStatus
from corotwist.test.tools.processes import together
from corotwist.tools import checkups
from corotwist.tools.doctor import ring, run
from corotwist.tools.examination import (
    CLOCK_SECONDS,
    HEARD_SECONDS,
    Examination,
    Peer,
    Seal,
)
from corotwist.tools.findings import Finding, Grade, worst
from corotwist.totem.membership import RingId

START = 1000.0
KEY = bytes(range(32))


def totemSettings(**changes: object) -> TotemSettings:
    nodes = tuple(
        NodeEntry(n, f"n{n}", (ip_address(f"10.0.0.{n}"),)) for n in (1, 2, 3)
    )
    values = {"bindAddress": ip_address("10.0.0.1"), "stateDirectory": "/nowhere"}
    return TotemSettings(1, nodes, **{**values, **changes})  # type: ignore[arg-type]


class Village:
    """
    Doctors on a network without time: a datagram arrives at once, or never.

    @ivar carries: asked for each datagram: from whom, to whom, how large.
    """

    def __init__(self, *nodeids: int, **special: Any) -> None:
        """
        @param special: C{key2} and C{token2}, of node 2; so on.
        """
        self.now = START
        self.carries: Callable[[int, int, int], bool] = lambda *_: True
        self.clocks = dict.fromkeys(nodeids, 0.0)
        self.doctors = {n: self._doctor(n, nodeids, special) for n in nodeids}

    def _doctor(
        self, own: int, nodeids: tuple[int, ...], special: dict[str, Any]
    ) -> Examination:
        def send(datagram: bytes, peer: Peer) -> None:
            there = self.doctors.get(peer.nodeid)
            if there is not None and self.carries(own, peer.nodeid, len(datagram)):
                now = self.now + self.clocks[peer.nodeid]
                there.datagramReceived(datagram, f"10.0.0.{own}", now)

        peers = [Peer(n, f"n{n}", f"10.0.0.{n}") for n in nodeids if n != own]
        return Examination(
            own,
            peers,
            Seal(special.get(f"key{own}", KEY)),
            send,
            ipVersion=4,
            netmtu=1500,
            facts={"totem.token": special.get(f"token{own}", 1000)},
        )

    def rounds(self, count: int = 3) -> None:
        """
        Everybody asks.
        """
        for _ in range(count):
            self.now += 0.25
            for nodeid, doctor in self.doctors.items():
                doctor.ask(self.now + self.clocks[nodeid])

    def told(self, nodeid: int, *, fine: bool = False) -> list[str]:
        """
        What a doctor says, without what is well.
        """
        found = self.doctors[nodeid].findings(self.now + self.clocks[nodeid])
        return [f"{f.subject}: {f.text}" for f in found if fine or f.grade != "ok"]


class ExaminationTests(SynchronousTestCase):
    def test_healthy(self) -> None:
        """
        Where everything arrives, every node hears every other and is heard,
        packets of the configured size come through, and clocks agree (F25).
        """
        village = Village(1, 2, 3)
        village.rounds()
        for nodeid in (1, 2, 3):
            self.assertEqual(village.told(nodeid), [])
        told = "\n".join(village.told(1, fine=True))
        self.assertIn("node 2: n2 at 10.0.0.2 is heard and hears us", told)
        self.assertIn("packets of 1500 bytes arrive whole", told)

    def test_oneWay(self) -> None:
        """
        When one direction is closed, one side says that it is not heard, the
        other that nothing comes; and who hears it in its place (F25).
        """
        village = Village(1, 2, 3)
        village.carries = lambda here, there, _: (here, there) != (2, 1)
        village.rounds()
        self.assertEqual(
            village.told(1), ["node 2: n2 at 10.0.0.2 is not heard here, but by node 3"]
        )
        self.assertEqual(
            village.told(2), ["node 1: n1 at 10.0.0.1 is heard, but does not hear us"]
        )
        self.assertEqual(village.told(3), [])

    def test_nobodyThere(self) -> None:
        """
        Of a node without a doctor nothing is known, and it is said what to do.
        """
        village = Village(1, 2)
        del village.doctors[2]
        village.rounds()
        (found,) = village.doctors[1].findings(village.now)
        self.assertEqual(found.grade, Grade.UNKNOWN)
        self.assertIn("run 'corotwist doctor' there", found.remedy)

    def test_silence(self) -> None:
        """
        Who was heard, and is not any more, is not taken for healthy.
        """
        village = Village(1, 2)
        village.rounds()
        village.now += HEARD_SECONDS + 0.5
        self.assertIn("nothing is heard of n2", "".join(village.told(1)))

    def test_smallPath(self) -> None:
        """
        Where large packets get lost, the largest that arrives is named, with
        the option to set (F25).
        """
        village = Village(1, 2)
        village.carries = lambda here, there, size: size + 28 <= 1400
        village.rounds()
        (found,) = [f for f in village.doctors[1].findings(village.now) if f.remedy]
        self.assertEqual(found.grade, Grade.WRONG)
        self.assertIn("1500 bytes (totem.netmtu) do not arrive, 1400 do", found.text)
        self.assertIn("netmtu: 1400", found.remedy)

    def test_clocks(self) -> None:
        """
        A clock that is ahead is seen from both sides, and is advice (F25).
        """
        village = Village(1, 2)
        village.clocks[2] = CLOCK_SECONDS + 0.25
        village.rounds()
        self.assertEqual(village.told(1), ["node 2: its clock is 0.750 s ahead"])
        self.assertEqual(village.told(2), ["node 1: its clock is 0.750 s behind"])
        found = village.doctors[1].findings(village.now)
        self.assertEqual(worst(found), Grade.ADVICE)

    def test_otherConfiguration(self) -> None:
        """
        What must be alike on all nodes and is not, is named with both values.
        """
        village = Village(1, 2, token2=3000)
        village.rounds()
        self.assertEqual(
            village.told(1), ["node 2: totem.token is 3000 there and 1000 here"]
        )

    def test_otherKey(self) -> None:
        """
        Nodes with different keys tell so, with the address; nothing of what
        they say is believed.
        """
        village = Village(1, 2, key2=bytes(32))
        village.rounds()
        told = village.told(1)
        self.assertIn("key: datagrams that our key does not open come from", told[-1])
        self.assertIn("10.0.0.2", told[-1])
        self.assertIn("nothing is heard of n2", told[0])

    def test_withoutKey(self) -> None:
        """
        Clusters without a key are examined likewise.
        """
        village = Village(1, 2, key1=None, key2=None)
        village.rounds()
        self.assertEqual(village.told(1), [])

    def test_answersAreNotLarger(self) -> None:
        """
        Nobody can have a doctor send more than he sent it.
        """
        sizes: list[int] = []
        doctor = Examination(
            1,
            [Peer(2, "n2", "10.0.0.2")],
            Seal(KEY),
            lambda datagram, _: sizes.append(len(datagram)),
            ipVersion=4,
            netmtu=1500,
            facts={"x": "y" * 300},
        )
        question = {"node": 2, "hears": [], "facts": {}, "ask": 1.0, "size": 100}
        datagram = Seal(KEY).close(json.dumps(question).encode())
        doctor.datagramReceived(datagram, "10.0.0.2", START)
        self.assertEqual([size for size in sizes if size > len(datagram)], [])

    @given(st.binary(max_size=200) | st.dictionaries(st.text(), st.integers()))
    def test_garbage(self, content: object) -> None:
        """
        Whatever comes, it is ignored or counted, and harms nothing.
        """
        village = Village(1, 2)
        seal = Seal(KEY)
        whole = content if isinstance(content, bytes) else json.dumps(content).encode()
        for datagram in (whole, seal.close(whole), seal.mark + whole):
            village.doctors[1].datagramReceived(datagram, "10.0.0.9", START)
        self.assertIsNone(village.doctors[1].heard[2].at)


class Place:
    """
    A machine with a hosts file.
    """

    def __init__(self, **hosts: str) -> None:
        self.hosts = hosts

    def resolve(self, name: str) -> tuple[checkups.Address, ...]:
        found = self.hosts.get(name)
        return () if found is None else (ip_address(found),)

    def isLocal(self, address: checkups.Address) -> bool:
        return str(address) == "10.0.0.1"


def grades(*findings: Finding) -> list[str]:
    return [finding.grade.value for finding in findings]


class CheckupTests(SynchronousTestCase):
    def test_names(self) -> None:
        """
        Names without an address, and names that mean the loopback as in
        Debian's hosts file, are wrong; addresses need no name (F25).
        """
        keys = [
            ("nodelist.node.0.ring0_addr", string("good")),
            ("nodelist.node.1.ring0_addr", string("loop")),
            ("nodelist.node.2.ring1_addr", string("gone")),
            ("nodelist.node.3.ring0_addr", string("10.0.0.4")),
            ("nodelist.node.3.name", string("gone")),
        ]
        found = list(checkups.names(keys, Place(good="10.0.0.1", loop="127.0.1.1")))
        self.assertEqual(grades(*found), ["ok", "wrong", "wrong"])
        self.assertIn("/etc/hosts", found[1].remedy)

    def test_configuration(self) -> None:
        """
        What a node would refuse is wrong, with file and line; the mode of a key
        file is among it (F25).
        """
        problem = Problem("a.conf", 3, "totem.keyfile", "has mode 0644")
        found = list(checkups.configuration((problem,), ()))
        self.assertEqual(grades(*found), ["wrong"])
        self.assertIn("has mode 0644", found[0].text)
        self.assertEqual(
            grades(*checkups.configuration((), (problem,))), ["advice", "ok"]
        )

    def test_key(self) -> None:
        """
        A cluster without a key is told how to get one.
        """
        self.assertEqual(grades(checkups.key(totemSettings(), "")), ["advice"])
        sealed = checkups.key(totemSettings(key=KEY), "ab12")
        self.assertEqual(sealed.grade, Grade.FINE)
        self.assertIn("ab12", sealed.text)

    def test_address(self) -> None:
        """
        The address that the node list gives us has to be ours.
        """
        elsewhere = totemSettings(bindAddress=ip_address("10.0.0.2"))
        self.assertEqual(grades(checkups.address(totemSettings(), Place())), ["ok"])
        self.assertEqual(grades(checkups.address(elsewhere, Place())), ["wrong"])

    def test_stateDirectory(self) -> None:
        """
        A state directory is to be one, to be writable, and not by everybody.
        """

        def look(path: Path) -> list[str]:
            return grades(*checkups.stateDirectory(str(path), asRoot=False))

        path = Path(self.mktemp())
        self.assertEqual(look(path), ["ok"])
        path.write_text("a file")
        self.assertEqual(look(path), ["wrong"])
        path.unlink()
        path.mkdir(0o700)
        self.assertEqual(look(path), ["ok"])
        path.chmod(0o777)
        self.assertEqual(look(path), ["wrong"])

    def test_buffers(self) -> None:
        """
        A buffer that does not hold a window is advice, with the number to set.
        """
        settings = totemSettings(timing=Timing(windowSize=300))
        needed = checkups.neededBytes(settings)
        self.assertGreater(needed, 300 * settings.netmtu)
        self.assertEqual(grades(checkups.buffers(settings, needed, None)), ["ok"])
        small = checkups.buffers(settings, 200 << 10, 212992)
        self.assertEqual(small.grade, Grade.ADVICE)
        self.assertIn(f"net.core.rmem_max={needed}", small.remedy)
        self.assertGreater(checkups.offeredBytes(1 << 16), 1 << 15)

    def test_mtu(self) -> None:
        """
        An interface that carries less than C{netmtu} is named.
        """
        sizes = {"10.0.0.2": 1400, "10.0.0.3": 9000}
        found = list(checkups.mtu(totemSettings(), lambda a: sizes.get(str(a))))
        self.assertEqual(grades(*found), ["wrong"])
        self.assertIn("netmtu: 1400", found[0].remedy)
        self.assertGreater(checkups.interfaceMtu(ip_address("127.0.0.1")) or 0, 1500)

    def test_descriptors(self) -> None:
        """
        Few descriptors are advice.
        """
        self.assertEqual(grades(checkups.descriptors(100)), ["advice"])
        self.assertEqual(grades(checkups.descriptors(4096)), ["ok"])


class RingTests(SynchronousTestCase):
    def told(self, *members: int, nodeid: int = 1, quorate: bool = True) -> list[str]:
        status = NodeStatus(
            nodeid, RingId(8, 1), members, "running", quorate, {"rule": "a rule"}
        )
        return [f"{f.subject} {f.grade.value}" for f in ring(totemSettings(), status)]

    def test_members(self) -> None:
        """
        A node that runs says who is on its ring: heard in both directions.
        """
        self.assertEqual(
            self.told(1, 2, 3), ["node 1 ok", "node 2 ok", "node 3 ok", "quorum ok"]
        )

    def test_missing(self) -> None:
        """
        Who is not there, and what that means for quorum, is wrong.
        """
        self.assertEqual(
            self.told(1, quorate=False),
            ["node 1 ok", "node 2 wrong", "node 3 wrong", "quorum wrong"],
        )

    def test_otherNode(self) -> None:
        """
        A file that is not that of the node that runs here is found out.
        """
        self.assertEqual(self.told(1, 2, 3, nodeid=2)[0], "node wrong")


_FILE = """
totem {{
    version: 2
    cluster_name: doctored
    transport: udpu
    crypto_cipher: none
    crypto_hash: none
    token: {token}
}}
nodelist {{
    node {{
        ring0_addr: 127.0.0.1
        nodeid: 1
        name: one
    }}
    node {{
        ring0_addr: 127.0.0.2
        nodeid: 2
        name: two
    }}
}}
system {{
    state_dir: {state}
}}
"""


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def file(self, name: str, token: int = 1000) -> str:
        path = self.directory / name
        path.write_text(_FILE.format(token=token, state=self.directory / "state"))
        return str(path)

    def test_twoMachines(self) -> None:
        """
        Two doctors at work at the same time examine each other, and agree on
        what differs; the exit status says that something is wrong (F25).
        """
        port = "--port=25497"
        socket = f"--socket={self.directory / 'none'}"
        elsewhere = f"--state-dir={self.directory / 'elsewhere'}"
        where = [port, socket, elsewhere, "--timeout=5"]
        common = [sys.executable, "-m", "corotwist", "doctor", *where, "--json"]
        ends = together(
            [*common, "--node=1", "--seconds=4", "-c", self.file("one")],
            [*common, "--node=2", "--seconds=4", "-c", self.file("two", 2000)],
            environ={**os.environ, "COROTWIST_SOCKET": ""},
        )
        for there, (status, out) in zip((2, 1), ends, strict=True):
            self.assertEqual(status, 1, out)
            report = json.loads(out)
            self.assertEqual(report["schema"], "corotwist/doctor/1")
            state = [f for f in report["findings"] if f["subject"] == "state"]
            self.assertIn("elsewhere", state[0]["text"])
            found = [f for f in report["findings"] if f["subject"] == f"node {there}"]
            self.assertIn("is heard and hears us", found[0]["text"])
            wrong = {f["text"].split()[0] for f in found if f["grade"] == "wrong"}
            self.assertEqual(wrong, {"totem.token", "totem.consensus"})

    def test_unusable(self) -> None:
        """
        A file that cannot be used is told with the line, and nothing else is
        tried.
        """
        path = Path(self.file("one"))
        path.write_text(path.read_text().replace("version: 2", "version: 3"))
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        ended = together(
            [sys.executable, "-m", "corotwist", "doctor", "-c", str(path)],
            environ=dict(os.environ),
        )
        ((status, text),) = ended
        self.assertEqual(status, 1)
        self.assertIn("one:3", text)
        self.assertIn("-> see line 3", text)

    def test_wrongUse(self) -> None:
        """
        A port or a time that is none is said to be so.
        """
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        self.assertEqual(run(["--port", "99999"]), 2)
        self.assertIn("port", errors.getvalue())
        self.assertEqual(run(["--timeout", "0"]), 2)
        self.assertIn("--timeout", errors.getvalue())
