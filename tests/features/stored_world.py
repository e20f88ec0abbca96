"""A small world of candles and books, stored, and the features that the batch run makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from engine.actors.bar_series import BarSeries, NewRow
from engine.domain.delisting import Delisting
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot, Candle, Listing
from engine.domain.timeframe import Timeframe
from engine.features.books import bar_of
from engine.features.catalogue import FEATURE_NAMES
from engine.features.cross_section import fill_cross_section
from engine.features.grid import Bar
from engine.features.live import LiveFeatures
from engine.features.rows import feature_row
from engine.store.client import Store
from engine.store.columns import python_values
from engine.store.feature_plan import Scope, plan_units
from engine.store.feature_segments import new_rows, same_bits
from tests.features.leak_harness import Known

DAY_NS = Timeframe.D1.ns
SCOPE = Scope(configured=(), reference="BTC", silence_ns=7 * DAY_NS, begin=0, end=2**62)
NOW = 2**61


@dataclass(frozen=True, slots=True)
class World:
    """Everything that features are made of."""

    candles: Sequence[Candle]
    books: Sequence[BookSnapshot] = ()
    listings: Sequence[Listing] = field(default=())


def candles_of(
    market: Market, bars: Iterable[Bar], timeframe: Timeframe = Timeframe.H1
) -> list[Candle]:
    """Candles of bars; flat bars, of intervals without trades, have none."""
    return [
        Candle(
            *market, timeframe.value, bar.open_time, bar.open_time + timeframe.ns, bar.open,
            bar.high, bar.low, bar.close, bar.volume, quote_volume=None, trade_count=None,
            vwap=_known(bar.vwap), twap=_known(bar.twap),
            taker_buy_volume=_known(bar.taker_buy_volume), source="trades", is_closed=True,
            version=bar.open_time + timeframe.ns,
        )
        for bar in bars
        if not bar.filled
    ]  # fmt: skip


def _known(value: float) -> float | None:
    return None if value != value else value


def put(store: Store, world: World) -> None:
    """Store a world in place of what was there."""
    for table in ("candles", "book_snapshots", "instruments", "features", "job_blocks"):
        store.command(f"TRUNCATE TABLE {table}")
    store.insert("candles", world.candles)
    store.insert("book_snapshots", world.books)
    store.insert("instruments", world.listings)


def made_of(
    store: Store, timeframe: Timeframe = Timeframe.H1, scope: Scope = SCOPE
) -> dict[tuple[Market, int], Known]:
    """The batch run's rows of all that is stored, by market and open time."""
    rows: dict[tuple[Market, int], Known] = {}
    for unit in plan_units(store, timeframe, scope):
        table = new_rows(store, replace(unit, stored=0), NOW).rows
        names = ("exchange", "instrument", "open_time", "available_at", *FEATURE_NAMES)
        columns = [python_values(table.column(name)) for name in names]
        for exchange, instrument, open_time, known_at, *values in zip(*columns, strict=True):
            rows[(Market(exchange, instrument), open_time)] = Known(known_at, tuple(values))
    return rows


def live_of(
    candles: Iterable[Candle],
    timeframe: Timeframe,
    reference: Market,
    books: Iterable[BookSnapshot] = (),
    delisted: Mapping[Market, Delisting] | None = None,
) -> dict[tuple[Market, int], tuple[float, ...]]:
    """What the live run stores of a replay of candles, bar by bar, ranks included."""
    waiting: dict[int, list[Candle]] = {}
    for candle in candles:
        waiting.setdefault(candle.open_time, []).append(candle)
    taken: dict[int, list[BookSnapshot]] = {}
    for book in books:
        taken.setdefault(bar_of(book.as_of, timeframe), []).append(book)
    markets = dict.fromkeys(
        [reference, *(Market(c.exchange, c.instrument) for its in waiting.values() for c in its)]
    )
    series = {
        m: BarSeries(LiveFeatures(m, timeframe, m == reference), SCOPE.silence_ns) for m in markets
    }
    for market, its in (delisted or {}).items():
        series[market].delisting = its
    rows: dict[tuple[Market, int], tuple[float, ...]] = {}
    for open_time in range(min(waiting), max(waiting) + 1, timeframe.ns):
        for candle in waiting.get(open_time, ()):
            series[Market(candle.exchange, candle.instrument)].take(candle)
        for book in taken.get(open_time, ()):
            series[Market(book.exchange, book.instrument)].take_books([book])
        made: list[NewRow] = []
        for market, its in series.items():
            beside = None if market == reference else series[reference]
            made += its.advance(open_time + timeframe.ns, beside)
        for row in fill_cross_section([_row(each) for each in made]):
            rows[Market(row.exchange, row.instrument), row.open_time] = row.values
    return rows


def _row(row: NewRow) -> FeatureRow:
    close_time = row.open_time + row.timeframe.ns
    return feature_row(
        row.market, row.timeframe, row.open_time, row.close, row.values, available_at=close_time,
        last_receive_time=close_time, is_closed=True,
    )  # fmt: skip


def stored_rows(store: Store) -> dict[tuple[Market, int], tuple[float, ...]]:
    """The rows of features that are stored, as `live_of` tells them."""
    found = {}
    names = ("exchange", "instrument", "open_time", *FEATURE_NAMES)
    wanted = ", ".join(f"`{name}`" for name in names)
    table = store.query_arrow(f"SELECT {wanted} FROM features FINAL")
    columns = [python_values(table.column(name)) for name in names]
    for exchange, instrument, open_time, *values in zip(*columns, strict=True):
        numbers = tuple(math.nan if value is None else float(value) for value in values)
        found[Market(exchange, instrument), open_time] = numbers
    return found


def same(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Say whether two rows hold the same bits; missing equals missing."""
    return bool(same_bits(np.array([first]), np.array([second])).all())
