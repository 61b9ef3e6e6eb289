"""
The keys of a node beside those of a real corosync node: recorded, with types.
"""

import json
import re
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import corotwist
from corotwist.config.values import string, u32, u64
from corotwist.engines.manager import ServiceManager
from corotwist.errors import NotSupported
from corotwist.ipc.client import embed
from corotwist.plugin import discover
from corotwist.test.config.factories import settings as parsed
from corotwist.test.ipc.fakes import LoneTotem
from corotwist.totem.membership import Configuration, RingId

RECORDED = Path(corotwist.__file__).parent / "test" / "vectors" / "cmap-keys.json"
FILE = """\
totem {
    version: 2
    cluster_name: vectors
    config_version: 1
    transport: udpu
    crypto_cipher: none
    crypto_hash: none
    interface {
        linknumber: 0
        bindnetaddr: 10.0.0.0
    }
}
nodelist {
    node {
        nodeid: 1
        name: node1
        ring0_addr: 10.0.0.1
    }
    node {
        nodeid: 2
        name: node2
        ring0_addr: 10.0.0.2
    }
}
quorum {
    provider: corosync_votequorum
    two_node: 1
    wait_for_all: 0
}
logging {
    to_stderr: yes
    to_syslog: no
    to_logfile: no
}
"""

# What real corosync has and we do not, and why.
ABSENT = {
    r"internal_configuration\.service\.[467]\.": "no load test, monitor, watchdog",
    r"runtime\.services\.(pload|mon|wd)\.": "the same",
    r"resources\.": "the same",
    r"runtime\.config\.totem\.(interface\.0\.)?knet_": "no knet",
    r"stats\.knet\.": "no knet",
    r"system\.": "the recorded file has them, and they are libqb's and knet's",
    r"runtime\.blackbox\.": "made with the log system, by the daemon",
    r"stats\.ipcs\..*(overload|_retries) ": "of shared memory, which is not used",
    r"stats\.srp\.(avg_|mtt_|continuous_|firewall_|time_since_)": "not measured",
}


class RecordedKeyTests(SynchronousTestCase):
    """
    Node 1 of two.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        totem: Any = LoneTotem(self.clock, 1)
        settings = parsed(FILE)
        self.manager = ServiceManager(self.clock, totem, settings, discover())
        totem.listener = self.manager
        self.successResultOf(self.manager.start())
        totem.start()
        self._settle()
        both = (1, 2)
        self.manager.configurationChanged(
            Configuration(RingId(8, 1), both, transitional=False, joined=(2,))
        )
        self.manager.engines["cmap"]._published.versionHeard(2, 1)
        self.client = self.successResultOf(embed(self.clock, self.manager, 21673))
        self.recorded = json.loads(RECORDED.read_text())

    def _settle(self) -> None:
        for _ in range(50):
            self.clock.advance(0)

    def _missing(self, mapName: str) -> list[str]:
        keys: Any = {"icmap": self.client.cmap, "stats": self.client.cmap.statistics}
        listed = self._got(keys[mapName].items())
        # The connection's number is another one in each run.
        ours = {re.sub(r"\.0x[0-9a-f]+\.", ".*.", n): v.kind.label for n, v in listed}
        missing = []
        for name, kind in self.recorded[mapName].items():
            plain = re.sub(r"\.0x[0-9a-f]+\.", ".*.", name)
            if ours.get(plain) != kind:
                missing.append(f"{plain} {kind}: {ours.get(plain)}")
        return missing

    def _got(self, deferred: Any) -> Any:
        self._settle()
        return self.successResultOf(deferred)

    def _unexplained(self, missing: list[str]) -> list[str]:
        return [name for name in missing if not any(re.match(r, name) for r in ABSENT)]

    def test_icmap(self) -> None:
        """
        Every key of the recorded node that we can have is there, of the same
        type (E1, E3).
        """
        self.assertEqual(self._unexplained(self._missing("icmap")), [])

    def test_stats(self) -> None:
        """
        The same for its figures, those of the very connection that asks
        included (E1, A18).
        """
        self.assertEqual(self._unexplained(self._missing("stats")), [])

    def test_exceptions(self) -> None:
        """
        Every exception is one.
        """
        missing = [*self._missing("icmap"), *self._missing("stats")]
        idle = [r for r in ABSENT if not any(re.match(r, name) for name in missing)]
        self.assertEqual(idle, [])

    def test_members(self) -> None:
        """
        A member is shown as corosync shows it, the blank after its addresses
        included, and again when it has left and come back.
        """
        keys = self.client.cmap
        address = self._got(keys.get("runtime.members.2.ip"))
        self.assertEqual(address, string("r(0) ip(10.0.0.2) "))
        alone, both = RingId(12, 1), RingId(16, 1)
        for configuration in (
            Configuration(alone, (1,), transitional=True, left=(2,)),
            Configuration(alone, (1,), transitional=False),
        ):
            self.manager.configurationChanged(configuration)
        status = self._got(keys.get("runtime.members.2.status"))
        self.assertEqual(status, string("left"))
        self.manager.configurationChanged(
            Configuration(both, (1, 2), transitional=False, joined=(2,))
        )
        found = dict(self._got(keys.items("runtime.members.2.")))
        self.assertEqual(found["runtime.members.2.status"], string("joined"))
        self.assertEqual(found["runtime.members.2.join_count"], u32(2))
        self.assertEqual(found["runtime.members.2.config_version"], u64(1))

    def test_timers(self) -> None:
        """
        The values in force are those that corosync computes (in milliseconds).
        """
        found = dict(self._got(self.client.cmap.items("runtime.config.totem.")))
        for name, number in (
            *(("token", 3000), ("token_retransmit", 714), ("hold", 561)),
            *(("consensus", 3600), ("token_warning", 75), ("window_size", 50)),
        ):
            self.assertEqual(found[f"runtime.config.totem.{name}"], u32(number))

    def test_clear(self) -> None:
        """
        Counters begin anew when somebody writes to the key for that; what is
        not there cannot be cleared, nor can anything else be written (E9).
        """
        statistics = self.client.cmap.statistics
        self._got(statistics.get("stats.srp.mcast_tx"))
        name = next(
            n for n, _ in self._got(statistics.items()) if n.endswith(".requests")
        )
        self.assertGreater(self._got(statistics.get(name)).content, 1)
        self._got(statistics.set("stats.clear.all", u32(1)))
        self.assertEqual(self._got(statistics.get(name)), u64(1))
        refused = statistics.set("stats.clear.knet", u32(1))
        self._settle()
        self.failureResultOf(refused, NotSupported)
