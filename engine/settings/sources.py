"""``sources`` and ``mood``: where texts and indices of mood are read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from engine.settings.section import Section, Share

SourceKind = Literal[
    "simulated", "rss", "reddit", "newsapi", "cryptopanic", "coingecko", "huggingface",
    "jsonl", "csv", "parquet",
]  # fmt: skip

MoodKind = Literal["fear_greed", "vix", "put_call"]

_NEEDS: dict[str, Literal["location", "query"]] = {
    "rss": "location",
    "jsonl": "location",
    "csv": "location",
    "parquet": "location",
    "reddit": "query",
    "newsapi": "query",
    "huggingface": "query",
}
_EXAMPLES = {
    "rss": "location: https://example.com/feed.xml",
    "jsonl": "location: data/texts.jsonl",
    "csv": "location: data/texts.csv",
    "parquet": "location: data/texts/*.parquet",
    "reddit": "query: CryptoCurrency+Bitcoin",
    "newsapi": "query: bitcoin OR ethereum",
    "huggingface": "query: owner/name",
}


class SourceConfig(Section):
    """One source of texts."""

    name: str = Field(min_length=1)
    """Its name in the store."""
    kind: SourceKind
    """How it is read; ``docs/sources.md`` tells of each."""
    location: str = ""
    """URL or file path. For ``simulated`` empty takes the simulator's own, for an API its public
    address."""
    query: str = ""
    """What to ask an API for: subreddits joined by ``+``, a search, currencies, a data set."""
    params: dict[str, str] = {}
    """Further parameters of an API, by its own names (``language``, ``filter``, ``split``, …)."""
    credibility: Share = 0.5
    """Weight of its texts in aggregates."""
    poll_s: PositiveFloat = 60.0
    """Seconds between looks."""
    per_minute: PositiveFloat | None = None
    """Most requests a minute; none takes what the API allows."""
    columns: dict[str, str] = {}
    """For files and data sets: our field -> the column (``title``, ``body``, ``published_at``,
    …)."""

    @model_validator(mode="after")
    def _is_told_where(self) -> SourceConfig:
        needed = _NEEDS.get(self.kind)
        if needed and not getattr(self, needed):
            raise ValueError(
                f"source {self.name!r} of kind {self.kind} needs a {needed}, for example "
                f"{_EXAMPLES[self.kind]}"
            )
        return self


class MoodConfig(Section):
    """One index of how markets feel."""

    kind: MoodKind
    """Which one; its name in the store too."""
    location: str = ""
    """URL or path of the document to read instead of the publisher's own."""
    every_s: PositiveFloat = 3600.0
    """Seconds between looks."""
