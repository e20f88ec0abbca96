"""The stream actor between its socket loop and the store, driven without either."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from actors_fakes import WIRING, Memory, config_for, install
from actors_samples import candle, top

from engine.actors.base import Phase
from engine.actors.budget import SharedBudget
from engine.actors.connections import Connections
from engine.actors.market_stream import MarketStream
from engine.actors.messages import CandleBatch
from engine.actors.wiring import VenueEndpoint
from engine.candles.resample import candles_from_trades, resample
from engine.clock import NS_PER_MS, NS_PER_S, DataClock
from engine.domain.delisting import Delisting
from engine.domain.instrument import Market
from engine.domain.market import Candle, DeadLetter, Gap, Trade
from engine.domain.timeframe import Timeframe
from engine.errors import StoreUnavailable
from engine.exchanges.recording import Recorder
from engine.exchanges.replay import ReplayServer, inspect_recordings

BTC = Market("binance", "BTC-USDT")
GRACE = 500 * NS_PER_MS
START = 20_000 * Timeframe.D1.ns
REPLAYED = VenueEndpoint(has_rest=False, replayed=True)


def trade(number: int, at: int, price: float = 100.0) -> Trade:
    return Trade("binance", "BTC-USDT", str(number), number, price, 1.0, "buy", at, at + NS_PER_MS)


def trades(first: int, count: int, start: int = START, step: int = NS_PER_S) -> list[Trade]:
    return [
        trade(first + index, start + index * step, 100.0 + (first + index) % 7)
        for index in range(count)
    ]


def frame_of(event: Trade) -> bytes:
    """The trade as Binance tells it."""
    data = {
        "e": "trade",
        "E": event.exchange_time // NS_PER_MS,
        "s": "BTCUSDT",
        "t": event.sequence,
        "p": str(event.price),
        "q": str(event.amount),
        "T": event.exchange_time // NS_PER_MS,
        "m": False,
        "M": True,
    }
    return msgspec.json.encode({"stream": "btcusdt@trade", "data": data})


class Worker:
    """A feature worker that takes everything."""

    def __init__(self) -> None:
        self.batches: list[CandleBatch] = []

    async def ingest(self, batch: CandleBatch) -> str:
        self.batches.append(batch)
        return "worker"


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return install(monkeypatch, "market_stream")


def stream_over(folder: Path, worker: Worker | None = None, *overrides: str) -> MarketStream:
    config = config_for(folder, "exchanges.binance.instruments=[BTC-USDT]", *overrides)
    workers = [] if worker is None else [(worker, frozenset([BTC]))]
    wiring = replace(WIRING, starts_at=START)
    return MarketStream("stream-binance-0", config, wiring, "binance", ("BTC-USDT",), workers)


async def prepared(folder: Path, *overrides: str) -> MarketStream:
    stream = stream_over(folder, None, *overrides)
    await stream.prepare(REPLAYED)
    return stream


async def take(stream: MarketStream, events: list[Trade]) -> None:
    """What a connection does: trades in batches, and a tick after each."""
    for start in range(0, len(events), 50):
        await stream.events(events[start : start + 50])
        await stream._tick(stream._watermark())


def content(candles: list[Candle]) -> list[Candle]:
    return [msgspec.structs.replace(bar, version=0) for bar in candles]


def assert_candles_are_those_of_trades(memory: Memory) -> None:
    every = {trade.trade_id: trade for trade in memory.rows["trades"]}.values()
    closed_through = max(trade.exchange_time for trade in every) - GRACE
    stored = [bar for bar in memory.newest("candles") if bar.is_closed]
    for timeframe in (Timeframe.S1, Timeframe.M1, Timeframe.M5):
        found = [bar for bar in stored if bar.timeframe == timeframe]
        whole = resample(candles_from_trades(every), timeframe)
        assert content(found) == content([b for b in whole if b.close_time <= closed_through])


async def test_stream_replayed_twice_leaves_the_candles_as_they_were(
    memory: Memory, tmp_path: Path
) -> None:
    everything = trades(1, 400)
    first = await prepared(tmp_path)
    await take(first, everything)
    await first.drain()
    before = content([bar for bar in memory.newest("candles") if bar.is_closed])
    second = await prepared(tmp_path)
    await take(second, everything)
    await second.drain()
    after = content([bar for bar in memory.newest("candles") if bar.is_closed])
    assert after == before
    assert_candles_are_those_of_trades(memory)


async def test_stream_after_a_kill_folds_only_what_no_candle_holds(
    memory: Memory, tmp_path: Path
) -> None:
    everything = trades(1, 400)
    killed = await prepared(tmp_path)
    await take(killed, everything[:250])
    # Its last candles were lost with it, and so was a trade between two that were stored.
    memory.rows["candles"] = memory.rows["candles"][:-5]
    memory.rows["trades"].remove(everything[240])
    again = await prepared(tmp_path)
    await take(again, everything)
    assert again._builder.duplicates > 0, "what memory holds is known by its id"
    assert_candles_are_those_of_trades(memory)
    folded = {bar.open_time: bar for bar in memory.newest("candles") if bar.timeframe == "1s"}
    assert folded[everything[240].exchange_time].trade_count == 1


async def test_stream_trades_below_the_last_stored_one_are_stored_but_not_folded_again(
    memory: Memory, tmp_path: Path
) -> None:
    memory.rows["trades"] = trades(1, 400)
    stream = await prepared(tmp_path)
    held = stream._builder.held_trades
    await stream.events(memory.rows["trades"][:100])
    assert stream._builder.held_trades == held
    assert stream._builder.late_beyond_memory() == []
    assert len(memory.rows["trades"]) == 500, "the store knows which of them it has"


async def test_stream_replay_is_finished_only_after_its_last_trade(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.actors.market_stream.TICK_S", 0.001)
    everything = trades(1, 3_000, step=NS_PER_S // 10)
    recorder = Recorder(tmp_path / "frames", "binance", DataClock(START))
    for event in everything:
        recorder.record(event.receive_time, frame_of(event))
    recorder.close()
    server = ReplayServer(inspect_recordings([tmp_path / "frames"]), "max")
    urls = await server.start()
    stream = stream_over(tmp_path)
    finished = asyncio.Event()
    finish = stream._finish_replay

    async def finish_and_say() -> None:
        await finish()
        finished.set()

    monkeypatch.setattr(stream, "_finish_replay", finish_and_say)
    await stream.prepare(replace(REPLAYED, ws_url=urls["binance"]))
    await stream.run()
    await asyncio.wait_for(finished.wait(), 20)
    assert len(memory.rows["trades"]) == len(everything)
    assert_candles_are_those_of_trades(memory)
    forming = [
        bar for bar in memory.newest("candles") if bar.timeframe == "1m" and not bar.is_closed
    ]
    assert [bar.trade_count for bar in forming] == [600]
    assert stream.details()["ended"]
    await stream.drain()
    await server.stop()


async def test_stream_drain_writes_forming_candles_and_hands_on_the_last_closed(
    memory: Memory, tmp_path: Path
) -> None:
    worker = Worker()
    stream = stream_over(tmp_path, worker)
    await stream.prepare(REPLAYED)
    ended = {"BTC-USDT": Delisting(ended=START + 95, known_at=START + 99)}
    stream._listings = Mock(delisted=ended)
    stream.phase = Phase.RUNNING
    stream.spawn(stream._feeds[0].run(), "handing candles on")
    await stream.events(trades(1, 90))
    await stream.drain()
    assert worker.batches[-1].delisted == ended
    forming = [bar for bar in memory.rows["candles"] if not bar.is_closed]
    assert {bar.timeframe for bar in forming} == {tf.value for tf in Timeframe}
    (minute,) = [bar for batch in worker.batches for bar in batch.closed]
    assert (minute.timeframe, minute.open_time, minute.trade_count) == ("1m", START, 60)
    assert memory.closed == ["writer", "bus", "store"]
    await stream.drain()
    assert memory.closed == ["writer", "bus", "store"]


async def test_stream_drain_closes_everything_though_the_store_is_gone(
    memory: Memory, tmp_path: Path
) -> None:
    stream = await prepared(tmp_path)
    memory.store_is_down = True
    with pytest.raises(StoreUnavailable, match="3 rows"):
        await stream.drain()
    assert memory.closed == ["writer", "bus", "store"]
    assert stream.phase is Phase.DRAINED


async def test_stream_keeps_dead_letters(memory: Memory, tmp_path: Path) -> None:
    stream = await prepared(tmp_path)
    letter = DeadLetter("binance", "not_json", "garbage", b"{", 1, START)
    await stream.dead_letter(letter)
    assert memory.rows["dead_letters"] == [letter]


async def test_stream_without_a_bus_goes_on_closing_candles(memory: Memory, tmp_path: Path) -> None:
    stream = await prepared(tmp_path)
    memory.bus_is_down = True
    await take(stream, trades(1, 400))
    assert_candles_are_those_of_trades(memory)


async def test_stream_book_tops_are_the_last_of_each_interval_whenever_it_ticks(
    memory: Memory, tmp_path: Path
) -> None:
    stream = await prepared(tmp_path, "exchanges.binance.book_top_every_ms=1000")
    for offset in (100, 400, 900, 1100, 2500):
        await stream.events([top(START + offset * NS_PER_MS)])
        await stream._tick(stream._watermark())
    stored = [(found.receive_time - START) // NS_PER_MS for found in memory.rows["book_tops"]]
    assert stored == [900, 1100]


async def test_stream_takes_over_the_gaps_that_an_earlier_process_left_open(
    memory: Memory, tmp_path: Path
) -> None:
    def gap(name: str, instrument: str, to_time: int | None) -> Gap:
        return Gap(
            name, "binance", instrument, "trades", "stale", None, None, START, to_time, START
        )

    memory.rows["feed_gaps"] = [
        gap("mine", "BTC-USDT", None),
        gap("a-hole", "BTC-USDT", START + 1),
        gap("anothers", "ETH-USDT", None),
    ]
    await prepared(tmp_path)
    (closed,) = memory.rows["feed_gaps"][3:]
    assert (closed.gap_id, closed.to_time, closed.how) == ("mine", START, "restarted")
    assert closed.repaired_at == START


@pytest.fixture
async def late(memory: Memory, tmp_path: Path) -> MarketStream:
    """A stream that was told a trade long after its memory let that second go."""
    stream = await prepared(tmp_path)
    everything = trades(1, 1_000)
    await take(stream, everything[:30] + everything[31:])
    await take(stream, [everything[30]])
    return stream


async def test_stream_trade_later_than_memory_rebuilds_all_that_holds_it(
    late: MarketStream, memory: Memory
) -> None:
    late._closed += await late._late.rebuild()
    await late._tick(late._watermark())
    assert_candles_are_those_of_trades(memory)


async def test_stream_trade_later_than_memory_waits_for_a_store_that_is_down(
    late: MarketStream, memory: Memory
) -> None:
    memory.store_is_down = True
    assert await late._late.rebuild() == []
    memory.store_is_down = False
    late._closed += await late._late.rebuild()
    await late._tick(late._watermark())
    assert_candles_are_those_of_trades(memory)


async def test_stream_gap_stays_open_while_the_candles_of_its_trades_wait_for_the_store(
    late: MarketStream, memory: Memory
) -> None:
    gap = Gap("g", "binance", "BTC-USDT", "trades", "sequence", 31, 31, START, START, START)
    await late.gap(msgspec.structs.replace(gap, repaired_at=START + 1, how="arrived late"))
    memory.store_is_down = True
    await late._gaps.settle(late._write_candles)
    assert memory.rows["feed_gaps"] == []
    memory.store_is_down = False
    await late._gaps.settle(late._write_candles)
    assert [row.how for row in memory.rows["feed_gaps"]] == ["arrived late"]
    assert_candles_are_those_of_trades(memory)


async def test_stream_rebuild_that_is_cancelled_by_a_stop_is_made_up_for(
    late: MarketStream, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, asked = late._late._flush, asyncio.Event()

    async def hang() -> None:
        asked.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(late._late, "_flush", hang)
    task = asyncio.create_task(late._rebuild())
    await asked.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    monkeypatch.setattr(late._late, "_flush", flush)
    await late._gaps.take(
        Gap("g", "binance", "BTC-USDT", "trades", "sequence", 31, 31, 1, 1, 1, repaired_at=2)
    )
    await late._gaps.settle(late._write_candles)
    assert_candles_are_those_of_trades(memory)


async def test_stream_rebuilt_candles_are_told_once_beside_those_that_closed_meanwhile(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.actors.market_stream.TICK_S", 0.0)
    stream = await prepared(tmp_path)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def rebuild() -> list[Candle]:
        asked.set()
        await answer.wait()
        answer.clear()
        return [candle(2)]

    monkeypatch.setattr(stream._late, "rebuild", rebuild)
    stream._closed = [candle(0)]
    stream.spawn(stream._rebuild_for_ever(), "rebuilding candles")
    await asked.wait()
    await stream._tick(START)
    stream._closed.append(candle(1))
    asked.clear()
    answer.set()
    await asked.wait()
    await stream._tick(START)
    assert [bar.open_time for bar in memory.rows["candles"]] == [0, 1, 2]
    await stream.drain()


async def test_stream_interval_that_closes_during_a_rebuild_is_left_to_the_builder(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store lacks the last minute of the quarter of an hour that ends meanwhile."""
    stream = await prepared(tmp_path)
    everything = trades(1, 1_000)
    await take(stream, everything[:30] + everything[31:890])
    await stream.events([everything[30]])
    flush = stream._writer.flush

    async def flush_late() -> None:
        await flush()
        await stream.events(everything[890:])
        stream._closed += stream._builder.advance(stream._watermark())

    monkeypatch.setattr(stream._writer, "flush", flush_late)
    await stream._rebuild()
    await stream._tick(stream._watermark())
    assert_candles_are_those_of_trades(memory)
    whole = resample(candles_from_trades(everything), Timeframe.M15)[0]
    stored = [bar for bar in memory.newest("candles") if bar.timeframe == "15m" and bar.is_closed]
    assert content(stored) == content([whole])


async def test_stream_gap_is_closed_only_after_the_candles_of_its_trades_are_written(
    memory: Memory, tmp_path: Path
) -> None:
    stream = await prepared(tmp_path)
    everything = trades(1, 1_000)
    await take(stream, everything[:30] + everything[31:])
    closed = Gap("g", "binance", "BTC-USDT", "trades", "sequence", 31, 31, START, START, START)
    await stream.repaired([everything[30]])
    await stream.gap(msgspec.structs.replace(closed, repaired_at=START + 1, how="fetched"))
    await stream._gaps.settle(stream._write_candles)
    # Killed here: no tick has taken the candles.
    assert [row.how for row in memory.rows["feed_gaps"]] == ["fetched"]
    assert_candles_are_those_of_trades(memory)


async def test_stream_drained_right_after_a_trade_later_than_memory_leaves_no_candle_behind(
    late: MarketStream, memory: Memory
) -> None:
    late.phase = Phase.RUNNING
    await late.drain()
    assert_candles_are_those_of_trades(memory)


async def test_stream_takes_up_what_a_killed_process_left_on_disk(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = trades(1, 400)
    killed = await prepared(tmp_path)
    await take(killed, everything[:100])
    spooled = everything[100:140]
    stream = stream_over(tmp_path)

    async def flush() -> None:
        memory.rows["trades"] += spooled
        spooled.clear()

    monkeypatch.setattr(stream._writer, "flush", flush)
    await stream.prepare(REPLAYED)
    assert stream._taken.last_trades["BTC-USDT"][0] == 140
    await take(stream, everything[140:])
    assert_candles_are_those_of_trades(memory)


async def test_stream_started_again_keeps_the_begin_of_what_it_holds(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second stream tells again what the first had refused: a part of the minute before."""
    memory.rows["trades"] = trades(20, 30)
    first = memory.rows["trades"][0].exchange_time
    made: dict[str, Any] = {}
    monkeypatch.setattr(
        "engine.actors.market_stream.StreamLoop", lambda *_, **named: made.update(named)
    )
    stream = await prepared(tmp_path)
    permit = SharedBudget(stream._bus, "connects", "", "", 1, 1.0)
    stream._venue = VenueEndpoint()
    stream._new_loop("", ("trades",), permit)
    assert made["known_first"] == {"BTC-USDT": first}
    stream._venue = REPLAYED  # a recording may be older than what is stored
    stream._new_loop("", ("trades",), permit)
    assert made["known_first"] == {}


@pytest.mark.parametrize("came_back", [False, True])
async def test_stream_killed_after_it_stored_what_came_behind_a_gap_repairs_that_gap(
    memory: Memory, tmp_path: Path, came_back: bool
) -> None:
    """The end of the gap was not written yet, and no skipped id tells of it."""
    lost = START - 60 * NS_PER_S

    def told(at: int) -> Trade:
        return Trade("bybit", "BTC-USDT", f"at-{at}", 0, 100.0, 1.0, "buy", at, at)

    back = [told(lost + number * NS_PER_S) for number in (10, 11) if came_back]
    memory.rows["trades"] = [told(lost - NS_PER_S), told(lost), *back]
    gap = Gap("g", "bybit", "BTC-USDT", "trades", "disconnect", None, None, lost, None, lost)
    memory.rows["feed_gaps"] = [gap]
    config = config_for(tmp_path, "exchanges.bybit.instruments=[BTC-USDT]")
    wiring = replace(WIRING, starts_at=START)
    stream = MarketStream("stream-bybit-0", config, wiring, "bybit", ("BTC-USDT",), [])
    await stream.prepare(REPLAYED)
    over = memory.rows["feed_gaps"][-1]
    if came_back:
        assert (over.gap_id, over.to_time, over.repaired_at) == ("g", back[0].exchange_time, None)
        assert stream._left == [over]
    else:
        assert (over.how, stream._left) == ("restarted", [])


async def test_stream_that_cannot_take_offered_trades_says_so(
    memory: Memory, tmp_path: Path
) -> None:
    stream = await prepared(tmp_path)
    with pytest.raises(ConnectionError, match="does not stream yet"):
        await stream.offer(trades(1, 2))

    class Behind:
        channels = ("trades",)

        def offer(self, _: list[Trade]) -> bool:
            return False

    stream.phase = Phase.RUNNING
    stream._connections = Connections("binance", [Behind()])  # type: ignore[list-item]
    with pytest.raises(ConnectionError, match="cannot take trades now"):
        await stream.offer(trades(1, 2))
