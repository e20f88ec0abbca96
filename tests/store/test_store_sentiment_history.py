"""Sentiment as it is stored: texts for aggregates, events, and stores of before they were kept."""

from __future__ import annotations

from msgspec.structs import replace
from store_samples import HOUR, KEPT_FOR_EVER, T0, aggregate, event, item, score

from engine.features.catalogue import feature_columns
from engine.sentiment.aggregate import ScoredText
from engine.store.client import Store
from engine.store.reader import Reader
from engine.store.schema import migrate
from engine.store.sentiment_history import SentimentHistory

MODEL = "lexicon-1"


def test_store_of_before_events_is_brought_up_and_its_aggregates_stay(store: Store) -> None:
    for statement in (
        "DROP TABLE sentiment_events",
        "DROP TABLE text_topics",
        "ALTER TABLE sentiment_aggregates DROP COLUMN volume, DROP COLUMN coverage, "
        "DROP COLUMN surprise, DROP COLUMN momentum",
        "ALTER TABLE schema_versions DELETE WHERE number = 14 SETTINGS mutations_sync = 2",
        "INSERT INTO sentiment_aggregates (instrument, window, as_of, score, dispersion, bullish, "
        "bearish, neutral, weight, model) VALUES ('BTC-USDT', '1h', "
        f"fromUnixTimestamp64Nano({T0}), 0.125, 0.5, 3, 1, 2, 4.5, 'lexicon-1')",
    ):
        store.command(statement)
    migrate(store, KEPT_FOR_EVER, feature_columns())
    (held,) = Reader(store).aggregates("BTC-USDT", "1h", T0, T0 + 1)
    assert held == replace(aggregate(T0), volume=None, coverage=None, surprise=None, momentum=None)
    store.insert("sentiment_aggregates", [aggregate(T0)])
    store.insert("sentiment_events", [event(0)])
    assert Reader(store).aggregates("BTC-USDT", "1h", T0, T0 + 1) == [aggregate(T0)]
    assert Reader(store).sentiment_events(T0, T0 + 1, 10) == [event(0)]
    assert migrate(store, KEPT_FOR_EVER, feature_columns()) == ()


def test_store_of_before_targets_is_brought_up_and_its_scores_are_for_all(store: Store) -> None:
    for statement in (
        "ALTER TABLE sentiment_scores DROP COLUMN target_instruments, DROP COLUMN target_scores, "
        "DROP COLUMN target_labels",
        "ALTER TABLE schema_versions DELETE WHERE number = 15 SETTINGS mutations_sync = 2",
        "INSERT INTO sentiment_scores (text_id, model, score, bearish, neutral, bullish, label, "
        f"confidence, scored_at) VALUES ('text-1', '{MODEL}', -0.25, 0.5, 0.25, 0.25, 'bearish', "
        f"0.5, fromUnixTimestamp64Nano({T0 + 1}))",
    ):
        store.command(statement)
    migrate(store, KEPT_FOR_EVER, feature_columns())
    store.insert("texts", [replace(item(1), duplicate_of="")])
    assert Reader(store).scores(T0, T0 + 2) == [replace(score(1), targets=())]
    (held,) = SentimentHistory(store).texts(MODEL, T0, T0 + 2)
    assert held.toward("ETH-USDT") == (-0.25, "bearish")
    store.insert("sentiment_scores", [score(1)])
    assert Reader(store).scores(T0, T0 + 2) == [score(1)]
    (held,) = SentimentHistory(store).texts(MODEL, T0, T0 + 2)
    assert held.toward("ETH-USDT") == (None, None)


def test_texts_come_with_their_scores_and_those_without_one_with_none(store: Store) -> None:
    one, two = (replace(item(number), duplicate_of="") for number in (1, 2))
    copy = replace(item(3), text_id="copy", duplicate_of="text-1")
    store.insert("texts", [one, two, copy])
    store.insert("sentiment_scores", [score(1), score(2, "other-2")])
    assert SentimentHistory(store).texts(MODEL, T0, T0 + 4) == [
        ScoredText(
            "text-1", ("BTC-USDT", "ETH-USDT"), T0 + 1, -0.25, "bearish", 0.7, 3.5, score(1).targets
        ),
        ScoredText("text-2", (), T0 + 2, None, None, 0.7, 3.5),
        ScoredText("copy", ("BTC-USDT", "ETH-USDT"), T0 + 3, None, None, 0.0, 3.5),
    ]
    assert [text.text_id for text in SentimentHistory(store).texts(MODEL, T0 + 2, T0 + 3)] == [
        "text-2"
    ]


def test_events_are_filtered_and_a_moment_is_never_parted(store: Store) -> None:
    flip, spike = event(0), event(1)
    others = [
        replace(flip, event_id="b", instrument="ETH-USDT"),
        replace(flip, event_id="a", window="1h"),
        replace(spike, event_id="later", as_of=T0 + HOUR),
    ]
    store.insert("sentiment_events", [flip, spike, *others])
    reader = Reader(store)
    assert reader.sentiment_events(T0, T0 + 1, 1) == [others[1], others[0], flip]
    assert reader.sentiment_events(T0, T0 + 2 * HOUR, 4)[-1] == spike
    assert reader.sentiment_events(T0, T0 + HOUR, 9, "ETH-USDT") == [others[0]]
    assert reader.sentiment_events(T0, T0 + HOUR, 9, "", "mention_spike") == [spike]
    history = SentimentHistory(store)
    assert history.event_ids(MODEL, T0, T0 + 1) == {"event-0", "a", "b"}
    assert history.event_ids("other", T0, T0 + 1) == set()
