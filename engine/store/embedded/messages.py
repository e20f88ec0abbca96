"""Bodies in, answers out: what crosses HTTP, apart from what it means."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from aiohttp import BodyPartReader, web

from engine.store.embedded.encoding import Encoder, decoder
from engine.store.embedded.engine import Answer
from engine.store.embedded.failure import NOT_IMPLEMENTED, DatabaseFailure, refusal
from engine.store.embedded.joining import content_type
from engine.store.embedded.request import Ask

MAX_STATEMENT_BYTES = 64 * 1024 * 1024
"""Longest statement, data of an INSERT not counted."""
_HEAD_BYTES = 256 * 1024
"""How much is read before the data of an INSERT must have begun."""


async def ok(request: web.Request) -> web.Response:
    """Say that the store is there, as ClickHouse does."""
    return web.Response(text="Ok.\n", headers={"Content-Type": "text/html; charset=UTF-8"})


async def plain_body(request: web.Request) -> AsyncIterator[bytes]:
    """Yield a request's body, decoded.

    Raises
    ------
    DatabaseFailure
        Where it is not what its ``Content-Encoding`` says.
    """
    unpack = decoder(request.headers.get("Content-Encoding", ""))
    async for chunk in request.content.iter_any():
        plain = unpack.feed(chunk)
        if plain:
            yield plain
    unpack.finish()


async def form_fields(request: web.Request) -> dict[str, str]:
    """Return the fields of a form: parameters that are too long for an address.

    Clients send them so from a few kilobytes on. A request that is no form has none.

    Raises
    ------
    DatabaseFailure
        Where a part is a file: an external table.
    """
    if request.content_type != "multipart/form-data":
        return {}
    fields: dict[str, str] = {}
    size = 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or not part.name or part.filename is not None:
            raise refusal(
                NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                "external tables are not offered by the embedded store",
            )
        value = bytearray()
        while chunk := await part.read_chunk():
            size += len(chunk)
            if size > MAX_STATEMENT_BYTES:
                raise refusal(223, "QUERY_IS_TOO_LARGE", "the form is longer than 64 MiB")
            value += chunk
        fields[part.name] = value.decode()
    return fields


async def read_head(query: str, body: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """Read until the data of an INSERT must have begun, or the body ended."""
    head = bytearray(query.rstrip().encode())
    fresh = bool(head)
    async for chunk in body:
        if fresh:
            head += b"\n"
            fresh = False
        head += chunk
        if len(head) >= _HEAD_BYTES:
            return bytes(head), False
    return bytes(head), True


async def read_rest(body: AsyncIterator[bytes], size: int) -> bytes:
    """Return what follows the first `size` bytes of a statement.

    Raises
    ------
    DatabaseFailure
        Where the statement is longer than `MAX_STATEMENT_BYTES`.
    """
    rest = bytearray()
    async for chunk in body:
        rest += chunk
        if size + len(rest) > MAX_STATEMENT_BYTES:
            raise refusal(223, "QUERY_IS_TOO_LARGE", "the statement is longer than 64 MiB")
    return bytes(rest)


def answer_headers(ask: Ask, answer: Answer, form: str, encoding: str) -> dict[str, str]:
    """Return the headers of an answer: its format, its query id and what it cost."""
    summary = {
        "read_rows": answer.read_rows,
        "read_bytes": answer.read_bytes,
        "written_rows": answer.written_rows,
        "written_bytes": answer.written_bytes,
        "elapsed_ns": int(answer.elapsed_s * 1e9),
    }
    headers = {
        "Content-Type": content_type(form),
        "X-ClickHouse-Query-Id": ask.query_id,
        "X-ClickHouse-Format": form,
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Server-Display-Name": "engine",
        "X-ClickHouse-Summary": json.dumps({key: str(value) for key, value in summary.items()}),
    }
    return headers | {"Content-Encoding": encoding} if encoding else headers


def whole_answer(
    ask: Ask, answer: Answer, form: str, packer: Encoder, encoding: str
) -> web.Response:
    """Answer with a whole result at once."""
    encoding = encoding if answer.data else ""
    data = packer.compress(answer.data) + packer.flush() if encoding else answer.data
    return web.Response(body=data, headers=answer_headers(ask, answer, form, encoding))


def failed(failure: DatabaseFailure, query_id: str) -> web.Response:
    """Answer with an error, in ClickHouse's words and status."""
    headers = {
        "Content-Type": "text/plain; charset=UTF-8",
        "X-ClickHouse-Exception-Code": str(failure.code),
    }
    if query_id:
        headers["X-ClickHouse-Query-Id"] = query_id
    if failure.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
    return web.Response(status=failure.status, body=failure.body, headers=headers)


async def break_off(
    request: web.Request,
    response: web.StreamResponse,
    failure: DatabaseFailure,
    tag: str,
    packer: Encoder,
) -> None:
    """End a half-sent answer so that no client takes it for whole.

    The error goes in ClickHouse's own frame; then the connection closes without the last
    chunk, which every HTTP client reports.
    """
    size = len(failure.body)
    frame = (
        f"\r\n__exception__\r\n{tag}\r\n".encode()
        + failure.body
        + f"{size} {tag}\r\n__exception__\r\n".encode()
    )
    await response.write(packer.compress(frame) + packer.flush())
    if request.transport is not None:
        request.transport.close()
