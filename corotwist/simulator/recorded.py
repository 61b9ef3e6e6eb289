"""
Real runs before the judges of simulated ones: what daemons recorded with
C{twistd corosync --record}, and what their clients logged.

Records of several nodes of one machine are merged by its monotonic clock:
whatever caused another record comes before it.
"""

import json
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from corotwist.engines.interfaces import Change, Member, Reason
from corotwist.simulator.judges.blackbox import (
    Accepted,
    Entry,
    Heard,
    Leaving,
    RingSeen,
    Sending,
    Viewed,
)
from corotwist.simulator.judges.evs import EvsJudge
from corotwist.simulator.judges.judge import Judge, Life
from corotwist.totem.membership import Configuration, RingId
from corotwist.totem.sequence import after

# The last records of a node that its violations show.
RECORDS_KEPT: Final = 12

Record = dict[str, Any]


class Unreadable(ValueError):
    """
    A line is no record.
    """


def records(path: Path) -> Iterator[Record]:
    """
    What is in a file.  Its last line may have been cut off.

    @raise Unreadable: with the file and the line.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            try:
                record = json.loads(line)
            except ValueError as error:
                raise Unreadable(f"{path}:{number}: {error}") from error
            yield record


def _ringId(record: Record) -> RingId:
    representative, sequence = record["ring"]
    return RingId(sequence, representative)


# What rings did.


@define
class Strange:
    """
    Frames of processors who keep no record, of one ring: those that anybody
    delivered, ascending, and how many of them have been told.
    """

    frames: dict[int, tuple[int, bytes]] = field(factory=dict)
    sequences: list[int] = field(factory=list)
    told: int = 0


@define(eq=False)
class RecordJudge(Judge):
    """
    Holds P1 to P6, and I5, against the records of daemons.

    Processors who keep no record, real corosync nodes say, are known by the
    frames that others delivered of them.

    @ivar recording: nodeids of those who do.
    @ivar lives: the processes there were, in the order of their boots.
    @ivar counts: records by kind.
    @ivar recent: by node, its last records up to now.
    """

    recording: frozenset[int]
    lives: list[Life] = field(factory=list)
    counts: dict[str, int] = field(factory=lambda: defaultdict(int))
    recent: dict[int, deque[Record]] = field(
        factory=lambda: defaultdict(lambda: deque(maxlen=RECORDS_KEPT))
    )
    _evs: EvsJudge = field(init=False)
    _now: dict[int, Life] = field(factory=dict)
    _durable: dict[int, int] = field(factory=dict)
    _strange: dict[RingId, Strange] = field(factory=lambda: defaultdict(Strange))
    _strangers: dict[int, Life] = field(factory=dict)
    _last: dict[int, tuple[RingId, int] | None] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._evs = EvsJudge(self.report)

    def judge(self, paths: Iterable[Path], marks: Iterable[Record] = ()) -> None:
        """
        Read all of it.

        @param marks: what the harness did, ascending by C{t}: C{killed}, of a
            C{node}, and C{quiet}, when everything sent must be delivered.
        """
        paths = list(paths)
        for path in paths:
            self._survey(records(path))
        for strange in self._strange.values():
            strange.sequences = sorted(strange.frames)
        files = [records(path) for path in paths]
        for record in merge(*files, marks, key=lambda record: int(record["t"])):
            self.counts[record["ev"]] += 1
            self.recent[record.get("node", 0)].append(record)
            handler = getattr(self, f"_on_{record['ev']}", None)
            if handler is not None:
                handler(record)

    def _survey(self, lines: Iterator[Record]) -> None:
        for record in lines:
            if record["ev"] == "deliver" and record["sender"] not in self.recording:
                known = self._strange[_ringId(record)].frames
                frame = record["sender"], record["digest"].encode()
                known.setdefault(record["seq"], frame)

    # Lives.

    def _on_boot(self, record: Record) -> None:
        nodeid, stored = record["node"], record["stored"]
        self._ended(nodeid)
        number = 1 + sum(life.nodeid == nodeid for life in self.lives)
        life = Life(nodeid, number, fresh=stored is None)
        self.lives.append(life)
        self._now[nodeid] = life
        self._durable[nodeid] = -1 if stored is None else stored
        self._last[nodeid] = None
        self._evs.booted(life)

    def _ended(self, nodeid: int) -> None:
        life = self._now.pop(nodeid, None)
        if life is not None:
            self._evs.ended(life)

    def _on_killed(self, record: Record) -> None:
        self._ended(record["node"])

    _on_stop = _on_killed

    def _on_quiet(self, record: Record) -> None:
        self._evs.agreement(list(self._now.values()))

    # Rings.

    def _on_store(self, record: Record) -> None:
        if record["ok"]:
            self._durable[record["node"]] = record["sequence"]

    def _on_conf(self, record: Record) -> None:
        life = self._life(record)
        ringId = _ringId(record)
        configuration = Configuration(
            ringId,
            tuple(record["members"]),
            record["kind"] == "T",
            tuple(record["left"]),
            tuple(record["joined"]),
            record["cause"],
        )
        self._last[life.nodeid] = None
        if not configuration.transitional:
            if ringId.sequence > self._durable[life.nodeid]:
                self.blame(
                    "I5",
                    "installed a ring before its id was on disk",
                    life,
                    ring=ringId,
                )
            self._last[life.nodeid] = ringId, -1
        self._evs.configured(life, configuration)

    def _on_send(self, record: Record) -> None:
        ringId, sequence = _ringId(record), record["seq"]
        self._tellStrange(ringId, sequence)
        self._evs.sent(
            self._life(record),
            ringId,
            sequence,
            record["number"],
            record["digest"].encode(),
        )

    def _on_deliver(self, record: Record) -> None:
        life, sequence = self._life(record), record["seq"]
        ringId = _ringId(record)
        self._tellStrange(ringId, sequence + 1)
        self._inRow(life, ringId, sequence)
        self._evs.delivered(
            life, ringId, sequence, record["sender"], record["digest"].encode()
        )

    def _inRow(self, life: Life, ringId: RingId, sequence: int) -> None:
        """
        In a regular configuration a gap shows in the sequences themselves, also
        where nobody recorded the frame that is missing.
        """
        last = self._last[life.nodeid]
        if last is None or last[0] != ringId:
            return
        if last[1] >= 0 and after(sequence, last[1] + 1):
            self.blame(
                "P6.2",
                "delivered beyond a gap in a regular configuration",
                life,
                ring=ringId,
                sequence=sequence,
                missing=last[1] + 1,
            )
        self._last[life.nodeid] = ringId, sequence

    def _tellStrange(self, ringId: RingId, before: int) -> None:
        """
        Frames that got their places before this one, as far as anybody
        delivered them.
        """
        strange = self._strange.get(ringId)
        if strange is None:
            return
        end = bisect_right(strange.sequences, before - 1)
        for sequence in strange.sequences[strange.told : end]:
            nodeid, digest = strange.frames[sequence]
            stranger = self._strangers.setdefault(nodeid, Life(nodeid))
            self._evs.overheard(stranger, ringId, sequence, digest)
        strange.told = max(strange.told, end)

    def _life(self, record: Record) -> Life:
        life = self._now.get(record["node"])
        if life is None:
            raise Unreadable(f"node {record['node']} did not boot: {record}")
        return life


# What clients saw.


def entries(lines: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """
    The log of C{corotwist.tools.peer}, or of C{peer.c}, for the judge.
    """
    for line in lines:
        match line["event"]:
            case "message":
                sender = Member(line["nodeid"], line["pid"])
                yield Heard(sender, line["sequence"], line["length"], line["intact"])
            case "view":
                members = frozenset(Member(m[0], m[1]) for m in line["members"])
                yield Viewed(members, _changes(line["left"]), _changes(line["joined"]))
            case "ring":
                ringId = RingId(line["sequence"], line["representative"])
                yield RingSeen(ringId, tuple(line["members"]))
            case "sending":
                yield Sending(line["first"], line["count"], line["size"])
            case "sent":
                yield Accepted(line["count"])
            case "leaving":
                yield Leaving()


def _changes(listed: Iterable[tuple[int, int, int]]) -> tuple[Change, ...]:
    """
    In one order, whatever the client's: it is the same change.
    """
    changes = [Change(Member(n, pid), Reason(reason)) for n, pid, reason in listed]
    return tuple(sorted(changes, key=lambda change: change.member))
