"""Starting Serve: the environment, the port, and HAProxy's configuration on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from engine.errors import ConfigError, StartError
from serve import run

CONFIGURATION = """frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind *:8000
listen stats
  bind *:8404
  stats enable
"""


def _wrapper_result(tmp_path: Path, arguments: list[str]) -> str:
    environment = {**os.environ, "ENGINE_HAPROXY_BINARY": "/bin/echo"}
    done = subprocess.run(
        [str(run._WRAPPER), *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_wrapper_moves_metrics_and_stats_to_loopback_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(CONFIGURATION)
    said = _wrapper_result(tmp_path, ["-db", "-f", str(path), "-sf", "7"])
    assert said == f"-db -f {path} -sf 7\n"
    expected = CONFIGURATION.replace("bind :9101", "bind 127.0.0.1:9101")
    assert path.read_text() == expected.replace("bind *:8404", "bind 127.0.0.1:8404")
    assert [entry.name for entry in tmp_path.iterdir()] == ["haproxy.cfg"]


def test_wrapper_matches_the_template_of_the_installed_ray() -> None:
    from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE as TEMPLATE

    assert "frontend prometheus\n    bind :{{ config.metrics_port }}" in TEMPLATE
    assert "listen stats\n  bind *:{{ config.stats_port }}" in TEMPLATE


@pytest.mark.skipif(not run.haproxy_available(), reason="no HAProxy on this machine")
def test_environment_twice_gives_two_engines_other_ports_and_folders() -> None:
    first, second = run.environment(True), run.environment(True)
    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"):
        assert first[name] != second[name]
        # Ray puts the node's id, 56 characters, between; a Unix socket's path may have 97.
        assert len(first[name]) + 57 <= 97
    ports = [
        int(first[f"RAY_SERVE_{name}_PORT"])
        for name in ("HAPROXY_METRICS", "HAPROXY_STATS", "FALLBACK_PROXY_HTTP")
    ]
    assert len(set(ports)) == 3
    for made in (first, second):
        shutil.rmtree(made["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"])


def test_environment_without_haproxy_turns_it_and_direct_ingress_off() -> None:
    made = run.environment(False)
    assert made["RAY_SERVE_ENABLE_HA_PROXY"] == "0"
    assert made["RAY_SERVE_ENABLE_DIRECT_INGRESS"] == "0"


def test_environment_without_a_binary_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_haproxy_binary", lambda: None)
    with pytest.raises(StartError, match=r"set serve\.haproxy=false"):
        run.environment(True)


def test_start_on_a_busy_port_names_it_before_ray_is_touched() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with pytest.raises(StartError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
            run._checked_port("127.0.0.1", port)


def test_start_without_the_environment_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_SERVE_ENABLE_HA_PROXY", raising=False)
    with pytest.raises(StartError, match=r"serve\.run\.environment"):
        run.start("127.0.0.1", 0, True)


def test_secret_reads_the_variable_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from serve.app import build, secret

    monkeypatch.setenv("STORE_URL", "http://engine:pass@host:1/db")
    assert secret("env:STORE_URL") == "http://engine:pass@host:1/db"
    assert secret("redis://host") == "redis://host"
    with pytest.raises(ConfigError, match="NOWHERE is not set"):
        secret("env:NOWHERE")
    with pytest.raises(ConfigError, match="lacks the arguments bus_url, config"):
        build({"store_url": "x"})
