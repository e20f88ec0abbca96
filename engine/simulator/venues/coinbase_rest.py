"""Coinbase Exchange's REST as a server: products, their candles and past trades."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from engine.clock import NS_PER_S, iso_utc, parse_iso_utc
from engine.domain.instrument import Instrument
from engine.domain.market import Trade
from engine.simulator.venues.base import Venue

GRANULARITIES_S = (60, 300, 900, 3_600, 21_600, 86_400)
MAX_CANDLES = 300
MAX_TRADES = 1_000


class CoinbaseRest(Venue):
    """What the simulated Coinbase answers over REST."""

    def routes(self) -> list[web.RouteDef]:
        """``products``, their ``candles`` and ``trades``, and ``time``."""
        return [
            web.get("/time", self._time),
            web.get("/products", self._products),
            web.get("/products/{product}", self._product),
            web.get("/products/{product}/candles", self._candles),
            web.get("/products/{product}/trades", self._trades),
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
        asset, quote = self.asset(instrument), Instrument.parse(instrument).quote
        trades = self.listing(instrument).status == "trading"
        return {
            "id": instrument,
            "base_currency": asset.base,
            "quote_currency": quote,
            "quote_increment": f"{10.0**-asset.price_decimals:.{asset.price_decimals}f}",
            "base_increment": f"{10.0**-asset.amount_decimals:.{asset.amount_decimals}f}",
            "display_name": f"{asset.base}-{quote}",
            "min_market_funds": "1",
            "margin_enabled": False,
            "post_only": False,
            "limit_only": False,
            "cancel_only": False,
            "status": "online" if trades else "delisted",
            "status_message": "",
            "trading_disabled": not trades,
            "fx_stablecoin": False,
            "auction_mode": False,
        }

    async def _trades(self, request: web.Request) -> web.Response:
        """Answer past trades, newest first; the page behind begins below ``cb-after``."""
        product = request.match_info["product"]
        if product not in self.assets:
            return web.json_response({"message": "NotFound"}, status=404)
        try:
            limit = min(int(request.query.get("limit", MAX_TRADES)), MAX_TRADES)
            after = request.query.get("after")
            last = self.last_id(product) if after is None else int(after) - 1
        except ValueError:
            return _refused("Invalid cursor or limit")
        trades = self.numbered(product, last - limit + 1, last)
        rows = [
            {
                "trade_id": trade.sequence,
                "side": maker_side(trade),
                "size": f"{trade.amount:.8f}",
                "price": f"{trade.price:.8f}",
                "time": iso_utc(trade.exchange_time),
            }
            for trade in reversed(trades)
        ]
        headers = {}
        if trades:
            headers = {"cb-before": str(trades[-1].sequence), "cb-after": str(trades[0].sequence)}
        return web.json_response(rows, headers=headers)

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
        rows = self.candles(product, step, (start, end + 1))
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


def maker_side(trade: Trade) -> str:
    """Return the side that did not take: Coinbase names that one."""
    return "sell" if trade.side == "buy" else "buy"


def _moment(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    if text.isdigit():
        return int(text) * NS_PER_S
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return int(moment.replace(tzinfo=UTC).timestamp()) * NS_PER_S
    return parse_iso_utc(text)


def _refused(message: str) -> web.Response:
    return web.json_response({"message": message}, status=400)
