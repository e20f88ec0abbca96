"""What Cboe's documents have in common: days of New York, and tables below a preamble."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from engine.clock import NS_PER_S

NEW_YORK = ZoneInfo("America/New_York")


def day_ns(day: date) -> int:
    """Return a day's 00:00 UTC, nanoseconds.

    Examples
    --------
    >>> day_ns(date(1970, 1, 2))
    86400000000000
    """
    return (day - date(1970, 1, 1)).days * 86_400 * NS_PER_S


def published_ns(day: date) -> int:
    """Return when a day's values are out at the latest: midnight after it, in New York.

    Options on indices trade until 16:15 there; the tables follow in the evening, at no promised
    time.

    Examples
    --------
    >>> published_ns(date(2024, 1, 2)) == day_ns(date(2024, 1, 3)) + 5 * 3600 * NS_PER_S
    True
    """
    midnight = datetime.combine(day + timedelta(days=1), time(), NEW_YORK)
    return int(midnight.timestamp()) * NS_PER_S


def day_in_new_york(now_ns: int) -> date:
    """Return the day that it is in New York."""
    return datetime.fromtimestamp(now_ns // NS_PER_S, UTC).astimezone(NEW_YORK).date()


def read_day(text: str) -> date:
    """Read a day as Cboe writes it, ``12/31/2024``, or as others copy it, ``2024-12-31``.

    Raises
    ------
    ValueError
        Where it is neither.
    """
    if "/" in text:
        month, day, year = map(int, text.split("/"))
        return date(year, month, day)
    return date.fromisoformat(text)


def positive(row: Mapping[str, str], column: str) -> float:
    """Return a cell's number.

    Raises
    ------
    ValueError
        Where it is none, or not above 0; it names the column.
    """
    text = row.get(column, "")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"column {column} is {text!r}, not a number above 0")
    return number


def table_rows(content: bytes, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table: the number of the line, from 1, and the cells by column.

    Parameters
    ----------
    content
        CSV; lines of any other kind may come before the header, which begins with ``DATE``.
    needed
        Columns that must be there, in capitals.

    Raises
    ------
    ValueError
        Where there is no such header.
    """
    lines = csv.reader(io.StringIO(content.decode("utf-8-sig", "replace")))
    header: list[str] = []
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line]
        if not header:
            if cells and cells[0].upper() == "DATE":
                header = [cell.upper() for cell in cells]
                missing = [name for name in needed if name not in header]
                if missing:
                    raise ValueError(
                        f"it has no column {', '.join(missing)}; it has {', '.join(header)}"
                    )
        elif any(cells):
            yield number, dict(zip(header, cells, strict=False))
    if not header:
        raise ValueError("it has no header that begins with DATE")
