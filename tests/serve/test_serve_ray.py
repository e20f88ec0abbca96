"""Ray Serve with HAProxy in front, a real Redis and a real store: what users talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from serve_samples import AS_OF, CONFIG, candle, ranking

from engine.bus.client import Bus
from engine.bus.embedded import EmbeddedRedis
from engine.clock import iso_utc
from serve import run, schemas, sentiment_schemas
from tests.local_ray import own_ray

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not run.haproxy_available(), reason="no HAProxy on this machine"),
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def _publish(url: str) -> None:
    bus = Bus(url)
    await bus.publish_ranking(ranking())
    await bus.close()


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import asyncio

    from engine.config import RetentionConfig
    from engine.store.client import Store
    from engine.store.embedded import EmbeddedStore
    from engine.store.schema import migrate

    environment = run.environment(haproxy=True)
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    redis = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    home = EmbeddedStore(tmp_path_factory.mktemp("store") / "db")
    try:
        bus_url = redis.start()
        asyncio.run(_publish(bus_url))
        endpoint = home.start()
        store = Store(endpoint)
        migrate(store, RetentionConfig(candles=0))
        store.insert("candles", [candle(n) for n in range(3)])
        store.close()
        options = {
            "store_url": endpoint.url,
            "bus_url": bus_url,
            "config": CONFIG.model_dump_json(),
        }
        with own_ray(num_cpus=4):
            try:
                yield run.deploy(options, "127.0.0.1", 0, True)
            finally:
                run.remove()
    finally:
        home.stop()
        redis.stop()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def test_serve_answers_signals_from_the_bus_snapshot(engine_url: str) -> None:
    answer = httpx.get(f"{engine_url}/v1/signals", timeout=30)
    body = schemas.RankingAnswer.model_validate_json(answer.content)
    assert body.as_of == iso_utc(AS_OF)
    assert [s.instrument for s in body.signals] == ["BTC-USDT", "ETH-USDT"]
    known = {"If-None-Match": answer.headers["etag"]}
    assert httpx.get(f"{engine_url}/v1/signals", headers=known).status_code == 304


def test_serve_reads_candles_from_the_store(engine_url: str) -> None:
    query = "timeframe=1h&start=2026-01-05T00:00:00Z&limit=2"
    answer = httpx.get(f"{engine_url}/v1/candles/btc-usdt?{query}", timeout=30)
    body = schemas.CandlesAnswer.model_validate_json(answer.content)
    assert [row.open_time for row in body.candles] == [
        "2026-01-05T00:00:00.000000Z",
        "2026-01-05T01:00:00.000000Z",
    ]
    assert body.next_start == "2026-01-05T02:00:00.000000Z"


def test_serve_errors_are_problems_through_haproxy(engine_url: str) -> None:
    answer = httpx.get(f"{engine_url}/v1/signals/BTCUSDT")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["near"][0] == "BTC-USDT"


def test_serve_scores_texts_with_the_configured_model(engine_url: str) -> None:
    texts = {"texts": ["Bitcoin to the moon, so bullish!", "Exchange hacked, funds lost"]}
    answer = httpx.post(f"{engine_url}/v1/sentiment", json=texts, timeout=30)
    body = sentiment_schemas.TextsAnswer.model_validate_json(answer.content)
    assert [result.label for result in body.results] == ["bullish", "bearish"]
    assert body.model.startswith("lexicon-")


def test_serve_listens_on_loopback_only(engine_url: str) -> None:
    port = int(engine_url.rpartition(":")[2])
    listening = {
        connection.laddr
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "haproxy" and _is_ours(process)
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip for address in listening} == {"127.0.0.1"}
    metrics = int(os.environ["RAY_SERVE_HAPROXY_METRICS_PORT"])
    stats = int(os.environ["RAY_SERVE_HAPROXY_STATS_PORT"])
    assert {address.port for address in listening} == {port, metrics, stats}


def _is_ours(process: psutil.Process) -> bool:
    home = Path(os.environ["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"])
    return any(argument.startswith(str(home)) for argument in process.cmdline())
