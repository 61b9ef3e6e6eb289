"""
Tests of children that are real processes.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from corotwist.engines.children import Child, Children, Program, Respawn, State

SECONDS = 20.0


class RealChildrenTests(TestCase):
    """
    A shell, started by Twisted's reactor.
    """

    def setUp(self) -> None:
        self.children = Children(reactor, reactor)  # type: ignore[arg-type]
        self.addCleanup(self.children.stop, "test")

    def _spawn(self, script: str, **options: Any) -> Child:
        command = ("/bin/sh", "-c", script)
        options = {"firstPause": 0.01, **options}
        program = Program("shell", command, {"PATH": os.defpath}, **options)
        return self.children.spawn("test", program, _call)

    def _next(self, place: Callable[[Callable[..., None]], None]) -> Deferred[Any]:
        fired: Deferred[Any] = Deferred()
        place(lambda *arguments: fired.callback(arguments))
        return fired.addTimeout(SECONDS, reactor)  # type: ignore[arg-type]

    async def test_killed(self) -> None:
        """
        A child that somebody kills runs again, as another process. (A76)
        """
        child = self._spawn("exec sleep 1000")
        first = child.pid
        assert first is not None
        started = self._next(lambda fire: setattr(child, "onStart", fire))
        os.kill(first, signal.SIGKILL)
        await started
        self.assertEqual(child.reason, "signal 9")
        self.assertEqual(child.starts, 2)
        self.assertNotIn(child.pid, (None, first))

    async def test_stubborn(self) -> None:
        """
        One that ignores the request to end is killed. (A76)
        """
        child = self._spawn("trap '' TERM; echo ready; exec sleep 1000", patience=0.05)
        ready = self._next(lambda fire: setattr(child.lines, "_write", fire))
        await ready
        child.lines._write = lambda text: None
        await child.stop()
        self.assertEqual(child.reason, "signal 9")

    async def test_leftBehind(self) -> None:
        """
        One that ends is over, although a process that it left behind keeps its
        output open. (A76)
        """
        child = self._spawn("sleep 1000 & echo $!", respawn=Respawn.NEVER)
        await child.ended.addTimeout(SECONDS, reactor)  # type: ignore[arg-type]
        os.kill(int(child.lines.last[-1]), signal.SIGKILL)
        self.assertEqual(child.reason, "exit status 0")

    async def test_givenUp(self) -> None:
        """
        One that cannot work is given up, and what it said is kept. (A76)
        """
        child = self._spawn("echo cannot work >&2; exit 3", mostRestarts=2)
        state = await child.ended
        self.assertEqual(state, State.GIVEN_UP)
        self.assertEqual(child.reason, "exit status 3")
        self.assertEqual(list(child.lines.last), ["cannot work"] * 3)

    async def test_noProgram(self) -> None:
        """
        A program that does not exist is given up likewise. (A76)
        """
        program = Program("none", ("/no/such/program",), mostRestarts=0)
        child = self.children.spawn("test", program, _call)
        self.assertEqual(await child.ended, State.GIVEN_UP)


def _call(function: Any, *arguments: Any) -> Any:
    return function(*arguments)
