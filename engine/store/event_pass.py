"""Events that stored aggregates show: found over again, the same ones."""

from __future__ import annotations

from engine.domain.sentiment import SentimentEvent
from engine.domain.timeframe import Timeframe
from engine.sentiment.events import EventDetector
from engine.settings.sentiment_events import SentimentEventsConfig
from engine.store.client import Store
from engine.store.sentiment_history import SentimentHistory


def missing_events(
    store: Store, model: str, rules: SentimentEventsConfig, start: int, end: int
) -> list[SentimentEvent]:
    """Return what the stored aggregates of a stretch show and is not stored as an event.

    What was stored of before the stretch counts: the side that was told last, cool-downs. What
    a running engine told within it stays, whatever is found now.

    Parameters
    ----------
    store
        Where aggregates and events are.
    model
        Whose, name and version.
    rules
        Thresholds.
    start, end
        Moments of the aggregates, ``[start, end)``, UTC nanoseconds.
    """
    history = SentimentHistory(store)
    detector = EventDetector(rules, history.event_memory(model, rules, start))
    windows = {*rules.flip_windows, *rules.spike_windows}
    known = history.event_ids(model, start, end)
    found = []
    while start < end:
        day = min(end, start - start % Timeframe.D1.ns + Timeframe.D1.ns)
        found += detector.observe(history.aggregates(model, windows, start, day))
        start = day
    return [event for event in found if event.event_id not in known]
