"""Opening the configured store for a while, whether or not an engine runs on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from engine.config import RetentionConfig
from engine.errors import NotRunningError
from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.endpoint import EmbeddedHome, StoreEndpoint, parse_store_url
from engine.store.schema import migrate


def is_in_use(url: str) -> bool:
    """Say whether somebody else may be writing into a store: a server cannot be asked."""
    home = parse_store_url(url)
    return isinstance(home, StoreEndpoint) or _owner_url(home, read_only=True) is not None


@contextmanager
def reading(url: str) -> Iterator[Store]:
    """Open a store that exists, as somebody who only reads.

    An embedded one that a process holds open is asked through that process; else it is opened
    here and closed again.

    Parameters
    ----------
    url
        ``store.url``, resolved (`engine.config.Config.store_url`).

    Raises
    ------
    NotRunningError
        Where the folder of an embedded store is not there.
    StoreLocked
        Where another process took it in this moment.
    """
    home = parse_store_url(url)
    if isinstance(home, EmbeddedHome) and not home.path.is_dir():
        raise NotRunningError(
            f"no engine is running and there is no store at {home.path}; start one with: engine up"
        )
    with _opened(home, read_only=True) as endpoint, closing(Store(endpoint)) as store:
        yield store


@contextmanager
def writing(url: str, retention: RetentionConfig | None) -> Iterator[Store]:
    """Open a store to write into it, made and brought to this version's schema where needed.

    Parameters
    ----------
    url
        See `reading`.
    retention
        How long rows stay. None leaves that, and the schema, to the engine that runs on it; so
        does an embedded store that another process holds open.
    """
    home = parse_store_url(url)
    is_shared = isinstance(home, EmbeddedHome) and _owner_url(home, read_only=False) is not None
    with _opened(home, read_only=False) as endpoint, closing(Store(endpoint)) as store:
        if retention is not None and not is_shared:
            migrate(store, retention, feature_columns())
        yield store


@contextmanager
def _opened(home: EmbeddedHome | StoreEndpoint, *, read_only: bool) -> Iterator[StoreEndpoint]:
    if isinstance(home, StoreEndpoint):
        yield home
        return
    shared = _owner_url(home, read_only=read_only)
    if shared is not None:
        found = parse_store_url(shared)
        if isinstance(found, StoreEndpoint):
            yield found
            return
    from engine.store.embedded import EmbeddedStore  # noqa: PLC0415 - chDB takes a second to load

    embedded = EmbeddedStore(home.path)
    try:
        endpoint = embedded.start()
        yield embedded.viewer if read_only else endpoint
    finally:
        embedded.stop()


def _owner_url(home: EmbeddedHome, *, read_only: bool) -> str | None:
    from engine.store.embedded import read_owner  # noqa: PLC0415 - chDB takes a second to load

    owner = read_owner(home.path)
    if owner is None:
        return None
    return owner.viewer_url if read_only else owner.url
