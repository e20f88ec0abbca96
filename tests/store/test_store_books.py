"""L2 books in the store, and what a feature worker that starts asks of it."""

from __future__ import annotations

from math import isnan, nan

import msgspec
import pytest
from store_samples import HOUR, T0, book_snapshot, features

from engine.actors.stored_books import LATEST_NS, stored_books
from engine.clock import NS_PER_S
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot
from engine.domain.timeframe import Timeframe
from engine.features.books import BOOK_FEATURE_NAMES, BarBook
from engine.features.catalogue import FEATURE_NAMES, FEATURE_VERSION
from engine.store.client import Store
from engine.store.reader import Reader

BTC, ETH = Market("okx", "BTC-USDT"), Market("okx", "ETH-USDT")
START = Timeframe.H1.segment_start(T0)


def book(as_of: int, market: Market = BTC, spread: float = 1.0) -> BookSnapshot:
    return msgspec.structs.replace(
        book_snapshot(1), exchange=market.exchange, instrument=market.instrument, as_of=as_of,
        spread_bps=spread,
    )  # fmt: skip


def row(
    open_time: int, spread: float, market: Market = BTC, version: str = FEATURE_VERSION
) -> FeatureRow:
    """A stored row with only a book's values, NaN where `spread` is."""
    values = [nan] * len(FEATURE_NAMES)
    for name, value in zip(BOOK_FEATURE_NAMES, (spread, 0.5, 2.0), strict=True):
        values[FEATURE_NAMES.index(name)] = nan if isnan(spread) else value
    return msgspec.structs.replace(
        features(0), exchange=market.exchange, instrument=market.instrument, open_time=open_time,
        close_time=open_time + HOUR, values=tuple(values), version=version,
    )  # fmt: skip


def test_book_snapshots_come_back_to_the_bit_in_a_half_open_range(store: Store) -> None:
    rows = [book(START + n, spread=1 / (n + 3)) for n in (3, 1, 2, 4)]
    store.insert("book_snapshots", [*rows, book(START + 2, ETH)])
    store.insert("book_snapshots", [rows[1]])
    expected = sorted(rows, key=lambda each: each.as_of)
    assert Reader(store).book_snapshots(*BTC, START + 1, START + 4) == expected[:3]
    assert Reader(store).book_snapshots("okx", "XRP-USDT", START, START + 9) == []


def test_book_snapshot_of_redundant_streams_is_the_freshest_whoever_wrote_first(
    store: Store,
) -> None:
    fresh, older = book(START, spread=2.0), book(START)
    older = msgspec.structs.replace(older, receive_time=fresh.receive_time - 1)
    store.insert("book_snapshots", [fresh, msgspec.structs.replace(older, as_of=START + 1)])
    store.insert("book_snapshots", [older, msgspec.structs.replace(fresh, as_of=START + 1)])
    found = Reader(store).book_snapshots(*BTC, START, START + 2)
    assert found == [fresh, msgspec.structs.replace(fresh, as_of=START + 1)]


def test_last_book_snapshots_are_the_last_up_to_the_end_of_each_interval(store: Store) -> None:
    moments = [START, START + 1, START + 5, START + HOUR, START + HOUR + 1, START + 3 * HOUR]
    store.insert("book_snapshots", [book(at, market) for at in moments for market in (BTC, ETH)])
    found = Reader(store).last_book_snapshots([BTC], HOUR, START + 1, START + 3 * HOUR)
    assert found == [book(START + HOUR), book(START + HOUR + 1)]
    both = Reader(store).last_book_snapshots([ETH, BTC], HOUR, 0, START + 4 * HOUR)
    for market in (BTC, ETH):
        of_market = [each for each in both if each.instrument == market.instrument]
        assert of_market == [book(moments[n], market) for n in (0, 3, 4, 5)]
    assert Reader(store).last_book_snapshots([], HOUR, 0, START) == []


def test_feature_values_are_of_one_catalogue_and_nan_where_missing(store: Store) -> None:
    rows = [
        row(START, 3.0),
        row(START + HOUR, nan),
        row(START, 4.0, ETH),
        row(START, 5.0, Market("okx", "XRP-USDT")),
        row(START + 2 * HOUR, 6.0, version="older"),
        row(START + 3 * HOUR, 7.0),
    ]
    store.insert("features", rows)
    found = Reader(store).feature_values(
        [BTC, ETH], "1h", BOOK_FEATURE_NAMES, FEATURE_VERSION, START, START + 3 * HOUR
    )
    assert [(market, time) for market, time, _ in found] == [
        (BTC, START), (BTC, START + HOUR), (ETH, START),
    ]  # fmt: skip
    assert found[0][2] == (3.0, 0.5, 2.0)
    assert all(map(isnan, found[1][2]))
    assert Reader(store).feature_values([], "1h", (), FEATURE_VERSION, 0, START) == []


def test_feature_values_of_an_unknown_feature_raise(store: Store) -> None:
    with pytest.raises(ValueError, match="'nothing' is no feature of the catalogue"):
        Reader(store).feature_values([BTC], "1h", ("nothing",), FEATURE_VERSION, 0, START)


def test_stored_books_are_of_the_rows_and_of_the_newest_snapshots(store: Store) -> None:
    third = START + 2 * HOUR
    store.insert("features", [row(START, 3.0), row(START + HOUR, nan), row(third, 4.0)])
    snapshots = [
        book(START + 9, spread=9.0),  # the row of its bar says what counts
        book(third + HOUR - LATEST_NS - 1, spread=5.0),
        book(third + HOUR, spread=6.0),
        book(third + HOUR + NS_PER_S, spread=7.0),
    ]
    store.insert("book_snapshots", snapshots)
    end = third + HOUR + NS_PER_S
    stored = stored_books(Reader(store), [BTC, ETH], Timeframe.H1, START, end)
    assert stored.keys() == {BTC}
    assert stored[BTC].known == {
        START: BarBook(START + HOUR, 0, 3.0, 0.5, 2.0),
        third: BarBook(0, 0, 4.0, 0.5, 2.0),
    }
    assert stored[BTC].fresh == snapshots[2:]


def test_stored_books_of_a_market_without_rows_are_of_its_snapshots(store: Store) -> None:
    store.insert("features", [row(START, 3.0)])
    store.insert("book_snapshots", [book(START + n * HOUR, ETH, float(n)) for n in range(4)])
    stored = stored_books(Reader(store), [BTC, ETH], Timeframe.H1, START, START + 9 * HOUR)
    spreads = {time: found.spread_bps for time, found in stored[ETH].known.items()}
    assert spreads == {START - HOUR: 0.0, START: 1.0, START + HOUR: 2.0, START + 2 * HOUR: 3.0}
    assert stored[ETH].fresh == []
