"""
A plan for a seed: which faults there are at all, how strong, and when.

Each kind of fault is there or not, with equal chances: a run in which
everything goes wrong all the time hides what goes wrong once.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from attrs import define, evolve, field

from corotwist.simulator.attacker import KINDS
from corotwist.simulator.chance import source
from corotwist.simulator.faults import Faults
from corotwist.simulator.swarm.deeds import DISKS, EFFECTS, WHOLE
from corotwist.simulator.swarm.gate import drawGated
from corotwist.simulator.swarm.network import coin, drawFaults
from corotwist.simulator.swarm.plan import (
    APART,
    BROKEN,
    DOWN,
    Deed,
    Plan,
    When,
    faultsToJson,
)
from corotwist.totem.states import In

MOST_SIZE: Final = 16
TWO: Final = 2
# Small clusters are cheap, and most errors need few nodes.
USUAL_SIZES: Final = (3, 5, 8)
# Sequences begin at 0, or soon wrap.
FIRST_SEQUENCES: Final = (0, 0x7FFFFFF0, 0xFFFFFF00, 0xFFFFFFF8)
CORE_CHANCE: Final = 0.35
SEALED_CHANCE: Final = 0.1
# Runs in fair weather: a ring that changes then is worth nothing.
FAIR_CHANCE: Final = 0.08
FAIR_LOSSES: Final = (0.0, 0.005, 0.02)
FAIR_RATES: Final = (5.0, 50.0, 200.0)
# Some clusters are one node, and some nobody uses.
ALONE_CHANCE: Final = 0.04
SILENT_CHANCE: Final = 0.06
# Deeds on a node that wait for what a node does, and not for a time.
TRIGGERED_CHANCE: Final = 0.4
# A ring is committed to when each member in turn has stored its name: when the
# faults are over, disks let that end within a part of a token time.
COMMIT_SHARE: Final = 4
# Datagrams of more bytes disappear; tokens mostly are smaller than all of these.
LARGEST: Final = (100, 576, 1000, 1400)
BLACK_HOLE_CHANCE: Final = 0.3
MESSAGE_SIZES: Final = ((1, 10, 100), (100, 1000), (10, 1390, 1400, 5000), (20_000,))
# A run has at most so many messages or acts of clients.
MOST_WORK: Final = 20_000

GROUPS: Final = ("red", "green", "blue")
MOST_CLIENTS: Final = 20
SENT_SIZES: Final = (0, 10, 10, 100, 1000, 3000, 50_000)
CLIENT_DEEDS: Final = ("open", "open", "join", "leave", "close", *["send"] * 8)

_STATES: Final = tuple(
    s.value for s in (In.GATHER, *[In.COMMIT, In.RECOVERY] * 2, In.OPERATIONAL)
)
_DISK_ERRORS: Final = ("", "", "ENOSPC", "EIO", "EROFS")
# What a kernel says when it does not take a datagram; or nothing.
_ERRORS: Final = ("", "ENOBUFS", "EPERM", "ECONNREFUSED", "ENETUNREACH")
_KINDS: Final = ("token", "data", "join", "commit", "merge", "cancel")
# After a trigger: at once, while the disk writes, a token's hop or more later.
_LATER: Final = (0.0, 0.0, 0.0003, 0.001, 0.01)


def draw(
    seed: int,
    mostNodes: int = MOST_SIZE,
    *,
    services: bool = False,
    seconds: float | None = None,
) -> Plan:
    """
    A plan for a seed.

    @param services: of whole nodes, with clients of process groups.
    @param seconds: how long the faults last; drawn by default.
    """
    plan = _drawPlan(seed, mostNodes, seconds, services=services)
    return evolve(plan, gated=drawGated(plan))


def _drawPlan(
    seed: int, mostNodes: int, seconds: float | None, *, services: bool
) -> Plan:
    random = source(seed, "plan", "services" if services else "rings")
    size = _drawSize(random, mostNodes)
    if random.random() < FAIR_CHANCE:
        return _drawFair(random, seed, size, seconds, services=services)
    length = random.uniform(2.0, 12.0)
    length = seconds if seconds is not None else length
    sealed = random.random() < SEALED_CHANCE
    faults = drawFaults(random, damage=sealed)
    drawn = Drawn(random, size)
    core, outside = _drawCore(random, size)
    timing = _drawTiming(random)
    patience = timing["token"] / (COMMIT_SHARE * size)
    return Plan(
        seed=seed,
        size=size,
        services=services,
        sealed=sealed,
        faults=faults,
        timing=timing,
        quorum=_drawVotes(seed, _drawQuorum(random, size)) if services else {},
        permute=coin(random),
        drift=random.choice((0.0, 0.001, 0.05)),
        syncSeconds=min(random.choice((0.0, 0.0005, 0.02)), patience),
        firstSequence=random.choice(FIRST_SEQUENCES),
        firstTokenSequence=random.choice(FIRST_SEQUENCES),
        seconds=length,
        deeds=drawn.deeds(length),
        work=_drawCrowd(random, size, length)
        if services
        else _drawMessages(random, size, length),
        core=core,
        outside=outside,
    )


def _drawFair(
    random: Random, seed: int, size: int, seconds: float | None, *, services: bool
) -> Plan:
    length = random.uniform(3.0, 8.0)
    length = seconds if seconds is not None else length
    timing = {"windowSize": random.choice((10, 50, 300))}
    rate = random.choice(FAIR_RATES)
    return Plan(
        seed=seed,
        size=size,
        services=services,
        faults=Faults(loss=random.choice(FAIR_LOSSES)),
        timing=timing if coin(random) else {},
        firstSequence=random.choice(FIRST_SEQUENCES),
        firstTokenSequence=random.choice(FIRST_SEQUENCES),
        seconds=length,
        work=_drawCrowd(random, size, length)
        if services
        else _drawMessages(random, size, length, rate),
        fair=True,
        core=tuple(range(1, size + 1)),
    )


def _drawSize(random: Random, most: int) -> int:
    if most < TWO or random.random() < ALONE_CHANCE:
        return 1
    usual = [size for size in USUAL_SIZES if size < most]
    return random.randint(TWO, random.choice([*usual, most]))


def _drawCore(random: Random, size: int) -> tuple[tuple[int, ...], str]:
    """
    Who comes through, and what becomes of the others: a majority, a minority,
    or all.
    """
    nodeids = range(1, size + 1)
    if random.random() >= CORE_CHANCE:
        return tuple(nodeids), DOWN
    core = random.sample(nodeids, random.randint(1, size))
    return tuple(sorted(core)), random.choice((DOWN, APART, BROKEN))


def _drawTiming(random: Random) -> dict[str, Any]:
    timing: dict[str, Any] = {"token": random.choice((0.3, 1.0))}
    if coin(random):
        timing |= {"windowSize": random.choice((4, 50, 300))}
        timing |= {"maxMessages": random.choice((1, 3, 17, 100))}
        timing |= {"missCount": random.choice((1, 5))}
        timing |= {"failReceive": random.choice((50, 2500))}
        timing |= {"sendJoin": random.choice((0.0, 0.02))}
    return timing


def _drawQuorum(random: Random, size: int) -> dict[str, Any]:
    if coin(random):
        return {}
    return {
        "provider": "corosync_votequorum",
        "expectedVotes": size,
        "waitForAll": coin(random),
        "twoNode": size == TWO and coin(random),
    }


def _drawVotes(seed: int, quorum: dict[str, Any]) -> dict[str, Any]:
    """
    Options that came later have a stream of their own, so that older seeds
    are what they were in all else.
    """
    random = source(seed, "plan", "votes")
    if not quorum or quorum["twoNode"] or coin(random):
        return quorum
    return {
        **quorum,
        "lastManStanding": coin(random),
        "lastManStandingWindow": random.choice((0.2, 1.0, 3.0)),
        "tieBreaker": random.choice(("", "lowest", "highest")),
        "allowDownscale": (downscale := coin(random)),
        "tracking": downscale or coin(random),
    }


def _drawMessages(
    random: Random, size: int, seconds: float, rate: float | None = None
) -> tuple[Deed, ...]:
    if rate is None:
        silent = random.random() < SILENT_CHANCE
        rate = 0.0 if silent else random.choice((2.0, 20.0, 50.0, 100.0))
    sizes = random.choice(MESSAGE_SIZES)
    safe = coin(random)
    return tuple(
        Deed(
            "multicast",
            When(at),
            {
                "nodeid": random.randint(1, size),
                "size": random.choice(sizes),
                "safe": safe and coin(random),
            },
        )
        for at in _moments(random, rate, seconds)
    )


def _drawCrowd(random: Random, size: int, seconds: float) -> tuple[Deed, ...]:
    rate = 5.0 + random.choice((0.0, 2.0, 20.0, 100.0))
    groups: dict[int, str] = {}
    return tuple(
        _drawAct(random, at, size, groups) for at in _moments(random, rate, seconds)
    )


def _drawAct(random: Random, at: float, size: int, groups: dict[int, str]) -> Deed:
    """
    What some client does.

    @param groups: the group that each client was last told to join: most of
        what it sends goes there.
    """
    verb = random.choice(CLIENT_DEEDS)
    client = random.randint(1, MOST_CLIENTS)
    if verb in {"send", "leave"} and groups:
        client = random.choice(sorted(groups))
    arguments: dict[str, Any] = {"client": client}
    if verb == "open":
        arguments["nodeid"] = random.randint(1, size)
    if verb in {"open", "join"}:
        arguments["group"] = groups[client] = random.choice(GROUPS)
    elif verb == "leave":
        arguments["group"] = groups.pop(client, GROUPS[0])
    elif verb == "send":
        strange = random.random() < 0.1  # noqa: PLR2004
        group = random.choice(GROUPS) if strange else groups.get(client, GROUPS[0])
        arguments["group"] = group
        arguments["sizes"] = random.choices(SENT_SIZES, k=random.randint(1, 5))
    else:
        groups.pop(client, None)
    return Deed(verb, When(at), arguments)


def _moments(random: Random, rate: float, seconds: float) -> Sequence[float]:
    moments: list[float] = []
    at = 0.0
    while rate and len(moments) < MOST_WORK:
        at += random.expovariate(rate)
        if at >= seconds:
            break
        moments.append(at)
    return moments


@define(eq=False)
class Drawn:
    """
    Draws the deeds of a run.
    """

    random: Random
    size: int
    _nodeids: range = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._nodeids = range(1, self.size + 1)

    def deeds(self, seconds: float) -> tuple[Deed, ...]:
        """
        All of them, in the order of their moments.
        """
        verbs = [verb for verb in VERBS if coin(self.random)]
        pace = self.random.choice((0.1, 0.3, 1.0))
        if not verbs:
            return ()
        moments = _moments(self.random, 1 / pace, seconds)
        return tuple(self.deed(self.random.choice(verbs), at) for at in moments)

    def deed(self, verb: str, at: float) -> Deed:
        """
        One of some kind, at a time or waiting from then on.
        """
        arguments = VERBS[verb](self)
        when = When(at)
        if self.random.random() < TRIGGERED_CHANCE:
            when = self._trigger(at, arguments.get("nodeid", 0))
        return Deed(verb, when, arguments)

    def _trigger(self, at: float, nodeid: int) -> When:
        """
        Mostly what the node does itself that something will happen to.
        """
        random = self.random
        who = nodeid if random.random() < 0.8 else 0  # noqa: PLR2004
        later = random.choice(_LATER)
        skip = random.choice((0, 0, 1, 3))
        if coin(random):
            return When(at, random.choice(_STATES), "", who, skip, later)
        return When(at, "", random.choice(_KINDS), who, skip, later)

    # The arguments of each deed.

    def nobody(self) -> dict[str, Any]:
        """
        None.
        """
        return {}

    def node(self) -> dict[str, Any]:
        """
        A node.
        """
        return {"nodeid": self.random.choice(self._nodeids)}

    def pair(self) -> dict[str, Any]:
        """
        One direction between two nodes, or from a node to itself if it is
        alone: there is no such link, and nothing will be done.
        """
        source = self.random.choice(self._nodeids)
        others = [n for n in self._nodeids if n != source]
        target = self.random.choice(others) if others else source
        return {"source": source, "target": target}

    def sides(self) -> dict[str, Any]:
        """
        Two or three sides.
        """
        count = self.random.randint(2, 3)
        side = {n: self.random.randrange(count) for n in self._nodeids}
        sides = [[n for n in side if side[n] == i] for i in range(count)]
        return {"sides": [s for s in sides if s]}

    def bridge(self) -> dict[str, Any]:
        """
        Two sides, and a node that hears both.
        """
        return self.node() | self.sides()

    def pause(self) -> dict[str, Any]:
        """
        Less or more than a token time.
        """
        return self.node() | {"seconds": self.random.choice((0.01, 0.2, 0.9, 1.5, 4.0))}

    def slow(self) -> dict[str, Any]:
        """
        What each piece of work costs.
        """
        return self.node() | {"seconds": self.random.choice((0.0, 0.0005, 0.005))}

    def restart(self) -> dict[str, Any]:
        """
        Faster than others may notice, or not.
        """
        return self.node() | {"later": self.random.choice((0.001, 0.01, 0.1, 1.2, 3.0))}

    def boot(self) -> dict[str, Any]:
        """
        With or without the disk.
        """
        disk = WHOLE if coin(self.random) else self.random.choice(DISKS)
        return self.node() | {"disk": disk}

    def disk(self) -> dict[str, Any]:
        """
        Full, broken, read-only, or not any more.
        """
        return self.node() | {"error": self.random.choice(_DISK_ERRORS)}

    def slowDisk(self) -> dict[str, Any]:
        """
        How long a write takes.
        """
        return self.node() | {"seconds": self.random.choice((0.0, 0.0005, 0.02, 2.0))}

    def link(self) -> dict[str, Any]:
        """
        What one direction does to datagrams.
        """
        faults = faultsToJson(drawFaults(self.random))
        if self.random.random() < BLACK_HOLE_CHANCE:
            faults = {"largest": self.random.choice(LARGEST)}
        return self.pair() | {"faults": faults}

    def blackHole(self) -> dict[str, Any]:
        """
        What comes to one node from any.
        """
        return self.node() | {"largest": self.random.choice(LARGEST)}

    def clog(self) -> dict[str, Any]:
        """
        Nothing comes out for a while, then all at once.
        """
        return self.pair() | {"seconds": self.random.uniform(0.1, 1.5)}

    def crash(self) -> dict[str, Any]:
        """
        Before which effect of its ring.
        """
        kind = self.random.choice([*EFFECTS])
        return self.node() | {"effects": self.random.randint(0, 4), "kind": kind}

    def interface(self) -> dict[str, Any]:
        """
        Gone, or back.
        """
        return self.node() | {"down": coin(self.random)}

    def refuse(self) -> dict[str, Any]:
        """
        Which error, and how often; or none any more.
        """
        share = self.random.choice((0.05, 0.5, 1.0))
        return self.node() | {"error": self.random.choice(_ERRORS), "share": share}

    def stepClock(self) -> dict[str, Any]:
        """
        Forward or back.
        """
        return self.node() | {"seconds": self.random.choice((-3600, -1, 1, 3600))}

    def files(self) -> dict[str, Any]:
        """
        No more, or enough again.
        """
        return self.node() | {"exhausted": coin(self.random)}

    def attack(self) -> dict[str, Any]:
        """
        How busy somebody is, for how long, and with what.
        """
        count = self.random.randint(1, len(KINDS))
        return {
            "rate": self.random.choice((10.0, 100.0)),
            "seconds": self.random.uniform(0.1, 1.0),
            "kinds": self.random.sample(KINDS, count),
        }

    def burst(self) -> dict[str, Any]:
        """
        How bad, and how long.
        """
        loss, seconds = self.random.uniform(0.3, 1.0), self.random.uniform(0.05, 1.0)
        return {"loss": loss, "seconds": seconds}

    def swizzle(self) -> dict[str, Any]:
        """
        Which nodes, and how fast one after the other.
        """
        count = self.random.randint(1, self.size)
        return {
            "out": self.random.sample(self._nodeids, count),
            "back": self.random.sample(self._nodeids, self.size),
            "pace": self.random.choice((0.01, 0.1, 0.4)),
        }


# What may be done, and how its arguments are drawn.
VERBS: Final[Mapping[str, Callable[[Drawn], dict[str, Any]]]] = {
    "partition": Drawn.sides,
    "bridge": Drawn.bridge,
    "heal": Drawn.nobody,
    "cut": Drawn.pair,
    "mend": Drawn.pair,
    "swizzle": Drawn.swizzle,
    "kill": Drawn.node,
    "boot": Drawn.boot,
    "restart": Drawn.restart,
    "stop": Drawn.node,
    "pause": Drawn.pause,
    "slow": Drawn.slow,
    "disk": Drawn.disk,
    "slowDisk": Drawn.slowDisk,
    "badLink": Drawn.link,
    "blackHole": Drawn.blackHole,
    "clog": Drawn.clog,
    "burst": Drawn.burst,
    "crashAfter": Drawn.crash,
    "interface": Drawn.interface,
    "refuse": Drawn.refuse,
    "stepClock": Drawn.stepClock,
    "files": Drawn.files,
    "attack": Drawn.attack,
}
