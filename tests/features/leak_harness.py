"""What every feature and label has to stand: nothing known later changes what was known before.

A run is told as rows: what each says, and when it was known. The same run over a world whose
future is cut off, poisoned, or arrives late must tell the same of everything known by then.

    from tests.features.leak_harness import cut, leaks, poisoned
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import msgspec

from engine.domain.market import BookSnapshot, Candle

NOISE = (float("nan"), 1e12)
"""What the future is replaced with."""


@dataclass(frozen=True, slots=True)
class Known:
    """One row of a run."""

    known_at: int
    """UTC nanoseconds."""
    values: tuple[float | None, ...]
    """In an order of its own, the same for every row."""


Rows = Mapping[Hashable, Known]
"""By whatever tells rows apart: a market and a bar."""


def leaks(whole: Rows, other: Rows, moment: int) -> set[int]:
    """Columns of which `other` tells something else, known by `moment`, than `whole`.

    A row that only one of them has counts for every column, as does a missing value against one
    that is there. Bits are compared, not numbers.
    """
    found: set[int] = set()
    for key in whole.keys() | other.keys():
        rows = [rows[key] for rows in (whole, other) if key in rows]
        if all(row.known_at > moment for row in rows):
            continue
        if len(rows) == 1:
            found.update(range(len(rows[0].values)))
            continue
        pairs = zip(rows[0].values, rows[1].values, strict=True)
        found.update(index for index, (one, two) in enumerate(pairs) if _bits(one) != _bits(two))
    return found


def told_after(whole: Rows, other: Rows, moment: int) -> set[int]:
    """Columns that differ in a row known after `moment`: those that such a change can reach."""
    later = [
        {key: Known(0, row.values) for key, row in rows.items() if row.known_at > moment}
        for rows in (whole, other)
    ]
    shared = later[0].keys() & later[1].keys()
    return leaks({k: later[0][k] for k in shared}, {k: later[1][k] for k in shared}, 0)


def cut(candles: Iterable[Candle], moment: int) -> list[Candle]:
    """The candles that were over at a moment."""
    return [candle for candle in candles if candle.close_time <= moment]


def cut_books(books: Iterable[BookSnapshot], moment: int) -> list[BookSnapshot]:
    """The snapshots that were taken by a moment."""
    return [book for book in books if book.as_of <= moment]


_NUMBERS = (
    "open", "high", "low", "close", "volume", "quote_volume", "vwap", "twap", "taker_buy_volume",
)  # fmt: skip


def poisoned(candles: Iterable[Candle], moment: int, noise: float) -> list[Candle]:
    """Candles whose numbers are noise where they were not over at a moment."""
    bad = dict.fromkeys(_NUMBERS, noise)
    return [
        candle if candle.close_time <= moment else msgspec.structs.replace(candle, **bad)
        for candle in candles
    ]


def poisoned_books(books: Iterable[BookSnapshot], moment: int, noise: float) -> list[BookSnapshot]:
    """Snapshots that tell noise where they were taken after a moment."""
    bad = {"spread_bps": noise, "imbalance": noise, "microprice": noise}
    return [
        book if book.as_of <= moment else msgspec.structs.replace(book, **bad) for book in books
    ]


def without(candles: Sequence[Candle], open_time: int) -> list[Candle]:
    """Candles without the one that came late."""
    return [candle for candle in candles if candle.open_time != open_time]


def _bits(value: float | None) -> bytes | None:
    return None if value is None or isnan(value) else struct.pack(">d", value)
