"""A report whose every number is known."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.clock import parse_iso_utc
from engine.domain.market import Gap
from engine.domain.signal import Confidence, Contribution, Coverage, Signal
from engine.domain.text import MarketMood
from engine.domain.timeframe import Timeframe
from engine.reports.report import (
    PastSignal,
    PriceChart,
    Report,
    ReportedSignal,
    TrackRecord,
    count_directions,
)

HOUR = Timeframe.H1.ns
AS_OF = parse_iso_utc("2026-02-03T14:00:00Z")

PARTS = (
    Contribution("momentum_168", -0.12, -1.5, -0.07, 0.035),
    Contribution("volatility_168", 47.0, -2.0, -0.2, 0.1333),
    Contribution("rsi_14", 71.0, 1.0, -0.07, -0.0233),
    Contribution("liquidity_24", 2.5e6, 0.5, -0.07, -0.0117),
    Contribution("sentiment", None, None, 0.0, 0.0),
)


def signal(rank: int = 1, instrument: str = "BTC-USDT", **changes: Any) -> Signal:
    score = 0.0
    for part in PARTS:
        score += part.contribution
    whole = Signal(
        signal_id=f"id-{rank}",
        exchange="binance",
        instrument=instrument,
        timeframe="1h",
        as_of=AS_OF,
        rank=rank,
        score=score,
        percentile=100.0,
        direction="bullish",
        confidence=0.75,
        confidence_parts=Confidence(0.9, 0.8, 0.8, 0.26, 1.0),
        horizon="24h",
        expires_at=AS_OF + 24 * HOUR,
        reference_price=64_123.456,
        contributions=PARTS,
        rationale=("Rank 1 of 2, bullish.", "Lifted by calm."),
        coverage=Coverage(4, 5, ("sentiment",), False, 0.2, False),
        data_age_ms=90_000,
        bar_open_time=AS_OF - HOUR,
        is_closed_bar=True,
        model="linear-test",
        feature_version="f1",
    )
    return msgspec.structs.replace(whole, **changes)


def chart(*closes: float) -> PriceChart:
    times = tuple(AS_OF - (len(closes) - 1 - number) * HOUR for number in range(len(closes)))
    return PriceChart(HOUR, times, closes)


def past(days: int, direction: str, forward: float, net: float | None) -> PastSignal:
    return PastSignal(AS_OF - days * 24 * HOUR, 3, 0.2, direction, forward, net)  # type: ignore[arg-type]


RECORD = TrackRecord(
    (
        past(3, "bullish", 0.02, 0.019),
        past(2, "bearish", 0.01, -0.011),
        past(1, "neutral", -0.03, None),
    )
)


def report(*signals: ReportedSignal, **changes: Any) -> Report:
    best = signals or (
        ReportedSignal(signal(), chart(100.0, 110.0, 105.0), RECORD),
        ReportedSignal(
            signal(2, "ETH-USDT", direction="bearish", score=-0.2), chart(), TrackRecord(())
        ),
    )
    whole = Report(
        as_of=AS_OF,
        timeframe="1h",
        horizon="24h",
        source="signals",
        model="linear-test",
        feature_version="f1",
        universe=tuple(sorted(one.signal.instrument for one in best)),
        ranked=len(best),
        directions=count_directions([one.signal for one in best]),
        absent=(),
        incomplete=1,
        gaps=(
            Gap(
                "g1", "binance", "BTC-USDT", "trades", "disconnect", None, None,
                AS_OF - HOUR, None, AS_OF - HOUR,
            ),
        ),
        mood=(MarketMood("fear_greed", AS_OF - 14 * HOUR, 73.0, AS_OF - 14 * HOUR),),
        signals=best,
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes)
