"""
C{corotwist decode}.
"""

import gzip
import json
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from random import Random
from struct import pack
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

import corotwist.test
from corotwist.engines import executive
from corotwist.tools import capture
from corotwist.tools.decode import run
from corotwist.totem import frame, wire
from corotwist.totem.fragments import Outbox, Packed
from corotwist.totem.knet import packet as knet
from corotwist.totem.membership import Guarantee, RingId

VECTORS: Final = Path(corotwist.test.__file__).with_name("vectors")
KEY: Final = VECTORS / "knet-crypto.authkey.hex"
ENCRYPTED: Final = VECTORS / "knet-2node-crypto-aes256-sha256.jsonl.gz"
RING: Final = RingId(9, 1)
TOKEN: Final = wire.Token(1, 2, 3, 2, 0, RING).encode()
CANCEL: Final = wire.HoldCancel(2, RING).encode()
PORT: Final = 5405
MAGICS: Final = {("<", 10**6): "d4c3b2a1", (">", 10**6): "a1b2c3d4"}
NANO: Final = {("<", 10**9): "4d3cb2a1", (">", 10**9): "a1b23c4d"}


def regular(
    payload: bytes, sequence: int = 1, sender: int = 1, encapsulated: bool = False
) -> bytes:
    """
    A regular message.
    """
    message = wire.makeRegular(
        sender, sequence, sequence, RING, 0, payload, encapsulated
    )
    return message.frame


def cpg(payload: bytes) -> bytes:
    """
    A message to a process group, as the ring carries it.
    """
    message = executive.Mcast(b"grpA", 4711, 1, 5, payload)
    return executive.address(executive.SERVICES_GROUP, executive.whole(message))


# Packets, as they are on a wire.


def udp(payload: bytes, source: int = PORT, destination: int = PORT) -> bytes:
    """
    A UDP datagram.
    """
    return pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def ipv4(content: bytes, place: int = 0, protocol: int = 17) -> bytes:
    """
    An IPv4 packet from 10.77.0.1 to 10.77.0.2, with four bytes of options.
    """
    size = 24 + len(content)
    head = pack(">BBHHHBBH", 0x46, 0, size, 99, place, 64, protocol, 0)
    return head + bytes([10, 77, 0, 1, 10, 77, 0, 2]) + bytes(4) + content


def ipv6(content: bytes, following: int = 17) -> bytes:
    """
    An IPv6 packet from fd00::1 to fd00::2.
    """
    source, destination = (b"\xfd" + bytes(14) + bytes([n]) for n in (1, 2))
    head = pack(">IHBB", 6 << 28, len(content), following, 64)
    return head + source + destination + content


def ethernet(internet: bytes, *tags: int) -> bytes:
    """
    An Ethernet frame, maybe with VLAN tags.
    """
    kind = 0x86DD if internet[0] >> 4 == 6 else 0x0800
    inner = b"".join(pack(">HH", tag, 5) for tag in tags)
    return bytes(12) + inner + pack(">H", kind) + internet


# Files of packets.


def pcap(
    packets: Sequence[bytes], link: int = 1, order: str = "<", units: int = 10**6
) -> bytes:
    """
    A classic capture; its packets are a second and a half apart.
    """
    magic = bytes.fromhex({**MAGICS, **NANO}[order, units])
    head = magic + pack(f"{order}HHiIII", 2, 4, 0, 0, 65535, link)
    return head + b"".join(
        pack(f"{order}IIII", at * 3 // 2, at % 2 * units // 2, len(p), len(p)) + p
        for at, p in enumerate(packets)
    )


def block(kind: int, content: bytes, order: str) -> bytes:
    """
    A block of a pcapng file.
    """
    content += bytes(-len(content) % 4)
    size = pack(f"{order}I", 12 + len(content))
    return pack(f"{order}I", kind) + size + content + size


def pcapng(packets: Sequence[bytes], link: int = 1, order: str = "<") -> bytes:
    """
    A section with an interface that counts in milliseconds, and one that says
    nothing; all packets are from the first, half a second apart.
    """
    resolution = pack(f"{order}HHB3xHH", 9, 1, 3, 0, 0)
    parts = [
        block(0x0A0D0D0A, pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order),
        block(1, pack(f"{order}HHI", link, 0, 65535) + resolution, order),
        block(1, pack(f"{order}HHI", 99, 0, 65535), order),
        block(5, bytes(12), order),
    ]
    for at, packet in enumerate(packets):
        head = pack(f"{order}IIIII", 0, 0, at * 500, len(packet), len(packet))
        parts.append(block(6, head + packet, order))
    return b"".join(parts)


class DecodeTestCase(SynchronousTestCase):
    """
    Runs the command, and looks at what it prints.
    """

    def file(self, name: str, content: bytes) -> str:
        path = Path(self.mktemp())
        path.mkdir(parents=True)
        (path / name).write_bytes(content)
        return str(path / name)

    def jsonLines(self, *payloads: bytes) -> str:
        lines = [
            json.dumps(
                {
                    "t": at / 2,
                    "src": "10.77.0.1",
                    "dst": "10.77.0.2",
                    "sport": PORT,
                    "dport": PORT,
                    "hex": payload.hex(),
                }
            )
            for at, payload in enumerate(payloads)
        ]
        return self.file("lines.jsonl", "\n".join(lines).encode())

    def run_(self, *argv: str) -> tuple[int, str, str]:
        out, err = StringIO(), StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        return run(argv), out.getvalue(), err.getvalue()

    def decoded(self, *argv: str) -> list[dict[str, Any]]:
        status, out, err = self.run_(*argv)
        self.assertEqual((status, err), (0, ""))
        return [json.loads(line) for line in out.splitlines()]


class SummaryTests(DecodeTestCase):
    """
    Counts and reassembled messages.
    """

    def test_vectors(self) -> None:
        """
        The summary of all recordings is what describes them, byte for byte.
        """
        paths = map(str, sorted(VECTORS.glob("*.jsonl.gz")))
        status, out, err = self.run_("--summary", "--key", str(KEY), *paths)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, (VECTORS / "expected.json").read_text())

    def test_oneFile(self) -> None:
        """
        A summary is of the files that were named.
        """
        path = VECTORS / "udpu-1node-form.jsonl.gz"
        _, out, _ = self.run_("-s", str(path))
        expected = json.loads((VECTORS / "expected.json").read_text())
        name = "udpu-1node-form"
        self.assertEqual(json.loads(out), {name: expected[name]})

    def test_withoutKey(self) -> None:
        """
        What cannot be opened is counted as that.
        """
        _, out, _ = self.run_("--summary", str(ENCRYPTED))
        (summary,) = json.loads(out).values()
        self.assertEqual(
            summary, {"counts": {"error": 281}, "incomplete": 0, "messages": []}
        )

    def test_wrongHash(self) -> None:
        """
        A key opens nothing with another hash than the ring's.
        """
        _, out, _ = self.run_("-s", "-k", str(KEY), "--hash", "sha1", str(ENCRYPTED))
        (summary,) = json.loads(out).values()
        self.assertEqual(summary["counts"], {"error": 281})

    def test_incomplete(self) -> None:
        """
        Messages that do not come whole, or are no messages, are incomplete.
        """
        rubbish = regular(Packed([b"?"]).encode(), 1)
        start = regular(Packed([cpg(b"start")], fragmented=1).encode(), 2)
        other = regular(Packed([cpg(b"other")]).encode(), 3)
        _, out, _ = self.run_("-s", self.jsonLines(rubbish, start, other))
        (summary,) = json.loads(out).values()
        self.assertEqual(summary["incomplete"], 2)
        (message,) = summary["messages"]
        self.assertEqual(message[:5], [1, "1.9", 3, "cpg.mcast", 184 + 5])

    def test_unreadable(self) -> None:
        """
        A file that cannot be read is named; the others are summarized.
        """
        good = self.jsonLines(TOKEN)
        status, out, err = self.run_("-s", "/nowhere/x.pcap", good)
        self.assertEqual(status, 1)
        self.assertEqual(
            err, "corotwist decode: /nowhere/x.pcap: No such file or directory\n"
        )
        self.assertEqual(json.loads(out)["lines"]["counts"], {"orf_token": 1})


class FieldTests(DecodeTestCase):
    """
    One object for each datagram, with every field by name.
    """

    def test_token(self) -> None:
        """
        Where it came from, and what it is.
        """
        (found,) = self.decoded(self.jsonLines(TOKEN))
        self.assertEqual(
            found,
            {
                "t": 0.0,
                "src": "10.77.0.1",
                "dst": "10.77.0.2",
                "sport": PORT,
                "dport": PORT,
                "bytes": 57,
                "totem": {
                    "type": "orf_token",
                    "sender": 1,
                    "sequence": 2,
                    "tokenSequence": 3,
                    "allReceivedUpTo": 2,
                    "aruSetter": 0,
                    "ringId": "1.9",
                    "backlog": 0,
                    "flowCount": 0,
                    "retransmitFlag": 0,
                    "requests": [],
                    "target": 0,
                    "byteOrder": "<",
                },
            },
        )

    def test_requests(self) -> None:
        """
        Lists and what is in them.
        """
        token = wire.Token(1, 2, 3, 2, 0, RING, requests=[(RING, 1)])
        commit = wire.CommitToken(1, 0, RING, (1,), (wire.UNFILLED,))
        first, second = self.decoded(self.jsonLines(token.encode(), commit.encode()))
        self.assertEqual(first["totem"]["requests"], [["1.9", 1]])
        (entry,) = second["totem"]["entries"]
        self.assertEqual(
            entry, {"ringId": "0.0", "aru": 0, "highDelivered": 0, "received": 0}
        )

    def test_messages(self) -> None:
        """
        The chunks of a frame, with whole messages by name.
        """
        barrier = executive.address(
            executive.SYNC_GROUP, executive.whole(executive.Barrier(RING))
        )
        payload = Packed([cpg(b"hi"), barrier]).encode()
        (found,) = self.decoded(self.jsonLines(regular(payload)))
        self.assertFalse(found["totem"]["duplicate"])
        first, second = found["totem"]["packed"]["chunks"]
        self.assertEqual((first["begins"], first["ends"]), (True, True))
        message = first["message"]
        del message["sha256"]
        self.assertEqual(
            message,
            {
                "name": "cpg.mcast",
                "groups": ["a"],
                "bytes": 186,
                "group": "grpA",
                "pid": 4711,
                "nodeid": 1,
                "connection": 5,
                "payload": b"hi".hex(),
            },
        )
        self.assertEqual(second["message"]["name"], "sync.barrier")
        self.assertEqual(second["message"]["ringId"], "1.9")

    def test_longMessage(self) -> None:
        """
        A message in several frames is shown where it is complete.
        """
        box = Outbox(1410, 1 << 20)
        box.add(cpg(bytes(3000)), Guarantee.AGREED)
        box.add(cpg(b"x"), Guarantee.AGREED)
        frames = [regular(box.take()[0], n + 1) for n in range(box.frames())]
        found = [f["totem"]["packed"] for f in self.decoded(self.jsonLines(*frames))]
        self.assertEqual(["completes" in f for f in found], [False, False, True])
        self.assertEqual(found[2]["completes"]["payload"], bytes(3000).hex())
        self.assertEqual(
            found[0]["chunks"], [{"bytes": 1400, "begins": True, "ends": False}]
        )
        last, other = found[2]["chunks"]
        self.assertEqual((last["begins"], last["ends"]), (False, True))
        self.assertEqual(other["message"]["payload"], b"x".hex())

    def test_duplicate(self) -> None:
        """
        A copy of a regular message is called that.
        """
        message = regular(Packed([cpg(b"x")]).encode())
        first, second = self.decoded(self.jsonLines(message, message))
        self.assertFalse(first["totem"]["duplicate"])
        self.assertTrue(second["totem"]["duplicate"])

    def test_encapsulated(self) -> None:
        """
        The message of an old ring is shown inside that of the new one.
        """
        inner = regular(Packed([cpg(b"x")]).encode(), 7, 2)
        (found,) = self.decoded(self.jsonLines(regular(inner, encapsulated=True)))
        shown = found["totem"]["inner"]
        self.assertEqual((shown["type"], shown["sequence"]), ("mcast", 7))
        self.assertEqual(shown["packed"]["chunks"][0]["message"]["name"], "cpg.mcast")

    def test_otherGroups(self) -> None:
        """
        Messages of groups and functions we know nothing of are shown as bytes.
        """
        ours = executive.address(b"corotwist", b"body")
        function = executive.address(b"a", executive.header(4, 1, b"flood"))
        service = executive.address(b"a", executive.header(77, 3, b""))
        payload = Packed([ours, function, service]).encode()
        (found,) = self.decoded(self.jsonLines(regular(payload)))
        messages = [chunk["message"] for chunk in found["totem"]["packed"]["chunks"]]
        self.assertEqual(
            [message["name"] for message in messages], ["corotwist", "pload.1", "77.3"]
        )
        self.assertEqual(messages[0]["hex"], b"body".hex())
        self.assertEqual(messages[1]["hex"], b"flood".hex())

    def test_text(self) -> None:
        """
        Names that are no text are shown all the same.
        """
        join = executive.ProcJoin(b"gr\xff\n", 1, 1)
        message = executive.address(b"a", executive.whole(join))
        (found,) = self.decoded(self.jsonLines(regular(Packed([message]).encode())))
        (chunk,) = found["totem"]["packed"]["chunks"]
        self.assertEqual(chunk["message"]["group"], "gr\\xff\n")

    def test_errors(self) -> None:
        """
        What does not decode says why, with what was found until there.
        """
        short = executive.address(b"a", executive.header(2, 0, b"short"))
        bad = [
            b"",
            TOKEN[:-1],
            b"something else",
            regular(b"not packed"),
            regular(Packed([short]).encode(), 2),
            knet.Data(1, 1, b"no totem").encode(),
            b"ct" + bytes(60),
        ]
        found = self.decoded(self.jsonLines(*bad, TOKEN))
        self.assertEqual(
            [line.get("error", "").partition(":")[0] for line in found],
            [
                "TruncatedFrame",
                "TruncatedFrame",
                "UnknownFrame",
                "UnknownFrame",
                "",
                "UnknownFrame",
                "ForgedFrame",
                "",
            ],
        )
        self.assertEqual(found[3]["totem"]["type"], "mcast")
        (chunk,) = found[4]["totem"]["packed"]["chunks"]
        self.assertTrue(chunk["message"]["error"].startswith("TruncatedFrame"))
        self.assertEqual(found[5]["knet"]["type"], "knet_data")

    def test_damage(self) -> None:
        """
        Whatever is in a recording, the command goes through it.
        """
        random = Random(9)
        with gzip.open(VECTORS / "udpu-3node-recovery-encapsulated.jsonl.gz") as file:
            lines = [json.loads(line)["hex"] for line in file]
        payloads = []
        for _ in range(500):
            data = bytearray.fromhex(random.choice(lines))
            for _ in range(3):
                data[random.randrange(len(data))] = random.randrange(256)
            payloads.append(bytes(data))
        self.assertEqual(len(self.decoded(self.jsonLines(*payloads))), 500)


class SealedTests(DecodeTestCase):
    """
    Encrypted and sealed traffic.
    """

    def test_knet(self) -> None:
        """
        Encrypted knet is opened with the key; without a cipher it is only
        authentic.
        """
        packet = knet.Data(1, 7, TOKEN).encode()
        material = bytes(range(128))
        key = self.file("authkey", material)
        for cipher in ("aes256", "none"):
            sealed = knet.Keys(material, cipher).seal(packet, bytes(16))
            (found,) = self.decoded(
                "-k", key, "--cipher", cipher, self.jsonLines(sealed)
            )
            self.assertEqual(found["sealed"]["by"], "knet")
            self.assertEqual(found["knet"]["number"], 7)
            self.assertEqual(found["totem"]["type"], "orf_token")

    def test_plainBesideKey(self) -> None:
        """
        With a key, plain traffic can still be read.
        """
        ping = knet.Ping(1, 0, bytes(16), 7, True).encode()
        found = self.decoded("-k", str(KEY), self.jsonLines(TOKEN, ping))
        self.assertEqual(found[0]["totem"]["type"], "orf_token")
        self.assertEqual(found[1]["knet"]["type"], "knet_ping")

    def test_fragments(self) -> None:
        """
        A message in several knet packets is shown with the last one.
        """
        pieces = [TOKEN[:30], TOKEN[30:]]
        packets = [
            knet.Data(1, 7, piece, fragments=2, fragment=at).encode()
            for at, piece in enumerate(pieces, 1)
        ]
        first, second = self.decoded(self.jsonLines(*packets))
        self.assertNotIn("totem", first)
        self.assertEqual(first["knet"]["payload"], pieces[0].hex())
        self.assertEqual(second["totem"]["type"], "orf_token")

    def test_corotwist(self) -> None:
        """
        What corotwist seals is opened with key and cluster name; copies for
        other nodes are no replays.
        """
        material = bytes(range(200))
        key = self.file("authkey", material)
        sealer = frame.Sealer(frame.deriveKey(material, "hall"), 1, 99, bytes(8))
        sealed = sealer.seal(TOKEN)
        path = self.jsonLines(sealed, sealed)
        for found in self.decoded("-k", key, "--cluster", "hall", path):
            self.assertEqual(found["sealed"], {"by": "corotwist", "sender": 1})
            self.assertEqual(found["totem"]["type"], "orf_token")
        for found in self.decoded("-k", key, "--cluster", "other", path):
            self.assertTrue(found["error"].startswith("ForgedFrame"))


class PacketTests(DecodeTestCase):
    """
    Captures of packets.
    """

    def types(self, content: bytes, *options: str) -> list[str]:
        found = self.decoded(*options, self.file("x.pcap", content))
        return [line["totem"]["type"] for line in found]

    def test_pcap(self) -> None:
        """
        Both byte orders, both kinds of time.
        """
        packets = [ethernet(ipv4(udp(p, 5404))) for p in (TOKEN, CANCEL)]
        for order, units in {**MAGICS, **NANO}:
            found = self.decoded(self.file("x", pcap(packets, 1, order, units)))
            self.assertEqual([line["t"] for line in found], [0.0, 1.5])
            self.assertEqual(
                [line["totem"]["type"] for line in found],
                ["orf_token", "token_hold_cancel"],
            )
            about = [found[0][key] for key in ("src", "dst", "sport", "dport", "bytes")]
            self.assertEqual(about, ["10.77.0.1", "10.77.0.2", 5404, 5405, 57])

    def test_pcapng(self) -> None:
        """
        Both byte orders; a file may have several sections, and blocks nobody
        knows.
        """
        packets = [ethernet(ipv4(udp(p))) for p in (TOKEN, CANCEL)]
        both = pcapng(packets, order="<") + pcapng(packets, order=">")
        found = self.decoded(self.file("x.pcapng", both))
        self.assertEqual([line["t"] for line in found], [0.0, 0.5, 0.0, 0.5])
        self.assertEqual(
            [line["totem"]["type"] for line in found],
            ["orf_token", "token_hold_cancel"] * 2,
        )

    def test_simpleBlocks(self) -> None:
        """
        Packets of pcapng may come without a time; they are cut at the snap
        length of their interface.
        """
        packet = ethernet(ipv4(udp(TOKEN)))
        simple = block(3, pack("<I", len(packet)) + packet, "<")
        found = self.decoded(self.file("x", pcapng([]) + simple))
        self.assertEqual((found[0]["t"], len(found)), (0.0, 1))

    def test_gzipped(self) -> None:
        """
        Any file may be gzipped, whatever its name.
        """
        packets = [ethernet(ipv4(udp(TOKEN)))]
        self.assertEqual(self.types(gzip.compress(pcap(packets))), ["orf_token"])
        self.assertEqual(self.types(gzip.compress(pcapng(packets))), ["orf_token"])

    def test_linkTypes(self) -> None:
        """
        Ethernet with and without VLANs, Linux cooked of both versions, raw IP.
        """
        four, six = ipv4(udp(TOKEN)), ipv6(udp(TOKEN))
        for link, packet in (
            (1, ethernet(six)),
            (1, ethernet(four, 0x8100)),
            (1, ethernet(four, 0x88A8, 0x8100)),
            (113, bytes(14) + b"\x08\x00" + four),
            (113, bytes(14) + b"\x86\xdd" + six),
            (276, b"\x08\x00" + bytes(18) + four),
            (276, b"\x86\xdd" + bytes(18) + six),
            (101, four),
            (101, six),
            (228, four),
            (229, six),
        ):
            self.assertEqual(self.types(pcap([packet], link)), ["orf_token"], link)

    def test_unknownLinkType(self) -> None:
        """
        A capture of another kind of network is refused, and says which.
        """
        path = self.file("x.pcap", pcap([bytes(60)], 105))
        status, out, err = self.run_(path)
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(
            err, f"corotwist decode: {path}: link type 105 is none we know\n"
        )

    def test_ipv6(self) -> None:
        """
        Extension headers are passed over.
        """
        hopByHop = bytes([60, 0]) + bytes(6)
        destination = bytes([17, 1]) + bytes(14)
        packet = ipv6(hopByHop + destination + udp(TOKEN), 0)
        (found,) = self.decoded(self.file("x.pcap", pcap([packet], 101)))
        self.assertEqual((found["src"], found["dst"]), ("fd00::1", "fd00::2"))

    def test_fragments(self) -> None:
        """
        IPv4 fragments are put together in whatever order they come, and one
        datagram does not disturb another.
        """
        payload = regular(Packed([cpg(bytes(3000))]).encode())
        content = udp(payload)
        pieces = [content[:1480], content[1480:2960], content[2960:]]
        packets = [
            ipv4(piece, at * 1480 // 8 + (0x2000 if at < 2 else 0))
            for at, piece in enumerate(pieces)
        ]
        other = ipv4(udp(TOKEN))
        for order in ((0, 1, 2), (2, 1, 0), (1, 1, 2, 0)):
            captured = [packets[at] for at in order]
            captured.insert(1, other)
            self.assertEqual(
                self.types(pcap(captured, 101)), ["orf_token", "mcast"], order
            )
        self.assertEqual(self.types(pcap(packets[:2], 101)), [])

    def test_ipv6Fragments(self) -> None:
        """
        So are those of IPv6.
        """
        content = udp(regular(Packed([cpg(bytes(3000))]).encode()))
        pieces = [content[:1448], content[1448:2896], content[2896:]]
        packets = [
            ipv6(pack(">BBHI", 17, 0, at * 1448 | (at < 2), 99) + piece, 44)
            for at, piece in enumerate(pieces)
        ]
        self.assertEqual(self.types(pcap(packets, 101)), ["mcast"])

    def test_manyFragments(self) -> None:
        """
        Datagrams that never complete do not pile up: the oldest give way.
        """
        content = udp(regular(Packed([cpg(bytes(3000))]).encode()))
        first, last = ipv4(content[:1480], 0x2000), ipv4(content[1480:], 185)
        others = [
            ipv6(pack(">BBHI", 17, 0, 1, number) + bytes(8), 44)
            for number in range(capture.MOST_OPEN)
        ]
        few = others[: capture.MOST_OPEN - 1]
        self.assertEqual(self.types(pcap([first, *few, last], 101)), ["mcast"])
        self.assertEqual(self.types(pcap([first, *others, last], 101)), [])

    def test_others(self) -> None:
        """
        What is not UDP, or no ring's, is left out; with a port named, it is
        shown.
        """
        tcp = ethernet(ipv4(bytes(20), protocol=6))
        arp = bytes(12) + b"\x08\x06" + bytes(28)
        name = ethernet(ipv4(udp(b"who is", 40000, 53)))
        short = ethernet(ipv4(b"abc"))[:30]
        packets = [tcp, arp, name, short, ethernet(ipv4(udp(TOKEN)))]
        self.assertEqual(self.types(pcap(packets)), ["orf_token"])
        path = self.file("x.pcap", pcap(packets))
        (found,) = self.decoded("--port", "53", path)
        self.assertTrue(found["error"].startswith("UnknownFrame"))
        (found,) = self.decoded("-p", str(PORT), path)
        self.assertEqual(found["totem"]["type"], "orf_token")

    def test_offload(self) -> None:
        """
        Where the kernel was going to cut a payload into datagrams of one size,
        each of them is shown.
        """
        payloads = [
            regular(Packed([cpg(bytes(100 if n < 2 else 50))]).encode(), n)
            for n in range(3)
        ]
        inner = regular(regular(payloads[0][45:]), 9, encapsulated=True)
        sealer = frame.Sealer(bytes(32), 1, 99, bytes(8))
        sealed = [sealer.seal(payload) for payload in payloads]
        for burst in (payloads, [inner, inner], sealed):
            packet = ipv4(udp(b"".join(burst)))
            path = self.file("x.pcap", pcap([packet], 101))
            found = self.decoded("-p", str(PORT), path)
            self.assertEqual([line["bytes"] for line in found], [*map(len, burst)])

    def test_unpacked(self) -> None:
        """
        A regular message without a packed frame in it is shown as wrong, and
        what comes after it as right.
        """
        packets = [ipv4(udp(p)) for p in (regular(b"not packed"), TOKEN)]
        path = self.file("x.pcap", pcap(packets, 101))
        wrong, right = self.decoded("-p", str(PORT), path)
        self.assertIn("packed frame", wrong["error"])
        self.assertEqual(right["totem"]["type"], "orf_token")

    def test_damaged(self) -> None:
        """
        A capture that ends in the middle is shown up to there, and named.
        """
        packets = [ethernet(ipv4(udp(p))) for p in (TOKEN, CANCEL)]
        for content in (pcap(packets), pcapng(packets)):
            path = self.file("x.pcap", content[:-20])
            status, out, err = self.run_(path)
            self.assertEqual((status, len(out.splitlines())), (1, 1))
            self.assertEqual(
                err, f"corotwist decode: {path}: it ends in the middle of a packet\n"
            )

    def test_hostileCaptures(self) -> None:
        """
        No capture, however damaged, does more than be called unreadable.
        """
        random = Random(10)
        packets = [ethernet(ipv4(udp(p))) for p in (TOKEN, CANCEL)]
        packets.append(ipv6(pack(">BBHI", 17, 0, 1, 5) + udp(TOKEN), 44))
        valid = [pcap(packets), pcapng(packets), gzip.compress(pcapng(packets))]
        statuses = set()
        for _ in range(1500):
            data = bytearray(random.choice(valid))
            for _ in range(random.randint(1, 4)):
                data[random.randrange(len(data))] = random.choice([0, 1, 255, 128, 16])
            path = self.file("x", bytes(data))
            status, _, err = self.run_(path)
            self.assertEqual(status, int(bool(err)))
            statuses.add(status)
        self.assertEqual(statuses, {0, 1})


class FileTests(DecodeTestCase):
    """
    Files and command lines.
    """

    def unreadable(self, path: str, text: str) -> None:
        status, _, err = self.run_(path)
        self.assertEqual((status, err), (1, f"corotwist decode: {path}: {text}\n"))

    def test_missing(self) -> None:
        """
        A file that is not there is named.
        """
        self.unreadable("/nowhere/x.pcap", "No such file or directory")

    def test_directory(self) -> None:
        """
        So is a directory.
        """
        self.unreadable(str(VECTORS), "Is a directory")

    def test_neither(self) -> None:
        """
        A file of another kind.
        """
        endless = b'{"t":1,"src":"a","dst":"b","sport":1e999,"dport":2,"hex":""}'
        for content in (b"hello\n", b"[]\n", b"{}", b'{"t": 1}', bytes(100), endless):
            path = self.file("x", content)
            self.unreadable(path, "line 1: neither a capture nor a JSON datagram")

    def test_damagedLine(self) -> None:
        """
        A line that is no datagram is named by its number.
        """
        path = self.jsonLines(TOKEN)
        with Path(path).open("a") as file:
            file.write("\n\n{broken\n")
        self.unreadable(path, "line 3: not a JSON datagram")

    def test_longLine(self) -> None:
        """
        There is a bound to what is taken for a line.
        """
        path = self.file("x", b'"' + b"x" * (capture.MOST_LINE_BYTES + 10) + b'"')
        self.unreadable(path, "line 1: neither a capture nor a JSON datagram")

    def test_damagedGzip(self) -> None:
        """
        A gzipped file that is cut or changed.
        """
        whole = gzip.compress(Path(self.jsonLines(TOKEN)).read_bytes())
        for content in (whole[:-12], whole[:20] + b"\xff\xff" + whole[22:]):
            self.unreadable(self.file("x.gz", content), "damaged gzip data")

    def test_empty(self) -> None:
        """
        Nothing is recorded in an empty file.
        """
        self.assertEqual(self.decoded(self.file("x", b"")), [])

    def test_usage(self) -> None:
        """
        A wrong command line says what would be right.
        """
        for argv in ((), ("--port", "x", "f"), ("--none", "f")):
            status, out, err = self.run_(*argv)
            self.assertEqual((status, out), (2, ""))
            self.assertIn("Usage: corotwist decode", err)

    def test_wrongKey(self) -> None:
        """
        A key file that no node could have, and one that is not there.
        """
        path = self.jsonLines(TOKEN)
        status, _, err = self.run_("-k", self.file("key", b"short"), path)
        self.assertEqual(status, 2)
        self.assertIn("a key of 5 bytes", err)
        status, _, err = self.run_("-k", "/nowhere/key", path)
        self.assertEqual(status, 1)
        self.assertEqual(
            err, "corotwist decode: /nowhere/key: No such file or directory\n"
        )

    def test_readerGone(self) -> None:
        """
        When whoever reads the output has seen enough, that is no error.
        """

        class Gone(StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        self.patch(sys, "stdout", Gone())
        self.assertEqual(run([self.jsonLines(TOKEN)]), 0)
