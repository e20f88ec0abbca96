"""Coinbase Exchange as a server: matches, ticker, level2_batch, heartbeat; products and REST.

After https://docs.cdp.coinbase.com/exchange as known on 2026-11-21 and frames recorded in 2021.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from engine.clock import iso_utc
from engine.domain.instrument import Instrument
from engine.domain.market import BookTop, Trade
from engine.simulator.live_book import LiveBook
from engine.simulator.venues.base import Client, Feed
from engine.simulator.venues.coinbase_rest import CoinbaseRest, maker_side
from engine.simulator.venues.digits import LevelTexts, decimal

SEQUENCE_STEP = 20
"""Sequence numbers a trade takes: the full feed's orders lie between two matches."""

_FEEDS: dict[str, Feed] = {
    "matches": "trades",
    "ticker": "book_top",
    "level2_batch": "book",
    "heartbeat": "heartbeat",
}
_KEYED = frozenset({"level2", "level3", "full"})
"""Channels that want an API key."""
_NAMES = {feed: name for name, feed in _FEEDS.items()}


class CoinbaseVenue(CoinbaseRest):
    """Simulated Coinbase Exchange."""

    name = "coinbase"
    socket_paths = ("/",)

    def symbol_of(self, instrument: Instrument) -> str:
        """Return the canonical name: Coinbase writes the same."""
        return str(instrument)

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
        wrong = self._wrong(channels)
        if wrong:
            return [_error("Failed to subscribe", wrong)]
        asked: list[tuple[Feed, str]] = [
            (_FEEDS[channel], product) for channel, products in channels for product in products
        ]
        if kind == "unsubscribe":
            client.wanted.difference_update(asked)
            return [self._subscriptions(client)]
        client.wanted.update(asked)
        return [self._subscriptions(client), *self._latest(client, asked)]

    def _wrong(self, channels: Sequence[tuple[str, list[str]]]) -> str:
        """Return what is wrong with a subscription; empty where nothing is."""
        for channel, products in channels:
            if channel in _KEYED:
                return "level2, level3, and full channels now require authentication."
            if channel not in _FEEDS:
                return f"{channel} is not a valid channel"
            for product in products:
                if product not in self.by_symbol:
                    return f"{product} is not a valid product"
        return ""

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
            if feed == "book":
                frames += self.first_snapshot(client, product)
                continue
            for last in self.last_trades(product, 1) if feed != "heartbeat" else ():
                if feed == "trades":
                    frames.append(self._encode("last_match", last))
                else:
                    top = self.top(last, now)
                    frames += self.top_frames(client, top, last, traded=True)
        return frames

    def trade_frames(self, client: Client, trades: Sequence[Trade]) -> list[str]:
        """One ``match`` each; its ``side`` is the maker's."""
        del client
        return [self._encode("match", trade) for trade in trades]

    def _encode(self, kind: str, trade: Trade) -> str:
        maker, taker = _order_id(trade, 0), _order_id(trade, 1)
        return (
            f'{{"type":"{kind}","trade_id":{trade.sequence},"maker_order_id":"{maker}",'
            f'"taker_order_id":"{taker}","side":"{maker_side(trade)}",'
            f'"size":"{trade.amount:.8f}","price":"{trade.price:.8f}",'
            f'"product_id":"{self.symbol(trade.instrument)}",'
            f'"sequence":{trade.sequence * SEQUENCE_STEP},'
            f'"time":"{iso_utc(trade.exchange_time)}"}}'
        )

    def snapshot_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """One ``snapshot`` of the whole book."""
        del client
        asset = self.asset(instrument)
        writer = LevelTexts(asset.price_decimals, asset.amount_decimals, (8, 8))
        bids, asks = book.levels(0)
        return [
            f'{{"type":"snapshot","product_id":"{self.symbol(instrument)}",'
            f'"asks":{writer.write(asks)},"bids":{writer.write(bids)},'
            f'"time":"{iso_utc(book.time_ns)}"}}'
        ]

    def book_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """One ``l2update``; it has neither a sequence nor a checksum."""
        del client
        change, asset = book.change(0), self.asset(instrument)
        p, a = asset.price_decimals, asset.amount_decimals
        if not change.bids and not change.asks:
            return []
        changes = ",".join(
            f'["{side}","{decimal(tick, p)}","{decimal(lots, a)}"]'
            for side, levels in (("buy", change.bids), ("sell", change.asks))
            for tick, lots in levels
        )
        return [
            f'{{"type":"l2update","product_id":"{self.symbol(instrument)}",'
            f'"changes":[{changes}],"time":"{iso_utc(change.time_ns)}"}}'
        ]

    def top_frames(self, client: Client, top: BookTop, last: Trade, *, traded: bool) -> list[str]:
        """One ``ticker``; the real channel sends them on matches only."""
        del client
        if not traded:
            return []
        asset, day = self.asset(top.instrument), self.figures(top.instrument)
        p = asset.price_decimals
        return [
            f'{{"type":"ticker","sequence":{last.sequence * SEQUENCE_STEP},'
            f'"product_id":"{self.symbol(top.instrument)}","price":"{last.price:.{p}f}",'
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
                trade_id = self.last_id(product)
                frames.append(
                    f'{{"type":"heartbeat","last_trade_id":{trade_id},"product_id":"{product}",'
                    f'"sequence":{trade_id * SEQUENCE_STEP},"time":"{iso_utc(now)}"}}'
                )
        return frames


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


def _order_id(trade: Trade, which: int) -> str:
    return str(uuid.UUID(int=(trade.exchange_time << 64) + trade.sequence * 2 + which))


def _error(message: str, reason: str) -> str:
    return json.dumps({"type": "error", "message": message, "reason": reason})
