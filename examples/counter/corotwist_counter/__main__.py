"""
C{python -m corotwist_counter SOCKET add NAME [AMOUNT]}, or C{… value NAME}.
"""

import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from corotwist.errors import ServiceError
from corotwist.ipc.client import connect
from corotwist_counter.ipc import Counters


async def answer(reactor: Any, path: str, *words: str) -> int:
    """
    Ask the node, and return the value.
    """
    client = await connect(reactor, path)
    counters = Counters(client)
    try:
        match words:
            case ["add", name]:
                return await counters.add(name)
            case ["add", name, amount]:
                return await counters.add(name, int(amount))
            case ["value", name]:
                return await counters.value(name)
        raise SystemExit(__doc__)
    finally:
        await client.stopService()


async def tell(reactor: Any, *arguments: str) -> None:
    """
    Print the value, or what is wrong.
    """
    try:
        value = await answer(reactor, *arguments)
    except ServiceError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    sys.stdout.write(f"{value}\n")


def main(arguments: Sequence[str]) -> None:
    """
    The command line.
    """
    if len(arguments) < 3:  # noqa: PLR2004
        raise SystemExit(__doc__)
    react(lambda reactor: Deferred.fromCoroutine(tell(reactor, *arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
