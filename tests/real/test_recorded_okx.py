"""OKX's adapter on frames that it sent in May 2022: 410 of them, with 290 checksums of books."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from cryptofeed_recordings import read_answers, read_received

from engine.books.keeper import BookKeeper
from engine.domain.market import BookUpdate, Heartbeat, MarketEvent, SymbolMetadata, Trade
from engine.exchanges.okx import Okx

pytestmark = pytest.mark.real

FEED = Path("frames") / "cryptofeed"
BOOKS = ("BTC-USDT", "UNI-USD-PERP", "BTC-USD-220527")


class _Frame(msgspec.Struct):
    event: str = ""
    arg: dict[str, str] = {}


@pytest.fixture(scope="module")
def frames(real_data: Path) -> list[tuple[int, bytes]]:
    return list(read_received(real_data / FEED / "OKX.ws.1.0"))


@pytest.fixture(scope="module")
def parsed(frames: list[tuple[int, bytes]]) -> list[tuple[str, MarketEvent | None]]:
    """Each frame's channel, or ``event``, and what became of it: one event at most."""
    venue = Okx()
    venue.subscribe(BOOKS, ("book_top",))
    found: list[tuple[str, MarketEvent | None]] = []
    for receive_time, frame in frames:
        raw = msgspec.json.decode(frame, type=_Frame)
        events = venue.parse(frame, receive_time)
        assert len(events) <= 1
        assert all(event.receive_time == receive_time for event in events)
        found.append((raw.event or raw.arg["channel"], events[0] if events else None))
    return found


def books(parsed: list[tuple[str, MarketEvent | None]]) -> list[BookUpdate]:
    return [event for _, event in parsed if isinstance(event, BookUpdate)]


def keeper() -> BookKeeper:
    venue = Okx()
    return BookKeeper(
        "okx",
        BOOKS,
        levels=venue.book_levels,
        checksum=venue.checksum,
        checksum_levels=venue.checksum_levels,
        snapshots="stream",
    )


def test_okx_frames_become_what_they_are(parsed: list[tuple[str, MarketEvent | None]]) -> None:
    kinds = Counter((channel, type(event)) for channel, event in parsed)
    assert kinds == {
        ("subscribe", Heartbeat): 18,
        ("tickers", type(None)): 28,
        ("trades", Trade): 74,
        ("books", BookUpdate): 290,
    }


def test_okx_trades_have_consecutive_ids(parsed: list[tuple[str, MarketEvent | None]]) -> None:
    ids: dict[str, list[int]] = {}
    for _, event in parsed:
        if isinstance(event, Trade):
            ids.setdefault(event.instrument, []).append(event.sequence)
    assert {name: len(numbers) for name, numbers in ids.items()} == {
        "BTC-USDT": 69,
        "BTC-USD-220527": 4,
        "UNI-USD-PERP": 1,
    }
    for numbers in ids.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_okx_first_trades_are_exact(parsed: list[tuple[str, MarketEvent | None]]) -> None:
    first = {e.instrument: e for _, e in reversed(parsed) if isinstance(e, Trade)}
    spot, future = first["BTC-USDT"], first["BTC-USD-220527"]
    assert (spot.trade_id, spot.price, spot.amount, spot.side, spot.exchange_time) == (
        "338476307",
        30236.0,
        0.0002,
        "buy",
        1652459224818000000,
    )
    # One contract of 100 USD.
    assert (future.trade_id, future.price, future.amount) == ("7849", 30218.8, 100 / 30218.8)


def test_okx_books_reproduce_every_checksum(parsed: list[tuple[str, MarketEvent | None]]) -> None:
    kept, updates = keeper(), books(parsed)
    applied = [update for update in updates if kept.take(update)]
    assert Counter(update.instrument for update in applied) == {
        "BTC-USD-220527": 99,
        "BTC-USDT": 98,
        "UNI-USD-PERP": 93,
    }
    assert sum(update.is_snapshot for update in applied) == 3
    assert kept.checked == 290
    assert kept.live == set(BOOKS)
    assert kept.faults() == []


def test_okx_book_with_one_update_missing_fails_its_checksum(
    parsed: list[tuple[str, MarketEvent | None]],
) -> None:
    kept = keeper()
    mine = [update for update in books(parsed) if update.instrument == "BTC-USDT"]
    for update in [*mine[:10], *mine[11:]]:
        kept.take(update)
    (fault,) = kept.faults()
    assert (fault.instrument, fault.cause) == ("BTC-USDT", "checksum")
    assert kept.checked == 10


def test_okx_instruments_of_2022_are_understood(real_data: Path) -> None:
    listed: dict[str, SymbolMetadata] = {}
    for answer in read_answers(real_data / FEED / "OKX.0"):
        if answer.url.endswith(("instType=SPOT", "instType=SWAP")):
            listed |= {symbol.instrument: symbol for symbol in Okx().parse_metadata(answer.body)}
    # 513 spot markets and 126 linear swaps; 40 inverse swaps are left out.
    assert len(listed) == 639
    assert sum(name.endswith("-PERP") for name in listed) == 126
    swap = listed["BTC-USDT-PERP"]
    assert (swap.symbol, swap.contract_size, swap.tick_size) == ("BTC-USDT-SWAP", 0.01, 0.1)
    assert listed["BTC-USDT"].listed_at == 1548133413000000000
