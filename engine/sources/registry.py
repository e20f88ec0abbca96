"""Sources by the kind the configuration gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from engine.clock import Clock
from engine.config import SourceConfig
from engine.errors import ConfigError
from engine.sources.base import AuthorHasher, Source, load_author_key
from engine.sources.feed import FeedReader
from engine.sources.files import FileSource
from engine.sources.mentions import MentionFinder
from engine.sources.rows import RowReader
from engine.sources.rss import RssSource
from engine.sources.simulated import SimulatedSource

Opener: TypeAlias = Callable[[SourceConfig, Clock, MentionFinder, AuthorHasher, str], Source]


def open_source(
    config: SourceConfig,
    *,
    clock: Clock,
    mentions: MentionFinder,
    simulator_news_url: str | None = None,
    author_key: bytes | None = None,
) -> Source:
    """Make a source. Nothing is read before its first `poll`.

    Parameters
    ----------
    config
        Its section.
    clock
        What time it is.
    mentions
        Which instruments a text speaks of.
    simulator_news_url
        Where the simulator's texts are, if it runs.
    author_key
        The installation's secret for authors' ids; by default `load_author_key`'s.

    Raises
    ------
    ConfigError
        Where its kind is unknown, or its settings cannot be used.
    """
    opener = _OPENERS.get(config.kind)
    if opener is None:
        raise ConfigError(
            f"source {config.name}: kind {config.kind!r} is unknown; known: {', '.join(_OPENERS)}"
        )
    hasher = AuthorHasher(load_author_key() if author_key is None else author_key)
    return opener(config, clock, mentions, hasher, config.location or simulator_news_url or "")


def _feed_reader(config: SourceConfig, mentions: MentionFinder, hasher: AuthorHasher) -> FeedReader:
    return FeedReader(config.name, config.credibility, mentions.find, hasher)


def _simulated(
    config: SourceConfig, clock: Clock, mentions: MentionFinder, hasher: AuthorHasher, where: str
) -> Source:
    if not where:
        raise ConfigError(
            f"source {config.name}: the simulator does not run; set simulator.enabled=true or "
            "the source's location"
        )
    return SimulatedSource(where, _feed_reader(config, mentions, hasher), clock)


def _rss(
    config: SourceConfig, clock: Clock, mentions: MentionFinder, hasher: AuthorHasher, where: str
) -> Source:
    return RssSource(where, _feed_reader(config, mentions, hasher), clock)


def _file(
    config: SourceConfig, clock: Clock, mentions: MentionFinder, hasher: AuthorHasher, where: str
) -> Source:
    rows = RowReader(config.name, config.credibility, mentions.find, hasher, config.columns)
    form: Literal["csv", "jsonl"] = "csv" if config.kind == "csv" else "jsonl"
    return FileSource(Path(where), form, rows, clock)


_OPENERS: dict[str, Opener] = {
    "simulated": _simulated,
    "rss": _rss,
    "jsonl": _file,
    "csv": _file,
}
"""One line a kind: add yours here (docs/adding/text_source.md)."""
