"""
One deliberate error: which lines of production code are replaced by which,
and the import hook that does it.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

from attrs import define, frozen


@frozen
class Edit:
    """
    A text that occurs once in a module, and what stands in its place.
    """

    module: str
    before: str
    after: str

    def applied(self, source: str) -> str:
        """
        The module with this error.

        @raise ValueError: the text is not there, or more than once.
        """
        found = source.count(self.before)
        if found != 1:
            raise ValueError(f"{found} times in {self.module}: {self.before!r}")
        return source.replace(self.before, self.after)


@frozen
class Mutant:
    """
    An error.

    @ivar name: what the code does, after "it".
    @ivar edits: how it comes to do so.
    @ivar services: only seen in whole nodes with clients.
    @ivar harmless: why nobody could notice, if that is so.
    """

    name: str
    edits: Sequence[Edit]
    services: bool = False
    harmless: str = ""


def mutant(name: str, module: str, before: str, after: str, **others: object) -> Mutant:
    """
    An error in one place.
    """
    edit = Edit(f"corotwist.{module}", before, after)
    return Mutant(name, (edit,), **others)  # type: ignore[arg-type]


@define
class Changed(SourceLoader):
    """
    Loads a module with other text than its file has.
    """

    path: str
    text: str

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str) -> bytes:
        return self.text.encode()

    def path_stats(self, path: str) -> Mapping[str, float]:  # type: ignore[override]
        # Compiled anew each time: a cache would be of another text.
        raise OSError


class Hook(MetaPathFinder):
    """
    Finds the modules of a mutant before anybody else does.
    """

    def __init__(self, edits: Sequence[Edit]) -> None:
        self._modules: dict[str, list[Edit]] = {}
        for edit in edits:
            self._modules.setdefault(edit.module, []).append(edit)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """
        See C{MetaPathFinder}.
        """
        edits = self._modules.get(fullname)
        found = PathFinder.find_spec(fullname, path) if edits else None
        if not edits or found is None or found.origin is None:
            return None
        text = Path(found.origin).read_text()
        for edit in edits:
            text = edit.applied(text)
        return spec_from_loader(fullname, Changed(found.origin, text))


def install(edits: Sequence[Edit]) -> None:
    """
    From now on, imported modules have these errors.

    @raise RuntimeError: one of them is imported already.
    """
    for edit in edits:
        if edit.module in sys.modules:
            raise RuntimeError(f"{edit.module} is imported already")
    sys.meta_path.insert(0, Hook(edits))
