"""
Command lines: what the options of all our programs have in common.
"""

import sys
from collections.abc import Callable, Sequence
from getopt import GetoptError, gnu_getopt
from typing import Any, Final

from twisted.python import usage
from twisted.python.reflect import accumulateClassList

import corotwist

# Of a row of C{optParameters}: where what makes a value of a text stands.
_KIND: Final = 4


class Options(usage.Options):
    """
    Twisted's, with our own version.  Options may also stand behind arguments,
    where those do not begin another command line.
    """

    def opt_version(self) -> None:
        """
        Display the version of corotwist and exit.
        """
        sys.stdout.write(f"corotwist {corotwist.__version__}\n")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        As Twisted does, with the options sorted to the front.

        @param options: the command line; by default that of the process.
        """
        words = list(sys.argv[1:] if options is None else options)
        subCommands = getattr(self, "subCommands", None)
        super().parseOptions(words if subCommands else self._sorted(words))

    def _sorted(self, words: list[str]) -> list[str]:
        try:
            found, arguments = gnu_getopt(words, self.shortOpt, self.longOpt)
        except GetoptError as error:
            if error.opt[:1].isdecimal():
                return words  # A number below zero: -5.
            raise usage.UsageError(str(error)) from error
        self._check(found)
        options = [word for name, value in found for word in self._given(name, value)]
        return [*options, "--", *arguments]

    def _check(self, found: Sequence[tuple[str, str]]) -> None:
        """
        Twisted would not say which option has a value that is none.
        """
        for name, value in found:
            kind = self._kinds().get(name)
            try:
                if kind is not None:
                    kind(value)
            except ValueError as error:
                raise usage.UsageError(f"{name} {value}: {error}") from error

    def _kinds(self) -> dict[str, Callable[[str], object]]:
        rows: list[Sequence[Any]] = []
        accumulateClassList(type(self), "optParameters", rows)
        kinds = {}
        for long, short, _, _, kind in (row for row in rows if len(row) > _KIND):
            kinds[f"--{long}"] = kind
            kinds[f"-{short}"] = kind
        return {name: kind for name, kind in kinds.items() if kind is not None}

    def _given(self, name: str, value: str) -> tuple[str, ...]:
        if name.startswith("--"):
            takesValue = f"{name[2:]}=" in self.longOpt
            return (f"{name}={value}" if takesValue else name,)
        return (name, value) if f"{name[1:]}:" in self.shortOpt else (name,)
