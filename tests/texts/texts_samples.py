"""Texts of tests."""

from __future__ import annotations

from engine.clock import NS_PER_S, parse_iso_utc
from engine.domain.text import TextItem, TextKind

T0 = parse_iso_utc("2026-01-05T00:00:00Z")
MINUTE = 60 * NS_PER_S
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def item(
    number: int,
    title: str,
    at: int = T0,
    *,
    kind: TextKind = "news",
    source: str = "wire",
    author: str = "",
    body: str = "",
    instruments: tuple[str, ...] = ("BTC-USDT",),
    engagement: float = 0.0,
) -> TextItem:
    """Text `number`, published and available at a moment."""
    return TextItem(
        text_id=f"text-{number:03}",
        source=source,
        kind=kind,
        title=title,
        body=body,
        url="",
        author=author,
        published_at=at,
        available_at=at,
        engagement=engagement,
        credibility=0.5,
        instruments=instruments,
    )
