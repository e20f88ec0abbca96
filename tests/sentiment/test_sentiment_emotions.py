"""Emotions of sentences written by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sentiment.emotions import Emotions, emotions
from engine.sentiment.word_lists import WordLists

STRONG = 0.5


def felt(text):
    reading = emotions(text)
    return {name for name in ("fear", "greed", "excitement") if getattr(reading, name) >= STRONG}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Panic selling everywhere, this is a bloodbath", {"fear"}),
        ("I'm worried this exchange is insolvent", {"fear"}),
        ("Lost everything, it's over 😭", {"fear"}),
        ("Investors fear contagion after the collapse", {"fear"}),
        ("Went all in with 20x leverage, lambo soon", {"greed"}),
        ("Last chance to get rich, don't miss the next 100x", {"greed"}),
        ("Still early, buying the dip and stacking sats", {"greed"}),
        ("LFG!!! What a day 🚀🚀🚀", {"excitement"}),
        ("So excited for the launch, can't wait 🎉", {"excitement"}),
        ("To the moon!", {"greed", "excitement"}),
        ("The committee meets on Tuesday", set()),
        ("Crypto Fear & Greed Index stands at 54", set()),
        ("There is no panic and nobody is worried", set()),
        ("The network upgrade is a technical document", set()),
    ],
)
def test_emotions_of_a_sentence_are_those_expected(text, expected):
    assert felt(text) == expected


def test_emotions_each_point_of_weight_halves_what_is_left_to_one():
    assert emotions("rekt") == Emotions(0.75, 0.0, 0.0)
    assert emotions("worried").fear == 0.5
    assert emotions("worried and rekt").fear == 1 - 2**-3


def test_emotions_capitals_and_exclamation_marks_strengthen_and_repetition_does_not():
    assert emotions("so worried now").fear == 0.5
    assert emotions("so WORRIED now").fear == 1 - 2**-1.5
    assert emotions("SO WORRIED NOW").fear == 0.5
    assert emotions("so worried now!").fear == 1 - 2**-1.25
    assert emotions("so worried now!!!!!!").fear == 1 - 2**-1.75
    assert emotions("worried worried worried").fear == 0.5


def test_emotions_negation_within_three_words_takes_the_term_away():
    assert emotions("I am not at all worried").fear == 0.0
    assert emotions("not today but tomorrow I am worried").fear == 0.5


@pytest.mark.parametrize("text", ["", " ", "$BTC https://x.io/a", "12345", "比特币大跌", "\x00"])
def test_emotions_of_a_text_that_cannot_be_read_are_none(text):
    assert emotions(text) is None


def test_emotions_of_emoji_alone_are_read():
    assert emotions("😱😱") == Emotions(0.75, 0.0, 0.0)
    assert emotions("🚀").excitement == 0.75


@given(st.text())
def test_emotions_of_any_text_lie_between_zero_and_one(text):
    reading = emotions(text)
    if reading is not None:
        assert all(
            0.0 <= value <= 1.0 for value in (reading.fear, reading.greed, reading.excitement)
        )


def test_emotions_lists_hold_the_three():
    assert WordLists("emotions.tsv").groups == {"fear", "greed", "excitement"}
