"""Texts for jobs, and a home to store them in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.clock import NS_PER_S, parse_iso_utc
from engine.config import Config, RetentionConfig
from engine.domain.text import TextItem
from engine.features.catalogue import feature_columns
from engine.job_request import load_job_config
from engine.store.client import Store
from engine.store.embedded import EmbeddedStore
from engine.store.schema import migrate

T0 = parse_iso_utc("2026-01-05T00:00:00Z")
HOUR = 3_600 * NS_PER_S
DAY = 24 * HOUR
QUICK = Config.model_validate({"sentiment": {"model": "lexicon"}})
"""The model that needs no time to load."""

FOR_EVER = RetentionConfig(**dict.fromkeys(RetentionConfig.model_fields, 0))

WORDS = (
    "Bitcoin surges as traders celebrate the approval",
    "Exchange hacked, customers lose everything",
    "The committee meets on Tuesday",
    "To the moon 🚀🚀 diamond hands",
    "Analysts doubt the recovery and warn of a crash",
)


def text(number: int, title: str | None = None, available_at: int | None = None) -> TextItem:
    """Text `number`: an hour after the one before, in turn about one, both or no instrument."""
    available = T0 + number * HOUR + 7 * NS_PER_S if available_at is None else available_at
    about: tuple[tuple[str, ...], ...] = (("BTC-USDT",), ("BTC-USDT", "ETH-USDT"), ())
    return TextItem(
        text_id=f"text-{number:04}",
        source="wire",
        kind="news",
        title=f"{WORDS[number % len(WORDS)]} {number}" if title is None else title,
        body="More of it follows here." if number % 2 else "",
        url="",
        author="",
        published_at=available - NS_PER_S,
        available_at=available,
        engagement=float(number % 7),
        credibility=0.25 + 0.5 * (number % 2),
        instruments=about[number % 3],
    )


@contextmanager
def home(folder: Path) -> Iterator[Store]:
    """A running home with all tables, where nothing expires; its client."""
    embedded = EmbeddedStore(folder / "db")
    embedded.start()
    try:
        with Store(embedded.endpoint) as store:
            migrate(store, FOR_EVER, feature_columns())
            yield store
    finally:
        embedded.stop()


def job_config(job: str, store: Store, *overrides: str) -> Config:
    """Return the configuration of a job on a store."""
    keep = [f"store.retention.{table}=0" for table in RetentionConfig.model_fields]
    url = f"store.url={store.endpoint.url}"
    quick = "sentiment.model=lexicon"
    return load_job_config(job, None, [url, *keep, quick, *overrides], environment={})


def emptied(store: Store, *tables: str) -> Store:
    """Return the store with nothing in some tables."""
    for table in (*tables, "job_blocks", "job_runs"):
        store.command(f"TRUNCATE TABLE {table}")
    return store
