"""What happened to sentiment: flips and spikes, told once each.

A **flip**: the score took the other side, beyond the band and with enough weight. Between the
bands the last side stays (hysteresis). A **spike**: the surprise of the mention volume reached
its threshold; the next one may come only after the surprise was below the level of rest.

Both keep a cool-down. A flip that falls into one is not forgotten: it is told when the cool-down
is over, where it still stands. Everything is a function of the aggregates in the order of time,
so a job over stored ones finds what a running engine told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.domain.sentiment import (
    Label,
    SentimentAggregate,
    SentimentEvent,
    SentimentEventKind,
    Window,
)
from engine.domain.signal import Alert
from engine.settings.sentiment_events import SentimentEventsConfig

FLIP: SentimentEventKind = "sentiment_flip"
SPIKE: SentimentEventKind = "mention_spike"


@dataclass(slots=True)
class _Watched:
    """What is remembered of an instrument over a window."""

    side: Label | None = None
    """The side that was last told, or first taken."""
    flipped_at: int | None = None
    is_resting: bool = True
    """Whether a spike may come."""
    spiked_at: int | None = None


@dataclass(frozen=True, slots=True)
class EventMemory:
    """What is stored of the past, enough to go on as if nothing had been interrupted."""

    events: Sequence[SentimentEvent] = ()
    """The last of each kind, instrument and window."""
    sides: Sequence[SentimentAggregate] = ()
    """For those without a flip: the first that took a side."""
    rests: Sequence[SentimentAggregate] = ()
    """For those with a spike: one after it that was at rest, where there is one."""


class EventDetector:
    """Finds the events in a series of aggregates.

    Parameters
    ----------
    rules
        Thresholds.
    memory
        What came before the first aggregate it will see.
    """

    def __init__(self, rules: SentimentEventsConfig, memory: EventMemory | None = None) -> None:
        self._rules = rules
        self._watched: dict[tuple[str, str], _Watched] = defaultdict(_Watched)
        if memory is not None:
            self._recall(memory)

    def observe(self, aggregates: Iterable[SentimentAggregate]) -> list[SentimentEvent]:
        """Take in aggregates and return what happened.

        Parameters
        ----------
        aggregates
            Of one model; those of an instrument and window in the order of time.
        """
        found = []
        for row in aggregates:
            watched = self._watched[row.instrument, row.window]
            if row.window in self._rules.flip_windows:
                found += self._flip(watched, row)
            if row.window in self._rules.spike_windows:
                found += self._spike(watched, row)
        return found

    def _flip(self, watched: _Watched, row: SentimentAggregate) -> list[SentimentEvent]:
        side = side_of(row, self._rules)
        if side is None or side == watched.side:
            return []
        if watched.side is None:
            watched.side = side
            return []
        if self._is_cooling(row, watched.flipped_at):
            return []
        watched.side, watched.flipped_at = side, row.as_of
        return [_event(FLIP, row, side)]

    def _spike(self, watched: _Watched, row: SentimentAggregate) -> list[SentimentEvent]:
        rules = self._rules
        if row.surprise is None or row.volume is None:
            return []
        if row.surprise < rules.spike_rest:
            watched.is_resting = True
        is_spike = row.surprise >= rules.spike_surprise and row.volume >= rules.spike_volume
        if not (is_spike and watched.is_resting) or self._is_cooling(row, watched.spiked_at):
            return []
        watched.is_resting, watched.spiked_at = False, row.as_of
        return [_event(SPIKE, row, None)]

    def _is_cooling(self, row: SentimentAggregate, last: int | None) -> bool:
        cooldown = self._rules.cooldown_windows * Window(row.window).ns
        return last is not None and row.as_of - last < cooldown

    def _recall(self, memory: EventMemory) -> None:
        for event in memory.events:
            watched = self._watched[event.instrument, event.window]
            if event.kind == FLIP:
                watched.side, watched.flipped_at = event.direction, event.as_of
            else:
                watched.is_resting, watched.spiked_at = False, event.as_of
        for row in memory.sides:
            watched = self._watched[row.instrument, row.window]
            watched.side = watched.side or side_of(row, self._rules)
        for row in memory.rests:
            self._watched[row.instrument, row.window].is_resting = True


def side_of(row: SentimentAggregate, rules: SentimentEventsConfig) -> Label | None:
    """Return the side that a score takes, or None where it takes none."""
    if row.score is None or abs(row.score) < rules.flip_band or row.weight < rules.flip_weight:
        return None
    return "bullish" if row.score > 0.0 else "bearish"


def _event(
    kind: SentimentEventKind, row: SentimentAggregate, direction: Label | None
) -> SentimentEvent:
    return SentimentEvent(
        event_id=f"{kind}-{row.instrument}-{row.window}-{row.as_of}-{row.model}",
        kind=kind,
        instrument=row.instrument,
        window=row.window,
        as_of=row.as_of,
        direction=direction,
        score=row.score,
        surprise=row.surprise,
        volume=row.volume,
        weight=row.weight,
        model=row.model,
    )


def alert_of(event: SentimentEvent) -> Alert:
    """Return an event as the alert that goes over the bus."""
    if event.kind == FLIP:
        told = f"sentiment over {event.window} turned {event.direction} (score {event.score:+.2f})"
    else:
        told = (
            f"{event.volume} texts in {event.window}, {event.surprise:.1f} standard deviations "
            "more than usual"
        )
    return Alert(
        alert_id=event.event_id,
        kind=event.kind,
        severity="info",
        subject=event.instrument,
        message=f"{event.instrument}: {told}",
        raised_at=event.as_of,
    )
