"""
The packets of kronosnet: one class each, in libknet 1's layout.

A datagram is one packet, in network byte order where not said otherwise::

    offset  size  field
         0     1  version, 1
         1     1  type
         2     2  nodeid of the sender
         4     1  highest version the sender speaks; 0 means 1
         5     1  reserved

With keys configured each packet travels sealed: 16 bytes of salt, the packet
enciphered, and a message authentication code over both.  L{Keys} opens and
seals them.  Source: corosync 3.1.7 with libknet 1.25.
"""

import hashlib
import hmac
from collections.abc import Mapping
from struct import Struct
from typing import Any, ClassVar, Final, Self

from attrs import Factory, define, field, frozen

from corotwist.errors import (
    BadCount,
    ForgedFrame,
    OversizedFrame,
    TruncatedFrame,
    UnknownFrame,
)
from corotwist.totem.wire import MOST_FRAME_BYTES, MOST_MEMBERS

VERSION: Final = 1
# Messages of one sender that may wait for fragments at once.
MOST_OPEN: Final = 8
# An open message is given up when its sender's numbers are so far ahead: they
# wrap, and its missing pieces must not be taken from a later message.
MOST_BEHIND: Final = 1024
_NUMBERS: Final = 1 << 16
TIME_BYTES: Final = 16

SALT_BYTES: Final = 16
LEAST_KEY_BYTES: Final = 128
MOST_KEY_BYTES: Final = 4096
CIPHER_KEY_BYTES: Final[Mapping[str, int]] = {
    "none": 0,
    "aes128": 16,
    "aes192": 24,
    "aes256": 32,
}
HASHES: Final = ("none", "md5", "sha1", "sha256", "sha384", "sha512")

_HEADER: Final = "BBHBB"
_HEADER_BYTES: Final = 6
_BLOCK_BITS: Final = 128


def decode(data: bytes) -> "Packet":
    """
    Parse one datagram in the clear.

    @raise WireError: when it is not exactly one packet.
    """
    if len(data) < _HEADER_BYTES:
        raise TruncatedFrame(f"knet packet of {len(data)} bytes")
    version, number = data[0], data[1]
    kind = _PACKETS.get(number)
    if version != VERSION or kind is None:
        raise UnknownFrame(f"knet packet of version {version}, type {number:#04x}")
    return kind.decode(data)


@define
class Data:
    """
    A message of the layer above, or a fragment of one::

        offset  size  field
             6     2  packet number, the same for all fragments
             8     1  compression, 0 for none
             9     1  reserved
            10     1  1 when it is sent to all nodes
            11     1  number of fragments
            12     1  0 when it is the only one, or which it is, from 1
            13     1  channel, signed
            14        payload
    """

    TYPE: ClassVar[int] = 0x00
    LAYOUT: ClassVar[Struct] = Struct(f">{_HEADER}HBBBBBb")

    nodeid: int
    number: int
    payload: bytes
    broadcast: bool = False
    fragments: int = 1
    fragment: int = 0
    compression: int = 0
    channel: int = 0
    highestVersion: int = 0
    reserved: tuple[int, int] = (0, 0)

    def encode(self) -> bytes:
        """
        The datagram.
        """
        first, second = self.reserved
        fixed = self.LAYOUT.pack(
            VERSION,
            self.TYPE,
            self.nodeid,
            self.highestVersion,
            first,
            self.number,
            self.compression,
            second,
            self.broadcast,
            self.fragments,
            self.fragment,
            self.channel,
        )
        return fixed + self.payload

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        Parse a datagram of this type.
        """
        size = len(data)
        if size <= cls.LAYOUT.size:
            raise TruncatedFrame(f"knet data packet of {size} bytes")
        if size > MOST_FRAME_BYTES:
            raise OversizedFrame(f"knet data packet of {size} bytes")
        (
            _,
            _,
            nodeid,
            highest,
            first,
            number,
            compression,
            second,
            broadcast,
            fragments,
            fragment,
            channel,
        ) = cls.LAYOUT.unpack_from(data)
        if broadcast > 1:
            raise BadCount(f"knet data packet with {broadcast} as broadcast")
        _checkFragment(fragments, fragment)
        return cls(
            nodeid,
            number,
            data[cls.LAYOUT.size :],
            bool(broadcast),
            fragments,
            fragment,
            compression,
            channel,
            highest,
            (first, second),
        )


def _checkFragment(fragments: int, fragment: int) -> None:
    """
    Is it the only one, or one of several?
    """
    single = fragments == 1 and fragment == 0
    if not single and not 1 <= fragment <= fragments:
        raise BadCount(f"knet fragment {fragment} of {fragments}")


@define
class Ping:
    """
    Are you there?::

        offset  size  field
             6     1  link
             7    16  the sender's time, for itself only
            23     2  the packet number it sent last
            25     1  1 when sent because it was time, 0 when asked for
    """

    TYPE: ClassVar[int] = 0x81
    LAYOUT: ClassVar[Struct] = Struct(f">{_HEADER}B{TIME_BYTES}sHB")

    nodeid: int
    link: int
    time: bytes
    number: int
    periodic: bool
    highestVersion: int = 0
    reserved: int = 0

    def encode(self) -> bytes:
        """
        The datagram.
        """
        return self.LAYOUT.pack(
            VERSION,
            self.TYPE,
            self.nodeid,
            self.highestVersion,
            self.reserved,
            self.link,
            self.time,
            self.number,
            self.periodic,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        Parse a datagram of this type.
        """
        _checkSize(data, cls.LAYOUT.size)
        _, _, nodeid, highest, reserved, link, time, number, periodic = (
            cls.LAYOUT.unpack(data)
        )
        if periodic > 1:
            raise BadCount(f"knet ping with {periodic} as periodic")
        return cls(nodeid, link, time, number, bool(periodic), highest, reserved)


@define
class Pong(Ping):
    """
    I am: a ping sent back, with our nodeid.
    """

    TYPE: ClassVar[int] = 0x82


@define
class Probe:
    """
    Does a packet of this size get through?::

        offset  size  field
             6     1  link
             7     2  size of the whole IP packet, in the sender's byte order
             9        filler

    @ivar size: read as little endian; it concerns its sender only.
    """

    TYPE: ClassVar[int] = 0x83
    # Each field alone, for the one that is not in network byte order.
    LAYOUT: ClassVar[Struct] = Struct(f">{_HEADER}B")
    SIZE: ClassVar[Struct] = Struct("<H")

    nodeid: int
    link: int
    size: int
    filler: bytes = b""
    highestVersion: int = 0
    reserved: int = 0

    def encode(self) -> bytes:
        """
        The datagram.
        """
        fixed = self.LAYOUT.pack(
            VERSION,
            self.TYPE,
            self.nodeid,
            self.highestVersion,
            self.reserved,
            self.link,
        )
        return fixed + self.SIZE.pack(self.size) + self.filler

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        Parse a datagram of this type.
        """
        end = cls.LAYOUT.size + cls.SIZE.size
        if len(data) < end:
            raise TruncatedFrame(f"knet probe of {len(data)} bytes")
        if len(data) > MOST_FRAME_BYTES:
            raise OversizedFrame(f"knet probe of {len(data)} bytes")
        _, _, nodeid, highest, reserved, link = cls.LAYOUT.unpack_from(data)
        (size,) = cls.SIZE.unpack_from(data, cls.LAYOUT.size)
        return cls(nodeid, link, size, data[end:], highest, reserved)


@define
class ProbeReply(Probe):
    """
    It did: the size sent back, without filler.
    """

    TYPE: ClassVar[int] = 0x84

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        Parse a datagram of this type.
        """
        _checkSize(data, cls.LAYOUT.size + cls.SIZE.size)
        return super().decode(data)


Packet = Data | Ping | Pong | Probe | ProbeReply

_PACKETS: Final[Mapping[int, type[Packet]]] = {
    kind.TYPE: kind for kind in (Data, Ping, Pong, Probe, ProbeReply)
}


def _checkSize(data: bytes, size: int) -> None:
    """
    Packets of a fixed size have no other.
    """
    if len(data) < size:
        raise TruncatedFrame(f"knet packet of {len(data)} bytes, not {size}")
    if len(data) > size:
        raise OversizedFrame(f"knet packet of {len(data)} bytes, not {size}")


# Fragments.


@define
class _Open:
    """
    Fragments of one message, by their place.
    """

    fragments: int
    size: int = 0
    pieces: dict[int, bytes] = Factory(dict)


@define
class Defragmenter:
    """
    Whole messages from data packets, each sender's apart.

    Of one sender at most L{MOST_OPEN} messages are open; a new one then
    drives out the oldest; one that is far behind its sender's numbers is given
    up.  There are no more senders than a ring can have.

    @ivar dropped: messages given up.
    """

    dropped: int = field(init=False, default=0)
    _senders: dict[int, dict[int, _Open]] = field(init=False, factory=dict)

    def received(self, packet: Data) -> bytes | None:
        """
        The message that this packet is or completes, if it does.

        @raise OversizedFrame: it is larger than any message of a ring.
        """
        self._giveUpOld(packet)
        if packet.fragments == 1:
            return packet.payload
        messages = self._of(packet.nodeid)
        known = messages.get(packet.number)
        if known is None or known.fragments != packet.fragments:
            known = self._begin(messages, packet)
        if packet.fragment not in known.pieces:
            known.pieces[packet.fragment] = packet.payload
            known.size += len(packet.payload)
        if known.size > MOST_FRAME_BYTES:
            del messages[packet.number]
            self.dropped += 1
            raise OversizedFrame(f"knet message of over {MOST_FRAME_BYTES} bytes")
        if len(known.pieces) < known.fragments:
            return None
        del messages[packet.number]
        pieces = sorted(known.pieces.items())
        return b"".join([piece for _, piece in pieces])

    def _giveUpOld(self, packet: Data) -> None:
        """
        Messages of this sender that are far behind are never complete.
        """
        messages = self._senders.get(packet.nodeid, {})
        for number in [*messages]:
            ahead = (packet.number - number) % _NUMBERS
            if MOST_BEHIND < ahead < _NUMBERS // 2:
                del messages[number]
                self.dropped += 1

    def _of(self, nodeid: int) -> dict[int, _Open]:
        """
        The open messages of a sender.
        """
        messages = self._senders.get(nodeid)
        if messages is None:
            if len(self._senders) >= MOST_MEMBERS:
                oldest = next(iter(self._senders))
                self.dropped += len(self._senders.pop(oldest))
            messages = self._senders[nodeid] = {}
        return messages

    def _begin(self, messages: dict[int, _Open], packet: Data) -> _Open:
        """
        A new message, in place of one with the same number or of the oldest.
        """
        if messages.pop(packet.number, None) is not None:
            self.dropped += 1
        elif len(messages) >= MOST_OPEN:
            del messages[next(iter(messages))]
            self.dropped += 1
        messages[packet.number] = begun = _Open(packet.fragments)
        return begun


# Sealing.


@frozen
class Keys:
    """
    What C{crypto_cipher}, C{crypto_hash} and the key file give.

    Ciphers need the C{cryptography} package; it is imported at first use.

    @ivar material: the key file; its first bytes are the cipher's key, the
        whole of it is the hash's.
    """

    material: bytes = field(repr=False)
    cipher: str = "aes256"
    hashName: str = "sha256"

    def __attrs_post_init__(self) -> None:
        if not LEAST_KEY_BYTES <= len(self.material) <= MOST_KEY_BYTES:
            raise ValueError(
                f"a key of {len(self.material)} bytes, not"
                f" {LEAST_KEY_BYTES} to {MOST_KEY_BYTES}"
            )
        if self.cipher not in CIPHER_KEY_BYTES:
            raise ValueError(f"unknown cipher {self.cipher!r}")
        if self.hashName not in HASHES:
            raise ValueError(f"unknown hash {self.hashName!r}")
        if self.cipher != "none" and self.hashName == "none":
            raise ValueError("a cipher without a hash")

    def open(self, datagram: bytes) -> bytes:
        """
        The packet that was sealed.

        @raise ForgedFrame: when it was not sealed with these keys.
        @raise TruncatedFrame: when there is no room for a packet in it.
        """
        macBytes = self._macBytes()
        if len(datagram) <= macBytes + self._saltBytes():
            raise TruncatedFrame(f"sealed knet packet of {len(datagram)} bytes")
        end = len(datagram) - macBytes
        sealed, mac = datagram[:end], datagram[end:]
        if not hmac.compare_digest(mac, self._mac(sealed)):
            raise ForgedFrame("the authentication code does not fit")
        return self._decipher(sealed) if self.cipher != "none" else sealed

    def seal(self, packet: bytes, salt: bytes) -> bytes:
        """
        The datagram to send.

        @param salt: L{SALT_BYTES} random bytes, new for each packet.
        """
        sealed = packet if self.cipher == "none" else self._encipher(packet, salt)
        return sealed + self._mac(sealed)

    def _saltBytes(self) -> int:
        return 0 if self.cipher == "none" else SALT_BYTES

    def _macBytes(self) -> int:
        return 0 if self.hashName == "none" else hashlib.new(self.hashName).digest_size

    def _mac(self, sealed: bytes) -> bytes:
        if self.hashName == "none":
            return b""
        return hmac.digest(self.material, sealed, self.hashName)

    def _decipher(self, sealed: bytes) -> bytes:
        salt, hidden = sealed[:SALT_BYTES], sealed[SALT_BYTES:]
        if len(hidden) % SALT_BYTES:
            raise ForgedFrame("not a whole number of cipher blocks")
        cipher, padding = self._algorithm(salt)
        decryptor, unpadder = cipher.decryptor(), padding.unpadder()
        padded = decryptor.update(hidden) + decryptor.finalize()
        try:
            packet: bytes = unpadder.update(padded) + unpadder.finalize()
        except ValueError as error:
            raise ForgedFrame("the padding does not fit") from error
        return packet

    def _encipher(self, packet: bytes, salt: bytes) -> bytes:
        cipher, padding = self._algorithm(salt)
        encryptor, padder = cipher.encryptor(), padding.padder()
        padded = padder.update(packet) + padder.finalize()
        hidden: bytes = encryptor.update(padded) + encryptor.finalize()
        return salt + hidden

    def _algorithm(self, salt: bytes) -> tuple[Any, Any]:
        from cryptography.hazmat.primitives.ciphers import (  # noqa: PLC0415
            Cipher,
            algorithms,
            modes,
        )
        from cryptography.hazmat.primitives.padding import PKCS7  # noqa: PLC0415

        key = self.material[: CIPHER_KEY_BYTES[self.cipher]]
        return Cipher(algorithms.AES(key), modes.CBC(salt)), PKCS7(_BLOCK_BITS)
