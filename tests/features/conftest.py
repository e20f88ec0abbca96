"""Markets to compute features of: seeded walks with everything a real feed does to them."""

from collections.abc import Callable

import numpy as np
import pytest

from engine.books.measures import imbalance, microprice, spread_bps
from engine.clock import parse_iso_utc
from engine.domain.market import BookSnapshot
from engine.domain.timeframe import Timeframe
from engine.features.grid import Bar
from engine.features.warm_up import WARM_UP_BARS

MONTH = parse_iso_utc("2024-02-01T00:00:00Z")


def random_walk(
    seed: int,
    count: int,
    *,
    timeframe: Timeframe = Timeframe.H1,
    start_ns: int = MONTH - WARM_UP_BARS * Timeframe.H1.ns,
    price: float = 100.0,
    step: float = 0.01,
    quiet: float = 0.0,
    missing: float = 0.0,
    stuck: float = 0.0,
) -> list[Bar]:
    """Bars of a fat-tailed walk.

    `quiet`: share of intervals without a trade; `missing`: share of bars without vwap and taker
    volume; `stuck`: share of bars in stretches of 40 during which price does not move though
    there is volume.
    """
    rng = np.random.default_rng(seed)
    bars: list[Bar] = []
    close = price
    hold = 0
    for index in range(count):
        open_time = start_ns + index * timeframe.ns
        if bars and rng.random() < quiet:
            bars.append(Bar.flat(open_time, close))
            continue
        hold = 40 if hold == 0 and rng.random() < stuck / 40 else max(0, hold - 1)
        first = close
        close = first if hold else float(first * np.exp(step * rng.standard_t(3)))
        wick = 0.0 if hold else float(rng.exponential(step / 3))
        high, low = max(first, close) * (1 + wick), min(first, close) / (1 + wick)
        volume = float(rng.lognormal(2, 2))
        known = rng.random() >= missing
        bars.append(
            Bar(
                open_time,
                first,
                high,
                low,
                close,
                volume,
                (high + low) / 2 if known else float("nan"),
                (first + close) / 2,
                volume * float(rng.random()) if known else float("nan"),
            )
        )
    return bars


def random_books(
    seed: int,
    count: int,
    *,
    timeframe: Timeframe = Timeframe.H1,
    start_ns: int = MONTH,
    price: float = 100.0,
    missing: float = 0.2,
    exchange: str = "binance",
    instrument: str = "SOL-USDT",
) -> list[BookSnapshot]:
    """Snapshots of a book over `count` bars, ascending; the first bars' at their very edges.

    `missing`: share of bars without one. The others have one to three, some at the last
    nanosecond that belongs to the bar, some at the first, some twice in one nanosecond.
    """
    rng = np.random.default_rng(seed)
    found: list[BookSnapshot] = []
    for index in range(count):
        if index > 1 and rng.random() < missing:
            continue
        edges = [1, timeframe.ns - 1, timeframe.ns, timeframe.ns]
        inside = rng.integers(1, timeframe.ns + 1, size=2).tolist()
        offsets = rng.choice(edges + inside, size=int(rng.integers(1, 4)), replace=False)
        found += [
            book_snapshot(
                rng, start_ns + index * timeframe.ns + offset, price, exchange, instrument
            )
            for offset in sorted(offsets.tolist())
        ]
    return found


def book_snapshot(
    rng: np.random.Generator, as_of: int, price: float, exchange: str, instrument: str
) -> BookSnapshot:
    bid = price * (1 - float(rng.exponential(1e-4)) - 1e-9)
    ask = price * (1 + float(rng.exponential(1e-4)) + 1e-9)
    bids = [(bid, float(rng.lognormal())), (bid * 0.999, float(rng.lognormal()))]
    asks = [(ask, float(rng.lognormal())), (ask * 1.001, float(rng.lognormal()))]
    return BookSnapshot(
        exchange=exchange,
        instrument=instrument,
        bid_prices=tuple(level for level, _ in bids),
        bid_amounts=tuple(amount for _, amount in bids),
        ask_prices=tuple(level for level, _ in asks),
        ask_amounts=tuple(amount for _, amount in asks),
        spread_bps=spread_bps(bid, ask),
        imbalance=imbalance(bids, asks),
        microprice=microprice(bids[0], asks[0]),
        sequence=0,
        epoch=1,
        exchange_time=None,
        receive_time=as_of,
        as_of=as_of,
    )


@pytest.fixture(scope="session")
def book_walk() -> Callable[..., list[BookSnapshot]]:
    return random_books


@pytest.fixture(scope="session")
def walk() -> Callable[..., list[Bar]]:
    return random_walk


@pytest.fixture(scope="session")
def month() -> int:
    """Start of the month after the default warm-up of `walk`."""
    return MONTH
