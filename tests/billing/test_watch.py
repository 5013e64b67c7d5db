"""The fold over the log: the same whether it was read in one go or in pieces, and whether idle minutes were ticked."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.alerts.incidents import IncidentBook
from actors.alerts.routing import Routing
from actors.billing.conventions import CONVENTIONS
from actors.billing.projection import Projector
from actors.billing.statement import statements
from actors.billing.tenant_watch import LEDGER, READERS, unpacked
from actors.billing.watch import Watch
from actors.store.records import DAEMON, Incident, Kind, LogEntry, Severity, State
from tests.billing.night import MINUTE, Night
from tests.billing.stripe_events import START, Event, charge, event, intent_of, invoice_of, refund
from tests.billing.subscribers import ended, invoiced, subscribed


def one_event(number: int, at: int) -> Event:
    """A small world in which charges meet their like: two customers, one amount; half the charges are declined."""
    failed, basil = number % 4 > 1, number % 3 == 0
    made = charge(at, id_=f"ch_{number}", customer=f"cus_{number % 2}", failed=failed, basil=basil)
    told = [
        made,
        made,
        made,
        intent_of(made),
        invoice_of(made, "invoice.payment_failed" if failed else "invoice.paid", linked=False, id_=f"in_{number}"),
        refund(at, id_=f"re_{number}", charge_id=f"ch_{number % 7}", amount=1500),
        event("radar.early_fraud_warning.created", {"id": f"issfr_{number}", "charge": "ch_1"}, at),
        subscription(number, at),
        subscription(number, at),
    ]
    return told[number % len(told)]


def subscription(number: int, at: int) -> Event:
    """One of three subscriptions, raised, lowered, ended or taken up again."""
    plan = {"id": f"price_{number % 4}", "amount": 1000 * (number % 4), "currency": "usd", "interval": "month"}
    subject = {
        "id": f"sub_{number % 3}",
        "customer": f"cus_{number % 2}",
        "plan": plan,
        "status": "canceled" if number % 5 == 0 else "active",
        "current_period_end": START + at + 600,
    }
    return event("customer.subscription.updated", subject, at)


happenings = st.one_of(
    st.tuples(st.just("event"), st.integers(0, 60), st.integers(0, 200)),
    st.tuples(st.just("event"), st.integers(0, 60), st.integers(0, 200)),
    st.tuples(st.just("rules"), st.sampled_from((None, 0.2, 0.9)), st.integers(1, 5)),
    st.tuples(st.just("minutes"), st.integers(1, 90), st.just(0)),
)
stories = st.lists(happenings, min_size=10, max_size=40)
set_back = st.tuples(st.just("set back"), st.integers(1, 300), st.just(0))
stories_of_a_bad_clock = st.lists(st.one_of(happenings, happenings, happenings, set_back), min_size=10, max_size=40)


def tell(story: list[tuple[str, Any, int]]) -> Night:
    night, at = Night(), 0
    for what, which, much in story:
        if what == "event":
            at += much
            night.deliver(one_event(which, at), tenant=f"tenant{which % 2}", at=at)
        elif what == "rules":
            night.configure(tenant="tenant0", failure_rate=which, failure_min_attempts=much)
        elif what == "set back":
            at -= which * 60
            night.now -= which * 60 * 1_000_000
        else:
            at += which * 60
            night.pass_minutes(which)
    return night


def outcome(watch: Watch) -> dict[tuple[str, str], Any]:
    """The whole state, as a snapshot of everything would have it."""
    for tenant in watch._tenants.values():
        tenant.shown |= READERS.keys()
        for id_, _ in list(tenant.ledger.records.items()):
            tenant.ledger.records.open(id_)
        if tenant.settings is not None:
            tenant.changed.add("rules")
    return {
        part: state if part[1].startswith(LEDGER) and part[1] != LEDGER else unpacked(state)
        for part, (_, state) in watch.snapshot()
        if part[1] != "incidents"
    }


def fresh() -> Watch:
    return Watch(IncidentBook(Routing()))


def read(watch: Watch, log: Sequence[LogEntry]) -> list[tuple[str, int, Incident]]:
    """What becomes of the incidents."""
    steps = []
    for entry in log:
        watch.apply(entry)
        steps += [(step.state, step.at, step.incident) for step in watch.drain().transitions]
    return steps


@given(stories_of_a_bad_clock, st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_snapshot_and_the_rest_of_the_log_give_what_the_whole_log_gives(
    story: list[tuple[str, Any, int]], where: int
) -> None:
    """Cut anywhere; what is saved there is only what changed since an earlier snapshot, and is laid over that one."""
    log = tell(story).log
    cut = where % (len(log) + 1)
    whole = fresh()
    read(whole, log[: cut // 2])
    saved = dict(whole.snapshot())
    read(whole, log[cut // 2 : cut])
    saved |= dict(whole.snapshot())
    restored = fresh()
    assert restored.restore(saved, ()) == []
    assert read(restored, log[cut:]) == read(whole, log[cut:])
    assert outcome(restored) == outcome(whole)
    for tenant, ledger in ((name, one.ledger) for name, one in whole.tenants.items()):
        assert +restored.tenants[tenant].ledger.mrr == +ledger.mrr
        assert restored.tenants[tenant].ledger.recent(whole._now) == ledger.recent(whole._now)


@given(stories)
@settings(max_examples=40)
def test_minutes_in_which_nothing_is_due_change_nothing(story: list[tuple[str, Any, int]]) -> None:
    """What lets a replay jump over a quiet night."""
    night = tell(story)
    lazy = fresh()
    steps = []
    for entry in night.log:
        if entry.kind is not Kind.TICK or lazy.due <= entry.at:
            steps += read(lazy, [entry])
    assert steps == [(step.state, step.at, step.incident) for step in night.steps]


STEPS = frozenset(("plan_downgrade", "mrr_drop", "churn_spike", "bulk_plan_change"))
"""These speak of a subscription's latest step, which looks larger while one in between is not yet told."""

# One event of each attempt: told at two different seconds, an attempt is where the first event to come has it.
once_each = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1000)), max_size=40, unique_by=lambda one: one[0])


@given(once_each, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_delivery_decides_nothing(told: list[tuple[int, int]], order: Any) -> None:
    """What came late after an outage opens the same incidents in whatever order and however often it came."""
    events = [one_event(number, at) for number, at in sorted(told, key=lambda one: one[1])]
    again = events * 2
    order.shuffle(again)
    opened, ledgers = [], []
    for delivery in (events, again):
        night = Night(refund_spike_count=3)
        known = list({one["id"]: one for one in delivery}.values())  # the store takes each once
        night.deliver(*known, at=1000)
        night.pass_minutes(5)
        opened.append({(one.signal, one.scope) for one in night.incidents() if one.signal not in STEPS})
        ledgers += [one.ledger for name, one in night.watch.tenants.items() if name == "acme"]
    assert opened[0] == opened[1]
    assert [ledger.movements() for ledger in ledgers[1:]] == [ledger.movements() for ledger in ledgers[:1]]


def test_state_of_another_version_starts_afresh_and_says_so() -> None:
    night = Night(failure_rate=0.15)
    night.deliver(*(charge(at, failed=True) for at in range(4)))
    parts = dict(night.watch.snapshot())
    version, state = parts["acme", "decline_spike"]
    parts["acme", "decline_spike"] = (version + 1, state)
    parts["acme", "a_signal_of_the_future"] = (1, b"null")
    restored = fresh()
    assert set(restored.restore(parts, ())) == {("acme", "decline_spike"), ("acme", "a_signal_of_the_future")}
    assert restored.rules_of("acme") == {"failure_rate": 0.15}


def test_only_what_changed_is_saved_again() -> None:
    night = Night()
    night.deliver(charge(0))
    dict(night.watch.snapshot())
    night.deliver(charge(1), tenant="other")
    assert {tenant for (tenant, part), _ in night.watch.snapshot() if part != "incidents"} == {DAEMON, "other"}


def test_the_thresholds_in_force_are_those_last_told() -> None:
    night = Night()
    assert night.watch.rules_of("acme") is None
    night.configure(failure_rate=0.15)
    night.configure(failure_rate=0.5)
    assert night.watch.rules_of("acme") == {"failure_rate": 0.5}


def test_an_alarm_of_the_daemon_is_an_incident_until_it_says_otherwise() -> None:
    night = Night()
    alarm = {"signal": "store_trouble", "scope": "disk", "severity": "critical", "title": "Full", "evidence": {}}
    night.append(Kind.ALARM, DAEMON, alarm)
    assert night.only("store_trouble").severity is Severity.CRITICAL
    night.append(Kind.ALARM, DAEMON, {"signal": "store_trouble", "scope": "disk", "resolved": True})
    assert [step.state for step in night.steps] == ["opened", "resolved"]


def test_an_incident_resolves_once_after_its_quiet_window_without_another_event() -> None:
    night = Night()
    night.deliver(charge(0), charge(10))
    night.pass_minutes(120)
    assert [step.state for step in night.steps] == ["opened", "resolved"]
    assert night.steps[1].at - night.steps[0].at == 3600 * 1_000_000


def test_a_command_reaches_the_incident() -> None:
    night = Night()
    night.deliver(charge(0), charge(10))
    (incident,) = night.incidents()
    night.append(Kind.COMMAND, DAEMON, {"command": "false_positive", "incident": incident.id, "by": 0})
    assert night.incidents()[0].false_positive


def test_a_clock_a_little_out_of_order_takes_no_time_away() -> None:
    night = Night()
    night.deliver(charge(0, failed=True))
    night.now -= 200 * 1_000_000
    night.deliver(*(charge(at, failed=True) for at in range(1, 5)))
    assert night.only("decline_spike").evidence["failed"] == 5


AHEAD = 3 * 24 * 3600 * 1_000_000


def after_a_clock_that_was_ahead() -> Night:
    """Three days ahead, for ten minutes in which a customer paid twice; then set right."""
    night = Night()
    night.now += AHEAD
    for payment in (charge(0, customer="cus_1"), charge(10, customer="cus_1")):
        night.append(Kind.EVENT, "acme", Projector(bytes(32)).project(payment))
    night.pass_minutes(10)
    night.now -= AHEAD
    night.append(Kind.TICK, DAEMON, {})
    return night


def test_a_clock_that_was_days_ahead_and_is_set_right_silences_nothing() -> None:
    night = after_a_clock_that_was_ahead()
    night.deliver(*(charge(600 + at, failed=True, customer="cus_2") for at in range(5)))
    (drift,) = night.incidents("clock_drift")
    (declines,) = night.incidents("decline_spike")
    assert (drift.tenant, drift.scope, drift.title) == (DAEMON, "host", "The clock stepped back by 3 days")
    assert declines.opened == night.now
    assert night.steps[-1].incident.opened <= night.now


def test_what_was_open_when_the_clock_was_set_right_resolves_when_its_window_is_over() -> None:
    night = after_a_clock_that_was_ahead()
    night.pass_minutes(70)
    assert all(one.state is State.RESOLVED for one in night.incidents("duplicate_charge"))
    assert all(one.opened <= one.resolved <= night.now for one in night.incidents("clock_drift") if one.resolved)


def test_a_clock_that_goes_back_and_forth_is_no_obstacle_to_a_restart() -> None:
    """Snapshot and tail are the fold, wherever the snapshot was taken."""
    night = after_a_clock_that_was_ahead()
    night.deliver(*(charge(600 + at, failed=True, customer="cus_2") for at in range(5)))
    night.pass_minutes(90)
    for at in range(len(night.log)):
        early = fresh()
        steps = read(early, night.log[:at])
        again = fresh()
        again.restore(dict(early.snapshot()), ())
        assert steps + read(again, night.log[at:]) == [(step.state, step.at, step.incident) for step in night.steps]


def test_those_whom_one_tick_cannot_see_to_are_seen_to_in_the_next_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest overdue first; after a restart in the same order."""
    monkeypatch.setattr("actors.billing.watch.TICKED_MAX", 2)
    night = Night()
    names = [f"tenant{number}" for number in (3, 1, 4, 0, 2)]
    for name in names:
        night.configure(tenant=name, revenue_drop_percent=30)
    for hour in range(0, 8 * 24, 6):
        for name in names:
            made = charge(hour * 3600, customer=f"cus_{hour}", id_=f"ch_{name}_{hour}")
            night.deliver(made, tenant=name, at=hour * 3600)
    parts, told, known = dict(night.watch.snapshot()), len(night.log), len(night.steps)
    night.pass_minutes(36 * 60)
    dropped = {
        step.incident.tenant: step.at
        for step in night.steps
        if step.incident.signal == "revenue_drop" and step.state == "opened"
    }
    first = min(dropped.values())
    assert {name: (at - first) // MINUTE for name, at in dropped.items()} == dict(
        zip(sorted(names), (0, 0, 1, 1, 2), strict=True)
    )
    again = fresh()
    assert again.restore(dict(sorted(parts.items(), reverse=True)), ()) == []
    steps = [(step.state, step.at, step.incident) for step in night.steps[known:]]
    assert read(again, night.log[told:]) == steps


@pytest.mark.parametrize("absurd", [10**12 - 1, 10**12, 2**63 - 1, 2**63, -(10**12) + 1, -(2**63), 1e308])
def test_absurd_numbers_can_be_summed_up_saved_and_read_again(absurd: float) -> None:
    """Whatever a tenant's events claim, the snapshot of all tenants is still written."""
    numbers = (
        "amount amount_refunded quantity unit_amount unit_amount_decimal interval_count total amount_due amount_paid "
        "days_until_due percent_off amount_off current_period_end"
    ).split()

    def spoilt(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: absurd if key in numbers else spoilt(one) for key, one in value.items()}
        return [spoilt(one) for one in value] if isinstance(value, list) else value

    night = Night(refund_spike_count=2, revenue_drop_percent=30, churn_rate_daily=0.05)
    coupon = {"coupon": {"percent_off": 1, "amount_off": 1, "duration": "forever"}}
    for number in range(12):
        at = number * 60
        told = [
            charge(at, customer=f"cus_{number % 2}", refunded=1),
            refund(at, id_=f"re_{number}", charge_id="ch", amount=1),
        ]
        told += [intent_of(told[0]), invoice_of(told[0], "invoice.paid", linked=False, id_=f"in_{number}")]
        told += [subscribed(at, number, days_until_due=1, discount=coupon), invoiced(at, number)]
        for one in told:
            one["data"]["object"] = spoilt(one["data"]["object"])
        night.deliver(*told, at=at)
    night.deliver(*(ended(1200, number) for number in range(12)), at=1200)
    night.pass_minutes(26 * 60)
    for convention in CONVENTIONS.values():
        made = statements(night.watch.tenants["acme"].ledger, night.now, convention)
        assert all(abs(one.arr) < 2**63 for one in made)
    assert fresh().restore(dict(night.watch.snapshot()), ()) == []


Held = dict[tuple[str, str], tuple[int, bytes]]


class Shelf:
    """What a store keeps of one tenant, as a dictionary."""

    def __init__(self, held: Held, tenant: str) -> None:
        self._held, self._tenant = held, tenant

    def _named(self) -> Iterator[tuple[str, int, bytes]]:
        for (tenant, name), (version, state) in self._held.items():
            if tenant == self._tenant and version:
                yield name, version, state

    def parts(self) -> list[tuple[str, int, bytes]]:
        return [one for one in self._named() if one[0] == LEDGER or not one[0].startswith(LEDGER)]

    def states(self) -> Iterator[tuple[str, bytes]]:
        for name, _, state in self._named():
            if name.startswith(LEDGER) and name != LEDGER:
                yield name.removeprefix(LEDGER), state

    def get(self, id_: str) -> bytes | None:
        return dict(self.states()).get(id_)

    def heads(self, size: int) -> Iterator[tuple[str, bytes]]:
        return ((id_, state[:size]) for id_, state in self.states())


@given(stories_of_a_bad_clock, st.integers(1, 20))
@settings(max_examples=40)
def test_who_rests_when_the_watch_begins_sees_the_same(story: list[tuple[str, Any, int]], every: int) -> None:
    """Of a thousand tenants nearly all do, until something happens to them."""
    log = tell(story).log
    held: Held = {}
    plain, shelf_of = fresh(), partial(Shelf, held)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.billing.watch.AWAKE_MAX", 0)
        for start in range(0, len(log), every):
            begun = Watch(IncidentBook(Routing()), shelf_of)
            assert begun.restore(dict(sorted(held.items())), ()) == []
            assert not any(tenant.detectors for tenant in begun.tenants.values())
            assert read(begun, log[start : start + every]) == read(plain, log[start : start + every])
            held |= dict(begun.snapshot())


@given(stories_of_a_bad_clock, st.integers(1, 20))
@settings(max_examples=40)
def test_who_rests_between_events_sees_the_same(story: list[tuple[str, Any, int]], every: int) -> None:
    """With nothing kept in memory but what the last snapshot did not have, all is as if everything were."""
    log = tell(story).log
    held: Held = {}
    low, plain = Watch(IncidentBook(Routing()), lambda tenant: Shelf(held, tenant)), fresh()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.billing.watch.AWAKE_MAX", 1)
        patch.setattr("actors.billing.watch.AT_HAND_MAX", 0)
        for start in range(0, len(log), every):
            assert read(low, log[start : start + every]) == read(plain, log[start : start + every])
            held |= dict(low.snapshot())
            low.put_down()
            assert sum(bool(tenant.detectors) for tenant in low.tenants.values()) <= 1
    for name, tenant in plain.tenants.items():
        assert low.tenants[name].ledger.movements() == tenant.ledger.movements()
        assert +low.tenants[name].ledger.mrr == +tenant.ledger.mrr


def test_a_look_over_thousands_of_subscriptions_lets_others_run_in_between() -> None:
    night = Night()
    night.deliver(*(subscribed(0, number) for number in range(2_500)), at=0)
    night.now = -(-night.watch.due // MINUTE) * MINUTE
    pieces = list(night.watch.tick(LogEntry(len(night.log) + 1, Kind.TICK, DAEMON, night.now, {})))
    assert len(pieces) >= 3
    assert night.watch.due > night.now
