"""`POST /v1/sentiment` and its neighbours, without Ray: what is asked, answered and refused."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serve_samples import CONFIG

from engine.actors.text_reading import open_text_reader
from engine.bus.embedded import EmbeddedRedis
from engine.bus.sentiment_cache import SentimentCache
from engine.config import Config
from engine.errors import ConfigError, SentimentUnavailable
from engine.sentiment.readers import ReadTexts, Reloaded, TextReaders
from engine.sentiment.reading import MAX_CHARACTERS, TextQuery
from serve.api import create_api
from serve.problems import TYPE_PREFIX
from serve.sentiment_schemas import MAX_EXPLAINED, MAX_TEXTS, TextsAnswer
from serve.sentiment_scoring import CachedScoring, ScoringHere
from serve.state import ServingState

TWO_MODELS = Config.model_validate(
    {**CONFIG.model_dump(), "sentiment": {"model": "lexicon", "models": ["tfidf"]}}
)
NOTHING = dict.fromkeys(("label", "score", "probabilities", "confidence"))


class CountingReaders(TextReaders):
    """The lexicon under every name, with a version that each loading raises."""

    def __init__(self, config: Config) -> None:
        self.loads = 0
        self.broken = False
        self.asked: list[str] = []

        def load(name: str) -> Any:
            if self.broken:
                raise ConfigError("the weights are not where they should be")
            self.loads += 1
            reader = open_text_reader("lexicon", config)
            reader._model.name = f"{name}-{self.loads}"
            return reader

        super().__init__(load, config.sentiment.served, 32)

    async def read(self, name: str, queries: Sequence[TextQuery]) -> ReadTexts:
        self.asked += [query.text for query in queries]
        return await super().read(name, queries)


@pytest.fixture
def readers() -> CountingReaders:
    return CountingReaders(CONFIG)


@pytest.fixture
async def lexicon(
    state: ServingState, readers: CountingReaders
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API with the real lexicon and no bus."""
    cache = SentimentCache("redis://127.0.0.1:1/0", "engine", 60)
    async with client(replace(state, scoring=CachedScoring(ScoringHere(readers), cache))) as http:
        yield http


def client(state: ServingState) -> httpx.AsyncClient:
    transport: Any = httpx.ASGITransport(create_api(state), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://engine")


async def results(http: httpx.AsyncClient, texts: list[str], **asked: Any) -> list[dict[str, Any]]:
    answer = await http.post("/v1/sentiment", json={"texts": texts, **asked})
    assert answer.status_code == 200, answer.text
    TextsAnswer.model_validate_json(answer.content)
    found: list[dict[str, Any]] = answer.json()["results"]
    assert len(found) == len(texts)
    return found


def refused(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["type"] == TYPE_PREFIX + kind
    return body


# Answers ----------------------------------------------------------------------------------


async def test_texts_answer_has_everything_that_is_said_of_a_text(http) -> None:
    answer = await http.post("/v1/sentiment", json={"texts": ["BITCOIN HACKED", "down it goes"]})
    body = answer.json()
    assert body["model"] == "loudness-1"
    assert body["results"][0] == {
        "label": "bullish",
        "score": 0.5,
        "probabilities": {"bearish": 0.125, "neutral": 0.25, "bullish": 0.625},
        "confidence": 0.625,
        "language": "en",
        "truncated": False,
        "instruments": [{"instrument": "BTC-USDT", "score": 0.5}],
        "topics": ["security"],
        "emotions": {"fear": 0.5, "greed": 0.0, "excitement": 0.0},
    }
    assert body["results"][1]["label"] == "bearish"


async def test_texts_each_instrument_has_a_score_of_its_own(lexicon) -> None:
    (flip,) = await results(lexicon, ["ETH will flip BTC"])
    assert flip["instruments"] == [
        {"instrument": "ETH-USDT", "score": 0.5},
        {"instrument": "BTC-USDT", "score": -0.5},
    ]


async def test_texts_instrument_asked_for_has_its_own_score_above(lexicon) -> None:
    texts = ["ETH will flip BTC", "what a bullish day", "Solana soars"]
    flip, day, solana = await results(lexicon, texts, instrument="btc-usdt")
    assert (flip["score"], flip["label"]) == (-0.5, "bearish")
    assert flip["instruments"][0] == {"instrument": "BTC-USDT", "score": -0.5}
    assert day["score"] > 0.3, "a text that names nobody may speak of it"
    assert day["instruments"] == [{"instrument": "BTC-USDT", "score": day["score"]}]
    assert {name: solana[name] for name in NOTHING} == NOTHING, "it speaks of another"
    assert solana["instruments"][1]["score"] > 0.3


async def test_texts_explanation_names_the_words_only_where_asked(lexicon) -> None:
    (plain,) = await results(lexicon, ["Exchange hacked, funds lost"])
    assert "explanation" not in plain
    (found,) = await results(lexicon, ["Exchange hacked, but BTC looks bullish"], explain=True)
    weights = {each["word"].strip(","): each["weight"] for each in found["explanation"]}
    assert weights["bullish"] > 0 > weights["hacked"]
    sizes = [abs(each["weight"]) for each in found["explanation"]]
    assert sizes == sorted(sizes, reverse=True)


async def test_texts_another_model_answers_when_named(state) -> None:
    readers = CountingReaders(TWO_MODELS)
    cache = SentimentCache("redis://127.0.0.1:1/0", "engine", 60)
    scoring = CachedScoring(ScoringHere(readers), cache)
    async with client(replace(state, config=TWO_MODELS, scoring=scoring)) as http:
        for name, version in (("lexicon", "lexicon-1"), ("tfidf", "tfidf-2")):
            answer = await http.post("/v1/sentiment", json={"texts": ["up"], "model": name})
            assert answer.json()["model"] == version
        status = (await http.get("/v1/status")).json()["sentiment"]
    assert status == {
        "model": "lexicon",
        "models": {"lexicon": "lexicon-1", "tfidf": "tfidf-2"},
        "replicas": [],
    }


# Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"texts": []}, "texts"),
        ({"texts": ["a", ""]}, "texts[1]"),
        ({"texts": ["a", 7]}, "texts[1]"),
        ({"texts": ["a", None]}, "texts[1]"),
        ({"texts": ["a"] * (MAX_TEXTS + 1)}, "texts"),
        ({"texts": ["a"] * 10_000}, "texts"),
        ({"texts": ["a"] * (MAX_EXPLAINED + 1), "explain": True}, "explain"),
        ({"texts": ["a"], "explain": "yes"}, "explain"),
        ({"texts": ["a"], "model": "gut"}, "model"),
        ({"texts": ["a"], "instrument": "BTCUSDT"}, "instrument"),
        ({"texts": ["a"], "instrument": ""}, "instrument"),
        ({"texts": ["a"], "instruments": ["BTC-USDT"]}, "instruments"),
        ({"text": ["a"]}, "texts"),
        ({}, "texts"),
        (["a"], "body"),
    ],
)
async def test_texts_bad_body_names_the_place(http, body: object, name: str) -> None:
    found = refused(await http.post("/v1/sentiment", json=body), 422, "bad-parameter")
    assert found["errors"][0]["name"] == name


async def test_texts_unknown_model_and_instrument_say_what_is_known(http) -> None:
    model = await http.post("/v1/sentiment", json={"texts": ["a"], "model": "gut"})
    assert "'gut' is not loaded; loaded: lexicon" in model.json()["detail"]
    instrument = await http.post("/v1/sentiment", json={"texts": ["a"], "instrument": "BTCUSDT"})
    assert "did you mean BTC-USDT?" in instrument.json()["detail"]


async def test_texts_half_of_a_surrogate_is_refused_by_its_index(http) -> None:
    body = b'{"texts": ["fine", "half \\ud83d of a rocket"]}'
    headers = {"Content-Type": "application/json"}
    answer = await http.post("/v1/sentiment", content=body, headers=headers)
    assert refused(answer, 422, "bad-parameter")["errors"][0]["name"] == "texts[1]"


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"\x00" * 64, b'{"texts": ["\xc3\x28"]}'])
async def test_texts_body_that_is_no_text_says_400(http, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    refused(await http.post("/v1/sentiment", content=body, headers=headers), 400, "bad-json")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (" \t\n ", None),
        ("https://t.co/abc", None),
        ("\x00\x01\x02\x03 bullish \x7f\x1f", None),
        ("El precio del bitcoin cae con fuerza tras la noticia", "es"),
        ("البيتكوين ينخفض بشدة بعد الأخبار", "ar"),
        ("ביטקוין יורד בחדות היום", "he"),
        ("Πτώση για το BTC", "el"),
        ("Bitcoinin hinta putosi jyrkästi", "fi"),
        ("Cena bitcoinu dosáhla nového maxima", "cs"),
        ("ビットコインが急落しています", "ja"),
    ],
)
async def test_texts_that_cannot_be_read_are_null_never_zero(
    lexicon, text: str, language: str | None
) -> None:
    (found,) = await results(lexicon, [text])
    assert {name: found[name] for name in NOTHING} == NOTHING
    assert found["language"] == language
    assert found["emotions"] is None
    assert all(each["score"] is None for each in found["instruments"])


async def test_texts_of_emoji_alone_are_read_without_a_language(lexicon) -> None:
    (found,) = await results(lexicon, ["🚀🚀🚀"])
    assert (found["label"], found["language"]) == ("bullish", None)


async def test_texts_of_100_kb_are_read_up_to_a_length_and_say_so(lexicon) -> None:
    long, short = await results(
        lexicon, ["Bitcoin rallies, so bullish! " * 3_500, "Bitcoin rallies, so bullish!"]
    )
    assert (long["truncated"], short["truncated"]) == (True, False)
    assert long["label"] == "bullish"
    (same,) = await results(lexicon, [("Bitcoin rallies, so bullish! " * 3_500)[:MAX_CHARACTERS]])
    assert same["score"] == long["score"]


async def test_texts_of_10_000_at_once_over_the_limit_of_the_body_say_413(http) -> None:
    texts = {"texts": ["Bitcoin rallies on strong inflows into funds, analysts cheer about it, and "
                       "more of the same is expected by them"] * 10_000}  # fmt: skip
    refused(await http.post("/v1/sentiment", json=texts), 413, "body-too-large")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(min_size=1, max_size=300))
def test_texts_of_any_characters_are_answered_or_refused_and_sum_to_one(
    readers: CountingReaders, text: str
) -> None:
    found = asyncio.run(readers.read("lexicon", [TextQuery(text, "BTC-USDT", True)]))
    (reading,) = found.readings
    if reading.sentiment is not None:
        sentiment = reading.sentiment
        total = sentiment.bearish + sentiment.neutral + sentiment.bullish
        assert math.isclose(total, 1.0, abs_tol=1e-12)
        assert math.isclose(sentiment.score, sentiment.bullish - sentiment.bearish, abs_tol=1e-12)


# The cache --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    yield server.start()
    server.stop()


@pytest.fixture
async def cached(
    state: ServingState,
    readers: CountingReaders,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API with a cache on a real Redis, which may be slow on a busy machine."""
    monkeypatch.setattr("engine.bus.sentiment_cache.TIMEOUT_S", 10.0)
    scoring = CachedScoring(ScoringHere(readers), SentimentCache(redis_url, tmp_path.name, 60))
    async with client(replace(state, scoring=scoring)) as http:
        yield http
    await scoring.close()


async def test_cache_gives_the_same_bytes_without_reading_again(cached, readers) -> None:
    texts = {"texts": ["ETH will flip BTC", "Exchange hacked", "暴涨"], "explain": True}
    first = await cached.post("/v1/sentiment", json=texts)
    again = await cached.post("/v1/sentiment", json=texts)
    assert again.content == first.content
    assert readers.asked == texts["texts"]
    more = {**texts, "texts": ["new words", *texts["texts"]]}
    await cached.post("/v1/sentiment", json=more)
    assert readers.asked == [*texts["texts"], "new words"]


async def test_cache_tells_instrument_and_explanation_apart(cached, readers) -> None:
    for asked in ({}, {"instrument": "BTC-USDT"}, {"explain": True}):
        await results(cached, ["ETH will flip BTC"], **asked)
        await results(cached, ["ETH will flip BTC"], **asked)
    assert readers.asked == ["ETH will flip BTC"] * 3


async def test_cache_equal_texts_of_one_request_are_read_once(cached, readers) -> None:
    one, two = await results(cached, ["what a rally", "what a rally"])
    assert one == two
    assert readers.asked == ["what a rally"]


async def test_cache_delete_says_how_many_were_dropped(cached, readers) -> None:
    await results(cached, ["a rally", "a crash"])
    assert (await cached.delete("/v1/sentiment/cache")).json() == {"dropped": 2}
    assert (await cached.delete("/v1/sentiment/cache")).json() == {"dropped": 0}
    await results(cached, ["a rally"])
    assert readers.asked == ["a rally", "a crash", "a rally"]


async def test_cache_of_a_replaced_model_is_not_asked(cached, readers) -> None:
    before = (await cached.post("/v1/sentiment", json={"texts": ["a rally"]})).json()["model"]
    reloaded = (await cached.post("/v1/sentiment/reload")).json()
    assert reloaded == {
        "model": "lexicon",
        "replicas": [{"replica": "here", "before": before, "after": "lexicon-2"}],
    }
    after = (await cached.post("/v1/sentiment", json={"texts": ["a rally"]})).json()["model"]
    assert (before, after) == ("lexicon-1", "lexicon-2")
    assert readers.asked == ["a rally", "a rally"]


async def test_cache_delete_without_a_bus_says_503(lexicon) -> None:
    refused(await lexicon.delete("/v1/sentiment/cache"), 503, "bus-unavailable")


# Reloading --------------------------------------------------------------------------------


async def test_reload_while_texts_are_read_drops_no_request(lexicon) -> None:
    async def ask(number: int) -> tuple[int, str]:
        answer = await lexicon.post("/v1/sentiment", json={"texts": [f"rally {number}"]})
        return answer.status_code, answer.json()["model"]

    asked = [asyncio.create_task(ask(number)) for number in range(20)]
    reload = asyncio.create_task(lexicon.post("/v1/sentiment/reload", json={"model": "lexicon"}))
    asked += [asyncio.create_task(ask(number)) for number in range(20, 40)]
    answers = await asyncio.gather(*asked)
    assert (await reload).status_code == 200
    assert {status for status, _ in answers} == {200}
    assert {model for _, model in answers} <= {"lexicon-1", "lexicon-2"}
    assert await ask(99) == (200, "lexicon-2")


async def test_reload_that_fails_keeps_the_model_and_says_why(lexicon, readers) -> None:
    await results(lexicon, ["a rally"])
    readers.broken = True
    body = refused(await lexicon.post("/v1/sentiment/reload"), 409, "model-not-loaded")
    assert "the weights are not where they should be" in body["detail"]
    answer = await lexicon.post("/v1/sentiment", json={"texts": ["a crash"]})
    assert (answer.status_code, answer.json()["model"]) == (200, "lexicon-1")
    refused(await lexicon.post("/v1/sentiment/reload", json={"model": "gut"}), 422, "bad-parameter")


# Replicas ---------------------------------------------------------------------------------


class Rollout:
    """Replicas of which one has the next version already: the first text read is answered by it."""

    replicas = ("sentiment-0", "sentiment-1")

    def __init__(self, readers: TextReaders) -> None:
        self._readers = readers

    async def versions(self) -> dict[str, str]:
        return {"lexicon": "lexicon-1"}

    async def read(self, model: str, queries: Sequence[TextQuery]) -> ReadTexts:
        found = await self._readers.read(model, queries)
        return ReadTexts("lexicon-2", found.readings)

    async def reload(self, model: str) -> dict[str, Reloaded]:
        return {}

    async def close(self) -> None:
        pass


async def test_texts_during_a_rollout_are_answered_by_one_version(
    readers, redis_url: str, tmp_path: Path
) -> None:
    cache = SentimentCache(redis_url, tmp_path.name, 60)
    before = CachedScoring(ScoringHere(readers), cache)
    await before.read("lexicon", [TextQuery("a rally")])
    found = await CachedScoring(Rollout(readers), cache).read(
        "lexicon", [TextQuery("a rally"), TextQuery("a crash")]
    )
    assert (found.model, len(found.readings)) == ("lexicon-2", 2)
    assert readers.asked == ["a rally", "a crash", "a rally", "a crash"], "all by the newer one"
    await cache.close()


class Away(Rollout):
    """Replicas of which none answers."""

    replicas = ()

    async def versions(self) -> dict[str, str]:
        raise SentimentUnavailable("no sentiment replica runs")


async def test_texts_without_a_replica_say_503_and_status_still_answers(state, readers) -> None:
    cache = SentimentCache("redis://127.0.0.1:1/0", "engine", 60)
    async with client(replace(state, scoring=CachedScoring(Away(readers), cache))) as http:
        answer = await http.post("/v1/sentiment", json={"texts": ["a rally"]})
        refused(answer, 503, "sentiment-unavailable")
        assert answer.headers["retry-after"] == "2"
        status = (await http.get("/v1/status")).json()["sentiment"]
    assert status == {"model": "lexicon", "models": {}, "replicas": []}


async def test_texts_answer_is_json_that_any_reader_takes(lexicon) -> None:
    answer = await lexicon.post("/v1/sentiment", json={"texts": ["Über-bullish 🚀 on $BTC"]})
    assert answer.headers["cache-control"] == "no-store"
    assert json.loads(answer.content)["results"][0]["instruments"][0]["instrument"] == "BTC-USDT"
