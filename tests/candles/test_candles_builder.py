"""The builder: exact values, and the law that it equals the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, nan

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.candles.backfill import restore_ranges
from engine.candles.builder import CandleBuilder
from engine.candles.resample import candles_from_trades, rebuild, resample
from engine.clock import NS_PER_S, DataClock
from engine.domain.instrument import Market
from engine.domain.market import Candle, Trade
from engine.domain.timeframe import Timeframe

ALL = tuple(Timeframe)
DAY = Timeframe.D1.ns
NOON = 20_000 * DAY + DAY // 2
SETTLED = 21_000 * DAY


def trade(identity: int, at_ns: int, price: float = 100.0, amount: float = 1.0, **more) -> Trade:
    fields = {"instrument": "BTC-USDT", "side": "buy", "exchange": "binance", "sequence": identity}
    fields |= more
    return Trade(
        trade_id=str(identity),
        price=price,
        amount=amount,
        exchange_time=at_ns,
        receive_time=at_ns + 5,
        **fields,
    )


def builder(timeframes=ALL, grace_ns=0, **more) -> CandleBuilder:
    return CandleBuilder("binance", timeframes, grace_ns, DataClock(1), **more)


def batch(trades: Iterable[Trade]) -> dict[tuple, Candle]:
    seconds = candles_from_trades(trades)
    return newest([c for step in ALL for c in resample(seconds, step)])


def newest(candles: Iterable[Candle]) -> dict[tuple, Candle]:
    """Key -> newest candle, versions set equal so that only content is compared."""
    best: dict[tuple, Candle] = {}
    for candle in candles:
        key = (candle.instrument, candle.timeframe, candle.open_time)
        if key not in best or candle.version > best[key].version:
            best[key] = candle
    return {key: msgspec.structs.replace(candle, version=0) for key, candle in best.items()}


def test_second_of_three_trades_has_every_field_exact():
    one = builder((Timeframe.S1,))
    one.add(
        [
            trade(1, NOON + 200_000_000, 10.0, 1.0),
            trade(2, NOON + 400_000_000, 14.0, 2.0, side="sell"),
            trade(3, NOON + 800_000_000, 12.0, 1.0),
        ]
    )
    assert one.advance(NOON + NS_PER_S) == [
        Candle(
            "binance", "BTC-USDT", "1s", NOON, NOON + NS_PER_S, 10.0, 14.0, 10.0, 12.0, 4.0, 50.0,
            3, 12.5, (10 * 0.2 + 14 * 0.4 + 12 * 0.2) / 0.8, 2.0, "trades", True, 1,
        )
    ]  # fmt: skip


def test_trade_on_the_boundary_belongs_to_the_interval_that_opens():
    one = builder((Timeframe.S1,))
    one.add([trade(1, NOON), trade(2, NOON + NS_PER_S)])
    assert [c.open_time for c in one.advance(NOON + 2 * NS_PER_S)] == [NOON, NOON + NS_PER_S]


def test_minute_twap_counts_empty_seconds_at_the_close_before():
    one = builder((Timeframe.M1,))
    one.add([trade(1, NOON + 30 * NS_PER_S, 10.0), trade(2, NOON + 50 * NS_PER_S, 40.0)])
    (minute,) = one.advance(NOON + 60 * NS_PER_S)
    assert minute.twap == (10.0 * 20 + 40.0 * 10) / 30


def test_advance_closes_only_past_the_grace():
    one = builder((Timeframe.S1,), grace_ns=500_000_000)
    one.add([trade(1, NOON)])
    assert one.advance(NOON + NS_PER_S + 499_999_999) == []
    assert len(one.advance(NOON + NS_PER_S + 500_000_000)) == 1
    assert one.closed_through == NOON + NS_PER_S


def test_advance_at_a_common_end_returns_finest_first():
    one = builder()
    one.add([trade(1, NOON - 1)])
    assert [c.timeframe for c in one.advance(NOON)] == ["1s", "1m", "5m", "15m", "1h", "4h"]


def test_late_trade_rebuilds_every_closed_candle_with_a_new_version():
    one = builder(ALL[:3])
    one.add([trade(1, NOON, 100.0)])
    first = one.advance(NOON + 61 * NS_PER_S)
    rebuilt = one.add([trade(2, NOON + 10 * NS_PER_S, 300.0)])
    assert [(c.timeframe, c.high, c.trade_count) for c in rebuilt] == [
        ("1s", 300.0, 1),
        ("1m", 300.0, 2),
    ]
    assert min(c.version for c in rebuilt) > max(c.version for c in first)
    (five,) = one.advance(NOON + 300 * NS_PER_S)
    assert (five.timeframe, five.trade_count, five.close) == ("5m", 2, 300.0)


def test_duplicate_ids_count_once_even_after_the_close():
    one = builder((Timeframe.S1,))
    one.add([trade(1, NOON), trade(1, NOON)])
    (second,) = one.advance(NOON + NS_PER_S)
    assert second.trade_count == 1
    assert one.add([trade(1, NOON)]) == []
    assert one.duplicates == 2


@pytest.mark.parametrize("bad", [nan, inf, -inf, 0.0, -1.0, 1e200, 1e-200])
@pytest.mark.parametrize("field", ["price", "amount"])
def test_unusable_trade_never_enters_and_is_counted(bad, field):
    one = builder((Timeframe.S1,))
    one.add([trade(1, NOON, **{field: bad}), trade(2, NOON, 7.0)])
    (second,) = one.advance(NOON + NS_PER_S)
    assert (second.trade_count, second.open, one.rejected) == (1, 7.0, 1)


def test_trade_of_another_exchange_is_refused():
    with pytest.raises(ValueError, match="kraken"):
        builder().add([trade(1, NOON, exchange="kraken")])


def test_forming_shows_every_open_interval_and_becomes_the_closed_candle():
    one = builder(ALL[:2])
    one.add([trade(1, NOON + 59 * NS_PER_S, 5.0)])
    second, minute = one.forming("BTC-USDT")
    assert (second.is_closed, minute.is_closed, minute.close) == (False, False, 5.0)
    assert one.forming("ETH-USDT") == []
    closed = one.advance(NOON + 60 * NS_PER_S)
    expected = [msgspec.structs.replace(c, is_closed=True, version=0) for c in (second, minute)]
    assert [msgspec.structs.replace(c, version=0) for c in closed] == expected
    assert one.forming() == []


def test_forming_second_is_the_same_until_a_trade_comes_even_one_out_of_order():
    live = builder((Timeframe.S1,))
    first, last = trade(2, NOON + 200, price=101.0), trade(3, NOON + 300, price=99.0)
    live.add([first, last])
    (once,) = live.forming()
    assert live.forming() == [once]
    live.add([trade(1, NOON + 100, price=103.0)])
    (changed,) = live.forming()
    assert (changed.open, changed.high, changed.close, changed.trade_count) == (
        103.0,
        103.0,
        99.0,
        3,
    )
    (closed,) = live.advance(NOON + NS_PER_S)
    assert closed == msgspec.structs.replace(changed, is_closed=True, version=closed.version)


def held_of(stored: list[Candle]) -> Callable[[Timeframe, int, int], list[Candle]]:
    """What the store answers: the newest version of every candle that opens in a range."""

    def held(step: Timeframe, start: int, end: int) -> list[Candle]:
        every = [c for c in stored if c.timeframe == step and start <= c.open_time < end]
        return list({c.open_time: c for c in sorted(every, key=lambda c: c.version)}.values())

    return held


@pytest.mark.parametrize("stored_steps", [ALL, (Timeframe.M1, Timeframe.H1), (Timeframe.M5,)])
def test_rebuilt_stretch_equals_the_batch_whatever_is_stored_and_however_often(stored_steps):
    """Two visits of the same minute, long after memory has let it go."""
    early = [trade(n, NOON + n * 7 * NS_PER_S, 100.0 + n) for n in range(1, 60)]
    late = [trade(100, NOON + 3 * NS_PER_S, 500.0), trade(101, NOON + 4 * NS_PER_S, 1.0)]
    one = builder(stored_steps, memory_ns=NS_PER_S)
    stored = one.add(early) + one.advance(NOON + 2 * Timeframe.H1.ns)
    known = list(early)
    for number, more in enumerate(late):
        assert one.add([more]) == []
        known.append(more)
        inside = [t for t in known if t.exchange_time < NOON + Timeframe.M5.ns]
        stored += rebuild(
            inside,
            held_of(stored),
            stored_steps,
            closed_through=one.closed_through,
            version=10**18 + number,
        )
    stored += one.advance(SETTLED)
    closed = {
        key: candle
        for key, candle in batch(known).items()
        if key[1] in stored_steps and candle.close_time <= NOON + 2 * Timeframe.H1.ns
    }
    assert {k: c for k, c in newest(stored).items() if k in closed} == closed


def test_trade_beyond_memory_is_announced_and_rebuilt_from_what_is_stored():
    trades = [trade(1, NOON, 100.0), trade(2, NOON + 90 * NS_PER_S, 101.0)]
    one = builder(ALL[:3], memory_ns=NS_PER_S)
    one.add(trades)
    stored = one.advance(NOON + 200 * NS_PER_S)
    late = trade(3, NOON + 1, 500.0)
    assert one.add([late]) == []
    assert one.late_beyond_memory() == [(Market("binance", "BTC-USDT"), NOON)]
    assert one.late_beyond_memory() == []
    new = rebuild(
        [trades[0], late],
        held_of(stored),
        ALL[:3],
        closed_through=one.closed_through,
        version=10**18,
    )
    assert [(c.timeframe, c.high, c.trade_count) for c in new] == [
        ("1s", 500.0, 2),
        ("1m", 500.0, 2),
    ]
    assert one.absorb(new) == []
    stored += new + one.advance(SETTLED)
    expected = batch([*trades, late])
    assert newest(stored) == {k: c for k, c in expected.items() if k[1] in ALL[:3]}


def test_memory_of_trades_is_bounded():
    one = builder((Timeframe.S1,), memory_ns=10_000 * NS_PER_S, memory_trades=100)
    for index in range(1000):
        one.add([trade(index, NOON + index * NS_PER_S)])
        one.advance(NOON + index * NS_PER_S)
        assert one.held_trades <= 101
    assert one.add([trade(5000, NOON)]) == []
    assert one.late_beyond_memory() == [(Market("binance", "BTC-USDT"), NOON)]


def test_rest_bar_replaces_a_partial_minute_and_parents_do_not_know_what_it_does_not_tell():
    one = builder(ALL[:3])
    one.add([trade(1, NOON + 50 * NS_PER_S, 10.0), trade(2, NOON + 70 * NS_PER_S, 12.0)])
    one.advance(NOON + 130 * NS_PER_S)
    bar = Candle(
        "binance", "BTC-USDT", "1m", NOON, NOON + 60 * NS_PER_S, 9.0, 11.0, 8.0, 10.0, 30.0, 290.0,
        12, None, None, None, "rest", True, 5,
    )  # fmt: skip
    assert one.absorb([bar]) == []
    assert [c.timeframe for c in one.add([trade(3, NOON + 51 * NS_PER_S, 99.0)])] == ["1s"]
    (five,) = one.advance(NOON + 300 * NS_PER_S)
    assert (five.open, five.high, five.low, five.volume) == (9.0, 12.0, 8.0, 31.0)
    assert (five.quote_volume, five.trade_count, five.vwap) == (302.0, 13, 302.0 / 31.0)
    assert (five.twap, five.taker_buy_volume, five.source) == (None, None, "rest")


def test_rest_bar_gives_way_once_ours_has_all_its_trades():
    one = builder(ALL[:3])
    one.add([trade(2, NOON + 50 * NS_PER_S, 10.0)])
    one.advance(NOON + 130 * NS_PER_S)
    bar = Candle(
        "binance", "BTC-USDT", "1m", NOON, NOON + 60 * NS_PER_S, 9.0, 10.0, 9.0, 10.0, 2.0, 19.0,
        2, None, None, None, "rest", True, 5,
    )  # fmt: skip
    one.absorb([bar])
    rebuilt = one.add([trade(1, NOON + 20 * NS_PER_S, 9.0)])
    assert [(c.timeframe, c.source, c.trade_count) for c in rebuilt] == [
        ("1s", "trades", 1),
        ("1m", "trades", 2),
    ]


def test_rest_bar_of_a_minute_that_is_due_gives_way_when_its_last_trades_come_in_time():
    one = builder(ALL[:3])
    one.add([trade(1, NOON + 20 * NS_PER_S, 9.0)])
    one.advance(NOON + 30 * NS_PER_S)
    bar = Candle(
        "binance", "BTC-USDT", "1m", NOON, NOON + 60 * NS_PER_S, 9.0, 10.0, 9.0, 10.0, 2.0, 19.0,
        2, None, None, None, "rest", True, 5,
    )  # fmt: skip
    one.absorb([bar])
    assert [c.timeframe for c in one.forming("BTC-USDT")] == ["5m"], "the minute is known"
    one.add([trade(2, NOON + 58 * NS_PER_S, 10.0)])
    closed = one.advance(NOON + 61 * NS_PER_S)
    assert [(c.timeframe, c.source, c.trade_count) for c in closed] == [
        ("1s", "trades", 1),
        ("1m", "trades", 2),
    ]


def test_rest_bar_of_a_minute_that_is_due_stays_while_ours_lacks_trades():
    one = builder(ALL[:3])
    one.add([trade(1, NOON + 20 * NS_PER_S, 9.0)])
    bar = Candle(
        "binance", "BTC-USDT", "1m", NOON, NOON + 60 * NS_PER_S, 9.0, 10.0, 9.0, 10.0, 2.0, 19.0,
        2, None, None, None, "rest", True, 5,
    )  # fmt: skip
    one.absorb([bar])
    assert [c.timeframe for c in one.advance(NOON + 61 * NS_PER_S)] == ["1s"]
    (five,) = one.advance(NOON + 300 * NS_PER_S)
    assert (five.source, five.trade_count) == ("rest", 2)


moments = st.integers(0, 40).map(lambda n: NOON + n * 7_700_000_001)
trades_drawn = st.lists(
    st.tuples(
        moments,
        st.floats(1e-9, 1e9),
        st.floats(1e-9, 1e9),
        st.sampled_from(["buy", "sell"]),
        st.sampled_from(["BTC-USDT", "ETH-USDT"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
).map(
    lambda rows: [
        trade(i, at, price, amount, side=side, instrument=name, sequence=sequence)
        for i, (at, price, amount, side, name, sequence) in enumerate(rows)
    ]
)


@settings(max_examples=80, deadline=None)
@given(trades_drawn, st.data())
def test_builder_equals_batch_for_any_order_split_and_lateness(trades, data):
    shuffled = data.draw(st.permutations(trades))
    duplicated = shuffled + data.draw(st.lists(st.sampled_from(trades), max_size=5))
    one = builder(grace_ns=data.draw(st.integers(0, 2 * NS_PER_S)), memory_ns=DAY)
    emitted: list[Candle] = []
    while duplicated:
        size = data.draw(st.integers(1, len(duplicated)))
        emitted += one.add(duplicated[:size])
        duplicated = duplicated[size:]
        emitted += one.advance(data.draw(moments))
    emitted += one.advance(SETTLED)
    assert newest(emitted) == batch(trades)
    assert all(c.is_closed for c in emitted)
    assert one.forming() == []


@settings(max_examples=40, deadline=None)
@given(trades_drawn, st.integers(0, 5), st.sampled_from([ALL, ALL[1:], (ALL[0], ALL[4])]))
def test_builder_restored_at_any_minute_equals_one_that_never_stopped(trades, minute, stored):
    cut = NOON + minute * Timeframe.M1.ns
    before = builder(stored)
    written = before.add(t for t in trades if t.exchange_time < cut + 30 * NS_PER_S)
    written += before.advance(cut + 20 * NS_PER_S)
    needed = {
        (c.instrument, c.timeframe, c.open_time): c
        for timeframe, span in restore_ranges(stored, cut)
        for c in written
        if c.timeframe == timeframe and span.start <= c.open_time < span.end
    }
    after = builder(stored)
    after.restore(needed.values(), cut)
    written += [
        msgspec.structs.replace(c, version=10**9 + c.version)
        for c in after.add(t for t in trades if t.exchange_time >= cut) + after.advance(SETTLED)
    ]
    expected = {k: c for k, c in batch(trades).items() if k[1] in stored}
    assert newest(written) == expected


@settings(max_examples=40, deadline=None)
@given(trades_drawn)
def test_candle_keeps_its_laws(trades):
    for candle in batch(trades).values():
        assert candle.low <= min(candle.open, candle.close)
        assert max(candle.open, candle.close) <= candle.high
        assert candle.vwap == candle.quote_volume / candle.volume
        assert candle.low * (1 - 1e-12) <= candle.vwap <= candle.high * (1 + 1e-12)
        assert candle.low * (1 - 1e-12) <= candle.twap <= candle.high * (1 + 1e-12)
        assert 0 <= candle.taker_buy_volume <= candle.volume * (1 + 1e-12)
