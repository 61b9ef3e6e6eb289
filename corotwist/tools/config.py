"""
C{corotwist config}: read, check, convert and change configurations, without a node.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.python.usage import UsageError

from corotwist.config import loader
from corotwist.config.build import Built, Environment, load
from corotwist.config.document import Reading, Written
from corotwist.config.export import updated
from corotwist.config.formats import registry
from corotwist.config.host import Machine
from corotwist.config.keypaths import pathOf
from corotwist.config.keys import keysOf, typeOf
from corotwist.config.row import Row
from corotwist.config.schema import Schema
from corotwist.config.values import Value, ValueType
from corotwist.errors import ConfigurationError, CorotwistError, Problem
from corotwist.options import Options
from corotwist.tools.asking import envelope
from corotwist.tools.keygen import loadKey
from corotwist.totem.frame import deriveKey

WRONG_USE: Final = 2
FAILED: Final = 1
DEFAULT_FILE: Final = "/etc/corosync/corosync.conf"
STANDARD_OUTPUT: Final = "-"


class _JsonOptions(Options):
    synopsis = "[options]"
    optFlags = [["json", "j", "print JSON"]]


class _OneFileOptions(_JsonOptions):
    optParameters = [["config", "c", DEFAULT_FILE, "PATH or FORMAT:PATH"]]


class CheckOptions(_JsonOptions):
    """
    What a node would say to these files.
    """

    synopsis = "[options] FILE..."
    optParameters = [["node", None, None, "Which entry of the node list we are."]]

    def parseArgs(self, *files: str) -> None:
        """
        Later files override earlier ones.
        """
        self["files"] = files or (DEFAULT_FILE,)


class ShowOptions(_JsonOptions):
    """
    The keys that a node would have of these files.
    """

    synopsis = "[options] FILE..."

    def parseArgs(self, *files: str) -> None:
        """
        Later files override earlier ones.
        """
        self["files"] = files or (DEFAULT_FILE,)


class ConvertOptions(Options):
    """
    One document of some files, in the format of the last.
    """

    synopsis = "FILE... TARGET"

    def parseArgs(self, *files: str) -> None:
        """
        The last is written.
        """
        *self["files"], self["target"] = files or ("",)
        if not self["files"]:
            raise UsageError("convert takes a file to read and a file to write")


class GetOptions(_OneFileOptions):
    """
    One key.
    """

    synopsis = "[options] KEY"

    def parseArgs(self, key: str) -> None:  # type: ignore[override]
        """
        Its name.
        """
        self["key"] = key


class SetOptions(_OneFileOptions):
    """
    A key, and what it is to be.
    """

    synopsis = "[options] KEY TYPE VALUE"

    def parseArgs(self, key: str, label: str, value: str) -> None:  # type: ignore[override]
        """
        As corosync-cmapctl -s takes them.
        """
        self["key"], self["type"], self["value"] = key, label, value


class DeleteOptions(GetOptions):
    """
    A key that is to go.
    """


class ConfigOptions(Options):
    """
    What C{corotwist config} understands.
    """

    longdesc = (
        "Files are PATH, whose end tells the format, or FORMAT:PATH; convert"
        f" writes to standard output as FORMAT:{STANDARD_OUTPUT}."
    )
    subCommands = [
        ["check", None, CheckOptions, "FILE...: tell all that is wrong"],
        ["show", None, ShowOptions, "FILE...: print the keys of corosync's map"],
        ["convert", None, ConvertOptions, "FILE... TARGET: write in another format"],
        ["get", None, GetOptions, "KEY: print one key"],
        ["set", None, SetOptions, "KEY TYPE VALUE: change the file"],
        ["delete", None, DeleteOptions, "KEY: change the file"],
        ["formats", None, _JsonOptions, "list the formats"],
    ]

    def getSynopsis(self) -> str:
        """
        Of all commands, or the beginning of that of one.
        """
        start = "Usage: corotwist config"
        return start if self.subCommand else f"{start} COMMAND [options]"

    def postOptions(self) -> None:
        """
        There has to be a command.
        """
        if self.subCommand is None:
            raise UsageError("say what to do")


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: 0, 1 when something is wrong with a file, or 2 for a wrong command
        line.
    """
    options = ConfigOptions()
    try:
        options.parseOptions(list(argv))
    except UsageError as error:
        chosen = getattr(options, "subOptions", options)
        print(f"corotwist config: {error}\n{chosen}", file=sys.stderr)
        return WRONG_USE
    except SystemExit as end:  # From --help.
        return int(end.code or 0)
    commands: Mapping[str, Callable[[Any], int]] = {
        "check": check,
        "show": show,
        "convert": convert,
        "get": get,
        "set": setKey,
        "delete": delete,
        "formats": listFormats,
    }
    try:
        return commands[str(options.subCommand)](options.subOptions)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
    except CorotwistError as error:
        print(f"corotwist config: {error}", file=sys.stderr)
    return FAILED


def check(options: CheckOptions) -> int:
    """
    Tell what a node would say to these files.
    """
    around = Environment(
        Machine(), dict(os.environ), os.geteuid(), loadKey, deriveKey, options["node"]
    )
    built = load(options["files"], around)
    if options["json"]:
        print(json.dumps(envelope("config-check", **_shown(built))))
    else:
        print("\n".join(built.report()), file=sys.stderr)
    return FAILED if built.settings is None else 0


def _shown(built: Built) -> dict[str, Any]:
    return {
        "usable": built.settings is not None,
        "problems": list(map(_problem, built.problems)),
        "warnings": list(map(_problem, built.warnings)),
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "text": problem.text,
    }


def _readable(reading: Reading) -> Reading:
    """
    @raise ConfigurationError: some of it was not understood.
    """
    if reading.problems:
        raise ConfigurationError(*reading.problems)
    for note in reading.notes:
        print(f"note: {note}", file=sys.stderr)
    return reading


def show(options: ShowOptions) -> int:
    """
    Print every key.
    """
    reading = _readable(loader.read(*options["files"]))
    _keysPrinted(dict(keysOf(reading.document, Machine())), asJson=options["json"])
    return 0


def _keysPrinted(keys: Mapping[str, Value], *, asJson: bool) -> None:
    if asJson:
        shown = [
            {"key": name, "type": value.kind.label, "value": value.content}
            for name, value in keys.items()
        ]
        print(json.dumps(envelope("config-keys", keys=shown)))
        return
    for name, value in keys.items():
        print(f"{name} ({value.kind.label}) = {value.text()}")


def convert(options: ConvertOptions) -> int:
    """
    Read some files, and write one.
    """
    target = options["target"]
    reading = _readable(loader.read(*options["files"], beside=False))
    document = reading.document
    engine, path = registry.choose(target, registry.discover())
    written: Written
    if path == STANDARD_OUTPUT:
        written = engine.write(document)
        sys.stdout.write(written.text)
    else:
        written = loader.write(target, document)
    for note in written.notes:
        print(f"note: {note}", file=sys.stderr)
    return 0


def get(options: GetOptions) -> int:
    """
    Print one key.
    """
    key = options["key"]
    reading = _readable(loader.readOne(options["config"]))
    keys = dict(keysOf(reading.document, Machine()))
    if key not in keys:
        raise _absent(reading, key)
    _keysPrinted({key: keys[key]}, asJson=options["json"])
    return 0


def _absent(reading: Reading, key: str) -> ConfigurationError:
    file = reading.document.place.file
    return ConfigurationError(Problem(file, 0, key, "there is no such key"))


def setKey(options: SetOptions) -> int:
    """
    Give a key a value in the file.
    """
    key, kind = options["key"], ValueType.labelled(options["type"])
    value = Value.parse(kind, options["value"])
    reading = _readable(loader.readOne(options["config"]))
    document, machine = reading.document, Machine()
    keys = {**dict(keysOf(document, machine)), key: value}
    changed = updated(document, keys.items(), machine)
    found = dict(keysOf(changed, machine)).get(key)
    if found != value:
        raise ConfigurationError(_refused(document.place.file, key, value))
    loader.write(options["config"], changed)
    return 0


def _refused(file: str, key: str, value: Value) -> Problem:
    """
    Why a key cannot be in a file.
    """
    schema = Schema()
    row = schema.row(pathOf(key).row)
    if row is None:
        text = f"no such option{schema.suggestion(pathOf(key).row)}"
    elif typeOf(row) is not value.kind:
        text = f"is {typeOf(row).label}, not {value.kind.label}"
    else:
        text = _reason(row, value.text())
    return Problem(file, 0, key, text)


def _reason(row: Row, value: str) -> str:
    try:
        row.kind.parse(value)
    except ValueError as error:
        return str(error)
    return "another option of the file is about it, too"


def delete(options: DeleteOptions) -> int:
    """
    Take a key out of the file.
    """
    key = options["key"]
    reading = _readable(loader.readOne(options["config"]))
    machine = Machine()
    keys = dict(keysOf(reading.document, machine))
    if keys.pop(key, None) is None:
        raise _absent(reading, key)
    loader.write(options["config"], updated(reading.document, keys.items(), machine))
    return 0


def listFormats(options: Options) -> int:
    """
    Print what can be read and written.
    """
    engines = [engine for _, engine in sorted(registry.discover().items())]
    if options["json"]:
        shown = [
            {
                "name": engine.name,
                "version": engine.version,
                "suffixes": list(engine.suffixes),
                "summary": engine.summary,
            }
            for engine in engines
        ]
        print(json.dumps(envelope("config-formats", formats=shown)))
        return 0
    for engine in engines:
        ends = " ".join(engine.suffixes)
        print(f"{engine.name:10} {engine.version:2}  {ends:15} {engine.summary}")
    return 0
