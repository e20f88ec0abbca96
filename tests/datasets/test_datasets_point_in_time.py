"""The join of a training set: what was known when, and nothing that was not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import NS_PER_S
from engine.datasets.columns import dataset_columns, dataset_schema
from engine.datasets.point_in_time import NOTHING, newest_known
from engine.datasets.request import DatasetRequest
from engine.datasets.rows import TICK_MAX_AGE_NS, Facts, perpetual_of, training_rows
from engine.domain.instrument import Market

HOUR = 3_600 * NS_PER_S
TIME = pa.timestamp("ns", "UTC")
BTC = Market("binance", "BTC-USDT")
REQUEST = DatasetRequest(
    timeframe="1h",
    exchange="",
    instruments=(),
    begin=0,
    end=100 * HOUR,
    watermark=100 * HOUR,
    features=("rsi_14",),
    feature_version="v",
    horizons=("24h",),
    label_version="l",
    sentiment_window="1h",
    sentiment_model="m-1",
    mood_series=("fear_greed", "vix"),
)

moments = st.integers(0, 60)
facts_of_markets = st.lists(st.tuples(moments, st.integers(0, 2)), max_size=25)
questions = st.lists(st.tuples(moments, st.integers(0, 2)), min_size=1, max_size=12)


def ask(asked: list[tuple[int, int]], facts: list[tuple[int, int]], age: int | None = None
        ) -> list[int]:  # fmt: skip
    moment, key = np.array(asked, dtype=np.int64).reshape(-1, 2).T
    available, about = np.array(facts, dtype=np.int64).reshape(-1, 2).T
    return newest_known(moment, key.astype(np.intp), available, about.astype(np.intp), age).tolist()


@settings(deadline=None)
@given(questions, facts_of_markets, st.none() | st.integers(1, 30))
def test_newest_known_equals_a_look_at_every_fact(
    asked: list[tuple[int, int]], facts: list[tuple[int, int]], age: int | None
) -> None:
    for (moment, key), found in zip(asked, ask(asked, facts, age), strict=True):
        known = [
            (available, number)
            for number, (available, about) in enumerate(facts)
            if about == key and available <= moment and (age is None or moment - available < age)
        ]
        assert found == (max(known)[1] if known else NOTHING)


@settings(deadline=None)
@given(questions, facts_of_markets, st.data())
def test_fact_that_becomes_available_later_only_removes_information(
    asked: list[tuple[int, int]], facts: list[tuple[int, int]], data: st.DataObject
) -> None:
    delays = data.draw(st.lists(moments, min_size=len(facts), max_size=len(facts)))
    later = [(at + delay, key) for (at, key), delay in zip(facts, delays, strict=True)]
    for (moment, key), found in zip(asked, ask(asked, later), strict=True):
        known_before = {
            number for number, (at, about) in enumerate(facts) if about == key and at <= moment
        }
        assert found == NOTHING or found in known_before


@settings(deadline=None)
@given(questions, facts_of_markets, moments, st.integers(0, 2))
def test_fact_that_comes_late_changes_nothing_before_it_came(
    asked: list[tuple[int, int]], facts: list[tuple[int, int]], late: int, key: int
) -> None:
    before, after = ask(asked, facts), ask(asked, [*facts, (late, key)])
    for (moment, about), one, other in zip(asked, before, after, strict=True):
        if moment < late or about != key:
            assert one == other


def test_nothing_is_known_where_there_are_no_facts() -> None:
    assert ask([(5, 0)], []) == [NOTHING]


def test_of_two_facts_of_one_moment_the_later_in_order_counts() -> None:
    assert ask([(5, 0)], [(5, 0), (3, 0), (5, 0)]) == [2]


# Rows


def times(*hours: float) -> pa.Array:
    return pa.array([int(hour * HOUR) for hour in hours]).cast(TIME)


def bars(*known_at: float, market: Market = BTC) -> pa.Table:
    """Bars that open an hour before they are known, rounded down to the hour."""
    opened = [int(hour) - 1 for hour in known_at]
    return pa.table(
        {
            "exchange": [market.exchange] * len(opened),
            "instrument": [market.instrument] * len(opened),
            "open_time": times(*opened),
            "close_time": times(*(hour + 1 for hour in opened)),
            "available_at": times(*known_at),
            "close": [100.0] * len(opened),
            "rsi_14": pa.array([50.0] * len(opened)),
        }
    )


def aggregates(*as_of: float, instrument: str = "BTC-USDT") -> pa.Table:
    return pa.table(
        {
            "instrument": pa.array([instrument] * len(as_of), pa.string()),
            "as_of": times(*as_of),
            "sentiment_score": pa.array([hour / 100 for hour in as_of], pa.float64()),
            "sentiment_dispersion": pa.array([0.1] * len(as_of), pa.float64()),
            "sentiment_mentions": pa.array([3] * len(as_of), pa.int64()),
            "sentiment_volume": pa.array([4] * len(as_of), pa.int64()),
            "sentiment_coverage": pa.array([0.75] * len(as_of), pa.float64()),
            "sentiment_surprise": pa.nulls(len(as_of), pa.float64()),
            "sentiment_momentum": pa.array([-0.5] * len(as_of), pa.float64()),
        }
    )


def mood(*values: tuple[str, float, float]) -> pa.Table:
    return pa.table(
        {
            "series": pa.array([series for series, _, _ in values], pa.string()),
            "available_at": times(*(at for _, at, _ in values)),
            "value": pa.array([value for _, _, value in values], pa.float64()),
        }
    )


def ticks(market: Market, *values: tuple[float, float]) -> pa.Table:
    return pa.table(
        {
            "exchange": [market.exchange] * len(values),
            "instrument": [market.instrument] * len(values),
            "receive_time": times(*(at for at, _ in values)),
            "value": pa.array([value for _, value in values], pa.float64()),
        }
    )


def column(rows: pa.Table, name: str) -> list[object]:
    return rows.column(name).to_pylist()


def joined(known: pa.Table, **facts: object) -> pa.Table:
    nothing = {"sentiment": aggregates(), "mood": mood()}
    return training_rows(known, Facts(**{**nothing, **facts}), REQUEST)


def test_rows_are_in_the_schema_and_in_order_of_time_and_market() -> None:
    other = bars(2, 1, market=Market("kraken", "ETH-USD"))
    rows = joined(pa.concat_tables([other, bars(2, 1)]))
    assert rows.schema.equals(dataset_schema(REQUEST))
    assert column(rows, "exchange") == ["binance", "kraken", "binance", "kraken"]
    assert [one.hour for one in column(rows, "open_time")] == [0, 0, 1, 1]


def test_facts_that_are_missing_are_null_never_zero() -> None:
    rows = joined(bars(5))
    own = {"exchange", "instrument", "open_time", "close_time", "available_at", "close", "rsi_14"}
    for name in set(rows.column_names) - own:
        assert column(rows, name) == [None], name


def test_sentiment_is_the_newest_not_after_the_bar_closed() -> None:
    rows = joined(bars(5, 6, 7), sentiment=aggregates(4.5, 5, 5.25, 6.75, 7.25))
    assert column(rows, "sentiment_score") == [0.05, 0.0525, 0.0675]


@given(late=st.floats(0.0, 2_000.0))
def test_row_that_was_made_anew_later_is_joined_with_what_was_known_at_its_close(
    late: float,
) -> None:
    facts = {
        "sentiment": aggregates(4.5, 5.5, 900.0),
        "mood": mood(("fear_greed", 2, 20.0), ("fear_greed", 6, 55.0), ("vix", 5.001, 13.0)),
        "ticks": {
            "mark_price": ticks(Market("binance_perp", "BTC-USDT-PERP"), (4, 1.0), (5.5, 2.0))
        },
    }
    closed = bars(5)
    anew = closed.set_column(
        closed.column_names.index("available_at"), "available_at", times(5 + late)
    )
    names = ["sentiment_score", "mood_fear_greed", "mood_vix", "mark_price"]
    then, now = (joined(each, **facts).select(names).to_pylist() for each in (closed, anew))
    assert then == now == [dict(zip(names, (0.045, 20.0, None, 1.0), strict=True))]


def test_sentiment_older_than_its_window_says_nothing() -> None:
    rows = joined(bars(5, 6), sentiment=aggregates(4.999))
    assert column(rows, "sentiment_score") == [0.04999, None]
    assert column(rows, "sentiment_mentions") == [3, None]
    assert column(rows, "sentiment_coverage") == [0.75, None]
    assert column(rows, "sentiment_momentum") == [-0.5, None]
    assert column(rows, "sentiment_surprise") == [None, None], "unknown is not 0"


def test_sentiment_of_another_instrument_is_not_joined() -> None:
    rows = joined(bars(5), sentiment=aggregates(5, instrument="ETH-USDT"))
    assert column(rows, "sentiment_score") == [None]


def test_mood_is_joined_when_it_was_published_not_on_what_it_speaks_of() -> None:
    told = mood(("fear_greed", 2, 20.0), ("fear_greed", 5.5, 55.0), ("vix", 1, 13.0))
    rows = joined(bars(5, 6), mood=told)
    assert column(rows, "mood_fear_greed") == [20.0, 55.0]
    assert column(rows, "mood_vix") == [13.0, 13.0]


def test_funding_of_the_perpetual_is_joined_when_it_reached_us() -> None:
    swap = Market("binance_perp", "BTC-USDT-PERP")
    told = {"funding_rate": ticks(swap, (4, 0.0001), (5.5, 0.0002)), "mark_price": ticks(swap)}
    rows = joined(bars(5, 6), ticks=told)
    assert column(rows, "funding_rate") == [0.0001, 0.0002]
    assert column(rows, "mark_price") == [None, None]


def test_funding_that_is_a_day_old_says_nothing() -> None:
    swap = Market("binance_perp", "BTC-USDT-PERP")
    told = {"funding_rate": ticks(swap, (4, 0.0001)), "mark_price": ticks(swap)}
    rows = joined(bars(27.9, 28), ticks=told)
    assert TICK_MAX_AGE_NS == 24 * HOUR
    assert column(rows, "funding_rate") == [0.0001, None]


@pytest.mark.parametrize(
    ("market", "perpetual"),
    [
        (("okx", "BTC-USDT-PERP"), ("okx", "BTC-USDT-PERP")),
        (("okx", "BTC-USDT"), ("okx", "BTC-USDT-PERP")),
        (("binance", "BTC-USDT"), ("binance_perp", "BTC-USDT-PERP")),
        (("binance", "LUNA~2-USDT"), None),
        (("coinbase", "BTC-USD"), None),
    ],
)
def test_perpetual_of_a_market_has_its_coin_quote_and_venue(
    market: tuple[str, str], perpetual: tuple[str, str] | None
) -> None:
    known = frozenset(
        Market(*one)
        for one in (
            ("okx", "BTC-USDT-PERP"),
            ("binance_perp", "BTC-USDT-PERP"),
            ("binance_perp", "LUNA-USDT-PERP"),
        )
    )
    assert perpetual_of(Market(*market), known) == (perpetual and Market(*perpetual))


def test_listing_is_what_the_registry_knew_then() -> None:
    listings = pa.table(
        {
            "exchange": ["binance"] * 2,
            "instrument": ["BTC-USDT"] * 2,
            "valid_from": times(5, 7),
            "status": ["trading", "delisted"],
        }
    )
    rows = joined(bars(4, 5, 6.5, 7), listings=listings)
    assert column(rows, "listing_status") == [None, "trading", "trading", "delisted"]


def outcomes(*opened: float, instrument: str = "BTC-USDT", horizon: str = "24h") -> pa.Table:
    count = len(opened)
    return pa.table(
        {
            "exchange": ["binance"] * count,
            "instrument": [instrument] * count,
            "open_time": times(*opened),
            "horizon": [horizon] * count,
            "known_at": times(*(hour + 25 for hour in opened)),
            "status": ["whole"] * count,
            "forward_return": pa.array([hour / 10 for hour in opened], pa.float64()),
            "net_return_long": pa.array([0.0] * count, pa.float64()),
            "net_return_short": pa.array([0.0] * count, pa.float64()),
            "barrier": ["upper"] * count,
            "barrier_time": times(*(hour + 3 for hour in opened)),
            "volatility": pa.array([0.02] * count, pa.float64()),
        }
    )


def test_labels_are_joined_by_the_bar_itself_and_say_when_they_were_known() -> None:
    rows = joined(bars(5, 6), outcomes=outcomes(4))
    assert column(rows, "forward_return_24h") == [0.4, None]
    assert column(rows, "barrier_24h") == ["upper", None]
    assert column(rows, "known_at_24h")[0].timestamp() == 29 * 3600


def test_labels_of_another_market_or_horizon_are_not_joined() -> None:
    other = pa.concat_tables([outcomes(4, instrument="ETH-USDT"), outcomes(4, horizon="1h")])
    assert column(joined(bars(5), outcomes=other), "forward_return_24h") == [None]


FACTS = ("sentiment_score", "mood_fear_greed", "funding_rate", "listing_status")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 40), min_size=4, max_size=4), st.integers(0, 3))
def test_shifting_when_a_fact_became_available_never_moves_it_to_an_earlier_bar(
    available: list[int], shifted: int
) -> None:
    def rows(at: list[int]) -> pa.Table:
        swap = Market("binance_perp", "BTC-USDT-PERP")
        listing = pa.table(
            {
                "exchange": ["binance"], "instrument": ["BTC-USDT"],
                "valid_from": times(at[3]), "status": ["trading"],
            }
        )  # fmt: skip
        return joined(
            bars(*range(1, 41)),
            sentiment=aggregates(at[0]),
            mood=mood(("fear_greed", at[1], 1.0)),
            ticks={"funding_rate": ticks(swap, (at[2], 0.1)), "mark_price": ticks(swap)},
            listings=listing,
        )

    later = [at + 7 * (number == shifted) for number, at in enumerate(available)]
    before, after = rows(available), rows(later)
    for number, name in enumerate(FACTS):
        moved = column(after, name)
        if number != shifted:
            assert moved == column(before, name)
            continue
        known_from = next((i for i, value in enumerate(moved) if value is not None), None)
        assert known_from is None or known_from + 1 >= later[number]


def test_every_column_has_a_description() -> None:
    columns = dataset_columns(REQUEST)
    assert len({one.name for one in columns}) == len(columns)
    assert all(one.doc for one in columns)
