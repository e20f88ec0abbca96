"""What sources and indices of mood ask the store when they start."""

from store_samples import item, mood

from engine.store.client import Store
from engine.store.reader import Reader


def test_reader_mood_gives_an_index_by_time_each_value_once(store: Store) -> None:
    moods = [mood(2), mood(0), mood(1)]
    store.insert("market_mood", moods)
    store.insert("market_mood", [mood(0)])
    reader = Reader(store)
    assert reader.mood("fear_greed") == [mood(0), mood(1), mood(2)]
    assert reader.mood("vix") == []


def test_reader_text_ids_are_the_newest_of_a_source_however_old(store: Store) -> None:
    texts = [item(number) for number in range(4)]
    store.insert("texts", texts)
    reader = Reader(store)
    assert sorted(reader.text_ids("wire")) == [f"text-{number}" for number in range(4)]
    assert reader.text_ids("wire", 1) == ["text-3"]
    assert reader.text_ids("another") == []
