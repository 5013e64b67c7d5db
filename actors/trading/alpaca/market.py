"""Alpaca's market data behind the fence's port: one stream, and REST for what the stream did not bring."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from operator import attrgetter
from typing import Any

import anyio
import structlog

from actors.kernel.clock import SECOND, Clock, chance, io_sleep
from actors.trading.alpaca import reading, sdk
from actors.trading.alpaca.line import Line, Patience, TooManySymbols
from actors.trading.alpaca.rest import DEADLINE_S, INSIST_S, Host, NotFound
from actors.trading.hours import Hours, rfc3339
from actors.trading.ports import (
    Bar,
    BarSeen,
    Link,
    MarketMessage,
    Quote,
    QuoteSeen,
    Refused,
    Session,
    SplitDay,
    Unreachable,
)
from strategies.adjustments import Action
from strategies.sessions import DAY, HOUR, MINUTE

DATA_URL = "https://data.alpaca.markets"
STREAM_URL = "wss://stream.data.alpaca.markets"
PAGE = 10_000
ACTIONS_PAGE = 1000
BAR_CHANNELS = frozenset({"bars", "updatedBars", "statuses"})
QUOTE_CHANNELS = frozenset({"quotes"})
POLL_S = 2.0  # of the 200 requests a minute this takes 30
SILENT_S = 90.0
"""Without any message while the exchange is open, the stream is taken to be deaf. Quotes come many times a second."""
DELAY = 15 * MINUTE + 5 * SECOND
"""What REST does not give of the consolidated feed without its subscription."""

log = structlog.get_logger()


class AlpacaMarket:
    """A `MarketData`. Make it in the loop that uses it; prices are raw, bars are minutes."""

    timeframe = MINUTE

    def __init__(
        self,
        keys: sdk.Keys,
        feed: str,
        clock: Clock,
        trading: Host,
        *,
        data_url: str | None = None,
        stream_url: str | None = None,
        silent_s: float = SILENT_S,
        deadline_s: float = DEADLINE_S,
        insist_s: float = INSIST_S,
        patience: Patience | None = None,
    ) -> None:
        """`trading` is the host that has the calendar; the URLs override Alpaca's own.

        What another host than Alpaca's gives is recorded as synthetic, whatever feed it was asked for.
        """
        self.data = Host(data_url or DATA_URL, keys, deadline_s=deadline_s, insist_s=insist_s)
        self.feed = feed if self.data.is_alpacas else "synthetic"
        self.asked_feed = feed
        self._keys = keys
        self._clock = clock
        self._trading = trading
        self._stream_url = f"{(stream_url or STREAM_URL).rstrip('/')}/v2/{feed}"
        self._silent_s = silent_s
        self._patience = patience or Patience()
        self._hours = Hours(self)
        self._heard = 0  # by the clock, for it is the exchange that is silent or not
        self._senseless = 0

    def close(self) -> None:
        """Let go of idle connections."""
        self.data.close()

    async def run(self, symbols: Collection[str], sink: Callable[[MarketMessage], None]) -> None:
        """Stream until cancelled. Raises Refused.

        Where the plan allows quotes of fewer symbols on the stream, those of all are asked for every few seconds.
        """
        try:
            await self._stream(symbols, sink, BAR_CHANNELS | QUOTE_CHANNELS)
        except TooManySymbols:
            log.info("quotes_polled", symbols=len(symbols), every_s=POLL_S)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._stream, symbols, sink, BAR_CHANNELS)
                tasks.start_soon(self._poll_quotes, symbols, sink)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _stream(
        self, symbols: Collection[str], sink: Callable[[MarketMessage], None], channels: Collection[str]
    ) -> None:
        def tell(link: Link) -> None:
            self._heard = self._clock.now()
            sink(link)

        wanted = dict.fromkeys(sorted(channels), sorted(symbols))
        line = Line(
            "market data",
            lambda hear: sdk.DataSocket(self._stream_url, self._keys, wanted, hear),
            lambda message: message.get("T") == "subscription",
            chance(),
            self._patience,
            self._deaf,
        )
        await line.run(lambda message: self._hear(message, sink), tell)

    async def _poll_quotes(self, symbols: Collection[str], sink: Callable[[MarketMessage], None]) -> None:
        while True:
            if self._hours.is_open(self._clock.now()):
                try:
                    for quote in await self.quotes(symbols):
                        sink(QuoteSeen(quote))
                except (Unreachable, Refused) as error:
                    log.warning("quotes_not_answered", reason=str(error))
            await io_sleep(POLL_S)

    def _hear(self, message: Mapping[str, Any], sink: Callable[[MarketMessage], None]) -> None:
        kind, symbol = message.get("T"), str(message.get("S"))
        match kind:
            case "b" | "u" | "q" | "s":
                self._heard = self._clock.now()
            case _:
                return
        if kind == "q":
            seen = reading.quote(symbol, message)
            said: MarketMessage | None = QuoteSeen(seen) if seen else None
        elif kind == "s":
            if (said := reading.halted(symbol, message)) is None:
                return
        else:
            whole = reading.bar(symbol, message)
            said = BarSeen(whole, revised=kind == "u") if whole else None
        if said is None:
            self._senseless += 1
            log.warning("market_message_senseless", kind=kind, symbol=symbol, so_far=self._senseless)
        else:
            sink(said)

    async def _deaf(self) -> bool:
        await self._hours.refresh(self._clock.now())
        silent_at = self._hours.silent_at(self._heard, self._silent_s)
        return silent_at is not None and self._clock.now() >= silent_at

    async def history(self, symbols: Collection[str], timeframe: int, start: int, end: int) -> list[Bar]:
        """Raw bars that have ended with start <= time < end, by time, then symbol."""
        bars = [bar async for page in self.pages(symbols, timeframe, start, end) for bar in page]
        return sorted(bars, key=attrgetter("time", "symbol"))

    async def pages(
        self, symbols: Collection[str], timeframe: int, start: int, end: int
    ) -> AsyncIterator[Sequence[Bar]]:
        """As `history`, page by page: by symbol, then time."""
        delayed = self.asked_feed == "delayed_sip"
        end = min(end, self._clock.now() - timeframe - (DELAY if delayed else 0) + 1)
        query: dict[str, Any] = {
            "symbols": ",".join(sorted(symbols)),
            "timeframe": _timeframe(timeframe),
            "start": rfc3339(start),
            "end": rfc3339(end - 1),  # included
            "adjustment": "raw",
            "feed": "sip" if delayed else self.asked_feed,
            "limit": PAGE,
        }
        if not symbols or start >= end:
            return
        while True:
            answer = reading.mapping(await self.data.get("/stocks/bars", query))
            found = (
                reading.bar(symbol, one)
                for symbol, several in reading.by_symbol(answer.get("bars"))
                for one in reading.listed(several or [])
            )
            yield [bar for bar in found if bar is not None and start <= bar.time < end]
            if not (token := answer.get("next_page_token")):
                return
            query["page_token"] = token

    async def quotes(self, symbols: Collection[str]) -> list[Quote]:
        """The newest quote of each symbol that has one."""
        query = {"symbols": ",".join(sorted(symbols)), "feed": self.asked_feed}
        answer = reading.mapping(await self.data.get("/stocks/quotes/latest", query))
        found = (reading.quote(symbol, one) for symbol, one in reading.by_symbol(answer.get("quotes")))
        return [quote for quote in found if quote is not None]

    async def sessions(self, first: str, last: str) -> list[Session]:
        """The exchange's days from date to date, both included."""
        answer = await self._trading.get("/calendar", {"start": first, "end": last})
        return [reading.session(day) for day in reading.listed(answer)]

    async def splits(self, symbols: Collection[str], first: str, last: str) -> list[SplitDay]:
        """The splits on the dates from first to last, both included."""
        announced = await self._announced("forward_split,reverse_split", symbols, first, last)
        return [reading.split(one) for one in announced]

    async def actions(self, symbols: Collection[str], first: str, last: str) -> list[Action]:
        """Splits and cash dividends on the dates from first to last, both included."""
        days: dict[tuple[str, str], Action] = {}
        for split in await self.splits(symbols, first, last):
            days[split.symbol, split.date] = Action(split.symbol, date.fromisoformat(split.date), split=split.ratio)
        for one in await self._announced("cash_dividend", symbols, first, last):
            paid = reading.dividend(one)
            place = paid.symbol, paid.date.isoformat()
            day = days.get(place, replace(paid, dividend=0.0))
            days[place] = replace(day, dividend=day.dividend + paid.dividend)  # two may have one day
        return sorted(days.values())

    async def _announced(self, types: str, symbols: Collection[str], first: str, last: str) -> list[Mapping[str, Any]]:
        query: dict[str, Any] = {"symbols": ",".join(sorted(symbols)), "types": types, "start": first, "end": last}
        found: list[Mapping[str, Any]] = []
        while True:
            try:
                answer = await self.data.get("/corporate-actions", query | {"limit": ACTIONS_PAGE}, version="v1")
            except NotFound:
                return found  # a local exchange that has none
            for _, several in reading.by_symbol(reading.mapping(answer).get("corporate_actions")):
                found += reading.listed(several)
            if not (token := answer.get("next_page_token")):
                return found
            query["page_token"] = token

    async def unknown(self, symbols: Collection[str]) -> list[str]:
        """The symbols that Alpaca does not have, or does not trade."""
        missing = []
        for symbol in sorted(symbols):
            try:
                asset = await self._trading.get(f"/assets/{symbol}")
            except NotFound:
                missing.append(symbol)
            else:
                if not reading.mapping(asset).get("tradable", True):
                    missing.append(symbol)
        return missing


def _timeframe(length: int) -> str:
    for unit, name in ((DAY, "Day"), (HOUR, "Hour"), (MINUTE, "Min")):
        if length % unit == 0:
            return f"{length // unit}{name}"
    raise Refused(f"bars of {length / SECOND:g} s: Alpaca has none")
