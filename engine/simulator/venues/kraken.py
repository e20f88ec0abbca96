"""Kraken spot as a server: WebSocket v2 trade, ticker and book; AssetPairs, Trades, OHLC.

After https://docs.kraken.com/exchange/api-reference/spot-websocket-v2 and
https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2 as known on 2026-11-21, and
REST answers of 2021.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from engine.clock import iso_utc
from engine.domain.instrument import Instrument
from engine.domain.market import BookTop, Trade
from engine.simulator.books import Levels
from engine.simulator.live_book import LiveBook
from engine.simulator.venues.base import Client, Feed
from engine.simulator.venues.digits import decimal
from engine.simulator.venues.kraken_rest import KrakenRest

SNAPSHOT_TRADES = 50
DEPTHS = (10, 25, 100, 500, 1000)
CHECKSUM_LEVELS = 10

_FEEDS: dict[str, Feed] = {"trade": "trades", "ticker": "book_top", "book": "book"}


class KrakenVenue(KrakenRest):
    """Simulated Kraken."""

    name = "kraken"
    socket_paths = ("/v2", "/")
    base_path = "/v2"

    def symbol_of(self, instrument: Instrument) -> str:
        """Return for example ``BTC/USD``."""
        return f"{instrument.base}/{instrument.quote}"

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
        if channel == "book" and params.get("depth", 10) not in DEPTHS:
            refused = {"error": "Subscription depth not supported", "method": method}
            return [json.dumps(refused | {"success": False, **extra})]
        base = {"method": method, **extra, "time_in": now, "time_out": now}
        frames: list[str] = []
        snapshots: list[str] = []
        for symbol in symbols:
            instrument = self.by_symbol.get(symbol)
            if instrument is None:
                why = f"Currency pair not supported {symbol}"
                frames.append(json.dumps({"error": why, "symbol": symbol, "success": False} | base))
                continue
            result = {"channel": channel, "symbol": symbol}
            if method == "subscribe":
                result |= self._subscribe(client, instrument, params)
                if result["snapshot"]:
                    snapshots += self._snapshot(client, channel, instrument)
            else:
                client.wanted.discard((_FEEDS[channel], instrument))
            frames.append(json.dumps({"result": result, "success": True} | base))
        return frames + snapshots

    def _subscribe(self, client: Client, instrument: str, params: dict[str, Any]) -> dict[str, Any]:
        """Take a subscription; return what its acknowledgement says of it."""
        channel = params["channel"]
        client.wanted.add((_FEEDS[channel], instrument))
        told = {"snapshot": params.get("snapshot", True)}
        if channel == "ticker":
            told["event_trigger"] = params.get("event_trigger", "trades")
        elif channel == "book":
            told["depth"] = client.depths[instrument] = params.get("depth", 10)
        return told

    def _snapshot(self, client: Client, channel: str, instrument: str) -> list[str]:
        if channel == "book":
            return self.first_snapshot(client, instrument)
        now = self.clock.now_ns()
        trades = self.last_trades(instrument, SNAPSHOT_TRADES if channel == "trade" else 1)
        if not trades:
            return []
        if channel == "trade":
            return [self._trades("snapshot", trades)]
        return [self._ticker("snapshot", self.top(trades[-1], now), trades[-1])]

    def snapshot_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """One ``book`` snapshot of the subscribed depth."""
        levels = book.levels(client.depths[instrument])
        return [self._book("snapshot", client, instrument, book, levels)]

    def book_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """One ``book`` update. Levels that others pushed out of the depth are not mentioned."""
        depth = client.depths[instrument]
        change = book.change(depth)
        if not change.bids and not change.asks:
            return []
        bids, asks = book.levels(depth)
        worst_bid = bids[-1][0] if len(bids) == depth else 0
        worst_ask = asks[-1][0] if len(asks) == depth else None
        levels = (
            [level for level in change.bids if level[1] or level[0] > worst_bid],
            [lvl for lvl in change.asks if lvl[1] or worst_ask is None or lvl[0] < worst_ask],
        )
        return [self._book("update", client, instrument, book, levels)]

    def _book(
        self,
        kind: str,
        client: Client,
        instrument: str,
        book: LiveBook,
        levels: tuple[Levels, Levels],
    ) -> str:
        asset = self.asset(instrument)
        decimals = asset.price_decimals, asset.amount_decimals
        bids, asks = (_levels(side, *decimals) for side in levels)
        best_bids, best_asks = book.levels(client.depths[instrument])
        checksum = _checksum(best_asks) + _checksum(best_bids)
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self.symbol(instrument)}",'
            f'"bids":[{bids}],"asks":[{asks}],"checksum":{zlib.crc32(checksum.encode())},'
            f'"timestamp":"{iso_utc(book.time_ns)}"}}]}}'
        )

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


def _levels(levels: Levels, price_decimals: int, amount_decimals: int) -> str:
    return ",".join(
        f'{{"price":{decimal(tick, price_decimals)},"qty":{decimal(lots, amount_decimals)}}}'
        for tick, lots in levels
    )


def _checksum(levels: Levels) -> str:
    """Return what of one side is summed: digits without the point and leading zeros."""
    return "".join(f"{tick}{lots}" for tick, lots in levels[:CHECKSUM_LEVELS])
