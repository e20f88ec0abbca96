"""The store that a job works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ray

from engine.config import Config
from engine.errors import ConfigError
from engine.job_request import is_masked
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint, parse_store_url
from engine.store.opening import writing
from jobs.cluster import address_of, engines_store, join_ray
from jobs.provenance import submission_id


@contextmanager
def opened(config: Config, stack: ExitStack) -> Iterator[Store]:
    """Open the store: the configured one, else that of the engine that runs on this cluster.

    Raises
    ------
    ConfigError
        Where it would lie in the folder of a submitted job, which is gone with the job; or its
        password is not known here.
    StartError
        Where the engine does not answer.
    """
    if address_of(config) and not ray.is_initialized():
        join_ray(config, stack)
    endpoint = _engines_store(config)
    if endpoint is not None:
        with Store(endpoint) as store:
            yield store
        return
    is_relative = not Path(config.data_dir).is_absolute()
    if config.store.url == "embedded" and is_relative and submission_id():
        raise ConfigError(
            "no engine runs on this cluster whose store the job could work on; start one there, or "
            "name a store: --set store.url=http://user:password@host:8123/engine"
        )
    with writing(config.store_url, config.store.retention) as store:
        yield store


def _engines_store(config: Config) -> StoreEndpoint | None:
    """Return the engine's store where it is the one that is meant.

    Raises
    ------
    ConfigError
        Where the configured one's password stayed behind, and nobody here knows it.
    """
    url = config.store.url
    if url == "embedded":
        return engines_store()
    if not is_masked(url):
        return None
    found, wanted = engines_store(), parse_store_url(url)
    if found is not None and isinstance(wanted, StoreEndpoint) and _place(found) == _place(wanted):
        return found
    raise ConfigError(
        f"the password of store.url ({url}) does not travel with a job: set ENGINE__STORE__URL on "
        "the cluster's machines"
    )


def _place(endpoint: StoreEndpoint) -> tuple[str, int, str]:
    return endpoint.host, endpoint.port, endpoint.database
