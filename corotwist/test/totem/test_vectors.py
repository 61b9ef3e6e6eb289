"""
Recorded rings of real corosync nodes, taken apart to the last byte.

What each recording shows is in C{corotwist/test/vectors/expected.json}.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

import corotwist.test
from corotwist.engines import executive
from corotwist.engines.executive import HEADER_BYTES, SERVICES_GROUP, SYNC_GROUP
from corotwist.totem import wire
from corotwist.totem.fragments import Assembly, Packed
from corotwist.totem.knet import packet as knet
from corotwist.totem.membership import RingId

VECTORS: Final = Path(corotwist.test.__file__).with_name("vectors")
EXPECTED: Final[dict[str, Any]] = json.loads((VECTORS / "expected.json").read_text())
KEYS: Final = knet.Keys(
    bytes.fromhex((VECTORS / "knet-crypto.authkey.hex").read_text())
)
ENCRYPTED: Final = "knet-2node-crypto-aes256-sha256"
# One recording was cut in the middle of a long message.
THINNED: Final = "udpu-2node-cpg-partial"
COUNTED: Final = {
    wire.Token: "orf_token",
    wire.Regular: "mcast",
    wire.MergeDetect: "memb_merge_detect",
    wire.Join: "memb_join",
    wire.CommitToken: "memb_commit_token",
    wire.HoldCancel: "token_hold_cancel",
    knet.Data: "knet_data",
    knet.Ping: "knet_ping",
    knet.Pong: "knet_pong",
    knet.Probe: "knet_pmtud",
    knet.ProbeReply: "knet_pmtud_reply",
}
# Gaps in what follows the 16-byte header, from and to: rubbish on the wire,
# zero from us.  Those at the ends of names depend on the name.
NAME_GAP: Final = (4, 8)
GAPS: Final[dict[type[executive.Executive], tuple[tuple[int, int], ...]]] = {
    executive.Barrier: ((12, 16),),
    executive.ServiceList: ((12, 16), (20, 24)),
    executive.CmapMcast: ((1, 8), (9, 32), (34, 40), (297, 304)),
    executive.ProcJoin: (NAME_GAP, (140, 144), (148, 152)),
    executive.ProcLeave: (NAME_GAP, (140, 144), (148, 152)),
    executive.JoinList: ((4, 8),),
    executive.Mcast: (NAME_GAP, (140, 144), (148, 152), (156, 160)),
    executive.Downlist: ((4, 8), (12, 16)),
    executive.PartialMcast: (
        NAME_GAP,
        *((start, start + 4) for start in (140, 148, 156, 164, 172)),
    ),
    executive.NodeInfo: (),
    executive.Reconfigure: ((9, 16),),
    executive.QdeviceRegistration: ((259, 264),),
    executive.QdeviceRename: ((510, 512),),
    executive.KillNode: ((4, 8), (10, 16)),
    executive.Shutdown: (),
    executive.Reload: ((4, 8),),
}
HEADER_GAPS: Final = ((4, 8), (12, 16))


def names() -> list[str]:
    """
    All recordings.
    """
    return sorted(EXPECTED)


def datagrams(name: str) -> Iterator[bytes]:
    """
    The payloads of one recording.
    """
    with gzip.open(VECTORS / f"{name}.jsonl.gz", "rt") as lines:
        for line in lines:
            yield bytes.fromhex(json.loads(line)["hex"])


def ringMessages(name: str) -> Iterator[wire.Message]:
    """
    The messages of the ring in one recording, whatever carries them.
    """
    defragmenter = knet.Defragmenter()
    for datagram in datagrams(name):
        if not name.startswith("knet"):
            yield wire.decode(datagram)
            continue
        plain = KEYS.open(datagram) if name == ENCRYPTED else datagram
        packet = knet.decode(plain)
        if isinstance(packet, knet.Data):
            whole = defragmenter.received(packet)
            if whole is not None:
                yield wire.decode(whole)


def ordinary(name: str) -> Iterator[wire.Regular]:
    """
    The ordinary regular messages, each once.
    """
    seen = set[tuple[int, RingId, int]]()
    for message in ringMessages(name):
        if isinstance(message, wire.Regular) and not message.encapsulated:
            key = (message.sender, message.ringId, message.sequence)
            if key not in seen:
                yield message
            seen.add(key)


@define
class Body:
    """
    A reassembled message for the services.
    """

    group: bytes
    body: bytes
    byteOrder: str

    def message(self) -> executive.Executive:
        return executive.decode(self.group, self.body, self.byteOrder)


def bodies(name: str) -> Iterator[Body]:
    """
    The reassembled messages for the services.
    """
    assembly = Assembly()
    for message in ordinary(name):
        order = message.byteOrder
        for whole in assembly.frameDelivered(message.sender, message.payload, order):
            (group,), body = executive.addressed(whole, order)
            yield Body(group, body, order)


class RingTests(SynchronousTestCase):
    """
    The messages of the ring, and what carries them.
    """

    def test_recordings(self) -> None:
        """
        Every recording is described, and every description has one.
        """
        files = {path.name.split(".")[0] for path in VECTORS.glob("*.jsonl.gz")}
        self.assertEqual(files, {*EXPECTED})
        self.assertEqual(len(files), 18)

    def test_sameBytes(self) -> None:
        """
        Every datagram of udp and udpu is decoded and encoded to the same
        bytes; encapsulated messages too are whole messages.
        """
        for name in names():
            if name.startswith("knet"):
                continue
            for datagram in datagrams(name):
                message = wire.decode(datagram)
                self.assertEqual(message.encode(), datagram)
                self.assertEqual(message.byteOrder, "<")
                if isinstance(message, wire.Regular) and message.encapsulated:
                    inner = wire.decode(message.payload)
                    self.assertIsInstance(inner, wire.Regular)
                    self.assertEqual(inner.encode(), message.payload)

    def test_regularRebuilt(self) -> None:
        """
        Regular messages keep their datagram; built anew from their fields they
        give the same one.
        """
        for name in names():
            for message in ringMessages(name):
                if isinstance(message, wire.Regular):
                    again = wire.makeRegular(
                        message.sender,
                        message.sequence,
                        message.senderSequence,
                        message.ringId,
                        message.guarantee,
                        message.payload,
                        message.encapsulated,
                    )
                    self.assertEqual(
                        (message.origin, message.target), (again.origin, 0)
                    )
                    self.assertEqual(again.frame, message.frame)

    def test_knetSameBytes(self) -> None:
        """
        Every knet packet is decoded and encoded to the same bytes, and so is
        the message in it.
        """
        for datagram in datagrams("knet-2node-form-cpg"):
            self.assertEqual(knet.decode(datagram).encode(), datagram)
        for name in (ENCRYPTED, "knet-2node-form-cpg"):
            for message in ringMessages(name):
                self.assertEqual(wire.decode(message.encode()), message)

    def test_encryptedSameBytes(self) -> None:
        """
        Every encrypted datagram is opened, decoded, encoded, and sealed with
        the same salt to the same bytes.
        """
        for datagram in datagrams(ENCRYPTED):
            packet = knet.decode(KEYS.open(datagram))
            salt = datagram[: knet.SALT_BYTES]
            self.assertEqual(KEYS.seal(packet.encode(), salt), datagram)

    def test_counts(self) -> None:
        """
        There are as many of each kind as the recording's description says.
        """
        for name in names():
            counts = dict.fromkeys(COUNTED.values(), 0)
            if name.startswith("knet"):
                for datagram in datagrams(name):
                    plain = KEYS.open(datagram) if name == ENCRYPTED else datagram
                    counts[COUNTED[type(knet.decode(plain))]] += 1
            for message in ringMessages(name):
                counts[COUNTED[type(message)]] += 1
            expected = EXPECTED[name]["counts"]
            for kind, count in counts.items():
                self.assertEqual(count, expected.get(kind, 0), (name, kind))


class FrameTests(SynchronousTestCase):
    """
    Packed frames.
    """

    def test_sameBytes(self) -> None:
        """
        Every packed frame is decoded and encoded to the same bytes, those in
        encapsulated messages included.
        """
        for name in names():
            for message in ringMessages(name):
                if not isinstance(message, wire.Regular):
                    continue
                if message.encapsulated:
                    inner = wire.decode(message.payload)
                    assert isinstance(inner, wire.Regular)
                    message = inner  # noqa: PLW2901 - the frame is in there.
                frame = Packed.decode(message.payload, message.byteOrder)
                self.assertEqual(frame.encode(), message.payload)

    def test_nothingLost(self) -> None:
        """
        Every chunk becomes part of a message, but for the long one of which
        most was left out.
        """
        for name in names():
            assembly = Assembly()
            for message in ordinary(name):
                assembly.frameDelivered(
                    message.sender, message.payload, message.byteOrder
                )
            thinned = name == THINNED
            self.assertEqual(assembly.dropped, int(thinned), name)
            self.assertEqual(assembly.discarded > 0, thinned, name)


class ExecutiveTests(SynchronousTestCase):
    """
    Messages of the services.
    """

    def test_sameBytes(self) -> None:
        """
        Every message is decoded and encoded to the same bytes, where they are
        not a gap nor behind the end of a list or name.
        """
        kinds = set()
        for name in names():
            for body in bodies(name):
                message = body.message()
                kinds.add(type(message))
                again = executive.whole(message)
                self.assertEqual(len(again), len(body.body))
                kept = self.kept(message)
                for at, byte in enumerate(body.body):
                    if at in kept:
                        self.assertEqual(byte, again[at], (name, message, at))
                    else:
                        self.assertEqual(again[at], 0, (name, message, at))
        self.assertEqual(kinds, {*GAPS})

    def kept(self, message: executive.Executive) -> set[int]:
        """
        Which bytes of a message mean something.
        """
        size = len(executive.whole(message))
        gaps = [
            *HEADER_GAPS,
            *((HEADER_BYTES + a, HEADER_BYTES + b) for a, b in GAPS[type(message)]),
            *((HEADER_BYTES + a, HEADER_BYTES + b) for a, b in self.tails(message)),
        ]
        return {*range(size)}.difference(*(range(*gap) for gap in gaps))

    def tails(self, message: executive.Executive) -> list[tuple[int, int]]:
        """
        What is behind the ends of names and lists, where that depends on them.
        """
        match message:
            case executive.ServiceList(services=services):
                return [(24 + 4 * len(services), 536)]
            case executive.Downlist(left=left):
                return [(16 + 4 * len(left), 1552)]
            case executive.JoinList(entries=entries):
                return [
                    gap
                    for at in range(len(entries))
                    for gap in (
                        (12 + 144 * at, 16 + 144 * at),
                        (20 + 144 * at, 24 + 144 * at),
                    )
                ]
            case executive.QdeviceRegistration(device=device):
                return [(4 + len(device), 264)]
            case executive.QdeviceRename(before=before, after=after):
                return [(len(before), 255), (255 + len(after), 512)]
            case executive.KillNode(reason=reason):
                return [(16 + len(reason), 272)]
        return []

    def test_groups(self) -> None:
        """
        Messages are for the services or for synchronization, and are addressed
        again to the same bytes.
        """
        for name in names():
            assembly = Assembly()
            for message in ordinary(name):
                for whole in assembly.frameDelivered(
                    message.sender, message.payload, message.byteOrder
                ):
                    groups, body = executive.addressed(whole, message.byteOrder)
                    self.assertIn(groups, {(SERVICES_GROUP,), (SYNC_GROUP,)})
                    self.assertEqual(executive.address(groups[0], body), whole)

    def test_values(self) -> None:
        """
        Some of what happened, as its operator knows it.
        """
        found = [b.message() for b in bodies("udpu-2node-cfg-votequorum")]
        reconfigured = executive.Reconfigured
        self.assertIn(executive.Reconfigure(1, 3, reconfigured.EXPECTED_VOTES), found)
        self.assertIn(executive.Reconfigure(2, 2, reconfigured.NODE_VOTES), found)
        registrations = [
            message.registered
            for message in found
            if isinstance(message, executive.QdeviceRegistration)
        ]
        self.assertEqual(registrations, [True, False])
        kills = [m for m in found if isinstance(m, executive.KillNode)]
        self.assertEqual([kill.nodeid for kill in kills], [2])

        found = [b.message() for b in bodies("udpu-2node-cpg")]
        sizes = [len(m.payload) for m in found if isinstance(m, executive.Mcast)]
        self.assertEqual(sizes, [10, 5000])
        gone = [m for m in found if isinstance(m, executive.ProcLeave)]
        self.assertEqual([m.group for m in gone], [b"grpA", b"grpA"])
        self.assertEqual([m.reason for m in gone], [2, 5])
