"""The text stream opens what it can: a source without its key stops no other."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from actors_fakes import WIRING, RankerStub, config_for, install

from engine.actors.text_stream import TextStream
from engine.clock import NS_PER_S, DataClock
from engine.domain.sentiment import SentimentScore
from engine.domain.text import MarketMood, TextItem
from engine.sources.base import text_id

NOW = 1_700_000_000 * NS_PER_S
VIX = "DATE,OPEN,HIGH,LOW,CLOSE\n11/10/2023,15.0,15.5,14.0,14.17\n11/13/2023,14.8,15.0,14.4,14.76\n"


class Scorer:
    """Scores nothing."""

    async def model(self) -> str:
        return "lexicon-2"

    async def score(self, items: list[TextItem]) -> list[SentimentScore]:
        return []


async def test_texts_source_without_its_key_is_told_of_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEWSAPI_KEY", raising=False)
    memory = install(monkeypatch, "text_stream")
    # Stored long ago, so not among the texts that are loaded: still not read again.
    memory.rows["texts"] = [
        TextItem(text_id("file", "1"), "file", "news", "BTC", "", "", "", 1, 1, 0.0, 0.5, ())
    ]
    memory.rows["market_mood"] = [MarketMood("vix", 1_699_574_400 * NS_PER_S, 14.17, 1)]
    rows = [{"id": n, "title": f"BTC {n}", "published_at": 1_699_999_000 + n} for n in (1, 2)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "vix.csv").write_text(VIX)
    config = config_for(
        tmp_path,
        "sources=[{name: news, kind: newsapi, query: bitcoin}, "
        f"{{name: file, kind: jsonl, location: '{tmp_path}/a.jsonl', poll_s: 0.01}}]",
        f"mood=[{{kind: vix, location: '{tmp_path}/vix.csv'}}]",
    )
    clock = DataClock(NOW)
    stream = TextStream("texts", config, WIRING, ["BTC-USDT"], Scorer(), RankerStub(), clock)
    await stream.start("")
    for _ in range(2000):
        if len(memory.rows["texts"]) == len(memory.rows["market_mood"]) == 2:
            break
        await asyncio.sleep(0.005)
    trouble = stream.details()["trouble"]
    await stream.drain()
    assert [item.title for item in memory.rows["texts"][1:]] == ["BTC 2"]
    assert memory.rows["market_mood"][1:] == [
        MarketMood("vix", 1_699_833_600 * NS_PER_S, 14.76, 1_699_938_000 * NS_PER_S)
    ]
    assert list(trouble) == ["news"]
    assert trouble["news"].startswith(
        "source news: the environment variable NEWSAPI_KEY is not set; it holds "
    )
