"""The audit of live rows against the batch run, with differences planted."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from engine.clock import parse_iso_utc
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.job import JobRun
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_INDEX
from engine.features.rows import feature_row
from engine.store.feature_plan import plan_units
from engine.store.feature_segments import new_rows
from engine.store.parity import ROW, audit, bits
from tests.features.conftest import random_books, random_walk
from tests.features.stored_world import NOW, SCOPE, World, candles_of, live_of, put

H1 = Timeframe.H1
START = parse_iso_utc("2024-02-10T00:00:00Z")
MARCH = parse_iso_utc("2024-03-01T00:00:00Z")
BARS = 25 * 24
END = START + BARS * H1.ns
BTC, ETH = Market("binance", "BTC-USDT"), Market("binance", "ETH-USDT")
LAST_DAYS = replace(SCOPE, begin=MARCH - 24 * H1.ns)


@pytest.fixture(scope="module")
def world() -> World:
    candles = [
        *candles_of(BTC, random_walk(1, BARS, start_ns=START)),
        *candles_of(ETH, random_walk(2, BARS, start_ns=START, quiet=0.2)),
    ]
    return World(candles, random_books(1, BARS, start_ns=START, instrument="ETH-USDT"))


@pytest.fixture(scope="module")
def live(world) -> list[FeatureRow]:
    """What the live run stored since a day before the month ended."""
    rows = live_of(world.candles, H1, BTC, world.books)
    return [
        feature_row(
            market, H1, time, 1.0, values, available_at=time + H1.ns + 5,
            last_receive_time=time + H1.ns, is_closed=True,
        )
        for (market, time), values in rows.items()
        if time >= LAST_DAYS.begin
    ]  # fmt: skip


def stored(store, world, rows):
    put(store, world)
    store.insert("features", rows)
    return audit(store, H1, LAST_DAYS)


def test_audit_of_what_live_stored_is_equal(store, world, live):
    found = stored(store, world, live)
    assert found.is_equal
    assert (found.rows, found.batch_rows, found.missing_rows) == (len(live), 0, 0)
    assert found.as_json()["equal"] is True


@pytest.mark.parametrize("feature", ["ema_9", "book_imbalance", "rank_return_24"])
def test_audit_names_feature_bar_market_and_bits_of_a_last_bit_that_differs(
    store, world, live, feature
):
    index = FEATURE_INDEX[feature]
    place = next(
        n for n, row in enumerate(live)
        if row.instrument == "ETH-USDT" and not np.isnan(row.values[index])
    )  # fmt: skip
    row = live[place]
    values = list(row.values)
    values[index] = float(np.nextafter(values[index], np.inf))
    spoiled = [
        *live[:place],
        msgspec.structs.replace(row, values=tuple(values)),
        *live[place + 1 :],
    ]
    found = stored(store, world, spoiled)
    assert (found.differing_rows, found.differing_values) == (1, 1)
    (difference,) = found.as_json()["differences"]
    assert difference["exchange"] == "binance"
    assert difference["instrument"] == "ETH-USDT"
    assert difference["feature"] == feature
    assert found.differences[0].open_time == row.open_time
    assert difference["stored_bits"] == bits(values[index])
    assert difference["recomputed_bits"] == bits(row.values[index])
    assert int(difference["stored_bits"], 16) - int(difference["recomputed_bits"], 16) in (1, -1)


def test_audit_where_a_candle_was_corrected_since_tells_which_rows_it_changed(store, world, live):
    put(store, world)
    store.insert("features", live)
    last = world.candles[BARS - 2]
    assert last.instrument == "BTC-USDT"
    store.insert("candles", [msgspec.structs.replace(last, close=last.low,
                                                     version=last.version + 1)])  # fmt: skip
    found = audit(store, H1, LAST_DAYS)
    assert not found.is_equal
    assert {each.open_time for each in found.differences} == {last.open_time, END - H1.ns}
    assert {each.market for each in found.differences} == {BTC, ETH}
    assert found.differing_rows == 4
    assert found.differing_values > len(found.differences)


def test_audit_of_a_row_without_a_candle_says_so(store, world, live):
    ghost = msgspec.structs.replace(live[-1], instrument="GHOST-USDT")
    found = stored(store, world, [*live, ghost])
    assert [(d.market.instrument, d.feature) for d in found.differences] == [("GHOST-USDT", ROW)]
    assert found.differing_rows == 1


def test_audit_counts_rows_of_batch_runs_and_bars_without_a_row(store, world, live):
    gone = [row for row in live if row.instrument == "BTC-USDT"][5]
    batch = [msgspec.structs.replace(row, available_at=row.close_time) for row in live[-2:]]
    kept = [row for row in live[:-2] if row.open_time != gone.open_time]
    found = stored(store, world, [*kept, *batch])
    assert found.is_equal
    assert (found.rows, found.batch_rows, found.missing_rows) == (len(live) - 4, 2, 2)


def test_audit_does_not_take_rows_that_a_batch_run_replaced_for_live_ones(store, world, live):
    began = END + 10 * H1.ns
    replaced = msgspec.structs.replace(live[-1], available_at=began)
    found = stored(store, world, [*live[:-1], replaced])
    assert (found.rows, found.batch_rows, found.replaced_rows) == (len(live), 0, 0)
    store.insert("job_runs", [run_of_build_features(began)])
    found = audit(store, H1, LAST_DAYS)
    assert (found.rows, found.batch_rows, found.replaced_rows) == (len(live) - 1, 1, 1)
    assert found.as_json()["replaced_rows"] == 1
    store.command("TRUNCATE TABLE job_runs")


def imported_world(world):
    """The same world, and candles of two more markets that were imported since."""
    more = [
        candle
        for seed, name in enumerate(("AAVE-USDT", "ZEC-USDT"), start=3)
        for candle in candles_of(Market("binance", name), random_walk(seed, BARS, start_ns=START))
    ]
    return replace(world, candles=[*world.candles, *more])


def run_of_build_features(began):
    return JobRun(
        "build_features-1", "build_features", "", "{}", "0", began, began + 5, "done", "", 1, 0,
        "{}", 1,
    )  # fmt: skip


def build_features(store):
    for unit in plan_units(store, H1, LAST_DAYS):
        store.insert_arrow("features", new_rows(store, unit, NOW).rows)


def test_audit_ranks_live_rows_among_live_rows_where_markets_were_imported_since(
    store, world, live
):
    put(store, imported_world(world))
    store.insert("features", live)
    build_features(store)
    found = audit(store, H1, LAST_DAYS)
    assert found.is_equal
    assert (found.rows, found.batch_rows) == (len(live), len(live))


def test_audit_names_a_rank_that_differs_where_markets_were_imported_since(store, world, live):
    put(store, imported_world(world))
    index = FEATURE_INDEX["rank_return_24"]
    spoiled = msgspec.structs.replace(
        live[-1], values=(*live[-1].values[:index], 0.25, *live[-1].values[index + 1 :])
    )
    store.insert("features", [*live[:-1], spoiled])
    build_features(store)
    found = audit(store, H1, LAST_DAYS)
    assert [(d.feature, d.stored) for d in found.differences] == [("rank_return_24", 0.25)]


def test_audit_counts_ranks_among_rows_that_were_replaced_apart(store, world, live):
    put(store, world)
    store.insert("features", live)
    last = world.candles[-1]
    assert last.instrument == "ETH-USDT"
    store.insert("candles", [msgspec.structs.replace(last, close=last.close * 2, high=last.high * 2,
                                                     version=last.version + 1)])  # fmt: skip
    assert audit(store, H1, LAST_DAYS).differing_rows > 0
    build_features(store)
    store.insert("job_runs", [run_of_build_features(NOW)])
    found = audit(store, H1, LAST_DAYS)
    store.command("TRUNCATE TABLE job_runs")
    assert found.differences == []
    assert (found.replaced_rows, found.among_replaced_rows) == (1, 1)
    assert found.as_json()["among_replaced_rows"] == 1


def test_audit_of_nothing_stored_compares_nothing(store, world):
    found = stored(store, world, [])
    assert (found.rows, found.is_equal) == (0, True)
