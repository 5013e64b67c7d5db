from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import VWAP


class VwapReversion(Strategy):
    """Buy well below the day's average price, away from the open and the close; leave at the average, hold no night."""

    timeframe = "15m"
    distance: float = param(0.01, low=0.002, high=0.05)
    after_open: int = param(30, low=0, high=120)
    before_close: int = param(45, low=30, high=180)
    stop_loss: float = param(0.015, low=0.005, high=0.05)

    def setup(self, shape: Shape) -> None:
        self.vwap = VWAP(shape)

    def step(self, bars: Block) -> Signals:
        vwap = self.vwap.update(bars)
        below = (vwap - bars.close) / vwap
        in_hours = (bars.minutes_after_open >= self.after_open) & (bars.minutes_before_close >= self.before_close)
        return Signals(
            # To 12 digits: a distance of exactly 1 % is one, whatever the division has done to the last of them.
            enter=(below.round(12) >= self.distance) & in_hours,
            leave=bars.close >= vwap,
            score=below,
            stop_loss=self.stop_loss,
            session_end=True,
        )
