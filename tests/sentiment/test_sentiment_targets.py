"""Scores for each asset of a text: comparisons, clauses, and models that do it themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.text import Mention
from engine.sentiment.base import TargetModel, TextSentiment
from engine.sentiment.comparisons import HEDGED, LEANING, STRENGTH, comparisons
from engine.sentiment.registry import sentiment_model
from engine.sentiment.targets import MAX_MENTIONS, Named, Readings, read_targets
from engine.sources.mentions import MentionFinder

FINDER = MentionFinder([])
LEXICON = sentiment_model("lexicon")


def targets(text: str) -> dict[str, float | None]:
    (whole,) = LEXICON.score([text])
    (found,) = read_targets(LEXICON, [Named(text, FINDER.mentions(text), whole)])
    return {name: reading.score if reading else None for name, reading in found.items()}


def compared(text: str) -> dict[str, float]:
    mentions = FINDER.mentions(text)
    found = comparisons(text, mentions)
    return {mentions[each.index].name: each.reading.score for each in found}


@pytest.mark.parametrize(
    ("text", "winner", "loser"),
    [
        ("ETH will flip BTC", "ETH", "BTC"),
        ("$SOL is stronger than $ETH here", "SOL", "ETH"),
        ("Litecoin keeps losing ground to Bitcoin", "BTC", "LTC"),
        ("SOL > ETH and it isn't close", "SOL", "ETH"),
        ("Selling my ETH for SOL", "SOL", "ETH"),
        ("Rotation from BTC into ETH", "ETH", "BTC"),
        ("swapped all of my Cardano to Solana", "SOL", "ADA"),
        ("trimmed BTC, added ETH, kept SOL", "ETH", "BTC"),
        ("Treasury firm sells part of its ETH stash, swaps proceeds into Bitcoin", "BTC", "ETH"),
        ("I prefer SOL over ETH", "SOL", "ETH"),
        ("JPMorgan prefers Ether to Bitcoin", "ETH", "BTC"),
        ("long ETH, short BTC", "ETH", "BTC"),
        ("ETH won't flip BTC", "BTC", "ETH"),
        ("I'm not selling my XRP to chase SOL", "XRP", "SOL"),
    ],
)
def test_comparison_of_places_is_good_for_one_and_bad_for_the_other(
    text: str, winner: str, loser: str
) -> None:
    assert compared(text) == {winner: STRENGTH, loser: -STRENGTH}


@pytest.mark.parametrize(
    ("text", "about", "score", "measure"),
    [
        ("Ethereum outperforms Bitcoin this week", "ETH", STRENGTH, "BTC"),
        ("Solana overtakes Ethereum in daily fees", "SOL", STRENGTH, "ETH"),
        ("Ether gains against Bitcoin", "ETH", STRENGTH, "BTC"),
        ("BTC lags ETH", "BTC", -STRENGTH, "ETH"),
        ("Cardano underperforms Solana", "ADA", -STRENGTH, "SOL"),
        ("Solana slumps against Ether", "SOL", -STRENGTH, "ETH"),
        ("BTC cannot beat ETH", "BTC", -STRENGTH, "ETH"),
    ],
)
def test_comparison_of_performance_says_little_of_the_measure(
    text: str, about: str, score: float, measure: str
) -> None:
    lean = -LEANING if score > 0 else LEANING
    assert compared(text) == {about: score, measure: lean}
    (other,) = [
        c.reading for c in comparisons(text, FINDER.mentions(text)) if c.reading.score == lean
    ]
    assert other.label == "neutral"


@pytest.mark.parametrize("text", ["Can ETH flip BTC?", "ETH might flip BTC", "If SOL flips ETH …"])
def test_comparison_that_is_open_counts_less(text: str) -> None:
    first, second = compared(text).values()
    assert (first, second) == (STRENGTH * HEDGED, -STRENGTH * HEDGED)


def test_comparison_takes_a_list_for_one_side() -> None:
    found = compared("ETH and SOL replace BTC")
    assert found == {"ETH": STRENGTH, "SOL": STRENGTH, "BTC": -STRENGTH}


@pytest.mark.parametrize(
    "text",
    [
        "Bitcoin and Ethereum rally",
        "BTC beats estimates. ETH is quiet",
        "Bitcoin beats expectations while Ethereum sleeps",
        "BTC to BTC transfers flip",
        "ETH/BTC breaks out",
        "Bitcoin holders move coins",
        "Luna Foundation Guard buys $1B in Bitcoin to back LUNA",
        "Arbitrum gains on a tie-up as Optimism slips",
    ],
)
def test_comparison_is_not_seen_where_there_is_none(text: str) -> None:
    assert compared(text) == {}


@pytest.mark.parametrize(
    ("text", "up", "down"),
    [
        ("Bitcoin crashes while Ethereum rallies to new highs", "ETH", "BTC"),
        ("Solana surges as Ethereum drops", "SOL", "ETH"),
        ("$ETH hacked. $BTC moons. What a day!", "BTC", "ETH"),
        ("Bitcoin soars; analysts say Ethereum is doomed", "BTC", "ETH"),
        ("BTC pumps hard, ETH dumps hard", "BTC", "ETH"),
        ("BTC is bullish and ETH is bearish", "BTC", "ETH"),
        ("Bitcoin had a great week, but Ethereum got rekt", "BTC", "ETH"),
    ],
)
def test_targets_of_contrasting_clauses_differ_in_sign(text: str, up: str, down: str) -> None:
    found = targets(text)
    assert found[up] > 0.2
    assert found[down] < -0.2


def test_targets_in_one_clause_share_its_reading() -> None:
    found = targets("Hackers stole BTC and ETH worth millions")
    assert found["BTC"] == found["ETH"] < -0.2
    rally = targets("Bitcoin and Ethereum rally")
    assert rally["BTC"] == rally["ETH"] > 0.2


def test_targets_clause_without_a_name_belongs_to_the_one_before() -> None:
    found = targets("Ethereum looks strong. What a rally! Bitcoin crashes.")
    alone = targets("Ethereum looks strong. What a rally!")
    assert found["ETH"] == pytest.approx(alone["ETH"])
    assert found["BTC"] < 0


def test_targets_of_one_asset_are_the_whole_reading() -> None:
    text = "Bitcoin crashes, but BTC will recover and moon"
    (whole,) = LEXICON.score([text])
    assert targets(text) == {"BTC": whole.score}


def test_targets_of_an_unreadable_text_are_unknown() -> None:
    named = Named("BTC ETH", FINDER.mentions("$BTC $ETH"), None)
    assert read_targets(LEXICON, [named]) == [{"BTC": None, "ETH": None}]


def test_targets_beyond_the_limit_do_not_count() -> None:
    text = " ".join(["BTC"] * MAX_MENTIONS + ["ETH"]) + " rally"
    assert list(targets(text)) == ["BTC"]


class OwnTargets:
    """A model that reads targets itself: the later a mention, the worse."""

    name = "own-1"

    def score(self, texts: Sequence[str]) -> list[TextSentiment | None]:
        return [TextSentiment.of(0.5, 0.25) for _ in texts]

    def score_targets(
        self, text: str, mentions: Sequence[Mention]
    ) -> Mapping[str, TextSentiment | None]:
        return {m.name: TextSentiment.of(-m.start / len(text), 0.0) for m in mentions}


def test_targets_are_asked_of_a_model_that_reads_them_itself() -> None:
    model, text = OwnTargets(), "BTC and ETH"
    assert isinstance(model, TargetModel)
    whole = TextSentiment.of(0.5, 0.25)
    (found,) = read_targets(model, [Named(text, FINDER.mentions(text), whole)])
    assert {name: reading.score for name, reading in found.items() if reading} == {
        "BTC": 0.0,
        "ETH": -8 / 11,
    }
    text = "BTC sleeps. ETH flips SOL"
    (found,) = read_targets(model, [Named(text, FINDER.mentions(text), whole)])
    scores = {name: reading.score for name, reading in found.items() if reading}
    assert scores == {"BTC": 0.0, "ETH": STRENGTH, "SOL": -STRENGTH}, "that decides"
    text = "BTC outperforms ETH"
    (found,) = read_targets(model, [Named(text, FINDER.mentions(text), whole)])
    assert found["BTC"] == TextSentiment.of(0.0, 0.0), "the model knows better how much"


NAMES = ("BTC", "ETH", "SOL", "Bitcoin")
TONES = ("crash", "rally", "beats", "not", "hacked", "🚀", "selling", "for")
WORDS = st.sampled_from((*NAMES, *TONES, "flips", "while", "but", "and", ",", "."))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=14).map(" ".join), max_size=4))
def test_targets_are_the_same_alone_and_in_a_batch_and_in_range(texts: list[str]) -> None:
    wholes = LEXICON.score(texts)
    named = [
        Named(text, FINDER.mentions(text), whole) for text, whole in zip(texts, wholes, strict=True)
    ]
    together = read_targets(LEXICON, named)
    alone: list[Readings] = [read_targets(LEXICON, [each])[0] for each in named]
    assert together == alone
    for each, found in zip(named, together, strict=True):
        assert set(found) == {mention.name for mention in each.mentions}
        read = [reading for reading in found.values() if reading is not None]
        assert all(-1 <= reading.score <= 1 and 0 <= reading.neutral <= 1 for reading in read)
