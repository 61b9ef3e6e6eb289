"""
One simulated node, through all its processes.
"""

from typing import Any

from attrs import define, field

from corotwist.config.settings import Timing
from corotwist.simulator.process import Application, Delivered, Process
from corotwist.simulator.programs import Programs
from corotwist.simulator.services import Services
from corotwist.simulator.storage import Disk
from corotwist.simulator.streams import Paths
from corotwist.totem.membership import Configuration
from corotwist.totem.states import In


def timingFor(token: float = 1.0, **others: Any) -> Timing:
    """
    Timers that follow from a token timeout as corosync derives them.
    """
    retransmit = token / 4.2
    derived: dict[str, Any] = {
        "token": token,
        "tokenRetransmit": retransmit,
        "hold": max(retransmit * 0.8 - 0.01, retransmit / 2),
        "consensus": token * 1.2,
    }
    return Timing(**(derived | others))


@define(eq=False)
class SimulatedNode:
    """
    One node, whatever happens to it.

    @ivar disk: what survives its restarts.
    @ivar paths: where processes of its machine meet.
    @ivar programs: what engines can start there.
    @ivar stepSeconds: by how much its time of day is wrong.
    @ivar process: what runs there now, if anything.
    @ivar leaving: what was asked to stop and has not ended yet.
    @ivar lives: how many processes it has had.
    """

    nodeid: int
    disk: Disk
    paths: Paths = field(factory=Paths)
    programs: Programs = field(factory=Programs)
    stepSeconds: float = 0.0
    process: Process | None = None
    leaving: Process | None = None
    lives: int = 0
    _last: Application | Services | None = None

    @property
    def up(self) -> bool:
        """
        Does a process run that was not asked to stop?
        """
        return self.process is not None

    @property
    def down(self) -> bool:
        """
        Is there no process at all?
        """
        return self.process is None and self.leaving is None

    @property
    def application(self) -> Application | Services:
        """
        Of the running process, or the last one.
        """
        assert self._last is not None, "never booted"
        return self._last

    @property
    def log(self) -> list[bytes]:
        """
        Payloads that the process delivered, in order.
        """
        return self.application.log

    @property
    def events(self) -> list[Delivered | Configuration]:
        """
        Messages and configurations, in order.
        """
        return self.application.events

    @property
    def configurations(self) -> list[Configuration]:
        """
        All it installed, transitional ones too.
        """
        return [e for e in self.events if isinstance(e, Configuration)]

    @property
    def configuration(self) -> Configuration | None:
        """
        The regular configuration in force.
        """
        return self.application.configuration

    @property
    def members(self) -> tuple[int, ...]:
        """
        Of that configuration.
        """
        return self.configuration.members if self.configuration else ()

    @property
    def state(self) -> In:
        """
        The membership state.
        """
        protocol = self.process.service.protocol if self.process else None
        return protocol.ring.state if protocol else In.STOPPED

    @property
    def solitude(self) -> float:
        """
        For how many seconds it still keeps to itself.
        """
        protocol = self.process.service.protocol if self.process else None
        return protocol.ring.solitude.until - protocol.ring.now if protocol else 0.0

    @property
    def statistics(self) -> Any:
        """
        The ring's counters.
        """
        assert self.process is not None, "not running"
        assert self.process.service.protocol is not None, "not started"
        return self.process.service.protocol.ring.statistics

    def started(self, process: Process) -> None:
        """
        A new process runs.
        """
        self.process = process
        self._last = process.application
