"""What Stripe says of a webhook endpoint: whether silence means that nobody buys, or that nobody gets through."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from actors.kernel.frozen import frozen


class Verdict(StrEnum):
    """How it is. Stored in the log: never rename."""

    WELL = "well"  # whatever Stripe had to deliver, it has delivered
    FAILING = "failing"  # Stripe cannot deliver
    DISABLED = "disabled"  # Stripe does not try
    MISSING = "missing"  # no endpoint leads here
    UNREACHABLE = "unreachable"
    NOT_ALLOWED = "not_allowed"


BRIEFLY = {
    Verdict.WELL: "Stripe has nothing to deliver",
    Verdict.FAILING: "Stripe's deliveries fail",
    Verdict.DISABLED: "Stripe has disabled the endpoint",
    Verdict.MISSING: "no endpoint in Stripe leads here",
    Verdict.UNREACHABLE: "Stripe's API does not answer either",
    Verdict.NOT_ALLOWED: "Stripe refuses the API key",
}
SAYS = {
    Verdict.WELL: "Stripe has delivered all it had: nobody buys",
    Verdict.FAILING: "Stripe's deliveries fail: is the public address reachable, and its certificate valid?",
    Verdict.DISABLED: "the endpoint is disabled in Stripe: enable it (Developers → Webhooks)",
    Verdict.MISSING: "no endpoint in Stripe leads to this tenant's address: nightdesk tenant register-endpoint",
    Verdict.UNREACHABLE: "Stripe's API does not answer either: see status.stripe.com, and this machine's network",
    Verdict.NOT_ALLOWED: "Stripe cannot be asked",
}


@frozen
class Probe:
    """A verdict, and what it rests on in one line."""

    verdict: Verdict
    detail: str = ""


@frozen
class Deliveries:
    """What Stripe says of them: how the endpoint is, and which events it should have brought."""

    probe: Probe
    types: frozenset[str] | None  # that our endpoint is told of; None: nobody knows
    undelivered: frozenset[str]  # ids of events that some endpoint has not acknowledged

    def due(self, event: dict[str, Any]) -> bool:
        """Whether a webhook should have brought this event, as far as anybody knows."""
        if self.types is None:
            return event.get("id") in self.undelivered
        return "*" in self.types or event.get("type") in self.types


def judge(endpoints: Sequence[dict[str, Any]] | None, token: str | None, undelivered: frozenset[str]) -> Deliveries:
    """`endpoints` None: the key may not list them."""
    if endpoints is None:
        return Deliveries(_of_deliveries(undelivered), None, undelivered)
    address = f"/webhook/{token}" if token else "/webhooks/stripe"
    ours = [one for one in endpoints if str(one.get("url", "")).partition("?")[0].endswith(address)]
    if not ours and not any(one.get("status") == "enabled" for one in endpoints):
        probe = Probe(Verdict.DISABLED, "all are") if endpoints else Probe(Verdict.MISSING)
    elif ours and all(one.get("status") == "disabled" for one in ours):
        probe = Probe(Verdict.DISABLED, str(ours[0].get("id", "")))
    else:
        probe = _of_deliveries(undelivered)
    if not ours:  # something in between has another address
        return Deliveries(probe, None, undelivered)
    types = frozenset(str(kind) for one in ours for kind in one.get("enabled_events") or ())
    return Deliveries(probe, types, undelivered)


def _of_deliveries(undelivered: frozenset[str]) -> Probe:
    return Probe(Verdict.FAILING, f"{len(undelivered)} events are undelivered") if undelivered else Probe(Verdict.WELL)
