"""Candles of the recorded Binance trades against a recomputation that shares no code."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from math import fsum
from pathlib import Path

import pytest

from engine.candles.builder import CandleBuilder
from engine.clock import DataClock
from engine.domain.market import Trade
from engine.domain.timeframe import Timeframe

pytestmark = pytest.mark.real
TRADES = {"btcusdt": 9_757, "ethusdt": 6_106}


def recorded(real_data: Path, symbol: str) -> list[dict]:
    path = real_data / "frames" / "binance_spot" / f"{symbol}_20240808.gz"
    with gzip.open(path, "rt") as lines:
        frames = (json.loads(line.partition(" ")[2]) for line in lines if "@trade" in line)
        return [frame["data"] for frame in frames]


def as_trade(data: dict) -> Trade:
    return Trade(
        "binance", data["s"], str(data["t"]), data["t"], float(data["p"]), float(data["q"]),
        "sell" if data["m"] else "buy", data["T"] * 1_000_000, data["E"] * 1_000_000,
    )  # fmt: skip


@pytest.mark.parametrize("symbol", TRADES)
def test_candles_of_recorded_trades_equal_an_independent_recomputation(real_data, symbol):
    raw = recorded(real_data, symbol)
    assert len(raw) == TRADES[symbol]
    builder = CandleBuilder("binance", tuple(Timeframe), 500_000_000, DataClock(1))
    emitted = []
    for data in raw:
        emitted += builder.add([as_trade(data)])
        emitted += builder.advance(data["T"] * 1_000_000)
    emitted += builder.advance(2**62)
    ours = {
        (c.timeframe, c.open_time // 1_000_000): c for c in sorted(emitted, key=lambda c: c.version)
    }
    expected = defaultdict(list)
    for data in sorted(raw, key=lambda data: (data["T"], data["t"])):
        for timeframe in Timeframe:
            length = timeframe.ns // 1_000_000
            expected[timeframe.value, data["T"] // length * length].append(data)
    assert ours.keys() == expected.keys()
    for key, inside in expected.items():
        prices = [float(data["p"]) for data in inside]
        amounts = [float(data["q"]) for data in inside]
        bought = [float(data["q"]) for data in inside if not data["m"]]
        quote = fsum(p * q for p, q in zip(prices, amounts, strict=True))
        candle = ours[key]
        exact = (candle.open, candle.high, candle.low, candle.close, candle.trade_count)
        assert exact == (prices[0], max(prices), min(prices), prices[-1], len(inside))
        sums = (candle.volume, candle.quote_volume, candle.taker_buy_volume)
        if key[0] == "1s":
            assert sums == (fsum(amounts), quote, fsum(bought))
        assert sums == pytest.approx((fsum(amounts), quote, fsum(bought)), rel=1e-14)
        assert candle.vwap == candle.quote_volume / candle.volume
