"""Each question to the store, and exactly what it answers."""

from __future__ import annotations

from store_samples import (
    HOUR,
    SAMPLES,
    T0,
    aggregate,
    candle,
    features,
    gap,
    item,
    score,
    signal,
    trade,
    uncounted,
)

from engine.domain.instrument import Market
from engine.store.client import Store
from engine.store.reader import FirstTrade, Reader
from engine.store.tables import TABLES

BTC, ETH = Market("binance", "BTC-USDT"), Market("binance", "ETH-USDT")


def test_candles_are_the_newest_version_in_a_half_open_range(store: Store) -> None:
    store.insert("candles", [candle(n) for n in range(5)])
    store.insert("candles", [candle(2, version=9, close=2.25), candle(3, version=0, close=9.0)])
    read = Reader(store).candles
    expected = [candle(1), candle(2, version=9, close=2.25), candle(3)]
    assert read(*BTC, "1h", T0 + HOUR, T0 + 4 * HOUR) == expected
    assert read(*BTC, "1h", T0 + HOUR, T0 + 4 * HOUR, limit=2) == expected[:2]
    assert read(*BTC, "1m", T0, T0 + 4 * HOUR) == []
    assert read("binance", "it's \\ none", "1h", T0, T0 + HOUR) == []


def test_candles_of_markets_are_of_those_markets_alone(store: Store) -> None:
    rows = [candle(n, name) for name in ("BTC-USDT", "ETH-USDT", "SOL-USDT") for n in range(3)]
    store.insert("candles", rows)
    read = Reader(store).candles_of_markets
    expected = [candle(n, name) for name in ("BTC-USDT", "ETH-USDT") for n in (0, 1)]
    assert read([ETH, BTC], "1h", T0, T0 + 2 * HOUR) == expected
    assert read([], "1h", T0, T0 + 2 * HOUR) == []


def test_trades_come_in_order_and_by_market(store: Store) -> None:
    rows = [trade(n, name) for n in (3, 1, 2) for name in ("ETH-USDT", "BTC-USDT")]
    store.insert("trades", [*rows, uncounted(1)])
    reader = Reader(store)
    after, until = trade(1).exchange_time, trade(3).exchange_time
    assert reader.trades(*BTC, after, until) == [trade(1), trade(2)]
    assert reader.trades_of_markets([ETH, BTC], after, until + 1) == [
        trade(n, name) for name in ("BTC-USDT", "ETH-USDT") for n in (1, 2, 3)
    ]
    assert reader.last_trades("binance") == {
        "BTC-USDT": (3, until),
        "ETH-USDT": (3, until),
    }
    assert reader.last_trades("kraken") == {"ETH-USD": (0, T0 + 1)}
    assert reader.last_trades("nobody") == {}
    first = trade(1)
    told = FirstTrade(first.sequence, first.exchange_time, first.receive_time)
    assert reader.first_trades("binance", after) == {"BTC-USDT": told, "ETH-USDT": told}
    assert reader.first_trades("binance", after + 1) == {}
    assert reader.first_trades("kraken", 0)["ETH-USD"][:2] == (0, T0 + 1)


def test_counts_are_of_every_table(store: Store) -> None:
    assert Reader(store).counts() == dict.fromkeys(TABLES, 0)
    for name, rows in SAMPLES.items():
        store.insert(name, rows)
    assert Reader(store).counts() == {name: len(SAMPLES[name]) for name in TABLES}


def test_texts_and_scores_by_availability(store: Store) -> None:
    store.insert("texts", [item(n) for n in (3, 1, 2)])
    store.insert("texts", [item(2)])
    scores = [score(n, model) for model in ("a-1", "b-2") for n in (1, 2, 3)]
    store.insert("sentiment_scores", scores)
    reader = Reader(store)
    assert reader.texts(T0 + 1, T0 + 3) == [item(1), item(2)]
    assert reader.scores(T0 + 1, T0 + 3, "b-2") == [score(1, "b-2"), score(2, "b-2")]
    assert reader.scores(T0 + 2, T0 + 3) == [score(2, "a-1"), score(2, "b-2")]


def test_aggregates_are_as_of_a_time(store: Store) -> None:
    rows = [aggregate(T0 + n, window) for window in ("1h", "1d") for n in (1, 2, 3)]
    store.insert("sentiment_aggregates", [*rows, aggregate(T0 + 2, "1h", "ETH-USDT", None)])
    reader = Reader(store)
    assert reader.latest_aggregates(T0 + 2) == [
        aggregate(T0 + 2, "1d"),
        aggregate(T0 + 2, "1h"),
        aggregate(T0 + 2, "1h", "ETH-USDT", None),
    ]
    assert reader.latest_aggregates(T0) == []
    expected = [aggregate(T0 + 1), aggregate(T0 + 2)]
    assert reader.aggregates("BTC-USDT", "1h", T0 + 1, T0 + 3) == expected


def test_latest_features_is_the_newest_bar_or_none(store: Store) -> None:
    assert Reader(store).latest_features("BTC-USDT", "1h") is None
    store.insert("features", [features(n) for n in (2, 1, 0)] + [features(5, "ETH-USDT")])
    found = Reader(store).latest_features("BTC-USDT", "1h")
    assert found is not None
    assert repr(found) == repr(features(2))


def test_signal_history_and_latest_ranking(store: Store) -> None:
    reader = Reader(store)
    assert reader.latest_ranking("1h") is None
    store.insert("signals", [signal(n) for n in range(4)])
    store.insert("signals", [signal(3, "AAA-USDT", rank=2)])
    expected = [signal(1), signal(2)]
    assert reader.signal_history("BTC-USDT", "1h", T0 + HOUR, T0 + 3 * HOUR) == expected
    assert reader.signal_history("BTC-USDT", "1h", T0, T0 + 9 * HOUR, limit=1) == [signal(0)]
    ranking = reader.latest_ranking("1h")
    assert ranking is not None
    assert ranking.as_of == T0 + 3 * HOUR
    assert ranking.signals == (signal(3), signal(3, "AAA-USDT", rank=2))
    assert ranking.universe == ("AAA-USDT", "BTC-USDT")
    assert ranking.is_closed_bar
    assert reader.latest_ranking("1d") is None


def test_open_gaps_are_those_without_repair(store: Store) -> None:
    store.insert("feed_gaps", [gap(2), gap(1), gap(3)])
    repaired = gap(2, repaired=True)
    store.insert("feed_gaps", [repaired])
    store.insert("feed_gaps", [gap(2)])  # an older version that arrives late changes nothing
    assert Reader(store).open_gaps() == [gap(1), gap(3)]
