from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import RSI, Trough


class RsiDivergence(Strategy):
    """Buy a new low that momentum no longer confirms: the price is lower than weeks ago, the RSI is higher."""

    timeframe = "1d"
    lookback: int = param(20, low=10, high=60)
    recent: int = param(5, low=2, high=9)
    rsi_period: int = param(14, low=7, high=28)
    divergence: float = param(3.0, low=0.0, high=15.0)
    oversold: float = param(40.0, low=20.0, high=50.0)
    recovered: float = param(60.0, low=50.0, high=85.0)
    stop_loss: float = param(0.04, low=0.01, high=0.1)
    max_holding: int = param(20, low=3, high=60)

    def setup(self, shape: Shape) -> None:
        self.rsi = RSI(shape, self.rsi_period)
        self.trough = Trough(shape, self.lookback, self.recent, of=self.rsi)

    def step(self, bars: Block) -> Signals:
        rsi = self.rsi.update(bars.close)
        earlier_low, rsi_then = self.trough.update(bars.low, rsi)
        difference = rsi - rsi_then
        return Signals(
            enter=(bars.low < earlier_low) & (difference > self.divergence) & (rsi < self.oversold),
            leave=rsi > self.recovered,
            score=difference,
            stop_loss=self.stop_loss,
            max_holding=self.max_holding,
        )
