"""``build_features`` on two and three nodes, one of which is lost: the rows of one node's run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.clock import parse_iso_utc
from engine.config import RetentionConfig
from engine.domain.instrument import Market
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import feature_columns
from engine.job_request import load_job_config
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schema import migrate
from jobs.build_features import main
from tests.features.conftest import random_walk
from tests.features.stored_world import World, candles_of, made_of, put, same, stored_rows
from tests.local_ray import OBJECT_STORE_BYTES, cluster_of_nodes

pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

M15 = Timeframe.M15
DAYS = 24
START = parse_iso_utc("2024-02-20T00:00:00Z")
MARKETS = [Market("binance", f"{base}-USDT") for base in ("BTC", "ETH", "SOL")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path_factory.mktemp("nodes") / "db")
    try:
        with Store(home.start()) as store:
            migrate(store, RetentionConfig(), feature_columns())
            candles = [
                candle
                for seed, market in enumerate(MARKETS)
                for candle in candles_of(
                    market, random_walk(seed, DAYS * 96, timeframe=M15, start_ns=START), M15
                )
            ]
            put(store, World(candles))
            yield store
    finally:
        home.stop()


@pytest.fixture(scope="module")
def expected(store: Store) -> dict[tuple[Market, int], tuple[float, ...]]:
    """What one process makes of the candles, without Ray."""
    return {
        key: tuple(float("nan") if value is None else float(value) for value in row.values)
        for key, row in made_of(store, M15).items()
    }


@pytest.fixture
def cluster() -> Iterator[Any]:
    with cluster_of_nodes(1) as nodes:
        yield nodes


def is_busy(node_id: str) -> bool:
    """Whether a task runs there: a node that has nothing to do is no loss."""
    from ray._private.state import available_resources_per_node

    free = available_resources_per_node().get(node_id)
    return free is not None and free.get("CPU", 0.0) < 1.0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("others", [1, 2])
def test_job_on_several_nodes_of_which_one_is_lost_stores_the_rows_of_one(
    others, cluster, store, expected
):
    import ray

    for table in ("features", "job_blocks"):
        store.command(f"TRUNCATE TABLE {table}")
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    spare = [cluster.add_node(**node) for _ in range(others)]
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    lost: list[int] = []

    def lose() -> None:
        deadline, pause = time.monotonic() + 200.0, threading.Event()
        while time.monotonic() < deadline:
            done = int(store.command("SELECT uniqExact(unit) FROM job_blocks"))
            if done >= 3 and is_busy(spare[0].node_id):
                cluster.remove_node(spare[0], allow_graceful=False)
                lost.append(done)
                return
            pause.wait(0.02)

    losing = threading.Thread(target=lose)
    losing.start()
    try:
        config = load_job_config(
            "build_features",
            None,
            [f"store.url={store.endpoint.url}", "timeframes=[15m]"],
            environment={},
        )
        summary = main(config)
    finally:
        losing.join()
    assert lost
    assert lost[0] < DAYS
    assert summary.outcome == "done"
    found = stored_rows(store)
    assert found.keys() == expected.keys()
    assert [key for key in found if not same(found[key], expected[key])] == []
    assert int(store.command("SELECT uniqExact(unit) FROM job_blocks")) == DAYS
