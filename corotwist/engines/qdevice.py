"""
The quorum device of this node: asks it for its vote at each change of the ring,
and passes on what it says to who counts votes, as any client with a device does.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.config.settings import DeviceSettings, NodeSettings
from corotwist.deviceinterfaces import IQuorumDevice, IQuorumDeviceMaker
from corotwist.engines.base import Engine
from corotwist.engines.heuristics import Heuristics, HeuristicsSettings
from corotwist.engines.quoruminterfaces import (
    IQuorumDeviceState,
    IVoteQuorum,
    IVoteSubscriber,
    NodeVotes,
)
from corotwist.errors import (
    ConfigurationError,
    InvalidParameter,
    NotExist,
    OldRing,
    Problem,
    ServiceError,
    TryAgain,
)
from corotwist.interfaces import (
    ICluster,
    IReconfigurable,
)
from corotwist.quorumdevice.values import DeviceAnswer, DeviceContext, Health
from corotwist.totem.membership import NO_RING, RingId

# A number of our own that real corosync nodes have room for.
DEVICE_SERVICE: Final = 36
# How the device is named among those that count votes; corosync's own is, too.
NAME: Final = "Qdevice"
SUMMARY: Final = 0
LONGEST_SUMMARY_BYTES: Final = 512
# Who counts votes hears that the device is alive so often, within its timeout.
_POLLS: Final = 4
# What cannot be done now is tried again then.
RETRY_SECONDS: Final = 1.0
_NS: Final = 1_000_000_000
_NOTHING: Final = DeviceAnswer(NO_RING, False, 0.0, "not asked yet")


@implementer(IVoteSubscriber, IQuorumDeviceState, IReconfigurable)
class QuorumDeviceEngine(Engine):
    """
    What the device says is for the ring that it was asked about: on another
    ring there is no vote until it said so again, and none after its time.
    """

    name = "qdevice"
    serviceId = DEVICE_SERVICE
    priority = 3
    requires = ("votequorum",)

    def __init__(self) -> None:
        self._log = Logger()
        self._settings: DeviceSettings | None = None
        self._device: IQuorumDevice | None = None
        self._heuristics: Heuristics | None = None
        self._unsubscribe: Any = None
        self._ring: tuple[RingId, tuple[int, ...]] = (NO_RING, ())
        self._answer = _NOTHING
        self._registered = self._registering = False
        self._polling: Any = None
        self._trouble = ""
        self._nodes: tuple[int, ...] = ()
        self._summaries: dict[int, str] = {}
        self._said = ""

    def initialize(self, cluster: ICluster, settings: NodeSettings) -> Any:
        super().initialize(cluster, settings)
        device = self._settings = settings.quorum.device
        if device is None:
            raise _wrong(settings, "model", "missing: there is no quorum device")
        try:
            heuristics = HeuristicsSettings.of(
                _below(device, "heuristics"), device.timeout, device.syncTimeout
            )
        except InvalidParameter as error:
            raise _wrong(settings, "heuristics", str(error)) from error
        self._heuristics = Heuristics(cluster, heuristics, self._judged)
        self._nodes = _nodes(settings)
        try:
            made = cluster.make(
                IQuorumDeviceMaker, device.model, self._context(device, settings)
            )
        except NotExist as error:
            raise _wrong(settings, "model", str(error)) from error
        self._device = made
        self._unsubscribe = self._votes().subscribe(self)
        self._poll()
        return maybeDeferred(made.start, self._told)

    def _context(self, device: DeviceSettings, settings: NodeSettings) -> DeviceContext:
        totem = settings.totem
        timing = totem.timing
        return DeviceContext(
            nodeid=self.cluster.nodeid,
            incarnation=self.cluster.timeOfDay(),
            nodes=self._nodes,
            cluster=totem.clusterName,
            castSeconds=device.timeout,
            graceSeconds=timing.token + timing.consensus,
            options=_below(device, device.model),
        )

    def _votes(self) -> IVoteQuorum:
        return IVoteQuorum(self.cluster.engine("votequorum"))

    # Other settings.

    def reconfigurationProposed(self, settings: NodeSettings) -> None:
        """
        A device that changes itself does so at the next start.
        """

    def reconfigured(self, settings: NodeSettings) -> None:
        nodes = _nodes(settings)
        if self._device is not None and nodes != self._nodes:
            self._nodes = nodes
            self._device.listed(nodes)

    def shutdown(self) -> Deferred[None]:
        """
        The device does not vote any more; who counts hears it while the ring
        still runs.
        """
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._heuristics is not None:
            self._heuristics.stop()
        self.cluster.cancel(self._polling)
        if self._registered:
            self._registered = False
            try:
                self._votes().deviceUnregister(NAME).addErrback(self._notNow)
            except ServiceError as error:
                self._log.debug("The device stays registered: {why}", why=error)
        return succeed(None) if self._device is None else self._device.stop()

    # From who counts votes.

    def nodesChanged(self, ringId: RingId, members: tuple[int, ...]) -> None:
        self._ring = ringId, members
        self._answer = _NOTHING
        assert self._heuristics is not None
        self._heuristics.ringChanged()

    def quorumChanged(self, quorate: bool, nodes: tuple[NodeVotes, ...]) -> None:
        self._register()
        self._said = ""
        self._say()

    def expectedChanged(self, expected: int) -> None:
        """
        The device knows the node list.
        """

    # From the device, and from the heuristics.

    def _judged(self, health: Health) -> None:
        ringId, members = self._ring
        if self._device is not None and ringId != NO_RING:
            self._device.ask(ringId, members, health)

    def _told(self, answer: DeviceAnswer) -> None:
        """
        In a turn of our own, which contains what goes wrong.
        """
        self.cluster.callAfter(0, partial(self._answered, answer))

    def _answered(self, answer: DeviceAnswer) -> None:
        if answer.ringId != self._ring[0]:
            return
        before, self._answer = self._answer, answer
        if before.why != answer.why:
            self._log.info("Quorum device: {why}", why=answer.why)
        self._poll()
        self._say()

    # To who counts votes.

    def _register(self) -> None:
        if self._registered or self._registering:
            return
        self._registering = True
        asked = maybeDeferred(self._votes().deviceRegister, NAME)
        asked.addCallbacks(self._isRegistered, self._isNotRegistered)

    def _isRegistered(self, _: None) -> None:
        self._registering, self._registered, self._trouble = False, True, ""
        allow = self._settings and self._settings.masterWins
        if allow is not None:
            self._votes().deviceMasterWins(NAME, bool(allow))
        self._poll()

    def _isNotRegistered(self, failure: Failure) -> None:
        self._registering = False
        self._notNow(failure)
        self.cluster.callAfter(int(RETRY_SECONDS * _NS), self._register)

    def _notNow(self, failure: Failure) -> None:
        text = failure.getErrorMessage()
        if not failure.check(TryAgain) and text != self._trouble:
            self._trouble = text
            self._log.warn("The quorum device cannot vote: {why}", why=text)

    def _poll(self) -> None:
        """
        Say what the device says, while it says it, and again in time.
        """
        self.cluster.cancel(self._polling)
        assert self._settings is not None
        delay = int(self._settings.timeout / _POLLS * _NS)
        if self._registered and self._answer.ringId != NO_RING:
            vote = self._castsVote()
            if vote:
                delay = max(1, min(delay, self.validUntil() - self.cluster.now()))
            self._tell(vote)
        elif self._registered and self._ring[0] != NO_RING:
            self._waiting()
        self._polling = self.cluster.callAfter(delay, self._poll)

    def _waiting(self) -> None:
        """
        The device has not said anything about this ring: outside of a round of
        synchronization, which waits for it, it is alive all the same.
        """
        if not self.cluster.synchronizing():
            self._tell(False)

    def _tell(self, vote: bool) -> None:
        try:
            self._votes().devicePoll(NAME, vote, self._ring[0])
        except OldRing:
            return  # We hear of the new one in a moment.
        except NotExist:
            self._registered = False
            self._register()
        except ServiceError as error:
            self._notNow(Failure(error))

    def _castsVote(self) -> bool:
        return self._answer.vote and self.cluster.now() < self.validUntil()

    # What the nodes say about their devices.

    def _say(self) -> None:
        """
        Tell the others, as far as there is room: it is for people only.
        """
        text = self._summary()
        if text == self._said or self.cluster.synchronizing():
            return
        encoded = text.encode()[:LONGEST_SUMMARY_BYTES]
        try:
            self.cluster.multicast(SUMMARY, encoded)
        except TryAgain:
            return
        self._said = text

    def _summary(self) -> str:
        model = "" if self._settings is None else self._settings.model
        vote = "votes for us" if self._castsVote() else "does not vote for us"
        return f"{model}: {vote}: {self._answer.why}"

    def messageDelivered(
        self, nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        if function == SUMMARY and nodeid in self.cluster.members():
            text = body[:LONGEST_SUMMARY_BYTES].decode("utf-8", "replace")
            self._summaries[nodeid] = text

    # For everybody on this node.

    def validUntil(self) -> int:
        return int(self._answer.until * _NS) if self._answer.vote else 0

    def status(self) -> dict[str, Any]:
        device = None if self._device is None else self._device.status()
        ringId, members = self._ring
        left = (self.validUntil() - self.cluster.now()) / _NS
        heuristics = self._heuristics
        return {
            "name": NAME,
            "model": "" if self._settings is None else self._settings.model,
            "registered": self._registered,
            "trouble": self._trouble,
            "ring": str(ringId),
            "members": list(members),
            "vote": self._castsVote(),
            "voteSeconds": round(max(left, 0.0), 3),
            "why": self._answer.why,
            "heuristics": None if heuristics is None else heuristics.status(),
            "device": None if device is None else dict(device),
            "nodes": {
                str(nodeid): text
                for nodeid, text in sorted(self._summaries.items())
                if nodeid in self.cluster.members()
            },
        }

    def dump(self) -> Mapping[str, Any]:
        return self.status()


def _nodes(settings: NodeSettings) -> tuple[int, ...]:
    return tuple(sorted(entry.nodeid for entry in settings.totem.nodes))


def _below(device: DeviceSettings, name: str) -> dict[str, str]:
    """
    The options of a part of the section.
    """
    prefix = f"{name}."
    return {
        option.removeprefix(prefix): text
        for option, text in device.options
        if option.startswith(prefix)
    }


def _wrong(settings: NodeSettings, option: str, text: str) -> ConfigurationError:
    file = ", ".join(settings.sources) or "configuration"
    return ConfigurationError(Problem(file, 0, f"quorum.device.{option}", text))
