"""Batches: when they go, what an outage does to them, what is refused, and trades exactly once."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_doubles import RecordingStore, until
from store_samples import candle, letter, mood, top, trade, uncounted

from engine.config import StoreConfig
from engine.domain.market import Trade
from engine.errors import StoreError, StoreQueryError, StoreUnavailable
from engine.store import outbox as outbox_module
from engine.store import writer as writer_module
from engine.store.client import Store
from engine.store.once import OnceFilter
from engine.store.reader import Reader
from engine.store.tables import content_token, table_named
from engine.store.writer import KEPT_REFUSALS, BatchWriter

NEVER_MS = 3_600_000


def _config(flush_ms: int = NEVER_MS, flush_rows: int = 1000, buffer: int = 10_000) -> StoreConfig:
    return StoreConfig(flush_ms=flush_ms, flush_rows=flush_rows, buffer_rows=buffer)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(outbox_module, "RETRY_CAP_S", 0.05)


async def test_batch_goes_when_it_has_enough_rows() -> None:
    store = RecordingStore()
    writer = BatchWriter(store, _config(flush_rows=10))
    await writer.put("market_mood", [mood(n) for n in range(9)])
    assert (writer.held, store.kept) == (9, [])
    await writer.put("market_mood", [mood(n) for n in range(9, 24)])
    await until(lambda: writer.held == 4)
    assert [rows for _, rows in store.kept] == [10, 10]
    await writer.close()
    assert [rows for _, rows in store.kept] == [10, 10, 4]


class SlowStore(RecordingStore):
    """Takes its time for every insert."""

    def insert_arrow(self, table: str, rows: pa.Table, token: str | None = None) -> int:
        time.sleep(0.1)
        return super().insert_arrow(table, rows, token)


async def test_slow_store_is_asked_less_often_and_no_row_waits_for_ever() -> None:
    """An insert of 0.1 s is worth 2 s of gathering, but three times ``flush_ms`` are the most."""
    stores = (RecordingStore(), SlowStore())
    writers = [BatchWriter(store, _config(flush_ms=100)) for store in stores]
    for number in range(150):
        for writer in writers:
            await writer.put("market_mood", [mood(number)])
        await asyncio.sleep(0.01)
    often, seldom = (len(store.kept) for store in stores)
    assert 1.5 * seldom < often
    assert seldom >= 3
    for store, writer in zip(stores, writers, strict=True):
        await until(lambda writer=writer: writer.held == 0)
        assert sum(rows for _, rows in store.kept) == 150
        await writer.close()


async def test_rows_that_are_made_again_are_gathered_for_three_times_as_long() -> None:
    """A killed process loses them for nobody; a third of the inserts is a load off the store."""
    store = RecordingStore()
    writer = BatchWriter(store, _config(flush_ms=100))
    for number in range(120):
        await writer.put("market_mood", [mood(number)])
        await writer.put("candles", [candle(number)])
        await asyncio.sleep(0.01)
    inserts = Counter(table for table, _ in store.kept)
    assert 2 <= inserts["candles"] < 0.6 * inserts["market_mood"]
    await until(lambda: writer.held == 0)
    await writer.close()


async def test_flush_ends_while_rows_keep_coming_and_leaves_nothing_running() -> None:
    """It sends what was taken before, and not in ever smaller batches what comes meanwhile."""
    store = SlowStore()
    writer = BatchWriter(store, _config(flush_ms=2_000))
    await writer.put("market_mood", [mood(0)])
    flushing = asyncio.create_task(writer.flush())
    for number in range(1, 60):
        await writer.put("market_mood", [mood(number)])
        await asyncio.sleep(0.01)
    assert flushing.done()
    assert len(store.kept) == 1
    await writer.close()
    assert sum(rows for _, rows in store.kept) == 60


async def test_batch_goes_when_its_oldest_row_waited_long_enough() -> None:
    store = RecordingStore()
    writer = BatchWriter(store, _config(flush_ms=40))
    await writer.put("market_mood", [mood(1)])
    # The store has the row a moment before the writer lets go of it.
    await until(lambda: writer.held == 0)
    assert store.kept == [("market_mood", 1)]
    await writer.close()


@pytest.mark.usefixtures("quick_retries")
async def test_outage_repeats_the_same_batch_with_the_same_token() -> None:
    store = RecordingStore(failures=[StoreUnavailable("gone")] * 3)
    writer = BatchWriter(store, _config())
    await writer.put("market_mood", [mood(1), mood(2)])
    await writer.flush()
    assert store.kept == [("market_mood", 2)]
    assert len(store.asked) == 4
    assert len(set(store.asked)) == 1
    assert writer.status()["retries"] == 3
    assert writer.status()["unavailable"] is None
    await writer.close()


@pytest.mark.usefixtures("quick_retries")
async def test_full_buffer_makes_put_wait_until_rows_are_stored() -> None:
    store = RecordingStore(open=False)
    writer = BatchWriter(store, _config(flush_rows=10, buffer=30))
    await writer.put("market_mood", [mood(n) for n in range(30)])
    waiting = asyncio.create_task(writer.put("market_mood", [mood(30)]))
    await until(lambda: writer.status()["retries"] > 2)
    assert not waiting.done()
    assert (writer.held, writer.status()["unavailable"]) == (30, "closed for the test")
    store.open = True
    await waiting
    await writer.flush()
    assert sum(rows for _, rows in store.kept) == 31
    assert writer.held == 0
    await writer.close()


async def test_put_larger_than_the_buffer_passes_in_parts() -> None:
    store = RecordingStore()
    writer = BatchWriter(store, _config(flush_rows=10, buffer=25))
    await writer.put("market_mood", [mood(n) for n in range(100)])
    await writer.flush()
    assert sum(rows for _, rows in store.kept) == 100
    await writer.close()


async def test_refused_batch_is_kept_counted_and_raised_once() -> None:
    store = RecordingStore(failures=[StoreQueryError("no such column", 47)])
    writer = BatchWriter(store, _config())
    await writer.put("market_mood", [mood(1), mood(2)])
    with pytest.raises(StoreQueryError, match="no such column"):
        await writer.flush()
    (refusal,) = writer.refused
    assert (refusal.table, refusal.rows) == ("market_mood", (mood(1), mood(2)))
    status = writer.status()
    assert (status["refused_batches"], status["refused_rows"]) == (1, 2)
    assert status["last_refusal"] == "no such column"
    await writer.put("market_mood", [mood(3)])
    await writer.flush()
    assert (len(store.asked), store.kept) == (2, [("market_mood", 1)])
    await writer.close()


async def test_refused_batches_are_bounded_and_all_counted() -> None:
    many = KEPT_REFUSALS + 7
    store = RecordingStore(failures=[StoreQueryError(f"refusal {n}") for n in range(many)])
    writer = BatchWriter(store, _config(flush_rows=1))
    await writer.put("market_mood", [mood(n) for n in range(many)])
    with pytest.raises(StoreQueryError, match="refusal 0"):
        await writer.close()
    assert len(writer.refused) == KEPT_REFUSALS
    assert writer.refused[-1].rows == (mood(many - 1),)
    assert writer.status()["refused_batches"] == writer.status()["refused_rows"] == many


async def test_rows_of_the_wrong_struct_are_refused_visibly() -> None:
    writer = BatchWriter(RecordingStore(), _config())
    await writer.put("candles", [trade(1)])
    with pytest.raises(StoreError, match="table candles takes Candle rows, not Trade"):
        await writer.close()
    assert writer.refused[0].rows == (trade(1),)


async def test_unforeseen_error_is_a_refusal_too() -> None:
    store = RecordingStore(failures=[RuntimeError("a bug")])
    writer = BatchWriter(store, _config())
    await writer.put("market_mood", [mood(1)])
    with pytest.raises(StoreError, match="a bug"):
        await writer.close()
    assert writer.status()["refused_rows"] == 1


async def test_put_names_unknown_tables_and_a_closed_writer() -> None:
    writer = BatchWriter(RecordingStore(), _config())
    with pytest.raises(StoreError, match="no table 'moods'"):
        await writer.put("moods", [mood(1)])
    await writer.close()
    with pytest.raises(StoreError, match="the writer is closed"):
        await writer.put("market_mood", [mood(1)])


@pytest.mark.usefixtures("quick_retries")
async def test_close_without_a_store_says_how_many_rows_are_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "CLOSE_PATIENCE_S", 0.1)
    writer = BatchWriter(RecordingStore(open=False), _config())
    await writer.put("market_mood", [mood(1), mood(2)])
    with pytest.raises(StoreUnavailable, match=r"2 rows were not stored .*: closed for the test"):
        await writer.close()


@pytest.mark.usefixtures("quick_retries")
async def test_giving_up_a_flush_loses_and_repeats_nothing() -> None:
    store = RecordingStore(open=False)
    writer = BatchWriter(store, _config())
    await writer.put("market_mood", [mood(1)])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(writer.flush(), 0.05)
    assert writer.held == 1
    store.open = True
    await writer.flush()
    assert store.kept == [("market_mood", 1)]
    await writer.close()


@pytest.mark.usefixtures("quick_retries")
async def test_rows_put_during_a_real_outage_are_stored_once(store: Store) -> None:
    """A server that ends the connection after it has stored the batch: the token makes it once."""
    insert = store.insert_arrow
    lost: list[str] = []

    def insert_and_vanish(table: str, rows: pa.Table, token: str | None = None) -> int:
        count = insert(table, rows, token)
        if len(lost) < 2:
            lost.append(table)
            raise StoreUnavailable("the answer was lost")
        return count

    store.insert_arrow = insert_and_vanish  # type: ignore[method-assign]
    writer = BatchWriter(store, _config())
    await writer.put("dead_letters", [letter(n) for n in range(5)])
    await writer.flush()
    await writer.put("trades", [trade(n) for n in range(1, 6)])
    await writer.close()
    counts = Reader(store).counts()
    assert (counts["dead_letters"], counts["trades"]) == (5, 5)
    assert lost == ["dead_letters", "dead_letters"]


def test_retries_inflate_neither_tables_nor_what_views_derive(store: Store) -> None:
    store.command(
        "CREATE TABLE per_market (instrument String, trades UInt64) ENGINE = SummingMergeTree "
        "ORDER BY instrument SETTINGS non_replicated_deduplication_window = 1000"
    )
    store.command(
        "CREATE MATERIALIZED VIEW count_trades TO per_market AS "
        "SELECT instrument, count() AS trades FROM trades GROUP BY instrument"
    )
    rows = table_named("trades").to_arrow([trade(n) for n in range(1, 8)])
    for _ in range(3):
        store.insert_arrow("trades", rows, content_token("trades", rows))
    other = table_named("trades").to_arrow([trade(n) for n in range(8, 10)])
    store.insert_arrow("trades", other, content_token("trades", other))
    assert store.command("SELECT count() FROM trades") == "9"
    assert store.command("SELECT sum(trades) FROM per_market") == "9"


async def test_newer_candles_replace_older_ones(store: Store) -> None:
    writer = BatchWriter(store, _config())
    for version in (1, 3, 2):
        await writer.put("candles", [candle(1, version=version, close=float(version))])
        await writer.flush()
    await writer.close()
    assert store.command("SELECT close FROM v_candles") == "3"


async def test_replayed_trades_and_tops_are_counted_as_already_stored(store: Store) -> None:
    for expected in ((30, 0), (0, 30)):
        writer = BatchWriter(store, _config(flush_rows=7))
        await writer.put("trades", [trade(n) for n in range(1, 31)])
        await writer.put("book_tops", [top(n) for n in range(1, 31)])
        await writer.close()
        for table in ("trades", "book_tops"):
            status = writer.status()["tables"][table]
            assert (status["written"], status["already_stored"]) == expected, table
    counts = Reader(store).counts()
    assert (counts["trades"], counts["book_tops"]) == (30, 30)


async def test_book_tops_without_a_number_all_pass(store: Store) -> None:
    writer = BatchWriter(store, _config())
    await writer.put("book_tops", [top(n, 0) for n in (1, 2, 2)])
    await writer.close()
    assert Reader(store).counts()["book_tops"] == 3


def test_new_trades_beyond_what_is_held_need_no_look_up(store: Store) -> None:
    once = OnceFilter(store, "trades")
    first = table_named("trades").to_arrow([trade(n) for n in range(1, 4)])
    assert once.missing(first) == first
    store.insert_arrow("trades", first)
    once.written(first)
    store.query_arrow = None  # type: ignore[assignment,method-assign]
    after = table_named("trades").to_arrow([trade(n) for n in range(4, 9)])
    assert once.missing(after) == after


_REPLAYS = st.lists(
    st.tuples(
        st.integers(0, 2**16),
        st.integers(4, 20),
        st.integers(0, 20),
        st.integers(1, 40),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_REPLAYS)
def test_trades_are_stored_exactly_once_however_they_are_replayed(
    store: Store, replays: list[tuple[int, int, int, int, bool]]
) -> None:
    """Parts of one recording, again and again, in other orders and batches, by new processes."""
    store.command("TRUNCATE TABLE trades")
    recording = [trade(n, name) for n in range(1, 25) for name in ("BTC-USDT", "ETH-USDT")]
    recording += [uncounted(n // 2) for n in range(24)]  # two at a time share their exchange_time
    expected: set[Trade] = set()

    async def replay(seed: int, size: int, start: int, count: int, ordered: bool) -> None:
        rows = recording[start : start + count]
        if not ordered:
            random.Random(seed).shuffle(rows)
        writer = BatchWriter(store, _config(flush_rows=size))
        await writer.put("trades", rows)
        await writer.close()
        expected.update(rows)

    for each in replays:
        asyncio.run(replay(*each))
    found = store.query_arrow("SELECT * FROM trades")
    assert sorted(table_named("trades").from_arrow(found), key=repr) == sorted(expected, key=repr)
