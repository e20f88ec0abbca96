"""What a batch run of features has to do: units of one timeframe and segment, over all markets.

Ranks over the universe need every market of a bar, so a unit holds all markets. Its fingerprint
covers all that decides its rows: the candles it reads (the warm-up's and the close before it among
them), the books, who is listed, the catalogue. A unit whose fingerprint is stored is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from engine.clock import NS_PER_S
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import FEATURE_VERSION
from engine.features.segment import segment_end
from engine.features.universe import Member, in_order, reference_at
from engine.features.warm_up import WARM_UP_BARS
from engine.store.client import Store
from engine.store.delistings import delistings
from engine.store.feature_inputs import (
    Series,
    stored_books,
    stored_features,
    stored_series,
)

SETTLED_NS = 300 * NS_PER_S
"""Bars that ended so lately are left to the live run: under load, such as an import, a stream's
candles were seen to come more than a minute late, and a row that a batch run makes meanwhile would
replace the live one with ranks that lack a market."""

RULES = "2"
"""Part of every fingerprint: changes where this code would make other rows of the same input."""

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
    series = stored_series(store, timeframe)
    delisted = delistings(store)
    markets = in_order(series, scope.configured)
    members = [
        Member(market, series[market].first_open, *delisted.get(market, ())) for market in markets
    ]
    over: dict[str, int] = {}
    for market, its in series.items():
        closed = its.last_open + timeframe.ns
        over[market.exchange] = max(over.get(market.exchange, 0), closed)
    stored = stored_features(store, timeframe)
    books = stored_books(store, timeframe)
    units = []
    for start in sorted({start for its in series.values() for start in its.segments}):
        end = segment_end(start, timeframe)
        if end <= scope.begin or start + timeframe.ns > scope.end:
            continue
        here, reference = _members_of(members, series, timeframe, start, scope)
        latest = timeframe.floor(min(end, scope.end))
        through = {exchange: min(at, latest) for exchange, at in sorted(over.items())}
        unit = FeatureUnit(
            timeframe, start, here, reference, through, scope, "", stored.get(start, 0)
        )
        units.append(replace(unit, fingerprint=_fingerprint(unit, series, books)))
    return units


def _members_of(
    members: Sequence[Member],
    series: Mapping[Market, Series],
    timeframe: Timeframe,
    start: int,
    scope: Scope,
) -> tuple[tuple[Member, ...], Market | None]:
    """Return the markets that a segment needs, and its reference."""
    end = segment_end(start, timeframe)
    known = [member for member in members if member.first_open < end]
    reference = reference_at(known, scope.reference, start, scope.configured)
    needed = tuple(
        _as_of(member, end)
        for member in known
        if member.market == reference
        or series[member.market].may_have_bars(start, end, timeframe, scope.silence_ns)
    )
    return needed, reference


def _as_of(member: Member, end: int) -> Member:
    """Forget a delisting that a segment does not see yet."""
    if member.delisted_at is None or (member.delisted_at < end and member.known_at <= end):
        return member
    return Member(member.market, member.first_open)


def _fingerprint(
    unit: FeatureUnit, series: Mapping[Market, Series], books: Mapping[tuple[Market, int], str]
) -> str:
    scope = unit.scope
    venues = {member.market.exchange for member in unit.members}
    told = {
        "rules": [RULES, FEATURE_VERSION, scope.silence_ns],
        "reference": unit.reference,
        "through": {venue: at for venue, at in unit.through.items() if venue in venues},
        "bars": [max(scope.begin, unit.start), min(scope.end, unit.end)] if scope.begin else [],
        "rows": [scope.exchange, scope.instruments],
        "members": [
            (
                member.market,
                member.delisted_at,
                member.known_at,
                series[member.market].read_by(unit.start, unit.warm_up_start),
                books.get((member.market, unit.start), ""),
            )
            for member in unit.members
        ],
    }
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()


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
