"""
Boxes on a connection.
"""

from io import BytesIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import (
    Disconnected,
    NotJoined,
    NotSupported,
    ServiceError,
    TryAgain,
)
from corotwist.ipc.channel import (
    BOX_BYTES,
    BOX_FIELDS,
    BoxReader,
    Channel,
    encode,
    firstResponder,
)
from corotwist.ipc.cpg import Join, Members
from corotwist.test.ipc.pipes import End

keys = st.binary(min_size=1, max_size=255)
boxes = st.dictionaries(keys, st.binary(max_size=300), min_size=1, max_size=8)


def joined(box: dict[bytes, bytes]) -> bytes:
    return b"".join(encode(box))


class BoxReaderTests(SynchronousTestCase):
    """
    L{BoxReader} and L{encode}.
    """

    @given(boxes)
    def test_encodesAsAmp(self, box: dict[bytes, bytes]) -> None:
        """
        Twisted's AMP reads what we write.
        """
        self.assertEqual(amp.parse(BytesIO(joined(box))), [box])

    @given(st.lists(boxes, max_size=6), st.lists(st.integers(1, 400), min_size=1))
    def test_readsAsAmp(
        self, expected: list[dict[bytes, bytes]], cuts: list[int]
    ) -> None:
        """
        Wherever a stream is cut, the boxes are those that Twisted wrote.  (A49)
        """
        stream = b"".join(amp.AmpBox(box).serialize() for box in expected)
        reader = BoxReader()
        found = []
        for n in range(len(stream)):
            size = cuts[n % len(cuts)]
            found += reader.feed(stream[:size])
            stream = stream[size:]
        self.assertEqual(found, expected)

    @given(st.binary(max_size=2000))
    def test_garbage(self, garbage: bytes) -> None:
        """
        Whatever comes becomes boxes, waits for more, or is malformed.
        """
        try:
            for box in BoxReader().feed(garbage):
                self.assertTrue(box)
        except amp.MalformedAmpBox:
            pass

    def test_largestValue(self) -> None:
        """
        A value may have all of AMP's 65,535 bytes, and come in small pieces.
        """
        stream = joined({b"k": b"v" * 65535})
        reader = BoxReader()
        found = []
        for start in range(0, len(stream), 1000):
            found += reader.feed(stream[start : start + 1000])
        self.assertEqual(found, [{b"k": b"v" * 65535}])

    def refused(self, stream: bytes, why: str) -> None:
        error = self.assertRaises(amp.MalformedAmpBox, BoxReader().feed, stream)
        self.assertIn(why, str(error))

    def test_emptyBox(self) -> None:
        """
        A box has at least one field.
        """
        self.refused(b"\0\0", "empty")

    def test_longKey(self) -> None:
        """
        Keys end at 255 bytes; the next length is not waited for.
        """
        self.refused(b"\x01\x00", "key too long")

    def test_manyFields(self) -> None:
        """
        The number of fields is bounded.
        """
        fields = {b"%d" % n: b"" for n in range(BOX_FIELDS + 1)}
        self.refused(joined(fields), "a field too many")

    def test_fieldTwice(self) -> None:
        """
        Which of two fields of one name counts is not left to chance.
        """
        self.refused(b"\0\1a\0\0" * 2 + b"\0\0", "twice")

    def test_hugeBox(self) -> None:
        """
        The size of a box is refused when it is announced, before it is there.
        """
        stream = joined({b"a": b"x" * 65535, b"b": b"x" * 65000})[:-2]
        self.assertLess(len(stream), BOX_BYTES)
        self.refused(stream + b"\0\1c\xff\xff", "a box over")

    def test_holdsOneBox(self) -> None:
        """
        After any number of complete boxes nothing of them is kept.  (A49)
        """
        reader = BoxReader()
        for _ in range(100):
            reader.feed(joined({b"k": b"v" * 1000}) + b"\0\1")
            reader.feed(b"k\0\0\0\0")
        self.assertEqual(reader._waiting, [])


class Answering(Channel):
    """
    A channel with a few commands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unknown: list[bytes] = []
        self.later: Deferred[Any] = Deferred()
        self.calls = 0

    def locate(self, name: bytes) -> Any:
        return {
            b"now": lambda box: {b"value": box[b"value"]},
            b"later": lambda box: self.later,
            b"refuse": lambda box: fail(NotJoined("not in it")),
            b"number": lambda box: int(box[b"value"]),
            b"broken": lambda box: fail(ZeroDivisionError("oh")),
            b"last": self._last,
        }.get(name)

    def _last(self, box: amp.AmpBox) -> Deferred[None]:
        self.calls += 1
        self.closeAfterAnswer = True
        return fail(TryAgain("later"))

    def unknownReceived(self, name: bytes) -> None:
        self.unknown.append(name)


class ChannelTests(SynchronousTestCase):
    """
    L{Channel}.
    """

    def setUp(self) -> None:
        self.channel = Answering()
        self.end = End()
        self.channel.makeConnection(self.end)

    def said(self) -> list[dict[bytes, bytes]]:
        stream = b"".join(self.end.unsent)
        self.end.unsent.clear()
        return list(amp.parse(BytesIO(stream)))

    def receive(self, **fields: bytes) -> list[dict[bytes, bytes]]:
        box = {key.encode(): value for key, value in fields.items()}
        self.channel.dataReceived(joined(box))
        return self.said()

    def test_answers(self) -> None:
        """
        A command that asks is answered with its tag.
        """
        answers = self.receive(_command=b"now", _ask=b"1", value=b"v")
        self.assertEqual(answers, [{b"_answer": b"1", b"value": b"v"}])

    def test_answersLater(self) -> None:
        """
        An answer may come after the answers to later commands.
        """
        self.assertEqual(self.receive(_command=b"later", _ask=b"1"), [])
        self.receive(_command=b"now", _ask=b"2", value=b"v")
        self.channel.later.callback(None)
        self.assertEqual(self.said(), [{b"_answer": b"1"}])

    def test_silent(self) -> None:
        """
        A command that does not ask gets no answer, whatever becomes of it.
        """
        for command in (b"now", b"refuse", b"nonsense", b"number"):
            self.assertEqual(self.receive(_command=command, value=b"v"), [])

    def test_refuses(self) -> None:
        """
        An error crosses as its code and text.
        """
        (answer,) = self.receive(_command=b"refuse", _ask=b"1")
        self.assertEqual(
            answer,
            {
                b"_error": b"1",
                b"_error_code": b"NOT_JOINED",
                b"_error_description": b"not in it",
            },
        )

    def test_unknownCommand(self) -> None:
        """
        An unknown command is answered as AMP says, and counted; the connection
        stays.
        """
        (answer,) = self.receive(_command=b"nonsense", _ask=b"1")
        self.assertEqual(answer[b"_error_code"], b"UNHANDLED")
        self.assertEqual(self.channel.unknown, [b"nonsense"])
        self.assertFalse(self.end.closing)

    def test_missingArgument(self) -> None:
        """
        A missing argument is named; the connection stays.
        """
        (answer,) = self.receive(_command=b"now", _ask=b"1")
        self.assertEqual(answer[b"_error_code"], b"INVALID_PARAM")
        self.assertIn(b"value", answer[b"_error_description"])
        self.assertFalse(self.end.closing)

    def test_wrongArgument(self) -> None:
        """
        An argument of a wrong type is the client's mistake, not ours.
        """
        (answer,) = self.receive(_command=b"number", _ask=b"1", value=b"x")
        self.assertEqual(answer[b"_error_code"], b"INVALID_PARAM")

    def test_brokenResponder(self) -> None:
        """
        What a responder did not expect is logged, and answered without telling
        what it was.
        """
        (answer,) = self.receive(_command=b"broken", _ask=b"1")
        self.assertEqual(answer[b"_error_code"], b"LIBRARY")
        self.assertEqual(answer[b"_error_description"], b"internal error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lastAnswer(self) -> None:
        """
        After an answer that is the last, nothing that came with it is read.
        """
        box = joined({b"_command": b"last", b"_ask": b"1"})
        self.channel.dataReceived(box + box)
        self.assertEqual(self.channel.calls, 1)
        self.assertTrue(self.end.closing)
        (answer,) = self.said()
        self.assertEqual(answer[b"_error_code"], b"TRY_AGAIN")

    def test_malformed(self) -> None:
        """
        A stream that cannot be AMP ends its connection.
        """
        self.channel.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(self.end.closing)

    def test_unaskedAnswer(self) -> None:
        """
        An answer to nothing, and a box that is none of the three, are
        malformed.
        """
        for fields in ({b"_answer": b"9"}, {b"_error": b"9"}, {b"x": b"y"}):
            self.setUp()
            self.channel.dataReceived(joined(fields))
            self.assertTrue(self.end.closing, fields)

    def test_asks(self) -> None:
        """
        An answer finds its question.
        """
        first = self.channel.askBox(b"c", {b"n": b"1"})
        second = self.channel.askBox(b"c", {b"n": b"2"})
        tags = [box[b"_ask"] for box in self.said()]
        self.receive(_answer=tags[1], value=b"two")
        self.receive(_answer=tags[0], value=b"one")
        self.assertEqual(self.successResultOf(first)[b"value"], b"one")
        self.assertEqual(self.successResultOf(second)[b"value"], b"two")

    def test_errorsAreClasses(self) -> None:
        """
        A code becomes the exception that it stands for; one that we do not
        know is a service's error nevertheless.
        """
        for code, kind in (
            (b"NOT_JOINED", NotJoined),
            (b"UNHANDLED", NotSupported),
            (b"FROM_THE_FUTURE", ServiceError),
        ):
            asked = self.channel.askBox(b"c", {})
            (box,) = self.said()
            self.receive(
                _error=box[b"_ask"], _error_code=code, _error_description=b"why"
            )
            failure = self.failureResultOf(asked)
            self.assertIs(type(failure.value), kind)
            self.assertEqual(str(failure.value), "why")

    def test_lostWhileAsking(self) -> None:
        """
        Whoever waits for an answer learns that none will come.
        """
        asked = self.channel.askBox(b"c", {})
        self.channel.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(asked, Disconnected)
        self.failureResultOf(self.channel.askBox(b"c", {}), Disconnected)

    def test_speaksToAmp(self) -> None:
        """
        Twisted's own AMP and we understand each other, both ways.
        """

        class Peer(amp.AMP):
            @Join.responder
            def join(self, group: bytes, **wishes: object) -> dict[str, Any]:
                raise TryAgain(group.decode())

        peer = Peer()
        self.patch(amp, "_log", type("Quiet", (), {"info": lambda *a, **k: None})())
        ours, theirs = End(protocol=self.channel), End(protocol=peer)
        ours.peer, theirs.peer = theirs, ours
        self.channel.makeConnection(ours)
        peer.makeConnection(theirs)
        asked = self.channel.askBox(b"cpg.join", {b"group": b"g"})
        ours.pump()
        theirs.pump()
        self.failureResultOf(asked, TryAgain)
        echoed = peer.callRemoteString(b"now", value=b"v")
        theirs.pump()
        ours.pump()
        self.assertEqual(self.successResultOf(echoed)[b"value"], b"v")
        refused: list[Failure] = []
        peer.callRemote(Members, group=b"g").addErrback(refused.append)
        theirs.pump()
        ours.pump()
        self.assertIs(refused[0].type, amp.UnhandledCommand)


class FirstResponderTests(SynchronousTestCase):
    """
    L{firstResponder}.
    """

    def test_order(self) -> None:
        """
        The first locator that knows the command is taken; unknown to all is
        L{None}.  (A46)
        """

        class Knows(amp.CommandLocator):
            def __init__(self, number: int) -> None:
                self.number = number

            @Members.responder
            def members(self, group: bytes, after: Any) -> dict[str, Any]:
                return {"members": (self.number,), "more": False}

        locators = [amp.CommandLocator(), Knows(1), Knows(2)]
        found = firstResponder(locators, b"cpg.members")
        assert found is not None
        answer = self.successResultOf(found(amp.AmpBox({b"group": b"g"})))
        self.assertEqual(answer[b"members"], b"\1\0\0\0")
        self.assertIsNone(firstResponder(locators, b"cpg.leave"))
