"""``engine sentiment``: texts given, read here or by the running engine, and shown."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from engine.cli.main import app
from engine.cli.runfile import Run, write_run
from engine.cli.tables import sentiment_view
from engine.errors import ConfigError, InstrumentError, StoreQueryError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine runs, and no configuration is about."""
    monkeypatch.setenv("ENGINE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ENGINE__SENTIMENT__MODEL", "lexicon")
    monkeypatch.chdir(tmp_path)


def run(*words: str, given: bytes | None = None) -> str:
    """Run the command; return what it says."""
    result = CliRunner().invoke(app, ["sentiment", *words], input=given)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def answered(*words: str, given: bytes | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words, "--json", given=given))
    return found


def test_sentiment_without_an_engine_is_read_here() -> None:
    found = answered("ETH will flip BTC", "Exchange hacked, funds lost")
    assert found["model"] == "lexicon-1"
    flip, hack = found["results"]
    assert flip["instruments"] == [
        {"instrument": "ETH-USDT", "score": 0.5},
        {"instrument": "BTC-USDT", "score": -0.5},
    ]
    assert (hack["label"], "explanation" in hack) == ("bearish", False)


def test_sentiment_options_ask_for_an_instrument_and_for_words() -> None:
    (found,) = answered("ETH will flip BTC", "--instrument", "btc-usdt", "--explain")["results"]
    assert (found["score"], found["explanation"]) == (-0.5, [{"word": "flip", "weight": -0.5}])
    (words,) = answered("Exchange hacked", "--explain")["results"]
    assert [each["word"] for each in words["explanation"]] == ["hacked"]


def test_sentiment_file_holds_a_text_a_line(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("\ufeffBitcoin soars\r\n\n  Exchange hacked  \n".encode())
    labels = [each["label"] for each in answered("gm 🚀", "--file", str(file))["results"]]
    assert labels == ["bullish", "bullish", "bearish"]


def test_sentiment_reads_what_is_piped() -> None:
    found = answered("--file", "-", given=b"Bitcoin soars\nExchange hacked\n")
    assert [each["label"] for each in found["results"]] == ["bullish", "bearish"]


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ((), ConfigError, "no text is given"),
        (("up", "  "), ConfigError, "text 2 is blank"),
        (("--file", "nowhere.txt"), ConfigError, "nowhere.txt cannot be read: No such file"),
        (("--file", "bytes.bin"), ConfigError, "bytes.bin, line 2 is not UTF-8 text"),
        (("up", "--model", "gut"), ConfigError, "sentiment model 'gut' is unknown"),
        (("up", "--set", "sentiment.model=lexikon"), ConfigError, "did you mean 'lexicon'"),
        (("up", "--set", "sentiment.min_replicas=5"), ConfigError, "5 is more than max_replicas 2"),
        (("up", "--instrument", "BTCUSDT"), InstrumentError, "'BTCUSDT' is not of the form"),
        (("up", "--set", "sentiment.modle=lexicon"), ConfigError, "did you mean 'sentiment.model'"),
    ],
)
def test_sentiment_mistake_is_said_in_a_sentence(
    tmp_path: Path, words: tuple[str, ...], kind: type[Exception], said: str
) -> None:
    (tmp_path / "bytes.bin").write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(kind, match=said):
        run(*words)


def test_sentiment_bytes_of_the_shell_that_are_no_text_are_replaced() -> None:
    (found,) = answered("Bitcoin soars \udcff")["results"]
    assert found["label"] == "bullish"


class Engine(BaseHTTPRequestHandler):
    """Answers as the API does, and remembers what it was asked."""

    bodies: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        if body["model"] == "gut":
            self.reply(422, {"detail": "model: 'gut' is not loaded; loaded: lexicon"})
            return
        nothing = dict.fromkeys(("label", "score", "probabilities", "confidence", "language"))
        result = {**nothing, "truncated": False, "instruments": []}
        self.reply(200, {"model": "minilm-1", "results": [result] * len(body["texts"])})

    def reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine(nowhere: None) -> Iterator[type[Engine]]:
    Engine.bodies = []
    server = HTTPServer(("127.0.0.1", 0), Engine)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    created = psutil.Process().create_time()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    path = write_run(Run(os.getpid(), created, "", "", url, "", "", "", "", (), (), "", ready=True))
    yield Engine
    path.unlink()
    server.shutdown()
    thread.join()
    server.server_close()


def test_sentiment_is_asked_of_the_running_engine_in_requests_that_it_takes(
    engine: type[Engine], tmp_path: Path
) -> None:
    file = tmp_path / "many.txt"
    file.write_text("\n".join(f"text {number}" for number in range(600)))
    found = answered("--file", str(file), "--instrument", "BTC-USDT", "--model", "minilm")
    assert (found["model"], len(found["results"])) == ("minilm-1", 600)
    assert [len(body["texts"]) for body in engine.bodies] == [256, 256, 88]
    assert engine.bodies[0]["texts"][:2] == ["text 0", "text 1"]
    assert {(b["instrument"], b["model"], b["explain"]) for b in engine.bodies} == {
        ("BTC-USDT", "minilm", False)
    }


def test_sentiment_long_texts_are_cut_and_spread_over_requests(
    engine: type[Engine], tmp_path: Path
) -> None:
    file = tmp_path / "long.txt"
    file.write_text("\n".join("🚀" * 20_000 for _ in range(20)))
    assert len(answered("--file", str(file), "--explain")["results"]) == 20
    assert {len(text) for body in engine.bodies for text in body["texts"]} == {10_000}
    assert all(len(json.dumps(body)) < 2**20 for body in engine.bodies)


def test_sentiment_refusal_of_the_engine_is_said(engine: type[Engine]) -> None:
    with pytest.raises(StoreQueryError, match="'gut' is not loaded; loaded: lexicon"):
        run("up", "--model", "gut")


def test_sentiment_configuration_beside_a_running_engine_is_refused(engine: type[Engine]) -> None:
    with pytest.raises(ConfigError, match="an engine runs and reads the texts with its own"):
        run("up", "--set", "sentiment.model=lexicon")


def test_sentiment_view_shows_a_line_a_text_and_unknown_where_it_is() -> None:
    texts = ["ETH will flip BTC and " + "so on " * 40, "暴涨"]
    found = {
        "model": "lexicon-1",
        "results": [
            {
                "label": "bearish", "score": -0.5, "language": "en", "truncated": True,
                "probabilities": {"bearish": 0.62, "neutral": 0.25, "bullish": 0.13},
                "instruments": [{"instrument": "BTC-USDT", "score": -0.5}],
                "explanation": [{"word": "flip", "weight": -0.25}],
            },
            {
                "label": None, "score": None, "language": "zh", "truncated": False,
                "probabilities": None, "instruments": [{"instrument": "BTC-USDT", "score": None}],
            },
        ],
    }  # fmt: skip
    written = io.StringIO()
    Console(file=written, width=80).print(sentiment_view(texts, found))
    lines = [line.rstrip() for line in written.getvalue().splitlines()]
    assert lines[0].split() == ["label", "score", "bear", "neutral", "bull", "lang", "text"]
    assert lines[1].startswith("bearish  -0.50   62%      25%   13%  en    ETH will flip BTC")
    assert lines[1].endswith("…")
    assert lines[2].strip() == "BTC-USDT -0.50"
    assert lines[3].strip() == "flip -0.25"
    assert lines[4].split() == ["unknown", "–", "–", "–", "–", "zh", "暴涨"]
    assert lines[5].strip() == "BTC-USDT –"
    assert lines[6] == "model lexicon-1"
