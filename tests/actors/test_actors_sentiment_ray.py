"""Sentiment replicas on a real Ray, over HTTP: one dies, a model is replaced, nobody notices."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from engine.bus.embedded import EmbeddedRedis
from engine.config import Config
from engine.sentiment.tfidf import shipped_weights
from serve import run
from tests.local_ray import own_ray

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not run.haproxy_available(), reason="no HAProxy on this machine"),
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

REPLICAS = ["sentiment-0", "sentiment-1"]
PATIENCE_S = 60.0


def put_weights(file: Path, louder: float = 1.0) -> None:
    """Put weights in the place of those that may be being read; louder ones are another version."""
    shipped = shipped_weights()
    fresh = file.with_suffix(".new.npz")
    replace(shipped, weights=shipped.weights * np.float32(louder)).save(fresh)
    fresh.replace(file)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the replicas' model ``tfidf`` is of."""
    file = tmp_path_factory.mktemp("models") / "tfidf.npz"
    put_weights(file)
    return file


@pytest.fixture(scope="module")
def engine_url(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two replicas and the HTTP application in front of them; neither store nor supervisor."""
    environment = run.environment(haproxy=True)
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    from engine.actors.placement import kill, place
    from engine.actors.sentiment_replica import SentimentReplica

    redis = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    config = Config.model_validate(
        {
            "data_dir": str(tmp_path_factory.mktemp("data")),
            "exchanges": {"binance": {"instruments": ["BTC-USDT", "ETH-USDT"]}},
            "sentiment": {
                "model": "lexicon",
                "models": ["tfidf"],
                "tfidf": str(weights),
                "max_replicas": 2,
                "num_cpus": 0.5,
            },
        }
    )
    options = {
        "store_url": "http://nobody:secret@127.0.0.1:1/engine",
        "config": config.model_dump_json(),
        "scoring": "actors",
    }
    try:
        bus_url = redis.start()
        with own_ray(num_cpus=4):
            share = config.sentiment.num_cpus
            placed = [place(SentimentReplica, name, config, num_cpus=share) for name in REPLICAS]
            try:
                yield run.deploy({**options, "bus_url": bus_url}, "127.0.0.1", 0, True)
            finally:
                run.remove()
                for each in placed:
                    kill(each, restart=False)
    finally:
        redis.stop()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def state(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/v1/status", timeout=30).json()["sentiment"]
    return found


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.1)


def ask(url: str, text: str, **asked: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/sentiment", json={"texts": [text], **asked}, timeout=30)


class Asking:
    """Asks from four clients, each text once, until it is told to stop."""

    def __init__(self, url: str, name: str, model: str = "lexicon") -> None:
        self._url, self._name, self._model = url, name, model
        self._stopping = threading.Event()
        self.answers: list[tuple[int, str]] = []

    def _one(self, client: int) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            text = f"Bitcoin rallies, {self._name} {client} {number}"
            answer = ask(self._url, text, model=self._model)
            self.answers.append((answer.status_code, answer.text))

    def __enter__(self) -> Asking:
        self._pool = ThreadPoolExecutor(4)
        self._tasks = [self._pool.submit(self._one, client) for client in range(4)]
        until(lambda: len(self.answers) >= 8)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for task in self._tasks:
            task.result(PATIENCE_S)
        self._pool.shutdown()


def test_texts_are_read_by_the_replicas_and_kept_on_the_bus(engine_url: str) -> None:
    until(lambda: state(engine_url)["replicas"] == REPLICAS)
    found = state(engine_url)
    assert found["model"] == "lexicon"
    assert list(found["models"]) == ["lexicon", "tfidf"]
    first = ask(engine_url, "ETH will flip BTC", explain=True)
    assert first.json()["results"][0]["instruments"] == [
        {"instrument": "ETH-USDT", "score": 0.5},
        {"instrument": "BTC-USDT", "score": -0.5},
    ]
    assert ask(engine_url, "ETH will flip BTC", explain=True).content == first.content
    other = ask(engine_url, "ETH will flip BTC", model="tfidf").json()["model"]
    assert other == found["models"]["tfidf"]
    cleared = httpx.delete(f"{engine_url}/v1/sentiment/cache", timeout=30).json()
    assert cleared == {"dropped": 2}


def test_replica_that_is_killed_under_load_is_started_anew_and_no_request_fails(
    engine_url: str, tmp_path: Path
) -> None:
    import ray

    from engine.actors.placement import find, kill

    until(lambda: set(state(engine_url)["replicas"]) == set(REPLICAS))
    victim = find("sentiment-0")
    assert victim is not None
    before = ray.get(victim.report.remote()).pid
    with Asking(engine_url, "kill") as asking:
        kill(victim, restart=True)
        already = len(asking.answers)
        until(lambda: len(asking.answers) > already + 20)
        until(lambda: set(state(engine_url)["replicas"]) == set(REPLICAS))
    assert {status for status, _ in asking.answers} == {200}

    def is_new() -> bool:
        # The pool may not have noticed yet that it is gone.
        try:
            return bool(ray.get(victim.report.remote(), timeout=30).pid != before)
        except ray.exceptions.RayActorError:
            return False

    until(is_new)


def reload(url: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/sentiment/reload", json={"model": "tfidf"}, timeout=60)


def models_of(answers: list[tuple[int, str]]) -> set[str]:
    """The versions that answered; every request was answered."""
    assert {status for status, _ in answers} == {200}
    return {json.loads(text)["model"] for _, text in answers}


def test_model_that_was_replaced_is_loaded_under_its_load_and_no_request_fails(
    engine_url: str, weights: Path
) -> None:
    until(lambda: set(state(engine_url)["replicas"]) == set(REPLICAS))
    old = state(engine_url)["models"]["tfidf"]
    with Asking(engine_url, "replaced", "tfidf") as asking:
        put_weights(weights, louder=1.25)
        told = reload(engine_url).json()
        switched = len(asking.answers)
        after = [ask(engine_url, f"Ether falls {number}", model="tfidf") for number in range(8)]
        until(lambda: len(asking.answers) > switched + 20)
    assert told["model"] == "tfidf"
    assert sorted(each["replica"] for each in told["replicas"]) == REPLICAS
    assert {each["before"] for each in told["replicas"]} == {old}
    (new,) = {each["after"] for each in told["replicas"]}
    assert new != old
    assert models_of(asking.answers) == {old, new}
    assert models_of([(each.status_code, each.text) for each in after]) == {new}


def test_model_that_is_damaged_is_not_loaded_and_the_one_before_answers(
    engine_url: str, weights: Path
) -> None:
    until(lambda: set(state(engine_url)["replicas"]) == set(REPLICAS))
    held = state(engine_url)["models"]["tfidf"]
    with Asking(engine_url, "damaged", "tfidf") as asking:
        weights.write_bytes(b"no weights")
        answer = reload(engine_url)
        refused = len(asking.answers)
        until(lambda: len(asking.answers) > refused + 20)
    put_weights(weights)
    assert answer.status_code == 409
    assert "holds no weights of the model tfidf" in answer.json()["detail"]
    assert models_of(asking.answers) == {held}
