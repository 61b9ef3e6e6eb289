"""
The example that leads.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest

import corotwist
from corotwist.engines.interfaces import ViewId
from corotwist.test.ipc.cluster import ClusterCase

EXAMPLE = Path(corotwist.__file__).parents[1] / "examples" / "leader" / "leader.py"


class LeaderTests(ClusterCase):
    """
    C{examples/leader}, on each of three nodes; quorate are two and more.

    @ivar leaders: by nodeid.
    @ivar tokens: of all leaderships, in their order.
    """

    def setUp(self) -> None:
        super().setUp()
        if not EXAMPLE.exists():
            raise SkipTest("not a checkout: there are no examples")
        spec = spec_from_file_location("leader", EXAMPLE)
        assert spec is not None, "it is a module"
        assert spec.loader is not None, "in a file"
        example: Any = module_from_spec(spec)
        spec.loader.exec_module(example)
        self.tokens: list[ViewId] = []
        self.leaders: dict[int, Any] = {}
        self.clients = {nodeid: self.client(nodeid) for nodeid in self.nodeids}
        for nodeid, client in self.clients.items():
            stream = client.stream()
            group = self.result(stream.join(example.GROUP))
            leader = example.Leadership(group, client.groups.own, self.told)
            self.leaders[nodeid] = leader
            Deferred.fromCoroutine(leader.follow(stream))
        self.turn()

    def told(self, token: ViewId | None) -> None:
        if token is not None:
            self.tokens.append(token)

    def leading(self) -> list[int]:
        """
        Who leads.
        """
        self.turn()
        return [nodeid for nodeid, one in self.leaders.items() if one.token]

    def test_oneLeads(self) -> None:
        """
        One leads; when it is lost, or cut off, another one does where the nodes
        are quorate, and nobody elsewhere; each has a larger token.
        """
        self.assertEqual(self.leading(), [1])
        self.net.form(1)
        self.net.form(2, 3)
        self.assertEqual(self.leading(), [2])
        self.net.form(1, 2, 3)
        self.assertEqual(self.leading(), [1])
        self.net.form(1)
        self.net.form(2)
        self.net.form(3)
        self.assertEqual(self.leading(), [])
        self.net.form(2, 3)
        self.assertEqual(self.leading(), [2])
        self.assertEqual(self.tokens, sorted({*self.tokens}))
        self.assertEqual(len(self.tokens), 4)

    def test_withoutNode(self) -> None:
        """
        Who loses the connection to its node does not lead, until it is back;
        meanwhile the others have another leader.
        """
        self.clients[1]._remote.close()
        self.net.clock.advance(0)
        self.assertEqual(self.leading(), [2])
        self.pass_(2.0)
        self.assertEqual(self.leading(), [1])

    def test_leaderLeaves(self) -> None:
        """
        When the process of the leader ends the next one leads, in the same view
        of the nodes.
        """
        before = self.leaders[1].token
        self.result(self.clients[1].stopService())
        self.assertEqual(self.leading(), [2])
        self.assertEqual(self.leaders[2].token, before)
