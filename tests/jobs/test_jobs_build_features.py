"""``build_features`` on a Ray of its own: the rows of the live run, each once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest

from engine.clock import parse_iso_utc
from engine.config import Config, RetentionConfig
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.features.catalogue import feature_columns
from engine.features.grid import Bar
from engine.job_request import load_job_config
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schema import migrate
from jobs.build_features import main
from tests.features.conftest import random_books, random_walk
from tests.features.stored_world import World, candles_of, live_of, put, same, stored_rows

pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

H1 = Timeframe.H1
START = parse_iso_utc("2024-01-20T00:00:00Z")
BARS = 24 * 24
BTC, ETH, QUIET, FLAT, STILL, LUNA, LUNA_2 = (
    Market("binance", f"{base}-USDT")
    for base in ("BTC", "ETH", "QUIET", "FLAT", "STILL", "LUNA", "LUNA~2")
)


@pytest.fixture(scope="module")
def ray_address(shared_ray: None) -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path_factory.mktemp("build") / "db")
    try:
        with Store(home.start()) as store:
            migrate(store, RetentionConfig(), feature_columns())
            yield store
    finally:
        home.stop()


def asked(store: Store, *overrides: str) -> Config:
    return load_job_config(
        "build_features",
        None,
        [f"store.url={store.endpoint.url}", "timeframes=[1h]", *overrides],
        environment={},
    )


def zero_volume_day(bars: list[Bar]) -> list[Bar]:
    """A day of bars at one price in which nothing traded, as some venues send them."""
    close = bars[99].close
    still = [
        bar._replace(open=close, high=close, low=close, close=close, vwap=close, twap=close,
                     volume=0.0, taker_buy_volume=0.0)
        for bar in bars[100:124]
    ]  # fmt: skip
    return [*bars[:100], *still, *bars[124:]]


@pytest.fixture(scope="module")
def world() -> World:
    def walk(seed: int, first: int = 0, last: int = BARS, **kind: float) -> list[Bar]:
        return random_walk(seed, last - first, start_ns=START + first * H1.ns, **kind)

    flat = [
        bar._replace(open=5.0, high=5.0, low=5.0, close=5.0, vwap=5.0, twap=5.0) for bar in walk(5)
    ]
    missing = [bar for n, bar in enumerate(walk(6)) if not 300 <= n < 340]
    spans = {
        BTC: walk(1),
        ETH: missing,
        QUIET: walk(3, quiet=0.7),
        FLAT: flat,
        STILL: zero_volume_day(walk(4)),
        LUNA: walk(7, 0, 200),
        LUNA_2: walk(8, 400),
    }
    candles = [c for market, bars in spans.items() for c in candles_of(market, bars)]
    books = random_books(1, BARS, start_ns=START, instrument="ETH-USDT")
    return World(candles, books)


@pytest.fixture(scope="module")
def expected(world: World) -> dict[tuple[Market, int], tuple[float, ...]]:
    return live_of(world.candles, H1, BTC, world.books)


def assert_same(store: Store, expected: dict[tuple[Market, int], tuple[float, ...]]) -> None:
    found = stored_rows(store)
    assert found.keys() == expected.keys()
    assert [key for key in found if not same(found[key], expected[key])] == []


def test_job_stores_what_the_live_run_stores_bit_for_bit(ray_address, store, world, expected):
    put(store, world)
    summary = main(asked(store))
    assert_same(store, expected)
    assert (summary.outcome, summary.problem) == ("done", "")
    assert summary.written == {"features": len(expected)}
    assert summary.skipped == {}

    again = main(asked(store))
    assert again.written == {}
    assert again.skipped == {"segments that are stored already": 2}


def test_job_of_more_candles_writes_the_rows_behind_alone(ray_address, store, world, expected):
    middle = START + (BARS - 30) * H1.ns
    before = [candle for candle in world.candles if candle.close_time <= middle]
    put(store, replace(world, candles=before))
    first = main(asked(store))
    store.insert("candles", [c for c in world.candles if c.close_time > middle])
    second = main(asked(store))
    assert_same(store, expected)
    assert second.written["features"] == len(expected) - first.written["features"]
    assert second.skipped["segments that are stored already"] == 1


def test_job_after_a_corrected_candle_stores_what_live_would_have(ray_address, store, world):
    put(store, world)
    main(asked(store))
    changed = next(c for c in world.candles if c.instrument == "BTC-USDT"
                   and c.open_time == START + 350 * H1.ns)  # fmt: skip
    right = msgspec.structs.replace(changed, close=changed.low, version=changed.version + 1)
    store.insert("candles", [right])
    candles = [right if candle is changed else candle for candle in world.candles]
    main(asked(store))
    assert_same(store, live_of(candles, H1, BTC, world.books))


@pytest.mark.timeout(300)
def test_job_killed_in_the_middle_and_run_again_does_the_rest(ray_address, store):
    days = 30
    bars = random_walk(1, days * 1440, timeframe=Timeframe.M1, start_ns=START)
    candles = candles_of(BTC, bars, Timeframe.M1)
    put(store, World(candles))
    begun = subprocess.Popen(
        [sys.executable, "-m", "jobs.build_features", "--set", f"store.url={store.endpoint.url}",
         "--set", "timeframes=[1m]"],
        env={**os.environ, "RAY_ADDRESS": ray_address},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: done_units(store) >= days * 6 // 10 or begun.poll() is not None)
    finally:
        begun.send_signal(signal.SIGKILL)
        begun.wait()
    until_still(store)
    done = done_units(store)
    assert days * 6 // 10 <= done < days
    summary = main(asked(store, "timeframes=[1m]"))
    assert summary.skipped["segments that are stored already"] == done
    assert summary.written["features"] <= (days - done) * 1440
    assert int(store.command("SELECT count() FROM features FINAL")) == days * 1440
    assert done_units(store) == days


def done_units(store: Store) -> int:
    return int(store.command("SELECT uniqExact(unit) FROM job_blocks"))


def until(condition, patience_s: float = 200.0) -> None:
    deadline, pause = time.monotonic() + patience_s, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.02)


def until_still(store: Store) -> None:
    """Wait until the tasks of the driver that was killed are ended too."""
    seen: list[int] = []

    def is_still() -> bool:
        seen.append(done_units(store))
        return len(seen) > 50 and len(set(seen[-50:])) == 1

    until(is_still)


def test_job_of_nothing_says_what_is_missing(ray_address, store, world):
    put(store, World(world.candles[:50]))
    with pytest.raises(ConfigError, match="no candles of 1d in that stretch of time"):
        main(asked(store, "timeframes=[1d]"))
    with pytest.raises(ConfigError, match="no candles of 1h of XRP-USDT in that stretch"):
        main(asked(store, "instruments=[BTC-USDT, XRP-USDT]"))
    with pytest.raises(ConfigError, match="no candles of 1h of kraken:BTC-USDT in that"):
        main(asked(store, "exchange=kraken", "instruments=[BTC-USDT]"))
    with pytest.raises(ConfigError, match="begin 2024-03-01 is not before end 2024-02-01"):
        asked(store, "begin=2024-03-01", "end=2024-02-01")
