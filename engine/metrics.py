"""Metrics of the process this runs in, with stable labels, for Prometheus.

Every process counts into `REGISTRY`; the supervisor gathers each one's `exposition` and
serves them together, told apart by the label ``actor`` (its stable name, never an id).
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

# When a counter began is what a restart's own metrics tell.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry(auto_describe=True)

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
TICK_BUCKETS_S = (*(round(0.05 * step, 2) for step in range(1, 41)), 3, 5, 10, 30)
ROW_BUCKETS = (1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000)

FRAMES = Counter(
    "engine_frames_total", "Frames received from venues.", ["exchange"], registry=REGISTRY
)
FRAME_BYTES = Counter(
    "engine_frame_bytes_total", "Bytes of those frames.", ["exchange"], registry=REGISTRY
)
EVENTS = Counter(
    "engine_events_total", "Events decoded from frames.", ["exchange", "kind"], registry=REGISTRY
)
BAD_FRAMES = Counter(
    "engine_bad_frames_total",
    "Frames set aside as dead letters.",
    ["exchange", "kind"],
    registry=REGISTRY,
)
CONNECTS = Counter(
    "engine_stream_connects_total", "Connections opened.", ["exchange"], registry=REGISTRY
)
GAPS = Counter("engine_gaps_total", "Gaps opened.", ["exchange", "cause"], registry=REGISTRY)
OPEN_GAPS = Gauge(
    "engine_open_gaps",
    "Gaps that last, or that ended in the last hour and are not repaired.",
    ["exchange"],
    registry=REGISTRY,
)
BROKEN_FEEDS = Gauge(
    "engine_broken_feeds",
    "Instruments whose channel is down, silent or (a book) not whole now.",
    ["exchange", "channel"],
    registry=REGISTRY,
)
LIVE_BOOKS = Gauge(
    "engine_live_books", "L2 books that are whole and verified.", ["exchange"], registry=REGISTRY
)
REPAIRED_TRADES = Counter(
    "engine_repaired_trades_total",
    "Trades that were missing and were fetched over REST.",
    ["exchange"],
    registry=REGISTRY,
)
ROTATIONS = Counter(
    "engine_stream_rotations_total",
    "Connections replaced by a newer one while they still worked.",
    ["exchange"],
    registry=REGISTRY,
)
RENEWALS = Counter(
    "engine_stream_renewals_total",
    "Of these, those that began because a subscription was refused or had fallen silent.",
    ["exchange"],
    registry=REGISTRY,
)
COALESCED = Counter(
    "engine_coalesced_total",
    "Events not kept because a newer one of the same interval was (best bid and ask).",
    ["exchange", "channel"],
    registry=REGISTRY,
)
EVENT_LAG = Histogram(
    "engine_event_lag_seconds",
    "Receive time less exchange time of trades (clocks disagree: may be off by their skew).",
    ["exchange"],
    buckets=LATENCY_BUCKETS_S,
    registry=REGISTRY,
)
LATE_TRADES = Counter(
    "engine_late_trades_total",
    "Trades that came after their candle closed and rebuilt it.",
    ["exchange"],
    registry=REGISTRY,
)
IN_FLIGHT = Gauge(
    "engine_in_flight",
    "Batches handed on and not yet acknowledged.",
    ["stage"],
    registry=REGISTRY,
)
QUEUED_ROWS = Gauge(
    "engine_queued_rows", "Rows waiting to be written.", ["table"], registry=REGISTRY
)
SPOOL_BYTES = Gauge(
    "engine_spool_bytes",
    "Disk that batches take which wait for the store.",
    ["table"],
    registry=REGISTRY,
)
SPOOLED_BATCHES = Counter(
    "engine_spooled_batches_total",
    "Batches put on disk because the store did not answer.",
    ["table"],
    registry=REGISTRY,
)
FLUSH_ROWS = Histogram(
    "engine_flush_rows", "Rows per write.", ["table"], buckets=ROW_BUCKETS, registry=REGISTRY
)
FLUSH_SECONDS = Histogram(
    "engine_flush_seconds",
    "Duration of writes.",
    ["table"],
    buckets=LATENCY_BUCKETS_S,
    registry=REGISTRY,
)
STAGE_SECONDS = Histogram(
    "engine_stage_seconds",
    "Duration of one step of a stage.",
    ["stage"],
    buckets=LATENCY_BUCKETS_S,
    registry=REGISTRY,
)
TICK_TO_RANKING = Histogram(
    "engine_tick_to_ranking_seconds",
    "From the receipt of a market's newest event to the ranking that holds it on the bus.",
    buckets=TICK_BUCKETS_S,
    registry=REGISTRY,
)
REJECTED_TEXTS = Counter(
    "engine_rejected_texts_total",
    "Texts that were not let in, and lie in the table quarantine.",
    ["source", "reason"],
    registry=REGISTRY,
)
DUPLICATE_TEXTS = Counter(
    "engine_duplicate_texts_total",
    "Texts that repeat another one, and do not count again.",
    ["source"],
    registry=REGISTRY,
)
ERRORS = Counter(
    "engine_errors_total", "Errors that a stage survived.", ["stage", "kind"], registry=REGISTRY
)


def exposition() -> bytes:
    """Return this process's metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)
