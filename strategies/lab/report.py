"""One run as one HTML page that works offline: charts, trades, and everything the result rests on."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]  # it has no types

from strategies.bars import Bars
from strategies.lab.metrics import Metrics
from strategies.lab.report_charts import equity_chart, monthly_chart, trades_chart
from strategies.lab.result import Result
from strategies.lab.summary import (
    RIGHT_ALIGNED,
    TRADE_HEAD,
    TradeRow,
    assumption_rows,
    metric_rows,
    moment,
    money,
    number,
    percent,
    trade_rows,
)

MOST_TRADES = 1_000  # rows of the table; a page of more is no longer read

STYLE = """
:root { --ink: #1c2430; --soft: #66707f; --line: #e3e7ec; --paper: #ffffff; --ground: #f5f6f8;
        --good: #14804a; --bad: #c0392b; --watch: #9a6700; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 32px 24px 64px; max-width: 1120px; background: var(--ground); color: var(--ink);
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0; font-size: 26px; letter-spacing: -0.01em; }
h2 { margin: 0 0 12px; font-size: 16px; }
p.lead { margin: 4px 0 24px; color: var(--soft); }
section { margin: 0 0 20px; padding: 20px; background: var(--paper); border: 1px solid var(--line);
          border-radius: 10px; overflow-x: auto; }
#monthly { min-width: 600px; }
@media (max-width: 600px) { body { padding: 20px 10px 40px; } section { padding: 14px 10px; } }
.verdict { margin-left: 12px; padding: 3px 12px; border-radius: 999px; color: #fff; background: var(--soft);
           font-size: 14px; vertical-align: 4px; letter-spacing: 0; }
.verdict.keep { background: var(--good); } .verdict.shelve { background: var(--bad); }
.verdict.watch { background: var(--watch); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 12px; margin-bottom: 20px; }
.tile { padding: 14px 16px; background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
.tile b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; letter-spacing: -0.01em; }
.tile span { color: var(--soft); font-size: 13px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(380px, 100%), 1fr)); gap: 20px;
           align-items: start; }
.scroll { max-height: 560px; overflow: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th { position: sticky; top: 0; background: var(--paper); color: var(--soft); font-weight: 600; text-align: left; }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.name { color: var(--soft); width: 1%; white-space: nowrap; padding-right: 24px; }
.right { text-align: right; padding-right: 24px; } .gain { color: var(--good); } .loss { color: var(--bad); }
"""


def write_report(path: Path, result: Result, metrics: Metrics, bars: Bars) -> None:
    """Write the page. It loads nothing: styles and the chart library are inside."""
    path.write_text(page(result, metrics, bars), encoding="utf-8")


def page(result: Result, metrics: Metrics, bars: Bars) -> str:
    """The whole HTML document; the same run gives the same bytes."""
    title = f"{result.strategy}, {bars.dates[0]} to {bars.dates[-1]}"
    verdict = f'<span class="verdict {escape(metrics.verdict.split()[0])}">{escape(metrics.verdict)}</span>'
    sections = (
        _section("Equity and drawdown", equity_chart(result)),
        _section("Trades on price", trades_chart(result, bars)),
        _section("Monthly returns", monthly_chart(result, bars)),
        '<div class="columns">',
        _section("Metrics", _pairs(metric_rows(result, metrics))),
        _section("What this rests on", _pairs(assumption_rows(result, bars))),
        "</div>",
        _section(f"Trades ({len(result.trades):,})", _trades(result, bars)),
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head>
<body><h1>{escape(result.strategy)}{verdict}</h1>
<p class="lead">{escape(_lead(result, bars))}</p>
<div class="tiles">{"".join(_tiles(result, metrics))}</div>
{"".join(sections)}
</body></html>
"""


def _lead(result: Result, bars: Bars) -> str:
    change = f"{money(result.initial_capital)} became {money(result.final_equity)}"
    symbols = "1 symbol" if len(result.symbols) == 1 else f"{len(result.symbols)} symbols"
    killed = result.killed_at
    stopped = "" if killed is None else f" The kill switch stopped it at the close of {moment(np.int64(killed), bars)}."
    return f"{change} on {symbols}, {bars.dates[0]} to {bars.dates[-1]}.{stopped}"


def _tiles(result: Result, metrics: Metrics) -> Iterable[str]:
    shown = (
        ("net return", percent(metrics.net_return)),
        ("Sharpe", number(metrics.sharpe)),
        ("max drawdown", percent(metrics.max_drawdown)),
        ("win rate", percent(metrics.win_rate)),
        ("expectancy", money(metrics.expectancy)),
        ("profit factor", number(metrics.profit_factor)),
        ("trades", f"{len(result.trades):,}"),
    )
    for name, value in shown:
        yield f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>\n"


def _pairs(rows: Sequence[tuple[str, str]]) -> str:
    cells = (f'<tr><td class="name">{escape(name)}</td><td>{escape(text)}</td></tr>' for name, text in rows)
    return f"<table>{''.join(cells)}</table>"


def _trades(result: Result, bars: Bars) -> str:
    if not len(result.trades):
        return "<p>None.</p>"
    body = []
    for row in trade_rows(result, bars, MOST_TRADES):
        outcome = "loss" if row.pnl.startswith("-") else "gain"
        body.append(_row("td", row, {"pnl": outcome}))
    note = f"<p>The last {MOST_TRADES:,}.</p>" if len(result.trades) > MOST_TRADES else ""
    return f'{note}<div class="scroll"><table>{_row("th", TRADE_HEAD, {})}{"".join(body)}</table></div>'


def _row(tag: str, row: TradeRow, classes: Mapping[str, str]) -> str:
    cells = (
        f'<{tag} class="{"right " if name in RIGHT_ALIGNED else ""}{classes.get(name, "")}">{escape(cell)}</{tag}>'
        for name, cell in row._asdict().items()
    )
    return f"<tr>{''.join(cells)}</tr>"
