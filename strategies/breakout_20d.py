from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import Highest, Lowest


class Breakout20d(Strategy):
    """Buy a close above every high of the last month; leave on a close below every low of the last two weeks."""

    timeframe = "1d"
    entry: int = param(20, low=5, high=60)
    exit: int = param(10, low=3, high=30)
    stop_loss: float = param(0.05, low=0.01, high=0.15)

    def setup(self, shape: Shape) -> None:
        self.highest = Highest(shape, self.entry)
        self.lowest = Lowest(shape, self.exit)

    def step(self, bars: Block) -> Signals:
        highest = self.highest.update(bars.high)
        return Signals(
            enter=bars.close > highest,
            leave=bars.close < self.lowest.update(bars.low),
            score=bars.close / highest - 1,
            stop_loss=self.stop_loss,
        )
