from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import Announced, Previous, ValueWhen


class EarningsMomentum(Strategy):
    """Buy a gap up on earnings that holds through the day; leave when the gap is filled, or after two weeks."""

    timeframe = "1d"
    calendar: str = param("")  # a CSV symbol,date,timing; without it nothing is ever entered
    gap: float = param(0.03, low=0.01, high=0.15)
    stop_loss: float = param(0.06, low=0.01, high=0.15)
    max_holding: int = param(10, low=2, high=60)

    def setup(self, shape: Shape) -> None:
        self.announced = Announced(shape, self.calendar)
        self.previous_close = Previous(shape)
        self.close_before_gap = ValueWhen(shape)

    def step(self, bars: Block) -> Signals:
        previous = self.previous_close.update(bars.close)
        gap = (bars.open - previous) / previous
        enter = self.announced.update(bars.dates) & (gap >= self.gap) & (bars.close > bars.open)
        return Signals(
            enter=enter,
            leave=bars.close < self.close_before_gap.update(enter, previous),
            score=gap,
            stop_loss=self.stop_loss,
            max_holding=self.max_holding,
        )
