"""
Tests of keys, changes and operations as bytes.
"""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from corotwist.config.tracking import Change, ChangeKind, ObjectChange
from corotwist.config.values import Value, ValueType, binary, string, u8
from corotwist.engines import entries, operations, replica
from corotwist.engines.entries import Reader, chunks, packChange, packEntry
from corotwist.engines.keyspace import Condition
from corotwist.engines.operations import packHandles, packResults
from corotwist.errors import InvalidParameter, ServiceError

U64 = st.integers(0, (1 << 64) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
NAMES = st.text("abc._-/:019", max_size=255)
KEYS = st.text("abc_-/:019", min_size=1, max_size=99).map("cluster.{}".format)


def _whole(kind: ValueType) -> st.SearchStrategy[Value]:
    low = -(1 << kind.bits - 1) if kind.signed else 0
    return st.integers(low, low + (1 << kind.bits) - 1).map(lambda n: Value(kind, n))


VALUES = st.one_of(
    *(_whole(kind) for kind in ValueType if kind.bits),
    st.floats(width=32).map(lambda x: Value(ValueType.FLOAT, x)),
    st.floats().map(lambda x: Value(ValueType.DOUBLE, x)),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40).map(
        string
    ),
    st.binary(max_size=40).map(binary),
)
OPTIONAL = st.none() | VALUES
CHANGES = st.builds(
    Change, st.sampled_from([1, 2, 4]).map(ChangeKind), NAMES, OPTIONAL, OPTIONAL
) | st.builds(ObjectChange, st.sampled_from([1, 4]).map(ChangeKind), NAMES, U64)
WRITES = st.builds(
    replica.Operation,
    st.sampled_from(replica.Deed),
    NAMES,
    OPTIONAL,
    I64,
    st.builds(Condition, st.just(True), OPTIONAL, st.none() | U64)
    | st.builds(Condition, st.just(False), st.none(), st.none() | U64),
)
OPERATIONS = st.builds(
    operations.Operation,
    st.sampled_from(operations.Deed),
    U64,
    NAMES,
    OPTIONAL,
    OPTIONAL,
    I64,
    st.booleans(),
)
REPLICAS = st.builds(
    replica.Replica,
    U64,
    st.dictionaries(KEYS, st.builds(replica.Held, VALUES, U64), max_size=4),
)


class CodecTests(SynchronousTestCase):
    """
    What is written is read, and anything else refused.
    """

    @given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    def test_entries(self, found: list[tuple[str, Value]]) -> None:
        """
        Keys with values.
        """
        data = b"".join(packEntry(*entry) for entry in found)
        self.assertEqual(list(entries.entries(data)), found)

    @given(st.lists(CHANGES, max_size=5))
    def test_changes(self, found: list[Any]) -> None:
        """
        Changes of keys and objects.
        """
        data = b"".join(map(packChange, found))
        self.assertEqual(entries.changes(data), tuple(found))

    @given(WRITES)
    def test_writes(self, operation: replica.Operation) -> None:
        """
        Writes of keys that all nodes have.
        """
        self.assertEqual(replica.Operation.decode(operation.encode()), operation)

    @given(st.lists(OPERATIONS, max_size=5))
    def test_operations(self, found: list[operations.Operation]) -> None:
        """
        What is done to the tree.
        """
        data = b"".join(operation.encode() for operation in found)
        self.assertEqual(operations.operations(data), found)

    @given(st.lists(st.none() | U64 | VALUES, max_size=5))
    def test_results(self, found: list[Any]) -> None:
        """
        What it brings.
        """
        self.assertEqual(operations.results(packResults(found)), found)
        handles = [one for one in found if isinstance(one, int)]
        self.assertEqual(operations.handles(b"".join(packHandles(handles))), handles)

    @given(REPLICAS)
    def test_states(self, state: replica.Replica) -> None:
        """
        All that nodes have alike.
        """
        again = replica.Replica.decode(state.encode())
        self.assertEqual(again.revision, state.revision)
        self.assertEqual(again.keys, state.keys)
        self.assertEqual(again.encode(), state.encode())

    @given(st.binary(max_size=60))
    def test_anything(self, data: bytes) -> None:
        """
        Bytes of somebody else are refused with an error for clients, whatever
        they are.
        """
        readers: Sequence[Callable[[bytes], Any]] = (
            lambda b: list(entries.entries(b)),
            *(entries.changes, operations.operations, operations.results),
            *(replica.Operation.decode, replica.Replica.decode, operations.handles),
        )
        for read in readers:
            try:
                read(data)
            except ServiceError:
                pass

    def test_prefixes(self) -> None:
        """
        No part of an operation is one.
        """
        whole = replica.Operation(replica.Deed.SET, "cluster.x", u8(1)).encode()
        for end in range(len(whole)):
            self.assertRaises(InvalidParameter, replica.Operation.decode, whole[:end])
        self.assertRaises(InvalidParameter, replica.Operation.decode, whole + b"\0")

    def test_tooLarge(self) -> None:
        """
        No value is larger than a value may be.
        """
        data = b"\x0c" + (16385).to_bytes(4, "little") + bytes(16385)
        self.assertRaises(InvalidParameter, Reader(data).value)

    @given(st.lists(st.binary(max_size=30), max_size=20))
    def test_chunks(self, pieces: list[bytes]) -> None:
        """
        Pieces stay whole, and in order, and are few.
        """
        found = list(chunks(pieces, 40))
        self.assertEqual(b"".join(found), b"".join(pieces))
        self.assertTrue(all(len(chunk) <= 40 for chunk in found))
