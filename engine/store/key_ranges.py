"""A table's rows in ranges of its key: disjoint, together the whole, each of bounded size.

A range is either several neighbouring series (the candles of a market and timeframe are one) taken
whole, or a stretch of time of a single series. So a thousand small series are one query, and a
market with a billion trades is many; no row is counted off with OFFSET, and one that is written
while ranges are read belongs to one of them or to none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import StoreError
from engine.store.client import Store
from engine.store.columns import python_values

CELLS_PER_RANGE = 8
"""Into how many cells of time a stretch of the wanted size is counted, before cells are joined."""

_TIMES_BESIDE_THE_KEY: Mapping[str, str] = {"sentiment_scores": "scored_at"}
"""Tables whose key holds no time: what their rows are split by nevertheless. Every range then
looks at its whole series."""


@dataclass(frozen=True, slots=True)
class TableKey:
    """How a table is ordered."""

    table: str
    series: tuple[str, ...]
    """The text columns that lead its key: together they name a series."""
    time: str
    """The time that orders a series."""
    order: tuple[str, ...]
    """The whole key, as SQL."""
    has_versions: bool
    """Whether of several rows with one key the newest counts: it is read with FINAL."""
    has_coarse_inserts: bool
    """Whether ``inserted_at`` knows only whole seconds."""


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of a table's key."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    """The series from `first` to `last`, both included, in the order of the key."""
    start: int
    end: int
    """UTC nanoseconds of the table's time, ``[start, end)``; of all these series."""
    rows: int
    """How many rows there were when the range was made; earlier versions count too."""


def read_key(store: Store, table: str) -> TableKey:
    """Ask the store how a table is ordered.

    Raises
    ------
    StoreError
        Where the table is not there, or no time orders it.
    """
    found = store.query_arrow(
        "SELECT engine, sorting_key FROM system.tables "
        "WHERE database = currentDatabase() AND name = {table:String}",
        {"table": table},
    ).to_pylist()
    if not found:
        raise StoreError(f"the store has no table {table}; engine up and every job make it")
    types = _types(store, table)
    order = tuple(_expressions(found[0]["sorting_key"]))
    series: list[str] = []
    time = _TIMES_BESIDE_THE_KEY.get(table, "")
    for each in order:
        kind = types.get(each, "")
        if kind.startswith("DateTime"):
            time = each
        if "String" not in kind:
            break
        series.append(each)
    if not time:
        raise StoreError(f"table {table} cannot be split into ranges: no time orders it")
    if time not in order:
        series = series[:-1]  # the last one names the row, not a series
    return TableKey(
        table=table,
        series=tuple(series),
        time=time,
        order=order,
        has_versions="Replacing" in found[0]["engine"],
        has_coarse_inserts=types.get("inserted_at", "").startswith("DateTime("),
    )


def _types(store: Store, table: str) -> dict[str, str]:
    found = store.query_arrow(
        "SELECT name, type FROM system.columns "
        "WHERE database = currentDatabase() AND table = {table:String}",
        {"table": table},
    )
    return dict(zip(*(found.column(name).to_pylist() for name in ("name", "type")), strict=True))


def _expressions(sorting_key: str) -> Iterator[str]:
    """Split a sorting key at the commas that are not within parentheses."""
    depth, word = 0, ""
    for letter in sorting_key:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            yield word.strip()
            word = ""
        else:
            word += letter
    if word.strip():
        yield word.strip()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a table are wanted.

    Parameters
    ----------
    key
        The table's.
    start, end
        UTC nanoseconds of its time, ``[start, end)``.
    inserted_before
        UTC nanoseconds: rows written from then on do not count, in a table without versions.
    where
        A further condition in SQL, values as ``{name:Type}``.
    parameters
        Their values.
    """

    key: TableKey
    start: int
    end: int
    inserted_before: int
    where: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def and_where(self, condition: str, parameters: Mapping[str, Any]) -> Selection:
        """Return the selection of those rows that meet one more condition."""
        where = f"({self.where}) AND ({condition})" if self.where else condition
        return replace(self, where=where, parameters={**self.parameters, **parameters})

    def query(
        self, columns: Sequence[str], each: Range | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Return the query for a range's rows (for all of them where none is given)."""
        sql, parameters = self._where(each)
        final = " FINAL" if self.key.has_versions else ""
        return (
            f"SELECT {', '.join(columns)} FROM {self.key.table}{final} WHERE {sql} "
            f"ORDER BY {', '.join(self.key.order)}",
            parameters,
        )

    def sample(self, columns: Sequence[str], rows: int) -> tuple[str, dict[str, Any]]:
        """Return a query for any few rows."""
        sql, parameters = self._where(None)
        wanted = ", ".join(columns)
        return f"SELECT {wanted} FROM {self.key.table} WHERE {sql} LIMIT {rows:d}", parameters

    def ranges(self, store: Store, rows: int) -> list[Range]:
        """Cut it into ranges of at most `rows` rows each, in the order of the key.

        Only rows that share one moment of one series are never parted.
        """
        found: list[Range] = []
        for each in packed(self._series(store), rows):
            found += [each] if each.rows <= rows else self._cut(store, each, rows)
        return found

    def _series(self, store: Store) -> Iterator[Range]:
        """Count the rows of every series."""
        sql, parameters = self._where(None)
        names = ", ".join(self.key.series)
        grouped = f"GROUP BY {names} ORDER BY {names}" if names else "HAVING count() > 0"
        found = store.query_arrow(
            f"SELECT {names + ', ' if names else ''}count() AS _rows "
            f"FROM {self.key.table} WHERE {sql} {grouped}",
            parameters,
        )
        counts = found.column("_rows").to_pylist()
        prefixes = [found.column(name).to_pylist() for name in self.key.series]
        for number, rows in enumerate(counts):
            series = tuple(column[number] for column in prefixes)
            yield Range(series, series, self.start, self.end, rows)

    def _cut(self, store: Store, each: Range, rows: int) -> Iterator[Range]:
        """Cut a stretch of one series that is too large, by counting it in cells of time."""
        sql, parameters = self._where(each)
        moment = f"toUnixTimestamp64Nano(toDateTime64({self.key.time}, 9, 'UTC'))"
        table = self.key.table
        (held,) = store.query_arrow(
            f"SELECT min({moment}) AS _low, max({moment}) AS _high FROM {table} WHERE {sql}",
            parameters,
        ).to_pylist()
        low, high = held["_low"], held["_high"]
        if low >= high:
            yield each
            return
        cells = -(-each.rows * CELLS_PER_RANGE // rows)
        width = -(-(high - low + 1) // cells)
        found = store.query_arrow(
            f"SELECT intDiv({moment} - {{_low:Int64}}, {{_width:Int64}}) AS _cell, "
            f"count() AS _rows FROM {table} WHERE {sql} GROUP BY _cell ORDER BY _cell",
            {**parameters, "_low": low, "_width": width},
        )
        counted = zip(*(python_values(found.column(n)) for n in ("_cell", "_rows")), strict=True)
        for part in joined(each, low, width, counted, rows):
            yield from [part] if part.rows <= rows else self._cut(store, part, rows)

    def _where(self, each: Range | None) -> tuple[str, dict[str, Any]]:
        start, end = (self.start, self.end) if each is None else (each.start, each.end)
        time = self.key.time
        conditions = [
            f"{time} >= fromUnixTimestamp64Nano({{_start:Int64}})",
            f"{time} < fromUnixTimestamp64Nano({{_end:Int64}})",
        ]
        parameters = {**self.parameters, "_start": start, "_end": end}
        if each is not None:
            conditions += self._within(each, parameters)
        if not self.key.has_versions:
            conditions.append("inserted_at < fromUnixTimestamp64Nano({_before:Int64})")
            parameters["_before"] = self.inserted_before
        if self.where:
            conditions.append(f"({self.where})")
        return " AND ".join(conditions), parameters

    def _within(self, each: Range, parameters: dict[str, Any]) -> Iterator[str]:
        """Bound the series of a range.

        ClickHouse finds no rows by comparing tuples (its index stays unused), so the first
        column in which the bounds differ is compared by itself too.
        """
        names = self.key.series
        differs = next(
            (n for n, (a, b) in enumerate(zip(each.first, each.last, strict=True)) if a != b), None
        )
        for number, name in enumerate(names[:differs]):
            yield f"{name} = {{_first{number}:String}}"
            parameters[f"_first{number}"] = each.first[number]
        if differs is None:
            return
        rest = range(differs, len(names))
        for bound, values in (("_first", each.first), ("_last", each.last)):
            sign = ">=" if bound == "_first" else "<="
            given = ", ".join(f"{{{bound}{number}:String}}" for number in rest)
            parameters.update({f"{bound}{number}": values[number] for number in rest})
            yield f"{names[differs]} {sign} {{{bound}{differs}:String}}"
            yield f"({', '.join(names[differs:])}) {sign} ({given})"


def packed(series: Iterable[Range], rows: int) -> Iterator[Range]:
    """Join neighbouring series while they have at most `rows` rows together.

    Examples
    --------
    >>> small = [Range((name,), (name,), 0, 9, 2) for name in "abc"]
    >>> [(each.first, each.last, each.rows) for each in packed(small, 4)]
    [(('a',), ('b',), 4), (('c',), ('c',), 2)]
    """
    last: Range | None = None
    for each in series:
        if last is not None and last.rows + each.rows <= rows:
            last = replace(last, last=each.last, rows=last.rows + each.rows)
            continue
        if last is not None:
            yield last
        last = each
    if last is not None:
        yield last


def joined(
    whole: Range, low: int, width: int, cells: Iterable[tuple[int, int]], rows: int
) -> Iterator[Range]:
    """Join neighbouring cells of time while they have at most `rows` rows together.

    Parameters
    ----------
    whole
        What is cut; the ranges cover it without a gap.
    low, width
        Cell n is ``[low + n * width, low + (n + 1) * width)``, UTC nanoseconds.
    cells
        Number and rows of each that has any, ascending.
    rows
        Most rows of a range that holds more than one cell.

    Examples
    --------
    >>> whole = Range((), (), 0, 100, 7)
    >>> [(e.start, e.end, e.rows) for e in joined(whole, 10, 5, [(0, 2), (1, 2), (9, 3)], 4)]
    [(0, 55, 4), (55, 100, 3)]
    """
    start, held = whole.start, 0
    for cell, count in cells:
        if held and held + count > rows:
            edge = low + cell * width
            yield replace(whole, start=start, end=edge, rows=held)
            start, held = edge, 0
        held += count
    yield replace(whole, start=start, end=whole.end, rows=held)
