"""Topics of sentences written by hand, and the lists of words behind them."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.sentiment.tagging import tag
from engine.sentiment.topics import TOPICS, VERSION, topics
from engine.sentiment.word_lists import WordLists, words_of

HERE = Path(__file__).parent


def sentences(name):
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t") for line in lines if not line.startswith("#"))
    return [(text, frozenset(named.split()) - {"-"}) for text, named in pairs]


@pytest.mark.parametrize(("text", "expected"), sentences("topic_sentences.tsv"))
def test_topics_of_a_sentence_are_those_written_beside_it(text, expected):
    found = topics(text)
    assert set(found) == expected
    assert list(found) == sorted(found, key=TOPICS.index)


def test_topics_of_sentences_held_out_are_mostly_right():
    pairs = [(set(topics(text)), expected) for text, expected in sentences(
        "topic_sentences_held_out.tsv")]  # fmt: skip
    hits = sum(len(found & expected) for found, expected in pairs)
    precision = hits / sum(len(found) for found, _ in pairs)
    recall = hits / sum(len(expected) for _, expected in pairs)
    print(f"{len(pairs)} sentences: precision {precision:.2f}, recall {recall:.2f}")
    assert precision >= 0.8
    assert recall >= 0.75


@pytest.mark.parametrize("text", ["", " ", "🚀", "$BTC", "\x00\ud800", "比特币", "a" * 100_000])
def test_topics_of_a_text_that_says_nothing_are_none(text):
    assert topics(text) == ()


@given(st.text())
def test_topics_of_any_text_are_known_ones_in_order_and_once(text):
    found = topics(text)
    assert [topic for topic in TOPICS if topic in found] == list(found)


def test_topics_of_a_long_text_take_milliseconds():
    text = "the fed and the sec hacked an etf " * 10_000
    topics(text)
    began = time.perf_counter()
    topics(text)
    assert time.perf_counter() - began < 0.25


def test_every_topic_has_terms_and_no_other_is_listed():
    assert WordLists("topics.tsv").groups == frozenset(TOPICS)


def lists(*lines):
    return WordLists("words.tsv", "# a comment\n\n" + "\n".join(lines))


def found(made, text):
    return [(each.term, each.weights, each.position) for each in made.find(words_of(text))]


def test_word_lists_longest_term_hides_those_inside_it():
    made = lists("a\t1\tred flag, flag", "b\t2\tflag", "-\t0\tred flag day, white flag")
    assert found(made, "A red flag, a flag") == [
        ("red flag", (("a", 1.0),), 1),
        ("flag", (("a", 1.0), ("b", 2.0)), 4),
    ]
    assert found(made, "white flag: red-flag day") == [
        ("white flag", (), 0),
        ("red flag day", (), 2),
    ]


def test_word_lists_stems_numbers_capitals_and_possessives():
    made = lists("a\t1\tregulat*, up {number}, SEC|Fed, chain, it's over")
    terms = [each.term for each in made.find(words_of(
        "Regulators' deregulation: up 70k, up high, SEC sec FED fed Fed, Chain's, it\u2019s over"
    ))]  # fmt: skip
    assert terms == ["regulat*", "up {number}", "SEC", "Fed", "Fed", "chain", "it's over"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\t1", "words.tsv, line 3: expected group, weight and terms between tabs"),
        ("a\tmuch\tx", "words.tsv, line 3: weight 'much' is not a number"),
        ("a\t-1\tx", "words.tsv, line 3: weight -1.0 is outside 0 to 4"),
        ("a\t1\tx, , y", "words.tsv, line 3: there is an empty term; remove a comma"),
        (
            "a\t1\tNew York",
            "words.tsv, line 3: only single words may have capitals, not 'New York'",
        ),
        ("a\t1\tx y|z, x z", "words.tsv, line 3: 'x z' is in a already; keep one"),
    ],
)
def test_word_lists_line_that_is_malformed_is_named(line, message):
    with pytest.raises(ConfigError) as caught:
        lists(line)
    assert str(caught.value).startswith(message)


def test_tag_text_in_another_language_has_topics_and_feels_nothing_that_we_know_of():
    english = tag("t", "Panic: exchange hacked!", 7, "en")
    assert (english.topics, english.version) == (("security",), VERSION)
    assert english.fear > 0.8
    assert (english.greed, english.excitement) == (0.0, 0.0)
    spanish = tag("t", "Pánico: Binance pausa los retiros", 7, "es")
    assert spanish.topics == ("exchange",)
    assert (spanish.fear, spanish.greed, spanish.excitement) == (None, None, None)
    assert tag("t", "rekt", 7, None).fear == 0.75
