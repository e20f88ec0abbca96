"""Events of sentiment: told once each, in the order of time, and after a restart too."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.clock import NS_PER_S
from engine.domain.sentiment import SentimentAggregate, Window
from engine.sentiment.events import EventDetector, EventMemory, alert_of, side_of
from engine.settings.sentiment_events import SentimentEventsConfig

HOUR = 3_600 * NS_PER_S
RULES = SentimentEventsConfig(
    flip_windows=(Window.H1,),
    flip_band=0.15,
    flip_weight=1.0,
    spike_windows=(Window.H1,),
    spike_surprise=3.0,
    cooldown_windows=3.0,
)
QUIET = 0.0


def row(hour, score=None, *, surprise=None, volume=9, weight=2.0, about="BTC-USDT", window="1h"):
    return SentimentAggregate(
        about, window, hour * HOUR, score, None, 0, 0, 0, weight, "m",
        volume=volume, surprise=surprise,
    )  # fmt: skip


def told(rows, rules=RULES):
    return [
        (event.kind, event.instrument, event.as_of // HOUR, event.direction)
        for event in EventDetector(rules).observe(rows)
    ]


def test_flip_is_told_when_the_score_takes_the_other_side_beyond_the_band():
    scores = [0.3, 0.1, -0.1, -0.149, -0.15, -0.4, 0.1]
    assert told([row(n, score) for n, score in enumerate(scores)]) == [
        ("sentiment_flip", "BTC-USDT", 4, "bearish")
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [row(0, 0.9)],
        [row(0, 0.3), row(1, None), row(2, 0.3)],
        [row(0, 0.3), row(1, -0.9, weight=0.99)],
        [row(0, 0.3, window="4h"), row(1, -0.3, window="4h")],
        [row(0, 0.3), row(1, -0.3, about="ETH-USDT")],
    ],
    ids=["first side", "silence between", "too little weight", "window not watched", "another's"],
)
def test_flip_is_not_told(rows):
    assert told(rows) == []


def test_flip_within_the_cool_down_is_told_when_it_is_over_if_it_still_stands():
    scores = [0.3, -0.3, 0.3, 0.3, 0.3, 0.3]
    assert told([row(n, score) for n, score in enumerate(scores)]) == [
        ("sentiment_flip", "BTC-USDT", 1, "bearish"),
        ("sentiment_flip", "BTC-USDT", 4, "bullish"),
    ]
    back = [0.3, -0.3, 0.3, -0.3, -0.3, -0.3]
    assert len(told([row(n, score) for n, score in enumerate(back)])) == 1


def test_spike_is_told_once_until_the_volume_has_rested():
    surprises = [QUIET, 3.0, 9.0, 2.0, 9.0, 0.99, 1.5, 3.1]
    assert told([row(n, surprise=each) for n, each in enumerate(surprises)]) == [
        ("mention_spike", "BTC-USDT", 1, None),
        ("mention_spike", "BTC-USDT", 7, None),
    ]


def test_spike_after_a_rest_waits_for_the_cool_down():
    surprises = [3.0, QUIET, 3.0, 3.0]
    assert [each[2] for each in told([row(n, surprise=s) for n, s in enumerate(surprises)])] == [
        0,
        3,
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [row(0, surprise=2.999)],
        [row(0, surprise=9.0, volume=4)],
        [row(0, surprise=None, volume=50)],
        [row(0, surprise=9.0, volume=None)],
        [row(0, surprise=9.0, window="1d")],
    ],
    ids=["not enough", "too few texts", "no past", "not counted", "window not watched"],
)
def test_spike_is_not_told(rows):
    assert told(rows) == []


def test_alert_says_in_words_what_happened():
    flip, spike = EventDetector(RULES).observe(
        [row(0, 0.3), row(1, -0.31), row(2, None, surprise=4.26, volume=42)]
    )
    assert alert_of(flip).message == "BTC-USDT: sentiment over 1h turned bearish (score -0.31)"
    assert alert_of(spike).message == (
        "BTC-USDT: 42 texts in 1h, 4.3 standard deviations more than usual"
    )
    assert alert_of(spike).kind == "mention_spike"
    assert (alert_of(flip).alert_id, alert_of(flip).raised_at) == (flip.event_id, HOUR)
    assert len({flip.event_id, spike.event_id}) == 2


def remembered(rows, events, before):
    """What the store would tell of the time before a moment, from its definition."""
    past = [each for each in rows if each.as_of < before]
    last = {(e.kind, e.instrument, e.window): e for e in events if e.as_of < before}
    flipped = {key[1:] for key in last if key[0] == "sentiment_flip"}
    sides, rests = {}, {}
    for each in past:
        key = (each.instrument, each.window)
        if key not in flipped and side_of(each, RULES):
            sides.setdefault(key, each)
        spike = last.get(("mention_spike", *key))
        is_at_rest = each.surprise is not None and each.surprise < RULES.spike_rest
        if spike is not None and each.as_of > spike.as_of and is_at_rest:
            rests.setdefault(key, each)
    return EventMemory(list(last.values()), list(sides.values()), list(rests.values()))


SERIES = st.lists(
    st.tuples(
        st.sampled_from([None, -0.6, -0.1, 0.0, 0.1, 0.6]),
        st.sampled_from([None, QUIET, 1.5, 3.0, 6.0]),
        st.sampled_from([0.5, 2.0]),
        st.sampled_from([3, 9]),
        st.sampled_from(["BTC-USDT", "ETH-USDT"]),
    ),
    max_size=40,
)


@given(SERIES, st.integers(0, 40))
def test_detector_started_again_goes_on_as_if_it_had_run_through(series, cut):
    rows = [
        row(n, score, surprise=surprise, weight=weight, volume=volume, about=about)
        for n, (score, surprise, weight, volume, about) in enumerate(series)
    ]
    events = EventDetector(RULES).observe(rows)
    before = cut * HOUR
    again = EventDetector(RULES, remembered(rows, events, before))
    later = again.observe(each for each in rows if each.as_of >= before)
    assert later == [event for event in events if event.as_of >= before]


@given(SERIES)
def test_events_keep_the_cool_down_and_flips_alternate(series):
    rows = [row(n, score, surprise=surprise) for n, (score, surprise, *_) in enumerate(series)]
    events = EventDetector(RULES).observe(rows)
    for kind in ("sentiment_flip", "mention_spike"):
        times = [event.as_of for event in events if event.kind == kind]
        gaps = [after - before for before, after in pairwise(times)]
        assert all(gap >= 3 * HOUR for gap in gaps)
    sides = [event.direction for event in events if event.kind == "sentiment_flip"]
    assert all(before != after for before, after in pairwise(sides))


def test_rules_rest_at_or_above_the_spike_is_refused():
    with pytest.raises(ValidationError, match="is not below spike_surprise"):
        SentimentEventsConfig(spike_rest=3.0)
