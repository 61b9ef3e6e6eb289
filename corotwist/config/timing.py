"""
Timers that follow from one another, in whole milliseconds as corosync
calculates them.  [SRP 13]
"""

from collections.abc import Callable

from attrs import frozen

from corotwist.config.settings import Timing


@frozen
class Derived:
    """
    The four times that have no fixed default, in milliseconds.
    """

    token: int
    tokenRetransmit: int
    hold: int
    consensus: int


def derive(
    nodes: int,
    *,
    token: int = 3000,
    coefficient: int = 650,
    retransmits: int = 4,
    tokenRetransmit: int | None = None,
    hold: int | None = None,
    consensus: int | None = None,
) -> Derived:
    """
    Fill in what is L{None}.

    @param nodes: entries of the node list; each above two adds
        C{coefficient} to the token time.
    """
    token += max(0, nodes - 2) * coefficient
    if tokenRetransmit is None:
        tokenRetransmit = int(token / (retransmits + 0.2))
    if hold is None:
        hold = int(tokenRetransmit * 0.8 - 10)
    if consensus is None:
        consensus = int(1.2 * token)
    return Derived(token, tokenRetransmit, hold, consensus)


def timing(
    derived: Derived, number: Callable[[str], int], flag: Callable[[str], bool]
) -> Timing:
    """
    The ring's timers in seconds.

    @param number: gives an option of section C{totem} by its name.
    @param flag: gives a switch of section C{totem} by its name.
    """

    def seconds(name: str) -> float:
        return number(name) / 1000

    return Timing(
        token=derived.token / 1000,
        tokenWarning=number("token_warning") / 100,
        tokenRetransmit=derived.tokenRetransmit / 1000,
        hold=derived.hold / 1000,
        join=seconds("join"),
        sendJoin=seconds("send_join"),
        consensus=derived.consensus / 1000,
        merge=seconds("merge"),
        downcheck=seconds("downcheck"),
        heartbeatFailuresAllowed=number("heartbeat_failures_allowed"),
        maxNetworkDelay=seconds("max_network_delay"),
        windowSize=number("window_size"),
        maxMessages=number("max_messages"),
        missCount=number("miss_count_const"),
        failReceive=number("fail_recv_const"),
        sequenceUnchanged=number("seqno_unchanged_const"),
        cancelTokenHoldOnRetransmit=flag("cancel_token_hold_on_retransmit"),
    )
