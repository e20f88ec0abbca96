"""Arrow rows as a table of ours takes them: its columns, its types, nothing turned in silence.

ClickHouse is generous with what it is given: a missing value becomes 0, a naive time becomes UTC, a
number becomes text. Here each of these is an error that names the table and the column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import StoreError
from engine.store.client import Store
from engine.store.tables import table_named

_SMALL = {
    "Int8": pa.int8(),
    "Int16": pa.int16(),
    "Int32": pa.int32(),
    "UInt8": pa.uint8(),
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "Float32": pa.float32(),
}
"""Types that the store keeps smaller than our structs do; sent so, they are a fraction of the
bytes and need no turning there."""


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column as rows for it are sent."""

    table: str
    name: str
    type: pa.DataType
    is_nullable: bool

    def fitted(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return values as this column takes them.

        Raises
        ------
        StoreError
            Where they do not fit it.
        """
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if not _may_become(values.type, self.type):
            hint = ": give it a time zone" if _is_naive(values.type) else ""
            raise self._refusal(f"takes {self.type}, not {values.type}{hint}")
        if pa.types.is_floating(values.type):
            values = self._without_nan(values)
        if values.null_count and not self.is_nullable:
            raise self._refusal(f"must have a value, and {values.null_count:,} rows have none")
        if values.type == self.type:
            return values
        try:
            return values.cast(self.type)
        except pa.ArrowException as error:
            raise self._refusal(f"cannot hold a value: {error}") from error

    def missing(self, rows: int) -> pa.ChunkedArray:
        """Return the column of rows that do not have it."""
        if not self.is_nullable:
            raise StoreError(f"rows for table {self.table} lack its column {self.name!r}")
        return pa.chunked_array([pa.nulls(rows, self.type)])

    def _without_nan(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Turn NaN, a value that is missing, into NULL, so that SQL's averages leave it out."""
        wrong = pc.is_nan(values)
        if not pc.any(wrong).as_py():
            return values
        return pc.if_else(wrong, pa.scalar(None, values.type), values)

    def _refusal(self, why: str) -> StoreError:
        return StoreError(f"column {self.name} of table {self.table} {why}")


class TypedRows:
    """Makes rows fit a table.

    Parameters
    ----------
    table
        Its name.
    columns
        Its columns, in its order.

    Examples
    --------
    >>> typed = TypedRows.of(store, "candles")                              # doctest: +SKIP
    >>> store.insert_arrow("candles", typed.fitted(rows))                   # doctest: +SKIP
    """

    def __init__(self, table: str, columns: Sequence[StoredColumn]) -> None:
        self.table = table
        self.columns = tuple(columns)

    @classmethod
    def of(cls, store: Store, table: str) -> TypedRows:
        """Ask the store how it keeps the columns that we declare.

        Raises
        ------
        StoreError
            Where it lacks the table or one of the columns.
        """
        declared = table_named(table).columns
        found = store.query_arrow(
            "SELECT name, type FROM system.columns "
            "WHERE database = currentDatabase() AND table = {table:String}",
            {"table": table},
        )
        names, types = (found.column(name).to_pylist() for name in ("name", "type"))
        held = dict(zip(names, types, strict=True))
        columns = []
        for column in declared:
            kind = held.get(column.name)
            if kind is None:
                what = f"column {column.name} of table {table}" if held else f"table {table}"
                raise StoreError(f"the store has no {what}; engine up and every job make it")
            bare = kind.removeprefix("Nullable(").removesuffix(")")
            columns.append(
                StoredColumn(
                    table, column.name, _SMALL.get(bare, column.type), kind.startswith("Nullable(")
                )
            )
        return cls(table, columns)

    def fitted(self, rows: pa.Table) -> pa.Table:
        """Return rows with the table's columns, in its order and types.

        Parameters
        ----------
        rows
            Columns by name; those that may be NULL may be left out.

        Raises
        ------
        StoreError
            Where a column is missing, is not one of the table's, or does not fit its type.
        """
        given = rows.column_names
        unknown = sorted(set(given) - {column.name for column in self.columns})
        if unknown:
            raise StoreError(f"table {self.table} has no column {unknown[0]!r}")
        arrays = [
            column.fitted(rows.column(column.name))
            if column.name in given
            else column.missing(rows.num_rows)
            for column in self.columns
        ]
        return pa.table(arrays, names=[column.name for column in self.columns])


def _is_naive(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) and kind.tz is None


_KINDS: Sequence[Callable[[pa.DataType], bool]] = (
    lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
    lambda kind: (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    ),
    lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind),
    lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
    pa.types.is_boolean,
)
"""Within a kind, values stay what they are; a cast that would lose something is refused then."""


def _may_become(given: pa.DataType, wanted: pa.DataType) -> bool:
    if given == wanted or pa.types.is_null(given):
        return True
    if pa.types.is_list(wanted):
        return (pa.types.is_list(given) or pa.types.is_large_list(given)) and _may_become(
            given.value_type, wanted.value_type
        )
    return any(kind(given) and kind(wanted) for kind in _KINDS)
