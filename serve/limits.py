"""What a request's body may be, decided before any of it is parsed."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.problems import Problem, render

MAX_BODY_BYTES = 1024 * 1024


class BodyLimits:
    """ASGI middleware: refuses bodies over `MAX_BODY_BYTES`, and those that cannot be JSON.

    A body without a declared length is counted while it arrives, so that memory is bounded
    either way.

    Parameters
    ----------
    app
        The application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        problem, body = await self._read(Headers(scope=scope), receive)
        if problem is not None:
            await render(problem, scope["path"])(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, headers: Headers, receive: Receive) -> tuple[Problem | None, bytes]:
        too_large = Problem(
            413, "body-too-large", f"the body is larger than {MAX_BODY_BYTES:,} bytes"
        )
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
            return too_large, b""
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                return too_large, b""
            if not message.get("more_body", False):
                return _wrong_kind(headers, bytes(body)) or _unreadable(body), bytes(body)


def _wrong_kind(headers: Headers, body: bytes) -> Problem | None:
    """Refuse a body that does not say it is JSON; without a body there is nothing to say."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body or kind == "application/json":
        return None
    detail = f"send the body as Content-Type: application/json (given {kind[:60]!r})"
    return Problem(415, "not-json", detail)


def _unreadable(body: bytearray) -> Problem | None:
    """Refuse bytes that are no text: JSON is UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        detail = f"the body is not JSON: it is not UTF-8 at byte {error.start}"
        return Problem(400, "bad-json", detail)
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body as one message, then whatever comes (a disconnect)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
