import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import NS_PER_S
from engine.domain.sentiment import Window
from engine.sentiment.aggregate import Aggregator, ScoredText, aggregate

NOW = 1_700_000_000 * NS_PER_S
HOUR = 3_600 * NS_PER_S


def text(number, age_ns, score=0.5, *, about=("BTC-USDT",), credibility=1.0, engagement=0.0):
    label = "bullish" if score > 0 else "bearish" if score < 0 else "neutral"
    return ScoredText(f"t{number}", about, NOW - age_ns, score, label, credibility, engagement)


TEXTS = st.lists(
    st.builds(
        text,
        st.integers(0, 30),
        st.integers(-HOUR, 9 * 24 * HOUR),
        st.floats(-1, 1),
        about=st.sampled_from([("BTC-USDT",), ("ETH-USDT", "BTC-USDT"), ()]),
        credibility=st.floats(0, 1),
        engagement=st.floats(0, 1e6),
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
    assert len(aggregator) == 0
    assert not aggregator.add(text(1, 0))


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
