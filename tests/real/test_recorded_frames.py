"""Adapters on frames that real venues sent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engine.domain.market import BookTop, Trade
from engine.errors import FrameError
from engine.exchanges.kraken import Kraken
from engine.exchanges.recording import read_frames
from engine.exchanges.registry import exchange
from engine.exchanges.replay import inspect_recordings

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("name", "instrument", "frames", "trades", "tops"),
    [
        ("btcusdt_20240808.gz", "BTC-USDT", 41_249, 9_757, 28_040),
        ("ethusdt_20240808.gz", "ETH-USDT", 33_618, 6_106, 24_077),
    ],
)
def test_binance_recording_parses_whole(
    real_data: Path, name: str, instrument: str, frames: int, trades: int, tops: int
) -> None:
    path = real_data / "frames" / "binance_spot" / name
    (recording,) = inspect_recordings([path])
    assert (recording.exchange, recording.instruments) == ("binance", (instrument,))
    adapter = exchange("binance")
    adapter.track([instrument])
    kinds: Counter[type] = Counter()
    ids = []
    for receive_time, frame in read_frames(path):
        events = adapter.parse(frame, receive_time)
        kinds[type(events[0]) if events else type(None)] += 1
        ids += [event.sequence for event in events if isinstance(event, Trade)]
    assert kinds == {Trade: trades, BookTop: tops, type(None): frames - trades - tops}
    assert recording.frames == frames
    assert ids == list(range(ids[0], ids[0] + trades))


def _payloads(path: Path) -> list[bytes]:
    """Return the received messages of a cryptofeed recording (``<seconds>: <message>``)."""
    lines = path.read_bytes().splitlines()
    return [line.partition(b": ")[2] for line in lines if line[:1].isdigit()]


def test_coinbase_recording_of_2021_parses(real_data: Path) -> None:
    adapter = exchange("coinbase", guess_symbols=True)
    frames = _payloads(real_data / "frames" / "cryptofeed" / "COINBASE.ws.28.0")
    events = [event for frame in frames for event in adapter.parse(frame, 5)]
    trades = [event for event in events if isinstance(event, Trade)]
    # 97 matches and a last match of each of 10 products; tickers had no sizes then.
    assert len(trades) == 107
    assert len({trade.instrument for trade in trades}) == 10
    assert not any(isinstance(event, BookTop) for event in events)


def test_coinbase_products_of_2021_are_understood(real_data: Path) -> None:
    line = (real_data / "frames" / "cryptofeed" / "COINBASE.0").read_bytes().splitlines()[0]
    body = line[line.index(b"[{") :]
    listed = {symbol.symbol: symbol for symbol in exchange("coinbase").parse_metadata(body)}
    assert listed["SKL-EUR"].tick_size == 0.0001
    assert listed["SKL-EUR"].lot_size == 0.1


def test_kraken_pairs_of_2021_are_understood(real_data: Path) -> None:
    line = (real_data / "frames" / "cryptofeed" / "KRAKEN.0").read_bytes().splitlines()[0]
    body = line[line.index(b'{"error"') :]
    listed = {symbol.instrument: symbol for symbol in exchange("kraken").parse_metadata(body)}
    assert (listed["BTC-USD"].symbol, listed["BTC-USD"].tick_size) == ("BTC/USD", 0.1)


def test_kraken_frames_of_version_1_are_refused_not_misread(real_data: Path) -> None:
    adapter = Kraken(guess_symbols=True)
    lists = [
        frame
        for frame in _payloads(real_data / "frames" / "cryptofeed" / "KRAKEN.ws.48.0")
        if frame.startswith(b"[")
    ]
    assert lists
    for frame in lists:
        with pytest.raises(FrameError) as caught:
            adapter.parse(frame, 5)
        assert caught.value.kind == "bad_field"
