"""L2 books on their way to features: queued, handed over, and the same in the batch run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from actors_fakes import WIRING, Memory, RankerStub, config_for, install
from actors_samples import MINUTE, book, candle, candles

from engine.actors.bar_series import MADE_BARS, BarSeries
from engine.actors.book_queue import BookQueue
from engine.actors.candle_feed import CandleFeed
from engine.actors.feature_worker import FeatureWorker
from engine.actors.messages import CandleBatch
from engine.clock import DataClock
from engine.domain.instrument import Market
from engine.domain.market import BookSnapshot, Candle
from engine.domain.timeframe import Timeframe
from engine.features.batch import compute_segment
from engine.features.books import BOOK_FEATURE_NAMES
from engine.features.catalogue import FEATURE_NAMES
from engine.features.grid import regular_grid
from engine.features.live import LiveFeatures
from engine.metrics import ERRORS

BTC, ETH = Market("binance", "BTC-USDT"), Market("binance", "ETH-USDT")
MARKETS = (BTC, ETH)
SPREAD = FEATURE_NAMES.index("book_spread_bps")
COLUMNS = [FEATURE_NAMES.index(name) for name in BOOK_FEATURE_NAMES]


# -- one market's bars ---------------------------------------------------------------------------


@pytest.fixture
def series() -> BarSeries:
    found = BarSeries(LiveFeatures(BTC, Timeframe.M1))
    found.load([candle(index * MINUTE, 100.0 + index) for index in range(300)], 0, None)
    return found


def spreads(rows: list) -> list[tuple[int, float]]:
    return [(row.open_time // MINUTE, round(row.values[SPREAD], 6)) for row in rows]


BPS_OF_2, BPS_OF_1 = 200.0, 100.502513


def test_bar_series_bar_takes_its_last_book(series: BarSeries) -> None:
    moments = {300 * MINUTE: 1.0, 300 * MINUTE + 1: 1.0, 301 * MINUTE: 2.0, 301 * MINUTE + 1: 1.0}
    assert spreads(series.take_books(book(at, spread) for at, spread in moments.items())) == [
        (299, BPS_OF_1)
    ], "the bar before was made without it"
    series.take(candle(300 * MINUTE))
    assert spreads(series.advance(302 * MINUTE, None)) == [(300, BPS_OF_2), (301, BPS_OF_1)]


def test_bar_series_late_book_corrects_the_bar_that_was_made(series: BarSeries) -> None:
    series.take(candle(300 * MINUTE))
    (made,) = series.advance(301 * MINUTE, None)
    assert np.isnan(made.values[SPREAD])
    (corrected,) = series.take_books([book(301 * MINUTE - 5)])
    assert corrected.values[SPREAD] == BPS_OF_2
    others = [n for n in range(len(FEATURE_NAMES)) if n not in COLUMNS]
    assert repr([made.values[n] for n in others]) == repr([corrected.values[n] for n in others])
    assert series.take_books([book(301 * MINUTE - 9, 1.0)]) == [], "older than the one known"


def test_bar_series_book_much_later_corrects_its_bar_too(series: BarSeries) -> None:
    made = series.advance((301 + 2 * MADE_BARS) * MINUTE, None)
    (corrected,) = series.take_books([book(301 * MINUTE)])
    assert corrected.values[SPREAD] == BPS_OF_2
    assert repr(corrected.values[:SPREAD]) == repr(made[0].values[:SPREAD])


def test_bar_series_rebuilt_candle_keeps_the_books_of_its_bars(series: BarSeries) -> None:
    series.take_books([book(301 * MINUTE), book(302 * MINUTE, 1.0)])
    series.advance(302 * MINUTE, None)
    rows = series.take(candle(300 * MINUTE, 500.0))
    assert spreads(rows) == [(300, BPS_OF_2), (301, BPS_OF_1)]
    (late,) = series.take_books([book(301 * MINUTE, 1.0)])
    assert (late.close, round(late.values[SPREAD], 6)) == (500.0, BPS_OF_1)


def test_bar_series_preview_shows_the_book_so_far(series: BarSeries) -> None:
    series.form(candle(300 * MINUTE, 120.0, is_closed=False))
    assert series.preview(None) is not None
    series.take_books([book(300 * MINUTE + 7)])
    preview = series.preview(None)
    assert preview is not None, "the book changed"
    assert preview.values[SPREAD] == BPS_OF_2


def test_bar_series_keeps_books_of_the_segment_only() -> None:
    found = BarSeries(LiveFeatures(BTC, Timeframe.S1))
    step = Timeframe.S1.ns
    for second in range(7200):
        found.take_books([book(second * step + 1)])
    assert len(found.books) == 3600, "a market that never traded"
    found.load([candle(0, timeframe="1s")], 0, None)
    for second in range(1, 7300):
        found.take_books([book(second * step + 1)])
        found.advance((second + 1) * step, None)
        assert len(found.books) <= 3600 + MADE_BARS
    assert len(found.books) == 100


# -- the queue -----------------------------------------------------------------------------------


def test_book_queue_hands_on_the_last_of_each_bar_and_its_best_levels() -> None:
    queue = BookQueue({"BTC-USDT", "ETH-USDT"}, {"1h", "1m"})
    last, other, next_bar = book(MINUTE), book(40, instrument="ETH-USDT"), book(MINUTE + 1)
    queue.put([book(20), last, other, book(50), book(60, instrument="XRP-USDT"), next_bar])
    taken = queue.take()
    assert [(s.instrument, s.as_of) for s in taken] == [
        ("ETH-USDT", 40), ("BTC-USDT", MINUTE), ("BTC-USDT", MINUTE + 1),
    ]  # fmt: skip
    assert taken[1] == msgspec.structs.replace(
        last, bid_prices=(99.0,), bid_amounts=(3.0,), ask_prices=(101.0,), ask_amounts=(1.0,)
    )
    assert queue.take() == ()
    queue.put([book(MINUTE + 5)])
    assert [s.as_of for s in queue.take_all()] == [40, MINUTE, MINUTE + 5]
    assert queue.take() == ()


def test_book_queue_is_bounded_and_counts_what_nobody_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.actors.book_queue.KEPT_BOOKS", 2)
    dropped = ERRORS.labels("stream", "book_not_told")
    before = dropped._value.get()
    queue = BookQueue({"BTC-USDT"}, {"1m"})
    queue.put([book(1)])
    assert len(queue.take()) == 1
    queue.put(book(minute * MINUTE) for minute in (2, 3, 4))
    assert [s.as_of // MINUTE for s in queue.take()] == [3, 4]
    assert dropped._value.get() - before == 1


class Worker:
    """A feature worker that takes batches, and can be replaced."""

    def __init__(self) -> None:
        self.incarnation = "first"
        self.batches: list[CandleBatch] = []

    async def ingest(self, batch: CandleBatch) -> str:
        if batch.recipient in ("", self.incarnation):
            self.batches.append(batch)
        return self.incarnation


async def test_candle_feed_tells_books_once_and_a_restarted_worker_all_of_them_again() -> None:
    worker = Worker()
    feed = CandleFeed("stream-binance-0", "binance", {"BTC-USDT"}, {"1m"}, worker)
    running = asyncio.create_task(feed.run())
    feed.offer([], [], 0, {}, (), books=[book(5), book(MINUTE + 5)])
    await feed.wait_until_idle()
    feed.offer([], [], 0, {}, ())
    await feed.wait_until_idle()
    assert [[s.as_of for s in batch.books] for batch in worker.batches] == [[5, MINUTE + 5], []]
    worker.incarnation = "second"
    feed.offer([], [], 0, {}, (), books=[book(MINUTE + 9)])
    await feed.wait_until_idle()
    assert [s.as_of for s in worker.batches[-1].books] == [5, MINUTE + 9]
    running.cancel()


# -- the worker and the batch run ----------------------------------------------------------------

MIDNIGHT = 20_000 * Timeframe.D1.ns
FIRST, LAST = MIDNIGHT - 300 * MINUTE, MIDNIGHT + 60 * MINUTE
OPENED, KILLED = MIDNIGHT + 5 * MINUTE, MIDNIGHT + 20 * MINUTE + MINUTE // 2
END = MIDNIGHT + 40 * MINUTE


def walk(instrument: str, seed: int) -> list[Candle]:
    random = Random(seed)
    price = 100.0
    found = []
    for open_time in range(FIRST, LAST, MINUTE):
        price *= 1 + random.gauss(0, 0.001)
        if random.random() > 0.1 or open_time == FIRST:
            found.append(candle(open_time, price, instrument=instrument))
    return found


def book_walk(instrument: str, seed: int) -> list[BookSnapshot]:
    """Snapshots, none in some minutes, some at the very edges of others."""
    random = Random(seed)
    found: dict[int, BookSnapshot] = {}
    for open_time in range(FIRST, LAST, MINUTE):
        offsets = random.sample([1, MINUTE - 1, MINUTE, *random.sample(range(MINUTE), 3)], 3)
        for offset in offsets if random.random() > 0.25 else ():
            at = open_time + offset
            level = (100 * random.uniform(0.9, 1.1), random.uniform(0.1, 9))
            found[at] = book(at, random.uniform(0.01, 1), instrument=instrument, bid=level)
    return [found[at] for at in sorted(found)]


HISTORY = {BTC: walk("BTC-USDT", 1), ETH: walk("ETH-USDT", 2)}
BOOKS = {BTC: book_walk("BTC-USDT", 3), ETH: book_walk("ETH-USDT", 4)}


def closed_between(start: int, end: int) -> list[Candle]:
    both = [bar for bars in HISTORY.values() for bar in bars if start < bar.close_time <= end]
    return sorted(both, key=lambda bar: bar.open_time)


def books_between(start: int, end: int) -> list[BookSnapshot]:
    return [each for books in BOOKS.values() for each in books if start < each.as_of <= end]


def batch_rows(market: Market, history: dict[Market, list[Candle]]) -> np.ndarray:
    start = FIRST
    own, reference = (regular_grid(history[name], start, END) for name in (market, BTC))
    return compute_segment(own, Timeframe.M1, MIDNIGHT, reference, BOOKS[market])


def assert_equal_to_batch(
    rankers: list[RankerStub], start: int, end: int, history: dict[Market, list[Candle]]
) -> int:
    """Compare the last word on each bar; return how many had a book."""
    told = {key: row for ranker in rankers for key, row in ranker.closed.items()}
    booked = 0
    for market in MARKETS:
        expected = batch_rows(market, history)
        for open_time in range(start, end, MINUTE):
            row = told[market.instrument, "1m", open_time]
            values = expected[(open_time - MIDNIGHT) // MINUTE]
            assert np.array_equal(row.values, values, equal_nan=True)
            booked += int(not np.isnan(values[SPREAD]))
    return booked


class Stream:
    """Tells a worker candles minute by minute, and books when it pleases."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._held: list[BookSnapshot] = []

    async def feed(self, worker: FeatureWorker, start: int, end: int) -> None:
        for moment in range(start + MINUTE, end + 1, MINUTE):
            fresh = [*self._held, *books_between(moment - MINUTE, moment)]
            self._random.shuffle(fresh)
            cut = self._random.randrange(len(fresh) + 1)
            self._held, told = fresh[:cut], fresh[cut:]
            bars = closed_between(moment - MINUTE, moment)
            await worker.ingest(candles(*bars, through=moment, books=tuple(told)))

    async def finish(self, worker: FeatureWorker, through: int) -> None:
        told, self._held = tuple(self._held), []
        await worker.ingest(candles(through=through, books=told))


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return install(monkeypatch, "feature_worker")


def worker_at(folder: Path, memory: Memory, ranker: RankerStub, now: int) -> FeatureWorker:
    memory.rows["candles"] = closed_between(0, now)
    memory.rows["book_snapshots"] = books_between(0, now)
    config = config_for(folder, "features.timeframes=[1m]", "ranking.timeframe=1m")
    worker = FeatureWorker("features-0", config, WIRING, [BTC, ETH], BTC, ranker)
    worker._clock = DataClock(now)
    return worker


@pytest.mark.parametrize("seed", range(4))
async def test_feature_worker_books_equal_batch_in_any_order_and_through_a_restart(
    memory: Memory, tmp_path: Path, seed: int
) -> None:
    first_ranker, second_ranker = RankerStub(), RankerStub()
    stream = Stream(seed)
    first = worker_at(tmp_path, memory, first_ranker, OPENED)
    await first.start()
    last_whole = Timeframe.M1.floor(KILLED)
    await stream.feed(first, OPENED, last_whole)
    await first.drain()

    # Its rows are stored but for the last two minutes'; the running bar's books are.
    memory.rows["features"] = [
        row for row in first_ranker.closed.values() if row.close_time <= last_whole - 2 * MINUTE
    ]
    second = worker_at(tmp_path, memory, second_ranker, KILLED)
    # What the stream still held reached the store, and no worker.
    memory.rows["book_snapshots"] = [
        each for each in memory.rows["book_snapshots"] if each.as_of <= KILLED
    ]
    await second.start()
    await stream.feed(second, last_whole, END)
    await stream.finish(second, END)
    await second.drain()
    booked = assert_equal_to_batch([first_ranker, second_ranker], OPENED, END, HISTORY)
    assert 30 < booked < 2 * 35


async def test_feature_worker_restarted_keeps_the_books_of_bars_that_a_late_trade_rebuilds(
    memory: Memory, tmp_path: Path
) -> None:
    first_ranker, second_ranker = RankerStub(), RankerStub()
    first = worker_at(tmp_path, memory, first_ranker, OPENED)
    await first.start()
    stream = Stream(9)
    await stream.feed(first, OPENED, KILLED)
    await stream.finish(first, Timeframe.M1.floor(KILLED))
    await first.drain()
    memory.rows["features"] = list(first_ranker.closed.values())

    second = worker_at(tmp_path, memory, second_ranker, KILLED)
    # The snapshots of bars whose rows are stored are not asked for: they are too many.
    memory.rows["book_snapshots"] = books_between(Timeframe.M1.floor(KILLED) - MINUTE, KILLED)
    await second.start()
    rebuilt = next(bar for bar in HISTORY[BTC] if bar.open_time >= OPENED + 3 * MINUTE)
    late = msgspec.structs.replace(rebuilt, close=rebuilt.close * 1.02, version=2)
    await second.ingest(candles(late, through=Timeframe.M1.floor(KILLED)))
    await second.drain()
    told = {key[2] for key in second_ranker.closed if key[0] == "BTC-USDT"}
    assert told == set(range(late.open_time, Timeframe.M1.floor(KILLED), MINUTE))
    history = {
        BTC: [late if bar.open_time == late.open_time else bar for bar in HISTORY[BTC]],
        ETH: HISTORY[ETH],
    }
    assert_equal_to_batch(
        [first_ranker, second_ranker], OPENED, Timeframe.M1.floor(KILLED), history
    )


async def test_feature_worker_tells_its_rows_with_books_when_it_opens(
    memory: Memory, tmp_path: Path
) -> None:
    ranker = RankerStub()
    worker = worker_at(tmp_path, memory, ranker, OPENED)
    await worker.start()
    seeds = {row.instrument: row for row in worker._seeds}
    for market in MARKETS:
        row = seeds[market.instrument]
        expected = batch_rows(market, HISTORY)[(row.open_time - MIDNIGHT) // MINUTE]
        assert np.array_equal(np.array(row.values)[COLUMNS], expected[COLUMNS], equal_nan=True)
    assert any(not np.isnan(row.values[SPREAD]) for row in seeds.values())
    await worker.drain()
