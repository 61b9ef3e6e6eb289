"""
A client that says anything.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.protocols import amp

from corotwist.engines.batch import pack
from corotwist.ipc import cpg, status, wire
from corotwist.ipc.channel import encode
from corotwist.test.ipc.test_server import ServerTestCase

COMMANDS = [
    command
    for module in (wire, cpg, status)
    for command in vars(module).values()
    if isinstance(command, type) and issubclass(command, amp.Command)
]
# What has hurt somebody before.
NUMBERS = [
    b"%d" % n
    for edge in (0, 30, 128, 384, 65535, 2**31, 2**32, 2**63, 2**64)
    for n in (edge - 1, edge, edge + 1)
]
VALUES = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(
        [b"", b"True", b"False", b"g", b"x" * 129, b"request", b"dispatch"]
    ),
    st.sampled_from([pack([b"a", b"b"]), b"\xff" * 8, b"\0" * 65535]),
    st.binary(max_size=20),
)


def boxesOf(name: bytes, fields: list[bytes]) -> st.SearchStrategy[dict[bytes, bytes]]:
    """
    A command with most of its arguments, and perhaps others.
    """
    most = {field: st.one_of(st.none(), *[VALUES] * 9) for field in fields}
    box = st.fixed_dictionaries(
        {b"_command": st.just(name), b"_ask": st.just(b"1"), **most},
        optional={b"_answer": VALUES, b"surprise": VALUES},
    )
    return box.map(lambda b: {k: v for k, v in b.items() if v is not None})


BOXES = st.one_of(
    *(
        boxesOf(command.commandName, [name for name, _ in command.arguments])
        for command in COMMANDS
    ),
    st.binary(max_size=10).flatmap(lambda name: boxesOf(name, [])),
)
SPOKEN = st.tuples(
    st.sampled_from([False, False, False, True]),
    BOXES.map(lambda box: b"".join(encode(box))),
)
GARBAGE = st.tuples(st.booleans(), st.binary(max_size=40))


class FuzzTests(ServerTestCase):
    """
    Whatever one client says.
    """

    @settings(max_examples=300, deadline=None)
    @given(st.lists(SPOKEN, max_size=25), st.lists(GARBAGE, max_size=2))
    def test_anything(
        self, spoken: list[tuple[bool, bytes]], garbage: list[tuple[bool, bytes]]
    ) -> None:
        """
        Nothing raises or is logged as our failure, what is not closed goes on
        to be answered, and a neighbour is served all the same.  (A54)
        """
        neighbour, _ = self.pair(pid=5)
        channels = self.pair(pid=6)
        self.ask(channels[0], "cpg.join", group=b"g")
        for onDispatch, data in (*spoken, *garbage):
            channel = channels[onDispatch]
            if not channel.lost:
                assert channel.transport is not None
                channel.transport.write(data)
            self.reactor.settle()
        self.assertEqual(channels[0].lost, channels[1].lost)
        if not channels[0].lost:
            self.assertLessEqual(self.server.statistics()["connected"], 2)
            for connection in self.manager.connections:
                self.assertLess(connection.waiting()["queuedBytes"], 1 << 20)
        answer = self.ask(neighbour, "node.status")
        self.assertIn("state", answer)
        self.assertEqual(self.flushLoggedErrors(), [])
        for client in (neighbour, *channels):
            assert client.transport is not None
            client.transport.loseConnection()
        self.reactor.settle()
        self.reactor.ends.clear()
        self.assertEqual(self.manager.connections, [])
        self.assertEqual(self.manager.groups.groups(), ())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.one_of(SPOKEN, GARBAGE), min_size=1, max_size=6))
    def test_strangers(self, spoken: list[tuple[bool, bytes]]) -> None:
        """
        Without a hello of the right kind nobody gets anywhere.
        """
        for _, data in spoken:
            stranger, end = self.connect()
            end.write(data)
            self.reactor.settle()
            if b"hello" not in data:
                self.assertEqual(self.manager.groups.asked, [])
            end.abortConnection()
            self.reactor.settle()
            self.assertTrue(stranger.lost)
        self.assertEqual(self.manager.connections, [])
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(
            (self.server._channels, self.server._admission._secrets), ({}, {})
        )
        self.reactor.ends.clear()
