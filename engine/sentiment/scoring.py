"""Columns of texts to rows of scores: what a replica does with items, for batches."""

from __future__ import annotations

from collections.abc import Sequence

from engine.domain.sentiment import SentimentScore
from engine.domain.text import text_content
from engine.sentiment.reading import KnownText, TextReader


def score_texts(
    reader: TextReader,
    text_ids: Sequence[str],
    titles: Sequence[str],
    bodies: Sequence[str],
    instruments: Sequence[Sequence[str]],
    scored_at: int,
) -> list[SentimentScore]:
    """Score texts; one that cannot be read has no row, never a score of 0.

    Parameters
    ----------
    reader
        The same that a running engine holds: equal texts get equal bits.
    text_ids, titles, bodies, instruments
        The texts, column by column.
    scored_at
        Moment that the rows bear, UTC nanoseconds.

    Returns
    -------
    list of SentimentScore
        In the order of the texts.
    """
    known = [
        KnownText(text_content(title, body), about)
        for title, body, about in zip(titles, bodies, instruments, strict=True)
    ]
    return [
        opinion.whole.row(text_id, reader.name, scored_at, opinion.targets)
        for text_id, opinion in zip(text_ids, reader.opinions(known), strict=True)
        if opinion is not None
    ]
