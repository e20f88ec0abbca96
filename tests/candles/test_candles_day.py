"""A day's candles from its trades, beside what is stored: the live bits, and nothing twice."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.candles.builder import CandleBuilder
from engine.candles.day import day_candles
from engine.candles.resample import candles_from_trades
from engine.clock import NS_PER_S, DataClock
from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe

DAY = Timeframe.D1.ns
DAY_START = 20_000 * DAY
DAY_END = DAY_START + DAY


def trades(seed: int, count: int, *, spread_ns: int = DAY) -> list[Trade]:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(DAY_START, DAY_START + spread_ns, size=count)).tolist()
    return [
        Trade(
            "binance", "BTC-USDT", str(n), n, float(rng.lognormal(3, 1)),
            float(rng.lognormal(0, 2)), "buy" if rng.random() < 0.5 else "sell", time, time + 9,
        )
        for n, time in enumerate(times)
    ]  # fmt: skip


def live(found: list[Trade], timeframes, through: int) -> dict[tuple[str, int], Candle]:
    """What the live run makes of the trades, by timeframe and open time."""
    builder = CandleBuilder("binance", timeframes, 0, DataClock(), memory_ns=2 * DAY)
    candles = builder.add(found) + builder.advance(through)
    return {(candle.timeframe, candle.open_time): candle for candle in candles}


def without_version(candle: Candle) -> Candle:
    return msgspec.structs.replace(candle, version=0)


def by_timeframe(candles) -> dict[Timeframe, list[Candle]]:
    found: dict[Timeframe, list[Candle]] = {}
    for candle in candles:
        found.setdefault(Timeframe(candle.timeframe), []).append(candle)
    return found


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    count=st.integers(1, 60),
    timeframes=st.sets(st.sampled_from(list(Timeframe)), min_size=1),
    through=st.integers(DAY_START, DAY_END),
)
def test_day_candles_of_any_trades_equal_the_live_run(seed, count, timeframes, through):
    found = trades(seed, count)
    made = day_candles(candles_from_trades(found), {}, list(timeframes), closed_through=through)
    expected = live(found, tuple(timeframes), through)
    keys = [(candle.timeframe, candle.open_time) for candle in made]
    assert len(keys) == len(set(keys))
    assert {key: without_version(c) for key, c in zip(keys, made, strict=True)} == {
        key: without_version(candle) for key, candle in expected.items()
    }
    assert all(candle.version == candle.close_time for candle in made)


def test_day_candles_that_are_stored_are_not_made_again():
    found = trades(1, 200)
    seconds = candles_from_trades(found)
    first = day_candles(seconds, {}, list(Timeframe), closed_through=DAY_END)
    stored = by_timeframe(first)
    assert day_candles(seconds, stored, list(Timeframe), closed_through=DAY_END) == []
    missing = {step: its for step, its in stored.items() if step is not Timeframe.H4}
    again = day_candles(seconds, missing, list(Timeframe), closed_through=DAY_END)
    assert again == stored[Timeframe.H4]


def test_day_candles_after_a_late_trade_are_those_that_hold_it_and_newer():
    found = trades(2, 50)
    late = found.pop(20)
    stored = by_timeframe(
        day_candles(candles_from_trades(found), {}, list(Timeframe), closed_through=DAY_END)
    )
    seconds = candles_from_trades([*found, late])
    made = day_candles(seconds, stored, list(Timeframe), closed_through=DAY_END)
    steps = [Timeframe(candle.timeframe) for candle in made]
    assert steps == list(Timeframe)
    for step, candle in zip(steps, made, strict=True):
        assert candle.open_time == step.floor(late.exchange_time)
        before = [c for c in stored[step] if c.open_time == candle.open_time]
        assert candle.version == max([candle.close_time, *(old.version + 1 for old in before)])


def rest(candle: Candle, **changes) -> Candle:
    return msgspec.structs.replace(
        candle, source="rest", vwap=None, twap=None, taker_buy_volume=None,
        version=candle.open_time, **changes,
    )  # fmt: skip


@pytest.fixture
def minutes():
    """Trades of three minutes, and their candles."""
    found = trades(3, 90, spread_ns=180 * NS_PER_S)
    made = day_candles(
        candles_from_trades(found), {}, [Timeframe.M1, Timeframe.M5], closed_through=DAY_END
    )
    return found, by_timeframe(made)


def test_day_candles_where_the_venues_own_holds_more_trades_leave_it(minutes):
    found, made = minutes
    theirs = rest(made[Timeframe.M1][1], trade_count=999, volume=1e9)
    stored = {Timeframe.M1: [theirs]}
    again = by_timeframe(
        day_candles(
            candles_from_trades(found), stored, [Timeframe.M1, Timeframe.M5],
            closed_through=DAY_END,
        )
    )  # fmt: skip
    assert again[Timeframe.M1] == [made[Timeframe.M1][0], made[Timeframe.M1][2]]
    (five,) = again[Timeframe.M5]
    # Theirs is a part of the coarser one, which is then none of trades alone.
    assert (five.source, five.twap) == ("rest", None)
    assert five.trade_count == sum(made[Timeframe.M1][n].trade_count for n in (0, 2)) + 999


def test_day_candles_that_are_whole_take_the_place_of_the_venues_own(minutes):
    found, made = minutes
    theirs = rest(made[Timeframe.M1][1])
    again = day_candles(
        candles_from_trades(found), {Timeframe.M1: [theirs]}, [Timeframe.M1],
        closed_through=DAY_END,
    )  # fmt: skip
    assert [without_version(c) for c in again] == list(map(without_version, made[Timeframe.M1]))
    assert again[1].version == again[1].close_time > theirs.version


def test_day_candles_of_trades_that_have_expired_in_part_leave_what_is_stored(minutes):
    found, made = minutes
    rest_of_them = candles_from_trades(found[45:])
    again = day_candles(rest_of_them, made, [Timeframe.M1, Timeframe.M5], closed_through=DAY_END)
    assert again == []


def test_day_candles_of_no_trades_are_none():
    assert day_candles([], {}, list(Timeframe), closed_through=DAY_END) == []
