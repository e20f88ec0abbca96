"""A feed's bytes -> entries: RSS and Atom, without I/O."""

from __future__ import annotations

import calendar
import html
import io
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import feedparser

from engine.clock import NS_PER_S
from engine.domain.text import TextItem
from engine.errors import SourceError
from engine.sources.base import text_id

MAX_BODY = 20_000
"""Characters of a body that are kept."""


@dataclass(frozen=True, slots=True)
class FeedReader:
    """Turns a feed's entries into texts.

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

    def read(self, content: bytes, now_ns: int, skip: Callable[[str, str], None]) -> list[TextItem]:
        """Read a feed.

        Parameters
        ----------
        content
            The document.
        now_ns
            When we read it: its texts' `available_at`, and `published_at` where none is given.
        skip
            Called with a kind and a reason for each entry that cannot be used.

        Returns
        -------
        list of TextItem
            In the feed's order. A broken document still gives the entries before the break.

        Raises
        ------
        SourceError
            Where it is no feed at all.
        """
        # A stream: given bytes, feedparser would try to open a file of that name.
        feed = feedparser.parse(io.BytesIO(content), sanitize_html=False)
        if feed.bozo and not feed.entries:
            raise SourceError(
                f"source {self.source}: the document is no RSS or Atom feed "
                f"({feed.get('bozo_exception')}); check its location"
            )
        if not feed.version and not feed.entries:
            raise SourceError(
                f"source {self.source}: the document is no RSS or Atom feed; check its location"
            )
        if feed.bozo and not isinstance(
            feed.get("bozo_exception"), feedparser.CharacterEncodingOverride
        ):
            skip("broken_feed", f"the feed is not well-formed: {feed.get('bozo_exception')}")
        items = []
        for number, entry in enumerate(feed.entries, 1):
            item = self._item(entry, now_ns)
            if item is None:
                skip("empty_entry", f"entry {number} has neither title nor text")
            else:
                items.append(item)
        return items

    def _item(self, entry: Any, now_ns: int) -> TextItem | None:
        title = plain_text(entry.get("title", ""))
        body = plain_text(entry.get("summary", ""))[:MAX_BODY]
        if not title:
            title, body = body, ""
        if not title:
            return None
        url = entry.get("link", "")
        published = entry.get("published_parsed") or entry.get("updated_parsed")
        own_id = entry.get("id") or url or f"{title}\0{body}"
        return TextItem(
            text_id=text_id(self.source, own_id),
            source=self.source,
            kind="news",
            title=title,
            body=body,
            url=web_address(url),
            author=self.hash_author(entry.get("author", "")),
            published_at=calendar.timegm(published) * NS_PER_S if published else now_ns,
            available_at=now_ns,
            engagement=0.0,
            credibility=self.credibility,
            instruments=self.mentions(f"{title}\n{body}"),
        )


def web_address(url: str) -> str:
    """Return an address that a page may show as a link; empty for any but the web's own schemes.

    Examples
    --------
    >>> web_address("https://example.org/a"), web_address("javascript:alert(1)")
    ('https://example.org/a', '')
    """
    return url if url.startswith(("https://", "http://")) else ""


class _Stripper(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")
        self.parts.append(" " if tag in ("p", "br", "div", "li", "tr", "h1", "h2", "h3") else "")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0
        self.parts.append(" " if tag in ("p", "div", "li", "tr", "h1", "h2", "h3") else "")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def plain_text(markup: str) -> str:
    """Return what a reader sees of some HTML: no tags, entities decoded, single spaces.

    Examples
    --------
    >>> plain_text("<p>AT&amp;T <b>buys</b> BTC</p><script>x()</script>")
    'AT&T buys BTC'
    """
    if "<" in markup:
        stripper = _Stripper()
        stripper.feed(markup)
        stripper.close()
        markup = "".join(stripper.parts)
    # Feeds often escape twice: a title of "AT&amp;amp;T" arrives here as "AT&amp;T".
    return " ".join(html.unescape(markup).split())
