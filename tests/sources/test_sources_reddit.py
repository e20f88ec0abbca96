import pytest
from api_server import ApiServer, Fault, RedditApi

from engine.clock import NS_PER_S, DataClock
from engine.errors import ConfigError, SourceError
from engine.settings.sources import SourceConfig
from engine.sources import http
from engine.sources.base import AuthorHasher
from engine.sources.mentions import MentionFinder
from engine.sources.registry import open_source

NOW_S = 1_700_000_000
NOW = NOW_S * NS_PER_S


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setenv("REDDIT_CLIENT_ID", "an-id")
    monkeypatch.setenv("REDDIT_CLIENT_SECRET", "a-secret")
    monkeypatch.delenv("REDDIT_USERNAME", raising=False)


def post(name="t3_1", **more):
    told = {"name": name, "title": "BTC up", "created_utc": NOW_S - 60.5, "selftext": "to the moon"}
    return {"kind": "t3", "data": {**told, **more}}


def reddit(server, clock=None, query="Bitcoin"):
    config = SourceConfig(name="s", kind="reddit", location=server.url, query=query, per_minute=1e9)
    return open_source(
        config, clock=clock or DataClock(NOW), mentions=MentionFinder(["BTC-USDT"]), author_key=b"k"
    )


async def test_reddit_post_becomes_a_text():
    row = post(
        author="ann", score=-4, num_comments=2, permalink="/r/Bitcoin/comments/1/btc_up/",
        selftext="a &lt; b\n\nand **more**",
    )  # fmt: skip
    async with ApiServer(RedditApi([row]).routes()) as server:
        source = reddit(server)
        (item,) = await source.poll()
        await source.close()
    assert (item.kind, item.title, item.body) == ("post", "BTC up", "a < b and **more**")
    assert item.url == "https://www.reddit.com/r/Bitcoin/comments/1/btc_up/"
    assert item.engagement == 2.0, "a score below 0 takes nothing away"
    assert item.published_at == (NOW_S - 61) * NS_PER_S + NS_PER_S // 2
    assert item.author == AuthorHasher(b"k")("ann")


async def test_reddit_deleted_parts_are_left_out():
    rows = [
        post("t3_1", selftext="[removed]", author="[deleted]"),
        post("t3_2", title="[deleted by user]"),
        post("t3_3", author=None),
    ]
    async with ApiServer(RedditApi(rows).routes()) as server:
        source = reddit(server)
        items = await source.poll()
        await source.close()
    assert {(item.body, item.author) for item in items} == {("", ""), ("to the moon", "")}
    assert list(source.report.problems) == ["page 1, row 2: withdrawn"]


async def test_reddit_asks_as_it_documents_and_says_who_asks(monkeypatch):
    monkeypatch.setenv("REDDIT_USERNAME", "ann")
    async with ApiServer(RedditApi([post()]).routes()) as server:
        source = reddit(server, query="Bitcoin+ethtrader")
        await source.poll()
        await source.close()
    token, listing = server.seen
    assert (token.path, token.query) == ("/api/v1/access_token", {})
    assert listing.path == "/r/Bitcoin+ethtrader/new"
    assert listing.query == {"limit": "100", "raw_json": "1"}
    agents = {seen.headers["User-Agent"] for seen in server.seen}
    assert agents == {"python:signal-engine:v0.1 (by /u/ann)"}


async def test_reddit_token_is_kept_until_it_is_about_to_end():
    api = RedditApi([post()], lives_s=3600)
    async with ApiServer(api.routes()) as server:
        clock = DataClock(NOW)
        source = reddit(server, clock)
        await source.poll()
        clock.advance(NOW + 3_539 * NS_PER_S)
        await source.poll()
        assert api.tokens == ["token-1"]
        clock.advance(NOW + 3_540 * NS_PER_S)
        await source.poll()
        assert api.tokens == ["token-1", "token-2"]
        await source.close()


async def test_reddit_token_that_was_revoked_is_replaced_at_once():
    api = RedditApi([post()])
    async with ApiServer(api.routes()) as server:
        source = reddit(server)
        await source.poll()
        api.valid.clear()
        api.posts.insert(0, post("t3_2"))
        assert len(await source.poll()) == 1
        assert api.tokens == ["token-1", "token-2"]
        await source.close()


async def test_reddit_token_that_is_never_accepted_is_reported():
    api = RedditApi([post()])
    async with ApiServer(api.routes()) as server:
        source = reddit(server)
        server.faults += [None, Fault(401), None, Fault(401)]
        with pytest.raises(SourceError, match="answered 401; check REDDIT_CLIENT_ID and REDDIT_C"):
            await source.poll()
        assert len(api.tokens) == 2
        await source.close()


async def test_reddit_answer_without_a_token_names_the_variables():
    async with ApiServer(RedditApi([]).routes()) as server:
        source = reddit(server)
        server.faults.append(Fault(200, body=b'{"error": "unsupported_grant_type"}'))
        with pytest.raises(SourceError, match=r"sent no token .* check REDDIT_CLIENT_ID and REDD"):
            await source.poll()
        await source.close()


async def test_reddit_used_up_limit_is_reported_until_the_period_ends():
    api = RedditApi([post()])
    async with ApiServer(api.routes()) as server:
        api.limits = {"X-Ratelimit-Remaining": "0.0", "X-Ratelimit-Reset": "480"}
        source = reddit(server)
        assert len(await source.poll()) == 1
        asked = len(server.seen)
        with pytest.raises(SourceError, match=r"asked for a pause, of which (480|479) s are left"):
            await source.poll()
        assert len(server.seen) == asked
        await source.close()


@pytest.mark.parametrize("query", ["r/Bitcoin", "a b", "Bitcoin,Ethereum", "../x", "+"])
async def test_reddit_query_that_names_no_subreddits_is_refused(query):
    async with ApiServer({}) as server:
        with pytest.raises(ConfigError, match=r"names no subreddits; write them joined by \+"):
            reddit(server, query=query)
