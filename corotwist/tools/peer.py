"""
C{peer.c} for our nodes, with our client::

    python -m corotwist.tools.peer GROUP [SOCKET]

The same commands on its standard input, the same JSON lines on its standard
output.  SOCKET is where the node is, when that is not the usual place.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from struct import Struct
from typing import Any, Final
from zlib import crc32

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from corotwist.config.places import socketPath
from corotwist.engines.interfaces import Change, GroupView, Member
from corotwist.ipc.client import NodeClient
from corotwist.ipc.events import Gap
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.groups import Ring
from corotwist.ipc.remote import connectSocket
from corotwist.tools.cpg import readKeyboard

HEADER: Final = Struct("<IIII")
PATTERN: Final = bytes(range(256))
# Handed to the client in one turn of the reactor, before it is waited for.
TOGETHER: Final = 64


def tell(event: str, **fields: object) -> None:
    """
    One line for the test.
    """
    record = {"t": time.monotonic_ns(), "event": event, **fields}
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def message(nodeid: int, sequence: int, size: int) -> bytes:
    """
    What C{peer.c} would send.
    """
    start = nodeid + sequence & 0xFF
    pattern = (PATTERN * (2 + size // len(PATTERN)))[start : start + size]
    if size < HEADER.size:
        return pattern
    rest = pattern[HEADER.size :]
    return HEADER.pack(nodeid, sequence, size, crc32(rest)) + rest


def messageDelivered(sender: Member, payload: bytes) -> None:
    """
    From the group.
    """
    sequence, intact = -1, True
    if len(payload) >= HEADER.size:
        nodeid, sequence, size, check = HEADER.unpack_from(payload)
        rest = crc32(payload[HEADER.size :])
        intact = (nodeid, size, check) == (sender.nodeid, len(payload), rest)
    tell(
        "message",
        nodeid=sender.nodeid,
        pid=sender.pid,
        length=len(payload),
        sequence=sequence,
        digest=crc32(payload),
        intact=intact,
    )


def viewChanged(view: GroupView) -> None:
    """
    From the group.
    """
    tell(
        "view",
        members=[[member.nodeid, member.pid, 0] for member in view.members],
        left=_changes(view.left),
        joined=_changes(view.joined),
    )


def ringChanged(ring: Ring) -> None:
    """
    From the node.
    """
    tell(
        "ring",
        representative=ring.ringId.representative,
        sequence=ring.ringId.sequence,
        members=ring.members,
    )


def _changes(changes: Sequence[Change]) -> list[list[int]]:
    return [[c.member.nodeid, c.member.pid, int(c.reason)] for c in changes]


def interrupted(gap: Gap) -> None:
    """
    From the group: the node is gone, and so is C{peer.c} when that happens.
    """
    tell("gone", why=gap.reason, code=0)
    os._exit(1)


@define(eq=False)
class Commands(LineOnlyReceiver):
    """
    From the test; the next one begins when the last one is done.
    """

    delimiter = b"\n"

    client: NodeClient
    group: ProcessGroup
    ended: Deferred[None]
    sequence: int = 0
    turn: DeferredLock = field(factory=DeferredLock)

    def lineReceived(self, line: bytes) -> None:
        done: Deferred[None] = self.turn.run(self._obey, line)
        done.addErrback(self._failed)

    def _obey(self, line: bytes) -> Deferred[None]:
        match line.split():
            case [b"send", size, count]:
                return Deferred.fromCoroutine(self._send(int(size), int(count)))
            case [b"leave"]:
                tell("leaving")
                return self.group.leave()
        return self.client.stopService().addCallback(self.ended.callback)

    async def _send(self, size: int, count: int) -> None:
        nodeid = self.client.nodeid
        first, self.sequence = self.sequence, self.sequence + count
        tell("sending", first=first, size=size, count=count)
        for start in range(first, first + count, TOGETHER):
            numbers = range(start, min(start + TOGETHER, first + count))
            sent = [self.group.send(message(nodeid, n, size)) for n in numbers]
            await gatherResults(sent)
        tell("sent", size=size, count=count)

    def _failed(self, failure: Any) -> None:
        tell("gone", why=str(failure), code=0)
        os._exit(1)

    def connectionLost(self, reason: Any = None) -> None:
        if not self.ended.called:
            self.ended.callback(None)


async def run(reactor: Any, group: str, path: str | None = None) -> None:
    """
    Connect as soon as the node lets us, join, obey.
    """
    path = socketPath(os.environ, os.geteuid(), path)
    client = NodeClient(reactor, partial(connectSocket, reactor, path), lambda n: 0.1)
    client.groups.ringChanged = ringChanged
    client.startService()
    await client.whenConnected()
    tell("ready", nodeid=client.nodeid, pid=client.pid)
    joined = await client.groups.join(
        group.encode(), messageDelivered, viewChanged, interrupted
    )
    ended: Deferred[None] = Deferred()
    readKeyboard(Commands(client, joined, ended))
    await ended


def main() -> None:
    """
    From the command line.
    """
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, *sys.argv[1:3])))


if __name__ == "__main__":
    main()
