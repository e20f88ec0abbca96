"""``engine sql``: ask the store."""

from __future__ import annotations

import csv
import io
import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.options import ConfigOption, SetOption
from engine.cli.stores import store_to_read
from engine.errors import StoreQueryError

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
    if not query.strip():
        raise StoreQueryError('the query is empty; for example: engine sql "SELECT 1"')
    from engine.store.opening import reading

    url, _ = store_to_read(config, override)
    try:
        with reading(url) as store:
            rows = store.query_arrow(query)
    except StoreQueryError as error:
        raise StoreQueryError(_plain_words(str(error)), error.code) from None
    _print(rows, form)


def _plain_words(message: str) -> str:
    r"""Cut a database's message down to what its reader can use.

    Examples
    --------
    >>> _plain_words("server response: Code: 60. DB::Exception: No such table a.b.")
    'No such table a.b.'
    >>> _plain_words("DB::Exception: Syntax error: (1): 1\n FORMAT Arrow. Expected one of: a")
    'Syntax error: (1): 1'
    """
    # What is asked is the query and, on a line of its own, the format.
    words = message.rpartition("DB::Exception: ")[2].split("Expected one of")[0]
    for end in ("\n FORMAT Arrow.", ": FORMAT Arrow.", " FORMAT Arrow"):
        words = words.replace(end, "")
    words = words.strip()
    if "FORMAT" in words.upper() and "syntax" in words.lower():
        return f"{words} (choose the format with --format)"
    return words


def _print(rows: pa.Table, form: Format) -> None:
    import pyarrow.types as pa_types

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
    # Piped output is not cut to a terminal's width.
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    if _width(names, cells) > console.width:
        _print_records(console, names, cells)
        return
    table = Table(header_style="bold")
    for index, name in enumerate(names):
        numeric = pa_types.is_integer(rows.schema.field(index).type) or pa_types.is_floating(
            rows.schema.field(index).type
        )
        table.add_column(name, justify="right" if numeric else "left")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _width(names: list[str], cells: list[list[str]]) -> int:
    """Return how wide a table of these would be."""
    columns = zip(names, *cells, strict=True)
    return sum(max(map(len, column)) + 3 for column in columns) + 1


def _print_records(console: Console, names: list[str], cells: list[list[str]]) -> None:
    """Print rows one under the other: nothing is cut where a table would not fit."""
    widest = max(map(len, names))
    for number, row in enumerate(cells, 1):
        console.rule(f"row {number}", align="left", style="dim")
        for name, cell in zip(names, row, strict=True):
            console.print(Text(f"{name:>{widest}}  ", style="bold") + Text(cell))


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
