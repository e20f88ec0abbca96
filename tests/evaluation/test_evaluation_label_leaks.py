"""Leak tests of every label, found by enumeration: a new one is tested by existing.

A label is known at ``known_at``. What comes later must not change it, and where the data ends
earlier it must not be there.
"""

from __future__ import annotations

from collections.abc import Hashable

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from engine.domain.outcome import BarOutcome
from engine.evaluation.barriers import BARRIERS
from engine.evaluation.labels import STATUSES, STILL_LISTED, LabelRules
from engine.evaluation.outcomes import outcome_columns
from engine.evaluation.panel import PRICES, lay_panel
from tests.features.leak_harness import NOISE, Known, leaks, told_after

KEYS = ("exchange", "instrument", "timeframe", "open_time", "horizon")
LABELS = tuple(name for name in msgspec.structs.fields(BarOutcome) if name.name not in KEYS)
NAMES = tuple(label.name for label in LABELS)
CODES = {
    "status": STATUSES,
    "barrier": BARRIERS,
    "version": (LabelRules(volatility_bars=9).version,),
}

STEP = 3_600 * 10**9
HORIZONS = {"1h": 1, "5h": 5}
RULES = LabelRules(volatility_bars=9)
CODES = {"status": STATUSES, "barrier": BARRIERS, "version": (RULES.version,)}
BARS, MARKETS = 60, ("A-USDT", "B-USDT", "C-USDT")
MOMENTS = [bar * STEP for bar in (14, 15, 23, 40, 59, 60)]
DELISTED_AT = 40 * STEP


def world() -> dict[str, np.ndarray]:
    """Prices of three markets: one with gaps, one that is delisted."""
    draw = np.random.default_rng(7)
    close = 100.0 * np.exp(np.cumsum(draw.normal(0.0, 0.01, (BARS, 3)), axis=0))
    opened = close * np.exp(draw.normal(0.0, 0.003, close.shape))
    high = np.maximum(opened, close) * 1.006
    low = np.minimum(opened, close) * 0.994
    prices = dict(zip(PRICES, (opened, high, low, close), strict=True))
    for values in prices.values():
        values[[20, 21, 33], 1] = np.nan
        values[DELISTED_AT // STEP :, 2] = np.nan
    return prices


def told(prices: dict[str, np.ndarray], until: int) -> dict[Hashable, Known]:
    """Label all that is known of a world that ends at `until`."""
    bar, market = np.nonzero(np.isfinite(prices["close"]))
    panel = lay_panel(
        bar * STEP, market, {name: prices[name][bar, market] for name in PRICES},
        markets=3, start=0, end=until, step=STEP,
    )  # fmt: skip
    ends = np.array([STILL_LISTED, STILL_LISTED, DELISTED_AT])
    rows = outcome_columns(
        panel, MARKETS, HORIZONS, RULES, start=0, end=BARS * STEP,
        ends=ends, end_known_at=np.array([0, 0, DELISTED_AT + 2 * STEP]),
    )  # fmt: skip
    return {
        (row["instrument"], row["open_time"], row["horizon"]): Known(
            row["known_at"], tuple(_number(name, row[name]) for name in NAMES)
        )
        for row in _plain(rows).to_pylist()
    }


def _plain(rows: pa.Table) -> pa.Table:
    times = [n for n in rows.column_names if pa.types.is_timestamp(rows.schema.field(n).type)]
    for name in times:
        rows = rows.set_column(
            rows.column_names.index(name), name, rows.column(name).cast(pa.int64())
        )
    return rows


def _number(name: str, value: float | str | None) -> float | None:
    if isinstance(value, str):
        return float(CODES[name].index(value))
    return None if value is None else float(value)


def changed(prices: dict[str, np.ndarray], moment: int, noise: float) -> dict[str, np.ndarray]:
    """Prices that are noise from the first bar on that closes after a moment."""
    poisoned = {name: values.copy() for name, values in prices.items()}
    for values in poisoned.values():
        values[moment // STEP :] = noise
    return poisoned


def test_every_column_of_a_label_is_looked_at() -> None:
    assert set(NAMES) == {
        "known_at", "status", "forward_return", "net_return_long", "net_return_short", "barrier",
        "barrier_time", "volatility", "version",
    }  # fmt: skip
    rows = told(world(), BARS * STEP)
    for index, name in enumerate(NAMES):
        seen = {row.values[index] for row in rows.values()} - {None}
        assert len(seen) > (0 if name == "version" else 1), f"{name} does not vary"


def test_labels_are_known_at_the_end_of_their_horizon_or_later() -> None:
    for (instrument, opened, horizon), row in told(world(), BARS * STEP).items():
        passed = opened + (1 + HORIZONS[horizon]) * STEP
        assert row.known_at >= passed
        if instrument != "C-USDT":
            assert row.known_at == passed


def test_label_of_a_delisted_market_is_known_no_sooner_than_the_delisting() -> None:
    rows = told(world(), BARS * STEP)
    status = NAMES.index("status")
    over = [row for row in rows.values() if row.values[status] == STATUSES.index("delisted")]
    assert len(over) == 1 + 5
    assert min(row.known_at for row in over) == DELISTED_AT + 2 * STEP


@pytest.mark.parametrize("moment", MOMENTS)
def test_truncated_data_gives_the_labels_known_by_then_and_no_other(moment: int) -> None:
    whole, cut = told(world(), BARS * STEP), told(world(), moment)
    # A delisting is known later than its prices end: what stands on it is not there sooner.
    known = {key: row for key, row in cut.items() if row.known_at <= moment}
    assert leaks(whole, known, moment) == set()
    assert set(known) == {key for key, row in whole.items() if row.known_at <= moment}
    assert all(row.known_at <= moment for key, row in cut.items() if key[0] != "C-USDT")


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("moment", MOMENTS)
def test_poisoned_future_changes_no_label_that_was_known(moment: int, noise: float) -> None:
    whole = told(world(), BARS * STEP)
    poisoned = told(changed(world(), moment, noise), BARS * STEP)
    assert leaks(whole, poisoned, moment) == set()


def test_poisoned_future_reaches_labels_known_later() -> None:
    whole = told(world(), BARS * STEP)
    reached = told_after(whole, told(changed(world(), 23 * STEP, 1e12), BARS * STEP), 23 * STEP)
    assert {NAMES[index] for index in reached} >= {
        "forward_return", "net_return_long", "net_return_short", "barrier", "barrier_time",
    }  # fmt: skip


def test_candle_that_came_late_changes_only_labels_that_look_at_it() -> None:
    late = world()
    for values in late.values():
        values[30, 0] = np.nan
    whole, without = told(world(), BARS * STEP), told(late, BARS * STEP)
    for (instrument, opened, horizon), row in whole.items():
        bar = opened // STEP
        looks = bar - RULES.bars_before <= 30 <= bar + HORIZONS[horizon]
        if instrument != "A-USDT" or not looks:
            assert without[instrument, opened, horizon] == row
