"""What a table is: rows of one struct, as Arrow columns, there and back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from engine.errors import StoreError
from engine.store.columns import Column

_UNFIT = (pa.ArrowException, ArithmeticError, LookupError, TypeError, ValueError)
"""What a value raises that its column cannot hold: too large, of another type, no valid text."""


def _same(values: dict[str, Any]) -> dict[str, Any]:
    return values


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the store.

    Parameters
    ----------
    name
        Its name.
    row
        The struct of its rows.
    columns
        Its columns, in the order they are written.
    build
        Turns a row's column values into the struct's fields.
    """

    name: str
    row: type[msgspec.Struct]
    columns: tuple[Column, ...]
    build: Callable[[dict[str, Any]], dict[str, Any]] = _same

    def to_arrow(self, rows: Sequence[msgspec.Struct]) -> pa.Table:
        """Return rows as Arrow columns.

        Raises
        ------
        StoreError
            Where a row is of another struct, or a value does not fit its column.
        """
        for kind in set(map(type, rows)):
            if kind is not self.row:
                raise StoreError(
                    f"table {self.name} takes {self.row.__name__} rows, not {kind.__name__}"
                )
        try:
            arrays = [column.to_arrow(rows) for column in self.columns]
        except _UNFIT as error:
            raise StoreError(f"a row does not fit table {self.name}: {error}") from error
        return pa.table(arrays, names=[column.name for column in self.columns])

    def from_arrow(self, table: pa.Table) -> list[Any]:
        """Return Arrow columns, as a query of `select` gives them, as rows."""
        names = [column.name for column in self.columns]
        series = [column.from_arrow(table.column(column.name)) for column in self.columns]
        return [
            self.row(**self.build(dict(zip(names, values, strict=True))))
            for values in zip(*series, strict=True)
        ]

    @property
    def select(self) -> str:
        """The columns, for a query whose answer `from_arrow` reads."""
        return ", ".join(f"`{column.name}`" for column in self.columns)


def content_token(table: str, rows: pa.Table) -> str:
    """Return a deduplication token that two batches share only where all they hold is equal.

    Examples
    --------
    >>> first = pa.table({"a": [1, 2]})
    >>> content_token("t", first) == content_token("t", pa.table({"a": [1, 2]}))
    True
    >>> content_token("t", first) == content_token("t", pa.table({"a": [1, 3]}))
    False
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows.combine_chunks())
    digest = hashlib.blake2b(table.encode(), digest_size=16)
    digest.update(sink.getvalue())
    return digest.hexdigest()
