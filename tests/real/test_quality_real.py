"""The gate over recorded candles and headlines: it passes what is sound, and sees LUNA's end."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.clock import parse_iso_utc
from engine.config import RetentionConfig
from engine.domain.timeframe import Timeframe
from engine.features.catalogue import feature_columns
from engine.quality.language import languages_of
from engine.settings.check_quality import QualitySection
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.quality_gate import Scope, gate
from engine.store.schema import migrate
from engine.store.tables import table_named

pytestmark = pytest.mark.real

FILE = "candles/binance_spot_1h_60sym_2021_2023.parquet"
END = parse_iso_utc("2023-12-31T00:00:00Z")
SYMBOLS = ("BTCUSDT", "BUSDUSDT", "LUNAUSDT", "XRPUSDT")


@pytest.fixture
def store(tmp_path: Path, real_data: Path) -> Iterator[Store]:
    """A home with the hourly candles of a few symbols, as they are in the file."""
    home = EmbeddedStore(tmp_path / "db")
    home.start()
    with Store(home.endpoint) as store:
        retention = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))
        migrate(store, retention, feature_columns())
        store.insert_arrow("candles", _candles(real_data / FILE))
        yield store
    home.stop()


def _candles(file: Path) -> pa.Table:
    found = pq.read_table(file, filters=pc.field("symbol").isin(SYMBOLS))
    opened = found["ts"].cast(pa.timestamp("ns", "UTC"))
    given = {
        "exchange": pa.repeat("binance", found.num_rows),
        "instrument": pc.replace_substring_regex(found["symbol"], "USDT$", "-USDT"),
        "timeframe": pa.repeat("1h", found.num_rows),
        "open_time": opened,
        "close_time": pc.add(opened.cast(pa.int64()), Timeframe.H1.ns).cast(opened.type),
        "source": pa.repeat("import", found.num_rows),
        "is_closed": pa.repeat(True, found.num_rows),
        "version": pa.repeat(1, found.num_rows),
        **{name: found[name] for name in ("open", "high", "low", "close", "volume")},
    }
    columns = table_named("candles").columns
    return pa.table(
        {
            column.name: given.get(column.name, pa.nulls(found.num_rows, column.type))
            for column in columns
        }
    )


def test_gate_of_recorded_candles_fails_only_the_coin_that_collapsed(store: Store) -> None:
    scope = Scope(0, END, END, tables=["candles"], timeframes=[Timeframe.H1])
    verdict = gate(store, QualitySection(), scope)
    found = {source.source.split()[1]: source for source in verdict.sources}
    assert {name for name, source in found.items() if not source.passed} == {"LUNA-USDT"}
    (outliers,) = [m for m in found["LUNA-USDT"].measures if not m.passed]
    assert outliers.name == "outliers"
    # BUSD's last candle is of 2023-12-15: it ended, and need not be fresh.
    assert "freshness" not in {measure.name for measure in found["BUSD-USDT"].measures}


def test_languages_of_recorded_headlines_are_english(real_data: Path) -> None:
    file = real_data / "news" / "nyu_crypto_team4" / "cryptonews.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        titles = [row["title"] for row in csv.DictReader(lines, delimiter=";")]
    found = languages_of(titles)
    assert found.count("english") / (len(found) - found.count("untold")) > 0.99
