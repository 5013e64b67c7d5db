"""What the backtest benchmark measures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the comparison; `peers` is the harness's name of it, none: only ours is measured."""

    title: str
    symbols: int
    bars: int
    minute: bool = False
    sets: int = 1
    peers: str | None = None


CASES = {
    "a": Case("1 symbol x 1,260 days", 1, 1_260, peers="a"),
    "b": Case("1 symbol x 500,000 minutes", 1, 500_000, minute=True, peers="b"),
    "c": Case("500 symbols x 1,260 days, each with its own cash", 500, 1_260, peers="c"),
    "c-shared": Case("500 symbols x 1,260 days, ten positions share the cash, best scores first, stops", 500, 1_260),
    "d": Case("100 sets x 50 symbols x 1,260 days, each with its own cash", 50, 1_260, sets=100, peers="d"),
    "d-shared": Case("as d, but the 50 symbols of a set share its cash as in c-shared", 50, 1_260, sets=100),
    "ten": Case("ten strategies x 500 symbols x 1,260 days, all costs and metrics", 500, 1_260, sets=10),
}
