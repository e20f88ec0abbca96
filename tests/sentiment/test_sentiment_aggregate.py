import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.clock import NS_PER_S
from engine.domain.sentiment import SentimentScore, TargetScore, Window
from engine.domain.text import TextItem
from engine.sentiment.aggregate import ScoredText, aggregate
from engine.sentiment.aggregator import Aggregator, reach_of
from engine.sentiment.mention_volume import TRAILING, surprise, volumes

NOW = 1_700_000_000 * NS_PER_S
HOUR = 3_600 * NS_PER_S
MINUTE = 60 * NS_PER_S


def label_of(score):
    if score is None:
        return None
    return "bullish" if score > 0 else "bearish" if score < 0 else "neutral"


def text(
    number, age_ns, score=0.5, *, about=("BTC-USDT",), credibility=1.0, engagement=0.0, apart=None
):
    targets = [TargetScore(name, value, label_of(value)) for name, value in (apart or {}).items()]
    return ScoredText(
        f"t{number}", about, NOW - age_ns, score, label_of(score), credibility, engagement,
        tuple(targets),
    )  # fmt: skip


TEXTS = st.lists(
    st.builds(
        text,
        st.integers(0, 30),
        st.integers(-HOUR, 9 * 24 * HOUR) | st.integers(0, 70 * 24 * HOUR),
        st.floats(-1, 1) | st.none(),
        about=st.sampled_from([("BTC-USDT",), ("ETH-USDT", "BTC-USDT"), ()]),
        credibility=st.floats(0, 1),
        engagement=st.floats(0, 1e6),
        apart=st.none() | st.fixed_dictionaries({"BTC-USDT": st.floats(-1, 1) | st.none()}),
    ),
    max_size=25,
    unique_by=lambda made: made.text_id,
)


def test_aggregate_two_texts_weighs_as_documented():
    texts = [
        text(1, HOUR // 2, 1.0, credibility=0.5, engagement=math.e - 1),
        text(2, 0, -0.5),
    ]
    result = aggregate(texts, "BTC-USDT", Window.H1, NOW, model="m")
    # 0.5 x (1 + ln e) x 2^-1 = 0.5, and 1.
    assert result.weight == pytest.approx(1.5, abs=1e-12)
    assert result.score == pytest.approx(0.0, abs=1e-12)
    assert result.dispersion == pytest.approx(math.sqrt((0.5 * 1 + 1 * 0.25) / 1.5), abs=1e-12)
    assert (result.bullish, result.bearish, result.neutral) == (1, 1, 0)


def test_aggregate_window_is_open_at_its_start_and_closed_at_its_end():
    texts = [text(1, HOUR), text(2, HOUR - 1), text(3, 0), text(4, -1)]
    assert aggregate(texts, "BTC-USDT", Window.H1, NOW, model="m").mentions == 2


@pytest.mark.parametrize("texts", [[], [text(1, 0, credibility=0.0)], [text(1, 0, about=())]])
def test_aggregate_nothing_that_counts_is_none(texts):
    result = aggregate(texts, "BTC-USDT", Window.D1, NOW, model="m")
    assert (result.score, result.dispersion, result.mentions, result.weight) == (None, None, 0, 0)
    assert (result.volume, result.coverage) == (0, None)
    assert (result.surprise, result.momentum) == (None, None)


def test_aggregate_repeated_text_counts_once():
    once = [text(1, 0, 0.25)]
    twice = [*once, text(1, 0, 0.75)]
    assert aggregate(twice, "BTC-USDT", Window.H1, NOW, model="m") == aggregate(
        once, "BTC-USDT", Window.H1, NOW, model="m"
    )


@given(TEXTS, st.randoms())
def test_aggregate_any_order_gives_the_same_bits(texts, random):
    shuffled = list(texts)
    random.shuffle(shuffled)
    for window in Window:
        assert aggregate(texts, "BTC-USDT", window, NOW, model="m") == aggregate(
            shuffled, "BTC-USDT", window, NOW, model="m"
        )


@given(TEXTS, st.lists(st.integers(0, 48 * HOUR), max_size=3))
def test_aggregator_fed_in_any_steps_gives_the_pure_functions_bits(texts, earlier):
    aggregator = Aggregator("m", instruments=["BTC-USDT", "ETH-USDT"])
    steps = sorted(NOW - step for step in earlier)
    fed = sorted(texts, key=lambda made: made.available_at)
    for moment in [*steps, NOW]:
        while fed and fed[0].available_at <= moment:
            aggregator.add(fed.pop(0))
        answers = aggregator.aggregates(moment)
        assert answers == [
            aggregate(texts, instrument, window, moment, model="m")
            for instrument in ("BTC-USDT", "ETH-USDT")
            for window in Window
        ]


def test_aggregator_expired_text_leaves_none_and_is_forgotten():
    aggregator = Aggregator("m")
    assert aggregator.add(text(1, 0))
    assert not aggregator.add(text(1, 0))
    later = NOW + Window.W1.ns + 2 * HOUR
    answers = aggregator.aggregates(later)
    assert [(one.instrument, one.score) for one in answers] == [("BTC-USDT", None)] * 4
    assert len(aggregator) == 1, "its time still tells what is usual"
    aggregator.aggregates(NOW + reach_of() + 2 * HOUR)
    assert len(aggregator) == 0
    assert not aggregator.add(text(1, 0))


def test_aggregator_forgets_scores_when_no_momentum_reaches_them():
    aggregator = Aggregator("m", windows=[Window.H1])
    aggregator.add(text(1, 0, 0.5))
    (then,) = aggregator.aggregates(NOW + 90 * MINUTE)
    assert (then.score, then.volume) == (None, 0)
    aggregator.add(text(2, -60 * MINUTE, 0.75))
    (soon,) = aggregator.aggregates(NOW + 90 * MINUTE)
    assert (soon.score, soon.momentum) == (0.75, 0.25)


def test_aggregator_time_too_far_back_is_refused():
    aggregator = Aggregator("m")
    aggregator.aggregates(NOW)
    assert aggregator.aggregates(NOW - HOUR) == []
    with pytest.raises(ValueError, match="more than an hour before"):
        aggregator.aggregates(NOW - HOUR - 1)


def test_aggregator_full_drops_the_oldest_and_counts_it():
    aggregator = Aggregator("m", max_texts=2)
    for number, age in ((1, 30), (2, 20), (3, 10)):
        aggregator.add(text(number, age))
    assert (len(aggregator), aggregator.dropped) == (2, 1)
    assert aggregator.aggregates(NOW)[0].mentions == 2


def test_aggregate_text_that_could_not_be_read_counts_in_volume_and_coverage_alone():
    texts = [text(1, 0, 0.5), text(2, 0, None), text(3, 0, None), text(4, 0, -0.5)]
    result = aggregate(texts, "BTC-USDT", Window.H1, NOW, model="m")
    assert (result.volume, result.coverage, result.mentions) == (4, 0.5, 2)
    assert (result.score, result.weight) == (0.0, 2.0)
    unread = aggregate(texts[1:3], "BTC-USDT", Window.H1, NOW, model="m")
    assert (unread.volume, unread.coverage, unread.score) == (2, 0.0, None)


def test_aggregate_momentum_is_the_score_less_the_one_a_window_earlier():
    texts = [text(1, 0, 0.75), text(2, HOUR, 0.25), text(3, 2 * HOUR - 1, -0.25)]
    result = aggregate(texts, "BTC-USDT", Window.H1, NOW, model="m")
    before = aggregate(texts, "BTC-USDT", Window.H1, NOW - HOUR, model="m")
    assert before.mentions == 2
    assert result.momentum == result.score - before.score
    assert aggregate(texts[:1], "BTC-USDT", Window.H1, NOW, model="m").momentum is None
    assert aggregate(texts[1:], "BTC-USDT", Window.H1, NOW, model="m").momentum is None


def hourly(counts):
    """Texts about BTC, so many in each hour back from now."""
    return [
        text(f"{hour}-{number}", hour * HOUR + number)
        for hour, count in enumerate(counts)
        for number in range(count)
    ]


def test_aggregate_surprise_measures_log_volume_against_the_windows_before():
    counts = [20, *[1, 3] * 30]
    result = aggregate(hourly(counts), "BTC-USDT", Window.H1, NOW, model="m")
    low, high = math.log(2), math.log(4)
    mean = (low + high) / 2
    deviation = max((high - low) / 2, math.exp(-mean / 2))
    assert result.surprise == pytest.approx((math.log(21) - mean) / deviation, rel=1e-12)
    assert result.volume == 20


def test_aggregate_surprise_never_looks_beyond_its_windows_or_into_the_future():
    counts = [20, *[2] * 168]
    texts = hourly(counts)
    result = aggregate(texts, "BTC-USDT", Window.H1, NOW, model="m")
    others = [text(f"old-{n}", 169 * HOUR + n) for n in range(50)]
    others += [text(f"new-{n}", -1 - n) for n in range(50)]
    assert aggregate(texts + others, "BTC-USDT", Window.H1, NOW, model="m") == result


def test_aggregate_surprise_without_enough_past_is_none():
    fewest = TRAILING[Window.H1].fewest
    enough = aggregate(hourly([1] * (fewest + 1)), "BTC-USDT", Window.H1, NOW, model="m")
    few = aggregate(hourly([1] * fewest), "BTC-USDT", Window.H1, NOW, model="m")
    assert (enough.surprise, few.surprise) == (0.0, None)


def test_aggregate_surprise_after_an_hour_in_which_nothing_was_read_is_none():
    counts = [9, 0, *[2] * 100]
    heard = [text("other", HOUR + 1, about=("ETH-USDT",))]
    away = aggregate(hourly(counts), "BTC-USDT", Window.H1, NOW, model="m")
    quiet = aggregate(hourly(counts) + heard, "BTC-USDT", Window.H1, NOW, model="m")
    assert away.surprise is None, "perhaps nobody was listening"
    assert quiet.surprise > 2, "somebody was: a text about another came in"


def test_volumes_windows_are_open_at_their_start_and_closed_at_their_end():
    counted = volumes([NOW - 2 * HOUR, NOW - HOUR, NOW - HOUR + 1, NOW, NOW + 1], Window.H1, NOW)
    assert counted[:4] == [2, 1, 1, 0]
    assert len(counted) == TRAILING[Window.H1].most + 1


@given(st.lists(st.integers(0, 10**6), min_size=9, max_size=9))
def test_surprise_is_finite_and_grows_with_the_volume(counts):
    every = [count + 1 for count in counts]
    found = surprise(counts, every, 4)
    more = surprise([counts[0] + 1, *counts[1:]], [every[0] + 1, *every[1:]], 4)
    assert math.isfinite(found)
    assert more > found


def test_aggregate_takes_what_a_text_feels_about_its_own_instrument():
    both = ("ETH-USDT", "BTC-USDT", "SOL-USDT")
    apart = {"ETH-USDT": 0.5, "BTC-USDT": None}
    texts = [text(1, 0, -0.25, about=both, apart=apart), text(2, 0, -1.0, about=both)]
    found = {name: aggregate(texts, name, Window.H1, NOW, model="m") for name in both}
    assert {name: each.score for name, each in found.items()} == {
        "ETH-USDT": -0.25,
        "BTC-USDT": -1.0,
        "SOL-USDT": -0.625,
    }
    assert [found["ETH-USDT"].bullish, found["ETH-USDT"].bearish] == [1, 1]
    assert (found["BTC-USDT"].volume, found["BTC-USDT"].coverage) == (2, 0.5)


def test_aggregate_a_text_given_as_a_copy_weighs_nothing():
    item = TextItem("a", "wire", "news", "x", "", "", "", NOW, NOW, 3.0, 0.5, ("BTC-USDT",))
    copy = replace(item, text_id="b", duplicate_of="a")
    score = SentimentScore("a", "m", 0.5, 0.1, 0.3, 0.6, "bullish", 0.6, NOW)
    texts = [ScoredText.of(item, score), ScoredText.of(copy, replace(score, text_id="b"))]
    result = aggregate(texts, "BTC-USDT", Window.H1, NOW, model="m")
    assert (result.volume, result.mentions) == (1, 1)
    assert ScoredText.of(item, None).score is None
    with pytest.raises(ValueError, match="score of text a given for text b"):
        ScoredText.of(copy, score)
