"""
Another key while the ring runs, without a gap: every member first accepts both
keys, then seals with the new one, then forgets the old one.
"""

from enum import IntEnum
from hashlib import blake2b
from struct import Struct
from typing import Final, Self

from attrs import frozen
from twisted.logger import Logger

from corotwist.errors import BadCount, TruncatedFrame, TryAgain
from corotwist.interfaces import ICluster

# The first byte of our messages; those of reloads begin with smaller ones.
KIND: Final = 4
FINGERPRINT_BYTES: Final = 8
_LAYOUT: Final = Struct(f"<BB{FINGERPRINT_BYTES}s")


class Step(IntEnum):
    """
    How far a node is; corosync's numbers of the first two.

    @cvar ACTIVATE: it opens what either key sealed.
    @cvar CLEANUP: it seals with the new one.
    @cvar DONE: it knows no other any more.
    """

    ACTIVATE = 1
    CLEANUP = 2
    DONE = 3


@frozen
class KeyStep:
    """
    What a node says of its newest key; after the common header::

        offset  size  field
             0     1  kind, always 4
             1     1  step
             2     8  fingerprint of the key
    """

    step: Step
    fingerprint: bytes

    def encode(self) -> bytes:
        """
        What follows the common header.
        """
        return _LAYOUT.pack(KIND, self.step, self.fingerprint)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """
        Parse what follows the common header.

        @raise TruncatedFrame: when it has another size.
        @raise BadCount: for a step that is none.
        """
        if len(body) != _LAYOUT.size:
            raise TruncatedFrame(f"{len(body)} bytes about a key")
        kind, step, fingerprint = _LAYOUT.unpack(body)
        if kind != KIND or step not in tuple(Step):
            raise BadCount(f"kind {kind}, step {step} of a key")
        return cls(Step(step), fingerprint)


def fingerprint(key: bytes | None) -> bytes:
    """
    A name for a key that gives nothing of it away; none for no key.
    """
    if key is None:
        return b""
    return blake2b(
        key, digest_size=FINGERPRINT_BYTES, person=b"corotwist-rekey1"
    ).digest()


class Rekeying:
    """
    A node goes on when every member of the ring has said as much of the same
    key.  While one has not, nothing is lost: all go on as they are.

    @ivar cluster: set when the engine is initialized.
    @ivar step: of this node.
    """

    cluster: ICluster

    def __init__(self) -> None:
        self._log = Logger()
        self.step = Step.DONE
        self._ours = b""
        self._heard: dict[int, KeyStep] = {}
        self._said: KeyStep | None = None
        self._waiting = False

    @property
    def busy(self) -> bool:
        """
        Is a change on its way?
        """
        return self.step is not Step.DONE

    def begin(self, key: bytes | None) -> None:
        """
        The node has started with this key.
        """
        self._ours = fingerprint(key)

    def keyChanged(self, key: bytes | None) -> None:
        """
        Other settings are in force: the node opens what this key sealed, and
        what the one before it did.
        """
        ours = fingerprint(key)
        if ours != self._ours:
            self._ours = ours
            self._go(Step.ACTIVATE)

    def membershipChanged(self) -> None:
        """
        What was said on another ring, others may not have heard.
        """
        self._heard.clear()
        self._said = None
        if self.step is not Step.DONE:
            self._say()

    def delivered(self, nodeid: int, body: bytes) -> None:
        """
        Somebody is that far.
        """
        message = KeyStep.decode(body)
        self._heard[nodeid] = message
        behind = message.step < self.step is Step.DONE
        if behind and message.fingerprint == self._ours:
            self._say()  # It waits for us.
        self._look()

    def _look(self) -> None:
        if self.step is Step.ACTIVATE and self._all(Step.ACTIVATE):
            self.cluster.activateKey()
            self._go(Step.CLEANUP)
        elif self.step is Step.CLEANUP and self._all(Step.CLEANUP):
            self.cluster.dropOldKeys()
            self.step = Step.DONE
            self._log.info("All nodes use the new key, and no other")

    def _all(self, step: Step) -> bool:
        """
        Is every member that far, with our key?
        """
        heard = [self._heard.get(nodeid) for nodeid in self.cluster.members()]
        return all(
            one is not None and one.step >= step and one.fingerprint == self._ours
            for one in heard
        )

    def _go(self, step: Step) -> None:
        self.step = step
        self._log.info(
            "Changing the key: {what}",
            what="both are accepted" if step is Step.ACTIVATE else "the new one seals",
        )
        self._say()

    def _say(self) -> None:
        """
        Once for each step on each ring, as soon as there is room.
        """
        saying = KeyStep(self.step, self._ours)
        if saying == self._said or self._waiting:
            return
        if self._multicast(saying):
            self._said = saying
        else:
            self._waiting = True
            self.cluster.whenRoom(self._sayNow)

    def _sayNow(self) -> None:
        self._waiting = False
        self._say()

    def _multicast(self, saying: KeyStep) -> bool:
        if not self.cluster.compact() or self.cluster.synchronizing():
            return False
        try:
            self.cluster.multicastCompact(saying.encode())
        except TryAgain:
            return False
        return True
