"""Binance spot as a server: raw and combined streams, control messages, klines.

After https://developers.binance.com/docs/binance-spot-api-docs and frames recorded in 2024.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from engine.clock import NS_PER_MS, NS_PER_S
from engine.domain.market import BookTop, Trade
from engine.simulator.bars import bars
from engine.simulator.venues.base import Client, Feed, Venue, decimal

INTERVALS_S = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1_800, "1h": 3_600,
    "2h": 7_200, "4h": 14_400, "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400,
}  # fmt: skip
"""Lengths of klines, seconds."""

MAX_STREAMS = 1_024
_FEEDS: dict[str, Feed] = {"trade": "trades", "bookTicker": "book_top"}


class BinanceVenue(Venue):
    """Simulated Binance spot."""

    name = "binance"
    socket_paths = ("/stream", "/ws", "/ws/{streams:.+}")

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTCUSDT``."""
        return instrument.replace("-", "")

    def client(self, request: web.Request) -> Client:
        """Subscribe to the streams in the address."""
        combined = request.path == "/stream"
        client = Client(combined=combined)
        asked = (
            request.query.get("streams", "") if combined else request.match_info.get("streams", "")
        )
        for stream in filter(None, asked.split("/")):
            self._switch(client, stream, on=True)
        return client

    def answer(self, text: str, client: Client) -> list[str]:
        """Answer ``SUBSCRIBE``, ``UNSUBSCRIBE`` and ``LIST_SUBSCRIPTIONS``."""
        try:
            message = json.loads(text)
        except ValueError as error:
            return [_refusal(3, f"Invalid JSON: {error}", None)]
        number = message.get("id") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            return [_refusal(2, "Invalid request: missing field `method`", number)]
        method = message["method"]
        if method == "LIST_SUBSCRIPTIONS":
            return [json.dumps({"result": self._streams(client), "id": number})]
        wrong = _wrong(method, message.get("params"), len(client.wanted))
        if wrong:
            return [_refusal(2, f"Invalid request: {wrong}", number)]
        for stream in message["params"]:
            self._switch(client, stream, on=method == "SUBSCRIBE")
        return [json.dumps({"result": None, "id": number}, separators=(",", ":"))]

    def _switch(self, client: Client, stream: str, *, on: bool) -> None:
        symbol, _, kind = stream.partition("@")
        instrument, feed = self.by_symbol.get(symbol.upper()), _FEEDS.get(kind)
        # Like the real one, an unknown stream is accepted and stays silent.
        if instrument is None or feed is None:
            return
        (client.wanted.add if on else client.wanted.discard)((feed, instrument))

    def _streams(self, client: Client) -> list[str]:
        kinds = {feed: kind for kind, feed in _FEEDS.items()}
        return sorted(f"{self.symbol(i).lower()}@{kinds[feed]}" for feed, i in client.wanted)

    def trade_frames(self, client: Client, trades: Sequence[Trade]) -> list[str]:
        """One ``@trade`` frame each."""
        frames = []
        for trade in trades:
            symbol, time_ms = self.symbol(trade.instrument), trade.exchange_time // NS_PER_MS
            maker = "true" if trade.side == "sell" else "false"
            data = (
                f'{{"e":"trade","E":{time_ms + 1},"s":"{symbol}","t":{trade.sequence},'
                f'"p":"{trade.price:.8f}","q":"{trade.amount:.8f}","T":{time_ms},'
                f'"m":{maker},"M":true}}'
            )
            frames.append(_wrap(client, f"{symbol.lower()}@trade", data))
        return frames

    def top_frames(self, client: Client, top: BookTop, last: Trade, *, traded: bool) -> list[str]:
        """One ``@bookTicker`` frame."""
        del last, traded
        symbol = self.symbol(top.instrument)
        data = (
            f'{{"u":{top.sequence},"s":"{symbol}","b":"{top.bid_price:.8f}",'
            f'"B":"{top.bid_amount:.8f}","a":"{top.ask_price:.8f}","A":"{top.ask_amount:.8f}"}}'
        )
        return [_wrap(client, f"{symbol.lower()}@bookTicker", data)]

    def routes(self) -> list[web.RouteDef]:
        """``exchangeInfo``, ``klines``, ``time`` and ``ping``."""
        return [
            web.get("/api/v3/ping", self._ping),
            web.get("/api/v3/time", self._time),
            web.get("/api/v3/exchangeInfo", self._exchange_information),
            web.get("/api/v3/klines", self._klines),
        ]

    async def _ping(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _time(self, _: web.Request) -> web.Response:
        return web.json_response({"serverTime": self.clock.now_ns() // NS_PER_MS})

    async def _exchange_information(self, request: web.Request) -> web.Response:
        wanted = request.query.get("symbol")
        if wanted is not None and wanted not in self.by_symbol:
            return _error(-1121, "Invalid symbol.")
        symbols = [
            self._symbol_row(name)
            for name in self.assets
            if wanted is None or self.symbol(name) == wanted
        ]
        return web.json_response(
            {
                "timezone": "UTC",
                "serverTime": self.clock.now_ns() // NS_PER_MS,
                "rateLimits": [],
                "exchangeFilters": [],
                "symbols": symbols,
            }
        )

    def _symbol_row(self, instrument: str) -> dict[str, Any]:
        asset = self.asset(instrument)
        tick, lot = f"{10.0**-asset.price_decimals:.8f}", f"{10.0**-asset.amount_decimals:.8f}"
        return {
            "symbol": self.symbol(instrument),
            "status": "TRADING",
            "baseAsset": asset.base,
            "baseAssetPrecision": 8,
            "quoteAsset": self.quote,
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

    async def _klines(self, request: web.Request) -> web.Response:
        query = request.query
        for name in ("symbol", "interval"):
            if not query.get(name):
                return _error(
                    -1102,
                    f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
                )
        instrument, interval_s = (
            self.by_symbol.get(query["symbol"]),
            INTERVALS_S.get(query["interval"]),
        )
        if instrument is None:
            return _error(-1121, "Invalid symbol.")
        if interval_s is None:
            return _error(-1120, "Invalid interval.")
        now = self.clock.now_ns()
        try:
            limit = min(int(query.get("limit", 500)), 1_000)
            start = int(query["startTime"]) * NS_PER_MS if "startTime" in query else None
            end = int(query["endTime"]) * NS_PER_MS + 1 if "endTime" in query else now + 1
        except ValueError:
            return _error(-1100, "Illegal characters found in a parameter.")
        if limit < 1:
            return _error(-1100, "Illegal characters found in parameter 'limit'.")
        end, step = min(end, now + 1), interval_s * NS_PER_S
        if start is None:
            start = end - limit * step
        rows = bars(
            self.market, self.name, instrument, step, (start, min(end, start + limit * step)), now
        )
        asset = self.asset(instrument)
        scale = 10**asset.amount_decimals
        quote_scale = 10**asset.price_decimals * scale
        price, amount = asset.price_decimals, asset.amount_decimals
        return web.json_response(
            [
                [
                    row.open_time // NS_PER_MS,
                    *(_padded(decimal(p, price)) for p in (row.open, row.high, row.low, row.close)),
                    _padded(decimal(row.lots, amount)),
                    (row.open_time + step) // NS_PER_MS - 1,
                    f"{row.quote / quote_scale:.8f}",
                    row.trade_count,
                    _padded(decimal(row.buy_lots, amount)),
                    f"{row.buy_quote / quote_scale:.8f}",
                    "0",
                ]
                for row in rows
            ]
        )


def _padded(text: str) -> str:
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<8}"


def _wrong(method: str, streams: object, held: int) -> str:
    """Return what is wrong with a (un)subscription; empty where nothing is."""
    if method not in {"SUBSCRIBE", "UNSUBSCRIBE"}:
        return f"unknown variant `{method}`"
    if not isinstance(streams, list) or not all(isinstance(name, str) for name in streams):
        return "params must be an array of strings"
    if held + len(streams) > MAX_STREAMS:
        return f"more than {MAX_STREAMS} streams"
    return ""


def _wrap(client: Client, stream: str, data: str) -> str:
    return f'{{"stream":"{stream}","data":{data}}}' if client.combined else data


def _refusal(code: int, message: str, number: object) -> str:
    return json.dumps({"error": {"code": code, "msg": message}, "id": number})


def _error(code: int, message: str) -> web.Response:
    return web.json_response({"code": code, "msg": message}, status=400)
