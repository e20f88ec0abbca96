"""The linear model: what it sees of a text, its weights as a file, exact explanations."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.sentiment.explanation import explain
from engine.sentiment.registry import check_model_name, model_names, sentiment_model
from engine.sentiment.tfidf import TfidfModel, TfidfVectors, TfidfWeights, shipped_weights
from engine.sentiment.tfidf_features import LONGEST_WORD, MAX_CHARACTERS, phrases, pieces, tokens
from engine.settings.sentiment import SentimentConfig

SHIPPED = TfidfModel()
SMALL = TfidfWeights(
    ("up", "up 5", "not up", "down", "~<up", "🚀"),
    np.array([1.0, 1.0, 2.0, 1.0, 1.0, 3.0], dtype=np.float32),
    np.array(
        [[-1, 0, 1], [0, 0, 0], [2, 0, -2], [1, 0, -1], [0, 0, 0.5], [-1, 0, 2]],
        dtype=np.float32,
    ),
    np.array([0.0, 0.5, 0.25], dtype=np.float32),
)
TEXTS = (
    "Bitcoin soars past $70k as ETF inflows hit record",
    "Exchange halts withdrawals after $200M hack",
    "What to know about the next upgrade",
    "to the moon 🚀🚀🚀",
    "",
    "$BTC https://t.co/x",
    "比特币上涨",
)


def words(text):
    return [token.word for token in tokens(text)]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("$BTC.X up +4.2% to $70k!!!", ["$name", "up", "+%", "to", "$#", "!"]),
        ("ETH -12% in 24h, 3x long", ["eth", "-%", "in", "#", "#", "long"]),
        ("won’t BREAK… @ann https://x.y/z", ["won't", "break", "…", "@"]),
        ("AT&amp;T rises 5 percent", ["at", "t", "rises", "%"]),
        ("Ünited ₿0.5 🚀🔥", ["ünited", "$#", "🚀", "🔥"]),
        ("a" * 99, ["a" * LONGEST_WORD]),
        ("", []),
    ],
)
def test_tfidf_tokens_stand_for_what_they_are(text, seen):
    assert words(text) == seen


@given(st.text(max_size=300))
def test_tfidf_tokens_any_text_is_cut_without_losing_its_spelling(text):
    for token in tokens(text):
        assert token.word
        assert token.written


def test_tfidf_phrases_are_of_one_to_three_words():
    assert list(phrases(["a", "b", "c"])) == [
        ("a", 0, 1), ("a b", 0, 2), ("a b c", 0, 3), ("b", 1, 1), ("b c", 1, 2), ("c", 2, 1),
    ]  # fmt: skip


def test_tfidf_pieces_of_names_numbers_and_signs_are_none():
    assert pieces("$name") == pieces("#") == pieces("🚀") == pieces("+%") == ()


def test_tfidf_vector_has_length_one_and_counts_by_their_logarithm():
    vector = TfidfVectors(SMALL.features, SMALL.rarity).vector(["up", "up", "🚀"])
    assert vector.rows.tolist() == [0, 4, 5]
    twice = 1.0 + math.log(2.0)
    length = math.sqrt(2 * twice**2 + 9.0)
    assert vector.values == pytest.approx([twice / length, twice / length, 3.0 / length])


def test_tfidf_reading_is_the_softmax_of_the_weights():
    reading = TfidfModel(SMALL).score(["down"])[0]
    assert reading is not None
    powers = [math.exp(one) for one in (1.0, 0.5, -0.75)]
    expected = [one / sum(powers) for one in powers]
    assert [reading.bearish, reading.neutral, reading.bullish] == pytest.approx(expected)


def test_tfidf_text_of_unknown_words_is_what_any_text_is():
    reading = TfidfModel(SMALL).score(["strange words"])[0]
    assert reading is not None
    assert reading.label == "neutral"


@pytest.mark.parametrize("text", ["", "   ", "$BTC", "https://t.co/x 42 +3%", "!!!", "上涨", "🤷"])
def test_tfidf_text_that_says_nothing_is_unknown(text):
    assert TfidfModel(SMALL).score([text]) == [None]


def test_tfidf_emoji_that_was_learnt_is_readable():
    reading = TfidfModel(SMALL).score(["🚀"])[0]
    assert reading is not None
    assert reading.label == "bullish"


@pytest.mark.parametrize("text", ["up", "not up and down 🚀", "up up 5% up, not 5 down", TEXTS[0]])
@pytest.mark.parametrize("model", [TfidfModel(SMALL), SHIPPED], ids=["small", "shipped"])
def test_tfidf_explanation_sums_to_the_log_odds_exactly(model, text):
    reading = model.score([text])[0]
    assert reading is not None
    total = math.fsum(weight for _, weight in explain(model, text)) + model.lean
    assert total == pytest.approx(math.log(reading.bullish / reading.bearish), abs=1e-9)


def test_tfidf_explanation_shares_a_phrase_between_its_words():
    found = dict(explain(TfidfModel(SMALL), "not up"))
    length = math.sqrt(1.0 + 4.0 + 1.0)  # up, not up, a piece of up
    assert found["not"] == pytest.approx(0.5 * 2.0 * -4.0 / length)
    assert found["up"] == pytest.approx((2.0 + 0.5 + 0.5 * 2.0 * -4.0) / length)


def test_tfidf_readings_are_the_same_bits_alone_and_in_any_batch():
    together = SHIPPED.score(TEXTS)
    assert [SHIPPED.score([text])[0] for text in TEXTS] == together
    assert SHIPPED.score(TEXTS[::-1]) == together[::-1]
    assert TfidfModel().score(TEXTS) == together


def test_tfidf_shipped_reads_plain_cases():
    labels = [one and one.label for one in SHIPPED.score(TEXTS)]
    assert labels == ["bullish", "bearish", "neutral", "bullish", None, None, None]


def test_tfidf_long_text_is_read_up_to_a_length():
    long = "up " * MAX_CHARACTERS
    assert SHIPPED.score([long]) == SHIPPED.score([long[:MAX_CHARACTERS]])


def test_tfidf_shipped_weights_are_small_and_whole():
    from importlib.resources import files

    size = len(files("engine.sentiment").joinpath("artifacts/tfidf.npz").read_bytes())
    assert size < 1.5e6
    weights = shipped_weights()
    assert len(weights.features) == len(set(weights.features)) == len(weights.weights)


def test_tfidf_weights_come_back_from_their_file_and_keep_their_name(tmp_path: Path):
    shipped = shipped_weights()
    shipped.save(tmp_path / "w.npz")
    again = TfidfWeights.load(tmp_path / "w.npz")
    assert again.features == shipped.features
    assert np.array_equal(again.weights, shipped.weights)
    assert TfidfModel(again).name == SHIPPED.name
    config = SentimentConfig(tfidf=str(tmp_path / "w.npz"))
    assert sentiment_model("tfidf", config).name == SHIPPED.name


def test_tfidf_other_weights_have_another_name():
    assert TfidfModel(SMALL).name != SHIPPED.name


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "do not exist"), (b"PK", "holds no weights"), (b"text", "holds no weights")],
)
def test_tfidf_file_that_is_none_is_told(tmp_path: Path, content, told):
    path = tmp_path / "w.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        TfidfWeights.load(path)


def test_tfidf_file_with_pickled_objects_is_refused_unread(tmp_path: Path):
    path = tmp_path / "w.npz"
    np.savez(path, format=np.array(1), features=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ConfigError, match="holds no weights"):
        TfidfWeights.load(path)


def test_tfidf_file_of_another_format_is_told(tmp_path: Path):
    path = tmp_path / "w.npz"
    np.savez(path, format=np.array(99))
    with pytest.raises(ConfigError, match="are of format 99, this version reads 1"):
        TfidfWeights.load(path)


def test_tfidf_file_with_numbers_that_are_none_is_refused(tmp_path: Path):
    weights = SMALL.weights.copy()
    weights[0, 0] = np.nan
    TfidfWeights(SMALL.features, SMALL.rarity, weights, SMALL.bias).save(tmp_path / "w.npz")
    with pytest.raises(ConfigError, match="are damaged"):
        TfidfWeights.load(tmp_path / "w.npz")


def test_registry_names_every_model_and_suggests_the_nearest():
    names = model_names()
    assert {"ensemble", "lexicon", "lexicon-calibrated", "lstm", "minilm", "tfidf"} <= set(names)
    with pytest.raises(ConfigError, match="'tfdf' is unknown; did you mean 'tfidf'"):
        check_model_name("tfdf")
    with pytest.raises(ConfigError, match="names no repository"):
        check_model_name("hf:")
    check_model_name("hf:ProsusAI/finbert")


def test_tfidf_training_is_deterministic_and_learns(tmp_path: Path):
    pytest.importorskip("sklearn", reason="scikit-learn is needed for training alone")
    from engine.sentiment.tfidf_training import TfidfSettings, train_tfidf

    texts = [
        f"{name} {word} today"
        for name in ("gold", "oil", "tin", "zinc", "corn", "rice")
        for word in ("soars", "soars again", "holds", "holds still", "sinks", "sinks more")
    ]
    labels = [
        {"soars": "bullish", "holds": "neutral", "sinks": "bearish"}[text.split()[1]]
        for text in texts
    ]
    settings = TfidfSettings(least_texts=2, most_features=40)
    weights = train_tfidf(texts, labels, settings=settings)
    assert len(weights.features) == 40
    assert train_tfidf(texts, labels, settings=settings).digest == weights.digest
    heavier = train_tfidf(texts, labels, [9.0, *[1.0] * (len(texts) - 1)], settings)
    assert heavier.digest != weights.digest
    found = TfidfModel(weights).score(["wheat soars today", "wheat sinks today"])
    assert [one and one.label for one in found] == ["bullish", "bearish"]


def test_tfidf_training_without_a_label_is_refused():
    from engine.sentiment.tfidf_training import train_tfidf

    with pytest.raises(ConfigError, match="no text is labelled neutral"):
        train_tfidf(["a", "b"], ["bullish", "bearish"])


def test_tfidf_training_without_a_common_word_is_refused():
    from engine.sentiment.tfidf_training import train_tfidf

    with pytest.raises(ConfigError, match="no word is in 3 of the 3 texts"):
        train_tfidf(["ab", "cd", "ef"], ["bullish", "neutral", "bearish"])
