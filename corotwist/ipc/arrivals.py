"""
What comes from the node about groups, taken apart and handed on in its order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from attrs import evolve
from twisted.protocols import amp

from corotwist.engines.interfaces import NO_VIEW, GroupView, Member, ViewId
from corotwist.engines.interfaces import View as NodesView
from corotwist.ipc.cpg import Deliver, Flow, RingChanged, View, decodeView
from corotwist.ipc.events import (
    Account,
    Audience,
    Delivery,
    Ledger,
    Origin,
    Shared,
)
from corotwist.ipc.group import ProcessGroup
from corotwist.ipc.remote import Remote
from corotwist.ipc.views import NodeView
from corotwist.ipc.wire import NOTIFICATION_COST, Partials, ViewIdentity
from corotwist.totem.membership import Guarantee, RingId

# Senders whose names we keep; all are forgotten when there are more.
KNOWN_SENDERS: Final = 4096

_GUARANTEES: Final[Mapping[bytes, Guarantee]] = {b"%d" % g: g for g in Guarantee}
_AGREED: Final = b"%d" % Guarantee.AGREED


class Receiver(Protocol):
    """
    Who has groups.
    """

    def viewReceived(
        self, group: ProcessGroup, view: GroupView, own: Member, account: Account
    ) -> None:
        """
        A group has other members.

        @param own: how the node sees us.
        """

    def returned(self, group: ProcessGroup, size: int, count: int) -> None:
        """
        Messages of ours came back.
        """

    def ringReceived(self, ringId: RingId, members: tuple[int, ...]) -> None:
        """
        The node is on another ring.
        """


class Arrivals:
    """
    The way in of one client.  What belongs to none of its groups is dealt with.

    @ivar own: how the node sees us.
    @ivar view: of the nodes, in force; L{NO_VIEW} while we do not know.
    """

    def __init__(
        self, groups: Mapping[bytes, ProcessGroup], receiver: Receiver
    ) -> None:
        self._groups = groups
        self._receiver = receiver
        self._ledger: Ledger | None = None
        self._open = False
        self.own = Member(0, 0)
        self.view = NO_VIEW
        self._viewId = NO_VIEW.viewId
        self._origins: dict[bytes, Origin] = {}
        self._partials = Partials()
        # Of a batch in parts: it says what holds for all of them.
        self._first = amp.AmpBox()
        self._senders: dict[tuple[bytes, bytes], Member] = {}

    # From the client.

    def connected(self, remote: Remote, own: Member) -> None:
        """
        The node is there.

        @param own: how it sees us.
        """
        self._ledger = Ledger(remote)
        self.own = own
        self._senders.clear()  # We may be somebody else now.
        self._open = True
        self._partials.clear()

    def connectionLost(self) -> None:
        """
        What still comes is of no use.
        """
        self._open = False

    def nodesForgotten(self) -> None:
        """
        Nobody knows who is here.
        """
        self.view = NO_VIEW
        self._inForce(NO_VIEW.viewId)

    def responders(self) -> dict[bytes, Callable[[amp.AmpBox], None]]:
        """
        Who takes which notification.
        """
        return {
            Deliver.commandName: self._deliverReceived,
            View.commandName: self._viewReceived,
            Flow.commandName: self._flowReceived,
            RingChanged.commandName: self._ringReceived,
        }

    def nodesViewed(self, view: NodeView, viewers: Sequence[Audience]) -> None:
        """
        Of the nodes, in its place of the order, for several.
        """
        if isinstance(view, NodesView):
            self.view = view
        self._inForce(view.viewId)
        ledger = self._ledger
        if ledger is None:
            return
        if not viewers:
            ledger.released(NOTIFICATION_COST)
            return
        account = Shared(ledger, len(viewers))
        for viewer in viewers:
            viewer.shown(view, account)

    def _inForce(self, viewId: ViewId) -> None:
        if viewId != self._viewId:
            self._viewId = viewId
            self._origins.clear()

    # From the node.

    def _deliverReceived(self, box: amp.AmpBox) -> None:
        ledger = self._ledger
        if ledger is None:
            return
        batch: bytes | None = box[b"batch"]
        cost = len(box[b"batch"])
        first = box
        if b"part" in box:
            first = self._first = box if box[b"part"] == b"0" else self._first
            batch = self._whole(Deliver.commandName, box, box[b"batch"])
            if batch is None:
                ledger.partReceived(cost)
                return
        group = self._groups.get(box[b"group"])
        if group is None or batch is None or not self._open:
            ledger.released(cost)
            return
        key = (box[b"nodeid"], box[b"pid"])
        sender = self._senders.get(key) or self._newSender(key)
        said = first.get(b"guarantee", _AGREED)
        origin = self._origins.get(said) or self._newOrigin(said)
        places = first.get(b"places", b"")
        group.audience.delivered(
            Delivery(group.name, sender, batch, cost, places, origin), ledger
        )
        if sender is self.own:
            self._receiver.returned(group, len(batch), int(box[b"count"]))

    def _whole(self, stream: bytes, box: amp.AmpBox, data: bytes) -> bytes | None:
        more = box[b"more"] == b"True"
        return self._partials.partReceived(stream, int(box[b"part"]), data, more=more)

    def _newSender(self, key: tuple[bytes, bytes]) -> Member:
        if len(self._senders) >= KNOWN_SENDERS:
            self._senders.clear()
        sender = Member(int(key[0]), int(key[1]))
        if sender == self.own:
            sender = self.own
        self._senders[key] = sender
        return sender

    def _newOrigin(self, said: bytes) -> Origin:
        guarantee = _GUARANTEES.get(said, Guarantee.AGREED)
        origin = self._origins[said] = Origin(self._viewId, guarantee)
        return origin

    def _viewReceived(self, box: amp.AmpBox) -> None:
        ledger = self._ledger
        if ledger is None:
            return
        whole = self._whole(View.commandName, box, box[b"view"])
        group = self._groups.get(box[b"group"])
        if whole is None or group is None or not self._open:
            ledger.released(NOTIFICATION_COST)
            return
        view = evolve(decodeView(group.name, whole), view=self._nodes(box))
        self._receiver.viewReceived(group, view, self.own, ledger)

    def _nodes(self, box: amp.AmpBox) -> NodesView:
        """
        The view of the nodes that a view of a group belongs to.  A client that
        does not follow them knows its name, and the verdict.
        """
        if b"viewid" not in box:
            return self.view
        viewId = ViewIdentity().fromString(box[b"viewid"])
        if viewId == self.view.viewId:
            return self.view
        self._inForce(viewId)
        return evolve(NO_VIEW, viewId=viewId, quorate=box[b"quorate"] == b"True")

    def _flowReceived(self, box: amp.AmpBox) -> None:
        group = self._groups.get(box[b"group"])
        if group is not None and self._open:
            group.flowReceived(box[b"paused"] == b"True")
        if self._ledger is not None:
            self._ledger.released(NOTIFICATION_COST)

    def _ringReceived(self, box: amp.AmpBox) -> None:
        values = RingChanged.parseArguments(box, None)
        ringId = RingId(values["sequence"], values["representative"])
        self._receiver.ringReceived(ringId, values["members"])
        if self._ledger is not None:
            self._ledger.released(NOTIFICATION_COST)
