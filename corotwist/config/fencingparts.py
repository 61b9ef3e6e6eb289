"""
The settings of fencing: section C{fencing}.
"""

from typing import Final

from corotwist.config.check import Checked
from corotwist.config.commands import commandProblem, shippedOnly
from corotwist.config.settings import FencingSettings

_OPTIONS: Final = "fencing.options."
_MS: Final = 1000
_AGENTS: Final = ("command", "test")
# In a command: the node that is to be off.
_NODEID: Final = "%n"


def fencingSettings(checked: Checked) -> FencingSettings:
    """
    What the file says.
    """
    top = checked.top
    agent, command = top.text("fencing.agent"), top.text("fencing.command")
    shippedOnly(checked, "fencing.agent", _AGENTS)
    if agent == "command":
        problem = _problem(command)
        if problem:
            checked.wrongIn(top, "fencing.command", problem)
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


def _problem(command: str | None) -> str:
    if command is None:
        return "missing: agent 'command' runs it"
    if _NODEID not in command:
        return f"{command!r} has no {_NODEID}: which node is to be off?"
    return commandProblem(command)
