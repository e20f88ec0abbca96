"""The job that measures sentiment models on labelled files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs_texts import home, job_config

from engine.errors import ConfigError
from engine.job_request import load_job_config
from engine.sentiment.training.gather import gathered
from engine.store.client import Store
from jobs.evaluate_sentiment import _examples, main

GOOD = ("soars to a record", "rallies as inflows surge", "breaks out to new highs")
BAD = ("crashes after the hack", "plunges as outflows mount", "slumps, longs liquidated")
FLAT = ("meets its community on Tuesday", "publishes its calendar", "is listed in a survey")
COINS = ("Bitcoin", "Ether", "Solana", "Cardano", "Polkadot", "Litecoin", "Tron", "Stellar")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with home(tmp_path_factory.mktemp("evaluate")) as store:
        yield store


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rows = [
        f"{coin} {said},{label},{'wire' if place % 2 else 'board'}"
        for place, coin in enumerate(COINS)
        for texts, label in ((GOOD, "positive"), (BAD, "negative"), (FLAT, "neutral"))
        for said in texts
    ]
    file = tmp_path / "labelled.csv"
    # Commas in a headline are in quotes.
    file.write_text(
        "title,label,source\n"
        + "\n".join(f'"{text}",{label},{source}' for text, label, source in
                    (row.rsplit(",", 2) for row in rows))
    )  # fmt: skip
    return file


def test_evaluate_sentiment_writes_every_form_and_is_recorded(store, labelled, tmp_path):
    out = tmp_path / "out"
    config = job_config(
        "evaluate_sentiment", store, f"path={labelled}", f"out={out}", "least_per_label=20",
        "models=[lexicon,tfidf]",
    )  # fmt: skip
    summary = main(config)
    assert summary.problem == ""
    assert summary.written == {"texts evaluated": 144}
    held = json.loads((out / "latest.json").read_text())
    assert [one["model"].split("-")[0] for one in held["evaluations"]] == ["lexicon", "tfidf"]
    for one in held["evaluations"]:
        assert one["overall"]["texts"] == 72
        assert {part["source"]: part["texts"] for part in one["sources"]} == {
            "wire": 36, "board": 36,
        }  # fmt: skip
        assert one["overall"]["macro_f1"] > 0.6
        assert one["speed"]["texts_per_s"] > 0
    assert (out / "latest.md").read_text().startswith("# Sentiment models on labelled texts")
    assert (out / "latest.html").read_text().startswith("<!doctype html>")
    rows = store.query_arrow(
        "SELECT outcome, rows FROM job_runs FINAL WHERE run_id = {id:String}",
        {"id": summary.run_id},
    ).to_pylist()
    assert rows == [{"outcome": "done", "rows": 144}]


def test_evaluate_sentiment_refused_model_fails_and_is_still_reported(store, labelled, tmp_path):
    config = job_config("evaluate_sentiment", store, f"path={labelled}", f"out={tmp_path}/out")
    summary = main(config)
    assert "is refused: only 24 bearish texts were read, 30 are needed" in summary.problem
    assert "**refused**" in (tmp_path / "out" / "latest.md").read_text()


def test_evaluate_sentiment_reads_columns_and_labels_as_told(store, tmp_path):
    file = tmp_path / "numbers.jsonl"
    rows = [{"said": f"{coin} {text}", "y": label} for coin in COINS
            for texts, label in ((GOOD, 2), (BAD, 0), (FLAT, 1)) for text in texts]  # fmt: skip
    file.write_text("\n".join(map(json.dumps, rows)))
    config = job_config(
        "evaluate_sentiment", store, f"path={file}", f"out={tmp_path}/out", "least_per_label=20",
        "columns={text: said, label: y}", "labels={'0': bearish, '1': neutral, '2': bullish}",
        "formats=[json]",
    )  # fmt: skip
    assert main(config).problem == ""
    held = json.loads((tmp_path / "out" / "latest.json").read_text())["evaluations"][0]
    assert [label["texts"] for label in held["overall"]["labels"]] == [24, 24, 24]
    assert sorted(file.suffix for file in (tmp_path / "out").iterdir()) == [".json", ".json"]


def test_evaluate_sentiment_of_what_training_holds_out_takes_the_same_texts(
    store, labelled, tmp_path
):
    told = [f"path={labelled}", "models=[lexicon]", "least_per_label=2"]
    config = job_config("evaluate_sentiment", store, *told, "held_out=0.25", "seed=3",
                        f"out={tmp_path / 'out'}")  # fmt: skip
    training = job_config(
        "train_sentiment", store, f"sets=[{{path: {labelled}}}]", "corpus=false", "test=0.25",
        "seed=3",
    ).train_sentiment  # fmt: skip
    expected = gathered(training).test
    assert 0 < len(expected) < 36
    assert _examples(config.evaluate_sentiment) == expected
    assert main(config).written == {"texts evaluated": len(expected)}


def test_evaluate_sentiment_takes_the_labels_that_come_with_the_package(store, tmp_path):
    file = tmp_path / "headlines.csv"
    file.write_text("title\nBitcoin soars to a record\n")
    config = job_config(
        "evaluate_sentiment", store, f"path={file}", "labelled_by=corpus_test",
        f"out={tmp_path / 'out'}",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="of none of its texts in column 'title'"):
        main(config)


def test_evaluate_sentiment_without_a_path_is_refused_before_it_runs():
    with pytest.raises(ConfigError, match="path is missing"):
        load_job_config("evaluate_sentiment", environment={})


def test_evaluate_sentiment_unknown_model_is_refused_before_it_runs(store, labelled):
    config = job_config("evaluate_sentiment", store, f"path={labelled}", "models=[lexikon]")
    with pytest.raises(ConfigError, match="did you mean 'lexicon'"):
        main(config)
