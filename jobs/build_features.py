"""Features of the stored candles, segment by segment, in parallel and each once.

::

    engine submit build_features --set timeframes=[1h] --wait
    python -m jobs.build_features --config configs/local.yaml [--set timeframes=[1h]]

A unit is a segment (all markets: ranks need them together). Its task reads the candles, computes,
and writes what is not stored as it is now.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from engine.actors.wiring import markets_of, resolve
from engine.config import Config
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.store.client import Store
from engine.store.feature_plan import SETTLED_NS, FeatureUnit, Scope, plan_units, todo
from engine.store.feature_segments import new_rows
from engine.store.units import UnitRows
from jobs.by_unit import do_units
from jobs.run import command, running
from jobs.summary import Summary


def main(config: Config) -> Summary:
    """Make the features that are missing.

    Raises
    ------
    ConfigError
        Where there are no candles of what is asked for.
    StoreError
        Where the store does not answer, or refuses.
    """
    with running("build_features", config) as run:
        timeframes = run.section.timeframes or config.features.timeframes
        scope = _scope(config, run.started_at)
        units = [unit for each in timeframes for unit in plan_units(run.store, each, scope)]
        _refuse_nothing(units, scope, timeframes)
        without = [each.value for each in timeframes if all(u.timeframe != each for u in units)]
        if without:
            run.note("without candles", ", ".join(without))
        left = todo(units, run.done_units())
        if len(left) < len(units):
            run.skip("segments that are stored already", len(units) - len(left))
        if left:
            do_units(run, "segments", "features", left, partial(_make, now=run.started_at))
    return run.summary


def _make(store: Store, unit: FeatureUnit, now: int) -> UnitRows:
    return new_rows(store, unit, now)


def _scope(config: Config, now: int) -> Scope:
    section = config.build_features
    begin, end = section.moments()
    settled = now - SETTLED_NS
    return Scope(
        configured=tuple(markets_of(resolve(config))),
        reference=config.features.reference,
        silence_ns=section.silence_ns,
        begin=begin or 0,
        end=settled if end is None else min(end, settled),
        exchange=section.exchange or "",
        instruments=section.instruments,
    )


def _refuse_nothing(
    units: Sequence[FeatureUnit], scope: Scope, timeframes: Sequence[Timeframe]
) -> None:
    names = ", ".join(timeframes)
    if not units:
        raise ConfigError(
            f"there are no candles of {names} in that stretch of time to make features of; "
            "import_candles or build_candles makes them"
        )
    held = {member.market for unit in units for member in unit.members}
    found = {market.instrument for market in held if scope.wants(market)}
    missing = [name for name in scope.instruments if name not in found]
    if missing or not found:
        asked = f"{scope.exchange}:{missing[0]}" if missing and scope.exchange else ""
        what = asked or (missing[0] if missing else scope.exchange)
        raise ConfigError(
            f"there are no candles of {names} of {what} in that stretch of time; "
            "import_candles or build_candles makes them"
        )


if __name__ == "__main__":
    raise SystemExit(command("build_features", main))
