"""
Hypothesis strategies for keys and values of the configuration map.
"""

from typing import Final

from hypothesis import strategies as st

from corotwist.config.names import KEY_MAX
from corotwist.config.values import Value, ValueType

_REALS: Final = {
    ValueType.FLOAT: st.floats(width=32),
    ValueType.DOUBLE: st.floats(),
    ValueType.STRING: st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
    ),
    ValueType.BINARY: st.binary(max_size=20),
}
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/:."


def _contents(kind: ValueType) -> st.SearchStrategy[Value]:
    if not kind.bits:
        return st.builds(Value, st.just(kind), _REALS[kind])
    low = -(1 << kind.bits - 1) if kind.signed else 0
    numbers = st.integers(low, low + (1 << kind.bits) - 1)
    return st.builds(Value, st.just(kind), numbers)


def values() -> st.SearchStrategy[Value]:
    """
    Of any type.
    """
    return st.sampled_from(list(ValueType)).flatmap(_contents)


def keyNames() -> st.SearchStrategy[str]:
    """
    Names of keys: any that is allowed, and such in which words and numbers follow
    each other.
    """
    words = st.sampled_from(("a", "node", "0", "1", "12", "01", "4294967296", ""))
    structured = st.lists(words, min_size=1, max_size=6).map(".".join)
    allowed = st.text(_ALPHABET, min_size=3, max_size=KEY_MAX)
    return (structured | allowed).filter(lambda name: 3 <= len(name) <= KEY_MAX)
