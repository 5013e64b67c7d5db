"""`nightdesk data status`: the bar store for people and for scripts."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from config.errors import BadInput
from daemon.cli.bar_source import store_of, time_text
from daemon.cli.tables import counted, emit, show
from strategies.bar_inventory import Holding, inventory
from strategies.bar_store import BarStore


def run(arguments: argparse.Namespace) -> int:
    """Print what the store holds."""
    store = store_of(arguments.store, arguments.config)
    holdings = list(inventory(store, arguments.symbols))
    if missing := set(arguments.symbols).difference(one.symbol for one in holdings):
        raise BadInput(f"{store.folder}: has no bars of {min(missing)}")
    if arguments.json:
        emit(_as_json(store, holdings))
    elif arguments.symbols:
        _show_series(holdings)
    else:
        _show_feeds(store, holdings)
    return 0


def _show_feeds(store: BarStore, holdings: Sequence[Holding]) -> None:
    rows = []
    for (feed, timeframe), group in groupby(holdings, key=lambda one: (one.feed, one.timeframe)):
        series = list(group)
        gaps = sum(gap.sessions for one in series for gap in one.gaps)
        first, last = min(one.first for one in series), max(one.last for one in series)
        bars = sum(one.bars for one in series)
        rows.append((feed, timeframe, len(series), bars, _day(first), _day(last), gaps))
    headers = ("feed", "bars of", "symbols", "bars", "from", "to", "sessions missing")
    show(headers, rows, f"{store.folder}: no bars; import some with: nightdesk import-bars PATH")
    if actions := len(store.actions()):
        print(counted(actions, "split or dividend", "splits and dividends"))


def _show_series(holdings: Sequence[Holding]) -> None:
    rows: list[tuple[object, ...]] = []
    for one in holdings:
        rows += [
            (one.symbol, one.feed, one.timeframe, _day(part.since), _day(part.until), part.source)
            for part in one.ranges
        ]
        rows += [
            (one.symbol, one.feed, one.timeframe, gap.since, gap.until, f"sessions missing: {gap.sessions}")
            for gap in one.gaps
        ]
    show(("symbol", "feed", "bars of", "from", "to", "source"), rows, "")


def _as_json(store: BarStore, holdings: Sequence[Holding]) -> dict[str, object]:
    manifest = store.manifest()
    return {
        "store": str(store.folder),
        "series": [
            asdict(one)
            | {
                "first": time_text(one.first),
                "last": time_text(one.last),
                "ranges": [
                    {"since": time_text(part.since), "until": time_text(part.until), "source": part.source}
                    for part in one.ranges
                ],
            }
            for one in holdings
        ],
        "sources": [asdict(source) for source in manifest.sources],
        "actions": len(store.actions()),
    }


def _day(micros: int) -> str:
    return time_text(micros)[:10]
