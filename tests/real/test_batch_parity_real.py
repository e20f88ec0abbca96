"""The batch run on recorded candles stores what a replay through the live run stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.clock import parse_iso_utc
from engine.config import RetentionConfig
from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_INDEX, feature_columns
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.feature_plan import plan_units
from engine.store.feature_segments import new_rows
from engine.store.schema import migrate
from tests.features.stored_world import NOW, SCOPE, World, live_of, put, same, stored_rows

pytestmark = pytest.mark.real

HOURLY = "binance_spot_1h_60sym_2021_2023.parquet"
MINUTES = "binance_perp_1m_80sym_2025-06-17_23.parquet"
WEEK_NS = 7 * Timeframe.D1.ns


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path_factory.mktemp("recorded") / "db")
    try:
        with Store(home.start()) as store:
            migrate(store, RetentionConfig(candles=0, features=0), feature_columns())
            yield store
    finally:
        home.stop()


def recorded(path, bases, timeframe, start, end) -> list[Candle]:
    """Recorded candles of some coins, or all; a ticker silent for a week is another's then."""
    bounds = [datetime.fromtimestamp(t / 1e9, UTC).replace(tzinfo=None) for t in (start, end)]
    table = pq.read_table(
        path, filters=(pc.field("ts") >= bounds[0]) & (pc.field("ts") < bounds[1])
    ).sort_by([("symbol", "ascending"), ("ts", "ascending")])
    symbols = table["symbol"].cast(pa.string()).to_pylist()
    times = table["ts"].cast("timestamp[ns]").cast("int64").to_pylist()
    columns = [table[name].to_pylist() for name in ("open", "high", "low", "close", "volume")]
    candles: list[Candle] = []
    last: dict[str, tuple[int, int]] = {}
    for symbol, time, *values in zip(symbols, times, *columns, strict=True):
        base = symbol.partition(":")[0].replace("/", "").removesuffix("USDT")
        if bases and base not in bases:
            continue
        generation, before = last.get(base, (1, time))
        generation += time - before > WEEK_NS
        last[base] = generation, time
        name = f"{base}{'' if generation == 1 else f'~{generation}'}-USDT"
        candles.append(
            Candle(
                "binance", name, timeframe.value, time, time + timeframe.ns, *values,
                quote_volume=None, trade_count=None, vwap=None, twap=None, taker_buy_volume=None,
                source="rest", is_closed=True, version=time,
            )
        )  # fmt: skip
    return candles


def built(store: Store, candles: list[Candle], timeframe: Timeframe) -> None:
    put(store, World(candles))
    for unit in plan_units(store, timeframe, SCOPE):
        rows = new_rows(store, unit, NOW).rows
        store.insert_arrow("features", rows)


def assert_live_is_batch(store, candles, timeframe):
    built(store, candles, timeframe)
    expected = live_of(candles, timeframe, Market("binance", "BTC-USDT"))
    found = stored_rows(store)
    assert found.keys() == expected.keys()
    assert [key for key in found if not same(found[key], expected[key])] == []
    return found


def test_batch_of_recorded_minutes_equals_their_replay(real_data, store):
    bases = {"BTC", "ETH", "SOL", "DOGE", "XRP"}
    start, end = (parse_iso_utc(f"2025-06-{day}T00:00:00Z") for day in (19, 21))
    candles = recorded(real_data / "candles" / MINUTES, bases, Timeframe.M1, start, end)
    found = assert_live_is_batch(store, candles, Timeframe.M1)
    assert len(found) == 5 * 2 * 1440
    rank = FEATURE_INDEX["rank_return_24"]
    assert {row[rank] for row in found.values() if row[rank] == row[rank]} >= {0.0, 0.5, 1.0}


def test_batch_of_the_recorded_minutes_of_all_coins_equals_their_replay(real_data, store):
    start, end = parse_iso_utc("2025-06-19T22:00:00Z"), parse_iso_utc("2025-06-20T00:00:00Z")
    candles = recorded(real_data / "candles" / MINUTES, (), Timeframe.M1, start, end)
    markets = {market for market, _ in assert_live_is_batch(store, candles, Timeframe.M1)}
    assert len(markets) >= 79


def test_batch_of_recorded_hours_with_gaps_and_a_reused_ticker_equals_their_replay(
    real_data, store
):
    start, end = parse_iso_utc("2022-04-25T00:00:00Z"), parse_iso_utc("2022-06-12T00:00:00Z")
    candles = recorded(
        real_data / "candles" / HOURLY, {"BTC", "ETH", "LUNA", "ADA"}, Timeframe.H1, start, end
    )
    luna, luna_2 = Market("binance", "LUNA-USDT"), Market("binance", "LUNA~2-USDT")
    last = max(c.open_time for c in candles if c.instrument == luna.instrument)
    first = min(c.open_time for c in candles if c.instrument == luna_2.instrument)
    assert first - last > WEEK_NS
    found = assert_live_is_batch(store, candles, Timeframe.H1)
    times = {market: [t for m, t in found if m == market] for market in (luna, luna_2)}
    # The old coin keeps its place for a week of silence, and no longer.
    assert max(times[luna]) == last + WEEK_NS
    assert min(times[luna_2]) == first
    # Nothing of the collapse is in the new coin's first return or drawdown.
    new = found[luna_2, first]
    assert new[FEATURE_INDEX["return_1"]] != new[FEATURE_INDEX["return_1"]]
