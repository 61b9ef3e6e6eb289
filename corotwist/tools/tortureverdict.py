"""
What came of torturing a cluster: the judges' verdict, and figures.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

from attrs import define, field, frozen

from corotwist.engines.interfaces import Member
from corotwist.simulator.judges.blackbox import BlackBoxJudge, History
from corotwist.simulator.judges.judge import Life, Violation
from corotwist.simulator.recorded import Record, RecordJudge, entries, records
from corotwist.tools.torturestory import NANO, Calm, Client, Story

# Of each promise, so many violations with the records around them.
SHOWN: Final = 3
# Entries of a client's log before and after the one that shows it.
AROUND: Final = 4
# Undisturbed, all are on one ring, to stay, within so many token timeouts.
MOST_TOKENS: Final = 6.0  # [EVS L1]
# A ring that changes so long after the last fault was not changed by it.
SURPRISE_TOKENS: Final = 3.0


# By node, its boots and rings.
Changes = dict[int, list[Record]]


@define
class Finding:
    """
    A violation, and the evidence.
    """

    violation: Violation
    evidence: list[str]


@frozen
class Figures:
    """
    What was measured.

    @ivar rings: how many different ones our nodes installed.
    @ivar frames: sent by our nodes; C{handedUp}, delivered by them.
    @ivar silence: the longest that a client heard nothing, and when it did
        again, in nanoseconds.
    @ivar reunions: token timeouts from the end of each storm, or the last
        boot, until the ring of all that lasted; storms that all came through
        together are left out.
    @ivar exclusions: token timeouts from a crash until the survivors went on.
    @ivar surprises: rings that changed long after the last fault.
    """

    rings: int
    frames: int
    handedUp: int
    sent: int
    heard: int
    silence: tuple[int, int]
    reunions: list[float]
    exclusions: list[float]
    surprises: list[str]


@define(eq=False)
class Verdict:
    """
    What the judges say about a run.

    @ivar findings: what must not be, in the order it was seen.
    """

    story: Story
    findings: list[Finding]
    figures: Figures

    def broken(self, ours: bool) -> list[Finding]:
        """
        Those in which our nodes are involved, or those in which only others
        are.
        """
        who = frozenset(self.story.ours)
        return [
            finding
            for finding in self.findings
            if ours == bool(who & {life.nodeid for life in finding.violation.lives})
        ]

    @property
    def status(self) -> int:
        """
        For the shell: 0 when all promises were kept.
        """
        return 1 if self.broken(ours=True) or self.story.complaints else 0

    # For people.

    def __str__(self) -> str:
        parts = [*self.story.title, "", *self._figures(), "", *self._words()]
        return "\n".join(parts) + "\n"

    def _figures(self) -> Iterator[str]:
        story, figures = self.story, self.figures
        done = ", ".join(f"{n} {kind}" for kind, n in sorted(story.done.items()))
        silence, until = figures.silence
        tokens = silence / NANO / story.token
        yield f"storms             {len(story.calms)}"
        yield f"faults             {sum(story.done.values())}: {done or 'none'}"
        yield f"rings              {figures.rings}"
        yield f"clients            {len(story.clients)}"
        yield f"messages           {figures.sent} sent, {figures.heard} delivered"
        yield f"frames of ours     {figures.frames} sent, {figures.handedUp} delivered"
        yield (
            f"longest silence    {silence / NANO:.2f} s ({tokens:.1f} token timeouts)"
            f" of a client, until {story.clock(until)}"
        )
        yield f"heal to one ring   {_spread(figures.reunions)}"
        yield f"crash to new ring  {_spread(figures.exclusions)}"
        yield f"late changes       {len(figures.surprises)}"
        for surprise in figures.surprises[:SHOWN]:
            yield f"    {surprise}"

    def _words(self) -> Iterator[str]:
        ours, others = self.broken(ours=True), self.broken(ours=False)
        for complaint in self.story.complaints:
            yield f"COMPLAINT: {complaint}"
        if ours:
            yield f"VERDICT: not kept: {_promises(ours)}."
            yield from _shown(ours)
        elif not self.story.complaints:
            yield "VERDICT: every promise was kept."
        if others:
            yield f"By corosync nodes alone, not kept: {_promises(others)}."
            yield from _shown(others)


def judge(directory: Path) -> Verdict:
    """
    Read what a run left behind.

    @raise OSError: when something is missing.
    @raise ValueError: when something is not what it should be.
    """
    return _Reading(directory, Story.load(directory)).verdict()


@define(eq=False)
class _Reading:
    """
    Of a run.
    """

    directory: Path
    story: Story
    findings: list[Finding] = field(factory=list)

    def verdict(self) -> Verdict:
        """
        All of it.
        """
        counts = self._judgeRecords()
        sent, heard, silence = self._judgeLogs()
        changes = {node: list(_changes(self._record(node))) for node in self.story.ours}
        figures = Figures(
            len({tuple(r["ring"]) for r in _rings(changes.values())}),
            counts["send"],
            counts["deliver"],
            sent,
            heard,
            silence,
            self._reunions(changes),
            self._exclusions(changes),
            self._surprises(changes),
        )
        self._demand(figures)
        return Verdict(self.story, self.findings, figures)

    def _record(self, node: int) -> Path:
        return self.directory / self.story.record(node)

    # Judging.

    def _judgeRecords(self) -> Counter[str]:
        judge: RecordJudge

        def report(violation: Violation) -> None:
            nodes = {life.nodeid for life in violation.lives}
            kept = [record for node in nodes for record in judge.recent[node]]
            kept.sort(key=lambda record: int(record["t"]))
            self.findings.append(Finding(violation, [json.dumps(r) for r in kept]))

        judge = RecordJudge(report, frozenset(self.story.ours))
        marks = sorted(self.story.marks, key=lambda mark: int(mark["t"]))
        judge.judge(map(self._record, self.story.ours), marks)
        return Counter(judge.counts)

    def _judgeLogs(self) -> tuple[int, int, tuple[int, int]]:
        logs = [list(self._log(client)) for client in self.story.clients]
        histories = [
            History(
                Member(client.node, client.pid),
                Life(client.node, client.life),
                list(entries(log)),
                alive=client.alive,
            )
            for client, log in zip(self.story.clients, logs, strict=True)
        ]
        byName = {str(history): history for history in histories}

        def report(violation: Violation) -> None:
            history = byName[violation.details["clients"][0]]
            evidence = _around(history, violation.details["entry"])
            self.findings.append(Finding(violation, evidence))

        foreign = frozenset(self.story.nodes) - frozenset(self.story.ours)
        judge = BlackBoxJudge(report, foreign)
        judge.judge(histories, quiet=self.story.quiet)
        sent = sum(
            line["count"] for log in logs for line in log if line["event"] == "sending"
        )
        times = [[r["t"] for r in log if r["event"] == "message"] for log in logs]
        silence = max(map(_silence, times), default=(0, self.story.begun))
        return sent, sum(map(len, times)), silence

    def _log(self, client: Client) -> Iterator[dict[str, Any]]:
        """
        What a client logged until the end.
        """
        for line in records(self.directory / client.log):
            if line["t"] > self.story.ended:
                return
            yield line

    # Measuring.

    def _healed(self, calm: Calm, changes: Changes) -> int:
        """
        The end of a storm, or the last boot after it: daemons take a while.
        """
        boots = [
            record["t"]
            for story in changes.values()
            for record in story
            if record["ev"] == "boot" and record["t"] <= calm.over
        ]
        return int(max(calm.healed, *boots))

    def _reunions(self, changes: Changes) -> list[float]:
        found = []
        for calm in self.story.calms:
            rings = _rings(changes.values())
            last = max(record["t"] for record in rings if record["t"] <= calm.over)
            healed = self._healed(calm, changes)
            if last > healed:
                found.append((last - healed) / NANO / self.story.token)
        return found

    def _surprises(self, changes: Changes) -> list[str]:
        patience = round(SURPRISE_TOKENS * self.story.token * NANO)
        return [
            f"{self.story.clock(record['t'])} after storm {calm.storm}, node {node}:"
            f" {record['cause']}"
            for calm in self.story.calms
            for node, story in changes.items()
            for record in _rings([story])
            if self._healed(calm, changes) + patience < record["t"] <= calm.over
        ]

    def _exclusions(self, changes: Changes) -> list[float]:
        found = []
        for mark in self.story.marks:
            if mark["ev"] != "killed":
                continue
            firsts = [
                next(_without(story, mark["node"], mark["t"]), None)
                for node, story in changes.items()
                if node != mark["node"]
            ]
            seen = [first for first in firsts if first is not None]
            if seen and len(seen) == len(firsts):
                found.append((max(seen) - mark["t"]) / NANO / self.story.token)
        return found

    def _demand(self, figures: Figures) -> None:
        late = [tokens for tokens in figures.reunions if tokens > MOST_TOKENS]
        if late:
            lives = tuple(Life(node) for node in self.story.ours)
            details = {
                "tokens": [round(tokens, 2) for tokens in late],
                "most": MOST_TOKENS,
            }
            text = "the one ring of all came late after the last fault"
            self.findings.append(Finding(Violation("L1", text, lives, details), []))


def _around(history: History, place: int) -> list[str]:
    first = max(0, place - AROUND)
    lines = []
    for number in range(first, min(len(history.entries), place + AROUND + 1)):
        mark = ">" if number == place else " "
        lines.append(f"{mark} {history} {number}: {history.entries[number]}")
    return lines


def _silence(times: Sequence[int]) -> tuple[int, int]:
    """
    The longest time between two, and the later of them.
    """
    gaps = ((late - early, late) for early, late in pairwise(times))
    return max(gaps, default=(0, 0))


def _changes(path: Path) -> Iterator[Record]:
    """
    Boots and rings of one node.
    """
    for record in records(path):
        if record["ev"] == "boot" or record.get("kind") == "R":
            yield record


def _rings(stories: Iterable[Iterable[Record]]) -> Iterator[Record]:
    for story in stories:
        yield from (record for record in story if record["ev"] == "conf")


def _without(story: Iterable[Record], victim: int, since: int) -> Iterator[int]:
    """
    When the next ring after a time came, if a node was on the one before and
    is not on this.
    """
    was = False
    for record in _rings([story]):
        there = victim in record["members"]
        if record["t"] > since:
            if was and not there:
                yield record["t"]
            return
        was = there


def _spread(tokens: Sequence[float]) -> str:
    if not tokens:
        return "never"
    ordered = sorted(tokens)
    high = ordered[int(len(ordered) * 0.95)]
    return (
        f"median {median(ordered):.2f}, 95 % {high:.2f}, most {ordered[-1]:.2f}"
        f" token timeouts ({len(ordered)} times)"
    )


def _promises(findings: Iterable[Finding]) -> str:
    counts = Counter(finding.violation.promise for finding in findings)
    return ", ".join(f"{promise} ({n} times)" for promise, n in counts.items())


def _shown(findings: Iterable[Finding]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for finding in findings:
        promise = finding.violation.promise
        seen[promise] += 1
        if seen[promise] <= SHOWN:
            yield ""
            yield str(finding.violation)
            yield from (f"    {line}" for line in finding.evidence)
