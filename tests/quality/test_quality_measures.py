"""Counts to measures, measures to a verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import NS_PER_S
from engine.quality.coverage import Stretch, has_ended, present
from engine.quality.measure import (
    CandleCounts,
    TextCounts,
    candle_measures,
    freshness,
    text_measures,
)
from engine.quality.verdict import SourceQuality, Verdict, daily
from engine.settings.check_quality import QualitySection

QUALITY = QualitySection()
HOUR = 3_600 * NS_PER_S
DAY = 24 * HOUR
counts = st.integers(0, 50)


def test_candle_measures_of_counts_are_exact() -> None:
    found = candle_measures(
        CandleCounts(
            rows=90, expected=100, bad_times=9, bad_schema=0, repeated=9, returns=80, outliers=8
        ),
        QUALITY,
    )
    assert [(m.name, m.value, m.passed, m.rows) for m in found] == [
        ("completeness", 0.9, False, 100),
        ("timestamps", 0.9, False, 90),
        ("schema", 1.0, True, 90),
        ("duplicates", 0.1, False, 90),
        ("outliers", 0.1, False, 80),
    ]
    assert [m.soundness for m in found] == [0.9, 0.9, 1.0, 0.9, 0.9]


def test_candle_measures_of_a_day_without_any_bar_are_its_completeness() -> None:
    (found,) = candle_measures(CandleCounts(expected=24), QUALITY)
    assert (found.name, found.value, found.passed) == ("completeness", 0.0, False)
    assert candle_measures(CandleCounts(), QUALITY) == ()


def test_text_measures_at_their_thresholds_pass_and_duplicates_must_stay_below() -> None:
    at = TextCounts(rows=100, incomplete=5, off_length=10, told=40, foreign=2, repeated=5)
    found = {m.name: m for m in text_measures(at, QUALITY)}
    assert {name for name, m in found.items() if not m.passed} == {"duplicates"}
    below = TextCounts(rows=100, incomplete=6, off_length=11, told=40, foreign=3, repeated=4)
    found = {m.name: m for m in text_measures(below, QUALITY)}
    failing = {name for name, m in found.items() if not m.passed}
    assert failing == {"completeness", "text_length", "english"}
    assert found["english"].value == 37 / 40


def test_text_measures_where_no_language_could_be_told_have_none() -> None:
    names = [m.name for m in text_measures(TextCounts(rows=3), QUALITY)]
    assert "english" not in names


def test_freshness_counts_hours_before_the_end() -> None:
    found = freshness(10 * HOUR, 58 * HOUR, 7, QUALITY)
    assert (found.value, found.threshold, found.passed, found.soundness) == (48.0, 24.0, False, 0.5)
    assert freshness(34 * HOUR, 58 * HOUR, 7, QUALITY).passed
    assert freshness(60 * HOUR, 58 * HOUR, 7, QUALITY).value == 0.0


@given(st.lists(st.builds(TextCounts, counts, counts, counts, counts), max_size=5))
def test_counts_of_days_add_up_to_those_of_all(parts: list[TextCounts]) -> None:
    total = sum(parts, TextCounts())
    assert total.rows == sum(part.rows for part in parts)
    assert total.bad_schema == sum(part.bad_schema for part in parts)


@given(counts, counts, st.integers(0, 20), counts)
def test_every_soundness_is_a_share(rows: int, expected: int, faults: int, returns: int) -> None:
    faults = min(faults, rows)
    found = candle_measures(
        CandleCounts(rows, expected, faults, faults, faults, returns, min(faults, returns)), QUALITY
    )
    assert all(0.0 <= measure.soundness <= 1.0 for measure in found)


def test_measure_text_does_not_round_a_failure_away() -> None:
    (_, timestamps, *_) = candle_measures(
        CandleCounts(rows=100_000, expected=1, bad_times=3), QUALITY
    )
    assert str(timestamps) == "timestamps 99.997 % (at least 100 %)"


def _source(name: str, rows: int, expected: int) -> SourceQuality:
    measures = candle_measures(CandleCounts(rows=rows, expected=expected), QUALITY)
    return SourceQuality("candles", name, measures)


def test_verdict_passes_where_all_sources_do_and_names_those_that_do_not() -> None:
    sound, holey = _source("binance BTC-USDT 1h", 24, 24), _source("binance LUNA-USDT 1h", 12, 24)
    assert Verdict((sound,)).passed
    both = Verdict((sound,)) + Verdict((holey,))
    assert not both.passed
    assert both.problems == ("binance LUNA-USDT 1h: completeness 50 % (at least 95 %)",)
    assert both.worst["completeness"][0] == "binance LUNA-USDT 1h"
    assert both.score == (1.0 + (0.5 + 1 + 1 + 1) / 4) / 2
    plain = both.as_dict()["sources"]["candles binance LUNA-USDT 1h"]
    assert (plain["completeness"], plain["passed"], plain["score"]) == (0.5, False, 0.875)


def test_verdict_of_nothing_does_not_pass() -> None:
    assert not Verdict(()).passed
    assert Verdict(()).problems == ("nothing is stored of what was asked for",)
    assert Verdict((), ("DOGE-USDT",)).problems == ("DOGE-USDT: nothing is stored",)


def test_source_rows_hold_every_measure_and_the_score() -> None:
    rows = {row.measure: row for row in _source("x", 12, 24).rows(DAY, "run-1", 5)}
    assert list(rows) == ["completeness", "timestamps", "schema", "duplicates", "score"]
    assert rows["completeness"].threshold == 0.95
    score = rows["score"]
    assert (score.value, score.threshold, score.passed, score.rows) == (0.875, None, False, 24)
    assert {(row.day, row.run_id, row.checked_at) for row in rows.values()} == {(DAY, "run-1", 5)}


def test_daily_gives_the_last_day_what_holds_at_the_end() -> None:
    measures = candle_measures(CandleCounts(rows=24, expected=24), QUALITY)
    last = (freshness(0, 48 * HOUR, 24, QUALITY),)
    found = daily("candles", "x", {0: measures, DAY: measures, 2 * DAY: ()}, last)
    assert [(day, len(each.measures)) for day, each in found] == [(0, 4), (DAY, 5)]


@pytest.mark.parametrize(
    ("newest", "others", "ended"),
    [(0, 100 * DAY, True), (0, 98 * DAY, False), (94 * DAY, 100 * DAY, False)],
)
def test_source_has_ended_where_it_alone_is_silent(newest: int, others: int, ended: bool) -> None:
    assert has_ended(newest, others, 100 * DAY, QUALITY) is ended


def test_bars_are_expected_from_the_first_one_to_the_end_unless_fresh_or_ended() -> None:
    assert present(5 * DAY, 9 * DAY, 0, 20 * DAY, False, QUALITY) == Stretch(5 * DAY, 20 * DAY)
    assert present(5 * DAY, 9 * DAY, 6 * DAY, 20 * DAY, True, QUALITY) == Stretch(6 * DAY, 9 * DAY)
    fresh = present(5 * DAY, 20 * DAY - HOUR, 0, 20 * DAY, False, QUALITY)
    assert fresh == Stretch(5 * DAY, 20 * DAY - HOUR)


@given(st.integers(0, 5 * DAY), st.integers(0, 5 * DAY))
def test_intervals_of_days_add_up_for_hours(begin: int, length: int) -> None:
    stretch = Stretch(begin, begin + length)
    by_day = sum(part.intervals(HOUR) for _, part in stretch.days)
    assert by_day == stretch.intervals(HOUR)
