"""
The arbiter: a service on a machine that belongs to no cluster, with a vote for
one partition of each cluster that asks.
"""

from typing import Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, ISSLTransport
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from corotwist.errors import AccessDenied, InvalidParameter, NotSupported
from corotwist.ipc.jsonparts import Taken
from corotwist.quorumdevice import messages
from corotwist.quorumdevice.arbitration import Arbitration, Terms
from corotwist.quorumdevice.messages import VERSION, Ask, Come, Show

# A vote is given for no longer than this: so long an arbiter is quiet after its
# start, and a node that asks for more is refused.
DEFAULT_MOST_SECONDS: Final = 60.0
MOST_CLUSTERS: Final = 256
MOST_CONNECTIONS: Final = 2048
# Of the name of a cluster, in characters.
LONGEST_NAME: Final = 255
# Of one question; the longest names all nodes of a cluster.
LARGEST_BOX_BYTES: Final = 256 << 10
# Who says nothing for so long is gone: a node asks far more often.
IDLE_SECONDS: Final = 120.0
_MS: Final = 1000
_DONE: Final = Failure(ConnectionDone())


class Arbiter:
    """
    All clusters.
    """

    _log = Logger()

    def __init__(self, clock: Any, mostSeconds: float = DEFAULT_MOST_SECONDS) -> None:
        self.clock = clock
        self.mostSeconds = mostSeconds
        self.connections = 0
        self._began = clock.seconds()
        self._clusters: dict[str, Arbitration] = {}

    def came(
        self, name: str, nodeid: int, incarnation: int, connection: Any, terms: Terms
    ) -> tuple[Arbitration, float]:
        """
        A node of a cluster is here.

        @return: what decides for its cluster, and for how many seconds that
            gives nothing to anybody who has nothing.
        @raise InvalidParameter: it cannot be, or asks for too much time.
        """
        if not 0 < len(name) <= LONGEST_NAME:
            raise InvalidParameter(f"a cluster's name has 1 to {LONGEST_NAME} letters")
        if terms.heldSeconds > self.mostSeconds:
            raise InvalidParameter(
                f"a vote would be given for {terms.heldSeconds:.1f} s, and here for"
                f" {self.mostSeconds:g} s at most: lower quorum.device.timeout, or"
                " start the arbiter with more"
            )
        found = self._clusters.get(name)
        if found is None:
            found = self._newCluster(name, terms)
        found.came(nodeid, incarnation, connection, terms)
        self._log.info(
            "Node {nodeid} of cluster {cluster} is here", nodeid=nodeid, cluster=name
        )
        quiet = self._began + self.mostSeconds - self.clock.seconds()
        return found, max(0.0, quiet)

    def _newCluster(self, name: str, terms: Terms) -> Arbitration:
        now = self.clock.seconds()
        if len(self._clusters) >= MOST_CLUSTERS:
            idle = [n for n, c in self._clusters.items() if c.idle(now)]
            for other in idle:
                del self._clusters[other]
            if not idle:
                raise InvalidParameter(f"{MOST_CLUSTERS} clusters are here already")
        made = Arbitration(terms, self._began, self.mostSeconds)
        self._clusters[name] = made
        return made

    def status(self) -> dict[str, Any]:
        """
        As JSON values.
        """
        now = self.clock.seconds()
        return {
            "upSeconds": round(now - self._began, 3),
            "mostSeconds": self.mostSeconds,
            "connections": self.connections,
            "clusters": {n: c.status(now) for n, c in sorted(self._clusters.items())},
        }


class ArbiterProtocol(amp.AMP, TimeoutMixin):
    """
    One connection: of a node, or of somebody who wants to see.
    """

    _log = Logger()

    def __init__(self, arbiter: Arbiter) -> None:
        super().__init__()
        self._arbiter = arbiter
        self._nodeid = 0
        self._cluster: Arbitration | None = None
        self._shown = Taken()
        self._boxBytes = 0

    def callLater(self, delay: float, call: Any) -> Any:
        """
        For L{TimeoutMixin}.
        """
        return self._arbiter.clock.callLater(delay, call)

    def connectionMade(self) -> None:
        super().connectionMade()
        self._arbiter.connections += 1
        self.setTimeout(IDLE_SECONDS)
        if self._arbiter.connections > MOST_CONNECTIONS:
            self._log.warn("Too many connections at the arbiter")
            self.timeoutConnection()

    def connectionLost(self, reason: Failure = _DONE) -> None:
        self.setTimeout(None)
        self._arbiter.connections -= 1
        if self._cluster is not None:
            self._cluster.went(self._nodeid, self)
            self._log.info("Node {nodeid} is gone", nodeid=self._nodeid)
        super().connectionLost(reason)

    def timeoutConnection(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        AMP keeps what belongs to one box, however much that is.
        """
        self._boxBytes += len(data)
        if self._boxBytes > LARGEST_BOX_BYTES:
            self.timeoutConnection()
        else:
            super().dataReceived(data)

    def ampBoxReceived(self, box: Any) -> None:
        self._boxBytes = 0
        super().ampBoxReceived(box)

    @Come.responder
    def _come(
        self,
        version: int,
        cluster: str,
        nodeid: int,
        incarnation: int,
        **given: Any,
    ) -> dict[str, Any]:
        self.resetTimeout()
        if version != VERSION:
            raise NotSupported(f"version {version}; here it is {VERSION}")
        self._check(cluster)
        if self._cluster is not None:
            raise InvalidParameter("a connection is for one node")
        terms = messages.terms(**given)
        self._cluster, quiet = self._arbiter.came(
            cluster, nodeid, incarnation, self, terms
        )
        self._nodeid = nodeid
        return {"version": VERSION, "quiet": round(quiet * _MS)}

    def _check(self, cluster: str) -> None:
        """
        With TLS, a certificate is that of one cluster: its common name.
        """
        name = commonName(self.transport)
        if name not in (None, cluster):
            raise AccessDenied(f"the certificate is that of cluster {name!r}")

    @Ask.responder
    def _ask(self, **given: Any) -> dict[str, Any]:
        self.resetTimeout()
        if self._cluster is None or not self._cluster.serves(self._nodeid, self):
            raise AccessDenied("this connection is not that of a node any more")
        wish = messages.wish(**given)
        vote = self._cluster.asked(self._nodeid, wish, self._arbiter.clock.seconds())
        return {"vote": messages.packVote(vote)}

    @Show.responder
    def _show(self, part: int | None = None) -> dict[str, Any]:
        self.resetTimeout()
        return self._shown.part(part, self._arbiter.status)


class ArbiterFactory(ServerFactory):
    """
    Makes the protocols.
    """

    noisy = False

    def __init__(self, arbiter: Arbiter) -> None:
        self.arbiter = arbiter

    def buildProtocol(self, addr: IAddress | None) -> ArbiterProtocol:
        return ArbiterProtocol(self.arbiter)


def commonName(transport: Any) -> str | None:
    """
    That of the certificate at the other end; L{None} without TLS.
    """
    if not ISSLTransport.providedBy(transport):
        return None
    certificate: Any = transport.getPeerCertificate()
    if certificate is None:
        return ""
    name: str | None = certificate.get_subject().commonName
    return name or ""
