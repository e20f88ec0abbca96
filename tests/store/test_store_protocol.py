"""The embedded home's HTTP as curl sees it: statements, formats, encodings, errors, users."""

from __future__ import annotations

import gzip
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import lz4.frame
import pytest
import zstandard

from engine.store.embedded import EmbeddedStore


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> int:
        return int(self.headers["x-clickhouse-exception-code"])


def curl(
    home: EmbeddedStore,
    path: str = "/",
    *options: str,
    body: bytes | None = None,
    user: str | None = None,
    **query: str,
) -> Reply:
    """Ask by curl; the statement is ``query=``, the data ``body=``."""
    at = home.endpoint
    login = user if user is not None else f"{at.username}:{at.password}"
    url = f"http://{at.host}:{at.port}{path}" + (f"?{urlencode(query)}" if query else "")
    command = ["curl", "-sS", "-i", "-H", "Expect:", *options]
    if login:
        command += ["-u", login]
    if body is not None:
        command += ["--data-binary", "@-"]
    answer = subprocess.run(
        [*command, url], input=body, capture_output=True, check=True, timeout=30
    ).stdout
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return Reply(int(first.split()[1]), {k.lower(): v for k, v in pairs}, rest)


@pytest.mark.parametrize("path", ["/ping", "/replicas_status", "/"])
def test_health_paths_answer_ok_without_login(home: EmbeddedStore, path: str) -> None:
    reply = curl(home, path, user="")
    assert (reply.status, reply.body) == (200, b"Ok.\n")
    head = curl(home, path, "-I", user="")
    assert (head.status, head.body) == (200, b"")


def test_get_answers_in_the_format_asked_for(home: EmbeddedStore) -> None:
    assert curl(home, query="SELECT 1, 'a'").body == b"1\ta\n"
    assert curl(home, query="SELECT 1 AS x", default_format="JSONEachRow").body == b'{"x":1}\n'
    reply = curl(home, "/", "-H", "X-ClickHouse-Format: CSV", query="SELECT 'a'")
    assert (reply.body, reply.headers["x-clickhouse-format"]) == (b'"a"\n', "CSV")
    reply = curl(home, query="SELECT 7 AS x FORMAT JSON", default_format="CSV")
    assert json.loads(reply.body)["data"] == [{"x": 7}]
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    assert curl(home, query="SELECT version(), timezone()").body.endswith(b"\tUTC\n")


def test_statement_may_come_in_the_url_the_body_or_both(home: EmbeddedStore) -> None:
    assert curl(home, body=b"SELECT 2").body == b"2\n"
    assert curl(home, body=b"+ 1", query="SELECT 2").body == b"3\n"


def test_head_of_a_query_has_no_body(home: EmbeddedStore) -> None:
    reply = curl(home, "/", "-I", query="SELECT 1")
    assert (reply.status, reply.body) == (200, b"")


def test_parameters_are_bound_as_values(home: EmbeddedStore) -> None:
    text = "it's \\' OR 1=1 --"
    reply = curl(
        home,
        query="SELECT {n:UInt8} + 1, {s:String}, {l:Array(String)}",
        param_n="41",
        param_s=text.replace("\\", "\\\\"),
        param_l="['a','b']",
        default_format="JSONCompactEachRow",
    )
    assert json.loads(reply.body) == [42, text, ["a", "b"]]


def test_fields_of_a_form_count_like_those_of_the_url(home: EmbeddedStore) -> None:
    names = [f"asset{number}" for number in range(2000)]
    form = ["-F", f"param_l={names}", "-F", "query=SELECT length({l:Array(String)}), {s:String}"]
    reply = curl(home, "/", *form, param_s="it's", default_format="JSONCompactEachRow")
    assert json.loads(reply.body) == [2000, "it's"]
    alone = curl(home, "/", "-F", "param_n=41", query="SELECT {n:UInt8} + 1")
    assert alone.body == b"42\n"
    viewer = curl(
        home, "/", "-F", "readonly=0", user=f"viewer:{home.viewer.password}", query="SELECT 1"
    )
    assert (viewer.status, viewer.code) == (500, 164)
    stranger = curl(home, "/", "-F", "param_n=1", user="engine:wrong", query="SELECT {n:UInt8}")
    assert (stranger.status, stranger.code) == (403, 516)


def test_external_tables_are_said_to_be_missing(home: EmbeddedStore, tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("1\n")
    table = ["-F", "ids_structure=id UInt8", "-F", f"ids=@{tmp_path / 'rows.tsv'}"]
    reply = curl(home, "/", *table, query="SELECT * FROM ids")
    assert (reply.status, reply.code) == (501, 48)
    assert b"external tables are not offered by the embedded store" in reply.body


def test_settings_last_for_one_request_or_for_a_session(home: EmbeddedStore) -> None:
    value = "SELECT getSetting('max_block_size')"
    usual = curl(home, query=value).body
    assert curl(home, query=value, max_block_size="777").body == b"777\n"
    assert curl(home, query=value).body == usual
    assert curl(home, body=b"SET max_block_size = 778", session_id="s1").status == 200
    assert curl(home, query=value, session_id="s1").body == b"778\n"
    assert curl(home, query=value, session_id="s2").body == usual


def test_answers_say_what_they_cost_and_whose_query_it_was(home: EmbeddedStore) -> None:
    reply = curl(home, query="SELECT 1", query_id="mine-1")
    assert reply.headers["x-clickhouse-query-id"] == "mine-1"
    assert reply.headers["x-clickhouse-timezone"] == "UTC"
    curl(home, body=b"CREATE OR REPLACE TABLE cost (a Int8) ENGINE = Memory")
    reply = curl(home, body=b"1\n2\n3\n", query="INSERT INTO cost FORMAT TSV")
    assert json.loads(reply.headers["x-clickhouse-summary"])["written_rows"] == "3"


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("TSV", b"1\tone\n2\ttwo\n"),
        ("CSV", b'1,"one"\n2,"two"\n'),
        ("JSONEachRow", b'{"id":1,"name":"one"}\n{"id":2,"name":"two"}\n'),
        ("Values", b"(1,'one'),(2,'two')"),
    ],
)
def test_inserts_take_data_after_the_statement_or_alone(
    home: EmbeddedStore, form: str, data: bytes
) -> None:
    curl(home, body=b"CREATE OR REPLACE TABLE pairs (id UInt8, name String) ENGINE = Memory")
    statement = "INSERT INTO pairs " + ("VALUES" if form == "Values" else f"FORMAT {form}")
    assert curl(home, body=data, query=statement).status == 200
    assert curl(home, body=statement.encode() + b"\n" + data).status == 200
    rows = curl(home, query="SELECT id, name, count() FROM pairs GROUP BY 1, 2 ORDER BY 1").body
    assert rows == b"1\tone\t2\n2\ttwo\t2\n"


_PACK = {"gzip": gzip.compress, "zstd": zstandard.compress, "lz4": lz4.frame.compress}
_UNPACK = {
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "lz4": lz4.frame.decompress,
}


@pytest.mark.parametrize("name", sorted(_PACK))
def test_bodies_and_answers_travel_compressed(home: EmbeddedStore, name: str) -> None:
    wide = b"SELECT number, repeat('x', 100) FROM numbers(20000)"
    request = curl(home, "/", "-H", f"Content-Encoding: {name}", body=_PACK[name](wide))
    assert request.status == 200
    assert request.body.count(b"\n") == 20_000
    accept = ("-H", f"Accept-Encoding: {name}")
    reply = curl(home, "/", *accept, body=wide, enable_http_compression="1")
    assert reply.headers["content-encoding"] == name
    assert len(reply.body) < len(request.body) / 5
    assert _UNPACK[name](reply.body) == request.body
    assert "content-encoding" not in curl(home, "/", *accept, body=b"SELECT 1").headers


def test_a_broken_body_is_refused_with_what_is_wrong(home: EmbeddedStore) -> None:
    cut = gzip.compress(b"SELECT 1")[:-9]
    reply = curl(home, "/", "-H", "Content-Encoding: gzip", body=cut)
    assert (reply.status, reply.code) == (400, 117)
    assert b"the gzip body ends in mid-frame" in reply.body
    reply = curl(home, "/", "-H", "Content-Encoding: zstd", body=b"SELECT 1")
    assert (reply.status, reply.code) == (400, 117)


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("SELEC 1", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT missing_column", 404, 47),
        ("SELECT * FROM missing_table", 404, 60),
        ("SELECT missing_function(1)", 404, 46),
        ("SELECT throwIf(1, 'on purpose')", 500, 395),
        ("SELECT 1 INTO OUTFILE '/dev/null'", 500, 344),
        ("CREATE TEMPORARY TABLE t (a Int8)", 501, 48),
    ],
)
def test_errors_have_clickhouse_codes_and_statuses(
    home: EmbeddedStore, statement: str, status: int, code: int
) -> None:
    reply = curl(home, body=statement.encode())
    assert (reply.status, reply.code) == (status, code)
    assert reply.body.startswith(f"Code: {code}. DB::Exception: ".encode())


def test_unknown_databases_and_settings_are_named(home: EmbeddedStore) -> None:
    reply = curl(home, query="SELECT 1", database="nowhere")
    assert (reply.status, reply.code) == (404, 81)
    reply = curl(home, query="SELECT 1", max_thread="1")
    assert (reply.status, reply.code) == (404, 115)
    assert b"max_thread" in reply.body


@pytest.mark.parametrize("name", ["compress", "decompress"])
def test_native_block_framing_is_said_to_be_missing(home: EmbeddedStore, name: str) -> None:
    reply = curl(home, f"/?{name}=1", body=b"SELECT 1")
    assert (reply.status, reply.code) == (501, 48)
    assert b"use Content-Encoding or Accept-Encoding" in reply.body


def test_long_queries_stop_at_their_time_limit(home: EmbeddedStore) -> None:
    reply = curl(home, query="SELECT count() FROM numbers(1000000000000)", max_execution_time="0.2")
    assert (reply.status, reply.code) == (408, 159)


def test_failure_after_the_answer_began_breaks_the_connection_off(home: EmbeddedStore) -> None:
    at = home.endpoint
    statement = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000)"
    command = ["curl", "-s", "-u", f"{at.username}:{at.password}", "-d", statement]
    ended = subprocess.run(
        [*command, f"http://{at.host}:{at.port}/?max_block_size=10000"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 18, "curl: transfer closed with outstanding data"
    assert ended.stdout.startswith(b"0\t0\n1\t0\n")
    assert b"__exception__" in ended.stdout[-2000:]
    assert b"Code: 395. DB::Exception" in ended.stdout[-2000:]


def test_http_1_0_gets_the_whole_answer_or_an_error(home: EmbeddedStore) -> None:
    reply = curl(home, "/", "--http1.0", query="SELECT number FROM numbers(200000)")
    assert (reply.status, reply.body.count(b"\n")) == (200, 200_000)
    failing = "SELECT throwIf(number = 300000) FROM numbers(400000)"
    assert curl(home, "/", "--http1.0", query=failing).status == 500


def test_login_by_basic_header_or_url(home: EmbeddedStore) -> None:
    at = home.endpoint
    who = b"SELECT 1"
    headers = ("-H", f"X-ClickHouse-User: {at.username}", "-H", f"X-ClickHouse-Key: {at.password}")
    assert curl(home, "/", *headers, user="", body=who).status == 200
    reply = curl(home, user="", body=who, user_="", password=at.password)
    assert reply.status == 403
    query = {"user": at.username, "password": at.password, "query": "SELECT 1"}
    url = f"http://{at.host}:{at.port}/?{urlencode(query)}"
    assert subprocess.run(["curl", "-s", url], capture_output=True, check=True).stdout == b"1\n"


def test_no_login_is_401_and_a_wrong_one_403(home: EmbeddedStore) -> None:
    reply = curl(home, user="", query="SELECT 1")
    assert (reply.status, reply.code) == (401, 194)
    assert reply.headers["www-authenticate"].startswith("Basic ")
    reply = curl(home, user="engine:wrong", query="SELECT 1")
    assert (reply.status, reply.code) == (403, 516)


VIEWER_REFUSED = [
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "INSERT INTO pairs VALUES (1, 'a')",
    "INSERT INTO pairs SELECT 1, 'a'",
    "DROP TABLE pairs",
    "ALTER TABLE pairs DELETE WHERE 1",
    "TRUNCATE TABLE pairs",
    "SET max_threads = 1",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_execution_time = 10000",
    "KILL QUERY WHERE 1",
    "SYSTEM FLUSH LOGS",
    # chDB lets even read-only users call what reads any of this user's files.
    "SELECT * FROM file('/etc/hostname', 'LineAsString')",
    "SELECT file('/etc/hostname')",
    "SELECT * APPLY(FILE) FROM (SELECT '/etc/hostname')",
    "SELECT `fil\\x65`('/etc/hostname')",
    "SELECT $$'$$, file('/etc/hostname') --'",
    "SELECT * FROM eval('SELECT 1')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
]


@pytest.mark.parametrize("statement", VIEWER_REFUSED)
def test_viewer_cannot_write_or_leave_the_database(home: EmbeddedStore, statement: str) -> None:
    user = f"viewer:{home.viewer.password}"
    curl(home, body=b"CREATE TABLE IF NOT EXISTS pairs (id UInt8, name String) ENGINE = Memory")
    before = curl(home, query="SELECT count() FROM pairs").body
    reply = curl(home, user=user, body=statement.encode())
    assert (reply.status, reply.code) == (500, 164)
    assert curl(home, query="SELECT count() FROM pairs").body == before


def test_viewer_cannot_name_a_function_by_a_parameter(home: EmbeddedStore) -> None:
    reply = curl(
        home,
        user=f"viewer:{home.viewer.password}",
        query="SELECT arrayMap({f:Identifier}, ['/etc/hostname'])",
        param_f="file",
    )
    assert (reply.status, reply.code) == (500, 164)


@pytest.mark.parametrize(
    "statement",
    ["SELECT 1", "WITH 1 AS a SELECT a", "SHOW TABLES", "EXPLAIN SELECT 1", "DESCRIBE system.one"],
)
def test_viewer_reads(home: EmbeddedStore, statement: str) -> None:
    user = f"viewer:{home.viewer.password}"
    assert curl(home, user=user, body=statement.encode()).status == 200


def test_viewer_is_told_where_a_statement_does_not_parse(home: EmbeddedStore) -> None:
    reply = curl(home, user=f"viewer:{home.viewer.password}", body=b"SELECT 1 FRM x y")
    assert (reply.status, reply.code) == (400, 62)


def test_large_bodies_stream_in(home: EmbeddedStore, tmp_path: Path) -> None:
    curl(home, body=b"CREATE OR REPLACE TABLE many (n UInt64) ENGINE = MergeTree ORDER BY n")
    lines = b"".join(b"%d\n" % n for n in range(1_000_000))
    chunked = ("-H", "Transfer-Encoding: chunked")
    reply = curl(home, "/", *chunked, body=lines, query="INSERT INTO many FORMAT TSV")
    assert reply.status == 200
    assert curl(home, query="SELECT count(), sum(n) FROM many").body == b"1000000\t499999500000\n"
