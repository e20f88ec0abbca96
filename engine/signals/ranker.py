"""Feature rows and sentiment to a ranking: pure, and free of the order of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite

from engine.clock import NS_PER_MS
from engine.config import RankingConfig
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.sentiment import SentimentAggregate, Window
from engine.domain.signal import Confidence, Coverage, Direction, Ranking, Signal
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_INDEX, FEATURE_NAMES
from engine.signals import confidence as trust
from engine.signals.rationale import rationale
from engine.signals.scoring import Scored, nominal_weights, score_rows
from engine.signals.weights import Weights

_HOUR = Timeframe.H1.ns

HORIZONS: dict[Timeframe, tuple[str, int]] = {
    Timeframe.S1: ("5m", Timeframe.M5.ns),
    Timeframe.M1: ("1h", _HOUR),
    Timeframe.M5: ("4h", 4 * _HOUR),
    Timeframe.M15: ("6h", 6 * _HOUR),
    Timeframe.H1: ("24h", 24 * _HOUR),
    Timeframe.H4: ("4d", 96 * _HOUR),
    Timeframe.D1: ("7d", 168 * _HOUR),
}
"""What a signal of each timeframe speaks about, as text and nanoseconds."""


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """How a market's feed is doing."""

    last_receive_time: int
    """When its newest event reached us, UTC nanoseconds."""
    is_complete: bool
    """No open gap and no staleness."""


def rank(
    rows: Sequence[FeatureRow],
    aggregates: Mapping[str, SentimentAggregate],
    *,
    as_of: int,
    config: RankingConfig,
    weights: Weights,
    feed: Mapping[Market, FeedHealth],
    sequence: int,
    now_ns: int | None = None,
) -> Ranking:
    """Score, rank and explain every market.

    A market without a single factor cannot be compared: it stays in ``universe`` and gets no
    signal. Below ``config.min_universe`` comparable markets nobody gets one.

    Parameters
    ----------
    rows
        The newest row of each market, all of one timeframe and catalogue version.
    aggregates
        By instrument, of ``config.sentiment_window``. One from after `as_of`, or older than its
        own window, counts as missing.
    as_of
        The moment the ranking speaks of, UTC nanoseconds: for closed bars their close.
    config
        Sentiment's share and window, neutral band, least universe.
    weights
        Of the other factors.
    feed
        By market; one without an entry is taken as complete, as fresh as its row.
    sequence
        Number of this ranking.
    now_ns
        What data ages are measured to; `as_of` by default, which keeps stored signals
        reproducible.

    Raises
    ------
    ValueError
        Where rows differ in timeframe or version, a market is there twice, or an aggregate is
        of another window.

    Notes
    -----
    Ties in score are broken by instrument, then exchange. The model is named
    ``linear-<name of the weights>``.
    """
    ordered = sorted(rows, key=lambda row: (row.instrument, row.exchange))
    _check(ordered, aggregates, config)
    usable = _known_by(aggregates, as_of)
    scored = score_rows(ordered, usable, nominal_weights(weights, config.sentiment_share))
    pairs = [(row, one) for row, one in zip(ordered, scored, strict=True) if _comparable(one)]
    pairs.sort(key=lambda pair: (-pair[1].score, pair[0].instrument, pair[0].exchange))
    if len(pairs) < config.min_universe:
        pairs = []
    explain = _Explainer(pairs, usable, as_of, config, weights, feed, now_ns or as_of)
    return Ranking(
        as_of=as_of,
        timeframe=ordered[0].timeframe if ordered else config.timeframe.value,
        universe=tuple(row.instrument for row in ordered),
        signals=tuple(explain.signal(place) for place in range(len(pairs))),
        is_closed_bar=all(row.is_closed for row in ordered),
        sequence=sequence,
    )


MODEL_PREFIX = "linear-"


def model_name(weights: Weights) -> str:
    """Return the name that signals made with these weights carry."""
    return f"{MODEL_PREFIX}{weights.name}"


def direction_of(score: float, neutral_band: float) -> Direction:
    """Return the side a score is on; within plus or minus the band it is neutral."""
    if abs(score) <= neutral_band:
        return "neutral"
    return "bullish" if score > 0 else "bearish"


def signal_id(row: FeatureRow, as_of: int, model: str) -> str:
    """Return the same id for the same bar, model and catalogue: storing twice is storing once.

    A preview's id also depends on `as_of`.
    """
    moment = "closed" if row.is_closed else str(as_of)
    parts = (row.exchange, row.instrument, row.timeframe, str(row.open_time), moment, model)
    return sha256("|".join((*parts, row.version)).encode()).hexdigest()[:24]


def _comparable(scored: Scored) -> bool:
    return any(part.z is not None and part.weight != 0 for part in scored.contributions)


def _check(
    rows: Sequence[FeatureRow],
    aggregates: Mapping[str, SentimentAggregate],
    config: RankingConfig,
) -> None:
    kinds = {(row.timeframe, row.version) for row in rows}
    if len(kinds) > 1:
        raise ValueError(f"rows of several timeframes or catalogues in one ranking: {kinds}")
    if len({(row.exchange, row.instrument) for row in rows}) < len(rows):
        raise ValueError("a market has two rows in one ranking")
    for row in rows:
        if len(row.values) != len(FEATURE_NAMES):
            raise ValueError(
                f"the row of {row.exchange}:{row.instrument} has {len(row.values)} values, "
                f"the catalogue {len(FEATURE_NAMES)}"
            )
    for aggregate in aggregates.values():
        if aggregate.window != config.sentiment_window:
            raise ValueError(
                f"the aggregate of {aggregate.instrument} is over {aggregate.window}, "
                f"ranking.sentiment_window is {config.sentiment_window}"
            )


def _known_by(
    aggregates: Mapping[str, SentimentAggregate], as_of: int
) -> dict[str, SentimentAggregate]:
    """Keep what was known at `as_of` and still says something of its window."""
    return {
        instrument: aggregate
        for instrument, aggregate in aggregates.items()
        if aggregate.as_of <= as_of < aggregate.as_of + Window(aggregate.window).ns
    }


def _feature(row: FeatureRow, name: str) -> float | None:
    value = row.values[FEATURE_INDEX[name]]
    return value if isfinite(value) else None


class _Explainer:
    """Turns ranked pairs into signals; holds what is common to all of one ranking."""

    def __init__(
        self,
        pairs: Sequence[tuple[FeatureRow, Scored]],
        aggregates: Mapping[str, SentimentAggregate],
        as_of: int,
        config: RankingConfig,
        weights: Weights,
        feed: Mapping[Market, FeedHealth],
        now_ns: int,
    ) -> None:
        self._pairs = pairs
        self._aggregates = aggregates
        self._as_of = as_of
        self._config = config
        self._model = model_name(weights)
        self._feed = feed
        self._now_ns = now_ns
        self._turnovers = self._known("dollar_volume_24")
        self._volatilities = self._known("realised_volatility_168")

    def signal(self, place: int) -> Signal:
        """Build the signal of the market at `place`, counted from 0, best first."""
        row, scored = self._pairs[place]
        timeframe = Timeframe(row.timeframe)
        horizon, horizon_ns = HORIZONS[timeframe]
        age_ms, feed_complete = self._freshness_of(row)
        coverage = self._coverage(row, scored, feed_complete=feed_complete)
        parts = self._confidence(row, scored, age_ms, coverage)
        confidence = trust.overall(parts)
        direction = direction_of(scored.score, self._config.neutral_band)
        lower_or_equal = sum(other.score <= scored.score for _, other in self._pairs)
        return Signal(
            signal_id=signal_id(row, self._as_of, self._model),
            exchange=row.exchange,
            instrument=row.instrument,
            timeframe=row.timeframe,
            as_of=self._as_of,
            rank=place + 1,
            score=scored.score,
            percentile=100.0 * lower_or_equal / len(self._pairs),
            direction=direction,
            confidence=confidence,
            confidence_parts=parts,
            horizon=horizon,
            expires_at=self._as_of + horizon_ns,
            reference_price=row.close,
            contributions=scored.contributions,
            rationale=rationale(
                rank=place + 1,
                ranked=len(self._pairs),
                score=scored.score,
                direction=direction,
                horizon=horizon,
                confidence=confidence,
                parts=parts,
                contributions=scored.contributions,
                aggregate=self._aggregates.get(row.instrument),
                window=self._config.sentiment_window,
                coverage=coverage,
                data_age_ms=age_ms,
                timeframe=timeframe,
            ),
            coverage=coverage,
            data_age_ms=age_ms,
            bar_open_time=row.open_time,
            is_closed_bar=row.is_closed,
            model=self._model,
            feature_version=row.version,
        )

    def _known(self, name: str) -> list[float]:
        values = (_feature(row, name) for row, _ in self._pairs)
        return sorted(value for value in values if value is not None)

    def _freshness_of(self, row: FeatureRow) -> tuple[int, bool]:
        health = self._feed.get(Market(row.exchange, row.instrument))
        newest = row.last_receive_time
        if health is not None:
            newest = max(newest, health.last_receive_time)
        age_ms = max(0, self._now_ns - newest) // NS_PER_MS
        return age_ms, health is None or health.is_complete

    def _coverage(self, row: FeatureRow, scored: Scored, *, feed_complete: bool) -> Coverage:
        total = len(scored.contributions)
        return Coverage(
            factors_present=total - len(scored.missing),
            factors_total=total,
            missing=scored.missing,
            sentiment=row.instrument in self._aggregates
            and self._aggregates[row.instrument].mentions > 0,
            redistributed_weight=scored.redistributed_weight,
            feed_complete=feed_complete,
        )

    def _confidence(
        self, row: FeatureRow, scored: Scored, age_ms: int, coverage: Coverage
    ) -> Confidence:
        return Confidence(
            agreement=trust.agreement([part.contribution for part in scored.contributions]),
            freshness=trust.freshness(
                age_ms, Timeframe(row.timeframe), feed_complete=coverage.feed_complete
            ),
            coverage=1.0 - coverage.redistributed_weight,
            liquidity=trust.liquidity(_feature(row, "dollar_volume_24"), self._turnovers),
            stability=trust.stability(_feature(row, "realised_volatility_168"), self._volatilities),
        )
