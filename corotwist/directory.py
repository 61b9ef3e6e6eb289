"""
Components in the files of a directory, loaded while the node runs.

Each Python file, or package, is a module of its own under a name that is made
from its contents: a file that changed is another module, next to what was
loaded before, which goes on as it is.
"""

import sys
from collections.abc import Iterator
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from os import geteuid
from pathlib import Path
from stat import S_IWGRP, S_IWOTH
from types import ModuleType
from typing import Any, Final

from attrs import define, field

from corotwist.errors import AccessDenied

# Before the names of modules: nothing else is called so.
PREFIX: Final = "corotwist_component_"
DIGEST_LETTERS: Final = 16
# Files of one directory, and of one package in it.
MOST_FILES: Final = 256
MOST_PACKAGE_FILES: Final = 4096


@define(eq=False)
class Directory:
    """
    One directory of components.

    It is read with the daemon's rights: a directory, or a file in it, that
    others than root and the daemon's user can change is not.

    @ivar problems: what could not be loaded the last time, in sentences.
    """

    path: str
    problems: list[str] = field(factory=list, init=False)
    _modules: dict[str, ModuleType] = field(factory=dict, init=False)

    def providers(self) -> Iterator[tuple[str, Any]]:
        """
        Everything in every file: the file's path, and what is in it.
        """
        self.problems.clear()
        for file in self._files():
            module = self._loaded(file)
            if module is not None:
                for thing in vars(module).values():
                    if not isinstance(thing, type):
                        yield str(file), thing

    def forget(self, origin: str) -> None:
        """
        Nothing of that file, as it was loaded last, is used any more.
        """
        module = self._modules.pop(origin, None)
        if module is not None:
            _unload(module.__name__)

    def _files(self) -> list[Path]:
        try:
            _mustBeOurs(Path(self.path))
            found = [p for p in sorted(Path(self.path).iterdir()) if _isModule(p)]
        except (OSError, AccessDenied) as error:
            self.problems.append(_sentence(self.path, error))
            return []
        if len(found) > MOST_FILES:
            self.problems.append(f"{self.path}: more than {MOST_FILES} files")
        return found[:MOST_FILES]

    def _loaded(self, file: Path) -> ModuleType | None:
        """
        The module of a file as it is now.
        """
        try:
            digest = _digest(file)
            name = f"{PREFIX}{file.stem}_{digest[:DIGEST_LETTERS]}"
            module = self._modules.get(str(file))
            if module is None or module.__name__ != name:
                module = self._modules[str(file)] = _load(file, name)
        except Exception as error:  # noqa: BLE001 - It is a stranger's code.
            self.problems.append(_sentence(str(file), error))
            return None
        return module


def _sentence(path: str, error: Exception) -> str:
    if isinstance(error, AccessDenied):
        return str(error)
    if isinstance(error, OSError):
        return f"{path}: {error.strerror or error}"
    return f"{path}: {type(error).__name__}: {error}"


def _isModule(path: Path) -> bool:
    if path.name.startswith((".", "_")):
        return False
    return path.suffix == ".py" or (path / "__init__.py").is_file()


def _mustBeOurs(path: Path) -> None:
    """
    @raise AccessDenied: somebody else could change it.
    @raise OSError: it is not there.
    """
    status = path.stat()
    if status.st_uid not in {0, geteuid()}:
        raise AccessDenied(f"{path}: belongs to user {status.st_uid}")
    if status.st_mode & (S_IWGRP | S_IWOTH):
        raise AccessDenied(f"{path}: others than its owner can write it")


def _parts(path: Path) -> list[Path]:
    """
    A file, or a package with all its directories and files of Python.
    """
    if path.is_file():
        return [path]
    inside = [p for p in path.rglob("*") if p.is_dir() or p.suffix == ".py"]
    if len(inside) > MOST_PACKAGE_FILES:
        raise OSError(0, f"a package of more than {MOST_PACKAGE_FILES} files")
    return [path, *sorted(inside)]


def _digest(path: Path) -> str:
    """
    Of everything that the module is made of.
    """
    digest = sha256()
    for part in _parts(path):
        _mustBeOurs(part)
        if part.is_file():
            content = part.read_bytes()
            name = part.relative_to(path.parent)
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _load(path: Path, name: str) -> ModuleType:
    """
    Import it anew, from its source, whatever compiled files lie about.
    """
    if name in sys.modules:  # Another node in this process has it.
        return sys.modules[name]
    package = path.is_dir()
    file = path / "__init__.py" if package else path
    spec = spec_from_file_location(
        name, file, submodule_search_locations=[str(path)] if package else None
    )
    assert spec is not None, "a .py file is Python"
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        code = compile(file.read_bytes(), str(file), "exec")
        exec(code, vars(module))  # noqa: S102 - It is what the directory is for.
    except BaseException:
        _unload(name)
        raise
    return module


def _unload(name: str) -> None:
    for loaded in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
        del sys.modules[loaded]
