"""
What is fuzzed: a place where bytes come in, and what it may say about them.
"""

from collections.abc import Callable, Sequence
from typing import Final

from attrs import field, frozen

from corotwist.test.fuzz.mutate import BYTES, Damage, Mutator

Run = Callable[[bytes], None]

# Of memory, for each byte of input; and besides, whatever the input is.
SWELL: Final = 4
ROOM_BYTES: Final = 64 << 10


class Wrong(AssertionError):
    """
    Nothing was raised, and yet what came of the input is not right.
    """


@frozen
class Target:
    """
    A place where bytes come in.

    @ivar about: a sentence for people.
    @ivar begin: makes a world in which nothing has happened, and gives back
        what takes an input in it.
    @ivar refusals: what it may raise; anything else is a bug.
    @ivar seeds: makes valid inputs, and such as once were trouble.
    @ivar session: an input is a run of parts, one after the other in one world.
    @ivar damages: how inputs, or the parts of a session, are changed.
    @ivar words: pieces of text that mean something there.
    @ivar share: how many cases it gets, against a parser of bytes; what needs a
        world takes longer.
    @ivar swell: bytes of memory for each byte of input.
    @ivar roomBytes: what any input may need besides.
    @ivar alone: the parser without our checks of what it gives back; that is
        what is measured.
    @ivar growing: makes inputs of about so many bytes, each in its own way
        hard to take apart.
    """

    name: str
    about: str
    begin: Callable[[], Run]
    seeds: Callable[[], Sequence[bytes]]
    refusals: tuple[type[Exception], ...] = ()
    session: bool = False
    damages: tuple[Damage, ...] = BYTES
    words: tuple[bytes, ...] = ()
    share: float = 1.0
    swell: float = SWELL
    roomBytes: int = ROOM_BYTES
    alone: Run | None = None
    growing: Callable[[int], Sequence[bytes]] = field(default=lambda size: ())

    def tried(self, data: bytes) -> Exception | None:
        """
        @return: what is wrong with what came of C{data}; L{None} when it was
            taken, or refused as it should be.
        """
        return attempted(self.begin(), self.refusals, data)

    def measurable(self) -> Run:
        """
        What takes an input, in a world in which nothing has happened.
        """
        return self.alone or self.begin()

    def mutator(self, seeds: Sequence[bytes], seed: str) -> Mutator:
        """
        Endless damaged inputs.

        @param seed: the same makes the same ones.
        """
        return Mutator(
            seeds, seed, self.damages, words=self.words, session=self.session
        )


def attempted(
    run: Run, refusals: tuple[type[Exception], ...], data: bytes
) -> Exception | None:
    """
    See L{Target.tried}; for a world that goes on being used.
    """
    try:
        run(data)
    except refusals:
        return None
    except Exception as error:  # noqa: BLE001 - That is what we are looking for.
        return error
    return None
