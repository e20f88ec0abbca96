"""The embedded home as a stranger uses it: clickhouse-connect, blocking and asyncio."""

from __future__ import annotations

import concurrent.futures
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
import pandas as pd
import pyarrow as pa
import pytest
import pytest_asyncio
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from engine.store.embedded import EmbeddedStore

MAKE = """
CREATE OR REPLACE TABLE quotes
(
    id UInt32, name LowCardinality(String), price Nullable(Float64),
    at DateTime64(9, 'UTC'), tags Array(String)
)
ENGINE = MergeTree ORDER BY id
"""
NAMES = ["id", "name", "price", "at", "tags"]
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ROWS = [
    (1, "one", 0.1 + 0.2, NOON, ["a", "b"]),
    (2, "zwölf 🚀", None, NOON, []),
]
FRAME = pd.DataFrame(
    {
        "id": pd.array([1, 2], "uint32"),
        "name": ["one", "zwölf 🚀"],
        "price": [0.1 + 0.2, None],
        "at": pd.to_datetime([NOON, NOON]).as_unit("ns"),
        "tags": [["a", "b"], []],
    }
)
ARROW = pa.table(
    {
        "id": pa.array([1, 2], pa.uint32()),
        "name": ["one", "zwölf 🚀"],
        "price": pa.array([0.1 + 0.2, None]),
        "at": pa.array([NOON, NOON], pa.timestamp("ns", "UTC")),
        "tags": [["a", "b"], []],
    }
)


def _options(home: EmbeddedStore, **more: Any) -> dict[str, Any]:
    at = home.endpoint
    login = {"username": at.username, "password": at.password, "database": at.database}
    return {"host": at.host, "port": at.port, **login, **more}


@pytest.fixture
def client(home: EmbeddedStore) -> Iterator[Client]:
    client = clickhouse_connect.get_client(**_options(home))
    client.command(MAKE)
    yield client
    client.close()


@pytest_asyncio.fixture
async def awaited(home: EmbeddedStore) -> AsyncIterator[AsyncClient]:
    client = await clickhouse_connect.get_async_client(**_options(home))
    await client.command(MAKE)
    yield client
    await client.close()


def _stored(client: Client) -> list[tuple[Any, ...]]:
    answer = client.query("SELECT * FROM quotes ORDER BY id", tz_mode="aware")
    return [tuple(row) for row in answer.result_rows]


def test_client_connects_and_learns_the_server(client: Client) -> None:
    assert client.ping()
    assert int(str(client.server_version).split(".")[0]) >= 24
    assert client.command("SELECT timezone()") == "UTC"
    assert client.command("SELECT currentDatabase()") == "engine"


@pytest.mark.parametrize("compression", [False, "lz4", "zstd", "gzip"])
def test_rows_written_and_read_in_every_compression(
    home: EmbeddedStore, client: Client, compression: Any
) -> None:
    other = clickhouse_connect.get_client(**_options(home, compress=compression))
    other.insert("quotes", ROWS, column_names=NAMES)
    assert _stored(other) == ROWS
    wide = other.query("SELECT number, toString(number) FROM numbers(100000)")
    assert wide.row_count == 100_000
    assert wide.result_rows[-1] == (99_999, "99999")
    other.close()


def test_frames_and_arrow_written_and_read(client: Client) -> None:
    client.insert_df("quotes", FRAME)
    assert _stored(client) == ROWS
    frame = client.query_df("SELECT * FROM quotes ORDER BY id", tz_mode="aware")
    assert frame["at"].tolist() == [pd.Timestamp(NOON)] * 2
    assert frame["price"][0] == 0.1 + 0.2
    assert pd.isna(frame["price"][1])
    client.command("TRUNCATE TABLE quotes")
    assert client.insert_arrow("quotes", ARROW).written_rows == 2
    found = client.query_arrow("SELECT * FROM quotes ORDER BY id", use_strings=True)
    assert found.cast(ARROW.schema).to_pylist() == ARROW.to_pylist()


def test_streams_yield_every_row_once(client: Client) -> None:
    sql = "SELECT number FROM numbers(300000)"
    with client.query_row_block_stream(sql, settings={"max_block_size": 10_000}) as blocks:
        sizes = [len(block) for block in blocks]
    assert (len(sizes) > 1, sum(sizes)) == (True, 300_000)
    with client.query_rows_stream(sql) as rows:
        assert sum(row[0] for row in rows) == 300_000 * 299_999 // 2
    with client.query_df_stream(sql) as frames:
        assert sum(int(frame["number"].sum()) for frame in frames) == 300_000 * 299_999 // 2
    with client.query_arrow_stream(sql) as tables:
        assert sum(table.num_rows for table in tables) == 300_000


def test_parameters_and_settings_of_one_query(client: Client) -> None:
    sql = "SELECT {n:Int64}, {s:String}, {l:Array(String)}, {t:DateTime64(3, 'UTC')}"
    values = {"n": -5, "s": "it's \\ 'x'\n\t", "l": ["a'b", "c"], "t": NOON}
    answer = client.query(sql, parameters=values, tz_mode="aware")
    assert answer.result_rows == [(-5, "it's \\ 'x'\n\t", ["a'b", "c"], NOON)]
    asked = "SELECT getSetting('max_block_size')"
    usual = client.query(asked).result_rows
    assert client.query(asked, settings={"max_block_size": 4_321}).result_rows == [(4_321,)]
    assert client.query(asked).result_rows == usual


@pytest.mark.parametrize(
    ("sql", "code"),
    [("SELEC 1", 62), ("SELECT * FROM nowhere", 60), ("SELECT throwIf(1)", 395)],
)
def test_errors_carry_their_code(client: Client, sql: str, code: int) -> None:
    with pytest.raises(DatabaseError, match=rf"Code: {code}\."):
        client.command(sql)


def test_a_stream_that_fails_half_way_raises(client: Client) -> None:
    sql = "SELECT throwIf(number = 3000000) FROM numbers(4000000)"
    settings = {"max_block_size": 10_000}
    with (
        pytest.raises(Exception, match="395"),
        client.query_row_block_stream(sql, settings=settings) as blocks,
    ):
        for _ in blocks:
            pass


def test_a_refused_insert_leaves_nothing(client: Client) -> None:
    with pytest.raises(DatabaseError, match=r"Code: \d+"):
        client.raw_insert("quotes", insert_block=b'{"id": 1}\n{"id": x}\n', fmt="JSONEachRow")
    assert client.command("SELECT count() FROM quotes") == 0


def test_sessions_keep_settings(home: EmbeddedStore) -> None:
    client = clickhouse_connect.get_client(**_options(home, session_id="of-a-test"))
    client.command("SET max_block_size = 1234")
    assert client.command("SELECT getSetting('max_block_size')") == 1234
    client.close()


async def test_async_client_writes_and_reads_everything(awaited: AsyncClient) -> None:
    assert await awaited.ping()
    await awaited.insert("quotes", ROWS, column_names=NAMES)
    sql = "SELECT * FROM quotes ORDER BY id"
    assert (await awaited.query(sql, tz_mode="aware")).result_rows == ROWS
    assert (await awaited.query_df(sql))["id"].tolist() == [1, 2]
    found = await awaited.query_arrow(sql, use_strings=True)
    assert found.cast(ARROW.schema).to_pylist() == ARROW.to_pylist()
    await awaited.command("TRUNCATE TABLE quotes")
    await awaited.insert_df("quotes", FRAME)
    await awaited.insert_arrow("quotes", ARROW)
    assert await awaited.command("SELECT count() FROM quotes") == 4


async def test_async_client_streams_binds_and_raises(awaited: AsyncClient) -> None:
    total = 0
    async with await awaited.query_rows_stream("SELECT number FROM numbers(200000)") as rows:
        async for row in rows:
            total += row[0]
    assert total == 200_000 * 199_999 // 2
    answer = await awaited.query("SELECT {s:String}", parameters={"s": "a'b"})
    assert answer.result_rows == [("a'b",)]
    asked = await awaited.query(
        "SELECT getSetting('max_block_size')", settings={"max_block_size": 99}
    )
    assert asked.result_rows == [(99,)]
    with pytest.raises(DatabaseError, match=r"Code: 60\."):
        await awaited.query("SELECT * FROM nowhere")


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip"])
async def test_async_client_in_every_compression(
    home: EmbeddedStore, awaited: AsyncClient, compression: str
) -> None:
    options = _options(home, compress=compression)
    async with await clickhouse_connect.get_async_client(**options) as other:
        await other.insert("quotes", ROWS, column_names=NAMES)
        assert (await other.query("SELECT count() FROM quotes")).result_rows == [(2,)]


def test_readers_and_writers_at_the_same_time(home: EmbeddedStore, client: Client) -> None:
    """Four write, four read: a reader sees whole batches only, and the end is exact."""
    batches, size = 12, 500

    def write(writer: int) -> None:
        own = clickhouse_connect.get_client(**_options(home, autogenerate_session_id=False))
        for batch in range(batches):
            first = (writer * batches + batch) * size
            own.insert(
                "quotes",
                [(first + n, f"w{writer}", 1.0, NOON, []) for n in range(size)],
                column_names=NAMES,
            )
        own.close()

    def read() -> list[int]:
        own = clickhouse_connect.get_client(**_options(home, autogenerate_session_id=False))
        seen = [int(str(own.command("SELECT count() FROM quotes"))) for _ in range(20)]
        own.close()
        return seen

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        writing = [pool.submit(write, writer) for writer in range(4)]
        reading = [pool.submit(read) for _ in range(4)]
        for future in writing:
            future.result(60)
        seen = [future.result(60) for future in reading]
    assert all(count % size == 0 for counts in seen for count in counts)
    assert all(counts == sorted(counts) for counts in seen)
    total = 4 * batches * size
    answer = client.query("SELECT count(), uniqExact(id), sum(id) FROM quotes")
    assert answer.result_rows == [(total, total, total * (total - 1) // 2)]
