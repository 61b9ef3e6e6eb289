"""
The C{service} sections: what a file says to single service engines, those of
third parties above all.
"""

from typing import Final

from corotwist.config.check import Checked, Group
from corotwist.config.settings import ServiceSettings

_SECTION: Final = "service"
_NAME: Final = "service.name"
# The version of an interface, in corosync 1; corotwist.engines chooses ours.
_OF_COROSYNC_1: Final = "service.ver"


def serviceSettings(checked: Checked) -> tuple[ServiceSettings, ...]:
    """
    What each section says; problems go to C{checked}.
    """
    found: dict[str, ServiceSettings] = {}
    for entry in checked.entries[_SECTION]:
        name = entry.text(_NAME)
        if name is None:
            if not entry.isWrong(_NAME):
                checked.wrong(entry.place, _NAME, "missing: which engine is it for?")
        elif name in found:
            place = entry.placeOf(_NAME)
            checked.wrong(place, _NAME, f"{name} has a service section already")
        else:
            found[name] = _settings(name, entry)
    return tuple(found.values())


def _settings(name: str, entry: Group) -> ServiceSettings:
    options = tuple(
        (option.removeprefix(f"{_SECTION}."), str(given.value))
        for option, given in entry.given.items()
        if option not in {_NAME, _OF_COROSYNC_1}
    )
    return ServiceSettings(name, options, (entry.place.file, entry.place.line))
