"""How fast Alpaca may be asked: a token bucket that believes what the answers' headers say."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

PER_MINUTE = 200
"""Of trading, and of market data in the free plan; the headers know better."""

PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0


class Pace:
    """Tokens for requests; seconds are monotonic and passed in."""

    def __init__(self, now: float, per_minute: float = PER_MINUTE) -> None:
        self._limit = self._tokens = per_minute
        self._at = now
        self._paused_until = now

    def wait_s(self, now: float) -> float:
        """Take a token: so long to wait before it may be used."""
        self._tokens = min(self._limit, self._tokens + (now - self._at) * self._limit / 60) - 1
        self._at = now
        short_s = max(0.0, -self._tokens) * 60 / self._limit
        return max(short_s, self._paused_until - now)

    def answered(self, status: int, headers: Mapping[str, str], now: float) -> None:
        """Learn from an answer: what is left, and from a 429 how long to pause (it may say, or not)."""
        limit, remaining = _number(headers.get("X-RateLimit-Limit")), _number(headers.get("X-RateLimit-Remaining"))
        if limit:
            self._limit = limit
        if remaining is not None:
            self._tokens = min(self._tokens, remaining)
        if status == 429:
            pause_s = _number(headers.get("Retry-After")) or _until_reset_s(headers) or PAUSE_S
            self._paused_until = now + min(pause_s, LONGEST_PAUSE_S)


def _until_reset_s(headers: Mapping[str, str]) -> float | None:
    """Until the limit is lifted, by the server's own clock."""
    reset = _number(headers.get("X-RateLimit-Reset"))
    if reset is None:
        return None
    try:
        return max(1.0, reset - parsedate_to_datetime(headers["Date"]).timestamp())
    except (KeyError, ValueError, TypeError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e12 else None
