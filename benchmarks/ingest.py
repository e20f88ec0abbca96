"""From the socket to the store: trades a second that one `MarketStream` takes, whole.

Run it with ``python -m benchmarks.ingest`` or ``engine bench ingest``. A sender process writes
ready-made frames of Binance's ``@trade`` streams to a loopback socket, as fast as they are read.
They are received in three ways that take turns in one run:

- *bare*: a ``websockets`` client that counts messages: the reference, the most that can be had;
- *decoded*: our `StreamLoop` alone, whose sink counts;
- *stored*: a `MarketStream` (the class, without Ray), which keeps a ledger, builds candles and
  writes into the embedded store, which has a process of its own. Its time ends when the stream is
  drained, which is when the last trade is stored.

After each run the store must hold exactly the trades sent, each once; else the benchmark fails.
All use uvloop where it is installed, as Ray's workers do. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from benchmarks.frames import INSTRUMENTS
from benchmarks.loopback import sender
from benchmarks.machine import describe_machine
from engine.actors.market_stream import MarketStream
from engine.actors.wiring import VenueEndpoint, Wiring
from engine.bus.embedded import EmbeddedRedis
from engine.clock import SystemClock
from engine.config import Config, ExchangeConfig, ReconnectConfig, StoreConfig
from engine.domain.market import DeadLetter, Gap, Trade
from engine.exchanges.registry import exchange
from engine.exchanges.sink import FeedEvent
from engine.exchanges.stream import StreamLoop
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.endpoint import StoreEndpoint
from engine.store.schema import migrate

_VENUE = ExchangeConfig(instruments=INSTRUMENTS, channels=("trades",))


class Tally:
    """A sink that counts, and notes when the connection came up and when all was there."""

    def __init__(self, wanted: int) -> None:
        self.started = 0.0
        self.ended = 0.0
        self.complete = asyncio.Event()
        self._missing = wanted

    async def events(self, events: Sequence[FeedEvent]) -> None:
        """Count events."""
        self._missing -= len(events)
        if self._missing <= 0:
            self.ended = time.perf_counter()
            self.complete.set()

    async def repaired(self, trades: Sequence[Trade]) -> None:
        """Nothing was missing."""
        raise RuntimeError(f"{len(trades)} trades were repaired where none was missing")

    async def gap(self, gap: Gap) -> None:
        """Nothing may be missing: the sender makes no gap."""
        raise RuntimeError(f"a gap where none is: {gap}")

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Every frame is good."""
        raise RuntimeError(f"a good frame was set aside: {letter}")

    async def state(self, *, connected: bool, reason: str) -> None:
        """Note when the first connection came up."""
        if connected and not self.started:
            self.started = time.perf_counter()


class TimedStream(MarketStream):
    """A `MarketStream` that notes when its connection came up."""

    started = 0.0

    async def state(self, *, connected: bool, reason: str) -> None:
        """Note when the first connection came up."""
        if connected and not self.started:
            self.started = time.perf_counter()
        await super().state(connected=connected, reason=reason)


async def receive_bare(url: str, count: int) -> float:
    """Return the seconds in which a plain client receives all frames."""
    async with connect(url, compression=None, max_queue=1024, ping_interval=None) as socket:
        started = time.perf_counter()
        for _ in range(count):
            await socket.recv(decode=False)
        return time.perf_counter() - started


async def receive_decoded(url: str, count: int) -> float:
    """Return the seconds in which the stream loop hands all trades to its sink."""
    sink = Tally(count)
    loop = StreamLoop(
        exchange("binance"), url, INSTRUMENTS, _VENUE, ReconnectConfig(), SystemClock(), sink
    )
    running = asyncio.create_task(loop.run())
    await _either(sink.complete.wait(), running)
    await loop.stop()
    await running
    return sink.ended - sink.started


async def receive_stored(url: str, count: int, wiring: Wiring, folder: Path) -> float:
    """Return the seconds in which a market stream has all trades in the store."""
    config = Config(
        data_dir=str(folder),
        exchanges={"binance": _VENUE},
        store=StoreConfig(url=wiring.store.url),
    )
    stream = TimedStream("ingest", config, wiring, "binance", INSTRUMENTS, [])
    await stream.prepare(VenueEndpoint(ws_url=url, has_rest=False))
    await stream.run()
    while stream.details()["trades"] < count:
        if stream.problem:
            raise RuntimeError(stream.problem)
        await asyncio.sleep(0.005)
    await stream.drain()
    return time.perf_counter() - stream.started


async def _either(work: Coroutine[Any, Any, object], running: asyncio.Task[None]) -> None:
    """Wait for `work`, unless what runs beside it fails first."""
    waiting = asyncio.ensure_future(work)
    await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        running.result()


def expect_exactly(store: Store, count: int) -> None:
    """Check that the store holds so many trades, each once, and empty it.

    Raises
    ------
    RuntimeError
        Where it does not.
    """
    found = store.command("SELECT tuple(count(), uniqExact(instrument, trade_id)) FROM trades")
    if found != f"({count},{count})":
        raise RuntimeError(f"{count} trades were sent; stored and unique: {found}")
    store.command("TRUNCATE TABLE trades")


def _keep_store(pipe: Connection, folder: Path) -> None:
    home = EmbeddedStore(folder)
    endpoint = home.start()
    with Store(endpoint) as store:
        migrate(store, Config().store.retention)
    pipe.send(endpoint)
    with contextlib.suppress(EOFError):
        pipe.recv()
    home.stop()


@contextlib.contextmanager
def store_process(folder: Path) -> Iterator[StoreEndpoint]:
    """Run an embedded store in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_keep_store, args=(theirs, folder), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(10)
        process.kill()


def measure(count: int, runs: int, folder: Path) -> dict[str, list[float]]:
    """Return each way's trades a second, a figure a run.

    Parameters
    ----------
    count
        Trades that are sent in each way.
    runs
        How often; one more comes first, to warm up.
    folder
        Where the store is made.
    """
    rates: dict[str, list[float]] = {}
    bus = EmbeddedRedis(folder / "bus")
    with (
        sender(count) as url,
        store_process(folder / "store") as endpoint,
        Store(endpoint) as store,
    ):
        wiring = Wiring(endpoint, bus.start())
        ways: dict[str, Callable[[], Awaitable[float]]] = {
            "bare": lambda: receive_bare(url, count),
            "decoded": lambda: receive_decoded(url, count),
            "stored": lambda: receive_stored(url, count, wiring, folder),
        }
        try:
            for run in range(runs + 1):
                turn = run % len(ways)
                for name in [*list(ways)[turn:], *list(ways)[:turn]]:
                    took = _run(ways[name]())
                    if name == "stored":
                        expect_exactly(store, count)
                    if run:
                        rates.setdefault(name, []).append(count / took)
        finally:
            bus.stop()
    return rates


def _run(work: Awaitable[float]) -> float:
    async def wait() -> float:
        return await work

    try:
        import uvloop  # noqa: PLC0415 - an optional part of ray[serve]
    except ImportError:
        return asyncio.run(wait())
    return float(uvloop.run(wait()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the machine, and the ways with their ratio to the bare client."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trades", type=int, default=400_000, help="trades sent in each way")
    parser.add_argument(
        "--runs", type=int, default=5, help="timed runs, of which medians are taken"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(options.trades, options.runs, Path(folder))
    print(describe_machine())
    print(f"medians of {options.runs} runs of {options.trades:,} trades, all stored exactly once:")
    print(f"{'way':10}{'trades a second':>18}{'of bare, run by run':>22}")
    for name in ("bare", "decoded", "stored"):
        shares = [rate / bare for rate, bare in zip(rates[name], rates["bare"], strict=True)]
        median = statistics.median(rates[name])
        print(f"{name:10}{median:18,.0f}{statistics.median(shares):22.2f}")


if __name__ == "__main__":
    main()
