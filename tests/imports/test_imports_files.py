"""Which files a path means, and which of their columns is which."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pytest
from imports_samples import parquet, reading, rows, table, text_file

from engine.exchanges.registry import exchange
from engine.imports.census import take_census
from engine.imports.columns import SPELLINGS, map_columns
from engine.imports.files import find_files
from engine.imports.problem import ImportProblem
from engine.imports.reading import TableFile
from engine.imports.symbols import SymbolNames
from engine.settings.import_candles import FILE_COLUMNS


def names(found: list) -> list[str]:
    return [file.name for file in found]


def test_find_files_folder_gives_known_kinds_below_it_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.parquet", "notes.txt", "2022/c.feather", "2022/d.csv.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_files(str(tmp_path))
    assert names(found) == ["2022/c.feather", "2022/d.csv.gz", "a.parquet", "b.csv"]
    assert [file.form for file in found] == ["feather", "csv", "parquet", "csv"]


def test_find_files_pattern_gives_what_matches_named_below_its_fixed_part(tmp_path: Path) -> None:
    for name in ("2022/BTC.csv", "2023/BTC.csv", "2023/ETH.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert names(find_files(f"{tmp_path}/*/BTC.csv")) == ["2022/BTC.csv", "2023/BTC.csv"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nothing.parquet", "is no file, folder or pattern of files"),
        ("*.parquet", "is no file, folder or pattern of files"),
        ("", "holds no file to import"),
        ("notes.txt", "is of no known kind"),
    ],
)
def test_find_files_nothing_to_import_is_refused(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ImportProblem, match=why):
        find_files(f"{tmp_path}/{path}")


def test_columns_configuration_and_mapping_know_the_same_names() -> None:
    assert tuple(SPELLINGS) == FILE_COLUMNS


def test_map_columns_klines_of_binance_are_recognised() -> None:
    header = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
        "taker_buy_quote_volume,ignore"
    )
    assert map_columns("a.csv", header.split(","), {}) == {
        "open_time": "open_time",
        **{name: name for name in ("open", "high", "low", "close", "volume", "quote_volume")},
        "trade_count": "count",
        "taker_buy_volume": "taker_buy_volume",
    }


def test_map_columns_capitals_and_spaces_do_not_matter() -> None:
    found = map_columns(
        "a.csv", ["Date", "Open", "High", "Low", "Close", "Quote Volume", "Vol"], {}
    )
    assert (found["open_time"], found["quote_volume"], found["volume"]) == (
        "Date", "Quote Volume", "Vol",
    )  # fmt: skip


def test_map_columns_given_name_goes_before_guesses() -> None:
    header = ["ts", "open", "high", "low", "close", "volume", "Volume BTC"]
    assert map_columns("a.csv", header, {"volume": "Volume BTC"})["volume"] == "Volume BTC"


def test_map_columns_two_candidates_are_refused_with_the_remedy() -> None:
    header = ["unix", "date", "o", "h", "l", "c", "v"]
    with pytest.raises(ImportProblem) as caught:
        map_columns("a.csv", header, {})
    assert str(caught.value) == (
        "a.csv: open_time could be column 'date' or 'unix'; say which with "
        "--set columns.open_time=date"
    )


def test_map_columns_missing_column_is_named_with_what_is_there() -> None:
    with pytest.raises(ImportProblem) as caught:
        map_columns("a.csv", ["ts", "open", "high", "low", "price", "volume"], {})
    assert str(caught.value) == (
        "a.csv lacks the column 'close'; it has ts, open, high, low, price, volume. Where one of "
        "them is meant, name it with --set columns.close=NAME"
    )


def test_map_columns_given_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(ImportProblem, match=r"has no column 'price', which columns\.close names"):
        map_columns("a.csv", ["ts", "open", "high", "low", "close", "volume"], {"close": "price"})


def test_map_columns_file_without_header_is_told_so() -> None:
    with pytest.raises(ImportProblem, match="has no header: its first line holds 1640995200000"):
        map_columns("a.csv", ["1640995200000", "1.5", "2", "1", "1.5", "10"], {})


@pytest.mark.parametrize(
    ("venue", "symbol", "instrument"),
    [
        ("binance", "BTCUSDT", "BTC-USDT"),
        ("binance", "btc/usdt", "BTC-USDT"),
        ("binance", "BTC_USDT", "BTC-USDT"),
        ("binance", "NONSENSE", None),
        ("binance_perp", "BTCUSDT", "BTC-USDT-PERP"),
        ("binance_perp", "BTC-USDT-PERP", "BTC-USDT-PERP"),
        ("binance", "BTC-USDT-PERP", None),
        ("kraken", "XBT/USD", "BTC-USD"),
        ("coinbase", "BTC-USD", "BTC-USD"),
        ("okx", "BTC-USDT-SWAP", "BTC-USDT-PERP"),
        ("bitstamp", "BTCUSD", "BTC-USD"),
    ],
)
def test_symbols_are_named_as_their_venue_spells_them(
    venue: str, symbol: str, instrument: str | None
) -> None:
    assert SymbolNames(exchange(venue), {}).instrument(symbol) == instrument


def test_symbols_given_name_goes_before_the_spelling() -> None:
    given = SymbolNames(exchange("binance"), {"XBT": "BTC-USDT"})
    assert given.instrument("XBT") == "BTC-USDT"


@pytest.mark.parametrize(
    ("name", "instrument"),
    [
        ("2022/BTCUSDT.csv", "BTC-USDT"),
        ("BTCUSDT-1h-2023-01.csv", "BTC-USDT"),
        ("BTCUSDT_1m.parquet", "BTC-USDT"),
        ("BTC-USDT.csv.gz", "BTC-USDT"),
        ("candles.csv", None),
        ("my-candles-of-2022.csv", None),
    ],
)
def test_symbols_file_name_tells_whose_candles_it_holds(name: str, instrument: str | None) -> None:
    assert SymbolNames(exchange("binance"), {}).of_file(name) == instrument


def test_files_of_every_kind_give_the_same_census(tmp_path: Path) -> None:
    found = table(rows("BTCUSDT", range(30)), rows("ETHUSDT", range(30), 50.0))
    feather.write_feather(found, tmp_path / "candles.feather")
    lines = ["symbol,ts,open,high,low,close,volume"] + [
        ",".join(
            [row["symbol"], row["ts"].isoformat()]
            + [str(row[name]) for name in ("open", "high", "low", "close", "volume")]
        )
        for row in found.to_pylist()
    ]
    text = "\n".join(lines) + "\n"
    with gzip.open(tmp_path / "candles.csv.gz", "wt") as stream:
        stream.write(text)
    files = [
        parquet(tmp_path, found),
        text_file(tmp_path, text),
        text_file(tmp_path, text.replace(",", ";"), "semicolons.csv"),
        *find_files(str(tmp_path / "candles.feather")),
        *find_files(str(tmp_path / "candles.csv.gz")),
    ]
    looks = [take_census(file, reading()) for file in files]
    covers = [{name: runs.tolist() for name, runs in look.told.items()} for look in looks]
    assert [look.rows for look in looks] == [60] * 5
    assert [look.bad for look in looks] == [0] * 5
    assert covers == covers[:1] * 5
    assert set(covers[0]) == {"BTC-USDT", "ETH-USDT"}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.parquet", b"PAR1 and then nothing", "a.parquet cannot be read as parquet: "),
        ("a.parquet", b"", "a.parquet cannot be read as parquet: "),
        ("a.feather", b"nonsense", "a.feather cannot be read as feather: "),
        ("a.csv", b"", "a.csv is empty: not even a header"),
        ("a.csv.gz", b"no gzip", "a.csv.gz cannot be read as csv: "),
        ("a.csv", b"ts,open,open\n", "a.csv: column 'open' is there twice"),
    ],
)
def test_table_file_that_cannot_be_read_is_told_in_one_sentence(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    (tmp_path / name).write_bytes(content)
    file = find_files(str(tmp_path / name))[0]
    with pytest.raises(ImportProblem) as caught:
        list(TableFile(file).batches())
    assert str(caught.value).startswith(why)
    assert "\n" not in str(caught.value)


def test_table_file_parts_are_the_row_groups_with_their_places(tmp_path: Path) -> None:
    file = parquet(tmp_path, table(rows("BTCUSDT", range(50))), row_group_size=20)
    opened = TableFile(file)
    assert [(part.first, part.rows) for part in opened.parts()] == [(0, 20), (20, 20), (40, 10)]
    read = [batch for part in opened.parts() for batch in opened.batches(["open"], part)]
    assert [batch.first for batch in read] == [0, 20, 40]
    whole = pa.Table.from_batches([batch.rows for batch in read])
    assert whole["open"].to_pylist() == [100.0 + hour for hour in range(50)]
