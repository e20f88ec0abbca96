"""Kraken's adapters on 4,430 frames of version 1, of April 2021; 4,269 have a book's checksum."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from cryptofeed_recordings import read_answers, read_received

from engine.books.keeper import BookKeeper
from engine.domain.market import BookTop, BookUpdate, Heartbeat, MarketEvent, Trade
from engine.errors import FrameError
from engine.exchanges.kraken import Kraken
from engine.exchanges.kraken_v1 import KrakenV1
from engine.exchanges.recorded import inspect_recordings
from engine.exchanges.recording import encode_line

pytestmark = pytest.mark.real

FEED = Path("frames") / "cryptofeed"
TRADES, TICKERS, BOOKS = "KRAKEN.ws.48.0", "KRAKEN.ws.49.0", "KRAKEN.ws.50.0"
INSTRUMENTS = (
    *("ADA-BTC", "BTC-CHF", "ETH-CHF", "GRT-ETH", "KSM-BTC"),
    *("OCEAN-BTC", "OMG-USD", "SC-EUR", "WAVES-EUR", "XMR-USD"),
)


def parse(real_data: Path, name: str) -> list[MarketEvent]:
    """What became of a socket's frames: one event at least."""
    venue = KrakenV1()
    venue.track(INSTRUMENTS)
    events: list[MarketEvent] = []
    for receive_time, frame in read_received(real_data / FEED / name):
        found = venue.parse(frame, receive_time)
        assert found
        assert all(event.receive_time == receive_time for event in found)
        events += found
    return events


def new_keeper(venue: Kraken | KrakenV1, levels: int) -> BookKeeper:
    return BookKeeper(
        "kraken",
        INSTRUMENTS,
        levels=levels,
        checksum=venue.checksum,
        checksum_levels=venue.checksum_levels,
        snapshots="stream",
    )


@pytest.fixture(scope="module")
def updates(real_data: Path) -> list[BookUpdate]:
    return [event for event in parse(real_data, BOOKS) if isinstance(event, BookUpdate)]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        (TRADES, {Trade: 10, Heartbeat: 41}),
        (TICKERS, {BookTop: 18, Heartbeat: 42}),
        (BOOKS, {BookUpdate: 4_279, Heartbeat: 42}),
    ],
)
def test_kraken_frames_become_what_they_are(
    real_data: Path, name: str, kinds: dict[type, int]
) -> None:
    assert Counter(map(type, parse(real_data, name))) == kinds


def test_kraken_books_reproduce_every_checksum(updates: list[BookUpdate]) -> None:
    venue = KrakenV1()
    keeper = new_keeper(venue, venue.book_levels)
    applied = sum(len(keeper.take(update)) for update in updates)
    assert Counter(update.is_snapshot for update in updates) == {True: 10, False: 4_269}
    assert (applied, keeper.checked, keeper.stale, keeper.faults()) == (4_279, 4_269, 0, [])
    assert keeper.live == set(INSTRUMENTS)


def test_kraken_books_in_version_2_reproduce_every_checksum(updates: list[BookUpdate]) -> None:
    """The same books as version 2 words them: numbers instead of texts."""
    venue = Kraken()
    venue.track(INSTRUMENTS)
    keeper = new_keeper(venue, 1000)
    for update in updates:
        for again in venue.parse(as_version_2(update, venue.symbol(update.instrument)), 5):
            assert isinstance(again, BookUpdate)
            assert (again.bids, again.asks) == (update.bids, update.asks)
            assert (again.bid_texts, again.ask_texts) == (update.bid_texts, update.ask_texts)
            keeper.take(again)
    # Snapshots have a checksum in version 2 only; here it is the one that we computed.
    assert (keeper.checked, keeper.faults()) == (4_279, [])


def as_version_2(update: BookUpdate, symbol: str) -> bytes:
    checksum = update.checksum
    if checksum is None:
        checksum = Kraken().checksum(update.bid_texts, update.ask_texts)
    sides = {
        side: ",".join(f'{{"price":{price},"qty":{amount}}}' for price, amount in texts)
        for side, texts in (("bids", update.bid_texts), ("asks", update.ask_texts))
    }
    kind = "snapshot" if update.is_snapshot else "update"
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}",'
        f'"bids":[{sides["bids"]}],"asks":[{sides["asks"]}],"checksum":{checksum}}}]}}'
    ).encode()


def test_kraken_book_with_a_lost_update_is_found_out_alone(updates: list[BookUpdate]) -> None:
    venue = KrakenV1()
    keeper = new_keeper(venue, venue.book_levels)
    lost = next(
        number
        for number, update in enumerate(updates)
        if update.instrument == "XMR-USD" and not update.is_snapshot
    )
    for update in updates[:lost] + updates[lost + 1 :]:
        keeper.take(update)
    (fault,) = keeper.faults()
    assert (fault.instrument, fault.cause) == ("XMR-USD", "checksum")
    assert (keeper.wanted(), keeper.live) == (["XMR-USD"], set(INSTRUMENTS) - {"XMR-USD"})


def test_kraken_trades_have_ids_of_their_own(real_data: Path) -> None:
    once, again = (
        [event for event in parse(real_data, TRADES) if isinstance(event, Trade)] for _ in "12"
    )
    assert once == again
    assert len({trade.trade_id for trade in once}) == len(once)
    assert once[0].trade_id == "1618678142.557535/354.11000000/0.89594024/sl/0"


def test_kraken_recording_of_version_1_is_recognised(real_data: Path, tmp_path: Path) -> None:
    lines = read_received(real_data / FEED / BOOKS)
    path = tmp_path / "old.gz"
    path.write_bytes(b"".join(encode_line(*line) for line in lines))
    (recording,) = inspect_recordings([path])
    assert (recording.exchange, recording.instruments) == ("kraken", INSTRUMENTS)
    assert recording.frames == 4_321


def lists(frames: Iterable[tuple[int, bytes]]) -> list[bytes]:
    return [frame for _, frame in frames if isinstance(json.loads(frame), list)]


def test_kraken_frames_of_version_1_are_refused_by_version_2(real_data: Path) -> None:
    venue = Kraken(guess_symbols=True)
    frames = lists(read_received(real_data / FEED / TRADES))
    assert len(frames) == 8
    for frame in frames:
        with pytest.raises(FrameError) as caught:
            venue.parse(frame, 5)
        assert caught.value.kind == "bad_field"


def test_kraken_pairs_are_understood(real_data: Path) -> None:
    (answer,) = read_answers(real_data / FEED / "KRAKEN.0")
    listed = {symbol.instrument: symbol for symbol in Kraken().parse_metadata(answer.body)}
    assert (listed["BTC-USD"].symbol, listed["BTC-USD"].tick_size) == ("BTC/USD", 0.1)
    assert set(INSTRUMENTS) <= set(listed)
