"""What of a Stripe event is kept: by allowlist, so that a field Stripe adds tomorrow is left out until someone adds it.

There is never a name, e-mail, address, phone number, card data, free text or metadata in it. A payer is known by a
keyed hash of the card's fingerprint, which says that two payments came from one card and nothing else.
"""

import re
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import orjson

from actors.store.records import Json

_DEPTH_MAX: Final = 24  # Stripe stays below 12
_CREATED_MAX: Final = 1 << 33  # the year 2242: beyond it stands no time, and microseconds still fit into 64 bits
_Kept = dict[str, Any]
_HASHED: Final = re.compile("[0-9a-f]{16}")
_OBJECTS: Final = """
    object data previous_attributes items lines refunds payments charges sources subscriptions
    request related_object reason
"""
_IDS: Final = """
    id account api_version application balance_transaction charge coupon customer customer_account destination dispute
    default_payment_method default_source default_price from_invoice idempotency_key invoice invoice_item
    invoice_line_item last_payment_error last_setup_error latest_charge latest_invoice latest_revision lookup_key
    migrated_to on_behalf_of original_payout payment payment_intent payment_link payment_method payment_record
    plan price pricing price_details product promotion_code quote refund released_subscription review schedule
    setup_attempt setup_intent source source_transfer subscription subscription_item test_clock transfer
"""
_MONEY: Final = """
    amount amount_authorized amount_capturable amount_captured amount_decimal amount_due amount_excluding_tax amount_off
    amount_overpaid amount_paid amount_received amount_refunded amount_remaining amount_requested amount_shipping
    amount_subtotal amount_tax amount_total application_fee_amount balance currency customer_balance discount_amount
    ending_balance fee net net_amount out_of_band_amount percent_off post_payment_amount pre_payment_amount
    starting_balance subtotal subtotal_excluding_tax tax tax_percent total total_excluding_tax unit_amount
    unit_amount_decimal unit_amount_excluding_tax
"""
_STATES: Final = """
    actionable active advice_code aggregate_usage attempt_count attempted automatic billing_reason billing_scheme
    cancel_at_period_end canceled cancellation_reason capture_method captured closed_reason code collection_method
    current_phase days_until_due decline_code deleted delinquent discountable disputed divide_by duration
    duration_in_months end_behavior failure_code failure_reason feedback forgiven fraud_type has_evidence has_more
    interval interval_count is_charge_refundable is_default livemode mode network_advice_code network_decline_code
    network_reason_code network_status open opened_reason paid paid_out_of_band past_due pause_collection
    payment_status pending_reason pending_update pending_webhooks proration quantity quantity_decimal refunded
    risk_level risk_score round rule setup_future_usage status stripe_report submission_count tax_behavior tiers_mode
    times_redeemed transform_quantity type usage usage_type user_report valid behavior
"""
_TIMES: Final = """
    arrival_date available_on billing_cycle_anchor cancel_at canceled_at completed_at created current_period_end
    current_period_start date due_by due_date effective_at end end_date ended_at expires_at finalized_at
    marked_uncollectible_at next_payment_attempt paid_at period period_end period_start redeem_by released_at resumes_at
    start start_date trial_end trial_period_days trial_start updated voided_at
"""
_PARTS: Final = """
    billing_mode cancellation_details card acss_debit au_becs_debit bacs_debit card_present interac_present sepa_debit
    us_bank_account discount discounts discount_amounts evidence_details fraud_details invoice_item_details outcome
    parent payer payment_method_details phases proration_details quote_details recurring status_transitions
    subscription_details subscription_item_details total_discount_amounts fingerprint credited_items
"""
PROJECTED: Final = frozenset(f"{_OBJECTS} {_IDS} {_MONEY} {_STATES} {_TIMES} {_PARTS}".split())

ARCHIVED: Final = PROJECTED | frozenset(
    """
    add_invoice_items adjustment_fees adjustment_gross allow_promotion_codes amount_details amount_discount
    amount_gte amount_percent amount_returned amount_reversed amount_type application_fee application_fee_percent
    applies_to authentication_flow auto_advance automatic_tax automatically_finalizes_at available
    balance_transactions balance_type billing billing_cycle_anchor_config billing_thresholds capabilities
    card_payments charge_count charge_fees charge_gross charges_enabled checkout_session closed confirmation_method
    context controller currencies_supported currency_conversion customer_creation customer_tax_exempt
    debit_negative_balances default_currency default_tax_rates delay_days destination_payment details_submitted
    enabled enhanced_eligibility enhanced_eligibility_types exchange_rate failure_balance_transaction fee_details
    first_time_transaction flat_amount flexible funding_type fx_rate inclusive installments invoice_creation
    invoice_line_items invoice_settings issuer jurisdiction_level last_finalization_error liability max_redemptions
    maximum meter method minimum minimum_amount minimum_amount_currency missing_payment_method monthly_anchor
    network next_pending_invoice_item_invoice package_dimensions payment_method_collection payment_method_options
    payment_method_types payment_settings payout_method payouts payouts_enabled pending
    pending_invoice_item_interval pending_setup_intent percentage plans post_payment_credit_notes_amount
    pre_payment_credit_notes_amount pretax_credit_amounts processing promotion proration_behavior rate_type
    reconciliation_status recovered_from recurring_fees refund_count refund_fees refund_gross renewal_behavior
    renewal_interval reporting_category request_three_d_secure reset_billing_cycle_anchor restrictions result
    reversals reversed save_default_payment_method schedules settings shippable shipping_cost skus
    source_transaction source_type source_types submit_type subscription_data subscription_items
    subscription_schedule summary tax_amounts tax_exempt tax_rate tax_rates tax_type taxes three_d_secure tiers
    timestamp tip total_count total_details total_pretax_credit_amounts total_tax_amounts total_taxes
    transaction_type transactions transfer_data transfer_group transfer_reversal transfers transform_usage
    trial_from_plan trial_settings trigger ui_mode up_to upfront usage_gte used validation_count validation_fees
    version webhooks_delivered_at
    """.split()
)


class Projector:
    """Projects under the payer key of one database: hashes of two installations cannot be compared.

    `keys` says how much is kept: PROJECTED, all that decisions read, or ARCHIVED, which keeps more for later.
    """

    def __init__(self, payer_key: bytes, keys: frozenset[str] = PROJECTED) -> None:
        self._key = payer_key
        self._allowed = keys.__contains__

    def project(self, event: Json) -> Json:
        """The event in its own shape, without what is not allowed. Never raises for an event that came as JSON.

        Nulls stay only in `previous_attributes`, where they say what a value was, and as `invoice`. A `payer` stands
        in the place of each `fingerprint`, and the first of them in `data.object` too. `created` is a whole number of
        unix seconds, also where an old or a thin event writes text, and is left out where it makes no sense.
        """
        payers: list[str] = []
        projection = self._walk(event, payers, False, _DEPTH_MAX)
        text = orjson.dumps(projection)
        # Nothing that Stripe itself writes under the allowed keys has a space or an @ in it. But customers and plans
        # may bear ids their owner chose, such as an e-mail address or a name: hashed, they still group.
        if b"@" in text or b" " in text:
            projection = self._veil(projection)
        data = projection.get("data")
        if payers and isinstance(data, dict) and isinstance(subject := data.get("object"), dict):
            subject["payer"] = payers[0]
        created = _unix_seconds(event.get("created"))
        if created is None:
            projection.pop("created", None)
        else:
            projection["created"] = created
        return projection

    # Called for every object of every event, and a good part of what an event costs: hence by position, and `filter`.
    def _walk(self, tree: Json, payers: list[str], nulls: bool, depth: int) -> _Kept:
        kept: _Kept = {}
        for key in filter(self._allowed, tree):
            value = tree[key]
            kind = type(value)
            if kind is dict:
                if depth and (inner := self._walk(value, payers, nulls or key == "previous_attributes", depth - 1)):
                    kept[key] = inner
            elif kind is list:
                kept[key] = self._walk_list(value, payers, nulls, depth)
            elif value is not None or nulls or key == "invoice":  # since 2025-03-31 a charge has no such key at all
                kept[key] = value
        if "fingerprint" in kept or "payer" in kept:
            self._recognise(kept, payers)
        return kept

    def _walk_list(self, entries: list[Any], payers: list[str], nulls: bool, depth: int) -> list[Any]:
        if not depth:
            return []
        return [
            self._walk(entry, payers, nulls, depth - 1) if isinstance(entry, dict) else entry
            for entry in entries
            if entry is not None and not isinstance(entry, list)  # Stripe nests no lists
        ]

    def _recognise(self, kept: _Kept, payers: list[str]) -> None:
        fingerprint = kept.pop("fingerprint", None)
        if isinstance(fingerprint, str):
            kept["payer"] = self._hash(fingerprint)
        elif not _HASHED.fullmatch(str(kept.get("payer"))):  # one that comes with the event can only be our own hash
            kept.pop("payer", None)
            return
        payers.append(kept["payer"])

    def _veil(self, tree: Any) -> Any:
        match tree:
            case dict():
                return {key: self._veil(value) for key, value in tree.items()}
            case list():
                return [self._veil(entry) for entry in tree]
            case str() if "@" in tree or " " in tree:
                return self._hash(tree)
        return tree

    def _hash(self, text: str) -> str:
        return blake2b(text.encode(errors="replace"), digest_size=8, key=self._key).hexdigest()


def _unix_seconds(created: object) -> int | None:
    """Of a snapshot event (unix seconds), of a recording (the same as text) or of a thin event (ISO 8601)."""
    try:
        match created:
            case bool():
                return None
            case int() | float():
                seconds = int(created)
            case str() if created.isdecimal():
                seconds = int(created)
            case str():
                moment = datetime.fromisoformat(created)
                seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
            case _:
                return None
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= _CREATED_MAX else None
