"""Candles and texts whose faults are known."""

from __future__ import annotations

import random

from engine.clock import NS_PER_S, parse_iso_utc
from engine.domain.market import Candle
from engine.domain.text import TextItem

T0 = parse_iso_utc("2026-01-05T00:00:00Z")
HOUR = 3_600 * NS_PER_S
DAY = 24 * HOUR
END = T0 + 2 * DAY


def bar(
    number: int,
    instrument: str = "BTC-USDT",
    close: float | None = None,
    **changed: object,
) -> Candle:
    """Hourly bar `number` of a quiet walk: returns of about a percent."""
    draw = random.Random(f"{instrument} {number}")
    close = 100.0 * (1 + 0.01 * draw.uniform(-1, 1)) if close is None else close
    values = {
        "exchange": "binance",
        "instrument": instrument,
        "timeframe": "1h",
        "open_time": T0 + number * HOUR,
        "close_time": T0 + (number + 1) * HOUR,
        "open": close,
        "high": close * 1.001,
        "low": close * 0.999,
        "close": close,
        "volume": draw.uniform(1, 2),
        "quote_volume": None,
        "trade_count": None,
        "vwap": None,
        "twap": None,
        "taker_buy_volume": None,
        "source": "rest",
        "is_closed": True,
        "version": 1,
    }
    return Candle(**(values | changed))  # type: ignore[arg-type]  # of one dictionary


SAID = (
    "Bitcoin climbs above its highest price of the week as traders return",
    "Regulators delay their decision about the exchange's new licence again",
    "Developers of the network agree on a date for the next upgrade",
    "Miners sell more coins than they earn while the price is falling",
)
COINS = ("Solana", "Cardano", "Monero", "Litecoin", "Tezos", "Stellar", "Dash", "Cosmos", "Aptos",
         "Filecoin", "Avalanche", "Polkadot")  # fmt: skip


def sound_title(number: int) -> str:
    """An English headline unlike the others, for numbers below 48."""
    coin = COINS[number % len(COINS)]
    return f"{coin} holders watch: {SAID[number // len(COINS) % len(SAID)]}"


def text(number: int, title: str | None = None, **changed: object) -> TextItem:
    """Text `number`, an hour after the one before."""
    values = {
        "text_id": f"text-{number:03}",
        "source": "wire",
        "kind": "news",
        "title": sound_title(number) if title is None else title,
        "body": "",
        "url": "",
        "author": "",
        "published_at": T0 + number * HOUR,
        "available_at": T0 + number * HOUR + NS_PER_S,
        "engagement": 1.0,
        "credibility": 0.5,
        "instruments": ("BTC-USDT",),
    }
    return TextItem(**(values | changed))  # type: ignore[arg-type]  # of one dictionary
