"""Who belongs to the universe at a bar: laws that no later event may break."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.instrument import Market
from engine.features.universe import (
    Member,
    belongs,
    first_of_each_coin,
    in_order,
    reference_at,
)

BTC = Market("binance", "BTC-USDT")
OTHER_BTC = Market("kraken", "BTC-USD")
ETH = Market("binance", "ETH-USDT")
LUNA = Market("binance", "LUNA-USDT")
LUNA_2 = Market("binance", "LUNA~2-USDT")


def test_in_order_has_the_configured_first_and_the_others_by_name():
    markets = [OTHER_BTC, BTC, LUNA, ETH]
    assert in_order(markets, []) == [BTC, ETH, LUNA, OTHER_BTC]
    assert in_order(markets, [OTHER_BTC, LUNA_2, ETH]) == [OTHER_BTC, ETH, BTC, LUNA]


def test_belongs_of_a_quiet_market_is_over_after_the_silence():
    bars = np.arange(10)
    marks = belongs(Member(BTC, 0), bars, np.array([0, 2, 8]), 3, 1)
    assert np.flatnonzero(~marks).tolist() == [6, 7]


def test_belongs_of_a_delisted_market_ends_there_but_for_its_candles():
    bars = np.arange(6)
    marks = belongs(Member(BTC, 0, delisted_at=2), bars, np.array([0, 1, 4]), 100, 1)
    assert marks.tolist() == [True, True, False, False, True, False]


def test_belongs_of_a_delisting_found_later_ends_where_it_was_known():
    bars = np.arange(6)
    marks = belongs(Member(BTC, 0, delisted_at=1, known_at=4), bars, np.array([0]), 100, 1)
    assert marks.tolist() == [True, True, True, False, False, False], "bar 3 closes at 4"
    early = belongs(Member(BTC, 0, delisted_at=4, known_at=1), bars, np.array([0]), 100, 1)
    assert early.tolist() == [True] * 4 + [False] * 2, "it was announced"


@given(
    times=st.sets(st.integers(0, 40), min_size=1),
    delisted=st.none() | st.integers(0, 50),
    known_at=st.integers(0, 50),
    silence=st.integers(0, 20),
    moment=st.integers(0, 40),
)
def test_belongs_is_not_changed_by_what_comes_later(times, delisted, known_at, silence, moment):
    candles = np.array(sorted(times))
    bars = np.arange(int(candles[0]), 41)
    first = int(candles[0])
    whole = belongs(Member(BTC, first, delisted, known_at), bars, candles, silence, 1)
    known = candles[candles <= moment]
    if not len(known):
        return
    then = bars[bars <= moment]
    is_known = delisted is not None and delisted <= moment and known_at <= moment + 1
    cut = belongs(
        Member(BTC, first, delisted if is_known else None, known_at), then, known, silence, 1
    )
    assert cut.tolist() == whole[: len(then)].tolist()


def test_first_of_each_coin_gives_way_where_the_first_is_not_there():
    marks = first_of_each_coin(
        [BTC, LUNA, OTHER_BTC, LUNA_2], [np.array([3, 4]), *[np.array([2, 3, 4, 5])] * 3]
    )
    assert [each.tolist() for each in marks] == [
        [True, True],
        [True] * 4,
        [True, False, False, True],
        [True] * 4,
    ]


def test_reference_is_the_configured_market_else_the_one_that_was_there_first():
    early, late = Member(OTHER_BTC, 5), Member(BTC, 50)
    assert reference_at([late, early], "BTC", 10, []) == OTHER_BTC
    assert reference_at([late, early], "BTC", 60, []) == BTC
    assert reference_at([late, early], "BTC", 0, []) == OTHER_BTC
    assert reference_at([late, early], "BTC", 10, [ETH, BTC]) == BTC
    assert reference_at([early], "BTC", 10, [BTC]) == OTHER_BTC
    assert reference_at([Member(ETH, 0)], "BTC", 10, []) is None


@given(
    opens=st.lists(st.integers(0, 100), min_size=1, max_size=5),
    start=st.integers(0, 100),
    moment=st.integers(0, 100),
)
def test_reference_is_not_changed_by_a_market_that_begins_later(opens, start, moment):
    members = [Member(Market(f"v{n}", "BTC-USD"), first) for n, first in enumerate(opens)]
    known = [member for member in members if member.first_open <= max(start, moment)]
    chosen = reference_at(members, "BTC", start, [])
    if known:
        assert reference_at(known, "BTC", start, []) == chosen
