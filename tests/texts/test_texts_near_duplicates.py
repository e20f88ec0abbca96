"""Near-duplicates: found in a bounded window, and nothing else taken for one."""

from __future__ import annotations

import statistics
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from texts_samples import DAY, HOUR, T0, item

from engine.texts.near_duplicates import NearDuplicates
from engine.texts.sketch import (
    PERMUTATIONS,
    bands,
    estimated_jaccard,
    jaccard,
    shingles,
    sketch,
)

HEADLINE = "Regulator approves the first spot fund for bitcoin after a decade of refusals"


def test_near_duplicates_equal_headline_of_another_source_repeats_the_first() -> None:
    near = NearDuplicates()
    assert near.original_of(item(1, HEADLINE)) == ""
    later = item(2, HEADLINE.upper() + "!", T0 + HOUR, source="other")
    assert near.original_of(later) == "text-001"
    assert near.original_of(item(3, HEADLINE, T0 + 2 * HOUR)) == "text-001", "not text-002"
    assert len(near) == 1


@pytest.mark.parametrize(
    ("changed", "is_duplicate"),
    [
        ("UPDATE: " + HEADLINE, True),
        (HEADLINE + " https://x.io/1?utm_source=a", True),
        (HEADLINE.replace("refusals", "refusing it"), True),
        (HEADLINE.replace("first spot fund", "second futures fund"), False),
        ("Senator doubts that a fund for bitcoin will be approved within this decade", False),
    ],
)
def test_near_duplicates_small_changes_are_seen_through(changed: str, is_duplicate: bool) -> None:
    near = NearDuplicates()
    near.original_of(item(1, HEADLINE))
    assert bool(near.original_of(item(2, changed))) is is_duplicate


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "Bitcoin rises in early trade on Monday as buyers return to the market",
            "Bitcoin falls in early trade on Monday as buyers return to the market",
        ),
        (
            "BTC price update of the hour 70,100 dollars",
            "BTC price update of the hour 69,800 dollars",
        ),
        ("Whale moves 1,000 coins to an exchange", "Whale moves 9,000 coins to an exchange"),
    ],
)
def test_near_duplicates_another_direction_or_figure_is_news(first: str, second: str) -> None:
    near = NearDuplicates()
    near.original_of(item(1, first))
    assert near.original_of(item(2, second)) == ""


def test_near_duplicates_of_other_instruments_is_none() -> None:
    near = NearDuplicates()
    near.original_of(item(1, "The coin gains after its developers shipped the upgrade"))
    other = item(
        2, "The coin gains after its developers shipped the upgrade", instruments=("ETH-USDT",)
    )
    assert near.original_of(other) == ""


def test_near_duplicates_few_words_count_within_one_author_alone() -> None:
    near = NearDuplicates()
    assert near.original_of(item(1, "$BTC to the moon", kind="post", author="a")) == ""
    assert near.original_of(item(2, "$BTC to the moon", kind="post", author="b")) == ""
    assert near.original_of(item(3, "$BTC to the moon!", kind="post", author="a")) == "text-001"
    assert near.original_of(item(4, "Market wrap", body="Stocks fell.")) == ""
    assert near.original_of(item(5, "Market wrap", body="Stocks rose.")) == ""
    assert near.original_of(item(6, "Market wrap", body="Stocks rose.")) == "text-005"


def test_near_duplicates_window_ends_and_never_looks_ahead() -> None:
    near = NearDuplicates(window_ns=DAY)
    near.original_of(item(1, HEADLINE, T0))
    assert near.original_of(item(2, HEADLINE, T0 + DAY)) == "text-001"
    assert near.original_of(item(3, HEADLINE, T0 + DAY + 1)) == ""
    assert near.original_of(item(4, HEADLINE, T0 - 1)) == "", "it was there before the others"


def test_near_duplicates_capacity_forgets_the_oldest() -> None:
    near = NearDuplicates(capacity=2)
    titles = [f"{name} announces a new chief executive from a bank" for name in ("A1", "B2", "C3")]
    for number, title in enumerate(titles):
        assert near.original_of(item(number, title)) == ""
    assert len(near) == 2
    assert near.original_of(item(10, titles[2])) == "text-002"
    assert near.original_of(item(11, titles[0])) == "", "forgotten, and now the newest"
    assert near.original_of(item(12, titles[1])) == ""


def test_near_duplicates_texts_without_words_and_known_ones_repeat_nothing() -> None:
    near = NearDuplicates()
    assert near.original_of(item(1, "...")) == near.original_of(item(2, "...")) == ""
    assert near.original_of(item(3, HEADLINE)) == near.original_of(item(3, HEADLINE)) == ""


def test_near_duplicates_remembered_texts_are_originals() -> None:
    near = NearDuplicates()
    near.remember(item(1, HEADLINE))
    near.remember(item(2, HEADLINE))
    assert near.original_of(item(3, HEADLINE)) == "text-001"


WORDS = st.lists(st.sampled_from([f"w{n}" for n in range(40)]), min_size=2, max_size=40)


@given(WORDS, WORDS)
def test_jaccard_is_symmetric_and_one_of_equal_texts(first: list[str], second: list[str]) -> None:
    one, two = shingles(first), shingles(second)
    assert jaccard(one, two) == jaccard(two, one)
    assert 0.0 <= jaccard(one, two) <= 1.0
    assert jaccard(one, one) == 1.0
    assert estimated_jaccard(sketch(one), sketch(two)) == estimated_jaccard(
        sketch(two), sketch(one)
    )
    assert (sketch(one) == sketch(shingles(first))).all()


@given(WORDS, WORDS)
def test_jaccard_is_the_share_of_common_pairs(first: list[str], second: list[str]) -> None:
    one, two = ({*pairwise(each)} for each in (first, second))
    assert jaccard(shingles(first), shingles(second)) == len(one & two) / len(one | two)


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8])
def test_estimates_are_near_jaccard_on_average_and_within_their_error(similarity: float) -> None:
    random = np.random.default_rng(7)
    common = round(120 * similarity)
    errors = []
    for _ in range(150):
        hashes = random.integers(0, 2**32, 120, dtype=np.uint32)
        rest = (120 - common) // 2
        one = np.unique(hashes[: common + rest])
        two = np.unique(np.concatenate([hashes[:common], hashes[common + rest :]]))
        errors.append(estimated_jaccard(sketch(one), sketch(two)) - jaccard(one, two))
    deviation = (similarity * (1 - similarity) / PERMUTATIONS) ** 0.5
    assert abs(statistics.fmean(errors)) < 4 * deviation / 150**0.5
    assert statistics.stdev(errors) == pytest.approx(deviation, rel=0.25)


def test_bands_find_nearly_all_pairs_of_the_default_similarity() -> None:
    random = np.random.default_rng(11)
    found = 0
    for _ in range(300):
        hashes = random.integers(0, 2**32, 100, dtype=np.uint32)
        one, two = (sketch(np.unique(each)) for each in (hashes[:88], hashes[12:]))  # 76 of 100
        found += bool(set(bands(one)) & set(bands(two)))
    assert found >= 297


def test_bands_of_another_trait_have_no_key_in_common() -> None:
    one = sketch(shingles(HEADLINE.split()))
    assert bands(one, 7) == bands(one, 7)
    assert not set(bands(one, 7)) & set(bands(one, 8))


def test_sketch_is_the_same_in_every_process() -> None:
    program = (
        "from engine.texts.sketch import *;"
        "print(bands(sketch(shingles('bitcoin rises again today'.split())))[:3])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "12345"},
    )  # fmt: skip
    ours = bands(sketch(shingles(["bitcoin", "rises", "again", "today"])))[:3]
    assert told.stdout.strip() == str(ours)


def test_sketch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a text without words has no sketch"):
        sketch(shingles([]))


TITLES = [
    "Exchange lists the token after a vote of its holders on Tuesday",
    "Exchange lists a token after a vote of its holders on Tuesday",
    "Exchange delists the token after a hack of its bridge on Tuesday",
    "gm",
    "Miners sell their reserves as the price of energy climbs again",
    "Miners sell their reserves as the price of energy climbs again this week",
]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3 * DAY)), max_size=30),
    st.integers(1, 6),
)
def test_near_duplicates_law_originals_are_originals_within_the_window_and_memory_is_bounded(
    drawn: list[tuple[int, int]], capacity: int
) -> None:
    near, again = NearDuplicates(capacity=capacity), NearDuplicates(capacity=capacity)
    originals: dict[str, int] = {}
    for number, (which, age) in enumerate(drawn):
        text = item(number, TITLES[which], T0 + age)
        found = near.original_of(text)
        assert again.original_of(text) == found
        assert len(near) <= capacity
        if found:
            assert 0 <= text.available_at - originals[found] <= DAY
        else:
            originals[text.text_id] = text.available_at
