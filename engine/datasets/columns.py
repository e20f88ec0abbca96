"""The columns of a training set, each with its type and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from engine.datasets.request import DatasetRequest
from engine.features.catalogue import FEATURE_INDEX, FEATURES

TIME = pa.timestamp("ns", "UTC")

Role = Literal["key", "feature", "sentiment", "mood", "perpetual", "universe", "label"]


@dataclass(frozen=True, slots=True)
class DatasetColumn:
    """One column."""

    name: str
    type: pa.DataType
    role: Role
    """label: known only at its horizon's ``known_at_``; all others at the row's available_at."""
    doc: str


_KEYS = (
    DatasetColumn("exchange", pa.string(), "key", "Venue, by our name for it"),
    DatasetColumn("instrument", pa.string(), "key", "BASE-QUOTE or BASE-QUOTE-PERP"),
    DatasetColumn("open_time", TIME, "key", "Start of the bar, included"),
    DatasetColumn("close_time", TIME, "key", "End of the bar, excluded"),
    DatasetColumn("available_at", TIME, "key", "When the bar's features were known"),
    DatasetColumn("close", pa.float64(), "key", "Last price of the bar, quote currency"),
)

SENTIMENT = (
    DatasetColumn(
        "sentiment_score", pa.float64(), "sentiment",
        "Weighted mean of the scores of the texts in the window, in [-1, 1]; null without texts",
    ),
    DatasetColumn(
        "sentiment_dispersion", pa.float64(), "sentiment",
        "Weighted standard deviation of those scores",
    ),
    DatasetColumn("sentiment_mentions", pa.int64(), "sentiment", "Number of those texts"),
    DatasetColumn(
        "sentiment_volume", pa.int64(), "sentiment",
        "Number of texts about it, read or not; null where they were not counted",
    ),
    DatasetColumn(
        "sentiment_coverage", pa.float64(), "sentiment",
        "Share of them that the model could read, in [0, 1]; null without texts",
    ),
    DatasetColumn(
        "sentiment_surprise", pa.float64(), "sentiment",
        "How unusual their number is, standard deviations of its logarithm; null without enough "
        "past",
    ),
    DatasetColumn(
        "sentiment_momentum", pa.float64(), "sentiment",
        "Score less the score one window earlier, in [-2, 2]; null where either is",
    ),
    DatasetColumn("sentiment_as_of", TIME, "sentiment", "As of when; never after available_at"),
)  # fmt: skip

PERPETUAL = (
    DatasetColumn(
        "funding_rate", pa.float64(), "perpetual",
        "Of the market's perpetual, current interval, a fraction; of the last bar that had one, "
        "at most a day old",
    ),
    DatasetColumn(
        "mark_price", pa.float64(), "perpetual", "Of the market's perpetual, quote currency"
    ),
)  # fmt: skip

UNIVERSE = (
    DatasetColumn(
        "listing_status", pa.string(), "universe",
        "trading, halted or delisted, as the registry knew it then; null where it knew nothing",
    ),
)  # fmt: skip


def mood_column(series: str) -> str:
    """Return the name of a mood series' column."""
    return f"mood_{series}"


def dataset_columns(request: DatasetRequest) -> list[DatasetColumn]:
    """Return the columns of a data set, in its order."""
    return [
        *_KEYS,
        *_features(request),
        *SENTIMENT,
        *(
            DatasetColumn(
                mood_column(name), pa.float64(), "mood",
                f"Newest value of the series {name} that was published by then",
            )
            for name in request.mood_series
        ),
        *PERPETUAL,
        *UNIVERSE,
        *(column for horizon in request.horizons for column in label_columns(horizon)),
    ]  # fmt: skip


def label_columns(horizon: str) -> tuple[DatasetColumn, ...]:
    """Return the columns of the labels over one horizon; their names end in ``_HORIZON``."""

    def column(name: str, kind: pa.DataType, doc: str) -> DatasetColumn:
        return DatasetColumn(f"{name}_{horizon}", kind, "label", doc)

    number = pa.float64()
    return (
        column("status", pa.string(), "whole; gap: no bar at the horizon; delisted: ended in it"),
        column("forward_return", number, f"Simple return over {horizon} from the bar's close"),
        column("net_return_long", number, "Of who bought, costs taken off"),
        column("net_return_short", number, "Of who sold, costs taken off"),
        column("barrier", pa.string(), "Touched first: upper, lower, both or vertical"),
        column("barrier_time", TIME, "Close of the bar that touched it"),
        column("volatility", number, "Of the log return over the horizon, as known at the bar"),
        column("known_at", TIME, "When these labels were known; train on no earlier moment"),
    )


def dataset_schema(request: DatasetRequest) -> pa.Schema:
    """Return the schema of a data set's files."""
    return pa.schema([(column.name, column.type) for column in dataset_columns(request)])


def _features(request: DatasetRequest) -> Iterator[DatasetColumn]:
    for name in request.features:
        feature = FEATURES[FEATURE_INDEX[name]]
        kind = pa.int16() if feature.kind == "pattern" else pa.float64()
        yield DatasetColumn(name, kind, "feature", feature.doc)
