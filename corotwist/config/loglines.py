"""
The C{logging} section as L{LogSettings}.

What a subsystem does not say for itself it has from the section around it.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from posixpath import dirname, join
from typing import Any, Final

from attrs import Factory, define, evolve

from corotwist.config.check import Checked, Group
from corotwist.config.settings import LogPart, LogSettings
from corotwist.logs.levels import ALL_TRACES, parseTraces
from corotwist.logs.tags import LONGEST_TAG, TAGS

# The name by which other programs' settings are told from ours.
OURS: Final = "corosync"

_OFF: Final = ("off", "no")
_PLAIN: Final[Mapping[str, str]] = {
    "to_stderr": "toStderr",
    "to_syslog": "toSyslog",
    "to_journal": "toJournal",
    "logfile_format": "fileFormat",
    "stderr_priority": "stderrPriority",
    "logfile_priority": "filePriority",
    "syslog_priority": "syslogPriority",
    "journal_priority": "journalPriority",
    "syslog_facility": "facility",
}


def logSettings(checked: Checked) -> LogSettings:
    """
    The settings; what does not fit together is noted in C{checked}.
    """
    return _Reader(checked).settings()


@define
class _Draft:
    """
    A part, with what its file follows from.
    """

    part: LogPart
    toFile: bool
    file: str | None


@define
class _Reader:
    checked: Checked
    formats: dict[str, str] = Factory(dict)

    def settings(self) -> LogSettings:
        top = self.checked.top
        nothing = _Draft(LogPart(), toFile=False, file=None)
        # What the section says is stronger than all defaults.
        rest = self._draft(top, "logging", nothing, top.value)
        for entry in self._entries("logging.logging_daemon"):
            if not entry.has("logging.logging_daemon.subsys"):
                rest = self._part(entry, "logging.logging_daemon", rest)
        return LogSettings(
            rest=self._finished(top, "logging", rest),
            parts=tuple(self._parts(rest).items()),
            timestamp=str(top.value("logging.timestamp")),
            fileline=top.flag("logging.fileline"),
            functionName=top.flag("logging.function_name"),
            stderrFormat=str(top.value("logging.stderr_format")),
            recorder=top.flag("logging.blackbox"),
        )

    def _parts(self, rest: _Draft) -> dict[str, LogPart]:
        drafts: dict[str, _Draft] = {}
        parts: dict[str, LogPart] = {}
        for section in ("logging.logger_subsys", "logging.logging_daemon"):
            for entry in self._entries(section):
                tag = self._tag(entry, section)
                if tag is not None:
                    draft = self._part(entry, section, drafts.get(tag, rest))
                    drafts[tag] = draft
                    parts[tag] = self._finished(entry, section, draft)
        return parts

    def _entries(self, section: str) -> list[Group]:
        """
        The entries that are for us.
        """
        entries = self.checked.entries[section]
        if section == "logging.logging_daemon":
            return [e for e in entries if e.text(f"{section}.name") == OURS]
        return entries

    def _tag(self, entry: Group, section: str) -> str | None:
        """
        The subsystem that is meant.  Engines of others have names of their
        own; one that is almost one of ours is a mistake.
        """
        key = f"{section}.subsys"
        if not entry.has(key):
            if section == "logging.logger_subsys":
                self._wrong(entry, key, f"missing: one of {', '.join(TAGS)}")
            return None
        tag = (entry.text(key) or "").upper()
        close = [] if tag in TAGS else get_close_matches(tag, TAGS, 1)
        if close:
            self._wrong(entry, key, f"no subsystem {tag!r}; did you mean {close[0]}?")
        elif not tag.isidentifier() or len(tag) > LONGEST_TAG:
            self._wrong(entry, key, f"{tag!r} cannot be a subsystem's name")
        return tag

    def _part(self, entry: Group, section: str, around: _Draft) -> _Draft:
        def given(name: str) -> Any:
            found = entry.given.get(name)
            return None if found is None else found.value

        return self._draft(entry, section, around, given)

    def _draft(
        self, group: Group, section: str, around: _Draft, value: Callable[[str], Any]
    ) -> _Draft:
        """
        @param value: what is said of an option, or L{None}.
        """
        changes = {
            attribute: value(f"{section}.{option}")
            for option, attribute in _PLAIN.items()
        }
        toFile, debug = value(f"{section}.to_logfile"), value(f"{section}.debug")
        traces = value(f"{section}.trace")
        part = evolve(
            around.part, **{k: v for k, v in changes.items() if v is not None}
        )
        if debug is not None:
            part = evolve(part, debug=debug not in _OFF)
        if debug is not None or traces is not None:
            levels = ALL_TRACES if debug == "trace" else parseTraces(traces or "")
            part = evolve(part, trace=levels)
        return _Draft(
            part,
            around.toFile if toFile is None else toFile,
            self._path(group, f"{section}.logfile") or around.file,
        )

    def _finished(self, group: Group, section: str, draft: _Draft) -> LogPart:
        key, path = f"{section}.to_logfile", draft.file
        if not draft.toFile:
            return draft.part
        if path is None:
            self._wrong(group, key, "needs 'logfile: PATH'")
            return draft.part
        form = draft.part.fileFormat
        if self.formats.setdefault(path, form) != form:
            self._wrong(group, f"{section}.logfile_format", f"{path} has another one")
        return evolve(draft.part, file=path)

    def _path(self, group: Group, option: str) -> str | None:
        """
        A relative path counts from the directory of the file that names it.
        """
        found = group.given.get(option)
        if found is None:
            return None
        return join(dirname(found.place.file), str(found.value))

    def _wrong(self, group: Group, key: str, text: str) -> None:
        self.checked.wrong(group.placeOf(key), key, text)
