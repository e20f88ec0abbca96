"""Rows of every table whose values are known."""

from __future__ import annotations

import math
import random

import msgspec

from engine.clock import NS_PER_S, parse_iso_utc
from engine.config import RetentionConfig
from engine.domain.credibility import SourceCredibility
from engine.domain.dataset import Dataset
from engine.domain.features import FeatureRow
from engine.domain.job import JobBlock, JobRun
from engine.domain.market import (
    BookDelta,
    BookSnapshot,
    BookTop,
    Candle,
    DeadLetter,
    Gap,
    Listing,
    PerpetualTick,
    Trade,
)
from engine.domain.outcome import BarOutcome
from engine.domain.quality import QualityScore
from engine.domain.quarantine import QuarantinedRow
from engine.domain.schedule import Schedule, ScheduledRun
from engine.domain.sentiment import (
    SentimentAggregate,
    SentimentEvent,
    SentimentScore,
    TargetScore,
    TextTopics,
)
from engine.domain.signal import Confidence, Contribution, Coverage, Signal
from engine.domain.text import MarketMood, TextItem
from engine.features.catalogue import FEATURE_VERSION, FEATURES

T0 = parse_iso_utc("2026-01-05T12:00:00Z")
HOUR = 3_600 * NS_PER_S
KEPT_FOR_EVER = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))


def trade(number: int, instrument: str = "BTC-USDT", *, exchange: str = "binance") -> Trade:
    """Trade `number` of a market that counts its trades; one a millisecond."""
    return Trade(
        exchange,
        instrument,
        str(number),
        number,
        60_000.0 + number / 10,
        0.001 * number,
        "buy" if number % 2 else "sell",
        T0 + number * 1_000_000 + 7,
        T0 + number * 1_000_000 + 1_000_003,
    )


def uncounted(number: int) -> Trade:
    """Trade `number` of a venue whose ids are no numbers."""
    return Trade(
        "kraken", "ETH-USD", f"T-{number:04}", 0, 3_000.0, 1.0, "buy", T0 + number, T0 + number + 9
    )


def top(number: int, sequence: int | None = None) -> BookTop:
    return BookTop(
        "binance",
        "BTC-USDT",
        59_999.5,
        1.25,
        60_000.5,
        0.75,
        number if sequence is None else sequence,
        None if number % 2 else T0 + number,
        T0 + number + 5,
    )


def candle(
    number: int, instrument: str = "BTC-USDT", version: int = 1, close: float = 2.0
) -> Candle:
    opened = T0 + number * HOUR
    return Candle(
        exchange="binance",
        instrument=instrument,
        timeframe="1h",
        open_time=opened,
        close_time=opened + HOUR,
        open=1.5,
        high=2.5,
        low=0.1 + 0.2,
        close=close,
        volume=10.0,
        quote_volume=None if number % 2 else 1e-300,
        trade_count=None if number % 2 else 3,
        vwap=None if number % 2 else 1 / 3,
        twap=1.25,
        taker_buy_volume=None,
        source="rest" if number % 2 else "trades",
        is_closed=number % 2 == 0,
        version=version,
    )


def gap(number: int, repaired: bool = False) -> Gap:
    return Gap(
        f"gap-{number}",
        "binance",
        "BTC-USDT",
        "trades",
        "sequence",
        number,
        None if not repaired else number + 5,
        T0,
        T0 + 9 if repaired else None,
        T0 + number,
        T0 + 99 if repaired else None,
        "rest" if repaired else "",
    )


def item(number: int) -> TextItem:
    return TextItem(
        f"text-{number}",
        "wire",
        "news",
        "Bitcoin 🚀 «naïve» 'quoted' \\ tab\t",
        "line\nline\0nul",
        "https://news.example/1",
        "",
        T0 - HOUR,
        T0 + number,
        3.5,
        0.7,
        ("BTC-USDT", "ETH-USDT") if number % 2 else (),
        "" if number % 2 else "text-1",
    )


def credibility(number: int) -> SourceCredibility:
    return SourceCredibility(
        "wire",
        "author" if number % 2 else "source",
        "ab12" if number % 2 else "",
        "lexicon-1",
        "1 24h of 1h bars",
        T0 + number * HOUR,
        3.25,
        1.5,
        7,
        0.5,
        0.55,
    )


def score(number: int, model: str = "lexicon-1") -> SentimentScore:
    targets = (TargetScore("BTC-USDT", 0.5, "bullish"), TargetScore("ETH-USDT", None, None))
    return SentimentScore(
        f"text-{number}",
        model,
        -0.25,
        0.5,
        0.25,
        0.25,
        "bearish",
        0.5,
        T0 + number,
        targets if number == 1 else (),
    )


def aggregate(
    as_of: int, window: str = "1h", instrument: str = "BTC-USDT", value: float | None = 0.125
) -> SentimentAggregate:
    return SentimentAggregate(
        instrument,
        window,
        as_of,
        value,
        None if value is None else 0.5,
        3,
        1,
        2,
        4.5,
        "lexicon-1",
        volume=8,
        coverage=0.75,
        surprise=None if value is None else -1.5,
        momentum=value,
    )


def event(number: int) -> SentimentEvent:
    is_flip = number % 2 == 0
    return SentimentEvent(
        event_id=f"event-{number}",
        kind="sentiment_flip" if is_flip else "mention_spike",
        instrument="BTC-USDT",
        window="1d",
        as_of=T0 + number,
        direction="bearish" if is_flip else None,
        score=-0.25 if is_flip else None,
        surprise=None if is_flip else 4.5,
        volume=7,
        weight=2.5,
        model="lexicon-1",
    )


def text_topics(number: int) -> TextTopics:
    is_read = number % 2 == 0
    return TextTopics(
        text_id=f"text-{number}",
        version="topics-1",
        topics=("regulation", "etf") if is_read else (),
        fear=0.75 if is_read else None,
        greed=0.0 if is_read else None,
        excitement=0.5 if is_read else None,
        available_at=T0 + number,
    )


def mood(number: int) -> MarketMood:
    return MarketMood("fear_greed", T0 + number * HOUR, 37.0 + number, T0 + number * HOUR + 1)


def features(number: int, instrument: str = "BTC-USDT") -> FeatureRow:
    """Each value exact for its column: patterns are small whole numbers; some are missing."""
    draw = random.Random(number)
    values = tuple(
        math.nan
        if draw.random() < 0.1
        else float(draw.choice((-200, -100, 0, 100, 200)))
        if feature.kind == "pattern"
        else draw.uniform(-1e6, 1e6)
        for feature in FEATURES
    )
    opened = T0 + number * HOUR
    return FeatureRow(
        "binance",
        instrument,
        "1h",
        opened,
        opened + HOUR,
        opened + HOUR + 5,
        61_234.5,
        values,
        FEATURE_VERSION,
        True,
        opened + HOUR - 1,
    )


def signal(number: int, instrument: str = "BTC-USDT", rank: int = 1) -> Signal:
    as_of = T0 + number * HOUR
    return Signal(
        signal_id=f"{instrument}-{number}",
        exchange="binance",
        instrument=instrument,
        timeframe="1h",
        as_of=as_of,
        rank=rank,
        score=0.1 + 0.2,
        percentile=50.0,
        direction="bullish",
        confidence=0.75,
        confidence_parts=Confidence(0.9, 0.8, 0.7, 0.6, 0.5),
        horizon="24h",
        expires_at=as_of + 24 * HOUR,
        reference_price=61_234.5,
        contributions=(
            Contribution("momentum", 1.5, 2.0, 0.1, 0.1 + 0.2),
            Contribution("sentiment", None, None, 0.0, 0.0),
        ),
        rationale=("momentum over 7 days is high", "it's 'quoted'"),
        coverage=Coverage(1, 2, ("sentiment",), False, 0.2, True),
        data_age_ms=420,
        bar_open_time=as_of - HOUR,
        is_closed_bar=True,
        model="linear-test",
        feature_version=FEATURE_VERSION,
    )


def letter(number: int) -> DeadLetter:
    return DeadLetter("binance", "not_json", "unexpected '{'", b"\x00\xff{", 70_000, T0 + number)


def book_snapshot(number: int) -> BookSnapshot:
    return BookSnapshot(
        exchange="okx",
        instrument="BTC-USDT",
        bid_prices=(59_999.5, 59_999.0),
        bid_amounts=(1.5, 0.1 + 0.2),
        ask_prices=(60_000.5,),
        ask_amounts=(2.0,),
        spread_bps=1 / 6,
        imbalance=-0.25,
        microprice=60_000.1,
        sequence=number,
        epoch=1,
        exchange_time=None if number % 2 else T0 + number,
        receive_time=T0 + number + 5,
        as_of=T0 + number + 9,
    )


def book_delta(number: int) -> BookDelta:
    return BookDelta(
        exchange="okx",
        instrument="BTC-USDT",
        is_snapshot=number == 1,
        bid_prices=(59_999.5,),
        bid_amounts=(0.0,),
        ask_prices=(),
        ask_amounts=(),
        sequence=number,
        epoch=1,
        exchange_time=T0 + number,
        receive_time=T0 + number + 5,
    )


def perpetual(number: int) -> PerpetualTick:
    return PerpetualTick(
        exchange="binance_perp",
        instrument="BTC-USDT-PERP",
        mark_price=60_000.25 if number % 2 else None,
        index_price=60_001.0,
        funding_rate=-0.0001,
        next_funding_time=T0 + 8 * HOUR,
        open_interest=None if number % 2 else 81_234.5,
        exchange_time=T0 + number,
        receive_time=T0 + number + 5,
    )


def listing(number: int) -> Listing:
    return Listing(
        exchange="binance",
        instrument="LUNA-USDT" if number == 1 else f"LUNA~{number}-USDT",
        symbol="LUNAUSDT",
        status="delisted" if number == 1 else "trading",
        tick_size=0.01,
        lot_size=None,
        contract_size=1.0,
        listed_at=None,
        delisted_at=T0 if number == 1 else None,
        valid_from=T0 + number,
    )


def quality(number: int) -> QualityScore:
    return QualityScore(
        table_name="candles",
        source="binance BTC-USDT 1h",
        day=T0 + number * 24 * HOUR,
        measure="score" if number % 2 else "completeness",
        value=0.1 + 0.2,
        threshold=None if number % 2 else 0.95,
        passed=number % 2 == 1,
        rows=24,
        run_id="check_quality-1",
        checked_at=T0 + number,
    )


def job_run(number: int) -> JobRun:
    """One that failed, or one that runs."""
    is_odd = number % 2 == 1
    return JobRun(
        run_id=f"report-{number}",
        job="report",
        submission_id=f"report-{number}",
        config='{"report": {"top": 3}}',
        code_version="0.1.0+abc",
        started_at=T0 + number,
        ended_at=T0 + number + HOUR if is_odd else None,
        outcome="failed" if is_odd else "running",
        problem="nothing to rank" if is_odd else "",
        rows=number,
        skipped=0,
        details="{}",
        version=T0 + number,
    )


def job_block(number: int) -> JobBlock:
    return JobBlock(
        job="build_features",
        unit=f"1h 2026-{number:02d}",
        fingerprint="f" * 32,
        token=f"token-{number}",
        rows=744,
        unit_rows=1488,
        run_id="build_features-1",
        written_at=T0 + number,
    )


def schedule(number: int) -> Schedule:
    """One of the configuration, or one that was added and is paused."""
    is_odd = number % 2 == 1
    return Schedule(
        name=f"schedule-{number}",
        job="report",
        every="5 * * * *",
        settings='{"top": 3}',
        catch_up=number,
        origin="configuration" if is_odd else "command",
        since=T0 + number,
        is_paused=not is_odd,
        is_removed=False,
        version=T0 + number,
    )


def scheduled_run(number: int) -> ScheduledRun:
    """One that ended, or one that is going."""
    is_odd = number % 2 == 1
    return ScheduledRun(
        name="hourly",
        due_at=T0 + number * HOUR,
        is_by_hand=is_odd,
        state="failed" if is_odd else "running",
        submission_id=f"hourly-{number}",
        attempt=number,
        passed_over=number - 1,
        started_at=T0 + number * HOUR + 1,
        ended_at=T0 + number * HOUR + 2 if is_odd else None,
        problem="nothing to rank" if is_odd else "",
        version=T0 + number * HOUR + 3,
    )


def quarantined(number: int) -> QuarantinedRow:
    return QuarantinedRow(
        "import_candles", "run-1", "candles", "c.csv", number, "low is above open or close",
        '{"low": 9.5}', T0 + number,
    )  # fmt: skip


def outcome(number: int) -> BarOutcome:
    """Outcome `number`: the even one is whole, the odd one a gap."""
    opened = T0 + number * HOUR
    gap = number % 2 == 1
    return BarOutcome(
        exchange="binance",
        instrument="BTC-USDT",
        timeframe="1h",
        open_time=opened,
        horizon="4h",
        known_at=opened + 5 * HOUR,
        status="gap" if gap else "whole",
        forward_return=None if gap else 0.1 + 0.2,
        net_return_long=None if gap else 0.3,
        net_return_short=None if gap else -0.3,
        barrier="" if gap else "upper",
        barrier_time=None if gap else opened + 2 * HOUR,
        volatility=0.01,
        version="1",
    )


def dataset(number: int) -> Dataset:
    return Dataset(
        dataset_id=f"dataset-1h-{number}",
        run_id="export_dataset-1",
        path="/data/it's here",
        created_at=T0 + number,
        watermark=T0,
        timeframe="1h",
        rows=1_000,
        files=2,
        sha256="ab" * 32,
        feature_version=FEATURE_VERSION,
        label_version="1",
        code_version="0.1.0",
        quality="passed" if number % 2 else "forced",
        manifest='{"rows": 1000}',
    )


SAMPLES: dict[str, list[msgspec.Struct]] = {
    "trades": [trade(1), trade(2), uncounted(3)],
    "book_tops": [top(1), top(2), top(4, 0)],
    "candles": [candle(0), candle(1)],
    "feed_gaps": [gap(1), gap(2, repaired=True)],
    "book_snapshots": [book_snapshot(1), book_snapshot(2)],
    "book_deltas": [book_delta(1), book_delta(2)],
    "perpetuals": [perpetual(1), perpetual(2)],
    "instruments": [listing(1), listing(2)],
    "texts": [item(1), item(2)],
    "sentiment_scores": [score(1), score(2, "other-2")],
    "sentiment_aggregates": [aggregate(T0), aggregate(T0 + 1, value=None)],
    "sentiment_events": [event(0), event(1)],
    "text_topics": [text_topics(0), text_topics(1)],
    "market_mood": [mood(0), mood(1)],
    "features": [features(0), features(1)],
    "signals": [signal(0), signal(1)],
    "source_credibility": [credibility(0), credibility(1)],
    "outcomes": [outcome(0), outcome(1)],
    "datasets": [dataset(0), dataset(1)],
    "dead_letters": [letter(1), letter(2)],
    "quarantine": [quarantined(1), quarantined(2)],
    "job_runs": [job_run(1), job_run(2)],
    "job_blocks": [job_block(1), job_block(2)],
    "schedules": [schedule(1), schedule(2)],
    "schedule_runs": [scheduled_run(1), scheduled_run(2)],
    "quality_scores": [quality(0), quality(1)],
}
