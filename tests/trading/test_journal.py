"""What the desk writes into its log is read back to the last bit."""

from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.store.desk_log import pack, unpack
from actors.store.desk_records import DeskEntry, DeskKind
from actors.trading import words
from actors.trading.journal import KINDS, Word, decode, encode

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
MICROS = st.integers(min_value=0, max_value=2**53)
st.register_type_strategy(float, FLOATS)
st.register_type_strategy(int, MICROS)


@given(st.one_of([st.from_type(word) for word in KINDS]))
def test_each_word_comes_back_from_the_disk_as_it_was_said(word: Word) -> None:
    said = encode(word)
    stored = DeskEntry(7, said.kind, said.at, unpack(said.kind, pack(said.data)))
    carried = DeskEntry(7, said.kind, said.at, said.data)
    assert decode(stored) == word == decode(carried)


def test_every_word_with_a_moment_has_a_kind_of_its_own() -> None:
    moments = {
        value
        for value in vars(words).values()
        if isinstance(value, type) and value.__module__ == words.__name__ and "at" in _names(value)
    }
    assert moments == set(KINDS)
    assert len(set(KINDS.values())) == len(KINDS)
    assert min(KINDS.values()) > max(DeskKind)


def test_what_the_market_says_is_no_word() -> None:
    assert decode(DeskEntry(1, DeskKind.GAP, 1, {})) is None


def test_a_damaged_entry_says_nothing() -> None:
    assert decode(DeskEntry(1, KINDS[words.Told], 1, {}, damage="cut off")) is None


def _names(kind: Any) -> set[str]:
    return {field.name for field in fields(kind)} if hasattr(kind, "__dataclass_fields__") else set()
