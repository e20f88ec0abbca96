"""Measure the factors' weights on hourly candles and write them as named weights.

    python -m jobs.estimate_weights --candles candles.parquet --horizon 24 --out NAME.json

Features come from the engine's own batch run, so a weight is measured on the very numbers it
is later multiplied with. The first two thirds of the time give the weights, the last third
only judges them.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite, nan
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.clock import iso_utc
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError, EngineError
from engine.evaluation.labels import forward_returns
from engine.evaluation.metrics import IcSummary, rank_ic, summarise
from engine.features.batch import compute_segment
from engine.features.catalogue import FEATURE_VERSION
from engine.features.grid import Bars, regular_grid
from engine.features.rows import feature_row
from engine.features.warm_up import WARM_UP_BARS
from engine.signals.factors import FACTORS
from engine.signals.scoring import nominal_weights, score_rows
from engine.signals.weights import FactorWeight, Weights, WeightsData

log = logging.getLogger("engine.jobs.estimate_weights")

SILENCE_BARS = 48
"""After a longer silence an instrument counts as newly listed: its ticker may be another coin's
(LUNA's was), and nothing may look back across."""

MIN_PAIRS = 10
"""Fewest instruments in a cross-section."""

MIN_CROSS_SECTIONS = 100
"""Fewest cross-sections with an IC for a weight."""

IC_LAGS = 5
"""Lags of the Newey-West errors: labels do not overlap, but what a factor holds changes slowly."""

METHOD = (
    "mean daily rank IC of the forward return on non-overlapping cross-sections, shrunk by "
    "t^2 / (1 + t^2) with Newey-West t (5 lags), absolute values normalised to sum 1; "
    "estimated before the split, judged after it"
)


@dataclass(frozen=True, slots=True)
class EstimateConfig:
    """What to measure."""

    candles: Path
    """Parquet with symbol, ts (UTC), open, high, low, close, volume, and, where known, vwap,
    twap and taker_buy_volume."""
    name: str
    """Of the weights."""
    horizon_bars: int = 24
    """Forward return, and spacing of the cross-sections."""
    timeframe: Timeframe = Timeframe.H1
    """Of the candles."""
    reference: str = "BTCUSDT"
    """Symbol that beta is measured against."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One instrument at one moment: what was known, and what followed."""

    row: FeatureRow
    label: float


Panel = dict[int, list[Sample]]
"""Close time of a bar -> the instruments then."""


def main(config: EstimateConfig) -> Weights:
    """Measure and return the weights.

    Raises
    ------
    ConfigError
        Where the file cannot be read, lacks a column or is too short.
    """
    series = read_candles(config)
    panel = build_panel(series, config)
    times = sorted(panel)
    if len(times) < 2 * MIN_CROSS_SECTIONS:
        raise ConfigError(
            f"{config.candles}: {len(times)} cross-sections of {MIN_PAIRS} instruments or more "
            f"are too few; {2 * MIN_CROSS_SECTIONS} are needed"
        )
    split = times[len(times) * 2 // 3]
    horizon_ns = config.horizon_bars * config.timeframe.ns
    early = [time for time in times if time + horizon_ns <= split]
    late = [time for time in times if time >= split]
    measured = {f.name: (factor_ic(panel, early, f.name), factor_ic(panel, late, f.name))
                for f in FACTORS}  # fmt: skip
    factors, unestimated = weigh(measured)
    data = WeightsData(
        file=config.candles.name,
        sha256=sha256(config.candles.read_bytes()).hexdigest(),
        start=iso_utc(min(candles[0].open_time for candles in series.values())),
        end=iso_utc(max(candles[-1].close_time for candles in series.values())),
        split=iso_utc(split),
        instruments=len(series),
        rows=sum(len(candles) for candles in series.values()),
        cross_sections=len(early),
        out_of_sample_cross_sections=len(late),
    )
    weights = Weights(
        name=config.name,
        timeframe=config.timeframe.value,
        horizon_bars=config.horizon_bars,
        method=METHOD,
        feature_version=FEATURE_VERSION,
        data=data,
        out_of_sample_ic=nan,
        out_of_sample_t=nan,
        factors=tuple(factors),
        unestimated=unestimated,
    )
    judged = composite_ic(panel, late, weights)
    return msgspec.structs.replace(
        weights, out_of_sample_ic=round(judged.mean, 5), out_of_sample_t=round(judged.t, 3)
    )


def read_candles(config: EstimateConfig) -> dict[str, list[Candle]]:
    """Read candles by symbol, ascending in time; bars without volume are no candles."""
    try:
        table = pq.read_table(config.candles)
    except (OSError, ValueError) as error:
        raise ConfigError(f"candles {config.candles} cannot be read: {error}") from None
    needed = {"symbol", "ts", "open", "high", "low", "close", "volume"}
    lacking = sorted(needed - set(table.column_names))
    if lacking:
        raise ConfigError(f"candles {config.candles} lack the column {lacking[0]!r}")
    _check_types(table.schema, config.candles)
    table = table.sort_by([("symbol", "ascending"), ("ts", "ascending")])
    stamps = table["ts"].cast(pa.timestamp("ns", table.schema.field("ts").type.tz))
    times: list[int] = stamps.cast(pa.int64()).to_pylist()
    frame = table.drop_columns(["ts"]).to_pydict()
    series: dict[str, list[Candle]] = {}
    for index, symbol in enumerate(frame["symbol"]):
        if frame["volume"][index] > 0:
            candle = _candle(frame, index, times[index], config.timeframe)
            series.setdefault(symbol, []).append(candle)
    if config.reference not in series:
        raise ConfigError(f"candles {config.candles} do not hold {config.reference}")
    return series


def _check_types(schema: pa.Schema, path: Path) -> None:
    """Refuse columns that hold something else than what their name says."""
    for name in ("open", "high", "low", "close", "volume"):
        kind = schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise ConfigError(f"candles {path}: column {name!r} holds {kind}, not numbers")
    kind = schema.field("ts").type
    if not pa.types.is_timestamp(kind):
        raise ConfigError(f"candles {path}: column 'ts' holds {kind}, not times")


def _candle(
    frame: dict[str, list[object]], index: int, open_time: int, timeframe: Timeframe
) -> Candle:
    def number(name: str) -> float:
        return float(frame[name][index])  # type: ignore[arg-type]  # columns are checked doubles

    def known(name: str) -> float | None:
        return number(name) if name in frame and frame[name][index] is not None else None

    return Candle(
        exchange="file",
        instrument=str(frame["symbol"][index]),
        timeframe=timeframe.value,
        open_time=open_time,
        close_time=open_time + timeframe.ns,
        open=number("open"),
        high=number("high"),
        low=number("low"),
        close=number("close"),
        volume=number("volume"),
        quote_volume=None,
        trade_count=None,
        vwap=known("vwap"),
        twap=known("twap"),
        taker_buy_volume=known("taker_buy_volume"),
        source="rest",
        is_closed=True,
        version=open_time,
    )


def listings(candles: Sequence[Candle], timeframe: Timeframe) -> Iterator[Sequence[Candle]]:
    """Cut an instrument's candles where it fell silent for longer than `SILENCE_BARS`."""
    begin = 0
    for index in range(1, len(candles)):
        silence = candles[index].open_time - candles[index - 1].close_time
        if silence > SILENCE_BARS * timeframe.ns:
            yield candles[begin:index]
            begin = index
    yield candles[begin:]


def build_panel(series: dict[str, list[Candle]], config: EstimateConfig) -> Panel:
    """Compute features and labels of every instrument at the cross-sections."""
    timeframe = config.timeframe
    bitcoin = series[config.reference]
    reference = regular_grid(bitcoin, bitcoin[0].open_time, bitcoin[-1].close_time)
    panel: Panel = {}
    for symbol in sorted(series):
        for candles in listings(series[symbol], timeframe):
            labels = _labels(candles, config)
            bars = regular_grid(candles, candles[0].open_time, candles[-1].close_time)
            for bar_time, close, values in _sampled(bars, reference, config):
                close_time = bar_time + timeframe.ns
                row = feature_row(
                    Market("file", symbol), timeframe, bar_time, close, values,
                    available_at=close_time, last_receive_time=close_time, is_closed=True,
                )  # fmt: skip
                panel.setdefault(close_time, []).append(Sample(row, labels.get(bar_time, nan)))
        log.info("%s: %d candles", symbol, len(series[symbol]))
    return {time: samples for time, samples in panel.items() if len(samples) >= MIN_PAIRS}


def _labels(candles: Sequence[Candle], config: EstimateConfig) -> dict[int, float]:
    times = np.array([candle.open_time for candle in candles], dtype=np.int64)
    closes = np.array([candle.close for candle in candles])
    returns = forward_returns(times, closes, config.horizon_bars, config.timeframe.ns)
    return dict(zip(times.tolist(), returns.tolist(), strict=True))


def _sampled(
    bars: Bars, reference: Bars, config: EstimateConfig
) -> Iterator[tuple[int, float, list[float]]]:
    """Yield (open time, close, features) of the warm bars that end a sampling interval."""
    timeframe = config.timeframe
    spacing = config.horizon_bars * timeframe.ns
    warm = int(bars.open_time[0]) + WARM_UP_BARS * timeframe.ns
    closes = bars.column("close")
    starts = sorted({timeframe.segment_start(time) for time in bars.open_time.tolist()})
    for start in starts:
        values = compute_segment(bars, timeframe, start, reference)
        first = bars.position(start)
        for offset in range(len(values)):
            time = int(bars.open_time[first + offset])
            sampled = (time + timeframe.ns) % spacing == 0
            if sampled and time >= warm and not bars.filled[first + offset]:
                yield time, float(closes[first + offset]), values[offset].tolist()


def factor_ic(panel: Panel, times: Sequence[int], name: str) -> IcSummary:
    """Measure one factor alone."""
    factor = next(factor for factor in FACTORS if factor.name == name)
    ics = []
    for time in times:
        values = [factor.value(sample.row.values) for sample in panel[time]]
        ics.append(rank_ic(_floats(values), _labels_at(panel, time), MIN_PAIRS))
    return summarise(np.array(ics), IC_LAGS)


def composite_ic(panel: Panel, times: Sequence[int], weights: Weights) -> IcSummary:
    """Measure the engine's own score, without sentiment."""
    nominal = nominal_weights(weights, 0.0)
    ics = []
    for time in times:
        scored = score_rows([sample.row for sample in panel[time]], {}, nominal)
        scores = np.array([one.score for one in scored])
        ics.append(rank_ic(scores, _labels_at(panel, time), MIN_PAIRS))
    return summarise(np.array(ics), IC_LAGS)


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([nan if value is None else value for value in values])


def _labels_at(panel: Panel, time: int) -> NDArray[np.float64]:
    return np.array([sample.label for sample in panel[time]])


def weigh(
    measured: dict[str, tuple[IcSummary, IcSummary]],
) -> tuple[list[FactorWeight], dict[str, str]]:
    """Turn ICs into weights that sum to 1 in absolute value.

    Parameters
    ----------
    measured
        Factor -> (estimation period, later period); only the first decides.

    Returns
    -------
    tuple
        Weights, and for each factor without one the reason.

    Raises
    ------
    ConfigError
        Where no factor could be measured.
    """
    raw: dict[str, float] = {}
    unestimated: dict[str, str] = {}
    for name, (early, _) in measured.items():
        if early.count < MIN_CROSS_SECTIONS or not isfinite(early.t):
            unestimated[name] = (
                f"the data has it in {early.count} cross-sections; {MIN_CROSS_SECTIONS} are needed"
            )
        else:
            raw[name] = early.mean * early.t**2 / (1 + early.t**2)
    total = sum(abs(weight) for weight in raw.values())
    if total == 0:
        raise ConfigError("no factor has a measurable rank IC in these candles")
    factors = [
        FactorWeight(
            factor=name,
            weight=weight / total,
            ic=round(measured[name][0].mean, 5),
            t=round(measured[name][0].t, 3),
            out_of_sample_ic=round(measured[name][1].mean, 5),
        )
        for name, weight in raw.items()
    ]
    return factors, unestimated


def _parse(arguments: Sequence[str] | None) -> tuple[EstimateConfig, Path]:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.estimate_weights", description="Measure the factors' weights."
    )
    parser.add_argument("--candles", type=Path, required=True, help="Parquet file of candles")
    parser.add_argument("--horizon", type=int, default=24, help="forward return, bars")
    parser.add_argument("--timeframe", type=Timeframe, default=Timeframe.H1, help="of the candles")
    parser.add_argument("--reference", default="BTCUSDT", help="symbol that beta refers to")
    parser.add_argument("--out", type=Path, required=True, help="file to write, NAME.json")
    given = parser.parse_args(arguments)
    config = EstimateConfig(
        candles=given.candles,
        name=given.out.stem,
        horizon_bars=given.horizon,
        timeframe=given.timeframe,
        reference=given.reference,
    )
    return config, given.out


def run(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the file, and say what was found; the command's entry."""
    config, out = _parse(arguments)
    try:
        weights = main(config)
    except EngineError as error:
        print(error)
        return error.exit_code
    out.write_bytes(msgspec.json.format(msgspec.json.encode(weights), indent=2) + b"\n")
    for entry in sorted(weights.factors, key=lambda entry: -abs(entry.weight)):
        print(
            f"{entry.factor:20} weight {entry.weight:+.4f}  IC {entry.ic:+.4f}  t {entry.t:+.2f}"
            f"  out of sample {entry.out_of_sample_ic:+.4f}"
        )
    print(
        f"all together, out of sample: rank IC {weights.out_of_sample_ic:+.4f} "
        f"(t {weights.out_of_sample_t:+.2f}, "
        f"{weights.data.out_of_sample_cross_sections} cross-sections)"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(run())
