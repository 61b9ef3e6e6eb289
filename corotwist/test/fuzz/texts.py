"""
Files: configurations, keys, ring ids, recordings.
"""

import gzip
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import BytesIO, StringIO
from pathlib import Path
from struct import pack
from typing import Any, Final

from twisted.internet.defer import Deferred

import corotwist
from corotwist.config.build import Environment, fromReading
from corotwist.config.formats.corosyncconf import parse
from corotwist.config.host import Machine
from corotwist.errors import ConfigurationError, StorageRefused, Unreadable, WireError
from corotwist.test.config.factories import FILE, FakeHost, conf, deriveKey
from corotwist.test.fuzz import examples
from corotwist.test.fuzz.bytetargets import KEY, KNET_KEYS, seal
from corotwist.test.fuzz.mutate import BYTES, TEXT, numeral
from corotwist.test.fuzz.target import Target, Wrong
from corotwist.tools import capture, decode
from corotwist.tools.keygen import loadKey
from corotwist.totem.storage import LARGEST_SEQUENCE, FileRingStorage

# What an access control list has room for, and one of them means nobody.
LARGEST_ID: Final = (1 << 32) - 2
_CONFIGURATIONS: Final = Path(corotwist.__file__).parents[1] / "conf"
_WORDS: Final = (
    *(b"totem", b"nodelist", b"node", b"interface", b"quorum", b"uidgid", b"logging"),
    *(b"corotwist", b"system", b"version: 2\n", b"transport: udp\n", b"knet", b"udpu"),
    *(b"crypto_cipher: none\n", b"keyfile: ", b"key: ", b"secauth: on\n", b"cmap"),
    *(b"ring0_addr: ::1\n", b"ring0_addr: 127.0.0.1\n", b"nodeid: 1\n", b"name: "),
    *(b"uid: ", b"gid: ", b"token: ", b"consensus: ", b"netmtu: ", b"mcastaddr: "),
    *(b"{", b"}", b" {\n", b"}\n", b":", b": ", b"#", b"\n", b"\r\n", b"\t", b"\0"),
    *(b"0", b"-1", b"4294967296", b"99999999999999999999", b"1e9", b"0x10", b"nan"),
    *("\u0663".encode(), "\u00a0".encode(), "\ufeff".encode(), b"\xff", b"%n", b"../"),
    *(b"yes", b"no", b"on", b"off", b"none", b"x" * 600, b"." * 300, b"224.0.0.1"),
)
_JSON_WORDS: Final = (
    *(b'"t":', b"1e999", b"-1e999", b"NaN", b"Infinity", b"null", b"true", b'"x"'),
    *(b"[" * 400, b"[]", b"{}", b"1" * 400, b"1" * 5000, b"-1", b'"\\ud800"'),
)
_GLOBAL_HEADER: Final = "<IHHiIII"


def targets() -> Iterator[Target]:
    """
    All of them.
    """
    directory = Directory()
    yield Target(
        "configuration",
        "corosync.conf, from text to settings",
        lambda: _configuration,
        _configurations,
        damages=(*TEXT, numeral),
        words=_WORDS,
        share=0.01,
        # A line of two bytes is an object, and a problem with its text.
        swell=200,
        growing=_growingText,
    )
    yield Target(
        "key",
        "key files",
        lambda: directory.key,
        lambda: [bytes(range(256)), b"k" * 128, bytes(4096)],
        (ConfigurationError,),
        damages=BYTES,
        share=0.01,
        growing=lambda size: [bytes(size)],
    )
    yield Target(
        "ringid",
        "stored ring ids",
        lambda: directory.ringId,
        lambda: [bytes(8), pack("=Q", 26), pack("=Q", LARGEST_SEQUENCE)],
        (StorageRefused,),
        share=0.002,
        growing=lambda size: [bytes(size)],
    )
    yield Target(
        "capture",
        "recordings: pcap, pcapng, JSON",
        lambda: _capture,
        _captures,
        (Unreadable,),
        damages=(*BYTES, *TEXT, numeral, numeral),
        words=_JSON_WORDS,
        share=0.1,
        growing=_growingCaptures,
    )
    yield Target(
        "decode",
        "datagrams that corotwist decode shows",
        lambda: _decoded,
        _datagrams,
        share=0.03,
        growing=lambda size: [e.data + bytes(size) for e in examples.ringMessages()],
    )
    yield Target(
        "recording",
        "corotwist decode, with files of packets",
        lambda: directory.recording,
        _captures,
        damages=(*BYTES, *TEXT, numeral, numeral),
        words=_JSON_WORDS,
        share=0.005,
        # Every field by name, as text, once more in the output.
        swell=40,
        # Python's gzip has a large buffer.
        roomBytes=128 << 10,
        growing=_growingCaptures,
    )


class Directory:
    """
    A place for files that are read at once, and gone with us.
    """

    def __init__(self) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def path(self, name: str) -> Path:
        """
        Of a file in memory, where there is such a thing.
        """
        if self._temporary is None:
            memory = "/dev/shm"
            place = memory if os.access(memory, os.W_OK) else None
            self._temporary = tempfile.TemporaryDirectory(prefix="fuzz", dir=place)
        return Path(self._temporary.name) / name

    def written(self, name: str, data: bytes) -> str:
        """
        The path of a file with this in it, for its owner only.
        """
        path = self.path(name)
        path.write_bytes(data)
        path.chmod(0o600)
        return str(path)

    def key(self, data: bytes) -> None:
        """
        A key comes of it, or a refusal.
        """
        loadKey(self.written("key", data), "cluster")

    def ringId(self, data: bytes) -> None:
        """
        A sequence that another can follow, none, or a refusal.
        """
        self.written("ringid_1", data)
        storage = FileRingStorage(str(self.path("")), 1, _nowhere)
        try:
            found = storage.load()
        finally:
            storage._path.with_suffix(".lock").unlink()
        if found is not None and not 0 <= found <= LARGEST_SEQUENCE:
            raise Wrong(f"a sequence of {found}")
        if len(data) < 8 and found is not None:
            raise Wrong(f"{len(data)} bytes were taken for {found}")

    def recording(self, data: bytes) -> None:
        """
        A file is shown, and what is wrong is said in words.
        """
        out, err = StringIO(), StringIO()
        path = self.written("recording", data)
        with redirect_stdout(out), redirect_stderr(err):
            status = decode.run([path])
        if status != bool(err.getvalue()):
            raise Wrong(f"status {status}, and said {err.getvalue()!r}")
        for line in out.getvalue().splitlines():
            json.loads(line)


def _nowhere(function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
    raise AssertionError("nothing is stored here")


# Configurations.


class _Host(FakeHost):
    """
    A machine that asks nobody, and knows its own users.
    """

    def userId(self, name: str) -> int | None:
        return Machine().userId(name)

    def groupId(self, name: str) -> int | None:
        return Machine().groupId(name)


def _configuration(data: bytes) -> None:
    """
    Settings within their bounds come of it, or every reason why none do.
    """
    around = Environment(_Host(), {}, 0, loadKey, deriveKey)
    outcome = fromReading(parse(data, FILE), around)
    if outcome.settings is None:
        if not outcome.problems:
            raise Wrong("no settings, and no word why")
        text = "".join(map(str, outcome.problems))
        text.encode()
        return
    ipc = outcome.settings.ipc
    beyond = [number for number in (*ipc.uids, *ipc.gids) if number > LARGEST_ID]
    if beyond:
        raise Wrong(f"users or groups {beyond}")
    totem = outcome.settings.totem
    log = outcome.settings.log
    files = [part.file or "" for part in (log.rest, *dict(log.parts).values())]
    paths = (totem.stateDirectory, ipc.path, *files)
    if any("\0" in path for path in paths):
        raise Wrong("a path that no system call takes")


def _configurations() -> list[bytes]:
    rest = (
        "uidgid {\n uid: root\n gid: 5\n}\nlogging {\n to_logfile: yes\n logfile: x\n"
        " logger_subsys {\n subsys: CPG\n debug: trace\n }\n}"
    )
    rest += "\ncorotwist {\n ipc_socket: /run/x\n}\nsystem {\n state_dir: /var/x\n}"
    found = [
        conf(),
        conf("  token: 1000\n  consensus: 1300", rest=rest),
        conf("  keyfile: absent", cipher=""),
        conf("  key: " + "k" * 130, cipher="", quorum="provider: corosync_votequorum"),
        conf("  interface {\n mcastaddr: 239.1.1.1\n mcastport: 5405\n ttl: 2\n }"),
    ]
    # Not there when the package is installed.
    files = sorted(_CONFIGURATIONS.glob("*.conf"))
    return [text.encode() for text in found] + [path.read_bytes() for path in files]


def _growingText(size: int) -> list[bytes]:
    open_ = b"a {\n"
    return [
        bytes(size),
        open_ * (size // len(open_)),
        b"a {\n}\n" * (size // 6),
        b"nodelist {\n" + b"node {\nring0_addr: ::1\n}\n" * (size // 25) + b"}\n",
        b"totem {\n" + b"token: 1\n" * (size // 9) + b"}\n",
        b"}\n" * (size // 2),
        b"x" * size,
        b"#" * size,
    ]


# Recordings.

# In one IP packet.
_MOST_CONTENT_BYTES: Final = 65000


def _capture(data: bytes) -> None:
    for found in capture._datagrams(BytesIO(data)):
        if not isinstance(found.payload, bytes):
            raise Wrong(f"{found.payload!r} as payload")


def _udp(payload: bytes) -> bytes:
    head = pack(">HHHH", 5405, 5405, 8 + len(payload), 0)
    return head + payload


def _ipv4(content: bytes, place: int = 0) -> bytes:
    head = pack(">BBHHHBBH", 0x45, 0, 20 + len(content), 9, place, 64, 17, 0)
    return head + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + content


def _ipv6(content: bytes, following: int = 17) -> bytes:
    head = pack(">IHBB", 6 << 28, len(content), following, 64)
    return head + bytes(15) + b"\1" + bytes(15) + b"\2" + content


def _ethernet(internet: bytes) -> bytes:
    kind = 0x86DD if internet[0] >> 4 == 6 else 0x0800
    return bytes(12) + pack(">HHH", 0x8100, 5, kind) + internet


def _pcap(packets: list[bytes], link: int = 101) -> bytes:
    head = pack(_GLOBAL_HEADER, 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return head + b"".join(
        pack("<IIII", at, 5, len(packet), len(packet)) + packet
        for at, packet in enumerate(packets)
    )


def _pcapng(packets: list[bytes]) -> bytes:
    def block(kind: int, content: bytes) -> bytes:
        content += bytes(-len(content) % 4)
        size = pack("<I", 12 + len(content))
        return pack("<I", kind) + size + content + size

    section = block(0x0A0D0D0A, pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, pack("<HHIHHB3x", 101, 0, 0, 9, 1, 6))
    return (
        section
        + interface
        + b"".join(
            block(6, pack("<IIIII", 0, 1, 2, len(packet), len(packet)) + packet)
            for packet in packets
        )
    )


def _captures() -> list[bytes]:
    datagrams = [example.data for example in examples.ringMessages()][:4]
    datagrams += [example.data for example in examples.ringMessages()][-2:]
    packets = [_ipv4(_udp(data)) for data in datagrams]
    burst = _ipv4(_udp(datagrams[-1] * 3))
    whole = _udp(datagrams[-1])
    pieces = [_ipv4(whole[:64], 0x2000), _ipv4(whole[64:], 8)]
    last = pack(">BBHI", 17, 0, 1, 5)
    pieces += [_ipv6(last + whole[:64], 44), _ipv6(pack(">BBHI", 17, 0, 64, 5), 44)]
    line = json.dumps(
        {"t": 0.5, "src": "a", "dst": "b", "sport": 1, "dport": 2, "hex": "70c0"}
    ).encode()
    zipped = gzip.compress(_pcap(packets[:1]), mtime=0)
    return [
        _pcap(packets),
        _pcap([*pieces, burst]),
        _pcap([_ethernet(packet) for packet in [*packets[:2], *pieces]], 1),
        _pcapng([*packets[:3], burst]),
        line + b"\n" + line + b"\n",
        zipped,
    ]


def _growingCaptures(size: int) -> list[bytes]:
    token = _ipv4(_udp(next(examples.ringMessages()).data))
    piece = _ipv4(bytes(8), 0x2001)
    line = b'{"t":1,"src":"a","dst":"b","sport":1,"dport":2,"hex":"70c0"}\n'
    tags = bytes(12) + pack(">HH", 0x8100, 5) * (size // 4)
    headers = _ipv6(bytes(min(size, _MOST_CONTENT_BYTES)), 0)
    return [
        _pcap([token] * (size // len(token))),
        _pcap([piece] * (size // len(piece))),
        _pcapng([token] * (size // len(token))),
        _pcap([tags], 1),
        _pcap([headers]),
        line * (size // len(line)),
        b"[" * size,
        b'"' + b"1" * size,
        b"1" * size,
    ]


def _datagrams() -> list[bytes]:
    found = [example.data for example in examples.ringMessages()]
    found += [example.data for example in examples.knetPackets()]
    found += [seal(data) for data in found[:2]]
    found += [KNET_KEYS.seal(data, bytes(16)) for data in found[-4:-2]]
    for name in ("udpu-2node-cfg-votequorum", "udpu-3node-recovery-encapsulated"):
        found += examples.recorded(name, 12)
    return found


def _decoded(data: bytes) -> None:
    """
    As the tool does with each datagram of a file, without keys and with them.
    """
    for unsealer in (decode.Unsealer(), decode.Unsealer(KNET_KEYS, KEY)):
        _shown(data, decode.Recording(unsealer))


def _shown(data: bytes, recording: decode.Recording) -> None:
    whole = capture.Datagram(0.0, "a", "b", 1, 2, data, chosen=True)
    found: dict[str, Any] = {}
    try:
        pieces = decode._segments(data)
    except WireError as error:
        raise Wrong("it cannot be cut into datagrams") from error
    if b"".join(pieces) != data:
        raise Wrong(f"the pieces are {pieces}")
    with suppress(WireError):
        for piece in pieces:
            recording.received(piece, found)
    json.dumps(decode._line(whole, found))
