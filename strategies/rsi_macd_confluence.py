from strategies.bars import Block
from strategies.base import Shape, Signals, Strategy, param
from strategies.indicators import MACD, RSI, Cross


class RsiMacdConfluence(Strategy):
    """Buy weakness (a low RSI) once momentum turns up (MACD crosses its signal line); leave when either turns over."""

    timeframe = "1d"
    rsi_period: int = param(14, low=7, high=28)
    oversold: float = param(35.0, low=20.0, high=50.0)
    overbought: float = param(65.0, low=50.0, high=85.0)
    fast: int = param(12, low=6, high=18)
    slow: int = param(26, low=20, high=52)
    signal: int = param(9, low=5, high=18)
    stop_loss: float = param(0.04, low=0.01, high=0.1)
    take_profit: float = param(0.096, low=0.02, high=0.3)

    def setup(self, shape: Shape) -> None:
        self.rsi = RSI(shape, self.rsi_period)
        self.macd = MACD(shape, self.fast, self.slow, self.signal)
        self.cross = Cross(shape, of=self.macd)

    def step(self, bars: Block) -> Signals:
        rsi = self.rsi.update(bars.close)
        turns_up, turns_down = self.cross.update(*self.macd.update(bars.close))
        return Signals(
            enter=(rsi < self.oversold) & turns_up,
            leave=(rsi > self.overbought) | turns_down,
            score=self.oversold - rsi,
            stop_loss=self.stop_loss,
            take_profit=self.take_profit,
        )
