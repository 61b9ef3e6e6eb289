"""
The settings of fencing: section C{fencing}.
"""

from typing import Final

from corotwist.config.check import Checked
from corotwist.config.settings import FencingSettings

_OPTIONS: Final = "fencing.options."
_MS: Final = 1000


def fencingSettings(checked: Checked) -> FencingSettings:
    """
    What the file says.
    """
    top = checked.top
    agent, command = top.text("fencing.agent"), top.text("fencing.command")
    if agent == "command" and command is None:
        checked.wrongIn(top, "fencing.command", "missing: agent 'command' runs it")
    options = {
        name.removeprefix(_OPTIONS): str(given.value)
        for name, given in sorted(top.given.items())
        if name.startswith(_OPTIONS)
    }
    if command is not None:
        options["command"] = command
    return FencingSettings(
        agent,
        tuple(options.items()),
        top.number("fencing.timeout") / _MS,
        top.number("fencing.attempts"),
        top.number("fencing.delay") / _MS,
    )
