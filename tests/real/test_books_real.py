"""Books kept from recordings show what the venue itself shows as its best prices."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.books.keeper import BookKeeper
from engine.domain.market import BookTop, BookUpdate
from engine.exchanges.recording import read_frames
from engine.exchanges.registry import exchange

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("file", "venue", "instrument", "applied", "stale", "compared"),
    [
        ("binance_spot/btcusdt_20240808.gz", "binance", "BTC-USDT", 3_450, 2, 564),
        ("binance_spot/ethusdt_20240808.gz", "binance", "ETH-USDT", 3_433, 2, 577),
        ("binance_usdm/btcusdt_20240808.gz", "binance_perp", "BTC-USDT-PERP", 6_548, 4, 503),
    ],
)
def test_kept_book_has_the_best_prices_that_the_venue_tells_of_the_same_update(
    real_data: Path, file: str, venue: str, instrument: str, applied: int, stale: int, compared: int
) -> None:
    adapter = exchange(venue)
    adapter.track([instrument])
    kept = BookKeeper(
        venue, [instrument], levels=0, checksum=None, checksum_levels=0, snapshots="rest"
    )
    tops: dict[int, tuple[float, ...]] = {}
    updates = equal = 0
    for receive_time, frame in read_frames(real_data / "frames" / file):
        for event in adapter.parse(frame, receive_time):
            if isinstance(event, BookTop):
                best = (event.bid_price, event.bid_amount, event.ask_price, event.ask_amount)
                tops[event.sequence] = best
            elif isinstance(event, BookUpdate) and (taken := kept.take(event)):
                updates += len(taken)
                book = kept.book(instrument)
                assert book is not None
                told = tops.get(book.sequence or 0)
                if told is not None:
                    assert told == (*book.bids(1)[0], *book.asks(1)[0])
                    equal += 1
    assert (updates, kept.stale, equal) == (applied, stale, compared)
    assert (kept.faults(), kept.wanted(), kept.live) == ([], [], {instrument})
