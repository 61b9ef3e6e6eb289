"""
Somebody on the network who has no key: sends what he likes, from whatever
address he likes, and what he overheard.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address
from random import Random
from typing import Final

from attrs import define, field

from corotwist.simulator.network import PORT_NUMBER, Network
from corotwist.simulator.sockets import Port
from corotwist.totem.sockets import SocketAddress, socketAddress

# What he makes up has at most so many bytes.
LARGEST_MADE: Final = 1500
# What he remembers: of the beginning, so that it is old one day, and a sample
# of all.
MOST_FIRST: Final = 500
MOST_SAMPLED: Final = 1500
# An address that no node has.
STRANGER: Final = socketAddress(IPv4Address("10.99.99.99"), PORT_NUMBER)
STRANGER_CHANCE: Final = 0.2

KINDS: Final = ("random", "changed", "old", "foreign")


@define(eq=False)
class Attacker:
    """
    Attacks the nodes of a network for a while.

    @ivar foreign: datagrams of another cluster; asked for at most once.
    @ivar sealed: do nodes seal their datagrams?  If not, they believe what
        comes from an address they know: such an attacker pretends to no
        address of theirs, except with noise.
    @ivar counts: what he sent, by kind.
    """

    network: Network
    random: Random
    foreign: Callable[[], Sequence[bytes]]
    sealed: bool
    counts: Counter[str] = field(factory=Counter)
    _first: list[bytes] = field(factory=list)
    _sample: list[bytes] = field(factory=list)
    _seen: int = 0
    _elsewhere: Sequence[bytes] = ()
    _until: float = 0.0
    _listening: bool = False

    def listen(self) -> None:
        """
        Remember what nodes say from now on.
        """
        if not self._listening:
            self._listening = True
            self.network.watchers.append(self._overheard)

    def _overheard(
        self, port: Port, targets: Iterable[int], datagrams: Sequence[bytes]
    ) -> None:
        for datagram in datagrams:
            self._seen += 1
            if len(self._first) < MOST_FIRST:
                self._first.append(datagram)
            elif len(self._sample) < MOST_SAMPLED:
                self._sample.append(datagram)
            else:
                place = self.random.randrange(self._seen)
                if place < MOST_SAMPLED:
                    self._sample[place] = datagram

    def attack(self, rate: float, seconds: float, kinds: Sequence[str]) -> None:
        """
        Send so many datagrams in a second, for so long.
        """
        assert {*kinds} <= {*KINDS}, f"no such kinds: {kinds}"
        if "foreign" in kinds and not self._elsewhere:
            self._elsewhere = self.foreign()
        self.listen()
        self._until = self.network.clock.seconds() + seconds
        self._next(rate, kinds)

    def stop(self) -> None:
        """
        Send nothing more.
        """
        self._until = 0.0

    def _next(self, rate: float, kinds: Sequence[str]) -> None:
        clock = self.network.clock
        time = clock.seconds() + self.random.expovariate(rate)
        if time < self._until:
            clock.place(time, self._send, rate, kinds)

    def _send(self, rate: float, kinds: Sequence[str]) -> None:
        if self.network.clock.seconds() > self._until:
            return
        random = self.random
        kind = random.choice(kinds)
        datagram = self._make(kind)
        if datagram is not None:
            self.counts[kind] += 1
            target = random.choice(self.network.nodeids)
            self.network.forge(self._address(kind, target), target, datagram)
        self._next(rate, kinds)

    def _make(self, kind: str) -> bytes | None:
        random, known = self.random, [self._first, self._sample]
        if kind == "random":
            return random.randbytes(random.randint(0, LARGEST_MADE))
        if kind == "foreign":
            return random.choice(self._elsewhere)
        memory = random.choice(known) or self._first
        if not memory:
            return None
        datagram = random.choice(memory)
        if kind == "changed":
            changed = bytearray(datagram)
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
            return bytes(changed)
        return datagram

    def _address(self, kind: str, target: int) -> SocketAddress:
        believed = not self.sealed and kind != "random"
        if believed or self.random.random() < STRANGER_CHANCE:
            return STRANGER
        return self.network.addressOf(self.random.choice(self.network.nodeids))
