"""The world of the chaos test: simulated venues in a process of their own, and an engine on a
cluster of two nodes, parts of which are killed.

What the engine stored is compared with the venues' own ledger, trade by trade and candle by
candle.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import ray
import yaml

from engine.actors.base import ActorReport
from engine.actors.placement import NAMESPACE, kill, place
from engine.actors.plan import make_plan
from engine.actors.supervisor import Supervisor
from engine.actors.wiring import resolve
from engine.candles.resample import candles_from_trades, resample
from engine.clock import NS_PER_S, SystemClock
from engine.config import Config, load_config
from engine.domain.instrument import Market
from engine.domain.market import Candle, Gap, Trade
from engine.domain.timeframe import Timeframe
from engine.errors import StoreError
from engine.store.client import Store
from engine.store.reader import Reader
from tests.local_ray import OBJECT_STORE_BYTES, cluster_of_nodes

CHECKED = (Timeframe.S1, Timeframe.M1)


def until(what: str, condition: Callable[[], object], patience_s: float = 60.0) -> None:
    """Wait for a condition; fail with what was waited for, and the condition's last word."""
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while True:
        found = condition()
        if found is True or found == []:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {patience_s:.0f} s: {found}")
        pause.wait(0.25)


class SimulatedWorld:
    """``python -m engine.simulator``, and its control port."""

    def __init__(self, folder: Path, tree: dict[str, Any]) -> None:
        file = folder / "simulator.yaml"
        file.write_text(yaml.safe_dump(tree))
        self._log = (folder / "simulator.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engine.simulator", "--config", str(file)],
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        self.endpoints: dict[str, Any] = json.loads(self._process.stdout.readline())
        self._http = httpx.Client(base_url=self.endpoints["control_url"], timeout=30.0)

    def order(self, what: str, **parameters: str | float) -> None:
        """Have the venues do something now."""
        self._http.post(f"/control/{what}", params=parameters).raise_for_status()

    def ledger(self, market: Market, start: int, end: int) -> list[Trade]:
        """Return every trade of a market in ``[start, end)``: the truth."""
        answer = self._http.get(
            "/control/ledger", params={**market._asdict(), "start": start, "end": end}
        ).raise_for_status()
        return [msgspec.json.decode(line, type=Trade) for line in answer.text.splitlines()]

    def instruments(self) -> dict[str, list[str]]:
        """Return what each venue listed until now, every generation."""
        found: dict[str, list[str]] = self._http.get("/control/instruments").json()
        return found

    def injected(self) -> dict[str, dict[str, int]]:
        """Return by venue and kind how often each fault happened."""
        found: dict[str, dict[str, int]] = self._http.get("/control/injected").json()
        return found

    def close(self) -> None:
        """End the process."""
        self._http.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


class ChaosWorld:
    """The engine under fire.

    Parameters
    ----------
    folder
        For data, logs and configurations.
    simulator
        ``simulator`` and ``exchanges`` of the simulated venues.
    overrides
        Further configuration of the engine.
    """

    def __init__(self, folder: Path, simulator: dict[str, Any], overrides: list[str]) -> None:
        self.venues = SimulatedWorld(folder, simulator)
        self._cleanup = ExitStack()
        self._family = set(psutil.Process().children(recursive=True))
        self._stopping = threading.Event()
        self._tending: threading.Thread | None = None
        self._supervisor: Any = None
        self._cluster: Any = None
        self.store: Any = None
        try:
            self._start(folder, simulator, overrides)
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path, simulator: dict[str, Any], overrides: list[str]) -> None:
        tree = {
            "data_dir": str(folder / "data"),
            "exchanges": self._exchanges(simulator["exchanges"]),
            "sentiment": {"model": "lexicon"},
            "sources": [
                {
                    "name": "simulated",
                    "kind": "simulated",
                    "location": self.venues.endpoints["news_url"],
                    "poll_s": 2,
                }
            ],
        }
        file = folder / "engine.yaml"
        file.write_text(yaml.safe_dump(tree))
        self.config: Config = resolve(load_config(file, overrides, environment={}))
        self.plan = make_plan(self.config)
        self._cluster = self._cleanup.enter_context(cluster_of_nodes(8))
        self._spare = self._cluster.add_node(num_cpus=8, object_store_memory=OBJECT_STORE_BYTES)
        ray.init(
            self._cluster.address, namespace=NAMESPACE, log_to_driver=False, logging_level="error"
        )
        self._supervisor = place(
            Supervisor, "supervisor", self.config, self.plan, None, near_head=True
        )
        ray.get(self._supervisor.start.remote())
        self._tending = threading.Thread(target=self._tend, daemon=True)
        self._tending.start()
        self.store = Store(self.plan.store)
        self.began = SystemClock().now_ns()

    def _exchanges(self, venues: dict[str, Any]) -> dict[str, Any]:
        addresses = self.venues.endpoints["exchanges"]
        return {
            name: {
                "ws_url": addresses[name]["ws_url"],
                "rest_url": addresses[name]["rest_url"],
                "rest_per_second": 200.0,
                "silence_ms": 4_000,
                "stale_after_ms": 60_000,
                "metadata_every_s": 2.0,
                **venue,
            }
            for name, venue in venues.items()
        }

    def _tend(self) -> None:
        """What ``engine up`` does: a supervisor whose process was replaced is started again."""
        while not self._stopping.wait(1.0):
            with suppress(Exception):
                ray.get(self._supervisor.start.remote(), timeout=60)

    # -- killing ---------------------------------------------------------------------------

    def report(self, name: str) -> ActorReport:
        """Ask an actor for its report."""
        handle = ray.get_actor(name, namespace=NAMESPACE)
        found: ActorReport = ray.get(handle.report.remote(), timeout=30)
        return found

    def kill(self, name: str) -> None:
        """Kill an actor's process with SIGKILL, and wait until another one works in its place."""
        before = self.report(name)
        os.kill(before.pid, signal.SIGKILL)
        until(f"{name} is back", lambda: self._is_new(name, before))

    def _is_new(self, name: str, before: ActorReport) -> bool | str:
        try:
            now = self.report(name)
        except Exception as error:  # noqa: BLE001 - whatever it says, it is not back
            return str(error).splitlines()[0]
        if now.incarnation != before.incarnation and now.phase == before.phase:
            return True
        return f"{now.phase} {now.problem}"

    def kill_redis(self) -> None:
        """Kill the Redis server itself."""
        bus = psutil.Process(self.report("bus").pid)
        (server,) = [child for child in bus.children(recursive=True) if "redis" in child.name()]
        before = server.pid
        server.kill()
        until(
            "Redis is back",
            lambda: (
                [
                    child.pid
                    for child in psutil.Process(self.report("bus").pid).children(recursive=True)
                    if "redis" in child.name() and child.pid != before
                ]
                != []
                or "no Redis"
            ),
        )

    def kill_node(self) -> None:
        """End a whole node at once, and bring another one."""
        self._cluster.remove_node(self._spare, allow_graceful=False)
        self._spare = self._cluster.add_node(num_cpus=8, object_store_memory=OBJECT_STORE_BYTES)

    # -- looking ---------------------------------------------------------------------------

    def stored(self, market: Market, start: int, end: int) -> list[Trade]:
        """Return the stored rows of a market's trades, repetitions included."""
        return Reader(self.store).trades(*market, start, end)

    def start_of(self, market: Market) -> int | None:
        """Return the start of the minute in which a market's first stored trade lies."""
        found = self.store.query_arrow(
            "SELECT count() AS rows, min(exchange_time) AS first FROM trades "
            "WHERE exchange = {exchange:String} AND instrument = {instrument:String}",
            market._asdict(),
        ).to_pylist()[0]
        return Timeframe.M1.floor(found["first"].value) if found["rows"] else None

    def markets(self) -> list[Market]:
        """Return every market that the venues listed."""
        listed = self.venues.instruments()
        return [Market(exchange, name) for exchange in listed for name in listed[exchange]]

    def differences(self, end: int) -> list[str]:
        """Say how what is stored differs from the truth before `end`: trades, candles, gaps."""
        try:
            found = [text for market in self.markets() for text in self._differences(market, end)]
            return found + self._open_gaps(end)
        except StoreError as error:
            return [str(error)]

    def _differences(self, market: Market, end: int) -> list[str]:
        start = self.start_of(market)
        if start is None:
            # One that is listed and never traded while it was looked at has nothing to compare.
            return [] if not self.venues.ledger(market, self.began, end) else [f"{market}: nothing"]
        truth = {
            trade.trade_id: _content(trade) for trade in self.venues.ledger(market, start, end)
        }
        rows = self.stored(market, start, end)
        held = {trade.trade_id: _content(trade) for trade in rows}
        found = []
        if len(rows) != len(held):
            found.append(f"{market}: {len(rows) - len(held)} trades twice")
        lost = sorted(truth.keys() - held.keys())
        if lost:
            found.append(f"{market}: {len(lost)} of {len(truth)} lost ({', '.join(lost[:3])})")
        foreign = sorted(held.keys() - truth.keys())
        if foreign:
            found.append(f"{market}: {len(foreign)} never happened ({', '.join(foreign[:3])})")
        wrong = [name for name in truth.keys() & held.keys() if truth[name] != held[name]]
        if wrong:
            found.append(f"{market}: {len(wrong)} differ ({truth[wrong[0]]}, {held[wrong[0]]})")
        return found or self._candle_differences(market, start, end)

    def _candle_differences(self, market: Market, start: int, end: int) -> list[str]:
        seconds = candles_from_trades(self.venues.ledger(market, start, end))
        found = []
        for timeframe in CHECKED:
            last = timeframe.floor(end - 2 * NS_PER_S)
            made = {
                candle.open_time: _bar(candle)
                for candle in resample(seconds, timeframe)
                if candle.close_time <= last
            }
            stored = {
                candle.open_time: _bar(candle)
                for candle in Reader(self.store).candles(*market, timeframe, start, last)
                if candle.is_closed and candle.close_time <= last
            }
            if made != stored:
                times = sorted(
                    time
                    for time in made.keys() | stored.keys()
                    if made.get(time) != stored.get(time)
                )
                example = (made.get(times[0]), stored.get(times[0]))
                found.append(f"{market}: {len(times)} {timeframe} candles differ: {example}")
        return found

    def _open_gaps(self, end: int) -> list[str]:
        return [
            f"{gap.gap_id} is open {gap.problem}"
            for gap in Reader(self.store).open_gaps()
            if gap.channel == "trades" and gap.opened_at < end
        ]

    def lasting_gaps(self) -> list[str]:
        """Name every gap, of any channel, that is open."""
        return [f"{gap.gap_id} is open" for gap in Reader(self.store).open_gaps()]

    def gaps(self) -> list[Gap]:
        """Return every gap, newest version."""
        return Reader(self.store)._rows("feed_gaps", "FINAL ORDER BY opened_at, gap_id")

    def memory(self, names: Sequence[str]) -> dict[str, int]:
        """Return the resident memory of actors, bytes."""
        return {name: self.report(name).rss_bytes for name in names}

    def close(self) -> None:
        """Stop the engine, the cluster and the venues, and leave nothing behind."""
        self._stopping.set()
        if self._tending is not None:
            self._tending.join()
        with suppress(Exception):
            ray.get(self._supervisor.drain.remote(), timeout=30)
            kill(self._supervisor, restart=False)
        if self.store is not None:
            self.store.close()
        family = set(psutil.Process().children(recursive=True)) - self._family
        self._cleanup.close()
        _, alive = psutil.wait_procs(family, timeout=5)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.venues.close()


def _content(trade: Trade) -> tuple[object, ...]:
    return (trade.sequence, trade.price, trade.amount, trade.side, trade.exchange_time)


def _bar(candle: Candle) -> Candle:
    return msgspec.structs.replace(candle, version=0)
