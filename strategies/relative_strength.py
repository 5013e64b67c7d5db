from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import ROC, NewWeek, rank


class RelativeStrength(Strategy):
    """Once a week, buy the strongest of the universe over the last quarter; leave those that fell well behind."""

    timeframe = "1d"
    period: int = param(63, low=21, high=252)
    enter_best: int = param(10, low=1, high=20)
    leave_beyond: int = param(20, low=5, high=60)
    stop_loss: float = param(0.08, low=0.02, high=0.2)

    def setup(self, shape: Shape) -> None:
        self.roc = ROC(shape, self.period)
        self.week = NewWeek(shape)

    def step(self, bars: Block) -> Signals:
        rebalance = self.week.update(bars.dates)
        roc = self.roc.update(bars.close)
        place = rank(roc, bars.members & rebalance)
        return Signals(
            enter=rebalance & (place <= self.enter_best) & (roc > 0),
            leave=rebalance & ((place > self.leave_beyond) | (roc <= 0)),
            score=roc,
            stop_loss=self.stop_loss,
        )
