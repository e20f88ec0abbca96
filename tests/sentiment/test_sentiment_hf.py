"""Classifiers of the transformers library: labels, batches, and a tiny BERT made here."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.sentiment.huggingface_batches import BUCKETS, bucket_of, padded_batches
from engine.sentiment.huggingface_labels import label_places
from engine.sentiment.registry import sentiment_model
from engine.settings.sentiment import SentimentConfig
from engine.settings.sentiment_models import HuggingFaceConfig

torch = pytest.importorskip("torch", reason="the models hf: need torch")
transformers = pytest.importorskip("transformers", reason="the models hf: need transformers")

# torch's own deprecations, on import and while saving; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WORDS = tuple(
    "bitcoin ether rises falls on news of the fund and a hack to new high low today .".split(" ")  # noqa: SIM905
)
TEXTS = (
    "Bitcoin rises to new high",
    "Ether falls on news of a hack",
    "the fund",
    "Bitcoin falls today and ether rises on the news of a new fund to a new high .",
    "bitcoin",
)
FINBERT = {0: "positive", 1: "negative", 2: "neutral"}


def save_model(folder: Path, id2label=None, **about) -> Path:
    """Write a tiny BERT with random weights, and its tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    names = dict(id2label or FINBERT)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = transformers.BertTokenizerFast(
        vocab={word: place for place, word in enumerate(vocabulary)}, model_max_length=40
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=64, initializer_range=0.3,
        id2label=names, label2id={name: number for number, name in names.items()}, **about,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("hf") / "tiny")


def load(folder, **hf):
    config = SentimentConfig(hf=HuggingFaceConfig(device="cpu", **hf))
    return sentiment_model(f"hf:{folder}", config)


@pytest.fixture(scope="module")
def model(folder: Path):
    return load(folder)


def test_hf_readings_are_what_transformers_says(model, folder):
    network = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        said = torch.softmax(network(**tokenizer(TEXTS[0], return_tensors="pt")).logits, -1)[0]
    reading = model.score([TEXTS[0]])[0]
    assert [reading.bullish, reading.bearish, reading.neutral] == pytest.approx(
        said.tolist(), abs=1e-6
    )


def test_hf_readings_are_the_same_bits_alone_and_in_any_batch(model):
    together = model.score(TEXTS)
    assert [model.score([text])[0] for text in TEXTS] == together
    assert model.score(TEXTS[::-1] * 3) == together[::-1] * 3


def test_hf_padded_batches_read_the_same_bits_in_any_batch_and_nearly_those_alone(model):
    from engine.sentiment.huggingface import HuggingFaceModel

    padded = HuggingFaceModel(
        model._network, model._tokenizer, model._places, "padded", 40, batch_tokens=64
    )
    together = padded.score(TEXTS)
    assert [padded.score([text])[0] for text in TEXTS] == together
    assert padded.score(TEXTS[::-1] * 3) == together[::-1] * 3
    for ours, theirs in zip(together, model.score(TEXTS), strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)


def test_hf_bfloat16_reads_nearly_the_same(model, folder):
    from engine.sentiment.huggingface import HuggingFaceModel

    network = transformers.BertForSequenceClassification.from_pretrained(
        folder, dtype=torch.bfloat16
    )
    half = HuggingFaceModel(network, model._tokenizer, model._places, "half", 40, batch_tokens=512)
    for ours, theirs in zip(half.score(TEXTS), model.score(TEXTS), strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=0.1)


@pytest.mark.parametrize("text", ["", " \n", "https://t.co/x $BTC", "!!! 42", "@ann"])
def test_hf_text_that_says_nothing_is_unknown(model, text):
    assert model.score([text]) == [None]


def test_hf_text_of_which_the_tokenizer_knows_nothing_is_unknown(model):
    assert model.score(["比特币 xyzzy", "Bitcoin rises"])[0] is None


def test_hf_long_text_is_cut_and_says_so(model):
    long = "bitcoin rises " * 5_000
    assert model.score([long])[0] is not None
    assert model.truncates(long)
    assert not model.truncates(TEXTS[0])
    assert model.truncates("bitcoin " * 60)


def test_hf_name_follows_the_weights_and_the_labels_not_the_place(folder, tmp_path: Path):
    copy = save_model(tmp_path / "tiny")
    assert load(copy).name == load(folder).name
    assert load(folder).name.startswith("hf:tiny-")
    turned = {"positive": "bearish", "negative": "bullish", "neutral": "neutral"}
    assert load(folder, labels=turned).name != load(folder).name
    weights = next(copy.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert load(copy).name != load(folder).name


def test_hf_labels_of_the_configuration_decide(folder):
    turned = {"positive": "bearish", "negative": "bullish", "neutral": "neutral"}
    plain, other = load(folder).score(TEXTS[:1])[0], load(folder, labels=turned).score(TEXTS[:1])[0]
    assert (plain.bullish, plain.bearish) == (other.bearish, other.bullish)


def test_hf_outputs_of_one_meaning_are_added(tmp_path: Path):
    five = dict(enumerate(["Very Negative", "Negative", "Neutral", "Positive", "Very Positive"]))
    model = load(save_model(tmp_path / "five", five))
    reading = model.score(TEXTS[:1])[0]
    assert reading.bearish + reading.neutral + reading.bullish == pytest.approx(1.0)


def test_hf_folder_without_a_model_is_told_in_a_sentence(tmp_path: Path):
    with pytest.raises(ConfigError, match="the folder must hold what save_pretrained wrote"):
        load(tmp_path)


def test_hf_path_that_is_no_folder_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="is no folder"):
        load(tmp_path / "none")


def test_hf_repository_without_the_hub_is_told_in_a_sentence(monkeypatch, tmp_path: Path):
    def refuse(*_: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="check the name and the network") as caught:
        load("nobody/nothing-at-all", is_offline=True)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_hf_gpu_that_is_not_there_is_told(folder):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="no GPU is found"):
        sentiment_model(f"hf:{folder}", SentimentConfig(hf=HuggingFaceConfig(device="cuda")))


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (["positive", "negative", "neutral"], (2, 0, 1)),
        (["Bearish", "Neutral", "Bullish"], (0, 1, 2)),
        (["NEG", "NEU", "POS"], (0, 1, 2)),
        (["NEGATIVE", "POSITIVE"], (0, 2)),
        (["Very_Negative", "Mixed", "Very_Positive"], (0, 1, 2)),
    ],
)
def test_hf_labels_are_told_from_their_names(names, places):
    assert label_places("m", dict(enumerate(names)), {}) == places


@pytest.mark.parametrize(
    ("names", "asked", "told"),
    [
        (["LABEL_0", "LABEL_1", "LABEL_2"], {}, "they are numbers: say it in sentiment.hf.labels"),
        (["joy", "anger"], {}, "leave 'joy' in doubt"),
        (["positive", "not positive or negative"], {}, "in doubt"),
        (["neutral", "positive"], {}, "do not tell bullish from bearish"),
        (["score"], {}, "has 1 output"),
        (["a", "b"], {"a": "bearish", "c": "bullish"}, "sentiment.hf.labels.c"),
        (["a", "b"], {"a": "bearish"}, "does not say what 'b'"),
    ],
)
def test_hf_labels_in_doubt_are_refused(names, asked, told):
    with pytest.raises(ConfigError, match=told):
        label_places("m", dict(enumerate(names)), asked)


def test_hf_labels_may_be_asked_for_by_name_or_number():
    names = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    asked = {"label_0": "bearish", "1": "neutral", "LABEL_2": "bullish"}
    assert label_places("m", names, asked) == (0, 1, 2)


@given(
    lengths=st.lists(st.integers(1, 1_500), max_size=60),
    batch_tokens=st.integers(64, 4_096),
)
def test_hf_batches_hold_every_text_once_in_a_shape_of_its_length_alone(lengths, batch_tokens):
    batches = list(padded_batches(lengths, batch_tokens))
    assert sorted(place for batch in batches for place in batch.places) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch.places) <= batch.rows
        for place in batch.places:
            assert batch.length == bucket_of(lengths[place]) >= lengths[place]
        assert batch.rows == max(1, batch_tokens // batch.length)


def test_hf_buckets_ascend():
    assert list(BUCKETS) == sorted(set(BUCKETS))
