"""
The judge of whole messages: what the users of the total order see.

It knows nothing of frames; fragmentation and packing are judged with it.
"""

from typing import Final

from attrs import define, field

from corotwist.simulator.judges.judge import Judge, Life, Summary
from corotwist.totem.membership import Configuration, RingId

# Accepted messages of one process that it has not seen ordered.
MOST_OUTSTANDING: Final = 1_000_000
SHOWN: Final = 5


@define(slots=True)
class Submission:
    """
    A message that was accepted.

    @ivar number: the sender's own, rising by one.
    """

    sender: Life
    number: int
    message: bytes


@define(eq=False)
class Reader:
    """
    One process as a listener.
    """

    heard: dict[Life, int] = field(factory=dict)
    outstanding: dict[int, Submission] = field(factory=dict)
    members: tuple[int, ...] = ()
    ringId: RingId | None = None
    heading: tuple[RingId | None, RingId] | None = None
    regular: Summary = field(factory=Summary)
    transitional: Summary = field(factory=Summary)


@define(eq=False)
class MessageJudge(Judge):
    """
    Each message at most once, unchanged, in its sender's order; the same
    messages for all who move together; own messages back.
    """

    _readers: dict[Life, Reader] = field(factory=dict)
    _lives: dict[tuple[int, int], Life] = field(factory=dict)
    _submissions: dict[tuple[int, int, int], Submission] = field(factory=dict)
    _before: dict[tuple[RingId | None, RingId], tuple[Life, tuple[int, int]]] = field(
        factory=dict
    )
    _across: dict[tuple[RingId | None, RingId], tuple[Life, tuple[int, int]]] = field(
        factory=dict
    )

    def booted(self, life: Life) -> None:
        """
        A process started to listen.
        """
        self._readers[life] = Reader()
        self._lives[life.nodeid, life.number] = life

    def ended(self, life: Life) -> None:
        """
        It listens no more; what it had sent may still be ordered.
        """
        self._readers.pop(life, None)

    def submitted(self, life: Life, number: int, message: bytes) -> None:
        """
        A message was accepted for ordering, perhaps by a process that died of
        sending something meanwhile.
        """
        submission = Submission(life, number, message)
        self._submissions[life.nodeid, life.number, number] = submission
        reader = self._readers.get(life)
        if reader is None:
            return
        outstanding = reader.outstanding
        outstanding[number] = submission
        if len(outstanding) > MOST_OUTSTANDING:
            self.blame("I8", "a queue without bound", life, messages=len(outstanding))

    def delivered(
        self, life: Life, sender: int, incarnation: int, number: int, message: bytes
    ) -> None:
        """
        A whole message was handed up.

        @param sender: the nodeid that the ring names.
        @param incarnation: which process of that node, from the message.
        @param number: its number, from the message.
        """
        reader = self._readers.get(life)
        if reader is None:
            return
        submission = self._submissions.get((sender, incarnation, number))
        if submission is None:
            self.blame(
                "P1.2", "delivered a message nobody sent", life, sender=sender, n=number
            )
            return
        origin = submission.sender
        if submission.message != message:
            self.blame(
                "P1.5",
                "delivered another message than was sent",
                life,
                origin,
                n=number,
                size=len(message),
            )
        last = reader.heard.get(origin, 0)
        if number <= last:
            self.blame(
                "P1.4" if number == last else "P5",
                "delivered a message twice, or two in the wrong order",
                life,
                origin,
                n=number,
                after=last,
            )
        reader.heard[origin] = max(number, last)
        if origin is life:
            reader.outstanding.pop(number, None)
        summary = reader.regular if reader.heading is None else reader.transitional
        summary.add(sender, incarnation, number)

    def overtook(self, life: Life, sender: int) -> None:
        """
        A message was handed up on a ring whose services are not in step yet.
        """
        self.blame(
            "S8",
            "delivered a message in the middle of synchronization",
            life,
            of=sender,
        )

    def configured(self, life: Life, configuration: Configuration) -> None:
        """
        A configuration was handed up.
        """
        reader = self._readers.get(life)
        if reader is None:
            return
        if configuration.transitional:
            reader.heading = (reader.ringId, configuration.ringId)
            if reader.ringId is not None:
                self._compare(
                    self._before,
                    life,
                    reader.heading,
                    reader.regular,
                    "before the ring changed",
                )
            return
        if reader.heading is not None and reader.ringId is not None:
            self._compare(
                self._across,
                life,
                reader.heading,
                reader.transitional,
                "while the ring changed",
            )
        reader.ringId = configuration.ringId
        reader.members = configuration.members
        reader.heading = None
        reader.regular, reader.transitional = Summary(), Summary()

    def _compare(
        self,
        known: dict[tuple[RingId | None, RingId], tuple[Life, tuple[int, int]]],
        life: Life,
        heading: tuple[RingId | None, RingId],
        summary: Summary,
        when: str,
    ) -> None:
        here = summary.frozen()
        other, there = known.setdefault(heading, (life, here))
        if here != there:
            self.blame(
                "P4",
                f"went on together, but delivered different messages {when}",
                life,
                other,
                ring=heading[0],
                here=here[0],
                there=there[0],
            )

    # In quiet.

    def outstanding(self, lives: list[Life]) -> int:
        """
        How many accepted messages their senders have not got back.
        """
        return sum(len(self._readers[life].outstanding) for life in lives)

    def agreement(self, lives: list[Life]) -> None:
        """
        Everything accepted has been ordered, and all of a ring know the same.
        """
        for life in lives:
            outstanding = self._readers[life].outstanding
            if outstanding:
                self.blame(
                    "L3",
                    "never delivered what it accepted",
                    life,
                    messages=len(outstanding),
                    first=[*outstanding][:SHOWN],
                )
        first: dict[RingId | None, tuple[Life, tuple[int, int]]] = {}
        for life in lives:
            reader = self._readers[life]
            here = reader.regular.frozen()
            other, there = first.setdefault(reader.ringId, (life, here))
            if here != there:
                self.blame(
                    "L2",
                    "in one ring, but delivered different messages",
                    life,
                    other,
                    ring=reader.ringId,
                    here=here[0],
                    there=there[0],
                )
