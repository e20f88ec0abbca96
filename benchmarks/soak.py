"""A long run of 1,000 instruments of five venues: whether memory stays flat, and what the lag is.

Run it with ``python -m benchmarks.soak`` or ``engine bench soak --minutes 10``. ``engine up`` runs
whole, in a folder of its own (Ray, the embedded store and bus, one stream for each venue and kind
of connection, features, rankings, HTTP), and streams trades and quotes over real sockets from
``python -m engine.simulator``, a process of its own on the same machine and the same clock.

Once a second the resident memory of every process is taken. The first fifth of the run is warm-up:
streams fetch the trades of the minute before they connected, and caches fill. After it, memory is
*flat* where it stays within 5 % of its median.

The lag is the receive time of every trade after the warm-up, less the moment when the simulator
sent it; the ratio is the lag's 99th percentile to 250 ms, the most that is allowed. The simulator
looks at its market ten times a second where it gets the time, and sends what has happened since the
look before: a trade is 50 ms old on average by then, and older where the simulator had to wait for
a core or was busy with another market. ``since it happened`` is the whole, from the exchange time
on: the simulator's lateness is in it, which is not the engine's. ``written`` is the time from the
receipt to the row in the store, in whole seconds rounded up (`trades.inserted_at` has no finer
ones).

The goal is for 5,000 events a second: it is said whether as many were received. Somewhat more are
sent by default: of a simulator set to 5,000, 4,923 were received.

In the end every stored trade is compared with the simulator's ledger. The exit code is 1 where a
goal was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.machine import describe_machine
from benchmarks.soak_market import SoakVenues, instruments, simulator, simulator_config
from benchmarks.steadiness import WARM_UP_SHARE, Memory, steadiness
from benchmarks.tick_to_ranking import buckets, engine, quantile
from engine.clock import NS_PER_MS, NS_PER_S
from engine.domain.instrument import Market
from engine.domain.market import Trade
from engine.errors import EngineError
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint, parse_store_url
from engine.store.reader import Reader

LAG_GOAL_MS = 250.0
LAG_GOAL_RATE = 5000.0
"""Events a second at which the lag has to be below that."""
SETTLE_S = 5.0
"""What is younger at the end may still be on its way to the store."""

START_PATIENCE_S = 300.0

Markets = Mapping[str, Sequence[str]]

LAG_SQL = """
SELECT toUnixTimestamp64Nano(exchange_time) AS happened,
       toUnixTimestamp64Nano(receive_time) AS received,
       toUnixTimestamp(inserted_at) + 1 - toUnixTimestamp64Nano(receive_time) / 1e9 AS written
FROM trades
WHERE exchange = {exchange:String}
  AND exchange_time >= fromUnixTimestamp64Nano({start:Int64})
  AND exchange_time < fromUnixTimestamp64Nano({end:Int64})
"""


class RunningEngine:
    """``engine up`` in a folder, and what it tells of itself.

    Parameters
    ----------
    folder
        Where its run file is.
    """

    def __init__(self, folder: Path) -> None:
        (file,) = (folder / "state").glob("run-*.json")
        self._run: dict[str, Any] = json.loads(file.read_text())
        endpoint = parse_store_url(self._run["store_url"])
        assert isinstance(endpoint, StoreEndpoint)
        self.store = Store(endpoint)
        self.metrics_url: str = self._run["metrics_url"]

    def status(self) -> dict[str, Any]:
        """Return ``/v1/status``'s account of the engine."""
        answer = httpx.get(self._run["http_url"] + "/v1/status", timeout=10).raise_for_status()
        found: dict[str, Any] = answer.json()["engine"]
        return found

    def parts(self) -> dict[psutil.Process, str]:
        """Return every process, with the name of the actor in it, or the program's."""
        names = {actor["pid"]: actor["name"] for actor in self.status()["actors"]}
        top = psutil.Process(self._run["pid"])
        found = {top: "engine up"}
        for process in top.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                found[process] = names.get(process.pid) or _program(process)
        return found

    def events(self) -> dict[str, float]:
        """Return by kind how many events were decoded so far."""
        found: dict[str, float] = {}
        text = httpx.get(self.metrics_url, timeout=10).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "engine_events_total":
                    kind = sample.labels["kind"]
                    found[kind] = found.get(kind, 0.0) + sample.value
        return found


def _program(process: psutil.Process) -> str:
    """Name a process that is no actor of ours."""
    name = process.name()
    if name.startswith("redis"):
        return "redis"
    return "Serve" if name.startswith(("ray::Serve", "ray::Proxy", "haproxy")) else "Ray"


@contextlib.contextmanager
def running_engine(folder: Path, venues: SoakVenues, markets: Markets) -> Iterator[RunningEngine]:
    """Run the engine on these venues until the block ends."""
    tree = {
        "exchanges": {
            name: {**venues.exchanges[name], "instruments": list(names), "rest_per_second": 1000.0}
            for name, names in markets.items()
        },
        "features": {"timeframes": ["1m"]},
        "ranking": {"timeframe": "1m"},
        "serve": {"port": 0},
        "metrics": {"port": 0},
    }
    file = folder / "soak.yaml"
    file.write_text(yaml.safe_dump(tree))
    engine(folder, "up", "--detach", "--config", str(file))
    try:
        running = RunningEngine(folder)
        try:
            yield running
        finally:
            running.store.close()
    finally:
        engine(folder, "down")


def watch(running: RunningEngine, simulator_pid: int, seconds: float) -> Memory:
    """Sample memory once a second."""
    memory = Memory({**running.parts(), psutil.Process(simulator_pid): "simulator"})
    began = time.monotonic()
    while (now := time.monotonic() - began) <= seconds:
        memory.look(now)
        time.sleep(max(0.0, began + len(memory.seconds) - time.monotonic()))
    return memory


def differences(
    venues: SoakVenues, store: Store, markets: Markets, start: int, end: int
) -> tuple[int, list[str]]:
    """Compare what is stored with the truth.

    Returns
    -------
    tuple
        How many trades happened, and a sentence for each market that differs.
    """
    reader, happened, found = Reader(store), 0, []
    for market in [Market(name, one) for name, names in markets.items() for one in names]:
        truth = sorted(map(_content, venues.ledger(market, start, end)))
        stored = sorted(map(_content, reader.trades(*market, start, end)))
        happened += len(truth)
        if truth != stored:
            lost, foreign = len(set(truth) - set(stored)), len(set(stored) - set(truth))
            found.append(
                f"{market}: {len(truth)} happened, {len(stored)} rows; {lost} lost, {foreign} wrong"
            )
    return happened, found


def _content(trade: Trade) -> tuple[str, float, float, str, int]:
    return (trade.trade_id, trade.price, trade.amount, trade.side, trade.exchange_time)


def soak(minutes: float, markets: Markets, events_per_second: float, folder: Path) -> list[str]:
    """Run, print the tables, and say what fell short.

    Parameters
    ----------
    minutes
        Length of the run.
    markets
        By venue its instruments.
    events_per_second
        Trades and quotes that the simulator is set to send.
    folder
        Where all files are made.
    """
    config = simulator_config(events_per_second, markets, time.time_ns(), round(minutes) + 2)
    began = time.monotonic()
    with (
        simulator(folder, config, markets) as (venues, simulator_pid),
        running_engine(folder, venues, markets) as running,
    ):
        print(f"ready after {time.monotonic() - began:.0f} s", flush=True)
        time.sleep(SETTLE_S)
        start, before = time.time_ns(), running.events()
        ticks = buckets(running.metrics_url)
        psutil.cpu_percent()
        memory = watch(running, simulator_pid, minutes * 60)
        busy = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
        end, after = time.time_ns(), running.events()
        ticks = {b: n - ticks.get(b, 0.0) for b, n in buckets(running.metrics_url).items()}
        status = running.status()
        time.sleep(SETTLE_S)
        short = show_memory(memory)
        own = sum(memory.cores(part) for part in memory.mib)
        print(f"of {psutil.cpu_count()} cores: {own:.2f} ours, {busy - own:.2f} somebody else's")
        rates = {
            kind: (after[kind] - before.get(kind, 0.0)) / (end - start) * NS_PER_S for kind in after
        }
        each = ", ".join(f"{rate:,.0f} {kind}" for kind, rate in sorted(rates.items()) if rate)
        print(f"\n{sum(rates.values()):,.0f} events a second ({each}): {reached(rates)}")
        judged = start + round(WARM_UP_SHARE * (end - start))
        short += show_lag(venues, running.store, list(markets), judged, end)
        middle, worst = quantile(ticks, 0.5), quantile(ticks, 0.99)
        print(f"receipt to ranking: p50 {middle:.2f} s, p99 {worst:.2f} s")
        short += show_health(status)
        short += show_gaps(running.store, start)
        settled = end - round(SETTLE_S * NS_PER_S)
        happened, wrong = differences(venues, running.store, markets, start, settled)
        print(f"{happened:,} trades in the ledger; markets that differ: {len(wrong)}")
    return short + wrong


def reached(rates: Mapping[str, float]) -> str:
    """Say whether what was received is as much as the lag's goal is set for.

    Parameters
    ----------
    rates
        Kind of event -> how many a second.
    """
    rate = sum(rates.values())
    if rate >= LAG_GOAL_RATE:
        return f"the {LAG_GOAL_RATE:,.0f} of the lag's goal are reached"
    return (
        f"{LAG_GOAL_RATE - rate:,.0f} fewer than the {LAG_GOAL_RATE:,.0f} of the lag's goal, which "
        "this run does not show; give more --events"
    )


def show_memory(memory: Memory) -> list[str]:
    """Print a line for each part; return what is not flat."""
    parts = sorted(memory.mib)
    streams = [part for part in parts if part.startswith("stream-")]
    own = [part for part in parts if part != "simulator"]
    series = {part: memory.mib[part] for part in parts}
    series["all streams"] = memory.total(streams)
    series["whole engine"] = memory.total(own)
    print(
        f"\n{'resident memory':24}{'start MiB':>10}{'end':>8}{'MiB/min':>9}{'+- %':>7}{'cores':>7}"
    )
    short = []
    for part, values in series.items():
        found = steadiness(memory.seconds, values)
        cores = f"{memory.cores(part):7.2f}" if part in memory.mib else ""
        print(
            f"{part:24}{found.start:10.0f}{found.end:8.0f}{found.slope:9.2f}"
            f"{100 * found.swing:7.1f}{cores}"
        )
        if part != "simulator" and not found.is_flat:
            short.append(f"the memory of {part} moved by {100 * found.swing:.1f} %")
    return short


class Lags(NamedTuple):
    """Of some trades, a row each."""

    sent: np.ndarray
    """From the simulator's sending to the receipt, ms."""
    happened: np.ndarray
    """From the trade to the receipt, ms."""
    written: np.ndarray
    """From the receipt to the row, s."""


def lags(venues: SoakVenues, store: Store, exchange: str, start: int, end: int) -> Lags:
    """Return the lags of a venue's trades in ``[start, end)``."""
    rows = store.query_arrow(LAG_SQL, {"exchange": exchange, "start": start, "end": end})
    happened, received, written = (rows.column(name).to_numpy() for name in rows.column_names)
    looks = np.array(venues.looks(exchange))
    if happened.size and happened.min() < looks[0]:
        raise EngineError(f"the simulator no longer knows when it sent {exchange}'s first trades")
    # With the first look at or after it; looks were asked for after the rows.
    sent = looks[np.searchsorted(looks, happened)]
    return Lags((received - sent) / NS_PER_MS, (received - happened) / NS_PER_MS, written)


def show_lag(
    venues: SoakVenues, store: Store, exchanges: Sequence[str], start: int, end: int
) -> list[str]:
    """Print each venue's lag; return whether it is too much."""
    found = {name: lags(venues, store, name, start, end) for name in sorted(exchanges)}
    silent = [name for name, each in found.items() if not each.sent.size]
    if silent:
        return [f"no trade of {name} is stored" for name in silent]
    found["all"] = Lags(*(np.concatenate(each) for each in zip(*found.values(), strict=True)))
    print(
        f"\n{'lag of trades, ms':18}{'p50':>7}{'p99':>7}{'p99.9':>7}{'max':>8}{'p99/250':>9}"
        f"{'since it happened p50':>23}{'p99':>6}{'written s p50':>15}{'p99':>6}{'trades':>11}"
    )
    for name, each in found.items():
        p50, p99, p999, worst = np.quantile(each.sent, [0.5, 0.99, 0.999, 1])
        since, written = (np.quantile(values, [0.5, 0.99]) for values in each[1:])
        print(
            f"{name:18}{p50:7.0f}{p99:7.0f}{p999:7.0f}{worst:8.0f}{p99 / LAG_GOAL_MS:9.2f}"
            f"{since[0]:23.0f}{since[1]:6.0f}{written[0]:15.1f}{written[1]:6.1f}"
            f"{len(each.sent):11,}"
        )
    return [f"the lag's p99 is {p99:.0f} ms"] if p99 > LAG_GOAL_MS else []


def show_health(status: dict[str, Any]) -> list[str]:
    """Print what the streams counted; return what must not be."""
    names = ("reconnects", "bad_frames", "duplicates", "out_of_order", "repaired")
    counts = {name: sum(stream[name] for stream in status["streams"]) for name in names}
    counts["refused_rows"] = sum(stream["writer"]["refused_rows"] for stream in status["streams"])
    counts["restarts"] = sum(actor["restarts"] for actor in status["actors"])
    print(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items()))
    wanted_none = ("bad_frames", "refused_rows", "restarts")
    return [f"{name.replace('_', ' ')}: {counts[name]}" for name in wanted_none if counts[name]]


def show_gaps(store: Store, start: int) -> list[str]:
    """Print what is open; return the gaps of the run itself.

    What was traded before the streams connected is asked for, and Bybit has only the last 60
    trades of a spot market to give: such gaps stay open, and are not the run's.
    """
    gaps = Reader(store).open_gaps()
    kinds = Counter(f"{gap.cause} of {gap.channel}" for gap in gaps)
    print("open gaps:", ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none")
    mine = [gap for gap in gaps if gap.opened_at >= start and gap.cause != "start"]
    return [f"{len(mine)} gaps of the run are open"] if mine else []


def _end(*_: object) -> None:
    """End the engine and the simulator with the soak: a second signal must not cut that short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the machine and the tables; return 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the run")
    parser.add_argument("--instruments", type=int, default=1000, help="over all venues")
    # Somewhat more than the goal's rate: set to 5,000, 4,923 were received.
    parser.add_argument("--events", type=float, default=5200.0, help="trades and quotes a second")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        try:
            markets = instruments(options.instruments)
            short = soak(options.minutes, markets, options.events, Path(folder))
        except EngineError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except subprocess.CalledProcessError as error:
            print(f"error: engine {error.cmd[3]} failed: {error.stderr}", file=sys.stderr)
            return 3
    for sentence in short:
        print(f"missed: {sentence}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
