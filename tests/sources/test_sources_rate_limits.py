"""Servers of documents, data sets and indices that ask for fewer requests: told, kept, mended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from api_server import ApiServer, DatasetViewer, Fault, MoodDocuments, Routes

from engine.clock import NS_PER_S, DataClock, parse_iso_utc
from engine.domain.text import MarketMood
from engine.errors import SourceError
from engine.settings.sources import MoodConfig, SourceConfig
from engine.sources import http, put_call
from engine.sources.http import SourceClient
from engine.sources.mentions import MentionFinder
from engine.sources.mood_registry import open_mood
from engine.sources.put_call import PutCall
from engine.sources.registry import open_source

NOW = parse_iso_utc("2019-10-09T21:00:00Z")
CLOCK = DataClock(NOW)
PAUSE_S = 0.2


async def feed(request: web.Request) -> web.Response:
    items = "".join(
        f"<item><title>BTC {number}</title><guid>{number}</guid>"
        "<pubDate>Tue, 08 Oct 2019 12:00:00 GMT</pubDate></item>"
        for number in range(2)
    )
    return web.Response(text=f'<rss version="2.0"><channel>{items}</channel></rss>')


def texts(kind: str, path: str = "", **more: Any) -> Callable[[ApiServer], Any]:
    def opened(server: ApiServer) -> Any:
        config = SourceConfig(
            name=kind, kind=kind, location=server.url + path, per_minute=1e9, **more
        )
        mentions = MentionFinder(["BTC-USDT"])
        return open_source(config, clock=CLOCK, mentions=mentions, author_key=b"k")

    return opened


def mood(kind: str, path: str) -> Callable[[ApiServer], Any]:
    return lambda server: open_mood(MoodConfig(kind=kind, location=server.url + path), CLOCK)


def daily_ratios(server: ApiServer) -> PutCall:
    """The put/call ratio whose archive is stored already."""
    archive, daily = f"{server.url}/totalpc.csv", f"{server.url}/daily"
    source = PutCall(SourceClient("put_call", clock=CLOCK), CLOCK, archive, daily)
    source.resume([MarketMood("put_call", parse_iso_utc("2019-10-07T00:00:00Z"), 1.0, NOW)])
    return source


def documents() -> MoodDocuments:
    made = MoodDocuments()
    made.vix = "DATE,OPEN,HIGH,LOW,CLOSE\n10/07/2019,1,2,1,1.5\n10/08/2019,1,2,1,1.6\n"
    made.archive = "DATE,CALL,PUT,TOTAL,P/C Ratio\n10/3/2019,2,3,5,1.5\n10/4/2019,2,2,4,1.0\n"
    made.days = {"2019-10-08": "0.9", "2019-10-09": "1.1"}
    made.fear_greed = [(NOW // NS_PER_S - day * 86_400, "40") for day in (2, 1)]
    return made


def dataset() -> DatasetViewer:
    rows = [{"title": f"BTC {number}", "date": 1_500_000_000} for number in range(2)]
    return DatasetViewer(["title", "date"], rows)


@dataclass(frozen=True)
class Case:
    """A source of two texts or values, and its server."""

    name: str
    routes: Routes
    opened: Callable[[ApiServer], Any]


CASES = [
    Case("huggingface", dataset().routes(), texts(
        "huggingface", query="owner/name", columns={"title": "title", "published_at": "date"})),
    Case("rss", {"GET /feed": feed}, texts("rss", "/feed")),
    Case("fear_greed", documents().routes(), mood("fear_greed", "/fng/")),
    Case("vix", documents().routes(), mood("vix", "/VIX_History.csv")),
    Case("put_call", documents().routes(), mood("put_call", "/totalpc.csv")),
    Case("put_call by day", documents().routes(), daily_ratios),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request, monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(put_call, "PER_MINUTE", 1e9)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return request.param


def paths(server: ApiServer) -> Sequence[str]:
    return [seen.path for seen in server.seen]


async def test_rate_limit_without_a_pause_is_told_at_once_and_the_next_look_misses_nothing(case):
    async with ApiServer(case.routes) as server:
        source = case.opened(server)
        server.faults.append(Fault(429, body=b'{"error": "slow down"}'))
        with pytest.raises(SourceError, match=r"answered 429 \(slow down\)"):
            await source.poll()
        assert len(server.seen) == 1
        assert len(await source.poll()) == 2
        await source.close()
    assert paths(server)[0] == paths(server)[1]


async def test_rate_limit_with_a_pause_is_waited_for_and_asked_again(case):
    loop = asyncio.get_running_loop()
    async with ApiServer(case.routes) as server:
        source = case.opened(server)
        server.faults.append(Fault(429, {"Retry-After": str(PAUSE_S)}))
        began = loop.time()
        assert len(await source.poll()) == 2
        assert loop.time() - began >= PAUSE_S
        await source.close()
    assert paths(server)[0] == paths(server)[1]


async def test_rate_limit_with_a_long_pause_is_told_and_kept(case):
    async with ApiServer(case.routes) as server:
        source = case.opened(server)
        server.faults.append(Fault(429, {"Retry-After": "900"}))
        for _ in range(2):
            with pytest.raises(SourceError, match=r"asked for a pause, of which (900|899) s"):
                await source.poll()
        assert len(server.seen) == 1
        await source.close()
