"""From what Stripe sent to what it means: one reading for API versions from 2017 on, before and after basil.

Unknown types, missing and misspelt values give fewer facts, never an exception.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from actors.billing.facts import (
    Arrival,
    Attempt,
    ChargeState,
    CustomerState,
    DisputeOpened,
    Fact,
    FraudWarning,
    InvoiceAttempt,
    InvoiceLine,
    InvoiceLink,
    InvoiceState,
    PaymentMethodAttached,
    RefundState,
    SetupAttempt,
    ThinEvent,
)
from actors.billing.reading import amount, flag, ident, mapping, rows, text, time
from actors.billing.subscriptions import read_subscription
from actors.kernel.clock import SECOND

Json = Mapping[str, Any]
CLOCK_SKEW = 300 * SECOND  # an event may not come from further ahead than a signature may


def normalise(event: Json, received: int) -> tuple[Fact, ...]:
    """The facts of one projected event, its `Arrival` first. `received` bounds, and replaces a missing, `created`."""
    created = time(event.get("created"))
    at = created if created is not None and created <= received + CLOCK_SKEW else received
    event_id, kind = text(event.get("id")), text(event.get("type"))
    arrival = Arrival(at, event_id, kind, "backfilled" in event, event.get("subscribed") is not False)
    if event.get("object") == "v2.core.event":
        return arrival, ThinEvent(at, event_id, kind)
    read = READERS.get(kind)
    return (arrival, *read(Source(event, event_id, kind, at))) if read else (arrival,)


class Source:
    """One event, half read: what every reader needs from its envelope."""

    __slots__ = ("at", "event", "id", "object", "type")

    def __init__(self, event: Json, event_id: str, kind: str, at: int) -> None:
        self.event = event
        self.id = event_id
        self.type = kind
        self.at = at
        self.object = mapping(mapping(event.get("data")).get("object"))

    @property
    def previous(self) -> Json:
        """What an update changed, as it was before."""
        return mapping(mapping(self.event.get("data")).get("previous_attributes"))

    @property
    def request(self) -> tuple[bool, str]:
        """Whether no API request caused this, and the idempotency key of the one that did."""
        request = self.event.get("request")
        if isinstance(request, str):  # until 2017-05-25
            return not request, ""
        fields = mapping(request)
        return not text(fields.get("id")), text(fields.get("idempotency_key"))


Reader = Callable[[Source], Iterable[Fact]]


def currency(fields: Json) -> str:
    """Three lower-case letters."""
    return text(fields.get("currency")).lower()


def invoice_of(payment: Json) -> str | None:
    """None where this API version no longer says."""
    return ident(payment["invoice"]) if "invoice" in payment else None


def read_charge(source: Source) -> list[Fact]:
    """The state of a charge; and if this event announces its outcome, the attempt."""
    charge = source.object
    found: list[Fact] = []
    charge_id = text(charge.get("id"))
    customer, intent = ident(charge.get("customer")), ident(charge.get("payment_intent"))
    total, money = amount(charge.get("amount")), currency(charge)
    if source.type in ("charge.succeeded", "charge.failed"):
        automatic, key = source.request
        attempt = Attempt(
            source.at,
            source.id,
            charge_id or (f"{intent}@{source.at // SECOND}" if intent else source.id),
            source.type == "charge.succeeded",
            charge_id,
            intent,
            invoice_of(charge),
            customer,
            text(charge.get("payer")),
            total,
            money,
            text(mapping(charge.get("outcome")).get("reason")) or text(charge.get("failure_code")),
            key,
            automatic,
        )
        found.append(attempt)
    if charge_id:
        released = released_of(charge)
        refunded = amount(charge.get("amount_refunded")) - released
        found.append(ChargeState(source.at, source.id, charge_id, intent, customer, total, refunded, released, money))
    return found


def released_of(charge: Json) -> int:
    """What was let go of an authorisation, by capturing less or nothing: in `amount_refunded`, yet never taken."""
    captured = amount(charge.get("amount_captured"))  # since 2020
    if not captured and ("amount_captured" not in charge or charge.get("captured") is not False):
        return 0
    uncaptured = max(0, amount(charge.get("amount")) - captured)
    return uncaptured if amount(charge.get("amount_refunded")) >= uncaptured else 0


def read_intent(source: Source) -> Iterable[Fact]:
    """A payment intent that succeeded or failed: the same attempt as its charge, or one that never became a charge."""
    intent = source.object
    intent_id = text(intent.get("id"))
    error = mapping(intent.get("last_payment_error"))
    charges = rows(intent.get("charges"))  # until 2022-11-15; newest first
    charge = ident(error.get("charge")) or ident(intent.get("latest_charge")) or (ident(charges[0]) if charges else "")
    automatic, key = source.request
    attempt = Attempt(
        source.at,
        source.id,
        charge or (f"{intent_id}@{source.at // SECOND}" if intent_id else source.id),
        source.type == "payment_intent.succeeded",
        charge,
        intent_id,
        invoice_of(intent),
        ident(intent.get("customer")),
        text(intent.get("payer")),
        amount(intent.get("amount_received")) or amount(intent.get("amount")),
        currency(intent),
        text(error.get("decline_code")) or text(error.get("code")),
        key,
        automatic,
    )
    return (attempt,)


def read_refund(source: Source) -> Iterator[Fact]:
    """A refund in whatever state."""
    yield from refund_state(source, source.object, {})


def read_charge_refunded(source: Source) -> Iterator[Fact]:
    """The charge, and the refunds it lists (until 2022-11-15)."""
    yield from read_charge(source)
    for refund in rows(source.object.get("refunds")):
        yield from refund_state(source, refund, source.object)


def refund_state(source: Source, refund: Json, charge: Json) -> Iterator[Fact]:
    """What a refund does not say itself, the charge that lists it does."""
    if refund_id := text(refund.get("id")):
        yield RefundState(
            source.at,
            source.id,
            refund_id,
            ident(refund.get("charge")) or text(charge.get("id")),
            ident(refund.get("payment_intent")) or ident(charge.get("payment_intent")),
            text(refund.get("status")) or "succeeded",  # pending came with status in 2018; before, refunds were done
            amount(refund.get("amount")),
            currency(refund) or currency(charge),
            text(refund.get("reason")),
        )


def read_dispute(source: Source) -> Iterator[Fact]:
    """A new dispute; its later life is noise."""
    dispute = source.object
    yield DisputeOpened(
        source.at,
        source.id,
        text(dispute.get("id")),
        ident(dispute.get("charge")),
        ident(dispute.get("payment_intent")),
        amount(dispute.get("amount")),
        currency(dispute),
        text(dispute.get("reason")),
        time(mapping(dispute.get("evidence_details")).get("due_by")),
    )


def read_fraud_warning(source: Source) -> Iterator[Fact]:
    """A new early fraud warning."""
    warning = source.object
    yield FraudWarning(
        source.at,
        source.id,
        text(warning.get("id")),
        ident(warning.get("charge")),
        ident(warning.get("payment_intent")),
        text(warning.get("fraud_type")),
    )


def read_setup(source: Source) -> Iterator[Fact]:
    """A card that was stored, or refused."""
    setup = source.object
    error = mapping(setup.get("last_setup_error"))
    yield SetupAttempt(
        source.at,
        source.id,
        text(setup.get("id")),
        source.type == "setup_intent.succeeded",
        ident(setup.get("customer")),
        text(setup.get("payer")),
        text(error.get("decline_code")) or text(error.get("code")),
    )


def read_payment_method(source: Source) -> Iterator[Fact]:
    """A card or account attached to a customer."""
    method = source.object
    yield PaymentMethodAttached(
        source.at, source.id, text(method.get("id")), ident(method.get("customer")), text(method.get("payer"))
    )


def read_customer(source: Source) -> Iterator[Fact]:
    """A customer made, changed or deleted."""
    customer = source.object
    if customer_id := text(customer.get("id")):
        created = time(customer.get("created"))
        deleted = source.type == "customer.deleted" or flag(customer.get("deleted"))
        yield CustomerState(source.at, source.id, customer_id, source.at if created is None else created, deleted)


def subscription_of(invoice: Json) -> str:
    """Before basil a field; since then in `parent`, and on the lines."""
    parent = mapping(mapping(invoice.get("parent")).get("subscription_details"))
    return (
        ident(invoice.get("subscription"))
        or ident(parent.get("subscription"))
        or next((found for line in rows(invoice.get("lines")) if (found := line_subscription(line))), "")
    )


def line_subscription(line: Json) -> str:
    """As `subscription_of`, for a line."""
    parent = mapping(mapping(line.get("parent")).get("subscription_item_details"))
    return ident(line.get("subscription")) or ident(parent.get("subscription"))


def read_line(line: Json) -> InvoiceLine:
    """One line, before or after basil."""
    period = mapping(line.get("period"))
    return InvoiceLine(
        amount(line.get("amount")),
        flag(line.get("proration")) or flag(line_details(line).get("proration")),
        time(period.get("start")),
        time(period.get("end")),
    )


def line_details(line: Json) -> Json:
    """Since basil, what it is for."""
    parent = mapping(line.get("parent"))
    return mapping(parent.get("subscription_item_details")) or mapping(parent.get("invoice_item_details"))


def read_invoice(source: Source) -> Iterable[Fact]:
    """The state of an invoice; and if this event says that a payment was tried, the attempt."""
    invoice = source.object
    invoice_id = text(invoice.get("id"))  # an upcoming invoice has none, and is none yet
    if not invoice_id:
        return ()
    customer, money = ident(invoice.get("customer")), currency(invoice)
    created = time(invoice.get("created"))
    state = InvoiceState(
        source.at,
        source.id,
        invoice_id,
        customer,
        subscription_of(invoice),
        text(invoice.get("status")) or ("paid" if flag(invoice.get("paid")) else ""),
        text(invoice.get("billing_reason")),
        money,
        amount(invoice.get("total")),
        source.at if created is None else created,
        time(mapping(invoice.get("status_transitions")).get("paid_at")),
        tuple([read_line(line) for line in rows(invoice.get("lines"))]),
    )
    failed = source.type == "invoice.payment_failed"
    if not failed and source.type not in ("invoice.payment_succeeded", "invoice.paid"):
        return (state,)
    paid = amount(invoice.get("amount_due" if failed else "amount_paid"))
    if not failed and (paid <= 0 or flag(invoice.get("paid_out_of_band"))):
        return (state,)
    attempt = InvoiceAttempt(
        source.at,
        source.id,
        invoice_id,
        amount(invoice.get("attempt_count")),
        not failed,
        ident(invoice.get("charge")),
        ident(invoice.get("payment_intent")),
        customer,
        paid,
        money,
    )
    return state, attempt


def read_invoice_payment(source: Source) -> Iterator[Fact]:
    """Since basil: which payment belongs to which invoice."""
    payment = mapping(source.object.get("payment"))
    intent, charge = ident(payment.get("payment_intent")), ident(payment.get("charge"))
    invoice = ident(source.object.get("invoice"))
    if invoice and (intent or charge):
        yield InvoiceLink(source.at, source.id, invoice, intent, charge)


def read_subscription_event(source: Source) -> Iterable[Fact]:
    """A subscription as it stands."""
    state = read_subscription(source.object, source.previous, source.at, source.id, source.type)
    return () if state is None else (state,)


READERS: dict[str, Reader] = {
    **dict.fromkeys(
        ("charge.succeeded", "charge.failed", "charge.pending", "charge.captured", "charge.updated", "charge.expired"),
        read_charge,
    ),
    "charge.refunded": read_charge_refunded,
    **dict.fromkeys(("payment_intent.succeeded", "payment_intent.payment_failed"), read_intent),
    **dict.fromkeys(("refund.created", "refund.updated", "refund.failed", "charge.refund.updated"), read_refund),
    "charge.dispute.created": read_dispute,
    "radar.early_fraud_warning.created": read_fraud_warning,
    **dict.fromkeys(("setup_intent.succeeded", "setup_intent.setup_failed"), read_setup),
    "payment_method.attached": read_payment_method,
    **dict.fromkeys(("customer.created", "customer.updated", "customer.deleted"), read_customer),
    **dict.fromkeys(
        (
            "invoice.created",
            "invoice.finalized",
            "invoice.updated",
            "invoice.sent",
            "invoice.paid",
            "invoice.payment_succeeded",
            "invoice.payment_failed",
            "invoice.payment_action_required",
            "invoice.voided",
            "invoice.marked_uncollectible",
        ),
        read_invoice,
    ),
    **dict.fromkeys(("invoice_payment.paid", "invoice_payment.created"), read_invoice_payment),
    **dict.fromkeys(
        (
            "customer.subscription.created",
            "customer.subscription.updated",
            "customer.subscription.deleted",
            "customer.subscription.paused",
            "customer.subscription.resumed",
            "customer.subscription.trial_will_end",
            "customer.subscription.pending_update_applied",
            "customer.subscription.pending_update_expired",
        ),
        read_subscription_event,
    ),
}
"""By event type; what is not here is kept, counted and means nothing to us."""
