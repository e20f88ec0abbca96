"""Kraken spot as a server: WebSocket v2 trade and ticker; AssetPairs and OHLC.

After https://docs.kraken.com/exchange/api-reference/spot-websocket-v2 and REST answers of 2021.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from engine.clock import NS_PER_S, iso_utc
from engine.domain.instrument import Instrument
from engine.domain.market import BookTop, Trade
from engine.simulator.bars import bars
from engine.simulator.venues.base import Client, Feed, Venue, decimal

INTERVALS_MIN = (1, 5, 15, 30, 60, 240, 1440)
MAX_CANDLES = 720
SNAPSHOT_TRADES = 50

_FEEDS: dict[str, Feed] = {"trade": "trades", "ticker": "book_top"}
_OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
_PREFIXED = frozenset({"BTC", "ETH", "XRP", "LTC", "XLM", "XMR", "ZEC", "ETC"})
"""Currencies whose REST pair keeps the old ``X``/``Z`` prefixes."""


class KrakenVenue(Venue):
    """Simulated Kraken."""

    name = "kraken"
    socket_paths = ("/v2", "/")
    base_path = "/v2"

    def symbol(self, instrument: str) -> str:
        """Return for example ``BTC/USD``."""
        return instrument.replace("-", "/")

    def welcome(self, client: Client) -> list[str]:
        """Say that the system is online."""
        number = id(client)
        return [
            '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
            f'"api_version":"v2","connection_id":{number}}}]}}'
        ]

    def answer(self, text: str, client: Client) -> list[str]:
        """Answer ``subscribe``, ``unsubscribe`` and ``ping``."""
        now = iso_utc(self.clock.now_ns())
        try:
            message = json.loads(text)
            method = message["method"]
            extra = {"req_id": message["req_id"]} if "req_id" in message else {}
            if method == "ping":
                return [json.dumps({"method": "pong", **extra, "time_in": now, "time_out": now})]
            params = message["params"]
            channel, symbols = params["channel"], list(params["symbol"])
        except (ValueError, KeyError, TypeError):
            return [json.dumps({"error": "Malformed request", "success": False})]
        if method not in {"subscribe", "unsubscribe"} or channel not in _FEEDS:
            refused = {"error": f"Unsupported channel or method {channel}", "method": method}
            return [json.dumps(refused | {"success": False, **extra})]
        frames: list[str] = []
        snapshots: list[str] = []
        for symbol in symbols:
            base = {"method": method, **extra, "time_in": now, "time_out": now}
            instrument = self.by_symbol.get(symbol)
            if instrument is None:
                why = f"Currency pair not supported {symbol}"
                frames.append(json.dumps({"error": why, "symbol": symbol, "success": False} | base))
                continue
            result = {"channel": channel, "symbol": symbol}
            if method == "subscribe":
                client.wanted.add((_FEEDS[channel], instrument))
                snapshot = params.get("snapshot", True)
                result |= {"snapshot": snapshot}
                if channel == "ticker":
                    result |= {"event_trigger": params.get("event_trigger", "trades")}
                snapshots += self._snapshot(channel, instrument) if snapshot else []
            else:
                client.wanted.discard((_FEEDS[channel], instrument))
            frames.append(json.dumps({"result": result, "success": True} | base))
        return frames + snapshots

    def _snapshot(self, channel: str, instrument: str) -> list[str]:
        now = self.clock.now_ns()
        trades = self.last_trades(instrument, SNAPSHOT_TRADES if channel == "trade" else 1, now)
        if not trades:
            return []
        if channel == "trade":
            return [self._trades("snapshot", trades)]
        return [self._ticker("snapshot", self.top(trades[-1], now), trades[-1])]

    def trade_frames(self, client: Client, trades: Sequence[Trade]) -> list[str]:
        """All in one ``trade`` frame, as Kraken batches them."""
        del client
        return [self._trades("update", trades)]

    def _trades(self, kind: str, trades: Sequence[Trade]) -> str:
        asset = self.asset(trades[0].instrument)
        p, a = asset.price_decimals, asset.amount_decimals
        rows = ",".join(
            f'{{"symbol":"{self.symbol(trade.instrument)}","side":"{trade.side}",'
            f'"price":{trade.price:.{p}f},"qty":{trade.amount:.{a}f},"ord_type":"market",'
            f'"trade_id":{trade.sequence},"timestamp":"{iso_utc(trade.exchange_time)}"}}'
            for trade in trades
        )
        return f'{{"channel":"trade","type":"{kind}","data":[{rows}]}}'

    def top_frames(self, client: Client, top: BookTop, last: Trade, *, traded: bool) -> list[str]:
        """One ``ticker`` update."""
        del client, traded
        return [self._ticker("update", top, last)]

    def _ticker(self, kind: str, top: BookTop, last: Trade) -> str:
        asset, day = self.asset(top.instrument), self.figures(top.instrument)
        p, a = asset.price_decimals, asset.amount_decimals
        change = last.price - day.open
        return (
            f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{self.symbol(top.instrument)}",'
            f'"bid":{top.bid_price:.{p}f},"bid_qty":{top.bid_amount:.{a}f},'
            f'"ask":{top.ask_price:.{p}f},"ask_qty":{top.ask_amount:.{a}f},'
            f'"last":{last.price:.{p}f},"volume":{day.volume:.{a}f},"vwap":{day.vwap:.{p}f},'
            f'"low":{day.low:.{p}f},"high":{day.high:.{p}f},"change":{change:.{p}f},'
            f'"change_pct":{100 * change / day.open:.2f},'
            f'"timestamp":"{iso_utc(top.receive_time)}"}}]}}'
        )

    def heartbeats(self, client: Client, *, idle: bool) -> list[str]:
        """One a second while subscribed and nothing else was sent."""
        return ['{"channel":"heartbeat"}'] if client.wanted and idle else []

    def routes(self) -> list[web.RouteDef]:
        """``AssetPairs``, ``OHLC`` and ``Time``."""
        return [
            web.get("/0/public/Time", self._time),
            web.get("/0/public/AssetPairs", self._pairs),
            web.get("/0/public/OHLC", self._ohlc),
        ]

    async def _time(self, _: web.Request) -> web.Response:
        now = self.clock.now_ns()
        result = {"unixtime": now // NS_PER_S, "rfc1123": iso_utc(now)}
        return web.json_response({"error": [], "result": result})

    async def _pairs(self, request: web.Request) -> web.Response:
        names = [name for name in request.query.get("pair", "").split(",") if name]
        wanted = [self._find(name) for name in names] if names else list(self.assets)
        if None in wanted:
            return _refused("EQuery:Unknown asset pair")
        rows = {_pair(name)[0]: self._pair_row(name) for name in wanted if name}
        return web.json_response({"error": [], "result": rows})

    def _pair_row(self, instrument: str) -> dict[str, Any]:
        asset = self.asset(instrument)
        old = _OLD_NAMES.get(asset.base, asset.base)
        return {
            "altname": f"{old}{self.quote}",
            "wsname": f"{old}/{self.quote}",
            "aclass_base": "currency",
            "base": f"X{old}" if asset.base in _PREFIXED or old == "XDG" else old,
            "aclass_quote": "currency",
            "quote": f"Z{self.quote}",
            "lot": "unit",
            "cost_decimals": 5,
            "pair_decimals": asset.price_decimals,
            "lot_decimals": asset.amount_decimals,
            "lot_multiplier": 1,
            "fee_volume_currency": "ZUSD",
            "margin_call": 80,
            "margin_stop": 40,
            "ordermin": decimal(1, asset.amount_decimals),
            "costmin": "0.5",
            "tick_size": decimal(1, asset.price_decimals),
            "status": "online",
        }

    def _find(self, pair: str) -> str | None:
        """Return the instrument that a REST pair means, in any of its spellings."""
        for name in self.assets:
            if pair in {*_pair(name), self.symbol(name)}:
                return name
        return None

    async def _ohlc(self, request: web.Request) -> web.Response:
        instrument = self._find(request.query.get("pair", ""))
        if instrument is None:
            return _refused("EQuery:Unknown asset pair")
        try:
            minutes = int(request.query.get("interval", "1"))
            since = int(request.query.get("since", "0"))
        except ValueError:
            return _refused("EGeneral:Invalid arguments")
        if minutes not in INTERVALS_MIN:
            return _refused("EGeneral:Invalid arguments")
        now, step = self.clock.now_ns(), minutes * 60 * NS_PER_S
        running = now - now % step
        # Only the newest 720 exist, and only what opens after `since`; the running one always.
        start = max(running - (MAX_CANDLES - 1) * step, since * NS_PER_S + 1)
        rows = bars(self.market, self.name, instrument, step, (min(start, running), now + 1), now)
        p, a = (asset := self.asset(instrument)).price_decimals, asset.amount_decimals
        result = {
            _pair(instrument)[0]: [
                [
                    row.open_time // NS_PER_S,
                    *(decimal(v, p) for v in (row.open, row.high, row.low, row.close)),
                    f"{row.quote / row.lots / 10**p:.{p}f}" if row.lots else decimal(0, p),
                    decimal(row.lots, a),
                    row.trade_count,
                ]
                for row in rows
            ],
            "last": (running - step) // NS_PER_S,
        }
        return web.json_response({"error": [], "result": result})


def _pair(instrument: str) -> tuple[str, str, str]:
    """Return REST's names of a pair: the answer's key, the alternative name, the socket's."""
    base, quote, *_ = Instrument.parse(instrument)
    old = _OLD_NAMES.get(base, base)
    key = f"X{old}Z{quote}" if base in _PREFIXED else f"{old}{quote}"
    return key, f"{old}{quote}", f"{old}/{quote}"


def _refused(message: str) -> web.Response:
    return web.json_response({"error": [message]})
