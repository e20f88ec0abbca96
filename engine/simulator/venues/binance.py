"""Binance spot as a server: raw and combined streams, control messages, books, past trades.

After https://developers.binance.com/docs/binance-spot-api-docs (web-socket-streams, rest-api) as
known on 2026-11-21 and frames recorded in 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument
from engine.domain.market import BookTop, Trade
from engine.simulator.live_book import BookChange
from engine.simulator.venues.base import Client
from engine.simulator.venues.binance_wire import (
    BinanceLike,
    combined_frame,
    flag,
    level_texts,
)
from engine.simulator.venues.digits import LevelTexts


class BinanceVenue(BinanceLike):
    """Simulated Binance spot: ``@trade``, ``@bookTicker``, ``@depth@100ms``."""

    name = "binance"
    socket_paths = ("/stream", "/ws", "/ws/{streams:.+}")
    api = "/api/v3"
    kinds = {  # noqa: RUF012
        "trade": "trades",
        "bookTicker": "book_top",
        "depth@100ms": "book",
    }
    max_streams = 1_024

    def symbol_of(self, instrument: Instrument) -> str:
        """Return for example ``BTCUSDT``."""
        return instrument.base + instrument.quote

    def level_texts(self, instrument: str) -> LevelTexts:
        """Write prices and amounts with eight digits."""
        asset = self.asset(instrument)
        return level_texts(asset.price_decimals, asset.amount_decimals, eight=True)

    def padded(self, text: str) -> str:
        """Write eight digits."""
        whole, _, fraction = text.partition(".")
        return f"{whole}.{fraction:0<8}"

    def price(self, trade: Trade) -> str:
        """Write eight digits."""
        return f"{trade.price:.8f}"

    def amount(self, trade: Trade) -> str:
        """Write eight digits."""
        return f"{trade.amount:.8f}"

    def trade_frames(self, client: Client, trades: Sequence[Trade]) -> list[str]:
        """One ``@trade`` frame each."""
        symbol = self.symbol(trades[0].instrument)
        stream = f"{symbol.lower()}@trade"
        frames = []
        for trade in trades:
            time_ms = trade.exchange_time // NS_PER_MS
            data = (
                f'{{"e":"trade","E":{time_ms + 1},"s":"{symbol}","t":{trade.sequence},'
                f'"p":"{trade.price:.8f}","q":"{trade.amount:.8f}","T":{time_ms},'
                f'"m":{flag(trade.side == "sell")},"M":true}}'
            )
            frames.append(combined_frame(client, stream, data))
        return frames

    def top_frames(self, client: Client, top: BookTop, last: Trade, *, traded: bool) -> list[str]:
        """One ``@bookTicker`` frame."""
        del last, traded
        symbol = self.symbol(top.instrument)
        data = (
            f'{{"u":{top.sequence},"s":"{symbol}","b":"{top.bid_price:.8f}",'
            f'"B":"{top.bid_amount:.8f}","a":"{top.ask_price:.8f}","A":"{top.ask_amount:.8f}"}}'
        )
        return [combined_frame(client, f"{symbol.lower()}@bookTicker", data)]

    def depth_frame(self, client: Client, instrument: str, change: BookChange) -> str:
        """Encode a ``depthUpdate`` of the numbers ``U..u``."""
        symbol, writer = self.symbol(instrument), self.level_texts(instrument)
        data = (
            f'{{"e":"depthUpdate","E":{change.time_ns // NS_PER_MS},"s":"{symbol}",'
            f'"U":{change.first_sequence},"u":{change.last_sequence},'
            f'"b":{writer.write(change.bids)},"a":{writer.write(change.asks)}}}'
        )
        return combined_frame(client, f"{symbol.lower()}@depth@100ms", data)

    def past_trade(self, trade: Trade) -> dict[str, Any]:
        """Write one row of ``historicalTrades``."""
        return {**super().past_trade(trade), "isBestMatch": True}

    def symbol_row(self, instrument: str) -> dict[str, Any]:
        """Return what ``exchangeInfo`` says of a symbol; ``BREAK`` where it is delisted."""
        asset, listing = self.asset(instrument), self.listing(instrument)
        tick, lot = f"{10.0**-asset.price_decimals:.8f}", f"{10.0**-asset.amount_decimals:.8f}"
        quote = Instrument.parse(instrument).quote
        return {
            "symbol": self.symbol(instrument),
            "status": "TRADING" if listing.status == "trading" else "BREAK",
            "baseAsset": asset.base,
            "baseAssetPrecision": 8,
            "quoteAsset": quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": tick,
                    "maxPrice": "1000000.00000000",
                    "tickSize": tick,
                },
                {
                    "filterType": "LOT_SIZE",
                    "minQty": lot,
                    "maxQty": "9000000000.00000000",
                    "stepSize": lot,
                },
            ],
            "permissions": ["SPOT"],
        }
