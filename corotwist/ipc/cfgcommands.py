"""
What clients and the cfg service say to each other.
"""

from twisted.protocols import amp

from corotwist.ipc.jsonparts import JsonText
from corotwist.ipc.wire import ERRORS, Unsigned

# Of the name of a client's program.
LONGEST_NAME = 64


class Reload(amp.Command):
    """
    Have the cluster read its configuration again; answered when it is over,
    with the beginning of a report in JSON.
    """

    commandName = b"cfg.reload"
    arguments = [
        (b"dryRun", amp.Boolean(optional=True)),
        (b"force", amp.Boolean(optional=True)),
        (b"local", amp.Boolean(optional=True)),
    ]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class Report(amp.Command):
    """
    A further part of the report of our last reload; the first is part 0.
    """

    commandName = b"cfg.report"
    arguments = [(b"part", Unsigned(32))]
    response = [(b"json", amp.String()), (b"more", amp.Boolean())]
    errors = ERRORS


class ReopenLogs(amp.Command):
    """
    Have this node open its log files anew.
    """

    commandName = b"cfg.reopenLogs"
    errors = ERRORS


class Dump(amp.Command):
    """
    Have this node write its flight recorder to a file.
    """

    commandName = b"cfg.dump"
    arguments = [(b"reason", amp.Unicode(optional=True))]
    response = [(b"path", amp.Unicode())]
    errors = ERRORS


class Kill(amp.Command):
    """
    Have a member of the ring end at once; answered when that is on its way.
    """

    commandName = b"cfg.kill"
    arguments = [(b"nodeid", Unsigned(32)), (b"reason", amp.Unicode(optional=True))]
    errors = ERRORS


class TryShutdown(amp.Command):
    """
    Stop this node; answered when that is certain, with those who objected in
    vain: C{pid}, C{name} and C{why} of each.

    C{how} is 0 if nobody objects, 1 regardless of that, 2 without asking.
    """

    commandName = b"cfg.tryShutdown"
    arguments = [(b"how", Unsigned(8))]
    response = [(b"objections", JsonText())]
    errors = ERRORS


class TrackShutdown(amp.Command):
    """
    Ask us, too, before this node stops.
    """

    commandName = b"cfg.trackShutdown"
    arguments = [(b"name", amp.Unicode(optional=True))]
    errors = ERRORS


class UntrackShutdown(amp.Command):
    """
    Do not ask us any more; an answer that we owe is a yes.
    """

    commandName = b"cfg.untrackShutdown"
    errors = ERRORS


class ReplyToShutdown(amp.Command):
    """
    Our answer.
    """

    commandName = b"cfg.replyToShutdown"
    arguments = [(b"yes", amp.Boolean())]
    errors = ERRORS


class ShutdownProposed(amp.Command):
    """
    May this node stop?
    """

    commandName = b"cfg.shutdownProposed"
    arguments = [(b"how", Unsigned(8))]
    requiresAnswer = False


class ShutdownWithdrawn(amp.Command):
    """
    Nobody waits for our answer any more.
    """

    commandName = b"cfg.shutdownWithdrawn"
    requiresAnswer = False


class NodeStatusGet(amp.Command):
    """
    How a node is, 0 for this one: the fields of a C{NodeStatus}.
    """

    commandName = b"cfg.nodeStatus"
    arguments = [(b"nodeid", Unsigned(32))]
    response = [(b"status", JsonText())]
    errors = ERRORS


class RingStatusGet(amp.Command):
    """
    The links of this node: C{name} and C{status} of each.
    """

    commandName = b"cfg.ringStatus"
    response = [(b"links", JsonText())]
    errors = ERRORS


class NodeAddresses(amp.Command):
    """
    The addresses of a node, 0 for this one, by link.
    """

    commandName = b"cfg.nodeAddresses"
    arguments = [(b"nodeid", Unsigned(32))]
    response = [(b"addresses", JsonText())]
    errors = ERRORS


class LocalGet(amp.Command):
    """
    The nodeid of this node.
    """

    commandName = b"cfg.localGet"
    response = [(b"nodeid", Unsigned(32))]
    errors = ERRORS
