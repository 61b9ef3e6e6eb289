"""
The settings of the quorum device.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from corotwist.config.check import Checked
from corotwist.config.commands import commandProblem, shippedOnly
from corotwist.config.deviceoptions import DEVICE, SECTION
from corotwist.config.kinds import Text
from corotwist.config.settings import DeviceSettings

_MS: Final = 1000
# Relative ones count from the file that names them.
_PATHS: Final = tuple(row.name for row in DEVICE if row.kind == Text("path"))
# What is said with names and types of its own.
_OURS: Final = tuple(
    f"{SECTION}{name}"
    for name in ("model", "timeout", "sync_timeout", "votes", "master_wins")
)
_COMMANDS: Final = f"{SECTION}heuristics.exec_"


def deviceSettings(checked: Checked, votes: int) -> DeviceSettings | None:
    """
    The device, if there is one.

    @param votes: of all nodes.
    """
    top = checked.top
    model = top.text("quorum.device.model")
    if model is None:
        return None
    shippedOnly(checked, "quorum.device.model", tuple(_NEEDS))
    _NEEDS.get(model, lambda _: None)(checked)
    _checkCommands(checked)
    given, wins = (
        top.value(f"quorum.device.{name}") for name in ("votes", "master_wins")
    )
    return DeviceSettings(
        model,
        top.number("quorum.device.timeout") / _MS,
        top.number("quorum.device.sync_timeout") / _MS,
        _votes(checked, model, votes) if given is None else cast("int", given),
        None if wins is None else bool(wins),
        _texts(checked),
    )


def _votes(checked: Checked, model: str, votes: int) -> int:
    """
    One for a device that parts halves.
    """
    name = f"{SECTION}{model}.algorithm"
    known = checked.top.schema.row(name) is not None
    return 1 if known and checked.top.text(name) == "ffsplit" else max(votes - 1, 0)


def _texts(checked: Checked) -> tuple[tuple[str, str], ...]:
    """
    All the rest.
    """
    top = checked.top
    texts = {}
    for name, given in sorted(top.given.items()):
        if name.startswith(SECTION) and name not in _OURS:
            text = str(given.value)
            if name in _PATHS:
                text = str(Path(given.place.file).parent / text)
            texts[name.removeprefix(SECTION)] = text
    return tuple(texts.items())


# What a device cannot do without.


def _needsDisk(checked: Checked) -> None:
    _needs(checked, "disk.path", "a file or a block device that all nodes share")


def _needsNet(checked: Checked) -> None:
    _needs(checked, "net.host", "the machine that the arbiter runs on")
    if checked.top.text(f"{SECTION}net.tls") != "off":
        for name in ("net.cert", "net.key", "net.ca"):
            hint = "a file in PEM, for TLS; or write 'tls: off' on a network of its own"
            _needs(checked, name, hint)


def _needs(checked: Checked, name: str, what: str) -> None:
    if not checked.top.text(SECTION + name):
        checked.wrongIn(checked.top, SECTION + name, f"missing: {what}")


_NEEDS: Final[dict[str, Callable[[Checked], None]]] = {
    "disk": _needsDisk,
    "net": _needsNet,
}


def _checkCommands(checked: Checked) -> None:
    """
    Of the heuristics; an empty one takes an earlier one away.
    """
    for name, given in checked.top.given.items():
        if name.startswith(_COMMANDS) and given.value:
            problem = commandProblem(str(given.value))
            if problem:
                checked.wrongIn(checked.top, name, problem)
