"""``engine verify``: whether what the store holds is whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.options import ConfigOption, SetOption
from engine.cli.stores import store_to_read
from engine.clock import iso_utc
from engine.domain.instrument import Instrument
from engine.errors import ConfigError
from engine.moments import parse_moment

if TYPE_CHECKING:
    from engine.store.completeness import MarketReport

PATIENCE_S = 3.0
"""A running engine writes trades and candles a moment apart: doubtful days are looked at twice."""


def verify(
    exchange: Annotated[str, typer.Option(help="One exchange's markets; all by default.")] = "",
    instrument: Annotated[str, typer.Option(help="One instrument, such as BTC-USDT.")] = "",
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="A day or a time with zone (UTC: Z).")
    ] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Not included.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: ConfigOption = None,
    override: SetOption = None,
) -> None:
    """Prove that no trade is missing or doubled and every candle agrees with its trades.

    Exits with 0 only where all that was asked about is complete, else with 1 and what is not.

    Example: **engine verify --exchange binance --from 2026-11-01**
    """
    from engine.store.completeness import LATEST, Selection
    from engine.store.completeness import as_json as plain
    from engine.store.completeness import verify as verify_markets
    from engine.store.opening import reading

    if instrument:
        Instrument.parse(instrument)
    selection = Selection(
        exchange,
        instrument,
        parse_moment(begin, "--from") if begin else 0,
        parse_moment(end, "--to") if end else LATEST,
    )
    if selection.start >= selection.end:
        raise ConfigError(f"--from {begin} does not lie before --to {end}")
    url, is_live = store_to_read(config, override)
    told = Console(stderr=True, highlight=False)
    with reading(url) as store, told.status("looking at what is stored") as status:
        reports = list(
            verify_markets(
                store,
                selection,
                patience_s=PATIENCE_S if is_live else 0.0,
                tell=lambda market, number, of: status.update(f"{number} of {of}: {market}"),
            )
        )
    complete = all(report.is_complete for report in reports)
    if as_json:
        found = {"complete": complete, "markets": [plain(report) for report in reports]}
        typer.echo(json.dumps(found, indent=2))
    else:
        show(Console(highlight=False), reports)
    if not complete:
        raise typer.Exit(1)


def show(console: Console, reports: list[MarketReport]) -> None:
    """Print the table, and below it what is not complete and what was not compared."""
    table = Table(header_style="bold")
    for name in ("market", "first id", "last id", "from", "to"):
        table.add_column(name, overflow="fold")
    for name in ("trades", "unique", "missing", "gaps open/repaired", "candles wrong/compared"):
        table.add_column(name, justify="right")
    table.add_column("")
    for report in reports:
        table.add_row(*_cells(report))
    console.print(table)
    _list(console, "not compared", "yellow", [_not_compared(report) for report in reports])
    problems = [f"{r.market}: {problem}" for r in reports for problem in r.problems]
    _list(console, "not complete", "red", problems)
    if not problems:
        trades = sum(report.counts.trades for report in reports)
        console.print(f"[bold green]complete[/bold green]: {trades:,} trades, none missing, "
                      "none twice, and every compared candle agrees with them")  # fmt: skip


def _cells(report: MarketReport) -> list[str | Text]:
    counts = report.counts
    has_trades = bool(counts.trades)
    return [
        str(report.market),
        counts.first_id,
        counts.last_id,
        iso_utc(counts.first_time)[:19] if has_trades else "",
        iso_utc(counts.last_time)[:19] if has_trades else "",
        f"{counts.trades:,}",
        f"{counts.trades - report.duplicates:,}",
        f"{report.missing_ids:,}" if counts.counted else "not counted",
        f"{len(report.open_gaps)}/{report.repaired_gaps}",
        f"{report.candles.disagreeing:,}/{report.candles.compared:,}",
        Text("complete", "green") if report.is_complete else Text("not complete", "red"),
    ]


def _not_compared(report: MarketReport) -> str:
    reasons = report.candles.not_compared
    if not reasons:
        return ""
    told = "; ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
    return f"{report.market}: candles {told}"


def _list(console: Console, title: str, colour: str, lines: list[str]) -> None:
    for line in filter(None, lines):
        console.print(Text(f"{title}: ", colour) + Text(line), soft_wrap=True)
