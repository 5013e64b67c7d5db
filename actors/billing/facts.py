"""What events mean: the vocabulary of detectors and ledger.

Times are UTC microseconds, amounts minor units of `currency` (three lower-case letters), ids Stripe's own;
"" stands for "not given". `at` is when it happened (Stripe's `created`), never when it arrived.
"""

from collections.abc import Mapping
from typing import Any

from actors.kernel.frozen import frozen


@frozen
class Fact:
    """Something that happened, told by the event `event`."""

    at: int
    event: str


@frozen
class Arrival(Fact):
    """An event came in: the first fact of each, and the only one of those whose type means nothing to us."""

    type: str
    fetched: bool = False  # we asked for it: no webhook brought it
    subscribed: bool = True  # False: nor would any have, for the endpoint is not told of this type


@frozen
class ThinEvent(Fact):
    """It was a v2 event without a snapshot of its object, and says nothing."""

    type: str


@frozen
class EventsMissed(Fact):
    """So many events, created from `first` to `last`, had come by no webhook when Stripe was asked. `event` is ""."""

    missed: int
    first: int
    last: int


@frozen
class EndpointProbed(Fact):
    """How Stripe said the webhook endpoint is, in one of the words of `Probe`. `event` is ""."""

    verdict: str
    detail: str


@frozen
class SignaturesFailed(Fact):
    """So many deliveries were refused in the last minute, because their signature did not match. `event` is ""."""

    failed: int


@frozen
class Attempt(Fact):
    """A payment was tried. `key` is the same for all events that announce this try (charge, else intent and second)."""

    key: str
    succeeded: bool
    charge: str
    payment_intent: str
    invoice: str | None  # None: this shape cannot say (from 2025-03-31.basil on); "": belongs to none
    customer: str
    payer: str  # keyed hash of the card or account
    amount: int
    currency: str
    code: str  # why it was declined, as precisely as Stripe says
    idempotency_key: str
    automatic: bool  # no request caused it: Stripe's own billing did


class RepeatedAttempt(Attempt):
    """What an `Attempt` is read as that was counted already: it may know more (payer, invoice), yet adds none."""


@frozen
class InvoiceAttempt(Fact):
    """An invoice says that a payment for it was tried; counts only where no charge or payment intent tells the same."""

    invoice: str
    number: int  # which attempt on this invoice
    succeeded: bool
    charge: str
    payment_intent: str
    customer: str
    amount: int
    currency: str


@frozen
class InvoiceLink(Fact):
    """Which payment paid which invoice: since basil the only place where the two meet."""

    invoice: str
    payment_intent: str
    charge: str


@frozen
class ChargeState(Fact):
    """As it stands; `refunded` is cumulative, `released` was authorised and let go: neither taken nor refunded."""

    charge: str
    payment_intent: str
    customer: str
    amount: int
    refunded: int
    released: int
    currency: str


@frozen
class RefundState(Fact):
    """A refund as it stands: pending, requires_action, succeeded, failed or canceled."""

    refund: str
    charge: str
    payment_intent: str
    status: str
    amount: int
    currency: str
    reason: str

    @property
    def counts(self) -> bool:
        """Money went back, or is on its way; a refund that failed or was canceled gave nothing back."""
        return self.status not in ("failed", "canceled")


@frozen
class DisputeOpened(Fact):
    """A customer disputed a charge at the bank."""

    dispute: str
    charge: str
    payment_intent: str
    amount: int
    currency: str
    reason: str
    due: int | None  # evidence must be in by then


@frozen
class FraudWarning(Fact):
    """The card network reports a charge as fraud; a dispute tends to follow unless it is refunded."""

    warning: str
    charge: str
    payment_intent: str
    fraud_type: str


@frozen
class SetupAttempt(Fact):
    """A card was tried without money: what card testers prefer."""

    setup_intent: str
    succeeded: bool
    customer: str
    payer: str
    code: str


@frozen
class PaymentMethodAttached(Fact):
    """A customer has a new card or account."""

    payment_method: str
    customer: str
    payer: str


@frozen
class CustomerState(Fact):
    """A customer exists, or no longer."""

    customer: str
    created: int
    deleted: bool


@frozen
class Discount:
    """A coupon on a subscription."""

    percent_off: float | None
    amount_off: int | None
    currency: str
    duration: str  # forever | once | repeating
    end: int | None


@frozen
class Item:
    """One line of a subscription. `unit_amount` is None where the price is tiered."""

    price: str
    quantity: int | None
    unit_amount: float | None  # minor units; a fraction where Stripe gives `unit_amount_decimal`
    currency: str
    interval: str  # day | week | month | year
    interval_count: int
    metered: bool
    period_end: int | None


@frozen
class SubscriptionState(Fact):
    """A subscription as it stood at `at`; `previous` holds what the update changed, as it was before.

    So do `previous_items`; where the update left the items alone they are empty.
    """

    subscription: str
    customer: str
    status: str
    currency: str
    items: tuple[Item, ...]
    discounts: tuple[Discount, ...]
    started: int | None
    period_start: int | None
    period_end: int | None
    trial_end: int | None
    cancel_at: int | None
    cancel_at_period_end: bool
    canceled_at: int | None
    collection_paused: bool
    days_to_pay: int  # after an invoice was sent; 0: the customer is charged at once
    previous: Mapping[str, Any]
    previous_items: tuple[Item, ...]


@frozen
class InvoiceLine:
    """One line of an invoice."""

    amount: int
    proration: bool
    period_start: int | None
    period_end: int | None


@frozen
class InvoiceState(Fact):
    """An invoice as it stood at `at`."""

    invoice: str
    customer: str
    subscription: str
    status: str  # draft | open | paid | uncollectible | void
    reason: str  # subscription_cycle | subscription_create | subscription_update | manual …
    currency: str
    total: int
    created: int
    paid_at: int | None
    lines: tuple[InvoiceLine, ...]
