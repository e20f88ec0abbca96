"""An embedded home with all tables for each test file; each test finds them empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.config import RetentionConfig
from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schema import migrate

_FOR_EVER = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A client of a running home where nothing expires."""
    home = EmbeddedStore(tmp_path_factory.mktemp("quality") / "db")
    home.start()
    with Store(home.endpoint) as store:
        migrate(store, _FOR_EVER, feature_columns())
        yield store
    home.stop()


@pytest.fixture
def store(migrated: Store) -> Store:
    """The same, with nothing in it that the gate looks at or writes."""
    for table in ("candles", "texts", "quarantine"):
        migrated.command(f"TRUNCATE TABLE {table}")
    return migrated
