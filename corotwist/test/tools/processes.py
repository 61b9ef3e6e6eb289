"""
Programs that a test runs to their end.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import corotwist

# For programs that take a few seconds on a machine with other work.
PATIENCE_SECONDS: Final = 60.0


def together(
    *commands: Sequence[str], environ: Mapping[str, str]
) -> list[tuple[int, str]]:
    """
    Run programs at the same time.

    @return: exit status and standard output of each.
    @raise subprocess.TimeoutExpired: one did not end; none is left running.
    """
    # Wherever a test is run, it is about this very package.
    around = {**environ, "PYTHONPATH": str(Path(corotwist.__file__).parents[1])}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=around, text=True)
        for command in commands
    ]
    try:
        outputs = [one.communicate(timeout=PATIENCE_SECONDS)[0] for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait()
    return [(one.returncode, out) for one, out in zip(running, outputs, strict=True)]
