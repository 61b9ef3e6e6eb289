"""
The settings of the quorum device.
"""

from pathlib import Path
from typing import Final, cast

from corotwist.config.check import Checked
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


def deviceSettings(checked: Checked, votes: int) -> DeviceSettings | None:
    """
    The device, if there is one.

    @param votes: of all nodes.
    """
    top = checked.top
    model = top.text("quorum.device.model")
    if model is None:
        return None
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
