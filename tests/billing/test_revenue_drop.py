from actors.kernel.clock import SECOND
from tests.billing.night import Night
from tests.billing.stripe_events import START, Event, charge

DAY = 86_400
MIDNIGHT = DAY - START % DAY  # of the first whole UTC day after START
NOON = 12 * 3600
TODAY = MIDNIGHT + 7 * DAY


def week(days: int = 7, *, dollars: int = 1000) -> list[Event]:
    """So much at noon of every day."""
    return [charge(MIDNIGHT + day * DAY + NOON, customer=f"cus_{day}", amount=dollars * 100) for day in range(days)]


def at(seconds: int) -> int:
    return (START + seconds) * SECOND


def test_five_minutes_past_midnight_without_a_sale_is_nothing() -> None:
    night = Night(revenue_drop_percent=30)
    night.deliver(*week())
    night.pass_until(at(TODAY + 300))
    assert night.incidents() == []


def test_half_of_the_usual_by_the_evening_opens_from_a_timer() -> None:
    night = Night(revenue_drop_percent=30)
    night.deliver(*week(), charge(TODAY + NOON, amount=50_000))
    night.pass_until(at(TODAY + 23 * 3600 - 1))
    assert night.incidents() == []
    night.pass_until(at(TODAY + 23 * 3600))
    incident = night.only("revenue_drop")
    assert incident.title == "Revenue so far today is $500.00 of $958.33 usual by then (mean of 7 days)"
    assert (incident.evidence["observed"], incident.evidence["expected"]) == (50_000, 95_833)


def test_a_day_without_a_sale_counts_as_nothing_in_the_mean() -> None:
    """$1,000 on four days of seven is $571 a day, of which $500 is no drop."""
    night = Night(revenue_drop_percent=30)
    night.deliver(*(one for day, one in enumerate(week()) if day % 2 == 0), charge(TODAY + NOON, amount=50_000))
    night.pass_until(at(TODAY + DAY - 1))
    assert night.incidents() == []


def test_a_day_that_ends_under_the_mark_is_noticed_when_it_is_over() -> None:
    """$690 are more than 70 % of what is usual by 23:00, and less than 70 % of a day."""
    night = Night(revenue_drop_percent=30)
    night.deliver(*week(), charge(TODAY + NOON, amount=69_000))
    night.pass_until(at(TODAY + DAY - 1))
    assert night.incidents() == []
    night.pass_until(at(TODAY + DAY + 900))
    assert night.only("revenue_drop").title.startswith("Revenue yesterday is $690.00 of $1,000.00")


def test_less_than_a_week_of_history_is_not_judged() -> None:
    night = Night(revenue_drop_percent=30)
    night.deliver(*week(6))
    night.pass_until(at(MIDNIGHT + 7 * DAY - 60))
    assert night.incidents() == []


def test_a_drop_is_told_once_a_day() -> None:
    night = Night(revenue_drop_percent=30)
    night.deliver(*week())
    night.pass_until(at(TODAY + DAY + 7200))
    assert [step.state for step in night.steps] == ["opened"]


def test_without_a_percentage_half_of_an_ordinary_day_is_nothing_for_a_small_shop() -> None:
    night = Night()
    night.deliver(*week(28))
    night.pass_until(at(MIDNIGHT + 29 * DAY - 60))
    assert night.incidents() == []


def busy(day: int, payments: int) -> list[Event]:
    return [
        charge(MIDNIGHT + day * DAY + NOON + number * 60, customer=f"cus_{day}_{number}") for number in range(payments)
    ]


def test_without_a_percentage_a_day_far_under_the_worst_of_weeks_is_a_drop() -> None:
    """Weekdays bring forty payments, weekends twenty; ten are half of the worst."""
    night = Night()
    for day in range(28):
        night.deliver(*busy(day, 20 if day % 7 > 4 else 40))
    night.deliver(*busy(28, 10))
    night.pass_until(at(MIDNIGHT + 28 * DAY + 23 * 3600))
    assert night.incidents() == []
    night.deliver(*busy(29, 4))
    night.pass_until(at(MIDNIGHT + 29 * DAY + 23 * 3600))
    assert "history" not in night.only("revenue_drop").title


def test_currencies_are_judged_apart() -> None:
    night = Night(revenue_drop_percent=30)
    euros = [charge(MIDNIGHT + day * DAY, customer=f"cus_e{day}", amount=90_000, currency="eur") for day in range(8)]
    night.deliver(*sorted(week(7) + euros, key=lambda one: one["created"]))
    night.pass_until(at(TODAY + 23 * 3600))
    assert night.only("revenue_drop").evidence["amounts"] == ["$0.00 of $958.33"]


def test_after_our_own_absence_payments_may_still_be_on_their_way() -> None:
    night = Night(revenue_drop_percent=30)
    night.deliver(*week())
    night.pass_until(at(TODAY + 3600))
    night.now = at(TODAY + DAY - 1800)  # nobody ticked for a day
    night.pass_minutes(2)
    assert night.incidents() == []
