"""
Tests of commands for programs that decide about quorum, for the state of the
quorum device, and for fencing.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols import amp
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase

from corotwist.errors import AccessDenied, InvalidParameter, NotExist, OldRing
from corotwist.ipc.external import ExternalQuorum, ExternalQuorumLocator, Say
from corotwist.ipc.fencing import FencingLocator, NodeFencing
from corotwist.ipc.qdevice import QuorumDeviceLocator, deviceStatus
from corotwist.test.engines.probes import FakeClient
from corotwist.totem.membership import RingId

RING = RingId(1 << 40, 3)


class Provider:
    """
    Notes what programs say.
    """

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def say(
        self,
        connection: Any,
        *,
        quorate: bool,
        seconds: float,
        reason: str = "",
        ringId: RingId | None = None,
    ) -> None:
        if seconds > 10:
            raise OldRing("too late")
        self.said.append((quorate, seconds, reason, ringId))

    def words(self) -> dict[str, Any]:
        return {"sequence": 4, "words": {}}


class Answers:
    """
    A device, or fencing.
    """

    def __init__(self) -> None:
        self.confirmed: list[tuple[int, str]] = []

    def status(self) -> dict[str, Any]:
        return {"why": "x" * 100_000}

    def confirm(self, nodeid: int, reason: str) -> None:
        if nodeid != 7:
            raise NotExist(f"node {nodeid} is not lost")
        self.confirmed.append((nodeid, reason))


class CommandCase(SynchronousTestCase):
    """
    A client, and what answers it.
    """

    def begin(self, locator: Any) -> None:
        self.client = amp.AMP()
        server = amp.AMP(locator=locator)
        self.pump = iosim.connect(
            server,
            iosim.FakeTransport(server, isServer=True),
            self.client,
            iosim.FakeTransport(self.client, isServer=False),
        )

    def ask(self, command: Any, **given: Any) -> Deferred[dict[str, Any]]:
        asked: Deferred[Any] = Deferred()
        answer = self.client.callRemote(command, **given)
        answer.addCallbacks(asked.callback, asked.errback)
        self.pump.flush()
        return asked


class ExternalTests(CommandCase):
    """
    What a program says comes to the provider.
    """

    def setUp(self) -> None:
        self.provider = Provider()
        self.connection = FakeClient(uid=0)
        self.begin(ExternalQuorumLocator(self.provider, self.connection))  # type: ignore[arg-type]
        self.quorum = ExternalQuorum(self.ask)

    def test_say(self) -> None:
        """
        Yes or no, for how long, why, and about which ring.  (C18)
        """
        self.successResultOf(self.quorum.say(True, 2.5, "the witness", RING))
        self.successResultOf(self.quorum.say(False, 1.0))
        self.assertEqual(
            self.provider.said,
            [(True, 2.5, "the witness", RING), (False, 1.0, "", None)],
        )

    def test_refused(self) -> None:
        """
        What the provider refuses the program hears by name; half a ring is
        none.
        """
        self.failureResultOf(self.quorum.say(True, 11.0), OldRing)
        half = {"quorate": True, "milliseconds": 1, "sequence": 4}
        self.failureResultOf(self.ask(Say, **half), InvalidParameter)

    def test_notForEverybody(self) -> None:
        """
        Only who administers the node decides for it.
        """
        self.connection.uid = 12345
        self.failureResultOf(self.quorum.say(True, 1.0), AccessDenied)
        self.assertEqual(self.provider.said, [])

    def test_words(self) -> None:
        """
        Everybody may see what is said.
        """
        self.connection.uid = 12345
        self.assertEqual(self.successResultOf(self.quorum.words())["sequence"], 4)


class StatusTests(CommandCase):
    """
    States of any length come in parts.
    """

    def test_device(self) -> None:
        """
        The state of the quorum device.  (C17)
        """
        self.begin(QuorumDeviceLocator(Answers(), FakeClient()))  # type: ignore[arg-type]
        status = Deferred.fromCoroutine(deviceStatus(self.ask))
        self.assertEqual(len(self.successResultOf(status)["why"]), 100_000)

    def test_fencing(self) -> None:
        """
        The lost nodes; and who administers the node confirms one.  (A108)
        """
        answers, connection = Answers(), FakeClient(uid=0)
        self.begin(FencingLocator(answers, connection))  # type: ignore[arg-type]
        fencing = NodeFencing(self.ask)
        status = Deferred.fromCoroutine(fencing.status())
        self.assertEqual(len(self.successResultOf(status)["why"]), 100_000)
        done = Deferred.fromCoroutine(fencing.confirm(7, "unplugged"))
        self.successResultOf(done)
        wrong = Deferred.fromCoroutine(fencing.confirm(8, "?"))
        self.failureResultOf(wrong, NotExist)
        connection.uid = 12345
        denied = Deferred.fromCoroutine(fencing.confirm(7, "me too"))
        self.failureResultOf(denied, AccessDenied)
        self.assertEqual(answers.confirmed, [(7, "unplugged")])
