"""What is wrong with rows, times and whole files: found, named, counted, exactly."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imports_samples import (
    HOUR,
    NOW,
    START,
    census_of,
    parquet,
    reading,
    rows,
    table,
    text_file,
)

from engine.domain.timeframe import Timeframe
from engine.imports.census import DUPLICATES, FORMING, IDLE, OUTSIDE, flawed_rows, take_census
from engine.imports.convert import convert, file_parts
from engine.imports.problem import Flaw, ImportProblem
from engine.imports.times import read_times, time_form

NAN = float("nan")


def changed(name: str, value: object, row: int = 3) -> pa.Table:
    """Return ten sound rows, one value of which is another."""
    values = rows("BTCUSDT", range(10))
    values[name] = [value if place == row else old for place, old in enumerate(values[name])]
    return table(values)


def extra(name: str, value: object, row: int = 3) -> pa.Table:
    """Return ten sound rows with one more column, empty but for one value."""
    values = rows("BTCUSDT", range(10))
    column = pa.array([value if place == row else None for place in range(10)])
    return table(values).append_column(name, column)


@pytest.mark.parametrize(
    ("name", "value", "flaw"),
    [
        ("symbol", None, Flaw.NO_SYMBOL),
        ("symbol", "", Flaw.NO_SYMBOL),
        ("symbol", "NONSENSE", Flaw.UNKNOWN_SYMBOL),
        ("ts", None, Flaw.NO_TIME),
        ("ts", -HOUR, Flaw.NO_TIME),
        ("ts", NOW + HOUR, Flaw.FUTURE),
        ("ts", START + 3 * HOUR + 1, Flaw.OFF_GRID),
        ("open", NAN, Flaw.OPEN),
        ("open", None, Flaw.OPEN),
        ("high", float("inf"), Flaw.HIGH),
        ("low", 0.0, Flaw.LOW),
        ("low", -1.0, Flaw.LOW),
        ("close", NAN, Flaw.CLOSE),
        ("volume", -1.0, Flaw.VOLUME),
        ("volume", NAN, Flaw.VOLUME),
        ("high", 103.5, Flaw.HIGH_BELOW),
        ("low", 103.5, Flaw.LOW_ABOVE),
    ],
)
def test_census_of_one_bad_value_names_that_row_and_nothing_else(
    tmp_path: Path, name: str, value: object, flaw: Flaw
) -> None:
    census = census_of(tmp_path, changed(name, value))
    assert (census.flawed.tolist(), census.flaws.tolist()) == ([3], [flaw])
    assert census.keep.tolist() == [place != 3 for place in range(10)]
    assert [sample.row for sample in census.samples] == [4]


@pytest.mark.parametrize(
    ("name", "value", "flaw"),
    [
        ("quote_volume", -1.0, Flaw.QUOTE_VOLUME),
        ("trades", -1, Flaw.TRADE_COUNT),
        ("trades", 1.5, Flaw.TRADE_COUNT),
        ("vwap", 0.0, Flaw.VWAP),
        ("twap", -2.0, Flaw.TWAP),
        ("taker_buy_base", -0.5, Flaw.TAKER_BUY_VOLUME),
        ("taker_buy_base", 13.1, Flaw.TAKER_ABOVE),
    ],
)
def test_census_of_one_bad_optional_value_names_that_row(
    tmp_path: Path, name: str, value: object, flaw: Flaw
) -> None:
    census = census_of(tmp_path, extra(name, value))
    assert (census.flawed.tolist(), census.flaws.tolist()) == ([3], [flaw])


def test_census_sample_names_row_column_and_value_in_the_files_words(tmp_path: Path) -> None:
    found = changed("high", 103.5).rename_columns(["symbol", "ts", "o", "h", "l", "c", "v"])
    census = census_of(tmp_path, found)
    assert census.samples[0].text == "row 4: column 'h' (103.5) is below open, close or low"


def test_census_flat_price_is_sound(tmp_path: Path) -> None:
    flat = rows("BTCUSDT", range(5)) | dict.fromkeys(("open", "high", "low", "close"), [7.0] * 5)
    assert census_of(tmp_path, table(flat)).keep.tolist() == [True] * 5


def test_census_volume_of_zero_is_left_out_but_not_missing(tmp_path: Path) -> None:
    census = census_of(tmp_path, changed("volume", 0.0))
    assert census.left_out[IDLE] == 1
    assert census.bad == 0
    assert census.told["BTC-USDT"].tolist() == [[START, START + 10 * HOUR]]
    assert census.traded["BTC-USDT"].tolist() == [
        [START, START + 3 * HOUR],
        [START + 4 * HOUR, START + 10 * HOUR],
    ]


def test_census_equal_rows_count_once_and_the_first_stays(tmp_path: Path) -> None:
    twice = table(rows("BTCUSDT", [0, 1, 2, 1, 2, 2]))
    census = census_of(tmp_path, twice)
    assert census.keep.tolist() == [True, True, True, False, False, False]
    assert (census.left_out[DUPLICATES], census.bad) == (3, 0)


def test_census_rows_that_contradict_each_other_are_all_flawed(tmp_path: Path) -> None:
    torn = table(rows("BTCUSDT", [0, 1, 2]), rows("BTCUSDT", [1], 101.0), rows("BTCUSDT", [2]))
    census = census_of(tmp_path, torn)
    assert census.keep.tolist() == [True, False, True, False, False]
    assert census.flawed.tolist() == [1, 3]
    assert census.flaws.tolist() == [Flaw.CONTRADICTS] * 2
    assert census.left_out[DUPLICATES] == 1


def test_census_rows_out_of_order_are_counted_by_symbol(tmp_path: Path) -> None:
    mixed = table(rows("BTCUSDT", [0, 3, 1, 2]), rows("ETHUSDT", [0, 1, 2]))
    census = census_of(tmp_path, mixed)
    assert (census.disordered, census.bad) == (1, 0)
    assert census.told["BTC-USDT"].tolist() == [[START, START + 4 * HOUR]]


def test_census_leaves_out_what_was_not_asked_for_and_its_flaws(tmp_path: Path) -> None:
    values = table(rows("BTCUSDT", range(6)), rows("ETHUSDT", range(6), -1.0))
    census = census_of(
        tmp_path, values, wanted=frozenset({"BTC-USDT"}), begin=START + HOUR, end=START + 4 * HOUR
    )
    assert census.bad == 0
    assert census.told["BTC-USDT"].tolist() == [[START + HOUR, START + 4 * HOUR]]
    # Of ETH-USDT rows 2 to 5 alone could have been candles: their lows lie above 0 from hour 4.
    assert census.left_out[OUTSIDE] == 3 + 2


def test_census_interval_that_is_not_over_is_left_out(tmp_path: Path) -> None:
    census = census_of(tmp_path, table(rows("BTCUSDT", range(5))), now=START + 4 * HOUR + 1)
    assert census.left_out[FORMING] == 1
    assert census.keep.tolist() == [True] * 4 + [False]


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_census_tells_the_timeframe_from_the_spacing(tmp_path: Path, timeframe: Timeframe) -> None:
    values = rows("BTCUSDT", [0, 1, 2, 5, 6, 9])
    values["ts"] = [START + hour * timeframe.ns for hour in (0, 1, 2, 5, 6, 9)]
    assert census_of(tmp_path, table(values)).timeframe is timeframe


def test_census_rows_half_an_hour_apart_are_refused(tmp_path: Path) -> None:
    values = rows("BTCUSDT", range(5))
    values["ts"] = [START + n * HOUR // 2 for n in range(5)]
    with pytest.raises(ImportProblem, match="its rows are 30m apart, which is none of the time"):
        census_of(tmp_path, table(values))


def test_census_one_row_a_symbol_asks_for_the_timeframe(tmp_path: Path) -> None:
    values = table(rows("BTCUSDT", [0]), rows("ETHUSDT", [0]))
    with pytest.raises(ImportProblem, match="name it with --set timeframe=1h"):
        census_of(tmp_path, values)
    census = census_of(tmp_path, values, timeframe=Timeframe.H1)
    assert census.keep.tolist() == [True, True]


def test_census_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportProblem, match=r"candles.parquet holds no rows"):
        census_of(tmp_path, table(rows("BTCUSDT", range(3))).slice(0, 0))


@pytest.mark.parametrize(
    ("name", "column", "why"),
    [
        ("open", ["a"] * 3, "column 'open' holds string, not numbers"),
        ("symbol", [1, 2, 3], "column 'symbol' holds int64, not symbols"),
        ("ts", [True] * 3, "column 'ts' holds bool, not times"),
        ("ts", ["yesterday"] * 3, "column 'ts' holds 'yesterday', not a time"),
        ("ts", [1, 2, 3], "column 'ts' holds numbers (1) that are no time since 2009"),
        ("ts", [1_640_995_200, 1_640_995_200_000, 3], "column 'ts' mixes s and ms since 1970"),
    ],
)
def test_census_column_of_another_type_is_refused_by_name(
    tmp_path: Path, name: str, column: list, why: str
) -> None:
    found = table(rows("BTCUSDT", range(3)))
    place = found.column_names.index(name)
    with pytest.raises(ImportProblem) as caught:
        census_of(tmp_path, found.set_column(place, name, pa.array(column)))
    assert str(caught.value).startswith(f"candles.parquet: {why}")


NAIVE = [datetime(2022, 1, 1) + timedelta(hours=hour) for hour in range(3)]  # noqa: DTZ001 - the point


@pytest.mark.parametrize(
    "column",
    [
        pa.array(NAIVE, pa.timestamp("us")),
        pa.array([date(2022, 1, day) for day in (1, 2, 3)]),
        pa.array([f"{moment:%Y-%m-%d %H:%M:%S}" for moment in NAIVE]),
    ],
)
def test_census_naive_times_are_refused_unless_a_zone_is_given(
    tmp_path: Path, column: pa.Array
) -> None:
    found = table(rows("BTCUSDT", range(3))).set_column(1, "ts", column)
    with pytest.raises(ImportProblem) as caught:
        census_of(tmp_path, found)
    assert str(caught.value) == (
        "candles.parquet: column 'ts' holds times without a time zone; say which one is meant, "
        "for example with --set naive_timezone=UTC"
    )
    census = census_of(tmp_path, found, naive_timezone="UTC")
    assert census.told["BTC-USDT"][0, 0] == START
    tokyo = census_of(tmp_path, found, naive_timezone="Asia/Tokyo", timeframe=Timeframe.H1)
    assert tokyo.told["BTC-USDT"][0, 0] == START - 9 * HOUR


def test_census_hour_that_a_zone_has_twice_is_flawed(tmp_path: Path) -> None:
    moments = [datetime(2022, 10, 30, hour) for hour in range(6)]  # noqa: DTZ001 - the point
    found = table(rows("BTCUSDT", range(6))).set_column(1, "ts", pa.array(moments))
    census = census_of(tmp_path, found, naive_timezone="Europe/Berlin")
    assert (census.flawed.tolist(), census.flaws.tolist()) == ([2], [Flaw.AMBIGUOUS_TIME])


UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@given(
    times=st.lists(st.integers(1_300_000_000, 2_000_000_000), min_size=1, max_size=20),
    unit=st.sampled_from(list(UNITS)),
    form=st.sampled_from(["int", "float", "text", "timestamp"]),
)
def test_times_written_in_any_unit_are_the_same_nanoseconds(
    times: list[int], unit: str, form: str
) -> None:
    wanted = [time * 10**9 for time in times]
    raw = [time // UNITS[unit] for time in wanted]
    column = {
        "int": lambda: pa.array(raw),
        "float": lambda: pa.array([float(value) for value in raw]),
        "text": lambda: pa.array([str(value) for value in raw]),
        "timestamp": lambda: pa.array(raw).cast(pa.timestamp(unit, "UTC")),
    }[form]()
    found, flaws = read_times(column, time_form("a.csv", "ts", column, ""))
    if form == "float" and unit == "ns":
        # A double holds nanoseconds since 1970 to 256 of them.
        assert np.allclose(found, wanted, rtol=0, atol=256)
    else:
        assert found.tolist() == wanted
    assert not flaws.any()


@pytest.mark.parametrize(
    "text",
    ["2022-01-01T00:00:00Z", "2022-01-01 00:00:00+00:00", "2022-01-01 01:00:00+01:00",
     "2022-01-01 00:00:00 UTC", " 2022-01-01T00:00:00.000000000Z "],
)  # fmt: skip
def test_times_as_text_with_a_zone_are_read(text: str) -> None:
    column = pa.array([text, "2022-13-01T00:00:00Z", None])
    found, flaws = read_times(column, time_form("a.csv", "ts", column, ""))
    assert found.tolist() == [START, 0, 0]
    assert flaws.tolist() == [Flaw.SOUND, Flaw.NO_TIME, Flaw.NO_TIME]


CSV = """symbol,open_time,open,high,low,close,volume
BTCUSDT,1640995200000,100,102,98,101,10
BTCUSDT,1640998800000,100,abc,98,101,10
BTCUSDT,1641002400000,100,102
BTCUSDT,1641006000000,100,102,98,101,10
BTCUSDT,1641009600000,100,,98,101,10
"""


def test_csv_bad_lines_are_told_by_their_numbers_and_set_aside_as_they_were(tmp_path: Path) -> None:
    census = take_census(text_file(tmp_path, CSV), reading())
    assert [sample.text for sample in census.samples] == [
        "row 2: column 'high' (abc) is not a finite number above 0",
        "row 3 (BTCUSDT,1641002400000,100,102): the line has not as many values as the header",
        "row 5: column 'high' (empty) is not a finite number above 0",
    ]
    set_aside = list(flawed_rows(census))
    assert sorted((number, flaw) for number, flaw, _ in set_aside) == [
        (2, Flaw.HIGH), (3, Flaw.MALFORMED), (5, Flaw.HIGH),
    ]  # fmt: skip
    assert '"high": "abc"' in set_aside[0][2]
    assert census.told["BTC-USDT"].tolist() == [
        [START, START + HOUR], [START + 3 * HOUR, START + 4 * HOUR],
    ]  # fmt: skip


def test_csv_without_symbols_takes_them_from_the_name_of_the_file(tmp_path: Path) -> None:
    text = "\n".join(line.partition(",")[2] for line in CSV.splitlines()[:2]) + "\n"
    file = text_file(tmp_path, text, "ETHUSDT-1h-2022-01.csv")
    census = take_census(file, reading(timeframe=Timeframe.H1))
    assert list(census.told) == ["ETH-USDT"]
    with pytest.raises(ImportProblem, match="has no column of symbols, and its name is none"):
        take_census(text_file(tmp_path, text), reading())
    named = reading(timeframe=Timeframe.H1, wanted=frozenset({"SOL-USDT"}))
    assert list(take_census(text_file(tmp_path, text), named).told) == ["SOL-USDT"]


def test_convert_gives_the_columns_of_candles_with_what_is_unknown_null(tmp_path: Path) -> None:
    values = extra("trades", 7)
    census = census_of(tmp_path, values)
    part = file_parts(
        census, "binance", {"BTC-USDT": ((START + 8 * HOUR, "BTC~2-USDT"),)}, reading()
    )
    [(piece, found)] = list(convert(part[0], reading()))
    assert piece == "rows 1-10"
    assert found["instrument"].to_pylist() == ["BTC-USDT"] * 8 + ["BTC~2-USDT"] * 2
    row = found.slice(3, 1).to_pylist()[0]
    times = {
        name: found[name].cast(pa.int64()).to_pylist()[3] for name in ("open_time", "close_time")
    }
    assert times == {"open_time": START + 3 * HOUR, "close_time": START + 4 * HOUR}
    assert {name: row[name] for name in row if name not in times} == {
        "exchange": "binance", "instrument": "BTC-USDT", "timeframe": "1h",
        "open": 103.0, "high": 105.0, "low": 101.0, "close": 104.0, "volume": 13.0,
        "quote_volume": None, "trade_count": 7, "vwap": None, "twap": None,
        "taker_buy_volume": None, "source": "import", "is_closed": True,
        "version": START + 3 * HOUR - 1,
    }  # fmt: skip
    assert found["trade_count"].null_count == 9


def test_convert_of_a_file_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    census = census_of(tmp_path, table(rows("BTCUSDT", range(10))))
    [part] = file_parts(census, "binance", {}, reading())
    parquet(tmp_path, table(rows("BTCUSDT", range(11))))
    with pytest.raises(ImportProblem, match="was changed while it was imported"):
        list(convert(part, reading()))


def test_file_parts_fingerprint_changes_with_content_and_choice_only(tmp_path: Path) -> None:
    found = table(rows("BTCUSDT", range(10)))
    first = file_parts(census_of(tmp_path, found), "binance", {}, reading())[0].fingerprint
    again = file_parts(census_of(tmp_path, found), "binance", {}, reading())[0].fingerprint
    fewer = census_of(tmp_path, found, end=START + 5 * HOUR)
    other = census_of(tmp_path, changed("open", 103.5))
    assert again == first
    assert file_parts(fewer, "binance", {}, reading())[0].fingerprint != first
    assert file_parts(other, "binance", {}, reading())[0].fingerprint != first
    assert file_parts(census_of(tmp_path, found), "bybit", {}, reading())[0].fingerprint != first


@settings(max_examples=40, deadline=None)
@given(
    hours=st.lists(st.integers(0, 40), min_size=2, max_size=60),
    group=st.integers(1, 13),
)
def test_convert_keeps_each_bar_once_whatever_the_order_and_row_groups(
    tmp_path_factory: pytest.TempPathFactory, hours: list[int], group: int
) -> None:
    folder = tmp_path_factory.mktemp("law")
    file = parquet(folder, table(rows("BTCUSDT", hours)), row_group_size=group)
    how = reading(timeframe=Timeframe.H1)
    census = take_census(file, how)
    pieces = [
        found for part in file_parts(census, "binance", {}, how) for _, found in convert(part, how)
    ]
    stored = pa.concat_tables(pieces)
    times = stored["open_time"].cast(pa.int64()).to_pylist()
    assert sorted(times) == sorted({START + hour * HOUR for hour in hours})
    assert len(hours) == len(times) + census.left_out[DUPLICATES]
    opens = dict(zip(times, stored["open"].to_pylist(), strict=True))
    assert opens == {START + hour * HOUR: 100.0 + hour for hour in set(hours)}
