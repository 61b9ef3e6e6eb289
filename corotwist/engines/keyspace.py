"""
What the services of keys offer to local clients, and the values exchanged: the
configuration map, the replicated keys in it, and the object database.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Interface

from corotwist.config.tracking import ChangeKind
from corotwist.config.values import Value
from corotwist.errors import Conflict

# The two maps of a node, and where keys begin that all nodes have in common.
ICMAP: Final = "icmap"
STATS: Final = "stats"
REPLICATED: Final = "cluster."

Told = Callable[[Sequence[Any]], object]


class Stoppable(Protocol):
    """
    What somebody asked for who may have enough of it.
    """

    def stop(self) -> None:
        """
        No more, from now on.
        """


@frozen
class Condition:
    """
    What must be true of a key for it to be written.

    @ivar checked: is C{value} to be compared?
    @ivar value: what it must be now; L{None} for absent.
    @ivar version: of a replicated key: the number of its last write, 0 for
        absent; L{None} for any.
    """

    checked: bool = False
    value: Value | None = None
    version: int | None = None

    def check(self, name: str, value: Value | None, version: int = 0) -> None:
        """
        @raise Conflict: it is not true.
        """
        if self.checked and value != self.value:
            raise Conflict(f"{name} is {_shown(value)}, not {_shown(self.value)}")
        if self.version is not None and version != self.version:
            raise Conflict(f"{name} has version {version}, not {self.version}")


ANYWAY: Final = Condition()


def _shown(value: Value | None) -> str:
    return "absent" if value is None else f"{value.kind.label} {value.text()[:40]!r}"


class IConfigurationMap(Interface):
    """
    Typed keys of this node: its configuration and state (the map C{icmap}), and
    its figures (C{stats}).
    """

    def get(mapName: str, name: str) -> tuple[Value, int]:
        """
        @return: the value; and of a replicated key its version, otherwise 0.
        @raise NotExist: no such key, or no such map.
        @raise TryAgain: the replicated keys are on their way to this node.
        @raise NotSupported: nothing replicates them here.
        """

    def set(
        mapName: str, name: str, value: Value | None, condition: Condition
    ) -> Deferred[int]:
        """
        Write a key.

        @param value: L{None} to delete it.
        @return: fires when it is so, for a replicated key with its version.
            Fails with L{corotwist.errors.AccessDenied} (not for clients),
            C{Conflict} (the condition is not true), C{NotExist} (nothing to
            delete), C{NameTooLong}, C{InvalidParameter}, C{Busy} (a reload is
            under way), C{NotSupported} (writing it would have an effect that
            this node does not have); replicated keys also as L{IReplicatedKeys}
            says.
        """

    def adjust(mapName: str, name: str, step: int) -> Deferred[Value]:
        """
        Add to a whole number, which begins again at the other end of its type.

        @return: fires with the new value; fails as L{set}, with C{NotExist},
            and with C{InvalidParameter} when it is no whole number.
        """

    def items(mapName: str, prefix: str) -> tuple[tuple[str, Value], ...]:
        """
        The keys that begin so, as they are at this moment, in byte order.
        """

    def track(
        mapName: str, name: str, kinds: ChangeKind, told: Told, *, prefix: bool
    ) -> Stoppable:
        """
        Be told of changes.

        @param told: called with the changes of each transaction; within the
            writer's call, but after the change.
        @param prefix: of all keys that begin so.
        @raise NoSpace: there are too many trackers.
        """


class IReplicatedKeys(Interface):
    """
    Keys that are the same on all nodes of the ring.
    """

    def versionOf(name: str) -> int:
        """
        The number of the last write to the key; 0 when it is absent.

        @raise TryAgain: the keys are on their way to this node.
        """

    def set(name: str, value: Value | None, condition: Condition) -> Deferred[int]:
        """
        Write a key on all nodes; L{None} deletes it.

        @return: fires with its version when the write is ordered and all
            members have it.  Fails with L{corotwist.errors.Conflict},
            C{NotExist} (nothing to delete), C{NoSpace} (too many keys, or
            bytes), C{NotQuorate}, C{TryAgain} (too many writes wait), or
            C{Interrupted}: the ring changed at that moment, and whether the
            write lasts depends on which partition goes on; or the outcome is
            not known here, since the keys were on their way to this node.
        """

    def adjust(name: str, step: int) -> Deferred[Value]:
        """
        Add to a whole number on all nodes.

        @return: fires with the new value; fails as L{set}, and with
            C{InvalidParameter} when it is no whole number.
        """


class IVoting(Interface):
    """
    Who counts the votes of this ring.
    """

    def explanation() -> dict[str, int | bool | str]:
        """
        The inputs of the last verdict.
        """

    def follow(changed: Callable[[], object]) -> Callable[[], None]:
        """
        Call at once, and whenever there is another verdict.

        @return: ends that.
        """

    def cancelWaiting() -> None:
        """
        Wait no more for all nodes, on any member: each hears of it.

        @raise TryAgain: the send queue has no room.
        """


class IObjectDatabase(Interface):
    """
    The tree of objects that the configuration map is a flat view of.
    """

    def objects() -> Any:
        """
        The tree itself, a C{ObjectTree}, for reading.
        """

    def perform(operations: Sequence[Any]) -> list[int | Value | None]:
        """
        Do several things as one: all or none.

        @param operations: L{corotwist.engines.operations}.
        @return: what each brought: a handle, a value, or nothing.
        @raise ServiceError: one of them cannot be done; none is.
        """

    def track(
        target: int | str, kinds: ChangeKind, told: Told, *, prefix: bool
    ) -> Stoppable:
        """
        Be told of changes.

        @param target: an object; or the name of a key.
        @param prefix: of what is in the object, however deep; or of all keys
            that begin so.
        """

    def write() -> Deferred[str]:
        """
        Write the configuration to its file, comments kept.

        @return: fires with the path.
        """
