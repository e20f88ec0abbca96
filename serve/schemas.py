"""What the API answers and takes, as typed models: the contract that OpenAPI publishes.

Times are ISO-8601 UTC with microseconds (``2024-08-08T23:54:15.342000Z``). Scores are in
[-1, 1], probabilities and confidences in [0, 1], ranks count from 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.domain.market import CandleSource
from engine.domain.signal import Direction

Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Score = Annotated[float, Field(ge=-1.0, le=1.0)]


class Answer(BaseModel):
    """Closed: an answer holds exactly what is declared."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ContributionAnswer(Answer):
    """One factor's part of a score."""

    factor: str
    value: float | None
    """Raw value; null where missing."""
    z: float | None
    """Robust z-score over the universe, clipped; null where missing."""
    weight: float
    """Weight used, after redistribution; 0 where missing."""
    contribution: float
    """Part of the score. Added in the order given they are the score, to the last bit."""


class CoverageAnswer(Answer):
    """What a score stands on, and what it lacks."""

    factors_present: int
    factors_total: int
    missing: list[str]
    sentiment: bool
    redistributed_weight: Share
    feed_complete: bool


class ConfidenceAnswer(Answer):
    """Parts of the confidence."""

    agreement: Share
    freshness: Share
    coverage: Share
    liquidity: Share
    stability: Share


class SignalAnswer(Answer):
    """One instrument in a ranking, explained."""

    signal_id: str
    exchange: str
    instrument: str
    timeframe: str
    as_of: Time
    rank: int = Field(ge=1)
    score: Score
    percentile: float = Field(gt=0.0, le=100.0)
    direction: Direction
    confidence: Share
    confidence_parts: ConfidenceAnswer
    horizon: str
    expires_at: Time
    reference_price: float
    contributions: list[ContributionAnswer]
    rationale: list[str]
    coverage: CoverageAnswer
    data_age_ms: int
    """Age of the newest event behind it when it was ranked: add the time since `as_of`."""
    bar_open_time: Time
    is_closed_bar: bool
    model: str
    feature_version: str


class RankingAnswer(Answer):
    """The latest ranking of a timeframe, or what the filters left of it."""

    as_of: Time
    timeframe: str
    is_closed_bar: bool
    sequence: int
    """Counts rankings of this timeframe since the ranker started."""
    universe: list[str]
    matched: int
    """Signals that match the filters, before `limit`."""
    signals: list[SignalAnswer]


class HistoryAnswer(Answer):
    """Stored signals of one instrument, oldest first."""

    instrument: str
    timeframe: str
    start: Time
    end: Time
    signals: list[SignalAnswer]
    next_start: Time | None
    """Ask again from here for the rest; null where this is all."""


class CandleAnswer(Answer):
    """Prices and volumes over ``[open_time, close_time)``."""

    open_time: Time
    close_time: Time
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None
    trade_count: int | None
    vwap: float | None
    twap: float | None
    taker_buy_volume: float | None
    source: CandleSource
    is_closed: bool


class CandlesAnswer(Answer):
    """Candles of one market, oldest first; intervals without trades have none."""

    exchange: str
    instrument: str
    timeframe: str
    start: Time
    end: Time
    candles: list[CandleAnswer]
    next_start: Time | None
    """Ask again from here for the rest; null where this is all."""


class FeaturesAnswer(Answer):
    """The latest stored features of one instrument."""

    exchange: str
    instrument: str
    timeframe: str
    open_time: Time
    close_time: Time
    available_at: Time
    close: float
    is_closed: bool
    version: str
    features: dict[str, float | None]
    """By name; null where a feature has no value (not warm yet, or its input is missing)."""


class SentimentAnswer(Answer):
    """The latest aggregate of texts about one instrument."""

    instrument: str
    window: str
    as_of: Time
    score: Score | None
    """Weighted mean; null where the window held no text that could be read."""
    dispersion: float | None
    bullish: int
    bearish: int
    neutral: int
    mentions: int
    """Texts that were read: the sum of the three."""
    weight: float
    model: str
    volume: int | None
    """Texts about it, read or not; null in rows of versions that did not count them."""
    coverage: Share | None
    """Share of them that was read; null where there was none."""
    surprise: float | None
    """How unusual the volume is, standard deviations of its logarithm; null without enough past."""
    momentum: float | None
    """Score less the score one window earlier, in [-2, 2]; null where either is."""


class RankingState(Answer):
    """Which ranking a replica holds."""

    timeframe: str
    as_of: Time
    age_ms: int
    """Time since `as_of`, by this replica's clock."""
    sequence: int
    signals: int
    is_closed_bar: bool


class SentimentState(Answer):
    """Which models read texts here."""

    model: str
    """The default, by its name in the configuration."""
    models: dict[str, str]
    """Every model that a request may name, with its version; empty while none answers."""
    replicas: list[str]
    """Actors that hold them and answer; empty where this replica holds them itself."""


class StatusAnswer(Answer):
    """What the engine and this replica are doing."""

    time: Time
    version: str
    bus: Literal["connected", "unavailable"]
    rankings: list[RankingState]
    sentiment: SentimentState
    engine: dict[str, Any] | None
    """The supervisor's report; null where it has not reported yet."""


class HealthAnswer(Answer):
    """Whether this replica answers, and has something to say."""

    status: Literal["ok", "starting"]
    """``starting`` until the first ranking."""
    version: str


class FaultAnswer(Answer):
    """One parameter that is wrong."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    place: str = Field(alias="in")
    name: str
    detail: str


class ProblemAnswer(BaseModel):
    """RFC 9457 problem details: the body of every error."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FaultAnswer] | None = None
    """The wrong parameters (422)."""
    near: list[str] | None = None
    """Names close to the unknown one (404)."""
