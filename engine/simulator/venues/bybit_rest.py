"""Bybit's names and REST as a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from engine.clock import NS_PER_MS, NS_PER_S
from engine.domain.instrument import Instrument
from engine.domain.market import Trade
from engine.simulator.bars import Bar
from engine.simulator.venues.base import Venue
from engine.simulator.venues.digits import decimal

INTERVALS_S = {
    "1": 60, "3": 180, "5": 300, "15": 900, "30": 1_800, "60": 3_600, "120": 7_200,
    "240": 14_400, "360": 21_600, "720": 43_200, "D": 86_400,
}  # fmt: skip
"""Lengths of klines, seconds."""

PAST_TRADES = {"spot": 60, "linear": 1_000}
"""Most of the latest trades that can be had."""

MAX_CANDLES = 1_000
SYMBOLS_PER_PAGE = 500

_SIDES = {"buy": "Buy", "sell": "Sell"}


class BybitRest(Venue):
    """What the simulated Bybit answers over REST, and how it names things."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.by_category = {(self.category(name), self.symbol(name)): name for name in self.assets}
        """Category and symbol -> instrument: both categories know ``BTCUSDT``."""

    def symbol_of(self, instrument: Instrument) -> str:
        """Return for example ``BTCUSDT``, of perpetuals in USDC ``BTCPERP``."""
        if instrument.perpetual and instrument.quote == "USDC":
            return f"{instrument.base}PERP"
        return instrument.base + instrument.quote

    def category(self, instrument: str) -> str:
        """Return ``linear`` for perpetuals, else ``spot``."""
        return "linear" if Instrument.parse(instrument).perpetual else "spot"

    def trade_id(self, trade: Trade) -> str:
        """Return the id of a trade on the wire."""
        raise NotImplementedError

    def ticker(self, instrument: str) -> dict[str, str]:
        """Return the fields of a ticker as they are now."""
        asset = self.asset(instrument)
        p, a, day = asset.price_decimals, asset.amount_decimals, self.figures(instrument)
        last = self.last_trade(instrument, self.clock.now_ns())
        price = day.open if last is None else last.price
        fields = {
            "lastPrice": f"{price:.{p}f}",
            "highPrice24h": f"{day.high:.{p}f}",
            "lowPrice24h": f"{day.low:.{p}f}",
            "prevPrice24h": f"{day.open:.{p}f}",
            "volume24h": f"{day.volume:.{a}f}",
            "turnover24h": f"{day.volume * day.vwap:.4f}",
            "price24hPcnt": f"{price / day.open - 1:.4f}",
        }
        if not Instrument.parse(instrument).perpetual:
            return fields
        state = self.perpetual(instrument)
        return {
            **fields,
            "markPrice": f"{state.mark_price:.{p}f}",
            "indexPrice": f"{state.index_price:.{p}f}",
            "openInterest": f"{state.open_interest:.{a}f}",
            "openInterestValue": f"{state.open_interest * state.mark_price:.2f}",
            "fundingRate": f"{state.funding_rate:.8f}",
            "nextFundingTime": str(state.funding_time_ns // NS_PER_MS),
        }

    def routes(self) -> list[web.RouteDef]:
        """``time``, ``instruments-info``, ``recent-trade`` and ``kline``."""
        return [
            web.get("/v5/market/time", self._time),
            web.get("/v5/market/instruments-info", self._instruments),
            web.get("/v5/market/recent-trade", self._recent_trades),
            web.get("/v5/market/kline", self._klines),
        ]

    async def _time(self, _: web.Request) -> web.Response:
        now = self.clock.now_ns()
        return self._answer({"timeSecond": str(now // NS_PER_S), "timeNano": str(now)})

    async def _instruments(self, request: web.Request) -> web.Response:
        """Answer what trades now: spot on one page, linear paged by ``cursor``."""
        query = request.query
        category = query.get("category", "")
        if category not in PAST_TRADES:
            return self._refused("Illegal category")
        names = [
            name
            for name in self.assets
            if self.category(name) == category and self.listing(name).status == "trading"
        ]
        cursor = ""
        if category == "linear":
            try:
                limit = min(int(query.get("limit", SYMBOLS_PER_PAGE)), 1_000)
                skip = int(query.get("cursor", "") or 0)
            except ValueError:
                return self._refused("params error: cursor or limit")
            cursor = str(skip + limit) if skip + limit < len(names) else ""
            names = names[skip : skip + limit]
        rows = [self._row(name, category) for name in names]
        result: dict[str, Any] = {"category": category, "list": rows}
        return self._answer(result | ({"nextPageCursor": cursor} if category == "linear" else {}))

    def _row(self, instrument: str, category: str) -> dict[str, Any]:
        asset, name = self.asset(instrument), Instrument.parse(instrument)
        tick, lot = decimal(1, asset.price_decimals), decimal(1, asset.amount_decimals)
        row: dict[str, Any] = {
            "symbol": self.symbol(instrument),
            "baseCoin": asset.base,
            "quoteCoin": name.quote,
            "status": "Trading",
        }
        if category == "spot":
            lots = {"basePrecision": lot, "quotePrecision": "0.0000001", "minOrderQty": lot}
            return row | {"priceFilter": {"tickSize": tick}, "lotSizeFilter": lots}
        return row | {
            "contractType": "LinearPerpetual",
            "launchTime": str(self.listing(instrument).listed_at // NS_PER_MS),
            "deliveryTime": "0",
            "priceScale": str(asset.price_decimals),
            "priceFilter": {"minPrice": tick, "maxPrice": "1999999.80", "tickSize": tick},
            "lotSizeFilter": {"minOrderQty": lot, "qtyStep": lot},
            "fundingInterval": 480,
            "settleCoin": name.quote,
        }

    async def _recent_trades(self, request: web.Request) -> web.Response:
        """Answer the latest trades, newest first."""
        query = request.query
        category = query.get("category", "")
        instrument = self.by_category.get((category, query.get("symbol", "")))
        if instrument is None:
            return self._refused("Not supported symbols")
        try:
            limit = int(query.get("limit", PAST_TRADES["spot"] if category == "spot" else 500))
        except ValueError:
            return self._refused("params error: limit")
        trades = self.last_trades(instrument, min(limit, PAST_TRADES[category]))
        rows = [self._past_trade(trade) for trade in reversed(trades)]
        return self._answer({"category": category, "list": rows})

    def _past_trade(self, trade: Trade) -> dict[str, Any]:
        asset = self.asset(trade.instrument)
        return {
            "execId": self.trade_id(trade),
            "symbol": self.symbol(trade.instrument),
            "price": f"{trade.price:.{asset.price_decimals}f}",
            "size": f"{trade.amount:.{asset.amount_decimals}f}",
            "side": _SIDES[trade.side],
            "time": str(trade.exchange_time // NS_PER_MS),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(trade.sequence),
        }

    async def _klines(self, request: web.Request) -> web.Response:
        """Candles, newest first; both ends of the range are inclusive."""
        query = request.query
        category, symbol = query.get("category", ""), query.get("symbol", "")
        instrument = self.by_category.get((category, symbol))
        interval_s = INTERVALS_S.get(query.get("interval", ""))
        if instrument is None:
            return self._refused("Not supported symbols")
        if interval_s is None:
            return self._refused("Invalid period!")
        now, step = self.clock.now_ns(), interval_s * NS_PER_S
        try:
            limit = min(int(query.get("limit", 200)), MAX_CANDLES)
            end = min(int(query.get("end", now // NS_PER_MS)) * NS_PER_MS, now)
            start = end - limit * step
            start = max(start, int(query.get("start", 0)) * NS_PER_MS)
        except ValueError:
            return self._refused("params error: start, end or limit")
        rows = self.candles(instrument, step, (start, end + 1))[-limit:] if limit > 0 else []
        answer = [self._kline(row, instrument) for row in reversed(rows)]
        return self._answer({"category": category, "symbol": symbol, "list": answer})

    def _kline(self, row: Bar, instrument: str) -> Sequence[str]:
        asset = self.asset(instrument)
        p, a = asset.price_decimals, asset.amount_decimals
        return [
            str(row.open_time // NS_PER_MS),
            *(decimal(value, p) for value in (row.open, row.high, row.low, row.close)),
            decimal(row.lots, a),
            f"{row.quote / 10 ** (p + a):.8f}",
        ]

    def _answer(self, result: dict[str, Any], code: int = 0, message: str = "OK") -> web.Response:
        body = {
            "retCode": code,
            "retMsg": message,
            "result": result,
            "retExtInfo": {},
            "time": self.clock.now_ns() // NS_PER_MS,
        }
        return web.json_response(body)

    def _refused(self, message: str) -> web.Response:
        return self._answer({}, 10001, message)
