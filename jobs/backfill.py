"""Fetch what is missing of the past over REST, as a job.

::

    engine submit backfill --set exchange=binance --set instruments=[BTC-USDT] \
        --set begin=2026-11-01 [--set end=2026-11-08] [--set what=candles --set timeframe=1h]

Run again it goes on where it was. It is fetched by one process: a venue's pace is the limit.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from engine.backfill.request import read_request
from engine.backfill.run import BackfillConfig, Step, backfill
from engine.config import Config
from jobs.cluster import address_of, with_engines_bus
from jobs.progress import step
from jobs.run import command, running
from jobs.summary import Summary

PERCENT = 100


def main(config: Config) -> Summary:
    """Fetch, and return what came of it.

    Raises
    ------
    EngineError
        Where nothing can be fetched or stored; see `engine.backfill.run.backfill`.
    """
    request = request_of(config)
    with running("backfill", config) as run:
        with step(f"{request.exchange} %", PERCENT * len(request.instruments)) as work:
            shares = dict.fromkeys(request.instruments, 0.0)

            def tell(reached: Step) -> None:
                shares[reached.instrument] = reached.share
                done = int(PERCENT * sum(shares.values()))
                work.advance(done - work.done, reached.rows - work.rows)

            asked = with_engines_bus(request)
            result = asyncio.run(backfill(asked, run.store, tell=tell))
        run.wrote("trades", result.trades)
        run.wrote("candles", result.candles)
        run.note("gaps closed", result.gaps_closed)
        if result.problems:
            run.summary.problem = "; ".join(result.problems)
    return run.summary


def request_of(config: Config) -> BackfillConfig:
    """Return what is asked for; see `engine.backfill.request.read_request`.

    Raises
    ------
    ConfigError
        Where it is not understood, or the configuration's venues are simulated.
    """
    asked = config.backfill
    request = read_request(
        config,
        config.store_url,
        exchange=asked.exchange,
        instruments=asked.instruments,
        begin=asked.begin,
        end=asked.end,
        what=asked.what,
        timeframe=asked.timeframe,
        rest_url=asked.rest_url,
    )
    # On a cluster it writes into the store of the engine there, which may stream the same.
    return replace(request, live=True) if address_of(config) else request


if __name__ == "__main__":
    raise SystemExit(command("backfill", main))
