"""
A run, drawn beforehand: everything that will be done to a cluster, and when.

A plan is a value.  It can be printed, saved as JSON, made smaller, and run
again; what happens in the run follows from it alone.
"""

from collections.abc import Collection, Mapping, Sequence
from json import dumps, loads
from math import inf
from typing import Any, Final, Self

from attrs import asdict, evolve, field, fields, frozen

from corotwist.errors import CorotwistError
from corotwist.simulator.faults import Faults

# What becomes of the nodes outside the core when the faults end.
DOWN: Final = "down"
APART: Final = "apart"
BROKEN: Final = "broken"
OUTSIDE: Final = (DOWN, APART, BROKEN)
# What can be planned; tests hold this against what can be drawn and done.
LINK_DEEDS: Final = (
    *("partition", "bridge", "heal", "cut", "mend", "swizzle"),
    *("badLink", "blackHole", "clog", "burst", "attack"),
)
NODE_DEEDS: Final = (
    *("kill", "boot", "restart", "stop", "crashAfter", "pause", "slow"),
    *("disk", "slowDisk", "files", "interface", "refuse", "stepClock"),
)
DEEDS: Final = frozenset(LINK_DEEDS + NODE_DEEDS)
WORK: Final = frozenset({"multicast", "open", "join", "leave", "send", "close"})
GATED: Final = frozenset({"openGated", "sendGated", "closeGated"})


class NoPlan(CorotwistError):
    """
    A file that holds no plan, or one of another version.
    """


@frozen
class When:
    """
    The moment of a deed: a time, or the first event of some kind after it.

    @ivar at: seconds since the start.
    @ivar state: the next entry into this membership state.
    @ivar kind: the next datagram of this kind that is sent.
    @ivar nodeid: who enters, or sends; 0 for anybody.
    @ivar skip: so many such events pass by before.
    @ivar later: so many seconds after the event.
    """

    at: float
    state: str = ""
    kind: str = ""
    nodeid: int = 0
    skip: int = 0
    later: float = 0.0


@frozen
class Deed:
    """
    Something done to the cluster, or by a client: the name of a method of
    L{corotwist.simulator.swarm.deeds.Deeds}, with its arguments.
    """

    verb: str
    when: When
    arguments: Mapping[str, Any] = field(factory=dict)

    def __str__(self) -> str:
        arguments = ", ".join(f"{k} {v}" for k, v in self.arguments.items())
        return f"{self.when.at:.3f} {self.verb} {arguments}".rstrip()


@frozen
class Plan:
    """
    One run.

    @ivar seed: of what is left to chance: the fate of single datagrams, the
        order of simultaneous events, how long writes take.
    @ivar services: whole nodes with clients of process groups, instead of a
        small application on the ring.
    @ivar sealed: a key seals all datagrams.
    @ivar seconds: how long the faults last.
    @ivar deeds: what is done to nodes, links and disks meanwhile.
    @ivar work: what applications and clients do.
    @ivar gated: what clients of quorate groups do.
    @ivar fair: nothing happens but that a datagram is lost now and then, and
        no ring may change.
    @ivar core: who must make progress when the faults end.
    @ivar outside: what the others are then: L{DOWN}; L{APART}, whole and on
        the other side of a cut; or L{BROKEN}, on that side with all faults.
    """

    seed: int
    size: int
    services: bool = False
    sealed: bool = False
    faults: Faults = field(factory=Faults)
    timing: Mapping[str, Any] = field(factory=dict)
    quorum: Mapping[str, Any] = field(factory=dict)
    permute: bool = False
    drift: float = 0.0
    syncSeconds: float = 0.0005
    firstSequence: int = 0
    firstTokenSequence: int = 0
    seconds: float = 5.0
    deeds: tuple[Deed, ...] = ()
    work: tuple[Deed, ...] = ()
    gated: tuple[Deed, ...] = ()
    fair: bool = False
    core: tuple[int, ...] = ()
    outside: str = DOWN

    def __str__(self) -> str:
        what = "whole nodes" if self.services else "rings"
        nodes = "1 node" if self.size == 1 else f"{self.size} nodes"
        return (
            f"{what} of {nodes}, seed {self.seed}: {len(self.deeds)} deeds and"
            f" {len(self.work)} pieces of work in {self.seconds:.1f} s"
        )

    def toJson(self) -> str:
        """
        As text; L{fromJson} makes an equal plan of it.
        """
        values = asdict(self) | {
            "faults": faultsToJson(self.faults),
            "deeds": [_frozenDeed(deed) for deed in self.deeds],
            "work": [_frozenDeed(deed) for deed in self.work],
            "gated": [_frozenDeed(deed) for deed in self.gated],
        }
        lists = {name: values.pop(name) for name in ("deeds", "work", "gated")}
        lines = [f'"{k}": {dumps(v)}' for k, v in values.items()]
        for name, deeds in lists.items():
            inner = ",\n    ".join(dumps(deed) for deed in deeds)
            lines.append(f'"{name}": [\n    {inner}\n  ]' if deeds else f'"{name}": []')
        return "{\n  " + ",\n  ".join(lines) + "\n}\n"

    @classmethod
    def fromJson(cls, text: str) -> Self:
        """
        A plan that was saved.

        @raise NoPlan: it is none.
        """
        try:
            values = loads(text)
            values["faults"] = faultsFromJson(values["faults"])
            values["core"] = tuple(values["core"])
            known = (("deeds", DEEDS), ("work", WORK), ("gated", GATED))
            for name, verbs in known:
                deeds = values.get(name, ())  # Older plans have no quorate groups.
                values[name] = tuple(_thawed(deed, verbs) for deed in deeds)
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoPlan(f"no plan of a run: {error}") from error


def faultsToJson(faults: Faults) -> dict[str, Any]:
    """
    What is not as it should be on a link; JSON has no infinity.
    """
    whole, values = Faults(), asdict(faults)
    return {k: v for k, v in values.items() if v != getattr(whole, k)}


def faultsFromJson(values: Mapping[str, Any]) -> Faults:
    """
    The same, back again.
    """
    return Faults(**values)


_WHEN: Final = tuple(f.name for f in fields(When))


def _frozenDeed(deed: Deed) -> dict[str, Any]:
    moment = {k: v for k, v in asdict(deed.when).items() if v or k == "at"}
    return {"do": deed.verb, **moment, "with": dict(deed.arguments)}


def _thawed(values: Mapping[str, Any], verbs: Collection[str]) -> Deed:
    if values["do"] not in verbs:
        raise ValueError(f"nobody can {values['do']!r}")
    moment = {k: v for k, v in values.items() if k in _WHEN}
    return Deed(values["do"], When(**moment), values["with"])


def ended(plan: Plan, at: float) -> Plan:
    """
    The plan of a run that stopped during its faults: what came later did not
    matter.
    """
    if at >= plan.seconds:
        return plan
    return evolve(
        plan,
        seconds=at,
        deeds=before(plan.deeds, at),
        work=before(plan.work, at),
        gated=before(plan.gated, at),
    )


def before(deeds: Sequence[Deed], at: float = inf) -> tuple[Deed, ...]:
    """
    Those of earlier moments.
    """
    return tuple(deed for deed in deeds if deed.when.at <= at)
