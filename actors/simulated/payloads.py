"""Stripe objects as Stripe would send them, before and after the API change of 2025-03-31 (basil)."""

from typing import Any

from actors.simulated.commerce import Charge, Customer, Invoice, Payload, Plan, Subscription


def event(event_id: str, kind: str, created: int, customer: Customer, subject: Payload, **data: Any) -> Payload:
    """The envelope. `data` may hold `previous_attributes`."""
    automatic = kind.startswith(("invoice.", "invoice_payment."))
    return {
        "id": event_id,
        "object": "event",
        "api_version": customer.api_version,
        "created": created,
        "data": {"object": subject, **data},
        "livemode": True,
        "pending_webhooks": 1,
        "request": {"id": None if automatic else "req_" + event_id[-14:], "idempotency_key": None},
        "type": kind,
    }


def customer(who: Customer) -> Payload:
    """A customer object."""
    return {
        "id": who.id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": who.created,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": who.email,
        "invoice_prefix": who.id[-8:].upper(),
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
        "livemode": True,
        "metadata": {"signup_name": who.name},
        "name": who.name,
        "phone": None,
        "preferred_locales": ["en"],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def billing_details(who: Customer) -> Payload:
    """Who pays, as Stripe repeats it in every charge."""
    address = {"city": None, "country": "US", "line1": None, "line2": None, "postal_code": "49007", "state": None}
    return {"address": address, "email": who.email, "name": who.name, "phone": None, "tax_id": None}


def card(who: Customer) -> Payload:
    """Their card."""
    return {
        "brand": "visa",
        "checks": {"address_line1_check": None, "address_postal_code_check": "pass", "cvc_check": "pass"},
        "country": "US",
        "exp_month": 8,
        "exp_year": 2031,
        "fingerprint": who.fingerprint,
        "funding": "credit",
        "last4": who.last4,
        "network": "visa",
        "three_d_secure": None,
        "wallet": None,
    }


def outcome(decline: str | None) -> Payload:
    """What the network said."""
    return {
        "network_advice_code": "try_again_later" if decline else None,
        "network_decline_code": "51" if decline else None,
        "network_status": "declined_by_network" if decline else "approved_by_network",
        "reason": decline,
        "risk_level": "normal",
        "risk_score": 17,
        "seller_message": "The bank did not return any further details." if decline else "Payment complete.",
        "type": "issuer_declined" if decline else "authorized",
    }


def charge(one: Charge) -> Payload:
    """A charge object."""
    failed = one.decline is not None
    legacy = {"invoice": one.invoice.id if one.invoice else None, "order": None, "source": None, "dispute": None}
    return {
        "id": one.id,
        "object": "charge",
        "amount": one.amount,
        "amount_captured": 0 if failed else one.amount,
        "amount_refunded": one.refunded,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None if failed else one.id.replace("ch_", "txn_"),
        "billing_details": billing_details(one.customer),
        "calculated_statement_descriptor": "EXAMPLE.COM",
        "captured": not failed,
        "created": one.created,
        "currency": one.currency,
        "customer": one.customer.id,
        "description": "Subscription update" if one.invoice else "One-off payment",
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": "card_declined" if failed else None,
        "failure_message": "Your card was declined." if failed else None,
        "fraud_details": {},
        "livemode": True,
        "metadata": {},
        "on_behalf_of": None,
        "outcome": outcome(one.decline),
        "paid": not failed,
        "payment_intent": one.payment_intent,
        "payment_method": one.payment_intent.replace("pi_", "pm_"),
        "payment_method_details": {"card": {"amount_authorized": one.amount, **card(one.customer)}, "type": "card"},
        "receipt_email": one.customer.email,
        "receipt_number": None,
        "receipt_url": None if failed else f"https://pay.stripe.com/receipts/{one.id}",
        "refunded": one.refunded >= one.amount,
        "review": None,
        "shipping": None,
        "statement_descriptor": None,
        "status": "failed" if failed else "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    } | ({} if one.customer.modern else legacy)


def payment_intent(one: Charge) -> Payload:
    """The payment intent a charge belongs to."""
    failed = one.decline is not None
    method = one.payment_intent.replace("pi_", "pm_")
    error = {
        "charge": one.id,
        "code": "card_declined",
        "decline_code": one.decline,
        "message": "Your card was declined.",
        "payment_method": {
            "id": method,
            "object": "payment_method",
            "billing_details": billing_details(one.customer),
            "card": card(one.customer),
            "customer": one.customer.id,
            "type": "card",
        },
        "type": "card_error",
    }
    return {
        "id": one.payment_intent,
        "object": "payment_intent",
        "amount": one.amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0 if failed else one.amount,
        "canceled_at": None,
        "capture_method": "automatic",
        "client_secret": f"{one.payment_intent}_secret_simulated",
        "confirmation_method": "automatic",
        "created": one.created,
        "currency": one.currency,
        "customer": one.customer.id,
        "description": None,
        "last_payment_error": error if failed else None,
        "latest_charge": one.id,
        "livemode": True,
        "metadata": {},
        "next_action": None,
        "payment_method": None if failed else method,
        "payment_method_types": ["card"],
        "receipt_email": one.customer.email,
        "setup_future_usage": "off_session",
        "status": "requires_payment_method" if failed else "succeeded",
    } | ({} if one.customer.modern else {"invoice": one.invoice.id if one.invoice else None})


def refund(refund_id: str, one: Charge, amount: int, created: int) -> Payload:
    """A refund of `amount` minor units."""
    return {
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": refund_id.replace("re_", "txn_"),
        "charge": one.id,
        "created": created,
        "currency": one.currency,
        "destination_details": {"card": {"reference_status": "pending", "type": "refund"}, "type": "card"},
        "metadata": {},
        "payment_intent": one.payment_intent,
        "reason": "requested_by_customer",
        "receipt_number": None,
        "status": "succeeded",
    }


def dispute(dispute_id: str, one: Charge, created: int) -> Payload:
    """A chargeback of the whole amount."""
    return {
        "id": dispute_id,
        "object": "dispute",
        "amount": one.amount,
        "balance_transactions": [],
        "charge": one.id,
        "created": created,
        "currency": one.currency,
        "evidence": {"customer_email_address": one.customer.email, "customer_name": one.customer.name},
        "evidence_details": {"due_by": created + 7 * 86_400, "has_evidence": False, "past_due": False},
        "is_charge_refundable": False,
        "livemode": True,
        "metadata": {},
        "network_reason_code": "10.4",
        "payment_intent": one.payment_intent,
        "reason": "fraudulent",
        "status": "needs_response",
    }


def early_fraud_warning(warning_id: str, one: Charge, created: int) -> Payload:
    """The issuer suspects that a charge was not made by the cardholder."""
    return {
        "id": warning_id,
        "object": "radar.early_fraud_warning",
        "actionable": True,
        "charge": one.id,
        "created": created,
        "fraud_type": "unauthorized_use_of_card",
        "livemode": True,
        "payment_intent": one.payment_intent,
    }


def price(plan: Plan) -> Payload:
    """A recurring price."""
    return {
        "id": plan.id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "currency": plan.currency,
        "livemode": True,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": plan.product,
        "recurring": {
            "interval": plan.interval,
            "interval_count": 1,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": plan.amount,
        "unit_amount_decimal": str(plan.amount),
    }


def subscription(one: Subscription) -> Payload:
    """A subscription object."""
    period = {"current_period_end": one.period_end, "current_period_start": one.period_start}
    item = {
        "id": one.id.replace("sub_", "si_"),
        "object": "subscription_item",
        "created": one.created,
        "discounts": [],
        "metadata": {},
        "price": price(one.plan),
        "quantity": 1,
        "subscription": one.id,
    } | (period if one.customer.modern else {})
    return {
        "id": one.id,
        "object": "subscription",
        "application": None,
        "automatic_tax": {"enabled": False},
        "billing_cycle_anchor": one.created,
        "cancel_at": one.period_end if one.cancel_at_period_end else None,
        "cancel_at_period_end": one.cancel_at_period_end,
        "canceled_at": one.canceled_at,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": one.created,
        "currency": one.plan.currency,
        "customer": one.customer.id,
        "default_payment_method": None,
        "discounts": [],
        "ended_at": one.canceled_at if one.status == "canceled" else None,
        "items": {"object": "list", "data": [item], "has_more": False, "total_count": 1},
        "latest_invoice": one.latest_invoice,
        "livemode": True,
        "metadata": {},
        "pause_collection": None,
        "pending_update": None,
        "schedule": None,
        "start_date": one.created,
        "status": one.status,
        "test_clock": None,
        "trial_end": None,
        "trial_start": None,
    } | ({} if one.customer.modern else {**period, "discount": None, "quantity": 1})


def invoice(one: Invoice, paid_by: Charge | None = None) -> Payload:
    """An invoice of one period; `paid_by` is its latest attempt."""
    sub, plan = one.subscription, one.subscription.plan
    paid = one.status == "paid"
    shape: Payload
    if sub.customer.modern:
        shape = {"parent": {"subscription_details": {"subscription": sub.id}, "type": "subscription_details"}}
    else:
        charge_id, intent = (paid_by.id, paid_by.payment_intent) if paid_by else (None, None)
        shape = {"charge": charge_id, "payment_intent": intent, "subscription": sub.id, "paid": paid, "tax": None}
    return {
        "id": one.id,
        "object": "invoice",
        "account_country": "US",
        "amount_due": plan.amount,
        "amount_paid": plan.amount if paid else 0,
        "amount_remaining": 0 if paid else plan.amount,
        "attempt_count": one.attempts,
        "attempted": one.attempts > 0,
        "billing_reason": one.reason,
        "collection_method": "charge_automatically",
        "created": one.created,
        "currency": plan.currency,
        "customer": sub.customer.id,
        "customer_email": sub.customer.email,
        "customer_name": sub.customer.name,
        "due_date": None,
        "hosted_invoice_url": f"https://invoice.stripe.com/i/{one.id}",
        "lines": {"object": "list", "data": [invoice_line(one)], "has_more": False, "total_count": 1},
        "livemode": True,
        "metadata": {},
        "next_payment_attempt": None,
        "number": one.id[-8:].upper(),
        "period_end": one.created,
        "period_start": one.created,
        "starting_balance": 0,
        "status": one.status,
        "status_transitions": {"finalized_at": one.created, "paid_at": one.created if paid else None},
        "subtotal": plan.amount,
        "total": plan.amount,
        **shape,
    }


def invoice_line(one: Invoice) -> Payload:
    """What is charged for the period."""
    sub, plan = one.subscription, one.subscription.plan
    shape: Payload
    if sub.customer.modern:
        item = {"proration": False, "subscription": sub.id, "subscription_item": sub.id.replace("sub_", "si_")}
        shape = {
            "parent": {"subscription_item_details": item, "type": "subscription_item_details"},
            "pricing": {"price_details": {"price": plan.id, "product": plan.product}, "type": "price_details"},
        }
    else:
        shape = {"price": price(plan), "proration": False, "subscription": sub.id, "type": "subscription"}
    return {
        "id": one.id.replace("in_", "il_"),
        "object": "line_item",
        "amount": plan.amount,
        "currency": plan.currency,
        "description": "1 x Subscription",
        "discountable": True,
        "livemode": True,
        "metadata": {},
        "period": {"start": sub.period_start, "end": sub.period_end},
        "quantity": 1,
        **shape,
    }


def invoice_payment(payment_id: str, one: Invoice, paid_by: Charge) -> Payload:
    """Since basil, how an invoice and its payment find each other."""
    return {
        "id": payment_id,
        "object": "invoice_payment",
        "amount_paid": paid_by.amount,
        "amount_requested": paid_by.amount,
        "created": paid_by.created,
        "currency": paid_by.currency,
        "invoice": one.id,
        "is_default": True,
        "livemode": True,
        "payment": {"payment_intent": paid_by.payment_intent, "type": "payment_intent"},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": paid_by.created},
    }
