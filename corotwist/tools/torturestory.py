"""
What has to be known about a run of C{corotwist torture} to judge it, besides
records and logs: kept beside them, as JSON.
"""

import json
from pathlib import Path
from typing import Any, Final, Self

from attrs import asdict, frozen

NANO: Final = 10**9
FILE: Final = "run.json"


@frozen
class Client:
    """
    A client, and its log.

    @ivar life: how manieth process of its node's daemon it was started for.
    @ivar log: the name of the file.
    @ivar alive: it was there at the end.
    """

    node: int
    pid: int
    life: int
    log: str
    alive: bool


@frozen
class Calm:
    """
    The end of a storm, in nanoseconds.

    @ivar healed: when the last fault was undone.
    @ivar over: when the next storm began, or the run ended.
    """

    storm: int
    healed: int
    over: int


@frozen
class Story:
    """
    One run.

    @ivar title: what it was, for people.
    @ivar ours: nodeids of our nodes; their records are C{node1.jsonl} and so
        on.
    @ivar token: seconds of the token timeout.
    @ivar begun: when it began; likewise C{ended}, when nothing more was to
        happen.
    @ivar quiet: was everything at rest then?
    @ivar deeds: everything that was done: when, and what.
    @ivar done: faults by kind.
    @ivar marks: for the judge of records.
    @ivar complaints: what did not happen in time.
    """

    title: list[str]
    nodes: list[int]
    ours: list[int]
    token: float
    begun: int
    ended: int
    quiet: bool
    deeds: list[list[Any]]
    done: dict[str, int]
    marks: list[dict[str, Any]]
    complaints: list[str]
    calms: list[Calm]
    clients: list[Client]

    @classmethod
    def load(cls, directory: Path) -> Self:
        """
        From where it was saved.

        @raise OSError: when it is not there.
        @raise ValueError: when it is not a story.
        """
        try:
            values = json.loads((directory / FILE).read_text())
            values["calms"] = [Calm(**calm) for calm in values["calms"]]
            values["clients"] = [Client(**client) for client in values["clients"]]
            return cls(**values)
        except (TypeError, KeyError) as error:
            raise ValueError(f"{directory / FILE}: {error}") from error

    def save(self, directory: Path) -> None:
        """
        Beside the logs.
        """
        (directory / FILE).write_text(json.dumps(asdict(self), indent=1))

    def record(self, node: int) -> str:
        """
        The name of the file of a node's records.
        """
        return f"node{node}.jsonl"

    def clock(self, at: int) -> str:
        """
        A time of the run, for people.
        """
        seconds = (at - self.begun) / NANO
        return f"{int(seconds) // 60}:{seconds % 60:05.2f}"
