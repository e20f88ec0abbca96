"""Recorded candles of Binance as the import reads them: counts, spans, the two LUNAs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.clock import iso_utc
from engine.domain.timeframe import Timeframe
from engine.exchanges.listings import as_of
from engine.exchanges.registry import exchange
from engine.imports.census import IDLE, take_census
from engine.imports.convert import convert, file_parts
from engine.imports.files import find_files
from engine.imports.look import Look
from engine.imports.problem import ImportProblem
from engine.imports.rows import Reading
from engine.imports.symbols import SymbolNames

pytestmark = pytest.mark.real

WEEK = 7 * 86_400 * 10**9
NOW = 1_790_000_000_000_000_000
FILES: dict[str, tuple[str, Timeframe, int, int, int]] = {
    # venue, timeframe, rows, instruments, bars without trades
    "binance_spot_1h_60sym_2021_2023": ("binance", Timeframe.H1, 1_435_335, 60, 60),
    "binance_spot_1d_50sym_2018_2026": ("binance", Timeframe.D1, 75_084, 50, 0),
    "binance_perp_1m_80sym_2025-06-17_23": ("binance_perp", Timeframe.M1, 691_280, 80, 680),
}


@pytest.fixture(scope="module")
def looked(real_data: Path) -> Callable[[str], tuple[Look, Reading]]:
    """Each file is looked at once."""
    known: dict[str, tuple[Look, Reading]] = {}

    def look_at(name: str, zone: str = "UTC") -> tuple[Look, Reading]:
        if name not in known:
            venue = exchange(FILES[name][0])
            how = Reading({}, SymbolNames(venue, {}), None, zone, frozenset(), 0, 2**63 - 1, NOW)
            file = find_files(str(real_data / "candles" / f"{name}.parquet"))[0]
            look = Look([take_census(file, how)], {})
            look.name(venue.name, venue, [], WEEK)
            known[name] = look, how
        return known[name]

    return look_at


@pytest.mark.parametrize("name", FILES)
def test_import_of_recorded_candles_finds_every_row_sound(looked: Any, name: str) -> None:
    look, _ = looked(name)
    [census] = look.censuses
    _, timeframe, rows, instruments, idle = FILES[name]
    assert (census.rows, census.timeframe, len(census.told)) == (rows, timeframe, instruments)
    assert (census.bad, census.disordered) == (0, 0)
    assert look.left_out() == ({IDLE: idle} if idle else {})


def test_import_of_recorded_candles_finds_the_second_luna_and_the_end_of_busd(looked: Any) -> None:
    look, _ = looked("binance_spot_1h_60sym_2021_2023")
    notes = look.notes()
    assert notes["instruments"] == 61
    assert notes["tickers used again"] == ["LUNA~2-USDT from 2022-05-31"]
    assert notes["ended"] == ["BUSD-USDT", "LUNA-USDT"]
    dated = [
        (row.instrument, row.status, iso_utc(row.valid_from)[:13])
        for row in look.listings
        if row.symbol == "LUNAUSDT"
    ]
    assert dated == [
        ("LUNA-USDT", "trading", "2021-04-04T21"),
        ("LUNA-USDT", "delisted", "2022-05-20T01"),
        ("LUNA~2-USDT", "trading", "2022-05-31T06"),
    ]
    [born] = [row for row in look.listings if row.instrument == "LUNA~2-USDT"]
    assert len(as_of(look.listings, born.valid_from)) == 60
    assert sum(row.status == "trading" for row in look.listings) == 61


def test_import_of_recorded_candles_gives_their_own_numbers(looked: Any, real_data: Path) -> None:
    name = "binance_spot_1d_50sym_2018_2026"
    look, how = looked(name)
    [part] = file_parts(look.censuses[0], "binance", look.seams, how)
    found = pa.concat_tables(rows for _, rows in convert(part, how))
    theirs = pq.read_table(real_data / "candles" / f"{name}.parquet")
    for ours, column in (
        ("open", "open"), ("high", "high"), ("low", "low"), ("close", "close"),
        ("volume", "volume"), ("quote_volume", "quote_volume"), ("trade_count", "trades"),
        ("taker_buy_volume", "taker_buy_base"),
    ):  # fmt: skip
        assert found[ours].combine_chunks().equals(theirs[column].combine_chunks()), ours
    times = pc.cast(theirs["ts"], pa.timestamp("ns")).cast(pa.int64())
    assert found["open_time"].cast(pa.int64()).combine_chunks().equals(times.combine_chunks())
    assert found["vwap"].null_count == found.num_rows


def test_import_of_recorded_candles_without_a_zone_asks_for_one(real_data: Path) -> None:
    file = find_files(str(real_data / "candles" / "binance_spot_1d_50sym_2018_2026.parquet"))[0]
    names = SymbolNames(exchange("binance"), {})
    with pytest.raises(ImportProblem, match="column 'ts' holds times without a time zone"):
        take_census(file, Reading({}, names, None, "", frozenset(), 0, 2**63 - 1, NOW))
