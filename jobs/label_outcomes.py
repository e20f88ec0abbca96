"""What followed each bar: forward returns and barriers, once their horizon has passed.

::

    python -m jobs.label_outcomes --config configs/local.yaml [--set horizons=[1h,24h]]
    engine submit label_outcomes --set horizons=[1h,24h] --wait

A task reads the candles of one venue and month with what comes before and after, labels all of
its bars, and writes what is not stored as it is now. Only units pass through Ray, never rows.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa

from engine.config import Config
from engine.errors import ConfigError
from engine.evaluation.labels import STILL_LISTED, LabelRules
from engine.evaluation.outcomes import outcome_columns
from engine.evaluation.panel import PRICES, lay_panel
from engine.settings.label_outcomes import horizons_in_bars
from engine.store.client import Store
from engine.store.outcome_plan import LabelScope, LabelUnit, plan_outcomes
from engine.store.outcome_rows import not_stored, outcome_counts, read_prices, todo
from engine.store.typed_rows import TypedRows
from engine.store.units import UnitRows
from jobs.by_unit import do_units
from jobs.run import command, running
from jobs.summary import Summary


def main(config: Config) -> Summary:
    """Label the bars whose horizon has passed.

    Raises
    ------
    ConfigError
        Where there are no candles of what is asked for, or a horizon is not whole bars.
    StoreError
        Where the store does not answer, or refuses.
    """
    rules, scope = rules_of(config), scope_of(config)
    with running("label_outcomes", config) as run:
        units = plan_outcomes(run.store, scope)
        if not units:
            raise ConfigError(_nothing_to_label(scope))
        left = todo(run.store, units, run.done_units(), scope)
        if len(left) < len(units):
            run.skip("stretches that are labelled already", len(units) - len(left))
        if left:
            make = partial(make_unit, scope=scope, rules=rules)
            do_units(run, "labels", "outcomes", left, make)
            run.note("labels", outcome_counts(run.store, scope))
        return run.summary


def rules_of(config: Config) -> LabelRules:
    """Return how bars are labelled."""
    section = config.label_outcomes
    return LabelRules(section.cost_bps, section.barrier_volatilities, section.volatility_bars)


def scope_of(config: Config) -> LabelScope:
    """Return which bars are labelled.

    Raises
    ------
    ConfigError
        Where a horizon is not whole bars.
    """
    section = config.label_outcomes
    timeframe = section.timeframe or config.ranking.timeframe
    begin, end = section.moments()
    rules = rules_of(config)
    return LabelScope(
        timeframe=timeframe,
        horizons=horizons_in_bars(section.horizons, timeframe),
        bars_before=rules.bars_before,
        version=rules.version,
        exchange=section.exchange or "",
        instruments=tuple(sorted(section.instruments)),
        begin=begin or 0,
        end=2**63 - 1 if end is None else end,
    )


def _nothing_to_label(scope: LabelScope) -> str:
    of = [text for text in (scope.exchange, ", ".join(scope.instruments)) if text]
    shortest = next(iter(scope.horizons))
    return (
        f"there is no candle of {scope.timeframe.value}{' of ' if of else ''}{' '.join(of)} that "
        f"is {shortest} old in that stretch of time; import_candles or build_candles makes them"
    )


def make_unit(store: Store, unit: LabelUnit, *, scope: LabelScope, rules: LabelRules) -> UnitRows:
    """Label a unit, and return the rows that are not stored as they are, and how many are."""
    rows = unit_rows(store, unit, scope, rules)
    fresh = not_stored(store, rows, unit, scope)
    return UnitRows(fresh, rows.num_rows - fresh.num_rows)


def unit_rows(store: Store, unit: LabelUnit, scope: LabelScope, rules: LabelRules) -> pa.Table:
    """Compute the rows of a unit, in the columns and types of the table ``outcomes``."""
    candles = read_prices(store, unit, scope)
    names = candles.column("instrument").combine_chunks().cast(pa.string()).dictionary_encode()
    instruments = names.dictionary.to_pylist()
    endings = [unit.endings.get(instrument) for instrument in instruments]
    panel = lay_panel(
        candles.column("open_time").to_numpy(),
        names.indices.to_numpy().astype(np.intp),
        {name: candles.column(name).to_numpy() for name in PRICES},
        markets=len(instruments),
        start=max(0, unit.start - scope.look_back),
        end=unit.closed_until,
        step=scope.timeframe.ns,
    )
    rows = outcome_columns(
        panel,
        instruments,
        scope.horizons,
        rules,
        start=unit.start,
        end=unit.end,
        ends=np.array([its.ended if its else STILL_LISTED for its in endings], dtype=np.int64),
        end_known_at=np.array([its.known_at if its else 0 for its in endings], dtype=np.int64),
    )
    for name, value in (("exchange", unit.exchange), ("timeframe", scope.timeframe.value)):
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), rows.num_rows))
    return TypedRows.of(store, "outcomes").fitted(rows)


if __name__ == "__main__":
    raise SystemExit(command("label_outcomes", main))
