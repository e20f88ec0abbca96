"""What is each news API's own: its parameters, its pages, its fields."""

import pytest
from api_server import ApiServer, CoinGeckoApi, CryptoPanicApi, Fault, NewsApiOrg

from engine.clock import NS_PER_S, DataClock
from engine.errors import SourceError
from engine.settings.sources import SourceConfig
from engine.sources import http
from engine.sources.mentions import MentionFinder
from engine.sources.registry import open_source

NOW = 1_700_000_000 * NS_PER_S  # 2023-11-14T22:13:20Z
DAY = 86_400 * NS_PER_S


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setenv("NEWSAPI_KEY", "a-news-key")
    monkeypatch.setenv("CRYPTOPANIC_TOKEN", "a-panic-token")
    monkeypatch.setenv("COINGECKO_API_KEY", "a-gecko-key")


def opened(kind, location, **more):
    config = SourceConfig(name="s", kind=kind, location=location, per_minute=1e9, **more)
    mentions = MentionFinder(["BTC-USDT"])
    return open_source(config, clock=DataClock(NOW), mentions=mentions, author_key=b"k")


def article(number, **more):
    told = {
        "title": f"Bitcoin {number}", "url": f"https://x.org/{number}",
        "publishedAt": f"2023-11-14T{22 - number % 20:02}:00:00Z",
    }  # fmt: skip
    return {**told, **more}


async def test_newsapi_asks_for_what_came_since_less_six_hours():
    async with ApiServer(NewsApiOrg([]).routes()) as server:
        source = opened("newsapi", server.url, query="bitcoin", params={"language": "en"})
        source.resume(NOW - DAY)
        assert await source.poll() == []
        await source.close()
    (seen,) = server.seen
    assert seen.query == {
        "q": "bitcoin", "language": "en", "from": "2023-11-13T16:13:20", "sortBy": "publishedAt",
        "pageSize": "100", "page": "1",
    }  # fmt: skip
    assert seen.headers["X-Api-Key"] == "a-news-key"


async def test_newsapi_end_of_what_the_plan_shows_is_no_error():
    articles = [article(number, publishedAt="2023-11-14T22:00:00Z") for number in range(250)]
    async with ApiServer(NewsApiOrg(articles, plan_results=100).routes()) as server:
        source = opened("newsapi", server.url, query="bitcoin")
        assert len(await source.poll()) == 100
        assert len(server.seen) == 2
        await source.close()


async def test_newsapi_removed_article_is_left_out_and_a_body_is_the_description():
    articles = [
        article(1, title="[Removed]", description="[Removed]"),
        article(2, description="<b>More</b> of it", author="ann", content="cut… [+90 chars]"),
    ]
    async with ApiServer(NewsApiOrg(articles).routes()) as server:
        source = opened("newsapi", server.url, query="bitcoin")
        (item,) = await source.poll()
        await source.close()
    assert (item.title, item.body, item.kind) == ("Bitcoin 2", "More of it", "news")
    assert list(source.report.problems) == ["page 1, row 1: withdrawn"]


async def test_newsapi_refusal_is_told_in_its_own_words():
    body = b'{"status": "error", "code": "parameterInvalid", "message": "too far in the past"}'
    async with ApiServer(NewsApiOrg([]).routes()) as server:
        source = opened("newsapi", server.url, query="bitcoin")
        server.faults.append(Fault(426, body=body))
        with pytest.raises(SourceError, match=r"answered 426 \(too far in the past\)"):
            await source.poll()
        await source.close()


async def test_newsapi_answer_that_is_not_ok_raises():
    body = b'{"status": "error", "totalResults": 0, "articles": []}'
    async with ApiServer(NewsApiOrg([]).routes()) as server:
        source = opened("newsapi", server.url, query="bitcoin")
        server.faults.append(Fault(200, body=body))
        with pytest.raises(SourceError, match="its status is 'error'"):
            await source.poll()
        await source.close()


def panic(number, **more):
    told = {"id": number, "title": "BTC up", "published_at": "2023-11-14T22:00:00Z"}
    return {**told, **more}


async def test_cryptopanic_key_goes_to_our_address_alone_and_the_link_is_not_followed():
    posts = [panic(number) for number in range(30)]
    async with ApiServer(CryptoPanicApi(posts).routes()) as server:
        where = f"{server.url}/api/developer/v2/"
        source = opened("cryptopanic", where, query="BTC,ETH", params={"filter": "hot"})
        assert len(await source.poll()) == 30
        await source.close()
    asked = {"public": "true", "currencies": "BTC,ETH", "filter": "hot"}
    with_key = {**asked, "auth_token": "a-panic-token"}
    assert server.pages == [{**with_key, "page": "1"}, {**with_key, "page": "2"}]


async def test_cryptopanic_votes_are_engagement_and_missing_fields_are_empty():
    votes = {"positive": 3, "negative": 2, "saved": 1, "comments": -1}
    posts = [panic(1, votes=votes, original_url="javascript:alert(1)"), panic(2, votes=None)]
    async with ApiServer(CryptoPanicApi(posts).routes()) as server:
        source = opened("cryptopanic", f"{server.url}/api/developer/v2")
        items = {item.engagement: item for item in await source.poll()}
        await source.close()
    assert set(items) == {6.0, 0.0}
    assert items[6.0].url == "", "only the web's own schemes are links"
    assert (items[0.0].body, items[0.0].author) == ("", "")


async def test_coingecko_reads_no_more_than_its_twenty_pages():
    articles = [
        {"title": f"Bitcoin {n}", "url": f"https://x.org/{n}", "posted_at": "2023-11-14T22:00:00Z"}
        for n in range(450)
    ]
    async with ApiServer(CoinGeckoApi(articles).routes()) as server:
        source = opened("coingecko", f"{server.url}/api/v3", query="bitcoin")
        source.resume(NOW - DAY)
        assert len(await source.poll()) == 400
        await source.close()
    assert list(source.report.problems) == [
        "only the newest 20 pages since 2023-11-13T21:13:20.000000Z were read"
    ]
    assert len(server.seen) == 20
    assert server.pages[0] == {
        "type": "news", "coin_id": "bitcoin", "page": "1", "per_page": "20",
    }  # fmt: skip
    assert server.seen[0].headers["x-cg-pro-api-key"] == "a-gecko-key"


async def test_coingecko_refusal_of_a_free_plan_is_told_in_its_own_words():
    words = b'{"status": {"error_code": 10005, "error_message": "limited to Pro API subscribers"}}'
    async with ApiServer(CoinGeckoApi([]).routes()) as server:
        source = opened("coingecko", f"{server.url}/api/v3")
        server.faults.append(Fault(401, body=words))
        with pytest.raises(SourceError) as told:
            await source.poll()
        await source.close()
    assert str(told.value).endswith(
        "answered 401 (limited to Pro API subscribers); check COINGECKO_API_KEY"
    )
