"""
For clients: commands, who answers them in the node, and who asks in a program.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.errors import Exists
from corotwist.ipc.client import NodeClient
from corotwist.ipc.wire import ERRORS

Changed = Callable[[str, int], object]


class Add(amp.Command):
    """
    Add to a counter; answered when it is done.
    """

    commandName = b"counter.add"
    arguments = [(b"name", amp.Unicode()), (b"amount", amp.Integer())]
    response = [(b"value", amp.Integer())]
    errors = ERRORS


class Value(amp.Command):
    """
    A counter, as the node has it.
    """

    commandName = b"counter.value"
    arguments = [(b"name", amp.Unicode())]
    response = [(b"value", amp.Integer())]
    errors = ERRORS


class Watch(amp.Command):
    """
    Have L{Told} from now on.
    """

    commandName = b"counter.watch"
    errors = ERRORS


class Told(amp.Command):
    """
    From the node: a counter has another value.
    """

    commandName = b"counter.changed"
    arguments = [(b"name", amp.Unicode()), (b"value", amp.Integer())]
    requiresAnswer = False


class CounterLocator(amp.CommandLocator):
    """
    Answers one client of the node.
    """

    def __init__(self, engine: Any, connection: Any) -> None:
        super().__init__()
        self._engine = engine
        self._connection = connection
        self._watching = False

    @Add.responder
    def _add(self, name: str, amount: int) -> Deferred[dict[str, int]]:
        added: Deferred[int] = self._engine.add(name, amount)
        return added.addCallback(lambda value: {"value": value})

    @Value.responder
    def _value(self, name: str) -> dict[str, int]:
        return {"value": self._engine.value(name)}

    @Watch.responder
    def _watch(self) -> dict[str, int]:
        if self._watching:
            raise Exists("this client watches already")
        self._watching = True
        self._connection.atEnd(self._engine.watch(self._changed))
        return {}

    def _changed(self, name: str, value: int) -> None:
        self._connection.tell(Told, name=name, value=value)


class Counters:
    """
    The counters, for a program that is a client of a node::

        client = await connect(reactor, path)
        counters = Counters(client)
        await counters.add("jobs")
    """

    def __init__(self, client: NodeClient) -> None:
        self._client = client

    def add(self, name: str, amount: int = 1) -> Deferred[int]:
        """
        @return: fires with the new value.
        """
        return self._ask(Add, name=name, amount=amount)

    def value(self, name: str) -> Deferred[int]:
        """
        @return: fires with the value; fails with C{NotExist}, or C{TryAgain}
            while the node gets the counters.
        """
        return self._ask(Value, name=name)

    def _ask(self, command: type[amp.Command], **arguments: Any) -> Deferred[int]:
        asked = self._client.ask(command, **arguments)
        return asked.addCallback(lambda answer: answer["value"])

    def watch(self, changed: Changed) -> Deferred[Any]:
        """
        Have every change, in order, until the connection ends.
        """
        self._client.listen(Told, changed)
        return self._client.ask(Watch)
