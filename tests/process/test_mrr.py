import json
from pathlib import Path
from typing import Any

import yaml

from tests.process.harness import nightdesk, now_s, running

DAY = 86_400


def subscription(number: int, created: int, amount: int, **changes: Any) -> dict[str, Any]:
    price = {"id": f"price_{amount}", "unit_amount": amount, "currency": "usd", "recurring": {"interval": "month"}}
    subject = {
        "id": f"sub_{number}",
        "object": "subscription",
        "customer": f"cus_{number}",
        "status": "active",
        "currency": "usd",
        "items": {"data": [{"id": f"si_{number}", "quantity": 1, "price": price}]},
    }
    return {
        "id": f"evt_{number}_{created}_{amount}",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": created,
        "data": {"object": subject | changes},
    }


def test_the_ledger_survives_a_kill_and_tells_what_recurs_now_and_then(tmp_path: Path) -> None:
    """Three subscribers; a week later one pays more and one is gone, told before what was told first."""
    start = now_s() - 40 * DAY
    later = start + 20 * DAY
    with running(tmp_path) as daemon:
        daemon.deliver(subscription(1, later, 5000))
        daemon.deliver(subscription(2, later, 3000, status="canceled"))
        daemon.settled()
        daemon.kill()
        daemon.start()
        for number in (1, 2, 3):
            daemon.deliver(subscription(number, start, 3000))
        daemon.settled()
        code, lines = nightdesk("mrr", "--json", "--socket", daemon.socket)
        (row,) = [json.loads(line) for line in lines]
        assert code == 0
        assert (row["tenant"], row["currency"], row["mrr_minor"], row["arr_minor"]) == ("acme", "usd", 8000, 96_000)
        assert (row["customers"], row["arpa_minor"]) == (2, 4000)
        assert (row["gross_churn"], row["quick_ratio"]) == (3000 / 9000, 2000 / 3000)
        assert [flow["net_minor"] for flow in row["days"]] == [-1000]
        assert sum(flow["net_minor"] for flow in row["months"]) == 8000
        _, lines = nightdesk("mrr", "--json", "--at", "21d", "--tenant", "acme", "--socket", daemon.socket)
        assert json.loads(lines[0])["mrr_minor"] == 9000
        assert nightdesk("mrr", "--at", "yesterday", "--socket", daemon.socket) == (
            2,
            ["nightdesk: at: expected a time such as 2026-11-22T02:00:00Z or 2h, not 'yesterday'"],
        )
        _, table = nightdesk("mrr", "--socket", daemon.socket)
        assert table[1].split()[:5] == ["acme", "USD", "$80.00", "$960.00", "$40.00"]


def test_the_rules_and_the_display_currency_are_settings_that_a_reload_changes(tmp_path: Path) -> None:
    """Two currencies and a coupon that passes; ChartMogul counts it, and in dollars there is one sum."""
    start = now_s() - 5 * DAY
    coupon = {"coupon": {"percent_off": 50, "duration": "repeating"}, "end": start + 90 * DAY}
    in_euro = {"id": "price_e", "unit_amount": 1000, "currency": "eur", "recurring": {"interval": "month"}}
    items = {"data": [{"id": "si_2", "quantity": 1, "price": in_euro}]}
    with running(tmp_path) as daemon:
        daemon.deliver(subscription(1, start, 4000, discount=coupon))
        daemon.deliver(subscription(2, start, 1000, currency="eur", items=items))
        daemon.settled()

        def told(*more: str) -> list[tuple[Any, ...]]:
            code, lines = nightdesk("mrr", "--json", "--socket", daemon.socket, *more)
            rows = [json.loads(line) for line in lines]
            assert code == 0
            return [(row["rules"], row["converted"], row["currency"], row["mrr_minor"]) for row in rows]

        assert told() == [("stripe", False, "eur", 1000), ("stripe", False, "usd", 4000)]
        tree = yaml.safe_load(daemon.config.read_text())
        tree["billing"]["mrr"] = {"rules": "chartmogul", "currency": "USD", "rates": {"eur": 1.1}}
        daemon.config.write_text(yaml.safe_dump(tree))
        assert nightdesk("reload", "--socket", daemon.socket)[0] == 0
        chartmogul = [("chartmogul", False, "eur", 1000), ("chartmogul", False, "usd", 2000)]
        assert told() == [*chartmogul, ("chartmogul", True, "usd", 3100)]
        assert "all in USD" in "".join(nightdesk("mrr", "--socket", daemon.socket)[1])
        assert nightdesk("mrr", "--tenant", "nobody", "--socket", daemon.socket)[0] == 2
