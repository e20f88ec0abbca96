"""The acceptance of the spine: the engine on two recordings of real frames."""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from command import Command, get, until

pytestmark = [pytest.mark.ray, pytest.mark.real, pytest.mark.timeout(480)]

FILES = ("frames/binance_spot/btcusdt_20240808.gz", "frames/binance_spot/ethusdt_20240808.gz")
TRADES = {"BTC-USDT": 9_757, "ETH-USDT": 6_106}
SECONDS = {"1s": 1, "1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "4h": 14_400, "1d": 86_400}


def replay(command: Command, real_data: Path) -> str:
    """Replay both recordings to the end; return where the engine serves."""
    files = ",".join(str(real_data / file) for file in FILES)
    url = command.up("--replay", files, "--speed", "max")

    def has_ended() -> bool:
        engine = (get(f"{url}/v1/status") or {}).get("engine") or {}
        streams = engine.get("streams", [])
        return bool(streams) and all(
            stream["ended"] and stream["writer"]["held"] == 0 for stream in streams
        )

    assert until(has_ended, 90)
    return url


@pytest.fixture(scope="module")
def replayed(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Command, str]]:
    command = Command(tmp_path_factory.mktemp("replay"))
    url = replay(command, real_data)
    yield command, url
    if list((command.folder / "state").glob("run-*.json")):
        assert command.run("down").returncode == 0


def counts(command: Command) -> dict[str, int]:
    rows = command.sql(
        "SELECT instrument, count() AS n, uniqExact(trade_id) AS ids FROM trades GROUP BY 1"
    )
    assert all(row["n"] == row["ids"] for row in rows)
    return {row["instrument"]: row["n"] for row in rows}


def recomputed(real_data: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Fold the recorded frames into candles with nothing of the engine's own code."""
    buckets: dict[tuple[str, str, int], list[tuple[Any, ...]]] = defaultdict(list)
    for file, instrument in zip(FILES, TRADES, strict=True):
        with gzip.open(real_data / file) as lines:
            for line in lines:
                frame = json.loads(line.split(b" ", 1)[1])
                trade = frame.get("data", {})
                if trade.get("e") != "trade":
                    continue
                for timeframe, seconds in SECONDS.items():
                    open_ms = trade["T"] - trade["T"] % (seconds * 1000)
                    buckets[instrument, timeframe, open_ms].append(
                        (trade["T"], trade["t"], float(trade["p"]), float(trade["q"]), trade["m"])
                    )
    candles = {}
    for key, trades in buckets.items():
        trades.sort()
        prices = [trade[2] for trade in trades]
        candles[key] = {
            "open": prices[0],
            "high": max(prices),
            "low": min(prices),
            "close": prices[-1],
            "trade_count": len(trades),
            "volume": math.fsum(trade[3] for trade in trades),
            "quote_volume": math.fsum(trade[2] * trade[3] for trade in trades),
            "taker_buy_volume": math.fsum(trade[3] for trade in trades if not trade[4]),
        }
    return candles


def test_replay_stores_exactly_the_recorded_trades(replayed: tuple[Command, str]) -> None:
    assert counts(replayed[0]) == TRADES


def test_replay_candles_equal_an_independent_recomputation(
    replayed: tuple[Command, str], real_data: Path
) -> None:
    rows = replayed[0].sql(
        "SELECT instrument, timeframe, toUnixTimestamp64Milli(open_time) AS open_ms, open, high, "
        "low, close, trade_count, volume, quote_volume, taker_buy_volume, vwap FROM v_candles"
    )
    stored = {(row["instrument"], row["timeframe"], row["open_ms"]): row for row in rows}
    expected = recomputed(real_data)
    assert stored.keys() == expected.keys()
    for key, candle in expected.items():
        row = stored[key]
        for name in ("open", "high", "low", "close", "trade_count"):
            assert row[name] == candle[name], (key, name)
        # Sums of coarser candles are sums of finer ones: equal but for the last digit.
        for name in ("volume", "quote_volume", "taker_buy_volume"):
            assert math.isclose(row[name], candle[name], rel_tol=1e-12, abs_tol=1e-12), (key, name)
        vwap = candle["quote_volume"] / candle["volume"]
        assert math.isclose(row["vwap"], vwap, rel_tol=1e-12), key


def test_replay_serves_a_ranking_of_both(replayed: tuple[Command, str]) -> None:
    answer = httpx.get(f"{replayed[1]}/v1/signals").json()
    assert {signal["instrument"] for signal in answer["signals"]} == set(TRADES)
    assert answer["as_of"].startswith(("2024-08-08T23:5", "2024-08-09T00:00"))
    for signal in answer["signals"]:
        assert signal["coverage"]["sentiment"] is False
        total = 0.0
        for part in signal["contributions"]:
            total += part["contribution"]
        assert total == signal["score"]


def test_replay_has_no_bad_frame_and_no_gap(replayed: tuple[Command, str]) -> None:
    assert replayed[0].sql("SELECT count() AS n FROM dead_letters") == [{"n": 0}]
    assert replayed[0].sql("SELECT count() AS n FROM feed_gaps WHERE channel = 'trades'") == [
        {"n": 0}
    ]


def test_replay_again_into_the_same_store_stores_nothing_twice(
    replayed: tuple[Command, str], real_data: Path
) -> None:
    command, _ = replayed
    before = command.sql("SELECT * FROM v_candles ORDER BY instrument, timeframe, open_time")
    family = command.family()
    assert command.run("down").returncode == 0
    _, left = psutil.wait_procs(family, timeout=1)
    assert left == []
    url = replay(command, real_data)
    assert counts(command) == TRADES
    after = command.sql("SELECT * FROM v_candles ORDER BY instrument, timeframe, open_time")
    for candle in [*before, *after]:
        candle.pop("version")
        candle.pop("inserted_at", None)
    assert after == before
    assert len(httpx.get(f"{url}/v1/signals").json()["signals"]) == 2
