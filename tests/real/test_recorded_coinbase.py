"""Coinbase's adapter on 9,946 frames that it sent in April 2021: ten whole books among them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from cryptofeed_recordings import read_answers, read_received

from engine.books.keeper import BookKeeper
from engine.domain.market import BookUpdate, Heartbeat, MarketEvent, SymbolMetadata, Trade
from engine.exchanges.coinbase import Coinbase

pytestmark = pytest.mark.real

FEED = Path("frames") / "cryptofeed"
PRODUCTS = (
    *("BAND-BTC", "BAND-GBP", "CRV-EUR", "DASH-BTC", "NMR-EUR"),
    *("NU-GBP", "SKL-BTC", "SKL-GBP", "SKL-USD", "YFI-BTC"),
)


class _Frame(msgspec.Struct):
    type: str


@pytest.fixture(scope="module")
def parsed(real_data: Path) -> list[tuple[str, MarketEvent | None]]:
    """Each frame's type and what became of it: one event at most."""
    venue = Coinbase()
    venue.track(PRODUCTS)
    found: list[tuple[str, MarketEvent | None]] = []
    for receive_time, frame in read_received(real_data / FEED / "COINBASE.ws.28.0"):
        events = venue.parse(frame, receive_time)
        assert len(events) <= 1
        assert all(event.receive_time == receive_time for event in events)
        kind = msgspec.json.decode(frame, type=_Frame).type
        found.append((kind, events[0] if events else None))
    return found


def test_coinbase_frames_become_what_they_are(parsed: list[tuple[str, MarketEvent | None]]) -> None:
    assert Counter((kind, type(event)) for kind, event in parsed) == {
        ("subscriptions", Heartbeat): 3,
        ("last_match", Trade): 10,
        ("match", Trade): 97,
        ("ticker", type(None)): 107,  # tickers had no sizes then
        ("snapshot", BookUpdate): 10,
        ("l2update", BookUpdate): 9_719,
    }


def test_coinbase_trades_have_consecutive_ids(
    parsed: list[tuple[str, MarketEvent | None]],
) -> None:
    ids: dict[str, list[int]] = {}
    for _, event in parsed:
        if isinstance(event, Trade):
            ids.setdefault(event.instrument, []).append(event.sequence)
    assert sorted(ids) == list(PRODUCTS)
    for numbers in ids.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_coinbase_books_follow_every_change(parsed: list[tuple[str, MarketEvent | None]]) -> None:
    keeper = BookKeeper(
        "coinbase", PRODUCTS, levels=0, checksum=None, checksum_levels=0, snapshots="stream"
    )
    applied = 0
    for _, event in parsed:
        if isinstance(event, BookUpdate):
            applied += len(keeper.take(event))
    assert (applied, keeper.stale, keeper.faults()) == (9_729, 0, [])
    assert keeper.live == set(PRODUCTS)
    book = keeper.book("YFI-BTC")
    assert book is not None
    assert (book.bids(1), book.asks(1)) == ([(0.82553, 0.017061)], [(0.82696, 0.03)])
    assert (len(book.bids()), len(book.asks())) == (203, 458)


def test_coinbase_products_are_understood(real_data: Path) -> None:
    (answer,) = read_answers(real_data / FEED / "COINBASE.0")
    listed = {symbol.symbol: symbol for symbol in Coinbase().parse_metadata(answer.body)}
    assert listed["SKL-EUR"] == SymbolMetadata(
        "coinbase", "SKL-EUR", "SKL-EUR", "trading", 0.0001, 0.1
    )
    assert set(PRODUCTS) <= set(listed)
