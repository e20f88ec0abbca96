"""Every venue, recorded and replayed as fast as can be: the same events each time, books too."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from exchanges_fakes import NOW, QUICK, RememberingSink, top_frame, trade_frame

from engine.clock import NS_PER_S, DataClock, SystemClock
from engine.config import ExchangeConfig, SimulatorConfig
from engine.domain.market import BookUpdate, Trade
from engine.exchanges.recording_run import NullSink, RecordingRun
from engine.exchanges.replay import ReplayServer, inspect_recordings
from engine.exchanges.sink import FeedEvent
from engine.exchanges.stream import StreamLoop
from engine.simulator.server import SimulatedVenues

MARKETS = {
    "binance": ["BTC-USDT"],
    "binance_perp": ["BTC-USDT-PERP"],
    "coinbase": ["BTC-USD"],
    "kraken": ["BTC-USD"],
    "bybit": ["BTC-USDT"],
    "okx": ["BTC-USDT-PERP"],
}
CHANNELS = ("trades", "book_top", "book")


class Keeping(NullSink):
    """Remembers what the recorder's own stream made of the frames."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[FeedEvent] = []
        self.enough = asyncio.Event()

    async def events(self, events: Sequence[FeedEvent]) -> None:
        self.received += events
        kinds = Counter(map(type, self.received))
        if kinds[Trade] >= 3 and len(kinds) >= 3 and kinds.total() >= 40:
            self.enough.set()


async def _record(name: str, folder: Path) -> list[FeedEvent]:
    """Record a simulated venue; return what a live stream made of it."""
    config = SimulatorConfig(trades_per_second=3_000.0)
    venues = SimulatedVenues(config, SystemClock(), {name: MARKETS[name]})
    ws_url, rest_url = (await venues.start()).exchanges[name]
    venue = ExchangeConfig.model_validate(
        {
            "ws_url": ws_url,
            "rest_url": rest_url,
            "rest_per_second": 1000,
            "instruments": MARKETS[name],
            "channels": CHANNELS,
            "book_deltas": True,
            "repair": False,
        }
    )
    run = RecordingRun(name, venue, QUICK, folder)
    run.sink = sink = Keeping()
    task = asyncio.create_task(run.run())
    await asyncio.wait_for(sink.enough.wait(), 40)
    await run.stop()
    await task
    await venues.stop()
    return sink.received


async def _replay(name: str, folder: Path) -> RememberingSink:
    server = ReplayServer(inspect_recordings([folder]), "max")
    url = (await server.start())[name]
    sink = RememberingSink()
    config = ExchangeConfig.model_validate({"channels": CHANNELS, "book_deltas": True})
    adapter = server.adapter(name)
    loop = StreamLoop(adapter, url, MARKETS[name], config, QUICK, DataClock(0), sink, stamped=True)
    await asyncio.wait_for(loop.run(), 60)
    await server.stop()
    assert sink.letters == []
    return sink


@pytest.mark.parametrize("name", MARKETS)
async def test_replay_of_any_venue_gives_the_same_events_every_time(
    name: str, tmp_path: Path
) -> None:
    live = await _record(name, tmp_path)
    first, second = await _replay(name, tmp_path), await _replay(name, tmp_path)
    assert first.received == second.received
    assert first.gaps == second.gaps
    trades = [event for event in live if isinstance(event, Trade)]
    assert [event for event in first.received if isinstance(event, Trade)] == trades
    # The book came to life from the recorded snapshot, be it a frame or an answer over REST.
    kinds = Counter(type(event).__name__ for event in first.received)
    assert kinds.keys() == Counter(type(event).__name__ for event in live).keys()
    assert kinds["Trade"] == len(trades)
    assert len(kinds) >= 3
    assert not any(isinstance(event, BookUpdate) for event in first.received)


# Silence


def _seconds(at: int | None) -> float | None:
    return None if at is None else (at - NOW) / NS_PER_S


@pytest.mark.parametrize("speed", ["max", 60.0, 1_000.0])
async def test_replay_of_a_silence_gives_the_same_gaps_at_any_speed(
    speed: float | Literal["max"], tmp_path: Path
) -> None:
    """Trades are silent from 1 s on, best prices from 30 s on, the whole recording then too."""
    frames = [(0, trade_frame(1)), (1, trade_frame(2))]
    frames += [(second, top_frame()) for second in range(5, 31, 5)]
    frames += [(120, trade_frame(3)), (121, top_frame()), (1_000_000, top_frame())]
    if speed != "max":
        frames.pop()  # eleven days
    lines = "".join(f"{NOW + at * NS_PER_S} {frame}\n" for at, frame in frames)
    (tmp_path / "silence.gz").write_bytes(gzip.compress(lines.encode()))
    server = ReplayServer(inspect_recordings([tmp_path]), speed)
    url = (await server.start())["binance"]
    sink, adapter = RememberingSink(), server.adapter("binance")
    config = ExchangeConfig.model_validate({"channels": ["trades", "book_top"]})
    loop = StreamLoop(
        adapter, url, ["BTC-USDT"], config, QUICK, DataClock(NOW), sink, stamped=True
    )  # fmt: skip
    await asyncio.wait_for(loop.run(), 60)
    await server.stop()
    told = [
        (gap.channel, gap.cause, _seconds(gap.opened_at), _seconds(gap.to_time), gap.how)
        for gap in sink.gaps
    ]
    # The recording begins at an odd second, and it is looked every two: at the even ones. All
    # its trades bear one time of the venue's.
    assert told[:4] == [
        ("trades", "stale", 63, None, ""),
        ("book_top", "stale", 91, None, ""),
        ("trades", "stale", 63, 0.342, "nothing missed"),
        ("book_top", "stale", 91, 121, "resumed"),
    ]
    later = [
        ("trades", "stale", 181, None, ""),
        ("book_top", "stale", 183, None, ""),
        ("book_top", "stale", 183, 1_000_000, "resumed"),
    ]
    assert told[4:] == (later if speed == "max" else [])
