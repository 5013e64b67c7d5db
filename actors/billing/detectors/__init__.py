"""The signals: one file each, all of them in this list."""

from actors.billing.detectors.amount_outlier import AmountOutlier
from actors.billing.detectors.base import Detector
from actors.billing.detectors.billing_period_drift import BillingPeriodDrift
from actors.billing.detectors.bulk_plan_change import BulkPlanChange
from actors.billing.detectors.cancellation_cluster import CancellationCluster
from actors.billing.detectors.card_testing import CardTesting
from actors.billing.detectors.churn_spike import ChurnSpike
from actors.billing.detectors.currency_mismatch import CurrencyMismatch
from actors.billing.detectors.decline_spike import DeclineSpike
from actors.billing.detectors.dispute_spike import DisputeSpike
from actors.billing.detectors.duplicate_charge import DuplicateCharge
from actors.billing.detectors.mrr_drop import MrrDrop
from actors.billing.detectors.negative_invoice import NegativeInvoice
from actors.billing.detectors.plan_downgrade import PlanDowngrade
from actors.billing.detectors.refund_exceeds_charge import RefundExceedsCharge
from actors.billing.detectors.refund_spike import RefundSpike
from actors.billing.detectors.renewals_missing import RenewalsMissing
from actors.billing.detectors.revenue_drop import RevenueDrop
from actors.billing.detectors.signature_failures import SignatureFailures
from actors.billing.detectors.signup_drop import SignupDrop
from actors.billing.detectors.silent_lapse import SilentLapse
from actors.billing.detectors.subscription_spike import SubscriptionSpike
from actors.billing.detectors.thin_events import ThinEvents
from actors.billing.detectors.webhook_lag import WebhookLag
from actors.billing.detectors.webhook_silence import WebhookSilence

DETECTORS: tuple[type[Detector], ...] = (
    AmountOutlier,
    BillingPeriodDrift,
    BulkPlanChange,
    CancellationCluster,
    CardTesting,
    ChurnSpike,
    CurrencyMismatch,
    DeclineSpike,
    DisputeSpike,
    DuplicateCharge,
    MrrDrop,
    NegativeInvoice,
    PlanDowngrade,
    RefundExceedsCharge,
    RefundSpike,
    RenewalsMissing,
    RevenueDrop,
    SignatureFailures,
    SignupDrop,
    SilentLapse,
    SubscriptionSpike,
    ThinEvents,
    WebhookLag,
    WebhookSilence,
)
