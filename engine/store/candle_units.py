"""What a batch run of candles has to do: units of one market and day, and one of them done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from engine.candles.day import day_candles
from engine.clock import NS_PER_S
from engine.domain.instrument import Market
from engine.domain.market import Candle
from engine.domain.timeframe import Timeframe
from engine.store.client import Store
from engine.store.reader import Reader
from engine.store.recompute import recompute

SETTLED_NS = 60 * NS_PER_S
"""Intervals that ended so lately are left to the live run: trades of them may wait to be stored."""

RULES = "1"
"""Part of every fingerprint: changes where this code would make other candles of equal trades."""


@dataclass(frozen=True, slots=True)
class CandleUnit:
    """The candles of one market and day, of every timeframe."""

    market: Market
    start: int
    """The day's begin, UTC nanoseconds."""
    trades: int
    closed_through: int
    """Intervals that end later still form, UTC nanoseconds; not past the day."""
    timeframes: tuple[Timeframe, ...]
    fingerprint: str

    @property
    def name(self) -> str:
        """For example ``binance:BTC-USDT 2026-11-21``."""
        return f"{self.market} {datetime.fromtimestamp(self.start // NS_PER_S, UTC):%Y-%m-%d}"

    @property
    def end(self) -> int:
        """The day's end."""
        return self.start + Timeframe.D1.ns


def plan_candles(
    store: Store,
    timeframes: Sequence[Timeframe],
    *,
    begin: int,
    end: int,
    grace_ns: int,
    now: int,
    exchange: str = "",
    instruments: Sequence[str] = (),
) -> list[CandleUnit]:
    """Return the days with trades, by market and day.

    Parameters
    ----------
    store
        Where the trades are.
    timeframes
        Which candles are stored.
    begin, end
        Days that begin in or reach into ``[begin, end)``, UTC nanoseconds.
    grace_ns
        How long after its end, in the venue's time, an interval waits before it closes.
    now
        UTC nanoseconds; nothing that ended less than `SETTLED_NS` before it is closed.
    exchange, instruments
        Only these; all where they are empty.

    Raises
    ------
    StoreUnavailable
        Where the store does not answer.
    """
    newest = _newest(store)
    found = store.query_arrow(
        "SELECT exchange, instrument, "
        "toUnixTimestamp64Nano(toDateTime64(toStartOfDay(exchange_time), 9, 'UTC')) AS day, "
        "count() AS trades, groupBitXor(cityHash64("
        "trade_id, sequence, price, amount, side, exchange_time)) AS hash FROM trades "
        "WHERE ({exchange:String} = '' OR exchange = {exchange:String}) "
        "AND (empty({instruments:Array(String)}) "
        "OR has({instruments:Array(String)}, instrument)) "
        "AND exchange_time >= fromUnixTimestamp64Nano({begin:Int64}) "
        "AND exchange_time < fromUnixTimestamp64Nano({end:Int64}) "
        "GROUP BY exchange, instrument, day ORDER BY exchange, instrument, day",
        {
            "exchange": exchange,
            "instruments": list(instruments),
            "begin": Timeframe.D1.floor(begin),
            "end": -(-end // Timeframe.D1.ns) * Timeframe.D1.ns,
        },
    )
    units = []
    for row in found.to_pylist():
        market, day = Market(row["exchange"], row["instrument"]), row["day"]
        through = min(newest[market.exchange] - grace_ns, now - SETTLED_NS, day + Timeframe.D1.ns)
        names = [timeframe.value for timeframe in timeframes]
        told = [RULES, names, row["trades"], row["hash"], through]
        digest = hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
        units.append(CandleUnit(market, day, row["trades"], through, tuple(timeframes), digest))
    return units


def new_candles(store: Store, unit: CandleUnit) -> list[Candle]:
    """Make a unit's candles, and return those that are not stored as the trades make them."""
    seconds = [
        candle
        for stretch in recompute(store, unit.market, unit.start, unit.end)
        if stretch.timeframe is Timeframe.S1
        for candle in stretch.candles
    ]
    return day_candles(
        seconds, _held(store, unit), unit.timeframes, closed_through=unit.closed_through
    )


def _held(store: Store, unit: CandleUnit) -> Mapping[Timeframe, list[Candle]]:
    reader = Reader(store)
    return {
        timeframe: [
            candle
            for candle in reader.candles(*unit.market, timeframe, unit.start, unit.end)
            if candle.is_closed
        ]
        for timeframe in unit.timeframes
    }


def _newest(store: Store) -> dict[str, int]:
    """Return the time of each venue's newest trade, by the venue's clock."""
    found = store.query_arrow(
        "SELECT exchange, toUnixTimestamp64Nano(max(exchange_time)) AS newest FROM trades "
        "GROUP BY exchange"
    )
    return {row["exchange"]: row["newest"] for row in found.to_pylist()}
