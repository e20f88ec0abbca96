"""Every table once: which struct its rows are, and its columns.

Adding a column: a new ``ddl/NNN_*.sql`` with ``ALTER TABLE … ADD COLUMN IF NOT EXISTS``, the
struct's field, and its line here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

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
from engine.errors import StoreError
from engine.features.catalogue import FEATURE_NAMES
from engine.store.columns import (
    Column,
    boolean,
    integer,
    number,
    numbers,
    part,
    parts,
    raw,
    text,
    texts,
    time,
)
from engine.store.table import Table, content_token

__all__ = ["TABLES", "Table", "content_token", "table_named"]

_FLOAT, _TEXT = pa.float64(), pa.string()

FEATURE_HEAD = (
    text("exchange"),
    text("instrument"),
    text("timeframe"),
    time("open_time"),
    time("close_time"),
    time("available_at"),
    number("close"),
    text("version"),
    time("last_receive_time"),
)


def _feature_column(index: int, name: str) -> Column:
    def take(row: FeatureRow) -> float | None:
        value = row.values[index]
        return None if math.isnan(value) else value

    return Column(name, _FLOAT, take)


def _feature_fields(values: dict[str, Any]) -> dict[str, Any]:
    fields = {column.name: values[column.name] for column in FEATURE_HEAD}
    read = (values[name] for name in FEATURE_NAMES)
    fields["values"] = tuple(math.nan if value is None else float(value) for value in read)
    return fields | {"is_closed": True}


def _gap_version(gap: Gap) -> int:
    """Open 0, ended 1, repaired 2: a gap only ever moves on, so the largest counts."""
    return 2 if gap.repaired_at is not None else int(gap.to_time is not None)


def _gap_fields(values: dict[str, Any]) -> dict[str, Any]:
    values.pop("version")
    return values


_LEVELS = ("bid_prices", "bid_amounts", "ask_prices", "ask_amounts")


def _level_fields(values: dict[str, Any]) -> dict[str, Any]:
    return values | {name: tuple(values[name]) for name in _LEVELS}


def _text_fields(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"instruments": tuple(values["instruments"])}


_TARGET: Mapping[str, pa.DataType] = {"instrument": _TEXT, "score": _FLOAT, "label": _TEXT}


def _score_fields(values: dict[str, Any]) -> dict[str, Any]:
    fields = [values.pop(f"target_{name}s") for name in _TARGET]
    return values | {"targets": tuple(TargetScore(*each) for each in zip(*fields, strict=True))}


def _topic_fields(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"topics": tuple(values["topics"])}


_CONFIDENCE = ("agreement", "freshness", "coverage", "liquidity", "stability")
_CONTRIBUTION: Mapping[str, pa.DataType] = {
    "factor": _TEXT,
    "value": _FLOAT,
    "z": _FLOAT,
    "weight": _FLOAT,
    "contribution": _FLOAT,
}
_COVERAGE: Mapping[str, pa.DataType] = {
    "factors_present": pa.int64(),
    "factors_total": pa.int64(),
    "sentiment": pa.bool_(),
    "redistributed_weight": _FLOAT,
    "feed_complete": pa.bool_(),
}


def _signal_fields(values: dict[str, Any]) -> dict[str, Any]:
    confidence = {name: values.pop(f"confidence_{name}") for name in _CONFIDENCE}
    lists = [values.pop(f"contributions_{name}") for name in _CONTRIBUTION]
    coverage = {name: values.pop(f"coverage_{name}") for name in _COVERAGE}
    coverage["missing"] = tuple(values.pop("coverage_missing"))
    return values | {
        "confidence_parts": Confidence(**confidence),
        "contributions": tuple(Contribution(*each) for each in zip(*lists, strict=True)),
        "coverage": Coverage(**coverage),
        "rationale": tuple(values["rationale"]),
    }


def _missing(signal: Signal) -> list[str]:
    return list(signal.coverage.missing)


_TABLES = (
    Table(
        "trades",
        Trade,
        (
            text("exchange"),
            text("instrument"),
            text("trade_id"),
            integer("sequence"),
            number("price"),
            number("amount"),
            text("side"),
            time("exchange_time"),
            time("receive_time"),
        ),
    ),
    Table(
        "book_tops",
        BookTop,
        (
            text("exchange"),
            text("instrument"),
            number("bid_price"),
            number("bid_amount"),
            number("ask_price"),
            number("ask_amount"),
            integer("sequence"),
            time("exchange_time"),
            time("receive_time"),
        ),
    ),
    Table(
        "candles",
        Candle,
        (
            text("exchange"),
            text("instrument"),
            text("timeframe"),
            time("open_time"),
            time("close_time"),
            *map(number, ("open", "high", "low", "close", "volume", "quote_volume")),
            integer("trade_count"),
            *map(number, ("vwap", "twap", "taker_buy_volume")),
            text("source"),
            boolean("is_closed"),
            integer("version"),
        ),
    ),
    Table(
        "feed_gaps",
        Gap,
        (
            *map(text, ("gap_id", "exchange", "instrument", "channel", "cause")),
            integer("from_sequence"),
            integer("to_sequence"),
            *map(time, ("from_time", "to_time", "opened_at", "repaired_at")),
            text("how"),
            text("problem"),
            Column("version", pa.int64(), _gap_version),
        ),
        _gap_fields,
    ),
    Table(
        "book_snapshots",
        BookSnapshot,
        (
            text("exchange"),
            text("instrument"),
            *map(numbers, _LEVELS),
            *map(number, ("spread_bps", "imbalance", "microprice")),
            integer("sequence"),
            integer("epoch"),
            *map(time, ("exchange_time", "receive_time", "as_of")),
        ),
        _level_fields,
    ),
    Table(
        "book_deltas",
        BookDelta,
        (
            text("exchange"),
            text("instrument"),
            boolean("is_snapshot"),
            *map(numbers, _LEVELS),
            integer("sequence"),
            integer("epoch"),
            *map(time, ("exchange_time", "receive_time")),
        ),
        _level_fields,
    ),
    Table(
        "perpetuals",
        PerpetualTick,
        (
            text("exchange"),
            text("instrument"),
            *map(number, ("mark_price", "index_price", "funding_rate")),
            time("next_funding_time"),
            number("open_interest"),
            *map(time, ("exchange_time", "receive_time")),
        ),
    ),
    Table(
        "instruments",
        Listing,
        (
            *map(text, ("exchange", "instrument", "symbol", "status")),
            *map(number, ("tick_size", "lot_size", "contract_size")),
            *map(time, ("listed_at", "delisted_at", "valid_from")),
        ),
    ),
    Table(
        "texts",
        TextItem,
        (
            *map(text, ("text_id", "source", "kind", "title", "body", "url", "author")),
            time("published_at"),
            time("available_at"),
            number("engagement"),
            number("credibility"),
            texts("instruments"),
            text("duplicate_of"),
        ),
        _text_fields,
    ),
    Table(
        "sentiment_scores",
        SentimentScore,
        (
            text("text_id"),
            text("model"),
            *map(number, ("score", "bearish", "neutral", "bullish")),
            text("label"),
            number("confidence"),
            time("scored_at"),
            *(parts(f"target_{name}s", f"targets.{name}", kind) for name, kind in _TARGET.items()),
        ),
        _score_fields,
    ),
    Table(
        "sentiment_aggregates",
        SentimentAggregate,
        (
            text("instrument"),
            text("window"),
            time("as_of"),
            number("score"),
            number("dispersion"),
            *map(integer, ("bullish", "bearish", "neutral")),
            number("weight"),
            text("model"),
            integer("volume"),
            *map(number, ("coverage", "surprise", "momentum")),
        ),
    ),
    Table(
        "sentiment_events",
        SentimentEvent,
        (
            *map(text, ("event_id", "kind", "instrument", "window")),
            time("as_of"),
            text("direction"),
            *map(number, ("score", "surprise")),
            integer("volume"),
            number("weight"),
            text("model"),
        ),
    ),
    Table(
        "text_topics",
        TextTopics,
        (
            *map(text, ("text_id", "version")),
            texts("topics"),
            *map(number, ("fear", "greed", "excitement")),
            time("available_at"),
        ),
        _topic_fields,
    ),
    Table(
        "source_credibility",
        SourceCredibility,
        (
            *map(text, ("source", "level", "name", "model", "version")),
            time("as_of"),
            number("right"),
            number("wrong"),
            integer("opinions"),
            number("prior"),
            number("credibility"),
        ),
    ),
    Table(
        "market_mood",
        MarketMood,
        (text("series"), time("time"), number("value"), time("available_at")),
    ),
    Table(
        "features",
        FeatureRow,
        (*FEATURE_HEAD, *(_feature_column(i, name) for i, name in enumerate(FEATURE_NAMES))),
        _feature_fields,
    ),
    Table(
        "signals",
        Signal,
        (
            *map(text, ("signal_id", "exchange", "instrument", "timeframe")),
            time("as_of"),
            integer("rank"),
            number("score"),
            number("percentile"),
            text("direction"),
            number("confidence"),
            *(part(f"confidence_{n}", f"confidence_parts.{n}", _FLOAT) for n in _CONFIDENCE),
            text("horizon"),
            time("expires_at"),
            number("reference_price"),
            *(
                parts(f"contributions_{n}", f"contributions.{n}", t)
                for n, t in _CONTRIBUTION.items()
            ),
            texts("rationale"),
            *(part(f"coverage_{n}", f"coverage.{n}", t) for n, t in _COVERAGE.items()),
            Column("coverage_missing", pa.list_(_TEXT), _missing),
            integer("data_age_ms"),
            time("bar_open_time"),
            boolean("is_closed_bar"),
            text("model"),
            text("feature_version"),
        ),
        _signal_fields,
    ),
    Table(
        "job_runs",
        JobRun,
        (
            *map(text, ("run_id", "job", "submission_id", "config", "code_version")),
            *map(time, ("started_at", "ended_at")),
            *map(text, ("outcome", "problem")),
            *map(integer, ("rows", "skipped")),
            text("details"),
            integer("version"),
            text("host"),
            integer("pid"),
        ),
    ),
    Table(
        "job_blocks",
        JobBlock,
        (
            *map(text, ("job", "unit", "fingerprint", "token")),
            *map(integer, ("rows", "unit_rows")),
            text("run_id"),
            time("written_at"),
        ),
    ),
    Table(
        "schedules",
        Schedule,
        (
            *map(text, ("name", "job", "every", "settings")),
            integer("catch_up"),
            text("origin"),
            time("since"),
            *map(boolean, ("is_paused", "is_removed")),
            integer("version"),
        ),
    ),
    Table(
        "schedule_runs",
        ScheduledRun,
        (
            text("name"),
            time("due_at"),
            boolean("is_by_hand"),
            *map(text, ("state", "submission_id")),
            *map(integer, ("attempt", "passed_over")),
            *map(time, ("started_at", "ended_at")),
            text("problem"),
            integer("version"),
        ),
    ),
    Table(
        "quarantine",
        QuarantinedRow,
        (
            *map(text, ("job", "run_id", "table_name", "source")),
            integer("row_number"),
            *map(text, ("reason", "row")),
            time("quarantined_at"),
        ),
    ),
    Table(
        "quality_scores",
        QualityScore,
        (
            *map(text, ("table_name", "source")),
            time("day"),
            text("measure"),
            *map(number, ("value", "threshold")),
            boolean("passed"),
            integer("rows"),
            text("run_id"),
            time("checked_at"),
        ),
    ),
    Table(
        "outcomes",
        BarOutcome,
        (
            *map(text, ("exchange", "instrument", "timeframe")),
            time("open_time"),
            text("horizon"),
            time("known_at"),
            text("status"),
            *map(number, ("forward_return", "net_return_long", "net_return_short")),
            text("barrier"),
            time("barrier_time"),
            number("volatility"),
            text("version"),
        ),
    ),
    Table(
        "datasets",
        Dataset,
        (
            *map(text, ("dataset_id", "run_id", "path")),
            *map(time, ("created_at", "watermark")),
            text("timeframe"),
            *map(integer, ("rows", "files")),
            *map(text, ("sha256", "feature_version", "label_version", "code_version")),
            *map(text, ("quality", "manifest")),
        ),
    ),
    Table(
        "dead_letters",
        DeadLetter,
        (
            text("exchange"),
            text("kind"),
            text("reason"),
            raw("frame"),
            integer("frame_bytes"),
            time("receive_time"),
        ),
    ),
)

TABLES: Mapping[str, Table] = {table.name: table for table in _TABLES}
"""Every table that rows are written to, by name."""


def table_named(name: str) -> Table:
    """Return a table.

    Raises
    ------
    StoreError
        Where there is none of that name.
    """
    try:
        return TABLES[name]
    except KeyError:
        raise StoreError(f"no table {name!r}; there are {', '.join(TABLES)}") from None
