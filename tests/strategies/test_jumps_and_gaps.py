"""What is missing between two bars, or happened there: a gap, a jump, a split."""

import datetime as dt
from pathlib import Path

import pytest

from strategies.adjustments import Action
from strategies.bar_import import Refused, import_actions
from strategies.bar_store import BarStore, Source
from tests.strategies.importing import load, refused, stored, walk


def test_a_jump_stays_out_unless_a_split_of_that_day_and_size_explains_it(tmp_path: Path) -> None:
    rows = walk()
    split = [*rows[:20], *((symbol, day, round(close / 4, 2)) for symbol, day, close in rows[20:])]
    [said] = refused(tmp_path, split)
    assert said.startswith("22: jump: A goes from ")
    assert said.endswith("and no split is known (--actions FILE)")
    day = dt.date.fromisoformat(rows[20][1])
    assert refused(tmp_path, split, actions=[Action("B", day, 4.0)]) == [said]
    [wrong] = refused(tmp_path, split, actions=[Action("A", day, 2.0)])
    assert wrong.endswith(" over a split of 2: is it wrong, or are these adjusted?")
    late = refused(tmp_path, split, actions=[Action("A", day + dt.timedelta(days=1), 4.0)])
    assert late[0] == said
    assert " over a split of 4: " in late[1]
    known = Action("A", day, 4.0)
    assert load(tmp_path, split, actions=[known]).actions == 1
    assert BarStore(tmp_path / "store").actions() == [known]
    load(tmp_path, split, actions=[known])


def test_prices_that_are_adjusted_already_stay_out_beside_their_split(tmp_path: Path) -> None:
    """They would be divided once more, on read."""
    rows = walk()
    day = dt.date.fromisoformat(rows[20][1])
    [said] = refused(tmp_path, rows, actions=[Action("A", day, 4.0)])
    assert said.startswith("22: jump: A goes from ")
    assert said.endswith(" over a split of 4: is it wrong, or are these adjusted?")
    load(tmp_path, rows[20:], actions=[Action("A", day, 4.0)])
    [said] = refused(tmp_path, rows[:20])
    assert said.startswith("21: jump: A goes from ")


def test_a_day_that_is_nearly_half_as_much_again_passes(tmp_path: Path) -> None:
    rows = walk(days=2)
    load(tmp_path, [rows[0], ("A", rows[1][1], rows[0][2] * 1.49)])
    assert refused(tmp_path, [rows[0], ("A", rows[1][1], rows[0][2] * 1.5)])[0].startswith("3: jump: A goes")


def test_a_jump_from_the_last_bar_of_the_store_is_seen(tmp_path: Path) -> None:
    rows = walk()
    load(tmp_path, rows[:20])
    later = [(symbol, day, close / 4) for symbol, day, close in rows[20:]]
    assert refused(tmp_path, later)[0].startswith("2: jump: A goes from")
    load(tmp_path, rows[20:])


def test_a_jump_and_a_gap_before_the_first_bar_of_the_store_are_seen(tmp_path: Path) -> None:
    rows = walk()
    load(tmp_path, rows[20:])
    earlier = [(symbol, day, close * 4) for symbol, day, close in rows[:20]]
    assert refused(tmp_path, earlier)[0].startswith("21: jump: A goes from")
    assert refused(tmp_path, rows[:18]) == [f"19: gap: 2 sessions have no bar of A after {rows[17][1]}"]
    load(tmp_path, rows[:20])


def test_what_the_store_has_between_two_new_bars_is_no_gap(tmp_path: Path) -> None:
    rows = walk()
    load(tmp_path, rows[10:20])
    load(tmp_path, [*rows[:10], *rows[20:]])
    assert len(stored(tmp_path)) == 40


def test_a_session_without_a_bar_is_a_gap_and_a_holiday_is_none(tmp_path: Path) -> None:
    """The 40 days have Martin Luther King's day and Washington's birthday among them."""
    rows = walk()
    assert refused(tmp_path, [*rows[:10], *rows[13:]]) == [f"12: gap: 3 sessions have no bar of A after {rows[9][1]}"]
    assert refused(tmp_path, [*rows[:10], *rows[11:]]) == [f"12: gap: 1 session has no bar of A after {rows[9][1]}"]
    load(tmp_path, rows)


def test_a_gap_between_the_store_and_what_comes_is_seen(tmp_path: Path) -> None:
    rows = walk()
    load(tmp_path, rows[:10])
    assert refused(tmp_path, rows[11:]) == [f"2: gap: 1 session has no bar of A after {rows[9][1]}"]
    load(tmp_path, rows[10:])
    assert len(stored(tmp_path)) == 40


def test_another_split_for_the_same_day_stays_out(tmp_path: Path) -> None:
    store, file = BarStore(tmp_path), tmp_path / "actions.csv"
    old, new = (Action("A", dt.date(2024, 1, 5), split) for split in (4.0, 5.0))
    for _ in range(2):
        import_actions(store, file, [old], accept=[], at="", by="")
    with pytest.raises(Refused) as caught:
        import_actions(store, file, [new], accept=[], at="", by="")
    assert caught.value.lines == ["A 2024-01-05: changed: the store has split 4, dividend 0"]
    import_actions(store, file, [new], accept=["changed"], at="2024-06-01T00:00:00Z", by="ada")
    assert store.actions() == [new]
    assert store.manifest().sources == (
        Source(str(file), "2024-06-01T00:00:00Z", "ada", {"changed": caught.value.lines}),
    )


def test_a_split_stays_out_of_which_the_prices_of_the_store_know_nothing(tmp_path: Path) -> None:
    rows, store = walk(), BarStore(tmp_path / "store")
    load(tmp_path, rows)
    split = Action("A", dt.date.fromisoformat(rows[20][1]), 4.0)
    with pytest.raises(Refused, match=r"--accept jump$") as caught:
        import_actions(store, tmp_path / "actions.csv", [split], accept=[], at="", by="")
    with pytest.raises(Refused) as beside:
        load(tmp_path, walk("B", seed=1), actions=[split])
    assert beside.value.lines == caught.value.lines
    said = (
        f"A {split.date}: jump: the store's 1d of file go from {rows[19][2]:g} to {rows[20][2]:g} over a split of 4: "
    )
    assert caught.value.lines[0].startswith(said)
    others = [Action("A", split.date, 1.2), Action("A", dt.date(2020, 1, 2), 4.0), Action("Z", split.date, 4.0)]
    import_actions(store, tmp_path / "actions.csv", others, accept=[], at="", by="")
