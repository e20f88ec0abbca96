"""``engine record``: raw frames into files, without the rest of the engine."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.cli.options import ConfigOption, SetOption, read_config
from engine.config import Config, ExchangeConfig
from engine.domain.instrument import Instrument
from engine.errors import ConfigError
from engine.exchanges.registry import EXCHANGES
from engine.moments import parse_duration_s

REFRESH_S = 0.5


def record(
    exchange: Annotated[str, typer.Option(help="Our name of the venue.")],
    instrument: Annotated[list[str], typer.Option(help="Such as BTC-USDT; may be repeated.")],
    channel: Annotated[
        list[str] | None,
        typer.Option(help="trades, book_top, book or perpetual; all the venue has by default."),
    ] = None,
    duration: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Such as 10m; until Ctrl-C by default.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("recordings"),
    config: ConfigOption = None,
    override: SetOption = None,
) -> None:
    """Write a venue's raw frames, byte for byte, into compressed files of an hour each.

    Ctrl-C ends it cleanly. Play them with: engine up --replay FOLDER.

    Example: **engine record --exchange kraken --instrument BTC-USD --for 10m**
    """
    settings = read_config(config, override)
    if exchange not in EXCHANGES:
        raise ConfigError(
            f"there is no adapter for exchange {exchange!r}; known are {', '.join(EXCHANGES)}"
        )
    for name in instrument:
        Instrument.parse(name)
    venue = _venue_config(settings, exchange, instrument, channel)
    seconds = parse_duration_s(duration, "--for") if duration else None
    files = asyncio.run(_record(exchange, venue, settings, out, seconds))
    console = Console(highlight=False, soft_wrap=True)
    for path in files:
        console.print(str(path))
    if not files:
        console.print("nothing was received: no file was written")
        raise typer.Exit(1)


def _venue_config(
    settings: Config, exchange: str, instruments: list[str], channels: list[str] | None
) -> ExchangeConfig:
    """Return how the venue is to be streamed from: its endpoints as configured."""
    offered = EXCHANGES[exchange].channels
    unknown = sorted(set(channels or ()) - offered)
    if unknown:
        raise ConfigError(
            f"--channel {unknown[0]!r} is none of {exchange}'s: {', '.join(sorted(offered))}"
        )
    configured = {name: venue for name, venue in settings.exchanges.items() if name == exchange}
    venue = configured.get(exchange, ExchangeConfig())  # type: ignore[call-overload]
    return ExchangeConfig.model_validate(
        venue.model_dump()
        | {
            "instruments": tuple(dict.fromkeys(instruments)),
            "channels": tuple(channels or sorted(offered)),
            "repair": False,  # what REST gives back was not on the wire
        }
    )


async def _record(
    exchange: str, venue: ExchangeConfig, settings: Config, out: Path, seconds: float | None
) -> list[Path]:
    from engine.exchanges.recording_run import RecordingRun

    run = RecordingRun(exchange, venue, settings.reconnect, out)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopping.set)
    task = asyncio.create_task(run.run())
    stop = asyncio.create_task(stopping.wait())
    deadline: float | None = None
    with Console(stderr=True, highlight=False).status("connecting") as status:
        while not task.done() and not stop.done():
            if deadline is None and seconds is not None and run.frames:
                deadline = loop.time() + seconds
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                break
            status.update(run.progress(left))
            pause = REFRESH_S if left is None else min(REFRESH_S, left)
            await asyncio.wait({task, stop}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    with suppress(asyncio.CancelledError):
        await stop
    await run.stop()
    await task
    return run.paths
