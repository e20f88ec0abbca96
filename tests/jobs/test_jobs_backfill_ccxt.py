"""Venues behind ccxt, without ccxt: what a client gives that answers with one hour at most."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.backfill import ccxt_venue
from engine.backfill.ccxt_venue import CcxtVenue
from engine.clock import NS_PER_MS, DataClock, parse_iso_utc
from engine.domain.market import TradeRange

T0 = parse_iso_utc("2026-01-05T00:00:00Z") // NS_PER_MS
HOUR = 3_600_000


class Client:
    """A client of ccxt whose venue gives the first trades of the hour from `since`."""

    traded: tuple[int, ...] = ()
    """Milliseconds after midnight, one for each trade."""
    page = 1000
    ignores_since = False

    has = {"fetchTrades": True}  # noqa: RUF012 - as ccxt has it
    markets = {  # noqa: RUF012
        "BTC/USDT": {"symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "spot": True}
    }

    def __init__(self, options: dict[str, object]) -> None:
        self.asked: list[int] = []

    async def fetch_trades(
        self, symbol: str, since: int | None, limit: int
    ) -> list[dict[str, object]]:
        rows = [
            {"id": f"t{n}", "side": "buy", "timestamp": T0 + at, "price": 1.0, "amount": 1.0}
            for n, at in enumerate(self.traded)
        ]
        if since is None or self.ignores_since:
            return rows[-self.page :]
        self.asked.append(since - T0)
        return [row for row in rows if since <= int(str(row["timestamp"])) < since + HOUR][
            : self.page
        ]


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> CcxtVenue:
    errors = SimpleNamespace(NetworkError=ConnectionError, BaseError=LookupError)
    monkeypatch.setattr(ccxt_venue, "_kind_of", lambda name: (errors, Client))
    return CcxtVenue("binance", DataClock((T0 + 48 * HOUR) * NS_PER_MS))


def client_of(venue: CcxtVenue) -> Any:
    return venue._client


def wanted(start: int, end: int) -> TradeRange:
    low, high = (T0 + start) * NS_PER_MS, (T0 + end) * NS_PER_MS
    return TradeRange("BTC-USDT", None, None, low, high)


async def fetched(venue: CcxtVenue, start: int, end: int) -> tuple[list[int], str]:
    found = await venue.trades(wanted(start, end))
    return [int(trade.trade_id[1:]) for trade in found.trades], found.problem


async def test_trades_behind_quiet_hours_are_fetched(venue: CcxtVenue) -> None:
    client = client_of(venue)
    quiet = [*range(0, HOUR, 600_000), 5 * HOUR + 7, 6 * HOUR - 1, 9 * HOUR, 23 * HOUR + 5]
    client.traded = tuple(quiet)
    assert await fetched(venue, 0, 24 * HOUR) == (list(range(len(quiet))), "")
    assert client.asked[-1] + HOUR > 24 * HOUR


@pytest.mark.parametrize("first", range(8))
async def test_trades_of_any_one_hour_in_a_quiet_day_are_found(
    venue: CcxtVenue, first: int
) -> None:
    client_of(venue).traded = (first * 3 * HOUR + 1, 30 * HOUR)
    assert await fetched(venue, 0, 24 * HOUR) == ([0], "")


async def test_quiet_range_is_asked_for_hour_by_hour_to_its_end(venue: CcxtVenue) -> None:
    client_of(venue).traded = (-1, 30 * HOUR)
    assert await fetched(venue, 0, 5 * HOUR) == ([], "")
    assert client_of(venue).asked == [n * HOUR for n in range(6)]


async def test_trades_of_one_millisecond_that_fill_a_page_do_not_end_it(venue: CcxtVenue) -> None:
    client = client_of(venue)
    client.page = 3
    client.traded = (5, 9, 9, 9, 10, 11, 3 * HOUR, 3 * HOUR + 1)
    assert await fetched(venue, 0, 4 * HOUR) == (list(range(8)), "")


async def test_trades_outside_the_range_are_left_out(venue: CcxtVenue) -> None:
    client_of(venue).traded = (0, HOUR, 2 * HOUR, 3 * HOUR)
    assert await fetched(venue, HOUR, 2 * HOUR) == ([1, 2], "")


async def test_latest_trades_whatever_was_asked_stay_a_problem(venue: CcxtVenue) -> None:
    client = client_of(venue)
    client.traded, client.ignores_since = (20 * HOUR, 21 * HOUR), True
    found, problem = await fetched(venue, 0, 24 * HOUR)
    assert found == [0, 1]
    assert problem == (
        "binance gives only its latest trades of BTC-USDT, from 2026-01-05T20:00:00.000000Z on"
    )
