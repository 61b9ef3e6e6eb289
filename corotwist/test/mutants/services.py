"""
Errors in synchronization, process groups, and quorum.
"""

from typing import Any, Final

from corotwist.test.mutants.mutant import Edit, Mutant, mutant


def _services(name: str, module: str, before: str, after: str, **others: Any) -> Mutant:
    return mutant(name, module, before, after, services=True, **others)


SYNCHRONIZATION: Final = (
    mutant(
        "uses one queue for clients and synchronization",
        "totem.recovery",
        "    ring.outbox = ring.synchronization\n",
        "",
    ),
    _services(
        "takes one barrier for all",
        "engines.sync",
        "        self._reported.add(nodeid)\n        if not self._missing():\n"
        "            self._completeStage()",
        "        self._completeStage()",
    ),
    _services(
        "takes one list of services for all",
        "engines.sync",
        "        self._reported.add(nodeid)\n        if not self._missing():\n"
        "            self._enter(0)",
        "        self._enter(0)",
    ),
    _services(
        "aborts nothing",
        "engines.sync",
        "            service.aborted()\n",
        "            pass\n",
    ),
    _services(
        "remembers only the last transitional configuration",
        "engines.sync",
        "            before = self._cameAlong.get(service.serviceId, come)\n",
        "            before = come\n",
    ),
    _services(
        "forgets who came along when a round is aborted",
        "engines.sync",
        "        self._unsent = None\n        self._unwatch()\n        started",
        "        self._unsent = None\n        self._cameAlong.clear()\n"
        "        self._unwatch()\n        started",
    ),
    _services(
        "counts messages of older rounds",
        "engines.sync",
        "            and ringId == self.ringId\n",
        "",
    ),
    _services(
        "asks no service again",
        "engines.sync",
        "        elif self.phase is Phase.PROCESSING:\n            self._process()\n",
        "",
    ),
    _services(
        "sends no synchronization message again",
        "engines.sync",
        "            self._send(self._unsent)\n",
        "            pass\n",
    ),
    _services(
        "completes services without telling them",
        "engines.sync",
        "            service.completed()\n",
        "            pass\n",
    ),
    _services(
        "completes services twice",
        "engines.sync",
        "            service.completed()\n",
        "            service.completed()\n            service.completed()\n",
    ),
    _services(
        "begins a round without starting the services",
        "engines.sync",
        "            service.started(came, members, configuration.ringId)\n",
        "            pass\n",
    ),
)

GROUPS: Final = (
    _services(
        "loses nobody with his node",
        "engines.joinlist",
        "    staying = {here, *transitional}\n",
        "    staying = {here, *transitional}\n"
        "    staying |= {member.nodeid for _, member in table.entries()}\n",
    ),
    _services(
        "loses its own processes too",
        "engines.joinlist",
        "remote = [entry for entry in table.entries() if entry[1].nodeid != here]\n"
        "    lost = [e for e in remote if e[1].nodeid not in staying",
        "remote = [entry for entry in table.entries()]\n"
        "    staying = {*transitional} - {here}\n"
        "    lost = [e for e in remote if e[1].nodeid not in staying",
    ),
    _services(
        "does not look for processes that went unheard",
        "engines.joinlist",
        "        (Reason.PROCDOWN, _byGroup(kept - present)),\n",
        "",
    ),
    _services(
        "shows the gained before the lost",
        "engines.joinlist",
        "        (Reason.NODEDOWN, _byGroup(lost)),\n"
        "        (Reason.NODEUP, _byGroup(present - kept)),\n",
        "        (Reason.NODEUP, _byGroup(present - kept)),\n"
        "        (Reason.NODEDOWN, _byGroup(lost)),\n",
    ),
    _services(
        "believes lists over leaves that came after them",
        "engines.joinlist",
        "        present = {entry for entry in self._listed[nodeid]"
        " if since.get(entry, True)}\n",
        "        present = set(self._listed[nodeid])\n",
    ),
    _services(
        "believes lists over joins that came after them",
        "engines.joinlist",
        "        present |= {entry for entry, there in since.items() if there}\n",
        "",
    ),
    _services(
        "sends while synchronizing",
        "engines.groupssending",
        "        if self._cluster.synchronizing():\n            self.askForRoom()\n"
        "            raise _Blocked\n",
        "",
    ),
    _services(
        "leaves before its own messages",
        "engines.groupssending",
        "        if member.ahead:\n            raise _Parked\n",
        "",
    ),
    _services(
        "sends before what a ring change sent back",
        "engines.groupssending",
        "        if overtaking or self.inFlight >= IN_FLIGHT_BYTES:",
        "        if self.inFlight >= IN_FLIGHT_BYTES:",
    ),
    _services(
        "sends nothing again",
        "engines.groupssending",
        "            self._sendOnceMore(member, message, serial, expected)\n",
        "            pass\n",
    ),
    _services(
        "puts what was missed twice behind what was missed once",
        "engines.groupssending",
        "        insort(self.again, missed, key=_serial)\n",
        "        self.again.append(missed)\n",
    ),
    _services(
        "delivers messages of strangers",
        "engines.groupsdelivery",
        '            self._counters["strangers"] += 1\n            return NotJoined(',
        "            sender = Member(nodeid, message.pid)\n            str(",
    ),
    _services(
        "delivers before the own join",
        "engines.groupslocal",
        "tuple([m for m in members.values() if m.inside])",
        "tuple([m for m in members.values() if m.subscriber is not None])",
    ),
    _services(
        "delivers to nobody who leaves",
        "engines.groupslocal",
        "tuple([m for m in members.values() if m.inside])",
        "tuple([m for m in members.values() if m.inside"
        " and m.state is not Membership.LEAVING])",
    ),
    _services(
        "goes on with a long message on another ring",
        "engines.groupssending",
        "        if entry.interrupted or (entry.sent and entry.ringId"
        " != self._cluster.ringId()):",
        "        if False:",
    ),
    _services(
        "keeps pieces over a change of the ring",
        "engines.cpg",
        "            self._delivery.assembly.ringChanged()\n",
        "            pass\n",
    ),
    _services(
        "counts compact messages of any ring",
        "engines.manager",
        "        elif header.ringId == self.configuration.ringId:\n",
        "        elif True:\n",
    ),
    _services(
        "says that who left died",
        "engines.cpg",
        "    return Reason.LEAVE if number == Reason.LEAVE else Reason.PROCDOWN\n",
        "    return Reason.PROCDOWN\n",
    ),
    _services(
        "tells of a departure twice",
        "engines.cpg",
        "        if self._table.remove(message.group, leaver):\n",
        "        if self._table.remove(message.group, leaver) or True:\n",
        harmless="a process leaves once: its second leave is never sent",
    ),
    _services(
        "forgets the rest of a batch that does not fit",
        "engines.groupssending",
        "        entry.offset = end\n        entry.remaining -= count\n",
        "        entry.offset = end\n        entry.remaining = 0\n",
    ),
    _services(
        "forgets nobody who closed",
        "engines.groupslocal",
        "            leaves.append(Leave(member, Reason.PROCDOWN))\n",
        "            pass\n",
    ),
    _services(
        "lets clients queue without end",
        "engines.outgoing",
        "            len(self.queue) >= WAITING_ENTRIES\n"
        "            or self.waitingBytes + size > WAITING_BYTES\n",
        "            False\n",
    ),
)

QUORUM: Final = (
    _services(
        "is content with half of the votes",
        "engines.votes",
        "max((expected + 2) // 2, (total + 2) // 2)",
        "max((expected + 1) // 2, (total + 1) // 2)",
    ),
    _services(
        "expects only who is here",
        "engines.votes",
        "        own = expected = max(exactly, total)\n",
        "        own = expected = total\n",
    ),
    _services(
        "waits for nobody",
        "engines.votes",
        "    if waiting and total != own:\n",
        "    if False:\n",
    ),
    _services(
        "lets one of many nodes decide",
        "engines.votes",
        "    if rules.twoNode and len(members) <= _TWO_NODES:\n",
        "    if len(members) <= _TWO_NODES:\n",
    ),
    _services(
        "counts the votes of the dead",
        "engines.voters",
        "                voter.standing, voter.heard, voter.deviceVotes ="
        " Standing.DEAD, 0, 0\n",
        "                pass\n",
    ),
    _services(
        "publishes verdicts in the middle of a round",
        "engines.votejudging",
        "            self._advance()\n        elif verdict.quorate:\n",
        "            self._advance()\n        else:\n"
        "            self._publish(cause)\n        if verdict.quorate:\n",
    ),
    _services(
        "publishes no verdict after a round",
        "engines.votequorum",
        "            exactly=expected,\n        )\n",
        "            exactly=expected,\n        ) if False else None\n",
    ),
    Mutant(
        "counts sums of those who spoke so far",
        (
            Edit(
                "corotwist.engines.votejudging",
                "        elif verdict.quorate:\n"
                "            self._flag(NodeFlag.QUORATE, on=True)\n",
                "        else:\n            count.waiting = verdict.waiting\n"
                "            self._flag(NodeFlag.QUORATE, on=verdict.quorate)\n"
                "            self._flag(NodeFlag.WAIT_FOR_ALL, on=verdict.waiting)\n",
            ),
            Edit(
                "corotwist.engines.votesdelivered",
                "        if self._synchronizing:\n            self._takenIn = True\n",
                "        if False:\n            self._takenIn = True\n",
            ),
        ),
        services=True,
    ),
    _services(
        "keeps its votes to itself",
        "engines.votequorum",
        "        self._steps = [self._sayOwn, self._sayDevice]\n",
        "        self._steps = [self._sayDevice]\n",
    ),
    _services(
        "counts every node as one vote",
        "engines.votes",
        "    total = sum(member.votes for member in members) + device.votes\n",
        "    total = len(members)\n",
    ),
    _services(
        "counts votes in eight bits",
        "engines.votes",
        "    total = sum(member.votes for member in members) + device.votes\n",
        "    total = sum(member.votes for member in members) & 0xFF\n",
    ),
    _services(
        "forgets what may hold",
        "engines.basis",
        "            if newest is None or attempt.epoch > newest.epoch:\n",
        "            if False:\n",
    ),
    _services(
        "goes by what it never wrote down",
        "engines.agreement",
        "            stored.addCallbacks(self._stored, self._failed, (attempt,))\n",
        "            self._stored(None, attempt)\n",
    ),
    _services(
        "goes by what some wrote down",
        "engines.agreement",
        "        if attempt.accepted.issuperset(attempt.members):\n",
        "        if attempt.accepted:\n",
    ),
    _services(
        "does not ask who could act before",
        "engines.basis",
        "        return all(basis.permits(present) for basis in self._all())\n",
        "        return True\n",
    ),
    _services(
        "breaks ties by who is there",
        "engines.counting",
        "        if formed is not None:\n            return formed.tie\n",
        "        if formed is not None:\n"
        "            return self.rules.decider(sorted(self.voters.present()))\n",
    ),
    _services(
        "shrinks by its own clock",
        "engines.votechanges",
        "            self._say(Shrink())\n",
        "            self._shrinkDelivered(self.cluster.nodeid)\n",
    ),
    _services(
        "counts the device of an old ring",
        "engines.quorumdevice",
        "        self.flags &= ~NodeFlag.QDEVICE_CAST_VOTE\n",
        "        pass\n",
    ),
)
