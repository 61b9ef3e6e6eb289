"""
C{corotwist quorumtool}: quorum and votes, with the options and the output of
corosync-quorumtool.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

import corotwist
from corotwist.errors import Disconnected, NotSupported, ServiceError
from corotwist.ipc.client import NodeClient
from corotwist.ipc.quorum import QuorumFollower
from corotwist.tools import asking, quorumtext
from corotwist.tools.asking import DONE, FAILED, NodeOptions, Tool
from corotwist.tools.keyprinter import errorName
from corotwist.tools.quorumfacts import QuorumFacts, gather
from corotwist.tools.quorumtext import Wishes

NAME: Final = "quorumtool"
NOT_QUORATE: Final = 2
MOST_VOTES: Final = 0xFFFFFFFF

Now = Callable[[], datetime]


def _count(least: int, complaint: str) -> Callable[[str], int]:
    """
    A number of the command line.
    """

    def counted(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= MOST_VOTES):
            raise UsageError(complaint)
        return int(text)

    return counted


def _order(text: str) -> str:
    if text not in {"a", "n", "i"}:
        raise UsageError(
            "Invalid ordering option. valid orders are a(address), i(node ID) or"
            " n(name)"
        )
    return text


class QuorumOptions(NodeOptions):
    """
    What C{corotwist quorumtool} understands.
    """

    synopsis = "Usage: corotwist quorumtool [options]"
    longdesc = (
        "Shows and changes quorum.  Exit status 0; 2 when the status is shown and"
        " this partition is not quorate; 1 for whatever went wrong."
    )
    optFlags = [
        ["status", "s", "show quorum status; done if nothing else is asked for"],
        ["monitor", "m", "show it again at each change, until interrupted"],
        ["list", "l", "list nodes"],
        ["all", "a", "show all names or addresses for each node"],
        ["parsable", "p", "always show the column of the device; see --json"],
        ["hex", "H", "show nodeids in hexadecimal"],
        ["addresses", "i", "show addresses instead of names"],
        ["force-unregister", "f", "unregister the quorum device: dangerous"],
    ]
    optParameters = [
        [
            *("votes", "v", None, "change the number of votes of a node"),
            _count(0, "New votes value was not valid, try a positive number or zero"),
        ],
        [
            *("nodeid", "n", 0, "the node, for -v; else our own"),
            _count(1, "The nodeid was not valid, try a positive number"),
        ],
        [
            *("expected", "e", None, "change the expected votes of the cluster"),
            _count(1, "New expected votes value was not valid, try a positive number"),
        ],
        ["order", "o", "a", "order by [a]ddress, [n]ame or node [i]d", _order],
    ]

    def opt_V(self) -> None:
        """
        Show the version and exit.
        """
        sys.stdout.write(f"corosync-quorumtool version: {corotwist.__version__}\n")
        raise SystemExit(0)

    def parseArgs(self, *ignored: str) -> None:
        """
        What stands behind the options has no effect, as in corosync-quorumtool.
        """

    @property
    def wishes(self) -> Wishes:
        """
        How to show nodes.
        """
        return Wishes(
            self["order"],
            bool(self["hex"]),
            bool(self["addresses"]),
            bool(self["all"]),
            bool(self["parsable"]),
        )


def here() -> datetime:
    """
    Now, in the time of where we are.
    """
    return datetime.now().astimezone()


async def perform(client: NodeClient, options: QuorumOptions, now: Now = here) -> int:
    """
    Do what the options say: as in corosync-quorumtool, one thing.
    """
    if options["expected"] is not None:
        return await _setExpected(client, options)
    if options["votes"] is not None:
        return await _setVotes(client, options)
    if options["force-unregister"]:
        return await _unregister(client, options)
    if options["monitor"]:
        return await Monitor(client, options, now).run()
    return await _show(client, options, now)


def run(argv: Sequence[str]) -> int:
    """
    Do what the command line says.

    @return: the exit status.
    """
    return asking.run(Tool(NAME, QuorumOptions, perform), argv)


# Showing.


async def _show(client: NodeClient, options: QuorumOptions, now: Now) -> int:
    facts = await gather(client, now())
    wantsStatus = options["status"] or not options["list"]
    if options["json"]:
        _printJson(facts)
    elif wantsStatus and not facts.provider:
        raise NotSupported(
            "Unable to start votequorum status tracking: CS_ERR_BAD_HANDLE; this"
            " cluster has no quorum provider: name one in quorum.provider"
        )
    else:
        text = quorumtext.status if wantsStatus else quorumtext.members
        sys.stdout.write(text(facts, options.wishes))
    return NOT_QUORATE if wantsStatus and not facts.status.quorate else DONE


def _printJson(facts: QuorumFacts) -> None:
    asking.printJson(NAME, **facts.report())


# Changing.


async def _setExpected(client: NodeClient, options: QuorumOptions) -> int:
    value = options["expected"]
    with _explaining("Unable to set expected votes", "expected votes"):
        await client.votequorum.setExpected(value)
    return _changed(options, expectedVotes=value)


async def _setVotes(client: NodeClient, options: QuorumOptions) -> int:
    votes, nodeid = options["votes"], options["nodeid"] or client.nodeid
    with _explaining(f"Unable to set votes {votes} for nodeid: {nodeid}", "votes"):
        await client.votequorum.setVotes(votes, nodeid)
    return _changed(options, nodeid=nodeid, votes=votes)


async def _unregister(client: NodeClient, options: QuorumOptions) -> int:
    """
    The device that is there; none is as good, as in corosync-quorumtool.
    """
    with _explaining("Unable to unregister quorum device", "the quorum device"):
        name = (await client.votequorum.info()).deviceName
        if name:
            await client.votequorum.deviceUnregister(name)
    return _changed(options, device=name)


@contextmanager
def _explaining(complaint: str, subject: str) -> Iterator[None]:
    """
    Refusals in corosync's words, and with the node's reason.
    """
    try:
        yield
    except NotSupported as error:
        text = f"You cannot change {subject}, nobody counts votes: {error}"
        raise NotSupported(text) from error
    except ServiceError as error:
        text = f"{complaint}: {errorName(error)}: {error}"
        raise type(error)(text) from error


def _changed(options: QuorumOptions, **change: Any) -> int:
    """
    People are told nothing of what was done.
    """
    if options["json"]:
        asking.printJson(NAME, changed=change)
    return DONE


# Following.


@define(eq=False)
class Monitor:
    """
    Shows the status at each verdict.

    What comes while it is being gathered is shown together, once more.
    """

    _client: NodeClient
    _options: QuorumOptions
    _now: Now
    _due: bool = field(default=False, init=False)
    _busy: bool = field(default=False, init=False)
    _over: Deferred[None] = field(factory=Deferred, init=False)

    async def run(self) -> int:
        """
        Until we are interrupted, over every restart of the node.
        """
        if not (await gather(self._client, self._now())).provider:
            raise NotSupported("Quorum is not configured - cannot monitor")
        follower = QuorumFollower(quorumChanged=self._changed)
        await self._client.quorum.track(follower)
        await self._over
        return FAILED

    def _changed(self, *verdict: Any) -> None:
        self._due = True
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._show()).addErrback(self._failed)

    async def _show(self) -> None:
        try:
            while self._due:
                self._due = False
                facts = await gather(self._client, self._now())
                if self._options["json"]:
                    _printJson(facts)
                else:
                    text = quorumtext.status(facts, self._options.wishes)
                    sys.stdout.write(text + "\n")
                    sys.stdout.flush()
        finally:
            self._busy = False

    def _failed(self, failure: Failure) -> None:
        """
        A node that is gone comes again, or does not; else it is over.
        """
        error: Any = failure.value
        if failure.check(Disconnected):
            asking.complain(NAME, error, asJson=bool(self._options["json"]))
        elif not self._over.called:
            self._over.errback(failure)
