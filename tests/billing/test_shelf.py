"""Records that are kept below: a ledger that has nothing in memory is the same ledger."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.billing.detectors.renewals_missing import renewal
from actors.billing.events import normalise
from actors.billing.ledger import SUMS, Ledger
from actors.billing.record import Outlook
from actors.billing.shelf import Shelf
from actors.kernel.clock import SECOND
from tests.billing.stripe_events import START
from tests.billing.subscribers import DAY, MONTH, invoiced, subscribed

NOW = START * SECOND


class Cellar:
    """What a store keeps, as a dictionary."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def take(self, ledger: Ledger) -> None:
        """Commit what changed."""
        self.held |= dict(ledger.save())
        ledger.records.put_down()

    def parts(self) -> list[tuple[str, int, bytes]]:
        return []

    def get(self, id_: str) -> bytes | None:
        return self.held.get(id_) or None

    def states(self) -> Iterator[tuple[str, bytes]]:
        yield from ((id_, state) for id_, state in self.held.items() if id_ != SUMS and state)

    def heads(self, size: int) -> Iterator[tuple[str, bytes]]:
        yield from ((id_, state[:size]) for id_, state in self.states())


def told(ledger: Ledger, number: int, at: int, status: str) -> None:
    for fact in normalise(subscribed(at, number, status=status), NOW + at * SECOND):
        ledger.apply(fact, NOW + at * SECOND)


steps = st.tuples(
    st.integers(0, 9), st.integers(0, 100_000), st.sampled_from(("active", "past_due", "canceled")), st.booleans()
)


@given(st.lists(steps, max_size=40))
@settings(max_examples=60)
def test_a_ledger_whose_records_are_below_is_the_same(story: list[tuple[int, int, str, bool]]) -> None:
    plain, low, cellar = Ledger(), Ledger(), Cellar()
    low.records.below = cellar
    for number, at, status, rest in story:
        told(plain, number, at, status)
        told(low, number, at, status)
        if rest:
            cellar.take(low)
            assert low.records.at_hand == 0
    now = NOW + 100_000 * SECOND
    assert low.mrr == plain.mrr
    assert low.paying == plain.paying
    assert low.recent(now) == plain.recent(now)
    assert low.movements() == plain.movements()
    assert len(low.records) == len(plain.records)
    assert dict(chain(*low.records.outlooks())) == dict(chain(*plain.records.outlooks()))
    again = Ledger()
    again.records.below = cellar
    cellar.take(low)
    if SUMS in cellar.held:
        again.load(SUMS, cellar.held[SUMS])
    assert again.mrr == plain.mrr
    assert again.recent(now) == plain.recent(now)
    assert again.kinds(now) == plain.kinds(now)
    assert again.movements() == plain.movements()
    assert again.began == plain.began


def test_what_is_removed_is_gone_though_it_is_still_below() -> None:
    ledger, cellar = Ledger(), Cellar()
    ledger.records.below = cellar
    told(ledger, 1, 0, "active")
    cellar.take(ledger)
    assert "sub_1" in ledger.records
    ledger.records.remove("sub_1")
    assert "sub_1" not in ledger.records
    assert not dict(ledger.records.items())
    assert not list(ledger.records.outlooks())
    cellar.take(ledger)
    assert cellar.get("sub_1") is None


def test_an_outlook_says_when_the_record_lapses_and_what_was_billed() -> None:
    ledger = Ledger()
    period: dict[str, Any] = {"current_period_start": START, "current_period_end": START + MONTH}
    for event in (subscribed(0, 1, **period), invoiced(5, 1)):
        for fact in normalise(event, NOW + 10 * SECOND):
            ledger.apply(fact, NOW + 10 * SECOND)
    shelf: Shelf = ledger.records
    (((_, outlook),),) = shelf.outlooks()
    assert isinstance(outlook, Outlook)
    assert outlook.renews == 1
    assert outlook.billed == outlook.paid == START + 5
    assert outlook.lapses == START + 5 + 31 * DAY + round(31 * DAY * 0.08)
    missing = renewal("sub_1", outlook, START + MONTH + 7200)
    assert missing is not None
    assert missing.missing
