"""The page about adding a text source: whoever follows it has one that reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.clock import DataClock, parse_iso_utc
from engine.config import load_config
from engine.settings.sources import SourceConfig
from engine.sources.mentions import MentionFinder
from engine.sources.registry import open_source
from tests.adding_pages import PAGES, blocks_of, newcomer

OLD_HEADLINES = """headline,when
Bitcoin climbs,2020-01-01T10:00:00Z
Nobody knows when,2020-01-01
"""


def test_adding_page_followed_gives_a_source_that_stands_what_every_api_has_to():
    with newcomer("text_source") as somebody:
        printed = somebody.follow()
    assert re.search(r"^\d\d passed", printed, re.MULTILINE), printed


@pytest.fixture
def old_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SourceConfig:
    """The page's configuration of old texts, in a folder that has them."""
    page = (PAGES / "text_source.md").read_text(encoding="utf-8")
    (example,) = [block.text for block in blocks_of(page) if block.language == "yaml"]
    monkeypatch.chdir(tmp_path)
    Path("engine.yaml").write_text(example)
    (config,) = load_config(Path("engine.yaml"), environment={}).sources
    Path("data").mkdir()
    Path(config.location).write_text(OLD_HEADLINES)
    return config


async def test_adding_page_example_of_old_texts_reads_them_as_of_then(old_texts: SourceConfig):
    now = DataClock(parse_iso_utc("2026-11-22T00:00:00Z"))
    mentions = MentionFinder(["BTC-USDT"])
    source = open_source(old_texts, clock=now, mentions=mentions, author_key=b"k")
    (text,) = await source.poll()
    await source.close()
    assert text.title == "Bitcoin climbs"
    assert text.available_at == text.published_at == parse_iso_utc("2020-01-01T10:00:00Z")
    assert source.report.skipped == 1
