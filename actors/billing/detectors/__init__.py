"""The signals: one file each, all of them in this list."""

from actors.billing.detectors.base import Detector
from actors.billing.detectors.billing_period_drift import BillingPeriodDrift
from actors.billing.detectors.card_testing import CardTesting
from actors.billing.detectors.churn_spike import ChurnSpike
from actors.billing.detectors.decline_spike import DeclineSpike
from actors.billing.detectors.dispute_spike import DisputeSpike
from actors.billing.detectors.duplicate_charge import DuplicateCharge
from actors.billing.detectors.mrr_drop import MrrDrop
from actors.billing.detectors.refund_exceeds_charge import RefundExceedsCharge
from actors.billing.detectors.refund_spike import RefundSpike
from actors.billing.detectors.renewals_missing import RenewalsMissing
from actors.billing.detectors.revenue_drop import RevenueDrop
from actors.billing.detectors.signature_failures import SignatureFailures
from actors.billing.detectors.silent_lapse import SilentLapse
from actors.billing.detectors.thin_events import ThinEvents
from actors.billing.detectors.webhook_lag import WebhookLag
from actors.billing.detectors.webhook_silence import WebhookSilence

DETECTORS: tuple[type[Detector], ...] = (
    BillingPeriodDrift,
    CardTesting,
    ChurnSpike,
    DeclineSpike,
    DisputeSpike,
    DuplicateCharge,
    MrrDrop,
    RefundExceedsCharge,
    RefundSpike,
    RenewalsMissing,
    RevenueDrop,
    SignatureFailures,
    SilentLapse,
    ThinEvents,
    WebhookLag,
    WebhookSilence,
)
