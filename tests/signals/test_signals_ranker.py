"""The ranking: exact numbers, laws, and what it says."""

from __future__ import annotations

from math import nan

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import RankingConfig
from engine.domain.features import FeatureRow
from engine.domain.instrument import Market
from engine.domain.sentiment import SentimentAggregate
from engine.domain.timeframe import Timeframe
from engine.errors import ConfigError
from engine.features.catalogue import FEATURE_INDEX, FEATURE_NAMES, FEATURE_VERSION
from engine.signals import confidence
from engine.signals.factors import FACTORS, FACTORS_BY_NAME
from engine.signals.ranker import HORIZONS, FeedHealth, rank
from engine.signals.scoring import nominal_weights
from engine.signals.weights import load_weights
from engine.signals.zscore import robust_z

WEIGHTS = load_weights("spot_1h_2021_2023")
CONFIG = RankingConfig()
HOUR = Timeframe.H1.ns
AS_OF = 480_000 * HOUR
USED = [entry.factor for entry in WEIGHTS.factors]


def row(name: str, features: dict[str, float], **more) -> FeatureRow:
    values = [nan] * len(FEATURE_NAMES)
    for feature, value in features.items():
        values[FEATURE_INDEX[feature]] = value
    fields = {
        "exchange": "binance", "instrument": name, "timeframe": "1h", "open_time": AS_OF - HOUR,
        "close_time": AS_OF, "available_at": AS_OF, "close": 10.0, "values": tuple(values),
        "version": FEATURE_VERSION, "is_closed": True, "last_receive_time": AS_OF,
    }  # fmt: skip
    return FeatureRow(**(fields | more))


def full(level: float) -> dict[str, float]:
    return {factor.feature: level for factor in FACTORS}


def mood(name: str, score: float | None, texts: int = 10, **more) -> SentimentAggregate:
    fields = {
        "instrument": name, "window": "1d", "as_of": AS_OF, "score": score, "dispersion": 0.1,
        "bullish": texts, "bearish": 0, "neutral": 0, "weight": 1.0, "model": "lexicon-1",
    }  # fmt: skip
    return SentimentAggregate(**(fields | more))


def ranked(rows, aggregates=(), **more):
    arguments = {"as_of": AS_OF, "config": CONFIG, "weights": WEIGHTS, "feed": {}, "sequence": 7}
    by_name = {aggregate.instrument: aggregate for aggregate in aggregates}
    return rank(rows, by_name, **(arguments | more))


def test_robust_z_of_two_is_plus_and_minus_two_thirds():
    assert robust_z([3.0, 1.0]) == [
        pytest.approx(0.67449, abs=1e-5),
        pytest.approx(-0.67449, abs=1e-5),
    ]


def test_robust_z_with_more_than_half_equal_uses_the_mean_deviation():
    assert robust_z([1.0, 1.0, 1.0, 0.0, 2.0]) == [
        0,
        0,
        0,
        -1 / (1.2533 * 2 / 5),
        1 / (1.2533 * 2 / 5),
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2.0], [0.0]), ([4.0, 4.0], [0.0, 0.0]), ([None, nan], [None, None]), ([], [])],
)
def test_robust_z_without_spread_is_zero_and_missing_stays_missing(values, expected):
    assert robust_z(values) == expected


@given(st.lists(st.floats(-1e100, 1e100), min_size=1), st.randoms())
def test_robust_z_is_bounded_and_follows_its_value_wherever_it_stands(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    z = robust_z(values)
    assert robust_z([values[i] for i in order]) == [z[i] for i in order]
    assert all(-3.0 <= one <= 3.0 for one in z)


def test_nominal_weights_give_sentiment_exactly_its_share():
    nominal = nominal_weights(WEIGHTS, 0.2)
    assert nominal["sentiment"] == 0.2
    assert list(nominal) == [*USED, "sentiment"]
    assert sum(map(abs, nominal.values())) == pytest.approx(1.0, abs=1e-12)


def test_two_markets_that_differ_in_one_factor_get_its_weight():
    base = full(1.0)
    result = ranked([row("A-USD", base | {"realised_volatility_168": 9.0}), row("B-USD", base)])
    weight = nominal_weights(WEIGHTS, 0.2)["volatility_168"] / 0.8  # sentiment is missing
    z = 0.5 / (1.4826 * 0.5)
    best, worst = result.signals
    assert (best.instrument, best.rank, worst.rank) == ("B-USD", 1, 2)
    assert best.score == pytest.approx(-weight * z / 3)
    assert worst.score == pytest.approx(weight * z / 3)
    assert (best.percentile, worst.percentile) == (100.0, 50.0)
    assert (best.direction, worst.direction) == ("neutral", "neutral")  # |score| is below 0.05
    assert best.coverage.missing == ("sentiment",)
    assert best.coverage.redistributed_weight == 0.2
    assert (best.horizon, best.expires_at, best.reference_price) == ("24h", AS_OF + 24 * HOUR, 10.0)
    assert best.model == "linear-spot_1h_2021_2023"


def test_sentiment_with_everything_keeps_its_configured_weight():
    result = ranked(
        [row("A-USD", full(1.0)), row("B-USD", full(1.0))], [mood("A-USD", 0.9), mood("B-USD", 0.0)]
    )
    part = result.signals[0].contributions[-1]
    assert (part.factor, part.value, part.weight) == ("sentiment", 0.9 * 10 / 15, 0.2)
    assert result.signals[0].coverage.redistributed_weight == 0.0


def test_missing_sentiment_is_null_and_present_neutral_is_zero():
    result = ranked(
        [row(f"{n}-USD", full(1.0)) for n in "ABC"],
        [mood("A-USD", 0.0), mood("B-USD", 0.0), mood("C-USD", None, 0)],
    )
    parts = {s.instrument: s.contributions[-1] for s in result.signals}
    assert (parts["A-USD"].value, parts["A-USD"].z) == (0.0, 0.0)
    assert (parts["C-USD"].value, parts["C-USD"].z, parts["C-USD"].weight) == (None, None, 0.0)


def test_aggregate_from_the_future_or_past_its_window_is_missing():
    rows = [row("A-USD", full(1.0)), row("B-USD", full(2.0))]
    moods = [mood("A-USD", 0.5, as_of=AS_OF + 1), mood("B-USD", 0.5, as_of=AS_OF - 24 * HOUR)]
    assert [s.contributions[-1].value for s in ranked(rows, moods).signals] == [None, None]


def test_market_without_any_factor_stays_in_the_universe_unranked():
    result = ranked([row("A-USD", full(1.0)), row("B-USD", full(2.0)), row("C-USD", {})])
    assert result.universe == ("A-USD", "B-USD", "C-USD")
    assert {s.instrument for s in result.signals} == {"A-USD", "B-USD"}


def test_universe_below_the_least_gives_no_signal():
    assert ranked([row("A-USD", full(1.0)), row("B-USD", {})]).signals == ()
    assert ranked([]).universe == ()


def test_ties_are_broken_by_name():
    result = ranked([row("B-USD", full(1.0)), row("A-USD", full(1.0))])
    assert [s.instrument for s in result.signals] == ["A-USD", "B-USD"]
    assert [s.percentile for s in result.signals] == [100.0, 100.0]


def test_signal_id_is_that_of_the_bar_and_of_nothing_else():
    rows = [row("A-USD", full(1.0)), row("B-USD", full(2.0))]
    ids = {s.instrument: s.signal_id for s in ranked(rows).signals}
    assert {s.instrument: s.signal_id for s in ranked(rows, as_of=AS_OF + 5).signals} == ids
    previews = [msgspec.structs.replace(one, is_closed=False) for one in rows]
    first = {s.signal_id for s in ranked(previews).signals}
    second = {s.signal_id for s in ranked(previews, as_of=AS_OF + 5).signals}
    assert not first & second
    assert not first & set(ids.values())


def test_data_age_is_measured_from_the_newest_event():
    rows = [row(f"{n}-USD", full(1.0), last_receive_time=AS_OF - 9_000_000) for n in "AB"]
    feed = {Market("binance", "A-USD"): FeedHealth(AS_OF - 2_000_000, is_complete=False)}
    signals = {s.instrument: s for s in ranked(rows, feed=feed).signals}
    assert (signals["A-USD"].data_age_ms, signals["B-USD"].data_age_ms) == (2, 9)
    assert not signals["A-USD"].coverage.feed_complete
    assert signals["A-USD"].confidence_parts.freshness < 0.5
    assert signals["B-USD"].confidence_parts.freshness > 0.99
    assert "open gap or is stale" in signals["A-USD"].rationale[-1]


@pytest.mark.parametrize(
    "change",
    [{"timeframe": "1m"}, {"version": "other"}, {"instrument": "A-USD"}, {"values": (1.0,)}],
)
def test_rows_that_do_not_belong_together_are_refused(change):
    with pytest.raises(ValueError, match=r"ranking|catalogue"):
        ranked(
            [row("A-USD", full(1.0)), msgspec.structs.replace(row("B-USD", full(1.0)), **change)]
        )


def test_aggregate_of_another_window_is_refused():
    with pytest.raises(ValueError, match="sentiment_window"):
        ranked([row("A-USD", full(1.0))], [mood("A-USD", 0.1, window="1h")])


maybe = st.one_of(st.just(nan), st.floats(-1e6, 1e6))
universes = st.lists(
    st.tuples(
        st.lists(maybe, min_size=len(FACTORS), max_size=len(FACTORS)),
        st.one_of(st.none(), st.floats(-1, 1)),
        st.integers(0, 30),
    ),
    min_size=2,
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(universes, st.floats(0, 1), st.randoms())
def test_ranking_keeps_its_laws(universe, share, random):
    rows, moods = [], []
    for index, (values, score, texts) in enumerate(universe):
        features = {f.feature: v for f, v in zip(FACTORS, values, strict=True)}
        rows.append(row(f"C{index}-USD", features))
        moods.append(mood(f"C{index}-USD", score, texts))
    config = RankingConfig(sentiment_share=share)
    result = ranked(rows, moods, config=config)
    nominal = nominal_weights(WEIGHTS, share)
    for signal in result.signals:
        assert signal.score == sum(part.contribution for part in signal.contributions)
        assert abs(signal.score) <= 1.0
        assert 0.0 <= signal.confidence <= 1.0
        assert 3 <= len(signal.rationale) <= 6
        present = [p for p in signal.contributions if p.z is not None]
        assert sum(abs(p.weight) for p in present) == pytest.approx(1.0, abs=1e-9)
        lost = sum(abs(nominal[name]) for name in signal.coverage.missing)
        assert signal.coverage.redistributed_weight == pytest.approx(lost, abs=1e-12)
        for part in present:
            kept = 1.0 - lost
            assert part.weight * kept == pytest.approx(nominal[part.factor], abs=1e-9)
    assert [s.rank for s in result.signals] == list(range(1, len(result.signals) + 1))
    scores = [s.score for s in result.signals]
    assert scores == sorted(scores, reverse=True)
    random.shuffle(rows)
    random.shuffle(moods)
    assert ranked(rows, moods, config=config) == result


def test_rationale_reads_as_written_down():
    rows = [row(f"{n}-USD", full(1.0) | {"return_168": r, "realised_volatility_168": v})
            for n, r, v in [("A", 0.3, 90.0), ("B", 0.1, 50.0), ("C", -0.2, 20.0)]]  # fmt: skip
    moods = [mood("A-USD", 0.1), mood("B-USD", 0.2), mood("C-USD", 0.8, 4, bearish=1)]
    best = ranked(rows, moods).signals[0]
    assert best.instrument == "C-USD"
    assert best.rationale[1].startswith(
        "Lifted by warmer texts than most (+0.40, 2.7 robust deviations above the median, +0.180); "
        "calmer trading over the last 7 days than most (20 bps, 0.7 robust deviations below the "
        "median, "
    )
    assert best.rationale[2] == "Held down by nothing."
    assert best.rationale[3] == (
        "5 texts in the last 1d: 4 bullish, 1 bearish, 0 neutral; weighted score +0.80."
    )


def test_confidence_parts_match_the_matrix():
    assert confidence.agreement([0.3, -0.1]) == pytest.approx(0.5)
    assert confidence.agreement([0.0]) == 0.0
    assert confidence.freshness(360_000, Timeframe.H1, feed_complete=True) == 0.5
    assert confidence.freshness(10_000, Timeframe.M1, feed_complete=False) == 0.25
    assert confidence.liquidity(2.0, [1.0, 2.0, 3.0]) == 0.75
    assert confidence.liquidity(None, [1.0]) == confidence.stability(None, [1.0]) == 0.25
    assert confidence.stability(3.0, [1.0, 2.0, 3.0]) == 0.5
    assert sum(confidence.EXPONENTS.values()) == pytest.approx(1.0)


def test_every_factor_reads_a_feature_and_every_timeframe_has_a_horizon():
    assert {factor.feature for factor in FACTORS} <= set(FEATURE_NAMES)
    assert len(FACTORS_BY_NAME) == len(FACTORS)
    assert set(HORIZONS) == set(Timeframe)


def test_shipped_weights_account_for_every_factor():
    assert set(USED) | set(WEIGHTS.unestimated) == set(FACTORS_BY_NAME)
    assert WEIGHTS.out_of_sample_ic > 0


def test_weights_with_an_unknown_name_are_refused_naming_the_known():
    with pytest.raises(ConfigError, match="spot_1h_2021_2023"):
        load_weights("nope")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["factors"][0].update(weight=9.0), "sum to"),
        (lambda t: t["factors"][0].update(factor="luck"), "luck"),
        (lambda t: t.update(extra=1), "extra"),
        (lambda t: t["factors"].append(t["factors"][0]), "twice"),
    ],
)
def test_weights_that_are_wrong_are_refused(tmp_path, change, message):
    tree = msgspec.to_builtins(WEIGHTS)
    tree["factors"] = list(tree["factors"])
    change(tree)
    (tmp_path / "bad.json").write_bytes(msgspec.json.encode(tree))
    with pytest.raises(ConfigError, match=message):
        load_weights("bad", tmp_path)
