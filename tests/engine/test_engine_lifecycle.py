"""The whole engine on simulated venues: start, serve, survive a kill."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx
import psutil
import pytest
from command import Command, get, until

from engine.sentiment.choice import best_model

# A start of the engine counts as part of the first test: on two busy cores it takes minutes.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(480)]


def test_engine_serves_an_explained_ranking(engine: Command) -> None:
    url = engine.url

    def whole() -> dict[str, Any] | None:
        """On a busy machine some venues' markets join the ranking after the first is served."""
        found = get(f"{url}/v1/signals?limit=100")
        return found if found and len(found["universe"]) >= 50 else None

    answer = until(whole)
    assert [signal["rank"] for signal in answer["signals"]] == list(
        range(1, len(answer["signals"]) + 1)
    )
    for found in answer["signals"]:
        total = 0.0
        for part in found["contributions"]:
            total += part["contribution"]
        assert total == found["score"]
        assert math.isclose(sum(abs(part["weight"]) for part in found["contributions"]), 1.0)
        assert found["rationale"]


def test_engine_fills_every_table_of_the_live_path(engine: Command) -> None:
    command = engine

    def filled() -> bool:
        return all(
            command.sql(f"SELECT count() AS n FROM {table}")[0]["n"] > 0
            for table in (
                "trades",
                "book_tops",
                "candles",
                "texts",
                "sentiment_scores",
                "sentiment_aggregates",
                "features",
                "signals",
                "market_mood",
            )
        )

    # The first minute bar that closes while it runs makes the first stored signals; aggregates
    # follow once the week of texts that the simulator holds is read.
    assert until(filled, 300)


def test_engine_trades_are_unique_and_consecutive(engine: Command) -> None:
    command = engine
    (row,) = command.sql(
        "SELECT count() AS n, uniqExact(exchange, instrument, trade_id) AS ids FROM trades"
    )
    assert row["n"] == row["ids"] > 0


def test_engine_status_and_signals_find_the_engine_by_themselves(
    engine: Command,
) -> None:
    command, url = engine, engine.url
    status = json.loads(command.run("status", "--json").stdout)["engine"]
    assert {stream["exchange"] for stream in status["streams"]} == {"binance", "coinbase", "kraken"}
    assert all(stream["connected"] for stream in status["streams"])
    assert status["sentiment_model"].startswith(f"{best_model()}-")
    table = command.run("signals", "--limit", "3")
    assert table.returncode == 0
    assert "bullish" in table.stdout + "bearish neutral"
    assert url in command.run("status").stdout


def test_engine_metrics_are_exported(engine: Command) -> None:
    command = engine
    (path,) = (command.folder / "state").glob("run-*.json")
    metrics_url = json.loads(path.read_text())["metrics_url"]
    text = httpx.get(metrics_url).text
    for name in (
        "engine_frames_total",
        "engine_events_total",
        "engine_in_flight",
        "engine_flush_rows_bucket",
        "engine_tick_to_ranking_seconds_count",
    ):
        assert name in text


@pytest.mark.parametrize("name", ["ranker", "features-0", "stream-kraken-0", "bus", "store"])
def test_engine_actor_killed_comes_back(engine: Command, name: str) -> None:
    url = engine.url

    def actor() -> dict[str, object] | None:
        engine = (get(f"{url}/v1/status") or {}).get("engine") or {}
        return next((one for one in engine.get("actors", []) if one["name"] == name), None)

    before = until(actor)
    restarts, pid = int(str(before["restarts"])), int(str(before["pid"]))
    psutil.Process(pid).kill()

    def is_back() -> bool:
        now = actor()
        return (
            now is not None
            and now["pid"] != pid
            and now["phase"] == "running"
            and int(str(now["restarts"])) == restarts + 1
        )

    assert until(is_back, 60)
    first = until(lambda: get(f"{url}/v1/signals?limit=1"))
    assert until(lambda: (get(f"{url}/v1/signals?limit=1") or first)["as_of"] != first["as_of"])


def test_engine_supervisor_killed_is_replaced_and_finds_every_part(
    engine: Command,
) -> None:
    url = engine.url

    def pids() -> dict[str, int] | None:
        status = (get(f"{url}/v1/status") or {}).get("engine") or {}
        return {one["name"]: one["pid"] for one in status.get("actors", [])} or None

    before = until(pids)
    psutil.Process(before["supervisor"]).kill()

    def parts() -> dict[str, int] | None:
        found = pids() or before
        # The scheduler is found last: nobody waits for it.
        is_whole = found["supervisor"] != before["supervisor"] and "scheduler" in found
        return found if is_whole else None

    after = until(parts)
    assert {**after, "supervisor": 0} == {**before, "supervisor": 0}, "no other part was touched"
