"""
Sealed datagrams: authentic, secret, and accepted once.

What it protects against, and what it does not, is in C{docs/security.md}.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from typing import Final

from attrs import define
from nacl._sodium import ffi, lib  # type: ignore[import-not-found]
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_ABYTES as TAG_BYTES,
)
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES as KEY_BYTES,
)
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES as NONCE_BYTES,
)

from corotwist.errors import (
    ForgedFrame,
    OversizedFrame,
    ReplayedFrame,
    TruncatedFrame,
    UnknownFrame,
)

# Never the first two bytes of a plain totem message, in either byte order.
MAGIC: Final = b"ct"
VERSION: Final = 1
# With the version: sealed for one node, and of no use to another.
DIRECTED: Final = 0x80
SALT_BYTES: Final = 8
_HEADER: Final = Struct("<2sBBI")
_START: Final = Struct(f"<Q{SALT_BYTES}s")
_RECIPIENT: Final = Struct("<I")
_CLEAR: Final = Struct(f"<2sBBI{_START.size}sQ")

# What sealing adds to a datagram.
OVERHEAD: Final = _CLEAR.size + TAG_BYTES

# Keys that are known between the oldest and the newest one.
MOST_BETWEEN: Final = 4
# More than any datagram.
MOST_BYTES: Final = 1 << 16

# Counters behind the newest one that are told apart from replays: as many as
# the ring's own window has frames.  A power of two.
REPLAY_WINDOW: Final = 16384
# After so many seconds of silence, a start that looks older is taken for a
# node that lost its clock, and no longer for a replay.
FORGET: Final = 60.0

# An operator's key file; the same limits as corosync's.
SMALLEST_KEY_FILE: Final = 128
LARGEST_KEY_FILE: Final = 4096

# Plain totem messages, as far as a seal has to be compared with them.
_SWAPPED_MAGIC: Final = b"\xc0\x70"
TYPE_AT: Final = 3
_SENDER_AT: Final = {0: 5, 2: 13, 3: 13, 4: 5, 5: 5}


def deriveKey(material: bytes, clusterName: str) -> bytes:
    """
    The key of one cluster: two clusters that share a key file still do not
    understand each other.

    @param material: the whole key file.
    """
    name = clusterName.encode()
    bound = len(name).to_bytes(4, "little") + name + material
    return blake2b(bound, digest_size=KEY_BYTES, person=b"corotwist-frame1").digest()


def fingerprint(material: bytes) -> str:
    """
    A name for a key file that gives nothing of it away.
    """
    return blake2b(material, digest_size=8, person=b"corotwist-print1").hexdigest()


def _mark(key: bytes) -> int:
    """
    One byte of a hash of the key: which of several to try first.
    """
    return blake2b(key, digest_size=16, person=b"corotwist-mark-1").digest()[0]


class _Cipher:
    """
    XChaCha20-Poly1305 with one key, straight from PyNaCl's libsodium.

    C{nacl.bindings} offers the same, but at the size of a frame spends more
    time on the texts of errors that do not happen than on the frame.  What
    it checks is checked here: the lengths, and the result.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self.mark = _mark(key)
        self._encrypt = lib.crypto_aead_xchacha20poly1305_ietf_encrypt
        self._decrypt = lib.crypto_aead_xchacha20poly1305_ietf_decrypt
        self._null = ffi.NULL
        self._buffer = ffi.buffer
        self._out = ffi.new("unsigned char[]", MOST_BYTES + TAG_BYTES)

    def isOf(self, key: bytes) -> bool:
        """
        Is it that key's?
        """
        return compare_digest(self._key, key)

    def encrypt(self, message: bytes, associated: bytes, nonce: bytes) -> bytes:
        size = len(message)
        assert size <= MOST_BYTES, "no datagram carries so much"
        assert len(nonce) == NONCE_BYTES, "the library reads so many bytes"
        null, out = self._null, self._out
        failed = self._encrypt(
            out,
            null,
            message,
            size,
            associated,
            len(associated),
            null,
            nonce,
            self._key,
        )
        if failed:
            raise RuntimeError("libsodium does not encrypt")
        sealed: bytes = self._buffer(out, size + TAG_BYTES)[:]
        return sealed

    def decrypt(self, sealed: bytes, associated: bytes, nonce: bytes) -> bytes | None:
        """
        @return: L{None} for what is not authentic.
        """
        size = len(sealed)
        assert TAG_BYTES <= size <= MOST_BYTES, "to be checked by the caller"
        assert len(nonce) == NONCE_BYTES, "the library reads so many bytes"
        null, out = self._null, self._out
        failed = self._decrypt(
            out,
            null,
            null,
            sealed,
            size,
            associated,
            len(associated),
            nonce,
            self._key,
        )
        if failed:
            return None
        message: bytes = self._buffer(out, size - TAG_BYTES)[:]
        return message


class Sealer:
    """
    Makes sealed datagrams::

        offset  size  field
             0     2  magic, "ct"
             2     1  version, 1; with bit 7 set when meant for one node
             3     1  mark of the key
             4     4  nodeid of the sender, little endian
             8     8  stamp of the sender's start, little endian
            16     8  salt of this start
            24     8  counter of this start, little endian
            32     n  the totem message, XChaCha20
        32 + n    16  tag, Poly1305

    Bytes 8 to 32 are the nonce.  The associated data are bytes 0 to 8 and, for
    what is meant for one node, its nodeid in 4 bytes, which do not travel.

    @param key: 32 bytes, from L{deriveKey}.
    @param stamp: nanoseconds of the wall clock at the start of this node:
        higher than at its previous start, or it is not heard for a while.
    @param salt: 8 random bytes; together with the stamp they keep nonces from
        repeating even where clocks do.
    @ivar start: stamp and salt, as they travel.
    """

    def __init__(self, key: bytes, nodeid: int, stamp: int, salt: bytes) -> None:
        assert len(salt) == SALT_BYTES, "a short salt would be padded with zeros"
        self._nodeid = nodeid
        self.start = _START.pack(stamp, salt)
        self._counter = 0
        self.use(key)

    def use(self, key: bytes) -> None:
        """
        Seal with this key from here on; counters go on, so that receivers tell
        what is new all the same.
        """
        self._cipher = _Cipher(key)
        mark = self._cipher.mark
        self._header = _HEADER.pack(MAGIC, VERSION, mark, self._nodeid)
        self._directed = _HEADER.pack(MAGIC, VERSION | DIRECTED, mark, self._nodeid)

    def seal(self, message: bytes) -> bytes:
        """
        A datagram that only holders of the key can read, and nobody changes.
        """
        return self._sealed(message, self._header, self._header)

    def sealFor(self, nodeid: int, message: bytes) -> bytes:
        """
        A datagram that only that holder of the key accepts: a token caught on
        its way cannot be given to the wrong node.
        """
        header = self._directed
        return self._sealed(message, header, header + _RECIPIENT.pack(nodeid))

    def _sealed(self, message: bytes, header: bytes, associated: bytes) -> bytes:
        nonce = self.start + self._counter.to_bytes(8, "little")
        self._counter += 1
        sealed = self._cipher.encrypt(message, associated, nonce)
        return b"%b%b%b" % (header, nonce, sealed)


@define
class _Heard:
    """
    One sender's newest start, and which of its counters were here.

    @ivar start: stamp and salt, as they travel.
    @ivar newest: the highest counter.
    @ivar at: when it was last heard.
    @ivar seen: one byte per counter, at its remainder.
    """

    start: bytes
    newest: int
    at: float
    seen: bytearray

    @classmethod
    def first(cls, start: bytes, counter: int, now: float) -> "_Heard":
        """
        A start we did not know.  What it sent earlier counts as seen: it may
        be lost, but a recording of it is worth nothing.
        """
        return cls(start, counter, now, bytearray(b"\x01") * REPLAY_WINDOW)

    def accept(self, counter: int, now: float) -> None:
        """
        Note one counter of this start.

        @raise ReplayedFrame: it was here, or is too old to tell.
        """
        ahead = counter - self.newest
        if ahead > 0:
            if ahead > 1:
                self._skip(self.newest + 1, counter)
            self.newest = counter
        elif ahead <= -REPLAY_WINDOW:
            raise ReplayedFrame(f"{-ahead} behind the newest")
        elif self.seen[counter % REPLAY_WINDOW]:
            raise ReplayedFrame(f"counter {counter} was here")
        self.seen[counter % REPLAY_WINDOW] = 1
        self.at = now

    def _skip(self, first: int, end: int) -> None:
        """
        Counters that may still come.
        """
        if end - first >= REPLAY_WINDOW:
            self.seen = bytearray(REPLAY_WINDOW)
            return
        start, stop = first % REPLAY_WINDOW, end % REPLAY_WINDOW
        if start <= stop:
            self.seen[start:stop] = bytes(stop - start)
        else:
            self.seen[start:] = bytes(REPLAY_WINDOW - start)
            self.seen[:stop] = bytes(stop)


class Opener:
    """
    Opens sealed datagrams, each at most once.

    @param keys: every key that is good now, the likeliest first.
    @param nodeid: our own: nothing that we sealed may come back to us.
    @param senders: the configured nodes; so many starts are remembered, and no
        more.
    @param start: of our own sealer: tells what is reflected to us from what
        another machine says in our name.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        nodeid: int,
        senders: Iterable[int],
        start: bytes = b"",
    ) -> None:
        self.use(keys)
        self._nodeid = nodeid
        self._recipient = _RECIPIENT.pack(nodeid)
        self._senders = frozenset(senders)
        self._start = start
        self._heard: dict[int, _Heard] = {}

    def use(self, keys: Iterable[bytes]) -> None:
        """
        Open what these keys sealed, and nothing else, from here on.
        """
        self._know([_Cipher(key) for key in keys])

    def accept(self, key: bytes) -> None:
        """
        Open what this key sealed, too, from here on.  Of too many, neither the
        oldest, which may be in use, nor the newest is forgotten.
        """
        others = [cipher for cipher in self._known if not cipher.isOf(key)]
        between, oldest = others[:-1], others[-1:]
        self._know([_Cipher(key), *between[:MOST_BETWEEN], *oldest])

    def _know(self, ciphers: list[_Cipher]) -> None:
        self._known = ciphers
        self._ciphers: dict[int, list[_Cipher]] = {}
        for cipher in ciphers:
            self._ciphers.setdefault(cipher.mark, []).append(cipher)

    def open(
        self,
        datagram: bytes,
        now: float,
        check: Callable[[int], None] | None = None,
    ) -> tuple[int, bytes]:
        """
        Who sealed it, and the totem message inside.

        @param check: called with the nodeid of an authentic datagram before
            it counts for anything; may raise.
        @raise UnknownFrame: not sealed, another version, or an unlisted node.
        @raise TruncatedFrame: too short to be sealed.
        @raise OversizedFrame: longer than a datagram can be.
        @raise ForgedFrame: no key of ours fits.
        @raise ReplayedFrame: it was here before, is from an earlier start, or
            is our own.
        """
        if datagram[:2] != MAGIC:
            raise UnknownFrame("not sealed")
        if len(datagram) < OVERHEAD:
            raise TruncatedFrame(f"{len(datagram)} bytes cannot be sealed")
        if len(datagram) > MOST_BYTES:
            raise OversizedFrame(f"{len(datagram)} bytes are no datagram")
        _, version, mark, nodeid, start, counter = _CLEAR.unpack_from(datagram)
        if version & ~DIRECTED != VERSION:
            raise UnknownFrame(f"sealed in version {version & ~DIRECTED}")
        if nodeid not in self._senders and nodeid != self._nodeid:
            raise UnknownFrame(f"node {nodeid} is not in the node list")
        associated = datagram[: _HEADER.size]
        if version & DIRECTED:
            associated += self._recipient
        message = self._decrypted(datagram, mark, associated)
        if check is not None and start != self._start:
            check(nodeid)
        self._once(nodeid, start, counter, now)
        return nodeid, message

    def _decrypted(self, datagram: bytes, mark: int, associated: bytes) -> bytes:
        nonce, sealed = datagram[_HEADER.size : _CLEAR.size], datagram[_CLEAR.size :]
        for cipher in self._ciphers.get(mark, ()):
            message = cipher.decrypt(sealed, associated, nonce)
            if message is not None:
                return message
        raise ForgedFrame("no key fits, or it was meant for another node")

    def _once(self, nodeid: int, start: bytes, counter: int, now: float) -> None:
        heard = self._heard.get(nodeid)
        if heard is not None and heard.start == start:
            heard.accept(counter, now)
        elif nodeid == self._nodeid:
            raise ReplayedFrame("our own, or another node has our nodeid")
        elif heard is not None and self._isOutdated(heard, start, now):
            raise ReplayedFrame(f"an earlier start of node {nodeid}")
        else:
            self._heard[nodeid] = _Heard.first(start, counter, now)

    def _isOutdated(self, heard: _Heard, start: bytes, now: float) -> bool:
        older = _START.unpack(start) < _START.unpack(heard.start)
        return older and now - heard.at <= FORGET


def claimedSender(message: bytes) -> int | None:
    """
    Whom a totem message names as the node that sends it.

    @return: L{None} for a data frame, which whoever holds it sends again for
        its originator, byte by byte; and for what is too short or of an
        unknown type, which is left for the decoder to refuse.
    """
    place = _SENDER_AT.get(message[TYPE_AT]) if len(message) > TYPE_AT else None
    if place is None or len(message) < place + 4:
        return None
    swapped = message[:2] == _SWAPPED_MAGIC
    return int.from_bytes(message[place : place + 4], "big" if swapped else "little")


def checkSender(nodeid: int, message: bytes) -> None:
    """
    Compare who sealed a totem message with whom the message names.

    Tokens, commit tokens, merge detections, joins, leaves and hold cancels
    name the node that sends them.

    @raise ForgedFrame: they differ.
    """
    claimed = claimedSender(message)
    if claimed is not None and claimed != nodeid:
        raise ForgedFrame(f"node {nodeid} sealed what says it is from {claimed}")
