"""The exchange inside the daemon, for `broker: simulated`: it has no memory, so the books tell it what it knew."""

from actors.simulated.exchange.venue import Floor, Venue
from actors.store.protocol import Store
from actors.trading import broker, orders_state
from actors.trading.accounts import Accounts
from actors.trading.orders import Orders
from actors.trading.ports import Holding

PAGE = 1_000


class OwnExchange(Floor):
    """Plays a venue whose account begins where the books end."""

    def __init__(self, venue: Venue, store: Store) -> None:
        super().__init__(venue)
        self._store = store

    async def start(self) -> None:
        """At the first start of a process."""
        exchange = self._venue.exchange
        if exchange.taken or exchange.holdings():
            return
        accounts = await booked(self._store)
        if accounts.purses:
            exchange.endow(exchange.cash + accounts.cash - accounts.capital, holdings_of(accounts))


def holdings_of(accounts: Accounts) -> list[Holding]:
    """Of all strategies together."""
    cost: dict[str, float] = {}
    for purse in accounts.purses.values():
        for symbol, stake in purse.stakes.items():
            cost[symbol] = cost.get(symbol, 0.0) + stake.cost
    return [Holding(symbol, shares, cost[symbol] / shares) for symbol, shares in accounts.shares().items()]


async def booked(store: Store) -> Accounts:
    """What the log says that all strategies own."""
    mark = await store.desk.load(broker.READER)
    version, state = mark.parts.get(broker.PART, (0, b""))
    orders, position = (orders_state.unpack(state), mark.cursor) if version == orders_state.VERSION else (Orders(), 0)
    while entries := await store.desk.read(position, PAGE):
        for entry in entries:
            if not entry.damage:
                orders.fold(entry)
        position = entries[-1].seq
    return orders.accounts
