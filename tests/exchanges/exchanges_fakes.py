"""A sink that remembers, and a venue on loopback that does what a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from websockets.asyncio.server import ServerConnection, serve

from engine.clock import DataClock
from engine.config import ExchangeConfig, ReconnectConfig
from engine.domain.market import DeadLetter, Gap, Heartbeat, MarketEvent, Trade
from engine.exchanges.registry import exchange
from engine.exchanges.stream import StreamLoop

NOW = 1_723_161_255_000_000_000
MARKETS = {
    "binance": "BTC-USDT",
    "binance_perp": "BTC-USDT-PERP",
    "coinbase": "BTC-USD",
    "kraken": "BTC-USD",
    # Of a spot market Bybit keeps the last 60 trades: a busy minute has more.
    "bybit": "BTC-USDT-PERP",
    "okx": "ETH-USDT",
}
"""Of each simulated venue, one that keeps the trades of a busy minute."""

QUICK = ReconnectConfig(base_ms=1, cap_ms=5, stable_ms=60_000)


class RememberingSink:
    """Keeps everything; `until` waits for a condition instead of a time."""

    def __init__(self) -> None:
        self.received: list[MarketEvent] = []
        self.gaps: list[Gap] = []
        self.fetched: list[Trade] = []
        self.letters: list[DeadLetter] = []
        self.states: list[bool] = []
        self.batches: list[int] = []
        self._changed = asyncio.Event()

    async def events(self, events: Sequence[MarketEvent]) -> None:
        self.received += events
        self.batches.append(len(events))
        self._changed.set()

    async def repaired(self, trades: Sequence[Trade]) -> None:
        self.received += trades
        self.fetched += trades
        self._changed.set()

    async def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self._changed.set()

    async def dead_letter(self, letter: DeadLetter) -> None:
        self.letters.append(letter)
        self._changed.set()

    async def state(self, *, connected: bool, reason: str) -> None:
        assert reason
        self.states.append(connected)
        self._changed.set()

    @property
    def ids(self) -> list[int]:
        return [event.sequence for event in self.received if isinstance(event, Trade)]

    @property
    def open_gaps(self) -> set[str]:
        repaired = {gap.gap_id for gap in self.gaps if gap.repaired_at}
        return {gap.gap_id for gap in self.gaps} - repaired

    @property
    def heartbeats(self) -> int:
        return sum(isinstance(event, Heartbeat) for event in self.received)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(40):
            while not condition():
                await self._changed.wait()
                self._changed.clear()


Behaviour = Callable[[ServerConnection, int], Awaitable[None]]


@contextlib.asynccontextmanager
async def venue(behaviour: Behaviour) -> AsyncIterator[str]:
    """Serve `behaviour(socket, number of the connection)`; then hold the connection open."""
    count = 0

    async def client(socket: ServerConnection) -> None:
        nonlocal count
        count += 1
        await behaviour(socket, count)
        await socket.wait_closed()

    async with serve(client, "127.0.0.1", 0, close_timeout=0.2) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def streaming(
    url: str, sink: RememberingSink, name: str = "binance", **options: object
) -> AsyncIterator[StreamLoop]:
    """Run a loop on BTC-USDT until the block ends."""
    config = ExchangeConfig.model_validate(
        {"silence_ms": 60_000, "stale_after_ms": 600_000} | dict(options.pop("config", {}))  # type: ignore[call-overload]
    )
    loop = StreamLoop(
        exchange(name),
        url,
        ["BTC-USDT"],
        config,
        QUICK,
        options.pop("clock", None) or DataClock(NOW),  # type: ignore[arg-type]
        sink,
        **options,  # type: ignore[arg-type]
    )
    task = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        await loop.stop()
        await task


def trade_frame(number: int, price: str = "61837.63000000", symbol: str = "BTCUSDT") -> str:
    """Return a Binance trade frame with the given id."""
    return (
        f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":1723161255343,'
        f'"s":"{symbol}","t":{number},"p":"{price}","q":"0.02000000","T":1723161255342,'
        '"m":true,"M":true}}'
    )


def top_frame() -> str:
    """Return a Binance book ticker frame."""
    return (
        '{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT",'
        '"b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}'
    )
