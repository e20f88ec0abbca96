"""Routes that read texts, and that say what the models and their cache do."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Response

from engine.domain.instrument import Instrument
from engine.errors import ConfigError, InstrumentError
from engine.sentiment.reading import TextQuery
from serve.parameters import near_instruments
from serve.problems import Problem, bad_parameter
from serve.ranking_routes import JSON, State
from serve.sentiment_schemas import (
    MAX_EXPLAINED,
    ClearedAnswer,
    ReloadAnswer,
    ReloadRequest,
    TextsAnswer,
    TextsRequest,
)
from serve.state import ServingState

router = APIRouter(tags=["sentiment"])


@router.post("/v1/sentiment", response_model=TextsAnswer)
async def score_texts(state: State, request: TextsRequest) -> Response:
    """Read texts: score, probabilities, label, language, and a score for each instrument.

    A text that cannot be read (blank, a bare link, another language) is answered with nulls.
    """
    if request.explain and len(request.texts) > MAX_EXPLAINED:
        raise bad_parameter(
            "explain",
            f"words are explained for {MAX_EXPLAINED} texts at most (given {len(request.texts)}); "
            "send fewer texts, or leave explain out",
            place="body",
        )
    model = _known_model(state, request.model)
    instrument = _canonical(state, request.instrument)
    found = await state.scoring.read(
        model, [TextQuery(text, instrument, request.explain) for text in request.texts]
    )
    return _answer(found.body())


@router.delete("/v1/sentiment/cache", response_model=ClearedAnswer)
async def clear_cache(state: State) -> Response:
    """Drop every reading that the bus keeps, and say how many there were."""
    return _answer({"dropped": await state.scoring.clear()})


@router.post("/v1/sentiment/reload", response_model=ReloadAnswer)
async def reload_model(state: State, request: ReloadRequest | None = None) -> Response:
    """Load a model anew in every replica, one after the other; requests are answered meanwhile."""
    model = _known_model(state, request.model if request else None)
    try:
        found = await state.scoring.reload(model)
    except ConfigError as error:
        detail = f"{model} cannot be loaded anew, the one before stays: {error}"
        raise Problem(409, "model-not-loaded", detail) from None
    replicas = [
        {"replica": name, "before": each.before, "after": each.after}
        for name, each in found.items()
    ]
    return _answer({"model": model, "replicas": replicas})


def _known_model(state: ServingState, asked: str | None) -> str:
    """Return the model to ask, by its name in the configuration; 422 where it is not loaded."""
    served = state.config.sentiment.served
    if asked is None:
        return served[0]
    if asked not in served:
        raise bad_parameter(
            "model",
            f"{asked[:60]!r} is not loaded; loaded: {', '.join(served)} "
            "(sentiment.models in the configuration adds more)",
            place="body",
        )
    return asked


def _canonical(state: ServingState, asked: str | None) -> str | None:
    """Return the canonical name of an instrument, known here or not; 422 where it is none."""
    if asked is None:
        return None
    try:
        return str(Instrument.parse(asked.upper()))
    except InstrumentError as error:
        near = near_instruments(asked.upper(), list(state.universe()))
        hint = f"; did you mean {near[0]}?" if near else ""
        raise bad_parameter("instrument", f"{error}{hint}", place="body") from None


def _answer(body: object) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(body), headers=headers, media_type=JSON)
