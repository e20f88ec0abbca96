"""The writer while the store does not answer: disk, order, back-pressure, the next start."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest
from store_doubles import RecordingStore, until
from store_samples import letter, mood

from engine.config import StoreConfig
from engine.domain.text import MarketMood
from engine.errors import StoreQueryError, StoreUnavailable
from engine.metrics import REGISTRY
from engine.store import outbox as outbox_module
from engine.store import writer as writer_module
from engine.store.tables import table_named
from engine.store.writer import BatchWriter


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(outbox_module, "RETRY_CAP_S", 0.05)
    monkeypatch.setattr(writer_module, "CLOSE_PATIENCE_S", 0.2)


def config(buffer: int = 30, spool_mb: int = 1) -> StoreConfig:
    return StoreConfig(flush_ms=20, flush_rows=10, buffer_rows=buffer, spool_mb=spool_mb)


def moods(first: int, count: int) -> list[MarketMood]:
    return [mood(n) for n in range(first, first + count)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.arrow"))


def stored(store: RecordingStore) -> list[MarketMood]:
    return [row for rows in store.stored for row in table_named("market_mood").from_arrow(rows)]


async def test_outage_longer_than_memory_goes_to_disk_and_comes_back_in_order(
    tmp_path: Path,
) -> None:
    store = RecordingStore(open=False)
    writer = BatchWriter(store, config(), spool_dir=tmp_path / "spool")
    for first in range(0, 300, 10):
        await writer.put("market_mood", moods(first, 10))  # ten times what memory takes
    await until(lambda: writer.held == 0)
    spool = writer.status()["spool"]
    assert spool["batches"] >= 30
    assert spool["bytes"] == sum(f.stat().st_size for f in files(tmp_path / "spool"))
    assert spool["since"] == min(int(f.name[:19]) for f in files(tmp_path / "spool"))
    assert (
        REGISTRY.get_sample_value("engine_spool_bytes", {"table": "market_mood"})
        == (spool["bytes"])
    )
    store.open = True
    await writer.flush()
    assert stored(store) == moods(0, 300)
    assert files(tmp_path / "spool") == []
    after = writer.status()["spool"]
    assert (after["batches"], after["bytes"], after["since"]) == (0, 0, None)
    await writer.close()


async def test_disk_that_deletes_nothing_holds_up_no_newer_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RecordingStore(open=False)
    writer = BatchWriter(store, config(), spool_dir=tmp_path)
    await writer.put("market_mood", moods(0, 10))
    await until(lambda: writer.held == 0)

    def fail(path: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", fail)
    store.open = True
    await writer.put("market_mood", moods(10, 10))
    async with asyncio.timeout(5):
        await writer.flush()
    assert stored(store) == moods(0, 20)
    assert files(tmp_path), "the next start sends it again"
    await writer.close()


async def test_every_try_of_a_batch_carries_the_token_of_its_first(tmp_path: Path) -> None:
    store = RecordingStore(failures=[StoreUnavailable("gone")] * 4)
    writer = BatchWriter(store, config(), spool_dir=tmp_path)
    await writer.put("dead_letters", [letter(n) for n in range(15)])
    await writer.flush()
    await writer.close()
    tokens = [token for _, _, token in store.asked]
    assert len(tokens) == 6
    assert len(set(tokens[:5])) == 1
    assert len(set(tokens)) == 2


async def test_new_writer_of_the_name_writes_first_what_the_last_one_left(tmp_path: Path) -> None:
    writer = BatchWriter(RecordingStore(open=False), config(), spool_dir=tmp_path)
    await writer.put("market_mood", moods(0, 25))
    await writer.close()  # nothing is lost, so nothing is raised
    assert writer.held == 0
    store = RecordingStore()
    successor = BatchWriter(store, config(), spool_dir=tmp_path)
    await successor.put("market_mood", moods(25, 5))
    await successor.close()
    assert stored(store) == moods(0, 30)


async def test_flush_of_a_new_writer_writes_what_the_last_one_left(tmp_path: Path) -> None:
    writer = BatchWriter(RecordingStore(open=False), config(), spool_dir=tmp_path)
    await writer.put("market_mood", moods(0, 3))
    await writer.close()
    store = RecordingStore()
    successor = BatchWriter(store, config(), spool_dir=tmp_path)
    await successor.flush()
    assert stored(store) == moods(0, 3)
    await successor.close()


async def test_full_spool_holds_put_back_is_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RecordingStore(open=False)
    writer = BatchWriter(store, config(), spool_dir=tmp_path)
    assert writer._spool is not None
    monkeypatch.setattr(writer._spool, "capacity_bytes", 5000)
    written = 0

    async def write() -> None:
        nonlocal written
        while written < 300:
            await writer.put("market_mood", moods(written, 10))
            written += 10

    task = asyncio.create_task(write())
    await until(lambda: writer.status()["spool"]["is_full"] and writer.held == 30)
    before = written
    await until(lambda: writer.status()["retries"] > 20)
    assert written == before
    assert not task.done()
    status = writer.status()["spool"]
    assert status["bytes"] <= 5000
    assert status["refusals"] >= 1
    assert "is full" in status["problem"]
    assert caplog.text.count("then reading pauses") == 1
    store.open = True
    await task
    await writer.flush()
    assert stored(store) == moods(0, 300)
    await writer.close()


async def test_disk_that_fails_leaves_rows_in_memory_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RecordingStore(open=False)
    writer = BatchWriter(store, config(), spool_dir=tmp_path)

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        await writer.put("market_mood", moods(0, 30))
        await until(lambda: writer.status()["spool"]["refusals"] > 3)
        assert (writer.held, writer.status()["spool"]["batches"]) == (30, 0)
    assert caplog.text.count("Input/output error; rows wait in memory") == 1
    store.open = True
    await writer.flush()
    assert stored(store) == moods(0, 30)
    await writer.close()


async def test_close_says_how_many_rows_are_lost_where_the_disk_is_full_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = BatchWriter(RecordingStore(open=False), config(), spool_dir=tmp_path)
    assert writer._spool is not None
    monkeypatch.setattr(writer._spool, "capacity_bytes", 10)
    await writer.put("market_mood", moods(0, 7))
    with pytest.raises(StoreUnavailable, match=r"7 rows were not stored within .*: closed"):
        await writer.close()


async def test_store_that_hangs_does_not_keep_newer_rows_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "PATIENCE_S", 0.02)
    store = RecordingStore(hung=threading.Event())
    writer = BatchWriter(store, config(), spool_dir=tmp_path)
    await writer.put("market_mood", moods(0, 10))
    await until(lambda: store.asked)
    for first in range(10, 80, 10):
        await writer.put("market_mood", moods(first, 10))
    await until(lambda: writer.held == 0)
    assert writer.status()["spool"]["batches"] == 8  # the one under way too
    assert store.hung is not None
    store.hung.set()
    await writer.flush()
    assert stored(store) == moods(0, 80)
    await writer.close()


async def test_batch_refused_after_an_outage_leaves_the_disk_and_is_reported(
    tmp_path: Path,
) -> None:
    store = RecordingStore(failures=[StoreUnavailable("gone"), StoreQueryError("no column", 47)])
    writer = BatchWriter(store, config(), spool_dir=tmp_path)
    await writer.put("market_mood", moods(0, 2))
    with pytest.raises(StoreQueryError, match="no column"):
        await writer.close()
    assert writer.refused[0].rows == tuple(moods(0, 2))
    assert files(tmp_path) == []


async def test_spool_of_no_size_keeps_everything_in_memory(tmp_path: Path) -> None:
    store = RecordingStore(failures=[StoreUnavailable("gone")] * 2)
    writer = BatchWriter(store, config(spool_mb=0), spool_dir=tmp_path / "spool")
    await writer.put("market_mood", moods(0, 5))
    await writer.flush()
    assert writer.status()["spool"] is None
    assert not (tmp_path / "spool").exists()
    await writer.close()


async def test_folder_of_another_process_is_used_once_that_has_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = BatchWriter(RecordingStore(open=False), config(), spool_dir=tmp_path)
    await first.put("market_mood", moods(0, 5))
    await until(lambda: first.status()["spool"]["batches"] == 1)
    store = RecordingStore()
    with caplog.at_level(logging.ERROR):
        second = BatchWriter(store, config(), spool_dir=tmp_path)
        await second.put("market_mood", moods(5, 5))
        await second.flush()
    assert "another process writes to this spool" in caplog.text
    assert stored(store) == moods(5, 5)
    await first.close()
    store.open = False
    await second.put("market_mood", moods(10, 5))
    await until(lambda: second.status()["spool"]["batches"] == 2)
    store.open = True
    await second.flush()
    assert sorted(stored(store), key=lambda row: row.time) == moods(0, 15)
    await second.close()
