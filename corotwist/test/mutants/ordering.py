"""
Errors in the order, in flow control, in recovery, and in packing.
"""

from typing import Final

from corotwist.test.mutants.mutant import Edit, Mutant, mutant

_DELIVER: Final = (
    "        if window.aru != window.delivered and self._stateName is In.OPERATIONAL:\n"
    "            self.deliverFrames(window, window.inOrder())\n"
)
_ACROSS: Final = _DELIVER.replace("window.aru", "window.high").replace(
    "inOrder", "acrossGaps"
)

ORDERING: Final = (
    mutant("delivers across gaps", "totem.ring", _DELIVER, _ACROSS),
    mutant(
        "takes copies of tokens for new ones",
        "totem.ordering",
        "if token.ringId != ring.ringId or not 0 < hops <= MOST_MEMBERS:",
        "if token.ringId != ring.ringId:",
    ),
    mutant(
        "lets a copy of the token put token loss off",
        "totem.onring",
        "if not acceptable(ring, token):\n            return",
        "if not acceptable(ring, token):\n"
        "            from corotwist.totem.ordering import watchToken\n"
        "            watchToken(ring)\n"
        "            return",
    ),
    mutant(
        "forgets frames as soon as they are delivered",
        "totem.ordering",
        "earlier(everybody, window.delivered)",
        "window.delivered",
    ),
    mutant(
        "forgets frames after one rotation",
        "totem.ordering",
        "window.release(earlier(everybody, window.delivered))",
        "window.release(earlier(token.allReceivedUpTo, window.delivered))",
    ),
    mutant(
        "never forgets a frame",
        "totem.ordering",
        "earlier(everybody, window.delivered)",
        "window.released",
    ),
    mutant(
        "delivers safe frames at once",
        "totem.window",
        "                if after(frame.sequence, self.stable):\n",
        "                if False:\n",
    ),
    mutant(
        "takes for safe what one visit did not miss",
        "totem.ordering",
        "    window.stableUpTo(everybody)\n",
        "    window.stableUpTo(token.allReceivedUpTo)\n",
    ),
    mutant(
        "ends a ring without what others knew to be safe",
        "totem.recovery",
        "    old.stableUpTo(highestDelivered(ring))\n",
        "",
    ),
    mutant(
        "drops at the end of a ring what was not yet safe",
        "totem.recovery",
        "    ring.deliverFrames(old, old.withoutGap())\n",
        "    old.withoutGap()\n",
    ),
    mutant(
        "asks for frames up to the last seen only",
        "totem.ordering",
        "window.missing(token.sequence,",
        "window.missing(window.high,",
    ),
    mutant(
        "never asks for missing frames",
        "totem.ordering",
        "if window.aru == token.sequence or room <= 0:",
        "if True:",
    ),
    mutant(
        "asks for frames that are only slower than the token",
        "totem.ordering",
        "ring.timing.missCount, room",
        "1, room",
    ),
    mutant(
        "re-sends nothing that is asked for",
        "totem.ordering",
        "    if not token.requests:\n        return []",
        "    if True:\n        return []",
    ),
    mutant(
        "answers for ever, and lets nobody else answer",
        "totem.ordering",
        " or times == ANSWERS",
        "",
    ),
    mutant(
        "lets anybody raise the aru",
        "totem.ordering",
        "if setter in (0, ring.nodeid) or after(token.allReceivedUpTo, aru):",
        "if True:",
    ),
    mutant(
        "leaves the aru to who set it first",
        "totem.ordering",
        "if setter in (0, ring.nodeid) or after(token.allReceivedUpTo, aru):",
        "if setter in (0, ring.nodeid):",
    ),
    mutant(
        "compares sequences without wrap",
        "totem.sequence",
        "return 0 < ((a - b) & MASK) < HALF",
        "return a > b",
    ),
    mutant(
        "does not send a token again",
        "totem.ordering",
        "    ring.statistics.tokensRetransmitted += 1\n"
        "    ring.emit(Unicast(ring.tokenTo, ring.tokenFrame))\n",
        "    ring.statistics.tokensRetransmitted += 1\n",
    ),
    Mutant(
        "keeps the token as it came, and not as it left",
        (
            Edit(
                "corotwist.totem.ordering",
                "    ring.statistics.tokens += 1\n    window = ring.forming\n",
                "    ring.statistics.tokens += 1\n    window = ring.forming\n"
                "    ring.tokenFrame = token.encode()\n",
            ),
            Edit(
                "corotwist.totem.ordering",
                "    ring.tokenFrame = token.encode()\n    timing = ring.timing\n",
                "    fresh = token.encode()\n    timing = ring.timing\n",
            ),
            Edit(
                "corotwist.totem.ordering",
                "        ring.disarm(HOLD)\n"
                "        ring.emit(Unicast(ring.tokenTo, ring.tokenFrame))\n"
                "    watchToken(ring)",
                "        ring.disarm(HOLD)\n"
                "        ring.emit(Unicast(ring.tokenTo, fresh))\n"
                "    watchToken(ring)",
            ),
        ),
    ),
    mutant(
        "gives the last place twice",
        "totem.ordering",
        "    token.sequence = sequence\n",
        "    token.sequence = (sequence - 1) & MASK\n",
    ),
    mutant(
        "holds the token while others wait",
        "totem.ordering",
        "    if token.aruSetter or ring.forming.stable != token.sequence:\n"
        "        ring.idle = False\n    elif",
        "    if",
    ),
    mutant(
        "ignores hold cancels",
        "totem.onring",
        "        if message.ringId == ring.ringId:\n            ring.sequenceUnchanged",
        "        if False:\n            ring.sequenceUnchanged",
    ),
    mutant(
        "never cancels a hold",
        "totem.ring",
        "        if self.idle and self._stateName is In.OPERATIONAL:\n"
        "            cancelHold(self)\n"
        "        return self._collect()\n\n"
        "    def synchronized",
        "        return self._collect()\n\n    def synchronized",
    ),
    mutant(
        "never fails to receive",
        "totem.ordering",
        "        ring.aruUnchanged > ring.timing.failReceive\n        and token",
        "        False\n        and token",
    ),
)

FLOW: Final = (
    mutant(
        "sends as if others had sent nothing",
        "totem.flow",
        "free = self.windowSize - (used if used < HALF else 0)",
        "free = self.windowSize",
    ),
    mutant(
        "sends beyond the window",
        "totem.ordering",
        "if ahead > WINDOW - allowance - ring.timing.windowSize:",
        "if False:",
    ),
    mutant(
        "counts what it sent on top of what it sent before",
        "totem.flow",
        "(token.flowCount + sent - self.sentLast) & MASK",
        "(token.flowCount + sent) & MASK",
    ),
    mutant(
        "counts its queue on top of its queue before",
        "totem.flow",
        "token.backlog = (token.backlog + queued - self.reported) & MASK",
        "token.backlog = (token.backlog + queued) & MASK",
    ),
    mutant(
        "takes old accounts to a new ring",
        "totem.flow",
        "        self.sentLast = self.reported = 0\n",
        "        pass\n",
    ),
    mutant(
        "refuses no message, however many wait",
        "totem.ring",
        "if outbox is self.ordinary and outbox.frames() >= self.queueFrames:",
        "if False:",
    ),
)

RECOVERY: Final = (
    mutant(
        "re-sends nothing in recovery",
        "totem.recovery",
        "if not transitional or all(entry.received for entry in entries):",
        "if True:",
    ),
    mutant(
        "does not wait for the others in recovery",
        "totem.recovery",
        "everybody = not after(recovering.installSequence, token.allReceivedUpTo)",
        "everybody = True",
    ),
    mutant(
        "ends recovery before the flag is down for good",
        "totem.recovery",
        "VISITS_TO_COMPLETE: Final = 2\nVISITS_TO_CONFIRM: Final = 3",
        "VISITS_TO_COMPLETE: Final = 1\nVISITS_TO_CONFIRM: Final = 1",
    ),
    mutant(
        "ends recovery one rotation early",
        "totem.recovery",
        "ROTATIONS_TO_INSTALL: Final = 2",
        "ROTATIONS_TO_INSTALL: Final = 1",
    ),
    mutant(
        "does not compare who received more",
        "totem.joining",
        "            entries[i] = evolve(entry, received=0)\n",
        "            pass\n",
    ),
    mutant(
        "takes every former member for one who came along",
        "totem.recovery",
        "if nodeid in ring.members and entry.ringId == old",
        "if nodeid in ring.members",
    ),
    mutant(
        "delivers frames of strangers beyond a gap",
        "totem.recovery",
        "[frame for frame in old.acrossGaps() if frame.origin in transitional]",
        "old.acrossGaps()",
    ),
    mutant(
        "keeps the retransmit flag",
        "totem.recovery",
        "elif token.retransmitFlag and (recovering.flagOurs or ring.idle):",
        "elif False:",
    ),
    mutant(
        "lowers the retransmit flag of others",
        "totem.recovery",
        "elif token.retransmitFlag and (recovering.flagOurs or ring.idle):",
        "elif token.retransmitFlag:",
    ),
    mutant(
        "recovers frames of other old rings",
        "totem.recovery",
        "isinstance(inner, Regular) and inner.ringId == old.ringId",
        "isinstance(inner, Regular)",
    ),
    mutant(
        "makes a first token of every copy of the commit token",
        "totem.recovery",
        "            or ring.recovering.originated\n",
        "",
    ),
    mutant(
        "hands up what is left of the old ring in transition",
        "totem.recovery",
        "    ring.deliverFrames(old, old.inOrder())\n",
        "",
    ),
    mutant(
        "takes a ring that never stood for the old one",
        "totem.gather",
        "        ring.proposed = None\n        ring.holding",
        "        ring.proposed = None\n        ring.window = ring.forming\n"
        "        ring.holding",
    ),
    mutant(
        "says that who is not in the new ring left",
        "totem.recovery",
        "left=tuple(n for n in before if n not in transitional),",
        "left=tuple(n for n in before if n not in members),",
    ),
    mutant(
        "says that who was not in the old ring joined",
        "totem.recovery",
        "joined=tuple(n for n in members if n not in transitional),",
        "joined=tuple(n for n in members if n not in before),",
    ),
    mutant(
        "counts no frame of the recovery as released",
        "totem.recovery",
        "    new.startAfter(ring.recovering.installSequence)\n",
        "",
        harmless="wrappers are not delivered, and go with the next release",
    ),
)

PACKING: Final = (
    mutant(
        "does not begin a cut message again",
        "totem.recovery",
        "    ring.ordinary.restart()\n",
        "",
    ),
    mutant(
        "goes on with any piece of a message",
        "totem.fragments",
        "        elif chain.expected != frame.continuation:",
        "        elif False:",
    ),
    mutant(
        "throws away the whole frame that continues what it has not",
        "totem.fragments",
        "        del chunks[0]\n",
        "        chunks.clear()\n",
    ),
    mutant(
        "has one set of open messages",
        "totem.fragments",
        "self._open = self._transitional if use else self._ordinary",
        "pass",
    ),
    mutant(
        "keeps halves of messages of nodes that left",
        "totem.transport",
        "            self._assembly.departed(configuration.left)\n",
        "            pass\n",
    ),
    mutant(
        "accepts messages without end",
        "totem.fragments",
        "if chain.size > REASSEMBLY_BYTES:",
        "if False:",
    ),
)
