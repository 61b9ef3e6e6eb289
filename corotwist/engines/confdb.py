"""
The object database: the tree of objects whose flat view is the configuration
map, for clients.  [ARCH Object Database]
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from corotwist.config.tracking import ChangeKind
from corotwist.config.tree import ObjectTree
from corotwist.config.values import Value
from corotwist.engines.base import Engine
from corotwist.engines.holdings import AllHoldings, Holdings
from corotwist.engines.keyspace import (
    REPLICATED,
    IObjectDatabase,
    Stoppable,
    Told,
)
from corotwist.engines.operations import Deed, Operation, Result
from corotwist.errors import (
    AccessDenied,
    ConfigurationError,
    Conflict,
    Exists,
    InvalidParameter,
    NotExist,
    NotSupported,
)
from corotwist.interfaces import ICluster, IConnection, IReplaceable

# Above corosync's own, below those of third parties.  It sends nothing.
CONFDB: Final = 32


@implementer(IObjectDatabase, IReplaceable)
class ObjectDatabaseEngine(Engine):
    """
    What one client asks for together is done together, or not at all.

    Keys that change what the node does are checked and applied by it, all of a
    transaction at once; those that all nodes have alike are written through the
    configuration map only.
    """

    name = "confdb"
    serviceId = CONFDB

    def initialize(self, cluster: ICluster, settings: Any) -> None:
        super().initialize(cluster, settings)
        self._tree: ObjectTree = cluster.database.tree
        self._keys = cluster.database.map.forClients()
        self._holdings = AllHoldings()

    def shutdown(self) -> bool:
        self._holdings.release()
        return True

    def privateData(self, connection: IConnection) -> Holdings:
        return self._holdings.opened()

    def connectionClosed(self, connection: IConnection) -> None:
        self._holdings.closed(connection.private[self.name])

    # From local clients: reading.

    def objects(self) -> ObjectTree:
        return self._tree

    def track(
        self, target: int | str, kinds: ChangeKind, told: Told, *, prefix: bool
    ) -> Stoppable:
        return self._tree.track(target, told, kinds, prefix=prefix)

    # From local clients: writing.

    def perform(self, operations: Sequence[Operation]) -> list[Result]:
        results: list[Result] = []
        followed: dict[str, Value | None] = {}
        with self._tree.transaction():
            for operation in operations:
                if operation.made:
                    operation = _resolved(operation, results)  # noqa: PLW2901
                do = self._DEEDS[operation.deed]
                results.append(do(self, operation, followed))
            if followed:
                self.cluster.operations.changed(followed)
        return results

    def _create(self, operation: Operation, followed: Any) -> int:
        prefix = self._tree.path(operation.target)
        self._checkWritable(f"{prefix}.{operation.name}.".lstrip("."))
        return self._tree.create(operation.target, operation.name)

    def _destroy(self, operation: Operation, followed: dict[str, Any]) -> None:
        prefix = self._tree.path(operation.target) + "."
        for name in self._tree.names(prefix):
            self._checkWritable(name)
            if self._follows(name):
                followed[name] = None
        self._tree.destroy(operation.target)

    def _keyCreate(self, operation: Operation, followed: dict[str, Any]) -> None:
        name = self._name(operation)
        if self._present(name) is not None:
            raise Exists(f"there is a key {name}")
        self._write(name, _given(operation), followed)

    def _keyReplace(self, operation: Operation, followed: dict[str, Any]) -> None:
        name = self._name(operation)
        self._checkExpected(name, operation)
        self._write(name, _given(operation), followed)

    def _keyDelete(self, operation: Operation, followed: dict[str, Any]) -> None:
        name = self._name(operation)
        self._checkExpected(name, operation)
        self._write(name, None, followed)

    def _keyAdjust(self, operation: Operation, followed: dict[str, Any]) -> Value:
        name = self._name(operation)
        value = self._tree.value(name).adjusted(operation.step)
        self._write(name, value, followed)
        return value

    _DEEDS: ClassVar[Mapping[Deed, Callable[..., Result]]] = {
        Deed.CREATE: _create,
        Deed.DESTROY: _destroy,
        Deed.KEY_CREATE: _keyCreate,
        Deed.KEY_REPLACE: _keyReplace,
        Deed.KEY_DELETE: _keyDelete,
        Deed.KEY_ADJUST: _keyAdjust,
    }

    def _name(self, operation: Operation) -> str:
        return self._tree.keyName(operation.target, operation.name)

    def _present(self, name: str) -> Value | None:
        try:
            return self._tree.value(name)
        except NotExist:
            return None

    def _checkExpected(self, name: str, operation: Operation) -> None:
        value = self._tree.value(name)
        if operation.expected is not None and value != operation.expected:
            raise Conflict(f"{name} is {value.text()[:40]!r}")

    def _write(self, name: str, value: Value | None, followed: dict[str, Any]) -> None:
        self._checkWritable(name)
        if self._follows(name):
            followed[name] = value
        elif value is None:
            self._keys.delete(name)
        else:
            self._keys.set(name, value)

    def _follows(self, name: str) -> bool:
        operations = self.cluster.operations
        return operations is not None and bool(operations.follows(name))

    def _checkWritable(self, name: str) -> None:
        if name.startswith(REPLICATED):
            raise AccessDenied(f"{name}: what all nodes have is written with cmap")
        self._keys.checkWritable(name)

    # Files.

    def write(self) -> Deferred[str]:
        operations = self.cluster.operations
        if operations is None:
            return fail(NotSupported("this node was not started from a file"))
        path: Deferred[str] = operations.save()
        path.addErrback(_refused)
        return path

    # To another version of us.

    def handOver(self) -> Any:
        """
        The C{holdings} of clients, whose trackers go on.  The tree belongs to
        the node.
        """
        return {"holdings": self._holdings.handOver()}

    def takeOver(self, state: Any, version: int) -> None:
        self._holdings = state["holdings"]


def _resolved(operation: Operation, results: Sequence[Result]) -> Operation:
    """
    With the handle of what an earlier operation made.
    """
    made = results[operation.target] if operation.target < len(results) else None
    if not isinstance(made, int):
        raise InvalidParameter(f"operation {operation.target} makes no object")
    return Operation(
        operation.deed,
        made,
        operation.name,
        operation.value,
        operation.expected,
        operation.step,
    )


def _given(operation: Operation) -> Value:
    if operation.value is None:
        raise InvalidParameter(f"no value for {operation.name}")
    return operation.value


def _refused(failure: Failure) -> Failure:
    """
    Tell a client what an operator would be told.
    """
    failure.trap(ConfigurationError)
    raise InvalidParameter(str(failure.value))
