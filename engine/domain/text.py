"""Texts and market mood: what people write, and what indices say of how they feel."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

TextKind = Literal["news", "post"]


def text_content(title: str, body: str) -> str:
    """Return a headline and what follows it as one text for scoring.

    Examples
    --------
    >>> text_content("Bitcoin falls", "")
    'Bitcoin falls'
    """
    return f"{title}\n{body}" if body else title


class Mention(NamedTuple):
    """Where a text names an asset."""

    start: int
    """Index of its first character."""
    end: int
    """Index behind its last one."""
    name: str
    """Base currency (``BTC``): mentions of one name speak of the same asset."""


class TextItem(msgspec.Struct, frozen=True):
    """A headline or a post. Unique by `text_id`."""

    text_id: str
    """Stable hash of source and the source's own id (or the content, where it has none)."""
    source: str
    """Configured name of the source."""
    kind: TextKind
    title: str
    """The headline; for a post, its whole text."""
    body: str
    """What follows the headline; empty for a post."""
    url: str
    author: str
    """Keyed hash of the author; the name itself is never kept. Empty where there is none."""
    published_at: int
    """What the source says, UTC nanoseconds."""
    available_at: int
    """When we could first read it: joins use this one, never `published_at`."""
    engagement: float
    """Likes, shares and the like, summed; >= 0."""
    credibility: float
    """Weight in [0, 1], as known when it came: its source's configured one, or as often as that
    was right (`engine.texts.credibility`)."""
    instruments: tuple[str, ...]
    """Canonical instruments it speaks of, in order of first mention."""
    duplicate_of: str = ""
    """Id of the text that it repeats (`engine.texts.near_duplicates`): it is kept, and does not
    count again. Empty where it says something new."""

    @property
    def content(self) -> str:
        """Title and body, as one text for scoring."""
        return text_content(self.title, self.body)


class MarketMood(msgspec.Struct, frozen=True):
    """One value of a mood series (Fear & Greed, VIX, put/call)."""

    series: str
    time: int
    """What it describes, UTC nanoseconds."""
    value: float
    available_at: int
    """When it was published."""
