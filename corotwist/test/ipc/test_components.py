"""
Tests of the commands that replace, load and unload engines.
"""

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from corotwist.engines.cpg import GroupsEngine
from corotwist.engines.interfaces import EngineNews, GroupView, News
from corotwist.engines.place import FAILURES_TOLERATED
from corotwist.errors import (
    AccessDenied,
    ComponentFailed,
    Exists,
    NotExist,
    NotSupported,
)
from corotwist.interfaces import IReplaceable
from corotwist.ipc.client import NodeClient
from corotwist.ipc.connection import Credentials
from corotwist.ipc.cpg import GroupsLocator
from corotwist.ipc.events import Gap
from corotwist.ipc.remote import connectLocal
from corotwist.plugin import EngineMaker
from corotwist.test.engines.newer import FAILING, NewerGroups
from corotwist.test.engines.orderednet import SHIPPED, formed
from corotwist.test.engines.test_changes import offer

GROUP = b"group"


class Poke(amp.Command):
    """
    Something that only version 2 understands.
    """

    commandName = b"cpg.poke"
    response = [(b"replaced", amp.Integer())]


class NewerLocator(GroupsLocator):
    """
    A locator of version 2.
    """

    @Poke.responder
    def _poke(self) -> dict[str, int]:
        return {"replaced": self._groups.replaced}  # type: ignore[attr-defined]


@implementer(IReplaceable)
class Remembering(NewerLocator):
    """
    One of version 3, with a memory.
    """

    memory = ""

    @Poke.responder
    def _poke(self) -> dict[str, int]:
        self.memory += "poked "
        return {"replaced": len(self.memory.split())}

    def handOver(self) -> Any:
        return {"memory": self.memory}

    def takeOver(self, state: Any, version: int) -> None:
        self.memory = f"{state['memory']} version{version} "


class RememberingToo(Remembering):
    """
    Another class, for version 4.
    """


def numbered(number: int) -> Any:
    class Numbered(NewerGroups):
        version = number

    return Numbered


FIRST = EngineMaker("cpg", 1, GroupsEngine, GroupsLocator)
OWN = EngineMaker("cpg", 2, NewerGroups, NewerLocator)


class ComponentsCase(SynchronousTestCase):
    def setUp(self) -> None:
        others = [maker for maker in SHIPPED if maker.name != "cpg"]
        self.net = formed(1, 2, makers=[*others, FIRST])
        self.node = self.net.nodes[1]
        offer(self.node, OWN, FAILING)
        self.client = self.connected(self.node)

    def connected(self, node: Any, uid: int = 0) -> NodeClient:
        who = Credentials(4242, uid, uid)
        connect = partial(connectLocal, self.net.clock, node.manager, who)
        client = NodeClient(self.net.clock, connect)
        client.startService()
        self.net.clock.advance(0)
        return client

    def turn(self) -> None:
        for _ in range(3):
            self.net.clock.advance(0)
            self.net.run()

    def result(self, asked: Deferred[Any]) -> Any:
        self.turn()
        return self.successResultOf(asked)


class CommandTests(ComponentsCase):
    """
    What operators ask.
    """

    def test_known(self) -> None:
        """
        All components are listed, with who serves.  (A7)
        """
        found = self.result(self.client.components.known())
        listed = [(c.name, c.version, c.state) for c in found.components]
        self.assertIn(("cpg", 1, "serving"), listed)
        self.assertIn(("cpg", 2, ""), listed)
        self.assertEqual(found.problems, ())

    def test_replace(self) -> None:
        """
        Who asked is answered, and every client hears of it.  (A11)
        """
        other = self.connected(self.node, uid=7)
        heard: list[EngineNews] = []
        other.components.changed = heard.append
        news = self.result(self.client.components.replace("cpg", 2))
        self.assertEqual(
            (news.name, news.version, news.what), ("cpg", 2, News.REPLACED)
        )
        self.assertEqual(heard, [news])

    def test_errors(self) -> None:
        """
        Errors come by their names, with the reason.
        """
        replace = self.client.components.replace
        for version, kind, reason in (
            (1, Exists, "serves already"),
            (9, NotExist, "there is: 1, 2, 3"),
            (3, ComponentFailed, "a mistake of a programmer"),
        ):
            asked = replace("cpg", version)
            self.turn()
            self.assertIn(reason, str(self.failureResultOf(asked, kind).value))
        self.flushLoggedErrors(RuntimeError)

    def test_notForEverybody(self) -> None:
        """
        Only root and the user of the daemon may change components; everybody
        may look.
        """
        client = self.connected(self.node, uid=12345)
        for asked in (
            client.components.replace("cpg", 2),
            client.components.load("cpg", 2),
            client.components.unload("cpg"),
        ):
            self.turn()
            failure = self.failureResultOf(asked, AccessDenied)
            self.assertIn("user 12345 does not administer", str(failure.value))
        self.result(client.components.known())


class LocatorTests(ComponentsCase):
    """
    Which version of an engine a client reaches.
    """

    def setUp(self) -> None:
        super().setUp()
        self.events: list[Any] = []
        joining = self.client.groups.join(
            GROUP,
            delivered=lambda sender, payload: self.events.append(payload),
            viewChanged=self.events.append,
            interrupted=self.events.append,
        )
        self.group = self.result(joining)
        self.events.clear()

    def test_newCommands(self) -> None:
        """
        A client that was there before can use the commands of a new version,
        and those of the old one again when it is back.  (A11)
        """
        asked = self.client.ask(Poke)
        self.failureResultOf(asked, NotSupported)
        self.result(self.client.components.replace("cpg", 2))
        answer = self.result(self.client.ask(Poke))
        self.assertEqual(answer, {"replaced": 1})
        self.result(self.client.components.replace("cpg", 1))
        self.failureResultOf(self.client.ask(Poke), NotSupported)

    def test_memory(self) -> None:
        """
        When both locators can hand over, the new one knows what the old one
        knew.  (A11)
        """
        offer(
            self.node,
            EngineMaker("cpg", 4, numbered(4), Remembering),
            EngineMaker("cpg", 5, numbered(5), RememberingToo),
        )
        self.result(self.client.components.replace("cpg", 4))
        self.assertEqual(self.result(self.client.ask(Poke)), {"replaced": 1})
        self.assertEqual(self.result(self.client.ask(Poke)), {"replaced": 2})
        self.result(self.client.components.replace("cpg", 5))
        self.assertEqual(self.result(self.client.ask(Poke)), {"replaced": 4})

    def test_broken(self) -> None:
        """
        A version whose locators cannot be made is reached through those that
        are there; who comes later is let in, and everything else is answered.
        (A75)
        """

        def broken(engine: Any, connection: Any) -> Any:
            raise RuntimeError("a mistake of a programmer")

        heard: list[EngineNews] = []
        self.client.components.changed = heard.append
        offer(self.node, EngineMaker("cpg", 4, numbered(4), broken))
        self.result(self.client.components.replace("cpg", 4))
        self.assertEqual([news.what for news in heard], [News.REPLACED])
        self.result(self.group.send(b"as before"))
        self.assertEqual(self.events, [b"as before"])
        other = self.connected(self.node)
        self.result(other.node.status())
        self.failureResultOf(other.groups.groups(), NotSupported)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_goesOn(self) -> None:
        """
        What the client sends before and after reaches its group.  (A11)
        """
        self.group.send(b"before")
        self.result(self.client.components.replace("cpg", 2))
        self.result(self.group.send(b"after"))
        self.assertEqual(self.events, [b"before", b"after"])

    def test_failed(self) -> None:
        """
        When an engine fails its clients are told, and each of their groups has
        a gap; what they ask of it is answered with an error, and everything
        else is answered.  When it is started again they are members again.
        (A75)
        """
        heard: list[EngineNews] = []
        self.client.components.changed = heard.append
        place = self.node.manager.roster.place("cpg")
        for _ in range(FAILURES_TOLERATED):
            place.call(_fail)
        self.flushLoggedErrors(RuntimeError)
        self.turn()
        self.assertEqual([news.what for news in heard], [News.FAILED])
        (gap,) = self.events
        self.assertIsInstance(gap, Gap)
        self.assertIn("out of service", gap.reason)
        other = self.connected(self.node)
        failure = self.failureResultOf(other.groups.groups(), NotSupported)
        self.assertIn("'cpg' is out of service", str(failure.value))
        self.result(self.client.node.status())
        self.result(self.client.components.replace("cpg", 1))
        self.net.form(1, 2)
        self.turn()
        self.assertIsInstance(self.events[-1], GroupView)
        self.result(self.group.send(b"again"))
        self.assertEqual(self.events[-1], b"again")

    def test_failedInAStream(self) -> None:
        """
        What a node says of nodes holds while the engine of groups is out of
        service; a stream has a gap, and groups are in it again behind that.
        (A75)
        """
        heard: list[Any] = []
        stream = self.client.stream(heard.append)
        self.result(stream.join(b"other"))
        view = self.client.views.current
        place = self.node.manager.roster.place("cpg")
        for _ in range(FAILURES_TOLERATED):
            place.call(_fail)
        self.flushLoggedErrors(RuntimeError)
        self.turn()
        self.result(self.client.components.replace("cpg", 1))
        self.turn()
        self.assertIsInstance(heard[-1], Gap)
        self.assertEqual(self.client.views.current, view)
        self.assertEqual(self.client.groups.view, view)
        self.net.form(1, 2)
        self.turn()
        kinds = [type(event).__name__ for event in heard]
        self.assertEqual(kinds[:3], ["View", "GroupView", "Gap"])
        self.assertEqual(kinds[3:], ["TransitionalView", "View", "GroupView"])
        self.assertEqual(heard[-1].view, heard[-2])

    def test_closing(self) -> None:
        """
        A client may go while an engine that it used is out of service.
        """
        self.node.manager.roster.place("cpg").fail()
        self.result(self.client.stopService())


def _fail() -> None:
    raise RuntimeError("again and again")
