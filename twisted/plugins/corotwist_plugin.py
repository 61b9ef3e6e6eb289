"""
What corotwist adds to Twisted: C{twistd corosync}, and its service engines.

Names only: nothing is imported before it is used.
"""

from typing import Any

from twisted.application.service import ServiceMaker

from corotwist.plugin import EngineMaker, providesQuorum


def fences(settings: Any) -> bool:
    """
    Does somebody make sure that lost nodes are off?
    """
    return bool(settings.fencing.agent)


def hasDevice(settings: Any) -> bool:
    """
    Does somebody count votes, and is there a quorum device among them?
    """
    counted = settings.quorum.provider == "corosync_votequorum"
    return bool(counted and settings.quorum.device is not None)


corosync = ServiceMaker(
    "corosync",
    "corotwist.tap",
    "The Corosync Cluster Engine: membership, one total order, process groups.",
    "corosync",
)

cfg = EngineMaker(
    "cfg",
    1,
    "corotwist.engines.cfg.OperatorEngine",
    "corotwist.ipc.cfg.OperatorLocator",
)
cmap = EngineMaker(
    "cmap",
    1,
    "corotwist.engines.cmap.ConfigurationMapEngine",
    "corotwist.ipc.cmap.ConfigurationMapLocator",
)
confdb = EngineMaker(
    "confdb",
    1,
    "corotwist.engines.confdb.ObjectDatabaseEngine",
    "corotwist.ipc.confdb.ObjectDatabaseLocator",
)
cpg = EngineMaker(
    "cpg", 1, "corotwist.engines.cpg.GroupsEngine", "corotwist.ipc.cpg.GroupsLocator"
)
external = EngineMaker(
    "external",
    1,
    "corotwist.engines.external.ExternalQuorumEngine",
    "corotwist.ipc.external.ExternalQuorumLocator",
    condition=providesQuorum("external"),
)
fencing = EngineMaker(
    "fencing",
    1,
    "corotwist.engines.fencing.FencingEngine",
    "corotwist.ipc.fencing.FencingLocator",
    condition=fences,
)
majority = EngineMaker(
    "majority",
    1,
    "corotwist.engines.majority.MajorityEngine",
    condition=providesQuorum("majority"),
)
qdevice = EngineMaker(
    "qdevice",
    1,
    "corotwist.engines.qdevice.QuorumDeviceEngine",
    "corotwist.ipc.qdevice.QuorumDeviceLocator",
    condition=hasDevice,
)
quorum = EngineMaker("quorum", 1, "corotwist.engines.quorum.QuorumEngine")
replicated = EngineMaker(
    "replicated", 1, "corotwist.engines.replicated.ReplicatedKeysEngine"
)
votequorum = EngineMaker(
    "votequorum",
    1,
    "corotwist.engines.votequorum.VoteQuorumEngine",
    "corotwist.ipc.votequorum.VoteQuorumLocator",
    condition=providesQuorum("corosync_votequorum"),
)
