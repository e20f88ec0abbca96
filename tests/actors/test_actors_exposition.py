"""Every actor's metrics behind one URL, and the engine's state as one answer."""

from __future__ import annotations

import httpx
import pytest

from engine.actors.base import ActorReport, Phase
from engine.actors.exposition import MetricsServer
from engine.actors.plan import free_port
from engine.actors.status import engine_status
from engine.config import Config
from engine.errors import StartError
from engine.metrics import FRAMES, exposition


def report(name: str, phase: Phase = Phase.RUNNING, **details: object) -> ActorReport:
    return ActorReport(name, "Kind", phase, "1", 7, 2**20, 3.0, "", details, exposition())


async def test_metrics_of_all_actors_are_told_apart_by_name() -> None:
    FRAMES.labels("binance").inc(5)
    port = free_port()
    server = MetricsServer(port)
    await server.start()
    server.show([report("stream-binance-0"), report("ranker")])
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    await server.stop()
    lines = answer.text.splitlines()
    frames = [
        line.partition(" ")[0]
        for line in lines
        # Other tests count frames of other venues in this process.
        if line.startswith("engine_frames_total{") and 'exchange="binance"' in line
    ]
    assert frames == [
        f'engine_frames_total{{actor="{actor}",exchange="binance"}}'
        for actor in ("stream-binance-0", "ranker")
    ]
    assert sum(line.startswith("# TYPE engine_frames_total") for line in lines) == 1
    assert 'engine_actor_resident_bytes{actor="ranker"} 1.048576e+06' in lines


async def test_metrics_port_in_use_is_one_sentence() -> None:
    port = free_port()
    first, second = MetricsServer(port), MetricsServer(port)
    await first.start()
    with pytest.raises(StartError, match=r"metrics\.port .* choose another: --set metrics\.port"):
        await second.start()
    await second.stop()
    await first.stop()


def stream(**changes: object) -> dict[str, object]:
    return {"exchange": "binance", "connected": True, "ended": False, **changes}


def test_status_is_healthy_while_all_run_and_are_connected() -> None:
    reports = [report("stream-binance-0", **stream()), report("ranker")]
    status = engine_status(Config(), report("supervisor"), reports, {"ranker": 2}, 0)
    assert status["healthy"] is True
    assert [actor["name"] for actor in status["actors"]] == [
        "supervisor",
        "stream-binance-0",
        "ranker",
    ]
    assert status["actors"][2]["restarts"] == 2
    assert status["streams"][0]["name"] == "stream-binance-0"
    assert status["mode"] == "live"


@pytest.mark.parametrize(
    "reports",
    [
        [report("ranker", Phase.FAILED)],
        [report("stream-binance-0", **stream(connected=False))],
    ],
)
def test_status_is_not_healthy_where_a_part_is_down(reports: list[ActorReport]) -> None:
    assert engine_status(Config(), report("supervisor"), reports, {}, 0)["healthy"] is False


def test_status_finished_replay_is_healthy() -> None:
    reports = [report("stream-binance-0", **stream(connected=False, ended=True))]
    assert engine_status(Config(), report("supervisor"), reports, {}, 0)["healthy"] is True
