"""Kraken spot's REST as a server: AssetPairs, OHLC and Trades."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from engine.clock import NS_PER_S, iso_utc
from engine.domain.instrument import Instrument
from engine.simulator.venues.base import Venue
from engine.simulator.venues.digits import decimal

INTERVALS_MIN = (1, 5, 15, 30, 60, 240, 1440)
MAX_CANDLES = 720
MAX_TRADES = 1_000

_OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
_PREFIXED = frozenset({"BTC", "ETH", "XRP", "LTC", "XLM", "XMR", "ZEC", "ETC"})
"""Currencies whose REST pair keeps the old ``X``/``Z`` prefixes."""


class KrakenRest(Venue):
    """What the simulated Kraken answers over REST."""

    def routes(self) -> list[web.RouteDef]:
        """``AssetPairs``, ``OHLC``, ``Trades`` and ``Time``."""
        return [
            web.get("/0/public/Time", self._time),
            web.get("/0/public/AssetPairs", self._pairs),
            web.get("/0/public/OHLC", self._ohlc),
            web.get("/0/public/Trades", self._past_trades),
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
        wanted = [name for name in wanted if name and self.listing(name).status == "trading"]
        rows = {_pair(name)[0]: self._pair_row(name) for name in wanted if name}
        return web.json_response({"error": [], "result": rows})

    def _pair_row(self, instrument: str) -> dict[str, Any]:
        asset, quote = self.asset(instrument), Instrument.parse(instrument).quote
        old = _OLD_NAMES.get(asset.base, asset.base)
        return {
            "altname": f"{old}{quote}",
            "wsname": f"{old}/{quote}",
            "aclass_base": "currency",
            "base": f"X{old}" if asset.base in _PREFIXED or old == "XDG" else old,
            "aclass_quote": "currency",
            "quote": f"Z{quote}" if quote == "USD" else quote,
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

    async def _past_trades(self, request: web.Request) -> web.Response:
        """Trades behind ``since``, oldest first; the latest where it is missing."""
        instrument = self._find(request.query.get("pair", ""))
        if instrument is None:
            return _refused("EQuery:Unknown asset pair")
        try:
            count = min(int(request.query.get("count", MAX_TRADES)), MAX_TRADES)
            since = request.query.get("since")
            behind = None if since is None else _since_ns(since)
        except ValueError:
            return _refused("EGeneral:Invalid arguments")
        if behind is None:
            trades = self.last_trades(instrument, count)
        else:
            first = self.first_id_at(instrument, behind + 1)
            trades = self.numbered(instrument, first, first + count - 1)
        p, a = (asset := self.asset(instrument)).price_decimals, asset.amount_decimals
        rows = ",".join(
            f'["{trade.price:.{p}f}","{trade.amount:.{a}f}",{_seconds(trade.exchange_time)},'
            f'"{trade.side[0]}","m","",{trade.sequence}]'
            for trade in trades
        )
        last = trades[-1].exchange_time if trades else behind or 0
        key = _pair(instrument)[0]
        body = f'{{"error":[],"result":{{"{key}":[{rows}],"last":"{last}"}}}}'
        return web.Response(text=body, content_type="application/json")

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
        rows = self.candles(instrument, step, (min(start, running), now + 1))
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
    prefixed = base in _PREFIXED and quote == "USD"
    key = f"X{old}Z{quote}" if prefixed else f"{old}{quote}"
    return key, f"{old}{quote}", f"{old}/{quote}"


def _since_ns(text: str) -> int:
    """Read a ``since``: seconds, which may have a fraction, or nanoseconds.

    Raises
    ------
    ValueError
        Where it is no number.
    """
    number = float(text)
    return int(text) if text.isdigit() and number > 1e12 else int(number * NS_PER_S)


def _seconds(time_ns: int) -> str:
    """Write a time in seconds, with the seven digits that the venue writes."""
    return f"{time_ns // NS_PER_S}.{time_ns % NS_PER_S // 100:07d}"


def _refused(message: str) -> web.Response:
    return web.json_response({"error": [message]})
