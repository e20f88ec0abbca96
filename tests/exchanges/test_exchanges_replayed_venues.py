"""Every venue, recorded and replayed as fast as can be: the same events each time, books too."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from exchanges_fakes import QUICK, RememberingSink

from engine.clock import DataClock, SystemClock
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
