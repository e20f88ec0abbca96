"""What a batch run of features has to do: units of one timeframe and segment, over all markets.

Ranks over the universe need every market of a bar, so a unit holds all markets. Its fingerprint
covers all that decides its rows: the candles it reads (the warm-up's and the close before it among
them), the books, who is listed, the catalogue. A unit whose fingerprint is stored is done.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from engine.clock import NS_PER_S
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_VERSION
from engine.features.segment import segment_end
from engine.features.universe import Member, in_order, reference_at
from engine.features.warm_up import WARM_UP_BARS
from engine.store.client import Store

SETTLED_NS = 30 * NS_PER_S
"""Bars that ended so lately are left to the live run: their candles may not be stored yet."""

RULES = "1"
"""Part of every fingerprint: changes where this code would make other rows of the same input."""

_STARTS = {"hour": "toStartOfHour({})", "day": "toStartOfDay({})", "month": "toStartOfMonth({})"}
_NAMES = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


@dataclass(frozen=True, slots=True)
class Scope:
    """What of the features is to be made.

    Parameters
    ----------
    configured
        Markets of the configuration, in its order.
    reference
        Base currency that correlation and beta are measured against.
    silence_ns
        After how long without a candle a market belongs to the universe no more.
    begin, end
        Only bars that open from `begin` on and close by `end`, UTC nanoseconds.
    exchange
        Only rows of this venue; of all where it is empty.
    instruments
        Only rows of these; of all where there are none. Ranks are over all markets nevertheless.
    """

    configured: tuple[Market, ...]
    reference: str
    silence_ns: int
    begin: int
    end: int
    exchange: str = ""
    instruments: tuple[str, ...] = ()

    def wants(self, market: Market) -> bool:
        """Say whether a market's rows are asked for."""
        return self.exchange in ("", market.exchange) and (
            not self.instruments or market.instrument in self.instruments
        )

    @property
    def is_narrow(self) -> bool:
        """Whether rows of some markets only are asked for."""
        return bool(self.exchange or self.instruments)


@dataclass(frozen=True, slots=True)
class FeatureUnit:
    """The features of all markets over one segment."""

    timeframe: Timeframe
    start: int
    """Start of the segment, UTC nanoseconds."""
    members: tuple[Member, ...]
    """Markets that may have bars in it, in the universe's order, the reference among them."""
    reference: Market | None
    through: Mapping[str, int]
    """Exchange -> every bar that closes by then is over, UTC nanoseconds; not past the segment."""
    scope: Scope
    fingerprint: str
    stored: int
    """Rows of this catalogue that are stored of the segment."""

    @property
    def name(self) -> str:
        """For example ``1h 2022-05``."""
        moment = datetime.fromtimestamp(self.start // NS_PER_S, UTC)
        return f"{self.timeframe.value} {moment.strftime(_NAMES[self.timeframe.segment_span])}"

    @property
    def end(self) -> int:
        """Start of the segment that follows."""
        return segment_end(self.start, self.timeframe)

    @property
    def warm_up_start(self) -> int:
        """Open time of the first bar of the warm-up."""
        return max(0, self.start - WARM_UP_BARS * self.timeframe.ns)


@dataclass(slots=True)
class _Series:
    """What is stored of one market's candles, by segment."""

    segments: list[int] = field(default_factory=list)
    """Starts, ascending, of those that hold a candle."""
    opens: list[int] = field(default_factory=list)
    """Of each, the open time of its first candle."""
    marks: list[str] = field(default_factory=list)
    """Of each, the number and hash of its candles."""
    last_open: int = 0

    @property
    def first_open(self) -> int:
        """Open time of the first candle."""
        return self.opens[0]

    def read_by(self, start: int, warm_up_start: int) -> list[tuple[int, str]]:
        """Return what a segment reads: its own, the warm-up's, and the close before that."""
        low = max(0, bisect_right(self.segments, warm_up_start) - 1)
        if low and self.opens[low] > warm_up_start:
            low -= 1
        high = bisect_right(self.segments, start)
        return list(zip(self.segments[low:high], self.marks[low:high], strict=True))

    def may_have_bars(self, start: int, end: int, timeframe: Timeframe, silence_ns: int) -> bool:
        """Say whether it may have bars in a segment: candles, or flat ones behind them."""
        if self.first_open >= end:
            return False
        if bisect_left(self.segments, end) > bisect_left(self.segments, start):
            return True
        last = self.segments[bisect_left(self.segments, start) - 1]
        return start - segment_end(last, timeframe) <= silence_ns


def plan_units(store: Store, timeframe: Timeframe, scope: Scope) -> list[FeatureUnit]:
    """Return the units of one timeframe that hold a candle, ascending in time.

    Parameters
    ----------
    store
        Where the candles are.
    timeframe
        Of the bars.
    scope
        What is asked for. Its `end` is now less `SETTLED_NS` at the latest.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    series = _series(store, timeframe)
    if not series:
        return []
    delisted = _delisted(store)
    markets = in_order(series, scope.configured)
    members = [Member(m, series[m].first_open, delisted.get(m)) for m in markets]
    over: dict[str, int] = {}
    for market, its in series.items():
        closed = its.last_open + timeframe.ns
        over[market.exchange] = max(over.get(market.exchange, 0), closed)
    starts = sorted({start for its in series.values() for start in its.segments})
    stored = _stored(store, timeframe)
    books = _books(store, timeframe)
    units = []
    for start in starts:
        end = segment_end(start, timeframe)
        if end <= scope.begin or start + timeframe.ns > scope.end:
            continue
        here = [
            member
            for member in members
            if series[member.market].may_have_bars(start, end, timeframe, scope.silence_ns)
        ]
        known = [m for m in members if m.first_open < end]
        reference = reference_at(known, scope.reference, start, scope.configured)
        if reference is not None and all(m.market != reference for m in here):
            here += [m for m in known if m.market == reference]
        latest = timeframe.floor(min(end, scope.end))
        through = {exchange: min(at, latest) for exchange, at in sorted(over.items())}
        unit = FeatureUnit(
            timeframe, start, tuple(_as_of(m, end) for m in here), reference, through, scope, "",
            stored.get(start, 0),
        )  # fmt: skip
        units.append(_with_fingerprint(unit, series, books))
    return units


def _as_of(member: Member, end: int) -> Member:
    """Forget a delisting that a segment does not see yet."""
    if member.delisted_at is None or member.delisted_at < end:
        return member
    return Member(member.market, member.first_open)


def _with_fingerprint(
    unit: FeatureUnit, series: Mapping[Market, _Series], books: Mapping[tuple[Market, int], str]
) -> FeatureUnit:
    scope = unit.scope
    told = {
        "rules": [RULES, FEATURE_VERSION, scope.silence_ns],
        "reference": unit.reference,
        "through": {
            exchange: at
            for exchange, at in unit.through.items()
            if any(member.market.exchange == exchange for member in unit.members)
        },
        "bars": [max(scope.begin, unit.start), min(scope.end, unit.end)] if scope.begin else [],
        "rows": [scope.exchange, scope.instruments],
        "members": [
            (
                member.market,
                member.delisted_at,
                series[member.market].read_by(unit.start, unit.warm_up_start),
                books.get((member.market, unit.start), ""),
            )
            for member in unit.members
        ],
    }
    digest = hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
    return FeatureUnit(
        unit.timeframe, unit.start, unit.members, unit.reference, unit.through, scope, digest,
        unit.stored,
    )  # fmt: skip


def _segment_of(timeframe: Timeframe, column: str) -> str:
    start = _STARTS[timeframe.segment_span].format(column)
    return f"toUnixTimestamp64Nano(toDateTime64({start}, 9, 'UTC'))"


def _series(store: Store, timeframe: Timeframe) -> dict[Market, _Series]:
    found = store.query_arrow(
        f"SELECT exchange, instrument, {_segment_of(timeframe, 'open_time')} AS segment, "
        "count() AS candles, groupBitXor(cityHash64(open_time, open, high, low, close, volume, "
        "ifNull(vwap, nan), ifNull(twap, nan), ifNull(taker_buy_volume, nan))) AS hash, "
        "toUnixTimestamp64Nano(min(open_time)) AS first_open, "
        "toUnixTimestamp64Nano(max(open_time)) AS last_open "
        "FROM candles FINAL WHERE timeframe = {timeframe:String} AND is_closed "
        "GROUP BY exchange, instrument, segment ORDER BY exchange, instrument, segment",
        {"timeframe": timeframe.value},
    )
    series: dict[Market, _Series] = {}
    for row in found.to_pylist():
        market = Market(row["exchange"], row["instrument"])
        its = series.setdefault(market, _Series())
        its.segments.append(row["segment"])
        its.opens.append(row["first_open"])
        its.marks.append(f"{row['candles']} {row['hash']:x}")
        its.last_open = row["last_open"]
    return series


def _books(store: Store, timeframe: Timeframe) -> dict[tuple[Market, int], str]:
    """Return number and hash of the snapshots by market and segment."""
    found = store.query_arrow(
        "SELECT exchange, instrument, "
        f"{_segment_of(timeframe, 'addNanoseconds(as_of, -1)')} AS segment, count() AS books, "
        "groupBitXor(cityHash64(as_of, receive_time, spread_bps, imbalance, microprice, "
        "bid_prices[1], ask_prices[1])) AS hash FROM book_snapshots FINAL "
        "GROUP BY exchange, instrument, segment"
    )
    return {
        (Market(row["exchange"], row["instrument"]), row["segment"]): (
            f"{row['books']} {row['hash']:x}"
        )
        for row in found.to_pylist()
    }


def _delisted(store: Store) -> dict[Market, int]:
    """Return when trading of each market ended, as the registry knows it last."""
    found = store.query_arrow(
        "SELECT exchange, instrument, toUnixTimestamp64Nano(assumeNotNull(ended)) AS ended FROM "
        "(SELECT exchange, instrument, argMax(tuple(delisted_at), valid_from).1 AS ended "
        "FROM instruments FINAL GROUP BY exchange, instrument) WHERE isNotNull(ended)"
    )
    return {Market(row["exchange"], row["instrument"]): row["ended"] for row in found.to_pylist()}


def _stored(store: Store, timeframe: Timeframe) -> dict[int, int]:
    """Return how many rows of this catalogue are stored, by segment."""
    found = store.query_arrow(
        f"SELECT {_segment_of(timeframe, 'open_time')} AS segment, count() AS rows "
        "FROM features WHERE timeframe = {timeframe:String} AND version = {version:String} "
        "GROUP BY segment",
        {"timeframe": timeframe.value, "version": FEATURE_VERSION},
    )
    return {row["segment"]: row["rows"] for row in found.to_pylist()}


def todo(units: Sequence[FeatureUnit], done: Mapping[str, set[str]]) -> list[FeatureUnit]:
    """Return the units that are not stored as they would be made now.

    Parameters
    ----------
    units
        Of `plan_units`.
    done
        Unit -> fingerprints, of `engine.store.units.done_units`. One that is noted there and of
        which nothing is stored (its rows expired, or were dropped) is to be done again.
    """
    return [
        unit
        for unit in units
        if unit.fingerprint not in done.get(unit.name, set()) or not unit.stored
    ]
