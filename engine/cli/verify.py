"""``engine verify``: whether what the store holds is whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

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

WIDE = 170
"""Characters that all columns take; markets with long ids need as many."""

PATIENCE_S = 5.0
"""A running engine writes candles up to three seconds behind their trades (`store.flush_ms`):
doubtful days are looked at twice."""


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
    """Print the table, and below it what is not complete and what was not compared.

    On a narrow terminal without the columns that say where a market's trades begin and end.
    """
    columns = {name: how for name, how in _COLUMNS.items() if console.width >= WIDE or how.narrow}
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name, column in columns.items():
        table.add_column(name, justify=column.justify, no_wrap=True)
    for report in reports:
        table.add_row(*(column.cell(report) for column in columns.values()))
    console.print(table)
    _list(console, "not compared", "yellow", _not_compared(reports))
    problems = [f"{r.market}: {problem}" for r in reports for problem in r.problems]
    _list(console, "not complete", "red", problems)
    if not problems:
        trades = sum(report.counts.trades for report in reports)
        console.print(f"[bold green]complete[/bold green]: {trades:,} trades, none missing, "
                      "none twice, and every compared candle agrees with them")  # fmt: skip


class _Column(NamedTuple):
    cell: Callable[[MarketReport], str | Text]
    justify: Literal["left", "right"] = "right"
    narrow: bool = False
    """Whether it is shown on a narrow terminal too."""


def _moment(report: MarketReport, nanoseconds: int) -> str:
    return iso_utc(nanoseconds)[:19] if report.counts.trades else ""


def _missing(report: MarketReport) -> str:
    return f"{report.missing_ids:,}" if report.counts.counted else "not counted"


def _verdict(report: MarketReport) -> Text:
    return Text("complete", "green") if report.is_complete else Text("not complete", "red")


_COLUMNS = {
    "market": _Column(lambda report: str(report.market), "left", narrow=True),
    "first id": _Column(lambda report: report.counts.first_id, "left"),
    "last id": _Column(lambda report: report.counts.last_id, "left"),
    "from": _Column(lambda report: _moment(report, report.counts.first_time), "left"),
    "to": _Column(lambda report: _moment(report, report.counts.last_time), "left"),
    "trades": _Column(lambda report: f"{report.counts.trades:,}", narrow=True),
    "unique": _Column(lambda report: f"{report.counts.trades - report.duplicates:,}"),
    "missing": _Column(_missing, narrow=True),
    "gaps open/repaired": _Column(lambda report: f"{len(report.open_gaps)}/{report.repaired_gaps}"),
    "candles wrong/compared": _Column(
        lambda report: f"{report.candles.disagreeing:,}/{report.candles.compared:,}"
    ),
    "": _Column(_verdict, "left", narrow=True),
}


def _not_compared(reports: list[MarketReport]) -> list[str]:
    """Say why candles were not compared, a line for each reason."""
    candles: Counter[str] = Counter()
    markets: dict[str, list[str]] = {}
    for report in reports:
        candles.update(report.candles.not_compared)
        for reason in report.candles.not_compared:
            markets.setdefault(reason, []).append(str(report.market))
    return [
        f"{candles[reason]:,} candles of "
        f"{of[0] if len(of) == 1 else f'{len(of)} markets (--json names them)'}: {reason}"
        for reason, of in sorted(markets.items())
    ]


def _list(console: Console, title: str, colour: str, lines: list[str]) -> None:
    for line in filter(None, lines):
        console.print(Text(f"{title}: ", colour) + Text(line), soft_wrap=True)
