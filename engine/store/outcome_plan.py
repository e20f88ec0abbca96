"""What a run of ``label_outcomes`` has to do: units of one venue, timeframe and stretch of time.

The fingerprint of a unit covers all that decides its rows: the candles that its labels look at,
before and after, how far the venue's candles reach, delistings, and the rules. So a unit is done
again exactly where one of them has changed, and a horizon that has passed since is one of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from engine.clock import NS_PER_S
from engine.domain.delisting import Delisting
from engine.domain.timeframe import Timeframe
from engine.store.client import Store
from engine.store.delistings import delistings

_DAY = Timeframe.D1.ns
_SPANS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
_SPAN_NS = {"hour": 3_600 * NS_PER_S, "day": _DAY, "month": 31 * _DAY}


@dataclass(frozen=True, slots=True)
class LabelScope:
    """Which bars are labelled, and how.

    Parameters
    ----------
    timeframe
        Of the bars.
    horizons
        Name -> how many bars forward.
    bars_before
        How many bars before a bar its labels look at.
    version
        Of the rules.
    exchange
        The venue; all where it is empty.
    instruments
        Which; all where there are none.
    begin, end
        Bars that open in ``[begin, end)``, UTC nanoseconds.
    """

    timeframe: Timeframe
    horizons: Mapping[str, int]
    bars_before: int
    version: str
    exchange: str = ""
    instruments: tuple[str, ...] = ()
    begin: int = 0
    end: int = 2**63 - 1

    @property
    def reach(self) -> int:
        """The longest horizon, nanoseconds."""
        return max(self.horizons.values()) * self.timeframe.ns

    @property
    def look_back(self) -> int:
        """How far back labels look, nanoseconds."""
        return self.bars_before * self.timeframe.ns


@dataclass(frozen=True, slots=True)
class LabelUnit:
    """The labels of one venue's bars over a month (a day below one hour, an hour of seconds)."""

    name: str
    """For example ``binance 1h 2022-05``."""
    exchange: str
    start: int
    """Bars that open in ``[start, end)``, UTC nanoseconds."""
    end: int
    closed_until: int
    """Close of the newest bar that counts: labels whose horizon ends later are not known yet."""
    endings: Mapping[str, Delisting]
    """Instrument -> its delisting, of those that were delisted before `closed_until`."""
    fingerprint: str


def plan_outcomes(store: Store, scope: LabelScope) -> list[LabelUnit]:
    """Return the units that hold a bar whose shortest horizon has passed, ascending in time.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    units, delisted = [], delistings(store)
    for exchange, days in sorted(_days(store, scope).items()):
        endings = {name: its for (venue, name), its in delisted.items() if venue == exchange}
        units += _units(scope, exchange, days, endings)
    return sorted(units, key=lambda unit: (unit.start, unit.exchange))


@dataclass(frozen=True, slots=True, eq=False)
class _Days:
    """What is stored of a venue's candles, by day."""

    start: NDArray[np.int64]
    """Begin of each day, UTC nanoseconds, ascending."""
    mark: tuple[str, ...]
    """Number and hash of its candles."""
    first: int
    """Open time of the first bar."""
    closed_until: int

    def between(self, start: int, end: int) -> tuple[str, ...]:
        low = np.searchsorted(self.start, start - start % _DAY)
        return self.mark[int(low) : int(np.searchsorted(self.start, end))]


def _units(
    scope: LabelScope, exchange: str, days: _Days, endings: Mapping[str, Delisting]
) -> list[LabelUnit]:
    units = []
    timeframe = scope.timeframe
    shortest = min(scope.horizons.values()) * timeframe.ns
    begin = timeframe.floor(scope.begin + timeframe.ns - 1)
    first = max(days.first, begin)
    end = min(scope.end, days.closed_until - shortest)
    span = timeframe.segment_start(first)
    while span < end:
        following = timeframe.segment_start(span + _SPAN_NS[timeframe.segment_span])
        start, stop = max(span, begin), min(following, scope.end)
        closed = min(days.closed_until, stop + scope.reach)
        marks = days.between(max(0, start - scope.look_back), closed)
        if marks:
            known = {name: ending for name, ending in endings.items() if ending.ended < closed}
            units.append(_unit(scope, exchange, (start, stop, closed), known, marks))
        span = following
    return units


def _unit(
    scope: LabelScope,
    exchange: str,
    bounds: tuple[int, int, int],
    endings: Mapping[str, Delisting],
    marks: Sequence[str],
) -> LabelUnit:
    timeframe = scope.timeframe
    moment = datetime.fromtimestamp(timeframe.segment_start(bounds[0]) // NS_PER_S, UTC)
    told = {
        "rules": [scope.version, dict(scope.horizons)],
        "bounds": bounds,
        "instruments": scope.instruments,
        "endings": {name: list(its) for name, its in sorted(endings.items())},
        "candles": marks,
    }
    return LabelUnit(
        f"{exchange} {timeframe.value} {moment.strftime(_SPANS[timeframe.segment_span])}",
        exchange,
        *bounds,
        endings,
        hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest(),
    )


CANDLES = (
    "FROM candles FINAL WHERE timeframe = {timeframe:String} AND is_closed "
    "AND ({exchange:String} = '' OR exchange = {exchange:String}) "
    "AND (empty({instruments:Array(String)}) OR has({instruments:Array(String)}, instrument)) "
)
"""Which candles a scope means; `candle_parameters` are its values."""


def candle_parameters(scope: LabelScope, exchange: str) -> dict[str, object]:
    """Return the values of `CANDLES`; an empty `exchange` means all."""
    return {
        "timeframe": scope.timeframe.value,
        "exchange": exchange,
        "instruments": list(scope.instruments),
    }


def _days(store: Store, scope: LabelScope) -> dict[str, _Days]:
    parameters = candle_parameters(scope, scope.exchange)
    found = store.query_arrow(
        "SELECT exchange, toUnixTimestamp64Nano(toDateTime64(toStartOfDay(open_time), 9, 'UTC')) "
        "AS day, concat(toString(count()), ' ', toString(groupBitXor(cityHash64("
        "instrument, open_time, open, high, low, close)))) AS mark, "
        f"toUnixTimestamp64Nano(min(open_time)) AS first {CANDLES}"
        "GROUP BY exchange, day ORDER BY exchange, day",
        parameters,
    ).to_pylist()
    # How far a venue's candles reach does not depend on which instruments are asked for.
    reaches = store.query_arrow(
        "SELECT exchange, toUnixTimestamp64Nano(max(close_time)) AS until FROM candles FINAL "
        "WHERE timeframe = {timeframe:String} AND is_closed GROUP BY exchange",
        {"timeframe": scope.timeframe.value},
    ).to_pylist()
    until = {row["exchange"]: row["until"] for row in reaches}
    by_venue: dict[str, list[dict[str, int | str]]] = {}
    for row in found:
        by_venue.setdefault(row["exchange"], []).append(row)
    return {
        exchange: _Days(
            np.array([row["day"] for row in rows], dtype=np.int64),
            tuple(str(row["mark"]) for row in rows),
            int(rows[0]["first"]),
            until[exchange],
        )
        for exchange, rows in by_venue.items()
    }
