"""Blocks of rows of a size that suits an insert."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa


def sized(tables: Iterable[pa.Table], most_bytes: int) -> Iterator[pa.Table]:
    """Join tables that are small and cut those that are large; empty ones are left out.

    Parameters
    ----------
    tables
        Neighbours of equal columns are joined, in their order.
    most_bytes
        What a table aims at.
    """
    waiting: list[pa.Table] = []
    held = 0
    for table in tables:
        if not table.num_rows:
            continue
        if waiting and (
            held + table.nbytes > most_bytes or not table.schema.equals(waiting[0].schema)
        ):
            yield from _cut(pa.concat_tables(waiting), most_bytes)
            waiting, held = [], 0
        waiting.append(table)
        held += table.nbytes
    if waiting:
        yield from _cut(pa.concat_tables(waiting), most_bytes)


def _cut(table: pa.Table, most_bytes: int) -> Iterator[pa.Table]:
    """Cut a table into even parts; one that is hardly too large stays whole."""
    parts = max(1, round(table.nbytes / most_bytes))
    rows = -(-table.num_rows // parts)
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)
