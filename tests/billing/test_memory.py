"""What detectors remember of late: long enough, never too long, in little room."""

from typing import Any

import orjson

from actors.billing.memory import Examples, Recent, Seen

KEEP = 100


def reread(memory: Any, other: Any) -> Any:
    """As after a restart."""
    other.load(orjson.loads(orjson.dumps(memory.save())))
    return other


def test_a_value_is_remembered_for_its_time_and_forgotten_within_twice_that() -> None:
    for put_at in range(0, 3 * KEEP, 7):
        recent: Recent[int] = Recent(KEEP)
        recent.put("before", 0, 0)
        recent.put("a", 1, put_at)
        recent.put("b", 2, put_at + KEEP - 1)
        assert recent.get("a") == 1
        recent.put("c", 3, put_at + KEEP)
        recent.put("d", 4, put_at + 2 * KEEP)
        assert "a" not in recent


def test_what_is_put_again_is_as_new_and_listed_once() -> None:
    recent: Recent[int] = Recent(KEEP)
    recent.put("a", 1, 0)
    recent.put("b", 2, KEEP)
    recent.put("a", 3, KEEP + 50)
    assert recent.get("a") == 3
    assert list(recent.values()) == [2, 3]
    recent.put("c", 4, 2 * KEEP)
    assert list(recent.values()) == [2, 3, 4]


def test_of_too_many_the_older_half_goes() -> None:
    recent: Recent[int] = Recent(KEEP, limit=10)
    seen = Seen(KEEP, limit=10)
    for number in range(100):
        recent.put(f"key {number}", number, 0)
        seen.first(f"key {number}", 0)
        assert len(recent) <= 10
    assert all(f"key {number}" in recent and f"key {number}" in seen for number in range(95, 100))
    assert "key 80" not in recent
    assert "key 80" not in seen


def test_a_key_is_first_once_in_its_time() -> None:
    seen = Seen(KEEP)
    assert [seen.first(key, at) for at, key in enumerate("abab")] == [True, True, False, False]
    assert not seen.first("a", KEEP + 1)
    assert seen.first("c", 3 * KEEP + 2)
    assert seen.first("a", 3 * KEEP + 3)


def test_a_clock_that_was_ahead_makes_nothing_last_for_ever() -> None:
    recent: Recent[int] = Recent(KEEP)
    recent.put("a", 1, 1_000_000)
    recent.put("b", 2, 10)
    assert recent.get("a") == 1
    recent.put("c", 3, 10 + KEEP)
    recent.put("d", 4, 10 + 2 * KEEP)
    assert "a" not in recent


def test_a_restart_changes_nothing() -> None:
    recent: Recent[int] = Recent(KEEP)
    seen = Seen(KEEP)
    examples = Examples(3)
    other, marks, rows = Recent[int](KEEP), Seen(KEEP), Examples(3)
    for number in range(500):
        key, now = f"key {number * 7 % 31}", number * 11
        recent.put(key, number, now)
        other.put(key, number, now)
        assert seen.first(key, now) == marks.first(key, now)
        examples.add(now, key)
        rows.add(now, key)
        other, marks, rows = reread(other, Recent(KEEP)), reread(marks, Seen(KEEP)), reread(rows, Examples(3))
        assert list(recent.values()) == list(other.values())
        assert examples.within(0, now) == rows.within(0, now)


def test_examples_are_the_newest_of_the_last_day() -> None:
    examples = Examples(3)
    for second in (0, 10, 20, 30):
        examples.add(second, f"evt_{second}")
    assert examples.within(0, 20) == [[10, "evt_10"], [20, "evt_20"]]
    examples.add(86_400 + 15, "evt_next")
    assert examples.within(0, 100_000) == [[20, "evt_20"], [30, "evt_30"], [86_415, "evt_next"]][-3:]
