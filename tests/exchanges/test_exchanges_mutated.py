"""Whatever the bytes, an adapter raises nothing but its two errors and lets no damage through."""

from __future__ import annotations

import math

import pytest
from exchanges_fakes import top_frame, trade_frame
from hypothesis import given
from hypothesis import strategies as st
from test_exchanges_binance import BOOK as BINANCE_BOOK
from test_exchanges_binance import DEPTH as BINANCE_DEPTH
from test_exchanges_binance_perp import AGGREGATE
from test_exchanges_binance_perp import DEPTH as PERP_DEPTH
from test_exchanges_binance_perp import MARK as PERP_MARK
from test_exchanges_binance_perp import TICKER as PERP_TICKER
from test_exchanges_binance_perp import TRADE as PERP_TRADE
from test_exchanges_bitstamp import CHANGE as BITSTAMP_CHANGE
from test_exchanges_bitstamp import REFUSAL as BITSTAMP_REFUSAL
from test_exchanges_bitstamp import TOP as BITSTAMP_TOP
from test_exchanges_bitstamp import TRADE as BITSTAMP_TRADE
from test_exchanges_bybit import BOOK as BYBIT_BOOK
from test_exchanges_bybit import OLD_BOOK, OLD_TRADE
from test_exchanges_bybit import REFUSAL as BYBIT_REFUSAL
from test_exchanges_bybit import TICKER as BYBIT_TICKER
from test_exchanges_bybit import TOP as BYBIT_TOP
from test_exchanges_bybit import TRADES as BYBIT_TRADES
from test_exchanges_coinbase import MATCH
from test_exchanges_coinbase import SNAPSHOT as COINBASE_SNAPSHOT
from test_exchanges_coinbase import TICKER as COINBASE_TICKER
from test_exchanges_coinbase import UPDATE as COINBASE_BOOK
from test_exchanges_kraken import BOOK as KRAKEN_BOOK
from test_exchanges_kraken import TICKER as KRAKEN_TICKER
from test_exchanges_kraken import UPDATE
from test_exchanges_kraken_v1 import BOOK as OLD_KRAKEN_BOOK
from test_exchanges_kraken_v1 import SNAPSHOT as OLD_KRAKEN_SNAPSHOT
from test_exchanges_kraken_v1 import SPREAD as OLD_KRAKEN_SPREAD
from test_exchanges_kraken_v1 import TICKER as OLD_KRAKEN_TICKER
from test_exchanges_kraken_v1 import TRADES as OLD_KRAKEN_TRADES
from test_exchanges_okx import BOOK as OKX_BOOK
from test_exchanges_okx import FUNDING, INDEX, INTEREST, MARK
from test_exchanges_okx import REFUSAL as OKX_REFUSAL
from test_exchanges_okx import TOP as OKX_TOP
from test_exchanges_okx import TRADE as OKX_TRADE

from engine.domain.market import (
    BookTop,
    BookUpdate,
    Heartbeat,
    MarketEvent,
    PerpetualTick,
    Trade,
)
from engine.errors import FrameError, VenueError
from engine.exchanges.base import Exchange
from engine.exchanges.bybit_v2 import BybitV2
from engine.exchanges.kraken_v1 import KrakenV1
from engine.exchanges.registry import EXCHANGES

ADAPTERS: dict[str, type[Exchange]] = {**EXCHANGES, "bybit_v2": BybitV2, "kraken_v1": KrakenV1}
SAMPLES = {
    "binance": (
        *(trade_frame(1), top_frame(), BINANCE_DEPTH, BINANCE_BOOK.decode()),
        '{"error":{"code":2,"msg":"no"},"id":1}',
    ),
    "binance_perp": (
        *(AGGREGATE, PERP_TRADE, PERP_TICKER, PERP_DEPTH, PERP_MARK),
        '{"code":2,"msg":"no","id":1}',
    ),
    "coinbase": (
        *(MATCH, COINBASE_TICKER, COINBASE_BOOK, COINBASE_SNAPSHOT),
        '{"type":"error","message":"m","reason":"r"}',
    ),
    "bitstamp": (BITSTAMP_TRADE, BITSTAMP_TOP, BITSTAMP_CHANGE, BITSTAMP_REFUSAL),
    "bybit": (BYBIT_TRADES, BYBIT_BOOK, BYBIT_TOP, BYBIT_TICKER, BYBIT_REFUSAL),
    "bybit_v2": (OLD_TRADE, OLD_BOOK),
    "okx": (
        *(OKX_TRADE, OKX_BOOK, OKX_BOOK.replace('"checksum":0', '"checksum":-5'), OKX_TOP),
        *(FUNDING, MARK, INTEREST, INDEX, OKX_REFUSAL),
    ),
    "kraken": (
        *(UPDATE, KRAKEN_TICKER, KRAKEN_BOOK),
        '{"method":"subscribe","success":false,"error":"e"}',
    ),
    "kraken_v1": (
        *(OLD_KRAKEN_TRADES, OLD_KRAKEN_TICKER, OLD_KRAKEN_SPREAD),
        *(OLD_KRAKEN_BOOK, OLD_KRAKEN_SNAPSHOT),
    ),
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


def check(event: MarketEvent) -> None:
    """Fail where an event says what no market can."""
    positive: tuple[float | None, ...] = ()
    others: tuple[float | None, ...] = ()
    numbers: tuple[int | None, ...] = ()
    match event:
        case Trade():
            positive, numbers = (event.price, event.amount), (event.sequence,)
            assert event.trade_id
        case BookTop():
            positive = (event.bid_price, event.bid_amount, event.ask_price, event.ask_amount)
            numbers = (event.sequence,)
        case BookUpdate():
            levels = (*event.bids, *event.asks)
            positive = tuple(price for price, _ in levels)
            others = tuple(amount for _, amount in levels)
            assert all(amount >= 0 for amount in others)
            numbers = (event.first_sequence, event.last_sequence, event.previous_sequence)
            assert event.checksum is None or 0 <= event.checksum < 2**32
        case PerpetualTick():
            positive = (event.mark_price, event.index_price)
            others = (event.funding_rate, event.open_interest)
            numbers = (event.next_funding_time,)
        case Heartbeat():
            pass
    assert all(number is None or (math.isfinite(number) and number > 0) for number in positive)
    assert all(number is None or math.isfinite(number) for number in others)
    assert all(number is None or 0 <= number < 2**63 for number in numbers)
    assert event.exchange_time is None or 0 < event.exchange_time < 2**63


@pytest.mark.parametrize("name", sorted(SAMPLES))
@given(data=st.data())
def test_parse_mutated_frame_is_sound_or_refused(name: str, data: st.DataObject) -> None:
    adapter = ADAPTERS[name](guess_symbols=True)
    try:
        events = adapter.parse(data.draw(mutated(name)), 5)
    except (FrameError, VenueError):
        return
    for event in events:
        check(event)


@pytest.mark.parametrize("name", sorted(SAMPLES))
@given(frame=st.binary(max_size=64).filter(lambda frame: frame != b"pong"))
def test_parse_noise_is_refused(name: str, frame: bytes) -> None:
    with pytest.raises((FrameError, VenueError)):
        ADAPTERS[name]().parse(frame, 5)
