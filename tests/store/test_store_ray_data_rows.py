"""Rows fitted to a table, and written by a sink without Ray around it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import KEPT_FOR_EVER, SAMPLES, T0, candle, features, top, trade

from engine.errors import StoreError, StoreUnavailable
from engine.features.catalogue import FEATURES, feature_columns
from engine.store import ray_data
from engine.store.asking import patiently
from engine.store.block_sizes import sized
from engine.store.client import Store
from engine.store.columns import TIME
from engine.store.embedded import EmbeddedStore
from engine.store.ray_data import ClickHouseSink, Ledger, Written
from engine.store.schema import migrate
from engine.store.tables import table_named
from engine.store.typed_rows import TypedRows
from engine.store.units import FINGERPRINT, UNIT, UNIT_ROWS, done_units, note_empty

_USED = ("trades", "book_tops", "candles", "features", "job_blocks")


@pytest.fixture(scope="module")
def migrated(home: EmbeddedStore) -> Iterator[Store]:
    with Store(replace(home.endpoint, database="rows")) as store:
        migrate(store, KEPT_FOR_EVER, feature_columns())
        yield store


@pytest.fixture
def store(migrated: Store) -> Store:
    """One database for all tests here: to make its tables takes longer than any of them."""
    for table in _USED:
        migrated.command("TRUNCATE TABLE {table:Identifier}", {"table": table})
    return migrated


def candles(*numbers: int, version: int = 1) -> pa.Table:
    return table_named("candles").to_arrow([candle(n, version=version) for n in numbers])


def trades(*numbers: int) -> pa.Table:
    return table_named("trades").to_arrow([trade(n) for n in numbers])


def with_column(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)


def in_unit(rows: pa.Table, unit: str, unit_rows: int, fingerprint: str = "f1") -> pa.Table:
    number = rows.num_rows
    return (
        rows.append_column(UNIT, pa.array([unit] * number))
        .append_column(UNIT_ROWS, pa.array([unit_rows] * number))
        .append_column(FINGERPRINT, pa.array([fingerprint] * number))
    )


def count(store: Store, table: str) -> int:
    return int(store.command(f"SELECT count() FROM {table}"))


# ---------------------------------------------------------------- fitting


@pytest.mark.parametrize("table", ["candles", "features", "trades", "texts", "signals"])
def test_rows_of_our_structs_come_back_from_a_fitted_insert(store: Store, table: str) -> None:
    rows = SAMPLES[table]
    arrow = table_named(table).to_arrow(rows)
    store.command("TRUNCATE TABLE {table:Identifier}", {"table": table})
    store.insert_arrow(table, TypedRows.of(store, table).fitted(arrow))
    final = "" if table == "trades" else " FINAL"
    order = {"texts": "text_id", "signals": "signal_id"}.get(table, "tuple(*)")
    order = "sequence DESC" if table == "trades" else order
    found = store.query_arrow(
        f"SELECT {table_named(table).select} FROM {table}{final} "
        f"ORDER BY {'open_time' if order == 'tuple(*)' else order}"
    )
    back = table_named(table).from_arrow(found)
    assert repr(sorted(back, key=repr)) == repr(sorted(rows, key=repr))


def test_pattern_columns_are_sent_as_the_store_keeps_them(store: Store) -> None:
    typed = TypedRows.of(store, "features").fitted(table_named("features").to_arrow([features(0)]))
    kinds = {f.name: "int16" if f.kind == "pattern" else "double" for f in FEATURES}
    assert {name: str(typed.schema.field(name).type) for name in kinds} == kinds


def test_nan_of_a_feature_becomes_null(store: Store) -> None:
    names = [FEATURES[0].name, next(f.name for f in FEATURES if f.kind == "pattern")]
    rows = table_named("features").to_arrow([features(0), features(1)])
    for name in names:
        rows = with_column(rows, name, pa.array([math.nan, 100.0]))
    sink = ClickHouseSink(store.endpoint, "features")
    assert sink.write([rows], None).rows == 2
    (found,) = store.query_arrow(
        f"SELECT countIf({names[0]} IS NULL) AS a, countIf({names[1]} IS NULL) AS b, "
        f"sum({names[0]}) AS c, sum({names[1]}) AS d FROM features"
    ).to_pylist()
    assert found == {"a": 1, "b": 1, "c": 100.0, "d": 100}


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("instrument", pa.array([7]), "column instrument of table candles takes string, not int64"),
        ("close", pa.array(["1.5"]), "column close of table candles takes double, not string"),
        (
            "open_time",
            pa.array([T0], pa.timestamp("ns")),
            r"column open_time of table candles takes .*: give it a time zone",
        ),
        (
            "close",
            pa.array([None], pa.float64()),
            "column close of table candles must have a value, and 1 rows have none",
        ),
        (
            "close",
            pa.array([math.nan]),
            "column close of table candles must have a value, and 1 rows have none",
        ),
        ("trade_count", pa.array([1.5]), "column trade_count of table candles cannot hold a value"),
        ("version", pa.array([2**63], pa.uint64()), "column version of table candles cannot hold"),
    ],
)
def test_column_that_does_not_fit_is_named_with_its_table(
    store: Store, column: str, values: pa.Array, words: str
) -> None:
    sink = ClickHouseSink(store.endpoint, "candles")
    with pytest.raises(StoreError, match=words):
        sink.write([with_column(candles(0), column, values)], None)
    assert count(store, "candles") == 0


def test_column_that_is_missing_is_named_unless_it_may_be_null(store: Store) -> None:
    sink = ClickHouseSink(store.endpoint, "candles")
    with pytest.raises(StoreError, match="rows for table candles lack its column 'close'"):
        sink.write([candles(0).drop_columns(["close"])], None)
    sink.write([candles(0).drop_columns(["vwap", "twap"])], None)
    assert store.command("SELECT countIf(vwap IS NULL AND twap IS NULL) FROM candles") == "1"


def test_column_that_the_table_does_not_have_is_named(store: Store) -> None:
    rows = candles(0).append_column("closed", pa.array([1.0]))
    with pytest.raises(StoreError, match="table candles has no column 'closed'"):
        ClickHouseSink(store.endpoint, "candles").write([rows], None)


def test_values_of_other_widths_and_dictionaries_are_taken(store: Store) -> None:
    rows = candles(0, 1)
    rows = with_column(rows, "instrument", rows.column("instrument").dictionary_encode())
    rows = with_column(rows, "exchange", rows.column("exchange").cast(pa.large_string()))
    rows = with_column(rows, "open", rows.column("open").cast(pa.float32()))
    seconds = rows.column("open_time").cast(pa.timestamp("s", "Europe/Berlin"))
    rows = with_column(rows, "open_time", seconds)
    ClickHouseSink(store.endpoint, "candles").write([rows], None)
    found = store.query_arrow("SELECT open_time, open FROM candles ORDER BY open_time")
    assert found.column("open_time").cast(TIME).cast(pa.int64())[0].as_py() == T0
    assert found.column("open").to_pylist() == [1.5, 1.5]


# ---------------------------------------------------------------- sizes


@given(lengths=st.lists(st.integers(0, 40), max_size=20), most=st.integers(8, 400))
def test_sized_tables_hold_all_rows_in_their_order(lengths: list[int], most: int) -> None:
    edges = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    tables = [pa.table({"n": pa.array(range(a, b), pa.int64())}) for a, b in pairwise(edges)]
    found = list(sized(tables, most))
    assert [n for each in found for n in each.column("n").to_pylist()] == list(range(edges[-1]))
    assert all(0 < each.num_rows * 8 <= max(1.5 * most, 8) + 8 for each in found)


def test_sized_tables_of_other_columns_are_not_joined() -> None:
    found = list(sized([pa.table({"a": [1]}), pa.table({"b": [2]})], 1_000))
    assert [each.column_names for each in found] == [["a"], ["b"]]


# ---------------------------------------------------------------- once


def test_block_written_again_is_stored_once(store: Store) -> None:
    sink = ClickHouseSink(store.endpoint, "candles")
    for _ in range(3):
        sink.write([candles(0, 1, 2)], None)
    assert count(store, "candles") == 3  # without FINAL: the token alone did it


@pytest.mark.parametrize(
    "since",
    [
        "INSERT INTO candles (* EXCEPT close) SELECT * EXCEPT close FROM candles",
        "ALTER TABLE candles DELETE WHERE true SETTINGS mutations_sync = 2",
    ],
)
def test_block_of_a_later_run_is_stored_though_an_equal_one_was_before(
    store: Store, since: str
) -> None:
    rows = candles(0)
    ClickHouseSink(store.endpoint, "candles").write([rows], None)
    store.command(since)
    ClickHouseSink(store.endpoint, "candles").write([rows], None)
    found = store.query_arrow("SELECT close FROM candles FINAL")
    assert found.column("close").to_pylist() == rows.column("close").to_pylist()


def test_candles_cut_into_other_blocks_collapse_to_one_version(store: Store) -> None:
    sink = ClickHouseSink(store.endpoint, "candles")
    sink.write([candles(0, 1, 2), candles(3, 4)], None)
    sink.write([candles(0), candles(1, 2, 3, 4)], None)
    assert store.command("SELECT count() FROM candles FINAL") == "5"


def test_trades_cut_into_other_blocks_are_stored_once(store: Store) -> None:
    sink = ClickHouseSink(store.endpoint, "trades")
    assert sink.write([trades(1, 2, 3)], None).rows == 3
    assert sink.write([trades(2, 3, 4), trades(4, 5, 1)], None).rows == 2
    assert store.query_arrow("SELECT trade_id FROM trades ORDER BY sequence").column(
        0
    ).to_pylist() == ["1", "2", "3", "4", "5"]


def test_trades_of_two_tasks_at_once_are_stored_once_each(store: Store) -> None:
    sink = ClickHouseSink(store.endpoint, "trades")
    hands = [trades(*range(n, 2_000, 4)) for n in range(1, 5)]
    threads = [threading.Thread(target=sink.write, args=([hand], None)) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.command("SELECT (count(), uniqExact(trade_id)) FROM trades") == "(1999,1999)"


def test_insert_thought_lost_that_arrives_late_counts_as_its_repetition(store: Store) -> None:
    """Its token is of the whole block, also where fewer rows were missing the second time."""
    sink = ClickHouseSink(store.endpoint, "trades")
    whole = trades(1, 2, 3)
    store.insert_arrow("trades", trades(1))
    sink.write([whole], None)
    token = ray_data.content_token("trades", sink._typed.fitted(whole))
    store.insert_arrow("trades", whole, token)
    assert count(store, "trades") == 3


def test_tops_without_an_update_number_are_refused(store: Store) -> None:
    sink = ClickHouseSink(store.endpoint, "book_tops")
    numbered = table_named("book_tops").to_arrow([top(1), top(2)])
    assert [sink.write([numbered], None).rows for _ in range(2)] == [2, 0]
    with pytest.raises(StoreError, match="column sequence of table book_tops"):
        sink.write([table_named("book_tops").to_arrow([top(4, 0)])], None)


@pytest.mark.parametrize("table", ["dead_letters", "book_deltas"])
def test_table_whose_rows_nothing_tells_apart_is_refused(store: Store, table: str) -> None:
    with pytest.raises(StoreError, match=f"table {table} cannot be written by a job"):
        ClickHouseSink(store.endpoint, table)


# ---------------------------------------------------------------- units


def sink_of(store: Store, run: str) -> ClickHouseSink:
    return ClickHouseSink(store.endpoint, "candles", Ledger("build", run))


def test_unit_is_done_once_its_blocks_add_up(store: Store) -> None:
    sink = sink_of(store, "run-1")
    sink.write([in_unit(candles(0, 1), "u", 3)], None)
    assert done_units(store, "build") == {}
    written = sink.write([in_unit(candles(2), "u", 3)], None)
    assert written == Written(1, {"u": 1})
    assert done_units(store, "build") == {"u": {"f1"}}
    assert done_units(store, "other") == {}


def test_block_of_many_units_is_one_insert_and_a_note_for_each(store: Store) -> None:
    rows = pa.concat_tables([in_unit(candles(n), f"u{n}", 1) for n in range(40)])
    sink_of(store, "run-1").write([rows], None)
    parts = store.command(
        "SELECT count() FROM system.parts WHERE database = currentDatabase() "
        "AND table = 'candles' AND active"
    )
    assert parts == "1"
    assert len(done_units(store, "build")) == 40


def test_block_written_again_counts_once_for_its_unit(store: Store) -> None:
    sink = sink_of(store, "run-1")
    for _ in range(3):
        sink.write([in_unit(candles(0, 1), "u", 5)], None)
    assert done_units(store, "build") == {}


def test_blocks_of_two_runs_do_not_add_up(store: Store) -> None:
    """Cut elsewhere they overlap: three rows and two are not the five of the unit."""
    sink_of(store, "run-1").write([in_unit(candles(0, 1, 2), "u", 5)], None)
    sink_of(store, "run-2").write([in_unit(candles(0, 1), "u", 5)], None)
    assert done_units(store, "build") == {}


def test_only_the_newest_run_of_a_unit_counts(store: Store) -> None:
    sink_of(store, "run-1").write([in_unit(candles(0, 1), "u", 2, "old")], None)
    sink_of(store, "run-2").write([in_unit(candles(0, version=2), "u", 2, "new")], None)
    assert done_units(store, "build") == {}, "half of it is of other settings now"
    sink_of(store, "run-3").write([in_unit(candles(0, 1, version=3), "u", 2, "new")], None)
    assert done_units(store, "build") == {"u": {"new"}}


def test_unit_without_rows_can_be_noted_as_done(store: Store) -> None:
    note_empty(store, Ledger("build", "run-1"), {"a": "f1", "b": "f2"})
    assert done_units(store, "build") == {"a": {"f1"}, "b": {"f2"}}


def test_row_of_no_unit_is_refused(store: Store) -> None:
    rows = in_unit(candles(0), "u", 1)
    rows = with_column(rows, UNIT, pa.array([None], pa.string()))
    with pytest.raises(StoreError, match="a row of build belongs to no unit"):
        sink_of(store, "run-1").write([rows], None)


def test_unit_columns_come_together(store: Store) -> None:
    rows = in_unit(candles(0), "u", 1).drop_columns([FINGERPRINT])
    with pytest.raises(StoreError, match="rows carry the column _unit and lack _fingerprint"):
        sink_of(store, "run-1").write([rows], None)


# ---------------------------------------------------------------- a store that is away


def test_patiently_asks_until_there_is_an_answer() -> None:
    answers = iter([StoreUnavailable("away"), StoreUnavailable("away"), 7])

    def ask() -> object:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    assert patiently(ask, (0.0, 0.0)) == 7


def test_patiently_gives_up_with_the_last_reason() -> None:
    def ask() -> None:
        raise StoreUnavailable("gone for good")

    with pytest.raises(StoreUnavailable, match="gone for good"):
        patiently(ask, (0.0, 0.0))


def test_refusal_is_not_asked_again() -> None:
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        raise StoreError("no")

    with pytest.raises(StoreError, match="no"):
        patiently(ask, (0.0,))
    assert asked == [1]


def test_store_that_stops_in_the_middle_of_a_task_gets_every_row_once(
    tmp_path: Path, home: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_data, "BLOCK_BYTES", 1)  # no two of the blocks become one
    home.stop()  # one folder a process: this test opens its own
    mine = EmbeddedStore(tmp_path / "db", password="fixed", viewer_password="looks")
    endpoint = mine.start()
    try:
        with Store(endpoint) as store:
            migrate(store, KEPT_FOR_EVER)
        sink = ClickHouseSink(endpoint, "candles", Ledger("build", "run-1"))
        again = EmbeddedStore(tmp_path / "db", port=endpoint.port)
        blocks = [in_unit(candles(n, n + 1), f"u{n}", 2) for n in (0, 2, 4)]
        written = sink.write(_interrupted(blocks, mine.stop, again.start), None)
        with Store(endpoint) as store:
            assert written.units == {"u0": 2, "u2": 2, "u4": 2}
            assert store.command("SELECT (count(), uniqExact(open_time)) FROM candles") == "(6,6)"
            assert set(done_units(store, "build")) == {"u0", "u2", "u4"}
        again.stop()
    finally:
        mine.stop()
        home.start()


def _interrupted(
    blocks: list[pa.Table], stop: Callable[[], object], start: Callable[[], object]
) -> Iterator[pa.Table]:
    """Give all but the last block, stop the store, give the last; the store is back soon."""
    *most, last = blocks
    yield from most
    stop()
    back = threading.Timer(0.7, start)
    back.start()
    yield last
    back.join()
