from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from typing import Any, ClassVar

from actors.billing.detectors.base import Detector, Finding, Rules
from actors.billing.detectors.evidence import links, moment
from actors.billing.facts import ChargeState, Fact, RefundState
from actors.billing.memory import Recent
from actors.billing.money import format_money
from actors.kernel.clock import SECOND
from actors.store.records import Severity

CHARGE_US = 2 * 3600 * SECOND  # how long the amount of a charge is kept: mostly a refund brings its charge along
ACCOUNT_US = 24 * 3600 * SECOND
REFUNDS_MAX = 100  # of one charge


@dataclass(slots=True)
class Account:
    """What is known of one charge. `refunded` is the largest total Stripe has told; `refunds` are its parts by id."""

    amount: int  # 0: not known
    currency: str = ""
    customer: str = ""
    refunded: int = 0
    refunds: dict[str, int] = field(default_factory=dict)
    reported: int = 0  # the total that was last complained about
    released: int = 0  # of the amount, never taken

    @property
    def charged(self) -> int:
        """What was taken."""
        return self.amount - self.released

    @property
    def given_back(self) -> int:
        """The total of the charge, or of its refunds where those have come first: a release may be one of them."""
        return max(self.refunded, sum(self.refunds.values()) - self.released)


class RefundExceedsCharge(Detector):
    """More was given back than was ever charged: a slip in support, or a fraud from inside.

    Stripe's `amount_refunded` is cumulative, so states are compared and deliveries never added up.
    """

    signal = "refund_exceeds_charge"
    version = 3
    reads: ClassVar = (ChargeState, RefundState)

    def __init__(self, tenant: str, rules: Rules) -> None:
        super().__init__(tenant, rules)
        self._charged: Recent[int] = Recent(CHARGE_US)
        self._accounts: Recent[Account] = Recent(ACCOUNT_US)  # of the charges of which something was refunded

    def observe(self, fact: ChargeState | RefundState, now: int) -> Iterator[Finding]:
        """Bring the account of the charge up to date and compare."""
        charge = fact.charge or fact.payment_intent
        if not charge:
            return
        account = self._accounts.get(charge)
        if account is None and isinstance(fact, ChargeState) and not (fact.refunded or fact.released):
            self._charged.put(charge, fact.amount, now)
            return
        account = account or Account(self._charged.get(charge) or 0)
        if isinstance(fact, ChargeState):
            account.amount = max(account.amount, fact.amount)
            account.refunded = max(account.refunded, fact.refunded)
            account.released = max(account.released, fact.released)
            account.customer = fact.customer or account.customer
        elif not fact.counts:
            account.refunds[fact.refund] = 0  # stays known: an older state that arrives later changes nothing
        elif len(account.refunds) < REFUNDS_MAX:
            account.refunds.setdefault(fact.refund, fact.amount)
        account.currency = account.currency or fact.currency
        self._accounts.put(charge, account, now)
        if account.amount and account.given_back > max(account.charged, account.reported):
            account.reported = account.given_back
            yield self._report(charge, account, fact)

    def _report(self, charge: str, account: Account, fact: Fact) -> Finding:
        refunded, charged, currency = account.given_back, account.charged, account.currency
        excess = format_money(refunded - charged, currency)
        evidence: dict[str, Any] = {
            "observed": refunded,
            "expected": charged,
            "charge": charge,
            "customer": account.customer,
            "refunds": list(account.refunds),
            "charged_minor": charged,
            "refunded_minor": refunded,
            "excess_minor": refunded - charged,
            "currency": currency,
            "charged": format_money(charged, currency),
            "refunded": format_money(refunded, currency),
            "excess": excess,
            "window_s": None,
            "since": moment(fact.at),
            "links": links([charge, account.customer]),
            "first": "Open the payment and see who issued its refunds; if it is an API key you do not know, revoke it.",
        }
        title = (
            f"{format_money(refunded, currency)} refunded on a charge of {format_money(charged, currency)}"
            f" ({excess} too much)"
        )
        return self.anomaly(charge, Severity.CRITICAL, fact.at, title, evidence, (fact.event,))

    def save(self) -> Any:
        """Amounts and accounts by charge."""
        return [self._charged.save(), self._accounts.save(astuple)]

    def load(self, state: Any) -> None:
        """What `save` gave."""
        charged, accounts = state
        self._charged.load(charged)
        self._accounts.load(accounts, lambda row: Account(*row))
