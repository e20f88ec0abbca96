"""ClickHouse's HTTP protocol in front of chDB."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, web
from multidict import MultiDict

from engine.store.embedded.encoding import Encoder, Plain, encoder
from engine.store.embedded.engine import Answer, ChdbEngine, EngineConnection
from engine.store.embedded.execution import Execution
from engine.store.embedded.failure import (
    NOT_IMPLEMENTED,
    READONLY,
    SUPPORT_IS_DISABLED,
    SYNTAX_ERROR,
    DatabaseFailure,
    refusal,
)
from engine.store.embedded.joining import Joiner, joiner
from engine.store.embedded.messages import (
    MAX_STATEMENT_BYTES,
    answer_headers,
    break_off,
    failed,
    form_fields,
    ok,
    plain_body,
    read_head,
    read_rest,
    whole_answer,
)
from engine.store.embedded.request import Ask, Login, read_ask
from engine.store.embedded.sessions import Sessions
from engine.store.embedded.statement import Insert, Shape, find_insert, reads_outside, shape_of
from engine.store.endpoint import DEFAULT_DATABASE

_CHUNK_BYTES = 1024 * 1024
_BAD_REQUEST = (ValueError, UnicodeDecodeError)


class HttpInterface:
    """Answers requests; one per open store.

    Parameters
    ----------
    engine
        The open database.
    execution
        The threads that run it.
    login
        Who may ask.
    """

    def __init__(self, engine: ChdbEngine, execution: Execution, login: Login) -> None:
        self._engine = engine
        self._execution = execution
        self._login = login
        self._sessions = Sessions()

    def application(self) -> web.Application:
        """Return the routes: ``/``, ``/ping`` and ``/replicas_status``."""
        app = web.Application(client_max_size=MAX_STATEMENT_BYTES)
        app.router.add_get("/ping", ok)
        app.router.add_get("/replicas_status", ok)
        app.router.add_route("*", "/", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.method in ("GET", "HEAD") and "query" not in request.query:
            return await ok(request)
        query_id = ""
        try:
            ask = read_ask(self._login, request.headers, request.query, DEFAULT_DATABASE)
            query_id = ask.query_id
            # Who asks was checked: only now is a form read.
            if form := await form_fields(request):
                whole = MultiDict({**request.query, **form})
                ask = read_ask(self._login, request.headers, whole, DEFAULT_DATABASE)
            return await self._run(request, ask, form.get("query", ""))
        except DatabaseFailure as failure:
            return failed(failure, query_id)
        except _BAD_REQUEST as error:
            return failed(refusal(SYNTAX_ERROR, "SYNTAX_ERROR", str(error)), query_id)

    async def _run(self, request: web.Request, ask: Ask, form_query: str) -> web.StreamResponse:
        body = plain_body(request)
        head, ended = await read_head(request.query.get("query", "") + form_query, body)
        insert = find_insert(head)
        setup = self._sessions.statements(ask.session_id, ask.session_timeout_s)
        if insert is None:
            text = head if ended else head + await read_rest(body, len(head))
            return await self._statement(request, ask, setup, text)
        if ask.role == "viewer":
            raise _viewer_only_reads()
        connection = await self._connect(ask, setup)
        try:
            answer = await self._insert(ask, connection, insert, head, body)
        finally:
            await self._close(ask, connection)
        return whole_answer(ask, answer, "TabSeparated", Plain(), "")

    async def _insert(
        self,
        ask: Ask,
        connection: EngineConnection,
        insert: Insert,
        head: bytes,
        body: AsyncIterator[bytes],
    ) -> Answer:
        call = self._execution.call
        await call(ask.query_id, connection.open_insert, insert.statement, insert.format)
        pending = bytearray(head[insert.data_offset :])
        async for chunk in body:
            pending += chunk
            if len(pending) >= _CHUNK_BYTES:
                await call(ask.query_id, connection.append, bytes(pending))
                pending.clear()
        if pending:
            await call(ask.query_id, connection.append, bytes(pending))
        return await call(ask.query_id, connection.finish_insert)

    async def _statement(
        self, request: web.Request, ask: Ask, setup: tuple[str, ...], text: bytes
    ) -> web.StreamResponse:
        shape = shape_of(text)
        statement = text.decode()
        self._check(ask, shape, statement)
        form = shape.format or ask.default_format
        name, packer = (
            encoder(request.headers.get("Accept-Encoding", "")) if ask.compress else ("", Plain())
        )
        # HTTP/1.0 knows no chunks: what breaks off there would look whole.
        streams = shape.verb in ("SELECT", "WITH") and request.version >= HttpVersion11
        joining = joiner(form) if streams else None
        connection = await self._connect(ask, setup)
        try:
            if joining is not None:
                return await self._streamed(
                    request, ask, connection, statement, form, joining, name, packer
                )
            answer = await self._execution.call(ask.query_id, connection.query, statement, form)
        finally:
            await self._close(ask, connection)
        if ask.session_id and shape.verb in ("SET", "USE"):
            self._sessions.remember(ask.session_id, ask.session_timeout_s, statement)
        return whole_answer(ask, answer, form, packer, name)

    def _check(self, ask: Ask, shape: Shape, statement: str) -> None:
        if not shape.verb:
            raise refusal(SYNTAX_ERROR, "SYNTAX_ERROR", "Empty query")
        if shape.touches_files:
            raise refusal(
                SUPPORT_IS_DISABLED,
                "SUPPORT_IS_DISABLED",
                "INTO OUTFILE and FROM INFILE are not allowed over HTTP",
            )
        if shape.temporary:
            raise refusal(
                NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                "temporary tables are not kept by the embedded store's sessions",
            )
        count = self._engine.statement_count(statement)
        if count > 1:
            raise refusal(SYNTAX_ERROR, "SYNTAX_ERROR", "Multi-statements are not allowed")
        if ask.role != "viewer":
            return
        if reads_outside(statement):
            raise refusal(
                READONLY,
                "READONLY",
                "viewer: no statement may hold the words file, python, eval or Identifier, or a "
                "backslash beside quoted names; bind such values as {name:String}",
            )
        # What does not parse goes on, read-only: the database says best where it is wrong.
        if count and not self._engine.is_read_only(statement):
            raise _viewer_only_reads()

    async def _streamed(
        self,
        request: web.Request,
        ask: Ask,
        connection: EngineConnection,
        statement: str,
        form: str,
        joining: Joiner,
        name: str,
        packer: Encoder,
    ) -> web.StreamResponse:
        def step() -> tuple[bytes, bool]:
            chunk, rows = connection.fetch()
            data = joining.add(chunk) if rows or chunk else b""
            if rows:
                return packer.compress(data), False
            return packer.compress(data + joining.finish()) + packer.flush(), True

        call = self._execution.call
        await call(ask.query_id, connection.open_stream, statement, form)
        data, ended = await call(ask.query_id, step)
        tag = secrets.token_hex(8)
        headers = answer_headers(ask, Answer(b""), form, name) | {"X-ClickHouse-Exception-Tag": tag}
        if ended:
            return web.Response(body=data, headers=headers)
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            await response.write(data)
            while not ended:
                data, ended = await call(ask.query_id, step)
                await response.write(data)
        except DatabaseFailure as failure:
            await break_off(request, response, failure, tag, packer)
            return response
        await response.write_eof()
        return response

    async def _connect(self, ask: Ask, setup: tuple[str, ...]) -> EngineConnection:
        return await self._execution.call(
            ask.query_id, self._engine.connection, ask.database, ask.settings, setup
        )

    async def _close(self, ask: Ask, connection: EngineConnection) -> None:
        # Shielded: the connection must be closed even where the client has gone.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, connection.close))


def _viewer_only_reads() -> DatabaseFailure:
    return refusal(READONLY, "READONLY", "viewer: Cannot execute query in readonly mode")
