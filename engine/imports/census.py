"""What is in a file, and what is wrong with it: one look from end to end, before any is written.

Of each row a time, an instrument and a digest of its values are held while the look lasts (21
bytes), the values themselves only for a batch at a time. What remains afterwards is a byte a row,
and the stretches that each instrument covers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.domain.timeframe import Timeframe
from engine.imports.files import ImportFile, content_hash
from engine.imports.keys import RowKeys, digests_of, disordered, joined, keys_of, order_of
from engine.imports.problem import REASONS, Flaw, ImportProblem, reason_of
from engine.imports.reading import TableFile
from engine.imports.rows import FileForm, Reading, Rows, check, file_form, read_rows
from engine.imports.runs import Runs, Times, runs_of, within

DUPLICATES = "equal to another row"
IDLE = "nothing traded"
FORMING = "still forming"
OUTSIDE = "not asked for"

MOST_SAMPLES = 3
"""Flawed rows of a file whose values are told in the message."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A flawed row, in words."""

    row: int
    """Its number in the file, from 1."""
    text: str


@dataclass(slots=True)
class Census:
    """What one look at a file found.

    Parameters
    ----------
    file, form
        Which file, and how it is written.
    timeframe
        Of its candles.
    content
        Hash of its bytes.
    stamp
        Its size and time of change, by which a later look sees that it is another file.
    rows
        How many it has, malformed lines not counted.
    keep
        Of each row, whether it is to be imported.
    flawed, flaws
        Places (from 0) of the rows that are no candles, and why.
    lines
        Numbers (from 1) of malformed lines, ascending.
    left_out
        Why -> rows that are sound and not imported.
    disordered
        Rows that come before an earlier row of their instrument.
    told, traded
        Instrument -> what its sound rows cover, and what of that had trades.
    samples
        Some flawed rows, in words.
    """

    file: ImportFile
    form: FileForm
    timeframe: Timeframe
    content: str
    stamp: tuple[int, int]
    rows: int
    keep: NDArray[np.bool_]
    flawed: NDArray[np.int64]
    flaws: NDArray[np.uint8]
    lines: NDArray[np.int64]
    left_out: Counter[str]
    disordered: int
    told: dict[str, Runs]
    traded: dict[str, Runs]
    samples: list[Sample] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """How many rows are no candles."""
        return len(self.flawed) + len(self.lines)

    def number(self, row: int) -> int:
        """Return a readable row's number in the file, from 1, malformed lines counted."""
        before = self.lines - np.arange(len(self.lines)) - 1
        return int(row + 1 + np.searchsorted(before, row, side="right"))

    def mark(self, rows: NDArray[np.int64], flaw: Flaw) -> None:
        """Take rows (places from 0) out, for a flaw that showed later."""
        fresh = rows[self.keep[rows]]
        self.keep[fresh] = False
        self.flawed = np.concatenate([self.flawed, fresh])
        self.flaws = np.concatenate([self.flaws, np.full(len(fresh), flaw, np.uint8)])
        order = np.argsort(self.flawed, kind="stable")
        self.flawed, self.flaws = self.flawed[order], self.flaws[order]

    def drop(self, rows: NDArray[np.int64], why: str) -> None:
        """Leave sound rows (places from 0) out."""
        fresh = rows[self.keep[rows]]
        self.keep[fresh] = False
        self.left_out[why] += len(fresh)


def take_census(file: ImportFile, how: Reading) -> Census:
    """Look at a file.

    Raises
    ------
    ImportProblem
        Where the whole file cannot be used: it is corrupt or empty, lacks a column, holds other
        types, or its timeframe cannot be told.
    """
    stamp = stamp_of(file)
    opened = TableFile(file)
    form = file_form(file, opened, how)
    instruments: dict[str, int] = {}
    parts, flaws = [], []
    for rows in read_rows(opened, form, how):
        check(rows)
        _not_before_its_time(rows, how)
        parts.append(keys_of(rows, instruments))
        flaws.append(rows.flaws)
    keys = joined(parts)
    flaw = np.concatenate(flaws) if flaws else np.empty(0, np.uint8)
    names = list(instruments)
    order = order_of(keys)
    timeframe = how.timeframe or _told_timeframe(file, keys, order)
    flaw[(flaw == Flaw.SOUND) & (keys.times % timeframe.ns != 0)] = Flaw.OFF_GRID
    census = Census(
        file, form, timeframe, content_hash(file.path), stamp, len(flaw), flaw == Flaw.SOUND,
        np.empty(0, np.int64), np.empty(0, np.uint8), _malformed(opened), Counter(),
        disordered(keys, flaw), {}, {},
    )  # fmt: skip
    _find_repeats(keys, flaw, order, census)
    census.flawed = np.flatnonzero(flaw)
    census.flaws = flaw[census.flawed]
    _choose(keys, names, how, census)
    _cover(keys, names, order, census)
    _take_samples(opened, census)
    return census


def keys_within(
    census: Census, how: Reading, wanted: Mapping[str, Runs]
) -> dict[str, tuple[NDArray[np.int64], Times, NDArray[np.uint64]]]:
    """Return a file's kept rows within stretches: instrument -> places, times, digests."""
    found: dict[str, list[tuple[NDArray[np.int64], Times, NDArray[np.uint64]]]] = {}
    for rows in read_rows(TableFile(census.file), census.form, how):
        digests = digests_of(rows.values)
        places = np.arange(rows.first, rows.first + len(rows.times))
        kept = census.keep[places]
        for code, name in enumerate(rows.instruments):
            if name in wanted:
                mine = kept & (rows.codes == code) & within(rows.times, wanted[name])
                found.setdefault(name, []).append((places[mine], rows.times[mine], digests[mine]))
    return {
        name: (
            np.concatenate([places for places, _, _ in parts]),
            np.concatenate([times for _, times, _ in parts]),
            np.concatenate([digests for _, _, digests in parts]),
        )
        for name, parts in found.items()
    }


def stamp_of(file: ImportFile) -> tuple[int, int]:
    """Return a file's size and time of change.

    Raises
    ------
    ImportProblem
        Where it is gone, or may not be looked at.
    """
    try:
        found = Path(file.path).stat()
    except OSError as error:
        raise ImportProblem(
            f"{file.path} cannot be read: {error.strerror}; on a cluster every node must reach it "
            "under the same path"
        ) from None
    return found.st_size, found.st_mtime_ns


def flawed_rows(census: Census) -> Iterator[tuple[int, Flaw, str]]:
    """Yield every row that is no candle: its number from 1, why, and the row as JSON."""
    opened = TableFile(census.file)
    for batch in opened.batches():
        low, high = np.searchsorted(census.flawed, [batch.first, batch.first + batch.rows.num_rows])
        if low == high:
            continue
        places = pa.array(census.flawed[low:high] - batch.first)
        for index, row in enumerate(batch.rows.take(places).to_pylist(), start=int(low)):
            yield (
                census.number(int(census.flawed[index])),
                Flaw(census.flaws[index]),
                json.dumps(row, default=str),
            )
    for number, text in opened.malformed:
        yield number, Flaw.MALFORMED, json.dumps({"line": text})


# -- the parts ---------------------------------------------------------------------------------


def _not_before_its_time(rows: Rows, how: Reading) -> None:
    future = (rows.times > how.now) & (rows.flaws == Flaw.SOUND)
    rows.flaws[future] = Flaw.FUTURE


def _told_timeframe(file: ImportFile, keys: RowKeys, order: NDArray[np.int64]) -> Timeframe:
    """Tell the timeframe from the most frequent distance between an instrument's rows."""
    # Rows with bad prices too: their times are as good as any.
    order = order[(keys.times[order] > 0) & (keys.codes[order] >= 0)]
    codes, times = keys.codes[order], keys.times[order]
    distances = np.diff(times)[(np.diff(codes) == 0)]
    distances = distances[distances > 0]
    if not len(distances):
        raise ImportProblem(
            f"{file.name}: no symbol has two rows with a time since 2009, so the timeframe cannot "
            "be told; name it with --set timeframe=1h"
        )
    lengths, numbers = np.unique(distances, return_counts=True)
    length = int(lengths[np.argmax(numbers)])
    found = [timeframe for timeframe in Timeframe if timeframe.ns == length]
    if not found:
        raise ImportProblem(
            f"{file.name}: its rows are {_length(length)} apart, which is none of the timeframes "
            f"{', '.join(Timeframe)}"
        )
    return found[0]


def _length(ns: int) -> str:
    seconds = ns / 1e9
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def _malformed(opened: TableFile) -> NDArray[np.int64]:
    return np.array(sorted(number for number, _ in opened.malformed), np.int64)


def _find_repeats(
    keys: RowKeys, flaw: NDArray[np.uint8], order: NDArray[np.int64], census: Census
) -> None:
    """Keep the first of equal rows; mark all rows of a bar that say different things."""
    order = order[flaw[order] == Flaw.SOUND]
    if len(order) < 2:
        return
    codes, times, digests = keys.codes[order], keys.times[order], keys.digests[order]
    same = np.concatenate([[False], (np.diff(codes) == 0) & (np.diff(times) == 0)])
    if not same.any():
        return
    groups = np.cumsum(~same) - 1
    firsts = np.flatnonzero(~same)
    differs = digests != digests[firsts[groups]]
    torn = np.isin(groups, groups[differs])
    flaw[order[torn]] = Flaw.CONTRADICTS
    census.keep[order[torn]] = False
    census.drop(order[same & ~torn], DUPLICATES)


def _choose(keys: RowKeys, names: Sequence[str], how: Reading, census: Census) -> None:
    """Leave out what was not asked for, intervals that still form, and those without trades."""
    asked = np.array([not how.wanted or name in how.wanted for name in names] + [False])
    inside = (keys.times >= how.begin) & (keys.times < how.end) & asked[keys.codes]
    census.drop(np.flatnonzero(census.keep & ~inside), OUTSIDE)
    forming = keys.times + census.timeframe.ns > how.now
    census.drop(np.flatnonzero(census.keep & forming), FORMING)
    # What is wrong with a row that nobody asked for is nobody's concern; that it cannot be known
    # to whom it belongs, is.
    known = keys.times[census.flawed] > 0
    concerns = inside[census.flawed] | ~known | (keys.codes[census.flawed] < 0)
    if how.wanted:
        concerns &= asked[keys.codes[census.flawed]]
    census.flawed, census.flaws = census.flawed[concerns], census.flaws[concerns]


def _cover(keys: RowKeys, names: Sequence[str], order: NDArray[np.int64], census: Census) -> None:
    """Say what each instrument's rows cover, then leave out those without trades."""
    step = census.timeframe.ns
    order = order[census.keep[order]]
    codes, times, idle = keys.codes[order], keys.times[order], keys.idle[order]
    edges = np.searchsorted(codes, np.arange(len(names) + 1))
    for code, name in enumerate(names):
        low, high = edges[code], edges[code + 1]
        if low < high:
            mine = times[low:high]
            census.told[name] = runs_of(mine, step)
            census.traded[name] = runs_of(mine[~idle[low:high]], step)
    census.drop(order[idle], IDLE)


def _take_samples(opened: TableFile, census: Census) -> None:
    """Put the first flawed rows into words."""
    wanted = census.flawed[:MOST_SAMPLES]
    for number, text in opened.malformed[:MOST_SAMPLES]:
        shown = text if len(text) <= 60 else f"{text[:60]}…"
        census.samples.append(
            Sample(number, f"row {number} ({shown}): {reason_of(Flaw.MALFORMED)}")
        )
    if not len(wanted):
        return
    for batch in opened.batches():
        inside = (wanted >= batch.first) & (wanted < batch.first + batch.rows.num_rows)
        for row, flaw in zip(wanted[inside], census.flaws[:MOST_SAMPLES][inside], strict=True):
            census.samples.append(_sample(census, int(row), Flaw(flaw), batch.rows, batch.first))
        if batch.first + batch.rows.num_rows > wanted[-1]:
            break
    census.samples.sort(key=lambda sample: sample.row)


def _sample(census: Census, row: int, flaw: Flaw, rows: pa.RecordBatch, first: int) -> Sample:
    ours, what = REASONS[flaw]
    theirs = census.form.columns[ours]
    value: Any = rows.column(theirs)[row - first].as_py()
    number = census.number(row)
    return Sample(number, f"row {number}: column {theirs!r} ({_shown(value)}) {what}")


def _shown(value: object) -> str:
    text = "empty" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
