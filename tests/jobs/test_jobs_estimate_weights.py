"""The weights job: it finds what was planted, with its sign, and refuses what it cannot read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.errors import ConfigError
from engine.signals.weights import Weights
from jobs.estimate_weights import MIN_CROSS_SECTIONS, EstimateConfig, main, run

DAYS, SYMBOLS, HOUR = 2 * MIN_CROSS_SECTIONS + 30, 12, 3_600_000_000
START = 1_609_459_200_000_000


def candles(reversal: float) -> pa.Table:
    """Make random walks whose day goes against the day before, as strongly as `reversal`."""
    random = np.random.Generator(np.random.PCG64(5))
    hours = DAYS * 24
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("symbol", "ts", "open", "high", "low", "close", "volume")
    }
    for index in range(SYMBOLS):
        noise = random.standard_normal((DAYS, 24)) * 0.01
        for day in range(1, DAYS):
            noise[day] -= reversal * noise[day - 1].sum() / 24
        close = 100 * np.exp(np.cumsum(noise.ravel()))
        start = np.concatenate([[100.0], close[:-1]])
        columns["symbol"].append(np.full(hours, "BTCUSDT" if not index else f"C{index}USDT"))
        columns["ts"].append(START + np.arange(hours) * HOUR)
        columns["open"].append(start)
        columns["high"].append(np.maximum(start, close) * 1.001)
        columns["low"].append(np.minimum(start, close) * 0.999)
        columns["close"].append(close)
        columns["volume"].append(random.uniform(1, 2, hours))
    table = pa.table({name: np.concatenate(parts) for name, parts in columns.items()})
    times = table["ts"].cast(pa.timestamp("us", "UTC"))
    return table.set_column(table.column_names.index("ts"), "ts", times)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "candles.parquet"


def test_estimate_weights_finds_a_planted_reversal_and_writes_it(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(candles(0.6), file)
    out = tmp_path / "planted.json"
    assert run(["--candles", str(file), "--out", str(out)]) == 0
    weights = msgspec.json.decode(out.read_bytes(), type=Weights)
    by_name = {entry.factor: entry for entry in weights.factors}
    momentum = by_name["momentum_24"]
    assert momentum.weight < 0
    assert momentum.ic < -0.2
    assert weights.out_of_sample_ic > 0.2
    assert abs(sum(abs(entry.weight) for entry in weights.factors) - 1) < 1e-12
    assert (weights.name, weights.data.instruments) == ("planted", SYMBOLS)
    assert weights.data.start == "2021-01-01T00:00:00.000000Z"
    assert "all together, out of sample: rank IC +" in capsys.readouterr().out


def test_estimate_weights_too_few_cross_sections_is_refused(file: Path) -> None:
    table = candles(0.0)
    pq.write_table(table.filter(pc.less(table["ts"], table["ts"][24 * 60])), file)
    with pytest.raises(ConfigError, match="are too few"):
        main(EstimateConfig(file, "short"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda table: table.drop_columns(["close"]), "lack the column 'close'"),
        (lambda table: table.set_column(2, "open", table["symbol"]), "'open' holds string"),
        (lambda table: table.set_column(1, "ts", table["volume"]), "'ts' holds double"),
        (lambda table: table.filter(pc.not_equal(table["symbol"], "BTCUSDT")), "BTCUSDT"),
    ],
)
def test_estimate_weights_wrong_file_is_named(
    file: Path, change: object, complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pq.write_table(change(candles(0.0).slice(0)), file)  # type: ignore[operator]
    assert run(["--candles", str(file), "--out", str(tmp_path / "x.json")]) == 2
    said = capsys.readouterr().out
    assert complaint in said
    assert str(file) in said


def test_estimate_weights_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(ConfigError, match="cannot be read"):
        main(EstimateConfig(tmp_path / "text.parquet", "x"))
