"""Coinbase Exchange as a server: matches, ticker, heartbeat; products and candles.

After https://docs.cdp.coinbase.com/exchange and frames recorded in 2021.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from engine.clock import NS_PER_S, iso_utc, parse_iso_utc
from engine.domain.market import BookTop, Trade
from engine.simulator.bars import bars
from engine.simulator.venues.base import Client, Feed, Venue

GRANULARITIES_S = (60, 300, 900, 3_600, 21_600, 86_400)
MAX_CANDLES = 300

SEQUENCE_STEP = 20
"""Sequence numbers a trade takes: the full feed's orders lie between two matches."""

_FEEDS: dict[str, Feed] = {"matches": "trades", "ticker": "book_top", "heartbeat": "heartbeat"}
_NAMES = {feed: name for name, feed in _FEEDS.items()}


class CoinbaseVenue(Venue):
    """Simulated Coinbase Exchange."""

    name = "coinbase"
    socket_paths = ("/",)

    def symbol(self, instrument: str) -> str:
        """Return the canonical name: Coinbase writes the same."""
        return instrument

    def answer(self, text: str, client: Client) -> list[str]:
        """Answer ``subscribe`` and ``unsubscribe``, then send the latest state."""
        try:
            message = json.loads(text)
            kind = message["type"]
            channels = list(_channels(message))
        except (ValueError, KeyError, TypeError, AttributeError):
            return [_error("Malformed JSON", "Malformed JSON")]
        if kind not in {"subscribe", "unsubscribe"}:
            return [_error("Failed to subscribe", f"{kind} is not a valid type")]
        for channel, products in channels:
            if channel not in _FEEDS:
                return [_error("Failed to subscribe", f"{channel} is not a valid channel")]
            for product in products:
                if product not in self.by_symbol:
                    return [_error("Failed to subscribe", f"{product} is not a valid product")]
        asked: list[tuple[Feed, str]] = [
            (_FEEDS[channel], product) for channel, products in channels for product in products
        ]
        if kind == "unsubscribe":
            client.wanted.difference_update(asked)
            return [self._subscriptions(client)]
        client.wanted.update(asked)
        return [self._subscriptions(client), *self._latest(client, asked)]

    def _subscriptions(self, client: Client) -> str:
        listed: dict[str, list[str]] = {}
        for feed, product in sorted(client.wanted):
            listed.setdefault(_NAMES[feed], []).append(product)
        channels = [{"name": name, "product_ids": ids} for name, ids in listed.items()]
        return json.dumps({"type": "subscriptions", "channels": channels}, separators=(",", ":"))

    def _latest(self, client: Client, asked: Sequence[tuple[Feed, str]]) -> list[str]:
        now = self.clock.now_ns()
        frames = []
        for feed, product in asked:
            for last in self.last_trades(product, 1, now) if feed != "heartbeat" else ():
                if feed == "trades":
                    frames.append(_match("last_match", last))
                else:
                    top = self.top(last, now)
                    frames += self.top_frames(client, top, last, traded=True)
        return frames

    def trade_frames(self, client: Client, trades: Sequence[Trade]) -> list[str]:
        """One ``match`` each; its ``side`` is the maker's."""
        del client
        return [_match("match", trade) for trade in trades]

    def top_frames(self, client: Client, top: BookTop, last: Trade, *, traded: bool) -> list[str]:
        """One ``ticker``; the real channel sends them on matches only."""
        del client
        if not traded:
            return []
        asset, day = self.asset(top.instrument), self.figures(top.instrument)
        p = asset.price_decimals
        return [
            f'{{"type":"ticker","sequence":{last.sequence * SEQUENCE_STEP},'
            f'"product_id":"{top.instrument}","price":"{last.price:.{p}f}",'
            f'"open_24h":"{day.open:.{p}f}","volume_24h":"{day.volume:.8f}",'
            f'"low_24h":"{day.low:.{p}f}","high_24h":"{day.high:.{p}f}",'
            f'"volume_30d":"{day.volume * 30:.8f}","best_bid":"{top.bid_price:.{p}f}",'
            f'"best_bid_size":"{top.bid_amount:.8f}","best_ask":"{top.ask_price:.{p}f}",'
            f'"best_ask_size":"{top.ask_amount:.8f}","side":"{last.side}",'
            f'"time":"{iso_utc(last.exchange_time)}","trade_id":{last.sequence},'
            f'"last_size":"{last.amount:.8f}"}}'
        ]

    def heartbeats(self, client: Client, *, idle: bool) -> list[str]:
        """One a second and subscribed product."""
        del idle
        now = self.clock.now_ns()
        frames = []
        for feed, product in sorted(client.wanted):
            if feed == "heartbeat":
                last = self.latest_trade(product)
                trade_id = last.sequence if last else 0
                frames.append(
                    f'{{"type":"heartbeat","last_trade_id":{trade_id},"product_id":"{product}",'
                    f'"sequence":{trade_id * SEQUENCE_STEP},"time":"{iso_utc(now)}"}}'
                )
        return frames

    def routes(self) -> list[web.RouteDef]:
        """``products``, their ``candles``, and ``time``."""
        return [
            web.get("/time", self._time),
            web.get("/products", self._products),
            web.get("/products/{product}", self._product),
            web.get("/products/{product}/candles", self._candles),
        ]

    async def _time(self, _: web.Request) -> web.Response:
        now = self.clock.now_ns()
        return web.json_response({"iso": iso_utc(now), "epoch": now / NS_PER_S})

    async def _products(self, _: web.Request) -> web.Response:
        return web.json_response([self._row(name) for name in self.assets])

    async def _product(self, request: web.Request) -> web.Response:
        product = request.match_info["product"]
        if product not in self.assets:
            return web.json_response({"message": "NotFound"}, status=404)
        return web.json_response(self._row(product))

    def _row(self, instrument: str) -> dict[str, Any]:
        asset = self.asset(instrument)
        return {
            "id": instrument,
            "base_currency": asset.base,
            "quote_currency": self.quote,
            "quote_increment": f"{10.0**-asset.price_decimals:.{asset.price_decimals}f}",
            "base_increment": f"{10.0**-asset.amount_decimals:.{asset.amount_decimals}f}",
            "display_name": f"{asset.base}-{self.quote}",
            "min_market_funds": "1",
            "margin_enabled": False,
            "post_only": False,
            "limit_only": False,
            "cancel_only": False,
            "status": "online",
            "status_message": "",
            "trading_disabled": False,
            "fx_stablecoin": False,
            "auction_mode": False,
        }

    async def _candles(self, request: web.Request) -> web.Response:
        product = request.match_info["product"]
        if product not in self.assets:
            return web.json_response({"message": "NotFound"}, status=404)
        now = self.clock.now_ns()
        try:
            granularity = int(request.query.get("granularity", "60"))
            if granularity not in GRANULARITIES_S:
                return _refused("Unsupported granularity")
            step = granularity * NS_PER_S
            end = _moment(request.query.get("end"), now)
            start = _moment(request.query.get("start"), end - (MAX_CANDLES - 1) * step)
        except ValueError:
            return _refused("Invalid start or end")
        if (end - start) / step > MAX_CANDLES:
            return _refused(
                "granularity too small for the requested time range. "
                "Count of aggregations requested exceeds 300"
            )
        asset = self.asset(product)
        scale, lots = 10**asset.price_decimals, 10**asset.amount_decimals
        rows = bars(self.market, self.name, product, step, (start, end + 1), now)
        return web.json_response(
            [
                [
                    row.open_time // NS_PER_S,
                    row.low / scale,
                    row.high / scale,
                    row.open / scale,
                    row.close / scale,
                    row.lots / lots,
                ]
                for row in reversed(rows)
                if row.trade_count
            ]
        )


def _channels(message: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Read channels with their products: each its own, or those of the whole message."""
    common = list(message.get("product_ids", []))
    found = []
    for channel in message["channels"]:
        if isinstance(channel, str):
            found.append((channel, common))
        else:
            found.append((channel["name"], list(channel.get("product_ids", common))))
    return found


def _match(kind: str, trade: Trade) -> str:
    maker_side = "sell" if trade.side == "buy" else "buy"
    maker, taker = _order_id(trade, 0), _order_id(trade, 1)
    return (
        f'{{"type":"{kind}","trade_id":{trade.sequence},"maker_order_id":"{maker}",'
        f'"taker_order_id":"{taker}","side":"{maker_side}","size":"{trade.amount:.8f}",'
        f'"price":"{trade.price:.8f}","product_id":"{trade.instrument}",'
        f'"sequence":{trade.sequence * SEQUENCE_STEP},"time":"{iso_utc(trade.exchange_time)}"}}'
    )


def _order_id(trade: Trade, which: int) -> str:
    return str(uuid.UUID(int=(trade.exchange_time << 64) + trade.sequence * 2 + which))


def _moment(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    if text.isdigit():
        return int(text) * NS_PER_S
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return int(moment.replace(tzinfo=UTC).timestamp()) * NS_PER_S
    return parse_iso_utc(text)


def _error(message: str, reason: str) -> str:
    return json.dumps({"type": "error", "message": message, "reason": reason})


def _refused(message: str) -> web.Response:
    return web.json_response({"message": message}, status=400)
