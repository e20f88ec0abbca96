"""What every API of texts has to do, on a server that answers as it does."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from api_server import (
    ApiServer,
    CoinGeckoApi,
    CryptoPanicApi,
    Fault,
    NewsApiOrg,
    RedditApi,
)

from engine.clock import NS_PER_S, DataClock
from engine.errors import ConfigError, SourceError
from engine.settings.sources import SourceConfig
from engine.sources import http
from engine.sources.base import text_id
from engine.sources.mentions import MentionFinder
from engine.sources.registry import open_source

NOW_S = 1_700_000_000
NOW = NOW_S * NS_PER_S
MENTIONS = MentionFinder(["BTC-USDT", "ETH-USDT"])


def iso(second):
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"


def reddit_row(number, second, title):
    post = {
        "name": f"t3_{number}", "title": title, "selftext": "", "author": "ann", "score": 3,
        "num_comments": 2, "permalink": f"/r/Bitcoin/comments/{number}/x/",
        "created_utc": float(second),
    }  # fmt: skip
    return {"kind": "t3", "data": post}


def newsapi_row(number, second, title):
    return {
        "source": {"id": None, "name": "X"}, "author": "ann", "title": title, "description": "d",
        "url": f"https://x.org/{number}", "urlToImage": None, "publishedAt": iso(second),
        "content": "cut [+200 chars]",
    }  # fmt: skip


def cryptopanic_row(number, second, title):
    return {
        "id": number, "kind": "news", "title": title, "description": "d",
        "published_at": iso(second), "original_url": f"https://x.org/{number}",
        "url": f"https://cryptopanic.com/news/{number}", "votes": {"positive": 4, "negative": 1},
    }  # fmt: skip


def coingecko_row(number, second, title):
    return {
        "title": title, "url": f"https://x.org/{number}", "image": "https://x.org/i.png",
        "author": "ann", "posted_at": iso(second), "type": "news", "source_name": "X",
        "related_coin_ids": ["1-token-2", "bitcoin"],
    }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An API, and how a test speaks of it."""

    kind: str
    make: Callable[[list[Any]], Any]
    row: Callable[[int, int, str], dict[str, Any]]
    keys: dict[str, str]
    time: str
    """The field of a row that says when it was published."""
    query: str = ""
    path: str = ""
    own_id: str = "https://x.org/{}"
    page: int = 100
    overlap_s: int = 3600


CASES = [
    Case("reddit", RedditApi, reddit_row,
         {"REDDIT_CLIENT_ID": "an-id", "REDDIT_CLIENT_SECRET": "a-secret"},
         time="created_utc", query="Bitcoin+CryptoCurrency", own_id="t3_{}", overlap_s=600),
    Case("newsapi", NewsApiOrg, newsapi_row, {"NEWSAPI_KEY": "a-news-key"},
         time="publishedAt", query="bitcoin", overlap_s=6 * 3600),
    Case("cryptopanic", CryptoPanicApi, cryptopanic_row, {"CRYPTOPANIC_TOKEN": "a-panic-token"},
         time="published_at", path="/api/developer/v2", own_id="{}", page=20),
    Case("coingecko", CoinGeckoApi, coingecko_row, {"COINGECKO_API_KEY": "a-gecko-key"},
         time="posted_at", path="/api/v3", page=20),
]  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: case.kind)
def case(request, monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.0)
    for variable, key in request.param.keys.items():
        monkeypatch.setenv(variable, key)
    return request.param


def opened(case, server, clock=None, **more):
    config = SourceConfig(
        name="s", kind=case.kind, location=server.url + case.path, query=case.query,
        credibility=0.7, per_minute=1e9, **more,
    )  # fmt: skip
    return open_source(
        config, clock=clock or DataClock(NOW), mentions=MENTIONS, author_key=b"test key"
    )


def rows_of(case, count):
    """Return rows a minute apart, the newest first."""
    return [case.row(n, NOW_S - 60 * (count - n), f"Bitcoin {n}") for n in reversed(range(count))]


async def test_api_pages_give_each_text_once_oldest_first(case):
    count = 2 * case.page + 3
    api = case.make(rows_of(case, count))
    async with ApiServer(api.routes()) as server:
        source = opened(case, server)
        first = await source.poll()
        assert await source.poll() == []
        await source.close()
    assert [item.title for item in first] == [f"Bitcoin {number}" for number in range(count)]
    assert first[0].text_id == text_id("s", case.own_id.format(0))
    assert first[0].published_at == (NOW_S - 60 * count) * NS_PER_S
    assert {item.available_at for item in first} == {NOW}
    assert first[0].instruments == ("BTC-USDT",)
    assert first[0].credibility == 0.7
    assert (source.report.texts, source.report.skipped) == (count, 0)


async def test_api_second_look_reads_only_what_may_be_new(case):
    count = 2 * case.page + 3
    api = case.make(rows_of(case, count))
    async with ApiServer(api.routes()) as server:
        clock = DataClock(NOW)
        source = opened(case, server, clock)
        await source.poll()
        later = NOW_S + case.overlap_s + 60 * case.page
        clock.advance(later * NS_PER_S)
        rows = api.posts if hasattr(api, "posts") else api.articles
        rows.insert(0, case.row(9_999, later, "Ethereum climbs"))
        asked = len(server.pages)
        (item,) = await source.poll()
        assert (item.title, item.available_at) == ("Ethereum climbs", later * NS_PER_S)
        turned = len(server.pages) - asked
        whole = -(-case.overlap_s // 60 // case.page) + 1
        assert turned <= whole
        await source.close()


async def test_api_resumed_leaves_out_what_is_stored_and_what_is_older(case):
    count = case.page
    api = case.make(rows_of(case, count))
    async with ApiServer(api.routes()) as server:
        source = opened(case, server)
        newest_s = NOW_S - 60 * 2
        source.resume(newest_s * NS_PER_S, [text_id("s", case.own_id.format(count - 2))])
        items = await source.poll()
        await source.close()
    oldest = (newest_s - case.overlap_s) * NS_PER_S
    assert items[-1].title == f"Bitcoin {count - 1}"
    assert f"Bitcoin {count - 2}" not in [item.title for item in items]
    assert all(item.published_at >= oldest for item in items)


async def test_api_bad_rows_are_named_once_and_take_nothing_with_them(case):
    good = case.row(1, NOW_S - 60, "Bitcoin climbs")
    ahead = case.row(2, NOW_S + 7200, "From the future")
    empty = case.row(3, NOW_S - 30, "  ")
    bare = case.row(4, NOW_S - 20, "No time")
    inner = bare["data"] if case.kind == "reddit" else bare
    inner[case.time] = "yesterday"
    api = case.make([ahead, bare, empty, good])
    async with ApiServer(api.routes()) as server:
        source = opened(case, server)
        items = await source.poll()
        assert await source.poll() == []
        await source.close()
    assert [item.title for item in items] == ["Bitcoin climbs"]
    assert source.report.skipped == 3
    said = list(source.report.problems)
    assert "page 1, row 1: it claims to be of 2023-11-15T00:13:20" in said[0]
    assert said[1].startswith("page 1, row 2: ")
    assert said[2] == "page 1, row 3: its title is empty"


@pytest.mark.parametrize("row", [None, 7, "x", [], {}, {"data": None}])
async def test_api_row_of_another_shape_is_named(case, row):
    api = case.make([case.row(1, NOW_S - 60, "Bitcoin climbs"), row])
    async with ApiServer(api.routes()) as server:
        source = opened(case, server)
        items = await source.poll()
        await source.close()
    assert [item.title for item in items] == ["Bitcoin climbs"]
    assert source.report.skipped == 1


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b"7", b'{"data": 3}', b"\xff\xfe"])
async def test_api_answer_of_another_shape_raises_and_loses_nothing(case, body):
    api = case.make(rows_of(case, 3))
    async with ApiServer(api.routes()) as server:
        source = opened(case, server)
        await source.poll()
        rows = api.posts if hasattr(api, "posts") else api.articles
        rows.insert(0, case.row(99, NOW_S, "Ethereum climbs"))
        server.faults.append(Fault(200, body=body))
        with pytest.raises(SourceError, match="sent something else than is documented"):
            await source.poll()
        assert [item.title for item in await source.poll()] == ["Ethereum climbs"]
        await source.close()


async def test_api_failure_between_pages_loses_nothing(case):
    count = 2 * case.page
    api = case.make(rows_of(case, count))
    async with ApiServer(api.routes()) as server:
        source = opened(case, server)
        before = [None] * (2 if case.kind == "reddit" else 1)
        server.faults += [*before, *[Fault(502)] * http.ATTEMPTS]
        with pytest.raises(SourceError, match="answered 502"):
            await source.poll()
        assert len(await source.poll()) == count
        await source.close()


async def test_api_key_that_is_missing_names_its_variable(case, monkeypatch):
    for variable in case.keys:
        monkeypatch.delenv(variable)
    async with ApiServer({}) as server:
        with pytest.raises(ConfigError) as told:
            opened(case, server)
    words = f"source s: the environment variable {next(iter(case.keys))} is not set; it holds "
    assert str(told.value).startswith(words)


async def test_api_key_that_is_refused_names_its_variable_and_shows_no_key(case, monkeypatch):
    for variable in case.keys:
        monkeypatch.setenv(variable, "wr0ng")
    async with ApiServer(case.make([]).routes()) as server:
        source = opened(case, server)
        with pytest.raises(SourceError) as told:
            await source.poll()
        await source.close()
    assert "answered 401" in str(told.value)
    assert str(told.value).endswith(f"; check {' and '.join(case.keys)}")
    assert "wr0ng" not in str(told.value)


async def test_api_too_many_requests_are_told_and_mended(case):
    api = case.make(rows_of(case, 2))
    async with ApiServer(api.routes()) as server:
        source = opened(case, server)
        server.faults.append(Fault(429, body=json.dumps({"message": "slow down"}).encode()))
        with pytest.raises(SourceError, match=r"answered 429 \(slow down\)"):
            await source.poll()
        server.faults.append(Fault(429, {"Retry-After": "0.05"}))
        assert len(await source.poll()) == 2
        await source.close()


async def test_api_server_that_stalls_is_told_and_mended(case, monkeypatch):
    monkeypatch.setattr(http, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(http, "ATTEMPTS", 1)
    api = case.make(rows_of(case, 2))
    async with ApiServer(api.routes()) as server:
        source = opened(case, server)
        server.faults.append(Fault(stalls=True))
        with pytest.raises(SourceError, match="cannot be read: ReadTimeout"):
            await source.poll()
        assert len(await source.poll()) == 2
        await source.close()


async def test_api_parameter_it_does_not_have_is_refused(case):
    async with ApiServer({}) as server:
        with pytest.raises(ConfigError, match=f"{case.kind} has no parameter 'langauge'"):
            opened(case, server, params={"langauge": "en"})
