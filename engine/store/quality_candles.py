"""Candles for the quality gate: counted, and failing ones named, in the store.

The prices of a market are judged against the market itself: its returns' quartiles say what is
usual there (the distance between them is 1.349 standard deviations of a normal distribution), and
no outlier, however large, moves them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.clock import NS_PER_S
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.quality.coverage import has_ended, present
from engine.quality.measure import CandleCounts, Measure, candle_measures, freshness
from engine.quality.verdict import DailyQuality, SourceQuality, daily
from engine.settings.check_quality import QualitySection
from engine.store.client import Store
from engine.store.quality_scope import INSTRUMENT_NAME, Scope, between, set_aside

AT_ONCE = 2_000_000
"""Bars that one query looks at: what bounds the store's memory."""

CLOCK_SKEW_NS = 2 * NS_PER_S
"""A bar that ends while the gate looks at it is no bar of the future: it was made when it was
over, by the venue's clock, which may be so far ahead of ours."""


_SERIES = f"""
SELECT exchange, timeframe, instrument, count() AS rows,
    toUnixTimestamp64Nano(max(close_time)) AS newest
FROM candles
WHERE ({{exchange:String}} = '' OR exchange = {{exchange:String}})
    AND timeframe IN {{timeframes:Array(String)}} AND {between("open_time")} AND is_closed
GROUP BY exchange, timeframe, instrument
ORDER BY exchange, timeframe, instrument
"""

_FIRST = """
SELECT exchange, timeframe, instrument, toUnixTimestamp64Nano(min(open_time)) AS first
FROM candles
WHERE ({exchange:String} = '' OR exchange = {exchange:String})
    AND timeframe IN {timeframes:Array(String)} AND is_closed
GROUP BY exchange, timeframe, instrument
"""

_BARS = f"""
SELECT *,
    toUnixTimestamp64Nano(open_time) AS opened, toUnixTimestamp64Nano(close_time) AS closed,
    is_number AND close > 0 AND lagInFrame(is_number) OVER earlier
        AND lagInFrame(close) OVER earlier > 0
        AND lagInFrame(opened) OVER earlier + {{step:Int64}} = opened AS follows,
    if(follows, log(close / lagInFrame(close) OVER earlier), NULL) AS moved,
    opened % {{step:Int64}} = 0 AND closed - opened = {{step:Int64}}
        AND closed <= greatest({{now:Int64}}, toInt64(version) + {CLOCK_SKEW_NS}) AS timely,
    is_number AND low > 0 AND low <= least(open, close) AND high >= greatest(open, close)
        AND volume >= 0 AND ifNull(quote_volume >= 0, true) AND ifNull(trade_count >= 0, true)
        AND ifNull(taker_buy_volume >= 0, true)
        AND ifNull(taker_buy_volume <= volume * (1 + 1e-9), true)
        AND match(instrument, {INSTRUMENT_NAME}) AS possible,
    follows AND volume > 0
        AND tuple(open, high, low, close, volume)
            = lagInFrame(tuple(open, high, low, close, volume)) OVER earlier AS is_repeated
FROM
(
    SELECT *, isFinite(open + high + low + close + volume) AS is_number
    FROM candles FINAL
    WHERE exchange = {{exchange:String}} AND timeframe = {{timeframe:String}}
        AND instrument IN {{instruments:Array(String)}} AND {between("open_time")} AND is_closed
)
WINDOW earlier AS
    (PARTITION BY instrument ORDER BY open_time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
"""

_JUDGED = f"""
WITH bars AS ({_BARS}),
    usual AS
    (
        SELECT instrument, quantilesExact(0.25, 0.5, 0.75)(assumeNotNull(moved)) AS quartiles,
            quartiles[2] AS middle, (quartiles[3] - quartiles[1]) / 1.349 AS spread
        FROM bars WHERE isNotNull(moved) GROUP BY instrument
    )
SELECT bars.*,
    ifNull(spread > 0 AND abs(moved - middle) > {{sigma:Float64}} * spread, false) AS is_outlier
FROM bars LEFT JOIN usual ON bars.instrument = usual.instrument
"""

_COUNTS = f"""
SELECT instrument, toUnixTimestamp64Nano(toDateTime64(toStartOfDay(open_time), 9, 'UTC')) AS day,
    count() AS rows, countIf(NOT timely) AS bad_times, countIf(NOT possible) AS bad_schema,
    countIf(is_repeated) AS repeated, countIf(follows) AS returns, countIf(is_outlier) AS outliers
FROM ({_JUDGED})
GROUP BY instrument, day
"""

_FAULTS = {
    "time is off the grid or in the future": "NOT timely",
    "prices or volumes are impossible": "NOT possible",
    "equal to the bar before, volume included": "is_repeated",
    "return is no market''s": "is_outlier",
}
_KEPT = (
    "exchange", "instrument", "timeframe", "open_time", "close_time", "open", "high", "low",
    "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
)  # fmt: skip
_SOURCE = "concat(exchange, ' ', instrument, ' ', timeframe)"
_SET_ASIDE = set_aside("candles", _SOURCE, _FAULTS, _KEPT, _JUDGED)


@dataclass(frozen=True, slots=True)
class CandleSeries:
    """Markets of one venue and timeframe, few enough to be looked at together."""

    exchange: str
    timeframe: Timeframe
    instruments: tuple[str, ...]
    rows: int
    """Candles that are stored of them, older versions included."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What is stored of one market's candles."""

    market: Market
    timeframe: Timeframe
    rows: int
    first: int
    """Open time of its first bar of all, UTC nanoseconds."""
    newest: int
    """Close time of its newest bar in the scope."""


class CandleQuality:
    """The candles of a scope: what there is, day by day, and which rows fail.

    Parameters
    ----------
    store
        Where they are.
    quality
        The thresholds.
    scope
        Which ones.
    """

    def __init__(self, store: Store, quality: QualitySection, scope: Scope) -> None:
        self._store = store
        self._quality = quality
        self._scope = scope
        self._held = {_source(held): held for held in self._look()}
        self._newest: dict[tuple[str, Timeframe], int] = {}
        for held in self._held.values():
            kind = held.market.exchange, held.timeframe
            self._newest[kind] = max(held.newest, self._newest.get(kind, 0))

    @property
    def missing(self) -> tuple[str, ...]:
        """The instruments that were asked for by name and have no candle in the scope."""
        there = {held.market.instrument for held in self._held.values()}
        return tuple(sorted(set(self._scope.instruments) - there))

    @property
    def series(self) -> tuple[CandleSeries, ...]:
        """The markets, bundled for a query each."""
        bundles: list[CandleSeries] = []
        for held in self._held.values():
            last = bundles[-1] if bundles else None
            kind = held.market.exchange, held.timeframe
            one = CandleSeries(*kind, (held.market.instrument,), held.rows)
            is_same = last and (last.exchange, last.timeframe) == kind
            if last and is_same and last.rows + one.rows <= AT_ONCE:
                names = last.instruments + one.instruments
                bundles[-1] = replace(last, instruments=names, rows=last.rows + one.rows)
            else:
                bundles.append(one)
        return tuple(bundles)

    def measured(self, series: CandleSeries) -> Iterator[tuple[SourceQuality, DailyQuality]]:
        """Yield what was measured of each market of a bundle: over the whole stretch, and daily."""
        counted = self._counts(series)
        for instrument in series.instruments:
            held = self._held[_name(series.exchange, instrument, series.timeframe)]
            by_day = self._expected(held)
            for day, counts in counted.get(instrument, {}).items():
                by_day[day] = by_day.get(day, CandleCounts()) + counts
            yield self._judged(held, by_day)

    def set_aside(self, series: CandleSeries, run_id: str) -> None:
        """Copy the failing candles of a bundle to ``quarantine``, each once."""
        self._store.command(_SET_ASIDE, self._parameters(series) | {"run_id": run_id})

    def _look(self) -> Iterator[_Held]:
        asked = {
            "exchange": self._scope.exchange or "",
            "timeframes": [str(each) for each in self._scope.wanted_timeframes],
        }
        found = self._store.query_arrow(_SERIES, asked | self._scope.span).to_pylist()
        began = {
            (row["exchange"], row["timeframe"], row["instrument"]): row["first"]
            for row in self._store.query_arrow(_FIRST, asked).to_pylist()
        }
        for row in found:
            name = row["exchange"], row["timeframe"], row["instrument"]
            if not self._scope.instruments or row["instrument"] in self._scope.instruments:
                market = Market(row["exchange"], row["instrument"])
                timeframe = Timeframe(row["timeframe"])
                yield _Held(market, timeframe, row["rows"], began[name], row["newest"])

    def _counts(self, series: CandleSeries) -> dict[str, dict[int, CandleCounts]]:
        by_market: dict[str, dict[int, CandleCounts]] = defaultdict(dict)
        found = self._store.query_arrow(_COUNTS, self._parameters(series))
        for row in found.to_pylist():
            instrument, day = row.pop("instrument"), row.pop("day")
            by_market[instrument][day] = CandleCounts(**row)
        return by_market

    def _parameters(self, series: CandleSeries) -> dict[str, Any]:
        return self._scope.span | {
            "exchange": series.exchange,
            "timeframe": str(series.timeframe),
            "instruments": list(series.instruments),
            "step": series.timeframe.ns,
            "sigma": self._quality.outlier_sigma,
        }

    def _expected(self, held: _Held) -> dict[int, CandleCounts]:
        stretch = present(
            held.first,
            held.newest,
            self._scope.start,
            self._scope.end,
            self._has_ended(held),
            self._quality,
        )
        return {
            day: CandleCounts(expected=part.intervals(held.timeframe.ns))
            for day, part in stretch.days
        }

    def _has_ended(self, held: _Held) -> bool:
        others = self._newest[held.market.exchange, held.timeframe]
        return has_ended(held.newest, others, self._scope.end, self._quality)

    def _judged(
        self, held: _Held, by_day: Mapping[int, CandleCounts]
    ) -> tuple[SourceQuality, DailyQuality]:
        counts = sum(by_day.values(), CandleCounts())
        last: tuple[Measure, ...] = ()
        if not self._has_ended(held):
            last = (freshness(held.newest, self._scope.end, counts.rows, self._quality),)
        measured = {
            day: candle_measures(each, self._quality) for day, each in sorted(by_day.items())
        }
        whole = (*candle_measures(counts, self._quality), *last)
        name = _source(held)
        return SourceQuality("candles", name, whole), daily("candles", name, measured, last)


def _source(held: _Held) -> str:
    return _name(held.market.exchange, held.market.instrument, held.timeframe)


def _name(exchange: str, instrument: str, timeframe: Timeframe) -> str:
    return f"{exchange} {instrument} {timeframe}"
