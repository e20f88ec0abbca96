"""Folding in pieces: the same bits as from all children at once, whenever it is asked for."""

from __future__ import annotations

from math import fsum

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.candles.builder import CandleBuilder
from engine.candles.fold import CandleFold, exact_parts, fold_candles, fold_trades
from engine.candles.resample import candles_from_trades
from engine.clock import NS_PER_S, DataClock
from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe

MINUTE = 20_000 * Timeframe.D1.ns

magnitudes = st.floats(1e-12, 1e12) | st.floats(1e-30, 1e30)


def trade(number: int, at_ns: int, price: float, amount: float) -> Trade:
    side = "buy" if number % 3 else "sell"
    return Trade("kraken", "BTC-USD", str(number), number, price, amount, side, at_ns, at_ns)


@st.composite
def seconds(draw: st.DrawFn) -> list[Candle]:
    """Some one-second candles of a minute; a few are a venue's own and do not tell everything."""
    opens = draw(st.lists(st.integers(0, 59), min_size=1, unique=True).map(sorted))
    children = []
    for number, second in enumerate(opens):
        start = MINUTE + second * NS_PER_S
        one = trade(number, start, draw(st.floats(0.1, 1e6)), draw(st.floats(1e-8, 1e8)))
        child = fold_trades([one], start, is_closed=True, version=1)
        if draw(st.integers(0, 9)) == 0:
            unknown = draw(st.sampled_from(["quote_volume", "trade_count", "twap"]))
            child = msgspec.structs.replace(child, source="rest", **{unknown: None})
        children.append(child)
    return children


@given(st.lists(magnitudes | magnitudes.map(float.__neg__), max_size=40))
def test_exact_parts_have_the_sum_of_all_and_do_not_overlap(values):
    parts = exact_parts(values)
    assert fsum(parts) == fsum(values)
    assert [abs(part) for part in parts] == sorted(abs(part) for part in parts)
    assert 0.0 not in parts


@given(seconds(), st.data())
def test_children_taken_in_pieces_give_the_same_bits(children, data):
    fold, start = CandleFold(), 0
    while start < len(children):
        end = data.draw(st.integers(start + 1, len(children)))
        fold.take(children[start:end])
        if data.draw(st.booleans()):
            fold.settle()
        start = end
        whole = fold_candles(children[:end], Timeframe.M1, MINUTE, is_closed=False, version=3)
        assert fold.candle(Timeframe.M1, MINUTE, is_closed=False, version=3) == whole


def test_copy_leaves_its_original_as_it_was():
    children = [
        fold_trades([trade(n, MINUTE + n * NS_PER_S, 1.0, 1.0)], MINUTE + n * NS_PER_S,
                    is_closed=True, version=1)
        for n in range(3)
    ]  # fmt: skip
    fold = CandleFold()
    fold.take(children[:1])
    before = fold.candle(Timeframe.M1, MINUTE, is_closed=False, version=1)
    fold.copy().take(children[1:])
    assert fold.candle(Timeframe.M1, MINUTE, is_closed=False, version=1) == before


def test_candle_of_no_child_is_an_error():
    with pytest.raises(ValueError, match="at least one child"):
        CandleFold().candle(Timeframe.M1, MINUTE, is_closed=True, version=1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 130_000), st.floats(0.1, 1e6), st.floats(1e-8, 1e8), st.integers(0, 3000)
        ),
        min_size=1,
        max_size=60,
    )
)
def test_forming_minute_is_that_of_its_trades_at_every_moment(flow):
    """Trades come late by up to three seconds, so that closed seconds change beside the others."""
    builder = CandleBuilder("kraken", (Timeframe.M1,), 0, DataClock(1))
    arrivals = sorted(
        (at + late, number, at, price, amount)
        for number, (at, price, amount, late) in enumerate(flow)
    )
    known: list[Trade] = []
    for arrival, number, at, price, amount in arrivals:
        known.append(trade(number, MINUTE + at * 1_000_000, price, amount))
        builder.add(known[-1:])
        builder.advance(MINUTE + arrival * 1_000_000)
        for candle in builder.forming("BTC-USD"):
            inside = [t for t in known if candle.open_time <= t.exchange_time < candle.close_time]
            expected = fold_candles(
                candles_from_trades(inside),
                Timeframe.M1,
                candle.open_time,
                is_closed=False,
                version=candle.version,
            )
            assert candle == expected


def test_forming_interval_takes_no_child_of_the_next_one():
    """A venue's own bar of a minute to come is there before the five minutes before it end."""
    builder = CandleBuilder("kraken", (Timeframe.M1, Timeframe.M5), 0, DataClock(1))
    builder.add([trade(1, MINUTE, 5.0, 1.0)])
    builder.advance(MINUTE + 70 * NS_PER_S)
    ahead = fold_candles(
        candles_from_trades([trade(2, MINUTE + 300 * NS_PER_S, 7.0, 1.0)]),
        Timeframe.M1, MINUTE + 300 * NS_PER_S, is_closed=True, version=1,
    )  # fmt: skip
    builder.absorb([msgspec.structs.replace(ahead, source="rest")])
    builder.add([trade(3, MINUTE + 365 * NS_PER_S, 9.0, 1.0)])
    five = builder.forming("BTC-USD", [Timeframe.M5])
    assert [(c.trade_count, c.close) for c in five] == [(1, 5.0), (2, 9.0)]


def test_forming_computes_only_the_timeframes_that_are_asked_for():
    builder = CandleBuilder("kraken", tuple(Timeframe), 0, DataClock(1))
    builder.add([trade(1, MINUTE, 5.0, 1.0)])
    wanted = [Timeframe.M1, Timeframe.M15]
    assert [c.timeframe for c in builder.forming("BTC-USD", wanted)] == ["1m", "15m"]
    assert [c.timeframe for c in builder.forming()] == [step.value for step in Timeframe]
