"""The market process: one world, seen as prices, minute bars and trades at any time.

Every answer is a pure function of (configuration, time): nothing depends on what was asked
before, so a second start continues the same market, and the trades of a minute realise exactly
the bar that REST answers for it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from engine.clock import NS_PER_S
from engine.config import SimulatorConfig
from engine.domain.market import Trade
from engine.simulator.draws import Floats, Integers, Stream, generator
from engine.simulator.listing import (
    ASSET_INDEX,
    ASSETS,
    MEAN_TRADE_QUOTE,
    SEGMENTS,
    Place,
    place_of,
    trade_share,
)
from engine.simulator.paths import MINUTES, TIME_OF_DAY, Paths
from engine.simulator.planted import DAY_NS, PlantedSentiment, TextProcess
from engine.simulator.tape import Tape, realise

MINUTE_NS = 60 * NS_PER_S

CACHED_BARS = 300
"""Market days of bars kept in memory, 80 KB each; at least two for each market."""

CACHED_MINUTES = 600
"""Market minutes of trades kept in memory; at least four for each market."""

_TIME_STEP_NS = {"coinbase": 1_000, "kraken": 1_000}
_MILLISECOND = 1_000_000
_BASIS = 0.0001


class DayBars(NamedTuple):
    """Minute bars of one market and day; all 1,440 long, prices in ticks, amounts in lots."""

    first_id: Integers
    """Id of the minute's first trade (of the next one to come, where it has none)."""
    trade_count: Integers
    """Trades; 0 means that there is no bar."""
    open: Integers
    high: Integers
    low: Integers
    close: Integers
    lots: Integers
    buy_lots: Integers
    """Of them bought by takers."""


class MarketProcess:
    """The simulated market.

    Parameters
    ----------
    config
        Seed, epoch, rates and planted strength.
    markets
        How many markets will be looked at all the time. It only decides what is kept in memory.
    """

    def __init__(self, config: SimulatorConfig, markets: int = 0) -> None:
        self.config = config
        self.epoch_ns = config.epoch_ns
        self.first_day_ns = config.epoch_ns - config.epoch_ns % DAY_NS
        weekday = datetime.fromtimestamp(self.first_day_ns // NS_PER_S, UTC).weekday()
        self.paths = Paths(config.seed, weekday)
        self.texts = TextProcess(config, self.first_day_ns)
        self.planted = PlantedSentiment(config, self.texts)
        self.day_bars = lru_cache(max(CACHED_BARS, 2 * markets))(self._day_bars)
        self.minute = lru_cache(max(CACHED_MINUTES, 4 * markets))(self._minute)
        self._ids: dict[Place, Integers] = {}
        self._day_path = lru_cache(CACHED_BARS)(self._planted_day)

    def log_prices(self, assets: Sequence[str], times: Sequence[int] | Integers) -> Floats:
        """Return log prices before any venue's own noise, interpolated between minutes.

        Parameters
        ----------
        assets
            Base currencies.
        times
            UTC nanoseconds from the epoch's day on, ascending.

        Returns
        -------
        array, (assets, times)
        """
        moments = np.asarray(times, dtype=np.int64)
        days = (moments - self.first_day_ns) // DAY_NS
        result = np.empty((len(assets), len(moments)))
        for row, base in enumerate(assets):
            for day in np.unique(days).tolist():
                inside = days == day
                offset = (moments[inside] - self.first_day_ns - day * DAY_NS) / MINUTE_NS
                path = self._day_path(ASSET_INDEX[base], day)
                result[row, inside] = np.interp(offset, np.arange(MINUTES + 1.0), path)
        return result

    def trades(self, exchange: str, instrument: str, start_ns: int, end_ns: int) -> list[Trade]:
        """Return every trade of a market in ``[start_ns, end_ns)``; it was received at once."""
        place = place_of(exchange, instrument)
        found: list[Trade] = []
        start_ns = max(start_ns, self.epoch_ns)
        for minute in range(self.minute_of(start_ns), self.minute_of(end_ns - 1) + 1):
            tape = self.minute(place, minute)
            first, last = bisect_left(tape.times, start_ns), bisect_left(tape.times, end_ns)
            found += [self.trade(exchange, instrument, tape, n) for n in range(first, last)]
        return found

    def numbered(self, exchange: str, instrument: str, first: int, last: int) -> list[Trade]:
        """Return a market's trades with the ids ``first..last``, whenever they happen."""
        place = place_of(exchange, instrument)
        found: list[Trade] = []
        first = max(first, 1)
        while first <= last:
            tape = self.minute(place, self._minute_of_id(place, first))
            skip = first - tape.first_id
            stop = min(len(tape.times), last - tape.first_id + 1)
            found += [self.trade(exchange, instrument, tape, n) for n in range(skip, stop)]
            first = tape.first_id + stop
        return found

    def next_id(self, exchange: str, instrument: str, time_ns: int) -> int:
        """Return the id of a market's first trade at or after a time."""
        tape = self.minute(place_of(exchange, instrument), self.minute_of(time_ns))
        return tape.first_id + bisect_left(tape.times, time_ns)

    def last_trade(self, exchange: str, instrument: str, time_ns: int) -> Trade | None:
        """Return a market's last trade at or before a time, None where there was none yet."""
        if time_ns < self.epoch_ns:
            return None
        tape = self.minute(place_of(exchange, instrument), self.minute_of(time_ns))
        before = bisect_right(tape.times, time_ns)
        if before:
            return self.trade(exchange, instrument, tape, before - 1)
        found = self.numbered(exchange, instrument, tape.first_id - 1, tape.first_id - 1)
        return found[0] if found and found[0].exchange_time >= self.epoch_ns else None

    def _minute_of_id(self, place: Place, number: int) -> int:
        """Return the minute of the trade with this id."""
        day = 0
        while (known := self._first_ids(place, day))[-1] <= number:
            day = len(known)
        day = int(np.searchsorted(known, number, side="right")) - 1
        starts = self.day_bars(place, day).first_id
        return day * MINUTES + int(np.searchsorted(starts, number, side="right")) - 1

    def trade(self, exchange: str, instrument: str, tape: Tape, index: int) -> Trade:
        """Return one trade of a minute's tape; it was received the moment it happened."""
        asset = ASSETS[place_of(exchange, instrument).asset]
        number, time_ns = tape.first_id + index, tape.times[index]
        return Trade(
            exchange,
            instrument,
            str(number),
            number,
            tape.ticks[index] / 10**asset.price_decimals,
            tape.lots[index] / 10**asset.amount_decimals,
            "buy" if tape.is_buy[index] else "sell",
            time_ns,
            time_ns,
        )

    def minute_of(self, time_ns: int) -> int:
        """Return the number of the minute that holds `time_ns`, counted from the first day."""
        return (time_ns - self.first_day_ns) // MINUTE_NS

    def minute_start(self, minute: int) -> int:
        """Return when minute number `minute` starts, UTC nanoseconds."""
        return self.first_day_ns + minute * MINUTE_NS

    def _minute(self, place: Place, minute: int) -> Tape:
        """Return the trades of one minute."""
        day, index = divmod(minute, MINUTES)
        bars = self.day_bars(place, day)
        rng = generator(self.config.seed, Stream.TRADES, *place, minute)
        return realise(
            rng,
            *(int(column[index]) for column in bars),
            start_ns=self.minute_start(minute),
            step_ns=_TIME_STEP_NS.get(SEGMENTS[place.segment].exchange, _MILLISECOND),
        )

    def _planted_day(self, asset: int, day: int) -> Floats:
        """Return the asset's log price at each minute's start and the day's end."""
        times = self.first_day_ns + day * DAY_NS + np.arange(MINUTES + 1) * MINUTE_NS
        path: Floats = self.paths.asset_day(asset, day).log_price
        return path + self.planted.log_price(asset, times)

    def _day_bars(self, place: Place, day: int) -> DayBars:
        """Return the minute bars of a market on day number `day`."""
        asset = place.asset
        listed = ASSETS[asset]
        rng = generator(self.config.seed, Stream.MARKET_MINUTES, *place, day)
        basis = _BASIS * rng.standard_normal(MINUTES + 1)
        basis[0] = basis[-1] = 0.0
        price = np.exp(self._day_path(asset, day) + basis) * 10**listed.price_decimals
        node = np.maximum(np.rint(price), 1).astype(np.int64)
        sigma = self.paths.asset_day(asset, day).sigma
        reach = (0.35 * sigma * price[:-1] * rng.exponential(size=(2, MINUTES))).astype(np.int64)
        pace = TIME_OF_DAY * np.sqrt(sigma / sigma.mean()) * rng.gamma(2.0, 0.5, MINUTES)
        ids = self._first_ids(place, day)
        passed = np.rint(np.cumsum(pace) / pace.sum() * (ids[day + 1] - ids[day])).astype(np.int64)
        count = np.diff(passed, prepend=0)
        open_, high, low, close = _prices(node, reach, count)
        lots = count + _extra_lots(rng, listed.price, listed.amount_decimals, count)
        lean = np.tanh((close - open_) / (sigma * price[:-1] + 1.0))
        share = np.clip(0.5 + 0.25 * lean + 0.08 * rng.standard_normal(MINUTES), 0.05, 0.95)
        buys = np.rint(share * count).astype(np.int64)
        buy_lots = buys + np.floor(share * (lots - count)).astype(np.int64)
        buy_lots = np.where(buys == 0, 0, np.where(buys == count, lots, buy_lots))
        first_id = ids[day] + passed - count
        return DayBars(first_id, count, open_, high, low, close, lots, buy_lots)

    def _first_ids(self, place: Place, day: int) -> Integers:
        """Return the id of each day's first trade, for at least `day` and the one after."""
        known = self._ids.get(place)
        if known is None or day + 1 >= len(known):
            rate = self.config.trades_per_second * trade_share(place) * 86_400
            activity = self.paths.skeleton(day).activity[:, place.asset]
            totals = np.rint(rate * activity).astype(np.int64)
            known = np.concatenate(([1], 1 + np.cumsum(totals)))
            self._ids[place] = known
        return known


def _prices(
    node: Integers, reach: Integers, count: Integers
) -> tuple[Integers, Integers, Integers, Integers]:
    """Return open, high, low and close that `count` trades can realise, in ticks."""
    close = node[1:]
    open_ = np.where(count == 1, close, node[:-1])
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    high = np.where(count >= 3, top + reach[0], top)
    low = np.where(count >= 4, np.maximum(bottom - reach[1], 1), bottom)
    return open_, high, low, close


def _extra_lots(
    rng: np.random.Generator, price: float, amount_decimals: int, count: Integers
) -> Integers:
    """Draw what the trades of each minute trade beyond one lot each."""
    mean = MEAN_TRADE_QUOTE / price * 10**amount_decimals
    spread = np.exp(0.6 * rng.standard_normal(len(count)) - 0.18)
    return np.asarray(np.floor(count * mean * spread), dtype=np.int64)
