"""
Nodes that examine each other: can each hear the other, how large may datagrams
be, what time is it there, and is it configured alike?

Every participant sends I{questions} to all others, small ones and some as large as
the ring's datagrams, and answers those of others with as many bytes.  A datagram is
a fingerprint of the cluster's key (8 bytes, zeros without a key), then a JSON
object, padded with blanks; with a key, the object is sealed by it.  An answer is
never larger than what it answers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from attrs import define, field, frozen
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from corotwist.tools.findings import Finding, Grade

# Between two rounds of questions.
ROUND_SECONDS: Final = 0.25
# How long somebody who was heard once counts as heard.
HEARD_SECONDS: Final = 2.0
# Differences of clocks that confuse people who compare logs.
CLOCK_SECONDS: Final = 0.5
# Sizes of IP packets that are tried, besides what is configured: Ethernet, most
# tunnels, IPv6's least, IPv4's least.
PACKETS: Final = (1500, 1400, 1280, 576)
# Headers of IP and UDP.
OVERHEAD: Final = {4: 28, 6: 48}
SMALL_BYTES: Final = 400
LARGEST_BYTES: Final = 1 << 16
# Datagrams that we keep count of, of those who have another key.
MOST_STRANGERS: Final = 64

_MARK_BYTES: Final = 8
_NO_KEY: Final = bytes(_MARK_BYTES)


@frozen
class Peer:
    """
    Another node, and where to ask it.
    """

    nodeid: int
    name: str
    address: str


@define
class Heard:
    """
    What is known of another node.

    @ivar at: when something was heard last.
    @ivar hearsUs: when it last said that it hears us.
    @ivar largest: bytes of the largest datagram that it answered.
    @ivar offset: seconds that its clock is ahead.
    @ivar trip: seconds there and back, the shortest so far.
    @ivar hears: whom it hears.
    @ivar facts: how it is configured.
    """

    at: float | None = None
    hearsUs: float | None = None
    largest: int = 0
    offset: float = 0.0
    trip: float = float("inf")
    hears: tuple[Any, ...] = ()
    facts: dict[str, Any] = field(factory=dict)


class Seal:
    """
    With the cluster's key, or without one.
    """

    def __init__(self, key: bytes | None) -> None:
        """
        @param key: 32 bytes, as datagrams of the ring are sealed with.
        """
        self.overhead = _MARK_BYTES
        self.mark = _NO_KEY
        self._box: SecretBox | None = None
        if key is not None:
            own = blake2b(key, digest_size=32, person=b"corotwist-doctor").digest()
            self._box = SecretBox(own)
            self.mark = blake2b(own, digest_size=_MARK_BYTES).digest()
            self.overhead += SecretBox.NONCE_SIZE + SecretBox.MACBYTES

    def close(self, text: bytes) -> bytes:
        """
        A datagram.
        """
        return self.mark + (text if self._box is None else self._box.encrypt(text))

    def open(self, datagram: bytes) -> bytes | None:
        """
        What is in a datagram, if it is one of ours.
        """
        if datagram[:_MARK_BYTES] != self.mark:
            return None
        sealed = datagram[_MARK_BYTES:]
        try:
            return sealed if self._box is None else self._box.decrypt(sealed)
        except CryptoError:
            return None


Send = Callable[[bytes, Peer], None]


class Examination:
    """
    The part of one node.

    @ivar heard: by nodeid.
    @ivar strangers: addresses from which datagrams came that we cannot open.
    """

    def __init__(
        self,
        own: int,
        peers: Sequence[Peer],
        seal: Seal,
        send: Send,
        *,
        ipVersion: int,
        netmtu: int,
        facts: Mapping[str, Any],
    ) -> None:
        """
        @param send: sends a datagram to a node; it may be lost.
        @param netmtu: bytes of an IP packet, as configured.
        @param facts: how we are configured; nodes compare them.
        """
        self._own = own
        self._peers = {peer.nodeid: peer for peer in peers}
        self._seal = seal
        self._send = send
        self._facts = dict(facts)
        self.netmtu = netmtu
        self.headers = OVERHEAD[ipVersion]
        self._sizes = sorted(
            {SMALL_BYTES, *(p - self.headers for p in self._packets())}
        )
        self.heard = {nodeid: Heard() for nodeid in self._peers}
        self.strangers: dict[str, None] = {}

    def _packets(self) -> list[int]:
        return [self.netmtu, *(p for p in PACKETS if p < self.netmtu)]

    # Asking and answering.

    def ask(self, now: float) -> None:
        """
        One round of questions to everybody.

        @param now: seconds since 1970, as our clock has them.
        """
        for peer in self._peers.values():
            for size in self._sizes:
                self._tell(peer, size, {"ask": now, "size": size}, now)

    def _tell(self, peer: Peer, size: int, message: dict[str, Any], now: float) -> None:
        hears = [n for n, heard in self.heard.items() if _recent(heard.at, now)]
        whole = {"node": self._own, "hears": hears, "facts": self._facts, **message}
        text = json.dumps(whole).encode()
        padding = size - self._seal.overhead - len(text)
        if padding >= 0:
            self._send(self._seal.close(text + b" " * padding), peer)

    def datagramReceived(self, datagram: bytes, address: str, now: float) -> None:
        """
        A question or an answer; anything else is counted, or ignored.

        @param now: as in L{ask}.
        """
        text = self._seal.open(datagram)
        if text is None:
            if len(self.strangers) < MOST_STRANGERS:
                self.strangers[address] = None
            return
        try:
            message = json.loads(text)
            nodeid, hears = message["node"], tuple(message["hears"])
            asked, facts = float(message["ask"]), dict(message["facts"])
            there = message.get("there")
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        heard = self.heard.get(nodeid) if isinstance(nodeid, int) else None
        if heard is None:
            return
        heard.at, heard.facts, heard.hears = now, facts, hears
        if self._own in hears:
            heard.hearsUs = now
        if isinstance(there, int | float):
            heard.hearsUs = now
            self._answered(heard, asked, there, now, len(datagram))
        elif there is None:
            answer = {"ask": asked, "there": now}
            self._tell(self._peers[nodeid], len(datagram), answer, now)

    def _answered(
        self, heard: Heard, asked: float, there: float, now: float, size: int
    ) -> None:
        """
        The shortest way tells best what time it is there.
        """
        heard.largest = max(heard.largest, size)
        trip = now - asked
        if 0 <= trip < heard.trip:
            heard.trip = trip
            heard.offset = there - (asked + now) / 2

    # What came of it.

    def findings(self, now: float) -> list[Finding]:
        """
        Of each node, and of those who have another key.
        """
        found = []
        for nodeid, peer in sorted(self._peers.items()):
            found += self._findingsOf(peer, self.heard[nodeid], now)
        if self.strangers:
            where = ", ".join(self.strangers)
            text = f"datagrams that our key does not open come from {where}"
            remedy = "give all nodes the same key file and totem.cluster_name"
            found.append(Finding("key", Grade.WRONG, text, remedy))
        return found

    def _findingsOf(self, peer: Peer, heard: Heard, now: float) -> list[Finding]:
        subject = f"node {peer.nodeid}"
        reached = self._reached(peer, heard, now)
        found = [Finding(subject, *reached)]
        if heard.largest:
            found.append(self._size(subject, heard))
            found.append(self._clock(subject, heard))
        found += self._differences(subject, heard)
        return found

    def _reached(self, peer: Peer, heard: Heard, now: float) -> tuple[Grade, str, str]:
        where = f"{peer.name} at {peer.address}"
        there, back = _recent(heard.hearsUs, now), _recent(heard.at, now)
        if there and back:
            took = (
                f", {heard.trip * 1000:.1f} ms there and back" if heard.largest else ""
            )
            return Grade.FINE, f"{where} is heard and hears us{took}", ""
        firewall = "look at firewalls and routes on both machines"
        if back:
            return Grade.WRONG, f"{where} is heard, but does not hear us", firewall
        via = [
            nodeid
            for nodeid, other in sorted(self.heard.items())
            if peer.nodeid in other.hears and _recent(other.at, now)
        ]
        if via:
            text = f"{where} is not heard here, but by node {via[0]}"
            return Grade.WRONG, text, firewall
        text = f"nothing is heard of {where}"
        return (
            Grade.UNKNOWN,
            text,
            f"run 'corotwist doctor' there at the same time; {firewall}",
        )

    def _size(self, subject: str, heard: Heard) -> Finding:
        packet = heard.largest + self.headers
        if packet >= self.netmtu:
            text = f"packets of {self.netmtu} bytes arrive whole"
            return Finding(subject, Grade.FINE, text)
        text = (
            f"packets of {self.netmtu} bytes (totem.netmtu) do not arrive, {packet} do"
        )
        remedy = f"write 'netmtu: {packet}' in totem, on every node, or mend the path"
        return Finding(subject, Grade.WRONG, text, remedy)

    def _clock(self, subject: str, heard: Heard) -> Finding:
        ahead = heard.offset
        text = f"its clock is {abs(ahead):.3f} s {'ahead' if ahead > 0 else 'behind'}"
        if abs(ahead) - heard.trip <= CLOCK_SECONDS:
            return Finding(subject, Grade.FINE, text)
        remedy = "the ring does not mind, but logs do: let both follow a time server"
        return Finding(subject, Grade.ADVICE, text, remedy)

    def _differences(self, subject: str, heard: Heard) -> list[Finding]:
        found = []
        for name, ours in self._facts.items():
            theirs = heard.facts.get(name, ours)
            if theirs != ours:
                text = f"{name} is {theirs!r} there and {ours!r} here"
                remedy = "use the same configuration on every node"
                found.append(Finding(subject, Grade.WRONG, text, remedy))
        return found


def _recent(at: float | None, now: float) -> bool:
    return at is not None and now - at <= HEARD_SECONDS
