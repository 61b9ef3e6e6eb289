"""
Did several members of a group see the same, in the same order?
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import Factory, define, field, frozen

from corotwist.engines.interfaces import Change, GroupView, Member


@frozen
class Heard:
    """
    A message, as one member got it.
    """

    nodeid: int
    payload: bytes

    def __str__(self) -> str:
        return f"message {self.payload!r} of node {self.nodeid}"


@frozen
class Seen:
    """
    A view, as one member got it.  What came and went with it depends on where
    one was before: two parts that merge have each other join.
    """

    members: tuple[Member, ...]
    left: tuple[Change, ...] = field(default=(), eq=False)
    joined: tuple[Change, ...] = field(default=(), eq=False)

    def __str__(self) -> str:
        return f"view of {nodes(self.members)}"


@frozen
class Interrupted:
    """
    The connection to the node was lost here.
    """

    reason: str

    def __str__(self) -> str:
        return f"interruption: {self.reason}"


Entry = Heard | Seen | Interrupted


def nodes(members: Sequence[Member]) -> str:
    """
    Members for people: C{nodes 1, 2, 3}.
    """
    word = "node" if len(members) == 1 else "nodes"
    return f"{word} {', '.join(str(member.nodeid) for member in members)}"


@define
class Journal:
    """
    Everything that one member of the group got, in order.

    @ivar messages: how many messages are among the entries.
    """

    nodeid: int
    entries: list[Entry] = Factory(list)
    heard: set[bytes] = Factory(set)

    @property
    def messages(self) -> int:
        """
        How many messages there are; their payloads are all different.
        """
        return len(self.heard)

    def messageDelivered(self, sender: Member, payload: bytes) -> None:
        """
        For the client's callback.
        """
        self.entries.append(Heard(sender.nodeid, payload))
        self.heard.add(payload)

    def viewChanged(self, view: GroupView) -> None:
        """
        For the client's callback.
        """
        self.entries.append(Seen(view.members, view.left, view.joined))

    def interrupted(self, reason: str) -> None:
        """
        For the client's callback.
        """
        self.entries.append(Interrupted(reason))

    def lives(self) -> list[list[Entry]]:
        """
        The entries between interruptions.
        """
        found: list[list[Entry]] = [[]]
        for entry in self.entries:
            if isinstance(entry, Interrupted):
                found.append([])
            else:
                found[-1].append(entry)
        return found

    def lastView(self) -> Seen | None:
        """
        The group as it is now.
        """
        return next(
            (entry for entry in reversed(self.entries) if isinstance(entry, Seen)), None
        )


def fromFirst(entries: Sequence[Entry], view: Seen) -> Sequence[Entry]:
    """
    What came from the first appearance of a view on, itself included; nothing
    when it never came.
    """
    return entries[entries.index(view) :] if view in entries else ()


def fromLast(entries: Sequence[Entry], view: Seen) -> Sequence[Entry]:
    """
    Likewise, from its last appearance on.
    """
    for place in range(len(entries) - 1, -1, -1):
        if entries[place] == view:
            return entries[place:]
    return ()


def difference(
    one: Sequence[Entry], other: Sequence[Entry], names: tuple[str, str]
) -> str | None:
    """
    Where two sequences part, as a sentence; L{None} where they do not.
    """
    for place, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return f"at entry {place}, {names[0]} has {mine}, {names[1]} has {yours}"
    if len(one) == len(other):
        return None
    longer, shorter = (0, 1) if len(one) > len(other) else (1, 0)
    rest = (one, other)[longer][min(len(one), len(other)) :]
    return (
        f"{names[longer]} has {len(rest)} entries more than {names[shorter]}, the"
        f" first {rest[0]}"
    )


def survivorsDiffer(journals: Sequence[Journal], view: Seen) -> Iterator[str]:
    """
    Compare members that were never interrupted, from the first time on that
    all of them were in C{view}.
    """
    first, *others = journals
    mine = fromFirst(first.entries, view)
    for other in others:
        names = (f"node {first.nodeid}", f"node {other.nodeid}")
        found = difference(mine, fromFirst(other.entries, view), names)
        if found is not None:
            yield found


def returnedDiffers(returned: Journal, survivor: Journal, view: Seen) -> Iterator[str]:
    """
    Compare a member that was interrupted with one that was not, from C{view}
    on, with which it came back.  Before, it may have been alone for a moment.
    """
    names = (f"node {returned.nodeid}", f"node {survivor.nodeid}")
    life = fromLast(returned.lives()[-1], view)
    found = difference(life, fromLast(survivor.entries, view), names)
    if not life:
        yield f"{names[0]} did not come back"
    elif found is not None:
        yield found


def killedDiffers(killed: Journal, survivor: Journal, view: Seen) -> Iterator[str]:
    """
    Compare what a killed member had got with what a survivor got, from
    C{view} on.

    The last of it may never have reached anybody else.  But what both have is
    in the same order, without holes.
    """
    places = {
        entry: place
        for place, entry in enumerate(_messages(fromFirst(survivor.entries, view)))
    }
    mine = _messages(fromFirst(killed.lives()[0], view))
    common = [places.get(entry) for entry in mine]
    while common and common[-1] is None:
        common.pop()
    if common != list(range(len(common))):
        yield (
            f"node {killed.nodeid} had got messages in another order than node"
            f" {survivor.nodeid} before it was killed"
        )


def _messages(entries: Sequence[Entry]) -> list[Heard]:
    return [entry for entry in entries if isinstance(entry, Heard)]


def runs(entries: Sequence[Entry]) -> list[str]:
    """
    An order for people: messages of one sender in a row as one word.
    """
    words = []
    for _, group in groupby(_messages(entries), key=lambda entry: entry.nodeid):
        row = [entry.payload.decode() for entry in group]
        words.append(row[0] if len(row) == 1 else f"{row[0]}..{row[-1]}")
    return words
