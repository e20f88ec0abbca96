"""The feature worker: opened from the store, restarted in the middle, equal to the batch run."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from actors_fakes import WIRING, Memory, RankerStub, config_for, install
from actors_samples import MINUTE, candle, candles

from engine.actors.base import Phase
from engine.actors.feature_worker import FeatureWorker
from engine.clock import DataClock
from engine.domain.delisting import Delisting
from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.grid import regular_grid
from engine.features.warm_up import WARM_UP_BARS
from engine.indicators.base import Array

BTC, ETH = Market("binance", "BTC-USDT"), Market("binance", "ETH-USDT")
DAY = Timeframe.D1.ns
MIDNIGHT = 20_000 * DAY
FIRST = MIDNIGHT - DAY - (WARM_UP_BARS + 50) * MINUTE
LAST = MIDNIGHT + 20 * MINUTE


def walk(instrument: str, seed: int) -> list[Candle]:
    """Minutes of a market, some of them without a trade."""
    random = Random(seed)
    price = 100.0
    found = []
    for open_time in range(FIRST, LAST, MINUTE):
        price *= 1 + random.gauss(0, 0.001)
        if random.random() > 0.1 or open_time == FIRST:
            found.append(candle(open_time, price, instrument=instrument))
    return found


HISTORY = {BTC: walk("BTC-USDT", 1), ETH: walk("ETH-USDT", 2)}


def closed_between(start: int, end: int) -> list[Candle]:
    both = [bar for bars in HISTORY.values() for bar in bars if start < bar.close_time <= end]
    return sorted(both, key=lambda bar: bar.open_time)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return install(monkeypatch, "feature_worker")


def worker_at(
    folder: Path, memory: Memory, ranker: RankerStub, now: int, lag: int = 0
) -> FeatureWorker:
    """A worker that starts at `now`, when the store is `lag` behind."""
    memory.rows["candles"] = closed_between(0, now - lag)
    config = config_for(folder, "features.timeframes=[1m]", "ranking.timeframe=1m")
    worker = FeatureWorker("features-0", config, WIRING, [BTC, ETH], BTC, ranker)
    worker._clock = DataClock(now)
    return worker


async def feed(worker: FeatureWorker, start: int, end: int) -> None:
    for moment in range(start + MINUTE, end + 1, MINUTE):
        closed = closed_between(moment - MINUTE, moment)
        await worker.ingest(candles(*closed, through=moment))


@cache
def batch_values(market: Market, segment: int) -> Array:
    start = segment - WARM_UP_BARS * MINUTE
    bars, reference = (regular_grid(HISTORY[name], start, LAST) for name in (market, BTC))
    return compute_segment(bars, Timeframe.M1, segment, reference)


def assert_equal_to_batch(ranker: RankerStub, start: int, end: int) -> None:
    rows = ranker.closed
    for market in HISTORY:
        for open_time in range(start, end, MINUTE):
            row = rows[market.instrument, "1m", open_time]
            segment = Timeframe.M1.segment_start(open_time)
            values = batch_values(market, segment)[(open_time - segment) // MINUTE]
            assert np.array_equal(row.values, values, equal_nan=True)


async def test_feature_worker_rows_equal_batch_through_a_restart_and_a_new_segment(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = RankerStub()
    opened, killed = MIDNIGHT - 20 * MINUTE, MIDNIGHT - 8 * MINUTE
    first = worker_at(tmp_path, memory, ranker, opened)
    await first.start()
    await feed(first, opened, killed)
    await first.drain()

    # The store lacks the last two minutes; the stream tells all of its memory again.
    second = worker_at(tmp_path, memory, ranker, killed, lag=2 * MINUTE)
    await second.start()
    again = closed_between(killed - 5 * MINUTE, killed + MINUTE)
    await second.ingest(candles(*again, through=killed + MINUTE))
    await feed(second, killed + MINUTE, MIDNIGHT + 5 * MINUTE)
    await second.drain()
    assert_equal_to_batch(ranker, opened, MIDNIGHT + 5 * MINUTE)


async def test_feature_worker_started_at_a_new_segment_finishes_the_old_one_as_the_batch_does(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = RankerStub()
    worker = worker_at(tmp_path, memory, ranker, MIDNIGHT + MINUTE // 60, lag=2 * MINUTE)
    await worker.start()
    await feed(worker, MIDNIGHT - 2 * MINUTE, MIDNIGHT + 2 * MINUTE)
    await worker.drain()
    assert_equal_to_batch(ranker, MIDNIGHT - MINUTE, MIDNIGHT + 2 * MINUTE)


async def test_feature_worker_tells_what_it_opened_with_as_known_already(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = RankerStub()
    worker = worker_at(tmp_path, memory, ranker, MIDNIGHT)
    await worker.start()
    await ranker.told.wait()
    await worker.drain()
    (batch,) = ranker.batches
    assert batch.closed == (), "the store has them"
    assert {row.instrument for row in batch.previews} == {"BTC-USDT", "ETH-USDT"}
    newest = {
        str(m): max(bar.close_time for bar in HISTORY[m] if bar.close_time <= MIDNIGHT)
        for m in HISTORY
    }
    assert batch.closed_through == {"1m": min(newest.values())}


async def test_feature_worker_takes_no_candles_before_it_has_opened(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = RankerStub()
    worker = worker_at(tmp_path, memory, ranker, MIDNIGHT)
    bars = closed_between(MIDNIGHT, MIDNIGHT + MINUTE)
    early = asyncio.create_task(worker.ingest(candles(*bars, through=MIDNIGHT + MINUTE)))
    await asyncio.sleep(0)
    assert not early.done()
    await worker.start()
    assert await early == worker.incarnation
    await worker.drain()
    assert_equal_to_batch(ranker, MIDNIGHT, MIDNIGHT + MINUTE)


async def test_feature_worker_takes_nothing_meant_for_its_predecessor(
    memory: Memory, tmp_path: Path
) -> None:
    worker = worker_at(tmp_path, memory, RankerStub(), MIDNIGHT, lag=MINUTE)
    await worker.start()
    meant_for_another = msgspec.structs.replace(
        candles(through=MIDNIGHT + MINUTE), recipient="the one before"
    )
    rows = worker.details()["rows"]
    assert await worker.ingest(meant_for_another) == worker.incarnation
    assert worker.details()["rows"] == rows, "a flat bar was made where a candle was to come"
    await worker.drain()


async def test_feature_worker_previews_the_forming_bar_once_per_change(
    memory: Memory, tmp_path: Path
) -> None:
    worker = worker_at(tmp_path, memory, RankerStub(), MIDNIGHT)
    await worker.start()
    await feed(worker, MIDNIGHT - MINUTE, MIDNIGHT)
    forming = candle(MIDNIGHT, 123.0, is_closed=False)
    await worker.ingest(candles(through=MIDNIGHT, forming=(forming,)))
    worker._previewed_at = float("-inf")
    (preview,) = worker._previews()
    assert (preview.close, preview.is_closed, preview.open_time) == (123.0, False, MIDNIGHT)
    worker._previewed_at = float("-inf")
    assert worker._previews() == []
    await worker.drain()


async def test_feature_worker_restarted_ranker_is_told_the_last_rows_as_closed_again(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = RankerStub()
    worker = worker_at(tmp_path, memory, ranker, MIDNIGHT)
    await worker.start()
    await feed(worker, MIDNIGHT, MIDNIGHT + MINUTE)
    await worker._send([])
    ranker.batches.clear()
    ranker.incarnation = "second"
    await feed(worker, MIDNIGHT + MINUTE, MIDNIGHT + 2 * MINUTE)
    await worker._send([])
    assert len(ranker.refused) == 1
    told = {row.open_time for row in ranker.batches[0].closed}
    assert {MIDNIGHT, MIDNIGHT + MINUTE} <= told
    await worker.drain()


async def test_feature_worker_stops_taking_candles_while_too_many_rows_wait(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.actors.feature_worker.MOST_WAITING_ROWS", 3)
    ranker = RankerStub()
    worker = worker_at(tmp_path, memory, ranker, MIDNIGHT)
    await worker.start()
    await worker.stop_tasks()
    await feed(worker, MIDNIGHT, MIDNIGHT + 2 * MINUTE)
    more = asyncio.create_task(feed(worker, MIDNIGHT + 2 * MINUTE, MIDNIGHT + 3 * MINUTE))
    await asyncio.sleep(0)
    assert not more.done()
    await worker._send([])
    await asyncio.wait_for(more, 5)
    await worker.drain()
    assert_equal_to_batch(ranker, MIDNIGHT, MIDNIGHT + 3 * MINUTE)


async def test_feature_worker_that_cannot_take_a_candle_has_failed_and_keeps_the_stream_waiting(
    memory: Memory, tmp_path: Path
) -> None:
    worker = worker_at(tmp_path, memory, RankerStub(), MIDNIGHT)
    await worker.start()
    off_the_grid = candle(MIDNIGHT, timeframe="5m")
    with pytest.raises(ConnectionError, match="taking candles: KeyError"):
        await worker.ingest(candles(off_the_grid, through=MIDNIGHT + 5 * MINUTE))
    assert worker.phase is Phase.FAILED
    with pytest.raises(ConnectionError):
        await worker.ingest(candles(through=MIDNIGHT))
    await worker.drain()


async def test_market_that_is_delisted_has_no_rows_any_more_and_is_told_as_gone(
    tmp_path: Path, memory: Memory
) -> None:
    ranker = RankerStub()
    worker = worker_at(tmp_path, memory, ranker, MIDNIGHT)
    await worker.start()
    ended = {"ETH-USDT": Delisting(MIDNIGHT, MIDNIGHT + 2 * MINUTE)}
    for through in range(MIDNIGHT + MINUTE, MIDNIGHT + 6 * MINUTE, MINUTE):
        of_btc = [bar for bar in HISTORY[BTC] if bar.close_time == through]
        batch = candles(*of_btc, through=through)
        await worker.ingest(msgspec.structs.replace(batch, delisted=ended))
    await worker.drain()
    rows = [row for batch in ranker.batches for row in batch.closed]
    of_eth = [row.open_time for row in rows if row.instrument == ETH.instrument]
    # Until it was known, it was a quiet market.
    assert max(of_eth) == MIDNIGHT
    assert max(row.open_time for row in rows) == MIDNIGHT + 4 * MINUTE
    assert ranker.batches[-1].gone == {"1m": ("binance:ETH-USDT",)}


async def test_worker_tells_nothing_of_a_market_that_was_silent_for_too_long_before_it_began(
    tmp_path: Path, memory: Memory
) -> None:
    ranker = RankerStub()
    worker = worker_at(tmp_path, memory, ranker, MIDNIGHT)
    silent = [bar for bar in memory.rows["candles"] if bar.instrument == ETH.instrument][-30:]
    memory.rows["candles"] = [bar for bar in memory.rows["candles"] if bar not in silent]
    for series in worker._series[Timeframe.M1].values():
        series.silence_ns = 10 * MINUTE
    await worker.start()
    assert {row.instrument for row in worker._seeds} == {BTC.instrument}
    await worker.drain()


async def test_worker_makes_no_rows_of_the_warm_up_where_a_market_was_quiet_since(
    tmp_path: Path, memory: Memory
) -> None:
    """It read enough to make the segment, not to make the quiet end of the one before again."""
    ranker = RankerStub()
    worker = worker_at(tmp_path, memory, ranker, MIDNIGHT + 5 * MINUTE)
    quiet = MIDNIGHT - 40 * MINUTE
    memory.rows["candles"] = [
        bar
        for bar in memory.rows["candles"]
        if bar.instrument != "ETH-USDT" or bar.open_time < quiet
    ]
    await worker.start()
    await worker.ingest(candles(through=MIDNIGHT + 8 * MINUTE))
    await worker.drain()
    rows = [row for batch in ranker.batches for row in batch.closed if row.instrument == "ETH-USDT"]
    assert [row.open_time for row in rows] == [MIDNIGHT + minute * MINUTE for minute in range(8)]
    start = MIDNIGHT - WARM_UP_BARS * MINUTE
    end = MIDNIGHT + 8 * MINUTE
    traded = [bar for bar in HISTORY[ETH] if bar.open_time < quiet]
    known = [bar for bar in HISTORY[BTC] if bar.close_time <= MIDNIGHT + 5 * MINUTE]
    grid, reference = (regular_grid(of, start, end) for of in (traded, known))
    expected = compute_segment(grid, Timeframe.M1, MIDNIGHT, reference)
    for row, values in zip(rows, expected, strict=True):
        assert np.array_equal(row.values, values, equal_nan=True)
