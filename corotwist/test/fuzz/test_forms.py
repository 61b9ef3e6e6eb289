"""
Forms of messages and sectors that no target of the hunt has among its seeds:
whatever the bytes are, they are understood or refused.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from corotwist.engines import fencing, majority, votemessages
from corotwist.engines.basis import Basis, Memory
from corotwist.engines.compact import Header
from corotwist.engines.external import Says, Word
from corotwist.engines.interfaces import ViewId
from corotwist.engines.parting import Farewell
from corotwist.engines.standing import Side, Standing
from corotwist.errors import WireError
from corotwist.quorumdevice.slots import Slot, State
from corotwist.totem.membership import RingId

TRIES: Final = 1500
RING: Final = RingId(8, 1)
MEMORY: Final = Memory(
    Basis(1, 3, ((1, 1), (2, 1), (3, 1)), 1), (Basis(2, 2, ((1, 1), (2, 1))),)
)
CASE: Final = b'{"nodeid":3,"ring":[8,1],"off":true,"attempts":1,"text":"off"}'

Decode = Callable[[bytes], object]


def headed(decode: Callable[[Header, bytes], object]) -> Decode:
    """
    Of what comes behind a header.
    """
    return lambda body: decode(Header.decode(body), body)


def reencoded(memory: Memory) -> Memory:
    """
    What is remembered is told again.
    """
    return Memory.decode(memory.encode())


def told(message: Any) -> object:
    """
    What is done with what was said of votes.
    """
    if isinstance(message, votemessages.Remembered):
        memory = reencoded(Memory.merged([message.memory, MEMORY]))
        return memory.permits({1: 1, 2: 1}), memory.epoch
    return message


FORMS: Final[dict[str, tuple[bytes, Decode]]] = {
    "standing": (
        Standing(RING, Side(ViewId(RING, 0), True, 3, -1), False).encode(),
        headed(Standing.decode),
    ),
    "farewell": (Farewell(RING, "stopped").encode(), headed(Farewell.decode)),
    "remembered": (
        votemessages.encode(votemessages.Remembered(MEMORY)),
        lambda body: told(votemessages.decode(body)),
    ),
    "accept": (
        votemessages.encode(votemessages.Accept(1, b"12345678")),
        votemessages.decode,
    ),
    "expecting": (b"\3\0\0\0", lambda body: majority._decode(body, "<")),
    "word": (Word(Says.YES, RING, "because").encode(), Word.decode),
    "case": (CASE, lambda body: fencing.Case.of(fencing._decode(body))),
    "sector": (
        Slot(1, 2, 3, State.HOLDING, 1, RING, (1, 2)).encode("c"),
        lambda sector: Slot.decode(sector, "c"),
    ),
}


class FormTests(SynchronousTestCase):
    """
    One form after the other.
    """

    def test_forms(self) -> None:
        """
        Each is understood as it is, and refused or understood when it is cut
        or changed; nothing else happens.
        """
        for name, (whole, decode) in FORMS.items():
            decode(whole)
            random = Random(name)
            for number in range(TRIES):
                body = changed(random, whole, number)
                try:
                    decode(body)
                except WireError:
                    continue
                except Exception as error:  # noqa: BLE001 - That is what we look for.
                    self.fail(f"{name}: {body.hex()}: {error!r}")


def changed(random: Random, whole: bytes, number: int) -> bytes:
    """
    Shorter, longer, or with other bytes in it.
    """
    if number <= min(len(whole), TRIES // 3):
        return whole[:number]
    body = bytearray(whole)
    for _ in range(random.randint(1, 4)):
        body[random.randrange(len(body))] = random.choice(
            (0, 1, 0x7F, 0xFF, 0x22, 0x39)
        )
    if random.random() < 0.2:
        body += random.randbytes(random.randint(1, 20))
    return bytes(body)
