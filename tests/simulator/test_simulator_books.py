"""Simulated books and perpetuals: pure functions of time whose changes lead from state to state."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import parse_iso_utc
from engine.config import SimulatorConfig
from engine.simulator.books import BookProcess
from engine.simulator.listing import ASSETS, place_of
from engine.simulator.live_book import LiveBook
from engine.simulator.market import MarketProcess
from engine.simulator.perpetuals import FUNDING_NS, MOST_FUNDING, PerpetualProcess

CONFIG = SimulatorConfig(trades_per_second=400)
MARKET = MarketProcess(CONFIG)
START = parse_iso_utc("2026-02-03T14:30:50Z")
SECOND = 1_000_000_000
MARKETS = [("binance", "BTC-USDT"), ("kraken", "DOGE-USD"), ("okx", "SHIB-USDT-PERP")]


def book_at(process, market, step):
    return process.state(MARKET.last_trade(*market, process.step_start(step)), step)


def applied(levels, changes):
    found = dict(levels)
    for tick, lots in changes:
        if lots:
            found[tick] = lots
        else:
            del found[tick]
    return found


@pytest.mark.parametrize("market", MARKETS)
@given(
    first=st.integers(0, 600),
    strides=st.lists(st.integers(1, 40), min_size=1, max_size=25),
    depth=st.sampled_from([0, 1, 10, 50, 400]),
)
@settings(max_examples=30, deadline=None)
def test_changes_applied_to_a_snapshot_give_the_state_of_any_step(market, first, strides, depth):
    process = BookProcess(CONFIG)
    step = process.step_of(START) + first
    last = MARKET.last_trade(*market, process.step_start(step))
    book = LiveBook(place_of(*market), process, last, step)
    bids, asks = (dict(side) for side in book.levels(depth))
    sequence, number = book.sent(depth), book.number(depth)
    for stride in strides:
        step += stride
        book.advance(MARKET.last_trade(*market, process.step_start(step)), step)
        change = book.change(depth)
        assert change is book.change(depth)
        bids, asks = applied(bids, change.bids), applied(asks, change.asks)
        if change.bids or change.asks:
            assert change.previous_sequence == sequence
            assert change.first_sequence == sequence + 1 <= change.last_sequence
            assert change.number == number + 1
            sequence, number = change.last_sequence, change.number
        assert (book.sent(depth), book.number(depth)) == (sequence, number)
    truth = book_at(BookProcess(CONFIG), market, step).levels(depth)
    assert (sorted(bids.items(), reverse=True), sorted(asks.items())) == truth


@pytest.mark.parametrize("market", MARKETS)
def test_state_is_a_pure_function_of_the_step(market):
    one, other = BookProcess(CONFIG), BookProcess(CONFIG)
    steps = [one.step_of(START) + n for n in range(0, 300, 7)]
    forwards = [book_at(one, market, step).levels() for step in steps]
    backwards = [book_at(other, market, step).levels() for step in reversed(steps)]
    assert forwards == backwards[::-1]
    assert len({str(levels) for levels in forwards}) == len(forwards)
    seeded = BookProcess(CONFIG.model_copy(update={"seed": 8}))
    assert book_at(seeded, market, steps[0]).levels() != forwards[0]


@pytest.mark.parametrize("market", MARKETS)
def test_state_is_ordered_positive_and_holds_the_price_last_traded(market):
    process = BookProcess(CONFIG)
    for step in range(process.step_of(START), process.step_of(START) + 400, 13):
        last = MARKET.last_trade(*market, process.step_start(step))
        bids, asks = process.state(last, step).levels()
        assert [tick for tick, _ in bids] == sorted({tick for tick, _ in bids}, reverse=True)
        assert [tick for tick, _ in asks] == sorted({tick for tick, _ in asks})
        assert 0 < bids[-1][0] <= bids[0][0] < asks[0][0]
        assert min(lots for _, lots in bids + asks) >= 1
        traded = asks[0] if last.side == "buy" else bids[0]
        decimals = ASSETS[place_of(*market).asset].price_decimals
        assert traded[0] / 10**decimals == last.price
        best = process.best(last, step)
        assert ((best.bid, best.bid_lots), (best.ask, best.ask_lots)) == (bids[0], asks[0])
        assert 120 < len(bids) <= 200


def test_changes_are_few_in_a_step():
    process, market = BookProcess(CONFIG), MARKETS[0]
    step = process.step_of(START)
    book = LiveBook(
        place_of(*market), process, MARKET.last_trade(*market, process.step_start(step)), step
    )
    sizes = []
    for following in range(step + 1, step + 301):
        book.advance(MARKET.last_trade(*market, process.step_start(following)), following)
        change = book.change(0)
        sizes.append(len(change.bids) + len(change.asks))
    assert 3 < sum(sizes) / len(sizes) < 40


@given(steps=st.lists(st.integers(0, 10**9), min_size=2, max_size=50, unique=True))
@settings(max_examples=50, deadline=None)
def test_sequence_rises_and_a_snapshot_may_fall_inside_a_step(steps):
    process, place = BookProcess(CONFIG), place_of(*MARKETS[0])
    first = process.step_of(CONFIG.epoch_ns)
    numbers = [process.sequence(place, first + step) for step in sorted(steps)]
    assert numbers == sorted(set(numbers))
    for step in steps:
        inside = process.sequence_inside(place, first + step)
        assert process.sequence(place, first + step) <= inside
        assert inside < process.sequence(place, first + step + 1)


def test_book_levels_and_step_are_as_configured():
    small = CONFIG.model_copy(update={"book_levels": 20, "book_step_ms": 1000})
    process = BookProcess(small)
    assert process.step_start(process.step_of(START + 999_999_999)) == START
    bids, asks = book_at(process, MARKETS[0], process.step_of(START)).levels()
    assert 10 < len(bids) <= 20
    assert 10 < len(asks) <= 20


@given(offset_s=st.integers(0, 60 * 86_400))
@settings(max_examples=60, deadline=None)
def test_perpetual_at_any_time_is_sane_and_pure(offset_s):
    at = CONFIG.epoch_ns + offset_s * SECOND
    one = PerpetualProcess(MARKET).at("bybit", "ETH-USDT-PERP", at)
    assert one == PerpetualProcess(MARKET).at("bybit", "ETH-USDT-PERP", at)
    index = math.exp(MARKET.log_prices(["ETH"], [at])[0, 0])
    assert one.index_price == index
    assert abs(one.mark_price / index - 1) < 0.003
    assert abs(one.funding_rate) <= MOST_FUNDING
    assert one.funding_time_ns % FUNDING_NS == 0
    assert at < one.funding_time_ns <= at + FUNDING_NS
    assert one.open_interest > 0


def test_perpetual_state_moves_without_jumps_across_midnight():
    process = PerpetualProcess(MARKET)
    midnight = START - START % (86_400 * SECOND) + 86_400 * SECOND
    for venue in ("binance_perp", "bybit", "okx"):
        before, after = (
            process.at(venue, "BTC-USDT-PERP", midnight + shift) for shift in (-SECOND, SECOND)
        )
        assert before.open_interest == pytest.approx(after.open_interest, rel=1e-3)
        premiums = [each.mark_price / each.index_price for each in (before, after)]
        assert premiums[0] == pytest.approx(premiums[1], abs=1e-5)
        assert after.funding_time_ns - before.funding_time_ns == FUNDING_NS


def test_perpetual_of_a_later_generation_is_another_coin():
    process = PerpetualProcess(MARKET)
    first, second = (process.at("okx", "BTC-USDT-PERP", START, number) for number in (1, 2))
    assert second.mark_price == pytest.approx(first.mark_price / 4)
