"""Batches on disk: whole or not there, in order, bounded, one owner."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from store_samples import letter, mood, trade

from engine.clock import DataClock
from engine.errors import StoreError
from engine.metrics import REGISTRY
from engine.store.spool import Batch, Spool, SpoolFull
from engine.store.tables import content_token, table_named

MIB = 2**20


def batch(spool: Spool, table: str, rows: list[Any]) -> Batch:
    arrow = table_named(table).to_arrow(rows)
    return Batch(spool.number(), table, arrow, content_token(table, arrow))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool" / "stream-0", MIB, DataClock(1_700_000_000_000_000_000))
    spool.open()
    return spool


def again(spool: Spool) -> Spool:
    """What a new process sees: the folder without the memory."""
    spool.close()
    fresh = Spool(spool.folder, spool.capacity_bytes, DataClock(5))
    fresh.open()
    return fresh


def test_batches_come_back_whole_in_order_and_with_their_token(spool: Spool) -> None:
    kept = [batch(spool, "trades", [trade(n), trade(n + 1)]) for n in (1, 3, 5)]
    beside = batch(spool, "dead_letters", [letter(1)])
    for each in [*kept, beside]:
        spool.append(each)
    fresh = again(spool)
    assert sorted(fresh.tables) == ["dead_letters", "trades"]
    assert (fresh.batches, fresh.since) == (4, kept[0].number)
    for each in kept:
        assert fresh.first("trades") == each
        fresh.remove(each)
    assert fresh.first("trades") is None
    assert fresh.first("dead_letters") == beside
    assert content_token("dead_letters", beside.rows) == beside.token


def test_older_batch_that_comes_to_disk_later_still_goes_first(spool: Spool) -> None:
    older, newer = batch(spool, "trades", [trade(1)]), batch(spool, "trades", [trade(2)])
    spool.append(newer)
    spool.append(older)
    assert spool.first("trades") == older
    assert again(spool).first("trades") == older


def test_number_is_above_all_that_an_earlier_process_left(spool: Spool) -> None:
    last = batch(spool, "trades", [trade(1)])
    spool.append(last)
    assert again(spool).number() == last.number + 1  # its clock says 5


def test_full_spool_refuses_and_takes_again_when_a_batch_left(tmp_path: Path) -> None:
    probe = Spool(tmp_path / "probe", MIB)
    first = batch(probe, "trades", [trade(n) for n in range(1, 50)])
    probe.append(first)
    spool = Spool(tmp_path / "spool", int(probe.size_bytes * 1.5))
    spool.append(first)
    second = batch(spool, "trades", [trade(n) for n in range(50, 99)])
    with pytest.raises(SpoolFull, match=r"is full: \d+ of \d+ bytes in 1 batches .store.spool_mb"):
        spool.append(second)
    assert (spool.is_full, spool.batches) == (True, 1)
    spool.remove(first)
    assert not spool.is_full
    spool.append(second)
    assert spool.first("trades") == second
    assert spool.size_bytes <= spool.capacity_bytes


def test_half_written_file_is_dropped_with_a_word(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    whole = batch(spool, "trades", [trade(1)])
    spool.append(whole)
    (path,) = spool.folder.glob("*.arrow")
    half = spool.folder / f"{whole.number + 1:019}-trades.arrow.part"
    half.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        fresh = again(spool)
    assert f"{half} was being written when its process died: it is dropped" in caplog.text
    assert not half.exists()
    assert fresh.batches == 1


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_truncated_file_is_kept_beside_and_counted_and_the_next_is_read(
    spool: Spool, caplog: pytest.LogCaptureFixture, keep: int
) -> None:
    first, second = batch(spool, "trades", [trade(1)]), batch(spool, "trades", [trade(2)])
    spool.append(first)
    spool.append(second)
    damaged = min(spool.folder.glob("*.arrow"))
    damaged.write_bytes(damaged.read_bytes()[:keep])
    left = damaged.read_bytes()
    labels = {"stage": "store", "kind": "spool_damaged"}
    before = REGISTRY.get_sample_value("engine_errors_total", labels) or 0.0
    reader = again(spool)
    assert reader.first("trades") == second
    assert f"{damaged} is damaged" in caplog.text
    assert not damaged.exists()
    beside = damaged.with_name(damaged.name + ".damaged")
    assert beside.read_bytes() == left
    assert REGISTRY.get_sample_value("engine_errors_total", labels) == before + 1
    caplog.clear()
    fresh = again(reader)
    assert f"{beside} could not be read: it stays there" in caplog.text
    assert (fresh.batches, beside.exists()) == (1, True)


def test_strange_files_stay_and_are_named(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    names = ["notes.txt", f"{7:019}-no_such_table.arrow"]
    for name in names:
        (spool.folder / name).write_text("x")
    fresh = again(spool)
    assert fresh.batches == 0
    for name in names:
        assert (spool.folder / name).exists()
        assert f"{spool.folder / name} is no batch for a table that we know" in caplog.text


def test_second_owner_of_a_folder_is_refused(spool: Spool) -> None:
    with pytest.raises(StoreError, match="another process writes to this spool"):
        Spool(spool.folder, MIB).open()
    spool.close()
    Spool(spool.folder, MIB).open()


def test_disk_error_while_writing_leaves_nothing_behind(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            spool.append(batch(spool, "market_mood", [mood(1)]))
    assert [path.name for path in spool.folder.iterdir()] == ["lock"]
    assert (spool.batches, spool.size_bytes) == (0, 0)
    spool.append(batch(spool, "market_mood", [mood(1)]))
    assert spool.batches == 1
