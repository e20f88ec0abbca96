"""Routes answered from memory: health, status, rankings and single signals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from engine.clock import NS_PER_MS, iso_utc
from engine.domain.signal import Direction
from engine.domain.timeframe import Timeframe
from engine.errors import BusError, SentimentUnavailable
from serve.parameters import resolve_instrument
from serve.problems import RETRY_AFTER_S, Problem, bad_parameter
from serve.render import Page, RenderedRanking
from serve.schemas import HealthAnswer, RankingAnswer, SignalAnswer, StatusAnswer
from serve.state import ServingState
from serve.version import VERSION

router = APIRouter()

MAX_SIGNALS = 1000
DEFAULT_SIGNALS = 100
JSON = "application/json"
VERSIONS_TIMEOUT_S = 0.5
"""How long `/v1/status` waits for the models' versions."""


async def serving(request: Request) -> ServingState:
    """Return the state that the application was made with.

    Asynchronous though it waits for nothing: FastAPI runs others in a thread, for each request.
    """
    state: ServingState = request.app.state.serving
    return state


State = Annotated[ServingState, Depends(serving)]
RankedTimeframe = Annotated[
    Timeframe | None, Query(description="Default: the configuration's `ranking.timeframe`.")
]


@router.get("/healthz", response_model=HealthAnswer, tags=["engine"])
async def healthz(state: State) -> Response:
    """Say that this replica lives, and whether it has a ranking yet. Always 200."""
    status = "ok" if state.rankings else "starting"
    return _fresh({"status": status, "version": VERSION})


@router.get("/v1/status", response_model=StatusAnswer, tags=["engine"])
async def status(state: State) -> Response:
    """Say what the engine does, as its supervisor last reported, and what this replica holds."""
    try:
        report, bus = await state.bus.latest_status(), "connected"
    except BusError:
        report, bus = None, "unavailable"
    now = state.clock.now_ns()
    held = [
        {
            "timeframe": ranking.timeframe,
            "as_of": iso_utc(ranking.as_of),
            "age_ms": (now - ranking.as_of) // NS_PER_MS,
            "sequence": ranking.sequence,
            "signals": len(ranking.signals),
            "is_closed_bar": ranking.is_closed_bar,
        }
        for ranking in (state.rankings[name].ranking for name in sorted(state.rankings))
    ]
    return _fresh(
        {
            "time": iso_utc(now),
            "version": VERSION,
            "bus": bus,
            "rankings": held,
            "sentiment": await _sentiment(state),
            "engine": report,
        }
    )


async def _sentiment(state: ServingState) -> dict[str, object]:
    """Say which models read texts; those that do not answer soon are not waited for."""
    try:
        async with asyncio.timeout(VERSIONS_TIMEOUT_S):
            models = await state.scoring.versions()
    except (SentimentUnavailable, TimeoutError):
        models = {}
    return {
        "model": state.config.sentiment.model,
        "models": models,
        "replicas": list(state.scoring.replicas),
    }


@router.get("/v1/signals", response_model=RankingAnswer, tags=["signals"])
async def signals(
    *,
    request: Request,
    state: State,
    limit: Annotated[int, Query(ge=1, le=MAX_SIGNALS)] = DEFAULT_SIGNALS,
    min_confidence: Annotated[float, Query(ge=0.0, le=1.0)] = 0.0,
    direction: Direction | None = None,
    timeframe: RankedTimeframe = None,
) -> Response:
    """Return the latest ranking, best first, with an ETag that changes when it does."""
    held = held_ranking(state, timeframe)
    if min_confidence == 0.0 and direction is None:
        return _revalidated(request, held.page(limit))
    return _revalidated(request, held.filtered(limit, min_confidence, direction))


@router.get("/v1/signals/{instrument}", response_model=SignalAnswer, tags=["signals"])
async def signal(
    request: Request, state: State, instrument: str, timeframe: RankedTimeframe = None
) -> Response:
    """Return one instrument's signal in the latest ranking."""
    name = resolve_instrument(instrument, state.universe())
    held = held_ranking(state, timeframe)
    page = held.signal(name)
    if page is None:
        raise _not_ranked(name, held)
    return _revalidated(request, page, location=f"/v1/signals/{name}")


def ranked_timeframe(state: ServingState, timeframe: Timeframe | None) -> Timeframe:
    """Return the timeframe asked for or the default; 422 where it has no rankings."""
    chosen = timeframe or state.config.ranking.timeframe
    return known_timeframe(chosen, state.config.features.timeframes)


def known_timeframe(chosen: Timeframe, known: Sequence[Timeframe]) -> Timeframe:
    """Return `chosen` if it is among the `known`; 422 naming them where it is not."""
    if chosen not in known:
        raise bad_parameter(
            "timeframe", f"{chosen} is not computed here; known: {', '.join(known)}"
        )
    return chosen


def held_ranking(state: ServingState, timeframe: Timeframe | None) -> RenderedRanking:
    """Return the ranking in memory; 503 before the first."""
    chosen = ranked_timeframe(state, timeframe)
    held = state.rankings.get(chosen.value)
    if held is None:
        raise Problem(
            503,
            "no-ranking-yet",
            f"there is no {chosen} ranking yet; the engine is still starting",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )
    return held


def _not_ranked(name: str, held: RenderedRanking) -> Problem:
    base = name.partition("-")[0]
    near = [s.instrument for s in held.ranking.signals if s.instrument.split("-")[0] == base]
    hint = f"; its base currency is ranked as {near[0]}" if near else "; it lacks features so far"
    timeframe = held.ranking.timeframe
    detail = f"{name} is listed but not in the latest {timeframe} ranking{hint}"
    return Problem(404, "not-ranked", detail, members={"near": near})


def _fresh(body: object) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(body), headers=headers, media_type=JSON)


def _revalidated(request: Request, page: Page, location: str | None = None) -> Response:
    """Answer with a page, or 304 where the client already has it."""
    headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
    if location is not None:
        headers["Content-Location"] = location
    known = request.headers.get("if-none-match")
    if known is not None and _matches(known, page.etag):
        return Response(status_code=304, headers=headers)
    return Response(page.body, headers=headers, media_type=JSON)


def _matches(known: str, etag: str) -> bool:
    tags = (tag.strip().removeprefix("W/") for tag in known.split(","))
    return known.strip() == "*" or etag in tags
