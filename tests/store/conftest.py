"""One embedded home per test file; one migrated database per test that wants one.

chDB opens one folder per process, so every file closes its home before the next opens its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from store_samples import KEPT_FOR_EVER

from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schema import migrate

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """A running embedded home."""
    home = EmbeddedStore(tmp_path_factory.mktemp("store") / "db")
    home.start()
    yield home
    home.stop()


@pytest.fixture
def empty(home: EmbeddedStore) -> Iterator[Store]:
    """A client of a database of its own that is not made yet."""
    database = f"test_{next(_numbers)}"
    with Store(replace(home.endpoint, database=database)) as store:
        yield store
    with Store(home.endpoint) as owner:
        owner.command("DROP DATABASE IF EXISTS {name:Identifier}", {"name": database})


@pytest.fixture
def store(empty: Store) -> Store:
    """A client of a database with all tables, where nothing expires."""
    migrate(empty, KEPT_FOR_EVER, feature_columns())
    return empty
