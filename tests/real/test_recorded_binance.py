"""Binance spot and futures on frames that they sent, in 2021 and 2024."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptofeed_recordings import read_answers, read_received

from engine.books.keeper import BookKeeper
from engine.domain.market import BookTop, BookUpdate, MarketEvent, Trade
from engine.exchanges import binance, binance_frames, binance_perp, binance_perp_frames
from engine.exchanges.base import Exchange
from engine.exchanges.layouts import is_compiled
from engine.exchanges.recorded import inspect_recordings
from engine.exchanges.recording import read_frames
from engine.exchanges.registry import exchange

pytestmark = pytest.mark.real

SPOT = {"NKN-USDT": (150, 1), "BLZ-ETH": (10, 1), "LRC-BTC": (15, 2), "RUNE-EUR": (2, 1)}
"""Spot instruments of 2021 -> changes of the book, and how many of them its snapshot outdates."""
PERPETUALS = {
    "SUSHI-USDT-PERP": (255, 3),
    "AKRO-USDT-PERP": (189, 1),
    "KEEP-USDT-PERP": (135, 3),
    "CTK-USDT-PERP": (185, 5),
}


def _kind(events: Sequence[MarketEvent]) -> str:
    if not events:
        return "unused"
    (event,) = events
    if isinstance(event, BookUpdate):
        return "snapshot" if event.is_snapshot else "change"
    return {Trade: "trade", BookTop: "top"}[type(event)]


def _keeper(name: str, instruments: Sequence[str]) -> BookKeeper:
    return BookKeeper(
        name, instruments, levels=0, checksum=None, checksum_levels=0, snapshots="rest"
    )


@pytest.mark.parametrize(
    ("file", "name", "instrument", "kinds"),
    [
        (
            "binance_spot/btcusdt_20240808.gz",
            "binance",
            "BTC-USDT",
            {"trade": 9_757, "top": 28_040, "change": 3_451, "snapshot": 1},
        ),
        (
            "binance_spot/ethusdt_20240808.gz",
            "binance",
            "ETH-USDT",
            {"trade": 6_106, "top": 24_077, "change": 3_434, "snapshot": 1},
        ),
        (
            "binance_usdm/btcusdt_20240808.gz",
            "binance_perp",
            "BTC-USDT-PERP",
            {"trade": 21_313, "top": 66_089, "change": 6_551, "snapshot": 1},
        ),
    ],
)
def test_recording_of_2024_has_exactly_these_kinds(
    real_data: Path, file: str, name: str, instrument: str, kinds: dict[str, int]
) -> None:
    adapter = exchange(name)
    adapter.track([instrument])
    found: Counter[str] = Counter()
    ids = []
    for receive_time, frame in read_frames(real_data / "frames" / file):
        events = adapter.parse(frame, receive_time)
        found[_kind(events)] += 1
        ids += [event.sequence for event in events if isinstance(event, Trade)]
        assert {event.instrument for event in events} == {instrument}
    assert found == kinds
    assert ids == list(range(ids[0], ids[0] + kinds["trade"]))


@pytest.mark.skipif(not is_compiled(), reason="installed without a compiler")
@pytest.mark.parametrize(
    ("file", "instrument", "venue", "frames"),
    [
        ("binance_spot/btcusdt_20240808.gz", "BTC-USDT", binance, binance_frames),
        ("binance_usdm/btcusdt_20240808.gz", "BTC-USDT-PERP", binance_perp, binance_perp_frames),
    ],
)
def test_every_recorded_frame_has_the_usual_layout_and_reads_the_same_without_it(
    real_data: Path,
    file: str,
    instrument: str,
    venue: ModuleType,
    frames: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = list(read_frames(real_data / "frames" / file))

    def read() -> list[Sequence[MarketEvent]]:
        adapter = exchange(frames.NAME)
        adapter.track([instrument])
        return [adapter.parse(frame, receive_time) for receive_time, frame in recorded]

    for decoder in ("_TRADE", "_BOOK_TICKER", "_DEPTH"):
        monkeypatch.setattr(frames, decoder, None)  # a frame of another layout fails
    compiled = read()
    monkeypatch.undo()
    plain = {kind: getattr(reader, "otherwise", reader) for kind, reader in venue._READERS.items()}
    monkeypatch.setattr(venue, "_READERS", plain)
    assert repr(read()) == repr(compiled)


@pytest.mark.parametrize(
    ("file", "name", "instrument", "frames"),
    [
        ("binance_spot/btcusdt_20240808.gz", "binance", "BTC-USDT", 41_249),
        ("binance_spot/ethusdt_20240808.gz", "binance", "ETH-USDT", 33_618),
        ("binance_usdm/btcusdt_20240808.gz", "binance_perp", "BTC-USDT-PERP", 93_954),
    ],
)
def test_recording_without_a_header_is_recognised(
    real_data: Path, file: str, name: str, instrument: str, frames: int
) -> None:
    (recording,) = inspect_recordings([real_data / "frames" / file])
    assert (recording.exchange, recording.instruments) == (name, (instrument,))
    assert recording.frames == frames


@pytest.mark.parametrize(
    ("file", "name", "instrument", "changes", "stale", "matched"),
    [
        ("binance_spot/btcusdt_20240808.gz", "binance", "BTC-USDT", 3_451, 2, 564),
        ("binance_spot/ethusdt_20240808.gz", "binance", "ETH-USDT", 3_434, 2, 577),
        ("binance_usdm/btcusdt_20240808.gz", "binance_perp", "BTC-USDT-PERP", 6_551, 4, 503),
    ],
)
def test_book_of_2024_has_no_gap_and_the_venues_best_prices(
    real_data: Path,
    file: str,
    name: str,
    instrument: str,
    changes: int,
    stale: int,
    matched: int,
) -> None:
    adapter = exchange(name)
    adapter.track([instrument])
    keeper = _keeper(name, [instrument])
    applied: list[BookUpdate] = []
    tops: dict[int, tuple[float, float]] = {}
    compared = 0
    for receive_time, frame in read_frames(real_data / "frames" / file):
        (event,) = adapter.parse(frame, receive_time)
        if isinstance(event, BookTop):
            tops[event.sequence] = (event.bid_price, event.ask_price)
        elif isinstance(event, BookUpdate):
            applied += keeper.take(event)
            book = keeper.book(instrument)
            told = tops.get(event.last_sequence or 0)
            if book is not None and told is not None:
                assert (book.bids(1)[0][0], book.asks(1)[0][0]) == told
                compared += 1
    assert keeper.faults() == []
    assert (keeper.stale, len(applied)) == (stale, 1 + changes - stale)
    # Where a change of the book ends with one of the best prices, the two must agree.
    assert compared == matched


@pytest.mark.parametrize(
    ("file", "name", "instruments", "kinds"),
    [
        ("BINANCE", "binance", SPOT, {"top": 84, "change": 177, "unused": 4}),
        (
            "BINANCE_FUTURES",
            "binance_perp",
            PERPETUALS,
            {"trade": 91, "top": 613, "change": 764, "unused": 67},
        ),
    ],
)
def test_recording_of_2021_has_exactly_these_kinds(
    real_data: Path,
    file: str,
    name: str,
    instruments: dict[str, tuple[int, int]],
    kinds: dict[str, int],
) -> None:
    adapter = exchange(name)
    adapter.track(instruments)
    found: Counter[str] = Counter()
    changes: Counter[str] = Counter()
    for receive_time, frame in read_received(_path(real_data, f"{file}.ws.1.0")):
        events = adapter.parse(frame, receive_time)
        found[_kind(events)] += 1
        changes.update(event.instrument for event in events if isinstance(event, BookUpdate))
    assert found == kinds
    assert changes == {instrument: count for instrument, (count, _) in instruments.items()}


@pytest.mark.parametrize(
    ("file", "name", "instruments"),
    [("BINANCE", "binance", SPOT), ("BINANCE_FUTURES", "binance_perp", PERPETUALS)],
)
def test_books_of_2021_drop_just_what_their_snapshots_outdate(
    real_data: Path, file: str, name: str, instruments: dict[str, tuple[int, int]]
) -> None:
    adapter = exchange(name)
    adapter.track(instruments)
    keeper = _keeper(name, list(instruments))
    stale: Counter[str] = Counter()
    applied: Counter[str] = Counter()
    for update in _updates(real_data, file, adapter):
        before = keeper.stale
        applied.update(taken.instrument for taken in keeper.take(update))
        stale[update.instrument] += keeper.stale - before
    assert keeper.faults() == []
    assert keeper.live == set(instruments)
    assert stale == {instrument: count for instrument, (_, count) in instruments.items()}
    assert applied == {
        instrument: 1 + changes - count for instrument, (changes, count) in instruments.items()
    }


def test_aggregate_trades_of_2021_are_counted(real_data: Path) -> None:
    adapter = exchange("binance_perp")
    adapter.track(PERPETUALS)
    ids: dict[str, list[int]] = {}
    for receive_time, frame in read_received(_path(real_data, "BINANCE_FUTURES.ws.1.0")):
        for event in adapter.parse(frame, receive_time):
            if isinstance(event, Trade):
                ids.setdefault(event.instrument, []).append(event.sequence)
    assert {instrument: len(found) for instrument, found in ids.items()} == {
        "SUSHI-USDT-PERP": 40,
        "AKRO-USDT-PERP": 8,
        "KEEP-USDT-PERP": 5,
        "CTK-USDT-PERP": 38,
    }
    for found in ids.values():
        assert found == list(range(found[0], found[0] + len(found)))


def test_spot_symbols_of_2021_are_understood(real_data: Path) -> None:
    (answer,) = read_answers(_path(real_data, "BINANCE.0"))
    listed = exchange("binance").parse_metadata(answer.body)
    assert Counter(symbol.status for symbol in listed) == {"trading": 1_262, "halted": 433}
    nkn = next(symbol for symbol in listed if symbol.instrument == "NKN-USDT")
    assert (nkn.symbol, nkn.tick_size, nkn.lot_size) == ("NKNUSDT", 0.0001, 1.0)


def test_contracts_of_2021_are_understood(real_data: Path) -> None:
    (answer,) = read_answers(_path(real_data, "BINANCE_FUTURES.0"))
    listed = exchange("binance_perp").parse_metadata(answer.body)
    perpetuals = [symbol for symbol in listed if symbol.instrument.endswith("-PERP")]
    dated = [symbol for symbol in listed if symbol not in perpetuals]
    assert (len(perpetuals), {symbol.status for symbol in listed}) == (119, {"trading"})
    assert [symbol.instrument for symbol in dated] == ["BTC-USDT-210924", "ETH-USDT-210924"]
    assert {symbol.delisted_at for symbol in dated} == {1_632_470_400_000_000_000}
    assert {symbol.delisted_at for symbol in perpetuals} == {None}
    bitcoin = perpetuals[0]
    assert (bitcoin.instrument, bitcoin.listed_at) == ("BTC-USDT-PERP", 1_569_398_400_000_000_000)


def _path(real_data: Path, name: str) -> Path:
    return real_data / "frames" / "cryptofeed" / name


def _updates(real_data: Path, file: str, adapter: Exchange) -> Iterator[BookUpdate]:
    """Yield changes and REST snapshots in the order in which they came."""
    found = [
        (time_ns, event)
        for time_ns, frame in read_received(_path(real_data, f"{file}.ws.1.0"))
        for event in adapter.parse(frame, time_ns)
        if isinstance(event, BookUpdate)
    ]
    for answer in read_answers(_path(real_data, f"{file}.http.0.0")):
        (symbol,) = parse_qs(urlsplit(answer.url).query)["symbol"]
        snapshot = adapter.parse_book(answer.body, adapter.instrument_of(symbol), answer.time_ns)
        found.append((answer.time_ns, snapshot))
    found.sort(key=lambda stamped: stamped[0])
    return (update for _, update in found)
