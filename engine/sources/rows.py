"""A file's row -> text: columns by name, times with a zone, and clear words for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.clock import parse_iso_utc
from engine.domain.text import TextItem, TextKind
from engine.errors import ConfigError
from engine.sources.base import text_id
from engine.sources.draft import RowError
from engine.sources.feed import plain_text, web_address

FIELDS = (
    "id", "title", "body", "url", "author", "published_at", "available_at", "engagement", "kind",
)  # fmt: skip
"""What a row can tell; `title` and `published_at` it must."""

REQUIRED = ("title", "published_at")

_EPOCH_UNITS = ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000), (1e20, 1))
"""Below each size a number is in seconds, milliseconds, microseconds, nanoseconds."""


@dataclass(frozen=True, slots=True)
class RowReader:
    """Turns rows into texts.

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
    columns
        Our field -> the file's column; a field that is not named here has its own name.

    Raises
    ------
    ConfigError
        Where `columns` names a field that does not exist.
    """

    source: str
    credibility: float
    mentions: Callable[[str], tuple[str, ...]]
    hash_author: Callable[[str], str]
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.columns) - set(FIELDS))
        if unknown:
            raise ConfigError(
                f"source {self.source}: columns names unknown fields {', '.join(unknown)}; "
                f"known: {', '.join(FIELDS)}"
            )

    def column(self, name: str) -> str:
        """Return the file's column for our field."""
        return self.columns.get(name, name)

    def item(self, row: Mapping[str, object], now_ns: int) -> TextItem:
        """Read one row.

        Parameters
        ----------
        row
            By the file's columns.
        now_ns
            When we read it: `available_at` where the row does not tell. A file of old texts
            whose own time is when they could be read says so by mapping both
            ``published_at`` and ``available_at`` to that column.

        Raises
        ------
        RowError
            Where a field is missing or wrong; it names the column.
        """
        title = plain_text(self._text(row, "title"))
        if not title:
            raise RowError(f"column {self.column('title')!r} is empty or missing")
        body = plain_text(self._text(row, "body"))
        published = self._time(row, "published_at")
        if published is None:
            raise RowError(f"column {self.column('published_at')!r} is empty or missing")
        available = self._time(row, "available_at")
        own_id = self._text(row, "id") or f"{published}\0{title}\0{body}"
        return TextItem(
            text_id=text_id(self.source, own_id),
            source=self.source,
            kind=self._kind(row),
            title=title,
            body=body,
            url=web_address(self._text(row, "url")),
            author=self.hash_author(self._text(row, "author")),
            published_at=published,
            available_at=now_ns if available is None else available,
            engagement=self._engagement(row),
            credibility=self.credibility,
            instruments=self.mentions(f"{title}\n{body}"),
        )

    def _text(self, row: Mapping[str, object], name: str) -> str:
        value = row.get(self.column(name))
        return "" if value is None else str(value).strip()

    def _time(self, row: Mapping[str, object], name: str) -> int | None:
        text = self._text(row, name)
        if not text:
            return None
        try:
            return (
                _epoch(text)
                if text.lstrip("-").replace(".", "", 1).isdigit()
                else (parse_iso_utc(text))
            )
        except (ValueError, OverflowError) as error:
            raise RowError(f"column {self.column(name)!r}: {error}") from None

    def _kind(self, row: Mapping[str, object]) -> TextKind:
        kinds: dict[str, TextKind] = {"": "news", "news": "news", "post": "post"}
        text = self._text(row, "kind")
        if text not in kinds:
            raise RowError(f"column {self.column('kind')!r} is {text!r}, not news or post")
        return kinds[text]

    def _engagement(self, row: Mapping[str, object]) -> float:
        text = self._text(row, "engagement")
        try:
            value = float(text or 0)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise RowError(
                f"column {self.column('engagement')!r} is {text!r}, not a number from 0 up"
            )
        return value


def _epoch(text: str) -> int:
    """Read seconds, milliseconds, microseconds or nanoseconds since 1970, told by their size."""
    whole, _, rest = text.partition(".")
    for limit, unit in _EPOCH_UNITS:
        if 0 <= int(whole) < limit:
            return int(whole) * unit + (int(float(f"0.{rest}") * unit) if rest else 0)
    raise ValueError(f"{text} is no time since 1970")
