"""The recorded series of mood, read by what reads their publishers' documents."""

from datetime import date
from pathlib import Path

import pytest

from engine.clock import NS_PER_S, DataClock, parse_iso_utc
from engine.settings.sources import MoodConfig
from engine.sources.cboe import day_ns
from engine.sources.mood_registry import open_mood

pytestmark = pytest.mark.real

NOW = parse_iso_utc("2026-11-21T00:00:00Z")
DAY = 86_400 * NS_PER_S


async def read(kind, path: Path):
    source = open_mood(MoodConfig(kind=kind, location=str(path)), DataClock(NOW))
    moods = await source.poll()
    assert await source.poll() == []
    assert source.report.skipped == 0, list(source.report.problems)
    assert [mood.time for mood in moods] == sorted({mood.time for mood in moods})
    return moods


async def test_vix_since_1990_is_read_whole(real_data):
    moods = await read("vix", real_data / "macro" / "vix-daily.csv")
    assert len(moods) == 9_235
    assert (moods[0].time, moods[0].value) == (day_ns(date(1990, 1, 2)), 17.24)
    assert (moods[-1].time, moods[-1].value) == (day_ns(date(2026, 7, 23)), 18.7)
    assert max(moods, key=lambda mood: mood.value).time == day_ns(date(2020, 3, 16))
    delays = {mood.available_at - mood.time for mood in moods}
    assert {delay // (3600 * NS_PER_S) for delay in delays} == {28, 29}, "midnight in New York"


async def test_put_call_2006_to_2019_is_read_whole(real_data):
    moods = await read("put_call", real_data / "macro" / "cboe_total_putcall.csv")
    assert len(moods) == 3_253
    assert (moods[0].time, moods[0].value) == (day_ns(date(2006, 11, 1)), 0.91)
    assert (moods[-1].time, moods[-1].value) == (day_ns(date(2019, 10, 4)), 1.05)
    assert all(mood.available_at > mood.time + DAY for mood in moods)


async def test_fear_greed_2018_to_2025_is_read_whole(real_data):
    moods = await read("fear_greed", real_data / "macro" / "crypto_fear_greed_index.csv")
    assert len(moods) == 2_644
    assert (moods[0].value, moods[-1].value) == (30.0, 67.0)
    # This copy stamps each day 05:30 UTC; the hour after that is when a value counts as out.
    assert {mood.time % DAY for mood in moods} == {0}
    assert {mood.available_at - mood.time for mood in moods} == {6.5 * 3600 * NS_PER_S}
