"""Credibility: how often a source was right, and only as far as it was known."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from texts_samples import DAY, HOUR, T0

from engine.domain.credibility import SourceCredibility
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.settings.measure_credibility import MeasureCredibilitySection
from engine.texts.credibility import MeasuredCredibility, Opinion, measure
from engine.texts.credibility_rules import CredibilityRules, credibility_rules

RULES = CredibilityRules("24h of 1h bars", DAY, half_life_days=10.0, prior_opinions=10.0)
END = T0 + 400 * DAY


def opinion(
    number: int,
    at: int,
    is_right: bool = True,
    *,
    source: str = "wire",
    author: str = "",
    engagement: float = 0.0,
    instrument: str = "BTC-USDT",
) -> Opinion:
    """Opinion `number`, known a day after it became available."""
    return Opinion(
        source, author, engagement, instrument, f"text-{number:04}", at, at + DAY, is_right
    )


def measured(
    opinions: list[Opinion], end: int = END, rules: CredibilityRules = RULES
) -> list[SourceCredibility]:
    return list(
        measure(opinions, rules, every_ns=DAY, end=end, model="m-1", configured={"wire": 0.6}.get)  # type: ignore[arg-type]  # only this source
    )


def of_source(rows: list[SourceCredibility]) -> list[SourceCredibility]:
    return [row for row in rows if row.level == "source"]


def test_measure_one_right_opinion_moves_the_prior_by_a_beta_mean() -> None:
    (row,) = of_source(measured([opinion(1, T0)]))
    assert (row.as_of, row.right, row.wrong, row.opinions) == (T0 + DAY, 1.0, 0.0, 1)
    assert row.prior == 0.6
    assert row.credibility == (10 * 0.6 + 1) / 11


def test_measure_opinion_counts_from_the_moment_at_which_it_is_known_and_fades_from_there() -> None:
    (row,) = of_source(measured([opinion(1, T0 + HOUR)]))
    assert row.as_of == T0 + 2 * DAY, "the first midnight after it was known"
    assert row.right == pytest.approx(2 ** (-(23 / 24) / 10))


def test_measure_sums_fade_by_half_in_a_half_life() -> None:
    rows = of_source(measured([opinion(1, T0), opinion(2, T0 + 10 * DAY, is_right=False)]))
    assert [(row.right, row.wrong, row.opinions) for row in rows] == [(1.0, 0.0, 1), (0.5, 1.0, 2)]


def test_measure_within_a_horizon_only_the_first_opinion_on_an_instrument_counts() -> None:
    found = of_source(
        measured(
            [
                opinion(1, T0),
                opinion(2, T0 + HOUR, is_right=False),
                opinion(3, T0 + DAY - 1, is_right=False),
                opinion(4, T0 + HOUR, instrument="ETH-USDT", is_right=False),
                opinion(5, T0 + DAY),
            ]
        )
    )
    assert [row.opinions for row in found] == [1, 3]
    assert found[1].wrong == pytest.approx(2 ** (-(23 / 24) / 10))


def test_measure_prior_of_authors_and_engagements_is_the_source_without_them() -> None:
    own = [opinion(n, T0 + n * DAY, author="a", engagement=25.0) for n in range(6)]
    last = {row.level: row for row in measured(own)}
    assert last["source"].credibility > 0.6
    assert last["engagement"].name == "10"
    for part in (last["engagement"], last["author"]):
        assert part.prior == pytest.approx(0.6), "nobody else wrote there"
        assert part.credibility == pytest.approx(last["source"].credibility)
    others = [opinion(n, T0 + n * DAY, False, instrument="ETH-USDT") for n in range(6)]
    mixed = {(row.level, row.name): row for row in measured(own + others)}
    assert mixed["author", "a"].prior < 0.6 < mixed["author", "a"].credibility


def test_measure_authors_with_few_opinions_have_no_row() -> None:
    opinions = [opinion(n, T0 + n * DAY, author="a") for n in range(5)]
    assert [row.opinions for row in measured(opinions[:4]) if row.level == "author"] == []
    assert [row.opinions for row in measured(opinions) if row.level == "author"] == [5]


def test_measure_moments_after_the_end_are_left_out() -> None:
    opinions = [opinion(1, T0), opinion(2, T0 + 3 * DAY)]
    assert [row.as_of for row in of_source(measured(opinions, end=T0 + 4 * DAY - 1))] == [T0 + DAY]


def test_credibility_at_before_anything_is_known_is_the_configured_one() -> None:
    known = MeasuredCredibility(measured([opinion(1, T0)]), RULES)
    assert known.credibility_at("wire", T0 + DAY - 1, configured=0.6) == 0.6
    assert known.credibility_at("other", T0 + 9 * DAY, configured=0.3) == 0.3
    assert known.credibility_at("wire", T0 + DAY, configured=0.6) > 0.6


def test_credibility_at_is_of_the_author_else_the_engagement_else_the_source() -> None:
    rows = measured(
        [opinion(n, T0 + n * DAY, author="a", engagement=25.0) for n in range(6)]
        + [opinion(n, T0 + n * DAY, n % 2 == 0, instrument="ETH-USDT") for n in range(6)]
        + [
            opinion(n, T0 + n * DAY, False, author="b", instrument="SOL-USDT")
            for n in range(10, 16)
        ]
    )
    known = MeasuredCredibility(rows, RULES)
    then = T0 + 40 * DAY

    def at(author: str, engagement: float) -> float:
        return known.credibility_at(
            "wire", then, configured=0.6, author=author, engagement=engagement
        )

    assert at("b", 0.0) < at("", 0.0) < at("", 500.0) < at("a", 0.0)
    assert at("a", 25.0) == at("a", 0.0)
    assert at("unknown", 0.0) == at("", 0.0)


def test_credibility_at_long_silence_returns_to_the_configured_one() -> None:
    known = MeasuredCredibility(measured([opinion(1, T0)]), RULES)
    assert known.credibility_at("wire", T0 + 4_000 * DAY, configured=0.6) == pytest.approx(0.6)


def test_credibility_at_rows_of_another_version_do_not_count() -> None:
    rows = [replace(row, version="0") for row in measured([opinion(1, T0)])]
    assert len(MeasuredCredibility(rows, RULES)) == 0


def test_credibility_of_a_source_that_knows_and_one_that_guesses_part() -> None:
    opinions = [
        opinion(n, T0 + n * DAY, n % wrong_each != 0, source=name)
        for name, wrong_each in (("knows", 4), ("guesses", 2))
        for n in range(300)
    ]
    rules = CredibilityRules("24h of 1h bars", DAY, half_life_days=90.0, prior_opinions=50.0)
    rows = measure(opinions, rules, every_ns=DAY, end=END, model="m-1", configured=lambda _: 0.5)
    known = MeasuredCredibility(rows, rules)
    then = T0 + 301 * DAY
    assert known.credibility_at("knows", then) == pytest.approx(0.675, abs=0.01)
    assert known.credibility_at("guesses", then) == pytest.approx(0.5, abs=0.01)


OPINIONS = st.lists(
    st.builds(
        opinion,
        st.integers(0, 9_999),
        st.integers(0, 40 * 24).map(lambda hour: T0 + hour * HOUR),
        st.booleans(),
        author=st.sampled_from(["", "a", "b"]),
        engagement=st.sampled_from([0.0, 5.0, 5_000.0]),
        instrument=st.sampled_from(["BTC-USDT", "ETH-USDT"]),
    ),
    max_size=40,
    unique_by=lambda each: each.text_id,
)
FEW = CredibilityRules("24h of 1h bars", DAY, 10.0, 10.0, author_opinions=1)


@settings(deadline=None)
@given(OPINIONS, st.integers(0, 45), st.randoms(use_true_random=False))
def test_measure_law_what_became_known_later_changes_no_earlier_row(
    opinions: list[Opinion], days: int, draws: random.Random
) -> None:
    then = T0 + days * DAY
    draws.shuffle(opinions)
    everything = measured(opinions, rules=FEW)
    known = [each for each in opinions if each.known_at <= then]
    assert measured(known, end=then, rules=FEW) == [r for r in everything if r.as_of <= then]


@settings(deadline=None)
@given(OPINIONS)
def test_measure_law_rows_are_the_answers_at_their_moments(opinions: list[Opinion]) -> None:
    rows = measured(opinions, rules=FEW)
    known = MeasuredCredibility(rows, FEW)
    for row in rows:
        assert 0.0 <= row.credibility <= 1.0
        assert row.right + row.wrong <= row.opinions + 1e-9
        at = known.credibility_at(
            "wire",
            row.as_of,
            configured=0.6,
            engagement=float(row.name) if row.level == "engagement" else 50.0,
            author=row.name if row.level == "author" else "",
        )
        assert math.isclose(row.credibility, at), "no opinion has an engagement of 50"


def test_rules_version_names_all_that_decides_the_values() -> None:
    section = MeasureCredibilitySection(horizon="4h", half_life_days=30)
    rules = credibility_rules(section, Timeframe.H1)
    assert rules.version == "2 4h of 1h bars, half-life 30 d, prior 50, authors 5"
    assert rules.horizon_ns == 4 * HOUR


def test_section_refuses_a_horizon_that_is_none() -> None:
    with pytest.raises(ConfigError, match="'soon' is not a number with m, h or d"):
        MeasureCredibilitySection(horizon="soon").require()
