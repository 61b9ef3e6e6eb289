"""
A network of loopback addresses that can be cut: every node has an address for
each other node at which a relay listens.
"""

import socket
from collections.abc import Callable, Mapping
from selectors import EVENT_READ, DefaultSelector
from threading import Thread
from typing import Final

from attrs import define, field

from corotwist.tools.lab import EXIT_SECONDS

Link = tuple[int, int]
Address = tuple[str, int]

LARGEST_DATAGRAM: Final = 65535
# From one socket, before the others get their turn.
TOGETHER: Final = 64
BUFFER_BYTES: Final = 4 << 20


@define(eq=False)
class Relay:
    """
    Passes datagrams on, in a thread of its own.

    What may be changed at any time: which datagrams get lost.

    @ivar targets: where the nodes really are.
    @ivar random: from 0 to less than 1, for losses.
    @ivar parts: of the network; nobody hears who is in another part.  One who
        is in none hears everybody.
    @ivar cuts: pairs of source and target of which the second hears nothing.
    @ivar lost: the share of all others that gets lost.
    @ivar passed: how many datagrams were passed on.
    """

    targets: Mapping[int, Address]
    random: Callable[[], float]
    parts: list[frozenset[int]] = field(factory=list)
    cuts: frozenset[Link] = frozenset()
    lost: float = 0.0
    passed: int = 0
    _sockets: dict[Link, socket.socket] = field(factory=dict)
    _selector: DefaultSelector = field(factory=DefaultSelector)
    _waker: tuple[socket.socket, socket.socket] = field(factory=socket.socketpair)
    _thread: Thread | None = None

    def listen(self, node: int, other: int, address: Address) -> None:
        """
        Be, for a node, another one.

        @raise OSError: when the address is not ours.
        """
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets[node, other] = opened
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        opened.bind(address)
        self._selector.register(opened, EVENT_READ, (node, other))

    def start(self) -> None:
        """
        Begin.
        """
        self._selector.register(self._waker[0], EVENT_READ, None)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """
        End the thread, and listen no more.
        """
        if self._thread is not None:
            self._waker[1].send(b"x")
            self._thread.join(EXIT_SECONDS)
        self._selector.close()
        for opened in (*self._sockets.values(), *self._waker):
            opened.close()

    def _run(self) -> None:
        while self.turn(None):
            pass

    def turn(self, seconds: float | None) -> bool:
        """
        Pass on what waits, or comes within some time.

        @return: is there more to do?
        """
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                return False
            self._relay(key.data)
        return True

    def _relay(self, link: Link) -> None:
        source, target = link
        # An answer to this address comes back to this relay.
        out = self._sockets[target, source]
        for _ in range(TOGETHER):
            try:
                datagram = self._sockets[link].recv(LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            if self._arrives(source, target) and self.random() >= self.lost:
                self._pass(out, datagram, self.targets[target])

    def _pass(self, out: socket.socket, datagram: bytes, address: Address) -> None:
        try:
            out.sendto(datagram, address)
        except (BlockingIOError, ConnectionError):
            return  # Nobody listens, or not fast enough: lost, like elsewhere.
        self.passed += 1

    def _arrives(self, source: int, target: int) -> bool:
        if (source, target) in self.cuts:
            return False
        return all((source in part) == (target in part) for part in self.parts)
