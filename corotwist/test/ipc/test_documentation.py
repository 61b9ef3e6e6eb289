"""
What docs/ipc.md says is so.
"""

import re
from io import BytesIO
from pathlib import Path

from twisted.protocols import amp
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import corotwist
from corotwist.engines.external import LONGEST_REASON_BYTES, LONGEST_SECONDS
from corotwist.ipc import (
    cfgcommands,
    cmap,
    components,
    confdb,
    cpg,
    external,
    fencing,
    qdevice,
    status,
    views,
    votequorum,
    wire,
)
from corotwist.ipc.channel import BOX_BYTES, BOX_FIELDS
from corotwist.ipc.outbox import UNDERWAY_BYTES, UNDERWAY_MESSAGES
from corotwist.test.ipc.fakes import NODEID
from corotwist.test.ipc.test_server import RawClient, ServerTestCase

MODULES = (
    *(wire, cfgcommands, cmap, components, confdb, cpg, status),
    *(external, fencing, qdevice, views, votequorum),
)
PAGE = Path(corotwist.__file__).parent.parent / "docs" / "ipc.md"
LINE = re.compile(
    r"^(requests|dispatch|        ) ([<>])((?:\s+(?:[0-9a-f]{2})+(?!\S))*)"
)


def page() -> str:
    """
    The page; it is not installed with the package.
    """
    if not PAGE.exists():
        raise SkipTest(f"{PAGE} is not here")
    return PAGE.read_text()


def exchange() -> list[tuple[str, str, bytes]]:
    """
    Who said what: connection, direction, bytes.
    """
    text = page().partition("## One exchange")[2]
    found: list[tuple[str, str, bytes]] = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            channel, direction, digits = match.groups()
            data = bytes.fromhex("".join(digits.split()))
            if channel.strip():
                found.append((channel, direction, data))
            else:
                channel, same, before = found.pop()
                assert same == direction, line
                found.append((channel, direction, before + data))
    return found


class ExchangeTests(ServerTestCase):
    """
    The exchange in hexadecimal.
    """

    def test_exchange(self) -> None:
        """
        A node that is told what the client says there answers what it answers
        there, box for box.
        """
        said = exchange()
        self.assertEqual(len(said), 11)
        self.assertEqual(NODEID, 7)
        self.server._admission._makeSecret = lambda: b"0123456789abcdef"
        clients: dict[str, RawClient] = {}
        for channel, direction, data in said:
            if channel not in clients:
                clients[channel], _ = self.connect(pid=1234)
            client = clients[channel]
            if direction == ">":
                assert client.transport is not None
                client.transport.write(data)
                self.reactor.settle()
            else:
                (expected,) = amp.parse(BytesIO(data))
                heard, client.heard = client.heard, b""
                self.assertEqual(amp.parse(BytesIO(heard)), [expected])
        self.assertEqual([client.heard for client in clients.values()], [b"", b""])
        (connection,) = self.manager.connections
        self.assertEqual(connection.waiting()["unacknowledgedBytes"], 0)


class ReferenceTests(SynchronousTestCase):
    """
    The tables.
    """

    def test_errors(self) -> None:
        """
        Every error is there with its number.
        """
        rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", page(), re.MULTILINE))
        expected = {
            code.decode(): str(getattr(kind, "code"))  # noqa: B009
            for kind, code in wire.ERRORS.items()
        }
        self.assertEqual(rows, {**expected, "UNHANDLED": "19"})

    def test_commands(self) -> None:
        """
        Every command is there, with all its arguments and results.
        """
        sections = {
            heading.split("`")[1]: text
            for heading, text in re.findall(
                r"^### (`.*?)\n(.*?)(?=^##)", page(), re.MULTILINE | re.DOTALL
            )
        }
        commands = {
            command.commandName.decode(): command
            for module in MODULES
            for command in vars(module).values()
            if isinstance(command, type)
            and issubclass(command, amp.Command)
            and command is not amp.Command
        }
        self.assertEqual(set(sections), set(commands))
        for name, command in commands.items():
            for field, _ in (*command.arguments, *command.response):
                self.assertIn(f"`{field.decode()}`", sections[name], name)

    def test_limits(self) -> None:
        """
        The limits there are the limits.
        """
        text = " ".join(page().split())
        queue = wire.DISPATCH_QUEUE_BYTES >> 20, wire.DISPATCH_QUEUE_MESSAGES
        partial = wire.PARTIAL_STREAMS, wire.PARTIAL_BYTES >> 20
        for limit in (
            f"at most {BOX_FIELDS} fields and {BOX_BYTES} bytes",
            "up to {} MiB and {} messages".format(*queue),
            f"Above {wire.PENDING_SENDS} unanswered batches",
            f"or {wire.PENDING_BYTES >> 20} MiB of them",
            "At most {} streams may be unfinished, of at most {} MiB".format(*partial),
            f"any other event counts {wire.NOTIFICATION_COST}",
            f"at least 1, at most {LONGEST_SECONDS * 1000:.0f} |",
            f"for people; {LONGEST_REASON_BYTES} bytes of it",
            f"while {UNDERWAY_BYTES >> 20} MiB or {UNDERWAY_MESSAGES} messages",
        ):
            self.assertIn(limit, text)
