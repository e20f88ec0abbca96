"""The Ray Serve application: one ingress deployment that answers from ready bytes.

Import path for Serve's configuration files: ``serve.app:build``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from ray import serve as ray_serve
from ray.serve.schema import LoggingConfig

from engine.actors.sentiment_pool import SentimentPool
from engine.actors.text_reading import open_text_readers
from engine.bus.client import Bus
from engine.bus.sentiment_cache import SentimentCache
from engine.config import Config
from engine.errors import ConfigError
from engine.log import set_up_logging
from serve.api import create_api
from serve.sentiment_scoring import CachedScoring, Scoring, ScoringHere
from serve.state import ServingState, StoredData

MAX_ONGOING_REQUESTS = 200
"""Per replica. Answers are ready bytes or short waits for the store, so many fit at once."""
MAX_QUEUED_REQUESTS = 1000
ENVIRONMENT_PREFIX = "env:"
SCORING_PATIENCE_S = 5.0
"""How long a request waits for a sentiment replica that answers."""


class Signals:
    """One replica: a FastAPI application, and a task that follows the bus.

    Parameters
    ----------
    options
        As for `build`.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        config = Config.model_validate_json(options["config"])
        set_up_logging(config.log.level, config.log.format)
        store_url, bus_url = secret(options["store_url"]), secret(options["bus_url"])
        prefix = options.get("prefix", config.bus.prefix)
        self._state = ServingState(
            config=config,
            bus=Bus(bus_url, prefix),
            open_reader=lambda: open_reader(store_url),
            scoring=CachedScoring(
                scoring_of(options.get("scoring", "here"), config),
                SentimentCache(bus_url, prefix, config.sentiment.cache_s),
            ),
            load_feature_names=feature_names,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the application; Serve calls it once, after the constructor."""
        return create_api(self._state)

    async def check_health(self) -> None:
        """Fail where following the bus has stopped: Serve then replaces the replica.

        Bus and store being away is no such case: a new replica would not bring them back.
        """
        following = self._state.following
        if following is not None and following.done():
            raise RuntimeError(f"the replica no longer follows the bus: {following!r}")


def open_reader(store_url: str) -> StoredData:
    """Connect to the store. Blocking."""
    from engine.store.client import Store  # noqa: PLC0415 - costs 0.3 s that start-up needs
    from engine.store.endpoint import StoreEndpoint, parse_store_url  # noqa: PLC0415
    from engine.store.reader import Reader  # noqa: PLC0415

    endpoint = parse_store_url(store_url)
    if not isinstance(endpoint, StoreEndpoint):
        raise ConfigError("serve needs the URL of a running store, not an embedded path")
    return Reader(Store(endpoint))


def scoring_of(where: str, config: Config) -> Scoring:
    """Return whoever reads texts.

    Parameters
    ----------
    where
        ``actors`` asks the engine's sentiment replicas; ``here`` loads the models in this process
        when first asked.
    config
        The whole configuration.

    Raises
    ------
    ConfigError
        Where `where` is neither.
    """
    if where == "actors":
        return SentimentPool(config.sentiment.max_replicas, SCORING_PATIENCE_S)
    if where == "here":
        return ScoringHere(open_text_readers(config))
    raise ConfigError(f"serve.app:build: scoring is {where!r}; known: actors, here")


def feature_names() -> Sequence[str]:
    """Return the catalogue's names. Blocking: loads TA-Lib."""
    from engine.features.catalogue import FEATURE_NAMES  # noqa: PLC0415 - as above

    return FEATURE_NAMES


def secret(value: str) -> str:
    """Return `value`, or what the environment variable it names holds.

    Parameters
    ----------
    value
        The text itself, or ``env:NAME``: for Serve configuration files, whose arguments Ray
        shows in its dashboard and logs.

    Raises
    ------
    ConfigError
        Where the variable is not set.
    """
    if not value.startswith(ENVIRONMENT_PREFIX):
        return value
    name = value.removeprefix(ENVIRONMENT_PREFIX)
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigError(f"the environment variable {name} is not set in the replica") from None


def build(options: dict[str, Any]) -> ray_serve.Application:
    """Make the application.

    Parameters
    ----------
    options
        ``store_url``: URL of the running store, password included; ``bus_url``: Redis URL
        (either may be ``env:NAME``); ``config``: the whole configuration as JSON
        (``Config.model_dump_json()``); ``prefix`` (optional): the bus' prefix; ``scoring``
        (optional): who reads texts, see `scoring_of`.

    Raises
    ------
    ConfigError
        Where one is missing.
    """
    missing = sorted({"store_url", "bus_url", "config"} - options.keys())
    if missing:
        raise ConfigError(f"serve.app:build lacks the arguments {', '.join(missing)}")
    replicas = Config.model_validate_json(options["config"]).serve.replicas
    configured = ray_serve.deployment(
        name="Signals",
        num_replicas=replicas,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        max_queued_requests=MAX_QUEUED_REQUESTS,
        ray_actor_options={"num_cpus": 0.1},
        health_check_period_s=5,
        health_check_timeout_s=15,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=5,
        logging_config=LoggingConfig(enable_access_log=False),
    )
    deployment: ray_serve.Deployment = configured(ray_serve.ingress()(Signals))
    return deployment.bind(options)
