"""A table in ranges of its key: every row in exactly one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import (
    HOUR,
    KEPT_FOR_EVER,
    T0,
    aggregate,
    candle,
    item,
    mood,
    score,
    signal,
    trade,
)

from engine.domain.market import Candle
from engine.domain.text import TextItem
from engine.errors import StoreError
from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.columns import TIME
from engine.store.embedded import EmbeddedStore
from engine.store.key_ranges import Range, Selection, joined, packed, read_key
from engine.store.schema import migrate

LATE = 2**62
_USED = (
    "trades",
    "candles",
    "texts",
    "sentiment_scores",
    "sentiment_aggregates",
    "market_mood",
    "signals",
)


@pytest.fixture(scope="module")
def migrated(home: EmbeddedStore) -> Iterator[Store]:
    with Store(replace(home.endpoint, database="ranges")) as store:
        migrate(store, KEPT_FOR_EVER, feature_columns())
        yield store


@pytest.fixture
def store(migrated: Store) -> Store:
    """One database for all tests here: to make its tables takes longer than any of them."""
    for table in _USED:
        migrated.command("TRUNCATE TABLE {table:Identifier}", {"table": table})
    return migrated


def select(store: Store, table: str, where: str = "", **parameters: object) -> Selection:
    return Selection(read_key(store, table), 0, LATE, LATE, where, parameters)


def read(store: Store, selection: Selection, ranges: Iterable[Range], name: str) -> list[object]:
    return [
        value
        for each in ranges
        for value in store.query_arrow(*selection.query([name], each)).column(name).to_pylist()
    ]


def bar(instrument: str, timeframe: str, moment: int) -> Candle:
    times = {"open_time": T0 + moment, "close_time": T0 + moment + HOUR}
    return msgspec.structs.replace(candle(0, instrument), timeframe=timeframe, **times)


# ---------------------------------------------------------------- what orders a table


@pytest.mark.parametrize(
    ("table", "series", "time"),
    [
        ("trades", ("exchange", "instrument"), "exchange_time"),
        ("book_tops", ("exchange", "instrument"), "receive_time"),
        ("candles", ("exchange", "instrument", "timeframe"), "open_time"),
        ("features", ("timeframe", "exchange", "instrument"), "open_time"),
        ("signals", ("timeframe", "instrument"), "as_of"),
        ("texts", (), "available_at"),
        ("sentiment_scores", ("model",), "scored_at"),
        ("sentiment_aggregates", ("instrument", "window"), "as_of"),
        ("market_mood", ("series",), "time"),
    ],
)
def test_key_of_a_table_names_its_series_and_its_time(
    store: Store, table: str, series: tuple[str, ...], time: str
) -> None:
    key = read_key(store, table)
    assert (key.series, key.time) == (series, time)


def test_key_of_plain_tables_has_no_versions_and_knows_seconds(store: Store) -> None:
    trades, features = read_key(store, "trades"), read_key(store, "features")
    assert (trades.has_versions, trades.has_coarse_inserts) == (False, True)
    assert (features.has_versions, features.has_coarse_inserts) == (True, False)


def test_table_without_a_time_is_refused_by_name(store: Store) -> None:
    with pytest.raises(StoreError, match="table job_blocks cannot be split"):
        read_key(store, "job_blocks")


def test_table_that_is_not_there_is_refused_by_name(store: Store) -> None:
    with pytest.raises(StoreError, match="the store has no table nonsense"):
        read_key(store, "nonsense")


# ---------------------------------------------------------------- the law


_bars = st.lists(
    st.builds(
        bar,
        st.sampled_from(["AA-USDT", "AB-USDT", "B-USDT", "B~2-USDT", "é-USDT"]),
        st.sampled_from(["1h", "1m"]),
        # Crowds and wide empty stretches, over a change of the year too.
        st.integers(0, 30) | st.integers(0, 400 * 24).map(lambda hours: hours * HOUR),
    ),
    max_size=60,
    unique_by=lambda row: (row.instrument, row.timeframe, row.open_time),
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=_bars, most=st.integers(1, 70))
def test_ranges_together_are_the_table_and_no_row_is_in_two(
    store: Store, rows: list[Candle], most: int
) -> None:
    store.command("TRUNCATE TABLE candles")
    store.insert("candles", rows)
    selection = select(store, "candles")
    ranges = selection.ranges(store, most)
    columns = ["instrument", "timeframe", "open_time"]
    found = [store.query_arrow(*selection.query(columns, each)) for each in ranges]
    assert [each.num_rows for each in found] == [each.rows for each in ranges]
    assert all(each.rows <= most for each in ranges)
    got = [
        (row["instrument"], row["timeframe"], row["open_time"].value)
        for table in found
        for row in table.to_pylist()
    ]
    wanted = [(row.instrument, row.timeframe, row.open_time) for row in rows]
    assert got == sorted(wanted, key=lambda row: (row[0].encode(), row[1], row[2]))


_counts = st.lists(st.integers(1, 9), max_size=30)


@given(counts=_counts, most=st.integers(1, 20))
def test_packed_series_keep_their_order_and_their_rows(counts: list[int], most: int) -> None:
    series = [Range((f"{n:02}",), (f"{n:02}",), 0, 9, rows) for n, rows in enumerate(counts)]
    found = list(packed(series, most))
    assert sum(each.rows for each in found) == sum(counts)
    covered = [n for each in found for n in range(int(each.first[0]), int(each.last[0]) + 1)]
    assert covered == list(range(len(counts)))
    assert all(each.rows <= most or each.first == each.last for each in found)


@given(
    cells=st.dictionaries(st.integers(0, 50), st.integers(1, 9), min_size=1),
    most=st.integers(1, 20),
)
def test_joined_cells_cover_the_whole_without_a_gap(cells: dict[int, int], most: int) -> None:
    whole = Range(("a",), ("a",), 0, 10_000, sum(cells.values()))
    found = list(joined(whole, 100, 7, sorted(cells.items()), most))
    edges = [each.start for each in found] + [found[-1].end]
    assert edges == [0, *(each.end for each in found)][: len(edges)]
    assert (edges[0], edges[-1]) == (0, 10_000)
    for each in found:
        held = [n for n in cells if each.start <= 100 + n * 7 < each.end]
        assert each.rows == sum(cells[n] for n in held)
        assert each.rows <= most or len(held) == 1


# ---------------------------------------------------------------- sizes


def test_thousand_small_series_are_one_query(store: Store) -> None:
    store.insert("candles", [bar(f"C{n:04}-USDT", "1h", 0) for n in range(1_000)])
    selection = select(store, "candles")
    (whole,) = selection.ranges(store, 1_000)
    assert (whole.first[1], whole.last[1], whole.rows) == ("C0000-USDT", "C0999-USDT", 1_000)
    assert len(read(store, selection, [whole], "instrument")) == 1_000


def test_one_large_market_is_cut_into_even_stretches(store: Store) -> None:
    store.insert("trades", [trade(n) for n in range(1, 10_001)])
    selection = select(store, "trades")
    ranges = selection.ranges(store, 1_000)
    assert len(ranges) <= 13
    assert all(each.rows <= 1_000 for each in ranges)
    assert read(store, selection, ranges, "sequence") == list(range(1, 10_001))


def test_burst_in_a_quiet_year_is_cut_too(store: Store) -> None:
    quiet = [bar("A-USDT", "1h", day * 24 * HOUR) for day in range(300)]
    burst = [bar("A-USDT", "1h", 7 * HOUR + n) for n in range(500)]
    store.insert("candles", quiet + burst)
    ranges = select(store, "candles").ranges(store, 100)
    assert sum(each.rows for each in ranges) == 800
    assert max(each.rows for each in ranges) <= 100


def test_rows_of_one_moment_are_not_parted(store: Store) -> None:
    store.insert("texts", [_text(n, T0) for n in range(9)] + [_text(n, T0 + n) for n in (50, 60)])
    ranges = select(store, "texts").ranges(store, 4)
    assert [each.rows for each in ranges] == [9, 2]


def _text(number: int, available_at: int) -> TextItem:
    return msgspec.structs.replace(item(number), available_at=available_at)


def test_empty_tables_have_no_range(store: Store) -> None:
    for table in ("texts", "candles", "trades", "sentiment_scores"):
        assert select(store, table).ranges(store, 10) == []


# ---------------------------------------------------------------- what is asked for


def test_condition_names_columns_that_counting_might_shadow(store: Store) -> None:
    store.insert("candles", [candle(n) for n in range(4)])
    selection = select(store, "candles", "low < {limit:Float64} AND version = 1", limit=0.5)
    ranges = selection.ranges(store, 2)
    assert [each.rows for each in ranges] == [2, 2]
    assert select(store, "candles", "low > 0.5").ranges(store, 2) == []


def test_range_of_time_leaves_out_its_end(store: Store) -> None:
    store.insert("candles", [candle(n) for n in range(5)])
    selection = replace(select(store, "candles"), start=T0 + HOUR, end=T0 + 3 * HOUR)
    ranges = selection.ranges(store, 1)
    assert [each.rows for each in ranges] == [1, 1]
    times = store.query_arrow(*selection.query(["open_time"], ranges[1])).column(0)
    assert times.cast(pa.int64()).to_pylist() == [T0 + 2 * HOUR]


def test_series_that_comes_between_two_ranges_ends_belongs_to_one(store: Store) -> None:
    store.insert("candles", [bar(name, "1h", 0) for name in ("A-USDT", "C-USDT", "E-USDT")])
    selection = select(store, "candles")
    ranges = selection.ranges(store, 2)
    store.insert("candles", [bar(name, "1h", 0) for name in ("B-USDT", "D-USDT")])
    found = read(store, selection, ranges, "instrument")
    assert sorted(map(str, found)) == ["A-USDT", "B-USDT", "C-USDT", "E-USDT"]


def test_only_the_newest_version_is_read(store: Store) -> None:
    store.insert("candles", [candle(0, version=1, close=2.0), candle(1, close=3.0)])
    store.insert("candles", [candle(0, version=2, close=2.25)])
    selection = select(store, "candles")
    assert read(store, selection, selection.ranges(store, 10), "close") == [2.25, 3.0]


def test_rows_inserted_after_the_watermark_are_not_read(store: Store) -> None:
    store.insert("trades", [trade(1)])
    key = read_key(store, "trades")
    assert Selection(key, 0, LATE, T0).ranges(store, 10) == []
    (held,) = Selection(key, 0, LATE, LATE).ranges(store, 10)
    assert held.rows == 1


def test_scores_are_split_by_a_time_beside_their_key(store: Store) -> None:
    store.insert("sentiment_scores", [score(n, "lexicon-1") for n in range(50)])
    store.insert("sentiment_scores", [score(n, "other-2") for n in range(3)])
    selection = select(store, "sentiment_scores")
    ranges = selection.ranges(store, 10)
    found = read(store, selection, ranges, "text_id")
    assert [each.rows for each in ranges] == [10, 10, 10, 10, 10, 3]
    assert sorted(map(str, found)) == sorted(
        [f"text-{n}" for n in range(50)] + [f"text-{n}" for n in range(3)]
    )


@pytest.mark.parametrize(
    ("table", "rows", "sizes"),
    [
        ("market_mood", [mood(n) for n in range(6)], [2, 2, 2]),
        (
            "signals",
            [signal(n, name) for n in range(3) for name in ("A-USDT", "B-USDT")],
            [2, 1] * 2,
        ),
        (
            "sentiment_aggregates",
            [aggregate(T0 + n, w) for n in range(3) for w in ("1h", "1d")],
            [2, 1] * 2,
        ),
    ],
)
def test_every_table_that_jobs_read_can_be_split(
    store: Store, table: str, rows: Sequence[msgspec.Struct], sizes: list[int]
) -> None:
    store.insert(table, rows)
    selection = select(store, table)
    ranges = selection.ranges(store, 2)
    assert [each.rows for each in ranges] == sizes
    assert len(read(store, selection, ranges, selection.key.time)) == len(rows)


def test_many_series_are_found_by_the_index(store: Store) -> None:
    """A comparison of tuples alone would look at the whole table."""
    many = [bar(f"C{n:03}-USDT", "1h", hour) for n in range(60) for hour in range(1_000)]
    store.insert("candles", many)
    store.command("OPTIMIZE TABLE candles FINAL")
    span = Range(("binance", "C030-USDT", "1h"), ("binance", "C032-USDT", "1h"), 0, LATE, 3_000)
    sql, parameters = select(store, "candles").query(["close"], span)
    plan = store.query_arrow(f"EXPLAIN indexes = 1 {sql}", parameters).column(0).to_pylist()
    granules = [line.strip() for line in plan if "Granules:" in line]
    looked_at, there_are = granules[-1].removeprefix("Granules: ").split("/")
    assert int(looked_at) < int(there_are)


def test_times_are_tz_aware_nanoseconds(store: Store) -> None:
    store.insert("candles", [candle(0)])
    selection = select(store, "candles")
    found = store.query_arrow(*selection.query(["open_time"], selection.ranges(store, 1)[0]))
    assert found.schema.field("open_time").type == TIME
