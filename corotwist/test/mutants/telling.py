"""
Errors in what the ring tells of the others: who has what, and how long nobody
goes on without us.
"""

from typing import Final

from corotwist.test.mutants.mutant import mutant

TELLING: Final = (
    mutant(
        "tells that all have what it has itself",
        "totem.operational",
        "            ring.emit(Stable(ring.ringId, ring.window.stable))\n",
        "            ring.emit(Stable(ring.ringId, ring.window.aru))\n",
    ),
    mutant(
        "tells that all are on a ring that has not gone round",
        "totem.operational",
        "        ring.allOperational = False\n",
        "        ring.emit(Stable(ring.ringId, ring.firstSequence))\n",
    ),
    mutant(
        "tells that those have it who did not come along",
        "totem.stability",
        "for n in waiting.members if n in configuration.members\n",
        "for n in waiting.members\n",
    ),
    mutant(
        "never tells who has what on an old ring",
        "totem.stability",
        "            if first.ringId not in {NO_RING, ringId} or (\n",
        "            if first.ringId != ringId or (\n",
    ),
    mutant(
        "has a lease for too long",
        "totem.lease",
        "        return self.began + self.seconds * (1 - CLOCKS_DIFFER)\n",
        "        return self.began + self.seconds * 3\n",
    ),
    mutant(
        "renews its lease while somebody holds the ring back",
        "totem.lease",
        "        if progress:\n",
        "        if True:\n",
    ),
    mutant(
        "excludes itself while others have a lease",
        "totem.ordering",
        "        and ring.now >= ring.progressAt + ring.timing.consensus\n",
        "",
    ),
)
