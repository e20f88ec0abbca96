"""OKX v5 as a server: spot and perpetual swaps, on the addresses /public and /business.

After https://www.okx.com/docs-v5/en/ (Order Book Trading / Market Data, Public Data, WebSocket) as
known on 2026-11-21 and frames recorded in May 2022.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from aiohttp import web

from engine.clock import NS_PER_MS
from engine.domain.market import BookTop, Trade
from engine.simulator.books import Levels
from engine.simulator.live_book import LiveBook
from engine.simulator.perpetuals import FUNDING_NS
from engine.simulator.venues.base import Client, Feed
from engine.simulator.venues.digits import LevelTexts
from engine.simulator.venues.okx_rest import OkxRest

BOOK_LEVELS = 400
CHECKSUM_LEVELS = 25

_CHANNELS: dict[str, dict[str, Feed]] = {
    "public": {
        "trades": "trades",
        "bbo-tbt": "book_top",
        "books": "book",
        "mark-price": "mark",
        "index-tickers": "index",
        "funding-rate": "funding",
        "open-interest": "open_interest",
    },
    "business": {"trades-all": "trades"},
}
_OF_SWAPS = frozenset({"mark", "funding", "open_interest"})


class OkxVenue(OkxRest):
    """Simulated OKX: ``trades-all``, ``bbo-tbt``, ``books`` and what it says of swaps.

    Amounts of swaps are in contracts. Every trade is one fill, so ``trades`` on ``/public`` says
    the same as ``trades-all``. Books carry the CRC32 that the venue sent until 2026, when it
    became 0: nothing else would put its check to the test.
    """

    name = "okx"
    socket_paths = ("/ws/v5/public", "/ws/v5/business")
    slow_feeds = {"mark": 1.0, "index": 1.0, "open_interest": 3.0, "funding": 60.0}  # noqa: RUF012

    def client(self, request: web.Request) -> Client:
        """Remember which address it connected to."""
        client = Client()
        client.section = request.path.rsplit("/", 1)[1]
        return client

    # -- messages ------------------------------------------------------------------------

    def answer(self, text: str, client: Client) -> list[str]:
        """Answer ``subscribe``, ``unsubscribe`` and ``ping``, which is no JSON."""
        if text == "ping":
            return ["pong"]
        try:
            message = json.loads(text)
            operation = message["op"]
            asked = [(arg["channel"], arg.get("instId", "")) for arg in message["args"]]
        except (ValueError, KeyError, TypeError, AttributeError):
            return [_error(client, "60012", f"Invalid request: {text[:200]}")]
        if operation not in {"subscribe", "unsubscribe"}:
            return [_error(client, "60012", f"Invalid request: {text[:200]}")]
        frames: list[str] = []
        for channel, symbol in asked:
            key = self._find(client, channel, symbol)
            if key is None:
                frames.append(_error(client, "60018", _nothing_there(channel, symbol)))
                continue
            argument = {"channel": channel, "instId": symbol}
            told = {"event": operation, "arg": argument, "connId": f"{id(client):x}"}
            frames.append(json.dumps(told, separators=(",", ":")))
            if operation == "subscribe":
                client.wanted.add(key)
                frames += self._first(client, key)
            else:
                client.wanted.discard(key)
        return frames

    def _find(self, client: Client, channel: str, symbol: str) -> tuple[Feed, str] | None:
        """Return what a subscription means, None where there is no such thing."""
        feed = _CHANNELS[client.section].get(channel)
        instrument = self.by_symbol.get(symbol)
        if feed == "index":
            instrument = self.by_symbol.get(f"{symbol}-SWAP", instrument)
        if feed is None or instrument is None:
            return None
        if feed in _OF_SWAPS and not symbol.endswith("-SWAP"):
            return None
        return feed, instrument

    def _first(self, client: Client, key: tuple[Feed, str]) -> list[str]:
        """Return what a subscription begins with."""
        feed, instrument = key
        if feed == "trades":
            return []
        if feed == "book":
            client.depths[instrument] = BOOK_LEVELS
            return self.first_snapshot(client, instrument)
        if feed != "book_top":
            return self.slow_frames(client, feed, instrument)
        now = self.clock.now_ns()
        last = self.last_trade(instrument, now)
        return self.top_frames(client, self.top(last, now), last, traded=True) if last else []

    # -- frames --------------------------------------------------------------------------

    def trade_frames(self, client: Client, trades: Sequence[Trade]) -> list[str]:
        """One frame each."""
        symbol = self.symbol(trades[0].instrument)
        business = client.section == "business"
        channel, count = ("trades-all", "") if business else ("trades", ',"count":"1"')
        frames = []
        for trade in trades:
            price, size = self.texts(trade)
            frames.append(
                f'{{"arg":{{"channel":"{channel}","instId":"{symbol}"}},"data":[{{'
                f'"instId":"{symbol}","tradeId":"{trade.sequence}","px":"{price}","sz":"{size}",'
                f'"side":"{trade.side}","source":"0","ts":"{trade.exchange_time // NS_PER_MS}"'
                f"{count}}}]}}"
            )
        return frames

    def top_frames(self, client: Client, top: BookTop, last: Trade, *, traded: bool) -> list[str]:
        """One ``bbo-tbt`` frame."""
        del client, last, traded
        symbol, digits = self.symbol(top.instrument), self.digits(top.instrument)
        asset = self.asset(top.instrument)
        sides = []
        for price, amount in (
            (top.ask_price, top.ask_amount),
            (top.bid_price, top.bid_amount),
        ):
            lots = round(amount * 10**asset.amount_decimals)
            sides.append(
                f'[["{price:.{digits[0]}f}","{lots / 10 ** digits[1]:.{digits[1]}f}","0","1"]]'
            )
        return [
            f'{{"arg":{{"channel":"bbo-tbt","instId":"{symbol}"}},"data":[{{'
            f'"asks":{sides[0]},"bids":{sides[1]},"ts":"{top.receive_time // NS_PER_MS}",'
            f'"seqId":{top.sequence}}}]}}'
        ]

    def snapshot_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """One ``books`` snapshot."""
        depth = client.depths[instrument]
        numbers = -1, book.sent(depth)
        return [self._book("snapshot", instrument, book, book.levels(depth), depth, numbers)]

    def book_frames(self, client: Client, instrument: str, book: LiveBook) -> list[str]:
        """One ``books`` update."""
        depth = client.depths[instrument]
        change = book.change(depth)
        if not change.bids and not change.asks:
            return []
        numbers = change.previous_sequence, change.last_sequence
        levels = change.bids, change.asks
        return [self._book("update", instrument, book, levels, depth, numbers)]

    def _book(
        self,
        action: str,
        instrument: str,
        book: LiveBook,
        levels: tuple[Levels, Levels],
        depth: int,
        numbers: tuple[int, int],
    ) -> str:
        digits = self.digits(instrument)
        writer = LevelTexts(*digits, tail=',"0","1"')
        bids, asks = (writer.write(side) for side in levels)
        return (
            f'{{"arg":{{"channel":"books","instId":"{self.symbol(instrument)}"}},'
            f'"action":"{action}","data":[{{"asks":{asks},"bids":{bids},'
            f'"ts":"{book.time_ns // NS_PER_MS}",'
            f'"checksum":{checksum(book.levels(depth), digits)},'
            f'"prevSeqId":{numbers[0]},"seqId":{numbers[1]}}}]}}'
        )

    def slow_frames(self, client: Client, feed: Feed, instrument: str) -> list[str]:
        """One frame of ``mark-price``, ``index-tickers``, ``funding-rate`` or ``open-interest``."""
        del client
        if self.listing(instrument).status != "trading":
            return []
        channel = next(name for name, each in _CHANNELS["public"].items() if each == feed)
        symbol = self.symbol(instrument)
        identity = {"instId": symbol, "instType": "SWAP"}
        if feed == "index":
            symbol = symbol.removesuffix("-SWAP")
            identity = {"instId": symbol}
        fields = self._fields(feed, instrument)
        time_ms = self.clock.now_ns() // NS_PER_MS
        message = {
            "arg": {"channel": channel, "instId": symbol},
            "data": [{**identity, **fields, "ts": str(time_ms)}],
        }
        return [json.dumps(message, separators=(",", ":"))]

    def _fields(self, feed: Feed, instrument: str) -> dict[str, Any]:
        state, digits = self.perpetual(instrument), self.digits(instrument)
        if feed == "mark":
            return {"markPx": f"{state.mark_price:.{digits[0]}f}"}
        if feed == "index":
            day = self.figures(instrument)
            return {
                "idxPx": f"{state.index_price:.{digits[0]}f}",
                "high24h": f"{day.high:.{digits[0]}f}",
                "low24h": f"{day.low:.{digits[0]}f}",
                "open24h": f"{day.open:.{digits[0]}f}",
            }
        if feed == "funding":
            return {
                "method": "current_period",
                "fundingRate": f"{state.funding_rate:.8f}",
                "fundingTime": str(state.funding_time_ns // NS_PER_MS),
                "nextFundingRate": "",
                "nextFundingTime": str((state.funding_time_ns + FUNDING_NS) // NS_PER_MS),
            }
        contracts = state.open_interest / self.contract_size(instrument)
        amount_decimals = self.asset(instrument).amount_decimals
        return {
            "oi": f"{contracts:.{digits[1]}f}",
            "oiCcy": f"{state.open_interest:.{amount_decimals}f}",
            "oiUsd": f"{state.open_interest * state.mark_price:.2f}",
        }


def checksum(levels: tuple[Levels, Levels], digits: tuple[int, int]) -> int:
    """Return the signed CRC32 of the best 25 levels, bids and asks in turn, as text."""
    prices, amounts = 10 ** digits[0], 10 ** digits[1]
    sides = [
        [
            (f"{tick / prices:.{digits[0]}f}", f"{lots / amounts:.{digits[1]}f}")
            for tick, lots in side[:CHECKSUM_LEVELS]
        ]
        for side in levels
    ]
    turns = chain.from_iterable(zip_longest(*sides))
    text = ":".join(part for level in turns if level is not None for part in level)
    unsigned = zlib.crc32(text.encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


def _nothing_there(channel: str, symbol: str) -> str:
    return (
        f"Wrong URL or channel:{channel},instId:{symbol} doesn't exist. Please use the correct "
        "URL, channel and parameters referring to API document."
    )


def _error(client: Client, code: str, message: str) -> str:
    told = {"event": "error", "code": code, "msg": message, "connId": f"{id(client):x}"}
    return json.dumps(told, separators=(",", ":"))
