import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from engine.clock import NS_PER_S, DataClock
from engine.errors import ConfigError, SourceError
from engine.settings.sources import SourceConfig
from engine.sources import http
from engine.sources.base import AuthorHasher, Memory, load_author_key, text_id
from engine.sources.feed import plain_text
from engine.sources.mentions import MentionFinder
from engine.sources.registry import open_source

NOW = 1_700_000_000 * NS_PER_S
KEY = b"test key"
MENTIONS = MentionFinder(["BTC-USDT", "ETH-USDT"])

FEED = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>x</title>
<item><guid>1</guid><title>AT&amp;amp;T buys &lt;b&gt;Bitcoin&lt;/b&gt;</title>
<description>&lt;p&gt;More&lt;/p&gt;</description><link>http://a/1</link>
<pubDate>Tue, 14 Nov 2023 22:00:00 GMT</pubDate></item>
<item><guid>2</guid><title>Ether climbs</title></item>
<item><guid>3</guid></item></channel></rss>"""


def source(kind, location="", *, url=None, columns=None):
    config = SourceConfig(
        name="s", kind=kind, location=str(location), credibility=0.7, columns=columns or {}
    )
    return open_source(
        config, clock=DataClock(NOW), mentions=MENTIONS, simulator_news_url=url, author_key=KEY
    )


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE_S", 0.0)


@asynccontextmanager
async def served(**handlers):
    """Serve paths on a free loopback port; a handler takes the request."""
    app = web.Application()
    for path, handler in handlers.items():
        app.router.add_get("/" + path.replace("__", "/"), handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_rss_feed_gives_each_entry_once_and_asks_by_etag():
    asked = []

    async def feed(request):
        asked.append(request.headers.get("If-None-Match"))
        if asked[-1] == '"v1"':
            return web.Response(status=304)
        return web.Response(body=FEED, headers={"ETag": '"v1"'})

    async with served(feed=feed) as base:
        reader = source("rss", f"{base}/feed")
        first = await reader.poll()
        second = await reader.poll()
        await reader.close()
    assert asked == [None, '"v1"']
    assert second == []
    assert [item.title for item in first] == ["AT&T buys Bitcoin", "Ether climbs"]
    assert first[0].body == "More"
    assert first[0].published_at == 1_699_999_200 * NS_PER_S
    assert first[0].available_at == NOW
    assert first[0].instruments == ("BTC-USDT",)
    assert first[0].text_id == text_id("s", "1")
    assert first[1].published_at == NOW
    assert reader.report.skipped == 1
    assert reader.report.problems[0] == "entry 3 has neither title nor text"


async def test_rss_resumed_leaves_out_what_is_stored():
    async def feed(request):
        return web.Response(body=FEED)

    async with served(feed=feed) as base:
        reader = source("rss", f"{base}/feed")
        reader.resume(0, [text_id("s", "1")])
        items = await reader.poll()
        await reader.close()
    assert [item.title for item in items] == ["Ether climbs"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"status": 503}, "answered 503"),
        ({"body": b"<html><p>hello</p></html>"}, "no RSS or Atom feed"),
        ({"body": b"not a feed"}, "no RSS or Atom feed"),
        ({"body": b"x" * 6_000_000}, "more than 5242880 bytes"),
    ],
)
async def test_rss_unusable_answer_raises(answer, message):
    async def feed(request):
        return web.Response(**answer)

    async with served(feed=feed) as base:
        reader = source("rss", f"{base}/feed")
        with pytest.raises(SourceError, match=message):
            await reader.poll()
        await reader.close()


async def test_rss_broken_feed_gives_what_comes_before_the_break():
    async def feed(request):
        return web.Response(body=FEED[: FEED.index(b"<item><guid>3")] + b"<item><titl")

    async with served(feed=feed) as base:
        reader = source("rss", f"{base}/feed")
        assert len(await reader.poll()) >= 2
        await reader.close()
    assert any("not well-formed" in problem for problem in reader.report.problems)


async def test_rss_nobody_listening_raises():
    async with served() as base:
        pass
    reader = source("rss", f"{base}/feed")
    with pytest.raises(SourceError, match="cannot be read"):
        await reader.poll()
    await reader.close()


async def test_simulated_pages_posts_and_news_once_each():
    posts = [
        {
            "id": number, "author": "ann", "text": f"$BTC {number}",
            "created_at": f"2026-01-01T00:00:00.{number // 3:06d}Z", "likes": 2, "reposts": 1,
        }
        for number in range(1_201)
    ]  # fmt: skip

    async def answer(request):
        since, limit = int(request.query["since"]), int(request.query["limit"])
        start = 1_767_225_600 * NS_PER_S
        later = [row for row in posts if start + row["id"] // 3 * 1000 > since]
        return web.json_response({"data": later[:limit], "next": None})

    async def news(request):
        return web.Response(body=FEED)

    async with served(posts=answer, news__rss=news) as base:
        reader = source("simulated", url=base)
        first = await reader.poll()
        assert await reader.poll() == []
        await reader.close()
    made = [item for item in first if item.kind == "post"]
    assert {item.title for item in made} == {row["text"] for row in posts}
    assert len(made) == 1_201
    assert len(first) == 1_203
    assert made[0].engagement == 3.0
    assert made[0].author == AuthorHasher(KEY)("ann") != "ann"
    assert all(item.available_at == item.published_at for item in first)


async def test_simulated_bad_post_is_skipped_and_named():
    async def answer(request):
        return web.json_response({"data": [{"id": 1}], "next": None})

    async def news(request):
        return web.Response(body=FEED)

    async with served(posts=answer, news__rss=news) as base:
        reader = source("simulated", url=base)
        assert len(await reader.poll()) == 2
        await reader.close()
    assert reader.report.skipped == 2


def test_open_source_simulated_without_simulator_says_what_to_do():
    with pytest.raises(ConfigError, match=r"simulator\.enabled=true"):
        source("simulated")


async def test_jsonl_growing_file_gives_whole_rows_once(tmp_path):
    path = tmp_path / "a.jsonl"
    row = {"id": "1", "title": "BTC up", "published_at": "2024-01-01T00:00:00Z", "author": "bo"}
    whole = json.dumps(row)
    path.write_text(whole + "\n" + whole[:10])
    reader = source("jsonl", path)
    assert [item.title for item in await reader.poll()] == ["BTC up"]
    path.write_text(whole + "\n" + whole.replace('"1"', '"2"') + "\n")
    assert [item.text_id for item in await reader.poll()] == [text_id("s", "2")]
    assert await reader.poll() == []


async def test_jsonl_last_line_without_end_is_read_once_it_rests(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"title": "t", "published_at": 1700000000}')
    reader = source("jsonl", path)
    assert await reader.poll() == []
    items = await reader.poll()
    assert [(item.title, item.published_at) for item in items] == [("t", NOW)]
    assert await reader.poll() == []


async def test_jsonl_bad_rows_are_skipped_with_their_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'nope\n[1]\n{"title": "t", "published_at": "2024-01-01T00:00:00"}\n'
        b'{"published_at": 1}\n\xff\xfe\n{"title": "t", "published_at": 1, "engagement": -1}\n'
    )
    reader = source("jsonl", path)
    assert await reader.poll() == []
    assert reader.report.skipped == 6
    said = list(reader.report.problems)
    assert [problem.split(":")[0] for problem in said] == [
        f"a.jsonl, line {number}" for number in range(1, 7)
    ]
    assert "has no zone" in said[2]


async def test_csv_mapped_columns_and_quoted_newlines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        'when;headline;text\n2024-01-01T00:00:00Z;"Ether; ""up""";"two\nlines"\n'
        "2024-01-01;x\n1704067200000;Bitcoin;\n"
    )
    names = {"published_at": "when", "available_at": "when", "title": "headline", "body": "text"}
    reader = source("csv", path, columns=names)
    items = {item.title: item for item in await reader.poll()}
    assert set(items) == {'Ether; "up"', "Bitcoin"}
    assert items['Ether; "up"'].body == "two lines"
    assert {item.available_at for item in items.values()} == {1_704_067_200 * NS_PER_S}
    assert list(reader.report.problems) == ["a.csv, line 4: 2 cells where the header has 3"]


async def test_csv_missing_column_names_those_there_are(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("when,headline\n")
    with pytest.raises(SourceError, match="no column title, published_at; it has when, headline"):
        await source("csv", path).poll()


async def test_file_absent_raises_and_comes_later(tmp_path):
    path = tmp_path / "a.jsonl"
    reader = source("jsonl", path)
    with pytest.raises(SourceError, match="No such file"):
        await reader.poll()
    path.write_text('{"title": "t", "published_at": 1700000000}\n')
    assert len(await reader.poll()) == 1


def test_file_unknown_field_in_columns_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown fields headline; known: id, title"):
        source("csv", tmp_path / "a.csv", columns={"headline": "x"})


def test_author_key_file_is_made_once_and_private(tmp_path, monkeypatch):
    monkeypatch.delenv("ENGINE_AUTHOR_KEY", raising=False)
    path = tmp_path / "keys" / "author"
    key = load_author_key(path)
    assert load_author_key(path) == key
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("ENGINE_AUTHOR_KEY", "given")
    assert load_author_key(path) == b"given"


def test_memory_full_forgets_the_oldest():
    memory = Memory(2)
    for known in ("a", "b", "a", "c"):
        memory.add(known)
    assert [known in memory for known in ("a", "b", "c")] == [True, False, True]


def test_plain_text_markup_gives_what_a_reader_sees():
    assert plain_text("a<br>b &lt; c<style>x</style>") == "a b < c"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "/relative"])
async def test_link_of_another_scheme_is_kept_by_no_source(url, tmp_path):
    async def feed(request):
        return web.Response(body=FEED.replace(b"http://a/1", url.encode()))

    async with served(feed=feed) as base:
        reader = source("rss", f"{base}/feed")
        items = await reader.poll()
        await reader.close()
    assert {item.url for item in items} == {""}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"title": "t", "published_at": 1, "url": url}) + "\n")
    (item,) = await source("jsonl", path).poll()
    assert item.url == ""


async def test_rss_feed_that_is_busy_for_a_moment_is_asked_again():
    answers = [503, 200]

    async def feed(request):
        return web.Response(status=answers.pop(0), body=FEED)

    async with served(feed=feed) as base:
        reader = source("rss", f"{base}/feed?edition=en")
        assert len(await reader.poll()) == 2
        await reader.close()
    assert answers == []
