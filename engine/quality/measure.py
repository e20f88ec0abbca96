"""Counts of a source's rows, and the measures that they make.

A measure compares one value with its threshold. Its soundness, in [0, 1], says how far a source
is from perfect whatever the threshold is; the mean of a source's is its quality score.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Self

from engine.clock import NS_PER_S
from engine.settings.check_quality import QualitySection

NS_PER_H = 3_600 * NS_PER_S

COMPLETENESS = "completeness"
TIMESTAMPS = "timestamps"
SCHEMA = "schema"
DUPLICATES = "duplicates"
OUTLIERS = "outliers"
TEXT_LENGTH = "text_length"
ENGLISH = "english"
FRESHNESS = "freshness"
SCORE = "score"


@dataclass(frozen=True, slots=True)
class Measure:
    """One value of a source, against its threshold."""

    name: str
    value: float
    """A share in [0, 1]; hours for `FRESHNESS`."""
    threshold: float
    passed: bool
    soundness: float
    """In [0, 1]; 1 is perfect."""
    rows: int
    """Rows that it was measured over."""

    def __str__(self) -> str:
        return f"{self.name} {self.text}"

    @property
    def text(self) -> str:
        """The value and its threshold, for people."""
        if self.name == FRESHNESS:
            return f"{self.value:,.1f} h old (at most {self.threshold:g} h)"
        bound = {DUPLICATES: "below", OUTLIERS: "at most"}.get(self.name, "at least")
        value = _percent(self.value, self.threshold)
        return f"{value} ({bound} {_percent(self.threshold)})"


def _percent(share: float, unlike: float = math.nan) -> str:
    """Return a share as a percentage that does not round a failure, or a difference, away."""
    hidden = {0.0, 1.0, unlike} - {share}
    for decimals in (1, 2, 3):
        text = f"{100 * share:.{decimals}f}"
        if all(float(text) != round(100 * each, decimals) for each in hidden):
            break
    return f"{text.rstrip('0').rstrip('.')} %"


@dataclass(frozen=True, slots=True)
class _Counts:
    """Whole numbers that add up over days."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class CandleCounts(_Counts):
    """A market's candles of one timeframe over some days."""

    rows: int = 0
    expected: int = 0
    """Intervals that should have a candle."""
    bad_times: int = 0
    bad_schema: int = 0
    repeated: int = 0
    """Equal to the candle before, volume included."""
    returns: int = 0
    """Candles right behind another one."""
    outliers: int = 0
    """Of those, with a return that is no market's."""


@dataclass(frozen=True, slots=True)
class TextCounts(_Counts):
    """A source's texts over some days."""

    rows: int = 0
    incomplete: int = 0
    """Without a headline."""
    bad_times: int = 0
    bad_schema: int = 0
    off_length: int = 0
    repeated: int = 0
    """Said before by the same source, in the same words or nearly so."""
    told: int = 0
    """Long enough to tell their language."""
    foreign: int = 0
    """Of those, not in English."""


def candle_measures(counts: CandleCounts, quality: QualitySection) -> tuple[Measure, ...]:
    """Return the measures of a market's candles; those of nothing are left out.

    Where no candle was expected and none is there, there is nothing to measure.
    """
    if not (counts.rows or counts.expected):
        return ()
    sound = _sound(counts.rows)
    faulty = _faulty(counts.rows)
    # More bars than expected cannot be: the table's key is the bar's time.
    there = _share(min(counts.rows, counts.expected), counts.expected)
    complete = there >= quality.completeness
    found = (
        Measure(COMPLETENESS, there, quality.completeness, complete, there, counts.expected),
        sound(TIMESTAMPS, counts.bad_times, quality.valid_timestamps),
        sound(SCHEMA, counts.bad_schema, quality.valid_schema),
        faulty(DUPLICATES, counts.repeated, quality.duplicate_share, _below),
        _outliers(counts, quality),
    )
    return tuple(measure for measure in found if measure.rows)


def _outliers(counts: CandleCounts, quality: QualitySection) -> Measure:
    def pass_(share: float, most: float) -> bool:
        return share <= most or counts.outliers <= quality.outliers_allowed

    return _faulty(counts.returns)(OUTLIERS, counts.outliers, quality.outlier_share, pass_)


def text_measures(counts: TextCounts, quality: QualitySection) -> tuple[Measure, ...]:
    """Return the measures of a source's texts; those of nothing are left out."""
    sound = _sound(counts.rows)
    found = (
        sound(COMPLETENESS, counts.incomplete, quality.completeness),
        sound(TIMESTAMPS, counts.bad_times, quality.valid_timestamps),
        sound(SCHEMA, counts.bad_schema, quality.valid_schema),
        sound(TEXT_LENGTH, counts.off_length, quality.text_length_share),
        _sound(counts.told)(ENGLISH, counts.foreign, quality.english_share),
        _faulty(counts.rows)(DUPLICATES, counts.repeated, quality.duplicate_share, _below),
    )
    return tuple(measure for measure in found if measure.rows)


def freshness(newest: int, end: int, rows: int, quality: QualitySection) -> Measure:
    """Return how old the newest row was at the end of the stretch.

    Parameters
    ----------
    newest
        When the newest row's interval ended, or when it became available; UTC nanoseconds.
    end
        End of the stretch, likewise.
    rows
        Rows of the source.
    """
    age_h = max(0, end - newest) / NS_PER_H
    limit = quality.freshness_h
    soundness = 1.0 if age_h <= limit else limit / age_h
    return Measure(FRESHNESS, age_h, limit, age_h <= limit, soundness, rows)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _below(value: float, threshold: float) -> bool:
    return value < threshold


def _sound(rows: int) -> Callable[[str, int, float], Measure]:
    """Return how to measure the share of sound ones among `rows`."""

    def measure(name: str, failing: int, threshold: float) -> Measure:
        value = _share(rows - failing, rows)
        return Measure(name, value, threshold, value >= threshold, value, rows)

    return measure


def _faulty(
    rows: int,
) -> Callable[[str, int, float, Callable[[float, float], bool]], Measure]:
    """Return how to measure the share of faulty ones among `rows`."""

    def measure(
        name: str, failing: int, threshold: float, passes: Callable[[float, float], bool]
    ) -> Measure:
        value = _share(failing, rows)
        return Measure(name, value, threshold, passes(value, threshold), 1.0 - value, rows)

    return measure
