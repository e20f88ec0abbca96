"""The HTTP API, without Ray and without a socket."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve_samples import AS_OF, HOUR, aggregate, candle, feature_row, ranking, signal

from engine.clock import iso_utc
from engine.domain.signal import Ranking
from engine.errors import StoreQueryError, StoreUnavailable
from serve import limits, schemas
from serve.parameters import parse_time
from serve.problems import TYPE_PREFIX, Problem
from serve.render import RenderedRanking
from serve.state import ServingState


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Check that an answer is this problem and return its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    schemas.ProblemAnswer.model_validate(body)
    assert body["type"] == TYPE_PREFIX + kind
    assert body["status"] == status
    assert body["instance"] == answer.request.url.path
    return body


# Rankings ---------------------------------------------------------------------------------


async def test_signals_answer_is_the_ranking_and_fits_its_schema(http) -> None:
    answer = await http.get("/v1/signals")
    assert answer.status_code == 200
    body = schemas.RankingAnswer.model_validate_json(answer.content)
    assert body.as_of == "2026-01-05T12:00:00.123456Z"
    assert body.universe == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
    assert (body.sequence, body.matched) == (7, 2)
    assert [s.instrument for s in body.signals] == ["BTC-USDT", "ETH-USDT"]
    assert body.signals[0].contributions[-1].value is None
    assert body.signals[0].expires_at == "2026-01-06T12:00:00.123456Z"


@given(st.lists(st.floats(-0.25, 0.25), min_size=1, max_size=4))
def test_contributions_in_json_sum_to_the_score_bit_for_bit(parts: list[float]) -> None:
    held = RenderedRanking(Ranking(AS_OF, "1h", (), (signal(parts=tuple(parts)),), True, 1))
    body = json.loads(held.page(1).body)["signals"][0]
    total = 0.0
    for part in body["contributions"]:
        total += part["contribution"]
    assert total == body["score"]


async def test_signals_limit_cuts_but_counts_all(http) -> None:
    body = (await http.get("/v1/signals?limit=1")).json()
    assert [s["rank"] for s in body["signals"]] == [1]
    assert body["matched"] == 2


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("min_confidence=0.5", ["BTC-USDT", "ETH-USDT"]),
        ("min_confidence=0.51", ["BTC-USDT"]),
        ("direction=neutral", ["ETH-USDT"]),
        ("direction=bearish", []),
        ("direction=neutral&min_confidence=0.9", []),
    ],
)
async def test_signals_filters_keep_what_matches(http, query: str, expected: list[str]) -> None:
    body = schemas.RankingAnswer.model_validate((await http.get(f"/v1/signals?{query}")).json())
    assert [s.instrument for s in body.signals] == expected
    assert body.matched == len(expected)


async def test_signals_known_etag_gives_304_until_the_next_ranking(
    http, state: ServingState
) -> None:
    first = await http.get("/v1/signals?limit=5")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for known in (tag, f'"x", W/{tag}', "*"):
        again = await http.get("/v1/signals?limit=5", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    state.accept(ranking(sequence=8))
    newer = await http.get("/v1/signals?limit=5", headers={"If-None-Match": tag})
    assert newer.status_code == 200
    assert newer.headers["etag"] != tag


async def test_signals_before_the_first_ranking_say_503_and_when_to_retry(
    http, state: ServingState
) -> None:
    state.rankings.clear()
    answer = await http.get("/v1/signals")
    problem(answer, 503, "no-ranking-yet")
    assert answer.headers["retry-after"] == "2"
    assert (await http.get("/healthz")).json()["status"] == "starting"


@pytest.mark.parametrize(
    ("query", "name", "part"),
    [
        ("limit=0", "limit", "greater than or equal to 1 (given '0')"),
        ("limit=x", "limit", "valid integer"),
        ("min_confidence=1.5", "min_confidence", "less than or equal to 1"),
        ("min_confidence=nan", "min_confidence", "(given 'nan')"),
        ("direction=up", "direction", "'bullish', 'neutral' or 'bearish'"),
        ("timeframe=2h", "timeframe", "(given '2h')"),
        ("timeframe=4h", "timeframe", "4h is not computed here; known: 1m, 1h"),
        ("min_confidense=0.5", "min_confidense", "did you mean min_confidence?"),
        ("limit=1&limit=2", "limit", "more than once"),
        ("zzz=1", "zzz", "known: limit, min_confidence, direction, timeframe"),
    ],
)
async def test_signals_bad_parameter_is_named(http, query: str, name: str, part: str) -> None:
    body = problem(await http.get(f"/v1/signals?{query}"), 422, "bad-parameter")
    assert [error["name"] for error in body["errors"]] == [name]
    assert part in body["errors"][0]["detail"]


async def test_signals_two_bad_parameters_are_both_named(http) -> None:
    body = problem(await http.get("/v1/signals?limit=0&direction=up"), 422, "bad-parameter")
    assert {error["name"] for error in body["errors"]} == {"limit", "direction"}


async def test_signal_of_instrument_in_any_case_tells_the_canonical_name(http) -> None:
    answer = await http.get("/v1/signals/btc-usdt")
    assert schemas.SignalAnswer.model_validate_json(answer.content).instrument == "BTC-USDT"
    assert answer.headers["content-location"] == "/v1/signals/BTC-USDT"


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("BTCUSDT", "BTC-USDT"),
        ("btc_usdt", "BTC-USDT"),
        ("BTC-USDC", "BTC-USDT"),
        ("ETHH-USDT", "ETH-USDT"),
    ],
)
async def test_signal_of_unknown_instrument_gives_near_matches(http, asked: str, near: str) -> None:
    body = problem(await http.get(f"/v1/signals/{asked}"), 404, "unknown-instrument")
    assert body["near"][0] == near
    assert f"did you mean {near}?" in body["detail"]


async def test_signal_of_nothing_alike_says_where_the_universe_is(http) -> None:
    body = problem(await http.get("/v1/signals/%F0%9F%9A%80"), 404, "unknown-instrument")
    assert body["near"] == []
    assert "GET /v1/signals lists the universe" in body["detail"]


async def test_signal_listed_but_not_ranked_names_what_is_ranked(http) -> None:
    body = problem(await http.get("/v1/signals/BTC-USD"), 404, "not-ranked")
    assert body["near"] == ["BTC-USDT"]


async def test_signal_of_disabled_exchange_is_unknown(http) -> None:
    problem(await http.get("/v1/signals/XRP-USD"), 404, "unknown-instrument")


# Stored data ------------------------------------------------------------------------------


async def test_history_pages_on_from_next_start(http, stored) -> None:
    stored.signal_rows = [signal(as_of=AS_OF - (3 - n) * HOUR) for n in range(3)]
    seen: list[str] = []
    query = "start=2026-01-05T00:00:00Z&end=2026-01-06T00:00:00Z&limit=2"
    body = schemas.HistoryAnswer.model_validate(
        (await http.get(f"/v1/signals/btc-usdt/history?{query}")).json()
    )
    seen += [row.as_of for row in body.signals]
    assert body.next_start == iso_utc(AS_OF - HOUR)
    query = f"start={body.next_start}&end=2026-01-06T00:00:00Z&limit=2"
    last = (await http.get(f"/v1/signals/btc-usdt/history?{query}")).json()
    seen += [row["as_of"] for row in last["signals"]]
    assert seen == [iso_utc(row.as_of) for row in stored.signal_rows]
    assert last["next_start"] is None


async def test_candles_default_is_the_first_exchange_and_the_last_ones(http, stored) -> None:
    stored.candle_rows = [candle(n) for n in range(12)] + [candle(11, "coinbase")]
    answer = await http.get("/v1/candles/BTC-USDT?timeframe=1h&limit=2")
    body = schemas.CandlesAnswer.model_validate_json(answer.content)
    assert body.exchange == "binance"
    assert [row.open_time for row in body.candles] == [
        "2026-01-05T10:00:00.000000Z",
        "2026-01-05T11:00:00.000000Z",
    ]
    assert body.start == "2026-01-05T10:00:00.000000Z"
    assert body.candles[0].quote_volume is None
    assert body.candles[0].twap == 1.25


async def test_candles_exchange_that_does_not_list_it_is_refused(http) -> None:
    body = problem(await http.get("/v1/candles/BTC-USDT?exchange=coinbase"), 422, "bad-parameter")
    assert body["errors"][0]["name"] == "exchange"
    assert "those that do: binance" in body["detail"]
    assert (await http.get("/v1/candles/ETH-USDT?exchange=Coinbase")).json()[
        "exchange"
    ] == "coinbase"


@pytest.mark.parametrize(
    ("query", "name", "part"),
    [
        ("start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", "start", "must be before end"),
        ("start=2026-01-01T00:00:00Z&end=2026-01-01T00:00:00Z", "start", "must be before end"),
        ("start=2027-01-01T00:00:00Z", "start", "must be before now"),
        ("start=2026-01-01T00:00:00", "start", "with a zone"),
        ("end=yesterday", "end", "with a zone"),
        ("end=1500-01-01T00:00:00Z", "end", "1970 to 2261"),
        ("limit=5001", "limit", "less than or equal to 5000"),
    ],
)
async def test_candles_bad_range_names_the_parameter(
    http, query: str, name: str, part: str
) -> None:
    body = problem(await http.get(f"/v1/candles/BTC-USDT?{query}"), 422, "bad-parameter")
    assert body["errors"][0]["name"] == name
    assert part in body["errors"][0]["detail"]


@pytest.mark.parametrize(
    "text",
    [
        "2024-08-08T23:54:15Z",
        "2024-08-09T01:54:15+02:00",
        "2024-08-09T01:54:15 02:00",
        "1723161255",
        "1723161255000",
        "1723161255000000",
        "1723161255000000000",
    ],
)
def test_parse_time_every_accepted_form_is_the_same_moment(text: str) -> None:
    assert parse_time("start", text) == 1_723_161_255_000_000_000


@given(st.text(max_size=40))
def test_parse_time_any_text_is_a_time_or_the_named_problem(text: str) -> None:
    refused: Problem | None = None
    try:
        time_ns = parse_time("start", text)
    except Problem as raised:
        refused = raised
    if refused is None:
        assert 0 <= time_ns < 2**63
    else:
        assert (refused.status, refused.detail[:7]) == (422, "start: ")


async def test_features_nan_becomes_null(http, stored) -> None:
    stored.feature_row = feature_row()
    body = schemas.FeaturesAnswer.model_validate((await http.get("/v1/features/BTC-USDT")).json())
    assert body.features == {"ema_20": 61_000.25, "rsi_14": None}


async def test_features_none_stored_says_404_no_data(http) -> None:
    problem(await http.get("/v1/features/BTC-USDT?timeframe=1m"), 404, "no-data")


async def test_sentiment_answers_the_window_asked_for(http, stored) -> None:
    stored.aggregate_rows = [aggregate("1h"), aggregate("1d", AS_OF - 1), aggregate("1d")]
    body = schemas.SentimentAnswer.model_validate((await http.get("/v1/sentiment/BTC-USDT")).json())
    assert (body.window, body.as_of, body.mentions) == ("1d", iso_utc(AS_OF), 6)
    assert (body.volume, body.coverage, body.surprise, body.momentum) == (8, 0.75, None, 0.125)
    hour = await http.get("/v1/sentiment/BTC-USDT?window=1h")
    assert hour.json()["window"] == "1h"
    problem(await http.get("/v1/sentiment/BTC-USDT?window=1w"), 404, "no-data")
    problem(await http.get("/v1/sentiment/BTC-USDT?window=2w"), 422, "bad-parameter")


async def test_store_away_says_503_and_when_to_retry_while_rankings_go_on(http, stored) -> None:
    stored.failure = StoreUnavailable("secret host refused")
    answer = await http.get("/v1/candles/BTC-USDT")
    body = problem(answer, 503, "store-unavailable")
    assert answer.headers["retry-after"] == "2"
    assert "secret" not in body["detail"]
    assert (await http.get("/v1/signals")).status_code == 200


async def test_store_slower_than_the_limit_says_503(
    http, state: ServingState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.state.READ_TIMEOUT_S", 0.0)
    problem(await http.get("/v1/candles/BTC-USDT"), 503, "store-unavailable")


@pytest.mark.parametrize("failure", [StoreQueryError("SELECT secret", 60), ZeroDivisionError()])
async def test_internal_failure_says_500_without_its_cause(http, stored, failure) -> None:
    stored.failure = failure
    body = problem(await http.get("/v1/candles/BTC-USDT"), 500, "internal")
    assert body["detail"] == "the engine failed to answer; its log says why"


# Bodies -----------------------------------------------------------------------------------


async def test_texts_malformed_json_says_400_and_where(http) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await http.post("/v1/sentiment", content=b'{"texts": [', headers=headers)
    assert "at character 11" in problem(answer, 400, "bad-json")["detail"]


async def test_texts_of_another_media_type_say_415(http) -> None:
    problem(await http.post("/v1/sentiment", data={"texts": "a"}), 415, "not-json")


async def test_texts_body_too_large_says_413_declared_or_streamed(http) -> None:
    headers = {"Content-Type": "application/json"}
    large = b" " * (limits.MAX_BODY_BYTES + 1)
    problem(await http.post("/v1/sentiment", content=large, headers=headers), 413, "body-too-large")

    async def pieces():
        for _ in range(17):
            yield large[: limits.MAX_BODY_BYTES // 16]

    streamed = await http.post("/v1/sentiment", content=pieces(), headers=headers)
    problem(streamed, 413, "body-too-large")


# The rest ---------------------------------------------------------------------------------


async def test_unknown_route_says_404_and_wrong_method_405_with_allow(http) -> None:
    problem(await http.get("/v2/signals"), 404, "unknown-route")
    problem(await http.get("/v1/signals/"), 404, "unknown-route")
    for method in ("DELETE", "POST"):
        answer = await http.request(method, "/v1/signals")
        problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "GET"


async def test_status_tells_what_is_held_with_the_bus_away(http) -> None:
    body = schemas.StatusAnswer.model_validate((await http.get("/v1/status")).json())
    assert (body.bus, body.engine) == ("unavailable", None)
    assert body.rankings[0].model_dump() == {
        "timeframe": "1h",
        "as_of": "2026-01-05T12:00:00.123456Z",
        "age_ms": 2000,
        "sequence": 7,
        "signals": 2,
        "is_closed_bar": True,
    }


async def test_health_with_a_ranking_is_ok(http) -> None:
    body = schemas.HealthAnswer.model_validate((await http.get("/healthz")).json())
    assert body.status == "ok"


async def test_docs_and_landing_load_nothing_from_elsewhere(http) -> None:
    page = await http.get("/docs")
    assert page.status_code == 200
    sources = re.findall(r"(?:src|href)=[\"']([^\"']+)", page.text)
    assert sources
    assert all(source.startswith("/docs/assets/") for source in sources)
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/docs/assets/{asset}" in page.text
        assert (await http.get(f"/docs/assets/{asset}")).status_code == 200
    assert "/docs" in (await http.get("/")).text


async def test_openapi_lists_every_path_with_its_answer_and_problems(http) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    assert sorted(paths) == [
        "/healthz",
        "/v1/candles/{instrument}",
        "/v1/features/{instrument}",
        "/v1/sentiment",
        "/v1/sentiment/cache",
        "/v1/sentiment/events",
        "/v1/sentiment/reload",
        "/v1/sentiment/{instrument}",
        "/v1/signals",
        "/v1/signals/{instrument}",
        "/v1/signals/{instrument}/history",
        "/v1/status",
    ]
    for methods in paths.values():
        for route in methods.values():
            answers = route["responses"]
            assert "$ref" in answers["200"]["content"]["application/json"]["schema"]
            assert "application/problem+json" in answers["default"]["content"]


async def test_warm_start_takes_the_stored_ranking_only_where_the_bus_had_none(
    state: ServingState, stored
) -> None:
    stored.ranking_row = ranking(sequence=1)
    await state.warm_from_store()
    assert state.rankings["1h"].ranking.sequence == 7
    state.rankings.clear()
    await state.warm_from_store()
    assert state.rankings["1h"].ranking == ranking(sequence=1)


async def test_running_follows_the_bus_and_stops_with_its_context(
    state: ServingState, tmp_path
) -> None:
    from engine.bus.client import Bus
    from engine.bus.embedded import EmbeddedRedis

    server = EmbeddedRedis(tmp_path)
    publisher = Bus(server.start())
    state.bus = Bus(server.url)
    arrived = asyncio.Event()
    accept = state.accept

    def noted(newest: Ranking) -> None:
        accept(newest)
        if newest.sequence == 9:
            arrived.set()

    state.accept = noted
    async with state.running():
        await publisher.publish_ranking(ranking(sequence=8))
        await publisher.publish_ranking(ranking(sequence=9))
        async with asyncio.timeout(10):
            await arrived.wait()
    assert state.rankings["1h"].ranking.sequence == 9
    assert state.following is not None
    assert state.following.done()
    await publisher.close()
    server.stop()
