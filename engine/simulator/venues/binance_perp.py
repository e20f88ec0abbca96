"""Binance USD-M futures as a server: perpetual swaps on the addresses /public and /market.

After https://developers.binance.com/docs/derivatives/usds-margined-futures (its
``Important-WebSocket-Change-Notice``, websocket-market-streams, market-data/REST-API) as known on
2026-11-21 and frames recorded in 2024.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument
from engine.domain.market import BookTop, Trade
from engine.simulator.live_book import BookChange
from engine.simulator.venues.base import Client, Feed
from engine.simulator.venues.binance_rest import INTERVALS_S
from engine.simulator.venues.binance_wire import (
    BinanceLike,
    combined_frame,
    flag,
    level_texts,
)
from engine.simulator.venues.digits import LevelTexts

ENDLESS_MS = 4_133_404_800_000
"""``deliveryDate`` of a perpetual whose end is not announced: 2100-12-25."""

_SECTIONS = {
    "public": frozenset({"bookTicker", "depth@100ms"}),
    "market": frozenset({"aggTrade", "markPrice@1s"}),
}


class BinancePerpVenue(BinanceLike):
    """Simulated Binance USD-M: ``@aggTrade``, ``@bookTicker``, ``@depth@100ms``, ``@markPrice@1s``.

    Each trade of the market is an aggregate of one trade, with the same number.
    """

    name = "binance_perp"
    socket_paths = tuple(
        f"/{section}{path}"
        for section in _SECTIONS
        for path in ("/stream", "/ws", "/ws/{streams:.+}")
    )
    api = "/fapi/v1"
    kinds = {  # noqa: RUF012
        "aggTrade": "trades",
        "bookTicker": "book_top",
        "depth@100ms": "book",
        "markPrice@1s": "mark",
    }
    slow_feeds = {"mark": 1.0}  # noqa: RUF012
    max_streams = 1_024
    intervals = tuple(name for name in INTERVALS_S if name != "1s")
    max_klines = 1_500

    def symbol_of(self, instrument: Instrument) -> str:
        """Return for example ``BTCUSDT``."""
        return instrument.base + instrument.quote

    def offers(self, client: Client, kind: str) -> bool:
        """Whether the address has the stream: an unfit one stays silent."""
        return kind in _SECTIONS[client.section]

    def level_texts(self, instrument: str) -> LevelTexts:
        """Write as many digits as the market has."""
        asset = self.asset(instrument)
        return level_texts(asset.price_decimals, asset.amount_decimals, eight=False)

    def price(self, trade: Trade) -> str:
        """Write the market's digits."""
        return f"{trade.price:.{self.asset(trade.instrument).price_decimals}f}"

    def amount(self, trade: Trade) -> str:
        """Write the market's digits."""
        return f"{trade.amount:.{self.asset(trade.instrument).amount_decimals}f}"

    def trade_frames(self, client: Client, trades: Sequence[Trade]) -> list[str]:
        """One ``@aggTrade`` frame each."""
        symbol = self.symbol(trades[0].instrument)
        stream = f"{symbol.lower()}@aggTrade"
        frames = []
        for trade in trades:
            number, time_ms = trade.sequence, trade.exchange_time // NS_PER_MS
            data = (
                f'{{"e":"aggTrade","E":{time_ms + 1},"a":{number},"s":"{symbol}",'
                f'"p":"{self.price(trade)}","q":"{self.amount(trade)}","f":{number},"l":{number},'
                f'"T":{time_ms},"m":{flag(trade.side == "sell")}}}'
            )
            frames.append(combined_frame(client, stream, data))
        return frames

    def top_frames(self, client: Client, top: BookTop, last: Trade, *, traded: bool) -> list[str]:
        """One ``@bookTicker`` frame."""
        del last, traded
        symbol, asset = self.symbol(top.instrument), self.asset(top.instrument)
        p, a, time_ms = asset.price_decimals, asset.amount_decimals, top.receive_time // NS_PER_MS
        data = (
            f'{{"e":"bookTicker","u":{top.sequence},"s":"{symbol}","b":"{top.bid_price:.{p}f}",'
            f'"B":"{top.bid_amount:.{a}f}","a":"{top.ask_price:.{p}f}",'
            f'"A":"{top.ask_amount:.{a}f}","T":{time_ms},"E":{time_ms}}}'
        )
        return [combined_frame(client, f"{symbol.lower()}@bookTicker", data)]

    def depth_frame(self, client: Client, instrument: str, change: BookChange) -> str:
        """Encode a ``depthUpdate`` that follows the one that ended at ``pu``."""
        symbol, writer = self.symbol(instrument), self.level_texts(instrument)
        time_ms = change.time_ns // NS_PER_MS
        data = (
            f'{{"e":"depthUpdate","E":{time_ms + 1},"T":{time_ms},"s":"{symbol}",'
            f'"U":{change.first_sequence},"u":{change.last_sequence},'
            f'"pu":{change.previous_sequence},"b":{writer.write(change.bids)},'
            f'"a":{writer.write(change.asks)}}}'
        )
        return combined_frame(client, f"{symbol.lower()}@depth@100ms", data)

    def slow_frames(self, client: Client, feed: Feed, instrument: str) -> list[str]:
        """One ``@markPrice@1s`` frame."""
        del feed
        if self.listing(instrument).status != "trading":
            return []
        symbol, state = self.symbol(instrument), self.perpetual(instrument)
        data = (
            f'{{"e":"markPriceUpdate","E":{self.clock.now_ns() // NS_PER_MS},"s":"{symbol}",'
            f'"p":"{state.mark_price:.8f}","i":"{state.index_price:.8f}",'
            f'"P":"{state.index_price:.8f}","r":"{state.funding_rate:.8f}",'
            f'"T":{state.funding_time_ns // NS_PER_MS}}}'
        )
        return [combined_frame(client, f"{symbol.lower()}@markPrice@1s", data)]

    # -- REST ----------------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        """Serve what spot has, ``openInterest`` and ``premiumIndex``."""
        return [
            *super().routes(),
            web.get(f"{self.api}/openInterest", self.guard(self._open_interest)),
            web.get(f"{self.api}/premiumIndex", self.guard(self._premium_index)),
        ]

    def depth(self, query: Mapping[str, str]) -> dict[str, Any]:
        """``depth``, with the times that futures add."""
        answer = super().depth(query)
        time_ms = self.clock.now_ns() // NS_PER_MS
        return {"lastUpdateId": answer["lastUpdateId"], "E": time_ms, "T": time_ms, **answer}

    def _open_interest(self, query: Mapping[str, str]) -> dict[str, Any]:
        instrument = self.instrument(query)
        decimals = self.asset(instrument).amount_decimals
        return {
            "openInterest": f"{self.perpetual(instrument).open_interest:.{decimals}f}",
            "symbol": self.symbol(instrument),
            "time": self.clock.now_ns() // NS_PER_MS,
        }

    def _premium_index(self, query: Mapping[str, str]) -> dict[str, Any]:
        instrument = self.instrument(query)
        state = self.perpetual(instrument)
        return {
            "symbol": self.symbol(instrument),
            "markPrice": f"{state.mark_price:.8f}",
            "indexPrice": f"{state.index_price:.8f}",
            "estimatedSettlePrice": f"{state.index_price:.8f}",
            "lastFundingRate": f"{state.funding_rate:.8f}",
            "interestRate": "0.00010000",
            "nextFundingTime": state.funding_time_ns // NS_PER_MS,
            "time": self.clock.now_ns() // NS_PER_MS,
        }

    def refusal(self, code: int, message: str, number: object) -> str:
        """Write an error on the socket, as futures write it."""
        return json.dumps({"code": code, "msg": message, "id": number})

    def symbol_row(self, instrument: str) -> dict[str, Any]:
        """Return what ``exchangeInfo`` says of a symbol; ``CLOSE`` where it is delisted."""
        asset, listing = self.asset(instrument), self.listing(instrument)
        quote = Instrument.parse(instrument).quote
        ended = listing.delisted_at
        return {
            "symbol": self.symbol(instrument),
            "pair": self.symbol(instrument),
            "contractType": "PERPETUAL",
            "deliveryDate": ENDLESS_MS if ended is None else ended // NS_PER_MS,
            "onboardDate": listing.listed_at // NS_PER_MS,
            "status": "TRADING" if listing.status == "trading" else "CLOSE",
            "baseAsset": asset.base,
            "quoteAsset": quote,
            "marginAsset": quote,
            "pricePrecision": asset.price_decimals,
            "quantityPrecision": asset.amount_decimals,
            "underlyingType": "COIN",
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": f"{10.0**-asset.price_decimals:.{asset.price_decimals}f}",
                    "maxPrice": "4529764",
                    "tickSize": f"{10.0**-asset.price_decimals:.{asset.price_decimals}f}",
                },
                {
                    "filterType": "LOT_SIZE",
                    "minQty": f"{10.0**-asset.amount_decimals:.{asset.amount_decimals}f}",
                    "maxQty": "1000000000",
                    "stepSize": f"{10.0**-asset.amount_decimals:.{asset.amount_decimals}f}",
                },
            ],
            "orderTypes": ["LIMIT", "MARKET"],
            "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        }
