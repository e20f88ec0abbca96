"""Indices of mood are followed: stored once, told of when they fail, tried again."""

import asyncio
import logging

import pytest

from engine.actors import mood_reading
from engine.actors.mood_reading import MoodReading, followed
from engine.clock import DataClock
from engine.domain.text import MarketMood
from engine.errors import SourceError
from engine.settings.sources import MoodConfig

VIX = MoodConfig(kind="vix", location="http://x/v.csv", every_s=3600.0)


def mood(day):
    return MarketMood("vix", day, 13.0, day)


class Source:
    """Gives what it is told to give; None is an error."""

    series = "vix"

    def __init__(self, *answers, more=0):
        self.answers = list(answers)
        self.more = more
        self.resumed = []
        self.is_closed = False

    @property
    def has_more(self):
        return len(self.answers) > self.more

    def resume(self, stored):
        self.resumed = list(stored)

    async def poll(self):
        answer = self.answers.pop(0)
        if answer is None:
            raise SourceError("source vix: it cannot be read")
        return answer

    async def close(self):
        self.is_closed = True


class Store:
    def __init__(self):
        self.rows = [mood(1)]
        self.put_rows = []

    def mood(self, series):
        return [row for row in self.rows if row.series == series]

    async def put(self, table, rows):
        self.put_rows.append((table, list(rows)))


async def follow(source, monkeypatch):
    """Follow a source until it has nothing left; return what happened."""
    store, trouble, pauses = Store(), {}, []
    monkeypatch.setattr(mood_reading, "open_mood", lambda config, clock: source)

    async def sleep(seconds):
        pauses.append((seconds, dict(trouble)))
        if not source.answers:
            raise asyncio.CancelledError

    monkeypatch.setattr(mood_reading.asyncio, "sleep", sleep)
    log = logging.getLogger("engine.test")
    with pytest.raises(asyncio.CancelledError):
        await MoodReading(store, store, DataClock(5), trouble, log).follow(VIX)
    return store, pauses


async def test_mood_values_are_stored_and_what_is_stored_is_not_asked_for(monkeypatch):
    source = Source([mood(2)], [], [mood(3)])
    store, pauses = await follow(source, monkeypatch)
    assert source.resumed == [mood(1)]
    assert store.put_rows == [("market_mood", [mood(2)]), ("market_mood", [mood(3)])]
    assert [seconds for seconds, _ in pauses] == [1.0, 1.0, 3600.0]
    assert source.is_closed


async def test_mood_failure_is_told_tried_again_and_taken_back(monkeypatch):
    source = Source(None, None, [mood(2)], more=9)
    store, pauses = await follow(source, monkeypatch)
    said = {"vix": "source vix: it cannot be read"}
    assert pauses == [(60.0, said), (120.0, said), (3600.0, {})]
    assert store.put_rows == [("market_mood", [mood(2)])]


def test_followed_is_the_simulators_index_where_none_is_configured():
    assert followed([], "") == []
    assert followed([VIX], "http://sim") == [VIX]
    (simulated,) = followed([], "http://sim")
    assert (simulated.kind, simulated.location) == ("fear_greed", "http://sim/fng/")
