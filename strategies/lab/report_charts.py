"""The charts of a report: equity with drawdown, trades on price, monthly returns."""

from typing import Any

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]  # it has no types
from numpy.typing import NDArray
from plotly.subplots import make_subplots  # type: ignore[import-untyped]  # likewise

from strategies.bars import Bars
from strategies.lab.metrics import drawdown
from strategies.lab.result import Result
from strategies.lab.trades import REASONS, Floats

MOST_POINTS = 3_000  # a line; the screen shows fewer
MOST_MARKS = 1_000  # trades of one symbol, the last ones
MOST_SYMBOLS = 12  # to choose from in the chart of trades

LINE, FALL, GAIN, LOSS, QUIET = "#2457a6", "#c0392b", "#14804a", "#c0392b", "#8a93a1"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def equity_chart(result: Result) -> str:
    """Equity above, how far it is below its peak beneath."""
    fallen = -drawdown(result.initial_capital, result.equity)
    shown = _extremes(result.equity)
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.06)
    times = _moments(result.times[shown])
    figure.add_scatter(x=times, y=result.equity[shown], name="equity", line={"color": LINE, "width": 1.6})
    figure.add_scatter(
        x=times, y=fallen[shown], name="drawdown", row=2, col=1, fill="tozeroy", line={"color": FALL, "width": 1}
    )
    figure.add_hline(y=result.initial_capital, line={"color": QUIET, "width": 1, "dash": "dot"}, row=1, col=1)
    if result.killed_at is not None:
        figure.add_vline(x=str(_moments(np.array([result.killed_at]))[0]), line={"color": FALL, "dash": "dash"})
    figure.update_yaxes(tickformat="$,.0f", row=1)
    figure.update_yaxes(tickformat=".1%", row=2)
    return _html(figure, "equity", height=440, hovermode="x unified")


def trades_chart(result: Result, bars: Bars) -> str:
    """Entries and exits on the closes of one symbol, chosen from those that traded most."""
    counts = np.bincount(result.trades.symbol, minlength=len(result.symbols))
    chosen = np.argsort(-counts, kind="stable")[:MOST_SYMBOLS]
    figure = go.Figure()
    for n, symbol in enumerate(chosen):
        for trace in _trades_of(result, bars, int(symbol)):
            figure.add_trace(trace.update(visible=n == 0))
    buttons = [
        {
            "label": f"{result.symbols[symbol]} ({counts[symbol]})",
            "method": "update",
            "args": [{"visible": [other == n for other in range(len(chosen)) for _ in range(3)]}],
        }
        for n, symbol in enumerate(chosen)
    ]
    figure.update_layout(
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}],
        legend={"orientation": "h", "x": 0, "y": -0.1, "yanchor": "top"},  # on a telephone the menu fills the top
    )
    figure.update_yaxes(tickformat="$,.2f")
    return _html(figure, "trades", height=440, showlegend=True)


def monthly_chart(result: Result, bars: Bars) -> str:
    """A year a row, a month a column."""
    months = bars.dates.astype("datetime64[M]")
    ends = np.flatnonzero(np.append(months[1:] != months[:-1], True))
    closes = np.concatenate(([result.initial_capital], result.equity[ends]))
    returns = closes[1:] / closes[:-1] - 1
    index = months[ends].astype(np.int64)  # months since 1970
    years = np.arange(index[0] // 12, index[-1] // 12 + 1)
    grid = np.full((years.size, 12), np.nan)
    grid[index // 12 - years[0], index % 12] = returns
    text = [["" if np.isnan(cell) else f"{cell:+.1%}" if cell else "0" for cell in row] for row in grid]
    widest = float(np.abs(returns).max()) or 1.0
    figure = go.Figure(
        go.Heatmap(
            x=MONTHS,
            y=[str(1970 + year) for year in years],
            z=grid,
            text=text,
            texttemplate="%{text}",
            hovertemplate="%{y} %{x}: %{text}<extra></extra>",
            colorscale=[[0, "#e7a39b"], [0.5, "#ffffff"], [1, "#9ccfb0"]],
            zmin=-widest,
            zmax=widest,
            showscale=False,
            xgap=2,
            ygap=2,
            hoverongaps=False,
        )
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.update_xaxes(side="top", showgrid=False)
    return _html(figure, "monthly", height=70 + 30 * years.size)


def _trades_of(result: Result, bars: Bars, symbol: int) -> list[Any]:
    """Three traces: the closes, the entries, the exits in the colour of their outcome."""
    there = np.flatnonzero(bars.present[:, symbol])
    closes = bars.close[there, symbol] / bars.price_scale[symbol]
    shown = _extremes(closes)
    trades = result.trades
    own = np.flatnonzero(trades.symbol == symbol)[-MOST_MARKS:]
    outcome = [f"{REASONS[trades.reason[n]].replace('_', ' ')}, {trades.pnl[n]:+,.2f}" for n in own]
    return [
        go.Scatter(
            x=_moments(bars.times[there][shown]), y=closes[shown], name="close", line={"color": QUIET, "width": 1.2}
        ),
        go.Scatter(
            x=_moments(trades.entry_time[own]),
            y=trades.entry_price[own],
            name="entry",
            mode="markers",
            marker={"symbol": "triangle-up", "size": 9, "color": LINE},
            text=[f"{trades.quantity[n]:,.2f} shares" for n in own],
        ),
        go.Scatter(
            x=_moments(trades.exit_time[own]),
            y=trades.exit_price[own],
            name="exit",
            mode="markers",
            marker={
                "symbol": "triangle-down",
                "size": 9,
                "color": np.where(trades.pnl[own] < 0, LOSS, GAIN).tolist(),
            },
            text=outcome,
        ),
    ]


def _extremes(values: Floats) -> NDArray[np.intp]:
    """Indices of at most about MOST_POINTS values, every valley and peak among them."""
    if values.size <= MOST_POINTS:
        return np.arange(values.size)
    starts = np.linspace(0, values.size, MOST_POINTS // 2, endpoint=False).astype(np.intp)
    chunks = np.split(values, starts[1:])
    lows = [chunk.argmin() for chunk in chunks] + starts
    highs = [chunk.argmax() for chunk in chunks] + starts
    return np.unique(np.concatenate(([0], lows, highs, [values.size - 1])))


def _moments(times: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return times.astype("datetime64[us]").astype("datetime64[s]")


def _html(figure: Any, name: str, height: int, **layout: object) -> str:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 64, "r": 16, "t": 24, "b": 24},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#1c2430"},
        **{"showlegend": False, **layout},
    )
    html: str = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name, config={"displayModeBar": False, "responsive": True}
    )
    return html
