"""
The options of what a node is besides a member of its ring, one row each; our own,
too.
"""

from typing import Final

from corotwist.config.kinds import (
    Choice,
    Decimal,
    Directories,
    Engines,
    Kind,
    Switch,
    Text,
    Traces,
    Value,
    Whole,
)
from corotwist.config.ringoptions import U32
from corotwist.config.row import Change, Row, idle, running
from corotwist.logs.levels import FACILITIES

_PRIORITIES: Final = Choice(
    ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
)
_DEBUG: Final = Choice(("off", "on", "trace", "no", "yes"))
_FORMATS: Final = Choice(("text", "json"))


def _logging(section: str, *, whole: bool = False) -> tuple[Row, ...]:
    """
    What may be said of the whole log and of a part of it.  A part has no
    defaults: what it does not say it has from the whole.
    """

    def row(option: str, kind: Kind, default: Value, meaning: str) -> Row:
        given = default if whole else None
        return running(f"{section}.{option}", kind, given, meaning)

    return (
        row("to_stderr", Switch(), True, "write lines to the terminal (`-n`)"),
        row("stderr_priority", _PRIORITIES, "info", "least urgent on the terminal"),
        row("to_logfile", Switch(), False, "write lines to `logfile`"),
        running(f"{section}.logfile", Text("path"), None, "the file of `to_logfile`"),
        row("logfile_priority", _PRIORITIES, "info", "least urgent in the file"),
        row("logfile_format", _FORMATS, "text", "`json`: one object a line"),
        row("to_syslog", Switch(), True, "tell the syslog of this machine"),
        row("syslog_priority", _PRIORITIES, "info", "least urgent in the syslog"),
        row("syslog_facility", Choice(FACILITIES), "daemon", "of syslog"),
        row("to_journal", Switch(), False, "tell systemd's journal, with fields"),
        row("journal_priority", _PRIORITIES, "info", "least urgent in the journal"),
        row(
            "debug",
            _DEBUG,
            "off",
            "everything, whatever the priorities; `trace`: and all trace levels",
        ),
        row("trace", Traces(), "none", "trace levels to switch on"),
    )


_LOGGING: Final = (
    *_logging("logging", whole=True),
    running("logging.stderr_format", _FORMATS, "text", "of the terminal's lines"),
    running(
        "logging.timestamp",
        Choice(("hires", "on", "off")),
        "hires",
        "time in lines for people; `hires` has milliseconds",
    ),
    running("logging.fileline", Switch(), False, "source file and line"),
    running("logging.function_name", Switch(), False, "the function"),
    running("logging.blackbox", Switch(), True, "keep a flight recorder"),
    idle("logging.to_file", Switch(), None, "obsolete"),
    idle("logging.syslog_level", Text(), None, "obsolete"),
    *_logging("logging.logger_subsys"),
    running("logging.logger_subsys.subsys", Text("subsystem"), None, "the part meant"),
    *_logging("logging.logging_daemon"),
    running("logging.logging_daemon.subsys", Text("subsystem"), None, "the part meant"),
    running(
        "logging.logging_daemon.name",
        Text("program"),
        None,
        "whose settings these are; ours with `corosync`",
    ),
)

_SYSTEM: Final = (
    Row(
        "system.state_dir",
        Text("path"),
        None,
        "where the ring id survives; `STATE_DIRECTORY` of the environment wins",
    ),
    idle(
        "system.qb_ipc_type", Choice(("native", "shm", "socket")), "native", "C clients"
    ),
    idle("system.sched_rr", Switch(), True, "real-time scheduling: not needed"),
    idle("system.priority", Text(), "0", "nice value"),
    idle("system.move_to_root_cgroup", Choice(("auto", "yes", "no")), "auto", "cgroup"),
    idle("system.allow_knet_handle_fallback", Switch(), False, "of knet"),
)

_RESOURCES: Final = (
    idle("resources.watchdog_device", Text("path or off"), "off", "watchdog"),
    idle("resources.watchdog_timeout", Whole(2, 120, "s"), 6, "watchdog"),
    idle("resources.system.memory_used.max", Decimal("%"), None, "limit"),
    idle("resources.system.load_15min.max", Decimal(), None, "limit"),
    *(
        idle(f"resources.system.{what}.{name}", kind, default, "of a limit")
        for what in ("memory_used", "load_15min")
        for name, kind, default in (
            ("poll_period", Whole(0, (1 << 64) - 1, "ms"), 3000),
            (
                "recovery",
                Choice(("watchdog", "quit", "reboot", "shutdown", "none")),
                None,
            ),
        )
    ),
    idle("resources.process.*", Text(), None, "written at run time"),
)

_OTHERS: Final = (
    running("uidgid.uid", Text("number or name"), None, "this user may be a client"),
    running("uidgid.gid", Text("number or name"), None, "this group may be a client"),
    idle("nozzle.name", Text(), None, "of knet"),
    idle("nozzle.ipaddr", Text(), None, "of knet"),
    idle("nozzle.ipprefix", Text(), None, "of knet"),
    idle("nozzle.macaddr", Text(), None, "of knet"),
    idle("pload.count", Whole(0, U32), None, "a run time key"),
    idle("pload.size", Whole(0, U32), None, "a run time key"),
    idle("cfg.shutdown_timeout", Whole(0, U32, "ms"), 5000, "a run time key"),
    idle("runtime.*", Text(), None, "run time keys"),
    idle("stats.*", Text(), None, "run time keys"),
)

_OURS: Final = (
    Row(
        "corotwist.node",
        Text("name or nodeid"),
        None,
        "which entry of the node list we are, instead of looking for it",
        change=Change.IDENTITY,
    ),
    Row("corotwist.ipc_socket", Text("path"), None, "UNIX socket for clients"),
    Row(
        "corotwist.slow_reader",
        Choice(("pause-senders", "disconnect", "spill")),
        "pause-senders",
        "what happens when a client reads more slowly than others send to it",
    ),
    Row(
        "corotwist.pause_limit",
        Whole(100, 3_600_000, "ms"),
        10_000,
        "how long senders wait for one slow client, which is then cut off",
    ),
    Row(
        "corotwist.client_queue",
        Whole(1 << 20, 1 << 40, "bytes"),
        32 << 20,
        "what waits for one client in memory at most",
    ),
    Row(
        "corotwist.spill_limit",
        Whole(0, 1 << 40, "bytes"),
        256 << 20,
        "what waits for one client in a file at most, with `spill`",
    ),
    Row(
        "corotwist.memory_limit",
        Whole(16 << 20, 1 << 40, "bytes"),
        512 << 20,
        "what waits from and for all clients together at most",
    ),
    Row("service.name", Text(), None, "the engine that the section is for"),
    idle("service.ver", Whole(0, U32), None, "of corosync 1; see `corotwist.engines`"),
    Row("service.*", Text(), None, "whatever that engine understands"),
    Row(
        "corotwist.plugin_dir",
        Directories(),
        None,
        "directories with components besides those installed",
    ),
    Row(
        "corotwist.engines",
        Engines(),
        None,
        "service engines to load, instead of the newest of all that are needed",
    ),
    Row(
        "corotwist.engine_restarts",
        Whole(0, 100),
        0,
        "how often an engine that failed is started again",
    ),
    running(
        "corotwist.memory_failure",
        Choice(("shed", "stop")),
        "shed",
        "what a node does that is out of memory: `shed`, take less work from clients"
        " for some seconds; `stop`, in order",
    ),
    running(
        "corotwist.shutdown_timeout",
        Whole(0, 3_600_000, "ms"),
        60_000,
        "how long services may hold the shutdown of the node",
    ),
    running(
        "corotwist.strict",
        Switch(),
        True,
        "`no`: options that nobody knows are warnings, as with corosync",
    ),
)

NODE: Final = (*_LOGGING, *_SYSTEM, *_RESOURCES, *_OTHERS, *_OURS)
