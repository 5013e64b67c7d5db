"""Alpaca's market data API over HTTP: historical bars in pages, the latest quotes, bars and trades."""

from aiohttp import web

from actors.kernel.clock import Clock
from actors.simulated.exchange import past, wire
from actors.simulated.exchange.orders import Declined
from actors.simulated.exchange.ports import SimulatedMarket
from actors.simulated.exchange.trading_rest import answer
from actors.trading.ports import Bar
from strategies.sessions import DAY, MINUTE

ADJUSTMENTS = {"raw", "split", "dividend", "spin-off", "all"}
FEEDS = {"iex", "sip", "delayed_sip", "otc", "boats", "overnight"}
RECENT = 15 * MINUTE
"""What is younger may only be read on the feeds of the account's subscription."""


class DataRest:
    """The bars and quotes of one exchange, as `routes`. `feeds`: what the account has subscribed to."""

    def __init__(self, market: SimulatedMarket, clock: Clock, feeds: frozenset[str]) -> None:
        self._market, self._clock, self._feeds = market, clock, feeds

    def routes(self) -> list[web.RouteDef]:
        """Where it answers."""
        return [
            web.get("/v2/stocks/bars/latest", self._latest_bars),
            web.get("/v2/stocks/bars", self._bars),
            web.get("/v2/stocks/{symbol}/bars", self._bars),
            web.get("/v2/stocks/quotes/latest", self._latest_quotes),
            web.get("/v2/stocks/trades/latest", self._latest_trades),
        ]

    async def _bars(self, request: web.Request) -> web.Response:
        query, now = request.query, self._clock.now()
        symbols = self._symbols(request)
        try:
            length = past.timeframe(query.get("timeframe", ""))
            start = wire.micros(query["start"]) if "start" in query else now // DAY * DAY
            end = wire.micros(query["end"]) + 1 if "end" in query else now  # the end is included
        except ValueError as error:
            raise Declined(400, 40010000, str(error)) from error
        self._examine(request, end)
        limit = query.get("limit", str(past.LIMIT_DEFAULT))
        if not limit.isdecimal() or not 0 < int(limit) <= past.LIMIT_MAX:
            raise Declined(400, 40010000, f"invalid limit: {limit} is not between 1 and {past.LIMIT_MAX}")
        try:
            page = past.page(
                self._market.complete, symbols, length, start, end, int(limit), query.get("page_token") or None
            )
        except ValueError as error:
            raise Declined(400, 40010000, str(error)) from error
        bars: dict[str, list[wire.Json]] = {}
        for bar in page.bars:
            bars.setdefault(bar.symbol, []).append(_timed(wire.bar(bar)))
        return answer({"bars": bars, "next_page_token": page.next_token})

    async def _latest_bars(self, request: web.Request) -> web.Response:
        newest: dict[str, Bar] = {}
        now = self._clock.now()
        self._examine(request, now)
        for bar in self._market.complete(self._symbols(request), now - 7 * DAY, now):
            newest[bar.symbol] = bar
        return answer({"bars": {symbol: _timed(wire.bar(bar)) for symbol, bar in newest.items()}})

    async def _latest_quotes(self, request: web.Request) -> web.Response:
        self._examine(request, self._clock.now())
        quotes = await self._market.quotes(self._symbols(request))
        return answer({"quotes": {quote.symbol: _timed(wire.quote(quote)) for quote in quotes}})

    async def _latest_trades(self, request: web.Request) -> web.Response:
        self._examine(request, self._clock.now())
        quotes = await self._market.quotes(self._symbols(request))
        return answer({"trades": {quote.symbol: _timed(wire.trade(quote, quote.time)) for quote in quotes}})

    def _symbols(self, request: web.Request) -> list[str]:
        """Those that were asked for; what nobody trades has no bars, what is no symbol is an error."""
        text = request.match_info.get("symbol") or request.query.get("symbols", "")
        symbols = [symbol.strip() for symbol in text.split(",") if symbol.strip()]
        if not symbols:
            raise Declined(400, 40010000, "symbols is required")
        strange = [symbol for symbol in symbols if not symbol.replace(".", "").isalnum() or symbol != symbol.upper()]
        if strange:
            raise Declined(400, 40010000, f"invalid symbol: {strange[0]}")
        return symbols

    def _examine(self, request: web.Request, end: int) -> None:
        """Raises Declined for a feed that is none, or that this account may not use so early."""
        adjustment, feed = request.query.get("adjustment", "raw"), request.query.get("feed", "iex")
        if not set(adjustment.split(",")) <= ADJUSTMENTS:
            raise Declined(400, 40010000, f"invalid adjustment: {adjustment}")
        if feed not in FEEDS:
            raise Declined(400, 40010000, f"invalid feed: {feed}")
        if feed not in self._feeds and end > self._clock.now() - RECENT:
            raise Declined(403, 40310000, f"subscription does not permit querying recent {feed.upper()} data")


def _timed(message: wire.Json) -> wire.Json:
    return {**message, "t": wire.stamp(message["t"])}
