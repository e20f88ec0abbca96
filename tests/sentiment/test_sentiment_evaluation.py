"""Evaluation: exact measures, refusals, reading of labelled files, and the three forms."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import parse_iso_utc
from engine.errors import ConfigError, StartError
from engine.sentiment.evaluation.evaluate import evaluate
from engine.sentiment.evaluation.files import write_evaluation
from engine.sentiment.evaluation.gates import refusals
from engine.sentiment.evaluation.html import to_html
from engine.sentiment.evaluation.labelled import read_labelled
from engine.sentiment.evaluation.measures import (
    Bin,
    area_under_curve,
    brier,
    confusion,
    direction_accuracy,
    reliability,
)
from engine.sentiment.evaluation.quality import qualities, quality_of
from engine.sentiment.evaluation.report import EvaluationReport, to_json, to_markdown
from engine.sentiment.probabilities import reading_of
from engine.sentiment.training.examples import Example

UP, FLAT, DOWN = (0.1, 0.2, 0.7), (0.2, 0.6, 0.2), (0.8, 0.1, 0.1)
WORDS = {"up": UP, "flat": FLAT, "down": DOWN}


class Wordy:
    """Reads the last word; ``""`` and what it does not know it cannot read."""

    name = "wordy-1"

    def __init__(self, said=None):
        self._said = WORDS if said is None else said

    def score(self, texts):
        found = [self._said.get(text.split()[-1]) if text.split() else None for text in texts]
        return [None if one is None else reading_of(one) for one in found]


def example(text, label, source="set"):
    return Example(text, label, source)


TEXTS = [
    example("1 up", "bullish"),
    example("2 up", "bearish"),
    example("3 down", "bearish"),
    example("4 flat", "neutral"),
    example("5 flat", "bullish", "other"),
    example("6 strange", "neutral", "other"),
]


def measured(said, texts):
    return quality_of("", texts, Wordy(said).score([one.text for one in texts]))


def test_measures_quality_is_what_pencil_and_paper_give():
    found = measured(None, TEXTS)
    assert found is not None
    assert (found.texts, found.unreadable, found.empty) == (6, 1, 0)
    assert found.accuracy == pytest.approx(3 / 5)
    f1 = (2 / 3, 2 / 3, 1 / 2)  # bearish, neutral, bullish
    assert [label.f1 for label in found.labels] == pytest.approx(f1)
    assert found.macro_f1 == pytest.approx(sum(f1) / 3)
    assert found.weighted_f1 == pytest.approx((2 * f1[0] + f1[1] + 2 * f1[2]) / 5)
    assert found.confusion == ((1, 0, 1), (0, 1, 0), (0, 1, 1))
    assert found.labels[2].precision == pytest.approx(1 / 2)
    assert found.labels[2].recall == pytest.approx(1 / 2)
    assert found.log_loss == pytest.approx(
        -(math.log(0.7) + math.log(0.1) + math.log(0.8) + math.log(0.6) + math.log(0.2)) / 5
    )
    assert found.direction_accuracy == pytest.approx((1 + 0 + 1 + 0.5) / 4)


def test_measures_brier_of_certainty_is_0_or_2():
    sure = np.array([[1.0, 0.0, 0.0]])
    assert brier(np.array([0]), sure) == 0.0
    assert brier(np.array([2]), sure) == 2.0


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1))
def test_measures_area_is_the_chance_to_rank_a_pair_right(rows):
    ups = [score for is_up, score in rows if is_up]
    downs = [score for is_up, score in rows if not is_up]
    found = area_under_curve(np.array([up for up, _ in rows]), np.array([s for _, s in rows]))
    if not ups or not downs:
        assert found is None
        return
    wins = sum((up > down) + 0.5 * (up == down) for up in ups for down in downs)
    assert found == pytest.approx(wins / (len(ups) * len(downs)))


def test_measures_direction_is_unknown_without_sides():
    assert direction_accuracy(np.array([1, 1]), np.array([UP, DOWN])) is None


def test_measures_reliability_bins_hold_confidence_and_hits():
    said = np.array([UP, UP, DOWN, (0.0, 0.0, 1.0)])
    found = reliability(np.array([2, 0, 0, 2]), said)
    assert found[7] == Bin(2, pytest.approx(0.7), 0.5)
    assert found[8] == Bin(1, pytest.approx(0.8), 1.0)
    assert found[9] == Bin(1, 1.0, 1.0)
    assert found[:7] == (None,) * 7


def test_measures_confusion_has_labels_in_rows():
    assert confusion(np.array([0, 0, 2]), np.array([0, 2, 2])).tolist() == [
        [1, 0, 1], [0, 0, 0], [0, 0, 1],
    ]  # fmt: skip


def test_qualities_are_told_for_each_set_even_where_texts_repeat():
    twice = [*TEXTS, *TEXTS[:1]]
    overall, sources = qualities(twice, Wordy().score([one.text for one in twice]))
    assert overall is not None
    assert overall.texts == 7
    assert [(one.source, one.texts, one.unreadable) for one in sources] == [
        ("set", 5, 0), ("other", 2, 1),
    ]  # fmt: skip


def test_quality_of_nothing_readable_is_unknown():
    assert measured({}, TEXTS) is None


def many(up=50, flat=50, down=50):
    kinds = [("up", "bullish", up), ("flat", "neutral", flat), ("down", "bearish", down)]
    return [example(f"{n} {word}", label) for word, label, count in kinds for n in range(count)]


def refused(said, texts, least=30):
    return refusals(texts, measured(said, texts), least)


def test_gates_good_model_on_a_whole_test_is_not_refused():
    assert refused(None, many()) == ()


def test_gates_good_model_on_mostly_one_label_is_not_refused():
    assert refused(None, many(up=2_000)) == ()


def test_gates_collapse_to_one_label_is_refused():
    reasons = refused(dict.fromkeys(WORDS, FLAT), many())
    assert "says neutral for 100% of the texts, of which 33% are" in reasons[0]
    assert any("never says bullish" in reason for reason in reasons)


def test_gates_label_that_is_never_said_is_refused():
    reasons = refused({**WORDS, "down": (0.3, 0.5, 0.2)}, many())
    assert reasons == ("the model never says bearish, which 50 of the texts are",)


def test_gates_sliver_is_refused_by_label():
    assert refused(None, many(down=29)) == (
        "only 29 bearish texts were read, 30 are needed: the test is of a sliver; give more texts",
    )


def test_gates_mostly_empty_texts_are_refused():
    texts = [*many(), *[example(" ", "neutral")] * 200]
    assert "57% of the texts cannot be read (200 are empty)" in refused(None, texts)[0]


def test_gates_single_label_is_no_test():
    assert refused(None, many(flat=0, down=0)) == (
        "all texts are bullish: a test needs at least two labels",
    )


def test_gates_chance_is_refused():
    said = {"up": UP, "down": DOWN, "flat": FLAT}
    texts = [
        example(f"{n} {word}", label)
        for n, word in enumerate(WORDS)
        for label in ("bullish", "neutral", "bearish")
        for _ in range(30)
    ]
    assert refused(said, texts) == (
        "the mean area under the ROC curve is 0.50: the probabilities rank no better than chance",
    )


def test_gates_nothing_readable_is_refused():
    assert refused({}, many()) == (
        "the model can read none of the 150 texts: check the text column",
    )


def test_evaluate_reads_in_batches_and_tells_of_each():
    told: list[int] = []
    found = evaluate(Wordy, TEXTS, batch_texts=4, tell=told.append)
    assert told == [4, 2]
    assert found.model == "wordy-1"
    assert found.speed.texts_per_s > 0
    assert found.speed.one_text_ms > 0
    assert found.speed.memory_mb >= 0
    assert len(found.refusals) == 3  # each label is a sliver


@pytest.fixture
def report():
    return EvaluationReport("own <b>texts</b>|", (evaluate(Wordy, TEXTS, least_per_label=2),))


def test_report_markdown_tables_are_whole_and_texts_are_escaped(report):
    text = to_markdown(report)
    assert r"own \<b\>texts\</b\>\|" in text
    assert "- **refused**: only 1 neutral texts were read, 2 are needed" in text
    assert "| bearish | 2 | 1 | 1.000 | 0.500 | 0.667 |" in text
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if re.fullmatch(r"\|[:\-|]+\|", line):
            columns = line.count("|")
            assert lines[place - 1].replace(r"\|", "").count("|") == columns
            assert lines[place + 1].count("|") == columns


def test_report_json_holds_every_measure(report):
    held = json.loads(to_json(report))["evaluations"][0]
    assert held["overall"]["accuracy"] == pytest.approx(3 / 5)
    assert held["sources"][1]["source"] == "other"
    assert held["overall"]["reliability"][8] == {
        "count": 1, "confidence": pytest.approx(0.8), "accuracy": 1.0,
    }  # fmt: skip


class Balanced(HTMLParser):
    VOID = frozenset({"meta", "line", "rect", "path", "br"})

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.circles = 0

    def handle_starttag(self, tag, attrs):
        self.circles += tag == "circle"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_report_html_is_well_formed_and_plots_each_bin(report):
    page = to_html(report)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert parser.circles == 3
    assert "own &lt;b&gt;texts&lt;/b&gt;|" in page
    assert "<script" not in page
    assert 'cx="160.0" cy="0.0"' in page  # said 0.8, always right


def test_report_html_of_a_model_that_reads_nothing_says_why():
    page = to_html(EvaluationReport("x", (evaluate(lambda: Wordy({}), TEXTS),)))
    assert "can read none of the 6 texts" in page


def test_report_files_are_named_by_moment_and_latest_is_the_newest(report, tmp_path: Path):
    moment = parse_iso_utc("2026-02-03T04:05:06Z")
    files = write_evaluation(report, tmp_path / "new", ("md", "html"), moment)
    assert [file.name for file in files] == [
        "sentiment-20260203T040506Z.md", "latest.md",
        "sentiment-20260203T040506Z.html", "latest.html",
    ]  # fmt: skip
    assert files[0].read_text(encoding="utf-8") == to_markdown(report)
    assert {file.name for file in (tmp_path / "new").iterdir()} == {file.name for file in files}


def test_report_folder_that_is_a_file_is_told(report, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be written"):
        write_evaluation(report, tmp_path / "file", ("md",), 0)


def labels_of(path, **asked):
    return [(one.text, one.label, one.source) for one in read_labelled(str(path), **asked)]


def test_labelled_csv_with_usual_names_needs_no_mapping(tmp_path: Path):
    file = tmp_path / "posts.csv"
    file.write_text('text,label\n"up, up\nand away",Bullish\nflat,0\nno label,\nsad,-1\n')
    assert labels_of(file) == [
        ("up, up\nand away", "bullish", "posts"),
        ("flat", "neutral", "posts"),
        ("sad", "bearish", "posts"),
    ]


def test_labelled_jsonl_and_parquet_with_mappings_read_alike(tmp_path: Path):
    rows = [{"t": "a", "y": 2, "s": "x"}, {"t": None, "y": 0, "s": "y"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    asked = {
        "columns": {"text": "t", "label": "y", "source": "s"},
        "labels": {"2": "bullish", "0": "bearish"},
    }
    expected = [("a", "bullish", "x"), ("", "bearish", "y")]
    assert labels_of(tmp_path / "a.jsonl", **asked) == expected
    assert labels_of(tmp_path / "b.parquet", **asked) == expected
    assert labels_of(tmp_path, **asked) == expected * 2


@pytest.mark.parametrize(
    ("content", "asked", "told"),
    [
        ("text,label\na,0\nb,2\n", {}, "what the labels 0, 2 mean is not known"),
        ("text,label\na,good\n", {}, "what the labels good mean is not known"),
        ("words,label\na,1\n", {}, "no column for the text"),
        ("text,label\na,1\n", {"columns": {"label": "labl"}}, "did you mean 'label'"),
        ("text,label\na,1\n", {"columns": {"txet": "text"}}, "columns.txet is no field"),
        ("text,label\n", {}, "holds no labelled text"),
        ('text,label\n"a,1\n', {}, "cannot be read as csv|holds no labelled"),
    ],
)
def test_labelled_file_that_is_not_understood_is_told(tmp_path, content, asked, told):
    file = tmp_path / "f.csv"
    file.write_text(content)
    with pytest.raises(ConfigError, match=told):
        read_labelled(str(file), **asked)


def test_labelled_missing_path_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="is no file"):
        read_labelled(str(tmp_path / "none.csv"))
