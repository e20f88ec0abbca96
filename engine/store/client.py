"""One way to talk to the store, whichever home it has."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import clickhouse_connect
import msgspec
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import (
    ClickHouseError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)

from engine.errors import StoreError, StoreQueryError, StoreUnavailable
from engine.store.endpoint import StoreEndpoint
from engine.store.tables import table_named

UNKNOWN_DATABASE = 81
TRANSIENT_CODES = frozenset({159, 202, 209, 210, 241, 242, 243, 252, 319, 394, 425})
"""Codes after which the same statement may succeed: time-outs, too many queries or parts,
memory, space, a table that is read-only for a while, a cancelled query."""

INSERT_SETTINGS: Mapping[str, str | int] = {
    # An asynchronous insert ignores the deduplication token and may be lost.
    "async_insert": 0,
    # A backfill may touch more partitions in one batch than the default of 100.
    "max_partitions_per_insert_block": 0,
    # A retried batch must not inflate what materialized views derive from it.
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}

Parameters = Mapping[str, Any]


class Store:
    """The store's client. It connects when first used and may be shared between threads.

    Parameters
    ----------
    endpoint
        Where the store is.
    connect_timeout_s, timeout_s
        Longest wait for a connection and for an answer, seconds.

    Examples
    --------
    >>> store = Store(endpoint)                                         # doctest: +SKIP
    >>> store.query_arrow("SELECT {n:UInt8} AS n", {"n": 1})            # doctest: +SKIP
    """

    def __init__(
        self, endpoint: StoreEndpoint, connect_timeout_s: int = 5, timeout_s: int = 120
    ) -> None:
        self.endpoint = endpoint
        self._timeouts = (connect_timeout_s, timeout_s)
        self._client: Client | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Store], tuple[StoreEndpoint, int, int]]:
        return type(self), (self.endpoint, *self._timeouts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ping(self) -> bool:
        """Whether the store answers a query now."""
        try:
            self.command("SELECT 1")
        except StoreError:
            return False
        return True

    def command(self, sql: str, parameters: Parameters | None = None) -> str:
        """Run a statement and return its first value as text (empty where it has none).

        Raises
        ------
        StoreUnavailable
            Where the store gives no answer.
        StoreQueryError
            Where the database refuses.
        """
        with self._asking() as client:
            answer = client.command(sql, parameters=dict(parameters or {}))
        if isinstance(answer, str | int):
            return str(answer)
        return str(answer[0]) if isinstance(answer, Sequence) and answer else ""

    def query_arrow(self, sql: str, parameters: Parameters | None = None) -> pa.Table:
        """Run a query and return its rows; times are ``timestamp[ns, UTC]``.

        Parameters
        ----------
        sql
            The query; values go in as ``{name:Type}``.
        parameters
            Their values.

        Raises
        ------
        StoreUnavailable
            Where the store gives no answer.
        StoreQueryError
            Where the database refuses.
        """
        with self._asking() as client:
            return client.query_arrow(sql, parameters=dict(parameters or {}), use_strings=True)

    def query_raw(self, sql: str, form: str, parameters: Parameters | None = None) -> bytes:
        """Run a query and return its answer in a ClickHouse format (``JSON``, ``CSVWithNames``)."""
        with self._asking() as client:
            answer = client.raw_query(sql, parameters=dict(parameters or {}), fmt=form)
        return bytes(answer)

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str | None = None) -> int:
        """Write rows into a table and return how many; when it returns, they are kept.

        Parameters
        ----------
        table
            One of `engine.store.tables.TABLES`.
        rows
            All of that table's struct.
        token
            Deduplication token: of two inserts with the same token, one counts. Make it from
            the content (`engine.store.tables.content_token`), or other rows are lost.

        Raises
        ------
        StoreUnavailable
            Where there is no answer: repeat with the same token.
        StoreQueryError
            Where the database refuses the rows.
        """
        if not rows:
            return 0
        return self.insert_arrow(table, table_named(table).to_arrow(rows), token)

    def insert_arrow(self, table: str, rows: pa.Table, token: str | None = None) -> int:
        """Write Arrow rows into a table; see `insert`."""
        if not rows.num_rows:
            return 0
        settings = dict(INSERT_SETTINGS)
        if token is not None:
            settings["insert_deduplication_token"] = token
        with self._asking() as client:
            client.insert_arrow(table, rows, settings=settings)
        return int(rows.num_rows)

    def create_database(self) -> None:
        """Make the endpoint's database where it is missing."""
        with self._translated(), contextlib.closing(self._connect("default")) as client:
            client.command("CREATE DATABASE IF NOT EXISTS {name:Identifier}", {"name": self._name})

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    @property
    def _name(self) -> str:
        return self.endpoint.database

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Client]:
        with self._translated():
            with self._lock:
                if self._client is None:
                    self._client = self._connect(self._name)
                client = self._client
            yield client

    def _connect(self, database: str) -> Client:
        connect_s, answer_s = self._timeouts
        endpoint = self.endpoint
        return clickhouse_connect.get_client(
            host=endpoint.host,
            port=endpoint.port,
            username=endpoint.username,
            password=endpoint.password,
            database=database,
            secure=endpoint.secure,
            connect_timeout=connect_s,
            send_receive_timeout=answer_s,
            compress=endpoint.host not in ("127.0.0.1", "::1", "localhost"),
            # A session admits one query at a time; without one, threads may share the client.
            autogenerate_session_id=False,
            query_retries=0,
        )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ClickHouseError as error:
            raise self._explained(error) from error
        except OSError as error:
            raise StoreUnavailable(
                f"the store at {self.endpoint} does not answer: {error}"
            ) from error

    def _explained(self, error: ClickHouseError) -> StoreError:
        code = getattr(error, "code", None) or 0
        message = str(error).partition(" (for url ")[0]
        if code in TRANSIENT_CODES:
            return StoreUnavailable(f"the store at {self.endpoint} cannot answer now: {message}")
        if code == UNKNOWN_DATABASE:
            return StoreQueryError(f"database {self._name} is not there: run migrate", code)
        if code:
            return StoreQueryError(message, code)
        if isinstance(error, OperationalError | InterfaceError):
            return StoreUnavailable(f"the store at {self.endpoint} does not answer: {message}")
        if isinstance(error, ProgrammingError):
            return StoreQueryError(message)
        return StoreUnavailable(f"the store at {self.endpoint} answers with an error: {message}")
