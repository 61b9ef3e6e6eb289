"""
What a story can do to nodes: start, end, and hold up their processes.
"""

from corotwist.config.settings import NodeSettings
from corotwist.ending import End
from corotwist.errors import CorotwistError
from corotwist.simulator.chance import source
from corotwist.simulator.judges.judge import Life
from corotwist.simulator.node import SimulatedNode
from corotwist.simulator.process import Process
from corotwist.simulator.services import Services
from corotwist.simulator.storage import Disk
from corotwist.simulator.story.stage import Stage
from corotwist.totem.effects import Effect


class Nodes(Stage):
    """
    A part of L{Cluster<corotwist.simulator.cluster.Cluster>}.
    """

    def boot(self, *nodeids: int, fresh: bool = False) -> None:
        """
        Start processes on nodes that have none.

        @param fresh: their disks are lost.
        """
        for nodeid in nodeids:
            self._boot(self.nodes[nodeid], fresh)

    def _boot(self, node: SimulatedNode, fresh: bool) -> None:
        assert node.down, f"node {node.nodeid} is up"
        if fresh:
            node.disk.erase()
        node.lives += 1
        life = Life(node.nodeid, node.lives, node.disk.durable is None)
        process = self._workshop.make(node, life)
        self.jury.booted(life, process.port, lambda: node.disk.durable)
        node.started(process)
        if isinstance(process.application, Services):
            ours = process.application.node
            ours.onKilled = lambda _: self.kill(node.nodeid)
            ours.ended.addCallback(self._ended, process)
        try:
            process.application.start()
        except CorotwistError:
            node.process = None
            process.kill()
            self.jury.ended(life)
            raise

    def _ended(self, end: End, process: Process) -> End:
        """
        As a daemon does when its node says so.
        """
        nodeid = process.life.nodeid
        if self.nodes[nodeid].process is process:
            self.stop(nodeid)
        return end

    def edit(self, text: str, *nodeids: int) -> None:
        """
        Write another configuration file on machines, or on all when none is
        named: their nodes read it when they start, or are told to reload.
        """
        for nodeid in nodeids or self.nodes:
            self._workshop.files[nodeid] = text

    def rekey(self, key: bytes, *nodeids: int) -> None:
        """
        Write another key file on machines, or on all when none is named.
        """
        for nodeid in nodeids or self.nodes:
            self._workshop.keys[nodeid] = key

    def double(self, nodeid: int, *, ownDisk: bool = False) -> None:
        """
        Try to start a second process on the machine of a node that is up.

        @param ownDisk: with a state directory of its own.
        @raise CorotwistError: what it says before it ends.
        @raise OSError: likewise.
        """
        node = self.nodes[nodeid]
        self.running(nodeid)
        node.lives += 1
        disk = Disk(source(self.seed, "disk", nodeid, node.lives)) if ownDisk else None
        process = self._workshop.make(node, Life(nodeid, node.lives, ownDisk), disk)
        try:
            process.application.start()
        finally:
            process.stopped()

    def _observed(self, process: Process, effect: Effect) -> None:
        fuse = process.fuse
        if fuse is not None and process.life.alive and fuse.burns(effect):
            self.kill(process.life.nodeid)
        else:
            self.jury.observed(process.life, effect)

    def settings(self, nodeid: int) -> NodeSettings:
        """
        What a node understands of the configuration when it starts.
        """
        return self._workshop.settings(nodeid)

    def kill(self, *nodeids: int) -> None:
        """
        End processes at once, in whatever they are doing.
        """
        for nodeid in nodeids:
            node = self.nodes[nodeid]
            process = node.leaving or self._take(nodeid)
            node.leaving = None
            self.jury.record(process.life, "fail")
            process.kill()
            self.jury.ended(process.life)

    def stop(self, *nodeids: int) -> None:
        """
        Let processes leave in order.
        """
        for nodeid in nodeids:
            process = self._take(nodeid)
            self.jury.stopping(process.life)
            self.nodes[nodeid].leaving = process
            process.application.stop().addBoth(self._stopped, process)

    def _stopped(self, result: object, process: Process) -> object:
        node = self.nodes[process.life.nodeid]
        if node.leaving is process:
            node.leaving = None
            process.stopped()
            self.jury.ended(process.life)
        return result

    def _take(self, nodeid: int) -> Process:
        node = self.nodes[nodeid]
        assert node.process is not None, f"node {nodeid} is not up"
        process, node.process = node.process, None
        return process

    def pause(self, nodeid: int, seconds: float) -> None:
        """
        Do not schedule a process for a while.
        """
        process = self.running(nodeid)
        self.jury.record(process.life, "pause", seconds=seconds)
        process.pause(seconds)

    def slow(self, nodeid: int, seconds: float) -> None:
        """
        Let every piece of work take a process so long; 0 for no time.
        """
        process = self.running(nodeid)
        self.jury.record(process.life, "slow", seconds=seconds)
        process.slowness = seconds

    @property
    def down(self) -> list[int]:
        """
        The nodes on which nothing runs.
        """
        return [n for n, node in self.nodes.items() if node.down]

    @property
    def live(self) -> list[int]:
        """
        The nodes that are up.
        """
        return [n for n, node in self.nodes.items() if node.up]
