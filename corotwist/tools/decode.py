"""
C{corotwist decode}: show recorded traffic of a ring, every field by name.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from attrs import AttrsInstance, define, evolve, field, fields, frozen, has
from twisted.python import usage

from corotwist.engines import executive
from corotwist.errors import ForgedFrame, TruncatedFrame, Unreadable, WireError
from corotwist.options import Options
from corotwist.tools import capture
from corotwist.totem import frame as sealed
from corotwist.totem import wire
from corotwist.totem.fragments import Assembly, Packed
from corotwist.totem.knet import packet as knet
from corotwist.totem.membership import RingId

# Regular messages remembered, to tell copies from originals.
MOST_REMEMBERED: Final = 1 << 20
DIGEST_CHARACTERS: Final = 16

_TOTEM_NAMES: Final[Mapping[type[wire.Message], str]] = {
    wire.Token: "orf_token",
    wire.Regular: "mcast",
    wire.MergeDetect: "memb_merge_detect",
    wire.Join: "memb_join",
    wire.CommitToken: "memb_commit_token",
    wire.HoldCancel: "token_hold_cancel",
}
_KNET_NAMES: Final[Mapping[type[knet.Packet], str]] = {
    knet.Data: "knet_data",
    knet.Ping: "knet_ping",
    knet.Pong: "knet_pong",
    knet.Probe: "knet_pmtud",
    knet.ProbeReply: "knet_pmtud_reply",
}
_EXECUTIVE_GROUPS: Final = {executive.SERVICES_GROUP, executive.SYNC_GROUP}
# Bytes that are no text.
_RAW: Final = {"payload", "value", "extra", "time", "filler"}
_TOTEM_STARTS: Final = {b"\x70\xc0", b"\xc0\x70"}
# In all datagrams that one node seals, these bytes are the same.
_SAME_BYTES: Final = 24
_SEALER_AT: Final = slice(4, 8)


class DecodeOptions(Options):
    """
    What C{corotwist decode} understands.
    """

    synopsis = "Usage: corotwist decode [options] FILE..."
    longdesc = (
        "Print one JSON object for each datagram in FILE: pcap, pcapng, or JSON"
        " lines with t, src, dst, sport, dport and hex; gzipped or not."
    )
    optFlags = [
        ["summary", "s", "Print only counts and reassembled executive messages."],
    ]
    optParameters = [
        ["key", "k", None, "The key file of an encrypted ring, raw or as hex digits."],
        ["cluster", None, "", "Name of a corotwist cluster that seals its traffic."],
        ["cipher", None, "aes256", "Of encrypted knet: none, aes128, aes192, aes256."],
        ["hash", None, "sha256", "Of encrypted knet: none, md5, sha1, sha256, …"],
        ["port", "p", None, "Only datagrams to or from this port.", int],
    ]

    def parseArgs(self, *paths: str) -> None:
        if not paths:
            raise usage.UsageError("no FILE given")
        self["paths"] = [Path(path) for path in paths]


def run(argv: Sequence[str]) -> int:
    """
    Print recorded traffic.

    @param argv: what follows C{decode} on the command line.
    @return: 0, 1 when a file cannot be read, or 2 for a wrong command line.
    """
    options = DecodeOptions()
    try:
        options.parseOptions(list(argv))
        unsealer = _unsealer(options)
    except (usage.UsageError, ValueError) as problem:
        print(f"corotwist decode: {problem}\n{options}", file=sys.stderr)
        return 2
    except OSError as problem:
        text = f"{problem.filename}: {problem.strerror}"
        print(f"corotwist decode: {text}", file=sys.stderr)
        return 1
    try:
        return _show(options, unsealer)
    except BrokenPipeError:  # Who reads us has seen enough.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        return 0


def _unsealer(options: DecodeOptions) -> "Unsealer":
    if options["key"] is None:
        return Unsealer()
    material = Path(options["key"]).read_bytes()
    with suppress(ValueError):  # As the nodes have it, it is no hex digits.
        material = bytes.fromhex(material.decode("ascii"))
    keys = knet.Keys(material, options["cipher"], options["hash"])
    return Unsealer(keys, sealed.deriveKey(material, options["cluster"]))


def _show(options: DecodeOptions, unsealer: "Unsealer") -> int:
    """
    All the files, one after the other; those that cannot be read are named.
    """
    status, summaries = 0, []
    for path in options["paths"]:
        recording = Recording(unsealer)
        try:
            for datagram, found in _datagrams(path, recording, options["port"]):
                if not options["summary"]:
                    print(json.dumps(_line(datagram, found)))
        except Unreadable as problem:
            print(f"corotwist decode: {problem}", file=sys.stderr)
            status = 1
        else:
            summaries.append(_summary(path, recording))
    if options["summary"]:
        print("{", ",\n".join(summaries), "}", sep="\n")
    return status


def _datagrams(
    path: Path, recording: "Recording", port: int | None
) -> Iterator[tuple[capture.Datagram, dict[str, Any]]]:
    """
    Each datagram that is wanted, with what was found in it.
    """
    for whole in capture.read(path):
        if port is not None and port not in {whole.sourcePort, whole.destinationPort}:
            continue
        for piece in [whole.payload] if whole.chosen else _segments(whole.payload):
            datagram = evolve(whole, payload=piece)
            found: dict[str, Any] = {}
            try:
                recording.received(piece, found)
            except WireError as problem:
                if not found and port is None and not whole.chosen:
                    continue  # Somebody else's.
                recording.counts["error"] += 1
                found["error"] = _said(problem)
            yield datagram, found


def _segments(payload: bytes) -> list[bytes]:
    """
    The datagrams in a payload that the kernel was still going to cut, or had
    joined already: all but the last have the size of the first.
    """
    size = _segmentBytes(payload)
    if not size:
        return [payload]
    return [payload[at : at + size] for at in range(0, len(payload), size)]


def _segmentBytes(payload: bytes) -> int:
    """
    How long the first datagram in a payload is; 0 when there is no other.
    """
    start = payload[: len(sealed.MAGIC)]
    if start == sealed.MAGIC:
        return max(0, payload.find(payload[:_SAME_BYTES], _SAME_BYTES))
    if start not in _TOTEM_STARTS:
        return 0
    try:
        size = _regularBytes(payload)
    except WireError:
        return 0
    return size if payload[size : size + 2] in _TOTEM_STARTS else 0


def _regularBytes(payload: bytes) -> int:
    """
    How long a regular message at the start of a payload says it is; 0 when
    there is another one.

    @raise WireError: when there is none.
    """
    message = wire.decode(payload)
    size = wire.Regular.FIXED_BYTES
    while isinstance(message, wire.Regular) and message.encapsulated:
        message = wire.decode(message.payload)
        size += wire.Regular.FIXED_BYTES
    if not isinstance(message, wire.Regular):
        return 0
    return size + Packed.announced(message.payload, message.byteOrder)


def _line(datagram: capture.Datagram, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "t": datagram.time,
        "src": datagram.source,
        "dst": datagram.destination,
        "sport": datagram.sourcePort,
        "dport": datagram.destinationPort,
        "bytes": len(datagram.payload),
        **found,
    }


def _summary(path: Path, recording: "Recording") -> str:
    """
    The counts of one file on a line, and each of its messages on another.
    """
    name = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    counts = json.dumps(dict(sorted(recording.counts.items())))
    messages = ",\n".join(f"  {json.dumps(message)}" for message in recording.messages)
    return (
        f'{json.dumps(name)}: {{"counts": {counts},'
        f' "incomplete": {recording.incomplete()}, "messages": [\n{messages}\n]}}'
    )


def _said(problem: WireError) -> str:
    return f"{type(problem).__name__}: {problem}"


# What is in a datagram.


@frozen
class Unsealer:
    """
    Opens what is sealed, when there is a key.
    """

    knetKeys: knet.Keys | None = None
    key: bytes | None = None

    def opened(self, payload: bytes, found: dict[str, Any]) -> bytes:
        """
        The plain packet or message; the payload itself when it is that.

        @raise WireError: when it is sealed and our key does not open it.
        """
        start = payload[: len(sealed.MAGIC)]
        if start in _TOTEM_STARTS:
            return payload
        if start == sealed.MAGIC:
            return self._openSealed(payload, found)
        if self.knetKeys is None:
            return payload
        try:
            packet = self.knetKeys.open(payload)
        except (ForgedFrame, TruncatedFrame):
            if _isPlainKnet(payload):
                return payload
            raise
        found["sealed"] = {"by": "knet", "bytes": len(payload) - len(packet)}
        return packet

    def _openSealed(self, payload: bytes, found: dict[str, Any]) -> bytes:
        """
        Copies of one datagram are no replays here, so none is remembered.
        """
        if self.key is None:
            raise ForgedFrame("sealed, and there is no key to open it")
        nodeid = int.from_bytes(payload[_SEALER_AT], "little")
        sender, message = sealed.Opener([self.key], 0, [nodeid]).open(payload, 0.0)
        found["sealed"] = {"by": "corotwist", "sender": sender}
        return message


def _isPlainKnet(payload: bytes) -> bool:
    try:
        knet.decode(payload)
    except WireError:
        return False
    return True


@define
class Recording:
    """
    What was found in the datagrams of one file so far.

    @ivar counts: by type.
    @ivar messages: reassembled executive messages, in order of completion:
        sender, ring, sequence of the frame that completed it, name, size of
        the body, start of its SHA-256.
    """

    unsealer: Unsealer
    counts: Counter[str] = field(init=False, factory=Counter)
    messages: list[tuple[int, str, int, str, int, str]] = field(
        init=False, factory=list
    )
    _malformed: int = field(init=False, default=0)
    _defragmenter: knet.Defragmenter = field(init=False, factory=knet.Defragmenter)
    _assembly: Assembly = field(init=False, factory=Assembly)
    # Copies are known by sender, ring and sequence; a dict keeps their order.
    _seen: dict[tuple[int, RingId, int], None] = field(init=False, factory=dict)

    def incomplete(self) -> int:
        """
        How many messages did not come whole.
        """
        return self._malformed + self._assembly.dropped

    def received(self, payload: bytes, found: dict[str, Any]) -> None:
        """
        Take one datagram apart.

        @param found: gets what is in it, from the outside to the inside, as
            JSON values.
        @raise WireError: where that ends before its time.
        """
        plain = self.unsealer.opened(payload, found)
        if plain[:2] in _TOTEM_STARTS:
            self._totem(plain, found)
            return
        packet = knet.decode(plain)
        name = _KNET_NAMES[type(packet)]
        self.counts[name] += 1
        found["knet"] = {"type": name, **_fields(packet)}
        if isinstance(packet, knet.Data):
            message = self._defragmenter.received(packet)
            if packet.fragments == 1:
                del found["knet"]["payload"]  # Shown below, by its fields.
            if message is not None:
                self._totem(message, found)

    def _totem(self, data: bytes, found: dict[str, Any]) -> None:
        message = wire.decode(data)
        name = _TOTEM_NAMES[type(message)]
        self.counts[name] += 1
        found["totem"] = shown = {"type": name, **_fields(message)}
        if isinstance(message, wire.Regular):
            shown["duplicate"] = self._isDuplicate(message)
            self._regular(message, shown)

    def _isDuplicate(self, message: wire.Regular) -> bool:
        """
        Was it here before: a copy for another node, or a retransmission?
        """
        key = (message.sender, message.ringId, message.sequence)
        if key in self._seen:
            if not message.encapsulated:
                self.counts["duplicate_data"] += 1
            return True
        self._seen[key] = None
        if len(self._seen) > MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False

    def _regular(self, message: wire.Regular, shown: dict[str, Any]) -> None:
        """
        The chunks of a frame.  An encapsulated one is shown, but what is in it
        was counted when it was sent first.
        """
        if message.encapsulated:
            self.counts["encapsulated"] += 1
            inner = wire.decode(message.payload)
            assert isinstance(inner, wire.Regular)
            shown["inner"] = {"type": _TOTEM_NAMES[type(inner)], **_fields(inner)}
            message, shown = inner, shown["inner"]
        frame = Packed.decode(message.payload, message.byteOrder)
        shown["packed"] = packed = _packed(frame)
        if shown.get("duplicate", True):
            return
        delivered = self._delivered(message)
        if len(delivered) > sum("message" in chunk for chunk in packed["chunks"]):
            packed["completes"] = delivered[0]

    def _delivered(self, message: wire.Regular) -> list[dict[str, Any]]:
        """
        The executive messages that end in a frame, written down.
        """
        delivered = [
            _executive(whole, message.byteOrder)
            for whole in self._assembly.frameDelivered(
                message.sender, message.payload, message.byteOrder
            )
        ]
        ring = _ring(message.ringId)
        for shown in delivered:
            if "name" not in shown:
                self._malformed += 1
                continue
            about = (shown["name"], shown["bytes"], shown["sha256"])
            self.messages.append((message.sender, ring, message.sequence, *about))
        return delivered


def _packed(frame: Packed) -> dict[str, Any]:
    """
    The chunks of a frame, and the messages that are whole within it.
    """
    last = len(frame.chunks) - 1
    chunks: list[dict[str, Any]] = []
    for place, chunk in enumerate(frame.chunks):
        begins = place > 0 or not frame.continuation
        ends = place < last or not frame.fragmented
        shown: dict[str, Any] = {"bytes": len(chunk), "begins": begins, "ends": ends}
        if begins and ends:
            shown["message"] = _executive(chunk, frame.byteOrder)
        chunks.append(shown)
    return {
        "fragmented": frame.fragmented,
        "continuation": frame.continuation,
        "chunks": chunks,
    }


def _executive(message: bytes, byteOrder: str) -> dict[str, Any]:
    """
    A whole message by name, or what is wrong with it.

    Without a name it could not be told what it is.
    """
    try:
        groups, body = executive.addressed(message, byteOrder)
    except WireError as problem:
        return {"error": _said(problem), "hex": message.hex()}
    about = {
        "groups": [_text(group) for group in groups],
        "bytes": len(body),
        "sha256": sha256(body).hexdigest()[:DIGEST_CHARACTERS],
    }
    group = groups[0]
    if group not in _EXECUTIVE_GROUPS:
        return {"name": _text(group), **about, "hex": body.hex()}
    try:
        service, function, rest = executive.split(body, byteOrder)
        kind = executive.kindOf(group, service, function)
        if kind is None:
            name = _unknown(group, service, function)
            return {"name": name, **about, "hex": rest.hex()}
        return {
            "name": kind.NAME,
            **about,
            **_fields(kind.decode(rest, byteOrder)),
        }
    except WireError as problem:
        return {**about, "error": _said(problem), "hex": body.hex()}


def _unknown(group: bytes, service: int, function: int) -> str:
    """
    A name for a message that no release we know of has.
    """
    if group == executive.SYNC_GROUP:
        return f"sync.{service * executive.FUNCTIONS + function}"
    names = dict(enumerate(executive.SERVICE_NAMES))
    return f"{names.get(service, service)}.{function}"


def _fields(message: AttrsInstance) -> dict[str, Any]:
    """
    The attributes of a message as JSON values.
    """
    return {
        attribute.name: _value(attribute.name, getattr(message, attribute.name))
        for attribute in fields(type(message))
        if attribute.name != "frame"
    }


def _value(name: str, value: Any) -> Any:
    """
    Rings as people write them, names as text, other bytes as hex digits.
    """
    if isinstance(value, RingId):
        return _ring(value)
    if isinstance(value, bytes):
        return value.hex() if name in _RAW else _text(value)
    if isinstance(value, tuple | list):
        return [_value(name, item) for item in value]
    if has(type(value)):
        return _fields(value)
    return value


def _ring(ringId: RingId) -> str:
    return f"{ringId.representative}.{ringId.sequence}"


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
