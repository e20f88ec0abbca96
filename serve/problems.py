"""Errors over HTTP: RFC 9457 problem details, one shape for all of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from engine.errors import BusError, SentimentUnavailable, StoreQueryError, StoreUnavailable

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:signal-engine:problem:"
RETRY_AFTER_S = 2

_PARTS: tuple[tuple[type[Exception], str], ...] = (
    (BusError, "bus"),
    (SentimentUnavailable, "sentiment"),
)
_SPOKEN = {
    "bus": "bus does",
    "sentiment": "replicas that read texts do",
    "store": "store does",
}

_log = logging.getLogger("engine.serve")


class Problem(Exception):
    """An answer other than success.

    Parameters
    ----------
    status
        HTTP status, 400 to 599.
    kind
        Stable short name, the end of the problem's ``type``; docs/api.md lists them.
    detail
        One clear sentence: what was wrong, and what to do.
    members
        Further members of the problem (``near``, ``errors``, …).
    headers
        Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.members = dict(members or {})
        self.headers = dict(headers or {})


def bad_parameter(name: str, detail: str, *, place: str = "query") -> Problem:
    """Make the 422 that names a parameter."""
    error = {"in": place, "name": name, "detail": detail}
    return Problem(422, "bad-parameter", f"{name}: {detail}", members={"errors": [error]})


def render(problem: Problem, path: str) -> Response:
    """Turn a problem into its answer.

    Parameters
    ----------
    problem
        What went wrong.
    path
        Path of the request, the problem's ``instance``.
    """
    body = {
        "type": TYPE_PREFIX + problem.kind,
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
        **problem.members,
    }
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(msgspec.json.encode(body), problem.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(StoreUnavailable, _on_unavailable)
    app.add_exception_handler(BusError, _on_unavailable)
    app.add_exception_handler(SentimentUnavailable, _on_unavailable)
    app.add_exception_handler(StoreQueryError, _on_internal)
    app.add_exception_handler(Exception, _on_internal)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class alone
    return render(error, request.url.path)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    faults = error.errors()
    if faults[0]["type"] == "json_invalid":
        reason = faults[0].get("ctx", {}).get("error", "not valid")
        offset = faults[0]["loc"][-1]
        detail = f"the body is not JSON: {reason} at character {offset}"
        return render(Problem(400, "bad-json", detail), request.url.path)
    errors = [_fault(fault) for fault in faults]
    detail = "; ".join(f"{e['name']}: {e['detail']}" for e in errors)
    problem = Problem(422, "bad-parameter", detail, members={"errors": errors})
    return render(problem, request.url.path)


def _fault(fault: dict[str, Any]) -> dict[str, str]:
    place, *path = fault["loc"]
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    message = str(fault["msg"]).removeprefix("Value error, ")
    given = fault.get("input")
    if isinstance(given, str | int | float) and place != "body":
        message += f" (given {str(given)[:80]!r})"
    return {"in": str(place), "name": name or "body", "detail": message}


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    path = request.url.path
    if error.status_code == 404:
        detail = f"there is nothing at {path}; GET /docs lists what there is"
        return render(Problem(404, "unknown-route", detail), path)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = headers.get("Allow", headers.get("allow", ""))
        detail = f"{request.method} is not possible at {path}; allowed: {allowed}"
        return render(Problem(405, "method-not-allowed", detail, headers=headers), path)
    problem = Problem(error.status_code, "http", str(error.detail), headers=headers)
    return render(problem, path)


async def _on_unavailable(request: Request, error: Exception) -> Response:
    _log.warning("%s %s: %s", request.method, request.url.path, error)
    part = next((name for kind, name in _PARTS if isinstance(error, kind)), "store")
    problem = Problem(
        503,
        f"{part}-unavailable",
        f"the {_SPOKEN[part]} not answer just now; try again shortly",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
    return render(problem, request.url.path)


async def _on_internal(request: Request, error: Exception) -> Response:
    # The trace goes to the log, never to the client.
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = "the engine failed to answer; its log says why"
    return render(Problem(500, "internal", detail), request.url.path)
