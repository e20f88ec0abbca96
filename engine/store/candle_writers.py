"""Which runs wrote stored candles, as far as what is recorded tells.

A candle says its source and the second in which it was stored, not who stored it. Files are read by
one job alone, and each of its runs is recorded; `build_candles` notes each market's day right after
its candles. A running engine and the command ``engine backfill`` leave no record: where a run
fetched the same market meanwhile, it may have been either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.clock import NS_PER_S, iso_utc
from engine.domain.instrument import Market, first_generation
from engine.domain.job import JobBlock, JobRun
from engine.domain.market import CandleSource
from engine.domain.timeframe import Timeframe
from engine.moments import parse_moment
from engine.store.candle_units import SETTLED_NS
from engine.store.client import Store
from engine.store.lineage import LONGEST_INSERT_NS, Origin, Plain, run_origin, stored_rows

MOST_WRITERS = 20
"""Writers that are listed, and runs of which one wrote a candle; all are counted."""

LIVE = "live, or engine backfill"
UNCERTAIN = "one of these: it is not recorded which"
UNRECORDED = "a run of import_candles, of which there is no record"

SOURCES: dict[CandleSource, str] = {
    "trades": "our trades",
    "rest": "the venue's REST",
    "import": "files",
}

_JOBS = ["import_candles", "build_candles", "backfill"]
_ENDLESS = 2**63 - 1


class StoredCandle(NamedTuple):
    """What of a candle tells who wrote it, and its version; times in UTC nanoseconds."""

    source: CandleSource
    open_time: int
    close_time: int
    version: int
    inserted: int
    """Start of the second in which it was stored: the table knows no more."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What a run can have written of the market and timeframe; times in UTC nanoseconds."""

    run_id: str
    source: CandleSource
    begin: int
    """No candle that opens before this."""
    end: int
    """No candle that closes after this."""
    first: int
    """When it can have stored them, from here on."""
    last: int
    is_sure: bool
    """Whether nobody without a record writes such candles at such a time."""

    def can_be_of(self, candle: StoredCandle) -> bool:
        """Say whether it can have written a candle."""
        return (
            candle.source == self.source
            and self.begin <= candle.open_time
            and candle.close_time <= self.end
            and self.first < candle.inserted + NS_PER_S
            and candle.inserted <= self.last
        )


def stored_candles(
    store: Store, market: Market, timeframe: Timeframe, first: int, last: int
) -> list[StoredCandle]:
    """Return a market's candles that open from `first` to `last`, UTC nanoseconds, by time.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    found = store.query_arrow(
        "SELECT source, toUnixTimestamp64Nano(open_time), toUnixTimestamp64Nano(close_time), "
        "toInt64(version), toInt64(toUnixTimestamp(inserted_at)) * 1000000000 "
        "FROM candles FINAL WHERE exchange = {exchange:String} "
        "AND instrument = {instrument:String} AND timeframe = {timeframe:String} "
        "AND open_time >= fromUnixTimestamp64Nano({first:Int64}) "
        "AND open_time <= fromUnixTimestamp64Nano({last:Int64}) ORDER BY open_time",
        {**market._asdict(), "timeframe": timeframe.value, "first": first, "last": last},
    )
    columns = (column.to_pylist() for column in found.columns)
    return list(map(StoredCandle._make, zip(*columns, strict=True)))


def candle_writers(
    store: Store, market: Market, timeframe: Timeframe, candles: Sequence[StoredCandle]
) -> Sequence[Origin]:
    """Return who wrote candles of a market and timeframe, who wrote last first.

    A run is named where only it can have written them. Else all that can have are told together.

    Parameters
    ----------
    store
        Where runs are recorded.
    market, timeframe
        Whose candles, and how long.
    candles
        One at least.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    works = list(_works(store, market, timeframe, [candle.inserted for candle in candles]))
    written: dict[tuple[CandleSource, tuple[str, ...], bool], list[int]] = {}
    for candle in candles:
        able = {work.run_id: work for work in works if work.can_be_of(candle)}
        is_sure = len(able) == 1 and all(work.is_sure for work in able.values())
        written.setdefault((candle.source, tuple(able), is_sure), []).append(candle.inserted)
    latest = sorted(written.items(), key=lambda each: max(each[1]), reverse=True)
    origins = [_origin(store, *writer, moments) for writer, moments in latest[:MOST_WRITERS]]
    if len(latest) > MOST_WRITERS:
        origins.append(Origin(f"{len(latest) - MOST_WRITERS} more writers"))
    return origins


def _works(
    store: Store, market: Market, timeframe: Timeframe, inserted: Sequence[int]
) -> Iterator[_Work]:
    runs: list[JobRun] = stored_rows(
        store,
        "job_runs",
        "WHERE job IN {jobs:Array(String)} AND started_at < fromUnixTimestamp64Nano({last:Int64}) "
        "AND (isNull(ended_at) OR ended_at >= fromUnixTimestamp64Nano({first:Int64})) "
        "ORDER BY started_at, run_id",
        jobs=_JOBS,
        first=min(inserted),
        last=max(inserted) + NS_PER_S,
    )
    began = {run.run_id: run.started_at for run in runs if run.job == "build_candles"}
    blocks: list[JobBlock] = stored_rows(
        store,
        "job_blocks",
        "WHERE job = 'build_candles' AND rows > 0 AND run_id IN {runs:Array(String)} "
        "AND startsWith(unit, {market:String}) ORDER BY written_at",
        runs=list(began),
        market=f"{market} ",
    )
    for block in blocks:
        yield _building(block, began[block.run_id])
    for run in runs:
        if run.job != "build_candles" and (work := _fetching(run, market, timeframe)):
            yield work


def _building(block: JobBlock, started_at: int) -> _Work:
    """Return what a block of `build_candles` may hold; younger candles are a live engine's."""
    day = parse_moment(block.unit.rpartition(" ")[2], "unit")
    return _Work(
        run_id=block.run_id,
        source="trades",
        begin=day,
        end=min(day + Timeframe.D1.ns, started_at - SETTLED_NS),
        first=max(started_at, block.written_at - LONGEST_INSERT_NS),
        last=block.written_at,
        is_sure=True,
    )


def _fetching(run: JobRun, market: Market, timeframe: Timeframe) -> _Work | None:
    """Return what an import or a backfill was asked for; None where that is something else."""
    config = json.loads(run.config)
    asked = config.get(run.job)
    if asked is None:  # it was stopped before it began
        return None
    source: CandleSource = "import" if asked.get("path") else "rest"
    length = asked["timeframe"]
    if run.job == "backfill" and asked["what"] == "trades":
        source, length = "trades", None
    elif source == "rest":
        length = length or config["ranking"]["timeframe"]
    names = {first_generation(name) for name in asked["instruments"]}
    if (
        asked["exchange"] != market.exchange
        or (names and first_generation(market.instrument) not in names)
        or length not in (None, timeframe.value)
    ):
        return None
    last = _ENDLESS if run.ended_at is None else run.ended_at
    begin, end = asked["begin"], asked["end"]
    day = Timeframe.D1
    return _Work(
        run_id=run.run_id,
        source=source,
        # Candles that hold a part of what was asked for are made whole: a day at most.
        begin=day.floor(parse_moment(begin, "begin")) if begin else 0,
        end=min(last, -(-parse_moment(end, "end") // day.ns) * day.ns) if end else last,
        first=run.started_at,
        last=last,
        is_sure=source == "import",
    )


def _origin(
    store: Store, source: CandleSource, runs: Sequence[str], is_sure: bool, moments: Sequence[int]
) -> Origin:
    first, last = iso_utc(min(moments)), iso_utc(max(moments))
    facts: dict[str, Plain] = {
        "candles": len(moments),
        "source": SOURCES[source],
        "written": first if first == last else f"{first} to {last}",
    }
    if is_sure:
        return run_origin(store, runs[0], **facts)
    if not runs:
        return Origin(UNRECORDED if source == "import" else LIVE, facts)
    able = [run_origin(store, run) for run in runs[:MOST_WRITERS]]
    if source != "import":
        able.append(Origin(LIVE))
    return Origin(UNCERTAIN, facts | {"runs": len(runs)}, able)
