"""When something is due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import NS_PER_S, iso_utc, parse_iso_utc
from engine.config import load_config
from engine.errors import ConfigError
from engine.recurrence import Due, parse_recurrence

MINUTE = 60 * NS_PER_S
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = parse_iso_utc("2026-02-03T12:34:56Z")


def due_times(text: str, after: int, upto: int, newest: int = 100) -> list[str]:
    found = parse_recurrence(text, "--every").due(after, upto, newest)
    return [iso_utc(moment)[5:16] for moment in found.moments]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15m", "2026-02-03T12:45:00"),
        ("1h", "2026-02-03T13:00:00"),
        ("8h", "2026-02-03T16:00:00"),
        ("1d", "2026-02-04T00:00:00"),
        ("24h", "2026-02-04T00:00:00"),
        ("7d", "2026-02-05T00:00:00"),
        ("5 * * * *", "2026-02-03T13:05:00"),
        ("34 12 * * *", "2026-02-04T12:34:00"),
        ("*/10 8-16 * * MON-FRI", "2026-02-03T12:40:00"),
        ("0 6 1 * *", "2026-03-01T06:00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00"),
    ],
)
def test_recurrence_after_a_moment_is_the_next_in_utc(text: str, expected: str) -> None:
    assert iso_utc(parse_recurrence(text, "--every").after(START))[:19] == expected


@pytest.mark.parametrize("text", ["1h", "0 * * * *"])
def test_due_is_open_at_its_begin_and_closed_at_its_end(text: str) -> None:
    noon = parse_iso_utc("2026-02-03T12:00:00Z")
    assert due_times(text, noon, noon + 2 * HOUR) == ["02-03T13:00", "02-03T14:00"]
    assert due_times(text, noon - 1, noon) == ["02-03T12:00"]
    assert due_times(text, noon, noon) == []


@pytest.mark.parametrize("text", ["1h", "0 * * * *"])
def test_due_of_a_long_absence_keeps_the_newest_and_counts_the_rest(text: str) -> None:
    found = parse_recurrence(text, "--every").due(START, START + 30 * DAY, 2)
    last = parse_iso_utc("2026-03-05T12:00:00Z")
    assert found == Due((last - HOUR, last), 30 * 24 - 2)


@given(
    st.sampled_from(["1m", "15m", "6h", "2d", "5 * * * *", "0 3 * * SUN", "*/7 1,13 */2 * *"]),
    st.integers(0, 400 * DAY),
    st.integers(0, 3 * DAY),
    st.integers(1, 5),
)
def test_due_moments_are_those_that_after_gives_one_by_one(
    text: str, offset: int, length: int, newest: int
) -> None:
    rule = parse_recurrence(text, "--every")
    begin = START + offset
    one_by_one = []
    moment = rule.after(begin)
    while moment <= begin + length:
        one_by_one.append(moment)
        moment = rule.after(moment)
    kept = tuple(one_by_one[-newest:])
    assert rule.due(begin, begin + length, newest) == Due(kept, len(one_by_one) - len(kept))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no recurrence; write 15m, 1h or 1d"),
        ("hourly", "is no recurrence; write 15m, 1h or 1d"),
        ("30s", "is not a whole part of a day of at least a minute"),
        ("7h", "say with cron when it is due"),
        ("36h", "nor whole days"),
        ("61 * * * *", r"is not cron \(Bad minute\)"),
        ("* * * *", r"is not cron \(cron has five fields\)"),
        ("0 0 * * * *", r"is not cron \(cron has five fields\)"),
        ("0 0 30 2 *", r"is not cron \(Bad day-of-month\)"),
    ],
)
def test_recurrence_that_is_none_is_refused_with_what_to_write(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_recurrence(text, "--every")


def test_configuration_with_a_wrong_recurrence_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"report\.every: every '7h' is not a whole part"):
        load_config(overrides=["report.every=7h"], environment={})
    with pytest.raises(ConfigError, match=r"schedule\.0\.every: every '9 9' is not cron"):
        load_config(overrides=["schedule=[{name: a, job: report, every: '9 9'}]"], environment={})
