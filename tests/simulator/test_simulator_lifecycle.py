"""Delistings and reused tickers, compared with the market process they are cut from."""

import pytest
from pydantic import ValidationError

from engine.config import FaultsConfig, SimulatorConfig
from engine.errors import InstrumentError
from engine.simulator.lifecycle import PRICE_FACTOR, Life, Lifecycle, Listed
from engine.simulator.market import MarketProcess

SECOND = 1_000_000_000
MARKET = MarketProcess(SimulatorConfig(trades_per_second=500))
START = MARKET.epoch_ns + 86_400 * SECOND
BTC = ("binance", "BTC-USDT")


def lifecycle(*relistings, **skews):
    plans = [
        {"exchange": "binance", "instrument": "BTC-USDT", "delist_after_s": off,
         "relist_after_s": on}
        for off, on in relistings
    ]  # fmt: skip
    return Lifecycle(MARKET, FaultsConfig(relistings=plans, clock_skew_ms=skews), START)


def listed(life, seconds=90):
    trades = MARKET.trades(*BTC, START, START + seconds * SECOND)
    return trades, [life.listed(trade) for trade in trades]


def test_listed_without_plans_is_the_trade_itself():
    trades, found = listed(lifecycle())
    assert len(trades) > 1000
    assert all(one is other for one, other in zip(trades, found, strict=True))


def test_listed_while_delisted_is_none_and_exactly_then():
    trades, found = listed(lifecycle((30, 60)))
    for trade, one in zip(trades, found, strict=True):
        gone = START + 30 * SECOND <= trade.exchange_time < START + 60 * SECOND
        assert (one is None) == gone


def test_listed_after_relisting_is_another_instrument():
    trades, found = listed(lifecycle((30, 60)))
    reborn = [one for one in found if one is not None and one.instrument == "BTC~2-USDT"]
    originals = [trade for trade in trades if trade.exchange_time >= START + 60 * SECOND]
    assert [one.sequence for one in reborn] == list(range(1, len(originals) + 1))
    assert [one.trade_id for one in reborn] == [str(n) for n in range(1, len(originals) + 1)]
    assert {(one.amount, one.side, one.exchange_time, one.exchange) for one in reborn} == {
        (trade.amount, trade.side, trade.exchange_time, trade.exchange) for trade in originals
    }
    assert [one.price for one in reborn] == [
        round(round(trade.price * 10) * PRICE_FACTOR) / 10 for trade in originals
    ]
    before = [one for one in found if one is not None and one.instrument == "BTC-USDT"]
    assert before == [trade for trade in trades if trade.exchange_time < START + 30 * SECOND]


def test_listed_third_generation_is_scaled_and_numbered_again():
    _, found = listed(lifecycle((20, 30), (50, 60)))
    names = [one.instrument for one in found if one is not None]
    assert list(dict.fromkeys(names)) == ["BTC-USDT", "BTC~2-USDT", "BTC~3-USDT"]
    third = [one for one in found if one is not None and one.instrument == "BTC~3-USDT"]
    assert third[0].sequence == 1
    first = next(one for one in found if one is not None)
    assert third[0].price == pytest.approx(first.price * PRICE_FACTOR**2, rel=0.05)


def test_status_follows_the_listing():
    life = lifecycle((30, 60))
    moments = [START, START + 30 * SECOND, START + 59 * SECOND, START + 60 * SECOND]
    assert [life.status(*BTC, moment) for moment in moments] == [
        Listed("trading", MARKET.epoch_ns, None, 1),
        Listed("delisted", MARKET.epoch_ns, START + 30 * SECOND, 1),
        Listed("delisted", MARKET.epoch_ns, START + 30 * SECOND, 1),
        Listed("trading", START + 60 * SECOND, None, 2),
    ]
    assert life.status("binance", "ETH-USDT", moments[1]).status == "trading"


def test_schedule_counts_by_the_venues_own_clock():
    life = lifecycle((30, 60), binance=-2000, kraken=1500)
    assert (life.skew_ns("binance"), life.skew_ns("kraken"), life.skew_ns("okx")) == (
        -2 * SECOND, 3 * SECOND // 2, 0,
    )  # fmt: skip
    first, second = life.lives(*BTC)
    assert (first.end_ns, second.start_ns) == (START + 28 * SECOND, START + 58 * SECOND)


def test_delist_and_relist_at_run_time_equal_the_schedule():
    planned, driven = lifecycle((30, 60)), lifecycle()
    driven.delist("binance", "BTC-USDT", START + 30 * SECOND)
    assert driven.life(*BTC, START + 45 * SECOND) is None
    driven.relist("binance", "BTC-USDT", START + 60 * SECOND)
    assert driven.lives(*BTC) == planned.lives(*BTC)
    driven.delist("binance", "BTC~2-USDT", START + 90 * SECOND)
    assert driven.status(*BTC, START + 90 * SECOND) == (
        "delisted", START + 60 * SECOND, START + 90 * SECOND, 2,
    )  # fmt: skip


@pytest.mark.parametrize("seconds", [30, 45])
def test_delist_of_what_is_not_listed_is_refused(seconds):
    life = lifecycle((30, 60))
    with pytest.raises(InstrumentError, match="binance does not list BTC-USDT at 2026-01-02T00:00"):
        life.delist(*BTC, START + seconds * SECOND)


def test_relist_of_what_is_listed_is_refused():
    with pytest.raises(InstrumentError, match="still lists BTC-USDT"):
        lifecycle().relist(*BTC, START)


@pytest.mark.parametrize("change", ["delist", "relist"])
def test_listing_of_unknown_instrument_is_refused(change):
    with pytest.raises(InstrumentError, match="binance has no FOO-USDT"):
        getattr(lifecycle(), change)("binance", "FOO-USDT", START)


def test_relisting_before_its_delisting_is_refused_in_the_configuration():
    plan = {"exchange": "okx", "instrument": "BTC-USDT", "delist_after_s": 9, "relist_after_s": 9}
    with pytest.raises(ValidationError, match="relist_after_s must lie after delist_after_s"):
        FaultsConfig(relistings=[plan])


def test_life_prices_keep_their_order_and_stay_above_zero():
    life = Life(2, 0, None, 1)
    scaled = [life.ticks(ticks) for ticks in range(1, 500)]
    assert scaled == sorted(scaled)
    assert scaled[0] == 1
    assert Life(1, 0, None, 1).ticks(77) == 77
