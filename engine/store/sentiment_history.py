"""What is stored of sentiment: texts as aggregates take them, and the events of the past."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from engine.clock import NS_PER_S
from engine.domain.sentiment import SentimentAggregate, SentimentEvent, TargetScore, Window
from engine.sentiment.aggregate import ScoredText
from engine.sentiment.events import FLIP, SPIKE, EventMemory
from engine.settings.sentiment_events import SentimentEventsConfig
from engine.store.client import Store
from engine.store.columns import python_values
from engine.store.tables import table_named

MEMORY_NS = 90 * 86_400 * NS_PER_S
"""How far back sides and rests are looked for."""

_TEXTS = """
SELECT texts.text_id AS text_id, texts.instruments AS instruments,
    texts.available_at AS available_at,
    if(scores.label = '', NULL, scores.score) AS score, nullIf(scores.label, '') AS label,
    if(texts.duplicate_of = '', texts.credibility, 0) AS credibility,
    texts.engagement AS engagement, scores.target_instruments AS target_instruments,
    scores.target_scores AS target_scores, scores.target_labels AS target_labels
FROM (SELECT * FROM texts FINAL WHERE {span}) AS texts
LEFT JOIN (
    SELECT text_id, score, toString(label) AS label, target_instruments, target_scores,
        target_labels FROM sentiment_scores FINAL
    WHERE model = {{model:String}} AND text_id IN (SELECT text_id FROM texts WHERE {span})
) AS scores ON texts.text_id = scores.text_id
ORDER BY available_at, text_id
"""
_TARGETS = ("target_instruments", "target_scores", "target_labels")
_SPAN = (
    "available_at >= fromUnixTimestamp64Nano({start:Int64}) "
    "AND available_at < fromUnixTimestamp64Nano({end:Int64})"
)
_AS_OF = _SPAN.replace("available_at", "as_of")
_BEFORE = "model = {model:String} AND as_of < fromUnixTimestamp64Nano({before:Int64})"
_REMEMBERED = f"{_BEFORE} AND as_of >= fromUnixTimestamp64Nano({{since:Int64}})"
_LAST_EVENTS = f"WHERE {_BEFORE} ORDER BY as_of DESC LIMIT 1 BY kind, instrument, window"
_FIRST_SIDES = f"""
WHERE {_REMEMBERED} AND has({{flip_windows:Array(String)}}, toString(window))
AND abs(score) >= {{flip_band:Float64}} AND weight >= {{flip_weight:Float64}}
AND (instrument, window) NOT IN
    (SELECT instrument, window FROM sentiment_events WHERE {_BEFORE} AND kind = '{FLIP}')
ORDER BY as_of LIMIT 1 BY instrument, window
"""
_RESTS = f"""
INNER JOIN (
    SELECT instrument, window, max(as_of) AS spiked FROM sentiment_events
    WHERE {_BEFORE} AND kind = '{SPIKE}' GROUP BY instrument, window
) AS spikes USING (instrument, window)
WHERE {_REMEMBERED} AND as_of > spiked AND surprise < {{spike_rest:Float64}}
ORDER BY as_of LIMIT 1 BY instrument, window
"""


class SentimentHistory:
    """Reads it. Blocking.

    Parameters
    ----------
    store
        A client.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def texts(self, model: str, start: int, end: int) -> list[ScoredText]:
        """Return the texts that became available in ``[start, end)``, in that order.

        Those that the model has no score of are among them, with None.
        """
        found = self._store.query_arrow(
            _TEXTS.format(span=_SPAN), {"model": model, "start": start, "end": end}
        )
        columns = {name: python_values(found.column(name)) for name in found.column_names}
        columns["instruments"] = list(map(tuple, columns["instruments"]))
        targets = [
            tuple(TargetScore(*target) for target in zip(*each, strict=True))
            for each in zip(*(columns.pop(name) for name in _TARGETS), strict=True)
        ]
        return [ScoredText(*each) for each in zip(*columns.values(), targets, strict=True)]

    def event_memory(self, model: str, rules: SentimentEventsConfig, before: int) -> EventMemory:
        """Return what a detector remembers of the time before a moment, UTC nanoseconds."""
        asked = {
            "model": model,
            "before": before,
            "since": before - MEMORY_NS,
            "flip_windows": [window.value for window in rules.flip_windows],
            "flip_band": rules.flip_band,
            "flip_weight": rules.flip_weight,
            "spike_rest": rules.spike_rest,
        }
        return EventMemory(
            self._rows("sentiment_events", _LAST_EVENTS, asked),
            self._rows("sentiment_aggregates", _FIRST_SIDES, asked),
            self._rows("sentiment_aggregates", _RESTS, asked),
        )

    def aggregates(
        self, model: str, windows: Collection[Window], start: int, end: int
    ) -> list[SentimentAggregate]:
        """Return a model's aggregates with as_of in ``[start, end)``, in the order of time."""
        return self._rows(
            "sentiment_aggregates",
            f"WHERE model = {{model:String}} AND {_AS_OF} "
            "AND has({windows:Array(String)}, toString(window)) ORDER BY as_of, instrument, window",
            {
                "model": model,
                "windows": [window.value for window in windows],
                "start": start,
                "end": end,
            },
        )

    def event_ids(self, model: str, start: int, end: int) -> set[str]:
        """Return the ids of a model's events with as_of in ``[start, end)``."""
        found = self._store.query_arrow(
            f"SELECT event_id FROM sentiment_events WHERE model = {{model:String}} AND {_AS_OF}",
            {"model": model, "start": start, "end": end},
        )
        return set(python_values(found.column("event_id")))

    def events(
        self,
        start: int,
        end: int,
        limit: int,
        instrument: str = "",
        kind: str = "",
        window: Window | None = None,
    ) -> list[SentimentEvent]:
        """Return the oldest events with as_of in ``[start, end)``, ascending.

        Parameters
        ----------
        start, end
            UTC nanoseconds.
        limit
            How many; at least 1. All others of the last one's moment come too.
        instrument, kind, window
            Only these; without one, all.
        """
        found: list[SentimentEvent] = self._rows(
            "sentiment_events",
            f"WHERE {_AS_OF} "
            "AND ({instrument:String} = '' OR instrument = {instrument:String}) "
            "AND ({kind:String} = '' OR kind = {kind:String}) "
            "AND ({window:String} = '' OR window = {window:String}) "
            "ORDER BY as_of LIMIT {limit:UInt64} WITH TIES",
            {
                "start": start,
                "end": end,
                "limit": limit,
                "instrument": instrument,
                "kind": kind,
                "window": "" if window is None else window.value,
            },
        )
        return sorted(found, key=lambda event: (event.as_of, event.event_id))

    def _rows(self, name: str, clause: str, asked: Mapping[str, Any]) -> list[Any]:
        table = table_named(name)
        sql = f"SELECT {table.select} FROM {name} FINAL {clause}"
        return table.from_arrow(self._store.query_arrow(sql, dict(asked)))
