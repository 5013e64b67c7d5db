"""Historical bars as Alpaca pages them: by symbol, then time, with a token for what is left."""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from actors.kernel.frozen import frozen
from actors.trading.ports import Bar
from strategies.sessions import DAY, HOUR, MINUTE, utc_offset

LIMIT_MAX = 10_000
LIMIT_DEFAULT = 1_000
CHUNK = 30 * DAY
UNITS = {"Min": MINUTE, "T": MINUTE, "Hour": HOUR, "H": HOUR, "Day": DAY, "D": DAY}
MOST = {"Min": 59, "T": 59, "Hour": 23, "H": 23, "Day": 1, "D": 1}


class Archive(Protocol):
    """Where minute bars can be looked up."""

    def __call__(self, symbols: Sequence[str], start: int, end: int) -> list[Bar]:
        """Complete bars with start <= time < end, by time."""


@frozen
class Page:
    """Bars of one symbol or several, in order, and the token that continues them."""

    bars: list[Bar]
    next_token: str | None


def timeframe(text: str) -> int:
    """Microseconds of 1Min, 2Hour, 1Day. Raises ValueError."""
    found = re.fullmatch(r"(\d+)(Min|T|Hour|H|Day|D)", text)
    if not found or not 1 <= int(found[1]) <= MOST[found[2]]:
        raise ValueError(f"invalid timeframe: {text}")
    return int(found[1]) * UNITS[found[2]]


def page(
    archive: Archive, symbols: Sequence[str], length: int, start: int, end: int, limit: int, token: str | None
) -> Page:
    """Bars of `length` with start <= time < end, at most `limit`, from where `token` says. Raises ValueError."""
    first, since = _read(token) if token else ("", start)
    found: list[Bar] = []
    for symbol in sorted(symbols):
        if symbol < first:
            continue
        begins = max(since, start) if symbol == first else start
        for bar in longer(_minutes(archive, symbol, begins, end), length):
            if len(found) == limit:
                return Page(found, _token(bar))
            found.append(bar)
    return Page(found, None)


def longer(minutes: Iterator[Bar], length: int) -> Iterator[Bar]:
    """Minute bars put together by the clock's hours, or New York's days; a bar carries the start of its slot."""
    if length == MINUTE:
        yield from minutes
        return
    current, gathered = 0, list[Bar]()
    for bar in minutes:
        begins = slot(bar.time, length)
        if gathered and begins != current:
            yield together(current, gathered)
            gathered = []
        current = begins
        gathered.append(bar)
    if gathered:
        yield together(current, gathered)


def slot(time: int, length: int) -> int:
    """When the bar of this length begins that `time` lies in."""
    if length < DAY:
        return time // length * length
    offset = int(utc_offset(np.array([time]))[0])
    return (time + offset) // DAY * DAY - offset


def together(time: int, bars: Sequence[Bar]) -> Bar:
    """Consecutive bars of one symbol as one that begins at `time`."""
    volume = sum(bar.volume for bar in bars)
    traded = sum(bar.volume * (bar.vwap or bar.close) for bar in bars)
    return Bar(
        bars[0].symbol,
        time,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        volume,
        round(traded / volume) if volume else bars[-1].close,
        sum(bar.trades for bar in bars),
    )


def _minutes(archive: Archive, symbol: str, start: int, end: int) -> Iterator[Bar]:
    """A month at a time: who asks for a page of a year does not have all of it made."""
    for since in range(start, end, CHUNK):
        yield from archive([symbol], since, min(since + CHUNK, end))


def _token(bar: Bar) -> str:
    return base64.urlsafe_b64encode(f"{bar.symbol}|{bar.time}".encode()).decode()


def _read(token: str) -> tuple[str, int]:
    try:
        symbol, _, time = base64.urlsafe_b64decode(token.encode()).decode().partition("|")
        return symbol, int(time)
    except (binascii.Error, ValueError) as error:
        raise ValueError("invalid page_token") from error
