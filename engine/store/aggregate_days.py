"""Sentiment aggregates of the stored texts, day by day: what there is to do, and its rows.

The rows are those that a running engine would have made: `Aggregator` is given the texts as they
became available, and asked at every moment. So a text that became available late changes nothing
earlier, and which texts come after a moment cannot matter: they are not there yet.

What a running engine stored itself stays. It may differ in one way: a text that became available
within the last instants before a moment was not scored yet then. What was known at the time is
worth more than what could have been known.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.clock import NS_PER_S, iso_utc
from engine.domain.sentiment import SentimentAggregate
from engine.domain.timeframe import Timeframe
from engine.sentiment.aggregator import Aggregator, reach_of
from engine.store.client import Store
from engine.store.sentiment_history import SentimentHistory
from engine.store.tables import table_named

AGGREGATE_VERSION = "3"
"""Of the definition in `engine.sentiment.aggregate`: changes with any bit of its results."""

REACH_NS = reach_of()
"""How far back texts matter to an aggregate: to its surprise."""

LIVE_NS = 600 * NS_PER_S
"""A row that was stored within this time of its moment is a running engine's own."""

DAY_NS = Timeframe.D1.ns
DAYS_AT_ONCE = 28
"""Days that a task makes: each task reads `REACH_NS` before them too."""

_SCORED = """
SELECT {columns} FROM texts FINAL LEFT JOIN
    (SELECT * FROM sentiment_scores FINAL WHERE model = {{model:String}}) AS scores
    ON texts.text_id = scores.text_id
WHERE texts.available_at < fromUnixTimestamp64Nano({{end:Int64}})
"""
_DAY = "toUnixTimestamp64Nano(toDateTime64(toStartOfDay(texts.available_at), 9, 'UTC'))"
# Sums of hashes wrap round; the order of rows does not matter to them.
_HASHES = (
    _SCORED.format(
        columns=f"{_DAY} AS day, sum(cityHash64(texts.text_id, texts.available_at, "
        "texts.engagement, texts.credibility, texts.instruments, "
        "texts.duplicate_of, scores.score, scores.label, scores.target_instruments, "
        "scores.target_scores, scores.target_labels)) "
        "AS hash, min(toUnixTimestamp64Nano(texts.available_at)) AS first, "
        "countIf(scores.label != '') AS scored"
    )
    + "GROUP BY day ORDER BY day"
)
_FIRST_MENTIONS = (
    _SCORED.format(
        columns="arrayJoin(texts.instruments) AS instrument, "
        "min(toUnixTimestamp64Nano(texts.available_at)) AS first"
    )
    + "GROUP BY instrument ORDER BY instrument"
)


@dataclass(frozen=True, slots=True)
class AggregateRequest:
    """What is aggregated, when and how."""

    model: str
    """Name and version, as in ``sentiment_scores``."""
    every: Timeframe
    begin: int | None
    """First moment, UTC nanoseconds; None for the first text's."""
    end: int
    """Moments are before it."""
    half_life_share: float
    instruments: tuple[str, ...]
    """Answered for from the beginning; others from their first mention on."""


@dataclass(frozen=True, slots=True)
class AggregateDay:
    """A unit of work: the moments of a day."""

    name: str
    fingerprint: str
    """Of the texts that its windows reach, and of how they are weighed."""
    moments: tuple[int, ...]
    """UTC nanoseconds, ascending."""


@dataclass(frozen=True, slots=True)
class DayRows:
    """What came of a unit."""

    day: AggregateDay
    rows: Sequence[SentimentAggregate]
    """To be stored."""
    kept: int
    """Rows of a running engine that are equal, and stay."""
    differing: int
    """Rows of a running engine that are not, and stay."""


class AggregateDays:
    """The days of a request.

    Parameters
    ----------
    store
        Where texts and scores are.
    request
        What is asked for.
    """

    def __init__(self, store: Store, request: AggregateRequest) -> None:
        self._request = request
        asked = {"model": request.model, "end": request.end}
        self._hashes: dict[int, int] = {}
        self._scored = 0
        first: int | None = None
        for row in store.query_arrow(_HASHES, asked).to_pylist():
            self._hashes[row["day"]] = row["hash"]
            self._scored += row["scored"]
            first = row["first"] if first is None else first
        self._begin = request.begin if request.begin is not None else first
        found = store.query_arrow(_FIRST_MENTIONS, asked).to_pylist()
        self.first_mentions: Mapping[str, int] = {row["instrument"]: row["first"] for row in found}
        """Instrument -> when a text first spoke of it, UTC nanoseconds."""

    @property
    def has_texts(self) -> bool:
        """Whether there is any scored text."""
        return self._scored > 0

    @property
    def days(self) -> list[AggregateDay]:
        """The units, in the order of time."""
        if self._begin is None:
            return []
        step = self._request.every.ns
        moment = -(-self._begin // step) * step
        days = []
        while moment < self._request.end:
            midnight = moment - moment % DAY_NS
            end = min(midnight + DAY_NS, self._request.end)
            days.append(self._day(midnight, tuple(range(moment, end, step))))
            moment = midnight + DAY_NS
        return days

    def _day(self, midnight: int, moments: tuple[int, ...]) -> AggregateDay:
        request = self._request
        reached = range(midnight - REACH_NS, midnight + DAY_NS, DAY_NS)
        inputs = {
            "version": AGGREGATE_VERSION,
            "texts": [self._hashes.get(day, 0) for day in reached],
            "half_life_share": request.half_life_share,
            "instruments": sorted(named_by(moments[-1], request.instruments, self.first_mentions)),
            "moments": [moments[0], moments[-1]],
        }
        digest = hashlib.blake2b(json.dumps(inputs).encode(), digest_size=16).hexdigest()
        name = f"{request.model} {request.every} {iso_utc(midnight)[:10]}"
        return AggregateDay(name, digest, moments)


def named_by(moment: int, configured: Sequence[str], first_mentions: Mapping[str, int]) -> set[str]:
    """Return the instruments that are answered for at a moment."""
    return {*configured, *(name for name, first in first_mentions.items() if first <= moment)}


def bundles(days: Sequence[AggregateDay]) -> Iterator[list[AggregateDay]]:
    """Bundle days that follow each other, `DAYS_AT_ONCE` at most: a task each."""
    bundle: list[AggregateDay] = []
    for day in days:
        follows = bundle and day.moments[0] - bundle[-1].moments[-1] <= DAY_NS
        if bundle and (not follows or len(bundle) == DAYS_AT_ONCE):
            yield bundle
            bundle = []
        bundle.append(day)
    if bundle:
        yield bundle


def aggregate_days(
    store: Store,
    request: AggregateRequest,
    days: Sequence[AggregateDay],
    first_mentions: Mapping[str, int],
) -> Iterator[DayRows]:
    """Yield the rows of days that follow each other.

    Parameters
    ----------
    store
        Where texts, scores and a running engine's own aggregates are.
    request
        How they are aggregated.
    days
        Ascending.
    first_mentions
        As `AggregateDays` has them.
    """
    first, last = days[0].moments[0], days[-1].moments[-1]
    texts = SentimentHistory(store).texts(request.model, first - REACH_NS + 1, last + 1)
    lived = _live_rows(store, request, first, last + 1)
    aggregator = Aggregator(
        request.model,
        half_life_share=request.half_life_share,
        instruments=named_by(first, request.instruments, first_mentions),
        max_texts=sys.maxsize,
    )
    given = 0
    for day in days:
        rows: list[SentimentAggregate] = []
        for moment in day.moments:
            while given < len(texts) and texts[given].available_at <= moment:
                aggregator.add(texts[given])
                given += 1
            rows += aggregator.aggregates(moment)
        own = [lived.get(_key(row)) for row in rows]
        yield DayRows(
            day,
            [row for row, live in zip(rows, own, strict=True) if live is None],
            sum(live == row for row, live in zip(rows, own, strict=True)),
            sum(live not in (None, row) for row, live in zip(rows, own, strict=True)),
        )


def _live_rows(
    store: Store, request: AggregateRequest, start: int, end: int
) -> dict[tuple[Any, ...], SentimentAggregate]:
    """Return what a running engine stored itself, at the moments of the request."""
    table = table_named("sentiment_aggregates")
    found = store.query_arrow(
        f"SELECT {table.select} FROM {table.name} FINAL WHERE model = {{model:String}} "
        "AND as_of >= fromUnixTimestamp64Nano({start:Int64}) "
        "AND as_of < fromUnixTimestamp64Nano({end:Int64}) "
        "AND toUnixTimestamp64Nano(as_of) % {step:Int64} = 0 "
        "AND toUnixTimestamp64Nano(inserted_at) < toUnixTimestamp64Nano(as_of) + {live:Int64}",
        {
            "model": request.model,
            "start": start,
            "end": end,
            "step": request.every.ns,
            "live": LIVE_NS,
        },
    )
    return {_key(row): row for row in table.from_arrow(found)}


def _key(row: SentimentAggregate) -> tuple[Any, ...]:
    return row.instrument, row.window, row.as_of
