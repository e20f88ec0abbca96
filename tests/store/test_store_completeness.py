from __future__ import annotations

import json
import math

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import T0, trade, uncounted

from engine.candles.resample import candles_from_trades, resample
from engine.clock import NS_PER_S, iso_utc
from engine.domain.instrument import Market
from engine.domain.market import Candle, Gap, Trade
from engine.domain.timeframe import Timeframe
from engine.errors import StoreQueryError
from engine.store import trade_ids
from engine.store.candle_check import BEFORE, FORMING, INCOMPLETE, NO_TRADES
from engine.store.client import Store
from engine.store.completeness import (
    UNUSED_IDS,
    MarketReport,
    Selection,
    _selected,
    as_json,
    broken_ranges,
    verify,
)
from engine.store.recompute import recompute
from engine.store.trade_ids import Hole, Neighbours, count_trades, find_holes, neighbours

BTC = Market("binance", "BTC-USDT")
MINUTE = 60 * NS_PER_S
DAY = 86_400 * NS_PER_S


def at(number: int, seconds: float, **changes: object) -> Trade:
    """Trade `number`, so many seconds after noon."""
    moment = T0 + round(seconds * NS_PER_S)
    return msgspec.structs.replace(
        trade(number), exchange_time=moment, receive_time=moment, **changes
    )


TRADES = [at(number, number * 7.3) for number in range(1, 101)]
"""A hundred trades over twelve minutes."""


def candles_of(trades: list[Trade]) -> list[Candle]:
    seconds = candles_from_trades(trades)
    return [*seconds, *(c for step in list(Timeframe)[1:] for c in resample(seconds, step))]


def gap(**changes: object) -> Gap:
    whole = Gap(
        gap_id="g",
        exchange="binance",
        instrument="BTC-USDT",
        channel="trades",
        cause="sequence",
        from_sequence=None,
        to_sequence=None,
        from_time=T0 + 10 * NS_PER_S,
        to_time=T0 + 20 * NS_PER_S,
        opened_at=T0,
    )
    return msgspec.structs.replace(whole, **changes)


def only(store: Store, **selection: object) -> MarketReport:
    (report,) = verify(store, Selection(**selection))  # type: ignore[arg-type]
    return report


def test_verify_whole_market_is_complete_and_says_what_it_counted(store: Store) -> None:
    store.insert("trades", TRADES)
    store.insert("candles", candles_of(TRADES))
    report = only(store)
    assert report.is_complete
    assert report.market == BTC
    counts = report.counts
    assert (counts.first_id, counts.last_id, counts.trades) == ("1", "100", 100)
    assert (counts.first_time, counts.last_time) == (T0 + 7_300_000_000, T0 + 730_000_000_000)
    assert (counts.unique_counted, counts.missing, report.duplicates) == (100, 0, 0)
    assert report.candles.compared == len(candles_of(TRADES)) == 100 + 13 + 3 + 1 + 1 + 1 + 1
    assert report.candles.disagreeing == 0
    assert not report.candles.not_compared
    plain = json.loads(json.dumps(as_json(report)))
    assert plain["complete"] is True
    assert plain["market"] == ["binance", "BTC-USDT"]


def test_verify_missing_ids_are_named_with_their_times(store: Store) -> None:
    held = [one for one in TRADES if one.sequence not in (5, 6, 7, 50)]
    store.insert("trades", held)
    report = only(store)
    assert report.missing_ids == 4
    assert report.holes == [
        Hole(5, 7, T0 + 29_200_000_000, T0 + 58_400_000_000),
        Hole(50, 50, T0 + 357_700_000_000, T0 + 372_300_000_000),
    ]
    assert report.problems == ["4 trade ids are missing: 5 to 7, 50"]


def test_verify_ids_that_the_venue_never_gave_are_no_problem(store: Store) -> None:
    store.insert("trades", [one for one in TRADES if one.sequence not in (5, 6, 7)])
    told = gap(from_sequence=5, to_sequence=6, repaired_at=T0, how=UNUSED_IDS)
    store.insert("feed_gaps", [told])
    assert [(hole.low, hole.high) for hole in only(store).holes] == [(7, 7)]
    store.insert("feed_gaps", [msgspec.structs.replace(told, gap_id="h", to_sequence=7)])
    assert only(store).is_complete
    # A gap that claims to be repaired in another way explains nothing.
    store.command("TRUNCATE TABLE feed_gaps")
    store.insert("feed_gaps", [msgspec.structs.replace(told, to_sequence=7, how="arrived late")])
    assert only(store).missing_ids == 3


@given(
    st.sets(st.integers(1, 60), min_size=1),
    st.lists(st.integers(1, 60), max_size=5),
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_find_holes_any_ids_equals_counting_them(
    store: Store, monkeypatch: pytest.MonkeyPatch, ids: set[int], again: list[int]
) -> None:
    monkeypatch.setattr(trade_ids, "BUCKET_IDS", 8)
    monkeypatch.setattr(trade_ids, "BUCKETS_AT_ONCE", 2)
    store.command("TRUNCATE TABLE trades")
    numbers = [*ids, *(number for number in again if number in ids)]
    store.insert("trades", [trade(number) for number in numbers])
    counts = count_trades(store, BTC, 0, 2**63 - 1)
    holes, is_all = find_holes(store, BTC, counts, 0, 2**63 - 1)
    missing = {number for hole in holes for number in range(hole.low, hole.high + 1)}
    assert is_all
    assert missing == set(range(min(ids), max(ids) + 1)) - ids
    assert counts.missing == len(missing)
    assert len(numbers) - len(ids) == counts.counted - counts.unique_counted
    assert all(hole.low - 1 in ids and hole.high + 1 in ids for hole in holes)


@pytest.mark.parametrize("make", [trade, uncounted])
def test_verify_trade_stored_twice_is_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch, make: object
) -> None:
    monkeypatch.setattr(trade_ids, "IDS_AT_ONCE", 3)
    rows = [make(number) for number in range(1, 11)]  # type: ignore[operator]
    store.insert("trades", rows)
    store.insert("trades", rows[3:5])
    report = only(store)
    assert report.duplicates == 2
    assert report.problems == ["2 trades are stored twice"]


def test_verify_candle_one_bit_off_is_found(store: Store) -> None:
    store.insert("trades", TRADES)
    candles = candles_of(TRADES)
    wrong = next(i for i, c in enumerate(candles) if c.timeframe == "5m")
    right = candles[wrong].volume
    off = math.nextafter(right, math.inf)
    candles[wrong] = msgspec.structs.replace(candles[wrong], volume=off)
    store.insert("candles", candles)
    report = only(store)
    assert report.candles.disagreeing == 1
    assert report.problems == [
        "1 candles disagree with their trades, the first 5m at 2026-01-05T12:00:00.000000Z: "
        f"volume is {off!r} in the candle and {right!r} from the trades"
    ]


def test_verify_missing_candle_and_candle_without_trades_are_found(store: Store) -> None:
    store.insert("trades", TRADES)
    candles = candles_of(TRADES)
    minutes = [i for i, c in enumerate(candles) if c.timeframe == "1m"]
    gone = candles.pop(minutes[4])
    empty = Timeframe.S1.floor(T0 + 100 * NS_PER_S)
    extra = msgspec.structs.replace(candles[0], open_time=empty, close_time=empty + NS_PER_S)
    store.insert("candles", [*candles, extra])
    report = only(store)
    assert report.candles.missing == 1
    assert [(d.timeframe, d.open_time, d.stored, d.computed) for d in
            report.candles.disagreements] == [
        ("1s", empty, "trades candle", "none"),
        ("1m", gone.open_time, "none", f"{gone.trade_count} trades"),
    ]  # fmt: skip


def test_verify_candles_that_cannot_be_compared_say_why(store: Store) -> None:
    store.insert("trades", TRADES)
    minutes = resample(candles_from_trades(TRADES), Timeframe.M1)
    asked = dict.fromkeys(("quote_volume", "vwap", "twap", "taker_buy_volume"))
    venue = [msgspec.structs.replace(c, source="rest", **asked) for c in minutes]
    early = msgspec.structs.replace(venue[0], open_time=T0 - MINUTE, close_time=T0, close=1.0)
    lone = msgspec.structs.replace(
        venue[0], open_time=T0 + 2 * DAY, close_time=T0 + 2 * DAY + MINUTE
    )
    venue[-1] = msgspec.structs.replace(venue[-1], is_closed=False)
    store.insert("candles", [early, *venue, lone])
    report = only(store)
    # The first minute's trades may have begun before ours, and the last one still forms.
    assert report.candles.not_compared == {INCOMPLETE: 2, FORMING: 1, NO_TRADES: 1}
    assert report.candles.compared == len(venue) - 2
    assert report.is_complete


def test_verify_candles_whose_first_trades_have_expired_are_not_compared(store: Store) -> None:
    store.insert("trades", TRADES[50:])
    store.insert("candles", candles_of(TRADES))
    report = only(store)
    assert report.is_complete
    # The minute in which the trades begin, and the longer candles around it; what lies wholly
    # before was made of trades that are gone.
    assert report.candles.not_compared[BEFORE] == 50 + 7 + 2 + 4
    assert report.candles.compared == 50 + 6 + 1


def test_verify_venue_candle_of_whole_trades_must_agree(store: Store) -> None:
    store.insert("trades", TRADES)
    minutes = resample(candles_from_trades(TRADES), Timeframe.M1)
    good, bad = (msgspec.structs.replace(c, source="rest") for c in minutes[3:5])
    good = msgspec.structs.replace(good, volume=good.volume * (1 + 1e-12))
    bad = msgspec.structs.replace(bad, trade_count=bad.trade_count + 1)
    store.insert("candles", [good, bad])
    report = only(store)
    assert (report.candles.compared, report.candles.disagreeing) == (2, 1)
    assert report.candles.disagreements[0].field == "trade_count"
    # While a gap of trades is open over it, nobody can tell.
    broken = gap(from_time=bad.open_time, to_time=bad.open_time + 1)
    store.insert("feed_gaps", [broken])
    assert only(store).candles.disagreeing == 0


def test_verify_open_gaps_are_told_with_the_venues_reason(store: Store) -> None:
    store.insert("trades", TRADES)
    store.insert(
        "feed_gaps",
        [
            gap(from_sequence=3, to_sequence=4, problem="bybit's REST keeps 60 trades"),
            gap(gap_id="b", channel="book", cause="checksum", to_time=None),
            gap(gap_id="t", channel="book_top"),
            gap(gap_id="r", repaired_at=T0, how="arrived late"),
        ],
    )
    report = only(store)
    assert not report.is_complete
    assert (len(report.open_gaps), report.other_open_gaps, report.repaired_gaps) == (2, 1, 1)
    assert report.problems == [
        "open gap of book (checksum) from 2026-01-05T12:00:10.000000Z, lasts",
        "open gap of trades (sequence) from 2026-01-05T12:00:10.000000Z, "
        "to 2026-01-05T12:00:20.000000Z, ids 3 to 4: bybit's REST keeps 60 trades",
    ]
    assert only(store, start=T0 + 21 * NS_PER_S).repaired_gaps == 0
    assert len(only(store, start=T0 + 21 * NS_PER_S).open_gaps) == 1


def test_verify_range_looks_at_nothing_else(store: Store) -> None:
    store.insert("trades", [one for one in TRADES if one.sequence != 80])
    store.insert("candles", candles_of(TRADES))
    report = only(store, start=T0 + MINUTE, end=T0 + 5 * MINUTE)
    assert report.is_complete
    assert report.counts.first_id == "9"
    assert report.candles.compared == 33 + 4
    assert not only(store, start=T0 + 5 * MINUTE).is_complete


def across(hole: str, ids: int, low: int, high: int) -> str:
    """What is said of ids that are missing between two held ones."""
    moments = [iso_utc(at(number, number * 7.3).exchange_time) for number in (low, high)]
    return (
        f"{ids} trade ids are missing across an edge of the range and may lie in it: {hole}, "
        f"traded between {moments[0]} and {moments[1]}"
    )


def test_verify_hole_across_an_edge_of_the_range_is_told(store: Store) -> None:
    store.insert("trades", [one for one in TRADES if one.sequence not in (20, 21, 60)])
    store.insert("candles", candles_of(TRADES[21:59]))
    report = only(store, start=TRADES[20].exchange_time, end=TRADES[59].exchange_time)
    assert (report.counts.first_id, report.counts.last_id) == ("22", "59")
    assert (report.missing_ids, report.candles.disagreeing) == (0, 0)
    assert report.problems == [across("20 to 21", 2, 19, 22), across("60", 1, 59, 61)]
    assert [(hole.low, hole.high) for hole in report.edge_holes] == [(20, 21), (60, 60)]
    # One second later on both sides the range begins and ends with trades that follow.
    inside = only(store, start=TRADES[21].exchange_time + 1, end=TRADES[58].exchange_time)
    assert (inside.counts.first_id, inside.counts.last_id) == ("23", "58")
    assert inside.is_complete


def test_verify_hole_as_long_as_the_range_is_told(store: Store) -> None:
    held = [one for one in TRADES if not 20 <= one.sequence < 80]
    store.insert("trades", held)
    report = only(store, start=TRADES[29].exchange_time, end=TRADES[39].exchange_time)
    assert (report.market, report.counts.trades) == (BTC, 0)
    assert report.problems == [across("20 to 79", 60, 19, 80)]
    # A gap explains it wherever it lies, as far as it names the ids.
    told = gap(
        from_sequence=20, to_sequence=70, repaired_at=T0, how=UNUSED_IDS,
        from_time=held[18].exchange_time, to_time=held[18].exchange_time + 1,
    )  # fmt: skip
    store.insert("feed_gaps", [told])
    rest = only(store, start=TRADES[29].exchange_time, end=TRADES[39].exchange_time)
    assert rest.problems == [across("71 to 79", 9, 19, 80)]


def test_verify_range_that_was_fetched_whole_is_complete_beside_a_hole(store: Store) -> None:
    held = [one for one in TRADES if one.sequence < 5 or 30 <= one.sequence < 40]
    store.insert("trades", [*held, TRADES[99]])
    start, end = TRADES[28].exchange_time + 1, TRADES[39].exchange_time
    assert only(store, start=start, end=end).problems == [
        across("5 to 29", 25, 4, 30),
        across("40 to 99", 60, 39, 100),
    ]
    fetched = gap(cause="restart", from_time=start, to_time=end, how="fetched 10 over REST")
    store.insert("feed_gaps", [fetched])
    assert len(only(store, start=start, end=end).edge_holes) == 2  # still open
    closed = msgspec.structs.replace(fetched, repaired_at=T0)
    store.insert("feed_gaps", [closed])
    assert only(store, start=start, end=end).is_complete
    assert len(only(store, start=start - 1, end=end).edge_holes) == 1
    assert len(only(store, start=start, end=end + 1).edge_holes) == 1
    # Of the ids that were fetched none may be missing again.
    ids = msgspec.structs.replace(closed, gap_id="h", from_sequence=28, to_sequence=40)
    store.insert("feed_gaps", [ids])
    holes = only(store, start=start, end=end).edge_holes
    assert [(hole.low, hole.high) for hole in holes] == [(28, 29), (40, 40)]


def test_verify_range_in_which_nobody_traded_is_complete(store: Store) -> None:
    other = [
        msgspec.structs.replace(one, trade_id=f"x{one.sequence}", sequence=0, exchange="bybit")
        for one in (TRADES[0], TRADES[-1])
    ]
    store.insert("trades", [*TRADES, *other])
    start, end = TRADES[4].exchange_time + 1, TRADES[5].exchange_time
    reports = list(verify(store, Selection(start=start, end=end)))
    assert [(str(one.market), one.counts.trades, one.is_complete) for one in reports] == [
        ("binance:BTC-USDT", 0, True),
        ("bybit:BTC-USDT", 0, True),
    ]
    # Before its first and behind its last trade nothing is known of a market.
    with pytest.raises(StoreQueryError, match="of any market"):
        only(store, end=TRADES[0].exchange_time)


def test_verify_trades_out_of_their_ids_order_at_an_edge_are_no_hole(store: Store) -> None:
    swapped = {20: 21, 21: 20, 59: 61, 61: 59}
    rows = [at(one.sequence, swapped.get(one.sequence, one.sequence) * 7.3) for one in TRADES]
    store.insert("trades", rows)
    for start in (19, 20, 21, 22):
        for end in (58, 59, 60, 61, 62):
            report = only(
                store, start=TRADES[start - 1].exchange_time, end=TRADES[end - 1].exchange_time
            )
            assert report.edge_holes == []
    # Ids 20 and 61 alone: their trades are beside the range, on the far side.
    lone = only(store, start=TRADES[19].exchange_time, end=TRADES[19].exchange_time + 1)
    assert (lone.counts.first_id, lone.problems) == ("21", [])


def test_verify_many_markets_are_chosen_with_one_look_at_the_trades(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"A{number}-USDT" for number in range(30)]
    store.insert(
        "trades",
        [msgspec.structs.replace(one, instrument=name) for name in names for one in TRADES[::50]],
    )
    asked: list[str] = []
    ask = store.query_arrow

    def counting(sql: str, parameters: dict[str, object] | None = None) -> pa.Table:
        asked.append(sql)
        return ask(sql, parameters)

    monkeypatch.setattr(store, "query_arrow", counting)
    found = _selected(store, Selection(start=TRADES[1].exchange_time, end=TRADES[9].exchange_time))
    assert [market.instrument for market in found] == sorted(names)
    # Which there are, and what lies beside the range.
    assert len([sql for sql in asked if "FROM trades" in sql]) == 2


def test_neighbours_far_from_the_range_are_found_as_well(store: Store) -> None:
    near, far, ended = (Market("binance", f"{name}-USDT") for name in ("NEAR", "FAR", "ENDED"))

    def moved(market: Market, number: int, days: int) -> Trade:
        one = at(number, 0, instrument=market.instrument)
        return msgspec.structs.replace(one, exchange_time=one.exchange_time + days * DAY)

    store.insert("trades", [moved(near, 1, -60), moved(near, 2, 0), moved(near, 3, 1)])
    store.insert("trades", [moved(far, 1, -60), moved(far, 5, 0), moved(far, 9, 40)])
    store.insert("trades", [moved(ended, 1, -60), moved(ended, 2, -50)])
    found = neighbours(store, "", "", T0 - NS_PER_S, T0 + NS_PER_S)
    assert found == {
        near: Neighbours(1, True, 1, T0 - 60 * DAY, 2, T0, 2, T0, 3, T0 + DAY),
        far: Neighbours(1, True, 1, T0 - 60 * DAY, 5, T0, 5, T0, 9, T0 + 40 * DAY),
        ended: Neighbours(0, False, 2, T0 - 50 * DAY, 0, 0, 0, 0, 0, 0),
    }
    # Without an end, nothing is looked for behind it.
    assert neighbours(store, "binance", "FAR-USDT", T0 - NS_PER_S, 2**63 - 1) == {
        far: Neighbours(2, False, 1, T0 - 60 * DAY, 5, T0, 9, T0 + 40 * DAY, 0, 0)
    }


def test_verify_market_with_gaps_and_no_trades_is_not_complete(store: Store) -> None:
    store.insert("feed_gaps", [gap(to_time=None)])
    report = only(store)
    assert report.counts.trades == 0
    assert report.problems == ["open gap of trades (sequence) from 2026-01-05T12:00:10.000000Z, "
                               "lasts"]  # fmt: skip


def test_verify_nothing_stored_or_nothing_matching_says_so(store: Store) -> None:
    with pytest.raises(StoreQueryError, match="holds no trades yet"):
        only(store)
    store.insert("trades", TRADES)
    with pytest.raises(StoreQueryError, match="no trades are stored of kraken; stored are binance"):
        only(store, exchange="kraken")
    with pytest.raises(StoreQueryError, match="of any market from 2026-01-06T"):
        only(store, start=T0 + DAY)


def test_recompute_many_small_reads_equal_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [at(number, number * 1_000.7) for number in range(1, 150)]
    store.insert("trades", rows)
    store.insert("trades", rows[20:25])  # once more: of two with one id, one counts
    store.insert("trades", [msgspec.structs.replace(rows[-1], trade_id="bad", price=1e-40)])
    monkeypatch.setattr("engine.store.recompute.TRADES_AT_ONCE", 3)
    made = [c for stretch in recompute(store, BTC, 0, T0 + 3 * DAY) for c in stretch.candles]

    def values(candles: list[Candle]) -> list[Candle]:
        plain = [msgspec.structs.replace(c, version=0) for c in candles]
        return sorted(plain, key=lambda c: (c.timeframe, c.open_time))

    assert values(made) == values(candles_of(rows))


def test_broken_ranges_overlapping_are_joined() -> None:
    holes = [Hole(5, 6, 50, 40), Hole(9, 9, 90, 95)]
    gaps = [gap(from_time=45, to_time=60), gap(from_time=1, to_time=9, channel="book")]
    assert broken_ranges(holes, gaps) == [(40, 60), (90, 95)]
