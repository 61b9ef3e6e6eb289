"""
Options that name a program, or a plug-in that runs one.
"""

import shlex
from collections.abc import Sequence
from difflib import get_close_matches

from corotwist.config.check import Checked


def commandProblem(text: str) -> str:
    """
    What is wrong with a command line; nothing if it can be run.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        return f"{text!r}: {error}"
    if not words or not words[0].startswith("/"):
        return f"{text!r} has no program with its whole path"
    return ""


def shippedOnly(checked: Checked, name: str, shipped: Sequence[str]) -> None:
    """
    Warn of a name that only another package can mean.
    """
    given = checked.top.text(name)
    if given is None or given in shipped:
        return
    close = get_close_matches(given, shipped, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    text = f"{given!r} is none of ours: a package that has it must be installed{hint}"
    checked.warnIn(checked.top, name, text)
