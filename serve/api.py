"""The HTTP API. Knows nothing of Ray: `create_api` makes an ASGI application from a state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from serve import (
    data_routes,
    documentation,
    problems,
    ranking_routes,
    sentiment_event_routes,
    sentiment_routes,
)
from serve.limits import BodyLimits
from serve.parameters import refuse_unknown_parameters
from serve.schemas import ProblemAnswer
from serve.state import ServingState
from serve.version import VERSION

_DESCRIPTION = """Ranked, explained crypto market signals, and the data behind them.

Times are ISO-8601 UTC. Errors are `application/problem+json` (RFC 9457).
"""


def create_api(state: ServingState) -> FastAPI:
    """Make the application that answers from `state`.

    Parameters
    ----------
    state
        What it answers from. It follows the bus for as long as the application's lifespan.
    """
    problem = {
        "model": ProblemAnswer,
        "content": {problems.MEDIA_TYPE: {}},
        "description": "Problem details (RFC 9457)",
    }

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with state.running():
            yield

    app = FastAPI(
        lifespan=lifespan,
        title="signal engine",
        version=VERSION,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(refuse_unknown_parameters)],
        responses={"default": problem, 422: problem},
        redirect_slashes=False,
    )
    app.state.serving = state
    app.include_router(ranking_routes.router)
    # Before the data: /v1/sentiment/events is no instrument.
    app.include_router(sentiment_event_routes.router)
    app.include_router(data_routes.router)
    app.include_router(sentiment_routes.router)
    documentation.install(app)
    problems.install(app)
    app.add_middleware(BodyLimits)
    return app
