"""Columns of a table: a struct's field, and how Arrow holds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pyarrow as pa

TIME = pa.timestamp("ns", "UTC")
"""Every time: UTC nanoseconds, with its zone, so that no client guesses one."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Parameters
    ----------
    name
        Its name in the table.
    type
        Its Arrow type.
    take
        Reads the value out of a row; a time as an int of nanoseconds.
    """

    name: str
    type: pa.DataType
    take: Callable[[Any], object]

    def to_arrow(self, rows: Sequence[Any]) -> pa.Array:
        """Return the column of `rows`."""
        values = list(map(self.take, rows))
        if self.type == TIME:
            return pa.array(values, pa.int64()).cast(TIME)
        return pa.array(values, self.type)

    def from_arrow(self, array: pa.ChunkedArray) -> list[Any]:
        """Return the column's values as a query gave them."""
        if self.type == pa.binary():
            # ClickHouse's String is bytes, and travels as text: not all bytes are.
            array = array.cast(pa.binary())
        return python_values(array)


def time(name: str) -> Column:
    """Declare nanoseconds since 1970, UTC; None allowed where the struct allows it."""
    return Column(name, TIME, attrgetter(name))


def text(name: str) -> Column:
    """Declare text."""
    return Column(name, pa.string(), attrgetter(name))


def number(name: str) -> Column:
    """Declare a float; None stays null, NaN stays NaN."""
    return Column(name, pa.float64(), attrgetter(name))


def integer(name: str) -> Column:
    """Declare an integer of 64 bits."""
    return Column(name, pa.int64(), attrgetter(name))


def boolean(name: str) -> Column:
    """Declare true or false."""
    return Column(name, pa.bool_(), attrgetter(name))


def raw(name: str) -> Column:
    """Declare bytes."""
    return Column(name, pa.binary(), attrgetter(name))


def texts(name: str) -> Column:
    """Declare a list of texts."""
    return Column(name, pa.list_(pa.string()), attrgetter(name))


def numbers(name: str) -> Column:
    """Declare a list of floats."""
    return Column(name, pa.list_(pa.float64()), attrgetter(name))


def part(name: str, path: str, kind: pa.DataType) -> Column:
    """Declare a field of a field: ``part("agreement", "confidence_parts.agreement", float64)``."""
    return Column(name, kind, attrgetter(path))


def parts(name: str, path: str, kind: pa.DataType) -> Column:
    """Declare one field of each struct in a tuple, as a list."""
    outer, _, inner = path.partition(".")
    return Column(
        name, pa.list_(kind), lambda row: [getattr(each, inner) for each in getattr(row, outer)]
    )


def python_values(array: pa.ChunkedArray) -> list[Any]:
    """Return a column's values as Python's; times as ints of nanoseconds."""
    if pa.types.is_timestamp(array.type):
        return list(array.cast(TIME).cast(pa.int64()).to_pylist())
    if pa.types.is_dictionary(array.type):
        return list(array.cast(array.type.value_type).to_pylist())
    return list(array.to_pylist())
