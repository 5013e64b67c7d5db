from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import ROC, RSI


class MomentumBasic(Strategy):
    """Buy what has risen over two weeks and is not yet overbought; leave when the rise has turned into a fall."""

    timeframe = "1d"
    period: int = param(10, low=5, high=63)
    rise: float = param(0.03, low=0.0, high=0.15)
    fall: float = param(0.02, low=0.0, high=0.1)
    rsi_period: int = param(14, low=7, high=28)
    overbought: float = param(70.0, low=50.0, high=90.0)
    stop_loss: float = param(0.05, low=0.01, high=0.15)
    take_profit: float = param(0.1, low=0.02, high=0.4)

    def setup(self, shape: Shape) -> None:
        self.roc = ROC(shape, self.period)
        self.rsi = RSI(shape, self.rsi_period)

    def step(self, bars: Block) -> Signals:
        roc = self.roc.update(bars.close)
        return Signals(
            enter=(roc > self.rise) & (self.rsi.update(bars.close) < self.overbought),
            leave=roc < -self.fall,
            score=roc,
            stop_loss=self.stop_loss,
            take_profit=self.take_profit,
        )
