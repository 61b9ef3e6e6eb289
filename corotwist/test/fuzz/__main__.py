"""
C{python -m corotwist.test.fuzz}: look for an input that does harm.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Final

from twisted.python import usage

from corotwist.test.fuzz import corpus
from corotwist.test.fuzz.hunt import Crash, smallest, starting
from corotwist.test.fuzz.lines import Lines
from corotwist.test.fuzz.target import Target
from corotwist.test.fuzz.targets import targets

DEFAULT_SECONDS: Final = 60
# Of an input, for atheris; a session has many parts.
LONGEST: Final = 2048
LONGEST_SESSION: Final = 8192
# A single input that takes so long hangs.
HANG_SECONDS: Final = 20
_MEMORY_MEGABYTES: Final = 2048
# Inputs between two looks at the clock.
_ROUND: Final = 64
_ARTIFACTS: Final = ("crash-*", "timeout-*", "oom-*")


class NotRun(Exception):
    """
    Nothing was tried.
    """


class FuzzOptions(usage.Options):
    """
    What the command understands.
    """

    synopsis = "Usage: python -m corotwist.test.fuzz TARGET [options]"
    longdesc = (
        "Damage what TARGET takes in, until it does what it must not; 'all' stands"
        " for every target, and without one they are listed.  Inputs that reach"
        " something new are kept in the directory of --corpus."
    )
    optParameters = [
        ["seconds", "s", DEFAULT_SECONDS, "How long, for each target.", float],
        ["seed", None, None, "The same makes the same inputs; by default, a new one."],
        ["corpus", "c", None, "Where inputs are kept that reach something new."],
        ["replay", "r", None, "Try the input in this file of hex digits; - is stdin."],
    ]
    optFlags = [
        ["own", "o", "Do without atheris, though it is there."],
        ["merge", "m", "Take from --corpus into the package what reaches more."],
    ]

    def parseArgs(self, name: str = "") -> None:
        self["name"] = name


def run(argv: Sequence[str], say: Callable[[str], None] = print) -> int:
    """
    @return: 0, 1 when an input did harm or atheris does not run, or 2 for a
        wrong command line.
    """
    options = FuzzOptions()
    known = targets()
    try:
        options.parseOptions(_targetLast(argv))
        chosen = _chosen(options, known)
    except usage.UsageError as problem:
        say(f"fuzz: {problem}\n{options}")
        return 2
    if not chosen:
        for target in known.values():
            say(f"{target.name:18} {target.about}")
    try:
        crashes = [_one(target, options, say) for target in chosen]
    except NotRun as problem:
        say(f"fuzz: {problem}")
        return 1
    return int(any(crashes))


def _targetLast(argv: Sequence[str]) -> list[str]:
    """
    Twisted takes options before the rest only.
    """
    if argv and not argv[0].startswith("-"):
        return [*argv[1:], argv[0]]
    return list(argv)


def _chosen(options: FuzzOptions, known: dict[str, Target]) -> list[Target]:
    name = options["name"]
    if name in {"", "all"}:
        return list(known.values()) if name else []
    if name not in known:
        raise usage.UsageError(f"no target {name!r}; there are {', '.join(known)}")
    return [known[name]]


def _one(target: Target, options: FuzzOptions, say: Callable[[str], None]) -> bool:
    """
    @return: did an input do harm?
    """
    place = Path(options["corpus"] or Path(tempfile.gettempdir()) / "corotwist-fuzz")
    directory = place / target.name
    if options["replay"] is not None:
        return _replayed(target, options["replay"], say)
    if options["merge"]:
        had, has = corpus.merge(target, _files(directory))
        say(f"{target.name}: {had} inputs were kept, {has} are")
        return False
    directory.mkdir(parents=True, exist_ok=True)
    seconds, seed = options["seconds"], options["seed"] or os.urandom(4).hex()
    if options["own"] or find_spec("atheris") is None:
        if not options["own"]:
            say("atheris is not installed: damage is drawn, and lines are counted")
        crash = _drawn(target, directory, seconds, seed, say)
    else:
        crash = _guided(target, directory, seconds, seed, say)
    if crash is not None:
        say(str(smallest(crash)))
    return crash is not None


def _replayed(target: Target, path: str, say: Callable[[str], None]) -> bool:
    text = sys.stdin.read() if path == "-" else Path(path).read_text()
    data = bytes.fromhex(text)
    error = target.tried(data)
    if error is None:
        say(f"{target.name}: {len(data)} bytes do no harm")
        return False
    say(str(Crash(target, data, error)))
    return True


def _files(directory: Path) -> Iterator[bytes]:
    return (path.read_bytes() for path in sorted(directory.glob("*")))


# With what every Python has.


def _drawn(
    target: Target,
    directory: Path,
    seconds: float,
    seed: str,
    say: Callable[[str], None],
) -> Crash | None:
    """
    Our own damage; what reaches a new line is damaged further.
    """
    reached = Lines()
    mutator = target.mutator(starting(target), seed)
    for data in (*starting(target), *_files(directory)):
        if reached.reachedBy(target, data):
            mutator.learned(data)
    inputs, case, found = iter(mutator), 0, 0
    end = time.monotonic() + seconds
    while not case or time.monotonic() < end:
        for data in islice(inputs, _ROUND):
            case += 1
            error = target.tried(data)
            if error is not None:
                return Crash(target, data, error, seed, case)
            if reached.reachedBy(target, data):
                found += 1
                mutator.learned(data)
                _keep(directory, data)
    say(
        f"{target.name}: {case} inputs of seed {seed} in {seconds:.0f} s, {found} of"
        f" them reached something new, {len(reached.reached)} lines in all"
    )
    return None


def _keep(directory: Path, data: bytes) -> None:
    (directory / sha256(data).hexdigest()[:16]).write_bytes(data)


# With atheris.


def _guided(
    target: Target,
    directory: Path,
    seconds: float,
    seed: str,
    say: Callable[[str], None],
) -> Crash | None:
    """
    In a process of its own, which libFuzzer ends.
    """
    for data in starting(target):
        _keep(directory, data)
    artifacts = directory.parent / f"{target.name}.harm"
    artifacts.mkdir(exist_ok=True)
    for path in artifacts.glob("*"):
        path.unlink()
    longest = LONGEST_SESSION if target.session else LONGEST
    command = [
        *(sys.executable, "-m", "corotwist.test.fuzz.guided", target.name),
        *(f"-max_total_time={max(1, int(seconds))}", f"-max_len={longest}"),
        *(f"-seed={int(sha256(seed.encode()).hexdigest()[:7], 16) or 1}",),
        *(f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={_MEMORY_MEGABYTES}"),
        *(f"-artifact_prefix={artifacts}/", "-print_final_stats=1"),
        str(directory),
    ]
    log = artifacts.with_suffix(".log")
    # Wherever we were found, the other process finds us too.
    found = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
    }
    with log.open("wb") as output:
        ended = subprocess.run(
            command, env=found, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    for pattern in _ARTIFACTS:
        for path in artifacts.glob(pattern):
            return _crashed(target, path, say)
    if ended.returncode:
        raise NotRun(f"{target.name}: atheris ended with {ended.returncode}, see {log}")
    say(f"{target.name}: {_executed(log)}, nothing found; inputs are in {directory}")
    return None


def _crashed(target: Target, path: Path, say: Callable[[str], None]) -> Crash | None:
    """
    What libFuzzer wrote down, tried again.
    """
    data = path.read_bytes()
    say(f"{target.name}: {path.name} did harm")
    error = target.tried(data)
    if error is None:
        say(f"but not again, in a new world: it takes too long, or too much; {path}")
        error = RuntimeError(path.name)
    return Crash(target, data, error)


def _executed(log: Path) -> str:
    """
    How many inputs libFuzzer says it tried.
    """
    name = "stat::number_of_executed_units:"
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith(name):
            return f"{line.removeprefix(name).strip()} inputs"
    return "some inputs"


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
