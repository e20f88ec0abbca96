"""OKX's names, contracts and REST as a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from engine.clock import NS_PER_MS, NS_PER_S
from engine.domain.instrument import Instrument
from engine.domain.market import Trade
from engine.simulator.bars import Bar
from engine.simulator.venues.base import Venue
from engine.simulator.venues.digits import decimal

INTERVALS_S = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1_800, "1H": 3_600,
    "2H": 7_200, "4H": 14_400, "6Hutc": 21_600, "12Hutc": 43_200, "1Dutc": 86_400,
}  # fmt: skip
"""Lengths of candles, seconds."""

CONTRACT_DECIMALS = 3
"""A contract of a swap is 1,000 lots of the market, so its amounts have three digits."""

PAST_TRADES = 100
MAX_CANDLES = 300


class _Refused(Exception):
    """A REST request that the venue refuses."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class OkxRest(Venue):
    """What the simulated OKX answers over REST, how it names things, and its contracts."""

    def symbol_of(self, instrument: Instrument) -> str:
        """Return for example ``BTC-USDT`` or ``BTC-USDT-SWAP``."""
        tail = "-SWAP" if instrument.perpetual else ""
        return f"{instrument.base}-{instrument.quote}{tail}"

    # -- contracts -----------------------------------------------------------------------

    def contract_value(self, instrument: str) -> str:
        """Return the base currency in one contract of a swap, as metadata writes it."""
        exponent = CONTRACT_DECIMALS - self.asset(instrument).amount_decimals
        return decimal(1, -exponent) if exponent < 0 else str(10**exponent)

    def contract_size(self, instrument: str) -> float:
        """Return the base currency in one unit of the amounts on the wire."""
        swap = Instrument.parse(instrument).perpetual
        return float(self.contract_value(instrument)) if swap else 1.0

    def digits(self, instrument: str) -> tuple[int, int]:
        """Return how many digits prices and amounts on the wire have."""
        asset = self.asset(instrument)
        if Instrument.parse(instrument).perpetual:
            return asset.price_decimals, CONTRACT_DECIMALS
        return asset.price_decimals, asset.amount_decimals

    def texts(self, trade: Trade) -> tuple[str, str]:
        """Return a trade's price and amount on the wire."""
        prices, amounts = self.digits(trade.instrument)
        lots = round(trade.amount * 10 ** self.asset(trade.instrument).amount_decimals)
        return f"{trade.price:.{prices}f}", decimal(lots, amounts)

    def recorded(self, trade: Trade) -> Trade:
        """Return a swap's trade with the amount that its contracts make, to the last bit."""
        if not Instrument.parse(trade.instrument).perpetual:
            return trade
        contracts = float(self.texts(trade)[1])
        return replace(trade, amount=contracts * self.contract_size(trade.instrument))

    # -- REST ----------------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        """``time``, ``instruments``, ``trades``, ``history-trades`` and candles."""
        market = "/api/v5/market"
        return [
            web.get("/api/v5/public/time", self._guard(self._time)),
            web.get("/api/v5/public/instruments", self._guard(self._instruments)),
            web.get(f"{market}/trades", self._guard(self._trades)),
            web.get(f"{market}/history-trades", self._guard(self._history_trades)),
            web.get(f"{market}/candles", self._guard(self._candles)),
            web.get(f"{market}/history-candles", self._guard(self._candles)),
        ]

    def _guard(self, handler: Any) -> Any:
        """Wrap what a handler returns, or why it refuses."""

        async def answer(request: web.Request) -> web.Response:
            try:
                data = handler(request.query)
            except _Refused as refused:
                return web.json_response({"code": refused.code, "msg": str(refused), "data": []})
            except ValueError:
                return web.json_response({"code": "51000", "msg": "Parameter error", "data": []})
            return web.json_response({"code": "0", "msg": "", "data": data})

        return answer

    def _time(self, _: Mapping[str, str]) -> list[dict[str, str]]:
        return [{"ts": str(self.clock.now_ns() // NS_PER_MS)}]

    def _instruments(self, query: Mapping[str, str]) -> list[dict[str, str]]:
        """Return what trades now; a delisted instrument is not mentioned any more."""
        kind = query.get("instType", "")
        if kind not in {"SPOT", "SWAP"}:
            raise _Refused("51000", "Parameter instType error")
        return [
            self._row(name, kind)
            for name in self.assets
            if Instrument.parse(name).perpetual == (kind == "SWAP")
            and self.listing(name).status == "trading"
        ]

    def _row(self, instrument: str, kind: str) -> dict[str, str]:
        asset, name = self.asset(instrument), Instrument.parse(instrument)
        row = {
            "instType": kind,
            "instId": self.symbol(instrument),
            "uly": "",
            "baseCcy": "",
            "quoteCcy": "",
            "settleCcy": "",
            "ctVal": "",
            "ctMult": "",
            "ctValCcy": "",
            "ctType": "",
            "listTime": str(self.listing(instrument).listed_at // NS_PER_MS),
            "expTime": "",
            "tickSz": decimal(1, asset.price_decimals),
            "lotSz": decimal(1, self.digits(instrument)[1]),
            "minSz": decimal(1, self.digits(instrument)[1]),
            "state": "live",
        }
        if kind == "SPOT":
            return row | {"baseCcy": asset.base, "quoteCcy": name.quote}
        return row | {
            "uly": f"{asset.base}-{name.quote}",
            "settleCcy": name.quote,
            "ctVal": self.contract_value(instrument),
            "ctMult": "1",
            "ctValCcy": asset.base,
            "ctType": "linear",
        }

    def _instrument(self, query: Mapping[str, str]) -> str:
        symbol = query.get("instId", "")
        if not symbol:
            raise _Refused("50014", "Parameter instId can not be empty.")
        if symbol not in self.by_symbol:
            raise _Refused("51001", "Instrument ID does not exist.")
        return self.by_symbol[symbol]

    def _trades(self, query: Mapping[str, str]) -> list[dict[str, str]]:
        """Return the latest trades, newest first."""
        trades = self.last_trades(self._instrument(query), min(int(query.get("limit", 100)), 500))
        return [self._past_trade(trade) for trade in reversed(trades)]

    def _history_trades(self, query: Mapping[str, str]) -> list[dict[str, str]]:
        """Trades before an id (``type=1``) or a time (``type=2``), newest first."""
        instrument = self._instrument(query)
        limit = min(int(query.get("limit", PAST_TRADES)), PAST_TRADES)
        last = self.last_id(instrument)
        if "after" in query:
            after = int(query["after"])
            by_time = query.get("type", "1") == "2"
            first = self.first_id_at(instrument, after * NS_PER_MS) if by_time else after
            last = min(last, first - 1)
        trades = self.numbered(instrument, last - limit + 1, last)
        return [self._past_trade(trade) for trade in reversed(trades)]

    def _past_trade(self, trade: Trade) -> dict[str, str]:
        price, size = self.texts(trade)
        return {
            "instId": self.symbol(trade.instrument),
            "tradeId": str(trade.sequence),
            "px": price,
            "sz": size,
            "side": trade.side,
            "source": "0",
            "ts": str(trade.exchange_time // NS_PER_MS),
        }

    def _candles(self, query: Mapping[str, str]) -> list[Sequence[str]]:
        """Candles, newest first; ``before`` and ``after`` are exclusive."""
        instrument = self._instrument(query)
        interval_s = INTERVALS_S.get(query.get("bar", "1m"))
        if interval_s is None:
            raise _Refused("51000", "Parameter bar error")
        now, step = self.clock.now_ns(), interval_s * NS_PER_S
        limit = min(int(query.get("limit", 100)), MAX_CANDLES)
        end = int(query["after"]) * NS_PER_MS if "after" in query else now + 1
        # The newest come first, so a page ends at `after` and begins `limit` before it.
        end = min(end, now + 1)
        start = end - (limit + 1) * step
        if "before" in query:
            start = max(start, int(query["before"]) * NS_PER_MS + 1)
        rows = self.candles(instrument, step, (start, end))[-limit:] if limit > 0 else []
        return [self._candle(row, instrument, step, now) for row in reversed(rows)]

    def _candle(self, row: Bar, instrument: str, step: int, now: int) -> Sequence[str]:
        asset, swap = self.asset(instrument), Instrument.parse(instrument).perpetual
        p, a = asset.price_decimals, asset.amount_decimals
        base, quote = decimal(row.lots, a), f"{row.quote / 10 ** (p + a):.8f}"
        volumes = (
            (decimal(row.lots, CONTRACT_DECIMALS), base, quote) if swap else (base, quote, quote)
        )
        return [
            str(row.open_time // NS_PER_MS),
            *(decimal(value, p) for value in (row.open, row.high, row.low, row.close)),
            *volumes,
            "1" if row.open_time + step <= now else "0",
        ]
