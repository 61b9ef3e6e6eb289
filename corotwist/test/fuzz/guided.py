"""
One target under atheris: coverage tells it which damage leads on.

Nothing of the package is imported here before atheris can see it.  What follows
the name of the target on the command line is libFuzzer's.
"""

import sys
from importlib import import_module
from random import Random
from typing import Any, Final

INSTRUMENTED: Final = (
    "corotwist.config",
    "corotwist.engines",
    "corotwist.ipc",
    "corotwist.plugin",
    "corotwist.tools",
    "corotwist.totem",
)


def main(argv: list[str]) -> None:
    """
    Fuzz until told to stop; does not come back.

    @param argv: our own name, that of the target, and options of libFuzzer.
    """
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        targets = import_module("corotwist.test.fuzz.targets").targets()
        hunt = import_module("corotwist.test.fuzz.hunt")
    target = targets[argv[1]]
    mutator = target.mutator(hunt.starting(target), "")

    def one(data: bytes) -> None:
        error = target.tried(data)
        if error is not None:
            raise error

    def damaged(data: bytes, most: int, seed: int) -> bytes:
        """
        Half of the time by what we know of the format.
        """
        mutator.chance = Random(seed).random
        if mutator.chance() < 0.5:
            changed: bytes = atheris.Mutate(data, most)
            return changed
        changed = mutator.changed(data)
        return changed[:most]

    atheris.Setup([argv[0], *argv[2:]], one, custom_mutator=damaged)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
