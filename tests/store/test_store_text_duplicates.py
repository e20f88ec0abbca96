"""A store from before near-duplicates were marked, and sources measured, goes on."""

from __future__ import annotations

from store_samples import KEPT_FOR_EVER, SAMPLES, T0

from engine.features.catalogue import feature_columns
from engine.store.client import Store
from engine.store.reader import Reader
from engine.store.schema import migrate


def test_texts_of_an_older_store_say_something_new(store: Store) -> None:
    store.insert("texts", SAMPLES["texts"])
    store.command("ALTER TABLE texts DROP COLUMN duplicate_of SETTINGS mutations_sync = 1")
    store.command("DROP TABLE source_credibility")
    store.command(
        "ALTER TABLE schema_versions DELETE WHERE number IN (12, 13) SETTINGS mutations_sync = 1"
    )
    migrate(store, KEPT_FOR_EVER, feature_columns())
    texts = Reader(store).texts(T0, T0 + 10)
    assert [item.text_id for item in texts] == ["text-1", "text-2"]
    assert [item.duplicate_of for item in texts] == ["", ""]
    assert store.insert("source_credibility", SAMPLES["source_credibility"]) == 2


def test_source_credibility_is_read_by_model_and_version_in_the_order_of_time(
    store: Store,
) -> None:
    rows = SAMPLES["source_credibility"]
    store.insert("source_credibility", rows[::-1])
    reader = Reader(store)
    assert reader.source_credibility("lexicon-1", "1 24h of 1h bars") == rows
    assert reader.source_credibility("lexicon-1", "2") == []
    assert reader.source_credibility("lexicon-2", "1 24h of 1h bars") == []
