"""The small LSTM: training that learns and repeats itself, readings, and its file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.sentiment.lstm import LstmModel, LstmWeights
from engine.sentiment.registry import sentiment_model
from engine.sentiment.training.examples import Example
from engine.settings.sentiment import SentimentConfig

torch = pytest.importorskip("torch", reason="the model lstm needs torch")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = ("gold", "oil", "tin", "zinc", "corn", "rice", "wheat", "sugar", "steel", "copper")
KINDS = {
    "bullish": ("soars", "does not sink"),
    "neutral": ("holds", "waits"),
    "bearish": ("sinks", "does not soar"),
}


def examples(tail):
    return [
        Example(f"{name} {word} {tail}", label, "own")
        for name in NAMES
        for label, words in KINDS.items()
        for word in words
    ]


@pytest.fixture(scope="module")
def trained():
    from engine.sentiment.lstm_training import LstmSettings, train_lstm

    settings = LstmSettings(
        epochs=25, batch=16, learning_rate=1e-2, patience=25, width=16, hidden=8
    )
    told: list[float] = []
    weights = train_lstm(
        examples("today"), examples("again"), settings, lambda epoch: told.append(epoch.macro_f1)
    )
    return settings, weights, told


def test_lstm_learns_what_the_order_of_words_says(trained):
    _, weights, told = trained
    model = LstmModel(weights)
    texts = ["oil does not sink today", "oil does not soar today", "tin waits today"]
    assert [one.label for one in model.score(texts)] == ["bullish", "bearish", "neutral"]
    assert max(told) > 0.95


def test_lstm_training_repeats_itself_and_leaves_the_random_state_alone(trained):
    from engine.sentiment.lstm_training import train_lstm

    settings, weights, _ = trained
    torch.manual_seed(99)
    expected = torch.rand(1)
    torch.manual_seed(99)
    again = train_lstm(examples("today"), examples("again"), settings)
    assert again.digest == weights.digest
    assert torch.equal(torch.rand(1), expected)


def test_lstm_training_stops_where_nothing_gets_better():
    from engine.sentiment.lstm_training import LstmSettings, train_lstm

    told = []
    settings = LstmSettings(epochs=50, learning_rate=1e-9, patience=3, width=4, hidden=4)
    train_lstm(examples("today"), examples("again"), settings, told.append)
    assert [epoch.number for epoch in told] == [1, 2, 3, 4]


def test_lstm_readings_are_the_same_bits_alone_and_in_any_batch(trained):
    model = LstmModel(trained[1])
    texts = ["oil soars", "tin sinks today and again", "", "corn"]
    together = model.score(texts)
    assert [model.score([text])[0] for text in texts] == together
    assert LstmModel(trained[1]).score(texts[::-1]) == together[::-1]


@pytest.mark.parametrize("text", ["", "$BTC", "https://t.co/x", "unheard of", "42 %", "比特币"])
def test_lstm_text_of_which_nothing_was_learnt_is_unknown(trained, text):
    assert LstmModel(trained[1]).score([text]) == [None]


def test_lstm_long_text_is_cut_and_says_so(trained):
    model = LstmModel(trained[1])
    assert model.truncates("oil soars " * 100)
    assert not model.truncates("oil soars")
    assert model.score(["oil soars " * 10_000])[0] is not None


def test_lstm_weights_come_back_from_their_file_and_keep_their_name(trained, tmp_path: Path):
    path = tmp_path / "lstm.npz"
    trained[1].save(path)
    model = sentiment_model("lstm", SentimentConfig(lstm=str(path)))
    assert model.name == LstmModel(trained[1]).name
    assert model.score(["oil soars"]) == LstmModel(trained[1]).score(["oil soars"])


def test_lstm_comes_with_weights_that_know_good_news_from_bad():
    model = sentiment_model("lstm")
    texts = ["Bitcoin surges to a record high", "Exchange halts withdrawals after a hack"]
    assert [one.label for one in model.score(texts)] == ["bullish", "bearish"]
    size = len(files("engine.sentiment").joinpath("artifacts/lstm.npz").read_bytes())
    assert size < 2_000_000


def test_lstm_weights_are_kept_in_half_precision_and_tested_so(trained, tmp_path: Path):
    path = tmp_path / "lstm.npz"
    trained[1].save(path)
    kept = LstmWeights.load(path)
    assert kept.digest == trained[1].digest
    assert all(np.array_equal(kept.arrays[name], trained[1].arrays[name]) for name in kept.arrays)


@pytest.mark.parametrize(
    ("content", "told"), [(None, "do not exist"), (b"text", "holds no weights")]
)
def test_lstm_file_that_is_none_is_told(tmp_path: Path, content, told):
    path = tmp_path / "lstm.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        sentiment_model("lstm", SentimentConfig(lstm=str(path)))


def test_lstm_arrays_of_another_network_are_refused(trained):
    arrays = dict(trained[1].arrays)
    arrays["head.bias"] = np.zeros(4, dtype=np.float32)
    with pytest.raises(ConfigError, match="are damaged"):
        LstmModel(LstmWeights(trained[1].words, arrays, 1.0))


def test_lstm_training_without_a_label_is_refused():
    from engine.sentiment.lstm_training import train_lstm

    some = [one for one in examples("today") if one.label != "neutral"]
    with pytest.raises(ConfigError, match="no text is labelled neutral"):
        train_lstm(some, some)
