"""``engine parity``: whether the live run stored what a batch run makes of the same candles."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from engine.cli.options import ConfigOption, SetOption
from engine.cli.stores import settings_in_force, store_to_read
from engine.clock import SystemClock, iso_utc
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.moments import in_ns

if TYPE_CHECKING:
    from engine.store.parity import Audit

PATIENCE_S = 5.0
"""A running engine corrects the row of a late trade a moment after its candle: what differs is
looked at twice."""

SHOWN = 20
"""Differences shown of a timeframe; ``--json`` lists a hundred."""


def parity(
    hours: Annotated[float, typer.Option(min=0.01, help="How far back to look.")] = 24.0,
    timeframe: Annotated[
        Timeframe | None, typer.Option(help="One timeframe; features.timeframes by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: ConfigOption = None,
    override: SetOption = None,
) -> None:
    """Compute the features of the last hours again from the stored candles, and compare bit by bit.

    Exits with 0 only where every row that a live run stored is equal, else with 1 and what differs.

    Example: **engine parity --hours 6 --timeframe 1m**
    """
    from engine.actors.wiring import markets_of, resolve
    from engine.store.feature_plan import SETTLED_NS, Scope
    from engine.store.opening import reading
    from engine.store.parity import audit

    settings = resolve(settings_in_force(config, override))
    url, is_live = store_to_read(config, override)
    now = SystemClock().now_ns()
    scope = Scope(
        configured=tuple(markets_of(settings)),
        reference=settings.features.reference,
        silence_ns=0,
        begin=max(0, now - in_ns(hours * 3600)),
        end=now - SETTLED_NS,
    )
    told = Console(stderr=True, highlight=False)
    audits = []
    with reading(url) as store, told.status("computing features again"):
        for each in (timeframe,) if timeframe else settings.features.timeframes:
            found = audit(store, each, scope)
            if is_live and not found.is_equal:
                time.sleep(PATIENCE_S)
                found = audit(store, each, scope)
            audits.append(found)
    if not sum(each.rows for each in audits):
        names = ", ".join(each.timeframe for each in audits)
        raise ConfigError(
            f"no features of {names} of the last {hours:g} hours were stored by a live run of this "
            "version; name more with --hours"
        )
    equal = all(each.is_equal for each in audits)
    if as_json:
        plain = {"equal": equal, "timeframes": [each.as_json() for each in audits]}
        typer.echo(json.dumps(plain, indent=2))
    else:
        show(Console(highlight=False), audits)
    if not equal:
        raise typer.Exit(1)


def show(console: Console, audits: list[Audit]) -> None:
    """Print what was compared, and below it what differs."""
    table = Table(header_style="bold")
    table.add_column("timeframe")
    for name in ("live rows", "of batch", "bars without a row", "differing rows", "values"):
        table.add_column(name, justify="right")
    for each in audits:
        numbers = (
            each.rows,
            each.batch_rows,
            each.missing_rows,
            each.differing_rows,
            each.differing_values,
        )
        table.add_row(each.timeframe.value, *(f"{number:,}" for number in numbers))
    console.print(table)
    for each in audits:
        _list(console, each)
    replaced = sum(each.replaced_rows for each in audits)
    if replaced:
        console.print(
            f"{replaced:,} live rows are not there to compare: build_features replaced them, whose "
            "candles were corrected since (engine jobs; live rows replaced)",
            soft_wrap=True,
        )
    unsettled = sum(each.among_replaced_rows for each in audits)
    if unsettled:
        console.print(
            f"{unsettled:,} live rows have other ranks and are no differences: they were ranked "
            "among rows that build_features has replaced since",
            soft_wrap=True,
        )
    if all(each.is_equal for each in audits):
        but = ", but for those ranks" if unsettled else ""
        console.print(f"[bold green]equal[/bold green]: every live row, to the bit{but}")


def _list(console: Console, found: Audit) -> None:
    from engine.store.parity import ROW, bits

    for difference in found.differences[:SHOWN]:
        where = f"{found.timeframe} {difference.market} {iso_utc(difference.open_time)[:19]}Z"
        if difference.feature == ROW:
            console.print(f"[red]differs[/red]: {where} has a row and no candle", soft_wrap=True)
            continue
        stored, made = difference.stored, difference.recomputed
        console.print(
            f"[red]differs[/red]: {where} {difference.feature}: stored {stored!r} "
            f"({bits(stored)}), recomputed {made!r} ({bits(made)})",
            soft_wrap=True,
        )
    if found.differing_values > SHOWN:
        console.print(f"… and {found.differing_values - SHOWN:,} more values of {found.timeframe}")
