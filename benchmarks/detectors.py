"""What one event costs the watch, stage by stage: python -m benchmarks.detectors [--events N].

A mix of a shop's events is projected once, then read, folded and replayed. CPU time; the budget for all detectors
together is 25 µs per event.
"""

import argparse
import gc
from collections.abc import Iterator, Sequence
from time import process_time
from typing import Any

import orjson

from actors.alerts.incidents import IncidentBook
from actors.alerts.routing import Routing
from actors.billing.detectors import DETECTORS
from actors.billing.events import normalise
from actors.billing.projection import Projector
from actors.billing.replay import Replay
from actors.billing.tenant_watch import TenantWatch
from actors.billing.watch import Watch
from actors.kernel.clock import SECOND, chance
from actors.store.records import Kind, LogEntry
from benchmarks.machine import machine

START = 1_780_000_000
RULES = {"failure_rate": 0.5, "failure_min_attempts": 10, "customer_decline_count": 5}
BUDGET_US = 25
MONTH_S = 30 * 86_400


def shop(number: int) -> Iterator[dict[str, Any]]:
    """Charges for 5,000 subscriptions, four a second, 8 % declined; each with its intent, invoice and subscription.

    One subscription in a hundred changes its worth.
    """
    rng = chance(1)
    for index in range(number // 4 + 1):
        at, failed, who = START + index // 4, rng.random() < 0.08, rng.randrange(5000)
        customer, amount = f"cus_{who:014}", rng.choice((900, 1900, 2900)) + rng.randrange(100)
        common = {"customer": customer, "currency": "usd", "amount": amount, "created": at}
        ids = {"id": f"ch_{index:024}", "payment_intent": f"pi_{index:024}", "invoice": f"in_{index:024}"}
        card = {"card": {"fingerprint": f"fp{rng.randrange(6000)}"}}
        charge = common | ids | {"status": "failed" if failed else "succeeded", "payment_method_details": card}
        intent = common | {"id": ids["payment_intent"], "latest_charge": ids["id"]}
        invoice = {
            "id": ids["invoice"],
            "amount_paid": amount,
            "billing_reason": "subscription_update",
            "charge": ids["id"],
            "currency": "usd",
            "status": "open" if failed else "paid",
            "subscription": f"sub_{who:014}",
            "lines": {"data": [{"amount": amount, "period": {"start": at, "end": at + MONTH_S}}]},
        }
        plan = {"id": "price_1", "amount": 900 + 1000 * (rng.random() < 0.01), "currency": "usd", "interval": "month"}
        periods = {"current_period_start": at, "current_period_end": at + MONTH_S}
        item = {"id": f"si_{who:014}", "quantity": 1, "plan": plan}
        subscription = {
            "id": f"sub_{who:014}",
            "customer": customer,
            "currency": "usd",
            "status": "active",
            "items": {"data": [item]},
        }
        told = (
            ("charge.failed" if failed else "charge.succeeded", charge),
            ("payment_intent.payment_failed" if failed else "payment_intent.succeeded", intent),
            ("invoice.payment_failed" if failed else "invoice.paid", common | invoice),
            ("customer.subscription.updated", subscription | periods),
        )
        for part, (kind, subject) in enumerate(told):
            yield {
                "id": f"evt_{index:020}{part}",
                "object": "event",
                "type": kind,
                "created": at,
                "livemode": True,
                "request": {"id": f"req_{index}", "idempotency_key": f"order-{index}"},
                "data": {"object": subject},
            }


def shuffled_within(events: Sequence[dict[str, Any]], minutes: int) -> list[dict[str, Any]]:
    """Each up to so many minutes late."""
    rng = chance(2)
    return sorted(events, key=lambda event: event["created"] + rng.random() * minutes * 60)


def entries(events: Sequence[dict[str, Any]]) -> list[LogEntry]:
    """As in the log; time never goes back."""
    projector, now, log = Projector(bytes(32)), 0, []
    for seq, event in enumerate(events, 2):
        now = max(now, event["created"] * SECOND)
        log.append(LogEntry(seq, Kind.EVENT, "acme", now, projector.project(event)))
    return [LogEntry(1, Kind.CONFIG, "acme", START * SECOND, RULES), *log]


def reading(log: Sequence[LogEntry]) -> float:
    """µs per event to make facts of it."""
    started = process_time()
    for entry in log:
        normalise(entry.data, entry.at)
    return (process_time() - started) / len(log) * 1e6


def detecting(log: Sequence[LogEntry]) -> tuple[float, float]:
    """µs per event for all detectors together, over the first and the last tenth."""
    tenant = TenantWatch("acme")
    tenant.configure(RULES)
    facts = [(normalise(entry.data, entry.at), entry.at) for entry in log[1:]]
    gc.freeze()  # the facts of the benchmark itself are no garbage to look for
    tenth, costs = len(facts) // 10, []
    for part in (facts[:tenth], facts[tenth:-tenth], facts[-tenth:]):
        started = process_time()
        for found, at in part:
            tenant.observe(found, at)
        costs.append((process_time() - started) / len(part) * 1e6)
    return costs[0], costs[2]


def folding(log: Sequence[LogEntry]) -> tuple[float, int, float]:
    """µs per event for the whole watch, then bytes and ms of a snapshot of it all."""
    watch = Watch(IncidentBook(Routing()))
    started = process_time()
    for entry in log:
        watch.apply(entry)
    cost = (process_time() - started) / len(log) * 1e6
    started = process_time()
    size = sum(len(state) for _, (_, state) in watch.snapshot())
    return cost, size, (process_time() - started) * 1e3


def replaying(events: Sequence[dict[str, Any]]) -> float:
    """Events per second through `nightdesk replay`, JSON included."""
    lines = [orjson.dumps(event) for event in events]
    replay = Replay(Watch(IncidentBook(Routing())), lambda _: RULES, tenant="acme")
    started = process_time()
    for line in lines:
        for _ in replay.feed(line):
            pass
    return len(lines) / (process_time() - started)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    number = parser.parse_args().events
    events = list(shop(number))
    print(f"{machine()}\n{len(events):,} events, {len(DETECTORS)} detectors\n")
    print(f"{'':24}{'facts':>8}{'detectors, first and last tenth':>34}{'watch':>8}{'snapshot':>22}")
    for name, told in (("in order", events), ("up to 20 min late", shuffled_within(events, 20))):
        log = entries(told)
        gc.freeze()
        first, last = detecting(log)
        whole, size, took = folding(log)
        print(
            f"{name:24}{reading(log):6.1f} µs{first:21.1f} µs{last:8.1f} µs"
            f"{whole:6.1f} µs{size / 1024:12.0f} KB{took:5.0f} ms"
        )
        print(f"{'':24}{'':8}{max(first, last) / BUDGET_US:31.0%} of {BUDGET_US} µs")
    print(f"\nreplay: {replaying(events):,.0f} events/s")


if __name__ == "__main__":
    main()
