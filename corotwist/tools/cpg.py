"""
C{corotwist cpg}: a process group from a terminal.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, TextIO

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from corotwist.engines.interfaces import Change, GroupView, Member
from corotwist.errors import CorotwistError
from corotwist.ipc.client import NodeClient
from corotwist.ipc.events import Gap
from corotwist.ipc.group import ProcessGroup
from corotwist.options import Options
from corotwist.tools.asking import FAILED, connected, envelope

WRONG_USE: Final = 2
NAME: Final = "cpg"
# Typed lines that the node has not taken yet; above that nothing is read.
TYPED_AHEAD: Final = 256
LONGEST_LINE: Final = 1 << 20


class CpgOptions(Options):
    """
    What to do in which group.
    """

    synopsis = "Usage: corotwist cpg GROUP [options]"
    longdesc = (
        "Joins a process group and prints its views and messages.  Lines from "
        "standard input are sent; at its end, and at Ctrl-C, the group is left."
    )
    optFlags = [["json", "j", "print one JSON object per line"]]
    optParameters = [
        ["socket", "s", None, "the node's UNIX socket"],
        ["count", "c", None, "leave after so many messages, and not before", int],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["send"] = []

    def opt_send(self, text: str) -> None:
        """
        Send this when joined; may be given several times.
        """
        self["send"].append(os.fsencode(text))

    def parseArgs(self, group: str) -> None:  # type: ignore[override]
        """
        The one argument.
        """
        self["group"] = os.fsencode(group)

    def postOptions(self) -> None:
        """
        Check, and find the node.
        """
        if self["count"] is not None and self["count"] < 1:
            raise UsageError("--count is 1 or more")


def run(argv: Sequence[str]) -> int:
    """
    Be in a group until the input ends.

    @return: the exit status: 1 when the node or the group cannot be had.
    """
    options = CpgOptions()
    try:
        options.parseOptions(argv)
    except UsageError as error:
        sys.stderr.write(f"corotwist cpg: {error}\n{options.getSynopsis()}\n")
        return WRONG_USE
    except SystemExit as end:  # From --help.
        return int(end.code or 0)
    try:
        react(_main, (options,))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _main(reactor: IReactorCore, options: CpgOptions) -> Deferred[None]:
    session = Session(options, sys.stdout)
    running = Deferred.fromCoroutine(session.run(reactor))
    running.addErrback(_told)
    # Ctrl-C stops the reactor, which waits for this.
    reactor.addSystemEventTrigger("before", "shutdown", _interrupted, session, running)
    return running


def _interrupted(session: "Session", running: Deferred[None]) -> Deferred[None]:
    session.interrupt()
    ended: Deferred[None] = Deferred()
    running.addBoth(_passOn, ended)
    return ended


def _passOn(result: Any, ended: Deferred[None]) -> Any:
    ended.callback(None)
    return result


def _told(failure: Failure) -> None:
    failure.trap(CorotwistError)
    sys.stderr.write(f"corotwist cpg: {failure.value}\n")
    raise SystemExit(FAILED)


def readKeyboard(protocol: Any) -> Any:
    """
    Have standard input, and leave standard output as it is: L{StandardIO}
    makes both non-blocking, and what does not fit into a pipe then is lost to
    whoever prints.
    """
    nothing = os.open(os.devnull, os.O_WRONLY)
    standardIO: Any = StandardIO  # Typed as if this were Windows.
    return standardIO(protocol, stdout=nothing)


@define(eq=False)
class Session:
    """
    One client in one group.
    """

    _options: CpgOptions
    _output: TextIO
    _group: ProcessGroup | None = field(default=None, init=False)
    _keyboard: Any = field(default=None, init=False)
    _us: Member | None = field(default=None, init=False)
    _unanswered: int = field(default=0, init=False)
    _underway: int = field(default=0, init=False)
    _printed: int = field(default=0, init=False)
    _inputEnded: bool = field(default=False, init=False)
    _over: Deferred[None] = field(factory=Deferred, init=False)
    _waiting: Deferred[Any] | None = field(default=None, init=False)

    async def run(self, reactor: Any, keyboard: Any = readKeyboard) -> None:
        """
        From connecting to the end.

        @param keyboard: called with the protocol that takes lines.
        """
        try:
            client = await self._wait(connected(reactor, self._options["socket"]))
        except CancelledError:
            return
        try:
            await self._join(client)
            for text in self._options["send"]:
                self.send(text)
            self._keyboard = keyboard(Lines(self))
            await self._over
            assert self._group is not None, "joined above"
            await self._group.leave()
        except CancelledError:
            pass  # Interrupted while joining.
        finally:
            self._closeKeyboard()
            await client.stopService()

    async def _join(self, client: NodeClient) -> None:
        self._us = Member(client.nodeid, client.pid)
        self._group = await self._wait(
            client.groups.join(
                self._options["group"],
                delivered=self.messageDelivered,
                viewChanged=self.viewChanged,
                interrupted=self.gapOccurred,
            )
        )

    async def _wait(self, waiting: Deferred[Any]) -> Any:
        self._waiting = waiting
        try:
            return await waiting
        finally:
            self._waiting = None

    def interrupt(self) -> None:
        """
        Leave as soon as possible.
        """
        if self._waiting is not None:
            self._waiting.cancel()
        self._end()

    def _end(self) -> None:
        if not self._over.called:
            self._over.callback(None)

    def _closeKeyboard(self) -> None:
        keyboard, self._keyboard = self._keyboard, None
        if keyboard is not None:
            keyboard.loseConnection()

    # Input.

    def send(self, text: bytes) -> None:
        """
        Send a line.
        """
        assert self._group is not None, "lines are read when we have joined"
        self._unanswered += 1
        self._underway += 1
        if self._unanswered == TYPED_AHEAD and self._keyboard is not None:
            self._keyboard.pauseProducing()
        self._group.send(text).addErrback(self._notSent).addCallback(self._answered)

    def _notSent(self, failure: Failure) -> None:
        failure.trap(CorotwistError)
        self._underway -= 1
        sys.stderr.write(f"corotwist cpg: not sent: {failure.value}\n")

    def _answered(self, _: None) -> None:
        if self._unanswered == TYPED_AHEAD and self._keyboard is not None:
            self._keyboard.resumeProducing()
        self._unanswered -= 1
        self._endIfDone()

    def inputEnded(self) -> None:
        """
        Nothing more will be typed.
        """
        self._inputEnded = True
        self._endIfDone()

    def _endIfDone(self) -> None:
        """
        At the end of the input we still wait for what is under way.
        """
        if self._options["count"] is None and self._inputEnded and self._underway <= 0:
            self._end()

    # Output.

    def messageDelivered(self, sender: Member, payload: bytes) -> None:
        """
        From the group.
        """
        if self._options["json"]:
            self._print(json.dumps(envelope(NAME, **_message(sender, payload))))
        else:
            self._print(f"{_name(sender)}: {shown(payload)}")
        if sender == self._us:
            self._underway -= 1
        self._printed += 1
        if self._printed == self._options["count"]:
            self._end()
        self._endIfDone()

    def viewChanged(self, view: GroupView) -> None:
        """
        From the group.
        """
        if self._options["json"]:
            self._print(json.dumps(envelope(NAME, **_view(view))))
            return
        changes = [
            f"{_name(change.member)} {word} ({change.reason.name})"
            for word, changed in (("left", view.left), ("joined", view.joined))
            for change in changed
        ]
        members = " ".join(map(_name, view.members)) or "nobody"
        self._print("; ".join([f"view: {members}", *changes]))

    def gapOccurred(self, gap: Gap) -> None:
        """
        From the group.
        """
        # What we sent may have been delivered in it.
        self._underway = self._unanswered
        if self._options["json"]:
            self._print(json.dumps(envelope(NAME, event="gap", reason=gap.reason)))
        else:
            self._print(f"gap: {gap.reason}")

    def _print(self, line: str) -> None:
        try:
            self._output.write(line + "\n")
            self._output.flush()
        except BrokenPipeError:
            # Nobody reads any more; Python complains again when it ends.
            self._output = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
            self._end()


class Lines(LineOnlyReceiver):
    """
    What is typed.
    """

    delimiter = b"\n"
    MAX_LENGTH = LONGEST_LINE

    def __init__(self, session: Session) -> None:
        self._session = session

    def lineReceived(self, line: bytes) -> None:
        self._session.send(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        sys.stderr.write(f"corotwist cpg: a line over {LONGEST_LINE} bytes\n")
        self._session.inputEnded()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._buffer:  # The last line may lack its end.
            self._session.send(self._buffer)
        self._session.inputEnded()


def shown(payload: bytes) -> str:
    """
    Bytes as text that cannot play tricks on a terminal.
    """
    text = payload.decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def _name(member: Member) -> str:
    return f"{member.nodeid}/{member.pid}"


def _member(member: Member) -> dict[str, Any]:
    return {"nodeid": member.nodeid, "pid": member.pid}


def _changes(changes: tuple[Change, ...]) -> list[dict[str, Any]]:
    return [{**_member(c.member), "reason": c.reason.name} for c in changes]


def _view(view: GroupView) -> dict[str, Any]:
    return {
        "event": "view",
        "group": shown(view.group),
        "members": [_member(member) for member in view.members],
        "left": _changes(view.left),
        "joined": _changes(view.joined),
    }


def _message(sender: Member, payload: bytes) -> dict[str, Any]:
    """
    As text when it is text, and in hexadecimal otherwise.
    """
    common = {"event": "message", **_member(sender)}
    try:
        return {**common, "text": payload.decode()}
    except UnicodeDecodeError:
        return {**common, "hex": payload.hex()}
