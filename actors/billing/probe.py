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


def judge(endpoints: Sequence[dict[str, Any]] | None, token: str | None, undelivered: int) -> Probe:
    """`endpoints` None: the key may not list them. `undelivered`: events that some endpoint has not acknowledged."""
    if endpoints is not None:
        address = f"/webhook/{token}" if token else "/webhooks/stripe"
        ours = [one for one in endpoints if str(one.get("url", "")).partition("?")[0].endswith(address)]
        if not ours and not any(one.get("status") == "enabled" for one in endpoints):
            return Probe(
                Verdict.DISABLED if endpoints else Verdict.MISSING, f"{len(endpoints)} endpoints, none enabled"
            )
        if ours and all(one.get("status") == "disabled" for one in ours):
            return Probe(Verdict.DISABLED, f"{ours[0].get('id', 'it')} is disabled")
    if undelivered:
        return Probe(Verdict.FAILING, f"{undelivered} events are undelivered")
    return Probe(Verdict.WELL)
