"""The import job on a real cluster: workers read and write, and one that dies changes nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from engine.config import RetentionConfig
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import feature_columns
from engine.job_request import load_job_config
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schema import migrate
from jobs.import_candles import main
from jobs.parallel import in_parallel

pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HOURS = 500
START = 1_640_995_200_000_000_000
KEPT = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))


@pytest.fixture(scope="module")
def cluster(shared_ray: None) -> None:
    # Workers cannot import the modules of these tests.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def store(tmp_path: Path, cluster: None) -> Iterator[Store]:
    home = EmbeddedStore(tmp_path / "db")
    home.start()
    with Store(replace(home.endpoint, database="imports")) as store:
        migrate(store, KEPT, feature_columns())
        yield store
    home.stop()


def candles(symbol: str) -> pa.Table:
    times = [START + hour * Timeframe.H1.ns for hour in range(HOURS)]
    opens = [100.0 + hour for hour in range(HOURS)]
    return pa.table(
        {
            "pair": [symbol] * HOURS,
            "time": pa.array(times).cast(pa.timestamp("ns", "UTC")).cast(pa.timestamp("ms", "UTC")),
            "o": opens,
            "h": [value + 2 for value in opens],
            "l": [value - 2 for value in opens],
            "c": opens,
            "v": [5.0] * HOURS,
        }
    )


def test_import_candles_on_a_cluster_stores_each_bar_of_every_file_once(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "candles"
    folder.mkdir()
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        pq.write_table(candles(symbol), folder / f"{symbol}.parquet", row_group_size=120)
    given = [f"store.url={store.endpoint.url}", f"path={folder}"]
    config = load_job_config("import_candles", None, given, {})
    first, again = main(config), main(config)
    assert first.written == {"candles": 3 * HOURS}
    assert (again.written, again.skipped["rows that are stored already"]) == (
        {"candles": 0}, 3 * HOURS,
    )  # fmt: skip
    held = store.query_arrow(
        "SELECT instrument, count() AS bars, sum(open) AS opens FROM candles GROUP BY instrument "
        "ORDER BY instrument"
    ).to_pylist()
    opens = sum(100.0 + hour for hour in range(HOURS))
    assert held == [
        {"instrument": name, "bars": HOURS, "opens": opens}
        for name in ("BTC-USDT", "ETH-USDT", "SOL-USDT")
    ]


def die_once(number: int, folder: str) -> int:
    """Square a number; whoever does 3 first is killed."""
    mark = Path(folder) / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_in_parallel_worker_that_dies_is_replaced_and_every_thing_done_once(
    cluster: None, tmp_path: Path
) -> None:
    found = list(in_parallel(die_once, range(8), str(tmp_path), 2))
    assert sorted(found) == [(number, number * number) for number in range(8)]
    assert (tmp_path / "died").exists()
