"""
Hunt all errors, and print the table of docs/testing.md::

    python -m corotwist.test.mutants [--seeds N] [--only TEXT] [--record]

or find each again in the way in which it was last found::

    python -m corotwist.test.mutants --check
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from os import cpu_count
from typing import Final

from corotwist.test.mutants import killers
from corotwist.test.mutants.catalogue import MUTANTS, ROOMS, STORIES
from corotwist.test.mutants.hunt import Find, Task, hunt
from corotwist.test.mutants.mutant import Mutant

SEEDS: Final = 200

Finds = Mapping[str, Find | None]


def main(argv: Sequence[str]) -> int:
    """
    @return: the exit status; 1 when one was not found.
    """
    parser = argparse.ArgumentParser(prog="python -m corotwist.test.mutants")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="drawn runs of each")
    parser.add_argument(
        "--only",
        default="",
        help="those with one of these in their names, apart by commas",
    )
    parser.add_argument("--jobs", type=int, default=cpu_count() or 1)
    parser.add_argument("--record", action="store_true", help="for --check")
    parser.add_argument("--check", action="store_true", help="find them again")
    parser.add_argument("--table", action="store_true", help="as they were found last")
    options = parser.parse_args(argv)
    chosen = [
        mutant
        for name, mutant in MUTANTS.items()
        if any(text in name for text in options.only.split(",")) and not mutant.harmless
    ]
    if options.table:
        _print(killers.load())
        return 0
    if options.check:
        finds = _run(_again(chosen), options.jobs)
    else:
        seeds = range(options.seeds)
        tasks = [Task(m, seeds, STORIES[m.name]) for m in chosen]
        finds = _run(tasks, options.jobs)
        _print(finds)
        if options.record:
            killers.save({name: find for name, find in finds.items() if find})
    missed = [m.name for m in chosen if finds.get(m.name) is None]
    for name in missed:
        sys.stderr.write(f"nobody saw that it {name}\n")
    return 1 if missed else 0


def _run(tasks: Iterable[Task], jobs: int) -> Finds:
    finds = {}
    for mutant, find in hunt(tasks, jobs):
        finds[mutant.name] = find
        sys.stderr.write(f"{mutant.name}: {find}\n")
    return finds


def _again(chosen: Iterable[Mutant]) -> list[Task]:
    known = killers.load()
    return [known[m.name].again(m) for m in chosen if m.name in known]


def _print(finds: Finds) -> None:
    for name, room in ROOMS.items():
        rows = [m for m in room.mutants if m.name in finds or m.harmless]
        if rows:
            sys.stdout.write(f"\n| {name}: it… | found by | runs | seconds | names |\n")
            sys.stdout.write("|---|---|---|---|---|\n")
        for mutant in rows:
            row = _row(mutant, finds.get(mutant.name))
            sys.stdout.write(f"| {mutant.name} | {row}\n")


def _row(mutant: Mutant, find: Find | None) -> str:
    if find is None:
        return f"nobody | | | {mutant.harmless} |"
    by = find.by.removeprefix("corotwist.test.").replace("scenarios.", "")
    if find.seed is None:
        module, _, test = by.rsplit(".", 2)
        by = f"{module}, {test}"
    runs = "" if find.seed is None else str(find.runs)
    return f"{by} | {runs} | {find.seconds:.1f} | {find.promise} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
