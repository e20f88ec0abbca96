"""Rows, candles and the like for the actors' tests."""

from __future__ import annotations

from engine.actors.messages import CandleBatch, FeatureBatch, SentimentBatch
from engine.books.measures import imbalance, microprice, spread_bps
from engine.domain.features import FeatureRow
from engine.domain.market import BookSnapshot, BookTop, Candle, Level
from engine.domain.sentiment import SentimentAggregate
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_NAMES, FEATURE_VERSION

MINUTE = Timeframe.M1.ns


def candle(
    open_time: int,
    close: float = 100.0,
    *,
    instrument: str = "BTC-USDT",
    exchange: str = "binance",
    timeframe: str = "1m",
    is_closed: bool = True,
    version: int = 1,
) -> Candle:
    return Candle(
        exchange=exchange,
        instrument=instrument,
        timeframe=timeframe,
        open_time=open_time,
        close_time=open_time + Timeframe(timeframe).ns,
        open=close,
        high=close + 1,
        low=close - 1,
        close=close,
        volume=2.0,
        quote_volume=2.0 * close,
        trade_count=3,
        vwap=close,
        twap=close,
        taker_buy_volume=1.0,
        source="trades",
        is_closed=is_closed,
        version=version,
    )


def row(
    open_time: int,
    *,
    instrument: str = "BTC-USDT",
    exchange: str = "binance",
    timeframe: str = "1m",
    is_closed: bool = True,
    value: float = 1.0,
) -> FeatureRow:
    close_time = open_time + Timeframe(timeframe).ns
    return FeatureRow(
        exchange=exchange,
        instrument=instrument,
        timeframe=timeframe,
        open_time=open_time,
        close_time=close_time,
        available_at=close_time,
        close=100.0,
        values=(value,) * len(FEATURE_NAMES),
        version=FEATURE_VERSION,
        is_closed=is_closed,
        last_receive_time=close_time,
    )


def features(
    *closed: FeatureRow,
    previews: tuple[FeatureRow, ...] = (),
    through: int = 0,
    worker: str = "features-0",
    timeframe: str = "1m",
) -> FeatureBatch:
    return FeatureBatch(
        worker=worker,
        incarnation="a",
        closed=closed,
        previews=previews,
        closed_through={timeframe: through},
        last_receive={},
        unhealthy=(),
    )


def sentiment(as_of: int, score: float | None = 0.5, window: str = "1d") -> SentimentBatch:
    aggregate = SentimentAggregate("BTC-USDT", window, as_of, score, 0.1, 2, 0, 1, 1.0, "lexicon-1")
    return SentimentBatch(as_of, (aggregate,))


def book(
    as_of: int,
    spread: float = 2.0,
    *,
    instrument: str = "BTC-USDT",
    exchange: str = "binance",
    bid: Level = (99.0, 3.0),
) -> BookSnapshot:
    bids, asks = [bid, (bid[0] - 1, 1.0)], [(bid[0] + spread, 1.0)]
    return BookSnapshot(
        exchange=exchange,
        instrument=instrument,
        bid_prices=tuple(price for price, _ in bids),
        bid_amounts=tuple(amount for _, amount in bids),
        ask_prices=tuple(price for price, _ in asks),
        ask_amounts=tuple(amount for _, amount in asks),
        spread_bps=spread_bps(bids[0][0], asks[0][0]),
        imbalance=imbalance(bids, asks),
        microprice=microprice(bids[0], asks[0]),
        sequence=0,
        epoch=1,
        exchange_time=None,
        receive_time=as_of,
        as_of=as_of,
    )


def candles(
    *closed: Candle,
    through: int = 0,
    forming: tuple[Candle, ...] = (),
    books: tuple[BookSnapshot, ...] = (),
) -> CandleBatch:
    return CandleBatch(
        stream="stream-binance-0",
        exchange="binance",
        closed=closed,
        forming=forming,
        closed_through=through,
        instruments=("BTC-USDT", "ETH-USDT"),
        last_receive={"BTC-USDT": through},
        unhealthy=(),
        books=books,
    )


def top(receive_time: int, bid: float = 99.0, instrument: str = "BTC-USDT") -> BookTop:
    return BookTop("binance", instrument, bid, 1.0, bid + 1, 1.0, 0, None, receive_time)
