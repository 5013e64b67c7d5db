"""What a small SaaS has: plans, customers, subscriptions, invoices, charges."""

from dataclasses import dataclass, field
from typing import Any

from actors.kernel.clock import Random

Payload = dict[str, Any]

LEGACY = "2024-06-20"
MODERN = "2025-09-30.clover"

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FIRST = "Ada Grace Alan Edsger Barbara Donald Frances Ken Margaret Niklaus Radia Tony".split()
_LAST = "Ashby Bell Corwin Dunne Ellery Fosse Garrick Holt Imrie Jessop Kerr Lund".split()


class Ids:
    """Ids such as Stripe makes: unguessable, and beginning with the time they were made at."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def new(self, prefix: str, created: int) -> str:
        """`evt_1S…`, for `created` in unix seconds."""
        stamp = ""
        while created:
            created, digit = divmod(created, 62)
            stamp = _BASE62[digit] + stamp
        return f"{prefix}1{stamp}{''.join(self._rng.choices(_BASE62, k=17))}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sold. `amount` in minor units of `currency` per `interval`."""

    id: str
    product: str
    amount: int
    currency: str
    interval: str

    @property
    def period_s(self) -> int:
        """How long one payment lasts, roughly."""
        return 365 * 86_400 if self.interval == "year" else 30 * 86_400


@dataclass(slots=True)
class Customer:
    """Someone with a card. `api_version`: the shape in which Stripe tells of them."""

    id: str
    created: int
    api_version: str
    fingerprint: str
    name: str
    email: str
    last4: str
    last_charged: int = 0

    @classmethod
    def new(cls, ids: Ids, rng: Random, created: int) -> "Customer":
        """A stranger until now."""
        first, last = rng.choice(_FIRST), rng.choice(_LAST)
        return cls(
            id=ids.new("cus_", created),
            created=created,
            api_version=rng.choice((LEGACY, MODERN, MODERN)),
            fingerprint="".join(rng.choices(_BASE62, k=16)),
            name=f"{first} {last}",
            email=f"{first}.{last}{rng.randrange(1000)}@example.com".lower(),
            last4=f"{rng.randrange(10_000):04}",
        )

    @property
    def modern(self) -> bool:
        """Whether events about them have the shape of basil."""
        return self.api_version == MODERN


@dataclass(slots=True)
class Subscription:
    """A plan, subscribed to."""

    id: str
    customer: Customer
    plan: Plan
    created: int
    period_start: int
    status: str = "active"
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    latest_invoice: str | None = None

    @property
    def period_end(self) -> int:
        """When the next payment is due."""
        return self.period_start + self.plan.period_s


@dataclass(slots=True)
class Invoice:
    """What a subscription asks for."""

    id: str
    subscription: Subscription
    created: int
    reason: str
    status: str = "draft"
    attempts: int = 0


@dataclass(slots=True)
class Charge:
    """One attempt to take money. `decline`: why it failed."""

    id: str
    payment_intent: str
    customer: Customer
    amount: int
    currency: str
    created: int
    invoice: Invoice | None = None
    decline: str | None = None
    refunds: list[Payload] = field(default_factory=list)

    @property
    def refunded(self) -> int:
        """In minor units, over all refunds."""
        return sum(refund["amount"] for refund in self.refunds)
