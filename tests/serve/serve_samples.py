"""Domain objects that the tests of the API know by heart."""

from __future__ import annotations

from engine.clock import NS_PER_S, parse_iso_utc
from engine.config import Config
from engine.domain.features import FeatureRow
from engine.domain.market import Candle
from engine.domain.sentiment import SentimentAggregate
from engine.domain.signal import Confidence, Contribution, Coverage, Direction, Ranking, Signal

AS_OF = parse_iso_utc("2026-01-05T12:00:00.123456Z")
HOUR = 3_600 * NS_PER_S
FEATURE_NAMES = ("ema_20", "rsi_14")

CONFIG = Config.model_validate(
    {
        "sentiment": {"model": "lexicon"},
        "exchanges": {
            "binance": {"instruments": ["BTC-USDT", "ETH-USDT", "SOL-USDT"]},
            "coinbase": {"instruments": ["BTC-USD", "ETH-USDT"]},
            "kraken": {"enabled": False, "instruments": ["XRP-USD"]},
        },
    }
)


def signal(
    instrument: str = "BTC-USDT",
    rank: int = 1,
    parts: tuple[float, ...] = (0.1, 0.2, -0.05),
    *,
    direction: Direction = "bullish",
    confidence: float = 0.75,
    as_of: int = AS_OF,
) -> Signal:
    score = 0.0
    for part in parts:
        score += part
    return Signal(
        signal_id=f"id-{instrument}-{as_of}",
        exchange="binance",
        instrument=instrument,
        timeframe="1h",
        as_of=as_of,
        rank=rank,
        score=score,
        percentile=100.0 / rank,
        direction=direction,
        confidence=confidence,
        confidence_parts=Confidence(0.9, 0.8, 0.7, 0.6, 0.5),
        horizon="24h",
        expires_at=as_of + 24 * HOUR,
        reference_price=61_234.5,
        contributions=(
            *(Contribution(f"factor_{i}", 1.5, 10 * x, 0.1, x) for i, x in enumerate(parts)),
            Contribution("sentiment", None, None, 0.0, 0.0),
        ),
        rationale=("momentum over 7 days is high",),
        coverage=Coverage(3, 4, ("sentiment",), False, 0.2, True),
        data_age_ms=420,
        bar_open_time=as_of - HOUR,
        is_closed_bar=True,
        model="linear-test",
        feature_version="1",
    )


def ranking(sequence: int = 7, timeframe: str = "1h") -> Ranking:
    return Ranking(
        as_of=AS_OF,
        timeframe=timeframe,
        universe=("BTC-USDT", "ETH-USDT", "SOL-USDT"),
        signals=(
            signal(),
            signal("ETH-USDT", 2, (0.01, 0.02), direction="neutral", confidence=0.5),
        ),
        is_closed_bar=True,
        sequence=sequence,
    )


def candle(number: int, exchange: str = "binance") -> Candle:
    opened = parse_iso_utc("2026-01-05T00:00:00Z") + number * HOUR
    return Candle(
        exchange=exchange,
        instrument="BTC-USDT",
        timeframe="1h",
        open_time=opened,
        close_time=opened + HOUR,
        open=1.5,
        high=2.5,
        low=0.5,
        close=2.0,
        volume=10.0,
        quote_volume=None,
        trade_count=3,
        vwap=None,
        twap=1.25,
        taker_buy_volume=4.0,
        source="trades",
        is_closed=True,
        version=opened + HOUR,
    )


def feature_row() -> FeatureRow:
    opened = parse_iso_utc("2026-01-05T11:00:00Z")
    return FeatureRow(
        exchange="binance",
        instrument="BTC-USDT",
        timeframe="1h",
        open_time=opened,
        close_time=opened + HOUR,
        available_at=opened + HOUR + 5,
        close=61_234.5,
        values=(61_000.25, float("nan")),
        version="1",
        is_closed=True,
        last_receive_time=opened + HOUR,
    )


def aggregate(window: str = "1d", as_of: int = AS_OF) -> SentimentAggregate:
    return SentimentAggregate(
        "BTC-USDT", window, as_of, 0.25, 0.5, 3, 1, 2, 4.5, "lexicon-1", 8, 0.75, None, 0.125
    )
