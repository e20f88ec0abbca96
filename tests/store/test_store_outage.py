"""A writer whose store goes away and comes back on the same port."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from store_samples import mood

from engine.config import StoreConfig
from engine.errors import StoreUnavailable
from engine.store import outbox as outbox_module
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.endpoint import StoreEndpoint
from engine.store.writer import BatchWriter


class WatchedStore(Store):
    """A store that tells when a write found nobody."""

    def __init__(self, endpoint: StoreEndpoint) -> None:
        super().__init__(endpoint)
        self.failed = threading.Event()

    def insert_arrow(self, table: str, rows: pa.Table, token: str | None = None) -> int:
        try:
            return super().insert_arrow(table, rows, token)
        except StoreUnavailable:
            self.failed.set()
            raise


async def test_store_that_stops_and_comes_back_gets_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_CAP_S", 0.05)
    home = EmbeddedStore(tmp_path / "db", password="fixed", viewer_password="looks")
    endpoint = await asyncio.to_thread(home.start)
    store = WatchedStore(endpoint)
    store.command(
        "CREATE TABLE market_mood (series String, time DateTime64(9, 'UTC'), value Float64, "
        "available_at DateTime64(9, 'UTC')) ENGINE = MergeTree ORDER BY time "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    writer = BatchWriter(store, StoreConfig(flush_ms=20, flush_rows=50))
    await writer.put("market_mood", [mood(n) for n in range(70)])
    await writer.flush()
    await asyncio.to_thread(home.stop)
    await writer.put("market_mood", [mood(n) for n in range(70, 130)])
    assert await asyncio.to_thread(store.failed.wait, 30)
    again = EmbeddedStore(tmp_path / "db", port=endpoint.port)
    await asyncio.to_thread(again.start)
    await writer.close()
    answer = store.command("SELECT tuple(count(), uniqExact(time), min(value)) FROM market_mood")
    assert answer == "(130,130,37)"
    store.close()
    await asyncio.to_thread(again.stop)
