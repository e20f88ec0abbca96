"""The loop against a real WebSocket server on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from exchanges_fakes import NOW, QUICK, RememberingSink, streaming, top_frame, trade_frame, venue
from websockets.asyncio.server import ServerConnection

from engine.clock import DataClock
from engine.config import ExchangeConfig
from engine.domain.market import MarketEvent, Trade
from engine.exchanges import connection, stream
from engine.exchanges.backoff import Backoff
from engine.exchanges.kraken import Kraken
from engine.exchanges.recording import Recorder, read_frames
from engine.exchanges.registry import exchange
from engine.exchanges.replay import inspect_recordings
from engine.exchanges.stream import StreamLoop


async def test_stream_hands_on_trades_and_tops_in_order() -> None:
    async def behaviour(socket: ServerConnection, _: int) -> None:
        assert socket.request is not None
        assert socket.request.path == "/stream?streams=btcusdt@trade/btcusdt@bookTicker"
        for number in (1, 2):
            await socket.send(trade_frame(number))
        await socket.send(top_frame())

    sink = RememberingSink()
    async with venue(behaviour) as url, streaming(url, sink) as loop:
        await sink.until(lambda: len(sink.received) == 3)
        status = loop.status()
    assert [type(event).__name__ for event in sink.received] == ["Trade", "Trade", "BookTop"]
    assert sink.ids == [1, 2]
    assert {event.receive_time for event in sink.received} == {NOW}
    assert (status.connected, status.frames, status.events, status.bad) == (True, 3, 3, 0)
    assert status.last_event == {("BTC-USDT", "trades"): NOW, ("BTC-USDT", "book_top"): NOW}
    assert status.age_ms("BTC-USDT", "trades", NOW + 1_500_000) == 1.5
    assert sink.states == [True, False]


async def test_stream_bad_frames_are_set_aside_logged_once_and_do_not_stop_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = [
        "garbage",
        "more garbage",
        trade_frame(2)[:70],
        trade_frame(2, price="NaN"),
        trade_frame(9, symbol="FOOUSDT"),
        '{"error":{"code":2,"msg":"no"},"id":1}',
    ]

    async def behaviour(socket: ServerConnection, _: int) -> None:
        await socket.send(trade_frame(1))
        for frame in bad:
            await socket.send(frame)
        await socket.send(b"\xff\x00")
        await socket.send(trade_frame(2))

    sink = RememberingSink()
    logging.getLogger("engine").propagate = True
    with caplog.at_level(logging.WARNING, "engine.exchanges.intake"):
        async with venue(behaviour) as url, streaming(url, sink) as loop:
            await sink.until(lambda: sink.ids == [1, 2] and len(sink.letters) == 7)
            assert loop.status().bad == 7
    assert [letter.kind for letter in sink.letters] == [
        "not_json",
        "not_json",
        "not_json",
        "bad_price",
        "unknown_symbol",
        "refused",
        "not_json",
    ]
    assert sink.letters[0].frame == b"garbage"
    assert {letter.exchange for letter in sink.letters} == {"binance"}
    said = {record.message for record in caplog.records if "bad frame" in record.message}
    assert len(said) == 4
    assert all(message.startswith("binance: ") for message in said)


async def test_stream_trade_from_the_future_is_set_aside_and_its_id_stays_missing() -> None:
    async def behaviour(socket: ServerConnection, _: int) -> None:
        await socket.send(trade_frame(1))
        await socket.send(trade_frame(2).replace('"T":1723161255342', '"T":1823161255342'))
        await socket.send(trade_frame(3))

    sink = RememberingSink()
    async with venue(behaviour) as url, streaming(url, sink):
        await sink.until(lambda: sink.ids == [1, 3])
    (letter,) = sink.letters
    assert letter.kind == "future_time"
    assert "trade 2 of BTC-USDT claims to be 100000000 s ahead of our clock" in letter.reason
    (gap,) = [gap for gap in sink.gaps if gap.cause == "sequence"]
    assert (gap.from_sequence, gap.to_sequence) == (2, 2)


async def test_stream_book_that_nobody_asked_for_is_passed_over() -> None:
    async def behaviour(socket: ServerConnection, _: int) -> None:
        await socket.send(
            '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255343,'
            '"s":"BTCUSDT","U":1,"u":2,"b":[["9.0","1.0"]],"a":[]}}'
        )
        await socket.send(trade_frame(1))

    sink = RememberingSink()
    async with venue(behaviour) as url, streaming(url, sink) as loop:
        await sink.until(lambda: sink.ids == [1])
        assert loop.status().reconnects == 0


async def test_stream_duplicates_and_late_trades_pass_once() -> None:
    async def behaviour(socket: ServerConnection, _: int) -> None:
        for number in (1, 2, 2, 4, 3, 3, 5):
            await socket.send(trade_frame(number))

    sink = RememberingSink()
    async with venue(behaviour) as url, streaming(url, sink) as loop:
        await sink.until(lambda: 5 in sink.ids)
        status = loop.status()
    assert sink.ids == [1, 2, 4, 3, 5]
    assert (status.duplicates, status.out_of_order) == (2, 1)
    sequence = [gap for gap in sink.gaps if gap.cause == "sequence"]
    assert [(gap.from_sequence, gap.to_sequence, gap.how) for gap in sequence] == [
        (3, 3, ""),
        (3, 3, "arrived late"),
    ]


async def test_stream_reconnects_and_names_what_it_missed() -> None:
    async def behaviour(socket: ServerConnection, number: int) -> None:
        await socket.send(trade_frame(1 if number == 1 else 4))
        await socket.send(top_frame())
        if number == 1:
            await socket.close(1001, "maintenance")

    sink = RememberingSink()
    async with venue(behaviour) as url, streaming(url, sink) as loop:
        await sink.until(lambda: sink.ids == [1, 4] and len(sink.gaps) == 4)
        assert loop.status().reconnects == 1
        assert loop.status().broken == {}
    newest = {gap.channel: gap for gap in sink.gaps}
    assert {gap.cause for gap in sink.gaps} == {"disconnect"}
    assert (newest["trades"].from_sequence, newest["trades"].to_sequence) == (2, 3)
    assert newest["trades"].repaired_at is None
    assert newest["book_top"].how == "resumed"
    assert sink.states == [True, False, True, False]


async def test_stream_broken_connection_without_close_is_survived() -> None:
    async def behaviour(socket: ServerConnection, number: int) -> None:
        await socket.send(trade_frame(number))
        if number == 1:
            socket.transport.abort()

    sink = RememberingSink()
    async with venue(behaviour) as url, streaming(url, sink):
        await sink.until(lambda: 2 in sink.ids)


async def test_stream_silent_connection_is_opened_anew() -> None:
    async def behaviour(socket: ServerConnection, number: int) -> None:
        await socket.send(trade_frame(number))

    sink = RememberingSink()
    async with venue(behaviour) as url, streaming(url, sink, config={"silence_ms": 60}):
        await sink.until(lambda: len(sink.ids) >= 3)
    assert sink.ids[:3] == [1, 2, 3]


async def test_stream_waiting_for_its_sink_is_not_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH_EVENTS", 2)
    released, sent = asyncio.Event(), 20_000

    class SlowSink(RememberingSink):
        async def events(self, events: Sequence[MarketEvent]) -> None:
            await released.wait()
            await super().events(events)

    async def behaviour(socket: ServerConnection, _: int) -> None:
        for number in range(1, sent + 1):
            await socket.send(trade_frame(number))

    sink = SlowSink()
    async with venue(behaviour) as url, streaming(url, sink, config={"silence_ms": 40}) as loop:
        asyncio.get_running_loop().call_later(0.3, released.set)
        await released.wait()
        frames_held = loop.status().frames
        await sink.until(lambda: len(sink.ids) == sent)
        assert loop.status().reconnects == 0
    assert frames_held < sent / 4, "what a few reads of the socket brought"
    assert sink.ids == list(range(1, sent + 1))


async def test_stream_oversized_frame_is_counted_and_survived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "MAX_FRAME_BYTES", 1000)

    async def behaviour(socket: ServerConnection, number: int) -> None:
        await socket.send("x" * 1001 if number == 1 else trade_frame(1))

    sink = RememberingSink()
    async with venue(behaviour) as url, streaming(url, sink):
        await sink.until(lambda: sink.ids == [1])
    (letter,) = sink.letters
    assert letter.kind == "oversized"
    assert "1001" in letter.reason


async def test_stream_stale_feed_is_reported_while_the_other_flows() -> None:
    clock = DataClock(NOW)

    async def behaviour(socket: ServerConnection, _: int) -> None:
        await socket.send(trade_frame(1))
        await socket.send(top_frame())

    sink = RememberingSink()
    config = {"stale_after_ms": 40}
    async with venue(behaviour) as url, streaming(url, sink, config=config, clock=clock) as loop:
        await sink.until(lambda: len(sink.received) == 2)
        clock.advance(NOW + 41_000_000)
        await sink.until(lambda: len(sink.gaps) == 2)
        assert set(loop.status().broken.values()) == {"stale"}
    assert {(gap.channel, gap.to_time) for gap in sink.gaps} == {
        ("trades", None),
        ("book_top", None),
    }


async def test_stream_hole_since_the_last_run_is_a_restart_gap() -> None:
    async def behaviour(socket: ServerConnection, _: int) -> None:
        await socket.send(trade_frame(8))

    sink = RememberingSink()
    known = {"BTC-USDT": (5, NOW - 9)}
    async with venue(behaviour) as url, streaming(url, sink, known_last=known):
        await sink.until(lambda: bool(sink.gaps) and bool(sink.ids))
    assert (sink.gaps[0].cause, sink.gaps[0].from_sequence, sink.gaps[0].to_sequence) == (
        "restart",
        6,
        7,
    )


async def test_stream_venue_that_is_not_there_is_tried_again_until_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries, enough = 0, asyncio.Event()

    def delay_s(_: Backoff) -> float:
        nonlocal tries
        tries += 1
        if tries == 3:
            enough.set()
        return 0.0

    async def behaviour(socket: ServerConnection, _: int) -> None:
        await socket.close()

    monkeypatch.setattr(Backoff, "delay_s", delay_s)
    async with venue(behaviour) as url:
        pass
    sink = RememberingSink()
    async with streaming(url, sink) as loop:
        await asyncio.wait_for(enough.wait(), 5)
        assert not loop.status().connected
    assert (sink.received, sink.states, sink.gaps) == ([], [], [])


async def test_stream_stopped_before_it_runs_does_not_connect() -> None:
    async with streaming("ws://127.0.0.1:9", RememberingSink()) as loop:
        pass
    assert loop.status().reconnects == 0


async def test_stream_sink_error_ends_the_run_with_it() -> None:
    class BrokenSink(RememberingSink):
        async def events(self, events: Sequence[MarketEvent]) -> None:
            raise RuntimeError("disk gone")

    async def behaviour(socket: ServerConnection, _: int) -> None:
        await socket.send(trade_frame(1))

    async with venue(behaviour) as url:
        loop = StreamLoop(
            exchange("binance"),
            url,
            ["BTC-USDT"],
            ExchangeConfig(),
            QUICK,
            DataClock(NOW),
            BrokenSink(),
        )
        with pytest.raises(RuntimeError, match="disk gone"):
            await loop.run()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stream_subscribes_by_message_and_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kraken, "ping_interval_s", 0.01)
    heard: list[dict[str, object]] = []

    async def behaviour(socket: ServerConnection, _: int) -> None:
        async for message in socket:
            heard.append(json.loads(message))
            await socket.send('{"channel":"heartbeat"}')

    sink = RememberingSink()
    async with venue(behaviour) as url, streaming(url, sink, name="kraken"):
        await sink.until(lambda: sink.heartbeats >= 4)
    methods = [message["method"] for message in heard]
    assert methods.count("subscribe") >= 1
    assert methods.count("ping") >= 1


async def test_stream_that_cannot_connect_has_a_gap_behind_what_a_second_one_tells() -> None:
    sink = RememberingSink()
    told = Trade("bybit", "BTC-USDT", "a", 0, 1.0, 1.0, "buy", NOW, NOW)
    async with streaming("ws://127.0.0.1:1", sink, "bybit") as loop:
        while not loop.offer([told]):  # noqa: ASYNC110 - nothing is set by it
            await asyncio.sleep(0)
        await sink.until(lambda: len(sink.gaps) == 1)
    (gap,) = sink.gaps
    assert (gap.cause, gap.from_time, gap.to_time) == ("disconnect", NOW, None)


async def test_stream_recorder_holds_every_frame_byte_for_byte(tmp_path: Path) -> None:
    frames: list[str | bytes] = [trade_frame(1), "garbage\nin lines", b"\xff\xfe"]

    async def behaviour(socket: ServerConnection, _: int) -> None:
        for frame in frames:
            await socket.send(frame)

    sink = RememberingSink()
    recorder = Recorder(tmp_path, "binance", DataClock(NOW))
    async with venue(behaviour) as url, streaming(url, sink, recorder=recorder) as loop:
        await sink.until(lambda: len(sink.letters) == 2)
        assert loop.status().frames == 3
    (recording,) = inspect_recordings([tmp_path])
    assert list(read_frames(recording.path)) == [
        (NOW, frame.encode() if isinstance(frame, str) else frame) for frame in frames
    ]
