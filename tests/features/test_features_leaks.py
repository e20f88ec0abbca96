"""Every feature of the catalogue, through the whole batch run: nothing of the future is in it.

The runs are made once for the file; each feature is then judged by its own column.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.clock import parse_iso_utc
from engine.config import RetentionConfig
from engine.domain.instrument import Market
from engine.domain.market import Listing
from engine.domain.timeframe import Timeframe
from engine.features.books import bar_of
from engine.features.catalogue import FEATURE_NAMES, FEATURES, feature_columns
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schema import migrate
from tests.features.leak_harness import (
    NOISE,
    Known,
    cut,
    cut_books,
    leaks,
    poisoned,
    poisoned_books,
    told_after,
    without,
)
from tests.features.stored_world import World, candles_of, made_of, put

H1 = Timeframe.H1
START = parse_iso_utc("2024-01-20T00:00:00Z")
BORDER = parse_iso_utc("2024-02-01T00:00:00Z")
BARS = 19 * 24
CUTS = {
    "inside a segment": BORDER - 30 * H1.ns,
    "at a segment's end": BORDER,
    "one bar into a segment": BORDER + H1.ns,
    "later in a segment": BORDER + 60 * H1.ns,
}
BTC, ETH, SOL, LUNA, LUNA_2, NEW = (
    Market("binance", name)
    for name in ("BTC-USDT", "ETH-USDT", "SOL-USDT", "LUNA-USDT", "LUNA~2-USDT", "NEW-USDT")
)
OTHER_BTC = Market("kraken", "BTC-USD")
LATE = BORDER + 20 * H1.ns
EACH = pytest.mark.parametrize(("index", "feature"), list(enumerate(FEATURES)), ids=FEATURE_NAMES)


@pytest.fixture(scope="module")
def world(walk, book_walk):
    """Markets that trade, are quiet, are delisted, listed again under the same name, and new."""

    def bars(seed, first, last, **kind):
        return walk(seed, last - first, start_ns=START + first * H1.ns, **kind)

    spans = {
        BTC: bars(1, 0, BARS),
        ETH: bars(2, 0, BARS, missing=0.1),
        SOL: bars(3, 0, BARS, quiet=0.4, stuck=0.2),
        LUNA: bars(4, 0, 220, step=0.05),
        LUNA_2: bars(5, 300, BARS),
        NEW: bars(6, 320, BARS),
        OTHER_BTC: bars(7, 10, BARS),
    }
    candles = [candle for market, its in spans.items() for candle in candles_of(market, its)]
    books = [
        book
        for seed, market in enumerate((ETH, SOL))
        for book in book_walk(
            seed, BARS, start_ns=START, exchange=market.exchange, instrument=market.instrument
        )
    ]
    return World(candles, books, [delisted(LUNA, START + 222 * H1.ns, START + 262 * H1.ns)])


def delisted(market, ended, known_at):
    symbol = market.instrument.replace("-", "")
    return Listing(*market, symbol, "delisted", 0.1, 0.1, 1.0, None, ended, valid_from=known_at)


def listed_by(world, moment):
    """What the registry knew by a moment, and behind it that one had ended long before."""
    known = [listing for listing in world.listings if listing.valid_from <= moment]
    return known, [*known, delisted(SOL, moment - 50 * H1.ns, moment + 1)]


@pytest.fixture(scope="module")
def late_book(world):
    """The first bar from `LATE` on that has a book: it comes late."""
    return bar_of(min(book.as_of for book in world.books if book.as_of > LATE), H1)


@pytest.fixture(scope="module")
def runs(world, late_book, tmp_path_factory):
    """What the batch run makes of the world as it is, and of each that is spoiled."""
    home = EmbeddedStore(tmp_path_factory.mktemp("leaks") / "db")
    try:
        endpoint = home.start()
        with Store(endpoint) as store:
            migrate(store, RetentionConfig(candles=0, features=0, book_snapshots=0),
                    feature_columns())  # fmt: skip

            def run(changed):
                put(store, changed)
                return made_of(store)

            found = {"whole": run(world)}
            for name, moment in CUTS.items():
                known, spoiled = listed_by(world, moment)
                found["cut", name] = run(
                    replace(
                        world,
                        listings=known,
                        candles=cut(world.candles, moment),
                        books=cut_books(world.books, moment),
                    )
                )
                for noise in NOISE:
                    found["poison", name, str(noise)] = run(
                        replace(
                            world,
                            listings=spoiled,
                            candles=poisoned(world.candles, moment, noise),
                            books=poisoned_books(world.books, moment, noise),
                        )
                    )
            found["late candle"] = run(replace(world, candles=_without_late(world)))
            found["late book"] = run(
                replace(world, books=[b for b in world.books if bar_of(b.as_of, H1) != late_book])
            )
            yield found
    finally:
        home.stop()


def _without_late(world):
    late = [candle for candle in world.candles if candle.instrument == ETH.instrument]
    others = [candle for candle in world.candles if candle.instrument != ETH.instrument]
    return others + without(late, LATE)


@pytest.fixture(scope="module")
def leaking(runs):
    """Kind of spoiling -> moment (and noise) -> columns of which the past changed."""
    whole = runs["whole"]
    return {
        "cut": {name: leaks(whole, runs["cut", name], moment) for name, moment in CUTS.items()},
        "poison": {
            (name, noise): leaks(whole, runs["poison", name, str(noise)], moment)
            for name, moment in CUTS.items()
            for noise in NOISE
        },
        "late candle": {"": leaks(whole, runs["late candle"], LATE)},
    }


@pytest.fixture(scope="module")
def reached(runs):
    """Columns that the poison reaches, in rows that were known later."""
    inside = "inside a segment"
    return {
        column
        for noise in NOISE
        for column in told_after(runs["whole"], runs["poison", inside, str(noise)], CUTS[inside])
    }


@pytest.mark.parametrize("spoiling", ["cut", "poison", "late candle"])
@EACH
def test_feature_when_the_future_is_another_keeps_its_past(index, feature, spoiling, leaking):
    leaks_at = [where for where, columns in leaking[spoiling].items() if index in columns]
    assert leaks_at == [], feature.name


@EACH
def test_feature_when_the_future_is_poisoned_is_reached_by_it_later(index, feature, reached):
    # Else the tests above could not fail. A pattern may be as absent in noise as without it.
    assert index in reached or feature.kind == "pattern"


@EACH
def test_feature_when_a_book_comes_late_changes_at_its_bar_alone(index, feature, runs, late_book):
    whole, late = runs["whole"], runs["late book"]
    bars = {
        time
        for (market, time), row in whole.items()
        if row.values[index] != late[market, time].values[index]
    }
    assert bars == ({late_book} if feature.kind == "book" else set())


def test_universe_when_the_future_is_cut_off_has_the_same_members(runs):
    for name, moment in CUTS.items():
        known = [
            {key for key, row in run.items() if row.known_at <= moment}
            for run in (runs["whole"], runs["cut", name])
        ]
        assert known[0] == known[1]


def test_universe_has_who_traded_then(runs):
    def members(hours):
        return {market for market, time in runs["whole"] if time == START + hours * H1.ns}

    assert members(5) == {BTC, ETH, SOL, LUNA}
    assert members(219) == {BTC, ETH, SOL, LUNA}
    # Quiet, until it was known to be delisted: not kept with flat bars for a week.
    assert members(222) == {BTC, ETH, SOL, LUNA}
    assert members(260) == {BTC, ETH, SOL, LUNA}
    assert members(261) == {BTC, ETH, SOL}
    assert members(310) == {BTC, ETH, SOL, LUNA_2}
    assert members(400) == {BTC, ETH, SOL, LUNA_2, NEW}


def test_reused_ticker_knows_nothing_of_the_old_coin(runs):
    first = START + 300 * H1.ns
    values = dict(zip(FEATURE_NAMES, runs["whole"][(LUNA_2, first)].values, strict=True))
    assert values["return_1"] is None
    assert values["drawdown_168"] is None
    assert values["obv"] is not None


def test_ranks_over_the_universe_leave_out_a_coins_second_market(runs):
    at = START + 400 * H1.ns
    ranks = [
        dict(zip(FEATURE_NAMES, row.values, strict=True))["rank_return_1"]
        for (_, time), row in runs["whole"].items()
        if time == at
    ]
    assert sorted(ranks) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_leaks_of_a_planted_leak_names_its_column():
    prices = np.linspace(1.0, 2.0, 10)
    whole = {t: Known(t, (prices[t], prices[min(t + 1, 9)], 0.0)) for t in range(10)}
    spoiled = np.where(np.arange(10) > 4, 1e12, prices)
    other = {t: Known(t, (spoiled[t], spoiled[min(t + 1, 9)], -0.0)) for t in range(10)}
    assert leaks(whole, other, 4) == {1, 2}
    assert leaks(whole, {t: whole[t] for t in range(4)}, 4) == {0, 1, 2}
    assert leaks(whole, {t: whole[t] for t in range(5)}, 4) == set()
    assert told_after(whole, other, 4) == {0, 1, 2}
