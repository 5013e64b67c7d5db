from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import Bollinger, RelativeVolume


class BollingerReversion(Strategy):
    """Buy an oversold bounce at the lower band on unusual volume; leave at the middle band or at a tight stop."""

    timeframe = "2h"
    period: int = param(20, low=10, high=40)
    width: float = param(2.0, low=1.0, high=3.0)
    relative_volume: float = param(1.5, low=1.0, high=3.0)
    volume_period: int = param(20, low=10, high=40)
    stop_loss: float = param(0.02, low=0.005, high=0.05)

    def setup(self, shape: Shape) -> None:
        self.bands = Bollinger(shape, self.period, self.width)
        self.volume = RelativeVolume(shape, self.volume_period)

    def step(self, bars: Block) -> Signals:
        lower, middle, _ = self.bands.update(bars.close)
        busy = self.volume.update(bars.volume) >= self.relative_volume
        return Signals(
            enter=(bars.close < lower) & busy,
            leave=bars.close >= middle,
            score=(lower - bars.close) / (middle - lower),
            stop_loss=self.stop_loss,
        )
