"""The simulator as a process of its own: ``python -m engine.simulator --config FILE``.

It prints one line of JSON with the addresses of every venue, of the news and of its control port
(`engine.simulator.control`), and runs until SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.clock import SystemClock
from engine.config import Config, load_config
from engine.errors import EngineError
from engine.log import set_up_logging
from engine.simulator.control import serve_control
from engine.simulator.listing import LISTINGS
from engine.simulator.server import VENUE_TYPES, SimulatedVenues


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped; return what the process exits with."""
    parser = argparse.ArgumentParser(prog="python -m engine.simulator", description=__doc__)
    parser.add_argument("--config", type=Path, help="YAML file; `exchanges` says what is listed")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="overrides a key"
    )
    parser.add_argument(
        "--control-port", type=int, default=0, metavar="PORT", help="0 takes a free one"
    )
    given = parser.parse_args(arguments)
    try:
        config = load_config(given.config, given.set)
        set_up_logging(config.log.level, config.log.format)
        asyncio.run(_serve(config, given.control_port))
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: the simulator cannot listen: {error}", file=sys.stderr)
        return 3
    return 0


def instruments_of(config: Config) -> dict[str, tuple[str, ...]]:
    """Return what each venue lists: what the configuration says, else the simulator's own list."""
    if not config.exchanges:
        return {name: LISTINGS[name] for name in VENUE_TYPES}
    return {
        name: venue.instruments or LISTINGS[name]
        for name, venue in config.exchanges.items()
        if venue.enabled
    }


async def _serve(config: Config, control_port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    venues = SimulatedVenues(config.simulator, SystemClock(), instruments_of(config))
    endpoints = await venues.start()
    try:
        runner, control = await serve_control(venues, control_port)
        try:
            exchanges = {
                name: {"ws_url": ws_url, "rest_url": rest_url}
                for name, (ws_url, rest_url) in endpoints.exchanges.items()
            }
            line = {"exchanges": exchanges, "news_url": endpoints.news_url, "control_url": control}
            print(json.dumps(line), flush=True)
            await stopped.wait()
        finally:
            await runner.cleanup()
    finally:
        await venues.stop()


if __name__ == "__main__":
    sys.exit(main())
