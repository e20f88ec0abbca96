"""``build_candles`` on Ray: the candles of the live run, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from engine.candles.builder import CandleBuilder
from engine.clock import DataClock, parse_iso_utc
from engine.config import Config, RetentionConfig
from engine.domain.instrument import Market
from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.features.catalogue import feature_columns
from engine.job_request import load_job_config
from engine.store.candle_writers import candle_writers, stored_candles
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.reader import Reader
from engine.store.schema import migrate
from jobs.build_candles import main

pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

DAY = Timeframe.D1.ns
START = parse_iso_utc("2026-02-27T00:00:00Z")
MARKETS = [
    Market("binance", "BTC-USDT"),
    Market("binance", "ETH-USDT"),
    Market("kraken", "BTC-USD"),
]
STORED = [Timeframe.S1, Timeframe.M1, Timeframe.M15, Timeframe.H1, Timeframe.D1]


@pytest.fixture(scope="module")
def store(shared_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path_factory.mktemp("candles") / "db")
    try:
        with Store(home.start()) as store:
            migrate(store, RetentionConfig(), feature_columns())
            yield store
    finally:
        home.stop()


@pytest.fixture
def empty(store: Store) -> Store:
    for table in ("trades", "candles", "job_blocks"):
        store.command(f"TRUNCATE TABLE {table}")
    return store


def asked(store: Store, *overrides: str) -> Config:
    names = ", ".join(STORED)
    tree = [f"store.url={store.endpoint.url}", f"candles.timeframes=[{names}]", *overrides]
    return load_job_config("build_candles", None, tree, environment={})


@pytest.fixture(scope="module")
def trades() -> list[Trade]:
    """Two days and a half of each market; kraken's end earlier, and one day has none."""
    found = []
    for seed, market in enumerate(MARKETS):
        rng = np.random.default_rng(seed)
        last = 2 * DAY if market.exchange == "kraken" else 5 * DAY // 2
        times = np.sort(rng.integers(START, START + last, size=1500)).tolist()
        if market.instrument == "ETH-USDT":
            times = [t for t in times if not START + DAY <= t < START + 2 * DAY]
        found += [
            Trade(
                *market, f"{n}", n + 1, float(rng.lognormal(3, 1)), float(rng.lognormal(0, 2)),
                "buy" if rng.random() < 0.5 else "sell", time, time + 9,
            )
            for n, time in enumerate(times)
        ]  # fmt: skip
    return found


def live(trades: list[Trade]) -> set[Candle]:
    """The closed candles of a live run over the trades; their versions set apart."""
    candles: dict[tuple[str, str, str, int], Candle] = {}
    for exchange in ("binance", "kraken"):
        its = [trade for trade in trades if trade.exchange == exchange]
        builder = CandleBuilder(exchange, STORED, 500_000_000, DataClock(), memory_ns=9 * DAY)
        newest = max(trade.exchange_time for trade in its)
        for candle in builder.add(its) + builder.advance(newest):
            candles[exchange, candle.instrument, candle.timeframe, candle.open_time] = candle
    return {msgspec.structs.replace(candle, version=0) for candle in candles.values()}


def stored(store: Store) -> set[Candle]:
    reader = Reader(store)
    return {
        msgspec.structs.replace(candle, version=0)
        for timeframe in Timeframe
        for candle in reader.candles_of_markets(MARKETS, timeframe, 0, START + 9 * DAY)
    }


def test_job_makes_the_candles_of_the_live_run_bit_for_bit(empty, trades):
    empty.insert("trades", trades)
    summary = main(asked(empty))
    assert stored(empty) == live(trades)
    assert summary.written == {"candles": len(stored(empty))}
    for market in MARKETS:
        held = stored_candles(empty, market, Timeframe.H1, 0, START + 9 * DAY)
        [writer] = candle_writers(empty, market, Timeframe.H1, held)
        assert (writer.title, writer.facts["candles"]) == (f"run {summary.run_id}", len(held))
    again = main(asked(empty))
    assert again.written == {}
    assert again.skipped == {"days that are stored already": 7}


def test_job_after_late_trades_writes_the_candles_that_hold_them_alone(empty, trades):
    late = trades[700]
    empty.insert("trades", [trade for trade in trades if trade is not late])
    main(asked(empty))
    empty.insert("trades", [late])
    summary = main(asked(empty))
    assert stored(empty) == live(trades)
    assert summary.written == {"candles": len(STORED)}
    assert summary.skipped == {"days that are stored already": 6}


def test_job_of_stored_candles_does_not_write_them_again(empty, trades):
    empty.insert("trades", trades)
    main(asked(empty))
    empty.command("TRUNCATE TABLE job_blocks")
    empty.command("ALTER TABLE candles DELETE WHERE timeframe = '1h' SETTINGS mutations_sync = 2")
    hours = sum(candle.timeframe == "1h" for candle in live(trades))
    assert main(asked(empty)).written == {"candles": hours}
    assert stored(empty) == live(trades)


def test_job_of_some_markets_and_days_makes_no_others(empty, trades):
    empty.insert("trades", trades)
    main(asked(empty, "exchange=binance", "instruments=[BTC-USDT]", "begin=2026-02-28",
               "end=2026-03-01"))  # fmt: skip
    of_day = {
        candle
        for candle in live(trades)
        if candle.exchange == "binance"
        and candle.instrument == "BTC-USDT"
        and START + DAY <= candle.open_time < START + 2 * DAY
    }
    assert stored(empty) == of_day


def test_job_of_no_trades_says_what_is_missing(empty, trades):
    with pytest.raises(ConfigError, match="no trades in that stretch of time to make candles of"):
        main(asked(empty))
    empty.insert("trades", trades[:5])
    with pytest.raises(ConfigError, match="no trades of XRP-USDT in that stretch"):
        main(asked(empty, "instruments=[BTC-USDT, XRP-USDT]"))
    with pytest.raises(ConfigError, match="no trades of okx in that stretch"):
        main(asked(empty, "exchange=okx"))
