"""Routes answered from the store."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from engine.clock import NS_PER_S, iso_utc
from engine.domain.sentiment import SentimentAggregate, Window
from engine.domain.timeframe import Timeframe
from serve.parameters import TimeText, parse_range, resolve_instrument
from serve.problems import Problem, bad_parameter
from serve.ranking_routes import JSON, RankedTimeframe, State, known_timeframe, ranked_timeframe
from serve.render import candle_body, features_body, sentiment_body, signal_body
from serve.schemas import (
    CandlesAnswer,
    FeaturesAnswer,
    HistoryAnswer,
    SentimentAnswer,
)
from serve.state import ServingState

router = APIRouter()

MAX_ROWS = 5000
DEFAULT_ROWS = 500
HISTORY_NS = 7 * 86_400 * NS_PER_S
"""Default span of a history."""

Limit = Annotated[int, Query(ge=1, le=MAX_ROWS)]


@router.get("/v1/signals/{instrument}/history", response_model=HistoryAnswer, tags=["signals"])
async def history(
    *,
    state: State,
    instrument: str,
    start: TimeText = None,
    end: TimeText = None,
    limit: Limit = DEFAULT_ROWS,
    timeframe: RankedTimeframe = None,
) -> Response:
    """Return stored signals (of closed bars) with ``start <= as_of < end``, oldest first."""
    name = resolve_instrument(instrument, state.universe())
    chosen = ranked_timeframe(state, timeframe)
    start_ns, end_ns = parse_range(
        start, end, now_ns=state.clock.now_ns(), default_span_ns=HISTORY_NS
    )
    rows = await state.read(
        lambda reader: reader.signal_history(name, chosen.value, start_ns, end_ns, limit + 1)
    )
    return _stored(
        {
            "instrument": name,
            "timeframe": chosen.value,
            "start": iso_utc(start_ns),
            "end": iso_utc(end_ns),
            "signals": [signal_body(row) for row in rows[:limit]],
            "next_start": iso_utc(rows[limit].as_of) if len(rows) > limit else None,
        },
        f"/v1/signals/{name}/history",
    )


@router.get("/v1/candles/{instrument}", response_model=CandlesAnswer, tags=["market"])
async def candles(
    *,
    state: State,
    instrument: str,
    timeframe: Timeframe = Timeframe.M1,
    start: TimeText = None,
    end: TimeText = None,
    limit: Limit = DEFAULT_ROWS,
    exchange: str | None = None,
) -> Response:
    """Return candles with ``start <= open_time < end``, oldest first.

    Without `start` it answers the last `limit` candles before `end`, which defaults to now.
    Without `exchange` it takes the first that lists the instrument.
    """
    name = resolve_instrument(instrument, state.universe())
    known_timeframe(timeframe, state.config.candles.timeframes)
    market = _exchange(state, name, exchange)
    start_ns, end_ns = parse_range(
        start, end, now_ns=state.clock.now_ns(), default_span_ns=limit * timeframe.ns
    )
    if start is None:
        rows = await state.read(
            lambda reader: reader.last_candles(market, name, timeframe.value, end_ns, limit)
        )
        start_ns = min([row.open_time for row in rows], default=start_ns)
    else:
        rows = await state.read(
            lambda reader: reader.candles(
                market, name, timeframe.value, start_ns, end_ns, limit + 1
            )
        )
    return _stored(
        {
            "exchange": market,
            "instrument": name,
            "timeframe": timeframe.value,
            "start": iso_utc(start_ns),
            "end": iso_utc(end_ns),
            "candles": [candle_body(row) for row in rows[:limit]],
            "next_start": iso_utc(rows[limit].open_time) if len(rows) > limit else None,
        },
        f"/v1/candles/{name}",
    )


@router.get("/v1/features/{instrument}", response_model=FeaturesAnswer, tags=["market"])
async def features(
    state: State, instrument: str, timeframe: RankedTimeframe = None
) -> Response:  # fmt: skip
    """Return the newest stored features, by name."""
    name = resolve_instrument(instrument, state.universe())
    chosen = ranked_timeframe(state, timeframe)
    row = await state.read(lambda reader: reader.latest_features(name, chosen.value))
    if row is None:
        raise _no_data(f"no {chosen} features of {name} are stored yet")
    names = await asyncio.to_thread(state.load_feature_names)
    return _stored(features_body(row, names), f"/v1/features/{name}")


@router.get("/v1/sentiment/{instrument}", response_model=SentimentAnswer, tags=["sentiment"])
async def sentiment(state: State, instrument: str, window: Window | None = None) -> Response:
    """Return the latest aggregate. Default window: the one that rankings use."""
    name = resolve_instrument(instrument, state.universe())
    wanted = Window(window or state.config.ranking.sentiment_window).value
    now = state.clock.now_ns()
    rows = await state.read(lambda reader: reader.latest_aggregates(now))
    found = _newest([row for row in rows if (row.instrument, row.window) == (name, wanted)])
    if found is None:
        raise _no_data(f"no {wanted} sentiment of {name} is stored yet")
    return _stored(sentiment_body(found), f"/v1/sentiment/{name}")


def _exchange(state: ServingState, instrument: str, asked: str | None) -> str:
    listing = state.exchanges(instrument)
    if asked is None and listing:
        return listing[0]
    if asked is None or asked.lower() not in listing:
        known = ", ".join(listing) or "none"
        raise bad_parameter(
            "exchange", f"{asked} does not list {instrument}; those that do: {known}"
        )
    return asked.lower()


def _newest(rows: list[SentimentAggregate]) -> SentimentAggregate | None:
    return max(rows, key=lambda row: row.as_of, default=None)


def _no_data(detail: str) -> Problem:
    return Problem(404, "no-data", detail)


def _stored(body: object, location: str | None = None) -> Response:
    headers = {"Cache-Control": "no-store"}
    if location is not None:
        headers["Content-Location"] = location
    return Response(msgspec.json.encode(body), headers=headers, media_type=JSON)
