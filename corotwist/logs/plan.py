"""
From settings to targets: who gets what.
"""

from collections.abc import Callable, Mapping, Sequence
from errno import EMFILE
from typing import Any, Final

from attrs import Factory, define, field

from corotwist.config.settings import LogPart, LogSettings
from corotwist.logs.datagrams import (
    JOURNAL_SOCKET,
    SYSLOG_SOCKET,
    JournalTarget,
    SyslogTarget,
    Wire,
)
from corotwist.logs.layout import JsonLayout, TextLayout
from corotwist.logs.levels import Priority
from corotwist.logs.record import Record
from corotwist.logs.targets import FileTarget, ITarget, Layout, StreamTarget

# Descriptors are not for everybody: more files than that are a mistake.
MOST_FILES: Final = 64

Key = tuple[str, ...]


@define
class Route:
    """
    One subsystem.

    @ivar wanted: the least urgent priority that any target takes.
    @ivar targets: each with the least urgent that it takes.
    @ivar trace: trace levels that every target takes.
    """

    targets: tuple[tuple[ITarget, Priority], ...]
    trace: frozenset[int]
    wanted: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.wanted = max((least for _, least in self.targets), default=-1)

    def wants(self, priority: int, trace: int) -> bool:
        """
        Does any target take it?
        """
        if trace:
            return trace in self.trace and bool(self.targets)
        return priority <= self.wanted

    def write(self, record: Record) -> None:
        """
        To every target that takes it.
        """
        for target, least in self.targets:
            if record.trace or record.priority <= least:
                target.write(record)


@define
class Plan:
    """
    All subsystems, and all targets by what they are.

    @ivar layouts: of targets, from when the plan is followed.
    """

    rest: Route
    parts: Mapping[str, Route]
    targets: Mapping[Key, ITarget]
    layouts: Sequence[tuple[FileTarget | StreamTarget, Layout]]

    def route(self, tag: str) -> Route:
        """
        Of one subsystem.
        """
        return self.parts.get(tag, self.rest)

    def adopt(self) -> None:
        """
        Have every target look as it should from now on.
        """
        for target, layout in self.layouts:
            target.layout = layout

    def close(self, keeping: Mapping[Key, ITarget]) -> None:
        """
        Close all targets but some.
        """
        for key, target in self.targets.items():
            if key not in keeping:
                target.close()


@define
class Planner:
    """
    Makes targets, or takes those that are open already.

    @ivar terminal: the descriptor of the terminal, or L{None} when there is none.
    @ivar common: who we are, for targets with fields.
    """

    terminal: int | None
    common: Mapping[str, Any]
    syslogSocket: str = SYSLOG_SOCKET
    journalSocket: str = JOURNAL_SOCKET

    def plan(self, settings: LogSettings, old: Mapping[Key, ITarget]) -> Plan:
        """
        Who gets what from now on.

        @param old: targets to go on with where they are wanted again.
        @raise OSError: when a file cannot be opened; nothing new is open then.
        """
        draft = _Draft(self, settings, old)
        try:
            rest = draft.route(settings.rest)
            parts = {tag: draft.route(part) for tag, part in settings.parts}
        except OSError:
            draft.giveUp()
            raise
        return Plan(rest, parts, draft.targets, draft.layouts)


@define
class _Draft:
    """
    A plan in the making.
    """

    planner: Planner
    settings: LogSettings
    old: Mapping[Key, ITarget]
    targets: dict[Key, ITarget] = Factory(dict)
    layouts: list[tuple[FileTarget | StreamTarget, Layout]] = Factory(list)

    def route(self, part: LogPart) -> Route:
        """
        The targets of a subsystem, each with its threshold.
        """
        everything = Priority.DEBUG if part.debug else None
        chosen = (
            (self._stream(part), part.stderrPriority),
            (self._file(part), part.filePriority),
            (self._syslog(part), part.syslogPriority),
            (self._journal(part), part.journalPriority),
        )
        return Route(
            tuple(
                (target, everything or Priority.labelled(least))
                for target, least in chosen
                if target is not None
            ),
            part.trace,
        )

    def giveUp(self) -> None:
        """
        Close what was opened in vain.
        """
        for key, target in self.targets.items():
            if key not in self.old:
                target.close()

    def _stream(self, part: LogPart) -> ITarget | None:
        terminal = self.planner.terminal
        if not part.toStderr or terminal is None:
            return None
        layout = self._layout(self.settings.stderrFormat)
        return self._have(("stderr",), lambda: StreamTarget(terminal, layout), layout)

    def _file(self, part: LogPart) -> ITarget | None:
        path = part.file
        if path is None:
            return None
        if ("file", path) not in self.targets and len(self.targets) >= MOST_FILES:
            raise OSError(EMFILE, "more log files than are allowed", path)
        layout = self._layout(part.fileFormat)
        return self._have(("file", path), lambda: FileTarget(path, layout), layout)

    def _syslog(self, part: LogPart) -> ITarget | None:
        path, facility = self.planner.syslogSocket, part.facility
        if not part.toSyslog:
            return None
        return self._have(
            ("syslog", path, facility), lambda: SyslogTarget(Wire(path), facility)
        )

    def _journal(self, part: LogPart) -> ITarget | None:
        path, common = self.planner.journalSocket, self.planner.common
        if not part.toJournal:
            return None
        return self._have(("journal", path), lambda: JournalTarget(Wire(path), common))

    def _layout(self, name: str) -> Layout:
        if name == "json":
            return JsonLayout(self.planner.common)
        settings = self.settings
        return TextLayout(settings.timestamp, settings.fileline, settings.functionName)

    def _have(
        self, key: Key, make: Callable[[], ITarget], layout: Layout | None = None
    ) -> ITarget:
        target = self.targets.get(key) or self.old.get(key) or make()
        self.targets[key] = target
        if isinstance(target, FileTarget | StreamTarget) and layout is not None:
            self.layouts.append((target, layout))
        return target
