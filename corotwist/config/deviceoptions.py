"""
The options of the quorum device, one row each.
"""

from typing import Final

from corotwist.config.kinds import Choice, Switch, Text, Whole
from corotwist.config.row import Row, idle

_U32: Final = (1 << 32) - 1
_DAY: Final = 86_400_000
SECTION: Final = "quorum.device."
_ALGORITHM: Final = Choice(("ffsplit", "lms"))
_RULE: Final = (
    "`ffsplit`: of two halves exactly one, with one vote; `lms`: the last man"
    " standing, with one vote less than the nodes"
)
_TIE: Final = "which half: `lowest`, `highest`, or the one with this nodeid"


def _model(name: str) -> tuple[Row, ...]:
    """
    What both models have.
    """
    return (
        Row(f"{SECTION}{name}.algorithm", _ALGORITHM, "ffsplit", _RULE),
        Row(f"{SECTION}{name}.tie_breaker", Text(), "lowest", _TIE),
    )


def _files(*named: tuple[str, str]) -> tuple[Row, ...]:
    return tuple(
        Row(f"{SECTION}{name}", Text("path"), None, what) for name, what in named
    )


DEVICE: Final = (
    Row(
        "quorum.device.model",
        Text("name"),
        None,
        "a vote besides those of the nodes: `disk`, `net`, or a device of another"
        " package",
    ),
    Row(
        "quorum.device.timeout",
        Whole(1, _DAY, "ms"),
        10000,
        "so long its vote is good without being renewed",
    ),
    Row(
        "quorum.device.sync_timeout",
        Whole(1, _DAY, "ms"),
        30000,
        "so long it may take to say something about a new ring",
    ),
    Row(
        "quorum.device.votes",
        Whole(0, _U32),
        None,
        "what its vote is worth; 1 with `ffsplit`, else those of all nodes less 1",
    ),
    Row(
        "quorum.device.master_wins",
        Switch(),
        None,
        "its vote alone is enough, or is not; the device says",
    ),
    Row(
        "quorum.device.heuristics.mode",
        Choice(("off", "sync", "on")),
        "off",
        "when the commands run: never, when the ring changed, regularly too",
    ),
    Row(
        "quorum.device.heuristics.timeout",
        Whole(1, _DAY, "ms"),
        None,
        "for a command in a regular run; half of `timeout`",
    ),
    Row(
        "quorum.device.heuristics.sync_timeout",
        Whole(1, _DAY, "ms"),
        None,
        "for one when the ring changed; half of `sync_timeout`",
    ),
    Row(
        "quorum.device.heuristics.interval",
        Whole(1, _DAY, "ms"),
        None,
        "of regular runs; three times `timeout`",
    ),
    Row(
        "quorum.device.heuristics.exec_*",
        Text("command"),
        None,
        "a program with its whole path, and arguments: all of them have to succeed",
    ),
    *_files(("disk.path", "a file or a block device that all nodes share")),
    Row(
        "quorum.device.disk.interval",
        Whole(10, _DAY, "ms"),
        1000,
        "between two times that a node writes and reads",
    ),
    *_model("disk"),
    Row("quorum.device.net.host", Text("name or address"), None, "of the arbiter"),
    Row("quorum.device.net.port", Whole(1, 65535), 5403, "of the arbiter, TCP"),
    Row(
        "quorum.device.net.tls",
        Choice(("on", "off", "required")),
        "on",
        "`off`: without, on a network of its own; `on` is as good as `required`",
    ),
    *_files(
        ("net.cert", "our certificate in PEM, with the cluster's name as common name"),
        ("net.key", "its key"),
        ("net.ca", "the certificate of the authority that signed the arbiter's"),
    ),
    Row(
        "quorum.device.net.name",
        Text("name"),
        None,
        "that the arbiter's certificate has; as `host`",
    ),
    *_model("net"),
    Row(
        "quorum.device.net.connect_timeout",
        Whole(1, _DAY, "ms"),
        None,
        "for a connection; 0.8 of `timeout`",
    ),
    idle("quorum.device.net.force_ip_version", Whole(0, 6), 0, "family"),
    idle(
        "quorum.device.net.keep_active_partition_tie_breaker",
        Switch(),
        True,
        "who has the vote keeps it always",
    ),
    Row(
        "quorum.device.options.*",
        Text(),
        None,
        "whatever a device of another package understands",
    ),
)
