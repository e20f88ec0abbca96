"""The embedded home's life: lock, passwords, clean stop, kill -9, and what the machine refuses.

Homes run in child processes here, as each opens a folder of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import ConfigError, StartError, StoreLocked, StoreQueryError, StoreUnavailable
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore, read_owner
from engine.store.endpoint import StoreEndpoint, parse_store_url

CHILD = """
import sys
from engine.store.embedded import EmbeddedStore
home = EmbeddedStore(sys.argv[1])
print(home.start().url, flush=True)
sys.stdin.readline()
home.stop()
"""
WRITER = """
import sys
import pyarrow as pa
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
home = EmbeddedStore(sys.argv[1])
store = Store(home.start())
store.command("CREATE TABLE batches (batch UInt32, n UInt32) ENGINE = MergeTree ORDER BY batch")
for batch in range(1_000_000):
    numbers = [pa.array(each, pa.uint32()) for each in ([batch] * 300, range(300))]
    rows = pa.table(numbers, names=["batch", "n"])
    store.insert_arrow("batches", rows)
    print(batch, flush=True)
"""


@contextmanager
def _child(program: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _endpoint(url: str) -> StoreEndpoint:
    endpoint = parse_store_url(url)
    assert isinstance(endpoint, StoreEndpoint)
    return endpoint


def test_no_acknowledged_batch_is_missing_after_kill_9(tmp_path: Path) -> None:
    with _child(WRITER, tmp_path / "db") as process:
        acknowledged = -1
        while acknowledged < 20:
            acknowledged = int(_line(process))
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    home = EmbeddedStore(tmp_path / "db")
    with Store(home.start()) as store:
        found = store.query_arrow(
            "SELECT batch, count() AS rows, uniqExact(n) AS kinds FROM batches GROUP BY batch"
        )
        kept = {row["batch"]: (row["rows"], row["kinds"]) for row in found.to_pylist()}
    home.stop()
    # The one after the last may be there: killed between keeping it and saying so.
    assert set(range(acknowledged + 1)) <= set(kept) <= set(range(acknowledged + 2))
    assert set(kept.values()) == {(300, 300)}


def test_lock_names_the_owner_who_can_be_found(tmp_path: Path) -> None:
    path = tmp_path / "db"
    assert read_owner(path) is None
    with _child(CHILD, path) as process:
        url = _line(process)
        with pytest.raises(StoreLocked, match=rf"is open in process {process.pid}; stop it"):
            EmbeddedStore(path).start()
        owner = read_owner(path)
        assert owner is not None
        assert (owner.pid, owner.url) == (process.pid, url)
        assert stat.S_IMODE((path / "owner.json").stat().st_mode) == 0o600
        for each in (owner.url, owner.viewer_url):
            with Store(_endpoint(each)) as store:
                assert store.command("SELECT 1") == "1"
        process.communicate("stop\n", timeout=30)
        assert process.returncode == 0
    assert read_owner(path) is None


def test_restart_keeps_rows_and_passwords(tmp_path: Path) -> None:
    home = EmbeddedStore(tmp_path / "db")
    first = home.start()
    with Store(first) as store:
        store.command("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
        store.command("INSERT INTO t VALUES (7)")
    home.stop()
    home.stop()
    again = EmbeddedStore(tmp_path / "db")
    second = again.start()
    assert again.start() == second
    assert second.password == first.password
    with Store(second) as store:
        assert store.command("SELECT a FROM t") == "7"
    again.stop()


def test_stop_cancels_what_runs_and_takes_seconds(tmp_path: Path) -> None:
    home = EmbeddedStore(tmp_path / "db")
    store = Store(home.start())
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            store.command("SELECT count() FROM numbers(10000000000000)")
        except StoreUnavailable as error:
            raised.append(error)

    with Store(home.endpoint) as watcher:
        asking = threading.Thread(target=ask)
        asking.start()
        running = "SELECT count() FROM system.processes WHERE query LIKE '%0000000000)%'"
        while watcher.command(running + " AND query NOT LIKE '%processes%'") == "0":
            pass
    started = time.monotonic()
    home.stop()
    assert time.monotonic() - started < 5
    asking.join(10)
    assert len(raised) == 1
    store.close()
    with pytest.raises(StartError, match="is not started"):
        _ = home.endpoint


def test_store_that_is_gone_is_unavailable_in_one_sentence(tmp_path: Path) -> None:
    home = EmbeddedStore(tmp_path / "db")
    store = Store(home.start())
    assert store.ping()
    home.stop()
    assert not store.ping()
    with pytest.raises(StoreUnavailable, match=r"the store at StoreEndpoint.* does not answer"):
        store.command("SELECT 1")
    store.close()


def test_wrong_password_is_a_refusal_not_an_outage(tmp_path: Path) -> None:
    home = EmbeddedStore(tmp_path / "db", password="right", viewer_password="looks")
    at = home.start()
    with Store(StoreEndpoint(at.host, at.port, "engine", "wrong")) as store:
        with pytest.raises(StoreQueryError) as caught:
            store.command("SELECT 1")
        assert caught.value.code == 516
    home.stop()


def test_process_opens_one_folder_at_a_time(tmp_path: Path) -> None:
    home = EmbeddedStore(tmp_path / "one")
    home.start()
    with pytest.raises(StartError, match=r"this process already has the store .*one open"):
        EmbeddedStore(tmp_path / "two").start()
    home.stop()
    other = EmbeddedStore(tmp_path / "two")
    other.start()
    other.stop()


def test_busy_port_is_one_sentence_and_frees_the_folder(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} on 127.0.0.1 is taken; free it"):
            EmbeddedStore(tmp_path / "db", port=port).start()
    home = EmbeddedStore(tmp_path / "db")
    home.start()
    home.stop()


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("a file")
    with pytest.raises(StartError, match="cannot be made: Not a directory; choose another"):
        EmbeddedStore(tmp_path / "plain" / "db").start()


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_folder_without_permission_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir(mode=0o500)
    with pytest.raises(StartError, match="cannot be written: mend its permissions"):
        EmbeddedStore(tmp_path / "db").start()


def test_owner_file_of_a_crash_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.mkdir()
    dead = {"pid": 1, "url": "http://engine:kept@127.0.0.1:1/engine", "viewer_url": "broken"}
    (path / "owner.json").write_text(json.dumps(dead))
    assert read_owner(path) is None
    home = EmbeddedStore(path)
    assert home.start().password == "kept"
    home.stop()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://db", "'mysql' is not understood"),
        ("embedded:", "needs a folder"),
        ("embedded:a?b", "must not contain"),
        ("http://host:99999/db", "is not a valid URL"),
        ("http://host/db?x=1", "takes nothing after the database"),
    ],
)
def test_store_url_that_is_wrong_says_why(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_store_url(url)


def test_endpoint_survives_its_url_and_hides_its_password() -> None:
    endpoint = StoreEndpoint("::1", 8443, "a b", "p@:/?#", "my db", secure=True)
    assert parse_store_url(endpoint.url) == endpoint
    assert "p@" not in repr(endpoint)
    plain = StoreEndpoint("db.example", 8123, "default", "")
    assert parse_store_url("http://db.example") == plain
