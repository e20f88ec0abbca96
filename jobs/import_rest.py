"""``import_candles`` without files: what the store lacks, from a venue's REST."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine.backfill.request import read_request
from engine.backfill.run import Step, backfill
from engine.clock import iso_utc
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.store.columns import python_values
from jobs.cluster import with_engines_bus
from jobs.progress import step
from jobs.run import Run


def import_from_rest(run: Run) -> None:
    """Fetch what the store lacks from the venue's REST; see `engine.backfill`.

    Raises
    ------
    ConfigError
        Where the configuration's venues are simulated.
    VenueError
        Where the venue does not list an instrument.
    """
    config, section = run.config, run.section
    found = [venue for name, venue in config.exchanges.items() if name == section.exchange]
    rest_url = found[0].rest_url if found else ""
    if config.simulator.enabled and not rest_url:
        raise ConfigError(
            "the venues of this configuration are simulated, and the real ones' past does not "
            f"belong beside theirs; name another configuration with --config, or an address with "
            f"--set exchanges.{section.exchange}.rest_url=…"
        )
    timeframe = section.timeframe or config.ranking.timeframe
    request = read_request(
        config,
        config.store_url,
        exchange=section.exchange,
        instruments=section.instruments,
        begin=section.begin,
        end=section.end,
        what="candles",
        timeframe=timeframe,
        rest_url=rest_url,
    )
    hundredths = dict.fromkeys(request.instruments, 0)
    with step("hundredths fetched", 100 * len(hundredths)) as progress:

        def tell(reached: Step) -> None:
            now = int(reached.share * 100)
            more = max(0, now - hundredths[reached.instrument])
            hundredths[reached.instrument] += more
            progress.advance(more, rows=reached.rows - progress.rows)

        result = asyncio.run(backfill(with_engines_bus(request), run.store, tell=tell))
    run.wrote("candles", result.candles)
    run.note("timeframes", [timeframe])
    run.note("instruments", len(request.instruments))
    _tell_stored(run, request.instruments, timeframe)
    run.summary.problem = "; ".join(result.problems)


_STORED = """
SELECT min(open_time) AS low, max(close_time) AS high FROM candles FINAL
WHERE exchange = {exchange:String} AND timeframe = {timeframe:String}
AND has({instruments:Array(String)}, instrument)
AND open_time >= fromUnixTimestamp64Nano({start:Int64})
AND open_time < fromUnixTimestamp64Nano({end:Int64})
HAVING count() > 0
"""


def _tell_stored(run: Run, instruments: Sequence[str], timeframe: Timeframe) -> None:
    """Say from when to when there are candles now."""
    begin, end = run.section.moments()
    found = run.store.query_arrow(
        _STORED,
        {
            "exchange": run.section.exchange,
            "timeframe": timeframe.value,
            "instruments": list(instruments),
            "start": begin or 0,
            "end": run.started_at if end is None else end,
        },
    )
    for key, column in (("from", "low"), ("to", "high")):
        for moment in python_values(found.column(column)):
            run.note(key, iso_utc(moment))
