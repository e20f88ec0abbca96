"""Sources of texts by the kind the configuration gives them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.clock import Clock, SystemClock
from engine.errors import ConfigError
from engine.settings.sources import SourceConfig
from engine.sources.access import ANYBODY, Access
from engine.sources.base import AuthorHasher, Source, load_author_key
from engine.sources.coingecko import CoinGecko
from engine.sources.cryptopanic import CryptoPanic
from engine.sources.draft import TextMaker
from engine.sources.feed import FeedReader
from engine.sources.files import FileSource
from engine.sources.http import SourceClient
from engine.sources.huggingface_dataset import (
    PARAMS,
    PER_MINUTE,
    HuggingFaceDataset,
    dataset_access,
)
from engine.sources.mentions import MentionFinder
from engine.sources.newsapi import NewsApi
from engine.sources.paged import PagedApi, PagedSource
from engine.sources.parquet import ParquetSource
from engine.sources.reddit import Reddit
from engine.sources.rows import RowReader
from engine.sources.rss import RssSource
from engine.sources.simulated import SimulatedSource


@dataclass(frozen=True, slots=True)
class Setting:
    """What a source is made with."""

    config: SourceConfig
    clock: Clock
    mentions: MentionFinder
    hasher: AuthorHasher
    simulator_url: str
    """Where the simulator's texts are; empty where it does not run."""

    def feed_reader(self) -> FeedReader:
        """Return what reads feeds."""
        config = self.config
        return FeedReader(config.name, config.credibility, self.mentions.find, self.hasher)

    def row_reader(self) -> RowReader:
        """Return what reads rows by column."""
        config = self.config
        return RowReader(
            config.name, config.credibility, self.mentions.find, self.hasher, config.columns
        )

    def text_maker(self) -> TextMaker:
        """Return what makes texts of an API's rows."""
        config = self.config
        return TextMaker(config.name, config.credibility, self.mentions.find, self.hasher)

    def client(
        self, access: Access, per_minute: float | None, *, follow_redirects: bool = False
    ) -> SourceClient:
        """Return who asks over HTTP, at the configured pace or the given one."""
        return SourceClient(
            self.config.name,
            access,
            per_minute=self.config.per_minute or per_minute,
            follow_redirects=follow_redirects,
            clock=self.clock,
        )


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
        Where its settings cannot be used, or a key is missing in the environment.
    """
    hasher = AuthorHasher(load_author_key() if author_key is None else author_key)
    return _OPENERS[config.kind](Setting(config, clock, mentions, hasher, simulator_news_url or ""))


def check_source(config: SourceConfig, *, has_simulator: bool = False) -> None:
    """Refuse a source that could not be opened; nothing is read.

    Parameters
    ----------
    config
        Its section.
    has_simulator
        Whether the simulator will run.

    Raises
    ------
    ConfigError
        As `open_source` does.
    """
    simulator_url = "http://simulator" if has_simulator else None
    open_source(
        config,
        clock=SystemClock(),
        mentions=MentionFinder([]),
        simulator_news_url=simulator_url,
        author_key=b"of nobody",
    )


def _simulated(setting: Setting) -> Source:
    where = setting.config.location or setting.simulator_url
    if not where:
        raise ConfigError(
            f"source {setting.config.name}: the simulator does not run; set "
            "simulator.enabled=true or the source's location"
        )
    client = setting.client(ANYBODY, None)
    return SimulatedSource(where, setting.feed_reader(), client, setting.clock)


def _rss(setting: Setting) -> Source:
    client = setting.client(ANYBODY, None, follow_redirects=True)
    return RssSource(setting.config.location, setting.feed_reader(), client, setting.clock)


def _file(setting: Setting) -> Source:
    form: Literal["csv", "jsonl"] = "csv" if setting.config.kind == "csv" else "jsonl"
    path = Path(setting.config.location)
    return FileSource(path, form, setting.row_reader(), setting.clock)


def _parquet(setting: Setting) -> Source:
    return ParquetSource(setting.config.location, setting.row_reader(), setting.clock)


def _dataset(setting: Setting) -> Source:
    config = setting.config
    _check_params(config, PARAMS)
    client = setting.client(dataset_access(config.name), PER_MINUTE)
    return HuggingFaceDataset(config, setting.row_reader(), client, setting.clock)


def _paged(
    describe: Callable[[SourceConfig, Clock], PagedApi],
) -> Callable[[Setting], Source]:
    def opened(setting: Setting) -> Source:
        api = describe(setting.config, setting.clock)
        _check_params(setting.config, api.params)
        client = setting.client(api.access(), api.per_minute)
        return PagedSource(api, setting.text_maker(), client, setting.clock)

    return opened


def _check_params(config: SourceConfig, known: tuple[str, ...]) -> None:
    for name in config.params:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            names = ", ".join(known) or "none"
            hint = f"did you mean {close[0]!r}?" if close else f"there are {names}"
            raise ConfigError(
                f"source {config.name}: {config.kind} has no parameter {name!r}; {hint}"
            )


_OPENERS: Mapping[str, Callable[[Setting], Source]] = {
    "simulated": _simulated,
    "rss": _rss,
    "reddit": _paged(Reddit),
    "newsapi": _paged(NewsApi),
    "cryptopanic": _paged(CryptoPanic),
    "coingecko": _paged(CoinGecko),
    "huggingface": _dataset,
    "jsonl": _file,
    "csv": _file,
    "parquet": _parquet,
}
"""One line a kind: add yours here (docs/adding/text_source.md)."""
