"""
The judge of quorate groups: what was delivered there is one history, of quorate
views only.
"""

from collections.abc import Iterable
from math import inf
from typing import Final, Protocol

from attrs import define, field

from corotwist.engines.groupsreceipts import LEFT_OVER
from corotwist.engines.interfaces import NO_VIEW, Receipt, View, ViewId
from corotwist.errors import BadHandle, NotQuorate
from corotwist.simulator.judges.judge import Judge, Life

SHOWN: Final = 5

# A message: whose it is, and its how manieth.
Name = tuple[int, int]


class Member(Protocol):
    """
    A client in a quorate group.
    """

    identity: int
    life: Life


@define(eq=False)
class Stay:
    """
    What one client saw of one view.

    @ivar since: it was in the group behind this place; L{None} when it came with
        what the ring left, nobody knows where.
    @ivar seen: what it got, by its place.
    @ivar wentOn: from here it went on to the next quorate view, on the side that
        goes on.
    """

    member: Member
    since: int | None
    seen: dict[int, Name] = field(factory=dict)
    wentOn: bool = False

    @property
    def last(self) -> int:
        """
        Where it got something last.
        """
        return max(self.seen, default=self.since or 0)

    @property
    def first(self) -> float:
        """
        Behind which place it got everything.
        """
        if self.since is not None:
            return self.since
        return min(self.seen) - 1 if self.seen else inf


@define(eq=False)
class GatedJudge(Judge):
    """
    G1 to G5.

    G3 and G4 are promised where no two partitions are quorate at once: where a
    majority means something.

    @ivar honest: does it?
    @ivar counts: how often sends were answered, and with what.
    """

    honest: bool = False
    counts: dict[str, int] = field(factory=dict)
    _stays: dict[ViewId, list[Stay]] = field(factory=dict)
    _orders: dict[ViewId, dict[int, tuple[Name, Life]]] = field(factory=dict)
    _views: dict[Life, View] = field(factory=dict)
    _quorate: dict[Life, View] = field(factory=dict)
    _members: dict[int, tuple[Member, Stay | None]] = field(factory=dict)
    _stopping: set[Life] = field(factory=set)
    _next: dict[ViewId, tuple[ViewId, Life]] = field(factory=dict)
    _answers: dict[Name, Receipt | BaseException | None] = field(factory=dict)
    _delivered: dict[Name, set[int]] = field(factory=dict)

    # Views.

    def installed(self, life: Life, view: View) -> None:
        """
        A process has another view.
        """
        before = self._views.get(life, NO_VIEW)
        self._views[life] = view
        if view.quorate:
            self._stays.setdefault(view.viewId, [])
            self._chained(life, before, view)
        for member, stay in list(self._members.values()):
            if member.life is not life:
                continue
            if stay is not None and before.quorate and view.quorate:
                stay.wentOn = view.goesOn and life not in self._stopping
            self._members[member.identity] = member, self._begin(member, view, 0)

    def _begin(self, member: Member, view: View, since: int | None) -> Stay | None:
        if not view.quorate:
            return None
        stay = Stay(member, since)
        self._stays.setdefault(view.viewId, []).append(stay)
        return stay

    def _chained(self, life: Life, before: View, view: View) -> None:
        """
        Each quorate view is followed by one at most.
        """
        if not self.honest or not before.quorate or not view.goesOn:
            return
        after, other = self._next.setdefault(before.viewId, (view.viewId, life))
        if after != view.viewId:
            self.blame(
                "G4",
                "two views go on from one",
                life,
                other,
                before=before.viewId,
                here=view.viewId,
                there=after,
            )

    # Members.

    def joined(self, member: Member, place: int | None) -> None:
        """
        A client is in the group, from this place on, if that is known.
        """
        view = self._views.get(member.life, NO_VIEW)
        stay = self._begin(member, view, place)
        self._members[member.identity] = member, stay

    def left(self, member: Member) -> None:
        """
        It is not any more, or has ended.
        """
        self._members.pop(member.identity, None)

    def stopping(self, life: Life) -> None:
        """
        A process was asked to leave: its clients are sent away at some time.
        """
        self._stopping.add(life)

    def ended(self, life: Life) -> None:
        """
        Its process runs no more.
        """
        self._stopping.discard(life)
        for member, _ in list(self._members.values()):
            if member.life is life:
                self.left(member)
        self._views.pop(life, None)

    # Messages.

    def sent(self, name: Name) -> None:
        """
        A message was given to the engine.
        """
        self._answers[name] = None

    def answered(self, member: Member, name: Name, answer: object) -> None:
        """
        With a receipt, or with why not.
        """
        told = type(answer).__name__
        self.counts[told] = self.counts.get(told, 0) + 1
        if not isinstance(answer, Receipt | BaseException):
            self.blame("G5", "was answered with no receipt", member.life, name=name)
            return
        self._answers[name] = answer
        takers = self._delivered.get(name, set())
        if not isinstance(answer, Receipt):
            if member.identity in takers or (takers and not _unknown(answer)):
                text = "was refused what was delivered"
                self.blame("G5", text, member.life, name=name, why=repr(answer))
            return
        stays = self._stays.get(answer.viewId)
        if stays is None:
            text = "got a receipt of a view that is not quorate"
            self.blame("G5", text, member.life, name=name, view=answer.viewId)
        there = self._orders.get(answer.viewId, {}).get(answer.sequence)
        if takers and (there is None or there[0] != name):
            text = "was told another place than others saw"
            self.blame("G2", text, member.life, name=name, place=answer.sequence)

    def delivered(self, member: Member, place: int, name: Name) -> None:
        """
        A client got a message.
        """
        view = self._views.get(member.life, NO_VIEW)
        if not view.quorate:
            text = "got a message in a view that is not quorate"
            self.blame("G1", text, member.life, name=name, view=view.viewId)
            return
        self._delivered.setdefault(name, set()).add(member.identity)
        if name not in self._answers:
            self.blame("G2", "got what nobody sent", member.life, name=name)
        answer = self._answers.get(name)
        if isinstance(answer, BaseException) and (
            name[0] == member.identity or not _unknown(answer)
        ):
            self.blame("G5", "got what was refused", member.life, name=name)
        told = isinstance(answer, Receipt) and (answer.viewId, answer.sequence)
        if told and told != (view.viewId, place):
            text = "got a message at another place than its sender was told"
            self.blame("G2", text, member.life, place=place, told=told)
        order = self._orders.setdefault(view.viewId, {})
        other, life = order.setdefault(place, (name, member.life))
        if other != name:
            text = "two got different messages at one place"
            self.blame("G2", text, member.life, life, place=place, view=view.viewId)
        _, stay = self._members.get(member.identity, (member, None))
        if stay is None or place <= stay.last:
            text = "got a message out of its time"
            self.blame("G2", text, member.life, place=place, view=view.viewId)
            return
        stay.seen[place] = name

    # In quiet.

    def agreement(self) -> None:
        """
        All that was delivered in a view is one history: nobody lacks anything
        in the middle of it, and who went on lacks nothing of it.
        """
        for viewId, stays in self._stays.items():
            order = self._orders.get(viewId, {})
            for stay in stays:
                self._whole(viewId, stay, order)

    def _whole(
        self, viewId: ViewId, stay: Stay, order: dict[int, tuple[Name, Life]]
    ) -> None:
        complete = stay.wentOn and self.honest
        last = max(order, default=0) if complete else stay.last
        missing = _missing(order, stay, last)
        if missing:
            life = stay.member.life
            self.blame(
                "G3" if complete else "G2",
                "went on without what another got" if complete else "missed messages",
                life,
                order[missing[0]][1],
                view=viewId,
                places=missing[:SHOWN],
            )

    def unanswered(self) -> int:
        """
        How many sends of members that are there were not answered.
        """
        return sum(
            answer is None and who in self._members
            for (who, _), answer in self._answers.items()
        )


def _missing(order: Iterable[int], stay: Stay, last: int) -> list[int]:
    return [
        place
        for place in sorted(order)
        if stay.first < place <= last and place not in stay.seen
    ]


def _unknown(error: BaseException) -> bool:
    """
    Does the sender not know what became of it at the others?
    """
    if isinstance(error, BadHandle):
        return True
    return isinstance(error, NotQuorate) and LEFT_OVER in str(error)
