"""Events in the crypto news of spring 2022: Terra's fall is told, and little else cries wolf."""

import csv
import time
from datetime import UTC, datetime
from itertools import groupby, pairwise

import pytest

from engine.clock import NS_PER_S, iso_utc, parse_iso_utc
from engine.sentiment.aggregate import ScoredText
from engine.sentiment.aggregator import Aggregator
from engine.sentiment.events import EventDetector, alert_of
from engine.sentiment.lexicon import LexiconModel
from engine.settings.sentiment_events import SentimentEventsConfig
from engine.sources.mentions import MentionFinder

pytestmark = pytest.mark.real

HOUR = 3_600 * NS_PER_S
UNIVERSE = ["BTC-USDT", "ETH-USDT", "LUNA-USDT", "SOL-USDT"]
START, END = parse_iso_utc("2022-04-15T00:00:00Z"), parse_iso_utc("2022-06-01T00:00:00Z")


def news(folder):
    path = folder / "news" / "nyu_crypto_team4" / "cryptonews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file, delimiter=";")):
            at = datetime.strptime(row["date"], "%d-%m-%Y %H:%M").replace(tzinfo=UTC)
            yield int(at.timestamp()) * NS_PER_S, f"{number}", row["title"]


def test_events_of_spring_2022_tell_of_terra_when_it_fell(real_data):
    finder = MentionFinder(UNIVERSE)
    before = START - 70 * 24 * HOUR
    texts = sorted(each for each in news(real_data) if before <= each[0] < END)
    readings = LexiconModel().score([title for _, _, title in texts])
    scored = [
        ScoredText(
            name, tuple(finder.find(title)), at,
            reading.score if reading else None, reading.label if reading else None, 1.0, 0.0,
        )
        for (at, name, title), reading in zip(texts, readings, strict=True)
    ]  # fmt: skip
    aggregator = Aggregator("lexicon-1", instruments=UNIVERSE)
    detector = EventDetector(SentimentEventsConfig())
    events, given, began = [], 0, time.perf_counter()
    for as_of in range(START, END, HOUR):
        while given < len(scored) and scored[given].available_at <= as_of:
            aggregator.add(scored[given])
            given += 1
        events += detector.observe(aggregator.aggregates(as_of))
    print(f"{len(texts)} headlines, {time.perf_counter() - began:.1f} s")
    for event in events:
        if event.kind == "mention_spike":
            print(iso_utc(event.as_of)[:13], alert_of(event).message)
    spikes = [event for event in events if event.kind == "mention_spike"]
    days = {iso_utc(event.as_of)[:10] for event in spikes if event.instrument == "LUNA-USDT"}
    assert days & {f"2022-05-{day:02}" for day in range(9, 14)}
    assert len(spikes) < 10
    flips = [event for event in events if event.kind == "sentiment_flip"]
    print(f"{len(spikes)} spikes, {len(flips)} flips")
    flips.sort(key=lambda event: event.instrument)
    for _, group in groupby(flips, key=lambda event: event.instrument):
        sides = [event.direction for event in group]
        assert all(one != other for one, other in pairwise(sides))
