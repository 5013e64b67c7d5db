from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import Bollinger, Percentile, Recently


class BollingerSqueeze(Strategy):
    """Buy the break out of an unusual calm: bands that were narrow within the week, and a close above the upper one."""

    timeframe = "1d"
    period: int = param(20, low=10, high=40)
    width: float = param(2.0, low=1.0, high=3.0)
    lookback: int = param(120, low=60, high=252)
    percent: float = param(10.0, low=1.0, high=30.0)
    within: int = param(5, low=1, high=10)
    stop_loss: float = param(0.04, low=0.01, high=0.1)

    def setup(self, shape: Shape) -> None:
        self.bands = Bollinger(shape, self.period, self.width)
        self.narrow = Percentile(shape, self.lookback, self.percent, of=self.bands)
        self.recently = Recently(shape, self.within, of=self.narrow)

    def step(self, bars: Block) -> Signals:
        lower, middle, upper = self.bands.update(bars.close)
        bandwidth = (upper - lower) / middle
        squeezed = self.recently.update(bandwidth <= self.narrow.update(bandwidth))
        return Signals(
            enter=squeezed & (bars.close > upper),
            leave=bars.close < middle,
            score=bars.close / upper - 1,
            stop_loss=self.stop_loss,
        )
