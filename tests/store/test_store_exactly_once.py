"""Exactly once, whatever dies when: lost answers, outages, and kills between any two steps."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import letter, top, trade, uncounted

from engine.config import StoreConfig
from engine.domain.market import BookTop, DeadLetter, Trade
from engine.errors import StoreUnavailable
from engine.store import outbox as outbox_module
from engine.store import writer as writer_module
from engine.store.client import Store
from engine.store.once import OnceFilter
from engine.store.tables import table_named
from engine.store.writer import BatchWriter

CONFIG = StoreConfig(flush_ms=3_600_000, flush_rows=8, spool_mb=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(outbox_module, "RETRY_CAP_S", 0.002)
    monkeypatch.setattr(writer_module, "CLOSE_PATIENCE_S", 0.05)


def rows_of(store: Store, table: str) -> list[Any]:
    kind = table_named(table)
    found = store.query_arrow(f"SELECT {kind.select} FROM {table}")
    return sorted(kind.from_arrow(found), key=repr)


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Burns one step at a time; from its end on, no step is done any more."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


class MortalStore(Store):
    """A store whose client dies with the fuse, and whose answers fail as planned."""

    def __init__(self, store: Store, fuse: Fuse, answers: Iterator[str]) -> None:
        super().__init__(store.endpoint)
        self._fuse = fuse
        self._answers = answers

    def query_arrow(self, sql: str, parameters: Any = None) -> pa.Table:
        self._fuse.step()
        return super().query_arrow(sql, parameters)

    def insert_arrow(self, table: str, rows: pa.Table, token: str | None = None) -> int:
        answer = next(self._answers, "good")
        self._fuse.step()
        if answer == "down":
            raise StoreUnavailable("down")
        count = super().insert_arrow(table, rows, token)
        self._fuse.step()
        if answer == "lost":
            raise StoreUnavailable("the answer was lost")
        return count


@contextmanager
def mortal_disk(fuse: Fuse) -> Iterator[None]:
    """Before and after every change of the disk there is a moment to die in."""

    def around(real: Any) -> Any:
        def work(*args: Any, **kwargs: Any) -> Any:
            fuse.step()
            result = real(*args, **kwargs)
            fuse.step()
            return result

        return work

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", around(os.fsync))
        patch.setattr(Path, "rename", around(Path.rename))
        patch.setattr(Path, "unlink", around(Path.unlink))
        yield


def live(
    store: Store, spool: Path, steps: int, answers: Sequence[str], feed: dict[str, list[Any]]
) -> bool:
    """One life of a process: True where it ended well, False where it was killed."""
    fuse = Fuse(steps)
    mortal = MortalStore(store, fuse, iter(answers))
    writer = BatchWriter(mortal, CONFIG, spool_dir=spool)

    async def work() -> None:
        for start in range(0, max(map(len, feed.values())), 12):
            for table, rows in feed.items():
                await writer.put(table, rows[start : start + 12])
            await writer.flush()
        await writer.close()

    try:
        with mortal_disk(fuse):
            asyncio.run(work())
    except Killed:
        return False
    finally:
        # Of a dead process nothing stays but the files: its lock is let go.
        assert writer._spool is not None
        writer._spool.close()
        mortal.close()
    return True


ANSWERS = st.lists(st.sampled_from(["good", "down", "lost"]), max_size=12)
LIVES = st.lists(st.tuples(st.integers(0, 70), ANSWERS, st.integers(0, 30)), max_size=3)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lives=LIVES)
def test_rows_are_stored_once_whichever_step_a_process_is_killed_at(
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
    lives: list[tuple[int, list[str], int]],
) -> None:
    """Each life repeats a part of what came before, as repairs and replays do."""
    for table in ("trades", "book_tops", "dead_letters"):
        store.command(f"TRUNCATE TABLE {table}")
    spool = tmp_path_factory.mktemp("spool")
    trades: list[Trade] = [trade(n) for n in range(1, 25)] + [uncounted(n) for n in range(24)]
    random.Random(7).shuffle(trades)
    tops: list[BookTop] = [top(n) for n in range(1, 30)]
    letters: list[DeadLetter] = []
    for number, (steps, answers, start) in enumerate(lives):
        # Nobody sends a dead letter again: it is there once, or it died in memory.
        mine = [letter(100 * number + n) for n in range(15)]
        feed = {"trades": trades[start:], "book_tops": tops[start:], "dead_letters": mine}
        ended_well = live(store, spool, steps, answers, feed)
        letters += mine
        if ended_well:
            assert set(mine) <= set(rows_of(store, "dead_letters")) or any(spool.glob("*.arrow"))
    assert live(store, spool, 10**9, [], {"trades": trades, "book_tops": tops})
    assert rows_of(store, "trades") == sorted(trades, key=repr)
    assert rows_of(store, "book_tops") == sorted(tops, key=repr)
    kept = rows_of(store, "dead_letters")
    assert len(kept) == len(set(kept))
    assert set(kept) <= set(letters)
    assert list(spool.glob("*.arrow*")) == []


CHILD = """
import asyncio, sys
from pathlib import Path
import msgspec
from store_samples import letter, trade
from engine.config import StoreConfig
from engine.errors import StoreUnavailable
from engine.store import outbox
from engine.store.client import Store
from engine.store.endpoint import StoreEndpoint
from engine.store.writer import BatchWriter

endpoint = StoreEndpoint(**msgspec.json.decode(sys.argv[1]))
spool, down = map(Path, sys.argv[2:4])
life, first, count = map(int, sys.argv[4:])
outbox.RETRY_FIRST_S = outbox.RETRY_CAP_S = 0.01

class Wayward(Store):
    def insert_arrow(self, table, rows, token=None):
        if down.exists():
            raise StoreUnavailable("down")
        return super().insert_arrow(table, rows, token)

async def main():
    config = StoreConfig(flush_ms=20, flush_rows=50, spool_mb=16)
    writer = BatchWriter(Wayward(endpoint), config, spool_dir=spool)
    for start in range(first, first + count, 25):
        await writer.put("trades", [trade(n) for n in range(start, start + 25)])
        await writer.put("dead_letters", [letter(10**6 * life + start)])
        print(start, flush=True)
        await asyncio.sleep(0.002)
    await writer.close()

asyncio.run(main())
"""


def test_processes_killed_with_sigkill_double_nothing_and_leave_no_hole(
    store: Store, tmp_path: Path
) -> None:
    """Three processes one after another, killed while they write, spool or replay; then a last."""
    spool, down = tmp_path / "spool", tmp_path / "down"
    endpoint = msgspec.json.encode(asdict(store.endpoint)).decode()
    draw = random.Random(11)

    def start(life: int, first: int, count: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, endpoint, *map(str, (spool, down, life, first, count))],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )

    reached = 1
    for life, is_down in enumerate((False, True, False)):
        down.touch() if is_down else down.unlink(missing_ok=True)
        process = start(life, reached, 100_000)
        assert process.stdout is not None
        for _ in range(draw.randrange(20, 60)):
            reached = max(reached, int(process.stdout.readline()))
        time.sleep(draw.random() / 50)  # the moment of death is to be any
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    last = start(3, 1, reached + 24)  # what repair would fetch again: everything
    assert last.stdout is not None
    assert last.stdout.read().splitlines()[-1] == str(reached)
    assert last.wait() == 0
    last.stdout.close()
    found = rows_of(store, "trades")
    assert len(found) == len(set(found))
    assert set(found) >= {trade(n) for n in range(1, reached + 25)}
    letters = rows_of(store, "dead_letters")
    assert len(letters) == len(set(letters))
    assert list(spool.glob("*.arrow*")) == []


def _missing(once: OnceFilter, rows: Sequence[msgspec.Struct]) -> list[Any]:
    trades = table_named("trades")
    return trades.from_arrow(once.missing(trades.to_arrow(rows)))


def _write(store: Store, once: OnceFilter, rows: Sequence[msgspec.Struct]) -> list[Any]:
    trades = table_named("trades")
    fresh = once.missing(trades.to_arrow(rows))
    store.insert_arrow("trades", fresh)
    once.written(fresh)
    return trades.from_arrow(fresh)


def test_repaired_trades_between_stored_ones_are_written_once(store: Store) -> None:
    once = OnceFilter(store, "trades")
    held = [trade(n) for n in (1, 2, 3, 10, 11)]
    assert _write(store, once, held) == held
    refetched = [
        msgspec.structs.replace(trade(n), receive_time=trade(n).receive_time + 5)
        for n in range(2, 12)
    ]
    between = [row for row in refetched if 3 < row.sequence < 10]
    assert _write(store, once, refetched) == between
    assert _write(store, once, refetched) == []
    assert _missing(OnceFilter(store, "trades"), refetched) == []


def test_repaired_trades_of_two_gaps_far_apart_ask_for_nothing_between_them(store: Store) -> None:
    day = 24 * 3_600_000
    held = [trade(n) for n in (1, 3, *range(day // 2, day // 2 + 50), day + 1, day + 3)]
    assert _write(store, OnceFilter(store, "trades"), held) == held
    rows_read: list[int] = []

    class Counted(Store):
        def query_arrow(self, sql: str, parameters: Any = None) -> pa.Table:
            found = super().query_arrow(sql, parameters)
            rows_read.append(found.num_rows)
            return found

    fetched = [trade(n) for n in (1, 2, 3, day + 1, day + 2, day + 3)]
    once = OnceFilter(Counted(store.endpoint), "trades")
    assert _missing(once, fetched) == [trade(2), trade(day + 2)]
    assert sum(rows_read) == 1 + 4  # how far the market reaches, and the ids on both sides


def test_uncounted_trades_of_one_moment_are_told_apart_by_their_ids(store: Store) -> None:
    once = OnceFilter(store, "trades")
    at = uncounted(1)
    first = [msgspec.structs.replace(at, trade_id=name) for name in ("b7-e1", "00-ff")]
    assert _write(store, once, first) == first
    later = [msgspec.structs.replace(at, trade_id=name) for name in ("00-ff", "aa-01", "b7-e1")]
    assert _write(store, once, later) == [later[1]]


def test_uncounted_trade_that_is_older_than_what_is_held_is_written_once(store: Store) -> None:
    once = OnceFilter(store, "trades")
    assert _write(store, once, [uncounted(5), uncounted(9)]) == [uncounted(5), uncounted(9)]
    late = [uncounted(n) for n in (3, 5, 7, 9, 12)]
    assert _write(store, once, late) == [uncounted(3), uncounted(7), uncounted(12)]
    assert _missing(OnceFilter(store, "trades"), late) == []


@pytest.mark.parametrize("off_ns", [-700, 700])
@pytest.mark.parametrize("sample", [trade, uncounted])
def test_trade_told_again_with_other_digits_of_its_time_is_written_once(
    store: Store, sample: Callable[[int], Trade], off_ns: int
) -> None:
    once = OnceFilter(store, "trades")
    held = [sample(1), sample(2)]
    _write(store, once, held)
    again = [msgspec.structs.replace(row, exchange_time=row.exchange_time + off_ns) for row in held]
    assert _write(store, once, again) == []
    assert _missing(OnceFilter(store, "trades"), again) == []


def test_repetition_within_a_batch_keeps_the_first_and_the_order(store: Store) -> None:
    once = OnceFilter(store, "trades")
    again = msgspec.structs.replace(trade(3), price=1.0)
    rows = [trade(3), trade(1), again, trade(2, "ETH-USDT"), trade(1)]
    assert _missing(once, rows) == [trade(3), trade(1), trade(2, "ETH-USDT")]


def test_same_ids_in_other_markets_are_other_trades(store: Store) -> None:
    once = OnceFilter(store, "trades")
    markets = [trade(1), trade(1, "ETH-USDT"), trade(1, exchange="coinbase")]
    assert _write(store, once, markets) == markets
    assert _missing(OnceFilter(store, "trades"), markets) == []


def test_numbered_tops_pass_once_and_others_always(store: Store) -> None:
    tops = table_named("book_tops")
    rows = [top(1), top(2, 0), top(3), top(3), top(4, 0)]
    once = OnceFilter(store, "book_tops")
    fresh = once.missing(tops.to_arrow(rows))
    assert tops.from_arrow(fresh) == [top(1), top(2, 0), top(3), top(4, 0)]
    store.insert_arrow("book_tops", fresh)
    again = OnceFilter(store, "book_tops").missing(tops.to_arrow([*rows, top(5)]))
    assert tops.from_arrow(again) == [top(2, 0), top(4, 0), top(5)]
