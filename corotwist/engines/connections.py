"""
The local clients, as the engines of a node know them: by number, with what is
asked and not answered yet, and how much.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from random import Random
from struct import Struct
from typing import Any, Final, Self

from attrs import asdict, define, field, frozen
from twisted.internet.defer import Deferred

from corotwist.errors import BadHandle, TruncatedFrame, TryAgain
from corotwist.handles import HandleDatabase
from corotwist.interfaces import IConnection

# Requests of one client that one engine has not answered.
MOST_UNANSWERED: Final = 1024

_SOURCE: Final = Struct("<I4xQ")


@frozen
class Source:
    """
    Whose request a message in the total order comes from::

        offset  size  field
             0     4  nodeid
             8     8  number of the connection at that node
    """

    nodeid: int
    connection: int

    def encode(self) -> bytes:
        """
        As in messages.
        """
        return _SOURCE.pack(self.nodeid, self.connection)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        @param data: a message that begins with a source.
        @raise WireError: it does not.
        """
        if len(data) < _SOURCE.size:
            raise TruncatedFrame(f"a source of {len(data)} bytes")
        return cls(*_SOURCE.unpack_from(data))


SOURCE_BYTES: Final = _SOURCE.size


@define(eq=False)
class Use:
    """
    What one client had of one service.

    @ivar requests: that it made; C{refused} of them were refused before the
        engine saw them, and C{waited} waited for room first.
    @ivar responses: sent by C{respond}.
    @ivar dispatches: events sent to it.
    @ivar references: keep the engine from hearing that the client is gone.
    """

    requests: int = 0
    refused: int = 0
    waited: int = 0
    responses: int = 0
    dispatches: int = 0
    references: int = 0
    unanswered: deque[Deferred[Any]] = field(factory=deque)

    def status(self) -> dict[str, int]:
        """
        For people.
        """
        counters = asdict(self, filter=lambda a, _: a.name != "unanswered")
        return {**counters, "unanswered": len(self.unanswered)}


@define(eq=False)
class Visitor:
    """
    One client.

    @ivar number: its 64-bit handle.
    @ivar gone: it is not connected any more.
    @ivar untold: the engines that have not heard so yet.
    """

    connection: IConnection
    number: int = 0
    gone: bool = False
    uses: dict[str, Use] = field(factory=dict)
    untold: set[str] = field(factory=set)

    def use(self, engine: str) -> Use:
        """
        Of one service.
        """
        found = self.uses.get(engine)
        if found is None:
            found = self.uses[engine] = Use()
        return found


Tell = Callable[[str, IConnection], None]


class Connections:
    """
    The clients of one node.  Nobody is forgotten while an engine still owes him
    something.
    """

    def __init__(self, random: Random, closed: Tell) -> None:
        """
        @param random: for numbers that are not those of an earlier start.
        @param closed: tells one engine that a client is gone.
        """
        self._numbers: HandleDatabase[Visitor] = HandleDatabase(random=random)
        self._visitors: dict[IConnection, Visitor] = {}
        self._closed = closed

    def __iter__(self) -> Iterator[Visitor]:
        return iter(list(self._visitors.values()))

    # Coming and going.

    def opened(self, connection: IConnection) -> int:
        """
        A client came.

        @return: its number.
        """
        visitor = Visitor(connection)
        visitor.number = self._numbers.create(visitor)
        self._visitors[connection] = visitor
        return visitor.number

    def closed(self, connection: IConnection, engines: Iterable[str]) -> None:
        """
        A client is gone: tell these engines, each as soon as it has no
        reference to the connection.
        """
        visitor = self._visitors.get(connection)
        if visitor is None or visitor.gone:
            return
        visitor.gone = True
        names = list(engines)
        visitor.untold = set(names)
        for name in names:
            self._tell(visitor, name)
        self._forget(visitor)

    def _tell(self, visitor: Visitor, engine: str) -> None:
        if engine in visitor.untold and not visitor.use(engine).references:
            visitor.untold.discard(engine)
            self._closed(engine, visitor.connection)

    def _forget(self, visitor: Visitor) -> None:
        if visitor.gone and not visitor.untold and visitor.number:
            self._numbers.destroy(visitor.number)
            visitor.number = 0
            del self._visitors[visitor.connection]

    def engineGone(self, engine: str) -> None:
        """
        An engine stopped for good: its requests will not be answered, and it
        need not hear of anybody.
        """
        for visitor in self:
            use = visitor.use(engine)
            unanswered, use.unanswered = use.unanswered, deque()
            for waits in unanswered:
                waits.errback(BadHandle(f"the service {engine} stopped"))
            use.references = 0
            visitor.untold.discard(engine)
            self._forget(visitor)

    # For engines.

    def number(self, connection: IConnection) -> int:
        """
        The handle of a client.

        @raise BadHandle: it is gone.
        """
        return self._visitor(connection).number

    def connection(self, number: int) -> IConnection:
        """
        Whose handle it is.

        @raise BadHandle: of nobody, or not any more.
        """
        return self._numbers.look(number).connection

    def use(self, engine: str, connection: IConnection) -> Use | None:
        """
        For counting; L{None} for who is gone.
        """
        visitor = self._visitors.get(connection)
        return None if visitor is None else visitor.use(engine)

    def retain(self, engine: str, connection: IConnection) -> None:
        """
        The engine does not hear that the client is gone until L{release}.

        @raise BadHandle: it is gone already.
        """
        self._visitor(connection).use(engine).references += 1

    def release(self, engine: str, connection: IConnection) -> None:
        """
        One reference less.

        @raise BadHandle: there was none.
        """
        visitor = self._visitor(connection)
        use = visitor.use(engine)
        if not use.references:
            raise BadHandle(f"{engine} has no reference to the connection")
        use.references -= 1
        self._tell(visitor, engine)
        self._forget(visitor)

    def request(self, engine: str, connection: IConnection) -> Deferred[Any]:
        """
        A request that the engine will answer later with L{respond}.

        @raise TryAgain: too many are not answered.
        """
        use = self._visitor(connection).use(engine)
        if len(use.unanswered) >= MOST_UNANSWERED:
            raise TryAgain(f"{MOST_UNANSWERED} requests are not answered yet")

        def cancelled(waits: Deferred[Any]) -> None:
            use.unanswered.remove(waits)
            self.release(engine, connection)

        waits: Deferred[Any] = Deferred(cancelled)
        self.retain(engine, connection)
        use.unanswered.append(waits)
        return waits

    def respond(self, engine: str, connection: IConnection, answer: Any) -> None:
        """
        Answer the oldest request of this client.

        @raise BadHandle: there is none.
        """
        use = self._visitor(connection).use(engine)
        if not use.unanswered:
            raise BadHandle(f"{engine} owes this client no answer")
        waits = use.unanswered.popleft()
        use.responses += 1
        waits.callback(answer)
        self.release(engine, connection)

    def _visitor(self, connection: IConnection) -> Visitor:
        visitor = self._visitors.get(connection)
        if visitor is None:
            raise BadHandle("the client is gone")
        return visitor

    def status(self) -> dict[str, Any]:
        """
        For people: by number, whose it is and what it had of each service.
        """
        return {
            f"{visitor.number:016x}": {
                "pid": visitor.connection.pid,
                "closing": visitor.gone,
                "services": {n: u.status() for n, u in sorted(visitor.uses.items())},
            }
            for visitor in self
        }
