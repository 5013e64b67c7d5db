"""The verifier accepts what Stripe's own SDK accepts, less timestamps from the future, and never raises."""

import stripe
from hypothesis import example, given
from hypothesis import strategies as st

from actors.billing.signature import TOLERANCE_S, Seal, examine, sign
from actors.kernel.clock import SECOND, WallClock

SECRET = b"whsec_current"
BODY = b'{"id": "evt_1"}'
NOW = 1_790_000_000 * SECOND


def verified(header: str, body: bytes, secrets: list[bytes], now: int) -> bool:
    return examine(header, body, secrets, now) is Seal.GENUINE


def signature(at: int = NOW, secret: bytes = SECRET, body: bytes = BODY) -> str:
    return sign(body, secret, at).partition("v1=")[2]


def header(*parts: str, at: int = NOW) -> str:
    return ",".join((f"t={at // SECOND}", *parts))


def test_a_fresh_signature_of_the_secret_is_accepted() -> None:
    assert verified(sign(BODY, SECRET, NOW), BODY, [SECRET], NOW)


def test_one_changed_byte_is_refused() -> None:
    assert not verified(sign(BODY, SECRET, NOW), BODY + b" ", [SECRET], NOW)


def test_another_secret_is_refused() -> None:
    assert not verified(sign(BODY, b"whsec_other", NOW), BODY, [SECRET], NOW)


def test_while_a_secret_rolls_any_v1_under_any_of_our_secrets_will_do() -> None:
    both = header(f"v1={signature(secret=b'whsec_next')}", f"v1={signature()}")
    assert verified(both, BODY, [SECRET], NOW)
    assert verified(both, BODY, [b"whsec_unrelated", b"whsec_next"], NOW)


def test_v0_proves_nothing() -> None:
    assert not verified(header(f"v0={signature()}"), BODY, [SECRET], NOW)


def test_the_tolerance_holds_for_the_past_and_for_the_future() -> None:
    for seconds, accepted in ((-301, False), (-300, True), (300, True), (301, False)):
        at = NOW + seconds * SECOND
        assert verified(sign(BODY, SECRET, at), BODY, [SECRET], NOW) is accepted


def test_who_holds_the_secret_is_told_that_the_time_is_wrong_and_nobody_else_is() -> None:
    for seconds, seal in ((-301, Seal.OLD), (301, Seal.EARLY)):
        at = NOW + seconds * SECOND
        assert examine(sign(BODY, SECRET, at), BODY, [SECRET], NOW) is seal
        assert examine(sign(BODY, b"whsec_other", at), BODY, [SECRET], NOW) is Seal.FORGED


def test_the_tolerance_is_what_stripe_recommends() -> None:
    assert TOLERANCE_S == stripe.Webhook.DEFAULT_TOLERANCE


@given(st.text(), st.binary())
def test_no_text_is_a_signature_and_none_raises(text: str, body: bytes) -> None:
    assert not verified(text, body, [SECRET], NOW)


PIECES = st.one_of(
    st.sampled_from(["t=", "t", "v1=", "v1", "v0=", " v1=", "T=", "=", ",", "", "t=1_7", "t=+", "t= ", "v1=é", "v1=="]),
    st.sampled_from(["{t}", "{past}", "t={t}", "t={past}", "t=+{t}", "t= {t} ", "t={t}=x"]),
    st.sampled_from(["{good}", "v1={good}", "v1={good}=x", "v1={other}", "v0={good}", "v1= {good}", "v1={upper}"]),
    st.text(max_size=8),
)


@given(st.lists(PIECES, max_size=6), st.sampled_from([",", ",,", ", ", ""]))
@example(["t={t}", "v1={good}"], ",")
@example(["t={t}", "t={past}", "v1={good}"], ",")
@example(["t={t}", "v1={good}", "v1"], ",")
@example(["t=+{t}", "v1={other}", "v1={good}=x"], ",")
def test_it_agrees_with_the_sdk_about_every_header(pieces: list[str], separator: str) -> None:
    """Where a signature is not ASCII the SDK raises TypeError, which is no verdict: ours gives one."""
    now = WallClock().now() // SECOND * SECOND
    words = {"t": now // SECOND, "past": now // SECOND - 290, "good": signature(now), "upper": signature(now).upper()}
    text = separator.join(pieces)
    for word, value in (words | {"other": signature(now, b"whsec_other")}).items():
        text = text.replace("{" + word + "}", str(value))
    try:
        theirs = stripe.WebhookSignature.verify_header(BODY, text, SECRET.decode(), 300)
    except stripe.SignatureVerificationError:
        theirs = False
    except TypeError:
        theirs = "v1=" + signature(now) in text and verified(text, BODY, [SECRET], now)
    assert verified(text, BODY, [SECRET], now) is theirs


@given(st.binary(max_size=200).filter(lambda body: not _is_utf8(body)))
def test_a_signed_body_that_is_not_text_is_judged_by_its_bytes(body: bytes) -> None:
    """The SDK raises UnicodeDecodeError here; the JSON parser will refuse it."""
    assert verified(sign(body, SECRET, NOW), body, [SECRET], NOW)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
