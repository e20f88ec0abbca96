"""Fetch what is missing of the past over REST, as a job.

::

    python -m jobs.backfill --config configs/live.yaml --exchange binance \
        --instrument BTC-USDT --from 2026-11-01 [--to 2026-11-08] [--what candles --timeframe 1h]
    ray job submit -- python -m jobs.backfill …

It prints its result as JSON, its progress on standard error, and exits with 1 where the venue did
not give all. Run again it goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.backfill.request import read_request
from engine.backfill.run import BackfillConfig, BackfillResult, Step, backfill, plain
from engine.config import RetentionConfig, load_config
from engine.errors import EngineError
from engine.store.opening import writing


@dataclass(frozen=True, slots=True)
class JobConfig:
    """What to fetch, and where to."""

    store_url: str
    """``store.url``, resolved."""
    retention: RetentionConfig
    """How long rows stay, where the job makes the store."""
    backfill: BackfillConfig
    """What."""


def main(config: JobConfig) -> BackfillResult:
    """Fetch, and return what came of it.

    Raises
    ------
    EngineError
        Where nothing can be fetched or stored; see `engine.backfill.run.backfill`.
    """
    with writing(config.store_url, config.retention) as store:
        return asyncio.run(backfill(config.backfill, store, tell=_Progress().tell))


class _Progress:
    """A line whenever another tenth of an instrument is done."""

    def __init__(self) -> None:
        self._told = ("", -1)

    def tell(self, step: Step) -> None:
        tenth = int(step.share * 10)
        if (step.instrument, tenth) != self._told:
            self._told = (step.instrument, tenth)
            print(f"{step.instrument} {step.share:4.0%}, {step.rows} rows", file=sys.stderr)


def read_arguments(arguments: Sequence[str] | None) -> JobConfig:
    """Read the command line.

    Raises
    ------
    ConfigError
        Where the configuration or an argument is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m jobs.backfill", description="Fetch what is missing of the past."
    )
    parser.add_argument("--config", type=Path, help="YAML file; the defaults where there is none")
    parser.add_argument("--set", action="append", default=[], help="SECTION.KEY=VALUE")
    parser.add_argument("--exchange", required=True, help="our name of a venue, else ccxt's")
    parser.add_argument("--instrument", action="append", required=True, help="may be repeated")
    parser.add_argument("--from", dest="begin", required=True, help="a day or a time with zone")
    parser.add_argument("--to", dest="end", default="", help="not included; now by default")
    parser.add_argument("--what", default="trades", help="trades or candles")
    parser.add_argument("--timeframe", default="1m", help="of the candles")
    parser.add_argument("--rest-url", default="", help="instead of the venue's own")
    given = parser.parse_args(arguments)
    config = load_config(given.config, given.set)
    request = read_request(
        config,
        config.store_url,
        exchange=given.exchange,
        instruments=given.instrument,
        begin=given.begin,
        end=given.end,
        what=given.what,
        timeframe=given.timeframe,
        rest_url=given.rest_url,
    )
    return JobConfig(config.store_url, config.store.retention, request)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the job as a command and return its exit code."""
    try:
        result = main(read_arguments(arguments))
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(plain(result), indent=2))
    return 1 if result.problems else 0


if __name__ == "__main__":
    raise SystemExit(run())
