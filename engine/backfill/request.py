"""A backfill as it is asked for, by the command and by the job alike."""

from __future__ import annotations

from collections.abc import Sequence

from engine.backfill.run import BackfillConfig, What
from engine.config import Config, ExchangeConfig
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.job_request import is_masked
from engine.moments import parse_moment
from engine.store.opening import is_in_use

_WHATS: tuple[What, ...] = ("trades", "candles")


def read_request(
    config: Config,
    store_url: str,
    *,
    exchange: str,
    instruments: Sequence[str],
    begin: str,
    end: str = "",
    what: str = "trades",
    timeframe: str = "1m",
    rest_url: str = "",
) -> BackfillConfig:
    """Return what texts ask for; the venue's endpoint and pace come from the configuration.

    Parameters
    ----------
    config
        The configuration.
    store_url
        Where the rows go.
    exchange, instruments, begin, end, what, timeframe, rest_url
        See `BackfillConfig`; times as `engine.moments.parse_moment` reads them.

    Raises
    ------
    ConfigError
        Where a text is not understood, or the venues of the configuration are simulated: what
        really happened does not belong beside what they make up.
    """
    if config.simulator.enabled and not rest_url:
        raise ConfigError(
            "the venues of this configuration are simulated, and the real ones' past does not "
            "belong into its store; name another one with --config, or give --rest-url"
        )
    chosen = next((kind for kind in _WHATS if kind == what), None)
    if chosen is None:
        raise ConfigError(f"--what {what!r} is neither trades nor candles")
    if timeframe not in list(Timeframe):
        raise ConfigError(f"--timeframe {timeframe!r} is none of {', '.join(Timeframe)}")
    found = [venue for name, venue in config.exchanges.items() if name == exchange]
    venue = found[0] if found else ExchangeConfig()
    return BackfillConfig(
        exchange=exchange,
        instruments=tuple(dict.fromkeys(instruments)),
        start=parse_moment(begin, "--from"),
        end=parse_moment(end, "--to") if end else None,
        what=chosen,
        timeframe=Timeframe(timeframe),
        rest_url=rest_url or venue.rest_url,
        requests_per_second=venue.rest_per_second,
        timeframes=config.candles.timeframes,
        live=is_in_use(store_url),
        bus_url="" if config.bus.url == "embedded" or is_masked(config.bus.url) else config.bus.url,
        bus_prefix=config.bus.prefix,
    )
