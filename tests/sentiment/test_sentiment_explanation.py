"""Explanations: exact for the lexicon and the linear model, left out in turn for the others."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sentiment.base import TextSentiment
from engine.sentiment.explanation import (
    MOST_WORDS,
    Explaining,
    WordWeight,
    explain,
    explain_target,
    leave_one_out,
)
from engine.sentiment.lexicon import LexiconModel
from engine.sentiment.probabilities import reading_of
from engine.sentiment.targets import Named
from engine.sources.mentions import MentionFinder

LEXICON = LexiconModel()


class Counting:
    """Bullish by how many ups there are, bearish by downs; cannot read a text without either."""

    name = "counting-1"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score(self, texts):
        self.calls.append(len(texts))
        return [self._read(text.split()) for text in texts]

    def _read(self, words):
        up, down = words.count("up"), words.count("down")
        if not up and not down:
            return None
        return reading_of((down / 8, 1.0 - (up + down) / 8, up / 8))


def test_leave_one_out_gives_each_word_what_the_score_loses():
    assert explain(Counting(), "so up  up but down") == [
        WordWeight("so", 0.0),
        WordWeight("up", 0.125),
        WordWeight("up", 0.125),
        WordWeight("but", 0.0),
        WordWeight("down", -0.125),
    ]


def test_leave_one_out_asks_once_and_for_a_bounded_number():
    model = Counting()
    leave_one_out(model, "up " * (MOST_WORDS + 50))
    assert model.calls == [MOST_WORDS + 1]


def test_leave_one_out_word_without_which_nothing_is_left_has_the_whole_score():
    assert explain(Counting(), "up") == [WordWeight("up", 0.125)]


def test_explanation_of_what_cannot_be_read_is_empty():
    assert explain(Counting(), "sideways") == []
    assert explain(LEXICON, "https://t.co/x") == []


def test_explanation_lexicon_names_words_as_written():
    found = explain(LEXICON, "Bitcoin SURGES but traders fear losses")
    assert [word for word, _ in found] == ["SURGES", "fear", "losses"]
    assert found[0].weight > 0 > found[1].weight


def test_explanation_lexicon_phrase_is_one_word_as_written():
    found = explain(LEXICON, "Ether breaks above $4,200 today")
    assert [word for word, _ in found] == ["breaks above 4,200"]


def test_explanation_lexicon_marks_that_emphasise_stand_at_the_end():
    word, marks = explain(LEXICON, "great news!!")
    assert (word.word, marks.word) == ("great", "!!")
    assert marks.weight > 0


@pytest.mark.parametrize(
    "text",
    [
        "Bitcoin soars to a record",
        "could crash, but never so bad!!!",
        "shorts rekt 🚀🚀 diamond hands",
        "DENIES the hack?? not good",
        "good but bad but good",
    ],
)
def test_explanation_lexicon_sums_to_the_score(text):
    reading = LEXICON.score([text])[0]
    assert reading is not None
    total = math.fsum(weight for _, weight in explain(LEXICON, text))
    assert total == pytest.approx(reading.score, abs=1e-4)


SAID = ("up", "good", "BAD", "not", "crash", "🚀", "but", "the", "moon", "very", "!", "???", "no")


@settings(deadline=None)
@given(st.lists(st.sampled_from(SAID)))
def test_explanation_lexicon_always_sums_to_the_score(words):
    text = " ".join(words)
    reading = LEXICON.score([text])[0]
    total = math.fsum(weight for _, weight in explain(LEXICON, text))
    assert total == pytest.approx(0.0 if reading is None else reading.score, abs=1e-4)


def test_explanation_models_that_say_it_themselves_are_known():
    assert isinstance(LEXICON, Explaining)
    assert not isinstance(Counting(), Explaining)


READ = reading_of((0.25, 0.5, 0.25))


def named(text: str, whole: TextSentiment | None = READ) -> Named:
    return Named(text, MentionFinder([]).mentions(text), whole)


def test_explanation_towards_a_target_is_of_its_clause_alone():
    text = named("BTC down again. ETH up while SOL up up")
    assert [each for each in explain_target(Counting(), text, "BTC") if each.weight] == [
        WordWeight("down", -0.125)
    ]
    assert [each for each in explain_target(Counting(), text, "SOL") if each.weight] == [
        WordWeight("up", 0.125),
        WordWeight("up", 0.125),
    ]


def test_explanation_towards_a_target_leaves_names_and_clauses_standing():
    found = explain_target(LEXICON, named("Bitcoin crashes while Ethereum rallies!"), "ETH")
    assert [word for word, _ in found] == ["crashes", "rallies"]
    assert found[0].weight == 0.0
    assert found[1].weight > 0.4


def test_explanation_towards_a_target_of_a_comparison_names_what_compares():
    text = named("ETH will flip BTC")
    assert [explain_target(LEXICON, text, name) for name in ("ETH", "BTC", "SOL")] == [
        [WordWeight("will", 0.0), WordWeight("flip", 0.5)],
        [WordWeight("will", 0.0), WordWeight("flip", -0.5)],
        [],
    ]


def test_explanation_towards_a_target_of_what_cannot_be_read_is_empty():
    assert explain_target(LEXICON, named("BTC up, ETH down", None), "BTC") == []


class Marking(Counting):
    """Reads targets itself: what stands right behind their mentions."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0

    def score_targets(self, text, mentions):
        names = {mention.name for mention in mentions}
        self.readings += len(names)
        behind = {each.name: text[each.end :].split()[:1] for each in mentions}
        return {name: self._read(behind[name]) for name in names}


def test_explanation_towards_a_target_asks_a_model_of_targets_with_the_mentions_moved():
    model = Marking()
    found = explain_target(model, named("so so BTC down ETH up"), "ETH")
    assert found == [
        WordWeight("so", 0.0),
        WordWeight("so", 0.0),
        WordWeight("down", 0.0),
        WordWeight("up", 0.125),
    ]
    assert (model.readings, model.calls) == (10, [])


def test_explanation_towards_a_target_reads_a_bounded_number_of_times():
    text = "BTC up ETH down SOL up " + "so " * 4 * MOST_WORDS
    model = Marking()
    assert len(explain_target(model, named(text), "BTC")) == MOST_WORDS // 3
    assert model.readings == MOST_WORDS // 3 * 3 + 3
    counting = Counting()
    assert len(explain_target(counting, named(text), "BTC")) == MOST_WORDS
    assert len(counting.calls) == 1
