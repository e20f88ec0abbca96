"""``engine backfill``: what is missing of the past, over REST."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.cli.options import ConfigOption, SetOption
from engine.cli.stores import bus_in_use, store_to_write

if TYPE_CHECKING:
    from engine.backfill.run import BackfillConfig, BackfillResult
    from engine.config import RetentionConfig


def backfill(
    exchange: Annotated[str, typer.Option(help="Our name of a venue, else ccxt's id of one.")],
    instrument: Annotated[list[str], typer.Option(help="Such as BTC-USDT; may be repeated.")],
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="A day or a time with zone (UTC: Z).")
    ],
    end: Annotated[
        str, typer.Option("--to", metavar="TIME", help="Not included; now by default.")
    ] = "",
    what: Annotated[str, typer.Option(help="trades or candles.")] = "trades",
    timeframe: Annotated[str, typer.Option(help="Of the candles.")] = "1m",
    rest_url: Annotated[str, typer.Option(help="Instead of the venue's own endpoint.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigOption = None,
    override: SetOption = None,
) -> None:
    """Fetch what the store lacks of the past; run again, it goes on where it was.

    Exits with 1 where the venue did not give all.

    Example: **engine backfill --exchange binance --instrument BTC-USDT --from 2026-11-01**
    """
    from engine.backfill.request import read_request
    from engine.backfill.run import plain

    url, settings, retention = store_to_write(config, override)
    request = read_request(
        settings,
        url,
        exchange=exchange,
        instruments=instrument,
        begin=begin,
        end=end,
        what=what,
        timeframe=timeframe,
        rest_url=rest_url,
    )
    request = replace(request, bus_url=bus_in_use(config, override) or request.bus_url)
    result = _run(request, url, retention)
    if as_json:
        typer.echo(json.dumps(plain(result), indent=2))
    else:
        _show(request, result)
    if result.problems:
        raise typer.Exit(1)


def _run(request: BackfillConfig, url: str, retention: RetentionConfig | None) -> BackfillResult:
    from engine.backfill.run import Step
    from engine.backfill.run import backfill as fetch
    from engine.store.opening import writing

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
    )
    with writing(url, retention) as store, bar:
        tasks = {name: bar.add_task(name, total=1.0, rows=0) for name in request.instruments}

        def tell(step: Step) -> None:
            bar.update(tasks[step.instrument], completed=step.share, rows=step.rows)

        return asyncio.run(fetch(request, store, tell=tell))


def _show(request: BackfillConfig, result: BackfillResult) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for problem in result.problems:
        console.print("[red]not all[/red]:", problem, markup=True)
    console.print(
        f"{request.exchange}: {result.trades:,} trades and {result.candles:,} candles written, "
        f"{result.gaps_closed} gaps closed"
    )
