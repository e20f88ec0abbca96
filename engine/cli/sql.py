"""``engine sql``: ask the store."""

from __future__ import annotations

import csv
import io
import json
import sys
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engine.cli.options import ConfigOption, SetOption, read_config
from engine.cli.runfile import running
from engine.errors import NotRunningError
from engine.store.endpoint import EmbeddedHome, StoreEndpoint, parse_store_url

if TYPE_CHECKING:
    import pyarrow as pa


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def sql(
    query: Annotated[str, typer.Argument(help="A statement in ClickHouse's SQL.")],
    form: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE,
    config: ConfigOption = None,
    override: SetOption = None,
) -> None:
    """Ask the store: the running engine's, else the configured one.

    Example: **engine sql "SELECT instrument, count() FROM trades GROUP BY 1" --format csv**
    """
    runs = running()
    if runs:
        home = parse_store_url(runs[0].viewer_url or runs[0].store_url)
    else:
        home = parse_store_url(read_config(config, override).store_url)
    rows = _query(home, query) if isinstance(home, StoreEndpoint) else _query_closed(home, query)
    _print(rows, form)


def _query(endpoint: StoreEndpoint, query: str) -> pa.Table:
    from engine.store.client import Store

    with closing(Store(endpoint)) as store:
        return store.query_arrow(query)


def _query_closed(home: EmbeddedHome, query: str) -> pa.Table:
    """Open an embedded store that no engine owns, ask, and close it again."""
    if not home.path.is_dir():
        raise NotRunningError(
            f"no engine is running and there is no store at {home.path}; start one with: engine up"
        )
    from engine.store.embedded import EmbeddedStore

    embedded = EmbeddedStore(home.path)
    try:
        return _query(embedded.start(), query)
    finally:
        embedded.stop()


def _print(rows: pa.Table, form: Format) -> None:
    names = rows.column_names
    if form is Format.JSON:
        typer.echo(json.dumps(rows.to_pylist(), indent=2, default=_plain))
        return
    cells = [[_cell(value) for value in row.values()] for row in rows.to_pylist()]
    if form is Format.CSV:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(cells)
        typer.echo(text.getvalue(), nl=False)
        return
    table = Table(*names, header_style="bold")
    for row in cells:
        table.add_row(*row)
    # Piped output is not cut to a terminal's width.
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    plain = value if isinstance(value, str | int | float) else _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, default=_plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)
