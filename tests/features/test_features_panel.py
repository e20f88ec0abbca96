"""The batch run's arrays: the same bars, ranks and rows as the live run's objects."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.books import LiveBooks
from engine.features.catalogue import FEATURE_NAMES, FEATURE_VERSION, FEATURES
from engine.features.columns import panel_columns
from engine.features.cross_section import fill_cross_section, fractional_rank, fractional_ranks
from engine.features.grid import BAR_FIELDS, Bar, Bars, grid_of_columns, regular_grid
from engine.features.live import LiveFeatures
from engine.features.panel import MarketBars, compute_panel
from engine.features.rows import feature_row
from engine.features.warm_up import WARM_UP_BARS
from tests.features.stored_world import candles_of

H1 = Timeframe.H1
W = WARM_UP_BARS
MARKET = Market("binance", "SOL-USDT")


def columns(candles):
    bars = Bars.of(map(Bar.from_candle, candles))
    return bars.open_time, bars.table


@settings(max_examples=60, deadline=None)
@given(
    kept=st.sets(st.integers(0, 30)),
    start=st.integers(-3, 34),
    length=st.integers(0, 40),
    inside=st.sampled_from([0, 1, H1.ns - 1]),
)
def test_grid_of_columns_of_any_candles_equals_the_regular_grid(walk, kept, start, length, inside):
    bars = [bar for n, bar in enumerate(walk(1, 31, start_ns=40 * H1.ns)) if n in kept]
    candles = candles_of(MARKET, bars)
    span = (40 + start) * H1.ns + inside, (40 + start + length) * H1.ns + inside
    expected = regular_grid(candles, *span)
    found = grid_of_columns(*columns(candles), H1, *span)
    assert found.open_time.tolist() == expected.open_time.tolist()
    assert found.filled.tolist() == expected.filled.tolist()
    assert found.table.tobytes() == expected.table.tobytes()


@pytest.mark.parametrize("times", [[0, 0], [H1.ns, 0], [0, H1.ns + 1]])
def test_grid_of_columns_of_misplaced_candles_is_refused(times):
    with pytest.raises(ValueError, match="out of order, doubled or off the grid"):
        grid_of_columns(np.array(times), np.ones((2, len(BAR_FIELDS))), H1, 0, 10 * H1.ns)


value = st.one_of(
    st.sampled_from([math.nan, 0.0, -0.0, 1.0, -1.0, 5e-324]),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6).flatmap(lambda n: st.lists(
    st.lists(value, min_size=n, max_size=n), min_size=1, max_size=8)))  # fmt: skip
def test_fractional_ranks_of_any_table_equal_each_row_alone(rows):
    table = np.array(rows)
    expected = np.array([fractional_rank(row) for row in table])
    assert fractional_ranks(table).tobytes() == expected.tobytes()


@pytest.fixture(scope="module")
def markets(walk, book_walk, month):
    """Three markets and their reference over two weeks, one of them younger than the segment."""
    start = month - W * H1.ns
    walks = {
        "BTC-USDT": walk(31, W + 300),
        "ETH-USDT": walk(32, W + 300, quiet=0.3, missing=0.2),
        "NEW-USDT": walk(33, 120, start_ns=start + (W + 180) * H1.ns),
    }
    inputs = []
    for seed, (name, bars) in enumerate(walks.items()):
        grid = Bars.of(bars)
        wanted = grid.open_time[grid.position(month) :]
        books = book_walk(seed, 300, start_ns=month, instrument=name)
        inputs.append(
            MarketBars(Market("binance", name), grid, wanted, np.full(len(wanted), True), books)
        )
    return inputs


def live_rows(markets, month):
    """What the live run makes of the same bars: by market and open time."""
    reference = markets[0].bars
    found = {}
    for each in markets:
        is_reference = each is markets[0]
        live, books = LiveFeatures(each.market, H1, is_reference), LiveBooks(H1)
        for snapshot in each.books:
            books.take(snapshot)
        for index in range(len(each.bars)):
            bar = each.bars.bar(index)
            place = reference.position(bar.open_time)
            values = live.push(bar, reference.bar(place))
            if bar.open_time >= month:
                found[each.market, bar.open_time] = feature_row(
                    each.market, H1, bar.open_time, bar.close,
                    books.fill(bar.open_time, values), available_at=bar.open_time + H1.ns,
                    last_receive_time=bar.open_time + H1.ns, is_closed=True,
                )  # fmt: skip
    times = sorted({time for _, time in found})
    for time in times:
        for row in fill_cross_section([r for (_, t), r in found.items() if t == time]):
            found[Market(row.exchange, row.instrument), time] = row
    return found


def test_panel_equals_the_live_run_bit_for_bit(markets, month):
    panel = compute_panel(markets, H1, month, markets[0].bars)
    expected = live_rows(markets, month)
    assert len(panel) == len(expected) == 300 + 300 + 120
    for index, market in enumerate(panel.markets):
        for row in range(*panel.rows_of(index).indices(len(panel))):
            live = expected[market, int(panel.open_time[row])]
            assert panel.values[:, row].tobytes() == np.array(live.values).tobytes()
            assert panel.close[row] == live.close


def test_panel_of_wanted_bars_alone_has_the_values_of_all(markets, month):
    whole = compute_panel(markets, H1, month, markets[0].bars)
    few = [
        MarketBars(m.market, m.bars, m.wanted[3::7], np.full(len(m.wanted[3::7]), True), m.books)
        for m in markets
    ]
    panel = compute_panel(few, H1, month, markets[0].bars)
    ranks = [index for index, feature in enumerate(FEATURES) if feature.ranks]
    for index in range(len(markets)):
        mine, theirs = panel.rows_of(index), whole.rows_of(index)
        assert panel.open_time[mine].tolist() == whole.open_time[theirs][3::7].tolist()
        assert panel.close[mine].tolist() == whole.close[theirs][3::7].tolist()
        first, second = panel.values[:, mine], whole.values[:, theirs][:, 3::7]
        others = np.delete(np.arange(len(FEATURES)), ranks)
        assert first[others].tobytes() == second[others].tobytes()


def test_panel_of_a_market_outside_the_universe_has_no_ranks(markets, month):
    outside = [
        MarketBars(m.market, m.bars, m.wanted, np.full(len(m.wanted), n != 1), m.books)
        for n, m in enumerate(markets)
    ]
    panel = compute_panel(outside, H1, month, markets[0].bars)
    pair = compute_panel([markets[0], markets[2]], H1, month, markets[0].bars)
    for index, feature in enumerate(FEATURES):
        if feature.ranks:
            assert np.isnan(panel.values[index, panel.rows_of(1)]).all()
            kept = np.delete(panel.values[index], np.r_[panel.rows_of(1)])
            assert kept.tobytes() == pair.values[index].tobytes()


def test_panel_of_no_bars_is_empty(markets, month):
    none = [MarketBars(MARKET, Bars.of([]), np.empty(0, dtype=np.int64), np.empty(0, dtype=bool))]
    panel = compute_panel(none, H1, month, None)
    assert (len(panel), panel.values.shape) == (0, (len(FEATURES), 0))
    assert panel_columns(panel, panel.open_time, panel.open_time).num_rows == 0


def test_panel_columns_are_the_rows_of_the_live_run(markets, month):
    panel = compute_panel(markets, H1, month, markets[0].bars)
    known = panel.open_time + H1.ns + 7
    table = panel_columns(panel, known, known - 1)
    assert table.column_names[9:] == list(FEATURE_NAMES)
    assert {table.schema.field(f.name).type for f in FEATURES if f.kind == "pattern"} == {
        pa.int16()
    }
    row = table.slice(450, 1).to_pylist()[0]
    assert row["exchange"] == "binance"
    assert row["instrument"] == "ETH-USDT"
    assert row["timeframe"] == "1h"
    assert row["version"] == FEATURE_VERSION
    assert row["open_time"].value == month + 150 * H1.ns
    assert row["close_time"].value == row["open_time"].value + H1.ns
    assert row["available_at"].value == row["close_time"].value + 7
    assert row["last_receive_time"].value == row["close_time"].value + 6
    values = compute_segment(markets[1].bars, H1, month, markets[0].bars, markets[1].books)[150]
    for index, feature in enumerate(FEATURES):
        if not feature.ranks:
            expected = None if np.isnan(values[index]) else values[index]
            assert row[feature.name] == expected
