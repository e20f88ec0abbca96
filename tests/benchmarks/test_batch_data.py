"""What the batch benchmark works on is as large and as sound as it says."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.batch_data import HOURS, first_symbols, simulated_texts


def test_random_walks_are_sound_candles_of_as_many_symbols_as_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "walks.parquet"
    assert first_symbols(None, 3, file) == 3 * HOURS
    rows = pq.read_table(file)
    assert rows.column("symbol").unique().to_pylist() == ["BTCUSDT", "C01USDT", "C02USDT"]
    assert rows.schema.field("ts").type == pa.timestamp("us", "UTC")
    for edge in ("open", "close"):
        assert pc.all(pc.less_equal(rows.column("low"), rows.column(edge))).as_py()
        assert pc.all(pc.greater_equal(rows.column("high"), rows.column(edge))).as_py()


def test_symbols_of_a_file_always_hold_the_reference(tmp_path: Path) -> None:
    names = ["AUSDT", "BUSDT", "BTCUSDT", "CUSDT"]
    source, target = tmp_path / "all.parquet", tmp_path / "two.parquet"
    pq.write_table(pa.table({"symbol": names, "ts": [1, 2, 3, 4]}), source)
    assert first_symbols(source, 2, target) == 2
    assert pq.read_table(target).column("symbol").to_pylist() == ["AUSDT", "BTCUSDT"]


def test_simulated_texts_have_ids_of_their_own(tmp_path: Path) -> None:
    texts = simulated_texts(300)
    assert len({text.text_id for text in texts}) == 300
    assert all(text.title for text in texts)
