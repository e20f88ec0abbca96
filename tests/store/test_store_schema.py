"""The schema: applied once, described, kept for as long as the configuration says, viewable."""

from __future__ import annotations

import json
import re

import pytest
from msgspec.structs import replace
from store_samples import KEPT_FOR_EVER, SAMPLES, T0, trade

from engine.clock import NS_PER_S, SystemClock
from engine.config import RetentionConfig
from engine.errors import StoreError, StoreQueryError
from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.schema import migrate, steps
from engine.store.tables import TABLES

DAY = 86_400 * NS_PER_S
VIEWS = [
    "v_candles",
    "v_contributions",
    "v_dead_letters",
    "v_feature_latest",
    "v_feed_health",
    "v_latest_signals",
    "v_open_gaps",
    "v_books",
    "v_instruments",
    "v_perpetuals",
    "v_sentiment_events",
    "v_sentiment_latest",
    "v_signal_history",
    "v_text_volume",
    "v_topic_volume",
    "v_trades",
]


def _column(store: Store, sql: str) -> list[object]:
    return list(store.query_arrow(sql).column(0).to_pylist())


def _definitions(store: Store) -> dict[str, str]:
    found = store.query_arrow(
        "SELECT name, create_table_query AS made FROM system.tables "
        "WHERE database = currentDatabase()"
    )
    return {row["name"]: row["made"] for row in found.to_pylist()}


def test_migrating_twice_changes_nothing(empty: Store) -> None:
    numbers = tuple(step.number for step in steps() if step.number < 900)
    assert migrate(empty, RetentionConfig(), feature_columns()) == numbers
    empty.insert("trades", SAMPLES["trades"])
    before = _definitions(empty)
    assert migrate(empty, RetentionConfig(), feature_columns()) == ()
    assert _definitions(empty) == before
    assert empty.command("SELECT count() FROM trades") == "3"
    applied = _column(empty, "SELECT number FROM schema_versions ORDER BY number")
    assert applied == [step.number for step in steps()]


def test_tables_are_all_there_and_every_column_is_described(store: Store) -> None:
    assert set(TABLES) | {"schema_versions"} | set(VIEWS) == set(_definitions(store))
    bare = _column(
        store,
        "SELECT table || '.' || name FROM system.columns "
        "WHERE database = currentDatabase() AND comment = '' AND NOT startsWith(table, 'v_')",
    )
    assert bare == []


def test_tables_hold_the_columns_that_are_written(store: Store) -> None:
    for name, table in TABLES.items():
        held = _column(
            store,
            "SELECT name FROM system.columns WHERE database = currentDatabase() "
            f"AND table = '{name}' ORDER BY position",
        )
        ours = [column.name for column in table.columns]
        assert [each for each in held if each != "inserted_at"] == ours, name


def test_retention_follows_the_configuration(empty: Store) -> None:
    migrate(empty, RetentionConfig(trades=30, market_mood=0))
    before = _definitions(empty)
    assert "TTL toDateTime(inserted_at) + toIntervalDay(30)" in before["trades"]
    assert " TTL " not in before["market_mood"]
    migrate(empty, RetentionConfig(trades=7, market_mood=5))
    changed = _definitions(empty)
    assert "TTL toDateTime(inserted_at) + toIntervalDay(7)" in changed["trades"]
    assert "TTL toDateTime(inserted_at) + toIntervalDay(5)" in changed["market_mood"]
    migrate(empty, KEPT_FOR_EVER)
    assert not any(" TTL " in made for made in _definitions(empty).values())


def test_every_table_but_the_versions_can_expire(empty: Store) -> None:
    assert set(TABLES) == set(RetentionConfig.model_fields)
    migrate(empty, RetentionConfig(**dict.fromkeys(TABLES, 3)))
    definitions = _definitions(empty)
    for name in TABLES:
        assert "TTL toDateTime(inserted_at) + toIntervalDay(3)" in definitions[name]


def test_rows_go_when_they_were_written_too_long_ago(empty: Store) -> None:
    """Old trades of a replay stay; what was written before the retention began goes."""
    migrate(empty, RetentionConfig(trades=10))
    empty.insert("trades", [replace(trade(1), exchange_time=T0 - 1000 * DAY)])
    empty.command(
        "INSERT INTO trades (trade_id, inserted_at) SELECT 'old', now() - INTERVAL 11 DAY"
    )
    empty.command("OPTIMIZE TABLE trades FINAL")
    assert _column(empty, "SELECT trade_id FROM trades") == ["1"]


def test_new_features_become_columns_and_none_is_dropped(empty: Store) -> None:
    migrate(empty, KEPT_FOR_EVER, [("speed", "Float64", "It's fast\\slow")])
    migrate(empty, KEPT_FOR_EVER, [("mark", "Int16")])
    found = empty.query_arrow(
        "SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() "
        "AND table = 'features' AND name IN ('speed', 'mark') ORDER BY name"
    )
    assert found.to_pylist() == [
        {"name": "mark", "type": "Nullable(Int16)", "comment": "mark"},
        {"name": "speed", "type": "Nullable(Float64)", "comment": "It's fast\\slow"},
    ]
    with pytest.raises(StoreError, match="is not a plain name and type"):
        migrate(empty, KEPT_FOR_EVER, [("x` Int8, DROP COLUMN `close", "Int8")])


def test_schema_of_a_newer_version_is_refused(store: Store) -> None:
    store.command("INSERT INTO schema_versions (number, name) VALUES (9999, '9999_later.sql')")
    with pytest.raises(StoreError, match="has schema number 9999, which this version does not"):
        migrate(store, KEPT_FOR_EVER)


def test_database_that_was_never_migrated_says_so(empty: Store) -> None:
    with pytest.raises(StoreQueryError, match="is not there: run migrate") as caught:
        empty.command("SELECT 1")
    assert caught.value.code == 81


def test_views_answer_with_and_without_rows(store: Store) -> None:
    for view in VIEWS:
        assert store.query_arrow(f"SELECT * FROM {view}").num_rows == 0, view
    for name, rows in SAMPLES.items():
        store.insert(name, rows)
    for view in VIEWS:
        if view != "v_feed_health":  # speaks of the last hour; the samples are older
            assert store.query_arrow(f"SELECT * FROM {view}").num_rows > 0, view


def test_views_show_the_newest_and_the_parts(store: Store) -> None:
    for name, rows in SAMPLES.items():
        store.insert(name, rows)
    latest = store.query_arrow("SELECT signal_id FROM v_latest_signals")
    assert latest.to_pylist() == [{"signal_id": "BTC-USDT-1"}]
    parts = json.loads(
        store.query_raw(
            "SELECT factor, value, contribution FROM v_contributions WHERE as_of = "
            "fromUnixTimestamp64Nano({t:Int64}) ORDER BY factor",
            "JSONCompact",
            {"t": T0},
        )
    )
    assert parts["data"] == [["momentum", 1.5, 0.1 + 0.2], ["sentiment", None, 0]]
    assert _column(store, "SELECT gap_id FROM v_open_gaps") == ["gap-1"]
    assert _column(store, "SELECT mentions FROM v_sentiment_latest") == [6]


def test_feed_health_counts_the_last_hour(store: Store) -> None:
    now = SystemClock().now_ns()
    trades = [replace(trade(n), exchange_time=now - n, receive_time=now) for n in (1, 2, 3)]
    store.insert("trades", trades)
    store.insert("feed_gaps", SAMPLES["feed_gaps"])
    (row,) = store.query_arrow("SELECT * FROM v_feed_health").to_pylist()
    assert (row["exchange"], row["instrument"]) == ("binance", "BTC-USDT")
    assert (row["trades_last_hour"], row["open_gaps"]) == (3, 1)
    assert 0 <= row["silence_ms"] < 60_000


def test_market_queries_use_the_primary_key(store: Store) -> None:
    store.insert("trades", SAMPLES["trades"])
    for source in ("trades", "v_trades"):
        plan = store.query_raw(
            f"EXPLAIN indexes = 1 SELECT * FROM {source} WHERE exchange = 'binance' "
            "AND instrument = 'BTC-USDT' AND exchange_time >= '2026-01-05 12:00:00'",
            "TSVRaw",
        ).decode()
        keys = re.search(r"PrimaryKey\s+Keys:\s+(.*?)\s+Condition", plan, re.DOTALL)
        assert keys is not None, plan
        assert re.findall(r"\w+", keys[1]) == ["exchange", "instrument", "exchange_time"]
