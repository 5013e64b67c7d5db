"""What no log, incident or notification says."""

import pytest

from config.redaction import redacted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("whsec_3kXy+/a=b is wrong", "whsec_… is wrong"),
        ("rk_live_51Hx for xoxb-12-34", "rk_live_… for xoxb_…"),
        ("bot123456789:AAF3kXy_9zQwErTyUiOpAsDfGhJkLzXcVbN says no", "bot… says no"),
        ("key PKA1B2C3D4E5F6G7H8I9 with aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7b", "key … with …"),
        ("postgres://joe:pass@db.example.com/x", "postgres://…@db.example.com/x"),
        ("own/mine.py:7: ValueError: jane.doe+x@example.co.uk owes", "own/mine.py:7: ValueError: … owes"),
    ],
)
def test_keys_and_addresses_are_hidden(text: str, told: str) -> None:
    assert redacted(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "/home/joe@example.com/own/mine.py:7: KeyError: 'A'",
        "nd-0123456789abcdef0123456789abcdef01234567",
        "trading.strategy:mine at 2026-09-28T13:30:00Z: PK is no key",
        "evt_1PKaBcDeFgHiJkLmNoPqRsTu",
    ],
)
def test_places_hashes_and_ids_stay(text: str) -> None:
    assert redacted(text) == text
