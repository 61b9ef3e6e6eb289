"""
What a node's ring does, as one JSON object a line: C{twistd corosync --record}.

Each record has C{t}, nanoseconds of the machine's monotonic clock; C{node};
C{life}, unlike that of any other start on this machine; and C{ev}::

    boot     stored                                   (null without a disk)
    store    sequence, ok
    send     ring, seq, number, digest                (a frame got its place)
    deliver  ring, seq, sender, digest
    conf     kind (R or T), ring, members, left, joined, cause
    state    before, after, cause
    stop

C{ring} is representative and sequence, C{digest} of the frame's payload.

What is on file when: everything up to a datagram before that datagram leaves,
and all that a token's round brought when the token is passed on.  The file is
written, not synchronized: it survives the end of the process, however that
comes, but not that of the machine.  [EVS]
"""

import json
import os
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.errors import StorageRefused
from corotwist.interfaces import INotes, IRingStorage
from corotwist.totem.effects import (
    ConfigurationChanged,
    Deliver,
    Effect,
    Multicast,
    StateChanged,
    TokenPassed,
    Unicast,
)
from corotwist.totem.wire import LITTLE, Regular

DIGEST_BYTES: Final = 8
# A recording is for a test of minutes or hours; one that fills the disk would
# stop other nodes too.
MOST_BYTES: Final = 8 << 30
MODE: Final = 0o600

# Where a frame says that it is a message, and not one that carries another.
_KIND_AT: Final = slice(3, 5)
_MESSAGE: Final = bytes((Regular.TYPE, 2))
_LAYOUT: Final = Regular.LAYOUTS[LITTLE]


class RecordFull(Exception):
    """
    The recording is as large as it may be.
    """


def digestOf(payload: bytes) -> str:
    """
    Stands for the contents of a frame.
    """
    return blake2b(payload, digest_size=DIGEST_BYTES).hexdigest()


class Recorder:
    """
    Writes what it observes.

    An error of the disk is raised to whoever tells: a ring that cannot be
    recorded as asked stops.

    @param clock: nanoseconds that only rise, on all nodes of this machine.
    """

    def __init__(self, path: str, nodeid: int, clock: Callable[[], int]) -> None:
        self._nodeid = nodeid
        self._clock = clock
        self._life = clock()
        self._number = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, MODE)
        self._bytes = os.fstat(self._file).st_size
        self._waiting: list[str] = []

    # From the ring.

    def observed(self, effect: Effect) -> None:
        """
        For L{TotemService.observer<corotwist.totem.service.TotemService>}.
        """
        match effect:
            case Deliver():
                ring = effect.ringId
                self._note(
                    f'"deliver","ring":[{ring.representative},{ring.sequence}],'
                    f'"seq":{effect.sequence},"sender":{effect.nodeid},'
                    f'"digest":"{digestOf(effect.payload)}"'
                )
            case Multicast():
                for frame in effect.frames:
                    if frame[_KIND_AT] == _MESSAGE:
                        self._noteSend(frame)
                self.flush()
            case Unicast() | TokenPassed():
                self.flush()
            case ConfigurationChanged():
                self._noteConfiguration(effect)
                self.flush()
            case StateChanged():
                self.record(
                    "state",
                    before=effect.before,
                    after=effect.after,
                    cause=effect.cause,
                )

    def _noteSend(self, frame: bytes) -> None:
        """
        The first transmission of a frame of its own is when a processor gives
        it its place; what it sends again, for itself or others, is not new.
        """
        fields = _LAYOUT.unpack_from(frame)
        origin, sequence, number, representative, ring = fields[6:11]
        if origin != self._nodeid or number <= self._number:
            return
        self._number = number
        self._note(
            f'"send","ring":[{representative},{ring}],"seq":{sequence},'
            f'"number":{number},"digest":"{digestOf(frame[Regular.FIXED_BYTES :])}"'
        )

    def _noteConfiguration(self, effect: ConfigurationChanged) -> None:
        configuration = effect.configuration
        ring = configuration.ringId
        self.record(
            "conf",
            kind="T" if configuration.transitional else "R",
            ring=[ring.representative, ring.sequence],
            members=configuration.members,
            left=configuration.left,
            joined=configuration.joined,
            cause=configuration.cause,
        )

    # The file.

    def record(self, event: str, **fields: Any) -> None:
        """
        Note something; it is on file after the next L{flush}.
        """
        rest = json.dumps({"ev": event, **fields}, separators=(",", ":"))
        self._note(rest[len('{"ev":') : -1])

    def _note(self, rest: str) -> None:
        self._waiting.append(
            f'{{"t":{self._clock()},"node":{self._nodeid},"life":{self._life},'
            f'"ev":{rest}}}\n'
        )

    def flush(self) -> None:
        """
        Hand what was noted to the operating system.

        @raise RecordFull: at L{MOST_BYTES}.
        """
        if not self._waiting:
            return
        data = "".join(self._waiting).encode()
        self._waiting.clear()
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            raise RecordFull(f"the recording has {MOST_BYTES} bytes")
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def close(self) -> None:
        """
        The node left in order.
        """
        self.record("stop")
        self.flush()
        os.close(self._file)


@implementer(IRingStorage, INotes)
class RecordedStorage:
    """
    A ring storage, and a recorder that learns what it keeps.
    """

    def __init__(self, storage: Any, recorder: Recorder) -> None:
        """
        @param storage: an L{IRingStorage} and L{INotes}.
        """
        self._storage = storage
        self._recorder = recorder

    def loadNote(self, name: str) -> bytes | None:
        note: bytes | None = self._storage.loadNote(name)
        return note

    def storeNote(self, name: str, data: bytes) -> Deferred[None]:
        stored: Deferred[None] = self._storage.storeNote(name, data)
        return stored

    def load(self) -> int | None:
        stored: int | None = self._storage.load()
        self._recorder.record("boot", stored=stored)
        self._recorder.flush()
        return stored

    def store(self, sequence: int) -> Deferred[None]:
        stored: Deferred[None] = self._storage.store(sequence)
        return stored.addCallbacks(
            self._stored,
            self._refused,
            callbackArgs=(sequence,),
            errbackArgs=(sequence,),
        )

    def stamp(self, now: int) -> int:
        stamp: int = self._storage.stamp(now)
        return stamp

    def _stored(self, result: None, sequence: int) -> None:
        self._recorder.record("store", sequence=sequence, ok=True)
        self._recorder.flush()

    def _refused(self, failure: Failure, sequence: int) -> Failure:
        failure.trap(StorageRefused)
        self._recorder.record("store", sequence=sequence, ok=False)
        self._recorder.flush()
        return failure
