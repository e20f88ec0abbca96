"""Bybit v5 as a server: spot and linear perpetuals, each on an address of its own.

After https://bybit-exchange.github.io/docs/v5/ws/connect, …/v5/websocket/public/trade,
…/public/orderbook, …/public/ticker, …/market/instrument, …/market/recent-trade and …/market/kline
as known on 2026-11-21.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from engine.clock import NS_PER_MS
from engine.domain.instrument import Instrument, first_generation
from engine.domain.market import BookTop, Trade
from engine.simulator.books import Levels
from engine.simulator.listing import place_of
from engine.simulator.live_book import LiveBook
from engine.simulator.venues.base import Client, Feed
from engine.simulator.venues.bybit_rest import BybitRest
from engine.simulator.venues.digits import LevelTexts

DEPTHS = (1, 50, 200, 500, 1000)
SPOT_ARGUMENTS = 10
"""Topics in one message to the spot address."""
TRADES_PER_FRAME = 1_024

_FIRST_NUMBER = 2_200_000_000_000_000_000
_SIDES = {"buy": "Buy", "sell": "Sell"}


class BybitVenue(BybitRest):
    """Simulated Bybit: ``publicTrade``, ``orderbook.DEPTH`` and ``tickers``.

    Trades have ids that do not count: numbers shared by all spot markets, UUIDs for perpetuals.
    """

    name = "bybit"
    socket_paths = ("/v5/public/spot", "/v5/public/linear")
    slow_feeds = {"ticker": 1.0}  # noqa: RUF012

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tops: dict[str, BookTop] = {}
        self._top_numbers: dict[str, int] = {}
        self._tickers: dict[str, dict[str, str]] = {}

    def client(self, request: web.Request) -> Client:
        """Remember which address it connected to."""
        client = Client()
        client.section = request.path.rsplit("/", 1)[1]
        return client

    # -- messages ------------------------------------------------------------------------

    def answer(self, text: str, client: Client) -> list[str]:
        """Answer ``subscribe``, ``unsubscribe`` and ``ping``."""
        try:
            message = json.loads(text)
            operation, number = message["op"], str(message.get("req_id", ""))
            topics = [str(topic) for topic in message.get("args", [])]
        except (ValueError, KeyError, TypeError, AttributeError):
            return [_answer(client, "", "", "error: request unmarshal failed", success=False)]
        if operation == "ping":
            return [_answer(client, "ping", number, "pong")]
        if operation not in {"subscribe", "unsubscribe"}:
            return [_answer(client, operation, number, f"unknown op {operation}", success=False)]
        if client.section == "spot" and len(topics) > SPOT_ARGUMENTS:
            return [_answer(client, operation, number, "args size >10", success=False)]
        found = [(topic, self._find(client, topic)) for topic in topics]
        for topic, key in found:
            if key is None:
                why = f"error:handler not found,topic:{topic}"
                return [_answer(client, operation, number, why, success=False)]
        snapshots = []
        for topic, key in found:
            if key is not None:
                snapshots += self._switch(client, topic, key, on=operation == "subscribe")
        return [_answer(client, operation, number, ""), *snapshots]

    def _find(self, client: Client, topic: str) -> tuple[Feed, str] | None:
        """Return what a topic means, None where there is no such thing."""
        kind, _, symbol = topic.rpartition(".")
        instrument = self.by_category.get((client.section, symbol))
        if instrument is None:
            return None
        if kind == "publicTrade":
            return "trades", instrument
        if kind == "orderbook.1":
            return "book_top", instrument
        if kind == "tickers":
            return "ticker", instrument
        name, _, depth = kind.partition(".")
        if name == "orderbook" and depth in {str(number) for number in DEPTHS}:
            return "book", instrument
        return None

    def _switch(self, client: Client, topic: str, key: tuple[Feed, str], *, on: bool) -> list[str]:
        """Take or give up a subscription; return the snapshot that it begins with."""
        feed, instrument = key
        if not on:
            client.wanted.discard(key)
            return []
        client.wanted.add(key)
        if feed == "book":
            client.depths[instrument] = int(topic.split(".")[1])
            return self.first_snapshot(client, instrument)
        if feed == "book_top":
            return self._first_top(instrument)
        if feed == "ticker":
            return self._first_ticker(instrument)
        return []

    # -- frames --------------------------------------------------------------------------

    def trade_id(self, trade: Trade) -> str:
        """Return the id of a trade on the wire."""
        first = _first_number(trade.instrument)
        if first is not None:
            return str(first + trade.sequence)
        text = f"{self.market.config.seed}:{trade.instrument}:{trade.sequence}"
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        return str(uuid.UUID(bytes=digest, version=5))

    def recorded(self, trade: Trade) -> Trade:
        """Return a trade with its id on the wire, which does not count."""
        return replace(trade, trade_id=self.trade_id(trade), sequence=0)

    def trade_frames(self, client: Client, trades: Sequence[Trade]) -> list[str]:
        """All in one ``publicTrade`` frame, or as few as hold them."""
        del client
        return [
            self._trades(trades[start : start + TRADES_PER_FRAME])
            for start in range(0, len(trades), TRADES_PER_FRAME)
        ]

    def _trades(self, trades: Sequence[Trade]) -> str:
        instrument = trades[0].instrument
        symbol, asset = self.symbol(instrument), self.asset(instrument)
        p, a = asset.price_decimals, asset.amount_decimals
        tick = '"L":"ZeroPlusTick",' if _first_number(instrument) is None else ""
        rows = ",".join(
            f'{{"T":{trade.exchange_time // NS_PER_MS},"s":"{symbol}",'
            f'"S":"{_SIDES[trade.side]}","v":"{trade.amount:.{a}f}","p":"{trade.price:.{p}f}",'
            f'{tick}"i":"{self.trade_id(trade)}","BT":false,"RPI":false,"seq":{trade.sequence}}}'
            for trade in trades
        )
        time_ms = trades[-1].exchange_time // NS_PER_MS + 1
        return (
            f'{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":{time_ms},"data":[{rows}]}}'
        )

    def _first_top(self, instrument: str) -> list[str]:
        """Return the best prices as last sent, or as they are now."""
        now = self.clock.now_ns()
        if instrument not in self._tops:
            last = self.last_trade(instrument, now)
            if last is None:
                return []
            self._tops[instrument] = self.top(last, now)
        top = self._tops[instrument]
        number = self._top_numbers.setdefault(instrument, self.book_process.step_of(now))
        return [self._top_frame("snapshot", top, ([_bid(top)], [_ask(top)]), number)]

    def top_frames(self, client: Client, top: BookTop, last: Trade, *, traded: bool) -> list[str]:
        """One ``orderbook.1`` frame: what changed, old best prices with amount 0."""
        del client, traded, last
        name = first_generation(top.instrument)
        before = self._tops.get(name)
        self._tops[name] = top
        number = self._top_numbers.setdefault(name, self.book_process.step_of(top.receive_time))
        self._top_numbers[name] = number + 1
        if before is None or before.instrument != top.instrument:
            return [self._top_frame("snapshot", top, ([_bid(top)], [_ask(top)]), number + 1)]
        sides = _replaced(_bid(before), _bid(top)), _replaced(_ask(before), _ask(top))
        return [self._top_frame("delta", top, sides, number + 1)]

    def _top_frame(
        self,
        kind: str,
        top: BookTop,
        sides: tuple[list[tuple[float, float]], list[tuple[float, float]]],
        number: int,
    ) -> str:
        asset = self.asset(top.instrument)
        p, a = asset.price_decimals, asset.amount_decimals
        bids, asks = (
            ",".join(f'["{price:.{p}f}","{amount:.{a}f}"]' for price, amount in side)
            for side in sides
        )
        return _book_frame(kind, 1, self.symbol(top.instrument), f"[{bids}]", f"[{asks}]", number,
                           top.sequence, top.receive_time)  # fmt: skip

    def snapshot_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """One ``orderbook`` snapshot of the subscribed depth."""
        depth = client.depths[instrument]
        number = book.number(depth)
        return [self._book("snapshot", instrument, depth, book, book.levels(depth), number)]

    def book_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """One ``orderbook`` delta; its number is one more than the last."""
        depth = client.depths[instrument]
        change = book.change(depth)
        if not change.bids and not change.asks:
            return []
        levels = change.bids, change.asks
        return [self._book("delta", instrument, depth, book, levels, change.number)]

    def _book(
        self,
        kind: str,
        instrument: str,
        depth: int,
        book: LiveBook,
        levels: tuple[Levels, Levels],
        number: int,
    ) -> str:
        asset = self.asset(instrument)
        writer = LevelTexts(asset.price_decimals, asset.amount_decimals)
        bids, asks = (writer.write(side) for side in levels)
        return _book_frame(kind, depth, self.symbol(instrument), bids, asks, number,
                           book.sequence, book.time_ns)  # fmt: skip

    def _first_ticker(self, instrument: str) -> list[str]:
        """Return all of the ticker as last sent, or as it is now."""
        if instrument not in self._tickers:
            self._tickers[instrument] = self.ticker(instrument)
        return [self._ticker("snapshot", instrument, self._tickers[instrument])]

    def slow_frames(self, client: Client, feed: Feed, instrument: str) -> list[str]:
        """One ``tickers`` frame: all of it for spot, what changed for perpetuals."""
        del client, feed
        if self.listing(instrument).status != "trading":
            return []
        known, now = self._tickers.get(instrument, {}), self.ticker(instrument)
        self._tickers[instrument] = now
        if not Instrument.parse(instrument).perpetual:
            return [self._ticker("snapshot", instrument, now)]
        changed = {name: text for name, text in now.items() if known.get(name) != text}
        return [self._ticker("delta", instrument, changed)] if changed else []

    def _ticker(self, kind: str, instrument: str, fields: dict[str, str]) -> str:
        symbol, now = self.symbol(instrument), self.clock.now_ns()
        message = {
            "topic": f"tickers.{symbol}",
            "type": kind,
            "data": {"symbol": symbol, **fields},
            "cs": now // NS_PER_MS,
            "ts": now // NS_PER_MS,
        }
        return json.dumps(message, separators=(",", ":"))


@lru_cache(4_096)
def _first_number(instrument: str) -> int | None:
    """Return what the ids of a spot market's trades are counted from; None of perpetuals."""
    name, place = Instrument.parse(instrument), place_of(BybitVenue.name, instrument)
    if name.perpetual:
        return None
    market = (100 * place.segment + place.asset) * 100 + name.generation
    return _FIRST_NUMBER + market * 10**12


def _answer(
    client: Client, operation: str, number: str, message: str, *, success: bool = True
) -> str:
    return json.dumps(
        {
            "success": success,
            "ret_msg": message,
            "conn_id": f"{id(client):x}",
            "req_id": number,
            "op": operation,
        },
        separators=(",", ":"),
    )


def _book_frame(
    kind: str, depth: int, symbol: str, bids: str, asks: str, number: int, seq: int, time_ns: int
) -> str:
    time_ms = time_ns // NS_PER_MS
    return (
        f'{{"topic":"orderbook.{depth}.{symbol}","type":"{kind}","ts":{time_ms + 1},'
        f'"data":{{"s":"{symbol}","b":{bids},"a":{asks},"u":{number},"seq":{seq}}},'
        f'"cts":{time_ms}}}'
    )


def _bid(top: BookTop) -> tuple[float, float]:
    return top.bid_price, top.bid_amount


def _ask(top: BookTop) -> tuple[float, float]:
    return top.ask_price, top.ask_amount


def _replaced(before: tuple[float, float], after: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the levels that make one best price the other."""
    if before == after:
        return []
    return [after] if before[0] == after[0] else [(before[0], 0.0), after]
