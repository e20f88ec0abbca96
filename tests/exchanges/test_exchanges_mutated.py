"""Whatever the bytes, an adapter raises nothing but its two errors and lets no damage through."""

from __future__ import annotations

import math

import pytest
from exchanges_fakes import top_frame, trade_frame
from hypothesis import given
from hypothesis import strategies as st
from test_exchanges_coinbase import MATCH
from test_exchanges_coinbase import TICKER as COINBASE_TICKER
from test_exchanges_kraken import TICKER as KRAKEN_TICKER
from test_exchanges_kraken import UPDATE

from engine.domain.market import Heartbeat, Trade
from engine.errors import FrameError, VenueError
from engine.exchanges.registry import exchange

SAMPLES = {
    "binance": (trade_frame(1), top_frame(), '{"error":{"code":2,"msg":"no"},"id":1}'),
    "coinbase": (MATCH, COINBASE_TICKER, '{"type":"error","message":"m","reason":"r"}'),
    "kraken": (UPDATE, KRAKEN_TICKER, '{"method":"subscribe","success":false,"error":"e"}'),
}
PIECES = st.sampled_from(
    [
        b"",
        b"null",
        b"-",
        b"0",
        b"1e308",
        b"NaN",
        b'"',
        b"{",
        b"[]",
        b"\xff",
        b"true",
        b"99999999999999999999",
    ]
)


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    frame = draw(st.sampled_from(SAMPLES[name])).encode()
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(frame)))
        end = min(len(frame), start + draw(st.integers(0, 12)))
        frame = frame[:start] + draw(PIECES | st.binary(max_size=4)) + frame[end:]
    return frame


@pytest.mark.parametrize("name", sorted(SAMPLES))
@given(data=st.data())
def test_parse_mutated_frame_is_sound_or_refused(name: str, data: st.DataObject) -> None:
    adapter = exchange(name, guess_symbols=True)
    try:
        events = adapter.parse(data.draw(mutated(name)), 5)
    except (FrameError, VenueError):
        return
    for event in events:
        if isinstance(event, Heartbeat):
            continue
        numbers = (
            (event.price, event.amount)
            if isinstance(event, Trade)
            else (event.bid_price, event.bid_amount, event.ask_price, event.ask_amount)
        )
        assert all(math.isfinite(number) and number > 0 for number in numbers)
        assert event.exchange_time is None or 0 < event.exchange_time < 2**63
        assert 0 <= event.sequence < 2**63


@pytest.mark.parametrize("name", sorted(SAMPLES))
@given(frame=st.binary(max_size=64))
def test_parse_noise_is_refused(name: str, frame: bytes) -> None:
    with pytest.raises((FrameError, VenueError)):
        exchange(name).parse(frame, 5)
