"""The soak's market: which instruments, and how fast, so that so many events a second come."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import msgspec
import yaml

from engine.clock import NS_PER_S, iso_utc
from engine.config import SimulatorConfig
from engine.domain.instrument import Instrument, Market
from engine.domain.market import Trade
from engine.errors import ConfigError
from engine.simulator.listing import ASSETS, SEGMENTS, place_of
from engine.simulator.market import MINUTE_NS, MarketProcess
from engine.simulator.planted import DAY_NS
from engine.simulator.server import TICK_S
from engine.simulator.streaming import QUOTE_NS, REFRESH_NS

SEED = 20261121

_QUOTE_S = math.ceil(QUOTE_NS / NS_PER_S / TICK_S) * TICK_S
"""Shortest time between two quotes: the first of the simulator's ticks that allows it."""

_REFRESH_S = REFRESH_NS / NS_PER_S


def instruments(count: int) -> dict[str, tuple[str, ...]]:
    """Return by venue `count` instruments, dealt evenly over all kinds of market.

    Raises
    ------
    ConfigError
        Where fewer are simulated.
    """
    if count > len(ASSETS) * len(SEGMENTS):
        raise ConfigError(f"{len(ASSETS) * len(SEGMENTS)} markets are simulated, not {count}")
    found: dict[str, tuple[str, ...]] = {}
    every = [(asset, segment) for asset in ASSETS for segment in SEGMENTS]
    for asset, segment in every[:count]:
        name = str(Instrument(asset.base, segment.quote, segment.perpetual))
        found[segment.exchange] = (*found.get(segment.exchange, ()), name)
    return found


def quotes_per_second(trades_per_second: float) -> float:
    """Return how often the simulator quotes a market that trades so often.

    A quote follows a trade, at most one in three ticks, and comes every five seconds anyhow.
    Between quotes lies the shortest time, and then, where no trade fell into it, the wait for the
    next trade (exponential, and cut by the refresh).
    """
    if not trades_per_second:
        return 1 / _REFRESH_S
    none_yet = math.exp(-trades_per_second * _QUOTE_S)
    cut = 1 - math.exp(-trades_per_second * (_REFRESH_S - _QUOTE_S))
    return 1 / (_QUOTE_S + none_yet * cut / trades_per_second)


def pace(events_per_second: float, trade_rates: Sequence[float]) -> float:
    """Return by what trade rates must be multiplied for so many trades and quotes a second.

    Raises
    ------
    ConfigError
        Where the quotes of quiet markets alone are more.
    """
    low, high = 0.0, events_per_second / sum(trade_rates)
    if _events(low, trade_rates) > events_per_second:
        raise ConfigError(
            f"{len(trade_rates)} markets quote more often than {events_per_second} times a second "
            "without any trade; ask for more events or fewer instruments"
        )
    for _ in range(50):
        middle = (low + high) / 2
        if _events(middle, trade_rates) < events_per_second:
            low = middle
        else:
            high = middle
    return low


def _events(factor: float, trade_rates: Sequence[float]) -> float:
    return math.fsum(factor * rate + quotes_per_second(factor * rate) for rate in trade_rates)


def simulator_config(
    events_per_second: float, markets: Mapping[str, Sequence[str]], start: int, minutes: int
) -> SimulatorConfig:
    """Return the simulator's configuration for the time from `start` on.

    Parameters
    ----------
    events_per_second
        Trades and quotes of all markets together, on average.
    markets
        By venue its instruments.
    start
        UTC nanoseconds.
    minutes
        How many are averaged.
    """
    # The market is young: what it did before, nobody asks for.
    epoch = iso_utc(start - start % DAY_NS - DAY_NS)
    trial = SimulatorConfig(seed=SEED, epoch=epoch, trades_per_second=100_000.0)
    process = MarketProcess(trial)
    first = (start - process.first_day_ns) // MINUTE_NS
    rates = []
    for exchange, names in markets.items():
        for name in names:
            place = place_of(exchange, name)
            counts = 0
            for minute in range(first, first + minutes):
                day, index = divmod(minute, DAY_NS // MINUTE_NS)
                counts += int(process.day_bars(place, day).trade_count[index])
            rates.append(counts / minutes / 60)
    factor = pace(events_per_second, rates)
    return trial.model_copy(update={"trades_per_second": trial.trades_per_second * factor})


class SoakVenues:
    """The simulator in a process of its own, and its ledger.

    Parameters
    ----------
    line
        What the process printed: the addresses.
    """

    def __init__(self, line: str) -> None:
        addresses = json.loads(line)
        self.exchanges: dict[str, dict[str, str]] = addresses["exchanges"]
        self._http = httpx.Client(base_url=addresses["control_url"], timeout=60.0)

    def ledger(self, market: Market, start: int, end: int) -> list[Trade]:
        """Return every trade of a market in ``[start, end)``: the truth."""
        answer = self._http.get(
            "/control/ledger", params={**market._asdict(), "start": start, "end": end}
        ).raise_for_status()
        return [msgspec.json.decode(line, type=Trade) for line in answer.content.splitlines()]

    def looks(self, exchange: str) -> list[int]:
        """Return when a venue sent what had happened, UTC nanoseconds, ascending."""
        answer = self._http.get("/control/looks", params={"exchange": exchange})
        found: list[int] = answer.raise_for_status().json()
        return found

    def close(self) -> None:
        """Close the connection to it."""
        self._http.close()


@contextlib.contextmanager
def simulator(
    folder: Path, config: SimulatorConfig, markets: Mapping[str, Sequence[str]]
) -> Iterator[tuple[SoakVenues, int]]:
    """Run ``python -m engine.simulator``; yields its addresses and its process's number."""
    file = folder / "simulator.yaml"
    tree = {
        "simulator": config.model_dump(mode="json"),
        "exchanges": {name: {"instruments": list(names)} for name, names in markets.items()},
    }
    file.write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-m", "engine.simulator", "--config", str(file)]
    with (
        (folder / "simulator.log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError((folder / "simulator.log").read_text().strip())
            venues = SoakVenues(line)
            try:
                yield venues, process.pid
            finally:
                venues.close()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
