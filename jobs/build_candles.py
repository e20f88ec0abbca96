"""Candles of the stored trades, of every timeframe, market by market and day by day.

::

    engine submit build_candles --set exchange=binance --set begin=2026-11-01 --wait
    python -m jobs.build_candles --config configs/local.yaml [--set instruments=[BTC-USDT]]

The same candles, to the bit, as the live run makes of the same trades; those that are stored so are
not written again.
"""

from __future__ import annotations

from engine.clock import NS_PER_MS
from engine.config import Config
from engine.errors import ConfigError
from engine.store.candle_units import CandleUnit, new_candles, plan_candles
from engine.store.client import Store
from engine.store.tables import table_named
from engine.store.units import UnitRows
from jobs.by_unit import do_units
from jobs.run import command, running
from jobs.summary import Summary


def main(config: Config) -> Summary:
    """Make the candles that are missing or not as the trades make them.

    Raises
    ------
    ConfigError
        Where there are no trades of what is asked for.
    StoreError
        Where the store does not answer, or refuses.
    """
    with running("build_candles", config) as run:
        section = config.build_candles
        begin, end = section.moments()
        units = plan_candles(
            run.store,
            config.candles.timeframes,
            begin=begin or 0,
            end=run.started_at if end is None else end,
            grace_ns=config.candles.grace_ms * NS_PER_MS,
            now=run.started_at,
            exchange=section.exchange or "",
            instruments=section.instruments,
        )
        _refuse_nothing(units, config)
        done = run.done_units()
        left = [unit for unit in units if unit.fingerprint not in done.get(unit.name, set())]
        if len(left) < len(units):
            run.skip("days that are stored already", len(units) - len(left))
        if left:
            do_units(run, "days", "candles", left, _make)
    return run.summary


def _make(store: Store, unit: CandleUnit) -> UnitRows:
    return UnitRows(table_named("candles").to_arrow(new_candles(store, unit)))


def _refuse_nothing(units: list[CandleUnit], config: Config) -> None:
    section = config.build_candles
    found = {unit.market.instrument for unit in units}
    missing = [name for name in section.instruments if name not in found]
    if units and not missing:
        return
    what = f" of {missing[0]}" if missing else f" of {section.exchange}" if section.exchange else ""
    raise ConfigError(
        f"there are no trades{what} in that stretch of time to make candles of; trades are kept "
        "for store.retention.trades days, and engine backfill fetches them"
    )


if __name__ == "__main__":
    raise SystemExit(command("build_candles", main))
