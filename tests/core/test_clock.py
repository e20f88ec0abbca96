"""Time: exact to the nanosecond, never naive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import DataClock, iso_utc, parse_iso_utc

MICROSECONDS = st.integers(min_value=0, max_value=4_102_444_800_000_000)


@given(MICROSECONDS)
def test_iso_utc_of_whole_microseconds_reads_back(microseconds: int) -> None:
    assert parse_iso_utc(iso_utc(microseconds * 1000)) == microseconds * 1000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:00.123456789Z", 123_456_789),
        ("1970-01-01T00:00:00.1234567899Z", 123_456_789),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
    ],
)
def test_parse_iso_utc_keeps_nanoseconds(text: str, nanoseconds: int) -> None:
    assert parse_iso_utc(text) == nanoseconds


@pytest.mark.parametrize("text", ["2024-08-08T00:00:00", "2024-08-08T00:00:00.5", "soon", "1.Z"])
def test_parse_iso_utc_refuses_what_has_no_zone_or_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_iso_utc(text)


def test_data_clock_never_runs_backwards() -> None:
    clock = DataClock(5)
    clock.advance(9)
    clock.advance(7)
    assert clock.now_ns() == 9
