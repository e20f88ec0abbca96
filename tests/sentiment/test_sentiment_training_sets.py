from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.sentiment.base import LABELS
from engine.sentiment.encoder.wording import OTHER, TARGET
from engine.sentiment.training.examples import Example
from engine.sentiment.training.gather import examples_of, gathered
from engine.sentiment.training.sets import by_target, corpus, known_headlines, unbracketed
from engine.settings.train_sentiment import TrainingSet, TrainSentimentSection


def test_corpus_every_text_is_labelled_once_and_all_labels_are_there() -> None:
    found = corpus()

    keys = [one.key for one in found if not one.origin]
    assert len(keys) == len(set(keys)) >= 1_500
    for label in LABELS:
        assert sum(one.label == label for one in found) >= 300
    assert all("\n" not in one.text and one.text.strip() for one in found)


def test_corpus_targets_are_marked_once_for_each_asset() -> None:
    found = [one for one in corpus() if one.origin]

    assert len(found) >= 400
    assert all(TARGET in one.text and TARGET not in one.origin for one in found)


def test_unbracketed_gives_text_and_places() -> None:
    text, mentions = unbracketed("[Ether=ETH] outpaces [Bitcoin=BTC]!")

    assert text == "Ether outpaces Bitcoin!"
    assert [text[one.start : one.end] for one in mentions] == ["Ether", "Bitcoin"]
    assert [one.name for one in mentions] == ["ETH", "BTC"]


def test_by_target_one_example_for_each_label() -> None:
    up, down = by_target("[ETH=ETH] beats [BTC=BTC]", {"ETH": "bullish", "BTC": "bearish"}, 2.0)

    assert up == Example(
        f" {TARGET}  beats  {OTHER} ", "bullish", "corpus targets", 2.0, origin="ETH beats BTC"
    )
    assert (down.text, down.label) == (f" {OTHER}  beats  {TARGET} ", "bearish")
    assert up.key == down.key


def test_labelled_by_entity_agreeing_texts_count_as_a_whole_too(tmp_path: Path) -> None:
    file = tmp_path / "named.csv"
    file.write_text(
        "Title,Decisions\n"
        "\"Gold shines, silver dull\",\"{'Gold': 'positive', 'Silver': 'negative '}\"\n"
        "Acme's wins,{'Acme's': 'Positive'}\n"
        "\"Ant and Bee gain\",\"{'Ant': 'positive', 'Bee': 'positive'}\"\n",
        encoding="utf-8",
    )

    found = examples_of(
        TrainingSet(path=str(file), columns={"text": "Title", "entities": "Decisions"}, weight=0.5)
    )

    assert [(one.text.strip(), one.label, one.source, one.weight) for one in found] == [
        (f"{TARGET}  shines,  {OTHER}  dull", "bullish", "named targets", 0.5),
        (f"{OTHER}  shines,  {TARGET}  dull", "bearish", "named targets", 0.5),
        ("Acme's wins", "bullish", "named", 0.5),
        ("Ant and Bee gain", "bullish", "named", 0.5),
        (f"{TARGET}  and  {OTHER}  gain", "bullish", "named targets", 0.5),
        (f"{OTHER}  and  {TARGET}  gain", "bullish", "named targets", 0.5),
    ]


def test_labelled_by_entity_broken_cell_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "named.csv"
    file.write_text("Title,Decisions\nAcme wins,positive!\n", encoding="utf-8")
    one = TrainingSet(path=str(file), columns={"text": "Title", "entities": "Decisions"})

    with pytest.raises(ConfigError, match=r"named\.csv, line 2: expected .*found 'positive!'"):
        examples_of(one)


def test_known_headlines_unknown_texts_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "news.csv"
    file.write_text("title;when\nNobody labelled this one;1\n", encoding="utf-8")

    with pytest.raises(ConfigError, match="of none of its texts in column 'title'"):
        known_headlines(file, "title", ";", 1.0)
    with pytest.raises(ConfigError, match="has no column 'headline'; it has title, when"):
        known_headlines(file, "headline", ";", 1.0)


def test_known_headlines_labels_are_found_by_the_texts_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Example("Bitcoin climbs", "neutral", "x").key
    monkeypatch.setattr(
        "engine.sentiment.training.sets._lines", lambda name, cells: iter([[key, "1"]])
    )
    file = tmp_path / "news.csv"
    file.write_text("title\nBITCOIN climbs\nother\nBitcoin climbs\n", encoding="utf-8")

    found = known_headlines(file, "title", ",", 2.5)

    assert found == [Example("Bitcoin climbs", "bullish", "news", 2.5)]


def test_gathered_roles_keep_to_their_parts(tmp_path: Path) -> None:
    for name in ("learn", "test", "all"):
        rows = [f"{name} {label} {n},{label}" for label in LABELS for n in range(20)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    section = TrainSentimentSection(
        corpus=False,
        test=0.1,
        validation=0.2,
        sets=(
            TrainingSet(path=str(tmp_path / "learn.csv"), role="training", weight=3.0),
            TrainingSet(path=str(tmp_path / "test.csv"), role="test"),
            TrainingSet(path=str(tmp_path / "all.csv")),
        ),
    )

    parts = gathered(section)

    def count(part: list[Example], source: str) -> int:
        return sum(one.source == source for one in part)

    assert [count(part, "learn") for part in parts] == [60, 0, 0]
    assert [count(part, "test") for part in parts] == [0, 0, 60]
    assert [count(part, "all") for part in parts] == [42, 12, 6]
    assert {one.weight for one in parts.training if one.source == "learn"} == {3.0}


def test_gathered_another_seed_draws_another_split(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    rows = [f"text {number},{LABELS[number % 3]}" for number in range(60)]
    file.write_text("\n".join(["text,label", *rows]), encoding="utf-8")

    def tested(seed: int) -> list[str]:
        sets = (TrainingSet(path=str(file)),)
        section = TrainSentimentSection(sets=sets, corpus=False, test=0.3, seed=seed)
        return [one.text for one in gathered(section).test]

    assert tested(1) == tested(1) != tested(2)
    assert len(tested(2)) == 18


def test_gathered_temporal_reads_the_times_of_a_set(tmp_path: Path) -> None:
    rows = [f"text {day},neutral,2024-05-{day:02d}T12:00:00Z" for day in range(1, 21)]
    file = tmp_path / "news.csv"
    file.write_text("\n".join(["text,label,at", *rows]), encoding="utf-8")
    section = TrainSentimentSection(
        corpus=False,
        split="temporal",
        test=0.1,
        validation=0.1,
        sets=(TrainingSet(path=str(file), columns={"time": "at"}),),
    )

    parts = gathered(section)

    assert [one.text for one in parts.test] == ["text 19", "text 20"]
    assert [one.text for one in parts.validation] == ["text 17", "text 18"]
    assert parts.test[0].time == 1_716_120_000_000_000_000


def test_require_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to learn from"):
        TrainSentimentSection(corpus=False).require()
