"""A writer whose store goes away and comes back on the same port."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from store_samples import mood

from engine.config import StoreConfig
from engine.store import writer as writer_module
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.writer import BatchWriter


async def test_store_that_stops_and_comes_back_gets_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_CAP_S", 0.05)
    home = EmbeddedStore(tmp_path / "db", password="fixed", viewer_password="looks")
    endpoint = await asyncio.to_thread(home.start)
    store = Store(endpoint)
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
    async with asyncio.timeout(30):
        await retried.wait()
    again = EmbeddedStore(tmp_path / "db", port=endpoint.port)
    await asyncio.to_thread(again.start)
    await writer.close()
    answer = store.command("SELECT tuple(count(), uniqExact(time), min(value)) FROM market_mood")
    assert answer == "(130,130,37)"
    store.close()
    await asyncio.to_thread(again.stop)
