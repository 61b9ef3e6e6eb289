"""
The judge of leases: while a process has one, nobody of its ring is on a ring
without it.
"""

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from corotwist.simulator.judges.judge import Judge, Life
from corotwist.totem.membership import Configuration, RingId
from corotwist.totem.service import TotemService
from corotwist.totem.states import In


@define(eq=False)
class Holder:
    """
    One process.

    @ivar clock: its own, which may go slower or faster than others.
    @ivar ringId: the ring that it installed last.
    """

    service: TotemService
    clock: IReactorTime
    ringId: RingId | None = None


@define(eq=False)
class LeaseJudge(Judge):
    """
    Looks at the longest lease that each process was ever given on its ring,
    not at what it would say now: it may be in the hands of others.

    @ivar leftBehind: how often others went on without a process that ran.
    @ivar forged: somebody says in the names of members that others failed:
        then nothing is promised.
    """

    leftBehind: int = 0
    forged: bool = False
    _holders: dict[Life, Holder] = field(factory=dict)

    def booted(self, life: Life, service: TotemService, clock: IReactorTime) -> None:
        """
        A process is about to start.
        """
        self._holders[life] = Holder(service, clock)

    def ended(self, life: Life) -> None:
        """
        It has no lease any more.
        """
        self._holders.pop(life, None)

    def configured(self, life: Life, configuration: Configuration) -> None:
        """
        A configuration was installed.
        """
        holder = self._holders.get(life)
        if configuration.transitional or holder is None:
            return
        before, holder.ringId = holder.ringId, configuration.ringId
        if before is None or holder.service.protocol is None:
            return
        consensus = holder.service.protocol.ring.timing.consensus
        for other, held in self._holders.items():
            left = other.nodeid not in configuration.members
            if left and held.ringId == before and self._promised(held, consensus):
                self._over(other, held, life, configuration)

    def _promised(self, holder: Holder, consensus: float) -> bool:
        """
        Does its lease bind another, who waits so long in C{consensus}?  Not
        when that is less than it thinks, nor when it said that it goes.
        """
        protocol = holder.service.protocol
        return (
            protocol is not None
            and protocol.ring.state is not In.STOPPED
            and protocol.ring.lease.seconds <= consensus
        )

    def _over(
        self, life: Life, holder: Holder, by: Life, configuration: Configuration
    ) -> None:
        protocol = holder.service.protocol
        assert protocol is not None, "it runs"
        self.leftBehind += 1
        ends, now = protocol.ring.lease.ends, holder.clock.seconds()
        if now < ends and not self.forged:
            self.blame(
                "LEASE",
                "went on without a process that still had a lease",
                by,
                life,
                ring=configuration.ringId,
                remaining=round(ends - now, 6),
            )
