"""The client of all sources: patient, paced, bounded, and silent about keys."""

import logging
from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random

import pytest
from aiohttp import web
from api_server import ApiServer, Fault

from engine.clock import NS_PER_S, DataClock
from engine.errors import SourceError
from engine.sources import http
from engine.sources.access import Access
from engine.sources.answer import Refused, public_address
from engine.sources.http import SourceClient

NOW = 1_700_000_000 * NS_PER_S


async def document(request):
    return web.Response(body=b"here")


async def redirected(request):
    raise web.HTTPFound("/document")


ROUTES = {"GET /document": document, "GET /moved": redirected}


class Rest:
    """Sleeps that only count."""

    def __init__(self):
        self.seconds = []

    async def __call__(self, seconds):
        self.seconds.append(seconds)


@pytest.fixture
def rest():
    return Rest()


def client(rest, **options):
    return SourceClient("s", sleep=rest, random=Random(7), clock=DataClock(NOW), **options)


async def test_client_failures_that_pass_are_tried_again_with_full_jitter(rest):
    async with ApiServer(ROUTES) as server:
        server.faults += [Fault(503), Fault(500)]
        asking = client(rest)
        answer = await asking.get(f"{server.url}/document")
        await asking.close()
    assert (answer.status, answer.content) == (200, b"here")
    expected = Random(7)
    assert rest.seconds == [expected.uniform(0, 1), expected.uniform(0, 2)]


async def test_client_failures_that_last_are_reported_with_the_servers_words(rest):
    async with ApiServer(ROUTES) as server:
        server.faults += [Fault(503, body=b'{"message": "down for\\n maintenance"}')] * 3
        asking = client(rest)
        with pytest.raises(SourceError) as told:
            await asking.get(f"{server.url}/document?x=1", {"y": "2"})
        await asking.close()
        assert len(server.seen) == 3
        assert server.seen[0].query == {"x": "1", "y": "2"}
    words = f"source s: {server.url}/document answered 503 (down for maintenance)"
    assert str(told.value) == words


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429])
async def test_client_answer_that_waiting_does_not_mend_is_refused_at_once(rest, status):
    async with ApiServer(ROUTES) as server:
        server.faults.append(Fault(status, body=b"<html>no</html>"))
        asking = client(rest)
        with pytest.raises(Refused, match=f"/document answered {status}$") as told:
            await asking.get(f"{server.url}/document")
        await asking.close()
        assert len(server.seen) == 1
    assert (told.value.status, told.value.content) == (status, b"<html>no</html>")


@pytest.mark.parametrize(
    "pause",
    [
        {"Retry-After": "7"},
        {"Retry-After": format_datetime(datetime.fromtimestamp(1_700_000_007, UTC), usegmt=True)},
        {"X-Ratelimit-Remaining": "0.0", "X-Ratelimit-Reset": "7"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000007"},
    ],
)
async def test_client_pause_asked_for_is_waited_for(rest, pause):
    async with ApiServer(ROUTES) as server:
        server.faults.append(Fault(429, pause))
        asking = client(rest)
        answer = await asking.get(f"{server.url}/document")
        await asking.close()
    assert answer.content == b"here"
    assert rest.seconds[1] == pytest.approx(7, abs=0.5)


async def test_client_last_request_of_a_period_makes_the_next_one_wait(rest):
    limits = {"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "12"}
    async with ApiServer(ROUTES) as server:
        server.faults.append(Fault(200, limits, b"first"))
        asking = client(rest)
        assert (await asking.get(f"{server.url}/document")).content == b"first"
        assert rest.seconds == []
        await asking.get(f"{server.url}/document")
        await asking.close()
    assert rest.seconds == [pytest.approx(12, abs=0.5)]


async def test_client_long_pause_is_reported_and_kept_without_asking_again(rest):
    async with ApiServer(ROUTES) as server:
        server.faults.append(Fault(429, {"Retry-After": "900"}))
        asking = client(rest)
        for _ in range(2):
            with pytest.raises(SourceError, match=r"asked for a pause, of which (900|899) s"):
                await asking.get(f"{server.url}/document")
        await asking.close()
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("fault", "limit"),
    [(Fault(stalls=True), "READ_TIMEOUT_S"), (Fault(trickles=True), "WHOLE_TIMEOUT_S")],
)
async def test_client_server_that_stalls_is_left_and_asked_again(rest, monkeypatch, fault, limit):
    monkeypatch.setattr(http, limit, 0.2)
    async with ApiServer(ROUTES) as server:
        server.faults += [fault, None]
        asking = client(rest)
        assert (await asking.get(f"{server.url}/document")).content == b"here"
        server.faults += [fault] * 3
        with pytest.raises(SourceError, match=r"cannot be read: (ReadTimeout|TimeoutError)"):
            await asking.get(f"{server.url}/document")
        await asking.close()


async def test_client_more_than_the_bound_is_refused(rest, monkeypatch):
    monkeypatch.setattr(http, "MAX_BYTES", 1000)
    async with ApiServer(ROUTES) as server:
        server.faults.append(Fault(200, body=b"x" * 1001))
        asking = client(rest)
        with pytest.raises(SourceError, match="sent more than 1000 bytes"):
            await asking.get(f"{server.url}/document")
        await asking.close()


async def test_client_redirect_takes_no_key_along(rest):
    async with ApiServer(ROUTES) as server:
        keyed = client(rest, access=Access(headers={"X-Api-Key": "k3y"}, secrets=("k3y",)))
        with pytest.raises(Refused, match="/moved answered 302"):
            await keyed.get(f"{server.url}/moved")
        await keyed.close()
        plain = client(rest, follow_redirects=True)
        assert (await plain.get(f"{server.url}/moved")).content == b"here"
        await plain.close()
    assert [seen.path for seen in server.seen] == ["/moved", "/moved", "/document"]


async def test_client_key_is_in_no_message_and_no_log(rest, caplog):
    caplog.set_level(logging.DEBUG)
    access = Access(params={"auth_token": "k3y"}, secrets=("k3y",), variables=("A_KEY",))
    async with ApiServer(ROUTES) as server:
        asking = client(rest, access=access)
        server.faults.append(Fault(401, body=b'{"info": "token k3y is unknown"}'))
        with pytest.raises(Refused) as told:
            await asking.get(f"{server.url}/document")
        assert server.seen[0].query == {"auth_token": "k3y"}
    words = f"source s: {server.url}/document answered 401 (token *** is unknown); check A_KEY"
    assert str(told.value) == words
    with pytest.raises(SourceError, match="/document cannot be read") as told:
        await asking.get(f"{server.url}/document")
    await asking.close()
    assert "k3y" not in str(told.value)
    assert "k3y" not in caplog.text


async def test_client_requests_keep_to_the_pace(rest):
    async with ApiServer(ROUTES) as server:
        asking = client(rest, per_minute=6.0)
        for _ in range(3):
            await asking.get(f"{server.url}/document")
        await asking.close()
    assert rest.seconds == [pytest.approx(10, abs=0.5), pytest.approx(20, abs=1)]


async def test_client_address_that_is_none_is_said(rest):
    asking = client(rest)
    with pytest.raises(SourceError, match="source s: nowhere cannot be read"):
        await asking.get("nowhere")
    await asking.close()


def test_public_address_leaves_out_what_may_be_secret():
    assert public_address("https://me:pass@x.org/a?key=1#b") == "https://x.org/a"
    assert public_address("http://me:pass@x:port/a?key=1") == "http://x:port/a"
