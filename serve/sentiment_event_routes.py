"""``GET /v1/sentiment/events``: flips of sentiment and spikes of mentions, from the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from engine.clock import iso_utc
from engine.domain.sentiment import Label, SentimentEvent, SentimentEventKind, Window
from engine.sentiment.events import alert_of
from serve.data_routes import DEFAULT_ROWS, HISTORY_NS, Limit
from serve.parameters import TimeText, parse_range, resolve_instrument
from serve.ranking_routes import JSON, State
from serve.schemas import Answer, Score, Time

router = APIRouter()

Kind = Annotated[SentimentEventKind | None, Query()]


class SentimentEventAnswer(Answer):
    """Something that happened to the sentiment of an instrument."""

    event_id: str
    """The alert on the bus has the same."""
    kind: SentimentEventKind
    instrument: str
    window: str
    as_of: Time
    direction: Label | None
    """Where a flip turned to; null at a spike."""
    score: Score | None
    surprise: float | None
    """Of the mention volume, standard deviations; null where too little was known."""
    volume: int | None
    """Texts about it in the window."""
    weight: float
    model: str
    message: str
    """The same in words."""


class SentimentEventsAnswer(Answer):
    """Events, oldest first."""

    start: Time
    end: Time
    events: list[SentimentEventAnswer]
    next_start: Time | None
    """Ask again from here for the rest; null where this is all."""


@router.get("/v1/sentiment/events", response_model=SentimentEventsAnswer, tags=["sentiment"])
async def sentiment_events(
    *,
    state: State,
    instrument: str | None = None,
    kind: Kind = None,
    window: Window | None = None,
    start: TimeText = None,
    end: TimeText = None,
    limit: Limit = DEFAULT_ROWS,
) -> Response:
    """Return events with ``start <= as_of < end``, oldest first; by default of the last 7 days.

    Events of one moment are never parted: an answer may have a few more than `limit`.
    """
    name = "" if instrument is None else resolve_instrument(instrument, state.universe())
    start_ns, end_ns = parse_range(
        start, end, now_ns=state.clock.now_ns(), default_span_ns=HISTORY_NS
    )
    rows = await state.read(
        lambda reader: reader.sentiment_events(
            start_ns, end_ns, limit + 1, name, kind or "", window
        )
    )
    page, next_start = _page(rows, limit)
    body = {
        "start": iso_utc(start_ns),
        "end": iso_utc(end_ns),
        "events": [_body(event) for event in page],
        "next_start": None if next_start is None else iso_utc(next_start),
    }
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(body), headers=headers, media_type=JSON)


def _page(
    rows: Sequence[SentimentEvent], limit: int
) -> tuple[Sequence[SentimentEvent], int | None]:
    """Return whole moments, and where the next page begins."""
    if len(rows) <= limit:
        return rows, None
    beyond = rows[limit].as_of
    if rows[limit - 1].as_of < beyond:
        return rows[:limit], beyond
    return rows, beyond + 1_000  # times have microseconds


def _body(event: SentimentEvent) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.structs.asdict(event)
    return body | {"as_of": iso_utc(event.as_of), "message": alert_of(event).message}
