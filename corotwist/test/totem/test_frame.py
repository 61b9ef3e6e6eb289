"""
Sealed datagrams.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt
from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import (
    ForgedFrame,
    OversizedFrame,
    ReplayedFrame,
    TruncatedFrame,
    UnknownFrame,
    WireError,
)
from corotwist.totem.frame import (
    FORGET,
    MAGIC,
    MOST_BETWEEN,
    MOST_BYTES,
    OVERHEAD,
    REPLAY_WINDOW,
    Opener,
    Sealer,
    _Cipher,
    checkSender,
    deriveKey,
    fingerprint,
)

KEY = deriveKey(b"k" * 128, "storage")
SALT = b"saltsalt"


def sealer(nodeid: int = 2, stamp: int = 1000, salt: bytes = SALT) -> Sealer:
    return Sealer(KEY, nodeid, stamp, salt)


def opener(*keys: bytes) -> Opener:
    """
    That of node 1, in a cluster of three.
    """
    return Opener(keys or (KEY,), 1, (2, 3))


class KeyTests(SynchronousTestCase):
    def test_recorded(self) -> None:
        """
        The key of a file and a cluster name never changes between releases.
        """
        self.assertEqual(
            deriveKey(bytes(range(128)), "storage").hex(),
            "4646b7571db04d255037b29409fddb1969ebe9391822db464e33fa8ad3c7773c",
        )

    def test_clusterName(self) -> None:
        """
        One key file gives two clusters different keys, however their names
        and the file run together.
        """
        self.assertNotEqual(KEY, deriveKey(b"k" * 128, "backup"))
        self.assertNotEqual(deriveKey(b"ab" * 64, "a"), deriveKey(b"b" * 127, "aa"))

    def test_fingerprint(self) -> None:
        """
        Fingerprints tell key files apart, and are not a part of the key.
        """
        material = b"k" * 128
        self.assertNotEqual(fingerprint(material), fingerprint(material + b"k"))
        self.assertNotIn(fingerprint(material), KEY.hex())


class CipherTests(SynchronousTestCase):
    @given(st.binary(max_size=3000), st.binary(max_size=20), st.binary(max_size=3000))
    def test_standard(self, message: bytes, associated: bytes, before: bytes) -> None:
        """
        What we compute is what PyNaCl's own functions compute, whatever was
        computed before.
        """
        cipher, nonce = _Cipher(KEY), b"n" * 24
        cipher.encrypt(before, b"", nonce)
        sealed = cipher.encrypt(message, associated, nonce)
        self.assertEqual(
            sealed,
            crypto_aead_xchacha20poly1305_ietf_encrypt(message, associated, nonce, KEY),
        )
        self.assertEqual(cipher.decrypt(sealed, associated, nonce), message)

    def test_lengths(self) -> None:
        """
        The library is never let read or write beyond what it was given.
        """
        cipher = _Cipher(KEY)
        self.assertRaises(ValueError, _Cipher, KEY[1:])
        self.assertRaises(AssertionError, cipher.encrypt, b"m", b"", b"n" * 23)
        self.assertRaises(AssertionError, cipher.decrypt, b"m" * 16, b"", b"n" * 23)
        self.assertRaises(AssertionError, cipher.decrypt, b"m" * 15, b"", b"n" * 24)
        large = bytes(MOST_BYTES + 1)
        self.assertRaises(AssertionError, cipher.encrypt, large, b"", b"n" * 24)
        self.assertRaises(AssertionError, cipher.decrypt, large, b"", b"n" * 24)
        self.assertEqual(len(cipher.encrypt(large[1:], b"", b"n" * 24)), 65552)


class SealTests(SynchronousTestCase):
    @given(st.binary(max_size=3000), st.integers(1, (1 << 32) - 1))
    def test_roundTrip(self, message: bytes, nodeid: int) -> None:
        """
        What was sealed is opened, with its sender, and costs C{OVERHEAD}.
        """
        datagram = Sealer(KEY, nodeid, 5, SALT).seal(message)
        self.assertEqual(len(datagram), len(message) + OVERHEAD)
        ours = Opener((KEY,), 0, (nodeid,))
        self.assertEqual(ours.open(datagram, 0.0), (nodeid, message))

    def test_overhead(self) -> None:
        """
        Sealing adds 48 bytes: the frame sizes of every node depend on it.
        """
        self.assertEqual(OVERHEAD, 48)

    def test_neverPlain(self) -> None:
        """
        A sealed datagram cannot be taken for a plain totem message.
        """
        self.assertNotIn(MAGIC, (b"\x70\xc0", b"\xc0\x70"))
        self.assertEqual(sealer().seal(b"")[:2], MAGIC)

    def test_layout(self) -> None:
        """
        The clear part is as documented.
        """
        seals = sealer(nodeid=0x01020304, stamp=7)
        seals.seal(b"first")
        datagram = seals.seal(b"second")
        self.assertEqual(datagram[:3], b"ct\x01")
        self.assertEqual(datagram[4:8], b"\x04\x03\x02\x01")
        self.assertEqual(datagram[8:16], (7).to_bytes(8, "little"))
        self.assertEqual(datagram[16:24], SALT)
        self.assertEqual(datagram[24:32], (1).to_bytes(8, "little"))

    def test_noncesDiffer(self) -> None:
        """
        No nonce is used twice: not in one start, not when the clock stood
        still between two, not for two nodes that drew the same salt.
        """
        starts = [sealer(), sealer(salt=b"otherone"), sealer(stamp=1001)]
        nonces = [start.seal(b"x")[8:32] for start in starts for _ in range(100)]
        self.assertEqual(len(set(nonces)), len(nonces))

    def test_otherSender(self) -> None:
        """
        A datagram does not open under another sender's header, even where
        all else is equal.
        """
        two, three = sealer(2).seal(b"x"), sealer(3).seal(b"x")
        self.assertEqual(two[8:32], three[8:32])
        self.assertRaises(ForgedFrame, opener().open, two[:8] + three[8:], 0.0)

    @given(st.integers(0, 147), st.integers(1, 255))
    def test_changed(self, place: int, change: int) -> None:
        """
        Whatever byte changes on the way, nothing is accepted.
        """
        datagram = bytearray(sealer().seal(b"m" * 100))
        datagram[place] ^= change
        ours = opener()
        self.assertRaises(WireError, ours.open, bytes(datagram), 0.0)

    @given(st.integers(0, 147))
    def test_truncated(self, length: int) -> None:
        """
        No prefix of a sealed datagram is accepted.
        """
        datagram = sealer().seal(b"m" * 100)[:length]
        self.assertRaises(WireError, opener().open, datagram, 0.0)

    def test_tooShort(self) -> None:
        """
        What is too short for a seal is said to be truncated.
        """
        datagram = sealer().seal(b"")
        self.assertRaises(TruncatedFrame, opener().open, datagram[:-1], 0.0)

    @given(st.binary(max_size=200))
    def test_noise(self, noise: bytes) -> None:
        """
        Random bytes raise nothing but C{WireError}, after the magic too.
        """
        self.assertRaises(WireError, opener().open, noise, 0.0)
        self.assertRaises(WireError, opener().open, MAGIC + b"\x01" + noise, 0.0)

    def test_largest(self) -> None:
        """
        The largest datagram is opened; what is none is refused.
        """
        message = bytes(MOST_BYTES - OVERHEAD)
        self.assertEqual(opener().open(sealer().seal(message), 0.0), (2, message))
        longer = sealer().seal(message + b"x")
        self.assertRaises(OversizedFrame, opener().open, longer, 0.0)

    def test_plain(self) -> None:
        """
        A plain totem message is refused by a node that seals.
        """
        plain = b"\x70\xc0\x03\x05" + bytes(21)
        self.assertRaises(UnknownFrame, opener().open, plain, 0.0)

    def test_otherVersion(self) -> None:
        """
        A later version of the seal is not guessed at.
        """
        datagram = sealer().seal(b"x")
        later = datagram[:2] + b"\x02" + datagram[3:]
        self.assertRaises(UnknownFrame, opener().open, later, 0.0)

    def test_otherKey(self) -> None:
        """
        A key that differs in one bit opens nothing.
        """
        other = bytes([KEY[0] ^ 1]) + KEY[1:]
        self.assertRaises(ForgedFrame, opener(other).open, sealer().seal(b"x"), 0.0)

    def test_severalKeys(self) -> None:
        """
        An opener with several keys opens what any of them sealed.
        """
        new = deriveKey(b"n" * 128, "storage")
        ours = opener(new, KEY)
        self.assertEqual(ours.open(sealer().seal(b"old"), 0.0), (2, b"old"))
        theirs = Sealer(new, 3, 1, SALT)
        self.assertEqual(ours.open(theirs.seal(b"new"), 0.0), (3, b"new"))

    def test_otherKeys(self) -> None:
        """
        An opener learns a key and forgets one while it goes on telling what
        is new; a sealer goes from one to the other. (F8)
        """
        new = deriveKey(b"n" * 128, "storage")
        seals, ours = sealer(), opener()
        first = seals.seal(b"old")
        ours.open(first, 0.0)
        ours.accept(new)
        self.assertEqual(ours.open(seals.seal(b"old"), 0.0), (2, b"old"))
        seals.use(new)
        second = seals.seal(b"new")
        self.assertEqual(ours.open(second, 0.0), (2, b"new"))
        self.assertRaises(ReplayedFrame, ours.open, first, 0.0)
        ours.use((new,))
        self.assertRaises(ForgedFrame, ours.open, first, 0.0)
        self.assertRaises(ReplayedFrame, ours.open, second, 0.0)
        self.assertEqual(ours.open(seals.seal(b"more"), 0.0), (2, b"more"))

    def test_manyKeys(self) -> None:
        """
        Of too many keys those between the oldest and the newest are forgotten;
        one that is known already is not known twice. (F8)
        """
        ours = opener()
        keys = [deriveKey(b"%0128d" % n, "storage") for n in range(MOST_BETWEEN + 3)]
        for key in (*keys, keys[-1]):
            ours.accept(key)
        self.assertEqual(len(ours._known), MOST_BETWEEN + 2)
        for stamp, key in enumerate((KEY, keys[-2], keys[-1])):
            seals = Sealer(key, 2, stamp, SALT)
            self.assertEqual(ours.open(seals.seal(b"x"), 0.0), (2, b"x"))
        forgotten = Sealer(keys[0], 2, 1000, SALT)
        self.assertRaises(ForgedFrame, ours.open, forgotten.seal(b"x"), 0.0)

    def test_sameMark(self) -> None:
        """
        Two keys with the same mark are told apart by what they open.
        """
        marks: dict[int, bytes] = {}
        for number in range(1000):
            key = deriveKey(b"%0128d" % number, "storage")
            mark = Sealer(key, 2, 1, SALT).seal(b"")[3]
            other = marks.setdefault(mark, key)
            if other != key:
                break
        ours = Opener((other, key), 1, (2, 3))
        self.assertEqual(ours.open(Sealer(key, 2, 1, SALT).seal(b"a"), 0.0)[1], b"a")
        self.assertEqual(ours.open(Sealer(other, 3, 1, SALT).seal(b"b"), 0.0)[1], b"b")

    def test_forOneNode(self) -> None:
        """
        What is meant for one node is refused by every other.
        """
        datagram = sealer().sealFor(1, b"token")
        self.assertEqual(len(datagram), len(b"token") + OVERHEAD)
        self.assertRaises(ForgedFrame, Opener((KEY,), 3, (1, 2)).open, datagram, 0.0)
        self.assertEqual(opener().open(datagram, 0.0), (2, b"token"))

    def test_notForEverybody(self) -> None:
        """
        Nor can it be turned into something for everybody, or the reverse.
        """
        for datagram in (sealer().sealFor(1, b"x"), sealer().seal(b"x")):
            turned = datagram[:2] + bytes([datagram[2] ^ 0x80]) + datagram[3:]
            self.assertRaises(ForgedFrame, opener().open, turned, 0.0)

    def test_unlisted(self) -> None:
        """
        A node that is not in the node list is not heard, and not remembered.
        """
        ours = opener()
        self.assertRaises(UnknownFrame, ours.open, sealer(4).seal(b"x"), 0.0)
        self.assertEqual(len(ours._heard), 0)


class ReplayTests(SynchronousTestCase):
    def test_twice(self) -> None:
        """
        A datagram is accepted once.
        """
        ours, datagram = opener(), sealer().seal(b"x")
        ours.open(datagram, 0.0)
        self.assertRaises(ReplayedFrame, ours.open, datagram, 0.0)
        self.assertRaises(ReplayedFrame, ours.open, datagram, FORGET * 10)

    def test_otherSenders(self) -> None:
        """
        Counters belong to their sender.
        """
        ours = opener()
        self.assertEqual(ours.open(sealer(2).seal(b"x"), 0.0), (2, b"x"))
        self.assertEqual(ours.open(sealer(3).seal(b"x"), 0.0), (3, b"x"))

    @given(st.permutations(range(1, 12)), st.data())
    def test_reordered(self, order: list[int], data: st.DataObject) -> None:
        """
        After the first one, datagrams are accepted in any order, each once.
        """
        seals, ours = sealer(), opener()
        datagrams = [seals.seal(b"%d" % number) for number in range(12)]
        ours.open(datagrams[0], 0.0)
        for number in order:
            self.assertEqual(ours.open(datagrams[number], 0.0)[1], b"%d" % number)
        again = data.draw(st.sampled_from(datagrams))
        self.assertRaises(ReplayedFrame, ours.open, again, 0.0)

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 3 * REPLAY_WINDOW), min_size=1, max_size=60))
    def test_window(self, counters: list[int]) -> None:
        """
        What is accepted is exactly what a full memory of counters would
        accept, within the window behind the newest and after the first.
        """
        seals, ours = sealer(), opener()
        first, newest, seen = counters[0], counters[0], set[int]()
        for counter in counters:
            seals._counter = counter
            datagram = seals.seal(b"")
            if counter in seen or counter < first or counter <= newest - REPLAY_WINDOW:
                self.assertRaises(ReplayedFrame, ours.open, datagram, 0.0)
            else:
                ours.open(datagram, 0.0)
                seen.add(counter)
                newest = max(newest, counter)

    def test_beforeTheFirst(self) -> None:
        """
        After our own restart, a recording of what a running node sent before
        we heard it first is refused.
        """
        seals, ours = sealer(), opener()
        recorded = seals.seal(b"old")
        ours.open(seals.seal(b"x"), 0.0)
        self.assertRaises(ReplayedFrame, ours.open, recorded, 0.0)

    def test_newStart(self) -> None:
        """
        A node that restarted is heard at once, and its earlier start is not.
        """
        before, after, ours = sealer(stamp=1000), sealer(stamp=1001), opener()
        late = before.seal(b"late")
        ours.open(before.seal(b"x"), 0.0)
        self.assertEqual(ours.open(after.seal(b"new"), 0.1), (2, b"new"))
        self.assertRaises(ReplayedFrame, ours.open, late, 0.2)

    def test_clockLost(self) -> None:
        """
        A node whose clock went back is heard again after its later start was
        silent for long enough, and no sooner.
        """
        before, after, ours = sealer(stamp=1000), sealer(stamp=5), opener()
        ours.open(before.seal(b"x"), 0.0)
        self.assertRaises(ReplayedFrame, ours.open, after.seal(b"early"), FORGET)
        self.assertEqual(ours.open(after.seal(b"y"), FORGET + 0.1), (2, b"y"))

    def test_talkative(self) -> None:
        """
        A later start that goes on talking keeps an earlier one out for good.
        """
        before, after, ours = sealer(stamp=1000), sealer(stamp=5), opener()
        for seconds in range(0, 10 * int(FORGET), int(FORGET) - 1):
            ours.open(before.seal(b"x"), seconds)
            self.assertRaises(
                ReplayedFrame, ours.open, after.seal(b"y"), seconds + FORGET
            )

    def test_overlapping(self) -> None:
        """
        What was skipped across the end of the memory may still come, once,
        although the places were taken before.
        """
        seals, ours = sealer(), opener()
        counters = [
            *range(0, REPLAY_WINDOW, 1000),
            REPLAY_WINDOW - 10,
            2 * REPLAY_WINDOW - 10,
            2 * REPLAY_WINDOW + 2500,
            2 * REPLAY_WINDOW + 1000,
            2 * REPLAY_WINDOW + 2000,
            2 * REPLAY_WINDOW - 5,
        ]
        counters.insert(1, 5)
        for counter in counters:
            seals._counter = counter
            datagram = seals.seal(b"")
            ours.open(datagram, 0.0)
            self.assertRaises(ReplayedFrame, ours.open, datagram, 0.0)

    def test_replayKeepsNothingAlive(self) -> None:
        """
        Replaying the later start does not keep an earlier one out for longer.
        """
        before, after, ours = sealer(stamp=1000), sealer(stamp=5), opener()
        recorded = before.seal(b"x")
        ours.open(recorded, 0.0)
        self.assertRaises(ReplayedFrame, ours.open, recorded, FORGET - 1)
        self.assertEqual(ours.open(after.seal(b"y"), FORGET + 0.1), (2, b"y"))

    def test_forgedStartChangesNothing(self) -> None:
        """
        Only what is authentic moves the window.
        """
        seals, ours = sealer(), opener()
        first, second = seals.seal(b"1"), seals.seal(b"2")
        ours.open(first, 0.0)
        forged = second[:8] + b"\xff" * 24 + second[32:]
        self.assertRaises(ForgedFrame, ours.open, forged, 0.0)
        self.assertEqual(ours.open(second, 0.0), (2, b"2"))

    def test_reflected(self) -> None:
        """
        What we sealed ourselves is not accepted from outside.
        """
        self.assertRaises(ReplayedFrame, opener().open, sealer(1).seal(b"x"), 0.0)


def totem(kind: int, sender: int, origin: int, swapped: bool = False) -> bytes:
    """
    The beginning of a totem message.
    """
    magic = b"\xc0\x70" if swapped else b"\x70\xc0"
    return (
        magic
        + bytes((3, kind, 0))
        + sender.to_bytes(4, "big" if swapped else "little")
        + bytes(4)
        + origin.to_bytes(4, "big" if swapped else "little")
        + bytes(40)
    )


class SenderTests(SynchronousTestCase):
    def test_own(self) -> None:
        """
        Every kind of message is accepted from the node that it names.
        """
        for kind in range(6):
            for swapped in (False, True):
                checkSender(2, totem(kind, 2, 2, swapped))

    def test_leave(self) -> None:
        """
        A leave names nobody in its header, and its sender after it.
        """
        checkSender(2, totem(3, 0, 2))
        self.assertRaises(ForgedFrame, checkSender, 3, totem(3, 0, 2))

    def test_others(self) -> None:
        """
        Nobody sends another node's tokens, joins and so on.
        """
        for kind in (0, 2, 3, 4, 5):
            for swapped in (False, True):
                with self.assertRaises(ForgedFrame):
                    checkSender(3, totem(kind, 2, 2, swapped))

    def test_retransmission(self) -> None:
        """
        Data frames are sent again by whoever has them.
        """
        checkSender(3, totem(1, 2, 2))

    def test_decodersBusiness(self) -> None:
        """
        Short and unknown messages are left to the decoder.
        """
        checkSender(3, totem(0, 2, 2)[:8])
        checkSender(3, b"")
        checkSender(3, totem(9, 2, 2))
