"""
The cfg service under the names of C{corosync/cfg.h}.

Where the C call fills in pointers, the call here returns a tuple that begins with
the number; addresses are text.
"""

import json
import sys
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen
from twisted.protocols import amp

from corotwist.cstyle.connection import service_connect
from corotwist.cstyle.dispatching import ServiceHandle, finalize
from corotwist.cstyle.types import CsError, results, status
from corotwist.errors import (
    Conflict,
    InvalidParameter,
    NotExist,
    NotSupported,
    ServiceError,
)
from corotwist.ipc import cfgcommands as commands

CFG_MAX_HOST_LEN: Final = 256
CFG_MAX_LINKS: Final = 8


class ShutdownFlags(IntEnum):
    """
    C{corosync_cfg_shutdown_flags_t}.
    """

    COROSYNC_CFG_SHUTDOWN_FLAG_REQUEST = 0
    COROSYNC_CFG_SHUTDOWN_FLAG_REGARDLESS = 1
    COROSYNC_CFG_SHUTDOWN_FLAG_IMMEDIATE = 2


class ShutdownReplyFlags(IntEnum):
    """
    C{corosync_cfg_shutdown_reply_flags_t}.
    """

    COROSYNC_CFG_SHUTDOWN_FLAG_NO = 0
    COROSYNC_CFG_SHUTDOWN_FLAG_YES = 1


class NodeStatusVersion(IntEnum):
    """
    C{corosync_cfg_node_status_version_t}.
    """

    CFG_NODE_STATUS_V1 = 1


COROSYNC_CFG_SHUTDOWN_FLAG_REQUEST: Final = (
    ShutdownFlags.COROSYNC_CFG_SHUTDOWN_FLAG_REQUEST
)
COROSYNC_CFG_SHUTDOWN_FLAG_REGARDLESS: Final = (
    ShutdownFlags.COROSYNC_CFG_SHUTDOWN_FLAG_REGARDLESS
)
COROSYNC_CFG_SHUTDOWN_FLAG_IMMEDIATE: Final = (
    ShutdownFlags.COROSYNC_CFG_SHUTDOWN_FLAG_IMMEDIATE
)
COROSYNC_CFG_SHUTDOWN_FLAG_NO: Final = ShutdownReplyFlags.COROSYNC_CFG_SHUTDOWN_FLAG_NO
COROSYNC_CFG_SHUTDOWN_FLAG_YES: Final = (
    ShutdownReplyFlags.COROSYNC_CFG_SHUTDOWN_FLAG_YES
)
CFG_NODE_STATUS_V1: Final = NodeStatusVersion.CFG_NODE_STATUS_V1

ShutdownCallback = Callable[["CfgHandle", ShutdownFlags], object]


@frozen
class CfgCallbacks:
    """
    C{corosync_cfg_callbacks_t}.
    """

    corosync_cfg_shutdown_callback: ShutdownCallback | None = None


@frozen
class LinkStatusV1:
    """
    C{struct corosync_knet_link_status_v1}.
    """

    enabled: bool
    connected: bool
    dynconnected: bool
    mtu: int
    src_ipaddr: str
    dst_ipaddr: str


@frozen
class NodeStatusV1:
    """
    C{struct corosync_cfg_node_status_v1}; the links that there are.
    """

    version: NodeStatusVersion
    nodeid: int
    reachable: bool
    remote: bool
    external: bool
    onwire_min: int
    onwire_max: int
    onwire_ver: int
    link_status: tuple[LinkStatusV1, ...]


@define(eq=False)
class CfgHandle(ServiceHandle):
    """
    One connection of the process.
    """

    callbacks: CfgCallbacks = field(kw_only=True)

    def ask(self, command: type[amp.Command], **arguments: Any) -> Any:
        """
        Ask the node.
        """
        return self.connection.send_recv(command, **arguments)

    def received(self, name: bytes, box: amp.AmpBox) -> None:
        if name == commands.ShutdownProposed.commandName:
            asked = commands.ShutdownProposed.parseArguments(box, None)
            callback = self.callbacks.corosync_cfg_shutdown_callback
            self.expect(callback, self, ShutdownFlags(asked["how"]))
        else:
            super().received(name, box)


# The calls.


def corosync_cfg_initialize(
    cfg_callbacks: CfgCallbacks | None = None, path: str | None = None
) -> tuple[CsError, CfgHandle | None]:
    """
    Connect to the node of this machine.

    @param path: of its socket: see L{service_connect}.
    """
    try:
        connection = service_connect(path)
    except ServiceError as error:
        return CsError(error.code), None
    callbacks = cfg_callbacks or CfgCallbacks()
    return CsError.CS_OK, CfgHandle(connection, callbacks=callbacks)


@results(1)
def corosync_cfg_fd_get(cfg_handle: CfgHandle) -> tuple[int]:
    """
    A descriptor to poll for something to dispatch.
    """
    return (cfg_handle.connection.fd_get(),)


@status
def corosync_cfg_dispatch(cfg_handle: CfgHandle, dispatch_flags: int) -> None:
    """
    Be asked about shutdowns: see L{ServiceHandle.dispatch}.
    """
    cfg_handle.dispatch(dispatch_flags)


@status
def corosync_cfg_finalize(cfg_handle: CfgHandle) -> None:
    """
    Close.
    """
    finalize(cfg_handle)


@results(3)
def corosync_cfg_ring_status_get(
    cfg_handle: CfgHandle,
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """
    Names of the links of this node, what is to be said of each, and how many
    there are.
    """
    links = cfg_handle.ask(commands.RingStatusGet)["links"]
    names = tuple(link["name"] for link in links)
    return names, tuple(link["status"] for link in links), len(links)


@results(1)
def corosync_cfg_node_status_get(
    cfg_handle: CfgHandle,
    nodeid: int,
    version: int = CFG_NODE_STATUS_V1,
) -> tuple[NodeStatusV1]:
    """
    How a node is.
    """
    if version != CFG_NODE_STATUS_V1:
        raise NotSupported(f"there is no version {version} of this")
    try:
        told = cfg_handle.ask(commands.NodeStatusGet, nodeid=nodeid)["status"]
    except NotExist as error:
        # As in C: a failed operation.
        raise Conflict(str(error)) from error
    links = tuple(_link(link) for link in told["links"][:CFG_MAX_LINKS])
    return (
        NodeStatusV1(
            version=CFG_NODE_STATUS_V1,
            nodeid=told["nodeid"],
            reachable=told["reachable"],
            remote=told["remote"],
            external=told["external"],
            onwire_min=told["wireMin"],
            onwire_max=told["wireMax"],
            onwire_ver=told["wireVersion"],
            link_status=links,
        ),
    )


def _link(told: dict[str, Any]) -> LinkStatusV1:
    return LinkStatusV1(
        told["enabled"],
        told["connected"],
        told["dynconnected"],
        told["mtu"],
        told["source"],
        told["destination"],
    )


@status
def corosync_cfg_kill_node(cfg_handle: CfgHandle, nodeid: int, reason: str) -> None:
    """
    Have a member of the ring end at once.
    """
    cfg_handle.ask(commands.Kill, nodeid=nodeid, reason=reason)


@status
def corosync_cfg_trackstart(cfg_handle: CfgHandle, track_flags: int = 0) -> None:
    """
    Be asked before this node stops.
    """
    cfg_handle.ask(commands.TrackShutdown, name=Path(sys.argv[0]).name)


@status
def corosync_cfg_trackstop(cfg_handle: CfgHandle) -> None:
    """
    Do not mind any more.
    """
    cfg_handle.ask(commands.UntrackShutdown)


@status
def corosync_cfg_try_shutdown(cfg_handle: CfgHandle, flags: int) -> None:
    """
    Stop this node; returns when that is certain, or refused.
    """
    if flags not in {*ShutdownFlags}:
        raise InvalidParameter(f"there is no shutdown of kind {flags}")
    cfg_handle.ask(commands.TryShutdown, how=flags)


@status
def corosync_cfg_replyto_shutdown(cfg_handle: CfgHandle, flags: int) -> None:
    """
    The answer to the callback.
    """
    yes = flags == COROSYNC_CFG_SHUTDOWN_FLAG_YES
    cfg_handle.ask(commands.ReplyToShutdown, yes=yes)


@results(2)
def corosync_cfg_get_node_addrs(
    cfg_handle: CfgHandle, nodeid: int, max_addrs: int
) -> tuple[int, tuple[str, ...]]:
    """
    How many addresses a node has, and as many of them as are wanted.
    """
    told = cfg_handle.ask(commands.NodeAddresses, nodeid=nodeid)["addresses"]
    return len(told), tuple(told[:max_addrs])


@results(1)
def corosync_cfg_local_get(handle: CfgHandle) -> tuple[int]:
    """
    The nodeid of this node.
    """
    return (handle.ask(commands.LocalGet)["nodeid"],)


@status
def corosync_cfg_reload_config(handle: CfgHandle) -> None:
    """
    Have every node read its configuration again.
    """
    answer = handle.ask(commands.Reload)
    text, part = answer["json"], 0
    while answer["more"]:
        part += 1
        answer = handle.ask(commands.Report, part=part)
        text += answer["json"]
    report = json.loads(text)
    if report["status"] == "refused":
        raise InvalidParameter(report["reason"])


@status
def corosync_cfg_reopen_log_files(handle: CfgHandle) -> None:
    """
    Have this node open its log files anew.
    """
    handle.ask(commands.ReopenLogs)
