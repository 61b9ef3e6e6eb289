"""
Errors in gathering, committing, and the names of rings.
"""

from typing import Final

from corotwist.test.mutants.mutant import Edit, Mutant, mutant

MEMBERSHIP: Final = (
    mutant(
        "gathers for every join",
        "totem.joining",
        "    return len(ring.processors) + len(ring.failed) > before\n",
        "    return True\n",
    ),
    mutant(
        "heeds joins of members from before this ring",
        "totem.operational",
        "            said = join.ringSequence >= ring.ringId.sequence\n",
        "            said = True\n",
    ),
    mutant(
        "heeds joins that say it failed",
        "totem.operational",
        "if ring.nodeid in join.failed or ring.joinIsStale(join):",
        "if ring.joinIsStale(join):",
    ),
    mutant(
        "does not hear foreign rings",
        "totem.operational",
        "        discover(ring, origin)\n        ring.become(Because.FOREIGN_RING)\n",
        "",
    ),
    mutant(
        "takes late frames of its own last ring for a foreign one",
        "totem.operational",
        "            news = message.ringId.sequence >= ring.ringId.sequence\n",
        "            news = True\n",
    ),
    Mutant(
        "hears strangers before its services are in step",
        (
            Edit(
                "corotwist.totem.operational",
                "            news = not ring.armed(SETTLING)\n",
                "            news = True\n",
            ),
            Edit(
                "corotwist.totem.operational",
                "join.origin not in join.failed and not ring.armed(SETTLING)",
                "join.origin not in join.failed",
            ),
        ),
    ),
    mutant(
        "heeds strangers who give themselves up",
        "totem.operational",
        "join.origin not in join.failed and not ring.armed(SETTLING)",
        "not ring.armed(SETTLING)",
    ),
    mutant(
        "comes back at once when it could not receive",
        "totem.solitude",
        "        self.until = now + min(lasts, longest)\n",
        "        self.until = now\n",
    ),
    mutant(
        "keeps to itself for ever",
        "totem.solitude",
        "        self.until = now + min(lasts, longest)\n",
        "        self.until = now + 1e9\n",
    ),
    mutant(
        "does not look for other rings",
        "totem.operational",
        "            ring.emit(Multicast([message.encode()]))\n",
        "",
    ),
    mutant(
        "keeps who was given up",
        "totem.recovery",
        "    ring.failed = set()\n",
        "",
    ),
    mutant(
        "ignores the ring sequences of joins",
        "totem.joining",
        "    if join.ringSequence <= LAST_SEQUENCE:\n",
        "    if False:\n",
    ),
    mutant(
        "speaks of a ring before it is stored",
        "totem.commit",
        "        adopt(ring, sign(ring, ring.proposed))\n",
        "        adopt(ring, sign(ring, ring.proposed))\n"
        "        ring.tokenFrame = ring.proposed.encode()\n"
        "        ring.emit(Unicast(ring.tokenTo, ring.tokenFrame))\n",
    ),
    mutant(
        "names a new ring like the last",
        "totem.joining",
        "    ring.highestSequence += RING_STEP\n",
        "",
    ),
    mutant(
        "begins with the stored ring id, and not the next",
        "totem.ring",
        "RingId(storedSequence + 1, self.nodeid)",
        "RingId(storedSequence, self.nodeid)",
    ),
    mutant(
        "begins with number one when its disk is lost",
        "totem.ring",
        "storedSequence = self.random.randrange(FRESH_SEQUENCES)",
        "storedSequence = 0",
        harmless="the names after it are drawn too",
    ),
    Mutant(
        "counts on from number one when its disk is lost",
        (
            Edit(
                "corotwist.totem.ring",
                "storedSequence = self.random.randrange(FRESH_SEQUENCES)",
                "storedSequence = 0",
            ),
            Edit(
                "corotwist.totem.joining",
                "    if ring.forgetful:\n",
                "    if False:\n",
            ),
        ),
    ),
    mutant(
        "counts ring sequences from what is its own",
        "totem.joining",
        "    ring.highestSequence = max(ring.highestSequence, token.ringId.sequence)\n",
        "",
    ),
    mutant(
        "agrees with itself",
        "totem.joining",
        "    return ring.processors - ring.failed <= ring.consensus\n",
        "    return True\n",
    ),
    mutant(
        "agrees with who says anything",
        "totem.gather",
        "            and set(join.processors) == ring.processors\n",
        "",
    ),
    mutant(
        "gives up whom strangers gave up",
        "totem.joining",
        "    elif fellow:\n",
        "    else:\n",
    ),
    mutant(
        "gives up strangers who gave it up",
        "totem.joining",
        "        if origin != ring.nodeid and fellow:\n",
        "        if origin != ring.nodeid:\n",
    ),
    mutant(
        "waits for nobody who speaks",
        "totem.gather",
        "late & ring.audible if ring.waits[n] < MOST_WAITS}\n",
        "late & ring.audible if False}\n",
    ),
    mutant(
        "waits for who left",
        "totem.operational",
        "        if ring.nodeid in join.failed or ring.joinIsStale(join):",
        "        if join.leave or ring.nodeid in join.failed or"
        " ring.joinIsStale(join):",
    ),
    mutant(
        "signs rings that it did not agree on",
        "totem.gather",
        "            list(token.members) == candidates(ring)\n            and ring",
        "            ring",
    ),
    mutant(
        "signs rings older than its own",
        "totem.gather",
        "            and ring.ringId.sequence < token.ringId.sequence <= "
        "highestCredible(ring)\n",
        "",
    ),
    mutant(
        "signs out of its turn",
        "totem.gather",
        "            and token.members[token.index] == ring.nodeid\n",
        "",
    ),
    mutant(
        "knows a proposed ring by its sequence alone",
        "totem.commit",
        "            token.ringId == ring.ringId\n",
        "            token.ringId.sequence == ring.ringId.sequence\n",
    ),
    mutant(
        "takes a token on its first round for the second",
        "totem.commit",
        "            and token.index == len(token.members)\n",
        "",
    ),
    mutant(
        "takes a copy from the first round for the end of the second",
        "totem.recovery",
        "            or after(proposed.tokenSequence, token.tokenSequence)\n",
        "",
    ),
    mutant(
        "ends a proposed ring for the join of an outsider",
        "totem.joining",
        "        or join.origin not in proposed.members\n",
        "",
    ),
    mutant(
        "ends a proposed ring for an old join",
        "totem.joining",
        "        or join.ringSequence < ring.ringId.sequence\n",
        "",
    ),
    mutant(
        "keeps to a ring that a member gave up",
        "totem.joining",
        "    absorb(ring, join)\n    ring.become(Because.MEMBER_GAVE_UP)\n"
        "    ring.dispatch(join)\n",
        "",
    ),
    mutant(
        "believes joins that waited in the socket",
        "totem.ring",
        "        if self.now < self._deafUntil and not join.leave:",
        "        if False:",
    ),
    mutant(
        "keeps the deadlines of the state it was in",
        "totem.ring",
        "        self._deadlines.clear()\n",
        "",
    ),
    mutant(
        "forgets to watch for the token",
        "totem.ordering",
        "    ring.arm(TOKEN_LOSS, timing.token)\n",
        "",
    ),
    mutant(
        "gives up nobody",
        "totem.gather",
        "        ring.failed |= silent\n        return bool(silent)\n",
        "        return bool(silent)\n",
    ),
    mutant(
        "says no join twice",
        "totem.gather",
        "            ring.arm(JOIN, ring.timing.join)\n            sendJoin(ring)\n",
        "            pass\n",
    ),
    mutant(
        "stays alone after it failed to receive",
        "totem.joining",
        "        ring.failedToReceive = False\n",
        "",
        harmless="the mark goes again when the ring stands",
    ),
    mutant(
        "tries the disk again at once",
        "totem.mute",
        "    def ringIdRefused(self, ring: Ring) -> None:\n"
        "        ring.arm(RETRY, ring.timing.consensus)",
        "    def ringIdRefused(self, ring: Ring) -> None:\n"
        "        ring.arm(RETRY, 0.0)",
    ),
    mutant(
        "goes on with a ring whose name is not stored",
        "totem.ring",
        "                self._state.ringIdRefused(self)\n",
        "                self._state.ringIdStored(self)\n",
    ),
)
