"""
What clients of quorate groups do in a run: drawn from a source of its own, so
that runs which had none are as they were in all else.
"""

from typing import Final

from corotwist.simulator.chance import source
from corotwist.simulator.swarm.plan import Deed, Plan, When

# Rates of clients that come and go, and of what they send; a second.
RATES: Final = (2.0, 10.0, 40.0)
MOST_CLIENTS: Final = 6
COMING: Final = 0.25
GOING: Final = 0.03
MOST_AT_ONCE: Final = 4


def drawGated(plan: Plan) -> tuple[Deed, ...]:
    """
    Their deeds; none where it is not sure that at most one partition is quorate.
    """
    random, quorum, size = source(plan.seed, "plan", "gated"), plan.quorum, plan.size
    if not quorum or quorum.get("twoNode") or random.random() < 1 / 2:
        return ()
    rate = random.choice(RATES)
    deeds: list[Deed] = []
    at = random.expovariate(rate)
    while at < plan.seconds:
        client = random.randint(1, MOST_CLIENTS)
        what = random.random()
        if what < COMING:
            arguments = {"client": client, "nodeid": random.randint(1, size)}
            deeds.append(Deed("openGated", When(at), arguments))
        elif what < COMING + GOING:
            deeds.append(Deed("closeGated", When(at), {"client": client}))
        else:
            count = random.randint(1, MOST_AT_ONCE)
            sent = {"client": client, "count": count}
            deeds.append(Deed("sendGated", When(at), sent))
        at += random.expovariate(rate)
    return tuple(deeds)
