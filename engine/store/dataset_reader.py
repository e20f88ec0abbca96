"""What a training set is made of, as it is stored: bars with their features, and facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from engine.clock import NS_PER_S
from engine.domain.timeframe import Timeframe
from engine.features.segment import segment_end
from engine.store.client import Store

_MARKETS = (
    "({exchange:String} = '' OR exchange = {exchange:String}) "
    "AND (empty({instruments:Array(String)}) OR has({instruments:Array(String)}, instrument))"
)
_KNOWN_BY = "<= fromUnixTimestamp64Nano({watermark:Int64})"

_BARS = (
    "FROM features FINAL WHERE timeframe = {timeframe:String} AND version = {version:String} "
    f"AND {_MARKETS} AND open_time >= fromUnixTimestamp64Nano({{begin:Int64}}) "
    f"AND open_time < fromUnixTimestamp64Nano({{end:Int64}}) AND available_at {_KNOWN_BY}"
)

QUERIES: Mapping[str, str] = {
    "sentiment": (
        "SELECT instrument, as_of, score AS sentiment_score, dispersion AS sentiment_dispersion, "
        "bullish + bearish + neutral AS sentiment_mentions, volume AS sentiment_volume, "
        "coverage AS sentiment_coverage, surprise AS sentiment_surprise, "
        "momentum AS sentiment_momentum FROM sentiment_aggregates FINAL "
        "WHERE window = {window:String} AND model = {model:String} "
        "AND has({instruments:Array(String)}, instrument) "
        "AND as_of > fromUnixTimestamp64Nano({after:Int64}) "
        "AND as_of <= fromUnixTimestamp64Nano({until:Int64}) ORDER BY instrument, as_of"
    ),
    "mood": (
        "SELECT series, available_at, value FROM market_mood FINAL "
        "WHERE available_at <= fromUnixTimestamp64Nano({until:Int64}) "
        "ORDER BY series, available_at, time"
    ),
    "ticks": (
        "SELECT exchange, instrument, receive_time, {column:Identifier} AS value "
        "FROM perpetuals FINAL WHERE isNotNull(value) AND has({coins:Array(String)}, "
        "splitByChar('-', toString(instrument))[1]) "
        "AND receive_time > fromUnixTimestamp64Nano({after:Int64}) "
        "AND receive_time <= fromUnixTimestamp64Nano({until:Int64}) "
        "ORDER BY exchange, instrument, receive_time DESC LIMIT 1 BY exchange, instrument, "
        "intDiv(toUnixTimestamp64Nano(receive_time) - 1, {step:Int64})"
    ),
    "listings": (
        "SELECT exchange, instrument, valid_from, status FROM instruments FINAL "
        "WHERE has({exchanges:Array(String)}, exchange) "
        "AND has({instruments:Array(String)}, instrument) "
        "AND valid_from <= fromUnixTimestamp64Nano({until:Int64}) "
        "ORDER BY exchange, instrument, valid_from"
    ),
    "outcomes": (
        "SELECT * EXCEPT (inserted_at) FROM outcomes FINAL WHERE timeframe = {timeframe:String} "
        "AND version = {label_version:String} AND has({horizons:Array(String)}, horizon) "
        f"AND {_MARKETS} AND open_time >= fromUnixTimestamp64Nano({{begin:Int64}}) "
        f"AND open_time < fromUnixTimestamp64Nano({{end:Int64}}) AND known_at {_KNOWN_BY}"
    ),
}
"""What is asked of the store beside the bars. Of a perpetual's ticks the last of each bar counts,
so that a month of them fits into memory."""

TICK_COLUMNS = ("funding_rate", "mark_price")
_LOOK_BACK_NS = Timeframe.D1.ns


@dataclass(frozen=True, slots=True)
class BarRange:
    """A stretch of bars that is read at once: a month, a day below one hour, an hour of seconds."""

    begin: int
    end: int
    """Bars that open in ``[begin, end)``, UTC nanoseconds."""

    @property
    def month(self) -> str:
        """The month that it lies in, such as ``2022-05``."""
        return datetime.fromtimestamp(self.begin // NS_PER_S, UTC).strftime("%Y-%m")


@dataclass(frozen=True, slots=True)
class BarSelection:
    """Which bars.

    Times are UTC nanoseconds; empty texts and tuples mean all.
    """

    timeframe: Timeframe
    version: str
    """Of the feature catalogue."""
    begin: int
    end: int
    watermark: int
    exchange: str = ""
    instruments: tuple[str, ...] = ()

    def parameters(self, part: BarRange | None = None) -> dict[str, Any]:
        """Return the values of the queries about bars."""
        return {
            "timeframe": self.timeframe.value,
            "version": self.version,
            "begin": max(self.begin, part.begin) if part else self.begin,
            "end": min(self.end, part.end) if part else self.end,
            "watermark": self.watermark,
            "exchange": self.exchange,
            "instruments": list(self.instruments),
        }


def bars_query(features: Sequence[str]) -> str:
    """Return what is asked for the bars of a selection, with some of their features.

    Its parameters are `BarSelection.parameters`.
    """
    names = "".join(f", `{name}`" for name in features)
    return (
        "SELECT exchange, instrument, open_time, close_time, available_at, close"
        f"{names} {_BARS} ORDER BY open_time, exchange, instrument"
    )


class DatasetReader:
    """Reads what a training set is made of.

    Every method raises `StoreUnavailable` where there is no answer.

    Parameters
    ----------
    store
        Where the rows are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def ranges(self, selection: BarSelection) -> list[BarRange]:
        """Return the stretches that hold a bar, ascending."""
        found = self._store.query_arrow(
            f"SELECT DISTINCT toUnixTimestamp64Nano(toDateTime64({_floor(selection.timeframe)}, "
            f"9, 'UTC')) AS begin {_BARS} ORDER BY begin",
            selection.parameters(),
        )
        begins = found.column("begin").to_pylist()
        return [BarRange(begin, segment_end(begin, selection.timeframe)) for begin in begins]

    def closed_until(self, selection: BarSelection) -> int:
        """Return when the newest bar closed, UTC nanoseconds; 0 where there is none."""
        found = self._store.query_arrow(
            f"SELECT toUnixTimestamp64Nano(max(close_time)) AS closed {_BARS}",
            selection.parameters(),
        )
        return int(found.column("closed")[0].as_py())

    def other_versions(self, selection: BarSelection) -> int:
        """Return how many bars have features of another catalogue only."""
        return int(
            self._store.command(
                f"SELECT count() {_BARS.replace('version = ', 'version != ')}",
                selection.parameters(),
            )
        )

    def bars(self, selection: BarSelection, part: BarRange, features: Sequence[str]) -> pa.Table:
        """Return bars with their features; NULL where a value is missing."""
        return self._store.query_arrow(bars_query(features), selection.parameters(part))

    def sentiment(
        self, instruments: Sequence[str], window: str, model: str, after: int, until: int
    ) -> pa.Table:
        """Return one model's aggregates over one window, as of ``(after, until]``."""
        return self._ask(
            "sentiment", instruments=list(instruments), window=window, model=model,
            after=after, until=until,
        )  # fmt: skip

    def mood(self, until: int) -> pa.Table:
        """Return all values of mood series that were published by a moment."""
        return self._ask("mood", until=until)

    def ticks(
        self, column: str, coins: Sequence[str], step: int, after: int, until: int
    ) -> pa.Table:
        """Return what venues said of the coins' perpetuals: the last of each bar in a range.

        Parameters
        ----------
        column
            One of `TICK_COLUMNS`.
        coins
            Base names, generations included.
        step
            Length of a bar, nanoseconds.
        after, until
            Received in ``(after, until]``; a day before `after` is read too.
        """
        return self._ask(
            "ticks", column=column, coins=list(coins), step=step,
            after=after - _LOOK_BACK_NS, until=until,
        )  # fmt: skip

    def listings(
        self, exchanges: Sequence[str], instruments: Sequence[str], until: int
    ) -> pa.Table:
        """Return what the registry knew of some markets by a moment."""
        return self._ask(
            "listings", exchanges=list(exchanges), instruments=list(instruments), until=until
        )

    def outcomes(
        self, selection: BarSelection, part: BarRange, horizons: Sequence[str], version: str
    ) -> pa.Table:
        """Return the labels of bars that were known by the watermark."""
        return self._ask(
            "outcomes",
            **selection.parameters(part),
            horizons=list(horizons),
            label_version=version,
        )

    def label_versions(
        self, selection: BarSelection, horizons: Sequence[str]
    ) -> dict[str, list[str]]:
        """Return the versions of the labels of these bars: version -> the horizons that have it."""
        found = self._store.query_arrow(
            "SELECT version, arraySort(groupUniqArray(toString(horizon))) AS horizons "
            "FROM outcomes FINAL WHERE timeframe = {timeframe:String} "
            f"AND has({{horizons:Array(String)}}, horizon) AND {_MARKETS} "
            "AND open_time >= fromUnixTimestamp64Nano({begin:Int64}) "
            f"AND open_time < fromUnixTimestamp64Nano({{end:Int64}}) AND known_at {_KNOWN_BY} "
            "GROUP BY version ORDER BY version",
            selection.parameters() | {"horizons": list(horizons)},
        ).to_pylist()
        return {row["version"]: list(row["horizons"]) for row in found}

    def sentiment_models(self, window: str, until: int) -> list[str]:
        """Return whose aggregates over a window were there by a moment."""
        found = self._store.query_arrow(
            "SELECT DISTINCT model FROM sentiment_aggregates WHERE window = {window:String} "
            "AND as_of <= fromUnixTimestamp64Nano({until:Int64}) ORDER BY model",
            {"window": window, "until": until},
        )
        return list(found.column("model").to_pylist())

    def mood_series(self, until: int) -> list[str]:
        """Return the mood series of which a value was published by a moment."""
        found = self._store.query_arrow(
            "SELECT DISTINCT series FROM market_mood "
            "WHERE available_at <= fromUnixTimestamp64Nano({until:Int64}) ORDER BY series",
            {"until": until},
        )
        return list(found.column("series").to_pylist())

    def _ask(self, name: str, **parameters: Any) -> pa.Table:
        return self._store.query_arrow(QUERIES[name], parameters)


def _floor(timeframe: Timeframe) -> str:
    """Return the begin of a bar's segment, in SQL."""
    return {
        "hour": "toStartOfHour(open_time)",
        "day": "toStartOfDay(open_time)",
        "month": "toStartOfMonth(open_time)",
    }[timeframe.segment_span]
