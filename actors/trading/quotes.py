"""What a share can be had for just now. Nothing here is written down: after a restart the market is asked anew."""

from actors.trading.ports import Quote


class QuoteBoard:
    """The newest quote of each symbol and who is halted: written by the feed, read by the rest of the desk.

    `trusted` is False while bars may be missing or nothing comes although the exchange is open: no entries then.
    """

    def __init__(self) -> None:
        self.halted: set[str] = set()
        self.trusted = False
        self._quotes: dict[str, Quote] = {}

    def show(self, quote: Quote) -> bool:
        """Take a quote, unless a newer one is known; whether it was taken."""
        known = self._quotes.get(quote.symbol)
        if known is not None and known.time > quote.time:
            return False
        self._quotes[quote.symbol] = quote
        return True

    def newest(self, symbol: str) -> Quote | None:
        """Valid or not, however old."""
        return self._quotes.get(symbol)

    def fresh(self, symbol: str, since: int) -> Quote | None:
        """The newest quote if it can price an order and is not older than `since`."""
        quote = self._quotes.get(symbol)
        return quote if quote is not None and quote.valid and quote.time >= since else None

    def halt(self, symbol: str, *, halted: bool) -> None:
        """Trading in a symbol has stopped, or goes on."""
        (self.halted.add if halted else self.halted.discard)(symbol)
