from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import RSI


class MeanReversionRsi(Strategy):
    """Buy what has been sold too hard (a low RSI); leave when it has recovered."""

    timeframe = "1d"
    period: int = param(14, low=2, high=28)
    oversold: float = param(30.0, low=10.0, high=45.0)
    recovered: float = param(65.0, low=45.0, high=85.0)
    stop_loss: float = param(0.07, low=0.01, high=0.2)
    take_profit: float = param(0.08, low=0.02, high=0.3)

    def setup(self, shape: Shape) -> None:
        self.rsi = RSI(shape, self.period)

    def step(self, bars: Block) -> Signals:
        rsi = self.rsi.update(bars.close)
        return Signals(
            enter=rsi < self.oversold,
            leave=rsi > self.recovered,
            score=self.oversold - rsi,
            stop_loss=self.stop_loss,
            take_profit=self.take_profit,
        )
