"""What one row of any source tells, checked, and made a text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from engine.domain.text import TextItem, TextKind
from engine.sources.base import text_id
from engine.sources.feed import MAX_BODY, plain_text, web_address


class RowError(ValueError):
    """One row cannot be used."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A row in our terms, as the source wrote it."""

    own_id: str
    """The source's own id: never used for another text."""
    title: str
    published_at: int
    """UTC nanoseconds."""
    body: str = ""
    url: str = ""
    author: str = ""
    """The name itself: it is hashed before anything is kept."""
    engagement: float = 0.0
    """Likes, votes and the like, summed, as they were when it was read."""
    kind: TextKind = "news"


@dataclass(frozen=True, slots=True)
class TextMaker:
    """Turns drafts into texts.

    Parameters
    ----------
    source
        Configured name.
    credibility
        In [0, 1].
    mentions
        Text to instruments.
    hash_author
        Author's name to id.
    """

    source: str
    credibility: float
    mentions: Callable[[str], tuple[str, ...]]
    hash_author: Callable[[str], str]

    def text(self, draft: Draft, available_at: int) -> TextItem:
        """Check a draft and make it a text.

        Parameters
        ----------
        draft
            The row.
        available_at
            When we could first read it, UTC nanoseconds.

        Raises
        ------
        RowError
            Where it has no id or title, or an engagement that is no number from 0 up.
        """
        title, body = plain_text(draft.title), plain_text(draft.body)[:MAX_BODY]
        if not draft.own_id:
            raise RowError("it has no id")
        if not title:
            raise RowError("its title is empty")
        if not (math.isfinite(draft.engagement) and draft.engagement >= 0):
            raise RowError(f"its engagement is {draft.engagement}, not a number from 0 up")
        return TextItem(
            text_id=text_id(self.source, draft.own_id),
            source=self.source,
            kind=draft.kind,
            title=title,
            body=body,
            url=web_address(draft.url),
            author=self.hash_author(draft.author),
            published_at=draft.published_at,
            available_at=available_at,
            engagement=draft.engagement,
            credibility=self.credibility,
            instruments=self.mentions(f"{title}\n{body}"),
        )
