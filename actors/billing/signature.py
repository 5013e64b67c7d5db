"""Stripe's webhook signature, verified with the standard library.

The header is `t=<unix seconds>,v1=<hex>[,v1=<hex>…][,v0=…]`; a v1 is the HMAC-SHA256 of `<t>.<raw body>` under the
endpoint's secret (docs.stripe.com/webhooks#verify-manually). Two v1 stand there while a secret is rolled; v0 belongs to
Stripe's test scheme and proves nothing. The SDK's verifier costs the same, but accepts any future `t` and raises
TypeError on a header that is not ASCII.
"""

import hmac
from collections.abc import Sequence
from enum import Enum

from actors.kernel.clock import SECOND

TOLERANCE_S = 300


class Seal(Enum):
    """What a signature proves."""

    GENUINE = "genuine"
    FORGED = "made with another secret, for another body, or not at all"
    OLD = "genuine, but made too long ago"
    EARLY = "genuine, but made in the future"


def examine(header: str, body: bytes, secrets: Sequence[bytes], now: int, tolerance_s: float = TOLERANCE_S) -> Seal:
    """Whether one of `secrets` signed `body`, and did so near enough to `now` (µs), before or after. Never raises.

    Time is judged last: a sender who holds the secret is told that a clock is wrong, nobody else is told anything.
    """
    stamped: int | None = None
    signatures: list[str] = []
    for item in header.split(","):
        scheme, found, value = item.partition("=")
        if scheme not in {"t", "v1"}:
            continue
        if not found:
            return Seal.FORGED
        value = value.partition("=")[0]
        if scheme == "v1":
            signatures.append(value)
        elif stamped is None:
            try:
                stamped = int(value)
            except ValueError:
                return Seal.FORGED
    if stamped is None:
        return Seal.FORGED
    signed = b"%d.%b" % (stamped, body)
    expected = [hmac.digest(secret, signed, "sha256").hex() for secret in secrets]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in signatures if theirs.isascii()):
        return Seal.FORGED
    age = now - stamped * SECOND
    if abs(age) <= tolerance_s * SECOND:
        return Seal.GENUINE
    return Seal.OLD if age > 0 else Seal.EARLY


def sign(body: bytes, secret: bytes, at: int) -> str:
    """The header Stripe would send for `body` at `at` (µs)."""
    stamped = at // SECOND
    return f"t={stamped},v1={hmac.digest(secret, b'%d.%b' % (stamped, body), 'sha256').hex()}"
