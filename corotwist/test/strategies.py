"""
Hypothesis strategies for what is on the wire, and damage to it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from corotwist.engines import executive
from corotwist.engines.executive import Executive
from corotwist.totem import wire
from corotwist.totem.fragments import Packed
from corotwist.totem.knet import packet as knet
from corotwist.totem.membership import RingId
from corotwist.totem.sequence import MASK

# A property test on a shared machine: no deadline, nothing written to disk.
thorough = settings(
    deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)

BYTE_ORDERS: Final = ("<", ">")
# Damaged inputs for each parser; a nightly run asks for more.
FUZZ_CASES: Final = int(os.environ.get("COROTWIST_FUZZ_CASES", "20000"))
# What once broke a parser, in fields of any width.
HARD_VALUES: Final = (
    *(0, 1, 2, 29, 30, 31, 63, 64, 65, 127, 128, 129, 255, 256),
    *(383, 384, 385, 16383, 16384, 16385, 65534, 65535, 65536),
    *(2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1),
)
WIDTHS: Final = (1, 2, 4, 8)

byteOrders = st.sampled_from(BYTE_ORDERS)
u8 = st.integers(0, 2**8 - 1)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
i32 = st.integers(-(2**31), 2**31 - 1)
nodeids = st.integers(1, 2**32 - 1)
ringIds = st.builds(RingId, u64, nodeids)
payloads = st.binary(max_size=200)


# The ring's messages.

regulars = st.builds(
    wire.makeRegular,
    nodeids,
    u32,
    i32,
    ringIds,
    i32,
    payloads,
    st.just(False),
    byteOrders,
)
encapsulated = st.builds(
    wire.makeRegular,
    nodeids,
    u32,
    i32,
    ringIds,
    i32,
    regulars.map(lambda inner: inner.frame),
    st.just(True),
    byteOrders,
)


@st.composite
def _tokens(draw: st.DrawFn) -> wire.Token:
    sequence = draw(u32)
    ahead = draw(st.integers(-(2**31), wire.MOST_AHEAD))
    requests = st.tuples(ringIds, u32)
    return wire.Token(
        draw(nodeids),
        sequence,
        draw(u32),
        (sequence - ahead) & MASK,
        draw(u32),
        draw(ringIds),
        draw(u32),
        draw(u32),
        draw(i32),
        draw(st.lists(requests, max_size=wire.MOST_REQUESTS)),
        draw(u32),
        draw(byteOrders),
    )


tokens = _tokens()
mergeDetects = st.builds(wire.MergeDetect, nodeids, nodeids, ringIds, u32, byteOrders)
_processors = st.lists(u32, max_size=20).map(tuple)
joins = st.builds(
    wire.Join, u32, nodeids, _processors, _processors, u64, u32, byteOrders
)


@st.composite
def _commitTokens(draw: st.DrawFn) -> wire.CommitToken:
    members = sorted(draw(st.sets(u32, min_size=1, max_size=20)))
    count = len(members)
    entry = st.builds(wire.CommitEntry, ringIds, u32, u32, u32)
    return wire.CommitToken(
        draw(nodeids),
        draw(u32),
        draw(ringIds),
        tuple(members),
        tuple(draw(st.lists(entry, min_size=count, max_size=count))),
        draw(st.integers(0, count)),
        draw(u32),
        draw(u32),
        draw(byteOrders),
    )


commitTokens = _commitTokens()
holdCancels = st.builds(wire.HoldCancel, nodeids, ringIds, u32, byteOrders)
# Those whose length is announced.
closedMessages = st.one_of(tokens, mergeDetects, joins, commitTokens, holdCancels)
ringMessages = st.one_of(closedMessages, regulars, encapsulated)


# Packed frames.

packedFrames = st.builds(
    Packed, st.lists(payloads, min_size=1, max_size=20), u8, u8, byteOrders
)


# Executive messages.

groups = st.binary(max_size=executive.LONGEST_NAME)
_services = st.lists(i32, max_size=executive.MOST_SERVICES).map(tuple)
_left = st.lists(u32, max_size=20).map(tuple)
_devices = st.binary(max_size=executive.LONGEST_DEVICE_NAME - 1).map(
    lambda name: name.replace(b"\0", b"0")
)
_reasons = st.binary(max_size=executive.LONGEST_REASON - 1)
_items = st.builds(
    executive.CmapItem,
    st.binary(max_size=executive.LONGEST_KEY),
    u8,
    st.binary(max_size=40),
)

EXECUTIVE_MESSAGES: Final[dict[type[Executive], st.SearchStrategy[Executive]]] = {
    executive.Barrier: st.builds(executive.Barrier, ringIds),
    executive.ServiceList: st.builds(executive.ServiceList, ringIds, _services),
    executive.CmapMcast: st.builds(
        executive.CmapMcast, u8, st.lists(_items, max_size=4).map(tuple)
    ),
    executive.ProcJoin: st.builds(executive.ProcJoin, groups, u32, u32),
    executive.ProcLeave: st.builds(executive.ProcLeave, groups, u32, u32),
    executive.JoinList: st.builds(
        executive.JoinList,
        st.lists(st.tuples(u32, groups), max_size=5).map(tuple),
        i32,
    ),
    executive.Mcast: st.builds(executive.Mcast, groups, u32, u32, u64, payloads),
    executive.OldDownlist: st.builds(executive.OldDownlist, _left),
    executive.Downlist: st.builds(executive.Downlist, u32, _left),
    executive.PartialMcast: st.builds(
        executive.PartialMcast,
        groups,
        u32,
        u32,
        u64,
        u32,
        st.sampled_from(executive.Part),
        payloads,
    ),
    executive.NodeInfo: st.builds(executive.NodeInfo, u32, u32, u32, u32),
    executive.Reconfigure: st.builds(
        executive.Reconfigure, u32, u32, st.sampled_from(executive.Reconfigured)
    ),
    executive.QdeviceRegistration: st.builds(
        executive.QdeviceRegistration, st.booleans(), _devices
    ),
    executive.QdeviceRename: st.builds(executive.QdeviceRename, _devices, _devices),
    executive.QdeviceExtra: st.builds(executive.QdeviceExtra, u32, payloads),
    executive.RingReenable: st.builds(executive.RingReenable, u32, u64),
    executive.KillNode: st.builds(executive.KillNode, u32, _reasons),
    executive.Shutdown: st.builds(executive.Shutdown),
    executive.Reload: st.builds(executive.Reload, u32, u64),
    executive.CryptoReconfigure: st.builds(
        executive.CryptoReconfigure, st.sampled_from(executive.CryptoPhase)
    ),
}
executiveMessages = st.one_of(*EXECUTIVE_MESSAGES.values())


# Knet packets.

_times = st.binary(min_size=knet.TIME_BYTES, max_size=knet.TIME_BYTES)


@st.composite
def _knetData(draw: st.DrawFn) -> knet.Data:
    fragments = draw(st.integers(1, 2**8 - 1))
    fragment = draw(st.integers(1, fragments)) if fragments > 1 else 0
    return knet.Data(
        draw(u16),
        draw(u16),
        draw(st.binary(min_size=1, max_size=200)),
        draw(st.booleans()),
        fragments,
        fragment,
        draw(u8),
        draw(st.integers(-128, 127)),
        draw(u8),
        (draw(u8), draw(u8)),
    )


knetPackets = st.one_of(
    _knetData(),
    st.builds(knet.Ping, u16, u8, _times, u16, st.booleans(), u8, u8),
    st.builds(knet.Pong, u16, u8, _times, u16, st.booleans(), u8, u8),
    st.builds(knet.Probe, u16, u8, u16, payloads, u8, u8),
    st.builds(knet.ProbeReply, u16, u8, u16, st.just(b""), u8, u8),
)


# Damage.


def hardened(valid: bytes) -> Iterator[bytes]:
    """
    C{valid} with each hard value at each place, in each width and both orders.
    """
    for width in WIDTHS:
        values = [value for value in HARD_VALUES if value < 1 << 8 * width]
        for offset in range(len(valid) - width + 1):
            for value in values:
                for order in ("little", "big"):
                    field = value.to_bytes(width, order)  # type: ignore[arg-type]
                    yield valid[:offset] + field + valid[offset + width :]


def damaged(valid: Sequence[bytes], random: Random) -> Iterator[bytes]:
    """
    L{FUZZ_CASES} inputs, each a valid one changed in one to three places.
    """
    for _ in range(FUZZ_CASES):
        data = bytearray(random.choice(valid))
        for _ in range(random.randint(1, 3)):
            random.choice(_DAMAGES)(data, random)
        yield bytes(data)


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _overwrite(data: bytearray, random: Random) -> None:
    width = random.choice(WIDTHS)
    value = random.choice(HARD_VALUES) & ((1 << 8 * width) - 1)
    at = random.randint(0, len(data))
    data[at : at + width] = value.to_bytes(width, "little")


def _cut(data: bytearray, random: Random) -> None:
    del data[random.randint(0, len(data)) :]


def _remove(data: bytearray, random: Random) -> None:
    at = random.randint(0, len(data))
    del data[at : at + random.randint(1, 8)]


def _extend(data: bytearray, random: Random) -> None:
    data += random.randbytes(random.randint(1, 8))


def _repeat(data: bytearray, random: Random) -> None:
    at = random.randint(0, len(data))
    data[at:at] = data[at : at + random.randint(1, 16)]


_DAMAGES: Final[tuple[Callable[[bytearray, Random], None], ...]] = (
    _flip,
    _overwrite,
    _cut,
    _remove,
    _extend,
    _repeat,
)
