"""The source and the sink in real Ray Data jobs, with workers that die."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import ray
import store_samples
from ray.data import Dataset
from ray.exceptions import RayError
from store_samples import HOUR, KEPT_FOR_EVER, T0, candle, features, item, trade

from engine.errors import StoreError
from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.ray_data import ClickHouseSink, ClickHouseSource, Ledger
from engine.store.schema import migrate
from engine.store.tables import table_named
from engine.store.units import FINGERPRINT, UNIT, UNIT_ROWS, done_units

pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_USED = ("trades", "candles", "features", "texts", "job_blocks")
UNITS = 6
UNIT_BARS = 20


@pytest.fixture(scope="module")
def cluster(shared_ray: None) -> None:
    # Workers cannot import the modules of these tests.
    for module in (sys.modules[__name__], store_samples):
        ray.cloudpickle.register_pickle_by_value(module)


@pytest.fixture(scope="module")
def migrated(home: EmbeddedStore) -> Iterator[Store]:
    with Store(replace(home.endpoint, database="ray_data")) as store:
        migrate(store, KEPT_FOR_EVER, feature_columns())
        yield store


@pytest.fixture
def store(migrated: Store, cluster: None) -> Store:
    for table in _USED:
        migrated.command("TRUNCATE TABLE {table:Identifier}", {"table": table})
    return migrated


def bars(instrument: str, hours: range, version: int = 1) -> pa.Table:
    return table_named("candles").to_arrow([candle(h, instrument, version) for h in hours])


# ---------------------------------------------------------------- source


def test_source_gives_every_row_once_in_blocks_of_the_size_asked_for(store: Store) -> None:
    for name in ("A-USDT", "B-USDT", "C-USDT"):
        store.insert_arrow("candles", bars(name, range(500)))
    source = ClickHouseSource(store.endpoint, "candles", rows_per_task=200)
    found = source.dataset().materialize()
    rows = found.select_columns(["instrument", "open_time"]).to_pandas()
    assert len(rows) == 1_500
    assert rows.drop_duplicates().shape == (1_500, 2)
    assert found.num_blocks() == len(source.ranges) == 9


def test_source_pushes_chosen_columns_into_its_queries(store: Store) -> None:
    store.insert_arrow("candles", bars("A-USDT", range(10)))
    found = ClickHouseSource(store.endpoint, "candles").dataset().select_columns(["close", "low"])
    assert found.take_all() == [{"close": 2.0, "low": 0.1 + 0.2}] * 10
    source = ClickHouseSource(store.endpoint, "candles")
    narrow = source.apply_projection({"close": "close", "low": "low"})
    assert (len(source.columns), narrow.columns) == (18, ("close", "low"))
    (task,) = narrow.get_read_tasks(1)
    assert [block.column_names for block in task()] == [["close", "low"]]
    assert source.dataset().count() == 10


def test_source_of_an_empty_table_is_an_empty_dataset_with_its_columns(store: Store) -> None:
    source = ClickHouseSource(store.endpoint, "texts", columns=["text_id", "available_at"])
    found = source.dataset()
    assert found.schema().names == ["text_id", "available_at"]
    assert (found.count(), found.take_all(), source.ranges) == (0, [], ())


def test_source_does_not_read_what_is_written_after_it_was_made(store: Store) -> None:
    store.insert("trades", [trade(n) for n in range(1, 11)])
    source = ClickHouseSource(store.endpoint, "trades", columns=["sequence"])
    store.insert("trades", [trade(n) for n in range(11, 21)])
    found = source.dataset()
    assert sorted(row["sequence"] for row in found.take_all()) == list(range(1, 11))
    assert found.count() == 10


def test_source_with_a_condition_and_a_span_reads_only_that(store: Store) -> None:
    store.insert_arrow("candles", bars("A-USDT", range(10)))
    store.insert_arrow("candles", bars("B-USDT", range(10)))
    source = ClickHouseSource(
        store.endpoint,
        "candles",
        columns=["instrument", "open_time", "inserted_at"],
        where="instrument = {name:String}",
        parameters={"name": "B-USDT"},
        start=T0 + 2 * HOUR,
        end=T0 + 4 * HOUR,
    )
    rows = source.dataset().take_all()
    assert [(row["instrument"], row["open_time"].value) for row in rows] == [
        ("B-USDT", T0 + 2 * HOUR),
        ("B-USDT", T0 + 3 * HOUR),
    ]
    assert all(row["inserted_at"].tzinfo is not None for row in rows)


def test_source_keeps_the_types_of_features(store: Store) -> None:
    store.insert("features", [features(n) for n in range(3)])
    found = ClickHouseSource(store.endpoint, "features").dataset()
    (table,) = [block for block in found.to_arrow_refs() if ray.get(block).num_rows]
    back = table_named("features").from_arrow(ray.get(table))
    assert repr(back) == repr([features(n) for n in range(3)])


def test_source_of_an_unknown_column_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="table candles has no column 'closed'"):
        ClickHouseSource(store.endpoint, "candles", columns=["closed"])


# ---------------------------------------------------------------- sink


def test_what_a_source_reads_a_sink_writes(store: Store) -> None:
    store.insert("texts", [item(n) for n in range(50)])
    found = ClickHouseSource(store.endpoint, "texts", rows_per_task=20).dataset().materialize()
    store.command("TRUNCATE TABLE texts")
    sink = ClickHouseSink(store.endpoint, "texts")
    found.write_datasink(sink)
    assert sink.written.rows == 50
    read = store.query_arrow(f"SELECT {table_named('texts').select} FROM texts FINAL")
    assert sorted(table_named("texts").from_arrow(read), key=repr) == sorted(
        [item(n) for n in range(50)], key=repr
    )


def test_sink_of_an_empty_dataset_writes_nothing(store: Store) -> None:
    sink = ClickHouseSink(store.endpoint, "candles")
    ClickHouseSource(store.endpoint, "candles").dataset().write_datasink(sink)
    assert sink.written.rows == 0


def test_error_of_a_task_names_table_and_column(store: Store) -> None:
    wrong = bars("A-USDT", range(3)).drop_columns(["close"])
    with pytest.raises(RayError, match="rows for table candles lack its column 'close'"):
        ray.data.from_arrow(wrong).write_datasink(ClickHouseSink(store.endpoint, "candles"))


# ---------------------------------------------------------------- jobs that die


def unit_rows(number: int) -> pa.Table:
    hours = range(number * UNIT_BARS, (number + 1) * UNIT_BARS)
    rows = bars("A-USDT", hours)
    return (
        rows.append_column(UNIT, pa.array([f"u{number}"] * UNIT_BARS))
        .append_column(UNIT_ROWS, pa.array([UNIT_BARS] * UNIT_BARS))
        .append_column(FINGERPRINT, pa.array(["f1"] * UNIT_BARS))
    )


def job(numbers: list[int], work: Callable[[pa.Table], pa.Table]) -> Dataset:
    """A job that makes a block for each unit, one after the other."""
    return ray.data.from_items(
        [{"number": n} for n in numbers], override_num_blocks=len(numbers)
    ).map_batches(work, batch_format="pyarrow", batch_size=None, concurrency=1)


def make_units(numbers: pa.Table) -> pa.Table:
    return pa.concat_tables([unit_rows(n) for n in numbers.column("number").to_pylist()])


def dying_once(marker: Path, number: int) -> Callable[[pa.Table], pa.Table]:
    """Work in whose first try at a unit the whole worker process dies."""

    def work(numbers: pa.Table) -> pa.Table:
        if numbers.column("number")[0].as_py() == number and not marker.exists():
            marker.touch()
            os._exit(1)
        return make_units(numbers)

    return work


def failing(number: int) -> Callable[[pa.Table], pa.Table]:
    def work(numbers: pa.Table) -> pa.Table:
        if numbers.column("number")[0].as_py() == number:
            raise StoreError("told to fail")
        return make_units(numbers)

    return work


class DyingSink(ClickHouseSink):
    """Its process dies after the rows of a unit are stored, before anybody learns of it."""

    marker: Path

    def _write(self, store: Store, rows: pa.Table) -> object:  # type: ignore[override]
        done = super()._write(store, rows)
        if "u2" in done.units and not self.marker.exists():
            self.marker.touch()
            os._exit(1)
        return done


def assert_whole(store: Store) -> None:
    (found,) = store.query_arrow(
        "SELECT count() AS rows, uniqExact(open_time) AS bars FROM candles"
    ).to_pylist()
    assert found == {"rows": UNITS * UNIT_BARS, "bars": UNITS * UNIT_BARS}
    assert set(done_units(store, "build")) == {f"u{n}" for n in range(UNITS)}


def test_worker_that_dies_at_a_unit_changes_nothing(store: Store, tmp_path: Path) -> None:
    sink = ClickHouseSink(store.endpoint, "candles", Ledger("build", "run-1"))
    job(list(range(UNITS)), dying_once(tmp_path / "died", 3)).write_datasink(sink)
    assert (tmp_path / "died").exists()
    assert_whole(store)
    assert sink.written.units == {f"u{n}": UNIT_BARS for n in range(UNITS)}


def test_worker_that_dies_after_its_rows_are_stored_changes_nothing(
    store: Store, tmp_path: Path
) -> None:
    sink = DyingSink(store.endpoint, "candles", Ledger("build", "run-1"))
    sink.marker = tmp_path / "died"
    job(list(range(UNITS)), make_units).write_datasink(sink)
    assert sink.marker.exists()
    assert_whole(store)


def test_job_that_broke_off_does_only_the_rest_when_it_is_run_again(store: Store) -> None:
    first = ClickHouseSink(store.endpoint, "candles", Ledger("build", "run-1"))
    with pytest.raises(RayError, match="told to fail"):
        job(list(range(UNITS)), failing(4)).write_datasink(first)
    done = done_units(store, "build")
    assert "u4" not in done
    assert {"u0", "u1", "u2"} <= set(done)
    rest = [n for n in range(UNITS) if f"u{n}" not in done]
    second = ClickHouseSink(store.endpoint, "candles", Ledger("build", "run-2"))
    job(rest, make_units).write_datasink(second)
    assert second.written.rows == len(rest) * UNIT_BARS
    assert_whole(store)


def test_trades_of_a_job_run_twice_in_other_blocks_are_there_once(store: Store) -> None:
    rows = table_named("trades").to_arrow([trade(n) for n in range(1, 301)])
    for size in (100, 70):
        blocks = [ray.put(rows.slice(start, size)) for start in range(0, 300, size)]
        sink = ClickHouseSink(store.endpoint, "trades")
        ray.data.from_arrow_refs(blocks).write_datasink(sink)
        assert sink.written.rows == (300 if size == 100 else 0)
    assert store.command("SELECT (count(), uniqExact(trade_id)) FROM trades") == "(300,300)"
