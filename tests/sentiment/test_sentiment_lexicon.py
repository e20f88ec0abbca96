from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from engine.errors import ConfigError
from engine.sentiment.base import TextSentiment
from engine.sentiment.lexicon import CryptoVader, LexiconModel, neutral_probability
from engine.sentiment.registry import sentiment_model
from engine.sentiment.terms import read_terms
from engine.sentiment.vader import PreparedVader

PLAIN = SentimentIntensityAnalyzer()
PREPARED = PreparedVader()
TERMS = read_terms()
CRYPTO = CryptoVader(TERMS)
MODEL = LexiconModel()
OWN_WORDS = {word for term in (*TERMS.valences, *TERMS.silenced) for word in term.split()}
VADER_WORDS = sorted(word for word in PLAIN.lexicon if word.isalpha() and word.isascii())
GLUE = [
    "not", "never", "so", "this", "but", "kind", "of", "without", "doubt", "least", "at", "no",
    "very", "SO", "the", "bomb", "yeah", "right", "isn't", "!", "???", "😂", "x😂", "sort",
]  # fmt: skip
SENTENCES = Path(__file__).with_name("crypto_sentences.tsv")


def texts_of(words):
    return st.lists(st.sampled_from(words), max_size=14).map(" ".join)


@given(texts_of(VADER_WORDS + GLUE * 40))
def test_prepared_vader_any_words_equals_vader(text):
    assert PREPARED.polarity_scores(text) == PLAIN.polarity_scores(text)


@given(st.text(max_size=40))
def test_prepared_vader_any_characters_equals_vader(text):
    assert PREPARED.polarity_scores(text) == PLAIN.polarity_scores(text)


@given(texts_of([word for word in VADER_WORDS + GLUE * 40 if word.lower() not in OWN_WORDS]))
def test_crypto_vader_without_crypto_terms_equals_vader(text):
    assert CRYPTO.compound(text) == PLAIN.polarity_scores(text)["compound"]


def test_lexicon_the_issues_sentence_is_clearly_bullish():
    text = "Bitcoin just broke $70k and I'm SO bullish right now!!! 🚀🚀 to the moon, diamond hands"
    assert PLAIN.polarity_scores(text)["compound"] < 0
    reading = MODEL.score([text])[0]
    assert reading.score > 0.9
    assert reading.label == "bullish"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("not bullish", "bearish"),
        ("no longer bearish", "bullish"),
        ("this isn't bullish", "bearish"),
        ("BTC broke $70k", "bullish"),
        ("BTC broke below $70k", "bearish"),
        ("SOL is killing it", "bullish"),
        ("a short squeeze", "bullish"),
        ("ETH crushed resistance", "bullish"),
        ("Bear Stearns", "neutral"),
        ("the trust's mutual shares, gross yield and risk", "neutral"),
        ("rug-pull", "bearish"),
        ("DIAMOND HANDS", "bullish"),
        ("💎🙌", "bullish"),
        ("📉💀", "bearish"),
        ("pump and dump", "bearish"),
    ],
)
def test_lexicon_crypto_term_gives_its_label(text, label):
    assert MODEL.score([text])[0].label == label


@pytest.mark.parametrize(
    "text", ["", "  \n", "https://a.io/moon", "$MOON $PUMP", "比特币大涨", "123 !!"]
)
def test_lexicon_unreadable_text_is_none(text):
    assert MODEL.score([text]) == [None]


def test_lexicon_no_known_word_is_certainly_neutral():
    reading = MODEL.score(["Bitcoin trades at 42000"])[0]
    assert reading == TextSentiment(0.0, 1.0, 0.0, 0.0, "neutral", 1.0)


def test_lexicon_cashtag_says_nothing():
    assert MODEL.score(["the $MOON one"])[0].score == 0.0


def test_lexicon_hedge_weakens_and_denial_turns():
    crash = CRYPTO.compound("BTC will crash")
    assert crash < CRYPTO.compound("BTC could crash") < 0
    assert CRYPTO.compound("BTC avoids crash") > 0


def test_lexicon_run_of_emoji_counts_twice_at_most():
    assert CRYPTO.compound("🚀🚀🚀🚀🚀") == CRYPTO.compound("🚀🚀") > CRYPTO.compound("🚀")


@given(st.lists(st.text(max_size=60), max_size=4))
def test_lexicon_any_text_gives_probabilities_alone_or_in_a_batch(texts):
    together = MODEL.score(texts)
    assert together == [MODEL.score([text])[0] for text in texts]
    for reading in filter(None, together):
        parts = (reading.bearish, reading.neutral, reading.bullish)
        assert all(0 <= part <= 1 for part in parts)
        assert sum(parts) == pytest.approx(1, abs=1e-12)
        assert reading.bullish - reading.bearish == pytest.approx(reading.score, abs=1e-12)
        assert reading.confidence == max(parts)


@given(st.floats(-1, 1))
def test_neutral_probability_any_score_makes_probabilities(score):
    reading = TextSentiment.of(score, neutral_probability(score))
    assert min(reading.bearish, reading.neutral, reading.bullish) >= 0


def test_sentiment_of_impossible_probabilities_is_refused():
    with pytest.raises(ValueError, match=r"score 0\.9 and neutral 0\.2"):
        TextSentiment.of(0.9, 0.2)


def _labelled(part):
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(label, text) for label, held, text in rows if held == part]


def _macro_f1(pairs):
    scores = []
    for label in ("bearish", "neutral", "bullish"):
        hits = sum(truth == said == label for truth, said in pairs)
        named = sum((truth == label) + (said == label) for truth, said in pairs)
        scores.append(2 * hits / named)
    return sum(scores) / 3


def _vader_label(text):
    compound = PLAIN.polarity_scores(text)["compound"]
    return "bullish" if compound >= 0.05 else "bearish" if compound <= -0.05 else "neutral"


@pytest.mark.parametrize(("part", "reached"), [("tune", 0.98), ("held_out", 0.91)])
def test_lexicon_labelled_sentences_reaches_measured_f1_and_beats_vader(part, reached):
    rows = _labelled(part)
    assert len(rows) == 60
    ours = _macro_f1([(label, MODEL.score([text])[0].label) for label, text in rows])
    plain = _macro_f1([(label, _vader_label(text)) for label, text in rows])
    assert ours >= reached
    assert ours > plain + 0.2


def test_sentiment_model_by_name_has_version():
    assert sentiment_model("lexicon").name == "lexicon-1"


def test_sentiment_model_unknown_name_lists_known():
    with pytest.raises(ConfigError, match="'gut' is unknown; known: auto, ensemble, lexicon,"):
        sentiment_model("gut")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("moon\t2", "line 1: expected term, valence and note"),
        ("moon\thigh\tx", "line 1: valence 'high' is not a number"),
        ("moon\t9\tx", "line 1: valence 9.0 is outside -4 to 4"),
        ("moon\t2\tx\nmoon\t1\ty", "line 2: 'moon' is listed before"),
    ],
)
def test_read_terms_bad_line_is_named(line, message):
    with pytest.raises(ConfigError, match=message):
        read_terms(line, "t.tsv")


def test_read_terms_alternatives_and_hyphens_are_spelled_out():
    terms = read_terms("rug pull|pulls\t-2\tx\nshares\t0\tx", "t.tsv")
    assert terms.valences == {
        "rug pull": -2.0, "rug pulls": -2.0, "rug-pull": -2.0, "rug-pulls": -2.0,
    }  # fmt: skip
    assert terms.silenced == frozenset({"shares"})
