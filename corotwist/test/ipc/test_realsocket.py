"""
Real sockets, a real service manager, and a client in another language.
"""

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from corotwist.engines.batch import pack
from corotwist.engines.interfaces import GroupView, Member, Reason
from corotwist.ipc.client import NodeClient, connect
from corotwist.ipc.events import Gap, Message
from corotwist.ipc.group import ProcessGroup
from corotwist.test.ipc.fakes import NODEID
from corotwist.test.ipc.realnode import RealNodeCase

NODE = shutil.which("node")
PROGRAM = Path(__file__).with_name("client.js")
MISSING = (
    "NO NODE.JS ON THIS MACHINE: the proof that docs/ipc.md is enough to write a "
    "client in another language was NOT run"
)
SECONDS = 30


class JavaScript(ProcessProtocol):
    """
    A running client.js.
    """

    def __init__(self) -> None:
        self.events: DeferredQueue[dict[str, Any]] = DeferredQueue()
        self.ended: Deferred[int] = Deferred()
        self._line = b""
        self.complaints = b""

    def outReceived(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self.events.put(json.loads(line))

    def errReceived(self, data: bytes) -> None:
        self.complaints += data
        sys.stderr.write(data.decode())

    def processEnded(self, reason: Failure) -> None:
        status = 0 if reason.check(ProcessDone) else 1
        self.ended.callback(status)

    def tell(self, line: str) -> None:
        """
        One command.
        """
        assert self.transport is not None
        self.transport.write(line.encode() + b"\n")


class RealSocketTests(RealNodeCase):
    """
    One node without a ring, all else as in a daemon.
    """

    timeout = SECONDS

    async def client(self) -> NodeClient:
        client = await connect(reactor, self.path)
        self.addCleanup(client.stopService)
        return client

    def javaScript(self, group: str) -> JavaScript:
        assert NODE is not None
        protocol = JavaScript()
        arguments = [NODE, str(PROGRAM), self.path, group]
        process = reactor.spawnProcess(protocol, NODE, arguments, env=None)  # type: ignore[attr-defined]

        def stop() -> Deferred[int]:
            if not protocol.ended.called:
                process.signalProcess("KILL")
            return protocol.ended

        self.addCleanup(stop)
        return protocol

    def socketMode(self) -> int:
        return Path(self.path).stat().st_mode & 0o777

    def test_pythonClient(self) -> Deferred[None]:
        """
        Through real sockets a client joins, sends small and large messages,
        gets them back, asks, and leaves; the socket is private, and gone in
        the end.
        """
        return run(self.pythonStory())

    async def pythonStory(self) -> None:
        await self.start()
        self.assertEqual(self.socketMode(), 0o600)
        client = await self.client()
        self.assertEqual((client.nodeid, client.pid), (NODEID, os.getpid()))
        group = await client.groups.join(b"demo")
        await group.send(b"hello")
        await group.sendAll([b"%d" % n for n in range(10_000)])
        await group.send(b"x" * (3 << 20))
        messages = [e async for e in upTo(group, 10_003)]
        self.assertIsInstance(messages[0], GroupView)
        payloads = [event.payload for event in messages[1:]]
        self.assertEqual(payloads[0], b"hello")
        self.assertEqual(payloads[1:-1], [b"%d" % n for n in range(10_000)])
        self.assertEqual(len(payloads[-1]), 3 << 20)
        self.assertEqual(await client.groups.groups(), (b"demo",))
        status = await client.node.status()
        self.assertEqual((status.nodeid, status.members), (NODEID, (NODEID,)))
        self.assertEqual(status.state, "running")
        for section in await client.node.sections():
            self.assertIsInstance(await client.node.statistics(section), dict)
        await group.leave()
        self.assertEqual(await client.groups.groups(), ())
        await client.stopService()
        await self.server.stopService()
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_javaScriptClient(self) -> Deferred[None]:
        """
        A client written from docs/ipc.md alone, in another language, joins a
        group, sends small messages and one of 200 KB, gets ours, and sees the
        order that we see, by the same places.
        """
        return run(self.javaScriptStory())

    async def javaScriptStory(self) -> None:
        await self.start()
        client = await self.client()
        group = await client.groups.join(b"demo")
        other = self.javaScript("demo")
        view = await other.events.get()
        us = [NODEID, os.getpid()]
        them = [NODEID, int(other.transport.pid)]  # type: ignore[union-attr, arg-type]
        self.assertEqual(view["members"], sorted([us, them]))
        self.assertEqual(view["joined"], [[*them, Reason.JOIN]])

        other.tell("send one two three é")
        other.tell("large 200000 x")
        sent = [group.send(b"ours %d" % n) for n in range(100)]
        sent.append(group.send(b"y" * 200_000))
        for done in sent:
            await done
        # Another turn, so that both also send behind the other's messages.
        other.tell("send four")
        await group.sendAll([b"all %d" % n for n in range(2000)])

        total = 4 + 1 + 101 + 1 + 2000
        theirView = [await other.events.get() for _ in range(total)]
        ourView = [
            described(event)
            async for event in upTo(group, total + 2)
            if isinstance(event, Message)
        ]
        self.assertEqual(theirView, ourView)
        self.assertEqual(
            {tuple(us), tuple(them)}, {(e["nodeid"], e["pid"]) for e in ourView}
        )
        texts = [e.get("text", e.get("size")) for e in ourView if e["pid"] == them[1]]
        self.assertEqual(texts, ["one", "two", "three", "é", 200_000, "four"])

        other.tell("members")
        members = (await other.events.get())["members"]
        self.assertEqual(members, sorted([us, them]))
        other.tell("groups")
        self.assertEqual((await other.events.get())["groups"], ["demo"])
        other.tell("wrong")
        refused = [(await other.events.get())["code"] for _ in range(6)]
        self.assertEqual(
            refused,
            [
                "EXIST",
                "NAME_TOO_LONG",
                "NOT_JOINED",
                "INVALID_PARAM",
                "INVALID_PARAM",
                "UNHANDLED",
            ],
        )
        # More than a window, so that it must have given credit.
        for _ in range(8):
            await group.send(b"z" * 200_000)
        last = [await other.events.get() for _ in range(8)]
        self.assertEqual({event["size"] for event in last}, {200_000})

        other.tell("leave")
        self.assertEqual((await other.events.get())["left"], [[*them, Reason.LEAVE]])
        self.assertEqual(await other.ended, 0)
        self.assertEqual(other.complaints, b"")
        events = [event async for event in upTo(group, 9)]
        self.assertEqual(events[-1].members, (Member(*us),))

    def test_javaScriptCertain(self) -> Deferred[None]:
        """
        Such a client is told when its message is safe, and where it is; and it
        follows the views of the nodes.  (D33, X3)
        """
        return run(self.certainStory())

    async def certainStory(self) -> None:
        await self.start()
        client = await self.client()
        group = await client.groups.join(b"demo")
        other = self.javaScript("demo")
        view = await other.events.get()
        other.tell("sure 2 certain")
        theirs = [await other.events.get(), await other.events.get()]
        receipt, message = sorted(theirs, key=lambda event: "text" in event)
        *_, ours = [event async for event in upTo(group, 3)]
        assert isinstance(ours, Message)
        self.assertEqual(receipt["event"], "receipt")
        self.assertEqual(message, described(ours))
        self.assertEqual(receipt["sequence"], str(ours.sequence))
        self.assertEqual(receipt["members"], [NODEID])
        other.tell("follow")
        nodes = await other.events.get()
        self.assertEqual(
            (nodes["event"], nodes["members"]), ("view.installed", [NODEID])
        )
        self.assertEqual(nodes["quorate"], view["quorate"])
        self.assertEqual(nodes["id"], view["nodes"])
        self.assertEqual(receipt["view"], nodes["id"])
        self.assertEqual(client.views.current.members, (NODEID,))
        await group.send(b"while following")
        await other.events.get()
        other.tell("leave")
        self.assertEqual((await other.events.get())["members"], [[NODEID, os.getpid()]])
        self.assertEqual(await other.ended, 0)

    def test_javaScriptDies(self) -> Deferred[None]:
        """
        When it is killed, the others see its process go.
        """
        return run(self.deathStory())

    async def deathStory(self) -> None:
        await self.start()
        client = await self.client()
        group = await client.groups.join(b"demo")
        other = self.javaScript("demo")
        await other.events.get()
        assert other.transport is not None
        other.transport.signalProcess("KILL")
        views = [event async for event in upTo(group, 3)]
        (gone,) = views[-1].left
        self.assertEqual(gone.reason, Reason.PROCDOWN)

    def test_tooSlow(self) -> Deferred[None]:
        """
        A client that is cut off learns why, though its connection for events
        closes first; then it is a member again.
        """
        return run(self.slowStory())

    async def slowStory(self) -> None:
        await self.start()
        client = await self.client()
        group = await client.groups.join(b"demo")
        (entry,) = self.server._clients
        for _ in range(40):
            entry.connection.messagesDelivered(
                b"demo", Member(9, 9), pack([bytes(1 << 20)]), 1
            )
        events: list[Any] = []
        while not events or not isinstance(events[-1], Gap):
            events.append(await group.__anext__())
        self.assertIn("too slow", events[-1].reason)
        # The old view of us, and the new one.
        again = await group.__anext__()
        assert isinstance(again, GroupView)
        self.assertEqual(again.joined[0].member, Member(NODEID, os.getpid()))

    if NODE is None:
        test_javaScriptClient.skip = MISSING  # type: ignore[attr-defined]
        test_javaScriptCertain.skip = MISSING  # type: ignore[attr-defined]
        test_javaScriptDies.skip = MISSING  # type: ignore[attr-defined]


def run(story: Coroutine[Any, Any, None]) -> Deferred[None]:
    """
    A story as trial takes it.
    """
    return Deferred.fromCoroutine(story)


async def upTo(group: ProcessGroup, count: int) -> AsyncIterator[Any]:
    """
    So many events.
    """
    for _ in range(count):
        yield await group.__anext__()


def described(message: Message) -> dict[str, Any]:
    """
    As client.js describes it.
    """
    payload = message.payload
    found = {
        "event": "message",
        "nodeid": message.sender.nodeid,
        "pid": message.sender.pid,
        "sequence": str(message.sequence),
    }
    if len(payload) <= 100:
        return {**found, "text": payload.decode()}
    return {**found, "size": len(payload), "sha256": sha256(payload).hexdigest()}
