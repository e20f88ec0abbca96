"""The market process: exact laws between trades and bars, stylised facts, planted sentiment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis, spearmanr

from engine.clock import parse_iso_utc
from engine.config import SimulatorConfig
from engine.errors import InstrumentError
from engine.simulator.bars import bars
from engine.simulator.draws import Stream, generator
from engine.simulator.listing import ASSETS, LISTINGS, SEGMENTS, place_of
from engine.simulator.market import MINUTE_NS, MarketProcess
from engine.simulator.news import NewsProcess, phrases
from engine.simulator.planted import DAY_NS
from engine.simulator.tape import realise

CONFIG = SimulatorConfig()
HOUR_NS = 60 * MINUTE_NS
BASES = [asset.base for asset in ASSETS]
NOON = parse_iso_utc("2026-03-10T12:00:00Z")


@pytest.fixture(scope="module")
def market():
    return MarketProcess(CONFIG)


@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 60),
    levels=st.lists(st.integers(1, 10**7), min_size=2, max_size=2),
    reach=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    extra=st.integers(0, 10**6),
    share=st.floats(0, 1),
)
@settings(max_examples=150, deadline=None)
def test_realise_any_bar_is_realised_exactly(seed, count, levels, reach, extra, share):
    open_, close = levels if count > 1 else (levels[1], levels[1])
    high = max(open_, close) + (reach[0] if count >= 3 else 0)
    low = max(1, min(open_, close) - reach[1]) if count >= 4 else min(open_, close)
    buys, lots = round(share * count), count + extra
    buy_lots = buys + int(share * extra)
    buy_lots = 0 if buys == 0 else lots if buys == count else buy_lots
    tape = realise(
        generator(seed, Stream.TRADES, 1), 7, count, open_, high, low, close, lots, buy_lots,
        start_ns=0, step_ns=1000,
    )  # fmt: skip
    assert (tape.ticks[0], tape.ticks[-1]) == (open_, close)
    assert (max(tape.ticks), min(tape.ticks)) == (high, low)
    assert len(tape.ticks) == count
    assert sum(tape.lots) == lots
    assert min(tape.lots) >= 1
    assert sum(n for n, buy in zip(tape.lots, tape.is_buy, strict=True) if buy) == buy_lots
    assert tape.times == sorted(tape.times)
    assert 0 <= tape.times[0] <= tape.times[-1] < MINUTE_NS


def test_market_second_start_and_other_order_give_same_trades(market):
    again = MarketProcess(CONFIG)
    again.trades("binance", "BTC-USDT", NOON + 40 * DAY_NS, NOON + 40 * DAY_NS + MINUTE_NS)
    for venue, names in LISTINGS.items():
        for name in names[:4]:
            span = (venue, name, NOON, NOON + 3 * MINUTE_NS)
            assert market.trades(*span) == again.trades(*span)


@pytest.mark.parametrize(
    ("where", "count", "first"),
    [
        (("binance", "BTC-USDT"), 7836, (93180514, 44358.0, 0.01798, "buy")),
        (("coinbase", "ETH-USD"), 2739, (36640996, 2349.27, 0.8021, "sell")),
        (("kraken", "XMR-USD"), 281, (2344698, 187.456, 2.441, "buy")),
    ],
)
def test_market_stays_the_same_from_version_to_version(market, where, count, first):
    trades = market.trades(*where, NOON, NOON + 10 * MINUTE_NS)
    assert len(trades) == count
    trade = trades[0]
    assert (trade.sequence, trade.price, trade.amount, trade.side) == first


def test_every_segment_has_trades_of_its_own(market):
    seen = set()
    for segment in SEGMENTS:
        name = f"BTC-{segment.quote}{'-PERP' if segment.perpetual else ''}"
        assert SEGMENTS[place_of(segment.exchange, name).segment] == segment
        trades = market.trades(segment.exchange, name, NOON, NOON + MINUTE_NS)
        seen.add(tuple((trade.price, trade.amount) for trade in trades[:5]))
        assert abs(trades[0].price / 44358.0 - 1) < 0.002
    assert len(seen) == len(SEGMENTS)


@pytest.mark.parametrize(
    ("venue", "instrument", "words"),
    [
        ("bitstamp", "BTC-USD", "no venue 'bitstamp' is simulated"),
        ("binance", "BTC-USDT-PERP", "the simulated binance has no BTC-USDT-PERP"),
        ("okx", "BTC-EUR", "56 assets against USDT, USDC, for example BTC-USDT"),
        ("bybit", "NOSUCH-USDT", "the simulated bybit has no NOSUCH-USDT"),
    ],
)
def test_place_of_what_is_not_simulated_is_refused(venue, instrument, words):
    with pytest.raises(InstrumentError, match=words):
        place_of(venue, instrument)


def test_trades_by_id_and_last_trade_agree_with_trades_by_time(market):
    span = ("okx", "BTC-USDT-PERP")
    trades = market.trades(*span, NOON - 2 * MINUTE_NS, NOON + 2 * MINUTE_NS)
    first, last = trades[0].sequence, trades[-1].sequence
    assert market.numbered(*span, first, last) == trades
    assert market.numbered(*span, last, first) == []
    for trade in (trades[0], trades[len(trades) // 2], trades[-1]):
        assert market.last_trade(*span, trade.exchange_time).exchange_time == trade.exchange_time
        at = market.next_id(*span, trade.exchange_time)
        assert market.numbered(*span, at, at)[0].exchange_time == trade.exchange_time
    quiet = MarketProcess(CONFIG.model_copy(update={"trades_per_second": 0.01}))
    before = quiet.last_trade(*span, NOON)
    assert before is not None
    assert before.exchange_time < NOON - MINUTE_NS
    assert quiet.next_id(*span, NOON) == before.sequence + 1
    assert quiet.last_trade(*span, CONFIG.epoch_ns - 1) is None


def test_bars_since_a_moment_hold_only_what_came_after(market):
    name = ("binance_perp", "ETH-USDT-PERP")
    since, now = NOON + 90 * 10**9 + 7, NOON + 10 * MINUTE_NS + 5
    rows = bars(market, *name, MINUTE_NS, (NOON - HOUR_NS, now), now, since)
    assert rows[0].open_time == NOON + MINUTE_NS
    trades = market.trades(*name, since, NOON + 2 * MINUTE_NS)
    decimals = ASSETS[place_of(*name).asset]
    assert rows[0].trade_count == len(trades)
    assert rows[0].open == round(trades[0].price * 10**decimals.price_decimals)
    assert rows[0].lots == round(sum(t.amount for t in trades) * 10**decimals.amount_decimals)
    whole = bars(market, *name, HOUR_NS, (NOON - HOUR_NS, now), now, since)
    assert [row.open_time for row in whole] == [NOON]
    assert whole[0].trade_count == sum(row.trade_count for row in rows)
    assert (whole[0].open, whole[0].close) == (rows[0].open, rows[-1].close)


def test_trade_ids_across_midnight_are_consecutive(market):
    midnight = NOON + 12 * HOUR_NS
    trades = market.trades("coinbase", "ETH-USD", midnight - 10 * MINUTE_NS, midnight + 600 * 10**9)
    ids = [trade.sequence for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 100


def test_first_trade_of_the_market_has_id_one(market):
    trades = market.trades("binance", "BTC-USDT", 0, CONFIG.epoch_ns + MINUTE_NS)
    assert trades[0].sequence == 1


def test_hour_bars_equal_their_trades(market):
    now = NOON + 90 * 10**9
    rows = bars(market, "kraken", "XMR-USD", HOUR_NS, (NOON - 5 * HOUR_NS, now), now)
    assert len(rows) == 6
    scale, lots = (
        10 ** ASSETS[BASES.index("XMR")].price_decimals,
        10 ** ASSETS[BASES.index("XMR")].amount_decimals,
    )
    for row in rows:
        end = min(row.open_time + HOUR_NS, now + 1)
        trades = market.trades("kraken", "XMR-USD", row.open_time, end)
        prices = [trade.price for trade in trades]
        assert row.trade_count == len(trades)
        assert (row.open / scale, row.close / scale) == (prices[0], prices[-1])
        assert (row.high / scale, row.low / scale) == (max(prices), min(prices))
        assert row.lots / lots == pytest.approx(sum(t.amount for t in trades), rel=1e-12)
        quote = sum(t.amount * t.price for t in trades)
        assert row.quote / scale / lots == pytest.approx(quote, rel=2e-3)


def test_trades_per_second_mean_is_the_configured_one(market):
    days = market.paths.skeleton(255).activity[:256]
    assert days.mean() == pytest.approx(1.0, abs=0.15)
    place = place_of("binance", "BTC-USDT")
    counts = [market.day_bars(place, day).trade_count.sum() for day in range(3)]
    assert counts == np.diff(market._first_ids(place, 3))[:3].tolist()


def test_daily_returns_show_tails_correlation_and_regimes(market):
    times = market.first_day_ns + np.arange(250) * DAY_NS
    returns = np.diff(MarketProcess(CONFIG.model_copy(update={"sentiment_strength": 0.0}))
                      .log_prices(BASES, times), axis=1)  # fmt: skip
    assert np.median(kurtosis(returns, axis=1)) > 1.5
    correlation = np.corrcoef(returns)[0, 1:]
    assert correlation.min() > 0.05
    assert np.median(correlation) > 0.3
    assert np.all((returns.std(axis=1) > 0.015) & (returns.std(axis=1) < 0.15))
    assert set(market.paths.skeleton(255).regime[:256].tolist()) == {0, 1, 2}


def test_minute_returns_cluster_and_volume_follows_the_day(market):
    asset = BASES.index("BTC")
    size = np.concatenate(
        [np.abs(np.diff(market.paths.asset_day(asset, day).log_price)) for day in range(30)]
    )
    assert np.corrcoef(size[:-5], size[5:])[0, 1] > 0.05
    volume = sum(market.day_bars(place_of("binance", "BTC-USDT"), day).lots for day in range(30))
    assert volume[14 * 60 : 16 * 60].sum() > 1.6 * volume[3 * 60 : 5 * 60].sum()


def _information_coefficients(strength, seed):
    """Daily rank IC of ground-truth tone means with the next day's log returns."""
    config = CONFIG.model_copy(update={"sentiment_strength": strength, "seed": seed})
    market, news = MarketProcess(config), NewsProcess(config)
    days = np.arange(2, 62)
    prices = market.log_prices(BASES, market.first_day_ns + np.append(days, 62) * DAY_NS)
    found = []
    for column, day in enumerate(days.tolist()):
        drawn = news.draws.day(day - 1)
        sums = np.bincount(drawn.asset[drawn.asset >= 0], drawn.tone[drawn.asset >= 0], len(BASES))
        returns = prices[:, column + 1] - prices[:, column]
        found.append(spearmanr(sums, returns).statistic)
    return np.array(found)


def _t(values):
    return values.mean() / values.std(ddof=1) * np.sqrt(len(values))


@pytest.mark.parametrize("seed", [7, 11])
def test_tone_without_planted_strength_does_not_predict(seed):
    assert abs(_t(_information_coefficients(0.0, seed))) < 2


@pytest.mark.parametrize("seed", [7, 11])
def test_tone_with_planted_strength_predicts(seed):
    coefficients = _information_coefficients(0.5, seed)
    assert _t(coefficients) > 5
    assert coefficients.mean() > 0.1


def test_strength_zero_leaves_every_draw_the_same():
    silent = MarketProcess(CONFIG.model_copy(update={"sentiment_strength": 0.0}))
    loud = MarketProcess(CONFIG)
    times = NOON + np.arange(10) * HOUR_NS
    asset = BASES.index("SOL")
    expected = silent.log_prices(["SOL"], times)[0] + loud.planted.log_price(asset, times)
    assert loud.log_prices(["SOL"], times)[0] == pytest.approx(expected, abs=1e-12)
    assert np.abs(loud.planted.log_price(asset, times)).max() > 0


def test_planted_effect_equals_sum_over_texts():
    news, market = NewsProcess(CONFIG), MarketProcess(CONFIG)
    asset, at = BASES.index("ADA"), CONFIG.epoch_ns + 3 * DAY_NS + 12345 * 10**9
    expected = 0.0
    for text in news.texts(CONFIG.epoch_ns, at):
        if text.base == "ADA":
            ramp = min((at - text.time_ns) / (CONFIG.sentiment_lead_h * HOUR_NS), 1.0)
            expected += text.impact * ASSETS[asset].daily_volatility * ramp
    assert market.planted.log_price(asset, np.array([at]))[0] == pytest.approx(expected, abs=1e-9)


def test_texts_any_window_gives_the_same_texts():
    news = NewsProcess(CONFIG)
    whole = news.texts(NOON, NOON + DAY_NS)
    parts = news.texts(NOON, NOON + HOUR_NS) + NewsProcess(CONFIG).texts(
        NOON + HOUR_NS, NOON + DAY_NS
    )
    assert whole == parts
    assert 1_200 < len(whole) < 1_700
    assert len({text.text_id for text in whole}) == len(whole)


@pytest.mark.parametrize("kind", ["news", "post"])
def test_texts_of_a_kind_are_those_of_all_from_either_end(kind):
    news, end = NewsProcess(CONFIG), NOON + DAY_NS
    of_kind = [text for text in news.texts(CONFIG.epoch_ns, end) if text.kind == kind]
    assert news.texts(CONFIG.epoch_ns, end, kind) == of_kind
    assert news.texts(CONFIG.epoch_ns, end, kind, 7) == of_kind[:7]
    assert news.latest(end, 2_000, kind) == of_kind[-2_000:]
    assert news.latest(end, 0, kind) == []


def test_phrases_every_tone_has_forty_templates():
    for tone in ("bullish", "neutral", "bearish"):
        kinds = phrases().asset[tone]
        assert len({*kinds["news"], *kinds["post"]}) >= 40
