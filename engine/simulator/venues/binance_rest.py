"""The REST that Binance spot and Binance USD-M futures have in common, as a server."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web

from engine.clock import NS_PER_MS, NS_PER_S
from engine.domain.market import Trade
from engine.simulator.venues.base import Venue
from engine.simulator.venues.digits import LevelTexts, decimal

INTERVALS_S = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1_800, "1h": 3_600,
    "2h": 7_200, "4h": 14_400, "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400,
}  # fmt: skip
"""Lengths of klines, seconds."""


class Refused(Exception):
    """A REST request that the venue refuses: its code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = web.json_response({"code": code, "msg": message}, status=400)


class BinanceRest(Venue):
    """What a venue of Binance's answers over REST."""

    api: ClassVar[str]
    """Beginning of its REST paths."""
    intervals: ClassVar[Sequence[str]] = tuple(INTERVALS_S)
    """Names of the klines that it has."""
    max_klines: ClassVar[int] = 1_000

    @abstractmethod
    def level_texts(self, instrument: str) -> LevelTexts:
        """Return what writes the instrument's levels."""

    def routes(self) -> list[web.RouteDef]:
        """``exchangeInfo``, ``depth``, past trades, ``klines``, ``time`` and ``ping``."""
        return [
            web.get(f"{self.api}/ping", self._ping),
            web.get(f"{self.api}/time", self._time),
            web.get(f"{self.api}/exchangeInfo", self._exchange_information),
            web.get(f"{self.api}/depth", self.guard(self.depth)),
            web.get(f"{self.api}/historicalTrades", self.guard(self.historical_trades)),
            web.get(f"{self.api}/aggTrades", self.guard(self.aggregate_trades)),
            web.get(f"{self.api}/klines", self.guard(self.klines)),
        ]

    def guard(self, handler: Any) -> Any:
        """Let a handler refuse by `Refused`."""

        async def answer(request: web.Request) -> web.Response:
            try:
                return web.json_response(handler(request.query))
            except Refused as refused:
                return refused.answer

        return answer

    async def _ping(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _time(self, _: web.Request) -> web.Response:
        return web.json_response({"serverTime": self.clock.now_ns() // NS_PER_MS})

    async def _exchange_information(self, request: web.Request) -> web.Response:
        wanted = request.query.get("symbol")
        if wanted is not None and wanted not in self.by_symbol:
            return Refused(-1121, "Invalid symbol.").answer
        symbols = [
            self.symbol_row(name)
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

    @abstractmethod
    def symbol_row(self, instrument: str) -> dict[str, Any]:
        """Return what ``exchangeInfo`` says of an instrument."""

    def depth(self, query: Mapping[str, str]) -> dict[str, Any]:
        """``depth``: the book as far as it was sent, or a little further."""
        instrument = self.instrument(query)
        limit = whole(query, "limit", 100, 5_000)
        book = self.book_now(instrument)
        if book is None:
            return {"lastUpdateId": 0, "bids": [], "asks": []}
        bids, asks = book.levels(0)
        writer = self.level_texts(instrument)
        return {
            "lastUpdateId": self.book_process.sequence_inside(book.place, book.step),
            "bids": json.loads(writer.write(bids[:limit])),
            "asks": json.loads(writer.write(asks[:limit])),
        }

    def historical_trades(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """``historicalTrades``: single trades from an id on, or the latest."""
        instrument = self.instrument(query)
        limit = whole(query, "limit", 500, 1_000)
        last = self.last_id(instrument)
        first = whole(query, "fromId", last - limit + 1)
        return [self.past_trade(t) for t in self.numbered(instrument, first, first + limit - 1)]

    def past_trade(self, trade: Trade) -> dict[str, Any]:
        """Write one past trade."""
        asset = self.asset(trade.instrument)
        quote = trade.price * trade.amount
        return {
            "id": trade.sequence,
            "price": self.price(trade),
            "qty": self.amount(trade),
            "quoteQty": f"{quote:.{min(8, asset.price_decimals + asset.amount_decimals)}f}",
            "time": trade.exchange_time // NS_PER_MS,
            "isBuyerMaker": trade.side == "sell",
        }

    def aggregate_trades(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """``aggTrades``: each of one trade, from an id or a time on, or the latest."""
        instrument = self.instrument(query)
        limit = whole(query, "limit", 500, 1_000)
        last = self.last_id(instrument)
        if "fromId" in query:
            first = whole(query, "fromId", 1)
        elif "startTime" in query:
            first = self.first_id_at(instrument, whole(query, "startTime", 0) * NS_PER_MS)
        else:
            first = last - limit + 1
        trades = self.numbered(instrument, first, first + limit - 1)
        if "endTime" in query:
            end = (whole(query, "endTime", 0) + 1) * NS_PER_MS
            trades = [trade for trade in trades if trade.exchange_time < end]
        return [self.aggregate(trade) for trade in trades]

    def aggregate(self, trade: Trade) -> dict[str, Any]:
        """Write one aggregate trade."""
        return {
            "a": trade.sequence,
            "p": self.price(trade),
            "q": self.amount(trade),
            "f": trade.sequence,
            "l": trade.sequence,
            "T": trade.exchange_time // NS_PER_MS,
            "m": trade.side == "sell",
        }

    @abstractmethod
    def price(self, trade: Trade) -> str:
        """Write a trade's price."""

    @abstractmethod
    def amount(self, trade: Trade) -> str:
        """Write a trade's amount."""

    def klines(self, query: Mapping[str, str]) -> list[list[Any]]:
        """``klines``: both ends of the range are inclusive."""
        for name in ("symbol", "interval"):
            if not query.get(name):
                raise Refused(
                    -1102,
                    f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
                )
        instrument = self.instrument(query)
        interval_s = INTERVALS_S.get(query["interval"])
        if interval_s is None or query["interval"] not in self.intervals:
            raise Refused(-1120, "Invalid interval.")
        now, step = self.clock.now_ns(), interval_s * NS_PER_S
        limit = whole(query, "limit", 500, self.max_klines)
        if limit < 1:
            raise Refused(-1100, "Illegal characters found in parameter 'limit'.")
        end = min(whole(query, "endTime", now // NS_PER_MS) * NS_PER_MS, now) + 1
        # Without a start, the latest; with one, the first behind it.
        start = end - limit * step
        if "startTime" in query:
            start = whole(query, "startTime", 0) * NS_PER_MS
            end = min(end, start - start % -step + limit * step)
        rows = self.candles(instrument, step, (start, end))[:limit]
        asset = self.asset(instrument)
        return [self._kline(row, asset, step) for row in rows]

    def _kline(self, row: Any, asset: Any, step: int) -> list[Any]:
        p, a = asset.price_decimals, asset.amount_decimals
        quote_scale = 10 ** (p + a)
        padded = self.padded
        return [
            row.open_time // NS_PER_MS,
            *(padded(decimal(v, p)) for v in (row.open, row.high, row.low, row.close)),
            padded(decimal(row.lots, a)),
            (row.open_time + step) // NS_PER_MS - 1,
            f"{row.quote / quote_scale:.8f}",
            row.trade_count,
            padded(decimal(row.buy_lots, a)),
            f"{row.buy_quote / quote_scale:.8f}",
            "0",
        ]

    def padded(self, text: str) -> str:
        """Return a decimal with as many digits as the venue writes."""
        return text

    def instrument(self, query: Mapping[str, str]) -> str:
        """Return the instrument that a query names.

        Raises
        ------
        Refused
            Where it names none.
        """
        found = self.by_symbol.get(query.get("symbol", ""))
        if found is None:
            raise Refused(-1121, "Invalid symbol.")
        return found


def whole(query: Mapping[str, str], name: str, otherwise: int, most: int | None = None) -> int:
    """Return a query's whole number, or another where it is missing; at most `most`.

    Raises
    ------
    Refused
        Where it is no number.
    """
    try:
        number = int(query.get(name, otherwise))
    except ValueError:
        raise Refused(-1100, f"Illegal characters found in parameter '{name}'.") from None
    return number if most is None else min(number, most)
