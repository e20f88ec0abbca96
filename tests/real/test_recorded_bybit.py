"""Bybit's old dialect on frames that it sent in April 2021."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from cryptofeed_recordings import read_received

from engine.books.keeper import BookKeeper
from engine.domain.market import BookUpdate, Heartbeat, MarketEvent, Trade
from engine.exchanges.bybit_v2 import BybitV2

pytestmark = pytest.mark.real

LINEAR = {"BCH": 478, "XTZ": 449, "UNI": 219, "LTC": 647, "DOT": 407, "LINK": 396, "ADA": 375}
FILES = {
    "BYBIT.ws.25.0": {f"{base}-USDT-PERP": count for base, count in LINEAR.items()}
    | {"ETH-USDT-PERP": 289},
    "BYBIT.ws.26.0": {"EOS-USD-PERP": 511, "BTC-USD-PERP": 507},
}
"""File -> instrument -> updates of its book, snapshot included."""


def events_of(real_data: Path, name: str) -> list[list[MarketEvent]]:
    venue = BybitV2()
    venue.subscribe(list(FILES[name]), ("trades", "book"))
    path = real_data / "frames" / "cryptofeed" / name
    return [list(venue.parse(frame, time)) for time, frame in read_received(path)]


@pytest.mark.parametrize(
    ("name", "frames", "trades"),
    [
        ("BYBIT.ws.25.0", {Trade: 66, BookUpdate: 3260, Heartbeat: 16}, 101),
        ("BYBIT.ws.26.0", {Trade: 76, BookUpdate: 1018, Heartbeat: 4}, 150),
    ],
)
def test_bybit_frames_become_what_they_are(
    real_data: Path, name: str, frames: dict[type, int], trades: int
) -> None:
    parsed = events_of(real_data, name)
    assert Counter(type(events[0]) for events in parsed) == frames
    ids = [(e.instrument, e.trade_id) for events in parsed for e in events if isinstance(e, Trade)]
    assert len(ids) == len(set(ids)) == trades


def test_bybit_first_trades_are_exact(real_data: Path) -> None:
    linear, inverse = (
        next(e for events in events_of(real_data, name) for e in events if isinstance(e, Trade))
        for name in FILES
    )
    assert linear == Trade(
        "bybit",
        "BCH-USDT-PERP",
        "01cacfe9-8d1c-5ee4-995d-d79a43f955a6",
        0,
        1053.9,
        0.14,
        "buy",
        1618677785116000000,
        linear.receive_time,
    )
    assert (inverse.instrument, inverse.price, inverse.amount) == (
        "BTC-USD-PERP",
        60621.5,
        4 / 60621.5,
    )


@pytest.mark.parametrize("name", sorted(FILES))
def test_bybit_books_stay_whole(real_data: Path, name: str) -> None:
    """Whatever is deleted was there, 25 levels a side remain, and the sides never cross."""
    counts = FILES[name]
    kept = BookKeeper(
        "bybit",
        list(counts),
        levels=BybitV2.book_levels,
        checksum=None,
        checksum_levels=0,
        snapshots="stream",
    )
    applied: Counter[str] = Counter()
    for update in (e for events in events_of(real_data, name) for e in events):
        if not isinstance(update, BookUpdate):
            continue
        before = kept.book(update.instrument)
        prices = set() if before is None else {p for p, _ in (*before.bids(), *before.asks())}
        gone = {price for price, amount in (*update.bids, *update.asks) if amount == 0}
        assert gone <= prices
        applied[update.instrument] += len(kept.take(update))
        book = kept.book(update.instrument)
        assert book is not None
        bids, asks = book.bids(), book.asks()
        assert len(bids) == len(asks) == 25
        assert bids[0][0] < asks[0][0]
    assert applied == counts
    assert kept.faults() == []
    assert kept.stale == 0
